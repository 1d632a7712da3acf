"""openapi.json, asyncapi.json and messages.md."""

import json
import re

from .json_schema import UUID, decimal_schema, example_payload, struct_schema
from .c_structs import range_text
from .model import Field, Message, Model, SchemaError, Struct

VERSION = "0.1.0"
COMMAND_HEADERS = {
    "ce_id": ("The command's id (UUID).", True),
    "ce_type": ("Type and version, such as `cart.add_item.v1`.", True),
    "ce_source": ("Who wrote it, such as `/tillwire/edge`.", True),
    "ce_time": ("RFC 3339; information only.", True),
    "ce_specversion": ("`1.0`.", True),
    "content-type": ("`application/msgpack`.", True),
    "traceparent": ("W3C trace context.", False),
    "tw_caller": ("The member on whose behalf (UUID); absent: anonymous.", False),
    "tw_fingerprint": ("HMAC of the request's body, hex.", False),
    "tw_if_version": ("The version of `If-Match`, decimal.", False),
    "tw_time": ("Original time of a requeued command.", False),
}
EVENT_HEADERS = {
    **{name: COMMAND_HEADERS[name] for name in ("ce_type", "ce_source", "ce_specversion", "content-type", "traceparent")},
    "ce_id": ("The event's id (UUID), made from the cause's topic, partition, offset and `tw_n`.", True),
    "ce_time": ("RFC 3339: the partition's clock at the cause.", True),
    "tw_command_id": ("The command that caused it.", True),
    "tw_cause_offset": ("The cause's offset in the command topic, decimal.", True),
    "tw_n": ("0, 1, ... among the events of one cause, decimal.", True),
}
DLQ_HEADERS = {
    "tw_dlq_topic": ("Where the record came from.", True),
    "tw_dlq_partition": ("Its partition, decimal.", True),
    "tw_dlq_offset": ("Its offset, decimal.", True),
    "tw_dlq_timestamp": ("Its timestamp, ms since 1970, decimal.", True),
    "tw_dlq_reason": ("Why it was given up: a code.", True),
    "tw_dlq_message": ("Why, for people.", True),
    "tw_dlq_program": ("Which program gave it up.", True),
}


def dump(document: dict) -> str:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n"


# --- AsyncAPI --------------------------------------------------------------------------------------------------------


def headers_schema(headers: dict) -> dict:
    return {"type": "object", "required": [name for name, (_, needed) in headers.items() if needed],
            "properties": {name: {"type": "string", "description": text} for name, (text, _) in headers.items()}}


def async_message(message: Message) -> dict:
    headers = "CommandHeaders" if message.kind == "command" else "EventHeaders"
    return {
        "name": message.ce_type,
        "title": message.type,
        "summary": message.summary,
        "contentType": "application/msgpack",
        "headers": {"$ref": f"#/components/schemas/{headers}"},
        "payload": {"$ref": f"#/components/schemas/{message.ce_type}"},
        "bindings": {"kafka": {"key": {**UUID, "description": key_text(message)}}},
        "examples": [{"name": message.type, "payload": example_payload(message.struct)}],
    }


def key_text(message: Message) -> str:
    return f"`{message.key}` of the payload" if message.key else "the key of the command that caused it"


def messages_on(model: Model, domain: str, kind: str) -> list:
    if kind == "commands":
        return model.of("command", domain)
    if kind == "events":
        return model.of("event", domain) + model.of("event", "shared")
    return []


def channel(model: Model, domain: str, kind: str) -> dict:
    settings = model.topics["kinds"][kind]
    if kind == "dlq":
        messages = {"dead-letter": {"$ref": "#/components/messages/dead-letter"}}
    else:
        messages = {m.ce_type: {"$ref": f"#/components/messages/{m.ce_type}"} for m in messages_on(model, domain, kind)}
    return {
        "address": f"{domain}.{kind}",
        "description": settings["doc"],
        "messages": messages,
        "bindings": {"kafka": {
            "topic": f"{domain}.{kind}",
            "partitions": model.topics["domains"][domain]["partitions"],
            "topicConfiguration": topic_configuration(settings["configs"]),
        }},
    }


def topic_configuration(configs: dict) -> dict:
    known = {"cleanup.policy": lambda v: v.split(","), "retention.ms": int, "max.message.bytes": int}
    return {name: known[name](value) for name, value in configs.items() if name in known}


def operations(domain: str) -> dict:
    """From the point of view of somebody beside the shop: commands are sent to it, the rest is received from it."""
    return {f"{domain}.{kind}": {"action": "send" if kind == "commands" else "receive",
                                 "channel": {"$ref": f"#/channels/{domain}.{kind}"}}
            for kind in ("commands", "events", "dlq")}


def asyncapi(model: Model) -> str:
    domains = list(model.topics["domains"])
    messages = [m for m in model.messages if m.kind in ("command", "event")]
    dead_letter = {
        "name": "dead-letter", "title": "A record that was given up", "contentType": "application/octet-stream",
        "summary": "The untouched bytes of a record, its headers, and why it was given up.",
        "headers": {"$ref": "#/components/schemas/DeadLetterHeaders"}, "payload": {}}
    schemas = {"CommandHeaders": headers_schema(COMMAND_HEADERS), "EventHeaders": headers_schema(EVENT_HEADERS),
               "DeadLetterHeaders": headers_schema(DLQ_HEADERS)}
    schemas.update({m.ce_type: struct_schema(m.struct, False, m.structs) for m in messages})
    return dump({
        "asyncapi": "3.0.0",
        "info": {"title": "tillwire messages", "version": VERSION,
                 "description": "CloudEvents 1.0 in Kafka's binary mode; payloads are msgpack maps."},
        "defaultContentType": "application/msgpack",
        "channels": {f"{d}.{k}": channel(model, d, k) for d in domains for k in ("commands", "events", "dlq")},
        "operations": {name: o for d in domains for name, o in operations(d).items()},
        "components": {"messages": {**{m.ce_type: async_message(m) for m in messages}, "dead-letter": dead_letter},
                       "schemas": schemas},
    })


# --- OpenAPI ---------------------------------------------------------------------------------------------------------

HEADER_PARAMETERS = {
    "Prefer": ("`wait=N`: wait up to N seconds (at most 10) for the end.", {"type": "string", "pattern": "^wait=[0-9]+$"}),
    "IdempotencyKey": ("The same key and body within 24 h is the same command.", {"type": "string", "maxLength": 255}),
    "IfMatch": ("Refused with 412 when the resource has another version.", {"type": "string"}),
    "IfNoneMatch": ("304 when the resource still has this ETag.", {"type": "string"}),
    "ConsistencyToken": ("From a 202: the answer shows at least that write.", {"type": "string"}),
}
HEADER_NAMES = {"IdempotencyKey": "Idempotency-Key", "IfMatch": "If-Match", "IfNoneMatch": "If-None-Match",
                "ConsistencyToken": "Consistency-Token"}
TITLES = {"400": "The request is malformed.", "401": "Not authenticated.", "403": "A scope is missing.",
          "404": "There is no such thing.", "409": "The state forbids it.", "410": "It is gone.",
          "412": "It has another version.", "413": "The body is too large.", "415": "Not JSON.",
          "422": "The body or the command does not fit.", "429": "Too many requests.", "503": "Try again later."}


def parameter_ref(name: str) -> dict:
    return {"$ref": f"#/components/parameters/{name}"}


def parameters_of(route: dict) -> list:
    names = re.findall(r"{(\w+)}", route["path"])
    if "command" in route:
        names += ["Prefer", "IdempotencyKey"]
    elif route.get("prefer"):
        names.append("Prefer")
    if route.get("idempotent"):  # it sends commands, but does not wait for their ends
        names.append("IdempotencyKey")
    if route.get("if_match"):
        names.append("IfMatch")
    names += route.get("query", [])
    if route.get("etag"):
        names += ["IfNoneMatch", "ConsistencyToken"]
    return [parameter_ref(name) for name in names]


def answer(spec: dict) -> dict:
    response = {"description": spec["doc"]}
    if "schema" in spec:
        response["content"] = {"application/json": {"schema": {"$ref": f"#/components/schemas/{spec['schema']}"}}}
    return response


def problem(status: str, codes: list) -> dict:
    text = TITLES[status] + (f" Codes: {', '.join(codes)}." if codes else "")
    return {"description": text, "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}}


def problem_statuses(route: dict, has_body: bool) -> dict:
    statuses = {"400": [], "429": [], "503": []}
    if route["auth"] != "public":
        statuses["401"] = ["unauthenticated"]
    if ":" in route["auth"]:
        statuses["403"] = ["missing-scope"]
    if has_body:
        statuses.update({"413": [], "415": [], "422": ["invalid-body"]})
    if route.get("if_match"):
        statuses["412"] = ["precondition-failed"]
    for status, codes in route.get("problems", {}).items():
        statuses[status] = statuses.get(status, []) + codes
    return statuses


def security_of(route: dict) -> list:
    auth = route["auth"]
    if auth == "public":
        return []
    if auth == "optional":  # whoever sends a token sees what it lets them see
        return [{}, {"bearer": []}]
    if auth == "caller":  # a command of an anonymous caller can be asked for by anybody who knows its id
        return [{"bearer": []}, {}]
    return [{"bearer": [auth] if ":" in auth else []}]


def body_schema(model: Model, route: dict):
    """The name of the schema of a route's HTTP body, None when it has none."""
    if "command" in route:
        command = model.message(route["command"])
        if command is None:
            raise SchemaError(f"http.json: {route['path']}: unknown command '{route['command']}'")
        return command.body and command.body.name
    if "body" in route:
        found = next((m.body.name for m in model.of("body") if m.type == route["body"]), None)
        if found is None and route["body"] in model.http["schemas"]:
            found = route["body"]
        if found is None:
            raise SchemaError(f"http.json: {route['path']}: unknown body '{route['body']}'")
        return found
    return None


def operation(model: Model, route: dict) -> dict:
    body = body_schema(model, route)
    responses = {status: answer(spec) for status, spec in {**route.get("answers", {}), **route.get("final", {})}.items()}
    if "command" in route:
        responses["202"] = {"$ref": "#/components/responses/Accepted"}
    if route.get("etag"):
        responses["304"] = {"description": "Not changed."}
    responses.update({s: problem(s, codes) for s, codes in problem_statuses(route, bool(body)).items()})
    result = {"operationId": route["operation"], "tags": [route["tag"]], "summary": route["summary"]}
    if "doc" in route:
        result["description"] = route["doc"]
    if parameters_of(route):
        result["parameters"] = parameters_of(route)
    if body:
        types = ["application/json"] + (["application/merge-patch+json"] if route["method"] == "PATCH" else [])
        result["requestBody"] = {"required": True, "content": {
            t: {"schema": {"$ref": f"#/components/schemas/{body}"}} for t in types}}
    result["responses"] = dict(sorted(responses.items()))
    result["security"] = security_of(route)
    return result


def paths(model: Model) -> dict:
    result = {}
    for route in model.http["routes"]:
        result.setdefault(route["path"], {})[route["method"].lower()] = operation(model, route)
    return result


def parameters(model: Model) -> dict:
    result = {name: {"name": p.get("name", name), "in": p.get("in", "path"), "required": p.get("in", "path") == "path",
                     "description": p["doc"], "schema": p["schema"]}
              for name, p in model.http.get("parameters", {}).items()}
    for name, (text, schema) in HEADER_PARAMETERS.items():
        result[name] = {"name": HEADER_NAMES.get(name, name), "in": "header", "description": text, "schema": schema}
    return result


def accepted_response() -> dict:
    headers = {"Location": "Where the command's state is.", "Retry-After": "Seconds until it is worth asking.",
               "Consistency-Token": "Send it with a GET to see this write."}
    return {"description": "Acknowledged by the broker; the end comes later.",
            "headers": {name: {"description": text, "schema": {"type": "string"}} for name, text in headers.items()},
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Accepted"}}}}


def openapi(model: Model) -> str:
    bodies = {m.body.name: struct_schema(m.body, True, m.structs) for m in model.messages if m.body}
    return dump({
        "openapi": "3.1.0",
        "info": {"title": "tillwire", "version": VERSION,
                 "description": "Shop backend. A write is a command: 202 after the broker's acknowledgement, or the final "
                                "code under `Prefer: wait=N`. Money is a decimal text with two places."},
        "paths": paths(model),
        "components": {
            "schemas": {**model.http.get("schemas", {}), **bodies},
            "parameters": parameters(model),
            "responses": {"Accepted": accepted_response()},
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    })


# --- messages.md -----------------------------------------------------------------------------------------------------


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
