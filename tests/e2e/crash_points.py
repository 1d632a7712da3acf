"""The crash matrix of one worker: end it at each point, start it again, and compare everything there is."""

import signal
import time

import ids
from client import MixedLoad
from judge import Judged
from recorder import Recorder
from stack import FAILPOINT_EXIT, Stack
from topics import Topics
from watch import watermarks_watched

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


def crash_at(stack: Stack, load: MixedLoad, domain: str, point: str, hit: int) -> None:
    """The worker runs before and after; in between it ended at that point, which is proved."""
    stack.kill(domain)
    on_the_way_out = point in ON_THE_WAY_OUT
    stack.start(domain, fail=f"{point}=exit@{hit}", ready=on_the_way_out)  # others may be reached before it is ready
    deadline = time.monotonic() + 60
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
    stack: Stack, load: MixedLoad, judged: Judged, topics: Topics, recorder: Recorder, domain: str
) -> None:
    before = topics.ends()
    with watermarks_watched(stack.environment, recorder, domain):
        for point, hit in matrix(domain):
            print(f"{point}@{hit}")
            crash_at(stack, load, domain, point, hit)
            judged("I3")
    folded = sum(
        len(topics.partition(f"{domain}.commands", p)) - before[f"{domain}.commands", p]
        for p in range(len(topics.ends()) // len(ids.DOMAINS))
    )
    assert folded > 5 * len(matrix(domain)), "the load was too small to mean anything"
