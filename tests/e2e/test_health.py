"""What /readyz says is true: whoever does not do its work says so, says why, and is ready again by itself; and where only a
new process helps, it ends with a reason. The bound of five seconds is kept by unit tests, which make up their time."""

import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from broker import Broker
from client import Client
from judge import Judged
from messages import TOPICS
from stack import PROGRAMS, WORKERS, Stack, wait_until
from topics import Topics

STORE_OF = {"member": ("postgres", "PostgreSQL"), "product": ("mongo", "MongoDB"), "cart": ("redis", "Redis")}
HUNG = 70  # the exit code


def why_not(stack: Stack, name: str) -> str:
    """What /readyz says, "" when it is ready."""
    answer = stack.admin(name, "/readyz")
    return answer.text if answer.status_code == 503 else ""


def await_why(stack: Stack, name: str, *words: str) -> None:
    wait_until(f"{name} is not ready: {words}", lambda: all(word in why_not(stack, name) for word in words), 30)


def await_ready(stack: Stack, *names: str) -> None:
    for name in names:
        stack.wait_ready(name)


def test_stores_that_hang_are_named_by_their_workers_and_by_the_edge(healed: Stack, judged: Judged) -> None:
    for server, _ in STORE_OF.values():
        healed.pause_server(server)
    for worker, (_, name) in STORE_OF.items():
        await_why(healed, worker, name)
    await_why(healed, "edge", *(f'"{server}":false' for server, _ in STORE_OF.values()))
    for name in PROGRAMS:
        assert healed.admin(name, "/healthz").status_code == 200, "a new process would wait, too"
    for server, _ in STORE_OF.values():
        healed.resume_server(server)
    await_ready(healed, *PROGRAMS)
    judged()


def test_a_broker_that_hangs_is_named_by_all(healed: Stack, shopper: Client, judged: Judged) -> None:
    healed.pause_server("kafka")
    for worker in WORKERS:
        await_why(healed, worker, "broker")
    await_why(healed, "edge", '"event_tail":false')
    # Neither the events nor the table tell then what is revoked, and no token is let in.
    healed.pause_server("postgres")
    await_why(healed, "edge", '"revocations":false', "event_tail, revocations, postgres")
    assert shopper.get("/v1/cart").status_code == 503
    healed.resume_server("postgres")
    healed.resume_server("kafka")
    await_ready(healed, *PROGRAMS)
    judged()


@pytest.fixture
def broker(servers: Stack) -> Broker:
    return Broker(servers)


def add_something(shopper: Client, product: str, topics: Topics) -> None:
    assert shopper.add(product, 1, wait=False).status_code == 202


def write_nonsense(shopper: Client, product: str, topics: Topics) -> None:
    topics.write("cart.commands", b"key", b"nonsense", [], partition=0)


@pytest.mark.parametrize(("topic", "write"), [("cart.events", add_something), ("cart.dlq", write_nonsense)])
def test_events_or_dead_letters_that_nobody_takes_are_told_and_waited_for(
    healed: Stack,
    broker: Broker,
    shopper: Client,
    product: str,
    topics: Topics,
    judged: Judged,
    topic: str,
    write: Callable[[Client, str, Topics], None],
) -> None:
    def is_told() -> bool:
        """Again and again: what is written before the broker has heard of its new setting still comes through."""
        write(shopper, product, topics)
        return "does not acknowledge its events or dead letters" in why_not(healed, "cart")

    with broker.takes_nothing(topic):
        wait_until("cart says that nobody takes them", is_told, 30, 0.5)
    await_ready(healed, "cart")
    judged()


def test_a_loop_that_hangs_ends_its_process_with_the_reason(
    healed: Stack, anyone: Client, merchant: Client, product: str, judged: Judged
) -> None:
    healed.stop("product")
    patience = {"TW_STORE_TIMEOUT_MS": "2000", "TW_BROKER_TIMEOUT_MS": "2000", "TW_HANG_TIMEOUT_S": "9"}
    healed.start("product", fail="before_commit=sleep:600000", settings=patience)
    assert anyone.view(product).status_code == 202
    await_why(healed, "product", "has been silent for", "folding")
    assert healed.wait_exit("product", 60) == HUNG
    last = healed.log("product").splitlines()[-1]
    assert '"message":"a thread hangs: ending this process' in last and '"thread":"loop ' in last, last
    healed.start("product")  # as its supervisor would
    judged()


def test_two_processes_with_one_instance_id_say_so_until_one_of_them_ends(healed: Stack, judged: Judged) -> None:
    rivals = ("member", "member2")
    healed.start("member2", settings={"TW_INSTANCE_ID": "member"}, ready=False)
    await_why(healed, "member", "another process took the place of instance_id 'member-")
    wait_until("one of them has enough", lambda: not all(healed.is_running(name) for name in rivals), 120)
    ended = next(name for name in rivals if not healed.is_running(name))
    assert healed.wait_exit(ended) == HUNG
    assert "each needs an instance_id of its own" in healed.log(ended).splitlines()[-1]
    await_ready(healed, next(name for name in rivals if name != ended))
    judged()


# --- whoever supervises


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(30)
        yield listener


def hear(supervisor: socket.socket, word: str) -> str:
    """Until somebody says this."""
    while True:
        words = supervisor.recv(4096).decode()
        if word in words.splitlines():
            return words


@pytest.mark.parametrize(("name", "settings"), [("edge2", {}), ("cart2", {"TW_INSTANCE_ID": ""})])
def test_a_supervisor_hears_how_it_is(
    healed: Stack, supervisor: socket.socket, name: str, settings: dict[str, str]
) -> None:
    """The second worker leaves its group when it ends, and what it owned is the first one's again."""
    healed.start(name, settings={"NOTIFY_SOCKET": supervisor.getsockname(), **settings}, ready=False)
    assert "STATUS=ready" in hear(supervisor, "READY=1").splitlines()
    assert healed.is_ready(name)
    hear(supervisor, "WATCHDOG=1")
    healed.signal(name, signal.SIGTERM)
    hear(supervisor, "STOPPING=1")
    assert healed.wait_exit(name) == 0
    wait_until("the first worker has all", lambda: healed.partitions_of("cart") == TOPICS["cart.commands"], 30)
