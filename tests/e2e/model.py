"""What the command log means, folded a second time in plain Python: the turn of a record here, the rules of the
domains in rules.py. The checker compares stores, events and dead letters with it, so nothing in it may be learnt from
them: only from the log, the schemas and the written rules.
"""

import re
import uuid
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import ids
from decisions import Outcome, PendingCommand, rejected
from messages import COMMANDS, TOPICS, Malformed, read_command
from rules import State
from topics import Record, Topics

TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)")
LAST_VERSION = re.compile(r"\.[^.]*$")
LEDGER_LIFE_MS = 24 * 60 * 60 * 1000
GIVEN_UP = Outcome("dead_lettered", 500, "dead-lettered")
KEY_REUSED = rejected(422, "idempotency-key-reused")


def time_text(ms: int) -> str:
    seconds = datetime.fromtimestamp(ms // 1000, timezone.utc)
    return f"{seconds:%Y-%m-%dT%H:%M:%S}.{ms % 1000:03}Z"


def time_ms(text: str) -> int:
    at = datetime.fromisoformat(text.upper().replace("Z", "+00:00"))
    return int(at.replace(microsecond=0).timestamp()) * 1000 + at.microsecond // 1000


@dataclass(frozen=True)
class Event:
    """One that must be published. `detail` of outcomes is for people and not compared."""

    id: str
    type: str
    key: str
    cause_offset: int
    n: int
    command_id: str
    time: str
    body: dict[str, Any]


@dataclass
class Row:
    """What the ledger remembers."""

    type: str
    fingerprint: str
    caller: str | None
    offset: int  # of the command's own record, whichever ended it
    submitted_ms: int
    outcome: Outcome
    at_ms: int


@dataclass
class Partition:
    """Where the fold of one partition stands."""

    domain: str
    number: int
    outcomes: dict[str, list[Outcome]]  # of all partitions
    clock_ms: int = 0
    ledger: dict[str, Row] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    dead: dict[int, str] = field(default_factory=dict)  # offset -> reason
    views: dict[tuple[int, int], dict[str, Any]] = field(default_factory=dict)  # where a coalesced event may stand


@dataclass
class Envelope:
    """The headers of a readable command."""

    id: str
    type: str
    submitted_ms: int
    caller: str | None
    fingerprint: str
    if_version: int
    original_ms: int

    @property
    def command_type(self) -> str:
        """Without its version, whatever it is."""
        return LAST_VERSION.sub("", self.type)


def _uuid(text: str | None) -> str:
    """In lower case; ValueError when it is none of 36 characters."""
    if text is None or len(text) != 36:
        raise ValueError(text)
    return str(uuid.UUID(text))


def _number(text: str | None) -> int:
    """-1 when absent; ValueError below 0."""
    if text is None:
        return -1
    if int(text) < 0:
        raise ValueError(text)
    return int(text)


def read_envelope(record: Record) -> Envelope | None:
    """None when a header is missing or wrong."""
    header = record.header
    fixed = header("ce_specversion") == "1.0" and header("content-type") == "application/msgpack"
    fingerprint = header("tw_fingerprint")
    try:
        if not (fixed and header("ce_source") and header("ce_type") and TIME.fullmatch(header("ce_time") or "")):
            return None
        if fingerprint is not None and len(bytes.fromhex(fingerprint)) != 16:
            return None
        command_id = _uuid(header("ce_id"))
        caller = None if header("tw_caller") is None else _uuid(header("tw_caller"))
        return (
            Envelope(
                command_id,
                header("ce_type") or "",
                time_ms(header("ce_time") or ""),
                caller if caller and uuid.UUID(caller).int else None,
                fingerprint or "0" * 32,
                _number(header("tw_if_version")),
                _number(header("tw_time")),
            )
            if uuid.UUID(command_id).int
            else None
        )
    except ValueError:
        return None


class Turn:
    """A record with a readable envelope on its way: what rules.Command asks for."""

    def __init__(self, partition: Partition, record: Record, envelope: Envelope) -> None:
        self.partition = partition
        self.envelope = envelope
        self.id = envelope.id
        self.body: dict[str, Any] = {}
        self.offset = record.offset
        self.clock_ms = partition.clock_ms
        self.at_ms = envelope.original_ms if envelope.original_ms >= 0 else partition.clock_ms
        self._key = (record.key or b"").decode("utf-8", "replace")
        self._events = 0

    def emit(self, ce_type: str, **body: Any) -> None:
        source = f"{self.partition.domain}.commands/{self.partition.number}/{self.offset}"
        self.partition.events.append(
            Event(
                f"{source}/{self._events}",
                ce_type,
                self._key,
                self.offset,
                self._events,
                self.id,
                time_text(self.at_ms),
                {name: value for name, value in body.items() if value is not None},
            )
        )
        self._events += 1

    def may_tell_view(self, **body: Any) -> None:
        behind = 1 if ids.is_keyed(self.id) else 0  # its outcome stands before it
        self.partition.views[self.offset, behind] = body

    @property
    def known(self) -> Row | None:
        row = self.partition.ledger.get(ids.ledger_id(self.id))
        return row if row and self.clock_ms - row.at_ms < LEDGER_LIFE_MS else None

    @property
    def is_remembered(self) -> bool:
        """Views have no row unless the client gave a key."""
        return not COMMANDS[self.envelope.type].get("quiet") or ids.is_keyed(self.id)

    def as_pending(self) -> PendingCommand:
        e = self.envelope
        return PendingCommand(e.id, e.command_type, e.caller, e.fingerprint, self.offset, e.submitted_ms)

    def make_row(self, outcome: Outcome) -> Row:
        return self._row_of(self.as_pending(), outcome)

    def _row_of(self, command: PendingCommand, outcome: Outcome) -> Row:
        return Row(
            command.type,
            command.fingerprint,
            command.caller,
            command.offset,
            command.submitted_ms,
            outcome,
            self.clock_ms,
        )

    def finish(self, command: PendingCommand, outcome: Outcome) -> None:
        self.remember(command.id, self._row_of(command, outcome))

    def remember(self, command_id: str, row: Row) -> None:
        self.partition.ledger[ids.ledger_id(command_id)] = row
        self.answer(command_id, row, repeated=False)

    def answer(self, command_id: str, row: Row, repeated: bool) -> None:
        """A pending command has no outcome yet, also when it is asked a second time."""
        if not row.outcome.is_final:
            return
        self.partition.outcomes[command_id].append(row.outcome)
        self.emit(
            "command.outcome.v1",
            command_id=command_id,
            command_type=row.type,
            status=row.outcome.status,
            http_status=row.outcome.http_status,
            problem_code=row.outcome.problem,
            resource=row.outcome.resource,
            caller=row.caller,
            repeated=repeated,
            submitted_at=row.submitted_ms,
            finished_at=row.at_ms,
            record_offset=None if repeated or row.offset == self.offset else row.offset,
        )


class Model:
    """Folds all command topics as far as `topics` has read them; feed() goes on where it stopped."""

    def __init__(self, id_key: bytes) -> None:
        self._id_key = id_key
        self.state = State()
        # By command id: final ones, one for each of its records; none while a saga goes on.
        self.outcomes: dict[str, list[Outcome]] = defaultdict(list)
        self.partitions = {
            (domain, p): Partition(domain, p, self.outcomes)
            for domain in ids.DOMAINS
            for p in range(TOPICS[f"{domain}.commands"])
        }
        self._next: dict[tuple[str, int], int] = defaultdict(int)

    def feed(self, topics: Topics) -> None:
        for (domain, number), partition in self.partitions.items():
            records = topics.partition(f"{domain}.commands", number)
            for record in records[self._next[domain, number] :]:
                self.fold(record)
            self._next[domain, number] = len(records)

    def fold(self, record: Record) -> None:
        """The next record of its partition."""
        partition = self.partitions[record.topic.partition(".")[0], record.partition]
        partition.clock_ms = max(partition.clock_ms, record.timestamp_ms)
        envelope = read_envelope(record)
        if not envelope:
            partition.dead[record.offset] = "bad_envelope"
            return
        turn = Turn(partition, record, envelope)
        reason = self._read_body(turn, record)
        if reason:
            partition.dead[record.offset] = reason
            if not turn.known:
                turn.remember(turn.id, turn.make_row(GIVEN_UP))
        else:
            self._decide(turn)

    def _read_body(self, turn: Turn, record: Record) -> str | None:
        """Fills turn.body, or says why the record is given up."""
        schema = COMMANDS.get(turn.envelope.type)
        if not schema or schema["domain"] != turn.partition.domain:
            return "unknown_type"
        key = record.key or b""
        try:
            key_id = _uuid(key.decode())
        except ValueError:
            return "misrouted"
        try:
            turn.body = read_command(turn.envelope.type, record.value)
        except Malformed:
            return "undecodable"
        at_home = ids.partition_of(key, TOPICS[record.topic]) == record.partition
        if (
            not at_home
            or key_id != turn.body[schema["key"]]
            or key_id != self._natural_id(schema["type"], turn.body, key_id)
        ):
            return "misrouted"
        return None

    def _natural_id(self, command_type: str, body: dict[str, Any], otherwise: str) -> str | None:
        if command_type == "product.create":
            return ids.product_id(body["sku"])
        if command_type in ("member.register", "member.register_service"):
            return ids.member_id_of_folded(self._id_key, body["email_folded"])
        if command_type == "member.change_email":  # its key is the member's; the claim's id must be right all the same
            right = body["claim_id"] == ids.member_id_of_folded(self._id_key, body["email_folded"])
            return otherwise if right else None
        return otherwise

    def _decide(self, turn: Turn) -> None:
        row = turn.known if turn.is_remembered else None
        requeued = turn.envelope.original_ms >= 0
        if row and not (requeued and row.outcome == GIVEN_UP):
            self._repeat(turn, row)
            return
        wanted = turn.envelope.if_version
        key = turn.body[COMMANDS[turn.envelope.type]["key"]]
        if wanted >= 0 and wanted != self.state.version(turn.partition.domain, key, turn.clock_ms):
            outcome = rejected(412, "precondition-failed")
        else:
            outcome = self.state.decide(turn.envelope.command_type, turn)
        if turn.is_remembered:
            turn.remember(turn.id, turn.make_row(outcome))
        else:
            turn.partition.outcomes[turn.id].append(outcome)

    @staticmethod
    def _repeat(turn: Turn, row: Row) -> None:
        if row.fingerprint == turn.envelope.fingerprint:
            turn.answer(turn.id, row, repeated=True)
        else:
            turn.answer(turn.id, turn.make_row(KEY_REUSED), repeated=False)
