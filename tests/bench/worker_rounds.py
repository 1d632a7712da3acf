"""Backlogs drained by each worker, beside floors that do a part of it and a Go worker, all on the same records."""

import os
import re
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, NamedTuple
from urllib.parse import urlsplit

from recorder import Recorder
from stack import BenchError, Process, Stack, numbers, read_metric, run, say

CATALOGUE = 5000  # load.c
SHARING_TIMES = 8  # workers/runtime/cut.c
WARM_RECORDS = 20_000  # two of the servers run on a JVM
DRAIN_TIMEOUT_S = 180
STALLED_S = 15
REWRITE_S = 120  # of Redis' log, at most
FLOOR, WRITE_FLOOR, PEER_SAME, PEER, OURS = "librdkafka", "plain writes", "Go, same batch", "Go", "tillwire"


class Shape(NamedTuple):
    """Of the Go worker: it is measured with the one that suits it best, and with the best that has our own batch."""
    batch: int  # records
    writers: int

    def __str__(self) -> str:
        return f"{self.batch:,} by {self.writers}"


def shapes(own_batch: int, shares: bool = False) -> list[Shape]:
    """@p shares: of commands that share writes; there it gets as many records in a batch as ours may have then."""
    batches = {own_batch, 1000, 5000} | ({SHARING_TIMES * own_batch} if shares else set())
    return [Shape(batch, writers) for batch in sorted(batches) for writers in (1, 2)]


def pause_s(folded: int, seconds: float, left: int) -> float:
    """Until the next look at a worker's metrics: half of what it still takes at its pace. A look costs it and us a
    millisecond of processor time each, which nobody takes from the other systems: so few of them, but at the end."""
    return min(max(left * seconds / folded / 2, 0.01), 0.5) if folded else 0.01


@dataclass(frozen=True)
class Domain:
    name: str
    store: str  # for people
    load: str  # what load.c calls its commands
    peer_store: str  # what the Go worker calls it
    uri: str  # name of the setting
    port: int  # of the worker's admin page, from the stack's first
    count: Callable[["WorkerRounds"], int]  # of what a folded command leaves behind
    spread: str = ""  # of the commands over aggregates, for people
    has_write_floor: bool = False

    @property
    def title(self) -> str:
        return f"{self.name}, {self.spread}" if self.spread else self.name

    @property
    def topic(self) -> str:
        return f"{self.name}.commands"


@dataclass
class WorkerResults:
    samples: dict[tuple[str, str], list[float]] = field(default_factory=dict)  # records/s by title and system
    shape: dict[tuple[str, str], Shape] = field(default_factory=dict)  # the Go worker's, by title and system
    own_batch: dict[str, int] = field(default_factory=dict)  # our workers', by domain

    def add(self, title: str, system: str, per_second: float) -> None:
        self.samples.setdefault((title, system), []).append(per_second)


class WorkerRounds:
    def __init__(self, stack: Stack, records: int, views: int = 0) -> None:
        self.stack = stack
        self.records = records
        self.views_wanted = views or records
        self.results = WorkerResults()
        self.cart_writes: list[Path] = []

    def measure(self, rounds: int) -> WorkerResults:
        say("warming up")
        self._redis("CONFIG", "SET", "auto-aof-rewrite-percentage", 0)
        for domain in DOMAINS:
            own = self._batch_of(f"tillwire-{domain.name}")
            self.results.own_batch[domain.name] = own
            span = self._backlog(domain, 0, WARM_RECORDS)
            self._run_peer(domain, span, Shape(own, 1))
            self._ours(domain, WARM_RECORDS)
        self._record_carts(rounds + 1)
        for round_ in range(1, rounds + 1):
            for domain in DOMAINS:
                self._round(domain, round_, rounds)
        return self.results

    def _size_of(self, domain: Domain) -> int:
        return self.views_wanted if domain.spread else self.records

    def _backlog(self, domain: Domain, round_: int, records: int) -> tuple[str, str]:
        """Writes it; returns where it begins and ends, partition by partition."""
        begin = self.stack.ends(domain.topic)
        self.stack.load(domain.load, round_, records)
        return ",".join(map(str, begin)), ",".join(map(str, self.stack.ends(domain.topic)))

    def _round(self, domain: Domain, round_: int, rounds: int) -> None:
        records = self._size_of(domain)
        span = self._backlog(domain, round_, records)
        rates = {FLOOR: self._floor("bench_plain_consumer", domain, span)}
        if domain.has_write_floor:
            rates[WRITE_FLOOR] = self._write_floor(domain, span)
        self._choose_shapes(domain, span)
        rates |= self._peers(domain, span)
        rates[OURS] = self._ours(domain, records)
        for system, rate in rates.items():
            self.results.add(domain.title, system, rate)
        say(f"round {round_} of {rounds}, {domain.title}: "
            + ", ".join(f"{system} {rate:,.0f}/s" for system, rate in rates.items()))

    def _peers(self, domain: Domain, span: tuple[str, str]) -> dict[str, float]:
        same, best = (self.results.shape[domain.title, system] for system in (PEER_SAME, PEER))
        rate = self._run_peer(domain, span, same)
        return {PEER_SAME: rate, PEER: rate if same == best else self._run_peer(domain, span, best)}

    def _write_floor(self, domain: Domain, span: tuple[str, str]) -> float:
        if domain is CART:
            return self._bare_exec()
        return self._floor("bench_plain_upsert", domain, span, self.results.own_batch[domain.name])

    def _floor(self, program: str, domain: Domain, span: tuple[str, str], *more: object) -> float:
        result = numbers(self.stack.tool(program, self.stack.settings["TW_KAFKA"], domain.topic, *span, *more))
        return result["records"] / result["seconds"]

    def _batch_of(self, program: str) -> int:
        """Records in a commit at most, by default."""
        found = re.search(r"--batch-records\s+\S+\s+\S+\s+(\d+)", self.stack.tool(program, "--help"))
        if not found:
            raise BenchError(f"{program} --help does not tell its --batch-records")
        return int(found[1])

    def _choose_shapes(self, domain: Domain, span: tuple[str, str]) -> None:
        """In the first round; the best are measured anew, or their luck would count."""
        if (domain.title, PEER) in self.results.shape:
            return
        own = self.results.own_batch[domain.name]
        tried = {shape: self._run_peer(domain, span, shape) for shape in shapes(own, shares=bool(domain.spread))}
        best = sorted(tried, key=lambda shape: tried[shape])
        self.results.shape[domain.title, PEER] = best[-1]
        self.results.shape[domain.title, PEER_SAME] = [shape for shape in best if shape.batch == own][-1]
        say(f"Go worker of {domain.store}, {domain.title}, is best with {best[-1]}: "
            + ", ".join(f"{shape} {rate:,.0f}/s" for shape, rate in tried.items()))

    def _run_peer(self, domain: Domain, span: tuple[str, str], shape: Shape) -> float:
        settings = self.stack.settings
        self._settle(domain)
        result = numbers(run(self.stack.peers / "worker", "-store", domain.peer_store, "-uri", settings[domain.uri],
                             "-brokers", settings["TW_KAFKA"], "-topic", domain.topic, "-from", span[0], "-to", span[1],
                             "-batch", shape.batch, "-writers", shape.writers))
        return result["records"] / result["seconds"]

    # --- ours

    def _ours(self, domain: Domain, records: int) -> float:
        before = domain.count(self)
        self._settle(domain)
        rate = self.drain(domain, records)
        new = domain.count(self) - before
        if new != records:
            raise BenchError(f"{domain.name}: {records} commands, but {new} are new in {domain.store}")
        return rate

    def drain(self, domain: Domain, records: int) -> float:
        """Starts the worker and stops it when it has folded @p records; from its first commit to its last."""
        start = self.stack.spawn(domain.name)
        try:
            rate = self._follow(domain, start, records)
            self._must_have_started(start)
        finally:
            if start.poll() is None:
                start.terminate()
            start.communicate()
            self.stack.dev("stop", domain.name)
        return rate

    def _follow(self, domain: Domain, start: subprocess.Popen, records: int) -> float:
        first, first_at, last, last_at = 0, 0.0, 0, 0.0
        deadline = time.monotonic() + DRAIN_TIMEOUT_S
        while True:
            outcomes = read_metric(self.stack.port(domain.port), "tillwire_records_total")
            now = time.monotonic()
            folded = sum(outcomes.values())
            if folded != last:
                last, last_at = folded, now
            if folded and not first:
                first, first_at = folded, now
            if folded >= records:
                break
            if folded and now > last_at + STALLED_S:
                self._must_not_have_recovered(domain)
            if now > deadline:
                raise BenchError(f"{domain.name}: only {folded} of {records} records within {DRAIN_TIMEOUT_S} s")
            if not folded and start.poll() not in (None, 0):
                self._must_have_started(start)
            time.sleep(pause_s(folded - first, now - first_at, records - folded))
        if outcomes != {'{outcome="succeeded"}': records} | {name: 0 for name in outcomes if "succeeded" not in name}:
            raise BenchError(f"{domain.name}: not all commands succeeded: {outcomes}")
        return (folded - first) / (now - first_at) if now > first_at else 0.0

    def _must_not_have_recovered(self, domain: Domain) -> None:
        """A batch whose commit got through while its answer was lost is not among those the worker counts."""
        recoveries = sum(read_metric(self.stack.port(domain.port), "tillwire_recoveries_total").values())
        if recoveries:
            raise BenchError(f"{domain.name}: {domain.store} did not answer in time, {recoveries} partitions had to go back "
                             "to their watermarks: this machine is too busy to measure anything")

    @staticmethod
    def _must_have_started(start: subprocess.Popen) -> None:
        text, _ = start.communicate(timeout=60)
        if start.returncode != 0:
            raise BenchError(text.strip()[-2000:])

    def make_catalogue(self) -> None:
        """The products that are viewed, by the way they always come: commands, folded by the worker."""
        say(f"making a catalogue of {CATALOGUE} products")
        self.stack.load("products", 0, CATALOGUE)
        self.drain(PRODUCTS[0], CATALOGUE)

    def make_members(self, round_: int, count: int) -> None:
        """People who can log in, made like the catalogue."""
        say(f"making {count} members")
        self.stack.load("members", round_, count)
        self.drain(MEMBER, count)

    # --- Redis

    def _redis(self, *words: object) -> str:
        uri = urlsplit(self.stack.settings["TW_REDIS_URI"])
        return run("redis-cli", "-e", "-h", uri.hostname, "-p", uri.port, *words,
                   env={**os.environ, "REDISCLI_AUTH": uri.password})

    def _settle(self, domain: Domain) -> None:
        """Redis rewrites its log when it has doubled: in whoever's turn that happens to be. Here it does so between
        turns only."""
        if domain is not CART:
            return
        self._redis("BGREWRITEAOF")
        deadline = time.monotonic() + REWRITE_S
        while re.search(r"aof_rewrite_(in_progress|scheduled):1", self._redis("INFO", "persistence")):
            if time.monotonic() > deadline:
                raise BenchError(f"Redis did not rewrite its log within {REWRITE_S} s")
            time.sleep(0.05)

    def _record_carts(self, round_: int) -> None:
        """What our worker sends to Redis while it drains a backlog like the others, for its floor."""
        say("recording what the cart worker writes")
        self._backlog(CART, round_, self.records)
        uri = urlsplit(self.stack.settings["TW_REDIS_URI"])
        with Recorder(uri.hostname, uri.port, self.stack.state / "cart-writes") as recorder:
            given = uri._replace(netloc=f"{uri.netloc.rpartition(':')[0]}:{recorder.port}").geturl()
            environment = {**self.stack.environment, **self.stack.settings, "TW_REDIS_URI": given, "TW_INSTANCE_ID": "cart",
                           "TW_ADMIN_LISTEN": f"127.0.0.1:{self.stack.port(CART.port)}"}
            with Process(self.stack.log("recorded-cart"), self.stack.bin / "tillwire-cart", env=environment) as worker:
                self._follow(CART, worker.process, self.records)
        self.cart_writes = recorder.files

    def _bare_exec(self) -> float:
        """Into a database of its own, empty at the start as the carts of a round are new."""
        self._settle(CART)
        uri = urlsplit(self.stack.settings["TW_REDIS_URI"])._replace(path="/1").geturl()
        result = numbers(self.stack.tool("bench_bare_exec", uri, *self.cart_writes))
        return self.records / result["seconds"]

    # --- what is left behind

    def ledger_rows(self) -> int:
        """Of members, and as many new members as new rows."""
        text = run("psql", self.stack.settings["TW_POSTGRES_URI"], "-XAt", "-c",
                   "select count(*), (select count(*) from tillwire.members) from tillwire.tw_ledger")
        rows, members = map(int, text.split("|"))
        if rows != members:
            raise BenchError(f"member: {members} members, but {rows} ledger rows")
        return rows

    def views(self) -> int:
        text = run(self.stack.peers / "worker", "-store", "mongo", "-uri", self.stack.settings["TW_MONGO_URI"],
                   "-views", "products")
        return int(numbers(text)["views"])

    def cart_ledger_rows(self) -> int:
        script = ("local n = 0 for _, key in ipairs(redis.call('KEYS', 'tw:ledger:*')) do "
                  "n = n + redis.call('HLEN', key) end return n")
        return int(self._redis("EVAL", script, 0))


MEMBER = Domain("member", "PostgreSQL", "members", "postgres", "TW_POSTGRES_URI", 2, WorkerRounds.ledger_rows,
                has_write_floor=True)
PRODUCTS = tuple(Domain("product", "MongoDB", load, "mongo", "TW_MONGO_URI", 3, WorkerRounds.views, spread)
                 for load, spread in (("views", "uniform"), ("zipf", "Zipf"), ("hot", "one hot")))
CART = Domain("cart", "Redis", "carts", "redis", "TW_REDIS_URI", 4, WorkerRounds.cart_ledger_rows, has_write_floor=True)
DOMAINS = (MEMBER, *PRODUCTS, CART)
