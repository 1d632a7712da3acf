"""How programs are while they run: memory, descriptors, threads, and where the stores stand."""

import os
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import ids
from recorder import Recorder
from stack import Stack
from stores import Stores
from topics import Topics

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
    """I3: notes for judge.py where each store stands. Whoever takes something away from a store says so before; until
    all is back, it is not looked at."""

    def __init__(self, environment: dict[str, str], recorder: Recorder) -> None:
        self._stores = Stores(environment)
        self._topics = Topics(environment["TW_KAFKA"])
        self._recorder = recorder
        self._lock = threading.Lock()
        self._lost: set[str] = set()
        self._losses: Counter[str] = Counter()

    def close(self) -> None:
        self._stores.close()
        self._topics.close()

    def may_lose(self, domain: str) -> None:
        with self._lock:
            self._lost.add(domain)
            self._losses[domain] += 1
            self._recorder.note("restored", domain=domain)

    def all_is_back(self) -> None:
        with self._lock:
            self._lost.clear()

    def look(self) -> None:
        for domain in ids.DOMAINS:
            losses = self._losses[domain]
            try:
                committed = self._topics.committed(f"tillwire-{domain}", f"{domain}.commands")
                stored = self._stores.watermarks(domain)  # read after the other: it may only have grown meanwhile
            except Exception:  # whatever its client says when a server is away
                continue
            with self._lock:
                if domain not in self._lost and losses == self._losses[domain]:
                    self._recorder.note("marks", domain=domain, stored=stored, committed=committed)
