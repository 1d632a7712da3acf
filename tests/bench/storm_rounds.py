"""Logins as a storm: what it does to reads and views of others on the same edge."""

import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Iterator

from stack import BenchError, Process, Stack, numbers, read_metric, say
from worker_rounds import WorkerRounds
from wrk import HERE, Sample, ask, write_product_ids

CONNECTIONS = 16
REST_MS = 20  # between an answer and the next request: a shop that is busy, not one that is at its end
CLIENTS = 132  # of the storm; twice what the edge's password pool and its queue hold
PAUSE_MS = 100  # between an answer and the client's next login; a refusal asks for a whole second
MEMBERS = 500  # so many that nobody reaches the limit of live sessions
ROUND_OF_MEMBERS = 1000  # of load.c: nobody else's
PASSWORD = "the bench password of everybody"  # load.c has its hash
EDGE_ADMIN = 1  # port, from the stack's first
GATHERING_S = 2  # until the pool's queue is full
PATIENCE_S = 30
REQUESTS = {"reads": "GET /v1/products/{id}", "views": "POST /v1/products/{id}/views"}


@dataclass
class StormSample:
    quiet: Sample
    storm: Sample
    logins_per_second: float
    refused_per_second: float


@dataclass
class StormResults:
    samples: dict[str, list[StormSample]] = field(default_factory=dict)  # by kind of request


class StormRounds:
    def __init__(self, stack: Stack, workers: WorkerRounds, seconds: int) -> None:
        self.stack = stack
        self.workers = workers
        self.seconds = seconds
        self.port = stack.port(0)
        self.ids = write_product_ids(stack)
        self.results = StormResults()

    def measure(self, rounds: int) -> StormResults:
        self.workers.make_members(ROUND_OF_MEMBERS, MEMBERS)
        self.stack.dev("start", "member")  # records the sessions
        self.stack.dev("start", "edge")
        try:
            for what in REQUESTS:
                self._ask(what)
            for round_ in range(rounds):
                self._round(round_ + 1, rounds)
        finally:
            self.stack.dev("stop", "edge")
            self.stack.dev("stop", "member")
        return self.results

    def _round(self, round_: int, rounds: int) -> None:
        for what, name in REQUESTS.items():
            quiet = self._ask(what)
            with self._storm() as counts:
                storm = self._ask(what)
            sample = StormSample(quiet, storm, counts["logins"] / counts["seconds"], counts["refused"] / counts["seconds"])
            self.results.samples.setdefault(what, []).append(sample)
            say(f"round {round_} of {rounds}, {name}: quiet {quiet.p99_ms:.1f} ms, in a storm of "
                f"{sample.logins_per_second:,.0f} logins/s {storm.p99_ms:.1f} ms")

    def _ask(self, what: str) -> Sample:
        return ask(what, self.port, CONNECTIONS, self.seconds, self.ids, threads=1, pause_ms=REST_MS)

    @contextmanager
    def _storm(self) -> Iterator[dict[str, float]]:
        """Blows while the `with` runs; what came of it is known at its end."""
        counts: dict[str, float] = {}
        log = self.stack.log("storm")
        log.write_bytes(b"")
        storm = Process(log, "wrk", "-t1", f"-c{CLIENTS}", f"-d{GATHERING_S + self.seconds + 1}s", "--timeout",
                        f"{PATIENCE_S}s", "-s", HERE / "logins.lua", f"http://127.0.0.1:{self.port}", "--",
                        ROUND_OF_MEMBERS, MEMBERS, PASSWORD, PAUSE_MS)
        with storm:
            time.sleep(GATHERING_S)
            before = self._refused()
            yield counts
            if self._refused() == before:
                raise BenchError("the storm of logins did not fill the edge's password pool")
            try:
                storm.process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired as error:
                raise BenchError("the storm of logins does not end") from error
        counts.update(numbers(log.read_text()))
        counts["seconds"] = counts["duration"] / 1e6
        wrong = {name: int(counts[name]) for name in ("wrong", "connect", "read", "write", "timeout") if counts[name]}
        if wrong:  # that nobody got in is none: a full queue may outlast a short storm, and the table shows the rate
            raise BenchError(f"the storm of logins met errors: {wrong}")

    def _refused(self) -> int:
        return sum(read_metric(self.stack.port(EDGE_ADMIN), "tillwire_edge_passwords_refused_total").values())
