"""Twice as much as is accepted at most, from many connections, the broker hanging in between: nothing grows, nothing is
accepted that is not in the log, reads are served, and it is over as soon as it is over."""

import argparse
import time
from contextlib import ExitStack
from dataclasses import dataclass, field

import httpx
from confluent_kafka import Consumer, TopicPartition

from client import Client
from judge import GROWTH
from messages import TOPICS
from light import REFUSED_MS, windows_of
from machine import Ring
from paper import Paper
from ratio import AS_BEFORE, Window, change, median_ms
from recorder import sample_of
from stack import PROGRAMS, SMALL, WORKERS, Stack, wait_until
from stores import Stores
from topics import Topics
from vitals import MIB, Background, Watch
from wrk_load import Answers, Crowd

RAMP = (8, 32, 128)  # connections
RAMP_S = 3.0
CONNECTIONS = 600
RESTS_MS = 1000  # whoever rests for longer is sent away; on a machine that is so slow it is more than twice as much
PRODUCTS = 20
QUEUE_KBYTES = 1024
KIB = 1024
# What the edge may take: a thread has civetweb's buffer, a body, and what is touched of its stack; then the queues.
REQUEST_THREADS = 512
THREAD_BYTES = (64 + 64 + 64) * KIB
STREAM_HISTORY_BYTES = 16 * MIB
# What a worker may take: two loops that fetch and publish, and states kept for each partition.
WORKER_BYTES = 2 * (32 + 64) * MIB + TOPICS["product.commands"] * 32 * MIB
LIMITED_S = 2.0
LIMITED = {"TW_RATE_LIMITS": "on", "TW_ADDRESS_WRITE_LIMIT": "20/60"}  # a slow machine comes to its end, too
WINDOWS = 15  # of a light client, before and after
OVER_S = 10.0  # after that much it shall be served as before
DRAINED_S = READ_S = 300.0
VIEW = b"product.record_view.v1"
SETTINGS = {"TW_QUEUE_KBYTES": str(QUEUE_KBYTES)}


@dataclass
class Reads:
    """One client that never stops to read while others write, by a connection of its own each time."""

    url: str
    paths: list[str]
    took_ms: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def look(self) -> None:
        for path in self.paths:
            began = time.monotonic()
            try:
                status = httpx.get(f"{self.url}{path}", timeout=15).status_code
            except httpx.TransportError as error:
                status = 0
                self.wrong.append(f"{path}: {error!r}")
            self.took_ms.append((time.monotonic() - began) * 1000)
            if status not in (0, 200):
                self.wrong.append(f"{path}: {status}")


def views_in_the_log(environment: dict[str, str], ends: dict[tuple[str, int], int]) -> dict[str, str]:
    """Command -> product, of every record of product.commands; whole records of so many would not fit."""
    consumer = Consumer(
        {"bootstrap.servers": environment["TW_KAFKA"], "group.id": "overload", "enable.auto.commit": False}
    )
    left = {p: end for (topic, p), end in ends.items() if topic == "product.commands" and end}
    found: dict[str, str] = {}
    consumer.assign([TopicPartition("product.commands", p, 0) for p in left])
    deadline = time.monotonic() + READ_S
    while left:
        assert time.monotonic() < deadline, f"product.commands was not read within {READ_S:.0f} s: {left} are to come"
        for message in consumer.consume(10_000, timeout=0.1):
            assert not message.error(), message.error()
            fields = dict(message.headers() or [])
            if fields.get("ce_type") == VIEW:
                found[fields["ce_id"].decode()] = message.key().decode()
            if message.offset() + 1 >= left.get(message.partition(), 0):
                left.pop(message.partition(), None)
    consumer.close()
    return found


class Overload:
    def __init__(self, stack: Stack, topics: Topics, stores: Stores, seconds: float, paper: Paper) -> None:
        self.stack = stack
        self.topics = topics
        self.stores = stores
        self.seconds = seconds
        self.paper = paper
        self.url = stack.url("edge")
        self.told: list[str] = []
        self.watch = Watch(stack)
        self.products: list[str] = []

    def open_shop(self) -> None:
        token = self.stack.twctl("token", "issue", "--scope", "products:write", "--name", "overload").strip()
        client = Client(self.url, token=token)
        self.products = [client.new_product() for _ in range(PRODUCTS)]
        client.close()

    def crowd(self, connections: int, seconds: float, pause_ms: int = 0, edge: str = "edge") -> Crowd:
        return Crowd(self.stack.state, self.stack.url(edge), self.products, connections, seconds, pause_ms)

    def sustainable(self) -> float:
        """The most that is accepted a second, by any number of clients that wait for their answers."""
        rates = {}
        for connections in RAMP:
            answers = self.crowd(connections, RAMP_S).answers()
            self.told += answers.command_ids
            rates[connections] = answers.accepted_per_second
        self.paper.line(
            "Accepted a second, by connections: " + ", ".join(f"{n}: {rate:.0f}" for n, rate in rates.items()) + "."
        )
        assert max(rates.values()), "nothing is accepted"
        return max(rates.values())

    def overload(self, rate: float) -> tuple[Answers, Reads]:
        pause_ms = min(RESTS_MS, max(1, round(CONNECTIONS / (2 * rate) * 1000)))
        reads = Reads(self.url, [f"/v1/products/{self.products[0]}", "/v1/categories"])
        with Background(self.watch.look, 0.5), Background(reads.look, 0.2):
            crowd = self.crowd(CONNECTIONS, self.seconds, pause_ms)
            try:
                time.sleep(self.seconds * 0.4)
                self._hang_broker(min(5.0, self.seconds * 0.2))
                answers = crowd.answers()
            finally:
                crowd.stop()
        self.told += answers.command_ids
        return answers, reads

    def _hang_broker(self, seconds: float) -> None:
        """For so long, and until one more client is refused: only then is the crowd."""
        self.stack.pause_server("kafka")
        began = time.monotonic()
        try:
            wait_until("a write is refused while the broker hangs", self._is_refused, 30)
            time.sleep(max(0.5, began + seconds - time.monotonic()))
        finally:
            self.stack.resume_server("kafka")

    def _is_refused(self) -> bool:
        return httpx.post(f"{self.url}/v1/products/{self.products[0]}/views", timeout=15).status_code == 503

    def behind(self) -> int:
        """Commands that are in the log and not in the store yet."""
        ends = sum(end for (topic, _), end in self.topics.ends().items() if topic == "product.commands")
        return ends - sum(self.stores.watermarks("product"))

    def drained(self) -> None:
        wait_until("all is folded", lambda: not self.behind(), DRAINED_S)

    def limited(self) -> Answers:
        """The same through an edge that counts."""
        self.stack.start("edge2", settings=LIMITED)
        answers = self.crowd(32, LIMITED_S, edge="edge2").answers()
        self.stack.stop("edge2")
        self.told += answers.command_ids
        return answers


def tell_answers(paper: Paper, what: str, answers: Answers, status: int) -> None:
    counts = ", ".join(f"{count} × {status}" for status, count in sorted(answers.statuses.items()))
    paper.line(
        f"{what}: {answers.accepted_per_second:.0f} accepted a second, p99 {answers.p99_ms:.0f} ms; {counts}; "
        f"{answers.broken} broken connections or late answers.",
        told=True,
    )
    paper.promise(
        f"{what}: refused are {answers.statuses[status]} with {status}, each with Retry-After",
        answers.statuses[status] > 0 and not answers.without_retry_after and set(answers.statuses) <= {202, status},
    )


class Aftermath:
    """How a light client is served before, right after and some time after. It waits for nothing but its answers, so
    what workers have not come to yet shall not matter to it; how much that is is told beside."""

    def __init__(self, overload: Overload, ring: Ring) -> None:
        self._overload = overload
        self._ring = ring
        overload.drained()
        self._before = self._windows(WINDOWS)
        assert median_ms(self._before) < REFUSED_MS, "a light client is refused before there is an overload"

    def _windows(self, count: int) -> list[Window]:
        return windows_of(self._overload.url, self._overload.products[0], self._ring, count)

    def tell(self, ended_at: float, paper: Paper, seed: int) -> None:
        soon_behind, soon = self._overload.behind(), self._windows(1)
        time.sleep(max(0.0, ended_at + OVER_S - time.monotonic()))
        began_s, behind, after = time.monotonic() - ended_at, self._overload.behind(), self._windows(WINDOWS)
        changed = change(self._before, after, seed)
        paper.line(
            f"p99 of a light client, medians of {WINDOWS} windows: {median_ms(self._before):.1f} ms before, "
            f"{median_ms(soon):.1f} ms in one right after, when {soon_behind} commands were not folded yet.",
            told=True,
        )
        paper.promise(
            f"{began_s:.1f} s after its end, {behind} commands not folded yet, it was {median_ms(after):.1f} ms: "
            f"{changed}; as before is up to × {AS_BEFORE:.0f}",
            not changed.is_slower,
        )


def tell_memory(paper: Paper, watch: Watch, first: dict[str, int], sanitized: bool) -> None:
    threads = REQUEST_THREADS + sum(int(SMALL[name]) for name in SMALL)
    more = threads * THREAD_BYTES + QUEUE_KBYTES * KIB + STREAM_HISTORY_BYTES
    bounds = {"edge": first["edge"] + more, **{worker: first[worker] + WORKER_BYTES for worker in WORKERS}}
    for name, allowed in bounds.items():
        bound = allowed + (GROWTH.sanitized_bytes if sanitized else 0)
        largest = watch.largest(name)
        told = f"{name} took {largest / MIB:.0f} MiB at most, {first[name] / MIB:.0f} before"
        told += f"; its settings allow {bound / MIB:.0f}"
        paper.promise(told, largest <= bound)


def measure(stack: Stack, asked: argparse.Namespace, paper: Paper) -> None:
    with Ring() as ring:
        run(stack, asked.seconds, asked.seed, paper, ring)


def run(stack: Stack, seconds: float, seed: int, paper: Paper, ring: Ring | None = None) -> None:
    """`ring`: that it is over in time is judged, too, beside what the machine itself lets wait."""
    stack.start(*PROGRAMS, settings=SETTINGS)
    with ExitStack() as open_things:
        topics, stores = Topics(stack.environment["TW_KAFKA"]), Stores(stack.environment)
        open_things.callback(topics.close)
        open_things.callback(stores.close)
        _run(Overload(stack, topics, stores, seconds, paper), seed, ring)
    stack.end()


def _run(overload: Overload, seed: int, ring: Ring | None) -> None:
    paper = overload.paper
    overload.open_shop()
    overload.watch.look()
    first = {name: life[0].memory_bytes for (name, _), life in overload.watch.lives.items()}
    paper.heading("Overload")
    rate = overload.sustainable()
    aftermath = Aftermath(overload, ring) if ring else None
    answers, reads = overload.overload(rate)
    told = f"{overload.seconds:.0f} s of {2 * rate:.0f} a second or more, the broker hanging in between"
    tell_answers(paper, told, answers, 503)
    if aftermath:
        aftermath.tell(answers.ended_at, paper, seed)
    paper.promise(
        f"{len(reads.took_ms)} reads meanwhile, the slowest {max(reads.took_ms):.0f} ms, "
        f"{len(reads.wrong)} not served {reads.wrong[:3] or ''}",
        not reads.wrong,
    )
    tell_memory(paper, overload.watch, first, sample_of(overload.stack.pids()["edge"])["sanitized"])
    tell_answers(paper, "With rate limits", overload.limited(), 429)
    tell_logs(overload, paper)


def tell_logs(overload: Overload, paper: Paper) -> None:
    found = views_in_the_log(overload.stack.environment, overload.topics.ends())
    missing = set(overload.told) - found.keys()
    told = f"{len(overload.told)} commands were accepted, {len(missing)} of them are not in the log"
    paper.promise(told, bool(overload.told) and not missing)
    overload.drained()
    views = sum(overload.stores.view_count(product) for product in overload.products)
    records = sum(product in overload.products for product in found.values())
    paper.promise(f"{records} views are in the log, {views} are counted", views == records)
