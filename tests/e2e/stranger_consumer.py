"""A reader of the shop's topics that knows nothing but what /asyncapi.json says, read at run time: topics, headers,
schemas of payloads, and the rule for every reader. Whoever uses it names messages only."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgpack
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from jsonschema import Draft202012Validator

from references import Node, Referring

CHECKED_OF_EACH = 200  # a schema is slow to ask, and a log of tests is long


@dataclass(frozen=True)
class Event:
    name: str
    body: dict[str, Any]
    fields: dict[str, str]


class StrangerConsumer(Referring):
    def __init__(self, document: Node, brokers: str) -> None:
        self.document = document
        assert document["asyncapi"].startswith("3.") and document["defaultContentType"] == "application/msgpack"
        self._checked: Counter[str] = Counter()
        self._validators: dict[str, Draft202012Validator] = {}
        self.places: dict[tuple[str, int], int] = {}  # next offsets
        self.highest: dict[tuple[str, int], tuple[int, ...]] = {}
        self.dropped = 0
        # A question for the ends of a topic waits behind a fetch.
        settings = {"enable.auto.commit": False, "log_level": 0, "fetch.wait.max.ms": 20}
        self._consumer = Consumer({"bootstrap.servers": brokers, "group.id": "stranger", **settings})

    def close(self) -> None:
        self._consumer.close()

    def channel_with(self, message: str, action: str = "receive") -> Node:
        """The channel such a message is received from."""
        for operation in self.document["operations"].values():
            channel = self.resolve(operation["channel"])
            if operation["action"] == action and message in channel["messages"]:
                return channel
        raise AssertionError(f"no channel has {message}")

    def receivable(self) -> list[Node]:
        """Channels with a position: those that follow the rule for every reader."""
        channels = [self.resolve(o["channel"]) for o in self.document["operations"].values() if o["action"] == "receive"]
        return [channel for channel in channels if "x-position" in channel]

    def read(self, channel: Node) -> Iterator[Event]:
        """What is new up to the present end, in order, each once."""
        topic = channel["address"]
        partitions = [TopicPartition(topic, p) for p in range(channel["bindings"]["kafka"]["partitions"])]
        ends = {p.partition: self._consumer.get_watermark_offsets(p, timeout=15)[1] for p in partitions}
        for p in partitions:
            p.offset = self.places.get((topic, p.partition), 0)
        left = {p.partition for p in partitions if p.offset < ends[p.partition]}
        self._consumer.assign([p for p in partitions if p.partition in left])
        while left:
            for message in self._consumer.consume(2000, timeout=0.1):
                if message.error() and message.error().code() != KafkaError._PARTITION_EOF:
                    raise KafkaException(message.error())
                event = self._take(channel, message)
                if event:
                    yield event
            left = {p for p in left if self.places.get((topic, p), 0) < ends[p]}
        self._consumer.unassign()

    def _take(self, channel: Node, message: Message) -> Event | None:
        where = (message.topic(), message.partition())
        fields = {name: value.decode() for name, value in message.headers()}
        here = tuple(int(fields[name]) for name in channel["x-position"]["headers"])
        self.places[where] = message.offset() + 1
        if here <= self.highest.get(where, (-1,)):
            self.dropped += 1
            return None
        self.highest[where] = here
        return self._decode(channel, message, fields)

    def _decode(self, channel: Node, message: Message, fields: dict[str, str]) -> Event:
        name = fields["ce_type"]
        described = self.resolve(channel["messages"][name])
        body = msgpack.unpackb(message.value())
        self._checked[name] += 1
        if self._checked[name] <= CHECKED_OF_EACH:
            for kind, value in (("headers", fields), ("payload", body)):
                self._validator(described[kind]["$ref"]).validate(value)
        assert set(fields) <= set(self.resolve(described["headers"])["properties"]), f"{name}: undocumented headers"
        assert set(body) <= set(self.resolve(described["payload"])["properties"]), f"{name}: undocumented members"
        assert fields["content-type"] == described["contentType"]
        return Event(name, body, fields)

    def _validator(self, reference: str) -> Draft202012Validator:
        if reference not in self._validators:
            self._validators[reference] = Draft202012Validator(self.resolve({"$ref": reference}))
        return self._validators[reference]
