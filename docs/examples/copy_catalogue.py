#!/usr/bin/env python3
"""Keeps a copy of the shop's catalogue in SQLite by reading product.events.

    copy_catalogue.py BROKERS ASYNCAPI DATABASE [--once]

ASYNCAPI: the URL of the edge's /asyncapi.json, or a file. --once: stop at the present end instead of following on.
Needs confluent-kafka, msgpack and jsonschema. Stop it and start it as you like: what it made of the events and how far
it came are one transaction.
"""

import json
import sqlite3
import sys
import urllib.request
from pathlib import Path
from typing import Any

import msgpack
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from jsonschema import Draft202012Validator

TOPIC = "product.events"
TABLES = """
create table if not exists products (product_id text primary key, version integer not null, body text not null);
create table if not exists numbers (product_id text primary key, view_count integer not null default 0,
    rating text not null default '0.00', review_count integer not null default 0);
create table if not exists positions (partition integer primary key, next_offset integer not null,
    cause_offset integer not null, n integer not null);
"""


def load_schemas(asyncapi: str) -> dict[str, Draft202012Validator]:
    """ce_type -> what checks its payload, for every message of the topic."""
    if asyncapi.startswith("http"):
        with urllib.request.urlopen(asyncapi, timeout=15) as answer:
            document = json.load(answer)
    else:
        document = json.loads(Path(asyncapi).read_text(encoding="utf-8"))
    schemas = document["components"]["schemas"]
    return {name: Draft202012Validator(schemas[name]) for name in document["channels"][TOPIC]["messages"]}


class Copy:
    def __init__(self, path: str) -> None:
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.executescript(TABLES)

        rows = self.db.execute("select partition, next_offset, cause_offset, n from positions")
        # By partition: the next offset, and the highest (tw_cause_offset, tw_n) so far.
        self.positions = {partition: (offset, (cause, n)) for partition, offset, cause, n in rows}

    def position(self, partition: int) -> tuple[int, tuple[int, int]]:
        return self.positions.get(partition, (0, (-1, -1)))

    def take(self, messages: list[Message], schemas: dict[str, Draft202012Validator]) -> None:
        """One transaction: the events, and how far they bring us."""
        self.db.execute("begin immediate")
        for message in messages:
            self._take(message, schemas)
        for partition in {message.partition() for message in messages}:
            offset, highest = self.position(partition)
            self.db.execute("replace into positions values (?, ?, ?, ?)", (partition, offset, *highest))
        self.db.execute("commit")

    def _take(self, message: Message, schemas: dict[str, Draft202012Validator]) -> None:
        headers = {name: value.decode() for name, value in message.headers()}
        here = (int(headers["tw_cause_offset"]), int(headers["tw_n"]))
        _, highest = self.position(message.partition())
        if here > highest:  # the rule for every reader: what is not above it came before
            self._apply(headers["ce_type"], message.value(), schemas)
        self.positions[message.partition()] = (message.offset() + 1, max(here, highest))

    def _apply(self, ce_type: str, payload: bytes, schemas: dict[str, Draft202012Validator]) -> None:
        if ce_type not in schemas:  # newer than our copy of the document: not for us
            return
        body = msgpack.unpackb(payload)
        schemas[ce_type].validate(body)
        if ce_type in ("product.created.v1", "product.changed.v1"):
            body.pop("changed", None)
            self.db.execute(
                "insert into products values (?, ?, ?) on conflict (product_id) do update set version = excluded.version,"
                " body = excluded.body where excluded.version > version",
                (body["product_id"], body["version"], json.dumps(body)),
            )
        elif ce_type == "product.viewed.v1":
            self._set_number(body, "view_count")
        elif ce_type == "product.rated.v1":
            self._set_number(body, "rating")
            self._set_number(body, "review_count")

    def _set_number(self, body: dict[str, Any], name: str) -> None:
        """Views and ratings do not move the version: the newest event counts."""
        self.db.execute("insert or ignore into numbers (product_id) values (?)", (body["product_id"],))
        self.db.execute(f"update numbers set {name} = ? where product_id = ?", (body[name], body["product_id"]))


def start(brokers: str, copy: Copy) -> Consumer:
    """Where we left off. The group is not used: our place is in our database."""
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": "copy-catalogue",
            "enable.auto.commit": False,
            "auto.offset.reset": "error",  # events we have not read are gone: begin anew
            "enable.partition.eof": True,  # for --once
        }
    )
    known = consumer.list_topics(TOPIC, timeout=15).topics[TOPIC].partitions
    places = []
    for partition in known:
        first, _ = consumer.get_watermark_offsets(TopicPartition(TOPIC, partition), timeout=15)
        next_offset, _ = copy.position(partition)
        if next_offset < first:
            sys.exit(f"events of partition {partition} from {next_offset} to {first} are gone: begin with GET /v1/products")
        places.append(TopicPartition(TOPIC, partition, next_offset))
    consumer.assign(places)
    return consumer


def without_ends(messages: list[Message], open_ends: set[int]) -> list[Message]:
    """The events among them; partitions that were read to their end leave `open_ends`."""
    events = []
    for message in messages:
        if not message.error():
            events.append(message)
        elif message.error().code() == KafkaError._PARTITION_EOF:
            open_ends.discard(message.partition())
        else:
            raise KafkaException(message.error())
    return events


def main(brokers: str, asyncapi: str, database: str, once: bool) -> int:
    schemas, copy = load_schemas(asyncapi), Copy(database)
    consumer = start(brokers, copy)
    open_ends = {place.partition for place in consumer.assignment()}
    try:
        while not once or open_ends:
            copy.take(without_ends(consumer.consume(1000, timeout=0.2), open_ends), schemas)
    except KeyboardInterrupt:
        pass
    finally:
        consumer.close()
    (count,) = copy.db.execute("select count(*) from products").fetchone()
    print(f"{count} products in {database}")
    return 0


if __name__ == "__main__":
    words = [word for word in sys.argv[1:] if word != "--once"]
    if len(words) != 3:
        sys.exit(__doc__)
    sys.exit(main(words[0], words[1], words[2], "--once" in sys.argv))
