"""Mixed traffic through two edges, two workers a domain, and a trouble every few seconds; then everything is compared."""

import argparse
import random
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from checker import Checker, History
from client import Client
from paper import Paper, growth
from stack import WORKERS, Stack, wait_until
from stores import Stores
from topics import Topics
from traffic import PRODUCTS, Shop, Traffic
from troubles import SETTINGS, TROUBLES, Deck, Scene
from vitals import MIB, Background, Marks, Vitals, Watch

EDGES = ["edge", "edge2"]
TWINS = [f"{domain}{n}" for domain in WORKERS for n in ("", "2")]
RECOVERED_S = 120.0  # patience, no promise
LOOK_S = 1.0
# A program's life counts when it was long enough for its caches to have filled; what it may have more of at its end.
LIFE_S = 240.0
MORE = {"memory": 32 * MIB, "descriptors": 16, "threads": 8}
SCOPES = "products:write,members:read,members:admin"


@dataclass
class Happened:
    what: str
    proof: str
    recovery_s: float


def open_shop(stack: Stack) -> Shop:

    token = stack.twctl("token", "issue", "--scope", SCOPES, "--name", "soak").strip()
    history = History()
    history.secrets.add(token)
    client = Client(stack.url("edge"), history, token)
    try:
        products = [client.new_product(price=f"{n + 10}.49") for n in range(PRODUCTS)]
    finally:
        client.close()
    return Shop(history, products, token)


def recovered(scene: Scene) -> float:
    """Seconds from now until all programs are ready and what is in the logs now is in the stores."""
    began = time.monotonic()
    ends = scene.topics.ends()
    names = [*scene.workers, *scene.edges]
    wait_until("all are ready", lambda: all(scene.stack.is_ready(name) for name in names), RECOVERED_S)
    wait_until("all is folded", lambda: _has_reached(scene, ends), RECOVERED_S)
    return time.monotonic() - began


def _has_reached(scene: Scene, ends: dict[tuple[str, int], int]) -> bool:
    marks = {domain: scene.stores.watermarks(domain) for domain in WORKERS}
    return all(marks[topic.split(".")[0]][p] >= end for (topic, p), end in ends.items())


def befall(scene: Scene, deck: Deck, seconds: float, every_s: float, traffic: Traffic) -> list[Happened]:
    happened: list[Happened] = []
    ends_at = time.monotonic() + seconds
    while True:
        next_at = time.monotonic() + every_s
        while time.monotonic() < min(next_at, ends_at):
            traffic.check()
            time.sleep(0.2)
        if time.monotonic() >= ends_at:
            return happened
        name = deck.draw()
        proof = TROUBLES[name](scene)
        happened.append(Happened(name, proof, recovered(scene)))
        print(f"{name}: {proof}; recovered in {happened[-1].recovery_s:.1f} s", flush=True)


def run(stack: Stack, seconds: float, every_s: float, rate: float, seed: int, paper: Paper) -> None:
    """Only servers may run before."""
    stack.start(*TWINS, *EDGES, settings=SETTINGS)
    with ExitStack() as open_things:
        shop = open_shop(stack)
        topics, stores = Topics(stack.environment["TW_KAFKA"]), Stores(stack.environment)
        marks, watch = Marks(stack.environment), Watch(stack)
        for thing in (topics, stores, marks):
            open_things.callback(thing.close)
        scene = Scene(stack, shop, topics, stores, marks, random.Random(f"{seed} troubles"), TWINS, EDGES)
        before = {at: 0 for at in topics.ends()}  # the log is ours from its first record
        traffic = Traffic(shop, [stack.url(edge) for edge in EDGES], seed, rate)
        began = time.monotonic()
        with Background(watch.look, LOOK_S), Background(marks.look, LOOK_S), traffic:
            happened = befall(scene, Deck(scene.dice), seconds, every_s, traffic)
        traffic.check()
        lasted_s = time.monotonic() - began
        print(f"drained {recovered(scene):.1f} s after the last request", flush=True)
        tell_traffic(paper, traffic, lasted_s, sum(topics.ends().values()))
        tell_troubles(paper, happened)
        tell_vitals(paper, watch)
        judge(paper, scene, before)
        stack.end()
        paper.promise("all programs ended with 0 after SIGTERM", True)


def tell_traffic(paper: Paper, traffic: Traffic, lasted_s: float, commands: int) -> None:
    statuses = traffic.shop.statuses
    paper.heading("Traffic")
    paper.line(
        f"{lasted_s / 60:.1f} minutes, {sum(statuses.values())} requests ({traffic.origin}), {commands} commands in the log.",
        told=True,
    )
    paper.line("Answers: " + ", ".join(f"{count} × {status or 'none'}" for status, count in sorted(statuses.items())))
    own_errors = {status for status in statuses if status >= 500 and status != 503}
    paper.promise("no answer is a 5xx but 503", not own_errors)


def tell_troubles(paper: Paper, happened: list[Happened]) -> None:
    paper.heading("Troubles")
    counts = Counter(one.what for one in happened)
    longest = {what: max(one.recovery_s for one in happened if one.what == what) for what in counts}
    paper.table(
        ("what", "times", "longest recovery, s", "the last one was seen by"),
        (
            (what, counts[what], f"{longest[what]:.1f}", [one.proof for one in happened if one.what == what][-1])
            for what in sorted(counts)
        ),
    )
    paper.line("")
    paper.line(
        f"{len(happened)} faults were injected, all seen to fire; longest recovery {max(longest.values(), default=0):.1f} s.",
        told=True,
    )


def slope(life: list[Vitals]) -> float:
    """Bytes an hour."""
    return growth([float(v.memory_bytes) for v in life]) / ((life[-1].at_s - life[0].at_s) * 2 / 3) * 3600


def grown(life: list[Vitals]) -> dict[str, float]:
    return {
        "memory": growth([float(v.memory_bytes) for v in life]),
        "descriptors": growth([float(v.descriptors) for v in life]),
        "threads": growth([float(v.threads) for v in life]),
    }


def tell_vitals(paper: Paper, watch: Watch) -> None:
    paper.heading("Memory, descriptors, threads")
    paper.line("Medians of the last third of a process's life beside those of its first; lives of a minute or more.")
    paper.line("")
    lives = {name: life for name, life in watch.lives.items() if life[-1].at_s - life[0].at_s >= 60}
    paper.table(
        ("process", "lived, s", "largest, MiB", "memory, MiB", "MiB an hour", "descriptors", "threads"),
        (
            (
                f"{name} ({pid})",
                f"{life[-1].at_s - life[0].at_s:.0f}",
                f"{max(v.memory_bytes for v in life) / MIB:.1f}",
                f"{grown(life)['memory'] / MIB:+.1f}",
                f"{slope(life) / MIB:+.0f}",
                f"{grown(life)['descriptors']:+.0f}",
                f"{grown(life)['threads']:+.0f}",
            )
            for (name, pid), life in sorted(lives.items())
        ),
    )
    paper.line("")
    long = {key: life for key, life in lives.items() if life[-1].at_s - life[0].at_s >= LIFE_S}
    too_much = [
        f"{name} ({pid}): {what} {more:+.0f}"
        for (name, pid), life in long.items()
        for what, more in grown(life).items()
        if more > MORE[what]
    ]
    if long:
        told = "; ".join(too_much) or f"none of {len(long)} processes grew"
        paper.promise(f"memory, descriptors and threads are flat in lives of {LIFE_S:.0f} s and more: {told}", not too_much)


def judge(paper: Paper, scene: Scene, before: dict[tuple[str, int], int]) -> None:
    paper.heading("Invariants")
    told = f"{scene.marks.looks} looks at watermarks: none went back but by a loss of its store"
    paper.promise("; ".join(scene.marks.wrong[:5]) or told, not scene.marks.wrong)
    checked = Checker(scene.topics, scene.stores, _id_key(scene.stack), scene.stack.logs)
    try:
        checked.check(scene.shop.history, before)
        paper.promise("what clients were told, the logs and the stores agree with a fold of the log", True)
    except AssertionError as error:
        paper.promise(f"what clients were told, the logs and the stores agree: {error}", False)
    letters = sum(topic.endswith(".dlq") for topic in (record.topic for record in scene.topics.all()))
    paper.promise(f"{scene.poisoned} poisoned records, {letters} dead letters", letters == scene.poisoned)
    said = scene.stack.dev("twctl", "verify", "all", "--against-log", timeout_s=900)
    paper.promise(f"twctl verify all --against-log: {said.strip().splitlines()[-1]}", True)


def _id_key(stack: Stack) -> bytes:
    return bytes.fromhex(Path(stack.environment["TW_ID_KEY_FILE"]).read_text(encoding="utf-8").strip())


def measure(stack: Stack, asked: argparse.Namespace, paper: Paper) -> None:
    run(stack, asked.minutes * 60, asked.every, asked.rate, asked.seed, paper)
