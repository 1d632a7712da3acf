"""Measures what the system survives on a throw-away stack, and writes a report. See README.md."""

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import paths  # noqa: F401  (the modules of tests/e2e are found from here on)

import hostile
import overload
import soak
from own_stack import OwnStack, build
from paper import Paper
from stack import ROOT, Stack

PARTS: dict[str, Callable[[Stack, argparse.Namespace, Paper], None]] = {
    "soak": soak.measure,
    "overload": overload.measure,
    "hostile": hostile.measure,
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests/soak/run", description=__doc__)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--minutes", type=float, default=30, help="of soak (30)")
    parser.add_argument("--every", type=float, default=20, metavar="SECONDS", help="between two faults of soak (20)")
    parser.add_argument("--rate", type=float, default=60, help="requests a second of soak (60)")
    parser.add_argument("--seconds", type=float, default=60, help="of overload (60); of a window of hostile a 30th")
    parser.add_argument("--turns", type=int, default=8, help="of hostile, each without and with rude clients (8)")
    parser.add_argument("--seed", type=int, default=int(os.environ.get("TW_SEED", "20261127")))
    parser.add_argument("--report", type=Path, help="the report's file (.local/soak/DATE-PART.md)")
    return parser.parse_args()


def report_file(asked: argparse.Namespace) -> Path:
    name = f"{time.strftime('%Y-%m-%d-%H%M%S')}-{asked.part}.md"
    file: Path = asked.report or ROOT / ".local" / "soak" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    return file


def leave(number: int, _: object) -> None:
    """A signal unwinds everything that is open; a second one must not cut that short."""
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)
    sys.exit(128 + number)


def main() -> int:
    asked = arguments()
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, leave)
    print(f"{asked.part}: seed {asked.seed}", flush=True)
    paper = Paper(f"{asked.part.capitalize()}, seed {asked.seed}")
    file = report_file(asked)
    try:
        own = OwnStack(build())
        with own as stack:
            PARTS[asked.part](stack, asked, paper)
            own.keeps_logs = bool(paper.broken)
    except BaseException as error:
        paper.promise(f"the run came to its end: {type(error).__name__}: {error}", False)
        raise
    finally:
        file.write_text(paper.text(), encoding="utf-8")
        print(f"\n{paper.text()}\n(also in {file})", flush=True)
    paper.tell()
    return 1 if paper.broken else 0


if __name__ == "__main__":
    sys.exit(main())
