"""What the command log means, folded a second time in plain Python: the turn of a record here, the rules of the
domains in rules.py. The judge compares stores, events and dead letters with it, so nothing in it may be learnt from
them: only from the log, the schemas and the written rules. But for one thing, as in every fold: what a store refused once
stays given up, and only the dead-letter topic knows it.
"""

import re
import uuid
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import ids
import letters
from decisions import Outcome, PendingCommand, rejected, succeeded
from letters import DROP_TYPE, Letters
from messages import COMMANDS, TOPICS, Malformed, read_command
from rules import State
from topics import Record, Topics

TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)")
LAST_VERSION = re.compile(r"\.[^.]*$")
LEDGER_LIFE_MS = 24 * 60 * 60 * 1000
GIVEN_UP = Outcome("dead_lettered", 500, "dead-lettered")
KEY_REUSED = rejected(422, "idempotency-key-reused")
NO_SUCH_LETTER = rejected(404, "not-found")


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
    letters: Letters = field(default_factory=Letters)
    refused: set[int] = field(default_factory=set)  # offsets that the store would not take
    views: dict[tuple[int, int], dict[str, Any]] = field(default_factory=dict)  # where a coalesced event may stand

    @property
    def dead(self) -> dict[int, str]:
        """Offset -> reason."""
        return {offset: verdict.reason for offset, verdict in self.letters.verdicts.items()}


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
    requeue_of: int
    drop_of: int

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
                _number(header("tw_requeue_of")),
                _number(header("tw_drop_of")),
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
        self.key = (record.key or b"").decode("utf-8", "replace")
        self._events = 0

    def emit(self, ce_type: str, **body: Any) -> None:
        source = f"{self.partition.domain}.commands/{self.partition.number}/{self.offset}"
        self.partition.events.append(
            Event(
                f"{source}/{self._events}",
                ce_type,
                self.key,
                self.offset,
                self._events,
                self.id,
                time_text(self.at_ms),
                {name: value for name, value in body.items() if value is not None},
            )
        )
        self._events += 1

    def may_tell_view(self, **body: Any) -> None:
        behind = 1 if self.has_row else 0  # its outcome stands before it
        self.partition.views[self.offset, behind] = body

    @property
    def known(self) -> Row | None:
        row = self.partition.ledger.get(ids.ledger_id(self.id))
        return row if row and self.clock_ms - row.at_ms < LEDGER_LIFE_MS else None

    @property
    def is_remembered(self) -> bool:
        """Views have no row unless the client gave a key."""
        return not COMMANDS.get(self.envelope.type, {}).get("quiet") or ids.is_keyed(self.id)

    @property
    def has_row(self) -> bool:
        """A view has one, too, once it was given up: its requeues end it."""
        return self.is_remembered or self.envelope.requeue_of >= 0

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
            partition.refused = letters.refused_by_store(topics.partition(f"{domain}.dlq", number))
        if any(self._is_ahead_of_a_verdict(*at) for at in self.partitions):
            self._begin_again()
        for (domain, number), partition in self.partitions.items():
            records = topics.partition(f"{domain}.commands", number)
            for record in records[self._next[domain, number] :]:
                self.fold(record)
            self._next[domain, number] = len(records)

    def _is_ahead_of_a_verdict(self, domain: str, number: int) -> bool:
        """A record was folded as a good one before it was known that the store had refused it."""
        partition = self.partitions[domain, number]
        folded = {offset for offset in partition.refused if offset < self._next[domain, number]}
        return not folded <= partition.letters.verdicts.keys()

    def _begin_again(self) -> None:
        self.state = State()
        self.outcomes.clear()
        self._next.clear()
        for (domain, number), partition in self.partitions.items():
            self.partitions[domain, number] = Partition(domain, number, self.outcomes, refused=partition.refused)

    def fold(self, record: Record) -> None:
        """The next record of its partition."""
        partition = self.partitions[record.topic.partition(".")[0], record.partition]
        partition.clock_ms = max(partition.clock_ms, record.timestamp_ms)
        envelope = read_envelope(record)
        if not envelope:
            partition.letters.give_up(record, "bad_envelope")
            return
        turn = Turn(partition, record, envelope)
        is_late = envelope.requeue_of >= 0 and not partition.letters.is_open(envelope.requeue_of)
        reason = letters.REFUSED_BY_STORE if record.offset in partition.refused else None
        if not reason and not is_late:  # whatever it is: it goes no further
            reason = self._read(turn, record)
        if not reason and envelope.type == DROP_TYPE and not is_late:
            self._decide_drop(turn)
        elif not reason:
            reason = self._decide(turn)
        if reason:
            partition.letters.give_up(record, reason)
            if not turn.known:
                turn.remember(turn.id, turn.make_row(GIVEN_UP))

    def _read(self, turn: Turn, record: Record) -> str | None:
        if turn.envelope.type == DROP_TYPE:
            return "bad_envelope" if turn.envelope.drop_of < 0 else None
        return self._read_body(turn, record)

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

    def _decide(self, turn: Turn) -> str | None:
        """Why it is given up after all; None: it is not."""
        row = turn.known if turn.has_row else None
        known, name = turn.partition.letters, turn.envelope.requeue_of
        if name >= 0 and not known.is_open(name):
            self._refuse(turn, row)
        elif row and turn.is_remembered and not (turn.envelope.original_ms >= 0 and row.outcome == GIVEN_UP):
            self._repeat(turn, row)
            if name >= 0 and row.outcome != GIVEN_UP:
                same = row.fingerprint == turn.envelope.fingerprint
                known.settle(name, turn.offset, "repeated" if same else "rejected", turn.clock_ms)
        elif known.parked_behind(turn.key.lower(), name if name >= 0 else turn.offset):
            if not known.is_parking(name if name >= 0 else turn.offset):
                return letters.PARKED
            self._refuse(turn, row)
        else:
            outcome = self._outcome(turn)
            if name >= 0:
                known.settle(name, turn.offset, outcome.status, turn.clock_ms)
            self._remember(turn, outcome)
        return None

    def _decide_drop(self, turn: Turn) -> None:
        known, name = turn.partition.letters, turn.envelope.drop_of
        if turn.known:
            self._repeat(turn, turn.known)
        elif known.is_open(name):
            known.settle(name, turn.offset, "dropped", turn.clock_ms)
            self._remember(turn, succeeded(200))
        else:
            self._remember(turn, NO_SUCH_LETTER)

    def _refuse(self, turn: Turn, row: Row | None) -> None:
        """An operator's word that is not its turn's, or comes again: nothing is decided."""
        if row:
            self._repeat(turn, row)
        else:
            turn.answer(turn.id, turn.make_row(NO_SUCH_LETTER), repeated=False)

    def _outcome(self, turn: Turn) -> Outcome:
        wanted = turn.envelope.if_version
        key = turn.body[COMMANDS[turn.envelope.type]["key"]]
        if wanted >= 0 and wanted != self.state.version(turn.partition.domain, key, turn.clock_ms):
            return rejected(412, "precondition-failed")
        return self.state.decide(turn.envelope.command_type, turn)

    @staticmethod
    def _remember(turn: Turn, outcome: Outcome) -> None:
        if turn.has_row:
            turn.remember(turn.id, turn.make_row(outcome))
        else:
            turn.partition.outcomes[turn.id].append(outcome)

    @staticmethod
    def _repeat(turn: Turn, row: Row) -> None:
        if row.fingerprint == turn.envelope.fingerprint:
            turn.answer(turn.id, row, repeated=True)
        else:
            turn.answer(turn.id, turn.make_row(KEY_REUSED), repeated=False)
