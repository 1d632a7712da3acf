"""How much of the fault list is run. The everyday check takes a bounded sample, chosen from a seed that is printed;
TW_FAULTS=all takes everything (`./dev test --all`), TW_SEED=NUMBER another sample. What a test has to tell it
appends to the file that TW_REPORT names."""

import os
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from judge import Judged
from report import tell
from topics import Topics

T = TypeVar("T")
ALL = os.environ.get("TW_FAULTS") == "all"
SEED = int(os.environ.get("TW_SEED", "5"))


def dice_of(what: str) -> random.Random:
    """The same for the same seed and test, whatever else ran before."""
    return random.Random(f"{SEED} {what}")


def sample_of(everything: Sequence[T], count: int, what: str) -> list[T]:
    """All of them, or `count` by the seed, in order."""
    if ALL:
        return list(everything)
    chosen = sorted(dice_of(what).sample(range(len(everything)), count))
    return [everything[i] for i in chosen]


def seconds(sample_s: float, all_s: float) -> float:
    """How long a fault lasts that is nothing but time."""
    return all_s if ALL else sample_s


@dataclass
class Report:
    """Of one test."""

    what: str
    cycles: int = 0
    commands: int = 0
    recoveries_s: list[float] = field(default_factory=list)

    @contextmanager
    def recovery(self) -> Iterator[None]:
        """From the end of a fault until all is as it was; it is told and judged by nobody."""
        began = time.monotonic()
        yield
        self.recoveries_s.append(time.monotonic() - began)

    def line(self) -> str:
        longest = f"{max(self.recoveries_s):.1f} s" if self.recoveries_s else "none"
        return (
            f"{self.what}: seed {SEED}, {self.cycles} cycles, {self.commands} commands, longest recovery {longest}"
        )


@contextmanager
def reported(what: str) -> Iterator[Report]:
    """Prints the seed before anything can fail."""
    print(f"{what}: TW_SEED={SEED}", flush=True)
    report = Report(what)
    yield report
    tell(report.line())


@contextmanager
def nothing_lost(what: str, topics: Topics, judged: Judged) -> Iterator[Report]:
    """All that clients were told inside came about; and it is told how long that took."""
    before = topics.ends()
    with reported(what) as report:
        yield report
        with report.recovery():
            judged()
        report.commands = sum(topics.ends().values()) - sum(before.values())
