"""Views over HTTP: tillwire's edge beside a bare civetweb handler and a Go service, one after the other in each round."""

import re
import socket
from contextlib import ExitStack
from dataclasses import dataclass, field

from stack import PEER_PORT, BenchError, Process, Stack, say
from wrk import Sample, ask, write_product_ids

LINGERS = ("0", "500us", "1ms")  # the Go service is measured with what suits it best at each number of connections
TOPIC_OF_PEER = "bench.commands"
WARM_S = 2
FLOOR, PEER, OURS = "bare civetweb", "Go", "tillwire"


@dataclass
class HttpResults:
    samples: dict[tuple[int, str], list[Sample]] = field(default_factory=dict)  # by connections and system
    linger: dict[int, str] = field(default_factory=dict)  # the Go service's, by connections

    def add(self, connections: int, system: str, sample: Sample) -> None:
        self.samples.setdefault((connections, system), []).append(sample)


def one_answer(port: int, product: str) -> bytes:
    """What the edge says to a view, byte for byte."""
    request = f"POST /v1/products/{product}/views HTTP/1.1\r\nHost: bench\r\nContent-Length: 0\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(request.encode())
        answer = b""
        while True:
            answer += connection.recv(4096)
            head, blank, body = answer.partition(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
            if blank and length and len(body) >= int(length[1]):
                break
    if not answer.startswith(b"HTTP/1.1 202 "):
        raise BenchError(f"the edge did not accept a view: {answer[:200]!r}")
    return answer


class HttpRounds:
    def __init__(self, stack: Stack, seconds: int, connections: list[int]) -> None:
        self.stack = stack
        self.seconds = seconds
        self.connections = connections
        self.results = HttpResults()
        self.ids = write_product_ids(stack)
        self.edge_port = stack.port(0)
        self.floor_port = stack.port(PEER_PORT)
        self.go_ports = {linger: stack.port(PEER_PORT + 1 + i) for i, linger in enumerate(LINGERS)}

    def measure(self, rounds: int) -> HttpResults:
        self.stack.dev("start", "edge")
        try:
            with ExitStack() as processes:
                self._start_others(processes, one_answer(self.edge_port, self.ids.read_text().split()[0]))
                self._choose_lingers()
                for round_ in range(rounds):
                    self._round(round_ + 1, rounds)
        finally:
            self.stack.dev("stop", "edge")
        return self.results

    def _start_others(self, processes: ExitStack, answer: bytes) -> None:
        file = self.stack.state / "answer"
        file.write_bytes(answer)
        bare = Process(self.stack.log("bare-civetweb"), self.stack.bin / "bench_bare_civetweb", self.floor_port, file)
        processes.enter_context(bare).wait_port(self.floor_port)
        for linger, port in self.go_ports.items():
            peer = Process(self.stack.log(f"go-edge-{linger}"), self.stack.peers / "edge", "-listen", f"127.0.0.1:{port}",
                           "-brokers", self.stack.settings["TW_KAFKA"], "-topic", TOPIC_OF_PEER,
                           "-partitions", self.stack.partitions, "-linger", linger)
            processes.enter_context(peer).wait_port(port)

    def _choose_lingers(self) -> None:
        for port in (self.floor_port, self.edge_port, *self.go_ports.values()):
            self._wrk(port, max(self.connections), WARM_S)
        for connections in self.connections:
            tried = {linger: self._wrk(port, connections, max(1, self.seconds // 2)).per_second
                     for linger, port in self.go_ports.items()}
            best = max(tried, key=lambda linger: tried[linger])
            self.results.linger[connections] = best
            say(f"Go edge at {connections} connections is best with linger {best}: "
                + ", ".join(f"{linger} {rate:,.0f}/s" for linger, rate in tried.items()))

    def _round(self, round_: int, rounds: int) -> None:
        for connections in self.connections:
            systems = ((FLOOR, self.floor_port, None),
                       (PEER, self.go_ports[self.results.linger[connections]], TOPIC_OF_PEER),
                       (OURS, self.edge_port, "product.commands"))
            said = []
            for system, port, topic in systems:
                sample = self._wrk(port, connections, self.seconds, topic)
                self.results.add(connections, system, sample)
                said.append(f"{system} {sample.per_second:,.0f}/s ({sample.p99_ms:.1f} ms)")
            say(f"round {round_} of {rounds}, {connections} connections: " + ", ".join(said))

    def _wrk(self, port: int, connections: int, seconds: int, topic: str | None = None) -> Sample:
        before = sum(self.stack.ends(topic)) if topic else 0
        sample = ask("views", port, connections, seconds, self.ids)
        if topic:
            self._check_log(sum(self.stack.ends(topic)) - before, sample.requests, connections, topic)
        return sample

    @staticmethod
    def _check_log(written: int, accepted: int, connections: int, topic: str) -> None:
        """Each 202 is one record; what was in flight when wrk left may be one more each."""
        if not accepted <= written <= accepted + connections:
            raise BenchError(f"{accepted} views were accepted, but {written} records are new in {topic}")
