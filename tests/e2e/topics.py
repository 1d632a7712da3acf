"""Reads whole topics, headers and all, through Confluent's client, and writes raw records for tests of bad ones."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import msgpack
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from ids import partition_of
from messages import TOPICS

T = TypeVar("T")
Headers = list[tuple[str, str | bytes | None]]


@dataclass(frozen=True)
class Record:
    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes], ...]

    @cached_property
    def _named(self) -> dict[str, bytes]:
        return dict(self.headers)

    def header(self, name: str) -> str | None:
        """The last one of that name, as text."""
        found = self._named.get(name)
        return None if found is None else found.decode("utf-8", "replace")

    @cached_property
    def body(self) -> dict[str, Any]:
        body: dict[str, Any] = msgpack.unpackb(self.value, raw=False)
        return body

    @cached_property
    def type(self) -> str:
        return self.header("ce_type") or ""

    @cached_property
    def command_id(self) -> str:
        return self.header("ce_id") or ""

    @cached_property
    def cause(self) -> tuple[int, int]:
        """(tw_cause_offset, tw_n) of an event."""
        return int(self.header("tw_cause_offset") or -1), int(self.header("tw_n") or -1)


PASSING = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError._UNKNOWN_PARTITION)


def patiently(ask: Callable[[], T], reconnect: Callable[[], None] = lambda: None, patience_s: float = 30) -> T:
    """The answer of a broker that may just have come back, and not lead its partitions yet. A client that asked
    meanwhile may keep it in mind that there are none, so another one asks again."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            return ask()
        except KafkaException as error:
            code = error.args[0].code()
            if not (error.args[0].retriable() or code in PASSING) or time.monotonic() > deadline:
                raise
            if code == KafkaError._UNKNOWN_PARTITION:
                reconnect()
        time.sleep(0.2)


class Topics:
    """Keeps what it has read: a later read() fetches only what was added since."""

    def __init__(self, brokers: str) -> None:
        self._brokers = brokers
        self._consumer = self._connected()
        self._known: dict[tuple[str, int], list[Record]] = {
            (topic, p): [] for topic, count in TOPICS.items() for p in range(count)
        }

    def _connected(self) -> Consumer:
        return Consumer(
            {
                "bootstrap.servers": self._brokers,
                "group.id": "e2e-reader",
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "allow.auto.create.topics": False,
                "log_level": 0,
            }
        )

    def reconnect(self) -> None:
        """For topics that were made anew and hold what they held: a client that knew them before a broker restarted
        waits for leaders later than the new ones."""
        self._consumer.close()
        self._consumer = self._connected()

    def close(self) -> None:
        self._consumer.close()

    def end(self, topic: str, partition: int) -> int:
        """The next offset."""
        at = TopicPartition(topic, partition)
        return patiently(
            lambda: self._consumer.get_watermark_offsets(at, timeout=10, cached=False)[1], self.reconnect
        )

    def ends(self, kind: str = "commands") -> dict[tuple[str, int], int]:
        """The next offset of every partition of that kind of topic."""
        return {at: self.end(*at) for at in self._known if at[0].endswith(f".{kind}")}

    def committed(self, group: str, topic: str) -> list[int]:
        """What Kafka keeps for a group, by partition; 0 where it keeps nothing."""
        asker = Consumer({"bootstrap.servers": self._brokers, "group.id": group, "log_level": 0})
        try:
            partitions = [TopicPartition(topic, p) for p in range(TOPICS[topic])]
            return [max(0, found.offset) for found in patiently(lambda: asker.committed(partitions, timeout=10))]
        finally:
            asker.close()

    def read(self, topic: str | None = None) -> None:
        """Reads on to the present end of that topic, or of all."""
        wanted = [at for at in self._known if topic in (None, at[0])]
        left = {}
        for at in wanted:
            end = self.end(*at)
            if end > len(self._known[at]):
                left[at] = end
        if not left:
            return
        self._consumer.assign([TopicPartition(t, p, len(self._known[t, p])) for t, p in left])
        deadline = time.monotonic() + 60
        while left:
            for message in self._consumer.consume(5000, timeout=0.02):  # it waits that long for so many
                self._take(message)
            left = {at: end for at, end in left.items() if len(self._known[at]) < end}
            if time.monotonic() > deadline:
                raise TimeoutError(f"not read within a minute: {left}")
        self._consumer.unassign()

    def _take(self, message: Any) -> None:
        if message.error():
            if message.error().retriable() or message.error().code() == KafkaError._ALL_BROKERS_DOWN:
                return
            raise KafkaException(message.error())
        records = self._known[message.topic(), message.partition()]
        if message.offset() < len(records):
            return
        assert message.offset() == len(records), "offsets of every topic are contiguous"
        records.append(
            Record(
                message.topic(),
                message.partition(),
                message.offset(),
                message.timestamp()[1],
                message.key(),
                message.value() or b"",
                tuple(message.headers() or ()),
            )
        )

    def partition(self, topic: str, partition: int) -> list[Record]:
        """What read() has brought so far, by offset."""
        return self._known[topic, partition]

    def records(self, topic: str) -> list[Record]:
        return [record for (name, _), records in self._known.items() if name == topic for record in records]

    def partitions(self) -> Iterable[tuple[tuple[str, int], list[Record]]]:
        return self._known.items()

    def all(self) -> Iterator[Record]:
        for records in self._known.values():
            yield from records

    def commands_of(self, command_id: str) -> list[Record]:
        """The records of one command, freshly read."""
        self.read()
        return [r for r in self.all() if r.topic.endswith(".commands") and r.command_id == command_id]

    def events_of(self, command_id: str) -> list[Record]:
        self.read()
        return [r for r in self.all() if r.topic.endswith(".events") and r.header("tw_command_id") == command_id]

    def write(self, topic: str, key: bytes | None, value: bytes, headers: Headers, partition: int) -> tuple[int, int]:
        """Appends one raw record; returns (partition, offset)."""
        placed: list[tuple[int, int]] = []

        def report(error: KafkaError | None, message: Any) -> None:
            if error:
                raise KafkaException(error)
            placed.append((message.partition(), message.offset()))

        producer = Producer(
            {"bootstrap.servers": self._brokers, "acks": "all", "message.max.bytes": 2_000_000, "log_level": 0}
        )
        producer.produce(topic, value, key, partition, report, headers=headers)
        producer.flush(20)
        assert placed, f"the broker did not take a record for {topic}"
        return placed[0]

    def write_all(self, topic: str, records: list[tuple[str, bytes, Headers]]) -> None:
        """Appends (key, value, headers) in order, each where its key belongs."""
        failed: list[KafkaError] = []
        producer = Producer({"bootstrap.servers": self._brokers, "acks": "all", "linger.ms": 20, "log_level": 0})
        for key, value, headers in records:
            producer.produce(
                topic,
                value,
                key,
                partition_of(key.encode(), TOPICS[topic]),
                lambda error, _: failed.append(error) if error else None,
                headers=headers,
            )
            producer.poll(0)
        assert producer.flush(60) == 0 and not failed, f"the broker did not take {failed[:3]}"


def readers_rule(events: list[Record]) -> list[Record]:
    """What is left of one partition's events under the rule for every reader: drop what is not above the highest
    (tw_cause_offset, tw_n) so far."""
    kept: list[Record] = []
    highest = (-1, -1)
    for event in events:
        if event.cause > highest:
            highest = event.cause
            kept.append(event)
    return kept
