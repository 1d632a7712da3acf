"""How much slower something is than something else, on a machine that others make slow and fast again: medians of many
short windows, and what the figure would have been with other such windows."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

RESAMPLES = 2000
BEYOND = 0.025  # of the resamples on each side of the interval
AS_BEFORE = 2.0
T = TypeVar("T")
Turn = tuple[Sequence[float], Sequence[float]]


@dataclass(frozen=True)
class Estimate:
    value: float
    lower: float
    upper: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.lower:.2f} to {self.upper:.2f})"


def estimate(figure: Callable[[Sequence[T]], float], seen: Sequence[T], seed: int) -> Estimate:
    """Of what was seen, drawn anew many times: a bootstrap. It never says more than the windows can tell."""
    dice = random.Random(seed)
    drawn = sorted(figure(dice.choices(seen, k=len(seen))) for _ in range(RESAMPLES))
    at = int(BEYOND * RESAMPLES)
    return Estimate(figure(seen), drawn[at], drawn[-1 - at])


def _ratio(turns: Sequence[Turn]) -> float:
    return median(x for _, second in turns for x in second) / median(x for first, _ in turns for x in first)


def ratio_of(turns: Sequence[Turn], seed: int) -> Estimate:
    """Of the second windows of all turns to the first ones. A turn's windows stay together when turns are drawn anew:
    those of one busy minute are not so many witnesses."""
    return estimate(_ratio, turns, seed)


# --- before and after something, which cannot take turns


@dataclass(frozen=True)
class Window:
    p99_ms: float
    machine_p99_ms: float  # the machine's own share: machine.py


Pair = tuple[Window, Window]  # before and after


def median_ms(windows: Sequence[Window]) -> float:
    return median(one.p99_ms for one in windows)


def _machine_ms(windows: Sequence[Window]) -> float:
    return median(one.machine_p99_ms for one in windows)


@dataclass(frozen=True)
class Change:
    """From before to after: of the light client, of the machine, and of the one in terms of the other."""

    client: Estimate
    machine: Estimate
    beside: Estimate

    @property
    def is_slower(self) -> bool:
        """Beyond doubt, and more so than everything else on this machine."""
        return min(self.client.lower, self.beside.lower) > AS_BEFORE

    def __str__(self) -> str:
        return f"× {self.client}; the machine's own p99 × {self.machine}, the one by the other {self.beside}"


def change(before: Sequence[Window], after: Sequence[Window], seed: int) -> Change:
    def client(pairs: Sequence[Pair]) -> float:
        return median_ms([b for _, b in pairs]) / median_ms([a for a, _ in pairs])

    def machine(pairs: Sequence[Pair]) -> float:
        return _machine_ms([b for _, b in pairs]) / _machine_ms([a for a, _ in pairs])

    pairs = list(zip(before, after, strict=True))
    return Change(
        estimate(client, pairs, seed),
        estimate(machine, pairs, seed),
        estimate(lambda drawn: client(drawn) / machine(drawn), pairs, seed),
    )
