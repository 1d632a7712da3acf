"""Reads the three stores with their own clients."""

import json
import struct
import uuid
from collections import defaultdict
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgpack
import psycopg
import pymongo
from bson import Decimal128, ObjectId
from bson.codec_options import CodecOptions
from psycopg.rows import dict_row

import ids
from messages import TOPICS
from redis_servers import RedisServers

MEMBER_TABLES = ("members", "member_addresses", "jwt_tokens", "tw_email_claims", "tw_email_changes", "tw_ledger")
PARTITIONS = {domain: TOPICS[f"{domain}.commands"] for domain in ids.DOMAINS}


class Stores:
    """Connects on first use, and again after a server was restarted."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        self._postgres: psycopg.Connection[dict[str, Any]] | None = None
        self.redis = RedisServers(environment["TW_REDIS_URI"])
        self._mongo: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(
            environment["TW_MONGO_URI"], serverSelectionTimeoutMS=10_000, tz_aware=True
        )
        self.mongo = self._mongo.get_default_database(codec_options=CodecOptions(tz_aware=True))

    def close(self) -> None:
        if self._postgres:
            self._postgres.close()
        self._mongo.close()
        self.redis.close()

    def empty(self) -> None:
        """All three, but for their schemas."""
        self.empty_postgres()
        for name in self.mongo.list_collection_names():
            self.mongo[name].delete_many({})
        for server in self.redis.servers:
            server.flushdb()

    # --- PostgreSQL

    def rows(self, sql: str, *values: Any) -> list[dict[str, Any]]:
        """Tables are found in the schema tillwire without naming it."""
        for attempt in (1, 2):
            try:
                if not self._postgres or self._postgres.closed:
                    self._postgres = psycopg.connect(
                        self._environment["TW_POSTGRES_URI"],
                        autocommit=True,
                        row_factory=dict_row,
                        connect_timeout=10,
                        options="-c search_path=tillwire",
                    )
                cursor = self._postgres.execute(sql, values)
                return cursor.fetchall() if cursor.description else []
            except psycopg.OperationalError:
                if self._postgres:
                    self._postgres.close()
                if attempt == 2:
                    raise
        raise AssertionError

    def member(self, member_id: str) -> dict[str, Any] | None:
        found = self.rows("select * from members where id = %s", member_id)
        return found[0] if found else None

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """All rows of what the member worker writes."""
        return {name: self.rows(f"select * from {name}") for name in MEMBER_TABLES}

    def empty_postgres(self) -> None:
        """As after a loss of the whole database, but for its schema."""
        self.rows(f"truncate {', '.join(MEMBER_TABLES)}, tw_progress")

    # --- MongoDB

    def product(self, product_id: str) -> dict[str, Any] | None:
        return self.mongo["products"].find_one({"_id": ObjectId(ids.object_id_of(product_id))})

    def view_count(self, product_id: str) -> int:
        product = self.product(product_id)
        return int(product["view_count"]) if product else 0

    # --- Redis

    def cart_texts(self, member_id: str) -> dict[str, str]:
        """Key -> JSON text of everything readers see of one cart."""
        keys = sorted(self.redis.scan_iter(f"cart:{member_id}:*", count=1000))
        return {key.decode(): (self.redis.get(key) or b"").decode() for key in keys}

    def all_carts(self) -> dict[str, tuple[str, int]]:
        """Key -> (JSON text, time of its end in ms) of all readers' keys."""
        carts = {}
        for server in self.redis.servers:
            keys = list(self.redis.keys_of(server, "cart:*"))
            with server.pipeline(transaction=False) as pipe:
                for key in keys:
                    pipe.get(key)
                    pipe.pexpiretime(key)
                answers = pipe.execute()
            for i, key in enumerate(keys):
                carts[key.decode()] = (answers[2 * i].decode(), answers[2 * i + 1])
        return carts

    def cart_copies(self) -> dict[str, dict[str, Any]]:
        """Member -> the cart that the worker decides on, as schemas/state/cart.json packs it, ids as text."""
        copies = {}
        for key in self.redis.scan_iter("tw:cart:*", count=1000):
            packed = self.redis.get(key)
            if packed is None:
                continue
            cart = msgpack.unpackb(packed)
            lines = [{**line, "p": str(uuid.UUID(bytes=line["p"]))} for line in cart["l"]]
            copies[key.decode().rpartition(":")[2]] = {**cart, "m": str(uuid.UUID(bytes=cart["m"])), "l": lines}
        return copies

    def holders(self) -> dict[str, set[str]]:
        """Product -> members with a line of it, of all partitions."""
        holders: dict[str, set[str]] = defaultdict(set)
        for key in self.redis.scan_iter("tw:holders:*", count=1000):
            members = (str(uuid.UUID(bytes=member)) for member in self.redis.smembers(key))
            holders[key.decode().rpartition(":")[2]].update(members)
        return holders

    # --- ledgers

    def product_ledger(self) -> list[dict[str, Any]]:
        return list(self.mongo["tw_ledger"].find())

    def cart_ledger(self) -> set[tuple[str, int]]:
        """(command id without its partition bits, partition) of each row."""
        rows = set()
        for key in self.redis.scan_iter("tw:ledger:*"):
            partition = int(key.decode().split(":")[2])
            rows.update((str(uuid.UUID(bytes=command_id)), partition) for command_id in self.redis.hkeys(key))
        return rows

    # --- watermarks

    def watermarks(self, domain: str) -> list[int]:
        """The first offset of each partition whose effect is not readable yet."""
        marks = [0] * PARTITIONS[domain]
        if domain == "member":
            for row in self.rows("select partition, next_offset from tw_progress"):
                marks[row["partition"]] = row["next_offset"]
        elif domain == "product":
            for document in self.mongo["tw_applied"].find():
                marks[document["_id"]] = int(document["applied"])
        else:
            for partition in range(len(marks)):
                packed = self.redis.getrange(f"tw:progress:{partition}", 0, 8)
                marks[partition] = struct.unpack("<xq", packed)[0] if packed else 0
        return marks

    def committed(self, domain: str) -> list[int]:
        """The watermarks of what is committed; in MongoDB it may still have to be applied."""
        if domain != "product":
            return self.watermarks(domain)
        marks = [0] * PARTITIONS[domain]
        for document in self.mongo["tw_progress"].find():
            marks[document["_id"]] = int(document["next"])
        return marks


def exact_json(text: str) -> Any:
    """JSON whose numbers stay decimal."""
    return json.loads(text, parse_float=Decimal)


def decimal_of(value: Decimal128) -> Decimal:
    return value.to_decimal()


def milliseconds(time: datetime | None) -> int | None:
    """Of a database time; one without a zone is UTC, as all of ours are."""
    if time is None:
        return None
    whole = time.replace(microsecond=0, tzinfo=None) - datetime(1970, 1, 1)
    return (whole.days * 86_400 + whole.seconds) * 1000 + time.microsecond // 1000
