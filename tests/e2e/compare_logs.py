"""Events, commands, dead letters and texts, each compared with what a fold of the command log says.

Each function takes what it looks at and returns sentences; no sentences, nothing is wrong. judge.py says of which invariant
they are, and test_compare.py plants lies before each."""

import json
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

import ids
from letters import Verdict, is_letter, number_in
from messages import COMMANDS, ROUTES
from model import Event, Partition
from rules import State
from topics import Record, readers_rule

Sentences = list[str]

POLICIES = "/tillwire/policy/"
EDGE = "/tillwire/edge"
TWCTL = "/tillwire/twctl"
OF_POLICIES = ("member.claim_email.v1", "member.complete_email_change.v1", "cart.reprice.v1")


def written_by_a_policy(record: Record) -> bool:
    return (record.header("ce_source") or "").startswith(POLICIES)


def written_by_ourselves(record: Record) -> bool:
    """Also what an edge wrote and an operator requeued."""
    return written_by_a_policy(record) or record.header("ce_source") == TWCTL or bool(record.header("tw_requeue_of"))


def same_id_same_event(events: list[Record]) -> Sentences:
    """An event id stands for the same bytes, however often it is published."""
    first: dict[str, Record] = {}
    wrong = []
    for event in events:
        known = first.setdefault(event.command_id, event)
        if (known.key, known.value, known.headers) != (event.key, event.value, event.headers):
            wrong.append(f"event {event.command_id} was published with two contents")
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
    """Under the readers' rule, all expected events in order, between them only right coalesced ones."""
    name = f"{partition.domain}.events {partition.number}"
    kept = readers_rule(events)
    plain = [event for event in kept if event.type != "product.viewed.v1"]
    wrong = _coalesced_are_right(partition, name, [event for event in kept if event.type == "product.viewed.v1"])
    for event, expected in zip(plain, partition.events):
        if not _as_expected(event, expected):
            return [*wrong, f"{name} has {event.command_id} {event.type} {event.body}, expected {expected}"]
    if len(plain) != len(partition.events):
        wrong.append(f"{name} has {len(plain)} events, the fold gives {len(partition.events)}")
    return wrong


def _coalesced_are_right(partition: Partition, name: str, viewed: list[Record]) -> Sentences:
    """The new total at the record they stand at; the last one of a product covers all its views."""
    wrong = []
    last: dict[str, int] = {}
    for event in viewed:
        if event.body != partition.views.get(event.cause):
            wrong.append(f"{name} has {event.command_id} {event.body}, expected {partition.views.get(event.cause)}")
        last[event.body["product_id"]] = event.body["view_count"]
    for product_id, total in {view["product_id"]: view["view_count"] for view in partition.views.values()}.items():
        if last.get(product_id) != total:
            wrong.append(f"{name} tells {last.get(product_id)} views of {product_id}, the log has {total}")
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
    """A cart's first version is where it began; views and ratings do not move a product's."""
    version: dict[bytes, int] = {}
    wrong = []
    for event in readers_rule(events):
        if "version" not in event.body:
            continue
        key, now = event.key or b"", event.body["version"]
        if key in version and now - version[key] != _version_step(partition.domain, event):
            wrong.append(f"{event.command_id} has version {now} after {version[key]}")
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
    """Each step of a change of address leads to the next one, once, however often either is written."""
    told = {event.command_id: event for event in events if event.type in NEXT_STEP}
    first = {command.command_id: command for command in commands if written_by_a_policy(command)}
    wanted = Counter(_step(event, NEXT_STEP[event.type]) for event in told.values())
    written = Counter(_step(command, command.type) for command in first.values())
    return [f"an event asks for {what}, which the policy did not write" for what in wanted - written] + [
        f"the policy wrote {what}, which no event asks for" for what in written - wanted
    ]


def carts_are_told_what_products_say(events: Iterable[Record], commands: Iterable[Record]) -> Sentences:
    """What edges and the policy write of a product is what its own event says of that version; a reprice is always
    the policy's."""
    told = {
        (event.body["product_id"], event.body["version"]): _as_shown(event)
        for event in events
        if event.type in ("product.created.v1", "product.changed.v1")
    }
    return [
        f"{command.command_id} ({command.type}) of {command.header('ce_source')} says {command.body}"
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
    """The reprice policy reaches every line, also one whose add raced the change. A line of an older version is
    right as long as it shows the same."""
    return [
        f"the line of {product_id} in the cart of {member_id} shows {shown}, its product {product}"
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
    """What the edge writes for a member is about that member; only operators write about others."""
    return [
        f"{record.command_id} ({record.type}) is not {record.header('tw_caller')}'s to write"
        for record in commands
        if record.header("ce_source") == EDGE and not _may_write(state, record.header("tw_caller"), record)
    ]


def dead_letters_are_the_poison(partition: Partition, commands: list[Record], dead: list[Record]) -> Sentences:
    """Deliveries repeat; what is delivered again is the same."""
    name = f"{partition.domain}.dlq {partition.number}"
    letters = [record for record in dead if is_letter(record)]
    wrong = _all_are_there(name, letters, partition)
    wrong += _delivered_alike(name, letters, "tw_dlq_offset")
    for letter in letters:
        offset = number_in(letter, "tw_dlq_offset", -1)
        if offset in partition.letters.verdicts:
            wrong += _letter_is_untouched(name, letter, commands[offset], partition.letters.verdicts[offset])
    settlements = [record for record in dead if not is_letter(record)]
    # What was given up later, by a store that went back, has settled nothing.
    valid = [record for record in settlements if number_in(record, "tw_dlq_settled_by", -1) not in partition.dead]
    return wrong + _settlements_are_those_of_the_fold(name, partition, valid)


def _all_are_there(name: str, letters: list[Record], partition: Partition) -> Sentences:
    origins = {number_in(letter, "tw_dlq_offset", -1) for letter in letters}
    return [
        f"{name} lacks record {offset} ({partition.dead[offset]})" for offset in partition.dead.keys() - origins
    ] + [f"{name} has record {offset}, which is good" for offset in origins - partition.dead.keys()]


def _delivered_alike(name: str, records: list[Record], named_by: str) -> Sentences:
    first: dict[str | None, Record] = {}
    return [
        f"{name} has two contents for {named_by} {record.header(named_by)}"
        for record in records
        for known in [first.setdefault(record.header(named_by), record)]
        if (known.key, known.value, known.headers) != (record.key, record.value, record.headers)
    ]


def _differing_headers(what: str, record: Record, expected: dict[str, str]) -> Sentences:
    return [
        f"{what}: {key} is {record.header(key)!r}, expected {value!r}"
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
        wrong.append(f"{name} {origin.offset}: key or bytes were changed")
    if tuple(letter.headers[: len(origin.headers)]) != origin.headers:
        wrong.append(f"{name} {origin.offset}: headers were changed")
    return wrong


def _settlements_are_those_of_the_fold(name: str, partition: Partition, found: list[Record]) -> Sentences:
    expected = partition.letters.settlements
    settled = {number_in(record, "tw_dlq_settles", -1) for record in found}
    wrong = [f"{name} does not tell that {first} is settled" for first in expected.keys() - settled]
    wrong += [f"{name} tells that {first} is settled, which it is not" for first in settled - expected.keys()]
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


def _has_token(text: bytes) -> bool:
    return bool(TOKEN.search(text) or REFRESH_TOKEN.search(text))


def _as_written(texts: set[str]) -> list[bytes]:
    """As they are, and as JSON spells them."""
    spelt = {json.dumps(text, ensure_ascii=flag)[1:-1] for text in texts for flag in (True, False)}
    return [text.encode() for text in texts | spelt]


def no_secrets(secrets: set[str], texts: Iterable[tuple[str, bytes]]) -> Sentences:
    """None of these, and nothing that looks like a token. So those that do, most of a long history's, need no search of
    their own."""
    needles = [needle for needle in _as_written(secrets) if not _has_token(needle)]
    return [
        f"a secret stands in {name}"
        for name, text in texts
        if _has_token(text) or any(needle in text for needle in needles)
    ]


def no_personal_data(personal: set[str], logs: Iterable[tuple[str, bytes]]) -> Sentences:
    """In what programs write for operators."""
    needles = _as_written({text for one in personal for text in (one, one.lower())})
    return [f"an e-mail stands in {name}" for name, text in logs if any(needle in text for needle in needles)]
