"""Two workers of one group: partitions move, a zombie is fenced, nothing is folded twice."""

import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from confluent_kafka import Consumer, TopicPartition

from client import Client, MixedLoad, Steadily
from faults import reported, seconds
from fold import Fold
from judge import Judged
from messages import TOPICS
from stack import WORKERS, Stack, wait_until
from topics import Topics

ALL = TOPICS["cart.commands"]  # as many as any other domain has
WITHIN_S = 60
COMMIT_OF = {"member": "member.store", "product": "product.store.commit", "cart": "cart.store.commit"}  # in logs


@pytest.fixture(scope="module")
def load(merchant: Client, anyone: Client) -> MixedLoad:
    return MixedLoad(merchant, anyone, seed=20_261)


def they_share(stack: Stack, *names: str) -> bool:
    """Each has some, and together they have all; who gets how many depends on their loops."""
    counts = [stack.partitions_of(name) for name in names]
    return min(counts) > 0 and sum(counts) == ALL


@pytest.mark.parametrize("domain", ["cart"])  # the group's life is the runtime's, the same for all workers
def test_partitions_are_shared_and_taken_over(
    healed: Stack, load: MixedLoad, judged: Judged, domain: str
) -> None:
    second = f"{domain}2"
    settings = {"TW_SESSION_TIMEOUT_MS": "6000"}
    healed.stop(domain)
    healed.start(domain, settings=settings)
    with Steadily(load, domain):
        healed.start(second, settings=settings)
        wait_until("they share", lambda: they_share(healed, domain, second), WITHIN_S)
        healed.kill(domain)
        wait_until("the second one has all", lambda: healed.partitions_of(second) == ALL, WITHIN_S)
        healed.start(domain, settings=settings)
        wait_until("they share again", lambda: they_share(healed, domain, second), WITHIN_S)
    healed.stop(second)
    wait_until("the first one has all", lambda: healed.partitions_of(domain) == ALL, WITHIN_S)
    judged()


def is_fenced(stack: Stack, domain: str) -> bool:
    return f'"rc":"FENCED","where":"{COMMIT_OF[domain]}"' in stack.log(domain)


@pytest.mark.parametrize("domain", WORKERS)
def test_a_zombie_is_fenced(healed: Stack, load: MixedLoad, fold: Fold, judged: Judged, domain: str) -> None:
    """Stopped inside a turn past its session, it wakes after another folded the same records."""
    second = f"{domain}2"
    settings = {"TW_SESSION_TIMEOUT_MS": "6000"}
    healed.stop(domain)
    # Not ready first: a policy that goes over its last events again may have sent what it stops at.
    healed.start(domain, settings=settings, fail="before_commit=stop", ready=False)
    load.send(domain, 10)
    wait_until("it stands still", lambda: "failpoint fired" in healed.log(domain), WITHIN_S)
    healed.start(second, settings=settings, ready=False)
    wait_until("the second one has all", lambda: healed.partitions_of(second) == ALL, WITHIN_S)
    fold.drained()
    healed.signal(domain, signal.SIGCONT)
    load.send(domain, 10)
    wait_until("its commit is refused", lambda: is_fenced(healed, domain), WITHIN_S)
    wait_until("the zombie found out", lambda: not healed.is_running(domain) or they_share(healed, domain, second), 40)
    time.sleep(0.5)
    healed.stop(second)
    healed.heal()
    judged()


class Restless:
    """Joins the groups of all workers and leaves them, again and again, without folding anything: each time partitions go
    to it and come back. It speaks the workers' protocol and commits no offset."""

    def __init__(self, brokers: str) -> None:
        self._brokers = brokers
        self._members: list[Consumer] = []
        self.assigned: Counter[str] = Counter()  # how often it was given something, by domain

    def join(self) -> None:
        for domain in WORKERS:
            member = Consumer({"bootstrap.servers": self._brokers, "group.id": f"tillwire-{domain}", "log_level": 0,
                               "partition.assignment.strategy": "range", "session.timeout.ms": 6000,
                               "enable.auto.commit": False, "auto.offset.reset": "latest"})  # fmt: skip
            member.subscribe([f"{domain}.commands"], on_assign=self._told_of(domain))
            self._members.append(member)

    def _told_of(self, domain: str) -> Callable[[Consumer, list[TopicPartition]], None]:
        def on_assign(_: Consumer, partitions: list[TopicPartition]) -> None:
            self.assigned[domain] += bool(partitions)

        return on_assign

    def stay(self, for_s: float) -> None:
        until = time.monotonic() + for_s
        while time.monotonic() < until:
            self._poll()

    def _poll(self) -> None:
        for member in self._members:
            member.poll(0.02)
        if not self._members:
            time.sleep(0.02)

    def stay_until_assigned(self, before: Counter[str]) -> None:
        """Whoever was there first may take its time until it hears of it."""

        def are_assigned() -> bool:
            self._poll()
            return all(self.assigned[domain] > before[domain] for domain in WORKERS)

        wait_until("it gets something of each", are_assigned, WITHIN_S)

    def leave(self) -> None:
        while self._members:
            self._members.pop().close()


def test_rebalances_every_two_seconds_under_load_change_nothing(
    healed: Stack, merchant: Client, anyone: Client, topics: Topics, judged: Judged
) -> None:
    loads = {domain: MixedLoad(merchant, anyone, seed=20_266 + n) for n, domain in enumerate(WORKERS)}
    before = topics.ends()
    restless = Restless(healed.environment["TW_KAFKA"])
    rebalances = {domain: healed.log(domain).count("group rebalanced") for domain in WORKERS}
    with reported("rebalances every two seconds under load") as report, ExitStack() as running:
        for domain in WORKERS:
            running.enter_context(Steadily(loads[domain], domain))
        running.callback(restless.leave)
        for _ in range(int(seconds(2, 60))):
            before_it = restless.assigned.copy()
            restless.join()
            restless.stay(2)
            restless.stay_until_assigned(before_it)
            restless.leave()
            restless.stay(2)
            report.cycles += 2
        running.close()
        for domain in WORKERS:
            wait_until(
                f"{domain} took part in each",
                lambda d=domain: healed.log(d).count("group rebalanced") - rebalances[d] >= restless.assigned[d],
            )
        with report.recovery():
            judged()
        report.commands = sum(topics.ends().values()) - sum(before.values())
