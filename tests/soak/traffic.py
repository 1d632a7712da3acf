"""Customers and merchants of a shop, through several edges: sessions as real ones, and all else that the API has. An
edge or server that is away is no reason to stop; every request is recorded."""

import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx

import sessions
from client import Client, Member, address_body, product_body, some_email, some_password
from recorder import Recorder
from stack import ROOT
from streams import Stream

REAL = ROOT.parent / "shared" / "data" / "otto-sessions-sample.jsonl"
SESSIONS = 2000
PRODUCTS = 60
OF_A_SESSION = 0.6  # of the requests; the others are drawn from ACTS
AGAIN = 0.1  # of the writes with a key are sent twice
DUE_S = 5.0  # who is later than this has given up


def all_sessions(seed: int) -> tuple[str, list[sessions.Session]]:
    if REAL.exists():
        return "the data set's sessions", sessions.read(REAL)
    return "made up sessions", sessions.generate(SESSIONS, seed)


@dataclass
class Shop:
    """What all of them share."""

    recorder: Recorder
    products: list[str]
    merchant_token: str
    statuses: Counter[int] = field(default_factory=Counter)  # 0: the connection broke
    routes: Counter[str] = field(default_factory=Counter)
    failed: list[BaseException] = field(default_factory=list)


class Actor:
    """One customer at a time, each through any of the edges."""

    def __init__(self, shop: Shop, urls: list[str], dice: random.Random, events: Iterator[sessions.Event]) -> None:
        self.shop = shop
        self.dice = dice
        self._events = events
        self._edges = [Client(url, shop.recorder) for url in urls]
        for edge in self._edges:
            edge.http.event_hooks["response"].append(self._count)
        self.member: Member | None = None
        self.addresses: list[str] = []
        self.last_command = ""
        self.old_token = ""  # of a session that was ended

    def close(self) -> None:
        for edge in self._edges:
            edge.close()

    def _count(self, response: httpx.Response) -> None:
        self.shop.statuses[response.status_code] += 1
        self.shop.routes[f"{response.request.method} {response.request.url.path}"] += 1
        if response.status_code == 401 and response.request.url.path != "/v1/auth/login":
            self.member = None
        if response.status_code == 202 and "location" in response.headers:
            self.last_command = response.headers["location"]

    # --- who asks

    @property
    def anyone(self) -> Client:
        return self.dice.choice(self._edges)

    @property
    def merchant(self) -> Client:
        return self.anyone.as_caller(self.shop.merchant_token)

    @property
    def customer(self) -> Client:
        """A member who is logged in, a new one where there is none; nobody in particular when that fails."""
        if not self.member:
            self.register()
        return self.anyone.as_caller(self.member.access_token) if self.member else self.anyone

    def some_product(self) -> str:
        return self.dice.choice(self.shop.products)

    # --- what they do

    def step(self) -> None:
        if self.dice.random() < OF_A_SESSION:
            self._click(next(self._events))
        else:
            self.dice.choices(ACTS, WEIGHTS)[0](self)

    def _click(self, event: sessions.Event) -> None:
        product = self.shop.products[event.aid % len(self.shop.products)]
        if event.type == "clicks":
            self.anyone.view(product)
            self.anyone.get(f"/v1/products/{product}")
        elif event.type == "carts":
            self.keyed(lambda key: self.customer.add(product, 1, wait=False, key=key))
        else:
            self.customer.clear(wait=False)

    def keyed(self, write: Callable[[str], httpx.Response]) -> None:
        """With an Idempotency-Key, and now and then again."""
        key = uuid.UUID(int=self.dice.getrandbits(128)).hex
        write(key)
        if self.dice.random() < AGAIN:
            write(key)

    def register(self) -> None:
        email, password = some_email(), some_password()
        self.addresses = []
        if self.anyone.register(email, password).status_code == 201:
            self.login(email, password)

    def login(self, email: str, password: str) -> None:
        answer = self.anyone.login(email, password)
        if answer.status_code == 200:
            tokens = answer.json()
            self.member = Member(
                tokens["member_id"], email, password, tokens["access_token"], tokens["refresh_token"]
            )

    def login_again(self) -> None:
        if self.member:
            self.login(self.member.email, self.member.password)

    def refresh(self) -> None:
        if not self.member:
            return
        answer = self.anyone.refresh(self.member.refresh_token)
        if answer.status_code == 200:
            self.member.access_token = answer.json()["access_token"]
            self.member.refresh_token = answer.json()["refresh_token"]
        else:
            self.member = None

    def leave(self, path: str, method: str = "POST") -> None:
        caller, self.member = self.customer, None
        if caller.write(method, path).status_code < 300:
            self.old_token = caller.token

    def is_nobody(self) -> None:
        """With a token that was ended, or that nobody signed."""
        member, token = self.member, self.old_token
        if member and (not token or self.dice.random() < 0.5):
            token = member.access_token[:-8] + "AAAAAAAA"
        if token:
            self.anyone.as_caller(token).get("/v1/cart")
            self.anyone.as_caller(token).add(self.some_product(), 1, wait=False)
        self.member = member

    def misuse_key(self) -> None:
        key, product, caller = uuid.UUID(int=self.dice.getrandbits(128)).hex, self.some_product(), self.customer
        caller.add(product, 1, wait=False, key=key)
        caller.add(product, 2, wait=False, key=key)

    def change_password(self) -> None:
        caller, new = self.customer, some_password()
        if self.member:
            caller.change_password(self.member.password, new)
            self.member = None  # it ends all sessions but one, and nobody knows whether it was done

    def change_email(self) -> None:
        caller = self.customer
        if self.member:
            caller.change_email(some_email(), self.member.password, wait=False)
            self.member = None

    def sessions(self) -> None:
        caller = self.customer
        answer = caller.get("/v1/auth/sessions")
        if answer.status_code == 200 and self.dice.random() < 0.3:
            one = self.dice.choice(answer.json()["items"])
            caller.write("DELETE", f"/v1/auth/sessions/{one['id']}")

    def list_addresses(self) -> None:
        answer = self.customer.get("/v1/members/me/addresses")
        if answer.status_code == 200:
            self.addresses = [address["id"] for address in answer.json()["items"]]

    def of_an_address(self) -> None:
        self.list_addresses()
        if not self.addresses or self.dice.random() < 0.4:
            self.customer.write("POST", "/v1/members/me/addresses", address_body())
            return
        path = f"/v1/members/me/addresses/{self.dice.choice(self.addresses)}"
        method, path, body = self.dice.choice(
            [
                ("GET", path, None),
                ("PATCH", path, {"label": f"Home {self.dice.randrange(9)}"}),
                ("DELETE", path, None),
                ("PUT", f"{path}/default", None),
            ]
        )
        caller = self.customer
        caller.get(path) if method == "GET" else caller.write(method, path, body)

    def of_members(self) -> None:
        answer = self.merchant.get("/v1/members?limit=5")
        if answer.status_code == 200 and answer.json()["items"]:
            one = self.dice.choice(answer.json()["items"])["id"]
            self.merchant.get(f"/v1/members/{one}")
            if self.dice.random() < 0.1:
                self.merchant.write("PUT", f"/v1/members/{one}/status", {"status": "SUSPENDED", "reason": "a soak"})

    def change_product(self) -> None:
        fields: dict[str, Any] = self.dice.choice(
            [
                {"price": f"{self.dice.randint(5, 90)}.49", "is_active": True},
                {"discount_price": self.dice.choice([None, "1.49"]), "is_active": True},
                {"name": f"Shirt {self.dice.randrange(99)}", "is_active": True},
            ]
        )
        self.merchant.change_product(self.some_product(), wait=False, **fields)

    def rate(self) -> None:
        product = self.some_product()
        if self.dice.random() < 0.3:
            self.customer.withdraw_rating(product, wait=False)
        else:
            self.customer.rate(product, self.dice.randint(1, 5), wait=False)

    def of_a_cart(self) -> None:
        product, caller = self.some_product(), self.customer
        self.dice.choice(
            [
                lambda: caller.get("/v1/cart"),
                lambda: caller.get("/v1/cart/summary"),
                lambda: caller.set(product, self.dice.randint(0, 9), wait=False),
                lambda: caller.remove(product, wait=False),
                lambda: caller.acknowledge(wait=False),
                lambda: caller.add(product, 2),
            ]
        )()

    def browse(self) -> None:
        product = self.some_product()
        query = self.dice.choice(["", "?q=shirt", "?category=shirts&sort=price", "?limit=5"])
        path = self.dice.choice(
            [f"/v1/products/{product}", f"/v1/products{query}", "/v1/categories", "/v1/tags"]
        )
        self.anyone.get(path)

    def read_about(self) -> None:
        self.anyone.get(self.dice.choice(["/openapi.json", "/asyncapi.json", "/docs", "/.well-known/jwks.json"]))

    def ask_after(self) -> None:
        if self.last_command:
            self.anyone.get(self.last_command)

    def listen(self) -> None:
        """Opens a stream, and goes soon."""
        caller = self.customer
        caller.write("POST", "/v1/events/tickets")
        if self.member:
            stream = Stream(str(caller.http.base_url), self.member.access_token, reads=False)
            self.shop.statuses[stream.status] += 1
            self.shop.routes["GET /v1/events"] += 1
            stream.close()


TABLE: list[tuple[float, Callable[[Actor], None]]] = [
    (30, Actor.browse),
    (20, Actor.of_a_cart),
    (4, Actor.rate),
    (6, lambda actor: actor.customer.get("/v1/members/me") and None),
    (2, lambda actor: actor.customer.write("PATCH", "/v1/members/me", {"full_name": "Ana B."}) and None),
    (6, Actor.of_an_address),
    (3, Actor.change_product),
    (1, lambda actor: actor.merchant.create_product(wait=False) and None),
    (0.4, lambda actor: actor.merchant.create_products([product_body() for _ in range(3)]) and None),
    (0.2, lambda actor: actor.merchant.deactivate_product(actor.some_product(), wait=False) and None),
    (1, Actor.of_members),
    (1.5, Actor.register),
    (0.7, Actor.login_again),
    (2, Actor.refresh),
    (0.3, lambda actor: actor.leave("/v1/auth/logout")),
    (0.2, lambda actor: actor.leave("/v1/auth/logout-all")),
    (0.2, lambda actor: actor.leave("/v1/members/me", "DELETE")),
    (0.3, Actor.change_password),
    (0.3, Actor.change_email),
    (1, Actor.sessions),
    (2, Actor.ask_after),
    (1, Actor.listen),
    (1, Actor.is_nobody),
    (0.5, Actor.misuse_key),
    (0.5, Actor.read_about),
]
WEIGHTS = [weight for weight, _ in TABLE]
ACTS = [act for _, act in TABLE]


class Traffic:
    """So many requests a second from so many threads while the block runs. A connection that breaks is noted as an
    answer nobody got; anything else that is not as the documents say ends the run."""

    def __init__(self, shop: Shop, urls: list[str], seed: int, rate: float, threads: int = 8) -> None:
        self.shop = shop
        self.origin, played = all_sessions(seed)
        self._stop = threading.Event()
        self._every_s = threads / rate
        self._threads = []
        for n in range(threads):
            dice = random.Random(f"{seed} {n}")
            actor = Actor(shop, urls, dice, self._from(played, dice))
            self._threads.append(threading.Thread(target=self._run, args=(actor,)))

    @staticmethod
    def _from(played: list[sessions.Session], dice: random.Random) -> Iterator[sessions.Event]:
        while True:
            yield from dice.choice(played)

    def _run(self, actor: Actor) -> None:
        due = time.monotonic()
        while not self._stop.is_set():
            try:
                actor.step()
            except (httpx.TransportError, OSError):
                self.shop.statuses[0] += 1
            except BaseException as error:  # told by the thread that waits
                self.shop.failed.append(error)
                return
            due = max(due + self._every_s, time.monotonic() - DUE_S)
            self._stop.wait(max(0.0, due - time.monotonic()))
        actor.close()

    def __enter__(self) -> "Traffic":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def check(self) -> None:
        if self.shop.failed:
            raise self.shop.failed[0]
