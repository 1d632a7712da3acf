"""What the rules of all domains share: how a command ends, and what a rule gets."""

from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Outcome:
    """`accepted`: a saga; a later command of the same aggregate ends it."""

    status: str
    http_status: int
    problem: str | None = None
    resource: str | None = None

    @property
    def is_final(self) -> bool:
        return self.status != "accepted"


def succeeded(http_status: int, resource: str | None = None) -> Outcome:
    return Outcome("succeeded", http_status, None, resource)


def rejected(http_status: int, problem: str) -> Outcome:
    return Outcome("rejected", http_status, problem)


def pending(resource: str) -> Outcome:
    return Outcome("accepted", 202, None, resource)


@dataclass(frozen=True)
class PendingCommand:
    """What a domain keeps of a command that will be ended by another one."""

    id: str
    type: str
    caller: str | None
    fingerprint: str
    offset: int
    submitted_ms: int


class Command(Protocol):
    """A good command on its way; emit() publishes an event of it, members that are None left out."""

    id: str
    body: dict[str, Any]
    offset: int
    at_ms: int
    clock_ms: int  # the partition's: what has ended has ended, also for a requeued command

    def emit(self, ce_type: str, **body: Any) -> None: ...

    def may_tell_view(self, **body: Any) -> None:
        """The coalesced event of the batch may stand here."""

    def as_pending(self) -> PendingCommand:
        """This command, for the one that will end it."""

    def finish(self, command: PendingCommand, outcome: Outcome) -> None:
        """Ends a pending command of the same aggregate, with an outcome event of this one."""
