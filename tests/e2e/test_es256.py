"""Access tokens with a public half: an edge that signs with ES256, checked by the openssl program."""

import json
import subprocess
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from pathlib import Path

import pytest

from client import Client
from judge import Judged
from stack import Stack

EDGE = "edge2"
# SubjectPublicKeyInfo of a point on P-256, up to the point.
SPKI = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004")


def openssl(*words: str | Path) -> str:
    done = subprocess.run(["openssl", *words], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout


def new_key(folder: Path, name: str) -> str:
    """A block of a key file."""
    path = folder / f"{name}.pem"
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path)
    return f"kid: {name}\n{path.read_text()}"


def key_file(folder: Path, *blocks: str) -> dict[str, str]:
    """Settings of a program that uses these keys."""
    path = folder / "keys"
    path.write_text("".join(blocks))
    path.chmod(0o600)
    return {"TW_JWT_ALGORITHM": "ES256", "TW_JWT_KEYS_FILE": str(path)}


@pytest.fixture
def signer(healed: Stack, anyone: Client) -> Iterator[Client]:
    """Its client; a test starts the edge."""
    client = Client(healed.url(EDGE), anyone.recorder)
    yield client
    client.close()


def decoded(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def der_integer(number: bytes) -> bytes:
    digits = number.lstrip(b"\0") or b"\0"
    digits = (b"\0" if digits[0] & 0x80 else b"") + digits
    return bytes([2, len(digits)]) + digits


def verified_by_openssl(folder: Path, token: str, key: dict[str, str]) -> bool:
    signed, _, signature = token.rpartition(".")
    raw = decoded(signature)
    numbers = der_integer(raw[:32]) + der_integer(raw[32:])
    files = {
        "public.der": SPKI + decoded(key["x"]) + decoded(key["y"]),
        "signature": bytes([0x30, len(numbers)]) + numbers,
        "signed": signed.encode(),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    said = openssl(
        "dgst", "-sha256", "-verify", folder / "public.der", "-keyform", "DER", "-signature", folder / "signature",
        folder / "signed",
    )  # fmt: skip
    return said.strip() == "Verified OK"


def test_others_verify_a_token_by_the_published_keys(
    healed: Stack, anyone: Client, signer: Client, tmp_path: Path
) -> None:
    healed.start(EDGE, settings=key_file(tmp_path, new_key(tmp_path, "new"), new_key(tmp_path, "old")))
    response = signer.get("/.well-known/jwks.json")
    assert response.headers["Cache-Control"].startswith("public")
    keys = response.json()["keys"]
    assert [(key["kid"], key["kty"], key["crv"], key["alg"]) for key in keys] == [
        ("new", "EC", "P-256", "ES256"),
        ("old", "EC", "P-256", "ES256"),
    ]
    assert all(set(key) == {"kty", "crv", "alg", "use", "kid", "x", "y"} for key in keys), "nothing that is private"
    member = signer.new_member()
    assert json.loads(decoded(member.access_token.split(".")[0])) == {"alg": "ES256", "kid": "new", "typ": "JWT"}
    assert verified_by_openssl(tmp_path, member.access_token, keys[0])
    assert signer.as_caller(member.access_token).get("/v1/members/me").status_code == 200
    assert anyone.as_caller(member.access_token).get("/v1/members/me").status_code == 401, "it is an HS256 edge"
    assert signer.as_caller(anyone.new_member().access_token).get("/v1/members/me").status_code == 401


def published(signer: Client) -> list[str]:
    return [key["kid"] for key in signer.get("/.well-known/jwks.json").json()["keys"]]


def test_a_key_that_was_put_behind_a_new_one_still_verifies(healed: Stack, signer: Client, tmp_path: Path) -> None:
    old, new = new_key(tmp_path, "old"), new_key(tmp_path, "new")
    healed.start(EDGE, settings=key_file(tmp_path, old))
    before = signer.new_member()
    assert published(signer) == ["old"]
    public = openssl("pkey", "-in", tmp_path / "old.pem", "-pubout")
    key_file(tmp_path, new, f"kid: old\n{public}")
    healed.reload(EDGE)
    assert published(signer) == ["new", "old"]
    assert signer.as_caller(before.access_token).get("/v1/members/me").status_code == 200
    after = signer.login(before.email, before.password).json()["access_token"]
    assert json.loads(decoded(after.split(".")[0]))["kid"] == "new"
    key_file(tmp_path, new)
    healed.reload(EDGE)
    assert published(signer) == ["new"]
    assert signer.as_caller(before.access_token).get("/v1/members/me").status_code == 401
    assert signer.as_caller(after).get("/v1/members/me").status_code == 200


def test_an_edge_with_a_shared_secret_publishes_no_key(anyone: Client) -> None:
    response = anyone.get("/.well-known/jwks.json")
    assert (response.status_code, response.json()["code"]) == (404, "not-found")


def test_everything_agrees_with_a_fold_of_the_log(judged: Judged) -> None:
    judged()
