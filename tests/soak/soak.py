"""Mixed traffic through two edges, two workers a domain, a trouble every few seconds; then everything is compared."""

import argparse
import os
import random
import re
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import judge
import test_poison
from client import Client
from history import PATTERNS
from paper import Paper, growth
from recorder import Recorder
from scene import BROKER, Deck, Scene, settings_of
from stack import WORKERS, Stack, wait_until
from stores import Stores
from test_store_network import URI_OF
from topics import Topics
from toxics import Proxy, running_toxiproxy
from traffic import PRODUCTS, Shop, Traffic
from troubles import TROUBLES, poison_of
from vitals import MIB, Background, Marks, Vitals, Watch
from watch import note_rest

EDGES = ["edge", "edge2"]
TWINS = [f"{domain}{n}" for domain in WORKERS for n in ("", "2")]
RECOVERED_S = 120.0  # patience, no promise
LOOK_S = 1.0
# A life counts when it was long enough for caches to have filled; what it may have more of at its end. A broker that
# comes back is a new connection beside the old one's pipes, once.
LIFE_S = 240.0
MORE = {"memory": 32 * MIB, "descriptors": 32, "threads": 8}
HASHING_BYTES = 64 * MIB  # of an edge, for each password that it hashes just now, on each core
SCOPES = "products:write,members:read,members:admin"


@dataclass
class Happened:
    what: str
    proof: str
    recovery_s: float


def open_shop(stack: Stack, recorder: Recorder) -> Shop:

    token = stack.twctl("token", "issue", "--scope", SCOPES, "--name", "soak").strip()
    client = Client(stack.url("edge"), recorder, token)
    try:
        products = [client.new_product(price=f"{n + 10}.49") for n in range(PRODUCTS)]
    finally:
        client.close()
    return Shop(recorder, products, token)


def recovered(scene: Scene) -> float:
    """Seconds from now until all programs are ready and what is in the logs now is in the stores."""
    began = time.monotonic()
    ends = scene.topics.ends()
    names = [*scene.workers, *scene.edges]
    wait_until("all are ready", lambda: all(scene.stack.is_ready(name) for name in names), RECOVERED_S)
    wait_until("all is folded", lambda: _has_reached(scene, ends), RECOVERED_S)
    scene.marks.all_is_back()
    return time.monotonic() - began


def _has_reached(scene: Scene, ends: dict[tuple[str, int], int]) -> bool:
    marks = {domain: scene.stores.watermarks(domain) for domain in WORKERS}
    return all(marks[topic.split(".")[0]][p] >= end for (topic, p), end in ends.items())


def befall(scene: Scene, deck: Deck[str], seconds: float, every_s: float, traffic: Traffic) -> list[Happened]:
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
        happened.append(happening(scene, name, TROUBLES[name]))


def happening(scene: Scene, name: str, trouble: Callable[[Scene], str]) -> Happened:
    proof = trouble(scene)
    happened = Happened(name, proof, recovered(scene))
    print(f"{name}: {proof}; recovered in {happened.recovery_s:.1f} s", flush=True)
    return happened


def start(stack: Stack, proxies: dict[str, Proxy]) -> None:
    for name in (*TWINS, *EDGES):
        stack.start(name, settings=settings_of(name, proxies), ready=False)
    for name in (*TWINS, *EDGES):
        stack.wait_ready(name)


def run(stack: Stack, seconds: float, every_s: float, rate: float, seed: int, paper: Paper) -> None:
    """Only servers may run before."""
    with ExitStack() as open_things:
        toxiproxy = open_things.enter_context(running_toxiproxy(stack.logs))
        proxies = {domain: toxiproxy.proxy(domain, stack.environment[URI_OF[domain]]) for domain in WORKERS}
        proxies[BROKER] = toxiproxy.broker(stack.environment["TW_KAFKA"])
        start(stack, proxies)
        recorder = Recorder(stack.state / "history.jsonl")
        topics, stores = Topics(stack.environment["TW_KAFKA"]), Stores(stack.environment)
        marks, watch = Marks(stack.environment, recorder), Watch(stack)
        for thing in (recorder, topics, stores, marks):
            open_things.callback(thing.close)
        first = topics.ends()
        recorder.begin(first)
        letters = sum(topics.ends("dlq").values())
        shop = open_shop(stack, recorder)
        dice = random.Random(f"{seed} troubles")
        poisons = Deck(dice, test_poison.NAMES)
        scene = Scene(stack, shop, topics, stores, marks, dice, TWINS, EDGES, proxies, poisons)
        traffic = Traffic(shop, [stack.url(edge) for edge in EDGES], seed, rate)
        note_rest(stack, recorder)
        began = time.monotonic()
        with Background(watch.look, LOOK_S), Background(marks.look, LOOK_S), traffic:
            happened = befall(scene, Deck(dice, sorted(TROUBLES)), seconds, every_s, traffic)
            if rest := poisons.rest():
                happened.append(happening(scene, "all other poison", lambda scene: poison_of(scene, rest)))
        traffic.check()
        lasted_s = time.monotonic() - began
        drained_s = recovered(scene)
        note_rest(stack, recorder)
        commands = sum(topics.ends().values()) - sum(first.values())
        tell_traffic(paper, traffic, lasted_s, drained_s, commands)
        tell_troubles(paper, happened)
        tell_vitals(paper, watch)
        tell_verdicts(paper, scene, recorder)
        letters = sum(topics.ends("dlq").values()) - letters
        paper.promise(f"{scene.poisoned} poisoned records, {letters} dead letters", letters == scene.poisoned)
        stack.end()
        paper.promise("all programs ended with 0 after SIGTERM", True)


def _is_of(asked: str, method: str, path: re.Pattern[str]) -> bool:
    verb, _, at = asked.partition(" ")
    return verb == method and path.fullmatch(at) is not None


def tell_traffic(paper: Paper, traffic: Traffic, lasted_s: float, drained_s: float, commands: int) -> None:
    statuses = traffic.shop.statuses
    paper.heading("Traffic")
    paper.line(
        f"{lasted_s / 60:.1f} minutes, {sum(statuses.values())} requests ({traffic.origin}), {commands} commands.",
        told=True,
    )
    routes = traffic.shop.routes
    asked = {n for n, (method, path, _) in enumerate(PATTERNS) if any(_is_of(one, method, path) for one in routes)}
    never = [f"{method} {route['path']}" for n, (method, _, route) in enumerate(PATTERNS) if n not in asked]
    paper.line(f"{len(asked)} of {len(PATTERNS)} routes were asked; never: {', '.join(never) or 'none'}.")
    paper.line(f"All of it was in the stores {drained_s:.1f} s after the last answer.")
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
        f"{len(happened)} faults were injected, all seen to fire; "
        f"longest recovery {max(longest.values(), default=0):.1f} s.",
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


def allowed(name: str, what: str) -> int:
    hashes = name.startswith("edge") and what == "memory"
    return MORE[what] + (HASHING_BYTES * (os.cpu_count() or 1) if hashes else 0)


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
        if more > allowed(name, what)
    ]
    if long:
        told = "; ".join(too_much) or f"none of {len(long)} processes grew"
        paper.promise(f"memory, descriptors and threads are flat in lives of {LIFE_S:.0f} s: {told}", not too_much)


def tell_verdicts(paper: Paper, scene: Scene, recorder: Recorder) -> None:
    paper.heading("Invariants")
    stack, programs = scene.stack, Path(os.environ["TW_BIN_DIR"])
    verdicts = judge.judge(stack.environment, recorder.path, stack.logs, programs, patience_s=RECOVERED_S)
    paper.table(
        ("invariant", "verdict", "compared", "no case of"),
        ((one.name, one.word, one.counts, ", ".join(one.unseen)) for one in verdicts),
    )
    paper.line("")
    broken = judge.broken(verdicts)
    paper.promise(f"{len(verdicts)} verdicts of judge.py, broken are {', '.join(sorted(broken)) or 'none'}", not broken)
    if broken:
        paper.line(judge.table([one for one in verdicts if one.wrong]))


def measure(stack: Stack, asked: argparse.Namespace, paper: Paper) -> None:
    run(stack, asked.minutes * 60, asked.every, asked.rate, asked.seed, paper)
