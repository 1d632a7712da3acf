"""Each worker ends at every crash point; nothing is lost and nothing happens twice."""

import pytest

from checker import Checker, History
from client import Client, MixedLoad
from crash_points import POINTS, check_all_points, crash_at
from stack import WORKERS, Stack
from topics import Topics


@pytest.fixture(scope="module")
def load(merchant: Client, anyone: Client) -> MixedLoad:
    return MixedLoad(merchant, anyone, seed=2026)


@pytest.mark.parametrize("domain", WORKERS)
def test_a_worker_survives_a_crash_at_every_point(
    healed: Stack, load: MixedLoad, checker: Checker, topics: Topics, history: History, domain: str
) -> None:
    check_all_points(healed, load, checker, topics, history, domain)


def test_five_crashes_in_a_row_at_one_point_give_up_no_record(healed: Stack, load: MixedLoad, checker: Checker) -> None:
    """A crash never sends a record to the DLQ: the checker knows that there was no poison."""
    assert "before_commit" in POINTS
    for _ in range(5):
        crash_at(healed, load, "cart", "before_commit", 1)
    checker.check()


@pytest.mark.parametrize("domain", WORKERS)
def test_sigterm_under_load_ends_within_ten_seconds(
    healed: Stack, load: MixedLoad, checker: Checker, domain: str
) -> None:
    for _ in range(2):
        for _ in range(5):
            load.send(domain, 10)
        healed.stop(domain)
        load.send(domain, 5)
        healed.start(domain)
    checker.check()
