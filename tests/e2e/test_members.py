"""Registration, login, the caller's own data, and abuse of tokens."""

import base64
import hmac
import json
import re
import uuid
from datetime import datetime, UTC
from pathlib import Path

import httpx
import pytest

import ids
from client import Client, some_email, some_password
from judge import Judged
from stack import Stack
from stores import Stores
from topics import Topics

DATA_MODEL = {
    "id",
    "email",
    "password_hash",
    "full_name",
    "phone_number",
    "status",
    "created_at",
    "updated_at",
    "last_login_at",
}


def test_a_registered_member_is_a_row_with_the_columns_of_the_data_model(
    anyone: Client, stores: Stores, id_key: bytes
) -> None:
    email, password = some_email(), some_password()
    response = anyone.register(f"  {email} ", password, phone_number="+6281234567890")
    assert response.status_code == 201, response.text
    assert response.headers["Preference-Applied"] == "wait=10"
    member_id = ids.member_id(id_key, email)
    shown = response.json()
    assert shown["id"] == member_id and shown["email"] == email and shown["status"] == "ACTIVE"
    assert "password_hash" not in shown

    row = stores.member(member_id)
    assert row and DATA_MODEL <= row.keys()
    assert (row["email"], row["full_name"], row["phone_number"], row["status"], row["last_login_at"]) == (
        email,
        "Ana Lim",
        "+6281234567890",
        "ACTIVE",
        None,
    )
    assert row["email_folded"] == email.lower()
    assert re.fullmatch(r"\$argon2id\$v=19\$m=\d+,t=\d+,p=\d+\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+", row["password_hash"])
    assert row["created_at"] == row["updated_at"]
    age = datetime.now(UTC).replace(tzinfo=None) - row["created_at"]
    assert abs(age.total_seconds()) < 60


def test_an_address_can_be_taken_once_whatever_its_spelling(anyone: Client, stores: Stores) -> None:
    email = some_email()
    assert anyone.register(email, some_password()).status_code == 201
    for spelling in (email, email.upper(), f" {email.lower()}"):
        response = anyone.register(spelling, some_password())
        assert (response.status_code, response.json()["code"]) == (409, "email-taken")
    assert len(stores.rows("select 1 from members where email_folded = %s", email.lower())) == 1


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"email": None}, "/email", "missing"),
        ({"email": "no-at-sign"}, "/email", "wrong-format"),
        ({"email": "a@b@c"}, "/email", "wrong-format"),
        ({"email": 7}, "/email", "wrong-type"),
        ({"password": "short"}, "/password", "wrong-length"),
        ({"password": "x" * 129}, "/password", "wrong-length"),
        ({"full_name": ""}, "/full_name", "wrong-length"),
        ({"full_name": "\u20ac" * 67}, "/full_name", "wrong-length"),  # 201 bytes
        ({"phone_number": "0812"}, "/phone_number", "wrong-format"),
        ({"nickname": "ana"}, "/nickname", "unknown-member"),
    ],
)
def test_a_wrong_body_is_refused_with_a_pointer(
    anyone: Client, topics: Topics, change: dict[str, object], pointer: str, code: str
) -> None:
    before = topics.ends()
    body = {"email": some_email(), "password": some_password(), "full_name": "Ana Lim", **change}
    body = {name: value for name, value in body.items() if value is not None}
    response = anyone.write("POST", "/v1/members", body)
    assert response.status_code == 422, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    assert (pointer, code) in [(e["pointer"], e["code"]) for e in response.json()["errors"]], response.text
    assert topics.ends() == before


def test_all_errors_of_a_body_are_told_at_once(anyone: Client) -> None:
    response = anyone.write("POST", "/v1/members", {"email": "x", "password": "y", "extra": 1})
    assert {e["pointer"] for e in response.json()["errors"]} >= {"/email", "/password", "/full_name", "/extra"}


def test_a_login_makes_a_session_and_moves_last_login_at(anyone: Client, stores: Stores) -> None:
    email, password = some_email(), some_password()
    anyone.register(email, password)
    response = anyone.login(f" {email.upper()} ", password)
    assert response.status_code == 200, response.text
    session = response.json()
    assert session["token_type"] == "Bearer" and session["expires_in"] == 600
    row = stores.member(session["member_id"])
    assert row and row["last_login_at"] is not None
    tokens = stores.rows("select * from jwt_tokens where member_id = %s order by kind", session["member_id"])
    assert [token["kind"] for token in tokens] == ["access", "refresh"]
    assert not any(token["is_revoked"] for token in tokens)
    life = tokens[0]["expires_at"] - tokens[0]["created_at"]
    assert 590 <= life.total_seconds() <= 610
    assert session["access_token"] not in str(tokens) and session["refresh_token"] not in str(tokens)


def test_a_wrong_password_and_an_unknown_address_are_the_same_401(anyone: Client) -> None:
    email, password = some_email(), some_password()
    anyone.register(email, password)
    wrong = anyone.login(email, some_password())
    unknown = anyone.login(some_email(), password)
    assert wrong.status_code == unknown.status_code == 401
    assert without_ids(wrong) == without_ids(unknown)


def without_ids(response: httpx.Response) -> dict[str, object]:
    """A problem document but for what differs in every answer."""
    return {name: value for name, value in response.json().items() if name != "trace_id"}


def test_a_member_sees_their_own_data(anyone: Client) -> None:
    email, password = some_email(), some_password()
    anyone.register(email, password)
    session = anyone.login(email, password).json()
    response = anyone.as_caller(session["access_token"]).get("/v1/members/me")
    assert response.status_code == 200, response.text
    me = response.json()
    assert (me["id"], me["email"], me["full_name"], me["status"]) == (session["member_id"], email, "Ana Lim", "ACTIVE")
    assert me["last_login_at"] and "password_hash" not in me
    assert response.headers["Cache-Control"] == "no-store"


# --- abuse of tokens


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(header: dict[str, object], claims: dict[str, object], key: bytes) -> str:
    text = f"{base64url(json.dumps(header).encode())}.{base64url(json.dumps(claims).encode())}"
    return f"{text}.{base64url(hmac.digest(key, text.encode(), 'sha256'))}"


def parts_of(token: str) -> tuple[dict[str, object], dict[str, object]]:
    header, claims = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in token.split(".")[:2])
    return header, claims


def abused_tokens(good: str, key: bytes) -> dict[str, str]:
    header, claims = parts_of(good)
    now = int(datetime.now(UTC).timestamp())
    unsigned = f"{base64url(json.dumps({**header, 'alg': 'none'}).encode())}.{base64url(json.dumps(claims).encode())}."
    return {
        "none at all": "",
        "not a token": "abc",
        "algorithm none": unsigned,
        "expired": signed(header, {**claims, "exp": now - 60, "iat": now - 660}, key),
        "never ends": signed(header, {k: v for k, v in claims.items() if k != "exp"}, key),
        "another key": signed(header, claims, b"x" * 32),
        "empty key": signed(header, claims, b""),
        "unknown kid": signed({**header, "kid": "key-of-a-stranger"}, claims, key),
        "other algorithm": signed({**header, "alg": "HS384"}, claims, key),
        "other audience": signed(header, {**claims, "aud": "somebody-else"}, key),
        "other issuer": signed(header, {**claims, "iss": "somebody-else"}, key),
        "critical extension": signed({**header, "crit": ["exp"]}, claims, key),
        "other subject": good.split(".")[0]
        + "."
        + base64url(json.dumps({**claims, "sub": str(uuid.uuid4())}).encode())
        + "."
        + good.split(".")[2],
        "bytes behind it": good + "A",
        "padded": good + "=",
        "two tokens": f"{good} {good}",
    }


def test_every_bad_token_gets_the_same_401_and_leaves_nothing_in_the_log(
    anyone: Client, product: str, topics: Topics, stack: Stack
) -> None:
    good = anyone.new_member().access_token
    key_id, _, key = Path(stack.environment["TW_JWT_KEYS_FILE"]).read_text(encoding="utf-8").strip().partition(":")
    header, _ = parts_of(good)
    assert header["kid"] == key_id and header["alg"] == "HS256"
    assert anyone.as_caller(good).add(product, 1).status_code == 200
    before = topics.ends()
    answers = {}
    for name, token in abused_tokens(good, bytes.fromhex(key)).items():
        response = anyone.http.post(
            "/v1/cart/items",
            json={"product_id": product, "quantity": 1},
            headers={"Authorization": f"Bearer {token}"} if token else {},
        )
        answers[name] = (response.status_code, response.headers.get("WWW-Authenticate"), without_ids(response))
    refusal = answers["none at all"]
    assert refusal[0] == 401 and refusal[1] == "Bearer"
    assert {name: answer for name, answer in answers.items() if answer != refusal} == {}
    assert topics.ends() == before


def test_a_refresh_token_is_no_access_token(anyone: Client, product: str) -> None:
    member = anyone.new_member()
    assert anyone.as_caller(member.refresh_token).add(product, 1).status_code == 401


def test_a_member_without_the_scope_gets_403(shopper: Client, topics: Topics) -> None:
    before = topics.ends()
    response = shopper.create_product()
    assert (response.status_code, response.json()["code"]) == (403, "missing-scope")
    assert topics.ends() == before


def test_everything_agrees_with_a_fold_of_the_log(judged: Judged) -> None:
    judged()
