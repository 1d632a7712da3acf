"""Comparing logs and stores is tested on planted lies: in a small true world nothing is wrong, and each lie in it is found.
What clients are told is in test_judge.py."""

import dataclasses
import json
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import msgpack
import pytest
from bson import Binary, Decimal128, ObjectId
from bson.binary import UUID_SUBTYPE

import compare_logs
import compare_stores
import ids
from messages import TOPICS, money_text
from model import Event, Model, Partition, time_text
from cart_rules import Line
from product_rules import mean_hundredths
from topics import Record, readers_rule

ID_KEY = bytes(range(32))
EMAIL = "ana@example.com"
TAKEN_EMAIL = "bea@example.com"
THIRD_EMAIL = "cem@example.com"
NEW_EMAIL = "ana@example.org"
SKU = "TEE-BLK-M"
HAT_SKU = "HAT-RED"
NOW = 1_750_000_000_123
MEMBER = ids.member_id(ID_KEY, EMAIL)
OTHER = ids.member_id(ID_KEY, TAKEN_EMAIL)
THIRD = ids.member_id(ID_KEY, THIRD_EMAIL)
CLAIM = ids.member_id(ID_KEY, NEW_EMAIL)
PRODUCT = ids.product_id(SKU)
HAT = ids.product_id(HAT_SKU)
BY_MERCHANTS = ("product.create.v1", "product.change.v1", "product.deactivate.v1")


def as_stored(column: str, value: Any) -> Any:
    if column.endswith("_at") and value is not None:
        return datetime(1970, 1, 1) + timedelta(milliseconds=value)
    if column == "fingerprint":
        return bytes.fromhex(value)
    if column in ("id", "caller", "change_id", "family_id") or column == "member_id":
        return value and uuid.UUID(value)
    return value


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

    def _command(self, title: str, ce_type: str, key: str, source: str = "/tillwire/edge", **body: Any) -> None:
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
                "ce_source": source,
                "ce_time": time_text(NOW),
                "ce_specversion": "1.0",
                "content-type": "application/msgpack",
                **({} if ce_type in BY_MERCHANTS else {"tw_caller": body.get("member_id", MEMBER)}),
            },
        )

    def _member(self, title: str, what: str, **body: Any) -> None:
        self._command(title, f"member.{what}.v1", MEMBER, member_id=MEMBER, **body)

    def _write_members(self) -> None:
        for title, member_id, email in (
            ("register", MEMBER, EMAIL),
            ("register2", OTHER, TAKEN_EMAIL),
            ("register3", THIRD, THIRD_EMAIL),
        ):
            self._command(
                title,
                "member.register.v1",
                member_id,
                member_id=member_id,
                email=email,
                email_folded=email,
                password_hash="$argon2id$…",
                full_name="Ana Lim",
            )
        self._write_sessions()
        for i in range(3):
            parts = {"address_line1": "Jl. Sudirman 1", "city": "Jakarta", "province": "DKI", "postal_code": "10220"}
            self._member(f"address{i}", "add_address", label=f"No. {i}", is_default=i == 1, **parts)
        self._write_email_change("taken", TAKEN_EMAIL, 1, granted=False)
        self._write_email_change("granted", NEW_EMAIL, 1, granted=True)

    def _write_sessions(self) -> None:
        ends = {"access_expires_at": NOW + 600_000, "refresh_expires_at": NOW + 1_209_600_000}
        for title in ("session", "session to end"):
            self._member(
                title,
                "start_session",
                credential_version=1,
                access_token_hash=bytes(32),
                refresh_token_hash=bytes(32),
                **ends,
            )
        first = ids.derived_id(self.sent["session"], MEMBER, "refresh")
        for title in ("refresh", "spent"):
            self._member(
                title,
                "refresh_session",
                refresh_token_id=first,
                access_token_hash=bytes(32),
                new_refresh_token_hash=bytes(32),
                **ends,
            )
        self._member("end all", "end_all_sessions")

    def _write_email_change(self, title: str, email: str, credentials: int, granted: bool) -> None:
        claim_id, policy = ids.member_id(ID_KEY, email), {"source": compare_logs.POLICIES + "member-email"}
        self._member(
            title, "change_email", credential_version=credentials, email=email, email_folded=email, claim_id=claim_id
        )
        step = {"member_id": MEMBER, "change_id": self.sent[title]}
        self._command(
            f"{title}, asked",
            "member.claim_email.v1",
            claim_id,
            **policy,
            claim_id=claim_id,
            **step,
        )
        self._command(f"{title}, told", "member.complete_email_change.v1", MEMBER, **policy, granted=granted, **step)

    def _create(self, title: str, sku: str, price: str, discount_price: str | None) -> None:
        product_id = ids.product_id(sku)
        self._command(
            title,
            "product.create.v1",
            product_id,
            product_id=product_id,
            sku=sku,
            name="T-shirt",
            slug="t-shirt",
            price=price,
            discount_price=discount_price,
            category="shirts",
            tags=[],
            images={},
            is_active=True,
        )

    def _product(self, title: str, what: str, product_id: str = PRODUCT, **body: Any) -> None:
        self._command(title, f"product.{what}.v1", product_id, product_id=product_id, **body)

    def _cart(self, title: str, what: str, member_id: str = MEMBER, **body: Any) -> None:
        self._command(title, f"cart.{what}.v1", member_id, member_id=member_id, **body)

    def _reprice(self, title: str, member_id: str, product_id: str, price: str, version: int, available: bool) -> None:
        self._cart(
            f"{title}, told",
            "reprice",
            member_id,
            source=compare_logs.POLICIES + "cart-reprice",
            product_id=product_id,
            product_name="T-shirt",
            price=price,
            product_version=version,
            available=available,
        )

    def _write_commands(self) -> None:
        self._write_members()
        self._create("create", SKU, "199.00", "149.50")
        for i in range(3):
            self._product(f"view{i}", "record_view")
        seen: dict[str, Any] = {
            "product_id": PRODUCT,
            "product_name": "T-shirt",
            "price": "149.50",
            "product_version": 1,
        }
        for i, quantity in enumerate((2, 3, 999)):  # the last one is refused
            self._cart(f"add{i}", "add_item", quantity=quantity, **seen)
        self._cart("poison", "no_such")
        self._cart("last", "add_item", quantity=1, **seen)
        self._write_sale_end(seen)
        self._write_hat()

    def _write_sale_end(self, seen: dict[str, Any]) -> None:
        """The product's price changes and comes back; one cart follows in time, another is added to too late."""
        nothing: dict[str, Any] = {"clear_description": False, "removed_images": []}
        self._product("change", "change", clear_discount_price=True, **nothing)
        self._product("change to the same", "change", clear_discount_price=True, price="199.00", **nothing)
        self._product("change refused", "change", clear_discount_price=False, discount_price="199.00", **nothing)
        self._reprice("reprice", MEMBER, PRODUCT, "199.00", 2, True)
        self._reprice("reprice again", MEMBER, PRODUCT, "199.00", 2, True)
        self._cart("add too late", "add_item", OTHER, quantity=1, **seen)
        self._reprice("reprice other", OTHER, PRODUCT, "199.00", 2, True)
        self._cart("acknowledge", "acknowledge", OTHER)
        for title, member_id, stars in (("rate0", MEMBER, 4), ("rate1", OTHER, 5), ("rate2", MEMBER, 3)):
            self._product(title, "rate", member_id=member_id, stars=stars)

    def _write_hat(self) -> None:
        """A product that was rated, and is for sale no more."""
        self._create("create hat", HAT_SKU, "20.00", None)
        self._product("rate hat", "rate", HAT, member_id=MEMBER, stars=1)
        seen: dict[str, Any] = {"product_id": HAT, "product_name": "T-shirt", "price": "20.00", "product_version": 1}
        self._cart("add hat", "add_item", OTHER, quantity=7, **seen)
        self._product("rate hat no more", "withdraw_rating", HAT, member_id=MEMBER)
        self._product("deactivate hat", "deactivate", HAT)
        self._reprice("reprice hat", OTHER, HAT, "20.00", 2, False)
        self._cart("add hat to clear", "add_item", THIRD, quantity=7, **seen)
        self._cart("clear", "clear", THIRD)

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
        for offset, verdict in partition.letters.verdicts.items():
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
                                "tw_dlq_reason": verdict.reason,
                                "tw_dlq_first_offset": str(verdict.first_offset),
                                "tw_dlq_attempts": str(verdict.attempts),
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

    def tables(self) -> compare_stores.Tables:
        """As PostgreSQL would give them."""
        found: compare_stores.Tables = {}
        for name, rows in compare_stores.folded_tables(self.model).items():
            key_columns = compare_stores.KEY_OF.get(name, ("id",))
            found[name] = [
                {column: as_stored(column, value) for column, value in {**row, **dict(zip(key_columns, key))}.items()}
                for key, row in rows.items()
            ]
        return found

    def log(self, topic: str) -> list[Record]:
        return [record for (name, _), log in self.logs.items() if name == topic for record in log]

    def products(self) -> list[dict[str, Any]]:
        """As MongoDB would give them, PRODUCT first."""
        return [
            {
                **{name: as_stored(name, value) for name, value in product.items()},
                **{
                    name: product[name] if product[name] is None else Decimal128(money_text(product[name]))
                    for name in ("price", "discount_price", "effective_price", "rating")
                },
                "_id": ObjectId(ids.object_id_of(product_id)),
            }
            for product_id, product in self.model.state.products.items()
        ]

    def ratings(self) -> list[dict[str, Any]]:
        return [
            {
                **{name: as_stored(name, value) for name, value in rating.items()},
                "product_id": ObjectId(ids.object_id_of(product_id)),
                "member_id": Binary(uuid.UUID(member_id).bytes, UUID_SUBTYPE),
            }
            for product_id, mine in self.model.state.ratings.items()
            for member_id, rating in mine.items()
        ]

    def product_ledger(self) -> list[dict[str, Any]]:
        def binary(text: str) -> Binary:
            return Binary(bytes.fromhex(text.replace("-", "")), UUID_SUBTYPE)

        return [
            {
                "partition": number,
                "command_id": binary(ledger_id),
                "caller": binary(row["caller"] or compare_stores.NOBODY),
                "fingerprint": binary(row["fingerprint"]),
                "type": row["command_type"],
                "status": row["status"],
                "http_status": row["http_status"],
                "problem": row["problem"] or "",
                "resource": row["resource"] or "",
                "offset": row["cause_offset"],
                "submitted_at": as_stored("submitted_at", row["submitted_at"]),
                "at": as_stored("decided_at", row["decided_at"]),
            }
            for (ledger_id, number), row in compare_stores._folded_ledger(self.model, "product").items()
        ]

    def cart_ledger(self) -> set[Any]:
        return set(compare_stores._folded_ledger(self.model, "cart"))

    def copies(self) -> dict[str, dict[str, Any]]:
        return {
            member_id: {
                "m": member_id,
                "v": cart.version,
                "c": cart.created_ms,
                "u": cart.updated_ms,
                "e": cart.ends_ms,
                "l": [compare_stores._packed_line(line) for line in cart.lines.values()],
            }
            for member_id, cart in self.model.state.carts.items()
        }

    def carts(self) -> dict[str, tuple[str, int]]:
        def text(value: dict[str, Any]) -> str:
            return json.dumps(value, default=float)

        return {
            key: (text(value), cart.ends_ms)
            for member_id, cart in self.model.state.carts.items()
            for key, value in compare_stores._expected_keys(member_id, cart).items()
        }


HOLDERS = {PRODUCT: {MEMBER, OTHER}, HAT: {OTHER}}
NOT_MEMBERS = (
    *("create", "view", "change", "rate", "deactivate"),
    *("add0", "add1", "add2", "add too", "add hat", "poison", "last", "reprice", "acknowledge", "clear"),
)


@pytest.fixture
def world() -> World:
    return World()


def test_a_true_world_has_no_violations(world: World) -> None:
    assert world.model.state.carts[MEMBER].items == 6 and world.model.state.products[PRODUCT]["view_count"] == 3
    for (domain, number), partition in world.model.partitions.items():
        events = world.logs[f"{domain}.events", number]
        assert compare_logs.headers_are_complete(events) == []
        assert compare_logs.same_id_same_event(events) == []
        assert compare_logs.events_are_those_of_the_fold(partition, events) == []
        assert compare_logs.versions_go_up_by_one(partition, events) == []
        assert (
            compare_logs.dead_letters_are_the_poison(
                partition, world.logs[f"{domain}.commands", number], world.logs[f"{domain}.dlq", number]
            )
            == []
        )
    tables = world.tables()
    assert {name: len(rows) for name, rows in tables.items()} == {
        "members": 3,
        "member_addresses": 3,
        "jwt_tokens": 6,
        "tw_email_claims": 1,
        "tw_email_changes": 0,
        "tw_ledger": len([title for title in world.sent if not title.startswith(NOT_MEMBERS)]),
    }
    assert compare_stores.members_are_those_of_the_fold(world.model, tables) == []
    assert compare_stores.emails_are_unique(tables["members"]) == []
    assert compare_stores.emails_are_their_members(tables["members"], tables["tw_email_claims"], ID_KEY) == []
    assert compare_stores.addresses_have_one_default(tables["member_addresses"]) == []
    assert compare_logs.policy_follows_from_events(world.log("member.events"), world.log("member.commands")) == []
    by_members = [record for record in commands(world) if record.type not in BY_MERCHANTS]
    assert compare_logs.callers_act_for_themselves(world.model.state, by_members) == []
    assert compare_stores.products_are_those_of_the_fold(world.model.state, world.products()) == []
    assert compare_stores.ratings_are_those_of_the_fold(world.model.state, world.ratings()) == []
    assert compare_stores.product_ledger_is_that_of_the_fold(world.model, world.product_ledger()) == []
    assert compare_stores.cart_ledger_is_that_of_the_fold(world.model, world.cart_ledger()) == []
    assert compare_stores.carts_are_those_of_the_fold(world.model.state, world.carts()) == []
    assert compare_stores.copies_are_those_of_the_fold(world.model.state, world.copies()) == []
    assert compare_stores.holders_are_those_of_the_fold(world.model.state, HOLDERS) == []
    assert compare_logs.lines_behind_their_products(world.model.state) == []
    assert compare_logs.carts_are_told_what_products_say(world.log("product.events"), world.log("cart.commands")) == []
    assert compare_stores.watermarks_are_at_the_end("cart", [5, 0], [5, 0], [5, 0]) == []


def commands(world: World) -> list[Record]:
    return [record for (topic, _), log in world.logs.items() if topic.endswith(".commands") for record in log]


def record_of(world: World, title: str) -> Record:
    return next(record for record in commands(world) if record.command_id == world.sent[title])


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
    assert compare_logs.events_are_those_of_the_fold(partition, events)


def test_a_repeated_event_is_none_of_them_under_the_readers_rule(world: World) -> None:
    partition, events = world.at("cart")
    events += events[:3]
    assert compare_logs.events_are_those_of_the_fold(partition, events) == []
    assert len(readers_rule(events)) == len(events) - 3


@pytest.mark.parametrize("what", ["viewed", "changed", "rated"])
def test_a_missing_or_wrong_event_of_a_product_is_found(world: World, what: str) -> None:
    partition, events = world.at("product")
    place = next(i for i, event in enumerate(events) if event.type == f"product.{what}.v1")
    for lie in (drop(place), doctor(place, product_id=MEMBER), doctor(place, version=9)):
        lied = list(events)
        lie(lied)
        assert compare_logs.events_are_those_of_the_fold(partition, lied)


def test_views_that_were_not_told_are_found(world: World) -> None:
    partition, events = world.at("product")
    place = next(i for i, event in enumerate(events) if event.type == "product.viewed.v1")
    doctor(place, view_count=2)(events)
    assert any("tells 2 views" in s for s in compare_logs.events_are_those_of_the_fold(partition, events))


def test_one_event_id_with_two_contents_is_found(world: World) -> None:
    _, events = world.at("cart")
    events.append(dataclasses.replace(events[0], value=events[2].value))
    assert compare_logs.same_id_same_event(events)


def test_a_version_that_jumps_or_goes_back_is_found(world: World) -> None:
    partition, events = world.at("cart")
    for version in (-1, 0, 99):
        doctor(2, version=version)(events)
        assert compare_logs.versions_go_up_by_one(partition, events)


@pytest.mark.parametrize("what", ["rated", "changed"])
def test_a_products_version_moves_by_changes_alone(world: World, what: str) -> None:
    partition, events = world.at("product")
    place = next(i for i, event in enumerate(events) if event.type == f"product.{what}.v1")
    for version in (1, 3):
        lied = list(events)
        doctor(place, version=version)(lied)
        assert compare_logs.versions_go_up_by_one(partition, lied)


def test_a_missing_header_is_found(world: World) -> None:
    _, events = world.at("cart")
    events[0] = dataclasses.replace(events[0], headers=tuple(h for h in events[0].headers if h[0] != "tw_n"))
    assert len(compare_logs.headers_are_complete(events)) == 1


# --- dead letters


def test_wrong_dead_letters_are_found(world: World) -> None:
    partition, _ = world.at("cart")
    log = world.logs["cart.commands", partition.number]
    dead = world.logs["cart.dlq", partition.number]
    (letter,) = dead
    good = dataclasses.replace(letter, headers=(*letter.headers, ("tw_dlq_offset", b"0")))
    for lie in (
        [],
        [letter, dataclasses.replace(letter, headers=(*letter.headers, ("tw_dlq_message", b"another")))],
        [letter, good],
        [dataclasses.replace(letter, value=b"")],
        [dataclasses.replace(letter, headers=letter.headers[1:])],
        [dataclasses.replace(letter, headers=(*letter.headers, ("tw_dlq_reason", b"misrouted")))],
    ):
        assert compare_logs.dead_letters_are_the_poison(partition, log, lie), lie


# --- stores


def test_a_watermark_that_is_not_at_the_end_is_found() -> None:
    assert compare_stores.watermarks_are_at_the_end("cart", [4], [5], [4]) != []
    assert compare_stores.watermarks_are_at_the_end("cart", [5], [5], [6]) != []


def test_a_lost_or_doubled_view_is_found(world: World) -> None:
    for count in (2, 4):
        true = world.products()
        lie = [{**true[0], "view_count": count}, *true[1:]]
        assert compare_stores.products_are_those_of_the_fold(world.model.state, lie)


def test_a_wrong_product_is_found(world: World) -> None:
    lies = {
        "name": "Hat",
        "price": Decimal128("199.01"),
        "discount_price": Decimal128("149.50"),
        "tags": ["x"],
        "rating": Decimal128("4.01"),
        "rating_sum": 9,
        "revision": 4,
        "review_count": 3,
        "version": 3,
        "updated_at": datetime(2025, 1, 1),
    }
    true = world.products()
    for field, value in lies.items():
        lie = [{**true[0], field: value}, *true[1:]]
        assert any(field in s for s in compare_stores.products_are_those_of_the_fold(world.model.state, lie)), field
    assert any("is only in" in s for s in compare_stores.products_are_those_of_the_fold(world.model.state, true[1:]))


def test_a_wrong_rating_is_found(world: World) -> None:
    state, true = world.model.state, world.ratings()
    for field, value in {"stars": 5, "rated_at": datetime(2025, 1, 1)}.items():
        lie = [{**true[0], field: value}, *true[1:]]
        assert any(field in s for s in compare_stores.ratings_are_those_of_the_fold(state, lie))
    assert any("only in the log" in s for s in compare_stores.ratings_are_those_of_the_fold(state, true[1:]))
    assert any("two ratings" in s for s in compare_stores.ratings_are_those_of_the_fold(state, [*true, true[0]]))
    someone = {**true[0], "member_id": Binary(uuid.uuid4().bytes, UUID_SUBTYPE)}
    assert any("only in the store" in s for s in compare_stores.ratings_are_those_of_the_fold(state, [*true, someone]))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("caller", Binary(bytes(range(16)), UUID_SUBTYPE)),
        ("fingerprint", Binary(bytes(range(16)))),
        ("type", "product.rate.v1"),
        ("status", "dead_lettered"),
        ("http_status", 418),
        ("problem", "gone"),
        ("resource", "/v1/cart"),
        ("offset", 99),
        ("submitted_at", datetime(2025, 1, 1)),
        ("at", datetime(2025, 1, 1)),
        ("partition", 5),
        ("command_id", Binary(bytes(16), UUID_SUBTYPE)),
    ],
)
def test_a_wrong_ledger_row_of_a_product_is_found(world: World, field: str, value: Any) -> None:
    true = world.product_ledger()
    lie = [{**true[0], field: value}, *true[1:]]
    assert compare_stores.product_ledger_is_that_of_the_fold(world.model, lie)


def test_what_is_quiet_leaves_no_ledger_row(world: World) -> None:
    quiet = {"cart": "reprice, told", "product": "view0"}
    kept = {
        "cart": world.cart_ledger(),
        "product": {str(uuid.UUID(bytes=r["command_id"])) for r in world.product_ledger()},
    }
    assert len(kept["cart"]) == 10 and len(kept["product"]) == 11
    row = (ids.ledger_id(world.sent[quiet["cart"]]), record_of(world, quiet["cart"]).partition)
    assert row not in kept["cart"] and ids.ledger_id(world.sent[quiet["product"]]) not in kept["product"]
    for lie in ({*kept["cart"], row}, set(list(kept["cart"])[1:])):
        assert len(compare_stores.cart_ledger_is_that_of_the_fold(world.model, lie)) == 1
    true = world.product_ledger()
    view = {**true[0], "command_id": Binary(uuid.UUID(ids.ledger_id(world.sent["view0"])).bytes, UUID_SUBTYPE)}
    for documents in ([*true, view], true[1:]):
        assert len(compare_stores.product_ledger_is_that_of_the_fold(world.model, documents)) == 1


@pytest.mark.parametrize(
    ("stars", "mean"),
    [([], 0), ([5], 500), ([4, 5], 450), ([1, 1, 2], 133), ([1, 2, 2], 167), ([5] * 7 + [4], 488), ([3, 4] * 4, 350)],
)
def test_a_mean_has_two_places_half_up(stars: list[int], mean: int) -> None:
    assert mean_hundredths(stars) == mean


def test_ratings_end_as_the_members_left_them(world: World) -> None:
    product, hat = world.products()
    assert (str(product["rating"]), product["rating_sum"], product["review_count"]) == ("4.00", 8, 2)
    assert (str(hat["rating"]), hat["rating_sum"], hat["review_count"]) == ("0.00", 0, 0)
    assert sorted(rating["stars"] for rating in world.ratings()) == [0, 3, 5]


def test_a_change_that_changes_nothing_moves_nothing(world: World) -> None:
    changed = [event.body for event in world.log("product.events") if event.type == "product.changed.v1"]
    assert sorted((event["price"], event["version"], event["is_active"]) for event in changed) == [
        ("199.00", 2, True),
        ("20.00", 2, False),
    ]
    first, late = (record_of(world, title).timestamp_ms for title in ("change", "change to the same"))
    assert first < late and world.model.state.products[PRODUCT]["updated_at"] == first


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("members", "full_name", "Eve"),
        ("members", "status", "SUSPENDED"),
        ("members", "created_at", datetime(2025, 1, 1)),
        ("members", "email", EMAIL),
        ("members", "credential_version", 1),
        ("members", "last_login_at", None),
        ("member_addresses", "label", "Elsewhere"),
        ("member_addresses", "member_id", uuid.UUID(OTHER)),
        ("jwt_tokens", "is_revoked", False),
        ("jwt_tokens", "family_id", uuid.UUID(int=1)),
        ("tw_email_claims", "member_id", uuid.UUID(OTHER)),
        ("tw_ledger", "status", "accepted"),
        ("tw_ledger", "cause_offset", 99),
        ("tw_ledger", "fingerprint", bytes(range(16))),
    ],
)
def test_a_wrong_row_of_a_member_is_found(world: World, table: str, column: str, value: Any) -> None:
    true = world.tables()
    index = next(i for i, row in enumerate(true[table]) if row[column] != value)
    lie = [*true[table][:index], {**true[table][index], column: value}, *true[table][index + 1 :]]
    assert compare_stores.members_are_those_of_the_fold(world.model, {**true, table: lie})


@pytest.mark.parametrize("table", ["members", "member_addresses", "jwt_tokens", "tw_email_claims", "tw_ledger"])
def test_a_missing_row_and_one_too_many_are_found(world: World, table: str) -> None:
    true = world.tables()
    key = compare_stores.KEY_OF.get(table, ("id",))[0]
    for lie in (true[table][1:], [*true[table], {**true[table][0], key: uuid.uuid4()}]):
        assert any("is only in" in s for s in compare_stores.members_are_those_of_the_fold(world.model, {**true, table: lie}))


def test_a_change_of_address_that_hangs_in_the_store_is_found(world: World) -> None:
    hanging = [{"member_id": uuid.UUID(MEMBER), "change_id": uuid.UUID(int=1)}]
    lie = {**world.tables(), "tw_email_changes": hanging}
    assert any("tw_email_changes" in s for s in compare_stores.members_are_those_of_the_fold(world.model, lie))


def test_an_email_that_is_there_twice_or_somebody_elses_is_found(world: World) -> None:
    members, claims = world.tables()["members"], world.tables()["tw_email_claims"]
    twin = {**members[0], "id": uuid.uuid4(), "email": f" {NEW_EMAIL.upper()} "}
    assert any("2 times" in s for s in compare_stores.emails_are_unique([*members, twin]))
    assert any("folded wrongly" in s for s in compare_stores.emails_are_unique([{**members[0], "email_folded": "Ana@x.org"}]))
    assert compare_stores.emails_are_their_members(members, [], ID_KEY)
    stolen = [{**claims[0], "member_id": uuid.UUID(OTHER)}]
    assert any("not theirs" in s for s in compare_stores.emails_are_their_members(members, stolen, ID_KEY))
    twice = [*claims, {"id": uuid.UUID(OTHER), "member_id": uuid.UUID(MEMBER)}]
    assert any("claimed and a member" in s for s in compare_stores.emails_are_their_members(members, twice, ID_KEY))


def test_a_member_without_a_default_address_or_with_two_is_found(world: World) -> None:
    addresses = world.tables()["member_addresses"]
    for flag in (False, True):
        lie = [{**address, "is_default": flag} for address in addresses]
        assert compare_stores.addresses_have_one_default(lie)
    assert compare_stores.addresses_have_one_default([*addresses, *addresses[:1] * 18])


# --- members


def outcomes_of(world: World, title: str) -> list[tuple[str, int, int | None]]:
    """(status, code, record_offset) of a command's outcome events."""
    return [
        (event.body["status"], event.body["http_status"], event.body.get("record_offset"))
        for event in world.log("member.events")
        if event.type == "command.outcome.v1" and event.body["command_id"] == world.sent[title]
    ]


def test_the_last_step_of_a_change_of_address_ends_the_first_command(world: World) -> None:
    offsets = {record.command_id: record.offset for record in world.log("member.commands")}
    assert outcomes_of(world, "taken") == [("rejected", 409, offsets[world.sent["taken"]])]
    assert outcomes_of(world, "granted") == [("succeeded", 200, offsets[world.sent["granted"]])]
    assert outcomes_of(world, "granted, told") == [("succeeded", 200, None)]
    member = world.model.state.members[MEMBER]
    assert (member["email"], member["credential_version"], world.model.state.claims[CLAIM]["member_id"]) == (
        NEW_EMAIL,
        2,
        MEMBER,
    )


def test_a_change_of_address_that_goes_on_has_no_end(world: World) -> None:
    del world.logs["member.commands", ids.partition_of(MEMBER.encode(), TOPICS["member.commands"])][-1]
    model = Model(ID_KEY)
    model.feed(world)  # type: ignore[arg-type]
    assert [row["status"] for row in rows_of(model, "tw_ledger") if row["command_type"] == "member.change_email"] == [
        "rejected",
        "accepted",
    ]
    assert [row["email"] for row in rows_of(model, "tw_email_changes")] == [NEW_EMAIL]
    assert world.sent["granted"] not in model.outcomes


def rows_of(model: Model, table: str) -> list[dict[str, Any]]:
    return list(compare_stores.folded_tables(model)[table].values())


def test_a_spent_refresh_token_is_refused_and_ends_its_session_alone(world: World) -> None:
    assert outcomes_of(world, "spent") == [("rejected", 401, None)]
    told_of, at_the_end = (e.body["tokens"] for e in world.log("member.events") if e.type == "member.tokens_revoked.v1")
    ids_of = {
        kind: ids.derived_id(world.sent[title], MEMBER, kind)
        for title, kind in (("refresh", "refresh"), ("session", "access"))
    }
    assert len(told_of) == 3 and {*ids_of.values()} < {token["token_id"] for token in told_of} | {ids_of["refresh"]}
    assert len(at_the_end) == 2


@pytest.mark.parametrize("what", ["member.tokens_revoked.v1", "member.email_changed.v1", "member.address_added.v1"])
def test_a_missing_or_wrong_event_of_a_member_is_found(world: World, what: str) -> None:
    partition, events = world.at("member")
    place = next(i for i, event in enumerate(events) if event.type == what)
    for lie in (drop(place), doctor(place, member_id=OTHER)):
        lied = list(events)
        lie(lied)
        assert compare_logs.events_are_those_of_the_fold(partition, lied)


@pytest.mark.parametrize("what", ["member.session_started.v1", "member.address_added.v1", "member.email_changed.v1"])
def test_a_members_version_moves_by_edits_alone(world: World, what: str) -> None:
    partition, events = world.at("member")
    place = max(i for i, event in enumerate(events) if event.type == what)
    version = events[place].body["version"]
    for lie in (version - 1, version + 1):
        lied = list(events)
        doctor(place, version=lie)(lied)
        assert compare_logs.versions_go_up_by_one(partition, lied)


def test_a_step_that_the_policy_left_out_or_made_up_is_found(world: World) -> None:
    events, log = world.log("member.events"), world.log("member.commands")
    steps = [i for i, record in enumerate(log) if compare_logs.written_by_a_policy(record)]
    for i in steps:
        assert any("did not write" in s for s in compare_logs.policy_follows_from_events(events, log[:i] + log[i + 1 :]))
    other = dataclasses.replace(log[steps[0]], headers=(*log[steps[0]].headers, ("ce_id", str(uuid.uuid4()).encode())))
    assert any("no event asks" in s for s in compare_logs.policy_follows_from_events(events, [*log, other]))
    assert compare_logs.policy_follows_from_events([*events, *events], [*log, *log]) == [], "repeats are none"


def test_a_command_about_somebody_else_is_found(world: World) -> None:
    log = [record for record in world.log("member.commands") if record.type == "member.add_address.v1"]
    assert compare_logs.callers_act_for_themselves(world.model.state, log) == []
    for caller in (OTHER.encode(), b""):
        lie = dataclasses.replace(log[0], headers=(*log[0].headers, ("tw_caller", caller)))
        assert compare_logs.callers_act_for_themselves(world.model.state, [lie])


def test_an_operators_command_by_a_member_is_found(world: World) -> None:
    create = record_of(world, "create")
    by_member = dataclasses.replace(create, headers=(*create.headers, ("tw_caller", MEMBER.encode())))
    assert compare_logs.callers_act_for_themselves(world.model.state, [create])
    assert compare_logs.callers_act_for_themselves(world.model.state, [by_member])
    world.model.state.members[MEMBER]["is_service"] = True
    assert compare_logs.callers_act_for_themselves(world.model.state, [by_member]) == []


def test_a_wrong_cart_is_found(world: World) -> None:
    item, summary = f"cart:{MEMBER}:{PRODUCT}", f"cart:{MEMBER}:summary"
    true = world.carts()
    others = {key: value for key, value in true.items() if MEMBER not in key}
    broken = {**true, summary: (true[summary][0].replace('"total_items": 6', '"total_items": 7'), true[summary][1])}
    lies = [
        {**others, item: true[item]},
        {**others, summary: true[summary]},
        others,
        {**true, item: (true[item][0], 1)},
        {**true, item: (true[item][0].replace("199.0", "149.5"), true[item][1])},
        broken,
        {**true, f"cart:{uuid.uuid4()}:summary": true[summary]},
    ]
    for lie in lies:
        assert compare_stores.carts_are_those_of_the_fold(world.model.state, lie), lie
    assert any("add up" in s for s in compare_stores.carts_agree_with_themselves(broken))


def test_what_is_not_for_sale_is_in_neither_total(world: World) -> None:
    state, true = world.model.state, world.carts()
    summary = f"cart:{OTHER}:summary"
    assert json.loads(true[summary][0])["total_items"] == 1 and f"cart:{OTHER}:{HAT}" in true
    assert any("add up" in s for s in compare_stores.carts_agree_with_themselves(true))
    assert compare_stores.carts_agree_with_themselves(true, {f"cart:{OTHER}:{HAT}"}) == []
    lie = {**true, summary: (json.dumps({**json.loads(true[summary][0]), "total_items": 8}), true[summary][1])}
    assert any("add up" in s for s in compare_stores.carts_are_those_of_the_fold(state, lie))


def test_an_empty_cart_has_no_keys(world: World) -> None:
    assert world.model.state.carts[THIRD].version and not [key for key in world.carts() if THIRD in key]


@pytest.mark.parametrize("field", [*"vcue"])
def test_a_wrong_copy_of_a_cart_is_found(world: World, field: str) -> None:
    true = world.copies()
    lie = {**true, MEMBER: {**true[MEMBER], field: 1}}
    assert any(f" {field} is" in s for s in compare_stores.copies_are_those_of_the_fold(world.model.state, lie))


@pytest.mark.parametrize("field", [*"pnrqtwoa"])
def test_a_wrong_line_of_a_copy_is_found(world: World, field: str) -> None:
    true = world.copies()
    (line,) = true[MEMBER]["l"]
    for wrong in ({**line, field: 1}, {name: value for name, value in line.items() if name != field}):
        lie = {**true, MEMBER: {**true[MEMBER], "l": [wrong]}}
        if wrong != line:
            assert compare_stores.copies_are_those_of_the_fold(world.model.state, lie) != []


def test_a_missing_copy_and_one_too_many_are_found(world: World) -> None:
    true = world.copies()
    for lie in ({MEMBER: true[MEMBER]}, {**true, CLAIM: true[MEMBER]}):
        assert any("only in" in s for s in compare_stores.copies_are_those_of_the_fold(world.model.state, lie))


def test_a_wrong_holder_is_found(world: World) -> None:
    for lie in (
        {PRODUCT: {MEMBER, OTHER}},
        {**HOLDERS, PRODUCT: {MEMBER}},
        {**HOLDERS, HAT: {OTHER, THIRD}},
        {**HOLDERS, MEMBER: set()},
    ):
        assert any("holders" in s for s in compare_stores.holders_are_those_of_the_fold(world.model.state, lie))


# --- repricing


def test_a_line_that_its_products_change_did_not_reach_is_found(world: World) -> None:
    for title in ("reprice, told", "reprice other, told", "reprice hat, told"):
        lie = World()
        log = lie.logs["cart.commands", record_of(lie, title).partition]
        del log[record_of(lie, title).offset]
        if title == "reprice, told":  # it was written twice, the second time for nothing
            log[:] = [record for record in log if record.command_id != lie.sent["reprice again, told"]]
        model = Model(ID_KEY)
        model.feed(lie)  # type: ignore[arg-type]
        assert len(compare_logs.lines_behind_their_products(model.state)) == 1, title


def test_a_reprice_says_what_its_product_says(world: World) -> None:
    events, log = world.log("product.events"), world.log("cart.commands")
    honest = record_of(world, "reprice, told")

    def sentences(**lie: Any) -> list[str]:
        lied = dataclasses.replace(honest, value=msgpack.packb({**honest.body, **lie}))
        return compare_logs.carts_are_told_what_products_say(events, [*log, lied])

    for lie in ({"price": "1.00"}, {"available": False}, {"product_version": 3}, {"product_version": 1}):
        assert len(sentences(**lie)) == 1, lie
    assert len(sentences(product_name="Hat")) == 1 and sentences() == []
    keyed = dataclasses.replace(honest, headers=(*honest.headers, ("ce_id", HAT.encode())))
    assert len(compare_logs.carts_are_told_what_products_say(events, [keyed])) == 1
    by_an_edge = dataclasses.replace(honest, headers=(*honest.headers, ("ce_source", b"/tillwire/edge")))
    assert len(compare_logs.carts_are_told_what_products_say(events, [by_an_edge])) == 1
    assert len(compare_logs.callers_act_for_themselves(world.model.state, [by_an_edge])) == 1


def test_an_edge_adds_for_the_catalogues_price(world: World) -> None:
    events, honest = world.log("product.events"), record_of(world, "last")
    for lie in ({"price": "0.01"}, {"product_name": "mine"}, {"product_version": 2}, {"product_id": HAT}):
        lied = dataclasses.replace(honest, value=msgpack.packb({**honest.body, **lie}))
        assert len(compare_logs.carts_are_told_what_products_say(events, [lied])) == 1, lie
    assert compare_logs.carts_are_told_what_products_say(events, [honest]) == []


def test_an_edge_sets_lines_of_what_is_for_sale_and_takes_out_any(world: World) -> None:
    honest = record_of(world, "last")

    def sentences(ce_type: bytes, **lie: Any) -> list[str]:
        events = [
            dataclasses.replace(e, value=msgpack.packb({**e.body, "is_active": False}))
            for e in world.log("product.events")
            if e.type in ("product.created.v1", "product.changed.v1")
        ]
        command = dataclasses.replace(
            honest,
            headers=tuple((name, ce_type if name == "ce_type" else value) for name, value in honest.headers),
            value=msgpack.packb({**honest.body, **lie}),
        )
        return compare_logs.carts_are_told_what_products_say(events, [command])

    assert len(sentences(b"cart.add_item.v1", quantity=1)) == len(sentences(b"cart.set_item.v1", quantity=1)) == 1
    assert sentences(b"cart.set_item.v1", quantity=0) == []
    assert len(sentences(b"cart.set_item.v1", quantity=0, price="0.01")) == 1


def test_a_reprice_leaves_no_outcome_and_moves_no_end(world: World) -> None:
    events = [e for e in world.log("cart.events") if e.header("tw_command_id") == world.sent["reprice, told"]]
    assert [(e.type, e.body["previous_price"]) for e in events] == [("cart.item_repriced.v1", "149.50")]
    cart = world.model.state.carts[MEMBER]
    assert cart.updated_ms == record_of(world, "last").timestamp_ms < record_of(world, "reprice, told").timestamp_ms
    again = world.sent["reprice again, told"]
    assert not [e for e in world.log("cart.events") if e.header("tw_command_id") == again]


def test_a_price_is_marked_until_it_is_acknowledged_or_comes_back() -> None:
    def told(version: int, price: str) -> Any:
        body = {"product_version": version, "product_name": "T", "price": price}
        return SimpleNamespace(body=body)

    line = Line(PRODUCT, "T", 100, 1, NOW, 1)
    marks = []
    for version, price in ((2, "2.00"), (3, "3.00"), (3, "9.00"), (4, "1.00"), (5, "5.00")):
        line.follow(told(version, price), available=True)
        marks.append((line.price_minor, line.previous_minor))
    assert marks == [(200, 100), (300, 100), (300, 100), (100, None), (500, 100)]


def test_acknowledged_prices_are_marked_no_more(world: World) -> None:
    assert [line.previous_minor for line in world.model.state.carts[OTHER].lines.values()] == [None, None]
    (event,) = (e for e in world.log("cart.events") if e.type == "cart.acknowledged.v1")
    assert (event.body["total_items"], event.body["total_price"]) == (1, "199.00")


def test_a_secret_in_a_text_is_found() -> None:
    assert compare_logs.no_secrets({"open sesame"}, [("edge.log", b'{"password":"open sesame"}')]) != []
    assert compare_logs.no_secrets({"open sesame"}, [("edge.log", b"nothing"), ("topic", b"")]) == []
    assert compare_logs.no_secrets({'quote " and \u20ac'}, [("edge.log", b'{"m":"quote \\" and \\u20ac"}')]) != []


def test_what_looks_like_a_token_is_found(world: World) -> None:
    access = b"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbmEifQ.c2lnbmF0dXJl"
    refresh = f"{uuid.uuid4()}.{'A' * 43}".encode()
    for token in (access, refresh):
        assert compare_logs.no_secrets(set(), [("edge.log", b"x" + token + b"y")]) != []
    texts = [(record.topic, record.value) for log in world.logs.values() for record in log]
    assert compare_logs.no_secrets(set(), texts) == []


def test_an_email_in_a_log_is_found() -> None:
    for line in (b"Ana@Example.com", b"ana@example.com"):
        assert compare_logs.no_personal_data({"Ana@Example.com"}, [("edge.log", b"login of " + line)]) != []
    assert compare_logs.no_personal_data({"Ana@Example.com"}, [("edge.log", b"login")]) == []


def test_the_decimal_places_are_exact() -> None:
    assert compare_stores._price_text(14950) == Decimal("149.50")
