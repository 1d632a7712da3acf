"""From a client's request until its effect can be read: tillwire's chain beside Go's, at a constant rate."""

import json
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from stack import PEER_PORT, BenchError, Process, Stack, numbers, product_id, run, say
from storm_rounds import PASSWORD
from worker_rounds import WorkerRounds

RATE = 1000  # additions a second
LINES = 10  # products, and so lines of a cart
WATCHED, OTHERS = 50, 100  # members
ROUND_OF_MEMBERS = 1001  # of load.c: nobody else's
TOPIC_OF_PEER = "bench.carts"
PORT_OF_PEER = PEER_PORT + 10
PEER_BATCH = 1000
WARM_S = 3
PEER, OURS = "Go", "tillwire"


@dataclass
class VisibleSample:
    accept_p50_ms: float
    accept_p99_ms: float
    p50_ms: float
    p99_ms: float


@dataclass
class VisibleResults:
    samples: dict[str, list[VisibleSample]] = field(default_factory=dict)  # by system

    def add(self, system: str, sample: VisibleSample) -> None:
        self.samples.setdefault(system, []).append(sample)


class VisibleRounds:
    def __init__(self, stack: Stack, workers: WorkerRounds, seconds: int) -> None:
        self.stack = stack
        self.workers = workers
        self.seconds = seconds
        self.results = VisibleResults()
        self.products = stack.state / "visible-products"
        self.products.write_text("".join(product_id(f"BENCH-{i:04d}") + "\n" for i in range(LINES)))

    def measure(self, rounds: int) -> VisibleResults:
        self.workers.make_members(ROUND_OF_MEMBERS, WATCHED + OTHERS)
        self.stack.dev("start", "edge")
        try:
            members = self._log_in()
            with ExitStack() as processes:
                self._start_peer_edge(processes)
                self._in_turns(members, 0, 1, WARM_S)
                for round_ in range(1, rounds + 1):
                    self._in_turns(members, round_, rounds, self.seconds)
        finally:
            self.stack.dev("stop", "edge")
        return self.results

    def _log_in(self) -> Path:
        """Access tokens live ten minutes, which is more than this part takes."""
        self.stack.dev("start", "member")
        try:
            sessions = [self._session(f"person.{ROUND_OF_MEMBERS}.{i}@example.com") for i in range(WATCHED + OTHERS)]
        finally:
            self.stack.dev("stop", "member")
        file = self.stack.state / "visible-members"
        file.touch(0o600)
        file.write_text("".join(f"{session['access_token']} {session['member_id']}\n" for session in sessions))
        return file

    def _session(self, email: str) -> dict:
        request = urllib.request.Request(f"http://127.0.0.1:{self.stack.port(0)}/v1/auth/login",
                                         json.dumps({"email": email, "password": PASSWORD}).encode(),
                                         {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def _start_peer_edge(self, processes: ExitStack) -> None:
        settings = self.stack.settings
        port = self.stack.port(PORT_OF_PEER)
        edge = Process(self.stack.log("go-edge-carts"), self.stack.peers / "edge", "-listen", f"127.0.0.1:{port}",
                       "-brokers", settings["TW_KAFKA"], "-partitions", self.stack.partitions, "-carts", TOPIC_OF_PEER,
                       "-catalogue", settings["TW_MONGO_URI"])
        processes.enter_context(edge).wait_port(port)

    def _in_turns(self, members: Path, round_: int, rounds: int, seconds: int) -> None:
        """Round 0 warms up."""
        samples = {PEER: self._peer(members, seconds), OURS: self._ours(members, seconds)}
        if round_:
            for system, sample in samples.items():
                self.results.add(system, sample)
            say(f"round {round_} of {rounds}, accepted to visible: "
                + ", ".join(f"{system} {s.p50_ms:.1f} ms, p99 {s.p99_ms:.1f} ms" for system, s in samples.items()))

    def _peer(self, members: Path, seconds: int) -> VisibleSample:
        begin = ",".join(map(str, self.stack.ends(TOPIC_OF_PEER)))
        worker = Process(self.stack.log("go-worker-carts"), self.stack.peers / "worker", "-store", "redis", "-uri",
                         self.stack.settings["TW_REDIS_URI"], "-brokers", self.stack.settings["TW_KAFKA"], "-topic",
                         TOPIC_OF_PEER, "-from", begin, "-follow", "-batch", PEER_BATCH)
        with worker:
            return self._drive(self.stack.port(PORT_OF_PEER), "bench:cart:", members, seconds)

    def _ours(self, members: Path, seconds: int) -> VisibleSample:
        self.stack.dev("start", "cart")
        try:
            return self._drive(self.stack.port(0), "cart:", members, seconds)
        finally:
            self.stack.dev("stop", "cart")

    def _drive(self, port: int, prefix: str, members: Path, seconds: int) -> VisibleSample:
        self._ask_once(port, prefix, members)
        result = self._run_driver(port, prefix, members, RATE, seconds)
        if result["wrong"] or result["lost"]:
            raise BenchError(f"of {result['accepted']:.0f} additions to port {port}, {result['wrong']:.0f} were not "
                             f"accepted and {result['lost']:.0f} never seen in the store")
        return VisibleSample(result["accept_p50"], result["accept_p99"], result["p50"], result["p99"])

    def _ask_once(self, port: int, prefix: str, members: Path) -> None:
        """A worker that has just started joins its group first."""
        self._run_driver(port, prefix, members, 5, 2, "-sample", 1)

    def _run_driver(self, port: int, prefix: str, members: Path, rate: int, seconds: int, *more: object) -> dict:
        return numbers(run(self.stack.peers / "visible", "-url", f"http://127.0.0.1:{port}", "-members", members,
                           "-products", self.products, "-redis", self.stack.settings["TW_REDIS_URI"], "-prefix", prefix,
                           "-rate", rate, "-seconds", seconds, "-watched", WATCHED, *more))
