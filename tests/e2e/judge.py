"""judge.py HISTORY: reads what recorder.py wrote, all topics, the three stores and the programs' logs, and says of each
invariant what it compared and whether it holds.

    eval "$(./dev env)"; cd tests/e2e; python judge.py HISTORY [--only I1,I5] [--patience 60] [--logs DIR]

The programs may run or be stopped; the servers must run. Exit code 0: all hold; 1: some do not; 2: cannot be judged.

  I1  every 202 has its record and an end; what was refused has none; what is unknown, none or one
  I2  a command has one effect and one set of event ids
  I3  watermarks never go back, and Kafka's committed offset is never ahead of them
  I5  view_count is the number of accepted views
  I6  versions go up by one, and what is stored is what was told last
  I7  a cart's summary is the fold of its items, and both end at the same instant
  I8  the same key and body: the same command; another body: 422
  I9  the log folded anew gives the same stores and events: by the model in Python, and by `twctl verify`
  I10 no effect of a bad token; a revoked one is refused a second later; nobody writes for somebody else
  I11 the dead letters are what could not be processed, each once, untouched
  I13 no password, token or e-mail where it must not be
  I14 memory, descriptors and threads as before; queues within their limits; idle programs are idle
  I16 one member an e-mail; one default address where there are any

An invariant that saw no case says so: it is `unseen`, which is no success. What is compared is written in Python a second
time (model.py, rules.py, compare_logs.py, compare_stores.py); nothing here comes from the programs. The tests ask the same
judge on the stack they run on: Judge.
"""

import argparse
import bisect
import json
import os
import re
import subprocess
import sys
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import compare_logs
import compare_stores
import history
import ids
import tokens
from compare_logs import AUTH_OF, EDGE, Sentences
from fold import Fold
from history import Exchange
from messages import COMMANDS
from stores import Stores
from topics import Record, Topics, readers_rule

SECOND_MS = 1000
SKEW_S = 30  # that clocks of issuer and verifier may differ by, as the decision on access tokens says
SHOWN = 5
AGREES = re.compile(
    r": watermarks |: sha256 |says the same of all|, 0 differences$|WARNING|^$"
)  # lines of twctl verify


@dataclass
class Verdict:
    """`compared`: how many cases of each kind were looked at; `must`: kinds without which nothing was seen."""

    name: str
    compared: dict[str, int] = field(default_factory=dict)
    must: tuple[str, ...] = ()
    wrong: Sentences = field(default_factory=list)

    @property
    def unseen(self) -> list[str]:
        return [kind for kind in self.must if not self.compared[kind]]

    @property
    def word(self) -> str:
        if self.wrong:
            return "BROKEN"
        return "unseen" if self.unseen else "holds"

    @property
    def counts(self) -> str:
        return ", ".join(f"{count} {kind}" for kind, count in self.compared.items())


class Case:
    """All there is to look at, read once."""

    def __init__(
        self, environment: dict[str, str], told: history.Record, fold: Fold, logs: Path, bin_dir: Path | None
    ) -> None:
        self.environment = environment
        self.told = told
        self.topics = fold.topics
        self.stores = fold.stores
        self.fold = fold
        self.model = fold.model
        self.logs = logs
        self.bin_dir = bin_dir

    @cached_property
    def commands(self) -> list[Record]:
        """Of edges, since the history began."""
        return [
            record
            for (topic, partition), start in self.told.began.items()
            if topic.endswith(".commands")
            for record in self.topics.partition(topic, partition)[start:]
            if record.header("ce_source") == EDGE and not compare_logs.written_by_ourselves(record)
        ]

    @cached_property
    def by_id(self) -> dict[str, list[Record]]:
        found = defaultdict(list)
        for record in self.commands:
            found[record.command_id].append(record)
        return found

    @cached_property
    def kept(self) -> dict[tuple[str, int], list[Record]]:
        """Events by (domain, partition), under the rule for every reader."""
        return {at: readers_rule(self.topics.partition(f"{at[0]}.events", at[1])) for at in self.model.partitions}

    @property
    def events(self) -> Iterable[Record]:
        return (event for events in self.kept.values() for event in events)

    @cached_property
    def tables(self) -> compare_stores.Tables:
        return self.stores.tables()

    @cached_property
    def products(self) -> list[dict[str, Any]]:
        return list(self.stores.mongo["products"].find())

    @cached_property
    def cart_keys(self) -> dict[str, tuple[str, int]]:
        return self.stores.all_carts()

    @cached_property
    def cart_copies(self) -> dict[str, dict[str, Any]]:
        return self.stores.cart_copies()

    @property
    def writes(self) -> list[Exchange]:
        return [exchange for exchange in self.told.exchanges if exchange.command_type]

    def records(self) -> Iterable[Record]:
        """Of all topics, since the history began: what it tells of is no older."""
        for at, records in self.topics.partitions():
            yield from records[self.told.began.get(at, 0) :]

    def log_texts(self) -> Iterable[tuple[str, bytes]]:
        """Of programs, since then."""
        for log in sorted(self.logs.glob("*.log")):
            with log.open("rb") as file:
                file.seek(self.told.log_sizes.get(log.name, 0))
                yield log.name, file.read()


# --- I1


def _accepted(case: Case) -> tuple[Counter[str], Sentences]:
    """Command ids that clients were told, how often; and what is wrong with their records."""
    told: Counter[str] = Counter()
    wrong = []
    for exchange in case.writes:
        told.update(exchange.command_ids)
        for command_id in exchange.command_ids:
            if command_id not in case.by_id and not exchange.is_replayed:
                wrong.append(f"{command_id} ({exchange}) was accepted and is not in the log")
            elif not case.model.outcomes.get(command_id):
                if not _is_under_way(case, command_id):
                    wrong.append(f"{command_id} ({exchange}) has no end")
    for command_id, times in told.items():
        found = len(case.by_id.get(command_id, []))
        if found > 1 and not ids.is_keyed(command_id):
            wrong.append(f"{command_id} is in the log {found} times")
    return told, wrong


def _is_under_way(case: Case, command_id: str) -> bool:
    return any(change["command"].id == command_id for change in case.model.state.email_changes.values())


def _whose(ce_type: str, caller: str | None) -> tuple[str, str | None]:
    """A command's type, and who asked for it where only members and operators can."""
    return ce_type, caller if AUTH_OF.get(ce_type, "member") not in ("public", "optional") else None


def _nobody_was_told_of(case: Case, told: Counter[str]) -> Sentences:
    """Of each caller and type there are no more than answers that left it open."""
    open_ones: Counter[tuple[str, str | None]] = Counter()
    for exchange in case.writes:
        if exchange.is_open:
            open_ones[_whose(exchange.command_type or "", exchange.claims.get("sub"))] += exchange.commands
    others = Counter(
        _whose(record.type, record.header("tw_caller")) for record in case.commands if record.command_id not in told
    )
    return [
        f"{count} records of {ce_type} by {caller or 'anyone'} nobody was told of, {may} answers left that open"
        for (ce_type, caller), count in others.items()
        for may in [open_ones[ce_type, caller]]
        if count > may
    ]


def _published_ends(case: Case, told: Iterable[str]) -> Sentences:
    """Whatever leaves an outcome has published it, or its dead letter."""
    ended = {event.body["command_id"] for event in case.events if event.type == "command.outcome.v1"}
    quiet = {record.command_id for record in case.commands if COMMANDS.get(record.type, {}).get("quiet")}
    return [
        f"no outcome of {command_id} was published"
        for command_id in told
        if command_id in case.by_id
        and command_id not in ended
        and (command_id not in quiet or ids.is_keyed(command_id))
        and not _is_under_way(case, command_id)
    ]


def accepted_end_once(case: Case) -> Verdict:
    told, wrong = _accepted(case)
    wrong += _published_ends(case, told) + _nobody_was_told_of(case, told)
    unknown = sum(exchange.commands for exchange in case.writes if exchange.is_open)
    refused = sum(not exchange.command_ids and not exchange.is_open for exchange in case.writes)
    counts = {"accepted": len(told), "final or unknown": unknown, "refused": refused, "records": len(case.commands)}
    return Verdict("I1", counts, ("accepted", "refused"), wrong)


# --- I2


def _effect(event: Record, cause: Record) -> str | None:
    """The command whose effect the event is. A view's is of many; a key's misuse and an operator's word that is not its
    turn's have none."""
    if event.type == "product.viewed.v1":
        return None
    if event.type != "command.outcome.v1":
        return event.header("tw_command_id")
    first = event.body["status"] in ("succeeded", "rejected") and not event.body["repeated"]
    problem = event.body.get("problem_code")
    refused = problem == "idempotency-key-reused" or (problem == "not-found" and cause.header("tw_requeue_of"))
    return f"outcome of {event.body['command_id']}" if first and not refused else None


def one_effect(case: Case) -> Verdict:
    causes: dict[str, set[tuple[str, int, int]]] = defaultdict(set)
    times: Counter[str] = Counter()
    published = 0
    wrong: Sentences = []
    for (domain, p), kept in case.kept.items():
        wrong += compare_logs.same_id_same_event(case.topics.partition(f"{domain}.events", p))
        published += len(case.topics.partition(f"{domain}.events", p))
        for event in kept:
            times[event.command_id] += 1
            what = _effect(event, case.topics.partition(f"{domain}.commands", p)[event.cause[0]])
            if what:
                causes[what].add((domain, p, event.cause[0]))
    wrong += [f"{what}: effects at {sorted(at)}" for what, at in causes.items() if len(at) > 1]
    wrong += [f"event {event_id} is left {n} times under the readers' rule" for event_id, n in times.items() if n > 1]
    wrong += compare_logs.policy_follows_from_events(
        case.topics.records("member.events"), case.topics.records("member.commands")
    )
    wrong += compare_logs.carts_are_told_what_products_say(
        case.topics.records("product.events"),
        (command for command in case.fold.good_commands() if command.topic == "cart.commands"),
    )
    repeats = sum(len(records) > 1 for records in case.by_id.values())
    counts = {"effects": len(causes), "commands written twice": repeats, "events": published}
    return Verdict("I2", counts, ("effects", "commands written twice"), wrong)


# --- I3


def backwards(domain: str, looks: list[dict[str, Any]]) -> Sentences:
    wrong: Sentences = []
    highest: list[int] = []
    for look in looks:
        if look["kind"] == "restored":
            highest = []
            continue
        stored, committed = look["stored"], look["committed"]
        wrong += [
            f"{domain} {p} went back from {high} to {mark} at {look['at']}"
            for p, (high, mark) in enumerate(zip(highest, stored))
            if mark < high
        ]
        wrong += [
            f"{domain} {p}: Kafka had {offset}, the store {mark} at {look['at']}"
            for p, (offset, mark) in enumerate(zip(committed, stored))
            if offset > mark
        ]
        highest = stored
    return wrong


def watermarks_lead(case: Case) -> Verdict:
    wrong: Sentences = []
    for domain in ids.DOMAINS:
        wrong += backwards(domain, case.told.marks[domain])
        committed = case.topics.committed(f"tillwire-{domain}", f"{domain}.commands")  # before the others, which grow
        stored = case.stores.watermarks(domain)
        ends = [case.topics.end(f"{domain}.commands", p) for p in range(len(stored))]
        wrong += compare_stores.watermarks_are_at_the_end(domain, stored, ends, committed)
    looks = sum(len(looks) for looks in case.told.marks.values())
    moved = sum(bool(mark) for domain in ids.DOMAINS for mark in case.stores.watermarks(domain))
    return Verdict("I3", {"looks": looks, "watermarks": moved}, ("looks", "watermarks"), wrong)


# --- I5


def views_count(case: Case) -> Verdict:
    counted = {ids.product_id(document["sku"]): int(document["view_count"]) for document in case.products}
    expected = {product_id: product["view_count"] for product_id, product in case.model.state.products.items()}
    wrong = [
        f"{product_id} has {counted.get(product_id)} views, accepted were {views}"
        for product_id, views in expected.items()
        if counted.get(product_id) != views
    ]
    return Verdict("I5", {"products": len(expected), "views": sum(expected.values())}, ("products", "views"), wrong)


# --- I6


def versions_rise(case: Case) -> Verdict:
    wrong: Sentences = []
    last: dict[tuple[str, str], int] = {}
    seen = 0
    for at, partition in case.model.partitions.items():
        wrong += compare_logs.versions_go_up_by_one(partition, case.kept[at])
        for event in case.kept[at]:
            if "version" in event.body:
                last[at[0], (event.key or b"").decode("utf-8", "replace")] = event.body["version"]
                seen += 1
    stored = {
        "member": {str(row["id"]): int(row["version"]) for row in case.tables["members"]},
        "product": {ids.product_id(document["sku"]): int(document["version"]) for document in case.products},
        "cart": {member_id: int(copy["v"]) for member_id, copy in case.cart_copies.items()},
    }
    wrong += [
        f"{domain} {key} is stored with version {stored[domain][key]}, its last event told {version}"
        for (domain, key), version in last.items()
        if key in stored[domain] and stored[domain][key] != version
    ]
    return Verdict("I6", {"aggregates": len(last), "versions": seen}, ("aggregates", "versions"), wrong)


# --- I7


def carts_add_up(case: Case) -> Verdict:
    state = case.model.state
    wrong = compare_stores.carts_are_those_of_the_fold(state, case.cart_keys)
    wrong += compare_stores.holders_are_those_of_the_fold(state, case.stores.holders())
    wrong += compare_logs.lines_behind_their_products(state)
    summaries = sum(key.endswith(":summary") for key in case.cart_keys)
    items = len(case.cart_keys) - summaries
    return Verdict("I7", {"summaries": summaries, "items": items}, ("summaries", "items"), wrong)


# --- I8


def _same_request(exchange: Exchange) -> tuple[Any, ...]:
    """What a key's meaning depends on; nobody's requests also by their body."""
    caller = exchange.claims.get("sub")
    return exchange.key, caller, exchange.method, exchange.path, None if caller else _canonical(exchange)


def _canonical(exchange: Exchange) -> str:
    """The same for the same members in another order."""
    return json.dumps(exchange.json, sort_keys=True) if exchange.json is not None else repr(exchange.body)


def _is_reuse(exchange: Exchange) -> bool:
    answer = exchange.answer_json
    return exchange.status == 422 and isinstance(answer, dict) and answer.get("code") == "idempotency-key-reused"


def _is_final(exchange: Exchange) -> bool:
    """An end that a worker gave, or gave once and the edge repeats."""
    waited = exchange.waited and exchange.status in (200, 201, 204, 404, 409, 412, 422) and not _is_reuse(exchange)
    return waited and "preference-applied" in exchange.answer_fields


def _one_answer(same: list[Exchange]) -> Sentences:
    """Of requests with the same key and body."""
    told = {tuple(exchange.command_ids) for exchange in same if exchange.command_ids}
    final = {exchange.status for exchange in same if _is_final(exchange)}
    wrong = [f"{same[0]}: the same key and body are told {sorted(told)}"] if len(told) > 1 else []
    return wrong + ([f"{same[0]}: the same key and body end with {sorted(final)}"] if len(final) > 1 else [])


def keys_mean_one_request(case: Case) -> Verdict:
    requests: dict[tuple[Any, ...], dict[str, list[Exchange]]] = defaultdict(lambda: defaultdict(list))
    for exchange in case.writes:
        if exchange.key is not None and not exchange.path.endswith(":batch"):
            requests[_same_request(exchange)][_canonical(exchange)].append(exchange)
    wrong: Sentences = []
    same = other = 0
    for bodies in requests.values():
        for answers in bodies.values():
            same += len(answers) > 1
            wrong += _one_answer(answers)
        other += len(bodies) - 1
        ended = [x for answers in bodies.values() for x in answers[:] if _is_final(x) or x.is_replayed]
        if len({_canonical(exchange) for exchange in ended}) > 1:
            wrong.append(f"{ended[-1]}: two bodies with one key were both answered as if it were theirs")
    counts = {"keys": len(requests), "same body again": same, "another body": other}
    return Verdict("I8", counts, ("same body again", "another body"), wrong)


# --- I9


def _verified(case: Case) -> tuple[int, Sentences]:
    """What `twctl verify` finds by folding the log itself; nothing where nobody says where it is."""
    if not case.bin_dir:
        return 0, []
    plain = {name: value for name, value in os.environ.items() if not name.startswith("TW_")}
    words = [str(case.bin_dir / "twctl"), "verify", "all", "--against-log"]
    done = subprocess.run(words, env={**plain, **case.environment}, capture_output=True, text=True, timeout=600)
    agreed = [int(line.rpartition(" ")[2]) for line in done.stdout.splitlines() if "says the same of all" in line]
    if done.returncode == 0:
        return sum(agreed), []
    differs = [line for line in (done.stdout + done.stderr).splitlines() if not AGREES.search(line)]
    return sum(agreed), [f"twctl verify ended with {done.returncode}: {' | '.join(differs[:SHOWN])}"]


def _rows_differ(case: Case) -> Sentences:
    model, stores = case.model, case.stores
    ratings = list(stores.mongo["tw_ratings"].find())
    return [
        *compare_stores.members_are_those_of_the_fold(model, case.tables),
        *compare_stores.products_are_those_of_the_fold(model.state, case.products),
        *compare_stores.ratings_are_those_of_the_fold(model.state, ratings),
        *compare_stores.product_ledger_is_that_of_the_fold(model, stores.product_ledger()),
        *compare_stores.cart_ledger_is_that_of_the_fold(model, stores.cart_ledger()),
        *compare_stores.copies_are_those_of_the_fold(model.state, case.cart_copies),
    ]


def replay_agrees(case: Case) -> Verdict:
    wrong = _rows_differ(case)
    events = 0
    for (domain, p), partition in case.model.partitions.items():
        published = case.topics.partition(f"{domain}.events", p)
        wrong += compare_logs.events_are_those_of_the_fold(partition, published)
        wrong += compare_logs.headers_are_complete(published)
        events += len(partition.events)
    verified, differs = _verified(case)
    rows = sum(map(len, case.tables.values())) + len(case.products) + len(case.cart_copies)
    counts = {"rows": rows, "events": events, "verified by twctl": verified}
    must = ("rows", "events") + (("verified by twctl",) if case.bin_dir and not differs else ())
    return Verdict("I9", counts, must, wrong + differs)


# --- I10


def _keys(environment: dict[str, str]) -> dict[str, bytes]:
    """kid -> secret of HS256; what is signed otherwise is not looked at."""
    if environment.get("TW_JWT_ALGORITHM", "HS256") != "HS256":
        return {}
    lines = Path(environment["TW_JWT_KEYS_FILE"]).read_text(encoding="utf-8").splitlines()
    return {kid: bytes.fromhex(secret.strip()) for kid, _, secret in (line.partition(":") for line in lines) if secret}


def _is_bad(exchange: Exchange, keys: dict[str, bytes], issued: set[str]) -> bool:
    """Missing, ended, or signed by nobody. Where nobody's things can be asked for, too, none is no bad one. Keys come and
    go, so what an edge `issued` was signed by it."""
    if exchange.auth == "caller" and not exchange.token:
        return False
    if not exchange.claims:
        return True
    if exchange.claims.get("exp", 0) + SKEW_S < exchange.sent_ms // 1000:
        return True
    return bool(keys) and exchange.token not in issued and not tokens.is_signed(exchange.token, keys)


def _needs_token(exchange: Exchange) -> bool:
    return exchange.auth not in ("public", "optional")


def revoked_at(events: Iterable[Record]) -> dict[str, int]:
    revoked: dict[str, int] = {}
    for event in events:
        if event.type == "member.tokens_revoked.v1":
            for token in event.body["tokens"]:
                revoked.setdefault(token["token_id"], event.timestamp_ms)
    return revoked


# Whoever comes with what was revoked is told nothing, not even that there is no such thing.
REFUSED_UNREAD = (0, 401, 429, 503)


def bad_tokens_do_nothing(case: Case) -> Verdict:
    keys = _keys(case.environment)
    revoked = revoked_at(case.topics.records("member.events"))
    asked = [exchange for exchange in case.told.exchanges if _needs_token(exchange)]
    issued = {token for exchange in case.told.exchanges for token in [exchange.issued] if token}
    bad = [exchange for exchange in asked if _is_bad(exchange, keys, issued)]
    late = [x for x in asked if x.sent_ms > revoked.get(x.claims.get("jti", ""), x.sent_ms) + SECOND_MS]
    wrong = [f"{x} was answered {x.status} with a bad token" for x in bad if 200 <= x.status < 400]
    wrong += [
        f"{x} was answered {x.status}, {x.sent_ms - revoked[x.claims['jti']]} ms after its token was revoked"
        for x in late
        if x.status not in REFUSED_UNREAD
    ]
    wrong += compare_logs.callers_act_for_themselves(case.model.state, case.fold.good_commands())
    counts = {"with a bad token": len(bad), "with a revoked one": len(late), "callers": len(case.commands)}
    return Verdict("I10", counts, ("with a bad token", "with a revoked one", "callers"), wrong)


# --- I11


def dead_letters_are_poison(case: Case) -> Verdict:
    wrong: Sentences = []
    dead = commands = 0
    for (domain, p), partition in case.model.partitions.items():
        records = case.topics.partition(f"{domain}.commands", p)
        wrong += compare_logs.dead_letters_are_the_poison(partition, records, case.topics.partition(f"{domain}.dlq", p))
        dead += len(partition.dead)
        commands += len(records)
    counts = {"poison": dead, "good commands": commands - dead}
    return Verdict("I11", counts, ("poison", "good commands"), wrong)


# --- I13


def _text_of(record: Record) -> tuple[str, bytes]:
    parts = [record.value, record.key or b"", *(value or b"" for _, value in record.headers)]
    return f"{record.topic} {record.partition}/{record.offset}", b"\n".join(parts)


def nothing_leaks(case: Case) -> Verdict:
    secrets: set[str] = set()
    personal: set[str] = set()
    for exchange in case.told.exchanges:
        secrets |= exchange.secrets
        if isinstance(exchange.json, dict) and "@" in str(exchange.json.get("email", "")):
            personal.add(str(exchange.json["email"]).strip())
    logs = list(case.log_texts())
    wrong = compare_logs.no_secrets(secrets, chain(map(_text_of, case.records()), logs))
    wrong += compare_logs.no_personal_data(personal, logs)
    records = sum(1 for _ in case.records())
    counts = {"secrets": len(secrets), "addresses": len(personal), "records": records, "logs": len(logs)}
    return Verdict("I13", counts, tuple(counts), wrong)


# --- I14

MIB = 1 << 20


@dataclass(frozen=True)
class Growth:
    """What a program may have more of, at rest, than at its first rest: what is kept for the next request. The
    sanitizers keep freed memory back and count stacks, so memory says little under them."""

    descriptors: int = 8
    edge_descriptors: int = 8 + 3 * 8  # its pools fill when many ask at once: `store_connections` to each of three
    threads: int = 2
    memory_bytes: int = 32 * MIB
    sanitized_bytes: int = 512 * MIB


GROWTH = Growth()
IDLE_SHARE = 0.25  # of one processor; a loop that spins takes all it gets
WAITING = ("http_server_active_requests", "tillwire_edge_passwords_waiting", "tillwire_edge_queue_percent")


def _grown(program: str, first: dict[str, Any], last: dict[str, Any]) -> Sentences:
    allowed = {
        "descriptors": GROWTH.edge_descriptors if program.startswith("edge") else GROWTH.descriptors,
        "threads": GROWTH.threads,
        "memory_bytes": GROWTH.sanitized_bytes if last["sanitized"] else GROWTH.memory_bytes,
    }
    return [
        f"{program} ({last['pid']}) has {last[what]} {what} at rest, {first[what]} before, {more} more are allowed"
        for what, more in allowed.items()
        if last[what] > first[what] + more
    ]


def _spins(program: str, before: dict[str, Any], after: dict[str, Any], asked_ms: list[int]) -> Sentences:
    """Between two rests in which nobody asked for anything."""
    elapsed_s = (after["at"] - before["at"]) / 1000
    quiet = bisect.bisect_left(asked_ms, before["at"]) == bisect.bisect_left(asked_ms, after["at"])
    used_s = after["cpu_s"] - before["cpu_s"]
    if not quiet or elapsed_s <= 0 or used_s <= elapsed_s * IDLE_SHARE:
        return []
    return [f"{program} ({after['pid']}) took {used_s:.2f} s of processor time in {elapsed_s:.2f} s of rest"]


def _queues_are_full(program: str, sample: dict[str, Any]) -> Sentences:
    percent = sample["metrics"].get("tillwire_edge_queue_percent", 0)
    return [f"{program}: its queue for the broker was {percent:.0f} % full at {sample['at']}"] if percent > 100 else []


def _still_there(program: str, sample: dict[str, Any]) -> Sentences:
    """At rest nothing waits."""
    return [
        f"{program} ({sample['pid']}) has {name} {sample['metrics'][name]:.0f} at rest"
        for name in WAITING
        if sample["metrics"].get(name)
    ]


def programs_stay_small(case: Case) -> Verdict:
    wrong: Sentences = []
    counts = {"samples": 0, "programs at rest": 0}
    for program, samples in case.told.samples.items():
        rests: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for sample in samples:
            counts["samples"] += 1
            wrong += _queues_are_full(program, sample)
            if sample["rest"]:
                rests[sample["pid"]].append(sample)
                wrong += _still_there(program, sample)
        for at_rest in rests.values():
            counts["programs at rest"] += len(at_rest) > 1
            wrong += _grown(program, at_rest[0], at_rest[-1])
            for before, after in zip(at_rest, at_rest[1:]):
                wrong += _spins(program, before, after, case.told.asked_ms)
    return Verdict("I14", counts, ("samples", "programs at rest"), wrong)


# --- I16


def addresses_are_unique(case: Case) -> Verdict:
    members, claims = case.tables["members"], case.tables["tw_email_claims"]
    people = [row for row in members if not row["is_service"]]
    addresses = case.tables["member_addresses"]
    wrong = compare_stores.emails_are_unique(members)
    wrong += compare_stores.emails_are_their_members(members, claims, case.fold.id_key)
    wrong += compare_stores.addresses_have_one_default(addresses)
    counts = {"members": len(people), "addresses": len(addresses)}
    return Verdict("I16", counts, ("members", "addresses"), wrong)


# --- all of it

RULES: dict[str, Callable[[Case], Verdict]] = {
    "I1": accepted_end_once,
    "I2": one_effect,
    "I3": watermarks_lead,
    "I5": views_count,
    "I6": versions_rise,
    "I7": carts_add_up,
    "I8": keys_mean_one_request,
    "I9": replay_agrees,
    "I10": bad_tokens_do_nothing,
    "I11": dead_letters_are_poison,
    "I13": nothing_leaks,
    "I14": programs_stay_small,
    "I16": addresses_are_unique,
}


class Judge:
    """Looks at one stack as often as it is asked; the log and the history are only read on."""

    def __init__(
        self, environment: dict[str, str], recorded: Path, logs: Path, fold: Fold, bin_dir: Path | None = None
    ) -> None:
        self._environment = environment
        self._history = history.Reader(recorded)
        self._logs = logs
        self._fold = fold
        self._bin_dir = bin_dir

    def verdicts(
        self, only: Iterable[str] = RULES, patience_s: float = 60, verify: bool = True
    ) -> list[Verdict]:
        """One for each rule, the first says whether everything came to an end. Where something is wrong and a policy has
        written meanwhile, we look again. `verify`: `twctl verify` is asked, too, which takes its time."""
        topics = self._fold.topics
        while True:
            ends = topics.ends()  # of logs that are read after: the stores may know of more
            settled = self._settled(patience_s)
            case = Case(
                self._environment, self._history.read_on(), self._fold, self._logs, self._bin_dir if verify else None
            )
            verdicts = [settled, *(RULES[name](case) for name in only)]
            if topics.ends() == ends or not broken(verdicts):
                return verdicts

    def must_hold(self, *seen: str, but: Iterable[str] = (), verify: bool = False) -> None:
        """For tests, once nobody asks for anything: no rule is broken, and of those that are `seen` there were cases.
        `but`: rules that do not fit what was asked."""
        verdicts = self.verdicts([name for name in RULES if name not in but], verify=verify)
        wrong = [verdict for verdict in verdicts if verdict.wrong or (verdict.name in seen and verdict.unseen)]
        assert not wrong, table(verdicts)

    def _settled(self, patience_s: float) -> Verdict:
        """Waits for what is on its way; what never comes is told, and the rules see it, too."""
        left = self._fold.left_after(patience_s)
        self._fold.read_on()
        records = sum(len(self._fold.topics.records(f"{domain}.commands")) for domain in ids.DOMAINS)
        return Verdict("settled", {"commands": records}, ("commands",), left)


Judged = Callable[..., None]  # Judge.must_hold


def judge(
    environment: dict[str, str],
    path: Path,
    logs: Path,
    bin_dir: Path | None,
    only: Iterable[str] = RULES,
    patience_s: float = 60,
) -> list[Verdict]:
    """Of a stack that nobody has looked at before."""
    history.read(path)  # what cannot be read is told before anything is waited for
    topics, stores = Topics(environment["TW_KAFKA"]), Stores(environment)
    try:
        id_key = bytes.fromhex(Path(environment["TW_ID_KEY_FILE"]).read_text(encoding="utf-8").strip())
        return Judge(environment, path, logs, Fold(topics, stores, id_key), bin_dir).verdicts(only, patience_s)
    finally:
        topics.close()
        stores.close()


def broken(verdicts: list[Verdict]) -> set[str]:
    return {verdict.name for verdict in verdicts if verdict.wrong}


def table(verdicts: list[Verdict]) -> str:
    lines = [f"{v.name:<8}{v.word:<8}{v.counts}" for v in verdicts]
    for verdict in verdicts:
        lines += [f"{verdict.name}: {sentence}" for sentence in verdict.wrong[:SHOWN]]
        lines += [f"{verdict.name}: and {len(verdict.wrong) - SHOWN} more"] * (len(verdict.wrong) > SHOWN)
        lines += [f"{verdict.name}: no case of: {', '.join(verdict.unseen)}"] * bool(verdict.unseen)
    return "\n".join(lines)


def _names(text: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in RULES]
    if unknown:
        raise argparse.ArgumentTypeError(f"there is no rule {', '.join(unknown)}: {', '.join(RULES)}")
    return names


def _arguments() -> argparse.Namespace:
    state, programs = os.environ.get("TW_STATE_DIR"), os.environ.get("TW_BIN_DIR")
    parser = argparse.ArgumentParser(description="Says of each invariant whether it holds.")
    parser.add_argument("history", type=Path, help="what recorder.py wrote")
    parser.add_argument("--only", type=_names, default=list(RULES), help="rules, with commas between them")
    parser.add_argument("--patience", type=float, default=60, help="seconds to wait for what is on its way")
    parser.add_argument("--logs", type=Path, default=Path(state, "logs") if state else None, help="the programs' logs")
    parser.add_argument("--programs", type=Path, default=Path(programs) if programs else None, help="where twctl is")
    given = parser.parse_args()
    needed = ("TW_KAFKA", "TW_POSTGRES_URI", "TW_MONGO_URI", "TW_REDIS_URI", "TW_ID_KEY_FILE", "TW_JWT_KEYS_FILE")
    missing = [name for name in needed if name not in os.environ]
    missing += [] if given.logs else ["--logs or TW_STATE_DIR"]
    missing += [] if given.programs else ["--programs or TW_BIN_DIR"]
    if missing:
        parser.error(f"missing: {', '.join(missing)} (eval \"$(./dev env)\" sets those of a local stack)")
    return given


def main() -> int:
    given = _arguments()
    environment = {name: value for name, value in os.environ.items() if name.startswith("TW_")}
    try:
        verdicts = judge(environment, given.history, given.logs, given.programs, given.only, given.patience)
    except (history.Unreadable, FileNotFoundError) as error:
        print(f"judge.py: {error}", file=sys.stderr)
        return 2
    except Exception:  # a server away, say: that is no verdict
        traceback.print_exc()
        return 2
    print(table(verdicts))
    return 1 if any(verdict.word != "holds" for verdict in verdicts) else 0


if __name__ == "__main__":
    sys.exit(main())
