"""`twctl rebuild`: a store made anew from its log while the shop goes on, whatever interrupts it; the store of an earlier
moment to look at; and what is refused before anything is touched."""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

import altered
import replay
from altered import Change
from client import Client
from fold import Fold
from judge import Judged
from messages import TOPICS
from model import time_text
from replay import DOMAINS, DONE, REFUSED, UNREACHED, USAGE, Said, Shop, Traffic, agrees, drop, rebuild, verify, writes
from stack import FAILPOINT_EXIT, PROGRAMS, Stack, wait_until
from stores import Stores
from topics import Topics

LEASE_S = 30
INTERRUPTIONS = 4
SEED = 20_261_127
SHOP_SEED = 11
OLD_IS_KEPT = "it keeps the store before the last rebuild"


def all_ends(topics: Topics) -> dict[tuple[str, int], int]:
    return {**topics.ends("commands"), **topics.ends("events"), **topics.ends("dlq")}


def named(changes: Iterator[tuple[Any, Change]], name: str) -> Change:
    return next(change for _, change in changes if change.name == name)


def damages(stores: Stores, shop: Shop, domain: str) -> list[Change]:
    """A field that is another one, and something that is missing or should not be there."""
    if domain == "member":
        field = named(altered.column_changes(stores, "members"), "full_name")
        return [field, altered.row_change(stores, "member_addresses")[1]]
    if domain == "product":
        field = named(altered.field_changes(stores, "products"), "name")
        return [
            field,
            altered.document_change(stores, "tw_ratings")[1],
            altered.document_change(stores, "tw_ledger")[1],
        ]
    field = next(change for change in altered.cart_changes(stores, shop.member) if change.name == "lines[0].quantity")
    return [field, *(change for _, change in altered.added_keys(stores))]


# --- a store made anew


@pytest.mark.parametrize("domain", DOMAINS)
def test_a_damaged_store_is_right_again_and_no_topic_grew(
    shop: Shop, stack: Stack, stores: Stores, topics: Topics, fold: Fold, domain: str
) -> None:
    fold.drained()
    replay.settle(stores)
    right = agrees(stack, domain)
    for change in damages(stores, shop, domain):
        change.make()
    verify(stack, domain, "--against-log").must_be(REFUSED)
    ends = all_ends(topics)
    said = rebuild(stack, domain).must_be(DONE)
    assert f"rebuilt from {sum(right.watermarks)} records" in said.out
    assert agrees(stack, domain).hash == right.hash
    fold.drained()
    assert all_ends(topics) == ends
    assert OLD_IS_KEPT in rebuild(stack, domain).must_be(REFUSED).err
    drop(stack, domain)
    assert "there is nothing to forget" in rebuild(stack, domain, "--drop").must_be(DONE).out


@pytest.mark.parametrize("domain", DOMAINS)
def test_clients_notice_nothing_of_a_rebuild_nor_of_the_way_back(
    shop: Shop,
    stack: Stack,
    anyone: Client,
    merchant: Client,
    product: str,
    judged: Judged,
    domain: str,
) -> None:
    calls = writes(anyone, merchant, product)
    with Traffic(*calls) as traffic:
        rebuild(stack, domain).must_be(DONE)
        counts = list(traffic.counts)
        wait_until("the shop goes on", lambda: all(a > b for a, b in zip(traffic.counts, counts)))
        agrees(stack, domain)
        said = rebuild(stack, domain, "--roll-back").must_be(DONE)
        assert "the store before the last rebuild is back" in said.out
    judged()
    agrees(stack, domain)
    assert OLD_IS_KEPT in rebuild(stack, domain).must_be(REFUSED).err, "the one that was rebuilt"
    drop(stack, domain)
    assert "no old store is kept" in rebuild(stack, domain, "--roll-back").must_be(REFUSED).err


# --- interrupted


def interrupted(stack: Stack, domain: str, number: signal.Signals, after_s: float) -> Said:
    process = replay.begin(stack, "rebuild", domain)
    time.sleep(after_s)  # the fault itself: a random moment
    if process.poll() is None:
        os.killpg(process.pid, number)
    return replay.end(process)


def must_have_ended_well(said: Said, number: signal.Signals) -> None:
    """Or not have been there any more, or have found somebody who was killed a moment ago in its way."""
    if said.code == -number:  # by force, or before the operator's tool itself listened
        return
    if said.code == UNREACHED:
        assert number == signal.SIGINT and "interrupted" in said.err, str(said)
        return
    assert said.code == DONE or OLD_IS_KEPT in said.err or "is held by another" in said.err, str(said)


def rebuilt_at_last(stack: Stack, domain: str) -> bool:
    said = rebuild(stack, domain)
    must_have_ended_well(said, signal.SIGINT)
    return said.code == DONE or OLD_IS_KEPT in said.err


@pytest.mark.parametrize("domain", DOMAINS)
def test_an_interrupted_rebuild_goes_on_when_it_is_given_again(
    shop: Shop, stack: Stack, stores: Stores, anyone: Client, merchant: Client, product: str, domain: str
) -> None:
    dice = random.Random(f"{SEED} {domain}")
    started = time.monotonic()
    rebuild(stack, domain).must_be(DONE)
    takes_s = time.monotonic() - started
    drop(stack, domain)
    calls = writes(anyone, merchant, product)  # now: what is killed may hold the store for as long as its lease
    for change in damages(stores, shop, domain):
        change.make()
    for i in range(INTERRUPTIONS):
        number = signal.SIGKILL if i % 2 else signal.SIGINT
        must_have_ended_well(interrupted(stack, domain, number, dice.uniform(0.1, takes_s)), number)
        for call in calls:
            call()
    wait_until("it is rebuilt", lambda: rebuilt_at_last(stack, domain), 2 * LEASE_S)
    agrees(stack, domain)
    drop(stack, domain)


@pytest.mark.parametrize("domain", DOMAINS)
def test_of_two_at_once_none_harms_the_other(
    shop: Shop, stack: Stack, stores: Stores, fold: Fold, domain: str
) -> None:
    fold.drained()
    right = agrees(stack, domain)
    processes = [replay.begin(stack, "rebuild", domain) for _ in range(2)]
    said = [replay.end(process) for process in processes]
    assert all(one.code == DONE or one.err for one in said), [str(one) for one in said]
    wait_until("it is rebuilt", lambda: rebuilt_at_last(stack, domain), 2 * LEASE_S)
    assert agrees(stack, domain).hash == right.hash
    drop(stack, domain)


# Writes of a swap in MongoDB: three before, six that make the marks lasting, then documents and what is noted of them.
@pytest.mark.parametrize("write", (9, 11, 13))
def test_a_swap_that_ended_half_way_is_ended_by_the_next_command(
    shop: Shop, stack: Stack, stores: Stores, anyone: Client, product: str, write: int
) -> None:
    for change in damages(stores, shop, "product"):
        change.make()
    said = rebuild(stack, "product", TW_FAIL=f"in_swap=exit@{write}")
    assert said.code == FAILPOINT_EXIT, str(said)
    elsewhere = rebuild(stack, "product", "--shadow", "elsewhere").must_be(REFUSED)
    assert "is held by a swap of another place than database elsewhere" in elsewhere.err, "its marks stay"
    caller = anyone.new_caller()
    asked = caller.rate(product, 2, wait=False)
    assert asked.status_code == 202, "and is folded afterwards"
    in_the_way = rebuild(stack, "product", "--drop").must_be(REFUSED).err
    assert "a swap was interrupted" in in_the_way or "is on its way into the live store's place" in in_the_way
    assert "is held by a swap that was interrupted" in verify(stack, "product").must_be(REFUSED).err
    rebuild(stack, "product").must_be(DONE)
    location = asked.headers["Location"]
    wait_until("it is folded", lambda: caller.get(location).json()["status"] != "accepted", 60)
    assert caller.get(location).json()["status"] == "succeeded"
    agrees(stack, "product")
    drop(stack, "product")


def altered_in_shadow(shop: Shop, stack: Stack, stores: Stores, domain: str) -> Change:
    """A field of what will take the live store's place."""
    if domain == "member":
        put = "update tillwire_shadow.members set full_name = %s where id = %s"
        name = stores.rows("select full_name from members where id = %s", shop.member)[0]["full_name"]
        return Change("", lambda: stores.rows(put, "x", shop.member), lambda: stores.rows(put, name, shop.member))
    shadow = Stores({**stack.environment, **shadow_of(stack, domain)})
    if domain == "product":
        return named(altered.field_changes(shadow, "products"), "name")
    return next(change for change in altered.cart_changes(shadow, shop.member) if change.name == "lines[0].quantity")


@pytest.mark.parametrize("domain", DOMAINS)
def test_a_rebuild_that_ended_before_its_swap_is_read_back_again(
    shop: Shop, stack: Stack, stores: Stores, fold: Fold, domain: str
) -> None:
    fold.drained()
    right = agrees(stack, domain)
    said = rebuild(stack, domain, TW_FAIL="before_swap=error").must_be(UNREACHED)
    assert "stopped at a failpoint" in said.err
    change = altered_in_shadow(shop, stack, stores, domain)
    change.make()
    assert "does not hold what was folded" in rebuild(stack, domain).must_be(REFUSED).err
    change.undo()
    assert "aggregates read back" in rebuild(stack, domain).must_be(DONE).out
    assert agrees(stack, domain).hash == right.hash
    drop(stack, domain)


# --- a moment to look at


def shadow_of(stack: Stack, domain: str) -> dict[str, str]:
    """Settings with which a program sees the shadow as its store."""
    environment = stack.environment
    if domain == "member":
        uri = environment["TW_POSTGRES_URI"]
        option = "options=-c%20tillwire.schema%3Dtillwire_shadow"
        return {"TW_POSTGRES_URI": f"{uri}{'&' if '?' in uri else '?'}{option}"}
    if domain == "product":
        head, mark, options = environment["TW_MONGO_URI"].partition("?")
        return {"TW_MONGO_URI": f"{head}_shadow{mark}{options}"}
    head, _, number = environment["TW_REDIS_URI"].rpartition("/")
    return {"TW_REDIS_URI": f"{head}/{int(number) + 1}"}


@dataclass(frozen=True)
class Moment:
    said: Said
    dump: bytes
    at: str

    @property
    def offsets(self) -> str:
        return ",".join(f"{p}:{offset}" for p, offset in enumerate(self.said.watermarks))


def moment(stack: Stack, domain: str, path: Path, **environment: str) -> Moment:
    said = verify(stack, domain, "--dump", str(path), **environment).must_be(DONE)
    at = time_text(time.time_ns() // 1_000_000)
    time.sleep(0.005)  # whatever comes next is of a later millisecond
    return Moment(said, path.read_bytes(), at)


@pytest.mark.parametrize("domain", DOMAINS)
def test_the_store_as_it_was_can_be_looked_at(
    shop: Shop,
    stack: Stack,
    anyone: Client,
    merchant: Client,
    product: str,
    fold: Fold,
    tmp_path: Path,
    domain: str,
) -> None:
    fold.drained()
    then = moment(stack, domain, tmp_path / "then")
    for _ in range(3):
        for call in writes(anyone, merchant, product):
            call()
    fold.drained()
    now = agrees(stack, domain)
    assert now.hash != then.said.hash
    for until in (then.offsets, then.at):
        said = rebuild(stack, domain, "--until", until).must_be(DONE)
        assert f"as it was up to {until}, {sum(then.said.watermarks)} records" in said.out
        seen = moment(stack, domain, tmp_path / "seen", **shadow_of(stack, domain))
        assert seen.dump == then.dump and seen.said.hash == then.said.hash
        assert seen.said.watermarks == then.said.watermarks
        in_the_way = rebuild(stack, domain).must_be(REFUSED).err
        assert "holds a shadow that was begun for" in in_the_way and until in in_the_way
        drop(stack, domain)
    assert agrees(stack, domain).hash == now.hash
    for wrong in ("yesterday", "0:1,0:2", "9:1", f"0:{now.watermarks[0] + 1}", "0:-1"):
        assert "until: " in rebuild(stack, domain, "--until", wrong).must_be(USAGE).err
    assert "there is nothing to forget" in rebuild(stack, domain, "--drop").must_be(DONE).out


# --- refused


def strangers(
    stores: Stores, stack: Stack, domain: str
) -> tuple[Callable[[], Any], Callable[[], Any], Callable[[], Any]]:
    """Puts something of somebody else where a shadow would be; looks at it; takes it away."""
    if domain == "member":
        return (
            lambda: stores.rows("create table tillwire_shadow.theirs as select 1 as kept"),
            lambda: stores.rows("select kept from tillwire_shadow.theirs"),
            lambda: stores.rows("drop schema tillwire_shadow cascade"),
        )
    if domain == "product":
        database = stores.mongo.client[f"{stores.mongo.name}_shadow"]
        return (
            lambda: database["theirs"].insert_one({"_id": 1}),
            lambda: list(database["theirs"].find()),
            lambda: stores.mongo.client.drop_database(database),
        )
    theirs = Stores({**stack.environment, **shadow_of(stack, "cart")}).redis.servers[0]
    return (lambda: theirs.set("theirs", 1), lambda: theirs.get("theirs"), lambda: theirs.delete("theirs"))


@pytest.mark.parametrize("domain", DOMAINS)
def test_what_is_somebody_elses_is_never_touched(shop: Shop, stack: Stack, stores: Stores, domain: str) -> None:
    before = agrees(stack, domain)
    put, look, take = strangers(stores, stack, domain)
    if domain == "member":
        stores.rows("create schema tillwire_shadow")
    put()
    try:
        seen = look()
        assert "is not a shadow of ours" in rebuild(stack, domain).must_be(REFUSED).err
        assert "is not ours" in rebuild(stack, domain, "--drop").must_be(REFUSED).err
        assert look() == seen
    finally:
        take()
    assert agrees(stack, domain).hash == before.hash


class CartLog:
    """The log of the carts, taken away and put back; no program runs meanwhile."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self._stack = stack
        self._admin = AdminClient({"bootstrap.servers": stack.environment["TW_KAFKA"], "log_level": 0})
        self.folder = folder
        for topic in ("cart.commands", "cart.dlq"):
            self.export(topic, folder)

    def export(self, topic: str, folder: Path) -> None:
        replay.twctl(self._stack, "log", "export", topic, "--to", str(folder)).must_be(DONE)

    def forget_beginning(self, topic: str, partition: int, offset: int) -> None:
        (future,) = self._admin.delete_records([TopicPartition(topic, partition, offset)]).values()
        assert future.result(20).low_watermark == offset

    def delete(self, topic: str = "cart.commands") -> None:
        (future,) = self._admin.delete_topics([topic], operation_timeout=20).values()
        future.result(30)
        wait_until("it is gone", lambda: topic not in self._admin.list_topics(timeout=10).topics)

    def make(self, partitions: int) -> None:
        (future,) = self._admin.create_topics([NewTopic("cart.commands", partitions)]).values()
        future.result(30)

    def put_back(self, topic: str = "cart.commands") -> None:
        self.delete(topic)
        replay.twctl(self._stack, "log", "import", str(self.folder / f"{topic}.twlog")).must_be(DONE)


def test_a_log_that_is_not_whole_or_not_ours_is_refused(
    shop: Shop, healed: Stack, stores: Stores, topics: Topics, fold: Fold, judged: Judged, tmp_path: Path
) -> None:
    fold.drained()
    replay.settle(stores)
    before = agrees(healed, "cart")
    partition, end = max(enumerate(before.watermarks), key=lambda at: at[1])
    healed.stop(*PROGRAMS)
    (tmp_path / "ours").mkdir()
    (tmp_path / "theirs").mkdir()
    log = CartLog(healed, tmp_path / "ours")

    dead = topics.ends("dlq")["cart.dlq", 0]  # the shop has poison there
    log.forget_beginning("cart.dlq", 0, dead)
    for said in (rebuild(healed, "cart"), verify(healed, "cart", "--against-log")):
        assert f"'cart.dlq' partition 0 begins at {dead}, but is needed from 0" in said.must_be(REFUSED).err
    drop(healed, "cart")
    assert agrees(healed, "cart", "--log-folder", str(log.folder)).hash == before.hash, "the files have them"
    log.put_back("cart.dlq")

    log.forget_beginning("cart.commands", partition, end - 1)
    refused = rebuild(healed, "cart").must_be(REFUSED).err
    assert f"the log of partition {partition} begins at {end - 1}" in refused and "its beginning is gone" in refused
    verify(healed, "cart", "--against-log").must_be(REFUSED)
    said = rebuild(healed, "cart", "--log-folder", str(log.folder)).must_be(DONE)
    assert f"rebuilt from {sum(before.watermarks)} records" in said.out, "the files have what the cluster lost"
    assert agrees(healed, "cart", "--log-folder", str(log.folder)).hash == before.hash
    drop(healed, "cart")

    log.delete()
    log.make(TOPICS["cart.commands"] + 1)
    assert "partitions" in rebuild(healed, "cart").must_be(REFUSED).err
    log.delete()
    healed.twctl("topics", "apply")
    for p in range(TOPICS["cart.commands"]):
        topics.write("cart.commands", b"key", b"of another cluster", [], p)
    for topic in ("cart.commands", "cart.dlq"):
        log.export(topic, tmp_path / "theirs")
    assert "another cluster" in rebuild(healed, "cart").must_be(REFUSED).err
    drop(healed, "cart")
    log.put_back()
    assert "another cluster" in rebuild(healed, "cart", "--log-folder", str(tmp_path / "theirs")).must_be(REFUSED).err
    drop(healed, "cart")
    assert agrees(healed, "cart").hash == before.hash
    healed.heal()
    judged()


def test_everything_agrees_with_a_fold_of_the_log(stack: Stack, judged: Judged) -> None:
    judged()
    verify(stack, "all", "--against-log").must_be(DONE)
