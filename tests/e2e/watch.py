"""Notes of a stack for judge.py: how its programs are, and where the stores and Kafka stand."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

import ids
from judge import WAITING
from recorder import Recorder, Sampler, metrics_of, sample_of
from stack import Stack
from stores import Stores
from topics import Topics

REST_S = 1.0
ANSWERS_END_S = 5.0


def note_programs(stack: Stack, recorder: Recorder, rest: bool = False) -> None:
    """One that ends meanwhile has nothing to say."""
    for name, pid in stack.pids().items():
        try:
            metrics = metrics_of(stack.admin(name, "/metrics").text)
            recorder.note("sample", program=name, rest=rest, metrics=metrics, **sample_of(pid))
        except (httpx.TransportError, OSError, KeyError):
            continue


def _counts_somebody(stack: Stack, name: str) -> bool:
    try:
        metrics = metrics_of(stack.admin(name, "/metrics").text)
    except httpx.TransportError:
        return False
    return any(metrics.get(waiting) for waiting in WAITING)


def _let_answers_end(stack: Stack) -> None:
    """An answer is read before it is counted off. One that is never counted off the judge tells of."""
    deadline = time.monotonic() + ANSWERS_END_S
    while any(_counts_somebody(stack, name) for name in stack.pids()) and time.monotonic() < deadline:
        time.sleep(0.05)


def note_rest(stack: Stack, recorder: Recorder) -> None:
    """Nobody may be asking for anything. Twice, so that what a program does at rest is seen."""
    _let_answers_end(stack)
    note_programs(stack, recorder, rest=True)
    time.sleep(REST_S)
    note_programs(stack, recorder, rest=True)


@contextmanager
def watermarks_watched(
    environment: dict[str, str], recorder: Recorder, *domains: str, every_s: float = 0.1
) -> Iterator[None]:
    """All the while: these domains' watermarks beside Kafka's offsets."""
    stores, topics = Stores(environment), Topics(environment["TW_KAFKA"])

    def look() -> None:
        for domain in domains:
            committed = topics.committed(f"tillwire-{domain}", f"{domain}.commands")
            stored = stores.watermarks(domain)  # read after the other: it may only have grown meanwhile
            recorder.note("marks", domain=domain, stored=stored, committed=committed)

    try:
        with Sampler(look, every_s):
            yield
        look()
    finally:
        stores.close()
        topics.close()


@contextmanager
def watched(stack: Stack, recorder: Recorder, every_s: float = 0.5) -> Iterator[None]:
    """All the while: programs and watermarks."""
    with watermarks_watched(stack.environment, recorder, *ids.DOMAINS, every_s=every_s):
        with Sampler(lambda: note_programs(stack, recorder), every_s):
            yield
        note_programs(stack, recorder)
