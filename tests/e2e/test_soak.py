"""A short soak, and a short overload, of the programs of this build: what tests/soak does with deployed ones for half
an hour. Nothing here is judged by its time."""

import os
import sys
from collections.abc import Iterator

import pytest

from stack import ROOT, Stack

sys.path.append(str(ROOT / "tests" / "soak"))

import paths  # noqa: F401  (of the demo's sessions)

import overload
import soak
from paper import Paper

SEED = int(os.environ.get("TW_SEED", "20261127"))
SOAK_S, EVERY_S, RATE = 17.0, 2.0, 25.0
OVERLOAD_S = 14.0


@pytest.fixture(autouse=True)
def nothing_runs_afterwards(servers: Stack) -> Iterator[None]:
    """Each test begins with the servers alone."""
    yield
    servers.heal_servers()
    servers.end()


def test_a_shop_survives_a_few_troubles_in_a_row(servers: Stack) -> None:
    paper = Paper(f"Soak, seed {SEED}")
    soak.run(servers, SOAK_S, EVERY_S, RATE, SEED, paper)
    assert not paper.broken, paper.text()


def test_twice_what_is_accepted_is_refused_and_nothing_grows(servers: Stack) -> None:
    paper = Paper("Overload")
    overload.run(servers, OVERLOAD_S, SEED, paper)
    assert not paper.broken, paper.text()
