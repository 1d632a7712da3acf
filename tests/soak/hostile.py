"""Rude clients by the hundred beside healthy ones, in turns with none: each rude one gets the right answer and is sent
away, and the healthy ones do not notice."""

import argparse
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import mean, median

from client import Client
from paper import Paper
from ratio import Estimate, estimate, ratio_of
from rude import EACH, Crowds, kinds
from stack import PROGRAMS, Stack
from streams import Stream
from vitals import vitals_of
from wrk_load import Answers, Crowd

STREAMS, PER_MEMBER = 96, 8
GATHER_S = 2.0
# A turn: so many alone, with the rude at another edge, twice as many beside them, elsewhere, alone. Beside them it lasts
# longer than a slow body may.
WINDOWS = 3
HEALTHY, PAUSE_MS = 32, 20
PRODUCTS = 20
TENTH = 1.10


@dataclass(frozen=True)
class Seen:
    """In one window."""

    answers: Answers  # of the healthy clients
    cpu: float  # that the edge took, of one processor

    @property
    def p50_ms(self) -> float:
        return self.answers.waited_ms(self.answers.p50_ms, HEALTHY)

    @property
    def p99_ms(self) -> float:
        return self.answers.waited_ms(self.answers.p99_ms, HEALTHY)

    @property
    def is_served(self) -> bool:
        return set(self.answers.statuses) == {202} and not self.answers.broken

    def __str__(self) -> str:
        return f"{dict(self.answers.statuses)}, {self.answers.broken} broken"


def deaf_streams(url: str, tokens: list[str]) -> list[Stream]:
    """Open, and never read."""
    return [Stream(url, tokens[n // PER_MEMBER], buffer=2048, reads=False) for n in range(STREAMS)]


@dataclass(frozen=True)
class Turn:
    """Windows of the healthy clients, with the rude ones nowhere, at another edge of the same machine, at theirs."""

    alone: list[Seen]
    elsewhere: list[Seen]
    beside: list[Seen]


class Hostile:
    def __init__(self, stack: Stack, crowds: Crowds, seconds: float, seed: int) -> None:
        self.stack = stack
        self.seed = seed
        self.crowds = crowds
        self.url, self.other_url = stack.url("edge"), stack.url("edge2")
        self.seconds = seconds
        token = stack.twctl("token", "issue", "--scope", "products:write", "--name", "hostile").strip()
        client = Client(self.url, token=token)
        self.products = [client.new_product() for _ in range(PRODUCTS)]
        self.tokens = [client.new_member().access_token for _ in range(STREAMS // PER_MEMBER)]
        client.close()
        self.turns: list[Turn] = []

    def _windows(self, count: int) -> list[Seen]:
        return [self._window() for _ in range(count)]

    def _window(self) -> Seen:
        edge = self.stack.pids()["edge"]
        before = vitals_of(edge)
        answers = Crowd(self.stack.state, self.url, self.products, HEALTHY, self.seconds, PAUSE_MS).answers()
        after = vitals_of(edge)
        return Seen(answers, (after.cpu_s - before.cpu_s) / (after.at_s - before.at_s))

    def _while_rude_to(self, url: str, count: int) -> list[Seen]:
        streams = deaf_streams(url, self.tokens)
        statuses = Counter(stream.status for stream in streams)
        assert set(statuses) == {200}, f"streams were answered {dict(statuses)}"
        with self.crowds.at(url):
            time.sleep(GATHER_S)
            seen = self._windows(count)
        for stream in streams:
            stream.close()
        time.sleep(GATHER_S)
        return seen

    def turn(self) -> None:
        """There and back: what becomes slower all the time is no difference."""
        alone = self._windows(WINDOWS)
        elsewhere = self._while_rude_to(self.other_url, WINDOWS)
        beside = self._while_rude_to(self.url, 2 * WINDOWS)
        elsewhere += self._while_rude_to(self.other_url, WINDOWS)
        self.turns.append(Turn(alone + self._windows(WINDOWS), elsewhere, beside))

    @property
    def alone(self) -> list[Seen]:
        return [one for turn in self.turns for one in turn.alone]

    @property
    def elsewhere(self) -> list[Seen]:
        return [one for turn in self.turns for one in turn.elsewhere]

    @property
    def beside(self) -> list[Seen]:
        return [one for turn in self.turns for one in turn.beside]

    def ratio(self, figure: Callable[[Seen], float], of: Callable[[Turn], list[Seen]]) -> Estimate:
        """Beside them to what it is otherwise."""
        turns = [([figure(one) for one in of(turn)], [figure(one) for one in turn.beside]) for turn in self.turns]
        return ratio_of(turns, self.seed)

    def more_fail(self) -> Estimate:
        """How many more of the windows beside them than of the others had anything but 202."""

        def of(turns: Sequence[Turn]) -> float:
            return mean(_failing(turn.beside) - _failing(turn.alone + turn.elsewhere) for turn in turns)

        return estimate(of, self.turns, self.seed)


def _failing(windows: list[Seen]) -> float:
    return sum(not one.is_served for one in windows) / len(windows)


def measure(stack: Stack, asked: argparse.Namespace, paper: Paper) -> None:
    run(stack, asked.seconds / 30, asked.turns, asked.seed, paper)


def run(stack: Stack, seconds: float, turns: int, seed: int, paper: Paper) -> None:
    stack.start(*PROGRAMS, "edge2")
    with Crowds() as crowds:
        hostile = Hostile(stack, crowds, seconds, seed)
        for _ in range(turns):
            hostile.turn()
    stack.end()
    paper.heading("Rude clients")
    crowd = EACH * len(kinds())
    paper.line(f"{crowd} rude clients and {STREAMS} streams that nobody reads, beside {HEALTHY} healthy clients.")
    paper.line("")
    paper.table(("kind", "times"), sorted(crowds.tally.done.items()))
    paper.line("")
    done, wrong = crowds.tally.done, crowds.tally.wrong
    paper.promise(
        f"{done.total()} rude exchanges, {len(wrong)} answered or ended otherwise {wrong[:3] or ''}",
        not wrong and set(done) == set(kinds()),
    )
    tell_served(paper, hostile)
    tell_p99(paper, hostile)


def tell_served(paper: Paper, hostile: Hostile) -> None:
    more = hostile.more_fail()
    met = [str(one) for one in hostile.beside if not one.is_served]
    others = [str(one) for one in hostile.alone + hostile.elsewhere if not one.is_served]
    paper.promise(
        f"healthy clients got nothing but 202: beside them but for {len(met)} windows {met[:3] or ''}, otherwise but "
        f"for {len(others)} {others[:3] or ''}; more of them by {more}, which is beyond doubt when all of that is above "
        "0",
        more.lower <= 0,
    )


def tell_p99(paper: Paper, hostile: Hostile) -> None:
    """The promise is a tenth, of what rude clients do to an edge: they take processors, too, and where these are the
    edge's own, that is no matter of whom they are rude to."""
    where = {"alone": hostile.alone, "with them at another edge": hostile.elsewhere, "beside them": hostile.beside}
    for what, windows in where.items():
        p99s_ms = sorted(one.p99_ms for one in windows)
        paper.line(
            f"Healthy clients {what}: p99 {median(p99s_ms):.2f} ms ({p99s_ms[0]:.2f} to {p99s_ms[-1]:.2f} in "
            f"{len(windows)} windows), p50 {median(one.p50_ms for one in windows):.2f} ms, the edge took "
            f"{median(one.cpu for one in windows):.0%} of a processor.",
            told=True,
        )
    of_alone = hostile.ratio(lambda one: one.p99_ms, lambda turn: turn.alone)
    ratio = hostile.ratio(lambda one: one.p99_ms, lambda turn: turn.elsewhere)
    paper.promise(
        f"healthy clients' p99 beside them is × {ratio} of what it is with them at another edge of this machine (× "
        f"{of_alone} of what it is alone); a tenth more is allowed, and it is more beyond doubt when all of that range "
        "is",
        ratio.lower <= TENTH,
    )
