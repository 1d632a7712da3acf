"""How programs are while they run: memory, descriptors, threads, and where the stores stand."""

import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import ids
from stack import Stack
from stores import Stores

MIB = 1 << 20


@dataclass(frozen=True)
class Vitals:
    at_s: float
    memory_bytes: int
    descriptors: int
    threads: int
    cpu_s: float


def vitals_of(pid: int) -> Vitals:
    process = Path(f"/proc/{pid}")
    words = (process / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return Vitals(
        at_s=time.monotonic(),
        memory_bytes=int(words[21]) * os.sysconf("SC_PAGE_SIZE"),
        descriptors=len(list((process / "fd").iterdir())),
        threads=int(words[17]),
        cpu_s=(int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK"),
    )


class Background:
    """Does something again and again while the block runs; what it could not do ends the run."""

    def __init__(self, look: Callable[[], None], every_s: float) -> None:
        self._look = look
        self._every_s = every_s
        self._stop = threading.Event()
        self._failed: list[BaseException] = []
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            while not self._stop.wait(self._every_s):
                self._look()
        except BaseException as error:  # told by the thread that waits
            self._failed.append(error)

    def __enter__(self) -> "Background":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if self._failed:
            raise self._failed[0]


class Watch:
    """Of all programs, by name and process."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.lives: dict[tuple[str, int], list[Vitals]] = defaultdict(list)

    def look(self) -> None:
        for name, pid in self._stack.pids().items():
            try:
                self.lives[name, pid].append(vitals_of(pid))
            except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
                continue

    def largest(self, kind: str) -> int:
        return max(v.memory_bytes for (name, _), life in self.lives.items() if name.startswith(kind) for v in life)


class Marks:
    """I3: a store's watermarks only rise, but for a store that lost something, which whoever takes it away says first."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._stores = Stores(environment)
        self._highest: dict[str, list[int]] = {}
        self._lock = threading.Lock()
        self._losses: dict[str, int] = defaultdict(int)
        self.looks = 0
        self.wrong: list[str] = []

    def close(self) -> None:
        self._stores.close()

    def may_lose(self, domain: str) -> None:
        with self._lock:
            self._losses[domain] += 1
            self._highest.pop(domain, None)

    def look(self) -> None:
        for domain in ids.DOMAINS:
            losses = self._losses[domain]
            try:
                marks = self._stores.watermarks(domain)
            except Exception:  # whatever its client says when a store is away
                continue
            with self._lock:
                if losses == self._losses[domain]:
                    self._compare(domain, marks)

    def _compare(self, domain: str, marks: list[int]) -> None:
        before = self._highest.get(domain, marks)
        self.wrong += [
            f"{domain} {p} went back from {high} to {mark}"
            for p, (high, mark) in enumerate(zip(before, marks, strict=True))
            if mark < high
        ]
        self._highest[domain] = marks
        self.looks += 1
