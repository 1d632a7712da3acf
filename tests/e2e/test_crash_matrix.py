"""Every crash point of every worker with every type of command, at its first, second and third hit: while a point is armed,
commands of that type alone are written. Types that only policies write come of what makes a policy write them.

A worker that ended is started with the next point armed, so each start also finds what the crash before it left."""

import signal
import time
from dataclasses import dataclass

import pytest

import direct
from checker import Checker, written_by_a_policy
from crash_points import HITS, ON_THE_WAY_OUT, WatermarkWatch, points_of
from faults import ALL, SEED, Report, reported, sample_of
from messages import COMMANDS
from recorded_log import Author, Plan
from stack import FAILPOINT_EXIT, Stack
from topics import Topics

CAUSES = {
    "member.claim_email.v1": "member.change_email.v1",
    "member.complete_email_change.v1": "member.change_email.v1",
    "cart.reprice.v1": "product.change.v1",
}
TYPES = sorted(COMMANDS)
AT_ONCE = 6  # commands: several partitions, and more than one write in a batch
# Each of its loops shuts down, so that there is a third hit; small batches reach a third one sooner.
SETTINGS = {"TW_THREADS": "3", "TW_BATCH_RECORDS": "4"}

Cell = tuple[str, str, int]  # type, point, hit


def cells_of(ce_type: str) -> list[Cell]:
    return [(ce_type, point, hit) for point in points_of(ce_type.split(".")[0]) for hit in HITS]


def chosen() -> dict[str, list[Cell]]:
    """By type."""
    cells = sample_of([cell for ce_type in TYPES for cell in cells_of(ce_type)], 4, "crash matrix")
    return {ce_type: [cell for cell in cells if cell[0] == ce_type] for ce_type in {cell[0] for cell in cells}}


CHOSEN = chosen()


@dataclass
class Commands:
    """Of any type, by what the shop is like when it is asked."""

    topics: Topics
    checker: Checker
    author: Author

    def send(self, ce_type: str, count: int = AT_ONCE) -> None:
        self.author.now_ms = time.time_ns() // 1_000_000
        direct.write_all(self.topics, ce_type, [self.author.one_of(ce_type) for _ in range(count)])

    def settle(self) -> None:
        """What is asked for next rests on what is there now."""
        self.checker.drained()


@pytest.fixture(scope="module")
def commands(stack: Stack, topics: Topics, checker: Checker, id_key: bytes) -> Commands:
    """There are members with sessions and addresses, products, and carts that hold them."""
    author = Author(Plan(SEED, 0, 0, {}, members=40, products=12), id_key)
    author.model = checker.model
    commands = Commands(topics, checker, author)
    for ce_type, count in (("member.register.v1", 60), ("member.register_service.v1", 8), ("product.create.v1", 30)):
        commands.send(ce_type, count)
    commands.settle()
    for ce_type in ("member.add_address.v1", "member.start_session.v1", "member.issue_token.v1", "product.rate.v1"):
        commands.send(ce_type, 40)
    commands.send("cart.add_item.v1", 60)
    commands.settle()
    return commands


def crash(stack: Stack, commands: Commands, domain: str, cell: Cell) -> None:
    """Starts the worker and ends it there, which is proved."""
    ce_type, point, hit = cell
    cause = CAUSES.get(ce_type, ce_type)
    commands.send(cause)  # it has something to begin with
    stack.start(domain, fail=f"{point}=exit@{hit}", settings=SETTINGS, ready=point in ON_THE_WAY_OUT)
    if point in ON_THE_WAY_OUT:
        stack.signal(domain, signal.SIGTERM)
    deadline = time.monotonic() + 60
    while stack.is_running(domain):
        assert time.monotonic() < deadline, f"{point} was not reached {hit} times by {ce_type}"
        if point not in ON_THE_WAY_OUT and stack.is_listening(domain):
            commands.send(cause)
        time.sleep(0.1)
    assert stack.wait_exit(domain) == FAILPOINT_EXIT, stack.log(domain)[-2000:]
    assert f'"{point}"' in stack.log(domain) and "failpoint fired" in stack.log(domain)


def written(topics: Topics, ce_type: str) -> int:
    topics.read(f"{ce_type.split('.')[0]}.commands")
    records = topics.records(f"{ce_type.split('.')[0]}.commands")
    return sum(record.type == ce_type and (ce_type not in CAUSES or written_by_a_policy(record)) for record in records)


def end_everywhere(stack: Stack, commands: Commands, ce_type: str, report: Report) -> None:
    domain = ce_type.split(".")[0]
    with WatermarkWatch(stack.environment, domain):
        for cell in CHOSEN[ce_type]:
            crash(stack, commands, domain, cell)
            report.cycles += 1
        with report.recovery():
            stack.start(domain, ready=False)
            wrong = commands.checker.settled_violations()
    assert not wrong, f"after {CHOSEN[ce_type]}: " + "\n".join(wrong[:20])


@pytest.mark.parametrize("ce_type", sorted(CHOSEN))
def test_a_worker_survives_its_end_anywhere_with_commands_of_each_type(
    healed: Stack, commands: Commands, topics: Topics, ce_type: str
) -> None:
    domain = ce_type.split(".")[0]
    commands.settle()
    before = written(topics, ce_type)
    with reported(f"crash matrix of {ce_type}") as report:
        healed.stop(domain)
        end_everywhere(healed, commands, ce_type, report)
        report.commands = written(topics, ce_type) - before
    assert report.commands >= len(CHOSEN[ce_type]), "the load was too small to mean anything"
    assert not ALL or report.cycles == len(cells_of(ce_type))


def test_everything_agrees_with_a_fold_of_the_log(checker: Checker) -> None:
    checker.check()
