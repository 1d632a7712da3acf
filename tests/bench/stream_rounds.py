"""Open streams of events, waiting and idle clients: what they do to writes and to a new request on the same edge."""

import json
import selectors
import socket
import threading
import time
import urllib.request
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Iterator

from stack import BenchError, Stack, product_id, read_metric, say
from storm_rounds import EDGE_ADMIN, PASSWORD
from worker_rounds import WorkerRounds
from wrk import Sample, ask, write_product_ids

STREAMS = 1000
EACH = 500  # waiting, streaming and idle clients beside a new request
PER_MEMBER = 8  # streams; what the edge lets one member have
CONNECTIONS = 64  # of the views that are written beside streams
NEWCOMERS, REST_MS = 16, 20  # clients that connect anew for each request, and how long they rest before it
ROUND_OF_MEMBERS = 1002  # of load.c: nobody else's
MEMBERS = STREAMS // PER_MEMBER
WAIT_S = 10  # what the contract lets a client ask for
GATHERING_S = 10  # until all of them are there
CASES = {"streams": f"views, {STREAMS:,} streams", "crowd": f"new request, {EACH} of each"}


@dataclass
class StreamSample:
    alone: Sample
    beside: Sample


@dataclass
class StreamResults:
    samples: dict[str, list[StreamSample]] = field(default_factory=dict)  # by case
    kbytes_per_stream: list[float] = field(default_factory=list)


class StreamRounds:
    def __init__(self, stack: Stack, workers: WorkerRounds, seconds: int) -> None:
        self.stack = stack
        self.workers = workers
        self.seconds = seconds
        self.port = stack.port(0)
        self.ids = write_product_ids(stack)
        self.tokens: list[str] = []
        self.results = StreamResults()

    def measure(self, rounds: int) -> StreamResults:
        self.workers.make_members(ROUND_OF_MEMBERS, MEMBERS)
        self.stack.dev("start", "member")
        self.stack.dev("start", "product")  # views become events, which every edge reads
        self.stack.dev("start", "edge")
        try:
            self.tokens = [self._log_in(i) for i in range(MEMBERS)]
            self._views()
            for round_ in range(rounds):
                self._round(round_ + 1, rounds)
        finally:
            for program in ("edge", "product", "member"):
                self.stack.dev("stop", program)
        return self.results

    def _log_in(self, number: int) -> str:
        body = {"email": f"person.{ROUND_OF_MEMBERS}.{number}@example.com", "password": PASSWORD}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/v1/auth/login", json.dumps(body).encode(),
                                         {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return str(json.load(answer)["access_token"])

    def _round(self, round_: int, rounds: int) -> None:
        alone = self._views()
        before_kbytes = self._resident_kbytes()
        with ExitStack() as clients:
            clients.enter_context(self._streams(STREAMS))
            self.results.kbytes_per_stream.append((self._resident_kbytes() - before_kbytes) / STREAMS)
            self._add("streams", StreamSample(alone, self._views()))
        alone = self._newcomers()
        with ExitStack() as clients:
            clients.enter_context(self._streams(EACH))
            clients.enter_context(self._idle(EACH))
            clients.enter_context(self._waiting(EACH))
            self._add("crowd", StreamSample(alone, self._newcomers()))
        said = ", ".join(f"{CASES[case]}: p99 {samples[-1].alone.p99_ms:.1f} ms alone, {samples[-1].beside.p99_ms:.1f} ms "
                         "beside them" for case, samples in self.results.samples.items())
        say(f"round {round_} of {rounds}, {said}")

    def _add(self, case: str, sample: StreamSample) -> None:
        self.results.samples.setdefault(case, []).append(sample)

    def _views(self) -> Sample:
        return ask("views", self.port, CONNECTIONS, self.seconds, self.ids)

    def _newcomers(self) -> Sample:
        """Shorter than a wait, so that all who wait do so to its end."""
        return ask("views", self.port, NEWCOMERS, min(self.seconds, WAIT_S // 2), self.ids, threads=1, pause_ms=REST_MS,
                   anew=True)

    # --- who is there besides

    def _send(self, sockets: list[socket.socket], head: str, body: str = "") -> None:
        connection = socket.create_connection(("127.0.0.1", self.port), 10)
        connection.sendall(f"{head}\r\nHost: bench\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        sockets.append(connection)

    @contextmanager
    def _streams(self, count: int) -> Iterator[None]:
        sockets: list[socket.socket] = []
        try:
            for i in range(count):
                self._send(sockets, f"GET /v1/events HTTP/1.1\r\nAuthorization: Bearer {self.tokens[i // PER_MEMBER]}")
            self._await("tillwire_edge_streams", count)
            yield
            self._await("tillwire_edge_streams", count)
        finally:
            self._leave(sockets)
        self._await("tillwire_edge_streams", 0, exactly=True)

    @contextmanager
    def _waiting(self, count: int) -> Iterator[None]:
        """For outcomes that do not come, because no worker of carts runs."""
        sockets: list[socket.socket] = []
        body = json.dumps({"product_id": product_id("BENCH-0000"), "quantity": 1})
        connections = self._metric("tillwire_edge_connections")
        try:
            for i in range(count):
                self._send(sockets, "POST /v1/cart/items HTTP/1.1\r\nContent-Type: application/json\r\n"
                           f"Prefer: wait={WAIT_S}\r\nAuthorization: Bearer {self.tokens[i % MEMBERS]}", body)
            self._await("tillwire_edge_connections", connections + count)
            yield
            readable = selectors.DefaultSelector()
            for connection in sockets:
                readable.register(connection, selectors.EVENT_READ)
            answered = len(readable.select(0))
            if answered:
                raise BenchError(f"{answered} of {count} clients did not wait as long as they should")
        finally:
            self._leave(sockets)

    @contextmanager
    def _idle(self, count: int) -> Iterator[None]:
        """Connections without a request. The edge closes them after some seconds; they come back at once."""
        stop = threading.Event()
        keeper = threading.Thread(target=self._keep_idle, args=(count, stop), daemon=True)
        connections = self._metric("tillwire_edge_connections")
        keeper.start()
        try:
            self._await("tillwire_edge_connections", connections + count)
            yield
        finally:
            stop.set()
            keeper.join()

    def _keep_idle(self, count: int, stop: threading.Event) -> None:
        readable = selectors.DefaultSelector()
        for _ in range(count):
            readable.register(socket.create_connection(("127.0.0.1", self.port), 10), selectors.EVENT_READ)
        while not stop.is_set():
            for key, _ in readable.select(0.2):  # its end
                readable.unregister(key.fileobj)
                self._leave([key.fileobj])
                readable.register(socket.create_connection(("127.0.0.1", self.port), 10), selectors.EVENT_READ)
        self._leave([key.fileobj for key in list(readable.get_map().values())])

    @staticmethod
    def _leave(sockets: list[socket.socket]) -> None:
        for connection in sockets:
            connection.close()

    # --- what the edge says of them

    def _metric(self, name: str) -> int:
        return sum(read_metric(self.stack.port(EDGE_ADMIN), name).values())

    def _resident_kbytes(self) -> float:
        return self._metric("process_resident_memory_bytes") / 1024

    def _await(self, name: str, count: int, exactly: bool = False) -> None:
        deadline = time.monotonic() + GATHERING_S
        while (found := self._metric(name)) < count or (exactly and found != count):
            if time.monotonic() > deadline:
                raise BenchError(f"{name} is {found}, not {count}")
            time.sleep(0.05)
