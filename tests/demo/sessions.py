"""Shopping sessions as the OTTO recommender data set has them, read from a file or made up with the same shape:
one JSON object a line, {"session", "events": [{"aid", "ts", "type": "clicks|carts|orders"}]}."""

import bisect
import itertools
import json
import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

TYPES = ("clicks", "carts", "orders")
SHARES = (0.90, 0.08, 0.02)  # roughly what real ones have
BEGIN_MS = 1_659_304_800_000


@dataclass(frozen=True)
class Event:
    aid: int
    ts: int
    type: str


Session = list[Event]


def read(path: Path) -> list[Session]:
    sessions = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            events = [Event(int(e["aid"]), int(e["ts"]), str(e["type"])) for e in json.loads(line)["events"]]
        except (ValueError, KeyError, TypeError) as error:
            raise SystemExit(f"{path}:{number} is no session: {error}") from error
        if unknown := {event.type for event in events} - set(TYPES):
            raise SystemExit(f"{path}:{number} has events of the unknown type {', '.join(unknown)}")
        sessions.append(sorted(events, key=lambda event: event.ts))
    return sessions


def generate(count: int, seed: int, articles: int = 2000) -> list[Session]:
    """Few articles get most clicks (Zipf), few sessions are long; what goes into a cart was mostly clicked before."""
    dice = random.Random(seed)
    heights = list(itertools.accumulate(1 / rank for rank in range(1, articles + 1)))
    sessions = []
    for _ in range(count):
        at, clicked, events = BEGIN_MS + dice.randrange(86_400_000), [], Session()
        for _ in range(min(200, 2 + int(dice.paretovariate(0.9)))):
            at += 1 + int(dice.expovariate(1 / 60_000))
            kind = dice.choices(TYPES, SHARES)[0]
            aid = 1 + bisect.bisect(heights, dice.random() * heights[-1])
            if kind == "clicks":
                clicked.append(aid)
            elif clicked:
                aid = dice.choice(clicked)
            events.append(Event(aid, at, kind))
        sessions.append(events)
    return sessions


def first_events(sessions: list[Session], count: int) -> list[Session]:
    """As many of them, from the first on, as have `count` events; the last one may be cut."""
    taken = []
    for session in sessions:
        taken.append(session[:count])
        count -= len(taken[-1])
        if not count:
            return taken
    raise ValueError(f"{count} events are missing")


def count_types(sessions: list[Session]) -> Counter[str]:
    return Counter(event.type for session in sessions for event in session)
