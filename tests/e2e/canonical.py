"""What the stores hold and still counts, read with their own clients: the same for every fold of one log, whatever was
swept. Guards, outboxes and indexes of the worker's own are left out; `twctl verify` has a form of its own."""

import hashlib
import struct
import uuid
from collections.abc import Iterator
from typing import Any

import ids
from model import LEDGER_LIFE_MS, Model
from stores import Stores, milliseconds
from topics import Record

Rows = list[dict[str, Any]]
AT_OF_CART_ROW = slice(52, 60)  # lib/ledger.c: where a packed row has the partition's clock


def clocks_of(records: list[Record]) -> dict[tuple[str, int], int]:
    """(domain, partition) -> its clock behind all of them."""
    clocks: dict[tuple[str, int], int] = {}
    for record in records:
        at = record.topic.partition(".")[0], record.partition
        clocks[at] = max(clocks.get(at, 0), record.timestamp_ms)
    return clocks


def forget_what_ended(model: Model) -> None:
    """The same of what the log says."""
    for (domain, _), partition in model.partitions.items():
        now_ms = partition.clock_ms
        partition.ledger = {i: row for i, row in partition.ledger.items() if now_ms - row.at_ms < LEDGER_LIFE_MS}
    clock = {p: partition.clock_ms for (domain, p), partition in model.partitions.items() if domain == "cart"}
    carts = model.state.carts
    for member_id in list(carts):
        if not model.state.live_cart(member_id, clock[ids.partition_of(member_id.encode(), len(clock))]):
            del carts[member_id]


class Canonical:
    """`readable_to_ms`: readers' keys are looked at when they live beyond it; earlier ones end by Redis' own clock
    while a test runs."""

    def __init__(self, stores: Stores, clocks: dict[tuple[str, int], int], readable_to_ms: int) -> None:
        self._stores = stores
        self._clocks = clocks
        self.readable_to_ms = readable_to_ms

    def _counts(self, domain: str, partition: int, at_ms: int | None) -> bool:
        return self._clocks[domain, partition] - (at_ms or 0) < LEDGER_LIFE_MS

    def tables(self) -> dict[str, Rows]:
        tables = self._stores.tables()
        ledger = tables["tw_ledger"]
        tables["tw_ledger"] = [
            row for row in ledger if self._counts("member", row["partition"], milliseconds(row["decided_at"]))
        ]
        return tables

    def products(self) -> Rows:
        return list(self._stores.mongo["products"].find({}, {"guard": 0}))

    def ratings(self) -> Rows:
        return list(self._stores.mongo["tw_ratings"].find({}, {"guard": 0}))

    def product_ledger(self) -> Rows:
        rows = self._stores.product_ledger()
        return [row for row in rows if self._counts("product", row["partition"], milliseconds(row["at"]))]

    def cart_ledger(self) -> dict[tuple[str, int], bytes]:
        """(command id, partition) -> packed row."""
        rows = {}
        for key in self._stores.redis.scan_iter("tw:ledger:*"):
            partition = int(key.decode().split(":")[2])
            for command_id, packed in self._stores.redis.hgetall(key).items():
                if self._counts("cart", partition, struct.unpack("<q", packed[AT_OF_CART_ROW])[0]):
                    rows[str(uuid.UUID(bytes=command_id)), partition] = packed
        return rows

    def _is_live(self, member_id: str, ends_ms: int) -> bool:
        partitions = sum(domain == "cart" for domain, _ in self._clocks)
        return self._clocks["cart", ids.partition_of(member_id.encode(), partitions)] < ends_ms

    def cart_copies(self) -> dict[str, dict[str, Any]]:
        copies = self._stores.cart_copies()
        return {member_id: cart for member_id, cart in copies.items() if self._is_live(member_id, cart["e"])}

    def readers_keys(self) -> dict[str, tuple[str, int]]:
        keys = self._stores.all_carts()
        return {key: (text, ends_ms) for key, (text, ends_ms) in keys.items() if ends_ms > self.readable_to_ms}

    def lines(self, domain: str) -> Iterator[str]:
        """Of all that a domain has, in whatever order."""
        if domain == "member":
            for name, rows in self.tables().items():
                yield from (f"{name} {sorted(row.items())!r}" for row in rows)
        elif domain == "product":
            for name, rows in (("p", self.products()), ("r", self.ratings()), ("l", self.product_ledger())):
                yield from (f"{name} {sorted(row.items())!r}" for row in rows)
        else:
            for found in (self.cart_ledger(), self.cart_copies(), self.readers_keys()):
                yield from (f"{key} {value!r}" for key, value in found.items())

    def digest(self, domain: str) -> str:
        found = hashlib.sha256()
        for line in sorted(self.lines(domain)):
            found.update(line.encode() + b"\n")
        return found.hexdigest()
