"""Stores that refuse a few keys for good while a recorded log is folded and workers are killed; then they are mended, and an
operator requeues. What the stores hold then is what they would hold had nothing been broken: the same log, folded by
workers that nothing befell, is the judge."""

import dataclasses
import json
import os
import random
import signal
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from broker import Broker
from canonical import Canonical, clocks_of
from recorded_log import MINUTE_MS, Author, Plan
from replay import DONE, REFUSED, UNREACHED, Said, agrees, begin, drop, end, settle, twctl
from stack import WORKERS, Stack, wait_until
from stores import Stores
from topics import Record, Topics

SEED = int(os.environ.get("TW_SEED", "20261127"))
RECORDS = {"member": 400, "product": 300, "cart": 500}
SPAN_MS = MINUTE_MS  # nothing ends by the clock before it is requeued
VICTIMS = 3  # of each domain
SMALL = {"TW_BATCH_RECORDS": "8", "TW_SESSION_TIMEOUT_MS": "6000"}  # long enough to befall it, not longer than need be
PATIENCE_S = 90
MENDED = "the store takes them again"
LIMITS = ("--wait-s", "60", "--broker-timeout-ms", "20000")
READABLE = ("refused_by_store", "parked")
Letter = dict[str, Any]


def aggregates(canonical: Canonical) -> dict[str, list[str]]:
    """All that the stores hold but ledgers and offsets, which tell when something was decided."""
    tables = {name: rows for name, rows in canonical.tables().items() if name != "tw_ledger"}
    tables["tw_email_changes"] = [{**row, "record_offset": None} for row in tables["tw_email_changes"]]
    copies = {key: {**cart, "v": None} for key, cart in canonical.cart_copies().items()}
    lines = {
        "member": [f"{name} {sorted(row.items())!r}" for name, rows in tables.items() for row in rows],
        "product": [f"{sorted(row.items())!r}" for row in canonical.products() + canonical.ratings()],
        "cart": [
            f"{key} {value!r}"
            for found in (copies, canonical.readers_keys())
            for key, value in found.items()
        ],
    }
    return {domain: sorted(found) for domain, found in lines.items()}


@dataclass
class Shop:
    """One log, and who folds it."""

    servers: Stack
    stores: Stores
    topics: Topics
    records: list[Record]
    canonical: Canonical
    victims: dict[str, list[str]]
    refusing: bool = False
    twin: dict[str, list[str]] = field(default_factory=dict)  # the aggregates of the fold that nothing befell

    def _settings(self, domain: str) -> dict[str, str]:
        keys = self.victims[domain] if self.refusing and domain != "member" else []  # there PostgreSQL itself refuses
        fail = ",".join(f"store_refuses=error:{key}@*" for key in keys)
        return {**SMALL, "TW_INSTANCE_ID": "", **({"TW_FAIL": fail} if fail else {})}

    def start(self, *domains: str) -> None:
        """Ready they are never, for their policies stay out."""
        for domain in domains:
            self.servers.start(domain, settings=self._settings(domain), ready=False)
        for domain in domains:
            wait_until(f"{domain} hears signals", lambda domain=domain: self.servers.is_listening(domain), 40)

    def kill(self, domain: str) -> None:
        self.servers.kill(domain)
        self.start(domain)

    def write_log(self) -> None:
        """Anew: topics and stores are forgotten."""
        broker = Broker(self.servers)
        broker.forget_all()
        self.stores.empty()
        with broker.times_of_writers({f"{domain}.commands" for domain in WORKERS}):
            broker.write(self.records)

    def folded(self, domain: str) -> int:
        return sum(self.stores.watermarks(domain))

    def end_of(self, domain: str) -> int:
        return sum(end for (name, _), end in self.topics.ends().items() if name == f"{domain}.commands")

    def wait(self) -> None:
        wait_until("all is folded", lambda: all(self.folded(d) == self.end_of(d) for d in WORKERS), PATIENCE_S, 0.1)

    def break_stores(self) -> None:
        """A rule that the database enforces; the other two stores have none that a shop could trip over."""
        wanted = ", ".join(f"'{key}'" for key in self.victims["member"])
        for table, column in (("members", "id"), ("member_addresses", "member_id"), ("jwt_tokens", "member_id")):
            self.stores.rows(
                f"alter table {table} add constraint broken check ({column} not in ({wanted})) not valid"
            )
        self.refusing = True

    def mend_stores(self) -> None:
        for table in ("members", "member_addresses", "jwt_tokens"):
            self.stores.rows(f"alter table {table} drop constraint if exists broken")
        self.refusing = False
        for domain in ("product", "cart"):
            if self.servers.is_running(domain):
                self.servers.stop(domain)
                self.start(domain)

    def gauge(self, domain: str, name: str) -> int:
        lines = self.servers.admin(domain, "/metrics").text.splitlines()
        (line,) = (line for line in lines if line.startswith(f"{name} "))
        return int(float(line.split()[1]))

    def dlq(self, *words: str, code: int = DONE) -> Said:
        return twctl(self.servers, "dlq", *words).must_be(code)

    def letters(self, *words: str) -> list[Letter]:
        found: list[Letter] = json.loads(self.dlq("list", *words, "--each", "--json").out)
        return found

    def outcome(self, *words: str, code: int = DONE) -> Counter[str]:
        """What became of what was requeued or dropped."""
        return Counter(fate["became"] for fate in json.loads(self.dlq(*words, *LIMITS, "--json", code=code).out))

    def ends(self) -> dict[tuple[str, int], int]:
        return {**self.topics.ends(), **self.topics.ends("events"), **self.topics.ends("dlq")}


def existing(author: Author, domain: str) -> set[str]:
    """Members, products and carts that there are in the end."""
    state = author.model.state
    return set({"member": state.members, "product": state.products, "cart": state.carts}[domain])


def busiest(author: Author, domain: str) -> list[str]:
    """Whom most of the log is about: later commands of theirs come while an earlier one cannot be stored."""
    records = [r for r in author.all() if r.topic == f"{domain}.commands"]
    there = existing(author, domain)
    seen = Counter(key for r in records if (key := (r.key or b"").decode("utf-8", "replace")) in there)
    return [key for key, _ in seen.most_common(VICTIMS)]


def to_be_written(records: list[Record], victims: dict[str, list[str]]) -> list[Record]:
    """Without If-Match for carts: the first version of a cart is the offset of its first record, and a requeue has
    another one. With two more that nobody can read, of a cart that can be stored."""
    parked = {key.encode() for key in victims["cart"]}
    plain = [
        dataclasses.replace(r, headers=tuple(h for h in r.headers if h[0] != "tw_if_version" or "cart" not in r.topic))
        for r in records
    ]
    last = next(r for r in reversed(plain) if r.topic == "cart.commands" and len(r.key or b"") == 36 and r.key not in parked)
    headers = [(name, value) for name, value in last.headers if name != "ce_id"]
    unread = [dataclasses.replace(last, value=b"no message", headers=(*headers, ("ce_id", str(uuid.uuid4()).encode())))
              for _ in range(2)]  # fmt: skip
    return plain + unread


@pytest.fixture(scope="module")
def shop(servers: Stack, stores: Stores, topics: Topics, id_key: bytes) -> Iterator[Shop]:
    """Folded once by workers that nothing befalls, then once more by those that cannot store all of it."""
    print(f"seed {SEED}")
    now_ms = time.time_ns() // 1_000_000
    author = Author(Plan(SEED, now_ms - SPAN_MS - 1000, SPAN_MS, RECORDS, members=40, products=25), id_key)
    author.write_all()
    victims = {domain: busiest(author, domain) for domain in WORKERS}
    records = to_be_written(author.all(), victims)
    canonical = Canonical(stores, clocks_of(records), now_ms + 30 * MINUTE_MS)
    shop = Shop(servers, stores, topics, records, canonical, victims)
    try:
        shop.write_log()
        with Broker(servers).policies_stay_out():
            shop.start(*WORKERS)
            shop.wait()
            shop.twin = aggregates(canonical)
            servers.stop(*WORKERS)
        shop.write_log()
        shop.break_stores()
        with Broker(servers).policies_stay_out():
            fold_broken(shop)
            yield shop
            servers.stop(*(name for name in WORKERS if servers.is_running(name)))
    finally:
        for name in WORKERS:
            if servers.is_running(name):
                servers.kill(name)
        shop.mend_stores()
        Broker(servers).forget_all()
        stores.empty()


def fold_broken(shop: Shop) -> None:
    """Each worker is killed once on the way."""
    dice = random.Random(SEED)
    ends = {domain: shop.end_of(domain) for domain in WORKERS}
    when = {domain: dice.randrange(ends[domain] // 5, ends[domain] // 2) for domain in WORKERS}
    shop.start(*WORKERS)
    deadline = time.monotonic() + PATIENCE_S
    while when:
        assert time.monotonic() < deadline, f"not folded so far: {when}"
        for domain in [domain for domain, records in when.items() if shop.folded(domain) >= records]:
            shop.kill(domain)
            del when[domain]
        time.sleep(0.01)
    shop.wait()
    settle(shop.stores)  # whoever was killed last is missed for a while, and its outbox is published by the next one


# --- what is broken


@pytest.mark.parametrize("domain", WORKERS)
def test_what_cannot_be_stored_is_set_aside_and_its_key_waits(shop: Shop, domain: str) -> None:
    found = shop.letters(domain)
    heads = {letter["key"]: letter for letter in found if letter["reason"] == "refused_by_store"}
    assert set(heads) == set(shop.victims[domain]), "the fault fired for those and no others"
    parked = [letter for letter in found if letter["reason"] == "parked"]
    assert parked and {letter["key"] for letter in parked} <= set(heads), "later commands came"
    assert all(letter["waits_for"] == heads[letter["key"]]["name"] for letter in parked)
    assert all(letter["open"] and letter["attempts"] == 1 for letter in found)
    groups = json.loads(shop.dlq("list", domain, "--json").out)
    assert sum(group["count"] for group in groups) == len(found)
    assert {group["waits_for"] for group in groups if group["reason"] == "parked"} == {x["waits_for"] for x in parked}


@pytest.mark.parametrize("domain", WORKERS)
def test_gauges_tell_how_many_are_open_and_whom_they_park(shop: Shop, domain: str) -> None:
    wait_until(
        "the gauges say so",
        lambda: shop.gauge(domain, "tillwire_open_dead_letters") == len(shop.letters(domain))
        and shop.gauge(domain, "tillwire_parked_keys") == VICTIMS,
        PATIENCE_S,
    )


def test_one_is_shown_with_all_there_is(shop: Shop) -> None:
    key = shop.victims["cart"][0]
    head, *behind = (x for x in shop.letters("cart", "--key", key) if x["reason"] in READABLE)
    shown = json.loads(shop.dlq("show", head["name"], "--json").out)
    assert shown["behind_it"] == [letter["name"] for letter in behind]
    assert shown["body"]["member_id"] == key and len(shown["attempts_made"]) == 1
    assert {"name": "ce_type", "value": head["type"]} in shown["headers"]
    assert "tw_dlq_" not in json.dumps(shown["headers"])
    last = shop.dlq("show", behind[-1]["name"]).out
    assert f"waits for  {head['name']}" in last and f"waits for record {head['name'].split('/')[2]} of its key" in last
    assert "no dead letter cart/0/999999" in shop.dlq("show", "cart/0/999999", code=REFUSED).err


def test_a_dry_run_says_what_would_be_done_and_changes_nothing(shop: Shop) -> None:
    before = shop.ends()
    behind = shop.letters("cart", "--reason", "parked")
    words = ("cart", "--reason", "refused_by_store", "--dry-run")
    said = shop.dlq("requeue", *words)
    assert said.out.count(" chosen ") == VICTIMS and f"{len(behind)} wait behind them" in said.err
    assert shop.outcome("drop", *words, "--because", "no reason") == {"chosen": VICTIMS}
    said = shop.dlq("requeue", "cart", "--reason", "parked", "--dry-run", code=REFUSED)
    assert said.out.count("an older one of its key is open") == len(behind)
    assert shop.ends() == before


def test_a_requeue_before_anything_is_mended_fails_again_and_keeps_the_order(shop: Shop) -> None:
    for domain in ("member", "cart"):
        key = shop.letters(domain, "--reason", "parked")[0]["key"]
        readable = {x["name"]: x for x in shop.letters(domain, "--key", key) if x["reason"] in READABLE}
        said = shop.dlq("requeue", domain, "--record", ",".join(readable), *LIMITS, "--json", code=REFUSED)
        head, *behind = (fate["became"] for fate in json.loads(said.out))
        assert head == "failed_again" and set(behind) == {"waits"} and len(behind) == len(readable) - 1
        head, *behind = (x for x in shop.letters(domain, "--key", key) if x["name"] in readable)
        assert head["attempts"] == 2 and head["reason"] == "refused_by_store"
        assert len(behind) == len(readable) - 1 and all(letter["attempts"] == 1 for letter in behind)


def undecodable(shop: Shop) -> list[Letter]:
    """Of carts that can be stored: where another one is open, it comes first."""
    found = shop.letters("cart", "--reason", "undecodable")
    return [letter for letter in found if letter["key"] not in shop.victims["cart"]]


def test_what_fails_again_and_again_is_refused_unless_more_is_said(shop: Shop) -> None:
    found = undecodable(shop)
    select = ("cart", "--record", ",".join(letter["name"] for letter in found))
    assert len(found) > 1 and shop.outcome("requeue", *select, code=REFUSED) == {"failed_again": len(found)}
    said = shop.dlq("requeue", *select, "--max-attempts", "2", code=REFUSED)
    assert said.out.count("has failed 2 times") == len(found)
    again = undecodable(shop)
    assert [letter["name"] for letter in again] == [letter["name"] for letter in found]
    assert all(letter["attempts"] == 2 for letter in again)


def test_what_is_dropped_is_settled_and_stays_so(shop: Shop) -> None:
    first, *_ = found = undecodable(shop)
    words = ("cart", "--record", ",".join(letter["name"] for letter in found))
    dropped = ("drop", *words, "--because", "a stranger wrote them", "--operator", "ana")
    assert shop.outcome(*dropped) == {"dropped": len(found)}
    assert not undecodable(shop)
    settled = [letter for letter in shop.letters("cart", "--all") if letter["name"] == first["name"]][0]["settled"]
    assert (settled["as"], settled["by"], settled["because"]) == ("dropped", "ana", "a stranger wrote them")
    before = shop.topics.ends()
    assert "is not open: dropped, by ana" in shop.dlq("requeue", *words, code=REFUSED).out
    assert "there is no such dead letter" in shop.dlq("drop", "cart", "--record", "cart/0/987654", "--because", "x",
                                                      code=REFUSED).out  # fmt: skip
    assert shop.topics.ends() == before, "neither was written"


# --- what is mended


def test_a_requeue_settles_all_that_waits_though_workers_are_killed(shop: Shop) -> None:
    shop.mend_stores()
    waiting = {domain: [x for x in shop.letters(domain) if x["reason"] in READABLE] for domain in WORKERS}
    before = shop.topics.ends("dlq")
    words = ("--reason", "refused_by_store", "--because", MENDED, "--operator", "ana", "--json", *LIMITS)
    asked = {domain: begin(shop.servers, "dlq", "requeue", domain, *words) for domain in WORKERS}
    for domain in WORKERS:
        partitions = [at for at in before if at[0] == f"{domain}.dlq"]
        wait_until(
            "something is settled",
            lambda ends=partitions: any(shop.topics.end(*at) > before[at] for at in ends),
            PATIENCE_S,
        )
        shop.kill(domain)
    for domain, process in asked.items():
        became = Counter(fate["became"] for fate in json.loads(end(process).must_be(DONE).out))
        assert sum(became.values()) == len(waiting[domain]), "those behind the first of each key, too"
        assert became.keys() <= {"succeeded", "rejected", "accepted"}, became
        letters = {x["name"]: x for x in shop.letters(domain, "--all")}
        assert not [x for x in letters.values() if x["open"] and x["reason"] in READABLE]
        assert {letters[x["name"]]["settled"]["because"] for x in waiting[domain]} == {MENDED}


def test_two_operators_at_once_do_no_harm(shop: Shop) -> None:
    found = shop.letters("cart")
    words = ("dlq", "drop", "cart", "--all-open", "--json", "--because", "not for us", *LIMITS)
    both = [begin(shop.servers, *words, "--operator", name) for name in ("ana", "bo")]
    ended = [json.loads(end(process).must_be(DONE).out) for process in both]
    assert found and all(fate["became"] == "dropped" for fates in ended for fate in fates)
    settlements = [x["settled"] for x in shop.letters("cart", "--all") if x["name"] in {y["name"] for y in found}]
    assert len(settlements) == len(found) and {x["by"] for x in settlements} <= {"ana", "bo"}


@pytest.mark.parametrize("domain", WORKERS)
def test_the_stores_are_what_they_would_be_had_nothing_been_broken(shop: Shop, domain: str) -> None:
    shop.wait()
    now = aggregates(shop.canonical)[domain]
    assert shop.twin[domain], "there is something to compare"
    wrong = [f"now  {line}" for line in now if line not in shop.twin[domain]]
    wrong += [f"twin {line}" for line in shop.twin[domain] if line not in now]
    assert now == shop.twin[domain], "\n".join(sorted(wrong, key=lambda line: line[5:])[:6])


def test_nothing_is_open_any_more(shop: Shop) -> None:
    for domain in ("member", "product"):
        count = len(shop.letters(domain))
        assert shop.outcome("drop", domain, "--all-open", "--because", "strangers") == {"dropped": count}
    assert not shop.letters()
    for domain in WORKERS:
        for name in ("tillwire_open_dead_letters", "tillwire_parked_keys"):
            wait_until(f"{name} is 0", lambda domain=domain, name=name: shop.gauge(domain, name) == 0, PATIENCE_S)
    assert json.loads(shop.dlq("list", "--json").out) == []
    assert shop.outcome("requeue", "cart", "--all-open") == {}


def test_a_trace_has_the_operators_words(shop: Shop) -> None:
    heads = [x for x in shop.letters("cart", "--all") if x["reason"] == "refused_by_store"]
    head = next(x for x in heads if x["attempts"] == 2)
    shown = json.loads(shop.dlq("show", head["name"], "--json").out)
    command = next(header["value"] for header in shown["headers"] if header["name"] == "ce_id")
    lines = json.loads(twctl(shop.servers, "trace", command, "--json").must_be(DONE).out)
    requeues = [line["requeue"] for line in lines if "requeue" in line]
    assert [requeue["attempt"] for requeue in requeues] == [2, 3]
    assert requeues[1]["operator"] == "ana" and requeues[1]["because"] == MENDED
    settlements = [line["settlement"] for line in lines if "settlement" in line]
    assert {"of": head["name"], "as": "succeeded", "operator": "ana", "because": MENDED} in settlements
    text = twctl(shop.servers, "trace", head["key"]).must_be(DONE).out
    assert f"settles {head['name']}: " in text and f"requeue of {head['name']}, attempt 3, by ana: {MENDED}; " in text


def test_a_rebuild_makes_the_same_decisions_at_the_same_places(shop: Shop) -> None:
    agrees(shop.servers, "all")
    before = aggregates(shop.canonical)
    rebuilding = [begin(shop.servers, "rebuild", domain) for domain in WORKERS]
    for process in rebuilding:
        end(process).must_be(DONE)
    assert aggregates(shop.canonical) == before
    agrees(shop.servers, "all")
    drop(shop.servers)


def test_files_of_the_log_mean_the_same(shop: Shop, tmp_path: Path) -> None:
    """Settlements, which have no value, are exported like all else."""
    for topic in ("cart.commands", "cart.dlq"):
        twctl(shop.servers, "log", "export", topic, "--to", str(tmp_path)).must_be(DONE)
    agrees(shop.servers, "cart", "--log-folder", str(tmp_path))


def test_who_is_interrupted_or_does_not_wait_is_told_what_was_written(shop: Shop) -> None:
    _, offset = shop.topics.write("cart.commands", b"no id", b"", [("ce_id", "42")], 0)
    name = f"cart/0/{offset}"
    wait_until("it is a dead letter", lambda: [x["name"] for x in shop.letters("cart")] == [name], PATIENCE_S)
    shop.servers.signal("cart", signal.SIGSTOP)
    asked = begin(shop.servers, "dlq", "requeue", "cart", "--record", name, *LIMITS)
    wait_until("it is written", lambda: shop.topics.end("cart.commands", 0) > offset + 1, PATIENCE_S)
    asked.terminate()
    stopped = end(asked).must_be(UNREACHED)
    assert f"as record {offset + 1}\n" in stopped.out and "interrupted: what is written will be decided" in stopped.err
    said = shop.dlq("drop", "cart", "--record", name, "--because", "a stranger's", "--no-wait")
    assert "1 written for the worker to decide, 0 not, 0 refused" in said.err
    shop.servers.signal("cart", signal.SIGCONT)
    wait_until("the worker took the words", lambda: not shop.letters("cart"), PATIENCE_S)


def test_who_means_nothing_is_told_so(shop: Shop) -> None:
    assert "nothing to do: none that is open is meant" in shop.dlq("requeue", "cart", "--all-open").err
    assert "no dead letter is open" in shop.dlq("list", "cart").err
