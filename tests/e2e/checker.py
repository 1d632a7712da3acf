"""Compares everything there is after a test: what clients were told, the whole logs, and the stores.

The names of the rules are those of the design's list of invariants:
  I1  every 202 has exactly one record in the log; a refusal has none, an unknown (503) none or one
  I2  one effect and one set of event ids a command; repeats of events vanish under the readers' rule
  I3  the watermark stands at the log's end; Kafka's committed offset is not ahead of it
  I5  view_count is the number of accepted views
  I6  versions of an aggregate go up by one
  I7  a cart's summary is the fold of its items; both keys end at the same instant
  I9  events under the readers' rule are those that a fold of the log gives
  I11 the DLQ holds the poison, each once, with bytes and headers untouched, and nothing else
  I13 no password or token in a log line, topic or DLQ
  I16 folded e-mails are unique; at most one default address, exactly one when there are any
Each rule is a function that takes what it looks at and returns sentences; no sentences, no violation.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import ids
from model import Event, Model, Partition, time_text
from rules import Cart, State
from stores import Stores, decimal_of, exact_json, milliseconds
from topics import Record, Topics, readers_rule

Sentences = list[str]


@dataclass
class Told:
    """What a client was told about one write."""

    what: str
    status: int  # 0: the connection broke, which is as unknown as a 503
    command_id: str | None = None  # of a 202
    key: str | None = None  # its Idempotency-Key
    waited: bool = False  # asked for the final code, which may also be the worker's refusal

    @property
    def accepted(self) -> bool:
        return self.command_id is not None

    @property
    def unknown(self) -> bool:
        return not self.accepted and (self.waited or self.status in (0, 503) or self.status < 300)


@dataclass
class History:
    """All writes of a test's clients, and what must never be seen anywhere."""

    told: list[Told] = field(default_factory=list)
    secrets: set[str] = field(default_factory=set)


# --- logs


def accepted_are_in_the_log(history: History, commands: Iterable[Record]) -> Sentences:
    """I1. `commands`: all records written while the history was made."""
    found = Counter(record.command_id for record in commands)
    keyed = {told.command_id for told in history.told if told.key}
    accepted = {told.command_id for told in history.told if told.accepted}
    wrong = []
    for command_id in accepted:
        if not found[command_id or ""]:
            wrong.append(f"I1: {command_id} was accepted and is not in the log")
        elif found[command_id or ""] > 1 and command_id not in keyed:
            wrong.append(f"I1: {command_id} is in the log {found[command_id or '']} times")
    unknown = sum(told.unknown for told in history.told)
    others = [command_id for command_id in found if command_id not in accepted]
    if len(others) > unknown:
        wrong.append(f"I1: {len(others)} records nobody was told of, but only {unknown} answers left that open")
    return wrong


def accepted_have_an_end(history: History, model: Model) -> Sentences:
    """I1, the other half: applied, rejected with a reason, or given up."""
    return [
        f"I1: {told.command_id} ({told.what}) has no outcome"
        for told in history.told
        if told.accepted and told.command_id not in model.outcomes
    ]


def same_id_same_event(events: list[Record]) -> Sentences:
    """I2: an event id stands for the same bytes, however often it is published."""
    first: dict[str, Record] = {}
    wrong = []
    for event in events:
        known = first.setdefault(event.command_id, event)
        if (known.key, known.value, known.headers) != (event.key, event.value, event.headers):
            wrong.append(f"I2: event {event.command_id} was published with two contents")
    return wrong


def _as_expected(event: Record, expected: Event) -> bool:
    body = {name: value for name, value in event.body.items() if name != "detail"}
    return (
        event.command_id,
        event.type,
        (event.key or b"").decode("utf-8", "replace"),
        event.header("ce_time"),
        event.header("tw_command_id"),
    ) == (expected.id, expected.type, expected.key, expected.time, expected.command_id) and body == expected.body


def events_are_those_of_the_fold(partition: Partition, events: list[Record]) -> Sentences:
    """I9: under the readers' rule, all expected events in order, between them only right coalesced ones."""
    name = f"{partition.domain}.events {partition.number}"
    kept = readers_rule(events)
    plain = [event for event in kept if event.type != "product.viewed.v1"]
    wrong = _coalesced_are_right(partition, name, [event for event in kept if event.type == "product.viewed.v1"])
    for event, expected in zip(plain, partition.events):
        if not _as_expected(event, expected):
            return [*wrong, f"I9: {name} has {event.command_id} {event.type} {event.body}, expected {expected}"]
    if len(plain) != len(partition.events):
        wrong.append(f"I9: {name} has {len(plain)} events, the fold gives {len(partition.events)}")
    return wrong


def _coalesced_are_right(partition: Partition, name: str, viewed: list[Record]) -> Sentences:
    """The new total at the record they stand at; the last one of a product covers all its views."""
    wrong = []
    last: dict[str, int] = {}
    for event in viewed:
        if event.body != partition.views.get(event.cause):
            wrong.append(f"I9: {name} has {event.command_id} {event.body}, expected {partition.views.get(event.cause)}")
        last[event.body["product_id"]] = event.body["view_count"]
    for product_id, total in {view["product_id"]: view["view_count"] for view in partition.views.values()}.items():
        if last.get(product_id) != total:
            wrong.append(f"I9: {name} tells {last.get(product_id)} views of {product_id}, the log has {total}")
    return wrong


def headers_are_complete(events: list[Record]) -> Sentences:
    """CloudEvents in binary mode, and tillwire's own."""
    wanted = {"ce_specversion": "1.0", "content-type": "application/msgpack"}
    wrong = []
    for event in events:
        missing = [
            name
            for name in ("ce_id", "ce_type", "ce_source", "ce_time", "tw_command_id", "tw_cause_offset", "tw_n")
            if not event.header(name)
        ]
        missing += [name for name, value in wanted.items() if event.header(name) != value]
        if missing:
            wrong.append(f"{event.topic} {event.partition}/{event.offset} lacks {', '.join(missing)}")
    return wrong


def versions_go_up_by_one(partition: Partition, events: list[Record]) -> Sentences:
    """I6. A cart's first version is where it began; members' sessions and products' views do not move theirs."""
    version: dict[bytes, int] = {}
    wrong = []
    for event in readers_rule(events):
        if "version" not in event.body:
            continue
        key, now = event.key or b"", event.body["version"]
        step = 1 if partition.domain == "cart" else 0
        if key in version and now not in (version[key] + step, version[key] + 1):
            wrong.append(f"I6: {event.command_id} has version {now} after {version[key]}")
        version[key] = now
    return wrong


def dead_letters_are_the_poison(partition: Partition, commands: list[Record], dead: list[Record]) -> Sentences:
    """I11."""
    name = f"{partition.domain}.dlq {partition.number}"
    wrong = []
    origins = Counter(int(record.header("tw_dlq_offset") or -1) for record in dead)
    for offset in partition.dead.keys() - origins.keys():
        wrong.append(f"I11: {name} lacks record {offset} ({partition.dead[offset]})")
    for offset in origins.keys() - partition.dead.keys():
        wrong.append(f"I11: {name} has record {offset}, which is good")
    wrong += [f"I11: {name} has record {offset} {times} times" for offset, times in origins.items() if times > 1]
    for letter in dead:
        offset = int(letter.header("tw_dlq_offset") or -1)
        if offset in partition.dead:
            wrong += _letter_is_untouched(name, letter, commands[offset], partition.dead[offset])
    return wrong


def _letter_is_untouched(name: str, letter: Record, origin: Record, reason: str) -> Sentences:
    added = {
        "tw_dlq_topic": origin.topic,
        "tw_dlq_partition": str(origin.partition),
        "tw_dlq_reason": reason,
        "tw_dlq_timestamp": str(origin.timestamp_ms),
    }
    wrong = [
        f"I11: {name} {origin.offset}: {key} is {letter.header(key)!r}, expected {value!r}"
        for key, value in added.items()
        if letter.header(key) != value
    ]
    if (letter.key, letter.value) != (origin.key, origin.value):
        wrong.append(f"I11: {name} {origin.offset}: key or bytes were changed")
    if tuple(letter.headers[: len(origin.headers)]) != origin.headers:
        wrong.append(f"I11: {name} {origin.offset}: headers were changed")
    return wrong


def no_secrets(secrets: set[str], texts: Iterable[tuple[str, bytes]]) -> Sentences:
    """I13."""
    needles = [secret.encode() for secret in secrets]
    return [f"I13: a secret stands in {name}" for name, text in texts if any(needle in text for needle in needles)]


# --- stores


def watermarks_are_at_the_end(domain: str, marks: list[int], ends: list[int], committed: list[int]) -> Sentences:
    """I3."""
    wrong = [
        f"I3: {domain} {p}: the watermark is {mark}, the log ends at {end}"
        for p, (mark, end) in enumerate(zip(marks, ends))
        if mark != end
    ]
    return wrong + [
        f"I3: {domain} {p}: Kafka has offset {offset}, the store only {mark}"
        for p, (mark, offset) in enumerate(zip(marks, committed))
        if offset > mark
    ]


def _differences(name: str, expected: dict[str, Any], found: dict[str, Any]) -> Sentences:
    return [
        f"{name}: {key} is {found.get(key)!r}, expected {value!r}"
        for key, value in expected.items()
        if found.get(key) != value
    ]


def members_are_those_of_the_fold(state: State, rows: list[dict[str, Any]], tokens: list[dict[str, Any]]) -> Sentences:
    wrong = []
    found = {str(row["id"]): row for row in rows}
    for member_id in state.members.keys() | found.keys():
        if member_id not in found or member_id not in state.members:
            wrong.append(f"I2: member {member_id} is only in the {'log' if member_id in state.members else 'store'}")
            continue
        row = {**found[member_id]}
        for column in ("created_at", "updated_at", "last_login_at"):
            row[column] = milliseconds(row[column])
        wrong += _differences(f"I2: member {member_id}", state.members[member_id], row)
    stored = {
        str(row["id"]): {
            **row,
            "member_id": str(row["member_id"]),
            "family_id": str(row["family_id"]),
            "expires_at": milliseconds(row["expires_at"]),
            "created_at": milliseconds(row["created_at"]),
        }
        for row in tokens
    }
    for token_id in state.tokens.keys() | stored.keys():
        if token_id not in stored or token_id not in state.tokens:
            wrong.append(f"I2: token {token_id} is only in the {'log' if token_id in state.tokens else 'store'}")
        else:
            wrong += _differences(f"I2: token {token_id}", state.tokens[token_id], stored[token_id])
    return wrong


def emails_are_unique(rows: list[dict[str, Any]], addresses: list[dict[str, Any]]) -> Sentences:
    """I16."""
    times = Counter(ids.fold_email(row["email"]) for row in rows)
    wrong = [f"I16: the folded form of an e-mail is there {n} times" for n in times.values() if n > 1]
    defaults: dict[Any, int] = defaultdict(int)
    for address in addresses:
        defaults[address["member_id"]] += address["is_default"]
    return wrong + [f"I16: member {m} has {n} default addresses" for m, n in defaults.items() if n != 1]


def products_are_those_of_the_fold(state: State, documents: list[dict[str, Any]]) -> Sentences:
    """I5 and the rest of each document."""
    wrong = []
    found = {ids.product_id(document["sku"]): document for document in documents}
    for product_id in state.products.keys() | found.keys():
        if product_id not in found or product_id not in state.products:
            wrong.append(
                f"I2: product {product_id} is only in the {'log' if product_id in state.products else 'store'}"
            )
            continue
        document = {**found[product_id]}
        for name in ("created_at", "updated_at"):
            document[name] = milliseconds(document[name])
        for name in ("price", "discount_price", "effective_price", "rating"):
            if document[name] is not None:
                document[name] = decimal_of(document[name]) * 100
        if document["view_count"] != state.products[product_id]["view_count"]:
            wrong.append(
                f"I5: {product_id} has {document['view_count']} views, accepted were "
                f"{state.products[product_id]['view_count']}"
            )
        wrong += _differences(f"I2: product {product_id}", state.products[product_id], document)
        if document["_id"].binary != ids.product_object_id(document["sku"]):
            wrong.append(f"product {product_id} has another _id than its SKU gives")
    return wrong


def _price_text(minor: int) -> Decimal:
    return Decimal(minor).scaleb(-2)


def _expected_keys(member_id: str, cart: Cart) -> dict[str, dict[str, Any]]:
    keys: dict[str, dict[str, Any]] = {
        f"cart:{member_id}:{line.product_id}": {
            "product_id": line.product_id,
            "product_name": line.product_name,
            "price": _price_text(line.price_minor),
            "quantity": line.quantity,
            "added_at": time_text(line.added_ms),
        }
        for line in cart.lines.values()
    }
    if cart.lines:
        keys[f"cart:{member_id}:summary"] = {
            "total_items": cart.items,
            "total_price": _price_text(cart.price_minor),
            "updated_at": time_text(cart.updated_ms),
        }
    return keys


def carts_are_those_of_the_fold(state: State, keys: dict[str, tuple[str, int]]) -> Sentences:
    """I7 and each key's content."""
    wrong = []
    expected: dict[str, tuple[dict[str, Any], int]] = {}
    for member_id, cart in state.carts.items():
        for key, value in _expected_keys(member_id, cart).items():
            expected[key] = (value, cart.ends_ms)
    for key in expected.keys() | keys.keys():
        if key not in keys or key not in expected:
            wrong.append(f"I7: {key} is only in the {'log' if key in expected else 'store'}")
            continue
        text, ends_ms = keys[key]
        if exact_json(text) != expected[key][0]:
            wrong.append(f"I7: {key} is {text}, expected {expected[key][0]}")
        if ends_ms != expected[key][1]:
            wrong.append(f"I7: {key} ends at {ends_ms}, expected {expected[key][1]}")
    return wrong + carts_agree_with_themselves(keys)


def carts_agree_with_themselves(keys: dict[str, tuple[str, int]]) -> Sentences:
    """I7 without the log: summary and items, and their ends."""
    wrong = []
    carts: dict[str, dict[str, tuple[str, int]]] = defaultdict(dict)
    for key, value in keys.items():
        _, member_id, what = key.split(":")
        carts[member_id][what] = value
    for member_id, cart in carts.items():
        if "summary" not in cart or len(cart) == 1:
            wrong.append(
                f"I7: cart of {member_id} has {'no summary' if len(cart) > 1 or 'summary' not in cart else 'no items'}"
            )
            continue
        if len({ends_ms for _, ends_ms in cart.values()}) != 1:
            wrong.append(f"I7: keys of the cart of {member_id} end at different times")
        summary = exact_json(cart["summary"][0])
        items = [exact_json(text) for what, (text, _) in cart.items() if what != "summary"]
        total = sum((item["price"] * item["quantity"] for item in items), Decimal(0))
        if (summary["total_items"], summary["total_price"]) != (sum(item["quantity"] for item in items), total):
            wrong.append(f"I7: the summary of {member_id} is {summary}, its items add up to {total}")
    return wrong


# --- all of it


class Checker:
    """Reads and folds only what is new since its last check, so it can be asked often."""

    def __init__(self, topics: Topics, stores: Stores, id_key: bytes, logs: Path) -> None:
        self.topics = topics
        self.stores = stores
        self.model = Model(id_key)
        self._logs = logs

    def drained(self, timeout_s: float = 60) -> None:
        """Waits until every command is folded, its events are published and the outboxes are forgotten or empty."""
        deadline = time.monotonic() + timeout_s
        while True:
            left = self._left()
            if not left:
                return
            if time.monotonic() > deadline:
                raise AssertionError(f"not drained within {timeout_s:.0f} s: {'; '.join(left)}")
            time.sleep(0.1)

    def _left(self) -> Sentences:
        left = []
        for domain in ids.DOMAINS:
            for p, mark in enumerate(self.stores.watermarks(domain)):
                end = self.topics.end(f"{domain}.commands", p)
                if mark < end:
                    left.append(f"{domain} {p} is at {mark} of {end}")
        if left:
            return left
        self.topics.read()
        self.model.feed(self.topics)
        for (domain, p), partition in self.model.partitions.items():
            events = self.topics.partition(f"{domain}.events", p)
            reached = max((event.cause for event in events), default=(-1, -1))
            last = max(
                [(e.cause_offset, e.n) for e in partition.events[-1:]] + [*self._last_view(partition)], default=(-1, -1)
            )
            if reached < last:
                left.append(f"{domain}.events {p} is at {reached}, to come is {last}")
            missing = partition.dead.keys() - {
                int(r.header("tw_dlq_offset") or -1) for r in self.topics.partition(f"{domain}.dlq", p)
            }
            if missing:
                left.append(f"{domain}.dlq {p} lacks {sorted(missing)}")
        return left

    @staticmethod
    def _last_view(partition: Partition) -> list[tuple[int, int]]:
        return [max(partition.views)] if partition.views else []

    def check(self, history: History | None = None, since: dict[tuple[str, int], int] | None = None) -> None:
        """Fails with all violations. `since`: where the command topics ended when the history began."""
        self.drained()
        wrong = self.violations()
        if history is not None:
            commands = [r for (name, p), start in (since or {}).items() for r in self.topics.partition(name, p)[start:]]
            wrong += accepted_are_in_the_log(history, commands) if since is not None else []
            wrong += accepted_have_an_end(history, self.model)
            wrong += no_secrets(history.secrets, self._texts())
        assert not wrong, "\n".join(wrong[:20])

    def violations(self) -> Sentences:
        wrong = []
        for (domain, p), partition in self.model.partitions.items():
            events = self.topics.partition(f"{domain}.events", p)
            wrong += headers_are_complete(events) + same_id_same_event(events)
            wrong += events_are_those_of_the_fold(partition, events) + versions_go_up_by_one(partition, events)
            wrong += dead_letters_are_the_poison(
                partition, self.topics.partition(f"{domain}.commands", p), self.topics.partition(f"{domain}.dlq", p)
            )
        for domain in ids.DOMAINS:
            count = len(self.stores.watermarks(domain))
            committed = self.topics.committed(f"tillwire-{domain}", f"{domain}.commands")
            wrong += watermarks_are_at_the_end(
                domain,
                self.stores.watermarks(domain),
                [self.topics.end(f"{domain}.commands", p) for p in range(count)],
                committed,
            )
        members = self.stores.rows("select * from members")
        wrong += members_are_those_of_the_fold(self.model.state, members, self.stores.rows("select * from jwt_tokens"))
        wrong += emails_are_unique(members, self.stores.rows("select * from member_addresses"))
        wrong += products_are_those_of_the_fold(self.model.state, list(self.stores.mongo["products"].find()))
        wrong += carts_are_those_of_the_fold(self.model.state, self.stores.all_carts())
        return wrong

    def _texts(self) -> Iterable[tuple[str, bytes]]:
        for record in self.topics.all():
            yield (
                f"{record.topic} {record.partition}/{record.offset}",
                b"\n".join([record.value, record.key or b"", *(value for _, value in record.headers)]),
            )
        for log in sorted(self._logs.glob("*.log")):
            yield log.name, log.read_bytes()
