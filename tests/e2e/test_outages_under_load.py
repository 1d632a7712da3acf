"""Servers stop, are killed or hang while clients go on. The edge says 503 with Retry-After, never a false 202, serves reads
that need no such server, and does not grow; workers wait, and all of them come back by themselves."""

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from client import Client
from faults import dice_of, reported, sample_of, seconds
from judge import Judged
from stack import PROGRAMS, WORKERS, Stack, wait_until

STORE_OF = {"member": "postgres", "product": "mongo", "cart": "redis"}
HOW = ("stop", "kill", "pause")
GROWTH_MAX_BYTES = 96 << 20
KEEPS_LITTLE = {"ASAN_OPTIONS": "quarantine_size_mb=8"}  # of what was freed; as a rule 256 MB
CLIENTS = 4


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1]) * 4096


@dataclass
class Clients:
    """Who write into carts without a pause, and look at how large the edge becomes."""

    shoppers: list[Client]
    product: str
    edge_pid: int
    answers: list[httpx.Response] = field(default_factory=list)
    largest_bytes: int = 0
    failed: list[BaseException] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def _run(self, shopper: Client) -> None:
        try:
            while not self._stop.wait(0.02):
                self.answers.append(shopper.add(self.product, 1, wait=False))
                self.largest_bytes = max(self.largest_bytes, resident_bytes(self.edge_pid))
        except BaseException as error:  # told by the thread that waits
            self.failed.append(error)

    def __enter__(self) -> "Clients":
        self._threads = [threading.Thread(target=self._run, args=(shopper,)) for shopper in self.shoppers]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        assert not self.failed, self.failed

    def count(self, status: int) -> int:
        return sum(answer.status_code == status for answer in self.answers)

    def await_more(self, status: int, count: int = 5) -> None:
        before = self.count(status)
        wait_until(f"more are answered {status}", lambda: self.failed or self.count(status) >= before + count, 90)

    def refusals_say_when(self) -> None:
        refused = [answer for answer in self.answers if answer.status_code != 202]
        assert {answer.status_code for answer in refused} <= {503}
        assert all(int(answer.headers["Retry-After"]) >= 1 for answer in refused)


def befall(stack: Stack, server: str, how: str) -> None:
    {"stop": stack.stop_server, "kill": stack.kill_server, "pause": stack.pause_server}[how](server)


def heal(stack: Stack, server: str, how: str) -> None:
    (stack.resume_server if how == "pause" else stack.start_server)(server)


@pytest.fixture
def clients(healed: Stack, anyone: Client, merchant: Client) -> Clients:
    product = merchant.new_product()  # long before: the stand-in for MongoDB loses what is younger when it is killed
    healed.stop("edge")
    healed.start("edge", settings=KEEPS_LITTLE)
    shoppers = [anyone.new_caller() for _ in range(CLIENTS)]
    return Clients(shoppers, product, healed.pids()["edge"])


OUTAGES = [(server, how) for server in ("kafka", *STORE_OF.values()) for how in HOW]


@pytest.mark.parametrize(("server", "how"), sample_of(OUTAGES, 1, "outages"))
def test_an_outage_under_load_is_refused_waited_for_and_over_by_itself(
    healed: Stack,
    clients: Clients,
    anyone: Client,
    judged: Judged,
    server: str,
    how: str,
) -> None:
    with reported(f"{server}: {how} under load") as report:
        with clients:
            clients.await_more(202, 20)
            grown_from = clients.largest_bytes
            befall(healed, server, how)
            wait_until("the edge says so", lambda: not healed.is_ready("edge"), 30)
            if server in ("kafka", "mongo"):  # a cart's command needs these two
                clients.await_more(503)
            if server != "mongo":
                assert anyone.get(f"/v1/products/{clients.product}").status_code == 200, "reads are served"
            for worker in WORKERS if server == "kafka" else [w for w, store in STORE_OF.items() if store == server]:
                if how != "pause":
                    wait_until(f"{worker} says so", lambda w=worker: not healed.is_ready(w), 40)
            time.sleep(seconds(dice_of(f"{server} {how}").uniform(1.5, 3), 60))
            heal(healed, server, how)
            with report.recovery():
                clients.await_more(202, 20)
                for name in PROGRAMS:
                    healed.wait_ready(name, 90)
        clients.refusals_say_when()
        assert clients.largest_bytes - grown_from < GROWTH_MAX_BYTES
        judged()
        report.cycles, report.commands = 1, len(clients.answers)


def test_everything_agrees_with_a_fold_of_the_log(judged: Judged) -> None:
    judged()
