"""messages.md: the reference of messages and topics for people."""

from .asyncapi import key_text
from .c_structs import range_text
from .json_schema import decimal_schema
from .model import Field, Message, Model, Struct


def type_text(f: Field) -> str:
    text = f.type
    if f.type == "list":
        text = f"list of {f.item.struct or type_text(f.item)}"
    elif f.type == "struct":
        text = f.struct
    elif f.type == "enum":
        text = " \\| ".join(f"`{v}`" for v in f.enum.values)
    elif f.type == "bytes":
        text = f"{f.max} bytes"
    elif f.type == "money":
        text = f"money, {decimal_schema(f)['x-range']}"
    ranges = range_text(f) if f.type in ("string", "int", "list", "map", "time") else ""
    return text + (f", {ranges}" if ranges else "")


def field_rows(struct: Struct, with_source: bool) -> str:
    head = "| field | type | | meaning |\n|---|---|---|---|\n"
    rows = []
    for f in struct.fields:
        notes = (["optional"] if f.optional else []) + ([f"from {f.source or 'edge'}"] if with_source else [])
        notes += [f"key `{f.pack}`"] if f.pack != f.name else []
        rows.append(f"| `{f.name}` | {type_text(f)} | {', '.join(notes)} | {f.doc} |")
    return head + "\n".join(rows) + "\n"


def message_section(message: Message) -> str:
    name = message.type if message.kind in ("state", "body") else message.ce_type
    facts = [f"Since {message.since}."]
    if message.kind in ("command", "event"):
        facts.append(f"Key: {key_text(message)}.")
    if message.quiet:
        facts.append("Quiet: no ledger row and no outcome event unless it has an `Idempotency-Key`.")
    if message.struct.compact:
        facts.append("Compact: UUIDs are 16 bytes, money is minor units, enums are numbers.")
    shown = message.body if message.kind == "body" else message.struct
    text = f"### `{name}`\n\n{message.summary} {' '.join(facts)}\n\n{field_rows(shown, message.kind == 'command')}"
    for struct in message.structs.values():
        text += f"\n`{struct.name}`: {struct.doc}\n\n{field_rows(struct, False)}"
    if message.kind == "command" and message.body:
        text += "\nHTTP body: " + ", ".join(f"`{f.name}`" + ("?" if f.optional else "") for f in message.body.fields) + "\n"
    return text


def topic_rows(model: Model) -> str:
    rows = ["| topic | partitions | settings |", "|---|---|---|"]
    for domain, settings in model.topics["domains"].items():
        for kind, rule in model.topics["kinds"].items():
            configs = ", ".join(f"{name}={value}" for name, value in rule["configs"].items())
            rows.append(f"| `{domain}.{kind}` | {settings['partitions']} | {configs} |")
    return "\n".join(rows) + "\n"


def reference(model: Model) -> str:
    parts = ["# Messages\n\nGenerated from `schemas/`. Payloads are msgpack maps with text keys; UUIDs are text, money is a "
             "decimal text with two places, times are milliseconds since 1970. Headers: see `asyncapi.json`.\n",
             "## Topics\n\n" + topic_rows(model)]
    for kind, title in (("command", "Commands"), ("event", "Events"), ("state", "States (the workers' own copies)"),
                        ("body", "HTTP bodies that are no command's")):
        parts.append(f"## {title}\n")
        parts += [message_section(m) for m in model.of(kind)]
    return "\n".join(parts)
