"""What was asked and what came back, a JSON line each, for judge.py. Several threads and processes may write to one file:
a line is appended whole. A request's line is there before anything is sent, so whatever ends in between is known to have
been asked. The file holds passwords and tokens as they were sent, and is its owner's alone.

    began     `ends`: where the topics ended, `logs`: how long the programs' logs were; what is judged begins here
    asked     `n` `method` `path` `fields` `body`: one request
    answered  `n` `status` `fields` `body`
    failed    `n` `error`: there was no answer
    sample    a program's memory, descriptors, threads, processor time and metrics; `rest`: nobody asked for anything
    marks     watermarks of a domain's store, and the offsets that Kafka keeps
    restored  `domain`: its store was emptied or put back on purpose, so its watermarks may go back
"""

import base64
import itertools
import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

ASKED = ("authorization", "idempotency-key", "prefer", "if-match", "if-none-match", "consistency-token", "content-type")
ANSWERED = ("location", "retry-after", "consistency-token", "idempotent-replayed", "preference-applied", "etag",
            "content-type", "consistency")  # fmt: skip
STREAM = "text/event-stream"


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def as_text(content: bytes) -> str | dict[str, str]:
    """As it is, or in base64 when it is no UTF-8."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(content).decode()}


def as_bytes(text: str | dict[str, str] | None) -> bytes:
    return base64.b64decode(text["base64"]) if isinstance(text, dict) else (text or "").encode()


def _picked(fields: httpx.Headers, names: tuple[str, ...]) -> dict[str, str]:
    return {name: fields[name] for name in names if name in fields}


class Recorder:
    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._numbers = itertools.count(1)

    def close(self) -> None:
        os.close(self._file)

    def note(self, kind: str, /, **what: Any) -> None:
        line = json.dumps({"at": now_ms(), "kind": kind, **what}, ensure_ascii=False, separators=(",", ":"))
        content = line.encode() + b"\n"
        written = os.write(self._file, content)
        assert written == len(content), f"{self.path} took {written} of {len(content)} bytes"

    def begin(self, ends: dict[tuple[str, int], int], logs: Path | None = None) -> None:
        """Where something is not given, all of it is judged, whoever it is of."""
        sizes = {log.name: log.stat().st_size for log in logs.glob("*.log")} if logs else {}
        self.note("began", ends={f"{topic}/{partition}": end for (topic, partition), end in ends.items()}, logs=sizes)

    def ask(self, method: str, path: str, fields: httpx.Headers, body: bytes) -> str:
        """The request's number, for whoever tells what became of it."""
        number = f"{os.getpid()}-{next(self._numbers)}"
        self.note("asked", n=number, method=method, path=path, fields=_picked(fields, ASKED), body=as_text(body))
        return number

    def answer(self, number: str, status: int, fields: httpx.Headers, body: bytes) -> None:
        self.note("answered", n=number, status=status, fields=_picked(fields, ANSWERED), body=as_text(body))

    def fail(self, number: str, error: BaseException) -> None:
        self.note("failed", n=number, error=f"{type(error).__name__}: {error}")

    def transport(self, inner: httpx.BaseTransport) -> httpx.BaseTransport:
        """For clients of httpx: whatever passes it is noted."""
        return _Recording(inner, self)


class _Recording(httpx.BaseTransport):
    def __init__(self, inner: httpx.BaseTransport, recorder: Recorder) -> None:
        self._inner = inner
        self._recorder = recorder

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        path = request.url.raw_path.decode("ascii", "replace")
        number = self._recorder.ask(request.method, path, request.headers, request.read())
        try:
            response = self._inner.handle_request(request)
            # A stream ends when its reader wants it to.
            body = b"" if response.headers.get("content-type", "").startswith(STREAM) else response.read()
        except BaseException as error:
            self._recorder.fail(number, error)
            raise
        self._recorder.answer(number, response.status_code, response.headers, body)
        return response

    def close(self) -> None:
        self._inner.close()


# --- programs


def sample_of(pid: int) -> dict[str, Any]:
    """What the kernel says of a process; memory is what is resident."""
    process = Path(f"/proc/{pid}")
    status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines() if ":" in line)
    times = (process / "stat").read_text().rpartition(")")[2].split()
    return {
        "pid": pid,
        "memory_bytes": int(status["VmRSS"].split()[0]) * 1024,
        "threads": int(status["Threads"]),
        "descriptors": len(list((process / "fd").iterdir())),
        "cpu_s": (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK"),
        "sanitized": "libasan" in (process / "maps").read_text(),
    }


def metrics_of(text: str) -> dict[str, float]:
    """Those of /metrics that tell of queues and what is under way; labels are added up."""
    wanted = ("tillwire_edge_queue_percent", "http_server_active_requests", "tillwire_edge_connections",
              "tillwire_edge_passwords_waiting", "tillwire_edge_streams")  # fmt: skip
    found: dict[str, float] = {}
    for line in text.splitlines():
        name, _, value = line.rpartition(" ")
        if name.partition("{")[0] in wanted:
            found[name.partition("{")[0]] = found.get(name.partition("{")[0], 0.0) + float(value)
    return found


class Sampler:
    """Notes all the time how the programs are. `look` notes once; it may find a program gone, which is no matter here."""

    def __init__(self, look: Callable[[], None], every_s: float = 0.5) -> None:
        self._look = look
        self._every_s = every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._failed: BaseException | None = None

    def _run(self) -> None:
        try:
            while not self._stop.wait(self._every_s):
                self._look()
        except BaseException as error:
            self._failed = error

    def __enter__(self) -> "Sampler":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if self._failed:
            raise self._failed
