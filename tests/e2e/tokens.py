"""Access tokens as the decision on them states it, made a second time: what only somebody with the edge's key can make."""

import base64
import hmac
import json
import time
from pathlib import Path
from typing import Any

from stack import Stack


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def parts_of(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims, unverified."""
    header, claims = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in token.split(".")[:2])
    return header, claims


def signed(header: dict[str, Any], claims: dict[str, Any], key: bytes) -> str:
    text = f"{base64url(json.dumps(header).encode())}.{base64url(json.dumps(claims).encode())}"
    return f"{text}.{base64url(hmac.digest(key, text.encode(), 'sha256'))}"


def is_signed(token: str, keys: dict[str, bytes]) -> bool:
    """By one of these HS256 keys, kid -> secret."""
    text, _, signature = token.rpartition(".")
    header, _ = parts_of(token)
    key = keys.get(str(header.get("kid")), b"")
    expected = base64url(hmac.digest(key, text.encode(), "sha256")) if key else ""
    return header.get("alg") == "HS256" and bool(key) and hmac.compare_digest(expected, signature)


def signing_key(stack: Stack) -> bytes:
    """The stack signs with HS256 and the first line of the file, kid:hex."""
    first = Path(stack.environment["TW_JWT_KEYS_FILE"]).read_text(encoding="utf-8").split("\n", 1)[0]
    return bytes.fromhex(first.partition(":")[2].strip())


def expired(token: str, stack: Stack) -> str:
    """The same token, but it ended a minute ago: beyond what clocks may differ."""
    header, claims = parts_of(token)
    now = int(time.time())
    return signed(header, {**claims, "iat": now - 660, "exp": now - 60}, signing_key(stack))
