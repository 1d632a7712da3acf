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
READ_ANEW = "settings were read anew"
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


def is_ahead_by(stack: Stack, name: str, ahead_s: int) -> bool:
    """So its log says, where it last read its settings anew; what other threads say meanwhile may be older."""
    whole = stack.log(name).rpartition("\n")[0].splitlines()
    lines = [json.loads(line) for line in whole if READ_ANEW in line]
    if not lines:
        return False
    said = datetime.fromisoformat(lines[-1]["time"].replace("Z", "+00:00"))
    return abs((said - datetime.now(timezone.utc)).total_seconds() - ahead_s) < HOUR_S / 2


def says_it_jumped(stack: Stack, name: str, ahead_s: int) -> None:
    stack.reload(name, READ_ANEW)  # something to say
    wait_until(f"{name} is {ahead_s} s ahead", lambda: is_ahead_by(stack, name, ahead_s))


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
