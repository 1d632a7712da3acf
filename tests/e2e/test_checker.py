"""The checker is tested on planted lies: a small true world passes, and each lie in it is called by its rule's name."""

import dataclasses
import json
import uuid
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgpack
import pytest
from bson import Decimal128, ObjectId

import checker
import ids
from checker import History, Told
from messages import TOPICS, money_text
from model import Event, Model, Partition, time_text
from rules import Cart
from topics import Record, readers_rule

ID_KEY = bytes(range(32))
EMAIL = "ana@example.com"
SKU = "TEE-BLK-M"
NOW = 1_750_000_000_123
MEMBER = ids.member_id(ID_KEY, EMAIL)
PRODUCT = ids.product_id(SKU)


class World:
    """The logs of a few commands, and events and dead letters as an honest worker would publish them."""

    def __init__(self) -> None:
        self.logs: dict[tuple[str, int], list[Record]] = {
            (t, p): [] for t, count in TOPICS.items() for p in range(count)
        }
        self.sent: dict[str, str] = {}
        self._write_commands()
        self.model = Model(ID_KEY)
        self.model.feed(self)  # type: ignore[arg-type] # all it asks for is partition()
        for partition in self.model.partitions.values():
            self._publish(partition)

    def partition(self, topic: str, number: int) -> list[Record]:
        return self.logs[topic, number]

    def _append(self, topic: str, number: int, key: bytes, value: bytes, headers: dict[str, str]) -> Record:
        log = self.logs[topic, number]
        record = Record(
            topic,
            number,
            len(log),
            NOW + len(log),
            key,
            value,
            tuple((name, text.encode()) for name, text in headers.items()),
        )
        log.append(record)
        return record

    def _command(self, title: str, ce_type: str, key: str, **body: Any) -> None:
        topic = f"{ce_type.split('.')[0]}.commands"
        self.sent[title] = str(uuid.UUID(int=0x0192F5C09A007000_8000000000000000 + len(self.sent)))
        self._append(
            topic,
            ids.partition_of(key.encode(), TOPICS[topic]),
            key.encode(),
            msgpack.packb(body),
            {
                "ce_id": self.sent[title],
                "ce_type": ce_type,
                "ce_source": "/tillwire/edge",
                "ce_time": time_text(NOW),
                "ce_specversion": "1.0",
                "content-type": "application/msgpack",
            },
        )

    def _write_commands(self) -> None:
        self._command(
            "register",
            "member.register.v1",
            MEMBER,
            member_id=MEMBER,
            email=EMAIL,
            email_folded=EMAIL,
            password_hash="$argon2id$…",
            full_name="Ana Lim",
        )
        self._command(
            "create",
            "product.create.v1",
            PRODUCT,
            product_id=PRODUCT,
            sku=SKU,
            name="T-shirt",
            slug="t-shirt",
            price="199.00",
            discount_price="149.50",
            category="shirts",
            tags=[],
            images={},
            is_active=True,
        )
        for i in range(3):
            self._command(f"view{i}", "product.record_view.v1", PRODUCT, product_id=PRODUCT)
        for i, quantity in enumerate((2, 3, 999)):  # the last one is refused
            self._command(
                f"add{i}",
                "cart.add_item.v1",
                MEMBER,
                member_id=MEMBER,
                product_id=PRODUCT,
                quantity=quantity,
                product_name="T-shirt",
                price="149.50",
                product_version=1,
            )
        self._command("poison", "cart.no_such.v1", MEMBER, member_id=MEMBER)
        self._command(
            "last",
            "cart.add_item.v1",
            MEMBER,
            member_id=MEMBER,
            product_id=PRODUCT,
            quantity=1,
            product_name="T-shirt",
            price="149.50",
            product_version=1,
        )

    def _publish(self, partition: Partition) -> None:
        last_view = max(partition.views, default=None)
        viewed = (
            []
            if last_view is None
            else [
                Event(
                    f"{partition.domain}.commands/{partition.number}/{last_view[0]}/{last_view[1]}",
                    "product.viewed.v1",
                    PRODUCT,
                    *last_view,
                    self.sent["view2"],
                    time_text(partition.clock_ms),
                    partition.views[last_view],
                )
            ]
        )
        for event in sorted([*partition.events, *viewed], key=lambda e: (e.cause_offset, e.n)):
            self._append(
                f"{partition.domain}.events",
                partition.number,
                event.key.encode(),
                msgpack.packb(event.body),
                {
                    "ce_id": event.id,
                    "ce_type": event.type,
                    "ce_source": f"/tillwire/{partition.domain}",
                    "ce_time": event.time,
                    "ce_specversion": "1.0",
                    "content-type": "application/msgpack",
                    "tw_command_id": event.command_id,
                    "tw_cause_offset": str(event.cause_offset),
                    "tw_n": str(event.n),
                },
            )
        for offset, reason in partition.dead.items():
            origin = self.logs[f"{partition.domain}.commands", partition.number][offset]
            self.logs[f"{partition.domain}.dlq", partition.number].append(
                dataclasses.replace(
                    origin,
                    topic=f"{partition.domain}.dlq",
                    headers=(
                        *origin.headers,
                        *(
                            (k, v.encode())
                            for k, v in {
                                "tw_dlq_topic": origin.topic,
                                "tw_dlq_partition": str(origin.partition),
                                "tw_dlq_offset": str(offset),
                                "tw_dlq_timestamp": str(origin.timestamp_ms),
                                "tw_dlq_reason": reason,
                            }.items()
                        ),
                    ),
                )
            )

    # what the rules look at

    def at(self, domain: str) -> tuple[Partition, list[Record]]:
        """The one partition of a domain that holds something, and its events."""
        key = (PRODUCT if domain == "product" else MEMBER).encode()
        number = ids.partition_of(key, TOPICS[f"{domain}.commands"])
        return self.model.partitions[domain, number], self.logs[f"{domain}.events", number]

    def members(self) -> list[dict[str, Any]]:
        at = datetime(2025, 6, 15, 15, 6, 40, 123_000)
        return [{"id": uuid.UUID(MEMBER), **self.model.state.members[MEMBER], "created_at": at, "updated_at": at}]

    def products(self) -> list[dict[str, Any]]:
        product = self.model.state.products[PRODUCT]
        at = datetime(2025, 6, 15, 15, 6, 40, product["created_at"] % 1000 * 1000)
        decimals = {
            name: Decimal128(money_text(product[name]))
            for name in ("price", "discount_price", "effective_price", "rating")
        }
        return [
            {"_id": ObjectId(ids.product_object_id(SKU)), **product, **decimals, "created_at": at, "updated_at": at}
        ]

    def carts(self) -> dict[str, tuple[str, int]]:
        def text(value: dict[str, Any]) -> str:
            return json.dumps(value, default=float)

        cart = self.model.state.carts[MEMBER]
        return {key: (text(value), cart.ends_ms) for key, value in checker._expected_keys(MEMBER, cart).items()}


@pytest.fixture
def world() -> World:
    return World()


def test_a_true_world_has_no_violations(world: World) -> None:
    assert world.model.state.carts[MEMBER].items == 6 and world.model.state.products[PRODUCT]["view_count"] == 3
    for (domain, number), partition in world.model.partitions.items():
        events = world.logs[f"{domain}.events", number]
        assert checker.headers_are_complete(events) == []
        assert checker.same_id_same_event(events) == []
        assert checker.events_are_those_of_the_fold(partition, events) == []
        assert checker.versions_go_up_by_one(partition, events) == []
        assert (
            checker.dead_letters_are_the_poison(
                partition, world.logs[f"{domain}.commands", number], world.logs[f"{domain}.dlq", number]
            )
            == []
        )
    assert checker.members_are_those_of_the_fold(world.model.state, world.members(), []) == []
    assert checker.products_are_those_of_the_fold(world.model.state, world.products()) == []
    assert checker.carts_are_those_of_the_fold(world.model.state, world.carts()) == []
    assert checker.watermarks_are_at_the_end("cart", [5, 0], [5, 0], [5, 0]) == []


# --- what clients were told


def told(world: World, *names: str, status: int = 202) -> History:
    return History([Told(name, status, world.sent[name]) for name in names])


def commands(world: World) -> list[Record]:
    return [record for (topic, _), log in world.logs.items() if topic.endswith(".commands") for record in log]


def test_an_accepted_command_that_is_not_in_the_log_is_found(world: World) -> None:
    lie = History([*told(world, *world.sent).told, Told("POST /v1/members", 202, str(uuid.uuid4()))])
    assert any("not in the log" in s for s in checker.accepted_are_in_the_log(lie, commands(world)))
    assert checker.accepted_are_in_the_log(told(world, *world.sent), commands(world)) == []


def test_an_accepted_command_that_is_in_the_log_twice_is_found(world: World) -> None:
    twice = [*commands(world), commands(world)[0]]
    assert any("2 times" in s for s in checker.accepted_are_in_the_log(told(world, *world.sent), twice))


def test_a_refused_command_that_is_in_the_log_is_found(world: World) -> None:
    history = told(world, *list(world.sent)[1:])
    history.told.append(Told("POST /v1/members", 422))
    assert any("nobody was told" in s for s in checker.accepted_are_in_the_log(history, commands(world)))
    history.told.append(Told("POST /v1/members", 503))  # an unknown one may be there
    assert checker.accepted_are_in_the_log(history, commands(world)) == []


def test_an_accepted_command_without_an_end_is_found(world: World) -> None:
    del world.model.outcomes[world.sent["add1"]]
    assert len(checker.accepted_have_an_end(told(world, *world.sent), world.model)) == 1


# --- events

Lie = Callable[[list[Record]], None]


def drop(i: int) -> Lie:
    return lambda events: events.__delitem__(i)


def swap(events: list[Record]) -> None:
    events[0], events[1] = events[1], events[0]


def doctor(i: int, **body: Any) -> Lie:
    def change(events: list[Record]) -> None:
        events[i] = dataclasses.replace(events[i], value=msgpack.packb({**events[i].body, **body}))

    return change


@pytest.mark.parametrize("lie", [drop(0), drop(-1), swap, doctor(0, quantity=3), doctor(1, status="rejected")])
def test_a_wrong_cart_event_is_found(world: World, lie: Lie) -> None:
    partition, events = world.at("cart")
    lie(events)
    assert any("I9" in s for s in checker.events_are_those_of_the_fold(partition, events))


def test_a_repeated_event_is_none_of_them_under_the_readers_rule(world: World) -> None:
    partition, events = world.at("cart")
    events += events[:3]
    assert checker.events_are_those_of_the_fold(partition, events) == []
    assert len(readers_rule(events)) == len(events) - 3


@pytest.mark.parametrize("lie", [doctor(-1, view_count=2), drop(-1)])
def test_views_that_were_not_told_are_found(world: World, lie: Lie) -> None:
    partition, events = world.at("product")
    lie(events)
    assert any("I9" in s for s in checker.events_are_those_of_the_fold(partition, events))


def test_one_event_id_with_two_contents_is_found(world: World) -> None:
    _, events = world.at("cart")
    events.append(dataclasses.replace(events[0], value=events[2].value))
    assert any("I2" in s for s in checker.same_id_same_event(events))


def test_a_version_that_jumps_or_goes_back_is_found(world: World) -> None:
    partition, events = world.at("cart")
    for version in (-1, 0, 99):
        doctor(2, version=version)(events)
        assert any("I6" in s for s in checker.versions_go_up_by_one(partition, events))


def test_a_missing_header_is_found(world: World) -> None:
    _, events = world.at("cart")
    events[0] = dataclasses.replace(events[0], headers=tuple(h for h in events[0].headers if h[0] != "tw_n"))
    assert len(checker.headers_are_complete(events)) == 1


# --- dead letters


def test_wrong_dead_letters_are_found(world: World) -> None:
    partition, _ = world.at("cart")
    log = world.logs["cart.commands", partition.number]
    dead = world.logs["cart.dlq", partition.number]
    (letter,) = dead
    good = dataclasses.replace(letter, headers=(*letter.headers, ("tw_dlq_offset", b"0")))
    for lie in (
        [],
        [letter, letter],
        [letter, good],
        [dataclasses.replace(letter, value=b"")],
        [dataclasses.replace(letter, headers=letter.headers[1:])],
        [dataclasses.replace(letter, headers=(*letter.headers, ("tw_dlq_reason", b"misrouted")))],
    ):
        assert any("I11" in s for s in checker.dead_letters_are_the_poison(partition, log, lie)), lie


# --- stores


def test_a_watermark_that_is_not_at_the_end_is_found() -> None:
    assert checker.watermarks_are_at_the_end("cart", [4], [5], [4]) != []
    assert checker.watermarks_are_at_the_end("cart", [5], [5], [6]) != []


def test_a_lost_or_doubled_view_is_found(world: World) -> None:
    for count in (2, 4):
        (product,) = world.products()
        product["view_count"] = count
        assert any("I5" in s for s in checker.products_are_those_of_the_fold(world.model.state, [product]))


def test_a_wrong_product_is_found(world: World) -> None:
    for field, value in {"name": "Hat", "price": Decimal128("199.01"), "discount_price": None, "tags": ["x"]}.items():
        assert checker.products_are_those_of_the_fold(world.model.state, [{**world.products()[0], field: value}]) != []
    assert checker.products_are_those_of_the_fold(world.model.state, []) != []


def test_a_wrong_member_is_found(world: World) -> None:
    for column, value in {"full_name": "Eve", "status": "SUSPENDED", "created_at": datetime(2025, 1, 1)}.items():
        assert (
            checker.members_are_those_of_the_fold(world.model.state, [{**world.members()[0], column: value}], []) != []
        )
    assert checker.members_are_those_of_the_fold(world.model.state, [], []) != []
    twin = {**world.members()[0], "id": uuid.uuid4(), "email": " ANA@Example.COM "}
    assert any("I16" in s for s in checker.emails_are_unique([*world.members(), twin], []))
    assert checker.emails_are_unique([], [{"member_id": 1, "is_default": False}]) != []


def test_a_wrong_cart_is_found(world: World) -> None:
    item, summary = f"cart:{MEMBER}:{PRODUCT}", f"cart:{MEMBER}:summary"
    true = world.carts()
    lies = [
        {item: true[item]},
        {summary: true[summary]},
        {},
        {**true, item: (true[item][0], 1)},
        {**true, item: (true[item][0].replace("149.5", "149.6"), true[item][1])},
        {**true, summary: (true[summary][0].replace('"total_items": 6', '"total_items": 7'), true[summary][1])},
        {**true, f"cart:{uuid.uuid4()}:summary": true[summary]},
    ]
    for lie in lies:
        assert any("I7" in s for s in checker.carts_are_those_of_the_fold(world.model.state, lie)), lie
    broken = {**true, summary: (true[summary][0].replace('"total_items": 6', '"total_items": 7'), true[summary][1])}
    assert any("add up" in s for s in checker.carts_agree_with_themselves(broken))


def test_an_empty_cart_has_no_keys(world: World) -> None:
    world.model.state.carts[MEMBER] = Cart(9)
    assert checker.carts_are_those_of_the_fold(world.model.state, {}) == []


def test_a_secret_in_a_text_is_found() -> None:
    assert checker.no_secrets({"open sesame"}, [("edge.log", b'{"password":"open sesame"}')]) != []
    assert checker.no_secrets({"open sesame"}, [("edge.log", b"nothing"), ("topic", b"")]) == []


def test_the_decimal_places_are_exact() -> None:
    assert checker._price_text(14950) == Decimal("149.50")
