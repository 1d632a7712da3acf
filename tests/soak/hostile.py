"""Rude clients by the hundred beside healthy ones, in turns with none: each rude one gets the right answer and is sent
away, and the healthy ones do not notice."""

import argparse
import asyncio
import re
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from statistics import median
from urllib.parse import urlsplit

import test_framing as bytes_of
from client import Client
from paper import Paper
from stack import PROGRAMS, Stack
from streams import Stream
from vitals import vitals_of
from wrk_load import Answers, Crowd

EACH = 20  # clients of each kind
STREAMS, PER_MEMBER = 96, 8
DRIP_S = 0.25
REST_S = 1.0  # of a rude client between two tries; the others are busy being slow
PATIENCE_S = 30.0
GATHER_S = 3.0
HEALTHY, PAUSE_MS = 32, 20
PRODUCTS = 20
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
TENTH = 1.10


@dataclass(frozen=True)
class Rude:
    """Sends `start`, then `drip` again and again until the edge closes."""

    start: bytes
    statuses: list[int]
    drip: bytes = b""
    half_close: bool = False


def kinds() -> dict[str, Rude]:
    get, host, last, post = bytes_of.GET, bytes_of.HOST, bytes_of.LAST, bytes_of.POST
    body = post + b"Content-Length: 60000\r\n\r\n"
    te_and_cl = post + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    return {
        "slow head": Rude(get + b"X: ", [408], b"a"),
        "body by the byte": Rude(body, [408], b" "),
        "body that stops": Rude(body + b"{", [408]),
        "says nothing": Rude(b"", []),
        "half-close in its body": Rude(post + b"Content-Length: 9\r\n\r\n{}", [400], half_close=True),
        "twenty ahead": Rude((get + host + b"\r\n") * 19 + last, [200] * 20),
        "large field": Rude(bytes_of.with_field(b"X-A: " + b"x" * 9000), [431]),
        "long URI": Rude(bytes_of.line(b"GET /v1/categories?a=" + b"x" * 3000 + b" HTTP/1.1"), [414]),
        "large body": Rude(bytes_of.sized(b"{}" + b" " * 65_535), [413]),
        "TE and CL": Rude(te_and_cl, [400]),
        "two CLs": Rude(post + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", [400]),
        "bare LF": Rude(bytes_of.FIELDS["one bare LF"], [400]),
        "NUL": Rude(bytes_of.REQUEST_LINES["a NUL in the path"], [400]),
    }


@dataclass
class Crowds:
    """All kinds at once, in a thread of their own, while the block runs. At its end each finishes what it has begun."""

    url: str
    done: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    async def _be_rude(self, rude: Rude) -> list[int]:
        at = urlsplit(self.url)
        reader, writer = await asyncio.open_connection(at.hostname, at.port)
        data, began = b"", time.monotonic()
        try:
            writer.write(rude.start)
            if rude.half_close:
                writer.write_eof()
            while time.monotonic() - began < PATIENCE_S:
                try:
                    chunk = await asyncio.wait_for(reader.read(65_536), DRIP_S)
                except asyncio.TimeoutError:
                    writer.write(rude.drip)
                    continue
                if not chunk:
                    return [int(status) for status in STATUS.findall(data)]
                data += chunk
            raise TimeoutError("it was not closed")
        except (BrokenPipeError, ConnectionResetError):  # it was still sending: no reason to lose what was said
            return [int(status) for status in STATUS.findall(data)]
        finally:
            writer.close()

    async def _again_and_again(self, name: str, rude: Rude) -> None:
        while not self._stop.is_set():
            try:
                statuses = await self._be_rude(rude)
            except OSError as error:
                self.wrong.append(f"{name}: {error!r}")
            else:
                self.done[name] += 1
                if statuses != rude.statuses:
                    self.wrong.append(f"{name}: answered {statuses}, not {rude.statuses}")
            await asyncio.sleep(REST_S)

    async def _all(self) -> None:
        await asyncio.gather(*(self._again_and_again(*kind) for kind in kinds().items() for _ in range(EACH)))

    def __enter__(self) -> "Crowds":
        self._stop.clear()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._all()))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def deaf_streams(url: str, tokens: list[str]) -> list[Stream]:
    """Open, and never read."""
    return [Stream(url, tokens[n // PER_MEMBER], buffer=2048, reads=False) for n in range(STREAMS)]


class Hostile:
    def __init__(self, stack: Stack, seconds: float) -> None:
        self.stack = stack
        self.url = stack.url("edge")
        self.seconds = seconds
        token = stack.twctl("token", "issue", "--scope", "products:write", "--name", "hostile").strip()
        client = Client(self.url, token=token)
        self.products = [client.new_product() for _ in range(PRODUCTS)]
        self.tokens = [client.new_member().access_token for _ in range(STREAMS // PER_MEMBER)]
        client.close()
        self.crowds = Crowds(self.url)
        self.alone: list[Answers] = []
        self.beside: list[Answers] = []
        self.alone_cpu: list[float] = []  # the edge's, of one processor
        self.beside_cpu: list[float] = []

    def _healthy(self, answers: list[Answers], cpu: list[float]) -> None:
        edge = self.stack.pids()["edge"]
        before = vitals_of(edge)
        answers.append(Crowd(self.stack.state, self.url, self.products, HEALTHY, self.seconds, PAUSE_MS).answers())
        after = vitals_of(edge)
        cpu.append((after.cpu_s - before.cpu_s) / (after.at_s - before.at_s))

    def window(self) -> None:
        """Without, then with them."""
        self._healthy(self.alone, self.alone_cpu)
        streams = deaf_streams(self.url, self.tokens)
        statuses = Counter(stream.status for stream in streams)
        assert set(statuses) == {200}, f"streams were answered {dict(statuses)}"
        with self.crowds:
            time.sleep(GATHER_S)
            self._healthy(self.beside, self.beside_cpu)
        for stream in streams:
            stream.close()

    def wrong(self) -> list[str]:
        """What healthy clients met."""
        return [
            f"{dict(one.statuses)}, {one.broken} broken"
            for one in (*self.alone, *self.beside)
            if set(one.statuses) != {202} or one.broken
        ]


def measure(stack: Stack, asked: argparse.Namespace, paper: Paper) -> None:
    run(stack, asked.seconds / 10, asked.windows, paper)


def run(stack: Stack, seconds: float, windows: int, paper: Paper) -> None:
    stack.start(*PROGRAMS)
    hostile = Hostile(stack, seconds)
    for _ in range(windows):
        hostile.window()
    stack.end()
    paper.heading("Rude clients")
    crowd = EACH * len(kinds())
    paper.line(f"{crowd} rude clients and {STREAMS} streams that nobody reads, beside {HEALTHY} healthy clients.")
    paper.line("")
    paper.table(("kind", "times"), sorted(hostile.crowds.done.items()))
    paper.line("")
    wrong = hostile.crowds.wrong
    paper.promise(
        f"{hostile.crowds.done.total()} rude exchanges, {len(wrong)} answered or ended otherwise {wrong[:3] or ''}",
        not wrong and set(hostile.crowds.done) == set(kinds()),
    )
    paper.promise(f"healthy clients got nothing but 202 {hostile.wrong()[:3] or ''}", not hostile.wrong())
    tell_p99(paper, hostile)


def tell_p99(paper: Paper, hostile: Hostile) -> None:
    """The promise is a tenth; how far windows without anybody differ says what this machine can tell."""
    alone = sorted(one.p99_ms for one in hostile.alone)
    beside = sorted(one.p99_ms for one in hostile.beside)
    ratio = median(beside) / median(alone)
    halves = median(one.p50_ms for one in hostile.beside) / median(one.p50_ms for one in hostile.alone)
    paper.line(
        f"p99 of healthy clients: {median(alone):.2f} ms alone ({alone[0]:.2f} to {alone[-1]:.2f} in {len(alone)} "
        f"windows), {median(beside):.2f} ms beside them ({beside[0]:.2f} to {beside[-1]:.2f}): ratio {ratio:.2f}; "
        f"medians: ratio {halves:.2f}.",
        told=True,
    )
    paper.line(
        f"The edge took {median(hostile.alone_cpu):.0%} of a processor for them alone, "
        f"{median(hostile.beside_cpu):.0%} for them and the rude ones.",
        told=True,
    )
    paper.promise(
        "healthy clients' p99 is within a tenth of what it is alone, or of the largest of its windows alone",
        median(beside) <= TENTH * alone[-1],
    )
