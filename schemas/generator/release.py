"""released.json: what was ever released, so that it can never change under those who rely on it: messages, and what the
recorded logs of tests/data/logs fold into."""

import hashlib
import json

from .model import Field, Message, Model, Struct, refuse

FILE = "released.json"
LOGS = "tests/data/logs"


def name_of(message: Message) -> str:
    return f"{message.kind} {message.ce_type}"


def rule_of(f: Field) -> dict:
    """What a released field promises: everything but words."""
    rule = {"type": f.type, "pack": f.pack, "optional": f.optional, "min": f.min, "max": f.max, "format": f.format,
            "struct": f.struct}
    if f.enum:
        rule.update(enum=f.enum.name, max=0)  # values may be added at the end; see enum_rules
    if f.item:
        rule["item"] = rule_of(f.item)
    return rule


def digest(value: dict) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def struct_rules(struct: Struct, prefix: str = "") -> dict:
    return {prefix + f.name: {"digest": digest(rule_of(f)), "optional": f.optional} for f in struct.fields}


def rules_of(message: Message) -> dict:
    rules = struct_rules(message.struct)
    for struct in message.structs.values():
        rules.update(struct_rules(struct, struct.name + "."))
    return rules


def current(model: Model) -> dict:
    messages = {name_of(m): {"key": m.key, "quiet": m.quiet, "compact": m.struct.compact,
                             "fields": {name: rule["digest"] for name, rule in rules_of(m).items()}}
                for m in model.messages if m.kind != "body"}
    return {"enums": {e.name: list(e.values) for e in model.enums.values()}, "messages": messages,
            "logs": {path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in logs(model)}}


def logs(model: Model) -> list:
    """Recorded logs, and what they fold into."""
    return sorted(path for path in (model.folder.parent / LOGS).glob("*") if path.suffix in (".txt", ".sha256"))


def released(model: Model) -> dict:
    path = model.folder / FILE
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def check_message(name: str, old: dict, message: Message) -> None:
    for what in ("key", "quiet"):
        refuse(old[what] != getattr(message, what), f"released {name}: '{what}' changed; make a new version")
    refuse(old["compact"] != message.struct.compact, f"released {name}: its encoding changed; make a new version")
    rules = rules_of(message)
    for field, known in old["fields"].items():
        refuse(field not in rules, f"released {name}: field '{field}' is gone; make a new version")
        refuse(rules[field]["digest"] != known, f"released {name}: field '{field}' changed; make a new version")
    for field, rule in rules.items():
        new = field not in old["fields"]
        fresh_struct = "." in field and not any(f.startswith(field.split(".")[0] + ".") for f in old["fields"])
        refuse(new and not rule["optional"] and not fresh_struct,
               f"released {name}: the new field '{field}' must be optional")


def check(model: Model) -> None:
    """Refuses when something released changed in a way its readers or old records could notice."""
    old = released(model)
    present = {name_of(m): m for m in model.messages}
    for name, values in old.get("enums", {}).items():
        refuse(name not in model.enums, f"released enum '{name}' is gone")
        kept = list(model.enums[name].values[:len(values)])
        refuse(kept != values, f"released enum '{name}': values may only be added at the end")
    for name, message in old.get("messages", {}).items():
        refuse(name not in present, f"released {name} is gone: every released version decodes for ever")
        check_message(name, message, present[name])
    for name, known in old.get("logs", {}).items():
        refuse(current(model)["logs"].get(name) != known, f"released {LOGS}/{name} is gone or changed: what a recorded log "
               "means holds for ever")


def check_recorded(model: Model) -> None:
    """Refuses when a command is in no recorded log: nobody would notice when its behaviour changed."""
    recorded = set()
    for path in logs(model):
        lines = path.read_text(encoding="utf-8").splitlines()
        recorded.update(line.removeprefix("header ce_type ") for line in lines)
    for message in model.messages:
        refuse(message.kind == "command" and message.ce_type not in recorded,
               f"command {message.ce_type} is in no log of {LOGS}: record one before it is released, see its README.md")


def write(model: Model) -> None:
    text = json.dumps(current(model), indent=2, sort_keys=True) + "\n"
    (model.folder / FILE).write_text(text, encoding="utf-8")
