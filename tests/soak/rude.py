"""Rude clients by the hundred, in a process and session of their own: Linux deals out processors by sessions, and what
rude clients take of them shall not be missing where healthy ones are measured."""

import asyncio
import multiprocessing
import os
import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from urllib.parse import urlsplit

import test_framing as bytes_of

EACH = 20  # clients of each kind
DRIP_S = 0.25
REST_S = 1.0  # of a rude client between two tries; the others are busy being slow
PATIENCE_S = 30.0
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")


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
class Tally:
    done: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        self.done += other.done
        self.wrong += other.wrong


class Clients:
    def __init__(self, url: str) -> None:
        self._url = url
        self.tally = Tally()

    async def _be_rude(self, rude: Rude) -> list[int]:
        at = urlsplit(self._url)
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
                    if rude.drip:
                        writer.write(rude.drip)
                    continue
                if not chunk:
                    return [int(status) for status in STATUS.findall(data)]
                data += chunk
            raise TimeoutError("it was not closed")
        except (BrokenPipeError, ConnectionResetError):  # it was still sending: no reason to lose what was said
            return [int(status) for status in STATUS.findall(data)]
        finally:
            writer.transport.abort()

    async def _again_and_again(self, name: str, rude: Rude, rest_s: float) -> None:
        while True:
            await asyncio.sleep(rest_s)
            try:
                statuses = await self._be_rude(rude)
            except OSError as error:
                self.tally.wrong.append(f"{name}: {error!r}")
            else:
                self.tally.done[name] += 1
                if statuses != rude.statuses:
                    self.tally.wrong.append(f"{name}: answered {statuses}, not {rude.statuses}")
            rest_s = REST_S

    async def until_told(self, orders: Connection) -> None:
        """Each begins at a time of its own. At the end all connections are broken off."""
        rests_s = [REST_S * n / EACH for n in range(EACH)]
        everyone = asyncio.gather(*(self._again_and_again(*kind, s) for kind in kinds().items() for s in rests_s))
        asyncio.get_running_loop().add_reader(orders.fileno(), everyone.cancel)
        with suppress(asyncio.CancelledError):
            await everyone


def _serve(orders: Connection, others_end: Connection) -> None:
    others_end.close()
    os.setsid()
    with suppress(EOFError):  # the other end was closed
        while True:
            clients = Clients(orders.recv())
            asyncio.run(clients.until_told(orders))
            orders.recv()
            orders.send(clients.tally)


class Crowds:
    """`with Crowds() as crowds`: the process runs. `with crowds.at(url)`: all kinds at once are rude to that edge."""

    def __init__(self) -> None:
        self.tally = Tally()

    def __enter__(self) -> "Crowds":
        self._orders, its_end = multiprocessing.Pipe()
        ends = (its_end, self._orders)
        self._process = multiprocessing.get_context("fork").Process(target=_serve, args=ends, daemon=True)
        self._process.start()
        its_end.close()
        return self

    @contextmanager
    def at(self, url: str) -> Iterator[None]:
        self._orders.send(url)
        try:
            yield
        finally:
            self._orders.send("enough")
            self.tally.add(self._orders.recv())

    def __exit__(self, *_: object) -> None:
        self._orders.close()
        self._process.join()
