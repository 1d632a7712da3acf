"""What lies between the broker and all four programs is slow, narrow, silent or cut, also between a record and its
acknowledgement: a record that is sent again is there once, and who was told 202 has one. See toxics.py."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest

from client import Client, MixedLoad, Steadily
from compare_logs import EDGE
from faults import Report, dice_of, nothing_lost, sample_of, seconds
from history import Reader
from judge import Judged
from recorder import Recorder
from stack import PROGRAMS, WORKERS, Stack, wait_until
from test_outages_under_load import Clients
from test_store_network import LETTERS, NARROW_KBYTES, NARROW_S, SLOW_MS
from topics import Topics
from toxics import Proxy, running_toxiproxy

CLIENTS = len(WORKERS)
MOMENT_S = 0.2
COMMANDS = ("member.commands", "product.commands", "cart.commands")


@dataclass
class World:
    stack: Stack
    broker: Proxy
    loads: dict[str, MixedLoad]
    clients: Clients
    topics: Topics
    history: Reader

    @contextmanager
    def busy(self) -> Iterator[None]:
        """All domains are written to meanwhile."""
        with ExitStack() as stack:
            for domain in WORKERS:
                stack.enter_context(Steadily(self.loads[domain], domain))
            stack.enter_context(self.clients)
            yield

    def untold(self) -> set[str]:
        """Commands of edges that are in the log, and nobody was told of."""
        self.topics.read()
        records = (record for topic in COMMANDS for record in self.topics.records(topic))
        written = {record.command_id for record in records if record.header("ce_source") == EDGE}
        return written - {told for exchange in self.history.read_on().exchanges for told in exchange.command_ids}

    def more_are_untold(self, before: set[str]) -> bool:
        """And not for a moment only."""
        more = self.untold() - before
        time.sleep(MOMENT_S)
        return bool(more & self.untold())

    def is_well(self) -> None:
        for name in PROGRAMS:
            self.stack.wait_ready(name, 90)


@pytest.fixture(scope="module")
def broker(servers: Stack) -> Iterator[Proxy]:
    with running_toxiproxy(servers.logs) as toxiproxy:
        yield toxiproxy.broker(servers.environment["TW_KAFKA"])


@pytest.fixture(scope="module")
def loads(merchant: Client, anyone: Client) -> dict[str, MixedLoad]:
    return {domain: MixedLoad(merchant, anyone, seed=20_263 + n) for n, domain in enumerate(WORKERS)}


@pytest.fixture
def world(
    healed: Stack, broker: Proxy, loads: dict[str, MixedLoad], product: str, topics: Topics, recorder: Recorder
) -> Iterator[World]:
    healed.stop(*PROGRAMS)
    healed.start(*PROGRAMS, settings={"TW_KAFKA": broker.uri})
    shoppers = [loads[domain].members[0] for domain in WORKERS]
    clients = Clients(shoppers, product, healed.pids()["edge"])
    yield World(healed, broker, loads, clients, topics, Reader(recorder.path))
    broker.heal()
    healed.stop(*(name for name in PROGRAMS if healed.is_running(name)))


def test_a_record_whose_acknowledgement_is_cut_off_is_there_once(
    world: World, topics: Topics, judged: Judged
) -> None:
    """The broker hears the programs and is not heard. Then the connection ends, and they send again."""
    with nothing_lost("acknowledgements that are cut off", topics, judged) as report, world.busy():
        for _ in range(int(seconds(3, 30))):
            world.clients.await_more(202)
            untold = world.untold()
            world.broker.add("timeout", "downstream", timeout=0)
            told = len(world.clients.answers)
            wait_until("the log has more than was told", lambda: world.more_are_untold(untold), 30)
            time.sleep(dice_of(f"cut {report.cycles}").uniform(0, 0.5))
            assert all(answer.status_code != 202 for answer in world.clients.answers[told + CLIENTS :]), "the fault"
            world.broker.cut()
            world.broker.heal()
            report.cycles += 1
        world.clients.await_more(202)
        world.is_well()
    world.clients.refusals_say_when()


def slow(world: World, report: Report) -> None:
    world.broker.add("latency", "downstream", latency=SLOW_MS)
    with world.busy():
        time.sleep(seconds(3, 60))
        took_s = wait_until("a command is accepted", lambda: acceptance_takes_s(world.clients), 60)
        assert took_s >= SLOW_MS / 1000, "the fault: a 202 waits for the broker's word"
        world.clients.await_more(202, 20)
    report.cycles = 1


def acceptance_takes_s(clients: Clients) -> float:
    """0 when it is refused: a broker that is slow by itself, too, may not answer in time."""
    asked_at = time.monotonic()
    answer = clients.shoppers[0].add(clients.product, 1, wait=False)
    return time.monotonic() - asked_at if answer.status_code == 202 else 0.0


def narrow(world: World, report: Report) -> None:
    world.broker.add("bandwidth", rate=NARROW_KBYTES)
    with world.busy():
        time.sleep(seconds(1, 60))
        took_s = record_takes_s(world.broker)
        assert took_s >= NARROW_S, f"the fault: {LETTERS >> 10} KiB came through in {took_s:.1f} s"
        world.clients.await_more(202)
        world.broker.heal()
    report.cycles = 1


def record_takes_s(broker: Proxy) -> float:
    """How long LETTERS are on their way to the broker: a record that nobody can read, and a dead letter soon."""
    through = Topics(broker.uri)
    try:
        began = time.monotonic()
        through.write("cart.commands", b"key", os.urandom(LETTERS), [], partition=0)
        return time.monotonic() - began
    finally:
        through.close()


def reset(world: World, report: Report) -> None:
    dice = dice_of("resets of the broker")
    before = world.broker.accepted()
    with world.busy():
        for _ in range(int(seconds(4, 120))):
            time.sleep(dice.uniform(0.2, 0.8))
            world.broker.add("reset_peer", "downstream", timeout=dice.randrange(200))
            time.sleep(dice.uniform(0.1, 0.4))
            world.broker.heal()
            report.cycles += 1
        world.clients.await_more(202)
    assert world.broker.accepted() > before, "the fault: connections were cut, and came again"


def silent(world: World, report: Report) -> None:
    """Half-open: connections stand, and nothing comes through."""
    with world.busy():
        world.clients.await_more(202)
        world.broker.add("timeout", timeout=0)
        world.clients.await_more(503)
        wait_until("/readyz of the edge says so", lambda: not world.stack.is_ready("edge"), 30)
        time.sleep(seconds(1, 60))
        world.broker.heal()
        world.broker.cut()
        world.clients.await_more(202)
    report.cycles = 1


BEFALL = (slow, narrow, reset, silent)


@pytest.mark.parametrize("befall", sample_of(BEFALL, 1, "the broker's network"), ids=lambda befall: befall.__name__)
def test_nothing_is_lost_between_the_broker_and_the_programs(
    world: World,
    topics: Topics,
    judged: Judged,
    befall: Callable[[World, Report], None],
) -> None:
    with nothing_lost(f"connections to the broker: {befall.__name__}", topics, judged) as report:
        befall(world, report)
        world.broker.heal()
        world.is_well()
        world.clients.refusals_say_when()
