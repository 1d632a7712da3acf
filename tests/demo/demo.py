#!/usr/bin/env python3
"""Real shopping sessions go through the shop, and the stores are then compared with the input, exactly.

Clicks become views, cart events one piece more in a cart; orders are counted and left out. Every run has new SKUs and
members, so it can be repeated on a stack that holds something. Ends with 1 when any count differs.
"""

import argparse
import os
import random
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

sys.dont_write_bytecode = True
ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

import ids
import sessions
from shop import Accepted, Shop, Unknown
from stores import Stores, exact_json
from topics import Topics

CART_LINES_MAX = 100
LINE_QUANTITY_MAX = 999
PROBE_EVERY_S = 0.05


# --- what should come out


@dataclass
class Customer:
    """A member and the sessions that are theirs, their visits. `lines` is what the input says must be in the cart."""

    email: str
    password: str
    visits: list[sessions.Session] = field(default_factory=list)
    id: str = ""
    token: str = ""
    lines: Counter[int] = field(default_factory=Counter)
    refused: int = 0

    def expect(self, aid: int) -> None:
        """By the shop's own limits; a customer's additions come in order."""
        if self.lines[aid] >= LINE_QUANTITY_MAX or (not self.lines[aid] and len(+self.lines) >= CART_LINES_MAX):
            self.refused += 1
        else:
            self.lines[aid] += 1


@dataclass
class Catalogue:
    run: str
    prices: dict[int, int]  # article -> minor units

    def sku(self, aid: int) -> str:
        return f"DEMO-{self.run}-{aid}"

    def product_id(self, aid: int) -> str:
        return ids.product_id(self.sku(aid))

    def product(self, aid: int) -> dict[str, Any]:
        return {
            "sku": self.sku(aid),
            "name": f"Article {aid}",
            "price": text_of(self.prices[aid]),
            "category": "demo",
            "tags": ["demo", f"run-{self.run}"],
        }


def text_of(minor: int) -> str:
    return f"{minor // 100}.{minor % 100:02}"


# --- progress


class Progress:
    """A bar on a terminal, a line now and then elsewhere."""

    def __init__(self, what: str, total: int) -> None:
        self._what, self._total, self._done, self._told = what, total, 0, -1
        self._lock = threading.Lock()
        self._started = time.monotonic()

    def step(self, count: int = 1) -> None:
        with self._lock:
            self._done += count
            share = 100 * self._done // max(1, self._total)
            if share == self._told or (not sys.stderr.isatty() and share // 25 == self._told // 25 and share < 100):
                return
            self._told = share
            self._draw(share)

    def _draw(self, share: int) -> None:
        text = f"{self._what:<28} {self._done:>7} of {self._total:<7} {time.monotonic() - self._started:5.1f} s"
        if sys.stderr.isatty():
            bar = "#" * (share * 30 // 100)
            print(f"\r[{bar:<30}] {text}", end="\n" if share >= 100 else "", file=sys.stderr, flush=True)
        else:
            print(text, file=sys.stderr, flush=True)


Job = Callable[[Progress], None]  # steps as it goes


def in_parallel(what: str, connections: int, jobs: Iterable[Job], steps: int) -> float:
    """Runs them all; a job that fails ends the demo. Returns the seconds it took."""
    progress = Progress(what, steps)
    started = time.monotonic()
    with ThreadPoolExecutor(connections) as pool:
        for done in [pool.submit(job, progress) for job in jobs]:
            done.result()
    return time.monotonic() - started


# --- the run


class Demo:
    def __init__(self, options: argparse.Namespace, all_sessions: list[sessions.Session]) -> None:
        self.options = options
        self.sessions = all_sessions
        self.accepted = Accepted()
        self.shop = Shop(os.environ["TW_EDGE_URL"], self.accepted)
        self.stores = Stores(dict(os.environ))
        self.topics = Topics(os.environ["TW_KAFKA"])
        dice = random.Random(options.seed)
        articles = sorted({event.aid for session in all_sessions for event in session if event.type != "orders"})
        self.catalogue = Catalogue(uuid.uuid4().hex[:8], {aid: dice.randrange(99, 50_000) for aid in articles})
        self.customers = [
            Customer(f"demo-{self.catalogue.run}-{i}@example.com", uuid.uuid4().hex)
            for i in range(min(options.members, len(all_sessions)))
        ]
        for i, session in enumerate(all_sessions):
            self.customers[i % len(self.customers)].visits.append(session)
        self.views: Counter[int] = Counter()
        self.unknown_views: Counter[int] = Counter()
        self.visible_s: list[float] = []
        self.traffic_s = 0.0
        self.before = self.topics_now()
        self._merchant = ""

    def topics_now(self) -> Counter[str]:
        ends: Counter[str] = Counter()
        for kind in ("commands", "events", "dlq"):
            for (topic, _), end in self.topics.ends(kind).items():
                ends[topic] += end
        return ends

    def run(self) -> None:
        self._merchant = subprocess.run(
            [
                ROOT / "dev",
                "twctl",
                "token",
                "issue",
                "--scope",
                "products:write",
                "--name",
                f"demo-{self.catalogue.run}",
            ],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        self.fill_catalogue()
        in_parallel(
            "members, registered",
            self.options.connections,
            [self.signing_up(c) for c in self.customers],
            len(self.customers),
        )
        counts = sessions.count_types(self.sessions)
        probe = Probe(self)
        self.accepted.seconds.clear()
        with probe:
            self.traffic_s = in_parallel(
                "clicks and cart events",
                self.options.connections,
                [self.shopping(c) for c in self.customers],
                counts["clicks"] + counts["carts"],
            )
        self.visible_s = probe.visible_s
        self.wait_until_applied()

    def fill_catalogue(self) -> None:
        aids = list(self.catalogue.prices)

        def creating(aid: int) -> Job:
            def create(progress: Progress) -> None:
                self.shop.write("POST", "/v1/products", self.catalogue.product(aid), self._merchant)
                progress.step()

            return create

        in_parallel("products", self.options.connections, [creating(aid) for aid in aids], len(aids))
        self.wait_until_applied()

    def signing_up(self, customer: Customer) -> Job:
        def sign_up(progress: Progress) -> None:
            customer.id, customer.token = self.sign_up(customer.email, customer.password)
            progress.step()

        return sign_up

    def sign_up(self, email: str, password: str) -> tuple[str, str]:
        """Member id and access token."""
        login = {"email": email, "password": password}
        status, answer = self.shop.ask("POST", "/v1/members", {**login, "full_name": "Demo Customer"}, wait=True)
        assert status == 201, f"registration: {status} {answer}"
        status, answer = self.shop.ask("POST", "/v1/auth/login", login)
        assert status == 200, f"login: {status} {answer}"
        return answer["member_id"], answer["access_token"]

    def shopping(self, customer: Customer) -> Job:
        def go(progress: Progress) -> None:
            for session in customer.visits:
                for event in session:
                    if event.type != "orders":
                        self.click(event.aid) if event.type == "clicks" else self.add(customer, event.aid)
                        progress.step()

        return go

    def click(self, aid: int) -> None:
        try:
            self.shop.write("POST", f"/v1/products/{self.catalogue.product_id(aid)}/views", safe=False)
            self.views[aid] += 1
        except Unknown:
            self.unknown_views[aid] += 1

    def add(self, customer: Customer, aid: int) -> None:
        self.shop.write(
            "POST", "/v1/cart/items", {"product_id": self.catalogue.product_id(aid), "quantity": 1}, customer.token
        )
        customer.expect(aid)

    def lag(self) -> int:
        """Commands whose effect is not readable yet."""
        return sum(
            self.topics.end(f"{domain}.commands", p) - mark
            for domain in ids.DOMAINS
            for p, mark in enumerate(self.stores.watermarks(domain))
        )

    def wait_until_applied(self) -> None:
        deadline = time.monotonic() + 120
        while self.lag():
            assert time.monotonic() < deadline, f"{self.lag()} commands are not applied after two minutes"
            time.sleep(0.05)


class Probe:
    """Measures from the 202 to the effect in Redis, while the traffic runs, with a cart of its own."""

    def __init__(self, demo: Demo) -> None:
        self.visible_s: list[float] = []
        self._demo = demo
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._product = demo.catalogue.product_id(next(iter(demo.catalogue.prices)))
        self._id, self._token = demo.sign_up(f"probe-{demo.catalogue.run}@example.com", uuid.uuid4().hex)
        self._failed: BaseException | None = None

    def _run(self) -> None:
        try:
            key = f"cart:{self._id}:{self._product}"
            for round_number in range(1, 1_000_000):
                quantity = 1 + round_number % LINE_QUANTITY_MAX
                self._demo.shop.write("PUT", f"/v1/cart/items/{self._product}", {"quantity": quantity}, self._token)
                self.visible_s.append(self._until_visible(key, quantity))
                if self._stop.wait(PROBE_EVERY_S):
                    return
        except BaseException as error:  # told by the thread that waits
            self._failed = error

    def _until_visible(self, key: str, quantity: int) -> float:
        started = time.monotonic()
        while True:
            text = self._demo.stores.redis.get(key)
            if text and exact_json(text)["quantity"] == quantity:
                return time.monotonic() - started
            assert time.monotonic() - started < 60, "a cart line was not visible within a minute"
            time.sleep(0.0005)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if self._failed:
            raise self._failed


# --- the report


def mark(good: bool) -> str:
    return "ok" if good else "DIFFERS"


def percentile(values: list[float], share: float) -> str:
    if not values:
        return "-"
    return f"{1000 * sorted(values)[min(len(values) - 1, int(share * len(values)))]:.1f} ms"


class Report:
    def __init__(self, demo: Demo) -> None:
        self._demo = demo
        self._differences = 0

    def _row(self, *cells: object, good: bool | None = None) -> None:
        self._differences += good is False
        texts = [f"{cell:>14}" if i else f"{cell:<34}" for i, cell in enumerate(cells)]
        print(("  " + " ".join(texts) + ("" if good is None else f"  {mark(good)}")).rstrip())

    def print(self) -> bool:
        """True when everything is as the input says."""
        print(
            f"\n{len(self._demo.sessions)} sessions of {len(self._demo.customers)} members, "
            f"{len(self._demo.catalogue.prices)} articles, seed {self._demo.options.seed}"
        )
        self._views()
        self._carts()
        self._topics()
        self._speed()
        print(f"\n{'everything is as the input says' if not self._differences else f'{self._differences} DIFFERENCES'}")
        return not self._differences

    def _views(self) -> None:
        demo = self._demo
        stored = {
            document["sku"]: document["view_count"]
            for document in demo.stores.mongo["products"].find(
                {"sku": {"$in": [demo.catalogue.sku(aid) for aid in demo.catalogue.prices]}},
                {"sku": 1, "view_count": 1},
            )
        }
        print("\nviews (MongoDB)")
        self._row("product", "input", "view_count")
        wrong = 0
        for rank, aid in enumerate(sorted(demo.catalogue.prices, key=lambda a: (-demo.views[a], a))):
            found = stored.get(demo.catalogue.sku(aid), -1)
            good = demo.views[aid] <= found <= demo.views[aid] + demo.unknown_views[aid]
            if rank < 10 or not good:
                self._row(demo.catalogue.sku(aid), demo.views[aid], found, good=good)
            wrong += not good
        self._row(
            f"all {len(stored)} products",
            sum(demo.views.values()),
            sum(stored.values()),
            good=not wrong and len(stored) == len(demo.catalogue.prices),
        )
        if demo.unknown_views:
            self._row("answers that left it open", sum(demo.unknown_views.values()), "")

    def _carts(self) -> None:
        demo = self._demo
        print("\ncarts (Redis)")
        self._row("", "input", "items", "summary")
        totals = [Counter[str](), Counter[str](), Counter[str]()]
        for customer in demo.customers:
            expected = {
                "pieces": customer.lines.total(),
                "cents": sum(count * demo.catalogue.prices[aid] for aid, count in customer.lines.items()),
            }
            items, summary = self._stored_cart(customer)
            for total, one in zip(totals, (expected, items, summary)):
                total.update(one)
            if not expected == items == summary:
                self._row(customer.email, expected["pieces"], items["pieces"], summary["pieces"], good=False)
        self._row("pieces", *(total["pieces"] for total in totals), good=len({t["pieces"] for t in totals}) == 1)
        self._row(
            "total price", *(text_of(total["cents"]) for total in totals), good=len({t["cents"] for t in totals}) == 1
        )
        self._row("additions beyond 100 lines", sum(customer.refused for customer in demo.customers), "", "")
        self._row("orders, left out", sessions.count_types(demo.sessions)["orders"], "", "")

    def _stored_cart(self, customer: Customer) -> tuple[dict[str, int], dict[str, int]]:
        """What the items add up to, and what the summary says; -1 for a line the input does not have like that."""
        catalogue = self._demo.catalogue
        texts = self._demo.stores.cart_texts(customer.id)
        summary = exact_json(texts.pop(f"cart:{customer.id}:summary", '{"total_items":0,"total_price":0}'))
        lines = {item["product_id"]: item for item in map(exact_json, texts.values())}
        items = {
            "pieces": sum(line["quantity"] for line in lines.values()),
            "cents": int(sum((line["price"] * line["quantity"] for line in lines.values()), Decimal(0)) * 100),
        }
        expected = {catalogue.product_id(aid): count for aid, count in customer.lines.items() if count}
        if {product: line["quantity"] for product, line in lines.items()} != expected:
            items = {"pieces": -1, "cents": -1}
        return items, {"pieces": summary["total_items"], "cents": int(summary["total_price"] * 100)}

    def _topics(self) -> None:
        now = self._demo.topics_now()
        print("\ntopics (Kafka)")
        self._row("topic", "records", "of this run")
        for topic in sorted(now):
            good = now[topic] == self._demo.before[topic] if topic.endswith(".dlq") else None
            self._row(topic, now[topic], now[topic] - self._demo.before[topic], good=good)
        lag = self._demo.lag()
        self._row("commands not yet applied", lag, good=lag == 0)

    def _speed(self) -> None:
        demo = self._demo
        writes = sum(demo.views.values()) + sum(c.lines.total() + c.refused for c in demo.customers)
        print("\nspeed (this client shares the machine with all servers)")
        self._row("accepted writes a second", f"{writes / max(demo.traffic_s, 0.001):.0f}")
        self._row("", "p50", "p99")
        self._row("request to 202", percentile(demo.accepted.seconds, 0.5), percentile(demo.accepted.seconds, 0.99))
        self._row("202 to visible in Redis", percentile(demo.visible_s, 0.5), percentile(demo.visible_s, 0.99))
        if demo.accepted.retries:
            self._row("requests tried again after a 503", demo.accepted.retries)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="./dev demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--sessions", type=Path, help="JSON lines of the OTTO data set; without it, sessions are made up"
    )
    parser.add_argument("--sessions-count", type=int, default=300, help="how many to make up, or to read at most")
    parser.add_argument("--seed", type=int, default=1, help="of what is made up: sessions, prices")
    parser.add_argument(
        "--members", type=int, default=40, help="sessions are dealt to so many (hashing passwords is slow)"
    )
    parser.add_argument("--connections", type=int, default=16, help="requests at a time")
    options = parser.parse_args()
    if min(options.sessions_count, options.members, options.connections) < 1:
        parser.error("counts begin at 1")
    if options.sessions:
        all_sessions = sessions.read(options.sessions)[: options.sessions_count]
    else:
        all_sessions = sessions.generate(options.sessions_count, options.seed)
    demo = Demo(options, all_sessions)
    demo.run()
    return 0 if Report(demo).print() else 1


if __name__ == "__main__":
    sys.exit(main())
