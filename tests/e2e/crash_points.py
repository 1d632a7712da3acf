"""The crash matrix of one worker: end it at each point, start it again, and compare everything there is."""

import signal
import threading
import time

import ids
from checker import Checker, History
from client import MixedLoad
from stack import FAILPOINT_EXIT, Stack
from stores import Stores
from topics import Topics

POINTS = (
    "after_consume",
    "after_decode",
    "after_load",
    "before_commit",
    "in_commit",
    "after_commit",
    "before_publish",
    "after_produce_before_report",
    "after_report",
    "before_offset_commit",
    "after_offset_commit",
)
PRODUCT_POINTS = ("before_redo", "after_redo", "in_apply", "before_applied")
CART_POINTS = ("before_exec",)
ON_THE_WAY_OUT = ("in_revoke", "in_shutdown")
HITS = (1, 2, 3)
THREE_TIMES = ("in_commit", "after_commit", "after_produce_before_report")


def points_of(domain: str) -> tuple[str, ...]:
    return POINTS + {"member": (), "product": PRODUCT_POINTS, "cart": CART_POINTS}[domain] + ON_THE_WAY_OUT


def matrix(domain: str) -> list[tuple[str, int]]:
    """(point, which hit ends the worker). What every check walks; the whole is in test_crash_matrix.py."""
    return [(point, hit) for point in points_of(domain) for hit in (HITS if point in THREE_TIMES else (1,))]


class WatermarkWatch:
    """Looks all the time: a stored watermark never goes back, and Kafka's offset is never ahead of it (I3)."""

    def __init__(self, environment: dict[str, str], domain: str) -> None:
        self._environment = environment
        self._domain = domain
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.looks = 0
        self.wrong: list[str] = []

    def _run(self) -> None:
        stores, topics = Stores(self._environment), Topics(self._environment["TW_KAFKA"])
        highest: list[int] | None = None
        while not self._stop.wait(0.1):
            committed = topics.committed(f"tillwire-{self._domain}", f"{self._domain}.commands")
            marks = stores.watermarks(self._domain)  # read after the other: it may only have grown meanwhile
            self.wrong += [
                f"I3: partition {p}: Kafka has {c}, the store {m}"
                for p, (c, m) in enumerate(zip(committed, marks))
                if c > m
            ]
            self.wrong += [
                f"I3: partition {p} went back from {h} to {m}"
                for p, (h, m) in enumerate(zip(highest or marks, marks))
                if m < h
            ]
            highest = marks
            self.looks += 1
        stores.close()
        topics.close()

    def __enter__(self) -> "WatermarkWatch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        assert self.looks > 0
        assert not self.wrong, "\n".join(self.wrong[:10])


def crash_at(stack: Stack, load: MixedLoad, domain: str, point: str, hit: int) -> None:
    """The worker runs before and after; in between it ended at that point, which is proved."""
    stack.kill(domain)
    on_the_way_out = point in ON_THE_WAY_OUT
    stack.start(domain, fail=f"{point}=exit@{hit}", ready=on_the_way_out)  # others may be reached before it is ready
    deadline = time.monotonic() + 20
    if on_the_way_out:
        load.send(domain, 10)
        stack.signal(domain, signal.SIGTERM)
    while stack.is_running(domain):
        assert time.monotonic() < deadline, f"{point} was not reached {hit} times"
        load.send(domain, 5)
    assert stack.wait_exit(domain) == FAILPOINT_EXIT
    assert f'"{point}"' in stack.log(domain) and "failpoint fired" in stack.log(domain)
    load.send(domain, 5)  # accepted while it is away
    stack.start(domain, ready=False)  # whoever looks waits until all is folded


def check_all_points(
    stack: Stack, load: MixedLoad, checker: Checker, topics: Topics, history: History, domain: str
) -> None:
    before = topics.ends()
    told = len(history.told)
    with WatermarkWatch(stack.environment, domain):
        for point, hit in matrix(domain):
            crash_at(stack, load, domain, point, hit)
            wrong = checker.settled_violations()
            assert not wrong, f"after {point}@{hit}: " + "\n".join(wrong[:20])
    recent = History(history.told[told:], history.secrets)
    checker.check(recent, before)
    folded = sum(
        len(topics.partition(f"{domain}.commands", p)) - before[f"{domain}.commands", p]
        for p in range(len(topics.ends()) // len(ids.DOMAINS))
    )
    assert folded > 5 * len(matrix(domain)), "the load was too small to mean anything"
