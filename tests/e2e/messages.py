"""Reads commands by the JSON files of schemas/commands, independently of the generated C: what is a good command and
what is poison is judged here a second time."""

import json
import re
import uuid
from pathlib import Path
from typing import Any

import msgpack

SCHEMAS = Path(__file__).resolve().parents[2] / "schemas"
MONEY_MAX_MINOR = 999_999_999_999
TIME_MAX = 253_402_300_799_999  # the end of the year 9999
INT_MAX = 2**53 - 1
MAP_NAME_MAX_BYTES = 100
FORMATS = {
    "sku": re.compile(r"[!-~]+"),
    "slug": re.compile(r"[a-z0-9._~\u0080-\U0010FFFF-]*"),
    "e164": re.compile(r"\+[1-9][0-9]{1,14}"),
    "uri": re.compile(r'https?://[^\s"<>]+'),
}
MONEY = re.compile(r"(0|[1-9][0-9]*)(\.[0-9]{1,2})?")


class Malformed(Exception):
    """The payload does not fit its schema."""


def load_commands() -> dict[str, dict[str, Any]]:
    """ce_type -> schema."""
    schemas = [json.loads(path.read_text(encoding="utf-8")) for path in (SCHEMAS / "commands").glob("*.json")]
    return {f"{s['type']}.v{s['version']}": s for s in schemas}


def load_topics() -> dict[str, int]:
    """Topic name -> number of partitions."""
    manifest = json.loads((SCHEMAS / "topics.json").read_text(encoding="utf-8"))
    return {
        f"{domain}.{kind}": entry["partitions"]
        for domain, entry in manifest["domains"].items()
        for kind in manifest["kinds"]
    }


COMMANDS = load_commands()
TOPICS = load_topics()
ROUTES: list[dict[str, Any]] = json.loads((SCHEMAS / "http.json").read_text(encoding="utf-8"))["routes"]
ENUMS = json.loads((SCHEMAS / "enums.json").read_text(encoding="utf-8"))


def minor_of(text: str) -> int:
    """Integer hundredths of a decimal text with at most two places."""
    if not MONEY.fullmatch(text):
        raise Malformed(f"{text!r} is no amount")
    whole, _, fraction = text.partition(".")
    return int(whole) * 100 + int(fraction.ljust(2, "0") or 0)


def money_text(minor: int) -> str:
    return f"{minor // 100}.{minor % 100:02}"


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _expect(good: bool, name: str) -> None:
    if not good:
        raise Malformed(f"field '{name}'")


def _check_string(field: dict[str, Any], name: str, value: Any) -> None:
    _expect(isinstance(value, str) and "\0" not in value, name)
    _expect(field.get("min_bytes", 0) <= len(value.encode()) <= field["max_bytes"], name)
    if field.get("format") and value:
        _expect(bool(FORMATS[field["format"]].fullmatch(value)), name)


def _check(field: dict[str, Any], name: str, value: Any) -> None:
    match field["type"]:
        case "uuid":
            _expect(isinstance(value, str) and len(value) == 36, name)
            try:
                uuid.UUID(value)
            except ValueError as error:
                raise Malformed(f"field '{name}'") from error
        case "string":
            _check_string(field, name, value)
        case "bytes":
            _expect(isinstance(value, bytes) and len(value) == field["len"], name)
        case "int":
            _expect(_is_int(value) and field.get("min", 0) <= value <= field.get("max", INT_MAX), name)
        case "time":
            _expect(_is_int(value) and 0 <= value <= TIME_MAX, name)
        case "bool":
            _expect(isinstance(value, bool), name)
        case "money":
            _expect(isinstance(value, str), name)
            _expect(field.get("min", 0) <= minor_of(value) <= field.get("max", MONEY_MAX_MINOR), name)
        case "enum":
            _expect(value in ENUMS[field["enum"]]["values"], name)
        case "list":
            _expect(isinstance(value, list) and field.get("min", 0) <= len(value) <= field["max"], name)
            for item in value:
                _check(field["items"], name, item)
        case "map":
            _expect(isinstance(value, dict) and len(value) <= field["max"], name)
            for key, item in value.items():
                _expect(0 < len(key.encode()) <= MAP_NAME_MAX_BYTES and not set("$.\0") & set(key), name)
                _check(field["values"], name, item)
        case other:
            raise NotImplementedError(other)


def _no_twins(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    result = {}
    for key, value in pairs:
        if not isinstance(key, str) or key in result:
            raise Malformed("a key that is no text, or is there twice")
        result[key] = value
    return result


def read_command(ce_type: str, payload: bytes) -> dict[str, Any]:
    """The fields of a command; absent optional ones are None. Raises Malformed."""
    schema = COMMANDS[ce_type]
    try:
        body = msgpack.unpackb(payload, raw=False, strict_map_key=False, object_pairs_hook=_no_twins)
    except Malformed:
        raise
    except (ValueError, msgpack.UnpackException, RecursionError) as error:
        raise Malformed(str(error)) from error
    if not isinstance(body, dict):
        raise Malformed("there must be a map")
    result: dict[str, Any] = {}
    for field in schema["fields"]:
        if field.get("from") == "body_only":
            continue
        value: Any = body.get(field["name"])
        if value is None and field.get("optional"):
            result[field["name"]] = None
            continue
        _check(field, field["name"], value)
        result[field["name"]] = value.lower() if field["type"] == "uuid" else value
    return result
