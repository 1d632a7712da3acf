"""Shopping sessions through two edges and two workers a domain, while workers are killed at random: afterwards the
stores hold what clients were told was accepted, by a fold of the input that knows nothing of commands or logs.

A click is a view, a cart event one piece more in the cart of the session's member, an order clears that cart. Meanwhile
a merchant changes prices; carts must follow. Sessions are made up from a fixed seed, and the data set's own are played
before them where they are at hand.
"""

import hashlib
import queue
import random
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import Any

import msgpack
import pytest
from confluent_kafka import Producer

import ids
from client import Client
from compare_stores import carts_agree_with_themselves
from fold import Fold
from judge import Judged
from messages import TOPICS, money_text
from model import TIME, time_text
from passwords import weak_hash
from stack import ROOT, WORKERS, Stack
from stores import Stores, exact_json
from tokens import parts_of, signed, signing_key

sys.path.insert(0, str(ROOT / "tests" / "demo"))

import sessions
from shop import Accepted, Shop, Unknown

REAL = ROOT.parent / "shared" / "data" / "otto-sessions-sample.jsonl"
EVENTS = 50_000
SEED = 20_261_123
CONNECTIONS = 32
KEYED_VIEWS = 0.2
REPRICED = 300  # articles
HOUR_MS = 3_600_000


# --- what should come out


@dataclass
class Article:
    sku: str
    name: str
    price: int  # minor units
    discount_price: int | None

    @property
    def id(self) -> str:
        return ids.product_id(self.sku)

    @property
    def pays(self) -> int:
        return self.price if self.discount_price is None else self.discount_price

    def prices(self) -> dict[str, str | None]:
        sale = None if self.discount_price is None else money_text(self.discount_price)
        return {"price": money_text(self.price), "discount_price": sale}

    def body(self) -> dict[str, Any]:
        prices = {name: price for name, price in self.prices().items() if price is not None}
        return {"sku": self.sku, "name": self.name, "category": "sessions", **prices}


@dataclass
class Expected:
    """The fold of the input: what was accepted, and nothing else. A session's calls come from one thread, and so do all
    changes of an article, whose prices are those it has at the end."""

    articles: dict[int, Article]
    views: list[int] = field(default_factory=list)  # articles; appending needs no lock
    unknown_views: list[int] = field(default_factory=list)  # sent without a key, and the answer left it open
    carts: dict[str, Counter[int]] = field(default_factory=dict)  # member -> pieces of an article

    def add(self, member_id: str, aid: int) -> None:
        cart = self.carts.setdefault(member_id, Counter())
        cart[aid] += 1
        assert len(cart) <= 100 and cart[aid] <= 999, "no session is as long as that"

    def clear(self, member_id: str) -> None:
        self.carts.pop(member_id, None)

    def wrong_views(self, found: dict[str, int]) -> list[str]:
        """`found`: SKU -> view_count."""
        views, unknown = Counter(self.views), Counter(self.unknown_views)
        return [
            f"{article.sku} has {found.get(article.sku)} views, accepted were {views[aid]}"
            for aid, article in self.articles.items()
            if not views[aid] <= found.get(article.sku, -1) <= views[aid] + unknown[aid]
        ]

    def _keys(self, member_id: str) -> dict[str, dict[str, Any]]:
        """But for times."""
        lines = [(self.articles[aid], pieces) for aid, pieces in self.carts[member_id].items()]
        keys: dict[str, dict[str, Any]] = {
            f"cart:{member_id}:{article.id}": {
                "product_id": article.id,
                "product_name": article.name,
                "price": Decimal(article.pays).scaleb(-2),
                "quantity": pieces,
            }
            for article, pieces in lines
        }
        total = Decimal(sum(article.pays * pieces for article, pieces in lines)).scaleb(-2)
        keys[f"cart:{member_id}:summary"] = {"total_items": sum(p for _, p in lines), "total_price": total}
        return keys

    def wrong_carts(self, found: dict[str, tuple[str, int]]) -> list[str]:
        """`found`: of the sessions' members, key -> (JSON, its end)."""
        expected = {key: value for member_id in self.carts for key, value in self._keys(member_id).items()}
        wrong = [f"{key} is there" for key in found.keys() - expected.keys()]
        for key, value in expected.items():
            shown = exact_json(found[key][0]) if key in found else {}
            at = str(shown.pop("updated_at" if key.endswith(":summary") else "added_at", ""))
            if shown != value or not TIME.fullmatch(at):
                wrong.append(f"{key} is {shown} at {at}, expected {value}")
        return wrong + carts_agree_with_themselves(found)


# --- members


@dataclass
class Visit:
    """A session and its member. Most sessions put nothing in a cart: they need none."""

    events: sessions.Session
    member_id: str = ""
    token: str = ""

    @property
    def needs_member(self) -> bool:
        return any(event.type != "clicks" for event in self.events)


class Registry:
    """Registers and logs in thousands of members as an edge would write it: hashing their passwords takes too long."""

    def __init__(self, stack: Stack, anyone: Client, id_key: bytes) -> None:
        self._header, self._claims = parts_of(anyone.new_member().access_token)
        self._key = signing_key(stack)
        self._id_key = id_key
        self._password_hash = weak_hash("correct horse")
        self._producer = Producer({"bootstrap.servers": stack.environment["TW_KAFKA"], "acks": "all", "log_level": 0})

    def _write(self, ce_type: str, command_id: str, member_id: str, **body: Any) -> None:
        self._producer.produce(
            "member.commands",
            msgpack.packb({"member_id": member_id, **body}),
            member_id.encode(),
            ids.partition_of(member_id.encode(), TOPICS["member.commands"]),
            headers={
                "ce_id": command_id,
                "ce_type": ce_type,
                "ce_source": "/tillwire/edge",
                "ce_time": time_text(time.time_ns() // 1_000_000),
                "ce_specversion": "1.0",
                "content-type": "application/msgpack",
            },
        )

    def sign_up(self, visit: Visit, number: int) -> None:
        email = f"session-{number}-{uuid.uuid4().hex[:8]}@example.com"
        visit.member_id = ids.member_id(self._id_key, email)
        person = {"email": email, "email_folded": email, "full_name": f"Session {number}"}
        self._write(
            "member.register.v1", str(uuid.uuid4()), visit.member_id, password_hash=self._password_hash, **person
        )
        command_id, now_ms = str(uuid.uuid4()), time.time_ns() // 1_000_000
        token_id = ids.derived_id(command_id, visit.member_id, "access")
        times = {"iat": now_ms // 1000, "exp": (now_ms + HOUR_MS) // 1000}
        visit.token = signed(
            self._header, {**self._claims, **times, "sub": visit.member_id, "jti": token_id}, self._key
        )
        self._write(
            "member.start_session.v1",
            command_id,
            visit.member_id,
            credential_version=1,
            access_token_hash=hashlib.sha256(visit.token.encode()).digest(),
            access_expires_at=now_ms + HOUR_MS,
            refresh_token_hash=hashlib.sha256(command_id.encode()).digest(),
            refresh_expires_at=now_ms + HOUR_MS,
        )

    def close(self) -> None:
        assert self._producer.flush(60) == 0


# --- the walk through the shop


class Crew:
    """Threads that take jobs until none is left; a job that fails ends them all."""

    def __init__(self, jobs: list[Callable[[], int]]) -> None:
        self.done = 0  # steps of finished jobs
        self._jobs: queue.SimpleQueue[Callable[[], int]] = queue.SimpleQueue()
        for job in jobs:
            self._jobs.put(job)
        self._lock = threading.Lock()
        self._failed: list[BaseException] = []
        self._threads = [threading.Thread(target=self._run) for _ in range(CONNECTIONS)]

    def _run(self) -> None:
        try:
            while not self._failed:
                steps = self._jobs.get_nowait()()
                with self._lock:
                    self.done += steps
        except queue.Empty:
            pass
        except BaseException as error:  # told by the thread that waits
            self._failed.append(error)

    def work(self, what: str, total: int) -> float:
        """A line every ten seconds; returns how many it took."""
        started = told = time.monotonic()
        for thread in self._threads:
            thread.start()
        for thread in self._threads:
            while thread.is_alive():
                thread.join(1)
                if time.monotonic() - told >= 10:
                    told = time.monotonic()
                    print(f"{what}: {self.done} of {total} after {told - started:.0f} s", flush=True)
        if self._failed:
            raise self._failed[0]
        assert self.done == total
        took = time.monotonic() - started
        print(f"{what}: {total} in {took:.1f} s, {total / took:.0f} a second", flush=True)
        return took


class Killer:
    """Kills a worker now and then and starts it again, as long as the block runs; each before any comes again."""

    def __init__(self, stack: Stack, names: list[str], seed: int) -> None:
        self._stack = stack
        self._names = names
        self._dice = random.Random(seed)
        self._stop = threading.Event()
        self._failed: list[BaseException] = []
        self._thread = threading.Thread(target=self._run)
        self.kills: Counter[str] = Counter()

    def _run(self) -> None:
        try:
            for name in self._in_turn():
                if self._stop.wait(self._dice.uniform(0.2, 2)):
                    return
                self._stack.kill(name)
                self.kills[name] += 1
                self._stop.wait(self._dice.uniform(0, 2))
                self._stack.start(name)
        except BaseException as error:  # told by the thread that waits
            self._failed.append(error)

    def _in_turn(self) -> Iterator[str]:
        while True:
            yield from self._dice.sample(self._names, len(self._names))

    def __enter__(self) -> "Killer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if self._failed:
            raise self._failed[0]


def some_prices(dice: random.Random) -> tuple[int, int | None]:
    """A price, and sometimes a lower one while it is on sale."""
    price = dice.randrange(100, 50_000)
    return price, dice.randrange(1, price) if dice.random() < 0.3 else None


class Walk:
    """All sessions, each in its order, on connections of either edge."""

    def __init__(self, urls: list[str], merchant: str, visits: list[Visit]) -> None:
        self.accepted = Accepted()
        self._shops = [Shop(url, self.accepted) for url in urls]
        self._merchant = merchant
        self._visits = visits
        dice, run = random.Random(SEED), uuid.uuid4().hex[:8]
        articles = {}
        for aid in sorted({event.aid for visit in visits for event in visit.events}):
            articles[aid] = Article(f"S-{run}-{aid}", f"Article {aid}", *some_prices(dice))
        self.expected = Expected(articles)
        in_carts = Counter(event.aid for visit in visits for event in visit.events if event.type == "carts")
        self._repriced = [aid for aid, _ in in_carts.most_common(REPRICED)]

    def creating(self) -> list[Callable[[], int]]:
        def create(number: int, article: Article) -> int:
            shop = self._shops[number % len(self._shops)]
            shop.write("POST", "/v1/products", article.body(), self._merchant)
            return 1

        return [partial(create, i, article) for i, article in enumerate(self.expected.articles.values())]

    def visiting(self) -> list[Callable[[], int]]:
        """With the merchant's changes strewn in."""
        jobs: list[Callable[[], int]] = [partial(self._visit, i, visit) for i, visit in enumerate(self._visits)]
        jobs += [partial(self._reprice, number, aid) for number, aid in enumerate(self._repriced)]
        random.Random(SEED).shuffle(jobs)
        return jobs

    def steps(self) -> int:
        return sum(len(visit.events) for visit in self._visits) + len(self._repriced)

    def _reprice(self, number: int, aid: int) -> int:
        article = self.expected.articles[aid]
        article.price, article.discount_price = some_prices(random.Random(SEED + aid))
        shop = self._shops[number % len(self._shops)]
        shop.write("PATCH", f"/v1/products/{article.id}", article.prices(), self._merchant)
        return 1

    def _visit(self, number: int, visit: Visit) -> int:
        shop, dice = self._shops[number % len(self._shops)], random.Random(SEED + number)
        for event in visit.events:
            if event.type == "clicks":
                self._view(shop, event.aid, dice.random() < KEYED_VIEWS)
            elif event.type == "carts":
                body = {"product_id": self.expected.articles[event.aid].id, "quantity": 1}
                shop.write("POST", "/v1/cart/items", body, visit.token)
                self.expected.add(visit.member_id, event.aid)
            else:
                shop.write("DELETE", "/v1/cart", None, visit.token)
                self.expected.clear(visit.member_id)
        return len(visit.events)

    def _view(self, shop: Shop, aid: int, keyed: bool) -> None:
        try:
            shop.write("POST", f"/v1/products/{self.expected.articles[aid].id}/views", safe=keyed)
            self.expected.views.append(aid)
        except Unknown:
            self.expected.unknown_views.append(aid)


# --- the tests


def test_a_lost_or_doubled_effect_is_found() -> None:
    articles = {aid: Article(f"S-{aid}", f"Article {aid}", 1000 + aid, 999 if aid == 2 else None) for aid in (1, 2)}
    input_fold, member = Expected(articles, [1, 1, 2], [2]), str(uuid.uuid4())
    for aid in (1, 2, 2):
        input_fold.add(member, aid)
    input_fold.add("gone", 1)
    input_fold.clear("gone")

    for views in ((2, 1), (2, 2)):  # one of them may be there or not
        assert input_fold.wrong_views({f"S-{aid}": n for aid, n in zip(articles, views)}) == []
    for views in ((1, 1), (3, 1), (2, 0), (2, 3)):
        assert len(input_fold.wrong_views({f"S-{aid}": n for aid, n in zip(articles, views)})) == 1, views
    assert len(input_fold.wrong_views({"S-1": 2})) == 1

    def line(aid: int, pieces: int, price: str) -> tuple[str, str]:
        article = articles[aid]
        text = f'{{"product_id":"{article.id}","product_name":"{article.name}","price":{price},"quantity":{pieces},'
        return f"cart:{member}:{article.id}", f'{text}"added_at":"2026-11-23T10:00:00.000Z"}}'

    def summary(pieces: int, price: str) -> tuple[str, str]:
        text = f'{{"total_items":{pieces},"total_price":{price},"updated_at":"2026-11-23T10:00:00.000Z"}}'
        return f"cart:{member}:summary", text

    def wrong(*keys: tuple[str, str]) -> list[str]:
        return input_fold.wrong_carts({key: (text, 1) for key, text in keys})

    true = line(1, 1, "10.01"), line(2, 2, "9.99"), summary(3, "29.99")
    assert wrong(*true) == []
    assert wrong(line(1, 2, "10.01"), *true[1:]) and wrong(line(1, 1, "10.02"), *true[1:])
    assert wrong(*true[1:]) and wrong(*true[:2]) and wrong(*true[:2], summary(3, "29.98"))
    assert wrong(*true, ("cart:gone:summary", summary(1, "10.01")[1]))


def visits_to_make() -> list[Visit]:
    real = sessions.read(REAL) if REAL.exists() else []
    made_up = sessions.first_events(sessions.generate(EVENTS // 4, SEED), EVENTS)
    return [Visit(events) for events in real + made_up]


@pytest.fixture
def two_of_each(healed: Stack) -> Iterator[list[str]]:
    """Two edges and two workers a domain; the workers' names."""
    seconds = [f"{domain}2" for domain in WORKERS]
    healed.start("edge2", *seconds)
    yield [*WORKERS, *seconds]


def test_every_session_counts_exactly_while_workers_are_killed(
    two_of_each: list[str],
    healed: Stack,
    anyone: Client,
    merchant: Client,
    stores: Stores,
    fold: Fold,
    judged: Judged,
    id_key: bytes,
    capsys: pytest.CaptureFixture[str],
) -> None:
    visits = visits_to_make()
    walk = Walk([healed.url("edge"), healed.url("edge2")], merchant.token, visits)
    with capsys.disabled():
        registry = Registry(healed, anyone, id_key)
        for number, visit in enumerate(visits):
            if visit.needs_member:
                registry.sign_up(visit, number)
        registry.close()
        Crew(walk.creating()).work("products", len(walk.expected.articles))
        fold.drained()
        with Killer(healed, two_of_each, SEED) as killer:
            Crew(walk.visiting()).work("events", walk.steps())
        fold.drained(120)
        print(f"killed: {dict(killer.kills)}; tried again after a 503: {walk.accepted.retries}", flush=True)
        print(f"views whose end was left open: {len(walk.expected.unknown_views)}", flush=True)
    assert len(killer.kills) == len(two_of_each), "too few kills to mean anything"
    skus = [article.sku for article in walk.expected.articles.values()]
    documents = stores.mongo["products"].find({"sku": {"$in": skus}}, {"sku": 1, "view_count": 1})
    wrong = walk.expected.wrong_views({d["sku"]: int(d["view_count"]) for d in documents})
    members = {visit.member_id for visit in visits}
    wrong += walk.expected.wrong_carts({k: v for k, v in stores.all_carts().items() if k.split(":")[1] in members})
    assert not wrong, "\n".join(wrong[:20])
    judged(but=["I1"])  # no recorder sees the demo's client, which has an account of its own
