"""Every crash point of every worker with every type of command, at its first, second and third hit: while a point is armed,
commands of that type alone are written. Types that only policies write come of what makes a policy write them.

A worker that ended is started with the next point armed, so each start also finds what the crash before it left."""

import signal
import time

import pytest

from commands import Commands
from compare_logs import written_by_a_policy
from crash_points import HITS, ON_THE_WAY_OUT, points_of
from faults import ALL, Report, reported, sample_of
from judge import Judged
from messages import COMMANDS
from recorder import Recorder
from stack import FAILPOINT_EXIT, WORKERS, Stack, wait_until
from topics import Topics
from watch import watermarks_watched

CAUSES = {
    "member.claim_email.v1": "member.change_email.v1",
    "member.complete_email_change.v1": "member.change_email.v1",
    "cart.reprice.v1": "product.change.v1",
}
TYPES = sorted(COMMANDS)
SETTINGS = {"TW_BATCH_RECORDS": "4"}  # the third hit comes sooner
LOOPS = 2  # of a worker: each shuts down once
SOME_TYPE_OF = {"member": "member.change_profile.v1", "product": "product.rate.v1", "cart": "cart.add_item.v1"}

Cell = tuple[str, str, int]  # type, point, hit


def cells_of(ce_type: str) -> list[Cell]:
    points = points_of(ce_type.split(".")[0])
    return [(ce_type, point, hit) for point in points for hit in HITS if point != "in_shutdown" or hit <= LOOPS]


def chosen() -> dict[str, list[Cell]]:
    """By type; some of each worker."""
    found: dict[str, list[Cell]] = {}
    for domain in WORKERS:
        cells = [cell for ce_type in TYPES if ce_type.startswith(f"{domain}.") for cell in cells_of(ce_type)]
        for cell in sample_of(cells, 1, f"crash matrix of {domain}"):
            found.setdefault(cell[0], []).append(cell)
    return found


CHOSEN = chosen()


def crash(stack: Stack, commands: Commands, domain: str, cell: Cell) -> None:
    """Starts the worker and ends it there, which is proved."""
    ce_type, point, hit = cell
    cause = CAUSES.get(ce_type, ce_type)
    commands.send(cause)  # it has something to begin with
    stack.start(domain, fail=f"{point}=exit@{hit}", settings=SETTINGS, ready=False)
    if point in ON_THE_WAY_OUT:
        # A worker that was missed in its group meanwhile gives up partitions when its second loop joins, too.
        wait_until("it is ready or has ended", lambda: stack.is_ready(domain) or not stack.is_running(domain), 60)
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


def end_everywhere(
    stack: Stack, commands: Commands, recorder: Recorder, judged: Judged, ce_type: str, report: Report
) -> None:
    domain = ce_type.split(".")[0]
    with watermarks_watched(stack.environment, recorder, domain):
        for cell in CHOSEN[ce_type]:
            crash(stack, commands, domain, cell)
            report.cycles += 1
        with report.recovery():
            stack.start(domain, ready=False)
            commands.settle()
    print(f"after {CHOSEN[ce_type]}")
    judged("I3")


IN_A_ROW = sample_of([(domain, point) for domain in WORKERS for point in points_of(domain)], 1, "five in a row")


@pytest.mark.parametrize(("domain", "point"), IN_A_ROW)
def test_five_crashes_in_a_row_at_one_point_give_up_no_record(
    healed: Stack, commands: Commands, judged: Judged, domain: str, point: str
) -> None:
    """A crash never sends a record to the DLQ: the judge knows that there was no poison."""
    before = written(commands.topics, SOME_TYPE_OF[domain])
    with reported(f"five crashes in a row of {domain} at {point}") as report:
        healed.stop(domain)
        for _ in range(5):
            crash(healed, commands, domain, (SOME_TYPE_OF[domain], point, 1))
            report.cycles += 1
        with report.recovery():
            healed.start(domain, ready=False)
            judged()
        report.commands = written(commands.topics, SOME_TYPE_OF[domain]) - before


@pytest.mark.parametrize("ce_type", sorted(CHOSEN))
def test_a_worker_survives_its_end_anywhere_with_commands_of_each_type(
    healed: Stack, commands: Commands, topics: Topics, recorder: Recorder, judged: Judged, ce_type: str
) -> None:
    domain = ce_type.split(".")[0]
    commands.settle()
    before = written(topics, ce_type)
    with reported(f"crash matrix of {ce_type}") as report:
        healed.stop(domain)
        end_everywhere(healed, commands, recorder, judged, ce_type, report)
        report.commands = written(topics, ce_type) - before
    assert report.commands >= len(CHOSEN[ce_type]), "the load was too small to mean anything"
    assert not ALL or report.cycles == len(cells_of(ce_type))


def test_everything_agrees_with_a_fold_of_the_log(judged: Judged) -> None:
    judged()
