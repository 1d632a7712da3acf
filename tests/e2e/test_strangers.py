"""Who was given nothing but the published documents: an HTTP client made from /openapi.json does all that a shopper and
a merchant do, a consumer made from /asyncapi.json keeps a copy of the catalogue, and the programs of docs/examples work
as they are."""

import json
import os
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from client import Client, some_email, some_password, some_sku
from fold import Fold
from judge import Judged
from stack import ROOT, Stack, wait_until
from stranger import Stranger
from stranger_consumer import StrangerConsumer

EXAMPLES = ROOT / "docs" / "examples"
Products = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def stranger(anyone: Client) -> Stranger:
    return Stranger(anyone.http)


@pytest.fixture(scope="module")
def selling(stranger: Stranger, merchant: Client) -> Stranger:
    return stranger.with_token(merchant.token)


@pytest.fixture
def consumer(stack: Stack, stranger: Stranger) -> Iterator[StrangerConsumer]:
    consumer = StrangerConsumer(stranger.call("getAsyncApi").json(), stack.environment["TW_KAFKA"])
    yield consumer
    consumer.close()


def good(response: httpx.Response) -> Any:
    assert response.is_success, response.text
    return response.json() if response.content else None


def new_product(selling: Stranger, **more: Any) -> dict[str, Any]:
    body = {**selling.example("createProduct"), "sku": some_sku()}
    del body["discount_price"]
    made: dict[str, Any] = good(selling.write("createProduct", {**body, **more}))
    return made


def all_pages(caller: Stranger, operation_id: str, **filters: Any) -> list[dict[str, Any]]:
    page = good(caller.call(operation_id, limit=100, **filters))
    items: list[dict[str, Any]] = list(page["items"])
    while page["next_cursor"]:
        page = good(caller.call(operation_id, limit=100, cursor=page["next_cursor"], **filters))
        items += page["items"]
    return items


# --- HTTP


def test_a_merchant_does_all_that_merchants_do(stranger: Stranger, selling: Stranger) -> None:
    category = f"strange things {uuid.uuid4().hex[:8]}"
    product = new_product(selling, price="20.00", category=category)
    place = {"product_id": product["product_id"]}
    read = selling.call("getProduct", **place)
    assert good(read) == product
    assert selling.call("getProduct", if_none_match=read.headers["ETag"], **place).status_code == 304
    changed = good(selling.write("changeProduct", {"price": "30.00"}, if_match=read.headers["ETag"], **place))
    assert changed["price"] == "30.00" and changed["version"] == product["version"] + 1
    late = selling.write("changeProduct", {"price": "40.00"}, if_match=read.headers["ETag"], **place)
    assert late.json()["code"] == "precondition-failed"
    items = [{**selling.example("createProduct"), "sku": some_sku(), "category": category}]
    accepted = good(selling.call("createProducts", {"items": items}))
    ends = [
        good(selling.call("getCommand", command_id=c["command_id"], prefer="wait=10")) for c in accepted["items"]
    ]
    assert [end["http_status"] for end in ends] == [201]
    good(selling.write("deactivateProduct", **place))
    assert stranger.call("getProduct", **place).json()["code"] == "gone"
    shown = {found["sku"]: found["is_active"] for found in all_pages(selling, "listProducts", category=category)}
    assert shown[product["sku"]] is False and len(shown) == 2
    assert product["sku"] not in {found["sku"] for found in all_pages(stranger, "listProducts", sort="price")}


def test_a_shopper_does_all_that_shoppers_do(stranger: Stranger, selling: Stranger) -> None:
    tea = new_product(selling, name="A strange tea", price="2.50", discount_price="2.00", tags=["tea"])
    email, password = some_email(), some_password()
    account = {"email": email, "password": password, "full_name": "Ana Lim"}
    good(stranger.write("registerMember", account))
    assert stranger.write("registerMember", account).json()["code"] == "email-taken"
    tokens = good(stranger.call("login", {"email": email, "password": password}))
    tokens = good(stranger.call("refresh", {"refresh_token": tokens["refresh_token"]}))
    shopper = stranger.with_token(tokens["access_token"])
    browse(shopper, tea)
    fill_a_cart(shopper, tea)
    keep_addresses(shopper)
    look_after_the_account(stranger, shopper, password)
    good(shopper.write("leave"))
    assert stranger.call("login", {"email": email, "password": password}).status_code == 401


def browse(shopper: Stranger, tea: dict[str, Any]) -> None:
    found = all_pages(shopper, "listProducts", q="strange tea", on_sale=True)
    assert tea["product_id"] in {product["product_id"] for product in found}
    good(shopper.call("listCategories"))
    good(shopper.call("listTags"))
    good(shopper.call("recordView", product_id=tea["product_id"]))
    rated = good(shopper.write("rateProduct", {"stars": 5}, product_id=tea["product_id"]))
    assert (rated["rating"], rated["review_count"]) == ("5.00", 1)
    good(shopper.write("withdrawRating", product_id=tea["product_id"]))


def fill_a_cart(shopper: Stranger, tea: dict[str, Any]) -> None:
    line = {"product_id": tea["product_id"], "quantity": 3}
    sent = [shopper.call("addCartItem", line, idempotency_key="three teas, once") for _ in range(2)]
    command = {response.json()["command_id"] for response in sent}
    assert len(command) == 1, "the same key is the same command"
    end = good(shopper.call("getCommand", command_id=command.pop(), prefer="wait=10"))
    assert end["status"] == "succeeded"
    cart = good(shopper.call("getCart"))
    assert cart["summary"]["total_price"] == "6.00" and len(cart["items"]) == 1
    assert good(shopper.write("setCartItem", {"quantity": 1}, product_id=tea["product_id"]))["summary"]["total_items"] == 1
    assert shopper.write("addCartItem", {**line, "quantity": 999}).json()["code"] == "line-quantity-limit"
    good(shopper.write("acknowledgeCart"))
    good(shopper.write("removeCartItem", product_id=tea["product_id"]))
    good(shopper.write("clearCart"))
    assert good(shopper.call("getCartSummary"))["total_items"] == 0


def keep_addresses(shopper: Stranger) -> None:
    home = good(shopper.write("addAddress", shopper.example("addAddress")))
    work = good(shopper.write("addAddress", {**shopper.example("addAddress"), "label": "Work", "is_default": False}))
    assert good(shopper.write("setDefaultAddress", address_id=work["id"]))["is_default"] is True
    good(shopper.write("changeAddress", {"city": "Bandung"}, address_id=home["id"]))
    assert good(shopper.call("getAddress", address_id=home["id"]))["city"] == "Bandung"
    good(shopper.write("removeAddress", address_id=home["id"]))
    assert [address["label"] for address in good(shopper.call("listAddresses"))["items"]] == ["Work"]


def look_after_the_account(stranger: Stranger, shopper: Stranger, password: str) -> None:
    assert good(shopper.write("changeMe", {"full_name": "Ana L."}))["full_name"] == "Ana L."
    address, other = some_email(), some_password()
    assert good(shopper.write("changeEmail", {"email": address, "password": password}))["email"] == address
    good(shopper.write("changePassword", {"current_password": password, "new_password": other}))
    second = good(stranger.call("login", {"email": address, "password": other}))["access_token"]
    (session,) = (s for s in good(shopper.call("listSessions"))["items"] if not s["current"])
    good(shopper.write("endSession", session_id=session["id"]))
    wait_until("its token is refused", lambda: stranger.with_token(second).call("getMe").status_code == 401)


# --- Kafka


def catalogue(selling: Stranger) -> Products:
    return {product["product_id"]: product for product in all_pages(selling, "listProducts")}


def differences(copy: Products, there: Products) -> list[str]:
    """What a copy has otherwise than GET shows it; members only HTTP has are left out."""
    found = [f"{key}: only on one side" for key in copy.keys() ^ there.keys()]
    for key in copy.keys() & there.keys():
        shown = {name: value for name, value in there[key].items() if name in copy[key]}
        found += [f"{key}.{n}: {copy[key][n]!r} {shown.get(n)!r}" for n in copy[key] if copy[key][n] != shown.get(n)]
    return found


class StrangersCopy:
    """By the documents' words: the newest of created and changed is the product, rated and viewed complete it."""

    def __init__(self) -> None:
        self.products: Products = {}
        self.numbers: Products = {}

    def follow(self, consumer: StrangerConsumer) -> int:
        events = list(consumer.read(consumer.channel_with("product.created.v1")))
        for event in events:
            key = event.body.get("product_id", "")
            if event.name in ("product.created.v1", "product.changed.v1"):
                body = {name: value for name, value in event.body.items() if name != "changed"}
                if body["version"] > self.products.get(key, {"version": 0})["version"]:
                    self.products[key] = {"description": None, "discount_price": None, **body}
            elif event.name in ("product.rated.v1", "product.viewed.v1"):
                told = {n: v for n, v in event.body.items() if n in ("view_count", "rating", "review_count")}
                self.numbers.setdefault(key, {"view_count": 0, "rating": "0.00", "review_count": 0}).update(told)
        return len(events)

    def all(self) -> Products:
        nothing = {"view_count": 0, "rating": "0.00", "review_count": 0}
        return {key: {**nothing, **product, **self.numbers.get(key, {})} for key, product in self.products.items()}


def trade(selling: Stranger, shopper: Stranger) -> dict[str, Any]:
    """Something for consumers to see: one of everything that changes a product."""
    product = new_product(selling, name="Jasmine rice\nfive kilograms")
    place = {"product_id": product["product_id"]}
    good(selling.write("changeProduct", {"price": "1000.00", "discount_price": "12.34"}, **place))
    good(shopper.write("rateProduct", {"stars": 4}, **place))
    good(shopper.call("recordView", **place))
    good(selling.write("deactivateProduct", product_id=new_product(selling)["product_id"]))
    return product


def test_a_consumer_keeps_a_copy_of_the_catalogue(
    selling: Stranger, stranger: Stranger, shopper: Client, consumer: StrangerConsumer, fold: Fold
) -> None:
    copy, buying = StrangersCopy(), stranger.with_token(shopper.token)
    for _ in range(2):  # the second time it resumes
        trade(selling, buying)
        fold.drained()
        assert copy.follow(consumer) > 0
        assert differences(copy.all(), catalogue(selling)) == []
    assert copy.follow(consumer) == 0
    consumer.places.clear()  # as if all were published once more
    assert copy.follow(consumer) == 0 and consumer.dropped > 0


def test_events_of_every_kind_fit_their_schemas(consumer: StrangerConsumer) -> None:
    seen = {event.name for channel in consumer.receivable() for event in consumer.read(channel)}
    assert {"command.outcome.v1", "cart.item_added.v1", "member.registered.v1", "product.viewed.v1"} <= seen


# --- docs/examples


def run_example(*words: str | Path) -> str:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


def test_the_http_example_runs(stack: Stack, merchant: Client) -> None:
    out = run_example(sys.executable, EXAMPLES / "shop.py", stack.environment["TW_EDGE_URL"], merchant.token)
    assert "the cart holds 2 pieces for 398.00" in out and "the catalogue has" in out


class PythonCopy:
    """docs/examples/copy_catalogue.py and what it leaves."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.database = folder / "catalogue.db"
        document = f"{stack.environment['TW_EDGE_URL']}/asyncapi.json"
        self._words = (sys.executable, EXAMPLES / "copy_catalogue.py", stack.environment["TW_KAFKA"], document)

    def follow(self) -> None:
        run_example(*self._words, self.database, "--once")

    def _execute(self, statement: str) -> list[tuple[Any, ...]]:
        with sqlite3.connect(self.database) as db:
            return db.execute(statement).fetchall()

    def forget(self, product_id: str) -> None:
        """Loses a product and reads everything again: the rule keeps it away."""
        self._execute(f"delete from products where product_id = '{product_id}'")
        self._execute("update positions set next_offset = 0")

    def products(self) -> Products:
        numbers = {row[0]: row[1:] for row in self._execute("select * from numbers")}
        copy = {}
        for key, body in self._execute("select product_id, body from products"):
            views, rating, count = numbers.get(key, (0, "0.00", 0))
            copy[key] = {**json.loads(body), "view_count": views, "rating": rating, "review_count": count}
        return copy


class CCopy:
    """docs/examples/copy_catalogue.c and what it leaves."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.file = folder / "catalogue.txt"
        self._words = (Path(os.environ["TW_BIN_DIR"]) / "copy-catalogue", stack.environment["TW_KAFKA"])

    def follow(self) -> None:
        run_example(*self._words, self.file, "--once")

    def forget(self, product_id: str) -> None:
        lines = []
        for line in self.file.read_text(encoding="utf-8").splitlines():
            words = line.split(" ")
            if words[0] == "at":
                words[2] = "0"
            if words[1] != product_id:
                lines.append(" ".join(words))
        self.file.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def products(self) -> Products:
        copy = {}
        for line in self.file.read_text(encoding="utf-8").split("\n"):
            if line.startswith("product "):
                _, key, version, active, price, views, rating, count, name = line.split(" ", 8)
                numbers = {"view_count": int(views), "rating": rating, "review_count": int(count)}
                copy[key] = {"version": int(version), "is_active": active == "1", "effective_price": price, **numbers}
                copy[key]["one_line"] = name
        return copy


@pytest.mark.parametrize("make", [PythonCopy, CCopy], ids=["python", "c"])
def test_the_consumer_examples_copy_resume_and_drop_repeats(
    stack: Stack,
    selling: Stranger,
    stranger: Stranger,
    shopper: Client,
    fold: Fold,
    tmp_path: Path,
    make: Callable[[Stack, Path], PythonCopy | CCopy],
) -> None:
    copy, buying = make(stack, tmp_path), stranger.with_token(shopper.token)

    def shown() -> Products:
        lines = {"one_line": lambda p: p["name"].replace("\n", " ").replace("\r", " ")}
        return {key: {**p, **{n: f(p) for n, f in lines.items()}} for key, p in catalogue(selling).items()}

    for _ in range(2):
        lost = trade(selling, buying)["product_id"]
        fold.drained()
        copy.follow()
        assert differences(copy.products(), shown()) == []
    copy.forget(lost)
    copy.follow()
    assert copy.products().keys() == shown().keys() - {lost}, "what was processed before is dropped"


def test_everything_agrees_with_a_fold_of_the_log(judged: Judged) -> None:
    judged(but=["I1"])  # docs/examples are programs of their own, which no recorder sees
