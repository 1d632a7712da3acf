"""What lies between a worker and its store is slow, narrow, silent or cut, also between a commit and its answer. The three
workers are befallen at once, each through a proxy of its own; see toxics.py."""

import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial

import pytest

from client import Client, MixedLoad, Steadily, at_once
from faults import Report, dice_of, nothing_lost, sample_of, seconds
from judge import Judged
from stack import WORKERS, Stack, wait_until
from stores import Stores
from topics import Topics
from toxics import Proxy, Toxiproxy, running_toxiproxy

URI_OF = {"member": "TW_POSTGRES_URI", "product": "TW_MONGO_URI", "cart": "TW_REDIS_URI"}
SLOW_MS = 200
NARROW_KBYTES = 64  # a second: these batches pass; larger ones are halved until they do, see unit/test_partition.c
LETTERS = NARROW_KBYTES << 10  # a second's worth, there and back
NARROW_S = 0.5  # a part of them is in buffers at once
IMPATIENT = {"TW_STORE_TIMEOUT_MS": "2000", "TW_SESSION_TIMEOUT_MS": "6000"}
PATIENT = {"TW_STORE_TIMEOUT_MS": "25000"}  # it is the cut that ends a call
WENT_BACK = "partition goes back to its watermark"
REBALANCED = "group rebalanced"
REBALANCES_OF_A_START = 4  # two loops join, and each may see the other one come
# Two stores may be asked something between the point that all have and the commit itself.
LAST_POINT_OF = {"member": "before_commit", "product": "before_redo", "cart": "before_exec"}


@pytest.fixture(scope="module")
def toxiproxy(servers: Stack) -> Iterator[Toxiproxy]:
    with running_toxiproxy(servers.logs) as proxy:
        yield proxy


@pytest.fixture
def proxies(healed: Stack, toxiproxy: Toxiproxy) -> Iterator[dict[str, Proxy]]:
    """The workers do not use them yet: see through()."""
    healed.stop(*WORKERS)
    proxies = {domain: toxiproxy.proxy(domain, healed.environment[URI_OF[domain]]) for domain in WORKERS}
    yield proxies
    for proxy in proxies.values():
        proxy.heal()
    healed.stop(*(domain for domain in WORKERS if healed.is_running(domain)))


def through(stack: Stack, proxies: dict[str, Proxy], **settings: str) -> None:
    """Starts the workers behind their proxies."""
    for domain, proxy in proxies.items():
        stack.start(domain, settings={**settings, URI_OF[domain]: proxy.uri}, ready=False)
    for domain in proxies:
        stack.wait_ready(domain)


def armed(stack: Stack, proxies: dict[str, Proxy]) -> None:
    """Starts them so that each is held still at its first commit; a policy's commands may bring one there at once."""
    for domain, proxy in proxies.items():
        fail = f"{LAST_POINT_OF[domain]}=stop"
        stack.start(domain, fail=fail, settings={**PATIENT, URI_OF[domain]: proxy.uri}, ready=False)


@pytest.fixture(scope="module")
def loads(merchant: Client, anyone: Client) -> dict[str, MixedLoad]:
    return {domain: MixedLoad(merchant, anyone, seed=20_262 + n) for n, domain in enumerate(WORKERS)}


@contextmanager
def all_loads(loads: dict[str, MixedLoad]) -> Iterator[None]:
    with ExitStack() as stack:
        for domain in WORKERS:
            stack.enter_context(Steadily(loads[domain], domain))
        yield


def metric(stack: Stack, name: str, line: str) -> float:
    """The sum of a metric's lines that begin so."""
    lines = stack.admin(name, "/metrics").text.splitlines()
    return sum(float(found.rsplit(" ", 1)[1]) for found in lines if found.startswith(line))


def commits(stack: Stack, domain: str) -> tuple[float, float]:
    """How many, and how many seconds they took."""
    base = "db_client_operation_duration_seconds"
    text = stack.admin(domain, "/metrics").text
    of_commits = [line for line in text.splitlines() if line.startswith(base) and '"commit"' in line]
    sums = {kind: sum(float(l.rsplit(" ", 1)[1]) for l in of_commits if l.startswith(f"{base}_{kind}"))
            for kind in ("count", "sum")}  # fmt: skip
    return sums["count"], sums["sum"]


# --- the commit was sent, its answer never came


def is_stopped(stack: Stack, name: str) -> bool:
    return "failpoint fired" in stack.log(name)


def test_a_commit_whose_answer_is_cut_off_is_found_at_the_watermark(
    healed: Stack,
    proxies: dict[str, Proxy],
    loads: dict[str, MixedLoad],
    topics: Topics,
    stores: Stores,
    judged: Judged,
) -> None:
    """The worker is held still right before a commit. From there on its store hears it and is not heard."""
    with nothing_lost("connections cut between a commit and its answer", topics, judged) as report:
        armed(healed, proxies)
        for domain in WORKERS:
            loads[domain].send(domain, 5)
        for domain in WORKERS:
            wait_until(f"{domain} stands before a commit", lambda d=domain: is_stopped(healed, d), 40)
        marks = {domain: stores.committed(domain) for domain in WORKERS}
        for proxy in proxies.values():
            proxy.add("timeout", "downstream", timeout=0)
        for domain in WORKERS:
            healed.signal(domain, signal.SIGCONT)
        for domain in WORKERS:
            wait_until(f"the store of {domain} has the commit", lambda d=domain: stores.committed(d) != marks[d])
            assert '"rc":"UNKNOWN"' not in healed.log(domain), "the worker does not know"
        for proxy in proxies.values():
            proxy.cut()
            proxy.heal()
        for domain in WORKERS:
            wait_until(f"{domain} says so", lambda d=domain: went_back(healed, d, "UNKNOWN"), 30)
            healed.wait_ready(domain)
        report.cycles = len(WORKERS)


def went_back(stack: Stack, name: str, rc: str) -> bool:
    return bool(re.search(f'"{WENT_BACK}","rc":"{rc}"', stack.log(name)))


# --- what befalls connections while clients write


@dataclass
class World:
    stack: Stack
    proxies: dict[str, Proxy]
    loads: dict[str, MixedLoad]

    def all(self, kind: str, *streams: str, **attributes: int) -> None:
        for proxy in self.proxies.values():
            proxy.add(kind, *streams, **attributes)

    def heal(self) -> None:
        for proxy in self.proxies.values():
            proxy.heal()


def slow(world: World, report: Report) -> None:
    through(world.stack, world.proxies)
    world.all("latency", "downstream", latency=SLOW_MS)
    before = {domain: commits(world.stack, domain) for domain in WORKERS}
    with all_loads(world.loads):
        time.sleep(seconds(3, 60))
        for domain in WORKERS:
            wait_until(f"{domain} commits", lambda d=domain: commits(world.stack, d)[0] >= before[d][0] + 3, 60)
    for domain in WORKERS:
        count, took_s = (now - then for now, then in zip(commits(world.stack, domain), before[domain]))
        assert took_s / count >= SLOW_MS / 1000, "the fault: each commit waits for its answer"
        assert WENT_BACK not in world.stack.log(domain), "slow is not away"
    world.heal()
    for domain in WORKERS:  # a partition that waits long for its turn is told as one that stands still
        world.stack.wait_ready(domain)
    report.cycles = 1


ECHOES: dict[str, Callable[[Stores, str], object]] = {
    "member": lambda stores, text: stores.rows("select %s::text", text),
    "product": lambda stores, text: stores.mongo["products"].find_one({"sku": text}),
    "cart": lambda stores, text: stores.redis.servers[0].echo(text),
}


def letters_take_s(stack: Stack, domain: str, proxy: Proxy) -> float:
    """How long LETTERS are on their way to the store of a domain, through its proxy."""
    with closing(Stores({**stack.environment, URI_OF[domain]: proxy.uri})) as stores:
        began = time.monotonic()
        ECHOES[domain](stores, "x" * LETTERS)
        return time.monotonic() - began


def narrow(world: World, report: Report) -> None:
    through(world.stack, world.proxies)
    world.all("bandwidth", rate=NARROW_KBYTES)
    with all_loads(world.loads):
        time.sleep(seconds(1, 60))
        took_s = at_once(*(partial(letters_take_s, world.stack, *one) for one in world.proxies.items()))
        assert min(took_s) >= NARROW_S, f"the fault: {LETTERS >> 10} KiB came through in {min(took_s):.1f} s"
    world.heal()
    report.cycles = 1


def reset(world: World, report: Report) -> None:
    through(world.stack, world.proxies)
    dice = dice_of("resets")
    with all_loads(world.loads):
        for _ in range(int(seconds(4, 120))):
            time.sleep(dice.uniform(0.2, 0.8))
            world.all("reset_peer", "downstream", timeout=dice.randrange(200))
            time.sleep(dice.uniform(0.1, 0.4))
            world.heal()
            report.cycles += 1
    for domain in WORKERS:
        assert metric(world.stack, domain, "tillwire_recoveries_total") > 0, "the fault: it had to go back"
        world.stack.wait_ready(domain)


def silent(world: World, report: Report) -> None:
    """Half-open: connections stand, and nothing comes through. Longer than a session: heartbeats go on all the same."""
    through(world.stack, world.proxies, **IMPATIENT)
    with all_loads(world.loads):
        world.all("timeout", timeout=0)
        for domain in WORKERS:
            wait_until(f"/readyz of {domain} says so", lambda d=domain: not world.stack.is_ready(d), 30)
        time.sleep(seconds(7, 60))
        world.heal()
        for domain in WORKERS:
            world.proxies[domain].cut()
            world.stack.wait_ready(domain)
    report.cycles = 1


BEFALL = (slow, narrow, reset, silent)


@pytest.mark.parametrize("befall", sample_of(BEFALL, 1, "networks"), ids=lambda befall: befall.__name__)
def test_nothing_is_lost_and_nobody_leaves_the_group(
    healed: Stack,
    proxies: dict[str, Proxy],
    loads: dict[str, MixedLoad],
    topics: Topics,
    judged: Judged,
    befall: Callable[[World, Report], None],
) -> None:
    with nothing_lost(f"connections to stores: {befall.__name__}", topics, judged) as report:
        befall(World(healed, proxies, loads), report)
        for domain in WORKERS:
            assert healed.log(domain).count(REBALANCED) <= REBALANCES_OF_A_START, f"{domain} left its group"


def test_everything_agrees_with_a_fold_of_the_log(judged: Judged) -> None:
    judged()
