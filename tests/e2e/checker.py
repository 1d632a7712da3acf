"""Compares everything there is after a test: what clients were told, the whole logs, and the stores.

The names of the rules are those of the design's list of invariants:
  I1  every 202 has exactly one record in the log; a refusal has none, an unknown (503) none or one
  I2  one effect and one set of event ids a command; repeats of events vanish under the readers' rule
  I3  the watermark stands at the log's end; Kafka's committed offset is not ahead of it
  I5  view_count is the number of accepted views
  I6  versions of an aggregate go up by one
  I7  a cart's summary is the fold of its items; both keys end at the same instant; no line is behind its product
  I9  events under the readers' rule are those that a fold of the log gives
  I10 a bad token leads to no record; a revoked one is refused within a second; who asks is who it is about, or an operator
  I11 the DLQ holds the poison, each once by its origin, with bytes and headers untouched, what settled it, nothing else
  I13 no password or token in a log line, topic or DLQ; no e-mail in a log line
  I16 folded e-mails are unique and their member's own; exactly one default address where there are any
Each rule is a function that takes what it looks at and returns sentences; no sentences, no violation.
"""

import json
import re
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import ids
from cart_rules import Cart, Line
from letters import DROP_TYPE, Verdict, is_letter, number_in
from messages import COMMANDS, ROUTES
from model import Event, Model, Partition, time_text
from recorder import Recorder
from rules import State
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
    token_id: str | None = None  # `jti` of the token it came with
    sent_ms: int = 0

    @property
    def accepted(self) -> bool:
        return self.command_id is not None

    @property
    def unknown(self) -> bool:
        """There may be a record. Logins and refreshes always wait; elsewhere a 401 or 403 is never a worker's."""
        if self.what.startswith("POST /v1/auth/"):
            return not self.accepted and self.status not in (400, 403, 404, 413, 415)
        if self.status in (401, 403):
            return False
        return not self.accepted and (self.waited or self.status in (0, 503) or self.status < 300)


@dataclass
class History:
    """All writes of a test's clients, and what must never be seen anywhere."""

    told: list[Told] = field(default_factory=list)
    secrets: set[str] = field(default_factory=set)
    personal: set[str] = field(default_factory=set)  # what must not be seen in a log
    recorder: Recorder | None = None  # of every request


# --- logs

POLICIES = "/tillwire/policy/"
EDGE = "/tillwire/edge"
TWCTL = "/tillwire/twctl"
OF_POLICIES = ("member.claim_email.v1", "member.complete_email_change.v1", "cart.reprice.v1")


def written_by_a_policy(record: Record) -> bool:
    return (record.header("ce_source") or "").startswith(POLICIES)


def written_by_ourselves(record: Record) -> bool:
    """Also what an edge wrote and an operator requeued."""
    return written_by_a_policy(record) or record.header("ce_source") == TWCTL or bool(record.header("tw_requeue_of"))


def accepted_are_in_the_log(history: History, commands: Iterable[Record]) -> Sentences:
    """I1. `commands`: all records written while the history was made; those of policies and twctl are nobody's answer."""
    found = Counter(record.command_id for record in commands if not written_by_ourselves(record))
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


# Of a member or a product: what an edit tells. Sessions, tokens, the wish for another address, views and ratings leave
# the version alone.
EDITS = (
    "product.changed.v1",
    "member.profile_changed.v1",
    "member.password_changed.v1",
    "member.status_changed.v1",
    "member.address_added.v1",
    "member.address_changed.v1",
    "member.address_removed.v1",
    "member.email_changed.v1",
)


def _version_step(domain: str, event: Record) -> int:
    """By how much the version grows with this event."""
    return int(domain == "cart" or event.type in EDITS)


def versions_go_up_by_one(partition: Partition, events: list[Record]) -> Sentences:
    """I6. A cart's first version is where it began; views and ratings do not move a product's."""
    version: dict[bytes, int] = {}
    wrong = []
    for event in readers_rule(events):
        if "version" not in event.body:
            continue
        key, now = event.key or b"", event.body["version"]
        if key in version and now - version[key] != _version_step(partition.domain, event):
            wrong.append(f"I6: {event.command_id} has version {now} after {version[key]}")
        version[key] = now
    return wrong


NEXT_STEP = {
    "member.email_change_asked.v1": "member.claim_email.v1",
    "member.email_claim_decided.v1": "member.complete_email_change.v1",
}


def _step(record: Record, ce_type: str) -> tuple[Any, ...]:
    """A command of that type with what the record says, member for member."""
    return ce_type, *(record.body[field["name"]] for field in COMMANDS[ce_type]["fields"])


def policy_follows_from_events(events: list[Record], commands: list[Record]) -> Sentences:
    """I2: each step of a change of address leads to the next one, once, however often either is written."""
    told = {event.command_id: event for event in events if event.type in NEXT_STEP}
    first = {command.command_id: command for command in commands if written_by_a_policy(command)}
    wanted = Counter(_step(event, NEXT_STEP[event.type]) for event in told.values())
    written = Counter(_step(command, command.type) for command in first.values())
    return [f"I2: an event asks for {what}, which the policy did not write" for what in wanted - written] + [
        f"I2: the policy wrote {what}, which no event asks for" for what in written - wanted
    ]


def carts_are_told_what_products_say(events: Iterable[Record], commands: Iterable[Record]) -> Sentences:
    """I2: what edges and the policy write of a product is what its own event says of that version; a reprice is always
    the policy's."""
    told = {
        (event.body["product_id"], event.body["version"]): _as_shown(event)
        for event in events
        if event.type in ("product.created.v1", "product.changed.v1")
    }
    return [
        f"I2: {command.command_id} ({command.type}) of {command.header('ce_source')} says {command.body}"
        for command in commands
        if not _is_true(command, told.get((command.body.get("product_id"), command.body.get("product_version"))))
    ]


def _as_shown(record: Record) -> tuple[Any, ...]:
    """What a cart's line takes from its product, of a product's event or a command to a cart: who adds saw it for
    sale."""
    if record.topic == "cart.commands":
        return record.body["product_name"], record.body["price"], record.body.get("available", True)
    return record.body["name"], record.body["effective_price"], record.body["is_active"]


def _is_true(command: Record, told: tuple[Any, ...] | None) -> bool:
    if command.type == "cart.reprice.v1":
        is_quiet = not ids.is_keyed(command.command_id)  # it leaves neither a ledger row nor an outcome
        return written_by_a_policy(command) and is_quiet and told == _as_shown(command)
    if command.type not in ("cart.add_item.v1", "cart.set_item.v1") or command.header("ce_source") != EDGE:
        return True
    if command.body["quantity"] == 0:  # a line may leave whether or not its product is for sale
        return told is not None and told[:2] == _as_shown(command)[:2]
    return told == _as_shown(command)


def lines_behind_their_products(state: State) -> Sentences:
    """I7: the reprice policy reaches every line, also one whose add raced the change. A line of an older version is
    right as long as it shows the same."""
    return [
        f"I7: the line of {product_id} in the cart of {member_id} shows {shown}, its product {product}"
        for member_id, cart in state.carts.items()
        for product_id, line in cart.lines.items()
        if product_id in state.products and line.product_version < state.products[product_id]["version"]
        for shown in [(line.product_name, line.price_minor, line.available)]
        for product in [tuple(state.products[product_id][n] for n in ("name", "effective_price", "is_active"))]
        if shown != product
    ]


# Commands of routes that the contract describes without naming them.
AUTH_OF = {"member.start_session.v1": "public", "member.refresh_session.v1": "public"} | {
    route["command"]: route["auth"] for route in ROUTES if "command" in route
}


def _may_write(state: State, caller: str | None, record: Record) -> bool:
    if record.type in OF_POLICIES:
        return False
    auth = AUTH_OF.get(record.type, "member")
    if auth == "public":
        return True
    if caller not in state.members:
        return False
    if ":" in auth:
        return bool(state.members[caller]["is_service"])
    return caller == record.body.get("member_id")


def callers_act_for_themselves(state: State, commands: Iterable[Record]) -> Sentences:
    """I10: what the edge writes for a member is about that member; only operators write about others."""
    return [
        f"I10: {record.command_id} ({record.type}) is not {record.header('tw_caller')}'s to write"
        for record in commands
        if record.header("ce_source") == EDGE and not _may_write(state, record.header("tw_caller"), record)
    ]


def revoked_tokens_are_refused(history: History, events: Iterable[Record]) -> Sentences:
    """I10: from a second after the event on, whatever edge was asked."""
    revoked: dict[str, int] = {}
    for event in events:
        if event.type == "member.tokens_revoked.v1":
            for token in event.body["tokens"]:
                revoked.setdefault(token["token_id"], event.timestamp_ms)
    return [
        f"I10: {told.what} was answered {told.status} {told.sent_ms - revoked[told.token_id]} ms after its token ended"
        for told in history.told
        if told.token_id in revoked
        and told.sent_ms > revoked[told.token_id] + 1000
        and told.status not in (0, 401, 503)
    ]


def dead_letters_are_the_poison(partition: Partition, commands: list[Record], dead: list[Record]) -> Sentences:
    """I11. Deliveries repeat; what is delivered again is the same."""
    name = f"{partition.domain}.dlq {partition.number}"
    letters = [record for record in dead if is_letter(record)]
    wrong = _all_are_there(name, letters, partition)
    wrong += _delivered_alike(name, letters, "tw_dlq_offset")
    for letter in letters:
        offset = number_in(letter, "tw_dlq_offset", -1)
        if offset in partition.letters.verdicts:
            wrong += _letter_is_untouched(name, letter, commands[offset], partition.letters.verdicts[offset])
    return wrong + _settlements_are_those_of_the_fold(name, partition, [r for r in dead if not is_letter(r)])


def _all_are_there(name: str, letters: list[Record], partition: Partition) -> Sentences:
    origins = {number_in(letter, "tw_dlq_offset", -1) for letter in letters}
    return [
        f"I11: {name} lacks record {offset} ({partition.dead[offset]})" for offset in partition.dead.keys() - origins
    ] + [f"I11: {name} has record {offset}, which is good" for offset in origins - partition.dead.keys()]


def _delivered_alike(name: str, records: list[Record], named_by: str) -> Sentences:
    first: dict[str | None, Record] = {}
    return [
        f"I11: {name} has two contents for {named_by} {record.header(named_by)}"
        for record in records
        for known in [first.setdefault(record.header(named_by), record)]
        if (known.key, known.value, known.headers) != (record.key, record.value, record.headers)
    ]


def _differing_headers(what: str, record: Record, expected: dict[str, str]) -> Sentences:
    return [
        f"I11: {what}: {key} is {record.header(key)!r}, expected {value!r}"
        for key, value in expected.items()
        if record.header(key) != value
    ]


def _letter_is_untouched(name: str, letter: Record, origin: Record, verdict: Verdict) -> Sentences:
    added = {
        "tw_dlq_topic": origin.topic,
        "tw_dlq_partition": str(origin.partition),
        "tw_dlq_reason": verdict.reason,
        "tw_dlq_timestamp": str(origin.timestamp_ms),
        "tw_dlq_first_offset": str(verdict.first_offset),
        "tw_dlq_attempts": str(verdict.attempts),
    }
    wrong = _differing_headers(f"{name} {origin.offset}", letter, added)
    if (letter.key, letter.value) != (origin.key, origin.value):
        wrong.append(f"I11: {name} {origin.offset}: key or bytes were changed")
    if tuple(letter.headers[: len(origin.headers)]) != origin.headers:
        wrong.append(f"I11: {name} {origin.offset}: headers were changed")
    return wrong


def _settlements_are_those_of_the_fold(name: str, partition: Partition, found: list[Record]) -> Sentences:
    expected = partition.letters.settlements
    settled = {number_in(record, "tw_dlq_settles", -1) for record in found}
    wrong = [f"I11: {name} does not tell that {first} is settled" for first in expected.keys() - settled]
    wrong += [f"I11: {name} tells that {first} is settled, which it is not" for first in settled - expected.keys()]
    wrong += _delivered_alike(name, found, "tw_dlq_settles")
    for record in found:
        settlement = expected.get(number_in(record, "tw_dlq_settles", -1))
        if settlement:
            told = {
                "tw_dlq_settled_by": str(settlement.by_offset),
                "tw_dlq_settled_as": settlement.as_what,
                "tw_dlq_settled_at": str(settlement.at_ms),
            }
            wrong += _differing_headers(f"{name} settles {record.header('tw_dlq_settles')}", record, told)
    return wrong


TOKEN = re.compile(rb"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}")
REFRESH_TOKEN = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\.[A-Za-z0-9_-]{43}")


def _as_written(texts: set[str]) -> list[bytes]:
    """As they are, and as JSON spells them."""
    spelt = {json.dumps(text, ensure_ascii=flag)[1:-1] for text in texts for flag in (True, False)}
    return [text.encode() for text in texts | spelt]


def no_secrets(secrets: set[str], texts: Iterable[tuple[str, bytes]]) -> Sentences:
    """I13: none of these, and nothing that looks like a token."""
    needles = _as_written(secrets)
    return [
        f"I13: a secret stands in {name}"
        for name, text in texts
        if any(needle in text for needle in needles) or TOKEN.search(text) or REFRESH_TOKEN.search(text)
    ]


def no_personal_data(personal: set[str], logs: Iterable[tuple[str, bytes]]) -> Sentences:
    """I13: in what programs write for operators."""
    needles = _as_written({text for one in personal for text in (one, one.lower())})
    return [f"I13: an e-mail stands in {name}" for name, text in logs if any(needle in text for needle in needles)]


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


def _plain(value: Any) -> Any:
    """As the fold has it."""
    if isinstance(value, datetime):
        return milliseconds(value)
    if isinstance(value, uuid.UUID):
        return str(value)
    return value.hex() if isinstance(value, bytes) else value


Tables = dict[str, list[dict[str, Any]]]
KEY_OF = {"tw_email_changes": ("member_id",), "tw_ledger": ("id", "partition")}


def folded_tables(model: Model) -> dict[str, dict[tuple[Any, ...], dict[str, Any]]]:
    """The tables of PostgreSQL as the log has them: name -> primary key -> columns. `detail` is for people."""
    state = model.state
    changes = {
        (member_id,): {
            "change_id": change["command"].id,
            "email": change["email"],
            "email_folded": change["email_folded"],
            "caller": change["command"].caller or NOBODY,
            "fingerprint": change["command"].fingerprint,
            "record_offset": change["command"].offset,
            "submitted_at": change["command"].submitted_ms,
        }
        for member_id, change in state.email_changes.items()
    }
    return {
        "members": {(i,): row for i, row in state.members.items()},
        "member_addresses": _with_member(state.addresses),
        "jwt_tokens": _with_member(state.tokens),
        "tw_email_claims": {(i,): row for i, row in state.claims.items()},
        "tw_email_changes": changes,
        "tw_ledger": _folded_ledger(model, "member"),
    }


def _folded_ledger(model: Model, folded: str) -> dict[tuple[Any, ...], dict[str, Any]]:
    return {
        (ledger_id, number): {
            "caller": row.caller,
            "fingerprint": row.fingerprint,
            "command_type": row.type,
            "status": row.outcome.status,
            "http_status": row.outcome.http_status,
            "problem": row.outcome.problem,
            "resource": row.outcome.resource,
            "cause_offset": row.offset,
            "submitted_at": row.submitted_ms,
            "decided_at": row.at_ms,
        }
        for (domain, number), partition in model.partitions.items()
        if domain == folded
        for ledger_id, row in partition.ledger.items()
    }


def _with_member(rows: dict[str, dict[str, dict[str, Any]]]) -> dict[tuple[Any, ...], dict[str, Any]]:
    return {(i,): {**row, "member_id": member_id} for member_id, mine in rows.items() for i, row in mine.items()}


def members_are_those_of_the_fold(model: Model, tables: Tables) -> Sentences:
    """I2: every row of every table."""
    wrong = []
    for name, expected in folded_tables(model).items():
        rows = [{column: _plain(value) for column, value in row.items()} for row in tables[name]]
        found = {tuple(row[column] for column in KEY_OF.get(name, ("id",))): row for row in rows}
        for key in expected.keys() | found.keys():
            what = f"{name} {' '.join(map(str, key))}"
            if key not in found or key not in expected:
                wrong.append(f"I2: {what} is only in the {'log' if key in expected else 'store'}")
            else:
                wrong += _differences(f"I2: {what}", expected[key], found[key])
    return wrong


def emails_are_unique(rows: list[dict[str, Any]]) -> Sentences:
    """I16."""
    times = Counter(ids.fold_email(row["email"]) for row in rows)
    return [f"I16: the folded form of an e-mail is there {n} times" for n in times.values() if n > 1] + [
        f"I16: the e-mail of {row['id']} is folded wrongly"
        for row in rows
        if row["email_folded"] != ids.fold_email(row["email"])
    ]


def emails_are_their_members(rows: list[dict[str, Any]], claims: list[dict[str, Any]], id_key: bytes) -> Sentences:
    """I16: by registration or by a claim, and a claim takes no address that somebody registered with."""
    owner = {str(claim["id"]): str(claim["member_id"]) for claim in claims}
    members = {str(row["id"]): ids.member_id(id_key, row["email"]) for row in rows}
    return [
        f"I16: member {member_id} has an address that is not theirs"
        for member_id, identity in members.items()
        if identity != member_id and owner.get(identity) != member_id
    ] + [f"I16: {claim} is claimed and a member" for claim in owner.keys() & members.keys()]


def addresses_have_one_default(addresses: list[dict[str, Any]]) -> Sentences:
    """I16."""
    defaults: dict[Any, list[bool]] = defaultdict(list)
    for address in addresses:
        defaults[address["member_id"]].append(address["is_default"])
    return [
        f"I16: member {m} has {sum(flags)} default addresses of {len(flags)}"
        for m, flags in defaults.items()
        if sum(flags) != 1 or len(flags) > 20
    ]


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


def ratings_are_those_of_the_fold(state: State, documents: list[dict[str, Any]]) -> Sentences:
    """I2: one document a member and product; those that were withdrawn have 0 stars. A product's mean is the fold's."""
    expected = {
        (product_id, member_id): rating
        for product_id, mine in state.ratings.items()
        for member_id, rating in mine.items()
    }
    found = {
        (ids.product_id_of(document["product_id"].binary), str(uuid.UUID(bytes=bytes(document["member_id"])))): document
        for document in documents
    }
    wrong = ["I2: a member has two ratings of a product"] if len(found) < len(documents) else []
    for key in expected.keys() | found.keys():
        if key not in expected or key not in found:
            wrong.append(f"I2: the rating {' by '.join(key)} is only in the {'log' if key in expected else 'store'}")
            continue
        document = {**found[key], "rated_at": milliseconds(found[key]["rated_at"])}
        wrong += _differences(f"I2: the rating {' by '.join(key)}", expected[key], document)
    return wrong


NOBODY = str(uuid.UUID(int=0))


def _as_folded(document: dict[str, Any]) -> dict[str, Any]:
    """A ledger row of MongoDB as the fold has it."""
    caller = str(uuid.UUID(bytes=bytes(document["caller"])))
    return {
        "caller": None if caller == NOBODY else caller,
        "fingerprint": bytes(document["fingerprint"]).hex(),
        "command_type": document["type"],
        "status": document["status"],
        "http_status": document["http_status"],
        "problem": document["problem"] or None,
        "resource": document["resource"] or None,
        "cause_offset": document["offset"],
        "submitted_at": milliseconds(document["submitted_at"]),
        "decided_at": milliseconds(document["at"]),
    }


def product_ledger_is_that_of_the_fold(model: Model, documents: list[dict[str, Any]]) -> Sentences:
    """I2: views without a key have none."""
    expected = _folded_ledger(model, "product")
    found = {
        (str(uuid.UUID(bytes=bytes(document["command_id"]))), document["partition"]): document for document in documents
    }
    wrong = []
    for key in expected.keys() | found.keys():
        what = f"I2: the ledger row {key}"
        if key not in found or key not in expected:
            wrong.append(f"{what} of a product's command is only in the {'log' if key in expected else 'store'}")
        else:
            wrong += _differences(what, expected[key], _as_folded(found[key]))
    return wrong


def cart_ledger_is_that_of_the_fold(model: Model, found: set[tuple[str, int]]) -> Sentences:
    """I2: which rows there are; reprices have none."""
    expected = _folded_ledger(model, "cart").keys()
    return [
        f"I2: the ledger row {key} of a cart's command is only in the {'log' if key in expected else 'store'}"
        for key in expected ^ found
    ]


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
    unavailable = {
        f"cart:{member_id}:{line.product_id}"
        for member_id, cart in state.carts.items()
        for line in cart.lines.values()
        if not line.available
    }
    return wrong + carts_agree_with_themselves(keys, unavailable)


def copies_are_those_of_the_fold(state: State, copies: dict[str, dict[str, Any]]) -> Sentences:
    """I2: what the worker decides on, which holds what readers' keys do not show."""
    expected = {
        member_id: {
            "m": member_id,
            "v": cart.version,
            "c": cart.created_ms,
            "u": cart.updated_ms,
            "e": cart.ends_ms,
            "l": [_packed_line(line) for line in cart.lines.values()],
        }
        for member_id, cart in state.carts.items()
    }
    wrong = []
    for member_id in expected.keys() | copies.keys():
        if member_id not in expected or member_id not in copies:
            where = "log" if member_id in expected else "store"
            wrong.append(f"I2: the worker's copy of the cart of {member_id} is only in the {where}")
        else:
            wrong += _differences(f"I2: the cart of {member_id}", expected[member_id], copies[member_id])
    return wrong


def _packed_line(line: Line) -> dict[str, Any]:
    packed = {
        "p": line.product_id,
        "n": line.product_name,
        "r": line.price_minor,
        "q": line.quantity,
        "t": line.added_ms,
        "w": line.product_version,
        "o": line.previous_minor,
        "a": line.available,
    }
    return {name: value for name, value in packed.items() if value is not None}


def holders_are_those_of_the_fold(state: State, holders: dict[str, set[str]]) -> Sentences:
    """I7: whom the reprice policy asks for; product -> members."""
    expected: dict[str, set[str]] = defaultdict(set)
    for member_id, cart in state.carts.items():
        for product_id in cart.lines:
            expected[product_id].add(member_id)
    return [
        f"I7: the holders of {product_id} are {holders.get(product_id)}, expected {expected.get(product_id)}"
        for product_id in expected.keys() | holders.keys()
        if holders.get(product_id) != expected.get(product_id)
    ]


def carts_agree_with_themselves(keys: dict[str, tuple[str, int]], unavailable: Collection[str] = ()) -> Sentences:
    """I7 without the log: summary and items, and their ends. `unavailable`: items that count in neither total."""
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
        items = [
            exact_json(text)
            for what, (text, _) in cart.items()
            if what != "summary" and f"cart:{member_id}:{what}" not in unavailable
        ]
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
        self._id_key = id_key
        self._logs = logs

    def drained(self, timeout_s: float = 60) -> None:
        """Waits until every command is folded, its events are published and the outboxes are forgotten or empty."""
        deadline = time.monotonic() + timeout_s
        while True:
            left = self.left()
            if not left:
                return
            if time.monotonic() > deadline:
                raise AssertionError(f"not drained within {timeout_s:.0f} s: {'; '.join(left)}")
            time.sleep(0.1)

    def left(self) -> Sentences:
        """What is still to come."""
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
        left += policy_follows_from_events(self.topics.records("member.events"), self.topics.records("member.commands"))
        left += lines_behind_their_products(self.model.state)[:3]
        left += [f"member {member_id} is still changing their e-mail" for member_id in self.model.state.email_changes]
        for (domain, p), partition in self.model.partitions.items():
            events = self.topics.partition(f"{domain}.events", p)
            reached = max((event.cause for event in events), default=(-1, -1))
            last = max(
                [(e.cause_offset, e.n) for e in partition.events[-1:]] + [*self._last_view(partition)], default=(-1, -1)
            )
            if reached < last:
                left.append(f"{domain}.events {p} is at {reached}, to come is {last}")
            missing = partition.dead.keys() - {number_in(r, "tw_dlq_offset", -1) for r in self._dead(domain, p)}
            if missing:
                left.append(f"{domain}.dlq {p} lacks {sorted(missing)}")
            untold = partition.letters.settlements.keys() - {
                number_in(r, "tw_dlq_settles", -1) for r in self._dead(domain, p)
            }
            if untold:
                left.append(f"{domain}.dlq {p} does not tell that {sorted(untold)} are settled")
        return left

    def _dead(self, domain: str, partition: int) -> list[Record]:
        return self.topics.partition(f"{domain}.dlq", partition)

    @staticmethod
    def _last_view(partition: Partition) -> list[tuple[int, int]]:
        return [max(partition.views)] if partition.views else []

    def check(self, history: History | None = None, since: dict[tuple[str, int], int] | None = None) -> None:
        """Fails with all violations. `since`: where the command topics ended when the history began."""
        wrong = self.settled_violations()
        if history is not None:
            commands = [r for (name, p), start in (since or {}).items() for r in self.topics.partition(name, p)[start:]]
            wrong += accepted_are_in_the_log(history, commands) if since is not None else []
            wrong += accepted_have_an_end(history, self.model)
            wrong += revoked_tokens_are_refused(history, self.topics.records("member.events"))
            wrong += no_secrets(history.secrets, self.texts())
            wrong += no_personal_data(history.personal, self.log_texts())
        assert not wrong, "\n".join(wrong[:20])

    def settled_violations(self) -> Sentences:
        """A policy that repeats itself after a crash may write while we look: then we look again."""
        while True:
            ends = self.topics.ends()  # of logs that are read after: the stores may know of more
            self.drained()
            wrong = self.violations()
            if not wrong or self.topics.ends() == ends:
                return wrong

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
        tables = self.stores.tables()
        wrong += members_are_those_of_the_fold(self.model, tables)
        wrong += emails_are_unique(tables["members"])
        wrong += emails_are_their_members(tables["members"], tables["tw_email_claims"], self._id_key)
        wrong += addresses_have_one_default(tables["member_addresses"])
        wrong += callers_act_for_themselves(self.model.state, self.good_commands())
        wrong += products_are_those_of_the_fold(self.model.state, list(self.stores.mongo["products"].find()))
        wrong += ratings_are_those_of_the_fold(self.model.state, list(self.stores.mongo["tw_ratings"].find()))
        wrong += product_ledger_is_that_of_the_fold(self.model, self.stores.product_ledger())
        wrong += cart_ledger_is_that_of_the_fold(self.model, self.stores.cart_ledger())
        wrong += carts_are_those_of_the_fold(self.model.state, self.stores.all_carts())
        wrong += copies_are_those_of_the_fold(self.model.state, self.stores.cart_copies())
        wrong += holders_are_those_of_the_fold(self.model.state, self.stores.holders())
        wrong += carts_are_told_what_products_say(
            self.topics.records("product.events"),
            (command for command in self.good_commands() if command.topic == "cart.commands"),
        )
        return wrong

    def good_commands(self) -> Iterable[Record]:
        """But for dead letters, which say anything, and operators' drops, which say nothing more."""
        for (domain, p), partition in self.model.partitions.items():
            for record in self.topics.partition(f"{domain}.commands", p):
                if record.offset not in partition.dead and record.type != DROP_TYPE:
                    yield record

    def texts(self) -> Iterable[tuple[str, bytes]]:
        for record in self.topics.all():
            yield (
                f"{record.topic} {record.partition}/{record.offset}",
                b"\n".join([record.value, record.key or b"", *(value or b"" for _, value in record.headers)]),
            )
        yield from self.log_texts()

    def log_texts(self) -> Iterable[tuple[str, bytes]]:
        for log in sorted(self._logs.glob("*.log")):
            yield log.name, log.read_bytes()
