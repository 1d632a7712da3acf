"""One recorded log, folded into emptied stores by workers of every shape: how many they are, how large their batches,
whoever comes, goes or is killed meanwhile, wherever and whenever they run. It is the same stores every time."""

import os
import random
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import compare_logs
import compare_stores
import ids
from broker import Broker
from canonical import Canonical, clocks_of, forget_what_ended
from messages import COMMANDS, TOPICS
from model import Model
from recorded_log import DAY_MS, HOUR_MS, MINUTE_MS, Author, Plan
from rules import State
from stack import WORKERS, Stack, wait_until
from stores import Stores
from topics import Record, Topics

SEED = 20_261_127
RECORDS = {"member": 20_000, "product": 23_000, "cart": 59_000}
PATIENCE_S = 300
SPAN_MS = 14 * DAY_MS
REFUSALS = {
    "addresses-limit", "cart-lines-limit", "dead-lettered", "default-address", "email-taken", "gone",
    "idempotency-key-reused", "images-limit", "line-quantity-limit", "member-not-active", "not-found",
    "precondition-failed", "price-rule", "session-limit", "sku-taken", "stale-credentials", "superseded",
    "unauthenticated",
}  # fmt: skip
DYNAMIC = {"TW_INSTANCE_ID": ""}  # who leaves is missed at once
SMALL = {"TW_BATCH_RECORDS": "4"}  # the fold lasts long enough to befall it


@dataclass
class Log:
    """What the topics hold."""

    records: list[Record]
    model: Model
    ends: dict[tuple[str, int], int]
    written_ms: int
    ends_met: set[tuple[str, str]]  # (ce_type, problem or status)

    def end_of(self, domain: str) -> int:
        return sum(end for (topic, _), end in self.ends.items() if topic == f"{domain}.commands")


@pytest.fixture(scope="module")
def log(servers: Stack, topics: Topics, stores: Stores, id_key: bytes) -> Iterator[Log]:
    """The only one in the topics: before it and behind it they are empty, and so are the stores."""
    broker = Broker(servers)
    broker.forget_all()
    now_ms = time.time_ns() // 1_000_000
    author = Author(Plan(SEED, now_ms - SPAN_MS - HOUR_MS, SPAN_MS, RECORDS, members=2000, products=600), id_key)
    records = author.write_all()
    with broker.times_of_writers({f"{domain}.commands" for domain in ids.DOMAINS}):
        broker.write(records)
    forget_what_ended(author.model)
    yield Log(records, author.model, topics.ends(), now_ms, set(author.ends))
    broker.forget_all()
    stores.empty()


@dataclass
class Fold:
    """A log on its way into emptied stores."""

    servers: Stack
    stores: Stores
    log: Log
    settings: dict[str, str] = field(default_factory=dict)
    running: set[str] = field(default_factory=set)
    counted: Counter[str] = field(default_factory=Counter)  # "cart rejected": by programs that ended

    told: str = ""  # by twctl

    def start(self, name: str) -> None:
        self.servers.start(name, settings=self.settings, ready=False)
        self.running.add(name)

    def counts(self, name: str) -> dict[str, int]:
        """What became of the records it folded, as far as it can be asked."""
        if not self.servers.is_listening(name):
            return {}
        lines = self.servers.admin(name, "/metrics").text.splitlines()
        counted = [line for line in lines if line.startswith("tillwire_records_total{")]
        return {line.split('"')[1]: int(float(line.split()[1])) for line in counted}

    def end(self, name: str, how: Callable[[str], None]) -> None:
        domain = name.rstrip("0123456789")
        self.counted.update({f"{domain} {what}": n for what, n in self.counts(name).items()})
        how(name)
        self.running.discard(name)

    def leave(self, name: str) -> None:
        wait_until(f"{name} hears signals", lambda: self.servers.is_listening(name), 40)
        self.end(name, self.servers.stop)

    def end_all(self) -> None:
        for name in sorted(self.running):
            self.leave(name)

    def kill_all(self) -> None:
        """Of a fold that failed, so that the next one is not its victim."""
        for name in self.running:
            if self.servers.is_running(name):
                self.servers.kill(name)

    def folded(self, domain: str) -> int:
        return sum(self.stores.watermarks(domain))

    def is_folded(self, domain: str) -> bool:
        return self.folded(domain) == self.log.end_of(domain)

    def wait(self) -> None:
        def are_folded() -> bool:
            self.must_run()
            return all(self.is_folded(domain) for domain in WORKERS)

        wait_until("the log is folded", are_folded, PATIENCE_S, 0.1)

    def must_run(self) -> None:
        for name in self.running:
            assert self.servers.is_running(name), f"{name} ended: {self.servers.log(name)[-2000:]}"

    def steps(self, count: int) -> Iterator[str]:
        """The domain that has come a step further, `count` of them until its log is folded."""
        ends = {domain: self.log.end_of(domain) for domain in WORKERS}
        steps = [(domain, n * ends[domain] // (count + 1)) for n in range(1, count + 1) for domain in WORKERS]
        deadline = time.monotonic() + PATIENCE_S
        while steps:
            folded = {domain: self.folded(domain) for domain in WORKERS}
            for domain, records in [step for step in steps if folded[step[0]] >= step[1]]:
                steps.remove((domain, records))
                yield domain
            self.must_run()
            assert time.monotonic() < deadline, f"not within {PATIENCE_S} s: {steps}"
            time.sleep(0.02)


def compare_with_log(fold: Fold) -> None:
    """While the workers run: they are held still meanwhile."""
    fold.wait()
    fold.told = fold.servers.twctl("verify", "all", "--against-log")


def come_and_go(fold: Fold) -> None:
    """A second worker joins and leaves, or the first one leaves to it."""
    dice = random.Random(SEED)
    for domain in fold.steps(6):
        one, other = dice.sample([domain, f"{domain}2"], 2)
        if not fold.servers.is_running(other):
            fold.start(other)
        elif fold.servers.is_running(one):
            fold.leave(one)
        else:
            fold.start(one)
    fold.wait()


def kill(fold: Fold) -> None:
    for domain in fold.steps(4):
        fold.end(domain, fold.servers.kill)
        fold.start(domain)
    fold.wait()


def elsewhere(folder: Path, **environment: str) -> dict[str, str]:
    """See tests/lib/elsewhere.c. A library that looks for the locale at its start loses a few bytes."""
    suppressions = folder / "lsan"
    suppressions.write_text("leak:__argz_add_sep\n")
    return {
        "LD_PRELOAD": str(Path(os.environ["TW_BIN_DIR"]) / "elsewhere.so"),
        "ASAN_OPTIONS": "verify_asan_link_order=0",
        "LSAN_OPTIONS": f"suppressions={suppressions}:print_suppressions=0",
        **environment,
    }


def in_turkish_in_a_month(folder: Path) -> dict[str, str]:
    """Where a comma stands before decimals, and i and I are not the same letter; beyond the date line."""
    subprocess.run(["localedef", "-i", "tr_TR", "-f", "UTF-8", folder / "tr_TR.UTF-8"], check=True)
    place = {"LOCPATH": str(folder), "LC_ALL": "tr_TR.UTF-8", "TZ": "Pacific/Kiritimati"}
    return elsewhere(folder, ELSEWHERE_AHEAD_S=str(30 * 24 * 3600), **place)


@dataclass
class Shape:
    workers: int = 1
    settings: dict[str, str] = field(default_factory=dict)
    place: Callable[[Path], dict[str, str]] | None = None
    befalls: Callable[[Fold], None] = Fold.wait  # until the log is folded

    def names(self) -> list[str]:
        return [f"{domain}{n if n > 1 else ''}" for n in range(1, self.workers + 1) for domain in WORKERS]


ONE_BY_ONE = Shape(settings={"TW_BATCH_RECORDS": "1", "TW_THREADS": "1", **DYNAMIC})
SHAPES = {
    "killed at any time": Shape(settings=SMALL, befalls=kill),
    "four workers with large batches": Shape(
        workers=4, settings={"TW_BATCH_RECORDS": "1000", "TW_BATCH_KBYTES": "1024", **DYNAMIC}
    ),
    "workers that come and go": Shape(settings={**SMALL, **DYNAMIC}, befalls=come_and_go),
    "in Turkish beyond the date line in a month": Shape(settings=DYNAMIC, place=in_turkish_in_a_month),
}


class Folder:
    """Folds the log in any shape."""

    def __init__(self, servers: Stack, stores: Stores, topics: Topics, log: Log, scratch: Path) -> None:
        self.canonical = Canonical(stores, clocks_of(log.records), log.written_ms + 30 * MINUTE_MS)
        self._servers, self._stores, self._topics, self._log = servers, stores, topics, log
        self._scratch = scratch

    def fold(self, shape: Shape) -> Fold:
        self._stores.empty()
        settings = {**shape.settings, **(shape.place(self._scratch) if shape.place else {})}
        fold = Fold(self._servers, self._stores, self._log, settings)
        with Broker(self._servers).policies_stay_out():
            try:
                for name in shape.names():
                    fold.start(name)
                shape.befalls(fold)
                fold.end_all()
            finally:
                fold.kill_all()
        assert self._topics.ends() == self._log.ends, "somebody wrote into the log"
        return fold

    def digests(self) -> dict[str, str]:
        """Ours and that of `twctl verify`, which look at the same time."""
        with ThreadPoolExecutor(1) as beside:
            verifying = beside.submit(self._servers.twctl, "verify", "all")
            ours = {domain: self.canonical.digest(domain) for domain in WORKERS}
            told = verifying.result().splitlines()
        return ours | {
            f"verify {domain}": next(line for line in told if line.startswith(f"{domain}: sha256"))
            for domain in WORKERS
        }


@pytest.fixture(scope="module")
def folder(
    servers: Stack, stores: Stores, topics: Topics, log: Log, tmp_path_factory: pytest.TempPathFactory
) -> Folder:
    return Folder(servers, stores, topics, log, tmp_path_factory.mktemp("elsewhere"))


@pytest.fixture(scope="module")
def first(folder: Folder) -> Fold:
    """By one worker of each kind as they are by default; the stores stay as they leave them, for the first tests."""
    return folder.fold(Shape(befalls=compare_with_log))


@pytest.fixture(scope="module")
def meant(first: Fold, folder: Folder) -> dict[str, str]:
    return folder.digests()


def test_the_log_has_everything(log: Log) -> None:
    went_through = {ce_type for ce_type, end in log.ends_met if end == "succeeded"}
    assert COMMANDS.keys() <= went_through
    assert REFUSALS <= {end for _, end in log.ends_met}
    assert len(log.records) >= 100_000


def test_the_stores_are_what_the_log_means(first: Fold, folder: Folder, log: Log) -> None:
    """By the rules as they are written a second time."""
    now, model = folder.canonical, log.model
    wrong = compare_stores.members_are_those_of_the_fold(model, now.tables())
    wrong += compare_stores.products_are_those_of_the_fold(model.state, now.products())
    wrong += compare_stores.ratings_are_those_of_the_fold(model.state, now.ratings())
    wrong += compare_stores.product_ledger_is_that_of_the_fold(model, now.product_ledger())
    wrong += compare_stores.cart_ledger_is_that_of_the_fold(model, set(now.cart_ledger()))
    wrong += compare_stores.copies_are_those_of_the_fold(model.state, now.cart_copies())
    assert not wrong, "\n".join(wrong[:20])


def test_the_stores_are_what_the_log_folds_into(first: Fold) -> None:
    """By the code that workers fold with."""
    assert first.told.count("the log says the same of all") == len(WORKERS), first.told


def test_readers_see_the_carts_that_live(first: Fold, folder: Folder, log: Log) -> None:
    keys = folder.canonical.readers_keys()
    state = State()
    state.carts = {
        member_id: cart
        for member_id, cart in log.model.state.carts.items()
        if cart.ends_ms > folder.canonical.readable_to_ms
    }
    wrong = compare_stores.carts_are_those_of_the_fold(state, keys)
    assert keys and not wrong, "\n".join(wrong[:20])


def test_dead_letters_are_the_poison(first: Fold, topics: Topics, log: Log) -> None:
    for name in TOPICS:
        if not name.endswith(".events"):
            topics.read(name)
    wrong = []
    for (domain, p), partition in log.model.partitions.items():
        commands = topics.partition(f"{domain}.commands", p)
        # The last outbox is published once more when its partition goes to another loop.
        letters = {letter.header("tw_dlq_offset"): letter for letter in topics.partition(f"{domain}.dlq", p)}
        wrong += compare_logs.dead_letters_are_the_poison(partition, commands, list(letters.values()))
    assert not wrong, "\n".join(wrong[:20])


def assert_same(shape: Shape, folder: Folder, meant: dict[str, str]) -> None:
    counts = folder.fold(shape).counted
    assert folder.digests() == meant
    for domain in WORKERS:
        for what in ("succeeded", "rejected", "repeated"):
            assert counts[f"{domain} {what}"] > 0, counts
        assert counts[f"{domain} passed_over"] > 0, "the verdicts of the first fold hold"


def test_the_same_stores_come_of_it_one_by_one(folder: Folder, meant: dict[str, str]) -> None:
    assert_same(ONE_BY_ONE, folder, meant)


def test_every_event_has_one_meaning(topics: Topics, log: Log) -> None:
    """It came in a large batch and alone: its id stands for the same bytes, and it is what the log says."""
    wrong = []
    for (domain, p), partition in log.model.partitions.items():
        topics.read(f"{domain}.events")
        events = topics.partition(f"{domain}.events", p)
        wrong += compare_logs.same_id_same_event(events) + compare_logs.events_are_those_of_the_fold(partition, events)
    assert not wrong, "\n".join(wrong[:20])


@pytest.mark.parametrize("name", SHAPES)
def test_the_same_stores_come_of_it(name: str, folder: Folder, meant: dict[str, str]) -> None:
    assert_same(SHAPES[name], folder, meant)
