"""asyncapi.json: topics and messages for other systems."""

from .json_schema import UUID, dump, example_payload, struct_schema
from .model import Message, Model

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
    "tw_requeue_of": ("Of a requeued command: the offset that was given up first.", False),
    "tw_attempt": ("Of a requeued command: 2, 3, ...", False),
    "tw_operator": ("Of a requeued command: who had it decided again.", False),
    "tw_because": ("Of a requeued command: why.", False),
}
EVENT_HEADERS = {
    **{name: COMMAND_HEADERS[name] for name in ("ce_type", "ce_source", "ce_specversion", "content-type", "traceparent")},
    "ce_id": ("`<command topic>/<partition>/<tw_cause_offset>/<tw_n>`: the same cause always gives the same id.", True),
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
    "tw_dlq_first_offset": ("The offset that was given up first: the dead letter's name.", True),
    "tw_dlq_attempts": ("1, and one more for each requeue that failed, decimal.", True),
    "tw_dlq_first_failed": ("When it failed first, by the partition's clock, ms since 1970, decimal.", True),
    "tw_dlq_last_failed": ("When it failed last.", True),
}
SETTLEMENT_HEADERS = {
    **{name: DLQ_HEADERS[name] for name in ("tw_dlq_topic", "tw_dlq_partition")},
    "tw_dlq_settles": ("`tw_dlq_first_offset` of the dead letter that is open no more.", True),
    "tw_dlq_settled_by": ("Offset of the requeue or drop in the command topic, decimal.", True),
    "tw_dlq_settled_as": ("succeeded, rejected, accepted (a later command ends it), repeated (another record of its id had done it) or dropped.", True),
    "tw_dlq_settled_at": ("When, by the partition's clock, ms since 1970, decimal.", True),
    "tw_operator": ("Who asked for it.", True),
    "tw_because": ("Why; may be empty.", True),
}


# The rule for every reader, for programs: the headers that make an event's position in its partition, and what to do.
POSITION = {"headers": ["tw_cause_offset", "tw_n"], "compare": "integers, in this order",
            "rule": "drop what is not above the highest position of its partition so far"}


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
        "examples": [{"name": message.type, "headers": example_headers(message), "payload": example_payload(message.struct)}],
    }


def example_headers(message: Message) -> dict:
    topic = "cart" if message.domain == "shared" else message.domain
    common = {"ce_type": message.ce_type, "ce_time": "2026-11-23T10:00:00.000Z", "ce_specversion": "1.0",
              "content-type": "application/msgpack", "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
    command_id = "0192f5c0-9a00-7c00-8123-456789abcdef"
    if message.kind == "command":
        return {"ce_id": command_id, "ce_source": "/tillwire/edge", **common}
    return {"ce_id": f"{topic}.commands/3/4711/0", "ce_source": f"/tillwire/{topic}", **common, "tw_command_id": command_id,
            "tw_cause_offset": "4711", "tw_n": "0"}


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
        messages = {name: {"$ref": f"#/components/messages/{name}"} for name in ("dead-letter", "settlement")}
    else:
        messages = {m.ce_type: {"$ref": f"#/components/messages/{m.ce_type}"} for m in messages_on(model, domain, kind)}
    return {
        **({"x-position": POSITION} if kind == "events" else {}),
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
    settlement = {
        "name": "settlement", "title": "What became of a dead letter", "contentType": "application/octet-stream",
        "summary": "An operator had a dead letter decided again, or dropped it. No value.",
        "headers": {"$ref": "#/components/schemas/SettlementHeaders"}, "payload": {}}
    schemas = {"CommandHeaders": headers_schema(COMMAND_HEADERS), "EventHeaders": headers_schema(EVENT_HEADERS),
               "DeadLetterHeaders": headers_schema(DLQ_HEADERS), "SettlementHeaders": headers_schema(SETTLEMENT_HEADERS)}
    schemas.update({m.ce_type: struct_schema(m.struct, False, m.structs) for m in messages})
    return dump({
        "asyncapi": "3.0.0",
        "info": {"title": "tillwire messages", "version": model.version,
                 "description": model.guide_messages, "license": {"name": "Apache-2.0"}},
        "servers": {"log": {"host": "{brokers}", "protocol": "kafka", "description": "The shop's Kafka.", "variables": {
            "brokers": {"default": "127.0.0.1:9092", "description": "Addresses, as whoever runs the shop says."}}}},
        "defaultContentType": "application/msgpack",
        "channels": {f"{d}.{k}": channel(model, d, k) for d in domains for k in ("commands", "events", "dlq")},
        "operations": {name: o for d in domains for name, o in operations(d).items()},
        "components": {"messages": {**{m.ce_type: async_message(m) for m in messages}, "dead-letter": dead_letter,
                                    "settlement": settlement},
                       "schemas": schemas},
    })
