"""What docs/dead-letters.md says of dead letters, written a second time: which are open, which commands wait behind them,
and how operators' words end them. As of the record that is folded: what the log says later is not known yet."""

import uuid
from dataclasses import dataclass, field

from topics import Record

DROP_TYPE = "dead_letter.drop.v1"
REFUSED_BY_STORE = "refused_by_store"
PARKED = "parked"
PARKING = (REFUSED_BY_STORE, PARKED)  # the command could be read


@dataclass(frozen=True)
class Verdict:
    """One record that was given up."""

    reason: str
    first_offset: int
    attempts: int


@dataclass(frozen=True)
class Settlement:
    by_offset: int
    as_what: str
    at_ms: int


@dataclass
class Letter:
    """By its name, the offset that was given up first."""

    key: str | None = None  # that it parks
    settlement: Settlement | None = None


def number_in(record: Record, name: str, otherwise: int) -> int:
    """A header that is a whole number, whatever else the envelope says."""
    text = record.header(name) or ""
    return int(text) if text.isascii() and text.isdigit() else otherwise


def _key_of(record: Record) -> str | None:
    try:
        return str(uuid.UUID((record.key or b"").decode())) if record.key and len(record.key) == 36 else None
    except ValueError:
        return None


@dataclass
class Letters:
    """Of one partition."""

    letters: dict[int, Letter] = field(default_factory=dict)
    verdicts: dict[int, Verdict] = field(default_factory=dict)  # by the offset of the record

    def is_open(self, name: int) -> bool:
        letter = self.letters.get(name)
        return letter is not None and letter.settlement is None

    def is_parking(self, name: int) -> bool:
        return self.is_open(name) and self.letters[name].key is not None

    def parked_behind(self, key: str, name: int) -> bool:
        """Is an older dead letter of that key open, and could be read?"""
        return any(first < name and letter.key == key and not letter.settlement for first, letter in self._of(key))

    def _of(self, key: str) -> list[tuple[int, Letter]]:
        return [(first, letter) for first, letter in self.letters.items() if letter.key == key]

    def give_up(self, record: Record, reason: str) -> None:
        """A requeue that fails again keeps the name and the place."""
        named = number_in(record, "tw_requeue_of", -1)
        again = self.is_open(named)
        name = named if again else record.offset
        attempts = number_in(record, "tw_attempt", 2) if again else 1
        self.verdicts[record.offset] = Verdict(reason, name, attempts)
        letter = self.letters.setdefault(name, Letter())
        if reason in PARKING and letter.key is None:
            letter.key = _key_of(record)

    def settle(self, name: int, by_offset: int, as_what: str, at_ms: int) -> None:
        self.letters[name].settlement = Settlement(by_offset, as_what, at_ms)

    @property
    def settlements(self) -> dict[int, Settlement]:
        return {name: letter.settlement for name, letter in self.letters.items() if letter.settlement}


def is_letter(record: Record) -> bool:
    """Of a dead-letter topic; else it settles one."""
    return record.header("tw_dlq_offset") is not None


def refused_by_store(records: list[Record]) -> set[int]:
    """The one verdict that does not follow from the log: offsets the store would never have taken."""
    return {
        int(record.header("tw_dlq_offset") or -1)
        for record in records
        if is_letter(record) and record.header("tw_dlq_reason") == REFUSED_BY_STORE
    }
