"""The checker is tested on planted lies: a small true world passes, and each lie in it is called by its rule's name."""

import dataclasses
import json
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
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
TAKEN_EMAIL = "bea@example.com"
NEW_EMAIL = "ana@example.org"
SKU = "TEE-BLK-M"
NOW = 1_750_000_000_123
MEMBER = ids.member_id(ID_KEY, EMAIL)
OTHER = ids.member_id(ID_KEY, TAKEN_EMAIL)
CLAIM = ids.member_id(ID_KEY, NEW_EMAIL)
PRODUCT = ids.product_id(SKU)


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
                **({} if ce_type == "product.create.v1" else {"tw_caller": MEMBER}),
            },
        )

    def _member(self, title: str, what: str, **body: Any) -> None:
        self._command(title, f"member.{what}.v1", MEMBER, member_id=MEMBER, **body)

    def _write_members(self) -> None:
        for title, member_id, email in (("register", MEMBER, EMAIL), ("register other", OTHER, TAKEN_EMAIL)):
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
        claim_id, policy = ids.member_id(ID_KEY, email), {"source": checker.POLICY}
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

    def _write_commands(self) -> None:
        self._write_members()
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

    def tables(self) -> checker.Tables:
        """As PostgreSQL would give them."""
        found: checker.Tables = {}
        for name, rows in checker.folded_tables(self.model).items():
            key_columns = checker.KEY_OF.get(name, ("id",))
            found[name] = [
                {column: as_stored(column, value) for column, value in {**row, **dict(zip(key_columns, key))}.items()}
                for key, row in rows.items()
            ]
        return found

    def log(self, topic: str) -> list[Record]:
        return [record for (name, _), log in self.logs.items() if name == topic for record in log]

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


NOT_MEMBERS = ("create", "view", "add0", "add1", "add2", "poison", "last")


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
    tables = world.tables()
    assert {name: len(rows) for name, rows in tables.items()} == {
        "members": 2,
        "member_addresses": 3,
        "jwt_tokens": 6,
        "tw_email_claims": 1,
        "tw_email_changes": 0,
        "tw_ledger": len([title for title in world.sent if not title.startswith(NOT_MEMBERS)]),
    }
    assert checker.members_are_those_of_the_fold(world.model, tables) == []
    assert checker.emails_are_unique(tables["members"]) == []
    assert checker.emails_are_their_members(tables["members"], tables["tw_email_claims"], ID_KEY) == []
    assert checker.addresses_have_one_default(tables["member_addresses"]) == []
    assert checker.policy_follows_from_events(world.log("member.events"), world.log("member.commands")) == []
    by_members = [record for record in commands(world) if record.type != "product.create.v1"]
    assert checker.callers_act_for_themselves(world.model.state, by_members) == []
    assert checker.products_are_those_of_the_fold(world.model.state, world.products()) == []
    assert checker.carts_are_those_of_the_fold(world.model.state, world.carts()) == []
    assert checker.watermarks_are_at_the_end("cart", [5, 0], [5, 0], [5, 0]) == []


# --- what clients were told


def told(world: World, *names: str, status: int = 202) -> History:
    """All but what the policy wrote."""
    clients = [name for name in names if not name.endswith((", asked", ", told"))]
    return History([Told(name, status, world.sent[name]) for name in clients])


def commands(world: World) -> list[Record]:
    return [record for (topic, _), log in world.logs.items() if topic.endswith(".commands") for record in log]


def test_an_accepted_command_that_is_not_in_the_log_is_found(world: World) -> None:
    lie = History([*told(world, *world.sent).told, Told("POST /v1/members", 202, str(uuid.uuid4()))])
    assert any("not in the log" in s for s in checker.accepted_are_in_the_log(lie, commands(world)))
    assert checker.accepted_are_in_the_log(told(world, *world.sent), commands(world)) == []


def test_an_accepted_command_that_is_in_the_log_twice_is_found(world: World) -> None:
    register = next(record for record in commands(world) if record.command_id == world.sent["register"])
    twice = [*commands(world), register]
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
    assert any("I2" in s for s in checker.members_are_those_of_the_fold(world.model, {**true, table: lie}))


@pytest.mark.parametrize("table", ["members", "member_addresses", "jwt_tokens", "tw_email_claims", "tw_ledger"])
def test_a_missing_row_and_one_too_many_are_found(world: World, table: str) -> None:
    true = world.tables()
    key = checker.KEY_OF.get(table, ("id",))[0]
    for lie in (true[table][1:], [*true[table], {**true[table][0], key: uuid.uuid4()}]):
        assert any("is only in" in s for s in checker.members_are_those_of_the_fold(world.model, {**true, table: lie}))


def test_a_change_of_address_that_hangs_in_the_store_is_found(world: World) -> None:
    hanging = [{"member_id": uuid.UUID(MEMBER), "change_id": uuid.UUID(int=1)}]
    lie = {**world.tables(), "tw_email_changes": hanging}
    assert any("tw_email_changes" in s for s in checker.members_are_those_of_the_fold(world.model, lie))


def test_an_email_that_is_there_twice_or_somebody_elses_is_found(world: World) -> None:
    members, claims = world.tables()["members"], world.tables()["tw_email_claims"]
    twin = {**members[0], "id": uuid.uuid4(), "email": f" {NEW_EMAIL.upper()} "}
    assert any("2 times" in s for s in checker.emails_are_unique([*members, twin]))
    assert any("folded wrongly" in s for s in checker.emails_are_unique([{**members[0], "email_folded": "Ana@x.org"}]))
    assert any("I16" in s for s in checker.emails_are_their_members(members, [], ID_KEY))
    stolen = [{**claims[0], "member_id": uuid.UUID(OTHER)}]
    assert any("not theirs" in s for s in checker.emails_are_their_members(members, stolen, ID_KEY))
    twice = [*claims, {"id": uuid.UUID(OTHER), "member_id": uuid.UUID(MEMBER)}]
    assert any("claimed and a member" in s for s in checker.emails_are_their_members(members, twice, ID_KEY))


def test_a_member_without_a_default_address_or_with_two_is_found(world: World) -> None:
    addresses = world.tables()["member_addresses"]
    for flag in (False, True):
        lie = [{**address, "is_default": flag} for address in addresses]
        assert any("I16" in s for s in checker.addresses_have_one_default(lie))
    assert any("I16" in s for s in checker.addresses_have_one_default([*addresses, *addresses[:1] * 18]))


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
    assert len(checker.accepted_have_an_end(told(world, "granted"), model)) == 1


def rows_of(model: Model, table: str) -> list[dict[str, Any]]:
    return list(checker.folded_tables(model)[table].values())


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
        assert any("I9" in s for s in checker.events_are_those_of_the_fold(partition, lied))


@pytest.mark.parametrize("what", ["member.session_started.v1", "member.address_added.v1", "member.email_changed.v1"])
def test_a_members_version_moves_by_edits_alone(world: World, what: str) -> None:
    partition, events = world.at("member")
    place = max(i for i, event in enumerate(events) if event.type == what)
    version = events[place].body["version"]
    for lie in (version - 1, version + 1):
        lied = list(events)
        doctor(place, version=lie)(lied)
        assert any("I6" in s for s in checker.versions_go_up_by_one(partition, lied))


def test_a_step_that_the_policy_left_out_or_made_up_is_found(world: World) -> None:
    events, log = world.log("member.events"), world.log("member.commands")
    steps = [i for i, record in enumerate(log) if record.header("ce_source") == checker.POLICY]
    for i in steps:
        assert any("did not write" in s for s in checker.policy_follows_from_events(events, log[:i] + log[i + 1 :]))
    other = dataclasses.replace(log[steps[0]], headers=(*log[steps[0]].headers, ("ce_id", str(uuid.uuid4()).encode())))
    assert any("no event asks" in s for s in checker.policy_follows_from_events(events, [*log, other]))
    assert checker.policy_follows_from_events([*events, *events], [*log, *log]) == [], "repeats are none"


def test_a_command_about_somebody_else_is_found(world: World) -> None:
    log = [record for record in world.log("member.commands") if record.type == "member.add_address.v1"]
    assert checker.callers_act_for_themselves(world.model.state, log) == []
    for caller in (OTHER.encode(), b""):
        lie = dataclasses.replace(log[0], headers=(*log[0].headers, ("tw_caller", caller)))
        assert any("I10" in s for s in checker.callers_act_for_themselves(world.model.state, [lie]))


def test_an_operators_command_by_a_member_is_found(world: World) -> None:
    (create,) = (record for record in world.log("product.commands") if record.type == "product.create.v1")
    by_member = dataclasses.replace(create, headers=(*create.headers, ("tw_caller", MEMBER.encode())))
    assert any("I10" in s for s in checker.callers_act_for_themselves(world.model.state, [create]))
    assert any("I10" in s for s in checker.callers_act_for_themselves(world.model.state, [by_member]))
    world.model.state.members[MEMBER]["is_service"] = True
    assert checker.callers_act_for_themselves(world.model.state, [by_member]) == []


def test_a_token_that_works_on_after_it_was_revoked_is_found(world: World) -> None:
    event = next(e for e in world.log("member.events") if e.type == "member.tokens_revoked.v1")
    token_id, at = event.body["tokens"][0]["token_id"], event.timestamp_ms

    def sentences(sent_ms: int, status: int) -> list[str]:
        history = History([Told("DELETE /v1/members/me", status, None, None, False, token_id, sent_ms)])
        return checker.revoked_tokens_are_refused(history, world.log("member.events"))

    assert any("I10" in s for s in sentences(at + 1001, 202)) and any("I10" in s for s in sentences(at + 1001, 404))
    assert sentences(at + 999, 202) == sentences(at + 1001, 401) == sentences(at + 1001, 503) == []


def test_a_401_leaves_no_record_but_for_logins(world: World) -> None:
    history = told(world, *list(world.sent)[1:])
    history.told.append(Told("DELETE /v1/cart", 401, waited=True))
    assert any("nobody was told" in s for s in checker.accepted_are_in_the_log(history, commands(world)))
    history.told.append(Told("POST /v1/auth/login", 401))
    assert checker.accepted_are_in_the_log(history, commands(world)) == []


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
    assert checker.no_secrets({'quote " and \u20ac'}, [("edge.log", b'{"m":"quote \\" and \\u20ac"}')]) != []


def test_what_looks_like_a_token_is_found(world: World) -> None:
    access = b"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbmEifQ.c2lnbmF0dXJl"
    refresh = f"{uuid.uuid4()}.{'A' * 43}".encode()
    for token in (access, refresh):
        assert checker.no_secrets(set(), [("edge.log", b"x" + token + b"y")]) != []
    texts = [(record.topic, record.value) for log in world.logs.values() for record in log]
    assert checker.no_secrets(set(), texts) == []


def test_an_email_in_a_log_is_found() -> None:
    for line in (b"Ana@Example.com", b"ana@example.com"):
        assert checker.no_personal_data({"Ana@Example.com"}, [("edge.log", b"login of " + line)]) != []
    assert checker.no_personal_data({"Ana@Example.com"}, [("edge.log", b"login")]) == []


def test_the_decimal_places_are_exact() -> None:
    assert checker._price_text(14950) == Decimal("149.50")
