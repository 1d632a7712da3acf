"""The model's dead letters (letters.py, model.py) are those of docs/dead-letters.md: small logs of one cart, and what must
become of them."""

import uuid
from types import SimpleNamespace
from typing import Any

import msgpack
import pytest

import ids
from letters import Settlement, Verdict
from messages import TOPICS
from model import Model, Partition, time_text
from topics import Record

ID_KEY = bytes(range(32))
NOW = 1_750_000_000_000
MEMBER = ids.member_id(ID_KEY, "ana@example.com")
PRODUCT = ids.product_id("TEE-BLK-M")
NUMBER = ids.partition_of(MEMBER.encode(), TOPICS["cart.commands"])
NEIGHBOUR = next(
    member_id
    for member_id in (ids.member_id(ID_KEY, f"bea{i}@example.com") for i in range(100))
    if ids.partition_of(member_id.encode(), TOPICS["cart.commands"]) == NUMBER
)


class Log:
    """`refused`: offsets that the store does not take."""

    def __init__(self, *refused: int) -> None:
        self.model = Model(ID_KEY)
        self.partition.refused = set(refused)
        self.records: list[Record] = []

    @property
    def partition(self) -> Partition:
        return self.model.partitions["cart", NUMBER]

    def append(self, key: str, value: bytes, headers: dict[str, str]) -> None:
        offset = len(self.records)
        texts = tuple((name, text.encode()) for name, text in headers.items())
        record = Record("cart.commands", NUMBER, offset, NOW + offset, key.encode(), value, texts)
        self.records.append(record)
        self.model.fold(record)

    def _envelope(self, ce_type: str) -> dict[str, str]:
        return {
            "ce_id": str(uuid.UUID(int=0x0192F5C09A007000_8000000000000000 + len(self.records))),
            "ce_type": ce_type,
            "ce_source": "/tillwire/edge",
            "ce_time": time_text(NOW),
            "ce_specversion": "1.0",
            "content-type": "application/msgpack",
        }

    def add(self, quantity: int, member_id: str = MEMBER, ce_type: str = "cart.add_item.v1") -> None:
        body = {"member_id": member_id, "product_id": PRODUCT, "quantity": quantity, "product_name": "T-shirt",
                "price": "1.00", "product_version": 1}  # fmt: skip
        self.append(member_id, msgpack.packb(body), self._envelope(ce_type))

    def requeue(self, name: int, of: int | None = None, attempt: int = 2) -> None:
        """`of`: the record that failed last, when it is not the first."""
        origin = self.records[name if of is None else of]
        own = {key: value.decode() for key, value in origin.headers if key not in ("tw_requeue_of", "tw_attempt")}
        word = {"tw_requeue_of": str(name), "tw_attempt": str(attempt), "tw_time": str(NOW + name)}
        self.append((origin.key or b"").decode(), origin.value, {**word, **own})

    def drop(self, name: int | None) -> None:
        named = {} if name is None else {"tw_drop_of": str(name)}
        self.append(MEMBER, b"", {**self._envelope("dead_letter.drop.v1"), **named})

    def pieces(self, member_id: str = MEMBER) -> int:
        cart = self.model.state.carts.get(member_id)
        return cart.items if cart else 0

    def last(self) -> tuple[str, int, str | None]:
        """What the last record's outcome event said."""
        event = self.partition.events[-1]
        assert event.cause_offset == len(self.records) - 1
        return event.body["status"], event.body["http_status"], event.body.get("problem_code")


def settled(log: Log) -> dict[int, tuple[int, str]]:
    return {name: (end.by_offset, end.as_what) for name, end in log.partition.letters.settlements.items()}


def test_later_commands_of_a_key_wait_and_others_flow() -> None:
    log = Log(0)
    log.add(1)
    log.add(2)
    log.add(4, NEIGHBOUR)
    assert log.partition.letters.verdicts == {0: Verdict("refused_by_store", 0, 1), 1: Verdict("parked", 1, 1)}
    assert (log.pieces(), log.pieces(NEIGHBOUR)) == (0, 4)


def test_what_cannot_be_read_parks_nothing() -> None:
    log = Log()
    log.add(1, ce_type="cart.no_such.v1")
    log.add(2)
    assert (log.partition.dead, log.pieces()) == ({0: "unknown_type"}, 2)


def test_requeues_in_order_give_what_would_have_been() -> None:
    log = Log(0)
    log.add(1)
    log.add(2)
    log.requeue(0)
    assert log.last() == ("succeeded", 200, None)
    log.requeue(1)
    log.add(4)
    assert settled(log) == {0: (2, "succeeded"), 1: (3, "succeeded")}
    assert log.pieces() == 7
    assert log.partition.letters.settlements[0] == Settlement(2, "succeeded", NOW + 2)
    assert log.model.state.carts[MEMBER].created_ms == NOW, "it is decided at its first time"


def test_a_requeue_out_of_order_changes_nothing() -> None:
    log = Log(0)
    log.add(1)
    log.add(2)
    log.requeue(1)
    assert log.last()[0] == "dead_lettered"
    assert (settled(log), log.pieces(), set(log.partition.dead)) == ({}, 0, {0, 1})
    log.requeue(0)
    log.requeue(1)
    assert (set(settled(log)), log.pieces()) == ({0, 1}, 3)


def test_a_requeue_that_fails_again_keeps_its_name_and_counts() -> None:
    log = Log(0, 2)
    log.add(1)
    log.add(2)
    log.requeue(0)
    assert log.partition.letters.verdicts[2] == Verdict("refused_by_store", 0, 2)
    log.requeue(1)
    assert settled(log) == {}
    log.requeue(0, of=2, attempt=3)
    assert (settled(log), log.pieces()) == ({0: (4, "succeeded")}, 1)


def test_a_requeue_of_what_is_settled_has_no_second_effect() -> None:
    log = Log(0)
    log.add(1)
    log.requeue(0)
    log.requeue(0)
    assert (log.pieces(), settled(log)) == (1, {0: (1, "succeeded")})
    log.requeue(1)  # never was a dead letter
    assert log.pieces() == 1


def test_a_requeue_of_what_another_record_of_its_id_has_done_is_settled_as_repeated() -> None:
    log = Log(0, 1)
    log.add(1)
    log.append(MEMBER, log.records[0].value, {name: value.decode() for name, value in log.records[0].headers})
    log.requeue(0)
    log.requeue(1)
    assert (settled(log), log.pieces()) == ({0: (2, "succeeded"), 1: (3, "repeated")}, 1)


def test_a_drop_opens_the_key_and_what_was_dropped_never_happens() -> None:
    log = Log(0)
    log.add(1)
    log.add(2)
    log.drop(0)
    assert log.last() == ("succeeded", 200, None)
    log.drop(0)
    assert log.last() == ("rejected", 404, "not-found")
    log.requeue(0)
    log.requeue(1)
    log.add(4)
    assert (log.pieces(), settled(log)) == (6, {0: (2, "dropped"), 1: (5, "succeeded")})


def test_a_requeue_that_comes_too_late_is_no_dead_letter_whatever_it_is() -> None:
    log = Log()
    log.add(1, ce_type="cart.juggle.v1")
    log.drop(0)
    log.requeue(0)
    assert (log.partition.dead, settled(log)) == ({0: "unknown_type"}, {0: (1, "dropped")})


def test_a_drop_of_nothing_is_a_dead_letter() -> None:
    log = Log()
    log.drop(None)
    assert log.partition.dead == {0: "bad_envelope"}


@pytest.mark.parametrize("folded_before", [False, True])
def test_a_verdict_that_is_read_late_still_counts(folded_before: bool) -> None:
    log = Log(0)
    log.add(1)
    log.add(2)
    origin = log.records[0]
    verdict = {"tw_dlq_offset": b"0", "tw_dlq_reason": b"refused_by_store"}
    letter = Record("cart.dlq", NUMBER, 0, NOW, origin.key, origin.value, (*origin.headers, *verdict.items()))
    logs: dict[tuple[str, int], list[Record]] = {("cart.commands", NUMBER): log.records}
    topics: Any = SimpleNamespace(partition=lambda topic, number: logs.get((topic, number), []))
    model = Model(ID_KEY)
    if folded_before:
        model.feed(topics)
        assert model.state.carts[MEMBER].items == 3
    logs["cart.dlq", NUMBER] = [letter]
    model.feed(topics)
    assert model.partitions["cart", NUMBER].dead == {0: "refused_by_store", 1: "parked"}
    assert MEMBER not in model.state.carts
