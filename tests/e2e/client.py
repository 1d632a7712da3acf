"""A shop's customer and merchant over HTTP. What they ask is recorded for the judge."""

import base64
import copy
import json
import random
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx

from contract import judge
from recorder import Recorder
from stack import NO_TLS

T = TypeVar("T")
JSON = {"Content-Type": "application/json"}
WAIT = {"Prefer": "wait=10"}


def some_email() -> str:
    return f"Ana.{uuid.uuid4().hex[:12]}@Example.com"


def some_sku() -> str:
    return f"SKU-{uuid.uuid4().hex[:12]}"


def some_password() -> str:
    return f"correct horse {uuid.uuid4().hex}"


def product_body(**more: Any) -> dict[str, Any]:
    return {"sku": some_sku(), "name": "Black T-shirt, M", "price": "199.00", "category": "shirts", **more}


def address_body(**more: Any) -> dict[str, Any]:
    parts = {"address_line1": "Jl. Sudirman 1", "city": "Jakarta", "province": "DKI Jakarta", "postal_code": "10220"}
    return {"label": "Home", **parts, **more}


def claims_of(token: str) -> dict[str, Any]:
    """Unverified; empty when it is no JWT."""
    try:
        part = token.split(".")[1]
        claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        return claims
    except (IndexError, ValueError):
        return {}


@dataclass
class Member:
    id: str
    email: str
    password: str
    access_token: str
    refresh_token: str


class Client:
    def __init__(self, url: str, recorder: Recorder | None = None, token: str = "") -> None:
        # The edge closes connections that idle for longer; a request must not meet that moment.
        # Each answer must be one that the document tells of.
        self.recorder = recorder
        transport: httpx.BaseTransport = httpx.HTTPTransport(verify=NO_TLS, limits=httpx.Limits(keepalive_expiry=0.3))
        if recorder:
            transport = recorder.transport(transport)
        self.http = httpx.Client(base_url=url, timeout=15, transport=transport, event_hooks={"response": [judge]})
        self.token = token

    def close(self) -> None:
        self.http.close()

    def as_caller(self, token: str) -> "Client":
        """The same client with another token."""
        other = copy.copy(self)
        other.token = token
        return other

    def _fields(self, more: dict[str, str] | None) -> dict[str, str]:
        return {**({"Authorization": f"Bearer {self.token}"} if self.token else {}), **(more or {})}

    def get(self, path: str, **fields: str) -> httpx.Response:
        return self.http.get(path, headers=self._fields(fields))

    def write(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str = "",
        wait: bool = False,
        fields: dict[str, str] | None = None,
    ) -> httpx.Response:
        """`key`: an Idempotency-Key. `wait`: for the final code."""
        sent = {**self._fields(fields), **({"Idempotency-Key": key} if key else {}), **(WAIT if wait else {})}
        if body is None:
            return self.http.request(method, path, headers=sent)
        return self.http.request(method, path, headers=sent, json=body)

    # --- members

    def register(self, email: str, password: str, wait: bool = True, key: str = "", **more: Any) -> httpx.Response:
        body = {"email": email, "password": password, "full_name": "Ana Lim", **more}
        return self.write("POST", "/v1/members", body, wait=wait, key=key)

    def login(self, email: str, password: str) -> httpx.Response:
        return self.write("POST", "/v1/auth/login", {"email": email, "password": password})

    def new_member(self) -> Member:
        """Registered and logged in."""
        email, password = some_email(), some_password()
        registered = self.register(email, password)
        assert registered.status_code == 201, registered.text
        tokens = self.login(email, password)
        assert tokens.status_code == 200, tokens.text
        return Member(
            tokens.json()["member_id"], email, password, tokens.json()["access_token"], tokens.json()["refresh_token"]
        )

    def new_caller(self) -> "Client":
        """A new member's."""
        return self.as_caller(self.new_member().access_token)

    def refresh(self, refresh_token: str) -> httpx.Response:
        return self.write("POST", "/v1/auth/refresh", {"refresh_token": refresh_token})

    def is_let_in(self) -> bool:
        status = self.get("/v1/members/me").status_code
        assert status in (200, 401), status
        return status == 200

    def change_password(self, current: str, new: str, wait: bool = True) -> httpx.Response:
        body = {"current_password": current, "new_password": new}
        return self.write("POST", "/v1/members/me/password", body, wait=wait)

    def change_email(self, email: str, password: str, wait: bool = True, key: str = "") -> httpx.Response:
        return self.write("POST", "/v1/members/me/email", {"email": email, "password": password}, wait=wait, key=key)

    def add_address(self, **more: Any) -> httpx.Response:
        return self.write("POST", "/v1/members/me/addresses", address_body(**more), wait=True)

    # --- products

    def create_product(self, wait: bool = True, key: str = "", **body: Any) -> httpx.Response:
        return self.write("POST", "/v1/products", product_body(**body), wait=wait, key=key)

    def new_product(self, **body: Any) -> str:
        response = self.create_product(**body)
        assert response.status_code == 201, response.text
        return str(response.json()["product_id"])

    def create_products(self, items: Any, key: str = "", fields: dict[str, str] | None = None) -> httpx.Response:
        return self.write("POST", "/v1/products:batch", {"items": items}, key=key, fields=fields)

    def change_product(self, product_id: str, wait: bool = True, etag: str = "", **body: Any) -> httpx.Response:
        fields = {"If-Match": etag} if etag else {}
        return self.write("PATCH", f"/v1/products/{product_id}", body, wait=wait, fields=fields)

    def deactivate_product(self, product_id: str, wait: bool = True, etag: str = "") -> httpx.Response:
        fields = {"If-Match": etag} if etag else {}
        return self.write("DELETE", f"/v1/products/{product_id}", wait=wait, fields=fields)

    def rate(self, product_id: str, stars: Any, wait: bool = True, key: str = "") -> httpx.Response:
        return self.write("PUT", f"/v1/products/{product_id}/ratings/me", {"stars": stars}, wait=wait, key=key)

    def withdraw_rating(self, product_id: str, wait: bool = True) -> httpx.Response:
        return self.write("DELETE", f"/v1/products/{product_id}/ratings/me", wait=wait)

    def view(self, product_id: str, key: str = "") -> httpx.Response:
        return self.write("POST", f"/v1/products/{product_id}/views", key=key)

    # --- carts

    def add(self, product_id: str, quantity: int, wait: bool = True, key: str = "") -> httpx.Response:
        return self.write(
            "POST", "/v1/cart/items", {"product_id": product_id, "quantity": quantity}, wait=wait, key=key
        )

    def set(self, product_id: str, quantity: int, wait: bool = True) -> httpx.Response:
        return self.write("PUT", f"/v1/cart/items/{product_id}", {"quantity": quantity}, wait=wait)

    def remove(self, product_id: str, wait: bool = True) -> httpx.Response:
        return self.write("DELETE", f"/v1/cart/items/{product_id}", wait=wait)

    def clear(self, wait: bool = True) -> httpx.Response:
        return self.write("DELETE", "/v1/cart", wait=wait)

    def acknowledge(self, wait: bool = True) -> httpx.Response:
        return self.write("POST", "/v1/cart:acknowledge", wait=wait)


def at_once(*calls: Callable[[], T]) -> list[T]:
    """All of them at the same moment, each in a thread of its own; their answers in order."""
    barrier = threading.Barrier(len(calls))

    def started(call: Callable[[], T]) -> T:
        barrier.wait(10)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(started, call) for call in calls]]


class MixedLoad:
    """A small mixed load of one domain's writes, the same for the same seed."""

    def __init__(self, merchant: Client, shopper: Client, seed: int) -> None:
        self.merchant = merchant
        self.shopper = shopper
        self.random = random.Random(seed)
        self.products = [merchant.new_product(price=f"{p}.49") for p in range(1, 7)]
        accounts = [shopper.new_member() for _ in range(3)]
        self.members = [shopper.as_caller(account.access_token) for account in accounts]
        self.passwords = [account.password for account in accounts]

    def send(self, domain: str, count: int) -> None:
        for _ in range(count):
            {"member": self._member, "product": self._product, "cart": self._cart}[domain]()

    def _key(self) -> str:
        return uuid.UUID(int=self.random.getrandbits(128)).hex

    def _member(self) -> None:
        if self.random.random() < 0.3:
            self._edit()
            return
        key = self._key() if self.random.random() < 0.3 else ""
        email, password = some_email(), some_password()
        self.shopper.register(email, password, wait=False, key=key)
        if key and self.random.random() < 0.5:
            self.shopper.register(email, password, wait=False, key=key)
        elif self.random.random() < 0.3:
            self.shopper.register(email, password, wait=False)  # taken

    def _edit(self) -> None:
        """Of a member who is there."""
        which, what = self.random.randrange(len(self.members)), self.random.random()
        caller = self.members[which]
        if what < 0.1:
            caller.change_email(some_email(), self.passwords[which], wait=False)
        elif what < 0.5:
            caller.write("PATCH", "/v1/members/me", {"full_name": f"Ana {self.random.randrange(1000)}"})
        else:  # refused from the 21st on
            caller.write("POST", "/v1/members/me/addresses", address_body(is_default=what < 0.7))

    def _product(self) -> None:
        if self.random.random() < 0.2:
            sku = some_sku()
            self.merchant.create_product(wait=False, sku=sku, price="10.00")
            if self.random.random() < 0.5:
                self.merchant.create_product(wait=False, sku=sku, price="11.00")  # taken
            return
        product = self.random.choice(self.products)
        what = self.random.random()
        if what < 0.2:
            self._merchandise(product)
            return
        if what < 0.4:
            self._rate(product)
            return
        key = self._key() if self.random.random() < 0.2 else ""
        for _ in range(2 if key else self.random.randint(1, 4)):
            self.shopper.view(product, key=key)

    def _merchandise(self, product: str) -> None:
        """What a merchant does with a product that is there, and in carts."""
        what = self.random.random()
        if what < 0.1:
            self.merchant.deactivate_product(product, wait=False)
        elif what < 0.4:  # brings it back, too; refused when it is not above the discount
            self.merchant.change_product(product, wait=False, price=f"{self.random.randint(1, 9)}.49", is_active=True)
        elif what < 0.6:
            sale = self.random.choice((None, "0.99", "4.49"))
            self.merchant.change_product(product, wait=False, discount_price=sale, is_active=True)
        else:
            texts = {"name": f"Shirt {self.random.randrange(9)}", "tags": [f"tag{self.random.randrange(3)}"]}
            images = {"front": self.random.choice((None, "https://cdn.example.com/front.jpg"))}
            self.merchant.change_product(product, wait=False, images=images, is_active=True, **texts)

    def _rate(self, product: str) -> None:
        member = self.random.choice(self.members)
        if self.random.random() < 0.3:
            member.withdraw_rating(product, wait=False)  # often there is none
        else:
            member.rate(product, self.random.randint(1, 5), wait=False)

    def _cart(self) -> None:
        member = self.random.choice(self.members)
        product = self.random.choice(self.products)
        what = self.random.random()
        if what < 0.1:  # what the policy turns into commands of carts
            self._merchandise(product)
        elif what < 0.6:
            key = self._key() if self.random.random() < 0.3 else ""
            quantity = self.random.randint(1, 5)
            for _ in range(2 if key else 1):
                member.add(product, quantity, wait=False, key=key)
        elif what < 0.75:
            member.set(product, self.random.randint(0, 50), wait=False)
        elif what < 0.85:
            member.remove(product, wait=False)
        elif what < 0.95:
            member.acknowledge(wait=False)
        else:
            member.clear(wait=False)


class Steadily:
    """Sends a domain's load in the background while the block runs; nobody else may use the load meanwhile."""

    def __init__(self, load: MixedLoad, domain: str) -> None:
        self._stop = threading.Event()
        self._failed: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, args=(load, domain))

    def _run(self, load: MixedLoad, domain: str) -> None:
        try:
            while not self._stop.is_set():
                load.send(domain, 1)
        except BaseException as error:  # told by the thread that waits
            self._failed.append(error)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        assert not self._failed, self._failed
