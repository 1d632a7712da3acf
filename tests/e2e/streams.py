"""A client of /v1/events."""

import json
import queue
import socket
import threading
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from client import Client
from stack import wait_until


@dataclass
class Event:
    id: str
    type: str
    data: dict[str, Any]  # all of it: id, type, time, command_id, data


class Stream:
    """A client of one stream, as the specification of EventSource reads it."""

    def __init__(
        self, url: str, token: str = "", last_id: str = "", query: str = "", buffer: int = 0, reads: bool = True
    ) -> None:
        address = urlsplit(url)
        assert address.hostname and address.port
        self.socket = socket.socket()
        if buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.socket.settimeout(30)
        self.socket.connect((address.hostname, address.port))
        fields = [f"Host: {address.netloc}", "Accept: text/event-stream"]
        fields += [f"Authorization: Bearer {token}"] if token else []
        fields += [f"Last-Event-ID: {last_id}"] if last_id else []
        self.socket.sendall("\r\n".join([f"GET /v1/events{query} HTTP/1.1", *fields, "", ""]).encode())
        self._lines = self.socket.makefile("rb")
        self.status = int(self._lines.readline().split()[1])
        self.fields = httpx.Headers(
            [tuple(line.decode().rstrip().split(": ", 1)) for line in iter(self._lines.readline, b"\r\n")]
        )
        self.events: queue.Queue[Event] = queue.Queue()
        self.comments = 0
        self.last_id = last_id
        self.retry = 0
        self.ended = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        if self.status == 200 and reads:
            self._reader.start()

    def _read(self) -> None:
        block: dict[str, str] = {}
        try:
            for line in self._lines:
                self._take(line.decode().rstrip("\n"), block)
        except OSError:
            pass
        self.ended.set()

    def _take(self, line: str, block: dict[str, str]) -> None:
        if line:
            name, _, value = line.partition(": ")
            self.comments += 1 if line.startswith(":") else 0
            block[name] = value
            return
        self.retry = int(block.get("retry", self.retry))
        self.last_id = block.get("id", self.last_id)
        if "data" in block:
            self.events.put(Event(self.last_id, block["event"], json.loads(block["data"])))
        block.clear()

    def next(self, timeout_s: float = 10) -> Event:
        return self.events.get(timeout=timeout_s)

    def started(self) -> "Stream":
        """Once it has its first id, nothing that happens later is missed."""
        assert self.status == 200
        wait_until("the stream tells where it is", lambda: self.last_id)
        return self

    def types(self, count: int) -> list[str]:
        return [self.next().type for _ in range(count)]

    def must_be_quiet(self, seconds: float = 0.5) -> None:
        with pytest.raises(queue.Empty):
            event = self.next(seconds)
            raise AssertionError(f"told of {event}")

    def must_end(self, timeout_s: float = 60) -> None:
        """The tests' tokens live for longer, and so would a stream that nobody ends."""
        assert self.ended.wait(timeout_s), f"the stream is still open after {timeout_s} s"

    def close(self) -> None:
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        if self._reader.is_alive():
            self._reader.join(5)
        self._lines.close()
        self.socket.close()

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def stream_of(client: Client, **more: Any) -> Stream:
    return Stream(str(client.http.base_url), client.token, **more)
