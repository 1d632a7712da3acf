"""What the schema files say, checked. Whatever is wrong with a schema is one SchemaError with a sentence.

load(folder) gives a Model; everything that writes output works on it and need not doubt it any more.
"""

import json
import re
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Optional

VERSION = "0.1.0"  # of the documents: the product's own
DOMAINS = ("member", "product", "cart", "shared")
FORMATS = {
    "sku": r"^[!-~]+$",
    "slug": r"^[a-z0-9._~\u0080-\U0010FFFF-]*$",
    "e164": r"^\+[1-9][0-9]{1,14}$",
    "uri": r"^https?://[^\s\"<>]+$",
}
SOURCES = ("edge", "body", "path", "body_only", "body_null")
SCALARS = ("uuid", "string", "bytes", "int", "bool", "money", "hundredths", "time", "enum")
TYPES = SCALARS + ("list", "map", "struct")
ITEM_TYPES = ("uuid", "string", "int", "struct")

INT_MAX = 2**53 - 1  # what every JSON reader holds exactly
MONEY_MAX = 999999999999  # TW_MONEY_MAX_MINOR
TIME_MAX = 253402300799999  # the end of the year 9999
MAP_NAME_MAX_BYTES = 100
KEY_MAX_BYTES = 31  # one msgpack fixstr
FIELDS_MAX = 64

COMMON_KEYS = {"name", "type", "doc", "example", "from", "of", "optional", "pack", "body", "since", "internal"}
KEYS_OF_TYPE = {
    "uuid": set(),
    "string": {"min_bytes", "max_bytes", "format"},
    "bytes": {"len"},
    "int": {"min", "max"},
    "bool": set(),
    "money": {"min", "max"},
    "hundredths": {"min", "max"},
    "time": set(),
    "enum": {"enum"},
    "list": {"items", "min", "max"},
    "map": {"values", "max"},
    "struct": {"struct"},
}
NEEDED = {"string": "max_bytes", "bytes": "len", "enum": "enum", "list": "items", "struct": "struct", "map": "values"}


class SchemaError(Exception):
    """A schema that cannot be used; the text is the sentence shown to its author."""


@dataclass(frozen=True)
class Enum:
    name: str
    domain: str
    doc: str
    values: tuple


@dataclass(frozen=True)
class Field:
    name: str
    type: str
    doc: str = ""
    example: Any = None
    source: str = ""  # "from" in the file
    optional: bool = False
    pack: str = ""  # msgpack key
    since: str = ""
    min: int = 0
    max: int = 0
    format: str = ""
    enum: Optional[Enum] = None
    item: Optional["Field"] = None  # of a list or map
    struct: str = ""  # name of a struct of the same file
    body: dict = field(default_factory=dict)  # what differs in the HTTP body
    null_member: str = ""  # of a body: the field that nulls go to
    internal: bool = False  # of an event: the edge shows it to nobody

    @property
    def member(self) -> str:
        """Name of the C member: units are in the name."""
        return self.name + {"money": "_minor", "hundredths": "_hundredths", "time": "_ms"}.get(self.type, "")


@dataclass(frozen=True)
class Struct:
    name: str  # C name without tw_
    title: str  # for people: "cart.add_item"
    doc: str
    fields: tuple
    compact: bool = False


@dataclass(frozen=True)
class Message:
    kind: str  # command, event, state, body
    type: str  # "cart.add_item"; of a state its name
    version: int
    since: str
    summary: str
    domain: str
    key: Optional[str]
    quiet: bool
    internal: bool  # of an event: for readers of the topic, no member is told of it by the edge
    struct: Struct
    body: Optional[Struct]  # HTTP members, when there are any
    structs: dict
    path: str  # file, for sentences

    @property
    def ce_type(self) -> str:
        return f"{self.type}.v{self.version}"

    @property
    def c_name(self) -> str:
        return self.struct.name


@dataclass(frozen=True)
class Model:
    messages: tuple
    enums: dict
    topics: dict
    http: dict
    guide: str  # what openapi.json and /docs begin with, Markdown
    guide_messages: str  # what asyncapi.json begins with
    folder: Path
    version: str = VERSION

    def of(self, kind: str, domain: str = "") -> list:
        return [m for m in self.messages if m.kind == kind and domain in ("", m.domain)]

    def message(self, ce_type: str) -> Optional[Message]:
        return next((m for m in self.messages if m.ce_type == ce_type and m.kind in ("command", "event")), None)


def refuse(condition: bool, sentence: str) -> None:
    if condition:
        raise SchemaError(sentence)


def no_duplicates(pairs: list) -> dict:
    names = [name for name, _ in pairs]
    for name in names:
        refuse(names.count(name) > 1, f"member '{name}' is there twice")
    return dict(pairs)


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=no_duplicates)
    except (ValueError, SchemaError) as error:
        raise SchemaError(f"{path.parent.name}/{path.name}: is not JSON: {error}") from error


# --- fields ----------------------------------------------------------------------------------------------------------


def bounds_of(raw: dict) -> tuple:
    """(min, max) of a field, whatever its type counts."""
    kind = raw["type"]
    if kind == "string":
        return raw.get("min_bytes", 0), raw["max_bytes"]
    if kind == "bytes":
        return raw["len"], raw["len"]
    if kind == "int":
        return raw.get("min", -INT_MAX), raw.get("max", INT_MAX)
    if kind in ("money", "hundredths"):
        return raw.get("min", 0), raw.get("max", MONEY_MAX)
    if kind == "time":
        return 0, TIME_MAX
    if kind in ("list", "map"):
        return raw.get("min", 0), raw["max"]
    return 0, 0


def check_field_shape(raw: dict, where: str, named: bool) -> None:
    """Refuses a field with unknown, missing or misplaced keys before anything else looks at it."""
    refuse(not isinstance(raw, dict), f"{where}: a field must be an object")
    kind = raw.get("type")
    refuse(kind not in TYPES, f"{where}: unknown type '{kind}'")
    if named:
        name = raw.get("name", "")
        refuse(not re.fullmatch(r"[a-z][a-z0-9_]*", name), f"{where}: '{name}' is no name (lower case, digits, _)")
        refuse(len(name) > KEY_MAX_BYTES, f"{where}: a name has at most {KEY_MAX_BYTES} characters")
        refuse(not raw.get("doc"), f"{where}: 'doc' is missing")
    unknown = set(raw) - KEYS_OF_TYPE[kind] - (COMMON_KEYS if named else {"type"})
    refuse(bool(unknown), f"{where}: a field of type {kind} has no '{', '.join(sorted(unknown))}'")
    refuse(kind in NEEDED and NEEDED[kind] not in raw, f"{where}: a field of type {kind} needs '{NEEDED.get(kind)}'")
    refuse(kind in ("list", "map") and "max" not in raw, f"{where}: a field of type {kind} needs 'max'")
    source = raw.get("from", "edge")
    refuse(source not in SOURCES, f"{where}: 'from' must be one of {', '.join(SOURCES)}")
    refuse(raw.get("format", "sku") not in FORMATS, f"{where}: unknown format '{raw.get('format')}'")


def parse_field(raw: dict, where: str, enums: dict, named: bool = True) -> Field:
    check_field_shape(raw, where, named)
    low, high = bounds_of(raw)
    refuse(not all(isinstance(bound, int) for bound in (low, high)), f"{where}: ranges are integers")
    refuse(low > high, f"{where}: the range {low} to {high} is empty")
    kind = raw["type"]
    enum = None
    if kind == "enum":
        enum = enums.get(raw["enum"])
        refuse(enum is None, f"{where}: unknown enum '{raw['enum']}'")
        high = len(enum.values) - 1
    item = None
    if kind in ("list", "map"):
        key = "items" if kind == "list" else "values"
        item = parse_field(raw[key], f"{where}.{key}", enums, named=False)
        allowed = ITEM_TYPES if kind == "list" else ("string",)
        refuse(item.type not in allowed, f"{where}: a {kind} cannot hold {item.type}")
    parsed = Field(
        name=raw.get("name", ""), type=kind, doc=raw.get("doc", ""), example=raw.get("example"),
        source=raw.get("from", ""), optional=raw.get("optional", False), pack=raw.get("pack", raw.get("name", "")),
        since=raw.get("since", ""), min=low, max=high, format=raw.get("format", ""), enum=enum, item=item,
        struct=raw.get("struct", ""), body=raw.get("body", {}), internal=raw.get("internal", False))
    if parsed.example is not None:
        check_example(parsed, where)
    return parsed


def decimal_fits(value: str, f: Field) -> bool:
    return bool(re.fullmatch(r"[0-9]+\.[0-9]{2}", value)) and f.min <= int(Decimal(value) * 100) <= f.max


def check_example(parsed: Field, where: str) -> None:
    """An example outside its own field's range would teach the wrong thing."""
    value, kind = parsed.example, parsed.type
    good = {
        "uuid": lambda: re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", value),
        "string": lambda: parsed.min <= len(value.encode()) <= parsed.max
        and (not parsed.format or re.match(FORMATS[parsed.format], value)),
        "bytes": lambda: len(bytes.fromhex(value)) == parsed.max,
        "int": lambda: type(value) is int and parsed.min <= value <= parsed.max,
        "bool": lambda: isinstance(value, bool),
        "money": lambda: decimal_fits(value, parsed),
        "hundredths": lambda: decimal_fits(value, parsed),
        "time": lambda: re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", value),
        "enum": lambda: value in parsed.enum.values,
        "list": lambda: isinstance(value, list) and len(value) <= parsed.max,
        "map": lambda: isinstance(value, dict) and len(value) <= parsed.max,
        "struct": lambda: isinstance(value, dict),
    }[kind]
    try:
        fits = bool(good())
    except (TypeError, ValueError, AttributeError):
        fits = False
    refuse(not fits, f"{where}: the example does not fit the field")


def parse_fields(raw: Any, where: str, enums: dict) -> tuple:
    refuse(not isinstance(raw, list), f"{where}: 'fields' must be a list")
    refuse(len(raw) > FIELDS_MAX, f"{where}: at most {FIELDS_MAX} fields")
    fields = tuple(parse_field(f, f"{where}: field '{f.get('name', '?')}'", enums) for f in raw)
    for what in ("name", "pack"):
        seen = set()
        for f in fields:
            value = getattr(f, what)
            refuse(value in seen, f"{where}: field '{value}' is there twice")
            seen.add(value)
    return fields


def body_fields(fields: tuple, raw_fields: list, where: str, enums: dict) -> tuple:
    """The members of the HTTP body: those fields, with what their "body" object says instead."""
    null_members = null_members_of(fields, raw_fields, where)
    members = []
    for parsed, raw in zip(fields, raw_fields):
        if parsed.source not in ("body", "body_only"):
            refuse(bool(parsed.body), f"{where}: field '{parsed.name}' has 'body' but does not come from it")
            continue
        refuse(parsed.type in ("bytes", "struct"), f"{where}: field '{parsed.name}': a body has no {parsed.type}")
        merged = {**{k: v for k, v in raw.items() if k != "body"}, **raw.get("body", {})}
        member = parse_field(merged, f"{where}: body of field '{parsed.name}'", enums)
        members.append(replace(member, null_member=null_members.get(parsed.name, "")))
    return tuple(members)


def null_members_of(fields: tuple, raw_fields: list, where: str) -> dict:
    """Name of a body's member -> name of the field that nulls go to, for null clears and absent stays: a bool for the
    member itself, or, of a map, a list of the names that are null in it."""
    by_name = {f.name: f for f in fields}
    found = {}
    for parsed, raw in zip(fields, raw_fields):
        refuse(("of" in raw) != (parsed.source == "body_null"), f"{where}: field '{parsed.name}': 'of' goes with body_null")
        if parsed.source != "body_null":
            continue
        member = by_name.get(raw["of"])
        is_names = member is not None and member.type == "map"
        refuse(parsed.optional or (parsed.type != "bool" and not is_names)
               or (is_names and (parsed.type != "list" or parsed.item.type != "string")),
               f"{where}: field '{parsed.name}' must be a required bool, or, of a map, a required list of strings")
        refuse(member is None or member.source != "body" or not member.optional,
               f"{where}: field '{parsed.name}' is of '{raw['of']}', which is no optional field of the body")
        refuse(member.name in found, f"{where}: field '{parsed.name}' is of '{member.name}', which has one already")
        found[member.name] = parsed.name
    return found


# --- files -----------------------------------------------------------------------------------------------------------


def parse_structs(raw: dict, where: str, enums: dict, compact: bool) -> dict:
    structs = {}
    for name, body in raw.items():
        refuse("doc" not in body, f"{where}: struct '{name}': 'doc' is missing")
        fields = parse_fields(body.get("fields"), f"{where}: struct '{name}'", enums)
        structs[name] = Struct(name, name, body["doc"], fields, compact)
    return structs


def check_struct_refs(fields: tuple, structs: dict, where: str) -> None:
    for f in fields:
        for ref in (f.struct, f.item.struct if f.item else ""):
            refuse(bool(ref) and ref not in structs, f"{where}: field '{f.name}': unknown struct '{ref}'")


MESSAGE_KEYS = {"type", "name", "version", "since", "summary", "domain", "key", "quiet", "internal", "encoding", "fields",
                "structs"}


def check_message_keys(raw: dict, kind: str, where: str) -> None:
    needed = {"command": ("type", "version", "since", "summary", "domain", "key", "fields"),
              "event": ("type", "version", "since", "summary", "domain", "key", "fields"),
              "state": ("name", "version", "since", "summary", "domain", "fields"),
              "body": ("name", "since", "summary", "fields")}[kind]
    for key in needed:
        refuse(key not in raw, f"{where}: '{key}' is missing")
    unknown = set(raw) - MESSAGE_KEYS
    refuse(bool(unknown), f"{where}: unknown member '{', '.join(sorted(unknown))}'")
    refuse(kind != "body" and raw["domain"] not in DOMAINS, f"{where}: unknown domain '{raw.get('domain')}'")
    refuse(not re.fullmatch(r"\d+\.\d+\.\d+", raw["since"]), f"{where}: 'since' must be a version such as 0.1.0")
    refuse(raw.get("encoding", "compact") != "compact", f"{where}: unknown encoding '{raw.get('encoding')}'")


def check_name(raw: dict, kind: str, path: Path, where: str) -> None:
    if kind in ("state", "body"):
        refuse(path.stem != raw["name"], f"{where}: must be called {raw['name']}.json")
        return
    refuse(path.name != f"{raw['type']}.v{raw['version']}.json",
           f"{where}: must be called {raw['type']}.v{raw['version']}.json")
    prefix = "command" if raw["domain"] == "shared" else raw["domain"]
    refuse(not raw["type"].startswith(prefix + "."), f"{where}: the type must begin with '{prefix}.'")


def check_key(raw: dict, fields: tuple, where: str) -> None:
    key = raw.get("key")
    if key is None:
        return
    found = next((f for f in fields if f.name == key), None)
    refuse(found is None, f"{where}: key '{key}' is not a field")
    refuse(found.type != "uuid" or found.optional, f"{where}: key '{key}' must be a required uuid")


def parse_message(path: Path, kind: str, enums: dict) -> Message:
    raw, where = read_json(path), f"{path.parent.name}/{path.name}"
    check_message_keys(raw, kind, where)
    check_name(raw, kind, path, where)
    compact = raw.get("encoding") == "compact"
    structs = parse_structs(raw.get("structs", {}), where, enums, compact)
    fields = parse_fields(raw["fields"], where, enums)
    for owner in (fields, *(s.fields for s in structs.values())):
        check_struct_refs(owner, structs, where)
    refuse(kind in ("event", "state") and any(f.source for f in fields), f"{where}: only commands have 'from'")
    refuse(kind != "event" and (raw.get("internal", False) or any(f.internal for f in fields)),
           f"{where}: only events and their fields can be 'internal'")
    if kind == "body":
        fields = tuple(replace(f, source="body_only") for f in fields)
    body = body_fields(fields, raw["fields"], where, enums)
    own = tuple(f for f in fields if f.source != "body_only")
    check_key(raw, own, where)
    version = raw.get("version", 1)
    title = raw.get("type", raw.get("name"))
    c_name = title.replace(".", "_") + (f"_v{version}" if version > 1 else "")
    return Message(
        kind=kind, type=title, version=version, since=raw["since"], summary=raw["summary"],
        domain=raw.get("domain", ""), key=raw.get("key"), quiet=raw.get("quiet", False),
        internal=raw.get("internal", False),
        struct=Struct(c_name, title, raw["summary"], own, compact),
        body=Struct(c_name + "_body", title, f"HTTP body: {raw['summary']}", body) if body else None,
        structs=structs, path=where)


def parse_enums(path: Path) -> dict:
    enums = {}
    for name, raw in read_json(path).items():
        where = f"{path.name}: enum '{name}'"
        refuse(raw.get("domain") not in DOMAINS, f"{where}: unknown domain '{raw.get('domain')}'")
        values = raw.get("values", [])
        refuse(not values or len(set(values)) != len(values), f"{where}: values must be there and differ")
        enums[name] = Enum(name, raw["domain"], raw["doc"], tuple(values))
    return enums


def check_topics(raw: dict, where: str) -> None:
    for kind in ("commands", "events", "dlq"):
        refuse(kind not in raw.get("kinds", {}), f"{where}: kind '{kind}' is missing")
    for domain, settings in raw["domains"].items():
        refuse(domain not in DOMAINS[:3], f"{where}: unknown domain '{domain}'")
        count = settings.get("partitions")
        refuse(not isinstance(count, int) or not 1 <= count <= 1024,
               f"{where}: partitions of '{domain}' must be 1 to 1024 (a command id has 10 bits for them)")


def parse_topics(path: Path) -> dict:
    raw = read_json(path)
    check_topics(raw, path.name)
    return raw


def load(folder: Path) -> Model:
    enums = parse_enums(folder / "enums.json")
    messages, seen = [], {}
    for kind, name in (("command", "commands"), ("event", "events"), ("state", "state"), ("body", "bodies")):
        for path in sorted((folder / name).glob("*.json")):
            message = parse_message(path, kind, enums)
            for struct in (message.struct, *message.structs.values()):
                other = seen.setdefault(struct.name, message.path)
                refuse(other != message.path, f"{message.path}: struct '{struct.name}' is already in {other}")
            messages.append(message)
    return Model(tuple(messages), enums, parse_topics(folder / "topics.json"), read_json(folder / "http.json"),
                 (folder / "guide.md").read_text(encoding="utf-8"),
                 (folder / "guide_messages.md").read_text(encoding="utf-8"), folder)
