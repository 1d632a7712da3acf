"""A store heals by itself: emptied, or put back to an older copy while clients go on writing, it is refilled from the
log, and what the API shows is what was accepted."""

import shutil
import subprocess
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from pymongo import DeleteOne, ReplaceOne

from client import Client, Member, some_email, some_password
from fold import Fold
from judge import Judged
from stack import WORKERS, Stack, wait_until
from stores import Stores
from streams import Event, Stream, stream_of
from topics import Topics

T = TypeVar("T")
PG_BIN = Path("/usr/lib/postgresql/15/bin")
PATIENCE_S = 60
SOME = 15  # writes of each kind, enough for several batches in several partitions


# --- traffic ---------------------------------------------------------------------------------------------------------


def insist(write: Callable[[str], httpx.Response]) -> None:
    """Until it is accepted, with one key: a client that never gives up has one effect. Only a store that is away is a
    reason to refuse."""
    key = uuid.uuid4().hex
    deadline = time.monotonic() + PATIENCE_S
    while (response := write(key)).status_code not in (200, 202):
        assert response.status_code == 503, response.text
        assert time.monotonic() < deadline, response.text
        time.sleep(0.1)


@dataclass
class Traffic:
    """Clients that write without a pause, one thread a domain, and remember what was accepted."""

    anyone: Client
    product: str
    accounts: list[Member]
    done: Counter[str] = field(default_factory=Counter)  # by domain
    added: Counter[int] = field(default_factory=Counter)  # pieces in each account's cart
    names: dict[int, str] = field(default_factory=dict)  # of each account, the last one
    joined: list[tuple[str, str]] = field(default_factory=list)  # e-mail, password
    failed: list[Exception] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.shoppers = [self.anyone.as_caller(account.access_token) for account in self.accounts]

    def _cart(self, n: int) -> None:
        which = n % len(self.shoppers)
        insist(lambda key: self.shoppers[which].add(self.product, 1, wait=False, key=key))
        self.added[which] += 1

    def _product(self, n: int) -> None:
        insist(lambda key: self.anyone.view(self.product, key=key))

    def _member(self, n: int) -> None:
        if n % 12 == 4:
            email, password = some_email(), some_password()
            insist(lambda key: self.anyone.register(email, password, wait=False, key=key))
            self.joined.append((email, password))
            return
        which, name = n % len(self.shoppers), f"Ana {n}"
        body = {"full_name": name}
        insist(lambda key: self.shoppers[which].write("PATCH", "/v1/members/me", body, key=key))
        self.names[which] = name

    def _run(self, domain: str) -> None:
        try:
            while not self._stop.is_set():
                {"cart": self._cart, "product": self._product, "member": self._member}[domain](self.done[domain])
                self.done[domain] += 1
                time.sleep(0.01)
        except Exception as error:  # pylint: disable=broad-except
            self.failed.append(error)

    @contextmanager
    def flowing(self) -> Iterator[None]:
        threads = [threading.Thread(target=self._run, args=(domain,)) for domain in WORKERS]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()
        assert not self.failed, self.failed

    def goes_on(self) -> None:
        """Returns when some more of each kind was accepted."""
        before = Counter(self.done)
        wait_until(
            "more is accepted",
            lambda: self.failed or all(self.done[domain] - before[domain] >= SOME for domain in WORKERS),
            2 * PATIENCE_S,
        )


@pytest.fixture
def traffic(healed: Stack, anyone: Client, merchant: Client) -> Traffic:
    return Traffic(anyone, merchant.new_product(price="2.50"), [anyone.new_member() for _ in range(4)])


# --- what must hold afterwards ---------------------------------------------------------------------------------------


def shows_what_was_accepted(traffic: Traffic) -> None:
    assert traffic.anyone.get(f"/v1/products/{traffic.product}").json()["view_count"] == traffic.done["product"]
    for which, shopper in enumerate(traffic.shoppers):
        items = shopper.get("/v1/cart").json()["items"]
        assert [item["quantity"] for item in items] == [traffic.added[which]]
        assert shopper.get("/v1/members/me").json()["full_name"] == traffic.names[which]
    for email, password in traffic.joined:
        assert traffic.anyone.login(email, password).status_code == 200


def assert_healed(traffic: Traffic, stack: Stack, fold: Fold, judged: Judged) -> None:
    fold.drained(2 * PATIENCE_S)
    shows_what_was_accepted(traffic)
    judged()
    stack.twctl("verify", "all", "--against-log")


def copies_of_events(topics: Topics, domain: str) -> int:
    """How many records of its event topic repeat one before them."""
    topics.read(f"{domain}.events")
    records = topics.records(f"{domain}.events")
    return len(records) - len({(record.partition, record.cause) for record in records})


def told(stream: Stream) -> list[Event]:
    return [stream.next() for _ in range(stream.events.qsize())]


@contextmanager
def refilled(topics: Topics, domain: str) -> Iterator[None]:
    """What is lost inside is folded again, which publishes its events again: seen, so that the loss was one."""
    before = copies_of_events(topics, domain)
    yield
    wait_until("events are published again", lambda: copies_of_events(topics, domain) > before, PATIENCE_S)


# --- Redis -----------------------------------------------------------------------------------------------------------

# Scripts run at one instant. A key's end is an absolute time, 0: none.
COPY_OF_ALL = """
    local copy = {}
    for _, key in ipairs(redis.call('KEYS', '*')) do
        table.insert(copy, {key, math.max(0, redis.call('PEXPIRETIME', key)), redis.call('DUMP', key)})
    end
    return copy
"""


def redis_copy(server: Any) -> list[list[Any]]:
    copy: list[list[Any]] = server.eval(COPY_OF_ALL, 0)
    return copy


def put_back_redis(server: Any, copy: list[list[Any]]) -> None:
    with server.pipeline(transaction=True) as pipe:
        pipe.flushall()
        for key, ends_ms, packed in copy:
            pipe.restore(key, ends_ms, packed, absttl=True)
        pipe.execute()


def test_an_emptied_redis_heals_under_load_and_a_stream_tells_nothing_twice(
    traffic: Traffic, topics: Topics, stack: Stack, stores: Stores, fold: Fold, judged: Judged
) -> None:
    with stream_of(traffic.shoppers[0]) as stream:
        stream.started()
        with traffic.flowing():
            traffic.goes_on()
            with refilled(topics, "cart"):
                stores.redis.flushall()
                traffic.goes_on()
        assert_healed(traffic, stack, fold, judged)
        events: list[Event] = []

        def additions() -> int:
            events.extend(told(stream))
            return sum(event.type == "cart.item_added" for event in events)

        wait_until("all is told", lambda: additions() >= traffic.added[0])
    assert max(Counter(event.data["id"] for event in events).values()) == 1
    assert additions() == traffic.added[0]


def test_a_redis_that_is_put_back_to_an_older_copy_heals_under_load(
    traffic: Traffic, topics: Topics, stack: Stack, stores: Stores, fold: Fold, judged: Judged
) -> None:
    server = stores.redis.servers[0]
    with traffic.flowing():
        traffic.goes_on()
        copy = redis_copy(server)
        traffic.goes_on()
        with refilled(topics, "cart"):
            put_back_redis(server, copy)
            traffic.goes_on()
    assert_healed(traffic, stack, fold, judged)


def test_a_redis_that_starts_from_an_older_file_heals_under_load(
    traffic: Traffic, topics: Topics, stack: Stack, fold: Fold, judged: Judged, tmp_path: Path
) -> None:
    data, older = stack.state / "data/redis", tmp_path / "redis"
    with traffic.flowing():
        traffic.goes_on()
        stack.stop_server("redis")
        shutil.copytree(data, older)
        stack.start_server("redis")
        traffic.goes_on()
        stack.stop_server("redis")
        shutil.rmtree(data)
        shutil.copytree(older, data)
        with refilled(topics, "cart"):
            stack.start_server("redis")
            traffic.goes_on()
    assert_healed(traffic, stack, fold, judged)


# --- PostgreSQL ------------------------------------------------------------------------------------------------------


def postgres_copy(uri: str, path: Path) -> None:
    subprocess.run([PG_BIN / "pg_dump", "--schema=tillwire", f"--file={path}", uri], check=True)


def put_back_postgres(uri: str, path: Path) -> None:
    """In one transaction, so that nobody sees half of it. Workers and edges stay connected; where one of them holds a
    lock, PostgreSQL may give up this side, and it is done again."""
    words = ["-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", "-c", "drop schema tillwire cascade", "-f", path, uri]

    def done() -> bool:
        ran = subprocess.run([PG_BIN / "psql", *words], capture_output=True, text=True, check=False)
        assert ran.returncode == 0 or "deadlock detected" in ran.stderr, ran.stderr
        return ran.returncode == 0

    wait_until("the older copy is in place", done, PATIENCE_S)


def test_a_postgresql_that_is_put_back_to_an_older_dump_heals_under_load(
    traffic: Traffic, topics: Topics, stack: Stack, fold: Fold, judged: Judged, tmp_path: Path
) -> None:
    uri, dump = stack.environment["TW_POSTGRES_URI"], tmp_path / "dump.sql"
    with traffic.flowing():
        traffic.goes_on()
        postgres_copy(uri, dump)
        traffic.goes_on()
        with refilled(topics, "member"):
            put_back_postgres(uri, dump)
            traffic.goes_on()
    assert_healed(traffic, stack, fold, judged)


# --- MongoDB ---------------------------------------------------------------------------------------------------------


def mongo_copy(stores: Stores) -> dict[str, list[Any]]:
    return {name: list(stores.mongo[name].find()) for name in stores.mongo.list_collection_names()}


def put_back_mongo(stores: Stores, copy: dict[str, list[Any]]) -> None:
    """What differs, one by one: a product of the copy is there all the time."""
    for name, documents in copy.items():
        older = {str(document["_id"]): document for document in documents}
        newer = {str(document["_id"]): document for document in stores.mongo[name].find()}
        changes: list[DeleteOne | ReplaceOne[Any]] = [
            DeleteOne({"_id": newer[key]["_id"]}) for key in newer.keys() - older.keys()
        ]
        changes += [
            ReplaceOne({"_id": document["_id"]}, document, upsert=True)
            for key, document in older.items()
            if newer.get(key) != document
        ]
        if changes:
            stores.mongo[name].bulk_write(changes)


def test_a_mongodb_that_is_put_back_to_an_older_copy_heals_under_load(
    traffic: Traffic, topics: Topics, stack: Stack, stores: Stores, fold: Fold, judged: Judged
) -> None:
    """Many documents cannot be copied or put back at one instant while somebody writes: the worker is stopped for it,
    the clients are not."""
    with traffic.flowing():
        traffic.goes_on()
        stack.stop("product")
        copy = mongo_copy(stores)
        stack.start("product")
        traffic.goes_on()
        stack.stop("product")
        put_back_mongo(stores, copy)
        with refilled(topics, "product"):
            stack.start("product")
            traffic.goes_on()
    assert_healed(traffic, stack, fold, judged)


# --- all of them -----------------------------------------------------------------------------------------------------


def content(stores: Stores) -> dict[str, Any]:
    """What the three of them keep for readers."""
    products = stores.mongo["products"].find({}, {"guard": 0})
    return {
        "members": stores.rows("select * from members order by id"),
        "products": sorted(products, key=lambda document: document["_id"]),
        "carts": stores.all_carts(),
    }


def test_all_three_stores_emptied_at_once_are_as_they_were(
    traffic: Traffic, topics: Topics, stack: Stack, stores: Stores, fold: Fold, judged: Judged
) -> None:
    with traffic.flowing():
        traffic.goes_on()
    fold.drained()
    before = content(stores)
    with refilled(topics, "cart"), refilled(topics, "member"), refilled(topics, "product"):
        stores.redis.flushall()
        stores.empty_postgres()
        stack.stop("product")
        put_back_mongo(stores, {name: [] for name in stores.mongo.list_collection_names()})
        stack.start("product")
    fold.drained(2 * PATIENCE_S)
    assert content(stores) == before
    assert_healed(traffic, stack, fold, judged)


def test_everything_agrees_with_a_fold_of_the_log(judged: Judged) -> None:
    judged()
