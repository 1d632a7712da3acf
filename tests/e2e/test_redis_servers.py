"""Carts on two Redis servers: partition p on server p mod n, for workers, edges and the reprice policy alike, and what
becomes of the carts when the list changes."""

import os
import re
import signal
import subprocess
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import redis

import direct
import ids
from client import Client
from fold import Fold
from judge import Judge, Judged
from messages import TOPICS
from recorder import Recorder
from redis_servers import RedisServers, partition_of_key
from stack import NOT_OURS, ROOT, Stack, wait_until
from stores import Stores
from topics import Topics

PARTITIONS = TOPICS["cart.commands"]
WITHIN_S = 60


class SecondServer:
    """As docker/local/redis.sh starts the first one, on the port behind it."""

    def __init__(self, stack: Stack) -> None:
        first = stack.environment["TW_REDIS_URI"]
        found = re.fullmatch(r"redis://:(?P<password>[^@]*)@127\.0\.0\.1:(?P<port>\d+)/0", first)
        assert found, "the stack's own Redis is the first one"
        self.port = int(found["port"]) + 1
        self.uri = f"redis://:{found['password']}@127.0.0.1:{self.port}/0"
        self.both = {"TW_REDIS_URI": f"{first},{self.uri}"}
        self._folder = stack.state / "data" / "redis-second"
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._password = found["password"]
        self._log = stack.logs / "redis-second.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        settings = (ROOT / "docker/redis/redis.conf").read_text(encoding="utf-8")
        settings += f'\nbind 127.0.0.1\nport {self.port}\ndir "{self._folder}"\nrequirepass {self._password}\n'
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(["redis-server", "-"], stdin=subprocess.PIPE, stdout=log, stderr=log)
        assert self._process.stdin
        self._process.stdin.write(settings.encode())
        self._process.stdin.close()
        server = RedisServers(self.uri).servers[0]
        wait_until("the second Redis answers", lambda: _answers(server))
        server.close()

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        if self._process and self._process.poll() is None:
            self._process.send_signal(number)
            self._process.wait(20)

    def forget(self) -> None:
        for path in sorted(self._folder.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()


def _answers(server: Any) -> bool:
    try:
        return bool(server.ping())
    except redis.RedisError:  # not there yet, or still reading its log from disk
        return False


@pytest.fixture(scope="module")
def second(stack: Stack) -> Iterator[SecondServer]:
    server = SecondServer(stack)
    server.forget()
    server.start()
    yield server
    server.end()


@pytest.fixture(scope="module")
def both(stack: Stack, second: SecondServer) -> Iterator[Stores]:
    """The stores as programs with the longer list have them."""
    stores = Stores({**stack.environment, **second.both})
    yield stores
    stores.close()


@pytest.fixture(scope="module")
def fold_of_both(topics: Topics, both: Stores, id_key: bytes) -> Fold:
    return Fold(topics, both, id_key)


@pytest.fixture(scope="module")
def judged_of_both(stack: Stack, second: SecondServer, recorder: Recorder, fold_of_both: Fold) -> Judged:
    return Judge({**stack.environment, **second.both}, recorder.path, stack.logs, fold_of_both).must_hold


@pytest.fixture(scope="module")
def shoppers(stack: Stack, anyone: Client) -> dict[int, Client]:
    """Partition -> somebody whose cart is in it; every partition has one."""
    found: dict[int, Client] = {}
    while len(found) < PARTITIONS:
        member = anyone.new_member()
        found.setdefault(ids.partition_of(member.id.encode(), PARTITIONS), anyone.as_caller(member.access_token))
    return found


def restart(stack: Stack, settings: dict[str, str]) -> None:
    stack.stop("cart", "edge")
    stack.start("cart", "edge", settings=settings)


def cart_of(shopper: Client) -> object:
    return shopper.get("/v1/cart").json()


def partitions_on(stores: Stores, which: int, pattern: str) -> set[int]:
    """Whose keys of that pattern are on a server, whether they belong there or not."""
    return {partition_of_key(key.decode()) for key in stores.redis.servers[which].scan_iter(pattern, count=1000)}


# The tests below go one way: one server, then two, then one again.


def test_partitions_that_moved_refill_themselves_from_the_log(
    stack: Stack,
    shoppers: dict[int, Client],
    merchant: Client,
    second: SecondServer,
    both: Stores,
    fold: Fold,
    fold_of_both: Fold,
    judged_of_both: Judged,
) -> None:
    products = [merchant.new_product(price="199.00"), merchant.new_product(price="0.05")]
    keys = {p: uuid.uuid4().hex for p in shoppers}
    commands = {}
    for partition, shopper in shoppers.items():
        response = shopper.add(products[0], partition + 1, wait=False, key=keys[partition])
        assert response.status_code == 202
        commands[partition] = response.headers["Location"]
        assert shopper.add(products[1], 1).status_code == 200
    fold.drained()
    before = {partition: cart_of(shopper) for partition, shopper in shoppers.items()}
    assert not any(both.redis.servers[1].scan_iter("*"))

    restart(stack, second.both)
    fold_of_both.drained()
    assert {partition: cart_of(shopper) for partition, shopper in shoppers.items()} == before
    odd = {p for p in range(PARTITIONS) if p % 2}
    for pattern in ("tw:cart:*", "cart:*", "tw:holders:*", "tw:progress:*", "tw:ledger:*", "tw:ends:*"):
        assert partitions_on(both, 1, pattern) == odd, pattern
    for partition, shopper in shoppers.items():
        assert shopper.get(commands[partition]).json()["status"] == "succeeded", "the ledger moved, too"
        again = shopper.add(products[0], partition + 1, key=keys[partition])
        assert (again.status_code, again.headers.get("Idempotent-Replayed")) == (200, "true")
    assert {partition: cart_of(shopper) for partition, shopper in shoppers.items()} == before
    judged_of_both()


def test_carts_are_changed_where_they_live(
    shoppers: dict[int, Client], merchant: Client, both: Stores, judged_of_both: Judged
) -> None:
    product = merchant.new_product(price="10.00")
    left_behind = {
        key: both.redis.servers[0].get(key)
        for key in both.redis.servers[0].scan_iter("tw:cart:*", count=1000)
        if partition_of_key(key.decode()) % 2
    }
    for partition, shopper in shoppers.items():
        key = uuid.uuid4().hex
        assert shopper.add(product, 2, key=key).status_code == 200
        again = shopper.add(product, 2, key=key)
        assert (again.status_code, again.headers.get("Idempotent-Replayed")) == (200, "true")
        token = shopper.set(product, 5, wait=False).headers["Consistency-Token"]
        shown = shopper.get("/v1/cart", **{"Consistency-Token": token, "Prefer": "wait=10"})
        assert "Consistency" not in shown.headers, "each server tells of its own partitions"
        assert {line["product_id"]: line["quantity"] for line in shown.json()["items"]}[product] == 5
        member = shopper.get("/v1/cart").json()["member_id"]
        text = f"cart:{member}:{product}"
        assert both.redis.servers[partition % 2].exists(text)
        assert not both.redis.servers[1 - partition % 2].exists(text)
        assert both.redis.servers[partition % 2].sismember(
            f"tw:holders:{partition}:{product}", uuid.UUID(member).bytes
        )
        assert shopper.get("/v1/cart/summary").json()["total_items"] > 5
        assert shopper.remove(product).status_code == 204
    assert {key: both.redis.servers[0].get(key) for key in left_behind} == left_behind, "nobody looks there any more"
    judged_of_both()


def test_a_new_price_reaches_carts_on_both_servers(
    shoppers: dict[int, Client], merchant: Client, topics: Topics, judged_of_both: Judged
) -> None:
    product = merchant.new_product(price="10.00")
    for shopper in shoppers.values():
        assert shopper.add(product, 1).status_code == 200
    direct.change_product(topics, product, price="8.00")
    for shopper in shoppers.values():
        wait_until("it is repriced", lambda: _price(shopper, product) == "8.00", WITHIN_S)
    judged_of_both()


def _price(shopper: Client, product: str) -> str:
    items = shopper.get("/v1/cart").json()["items"]
    return next((str(item["price"]) for item in items if item["product_id"] == product), "")


def test_a_server_that_is_away_holds_up_its_own_carts_only(
    shoppers: dict[int, Client], product: str, second: SecondServer, judged_of_both: Judged
) -> None:
    second.end(signal.SIGKILL)
    late = {partition: shopper.add(product, 1, wait=False) for partition, shopper in shoppers.items()}
    assert {response.status_code for response in late.values()} == {202}
    for partition, response in late.items():
        if partition % 2 == 0:
            location = response.headers["Location"]
            wait_until("it is done", lambda: _status(shoppers[partition], location) == "succeeded", WITHIN_S)
            assert shoppers[partition].get("/v1/cart").status_code == 200
        else:
            assert shoppers[partition].get("/v1/cart").status_code == 503
    second.start()
    for partition, response in late.items():
        location = response.headers["Location"]
        wait_until("it is done", lambda: _status(shoppers[partition], location) == "succeeded", WITHIN_S)
    judged_of_both()


def _status(shopper: Client, location: str) -> str:
    response = shopper.get(location)
    return str(response.json()["status"]) if response.status_code == 200 else f"HTTP {response.status_code}"


def test_a_second_worker_and_edge_keep_the_same_rule(
    stack: Stack,
    shoppers: dict[int, Client],
    product: str,
    second: SecondServer,
    recorder: Recorder,
    judged_of_both: Judged,
) -> None:
    stack.start("cart2", "edge2", settings=second.both)
    wait_until("they share the partitions", lambda: they_share(stack, "cart", "cart2"), WITHIN_S)
    other = Client(stack.url("edge2"), recorder)
    for shopper in shoppers.values():
        assert shopper.set(product, 3).status_code == 200
        there = other.as_caller(shopper.token)
        assert there.get("/v1/cart").json() == cart_of(shopper)
    judged_of_both()
    other.close()
    stack.stop("cart2", "edge2")
    wait_until("its partitions are the first one's", lambda: stack.partitions_of("cart") == PARTITIONS, WITHIN_S)


def they_share(stack: Stack, *names: str) -> bool:
    counts = [stack.partitions_of(name) for name in names]
    return min(counts) > 0 and sum(counts) == PARTITIONS


def _twctl(second: SecondServer, *words: str) -> subprocess.CompletedProcess[str]:
    """On the longer list. Whether it succeeds is the caller's to say."""
    command = [ROOT / "dev", "twctl", *words, "--redis-uri", second.both["TW_REDIS_URI"]]
    environment = {name: value for name, value in os.environ.items() if name not in NOT_OURS}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_carts_on_both_servers_are_built_anew_and_put_in_place(
    shoppers: dict[int, Client],
    product: str,
    second: SecondServer,
    both: Stores,
    fold_of_both: Fold,
    judged_of_both: Judged,
) -> None:
    """Whoever is connected goes on, on both servers, before and after."""
    fold_of_both.drained()
    before = {partition: cart_of(shopper) for partition, shopper in shoppers.items()}
    member = shoppers[1].get("/v1/cart").json()["member_id"]
    both.redis.servers[1].delete(f"cart:{member}:summary")
    found = _twctl(second, "verify", "cart")
    assert found.returncode != 0
    assert f"cart:{member}:summary: it is missing" in found.stdout + found.stderr

    done = _twctl(second, "rebuild", "cart")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {partition: cart_of(shopper) for partition, shopper in shoppers.items()} == before
    assert both.redis.servers[1].exists(f"cart:{member}:summary")
    for shopper in shoppers.values():
        assert shopper.add(product, 1).status_code == 200
    judged_of_both()
    done = _twctl(second, "rebuild", "cart", "--drop")
    assert done.returncode == 0, done.stdout + done.stderr
    fold_of_both.drained()
    found = _twctl(second, "verify", "cart", "--against-log")
    assert found.returncode == 0, found.stdout + found.stderr


def test_back_on_one_server_the_carts_are_those_of_the_log(
    stack: Stack, shoppers: dict[int, Client], product: str, fold: Fold, judged: Judged
) -> None:
    """What was left behind there is older: it is the log up to some offset, and goes on from it."""
    before = {partition: cart_of(shopper) for partition, shopper in shoppers.items()}
    restart(stack, {})
    fold.drained()
    assert {partition: cart_of(shopper) for partition, shopper in shoppers.items()} == before
    for shopper in shoppers.values():
        assert shopper.add(product, 1).status_code == 200
    judged()
