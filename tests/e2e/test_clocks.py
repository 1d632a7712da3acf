"""The clocks of the workers jump under load, by an hour and a day, there and back. No store, event or outcome tells of it:
a partition's time is that of its records."""

import json
import os
import struct
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest

from client import Client, MixedLoad, Steadily
from contextlib import ExitStack
from faults import ALL, reported, seconds
from judge import Judged
from stack import WORKERS, Stack, wait_until
from topics import Topics

HOUR_S = 3600
JUMPS_S = (HOUR_S, 24 * HOUR_S, 0, *((-HOUR_S, 7 * 24 * HOUR_S, 0) if ALL else ()))


class Clock:
    """Of all programs that were started with its settings; see tests/lib/elsewhere.c."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.jump_to(0)
        self.settings = {
            "LD_PRELOAD": str(Path(os.environ["TW_BIN_DIR"]) / "elsewhere.so"),
            "ASAN_OPTIONS": "verify_asan_link_order=0",
            "ELSEWHERE_AHEAD_FILE": str(path),
        }

    def jump_to(self, ahead_s: int) -> None:
        with self._path.open("r+b" if self._path.exists() else "wb") as file:
            file.write(struct.pack("=q", ahead_s))


@pytest.fixture
def clock(healed: Stack, tmp_path: Path) -> Iterator[Clock]:
    clock = Clock(tmp_path / "ahead")
    healed.stop(*WORKERS)
    healed.start(*WORKERS, settings=clock.settings)
    yield clock
    clock.jump_to(0)
    healed.stop(*WORKERS)


def said_ahead_s(stack: Stack, name: str) -> float:
    """How far ahead of ours the last whole line of its log was written."""
    line = json.loads(stack.log(name).rpartition("\n")[0].splitlines()[-1])
    return (datetime.fromisoformat(line["time"].replace("Z", "+00:00")) - datetime.now(timezone.utc)).total_seconds()


def says_it_jumped(stack: Stack, name: str, ahead_s: int) -> None:
    stack.reload(name)  # something to say
    assert abs(said_ahead_s(stack, name) - ahead_s) < HOUR_S / 2


def test_a_clock_that_jumps_changes_nothing(
    healed: Stack, clock: Clock, merchant: Client, anyone: Client, topics: Topics, judged: Judged
) -> None:
    loads = {domain: MixedLoad(merchant, anyone, seed=20_265 + n) for n, domain in enumerate(WORKERS)}
    before = topics.ends()
    with reported("clocks of the workers jump") as report:
        with ExitStack() as running:
            for domain in WORKERS:
                running.enter_context(Steadily(loads[domain], domain))
            for ahead_s in JUMPS_S:
                clock.jump_to(ahead_s)
                for domain in WORKERS:
                    says_it_jumped(healed, domain, ahead_s)
                time.sleep(seconds(0.5, 20))
                report.cycles += 1
        for domain in WORKERS:
            wait_until(f"{domain} goes on", lambda d=domain: healed.is_ready(d), 40)
        with report.recovery():
            judged()
        report.commands = sum(topics.ends().values()) - sum(before.values())
    healed.twctl("verify", "all", "--against-log")
