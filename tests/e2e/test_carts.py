"""Carts: what readers find in Redis, limits, and what never reaches the log."""

import re
import time
import uuid

import pytest

import ids
from client import Client, some_sku
from judge import Judged
from stack import wait_until
from stores import Stores, exact_json
from topics import Topics

WEEK_MS = 7 * 24 * 60 * 60 * 1000
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


def member_of(shopper: Client) -> str:
    return str(shopper.get("/v1/cart").json()["member_id"])


def test_an_added_line_is_exactly_the_data_models_keys_and_json(
    shopper: Client, merchant: Client, stores: Stores
) -> None:
    product = merchant.new_product(name='Café "T" shirt', price="199.00", discount_price="149.50")
    response = shopper.add(product, 3)
    assert response.status_code == 200, response.text
    member = member_of(shopper)
    texts = stores.cart_texts(member)
    assert texts.keys() == {f"cart:{member}:{product}", f"cart:{member}:summary"}
    item, summary = texts[f"cart:{member}:{product}"], texts[f"cart:{member}:summary"]
    assert exact_json(item).keys() == {"product_id", "product_name", "price", "quantity", "added_at"}
    assert exact_json(item)["product_name"] == 'Café "T" shirt'
    assert re.search(r'"price": ?149\.50[,}]', item) and re.search(r'"quantity": ?3[,}]', item)
    assert re.search(rf'"added_at": ?"{TIME}"', item)
    assert exact_json(summary).keys() == {"total_items", "total_price", "updated_at"}
    assert re.search(r'"total_items": ?3[,}]', summary) and re.search(r'"total_price": ?448\.50[,}]', summary)


def test_both_keys_end_at_the_same_instant_in_seven_days(shopper: Client, product: str, stores: Stores) -> None:
    shopper.add(product, 1)
    member = member_of(shopper)
    ends = {stores.redis.pexpiretime(key) for key in stores.cart_texts(member)}
    assert len(ends) == 1
    assert abs(ends.pop() - (time.time() * 1000 + WEEK_MS)) < 60_000


def test_a_cart_shows_its_lines_and_totals(shopper: Client, merchant: Client) -> None:
    first, second = merchant.new_product(price="0.10"), merchant.new_product(price="1234567.89")
    shopper.add(first, 3)
    shopper.add(second, 999)
    shopper.add(first, 4)
    cart = shopper.get("/v1/cart").json()
    lines = {line["product_id"]: line for line in cart["items"]}
    assert (lines[first]["quantity"], lines[first]["line_total"]) == (7, "0.70")
    assert (lines[second]["quantity"], lines[second]["line_total"]) == (999, "1233333322.11")
    assert all(line["available"] for line in lines.values())
    assert (cart["summary"]["total_items"], cart["summary"]["total_price"]) == (1006, "1233333322.81")
    assert shopper.get("/v1/cart/summary").json() == cart["summary"]


def test_an_empty_cart_is_200_without_items(shopper: Client) -> None:
    response = shopper.get("/v1/cart")
    assert response.status_code == 200 and response.json()["items"] == []
    assert response.json()["summary"]["total_items"] == 0 and response.json()["summary"]["total_price"] == "0.00"
    assert response.headers["Cache-Control"] == "no-store"


def test_a_quantity_can_be_set_and_a_line_removed(shopper: Client, merchant: Client, stores: Stores) -> None:
    first, second = merchant.new_product(), merchant.new_product()
    assert shopper.set(first, 5).status_code == 200
    assert shopper.set(first, 2).json()["items"][0]["quantity"] == 2
    shopper.add(second, 1)
    assert shopper.remove(first).status_code == 204
    assert [line["product_id"] for line in shopper.get("/v1/cart").json()["items"]] == [second]
    assert shopper.set(second, 0).status_code == 200
    assert shopper.get("/v1/cart").json()["items"] == []
    assert stores.cart_texts(member_of(shopper)) == {}
    again = shopper.remove(second)
    assert (again.status_code, again.json()["code"]) == (404, "not-found")


def test_a_cart_can_be_cleared_whether_or_not_it_has_lines(
    shopper: Client, merchant: Client, stores: Stores
) -> None:
    assert shopper.clear().status_code == 204
    for _ in range(3):
        shopper.add(merchant.new_product(), 2)
    assert shopper.clear().status_code == 204
    cart = shopper.get("/v1/cart").json()
    assert cart["items"] == [] and cart["summary"]["total_items"] == 0 and cart["summary"]["total_price"] == "0.00"
    assert stores.cart_texts(member_of(shopper)) == {}
    assert shopper.clear().status_code == 204
    assert shopper.add(merchant.new_product(), 1).json()["summary"]["total_items"] == 1


def test_prices_can_be_acknowledged_whether_or_not_they_changed(shopper: Client, product: str, topics: Topics) -> None:
    assert shopper.acknowledge().status_code == 204
    before = shopper.add(product, 1).json()
    accepted = shopper.acknowledge(wait=False)
    assert (accepted.status_code, accepted.json()["type"]) == (202, "cart.acknowledge")
    assert accepted.json()["resource"] == "/v1/cart"
    shopper.get(accepted.headers["Location"], Prefer="wait=10")
    assert shopper.get("/v1/cart").json() == before
    ends = topics.ends()
    assert shopper.write("POST", "/v1/cart:acknowledge", {"all": True}).status_code == 422
    assert shopper.write("POST", "/v1/cart:acknowledge", []).status_code == 422
    assert shopper.write("GET", "/v1/cart:acknowledge").status_code == 405
    assert shopper.write("POST", "/v1/cart:clear").status_code == 404
    assert topics.ends() == ends
    assert shopper.write("POST", "/v1/cart:acknowledge", {}, wait=True).status_code == 204


def test_a_cart_that_did_not_change_need_not_be_sent_again(shopper: Client, product: str) -> None:
    empty = shopper.get("/v1/cart").headers["ETag"]
    assert shopper.get("/v1/cart", **{"If-None-Match": empty}).status_code == 304
    added = shopper.add(product, 1)
    etag = shopper.get("/v1/cart").headers["ETag"]
    assert etag == added.headers["ETag"] != empty
    unchanged = shopper.get("/v1/cart", **{"If-None-Match": etag})
    assert (unchanged.status_code, unchanged.text, unchanged.headers["Cache-Control"]) == (304, "", "no-store")
    shopper.set(product, 2)
    assert shopper.get("/v1/cart", **{"If-None-Match": etag}).status_code == 200


@pytest.mark.parametrize("write", ["add", "set", "remove", "clear", "acknowledge"])
def test_of_two_devices_the_one_that_saw_an_older_cart_is_refused_and_nothing_is_lost(
    anyone: Client, shopper: Client, merchant: Client, write: str
) -> None:
    mine, other = merchant.new_product(), merchant.new_product()
    phone = anyone.as_caller(shopper.token)
    seen = shopper.add(mine, 1).headers["ETag"]
    assert phone.get("/v1/cart").headers["ETag"] == seen
    latest = phone.set(other, 3)
    method, path, body = {
        "add": ("POST", "/v1/cart/items", {"product_id": mine, "quantity": 5}),
        "set": ("PUT", f"/v1/cart/items/{other}", {"quantity": 0}),
        "remove": ("DELETE", f"/v1/cart/items/{other}", None),
        "clear": ("DELETE", "/v1/cart", None),
        "acknowledge": ("POST", "/v1/cart:acknowledge", None),
    }[write]
    for stale in (seen, '"999.00"', '"of another server"'):
        late = shopper.write(method, path, body, wait=True, fields={"If-Match": stale})
        assert (late.status_code, late.json()["code"]) == (412, "precondition-failed"), stale
    assert shopper.get("/v1/cart").json() == latest.json()
    again = shopper.write(method, path, body, wait=True, fields={"If-Match": latest.headers["ETag"]})
    assert again.status_code == (204 if body is None else 200), again.text
    assert shopper.write(method, path, body, wait=True, fields={"If-Match": "*"}).status_code != 412


def test_an_unknown_product_is_404_and_leaves_nothing_in_the_log(shopper: Client, topics: Topics) -> None:
    before = topics.ends()
    for product in (ids.product_id(some_sku()), str(uuid.uuid4())):
        for response in (shopper.add(product, 1), shopper.set(product, 1)):
            assert (response.status_code, response.json()["code"]) == (404, "not-found")
    assert topics.ends() == before


def test_an_inactive_product_is_409_and_leaves_nothing_in_the_log(
    shopper: Client, merchant: Client, topics: Topics
) -> None:
    product = merchant.create_product(is_active=False).json()["product_id"]
    before = topics.ends()
    response = shopper.add(product, 1)
    assert (response.status_code, response.json()["code"]) == (409, "product-inactive")
    assert topics.ends() == before


def test_a_line_holds_at_most_999_pieces(shopper: Client, product: str) -> None:
    assert shopper.add(product, 999).status_code == 200
    response = shopper.add(product, 1)
    assert (response.status_code, response.json()["code"]) == (422, "line-quantity-limit")
    assert shopper.get("/v1/cart/summary").json()["total_items"] == 999


def test_a_cart_holds_at_most_100_lines(shopper: Client, merchant: Client) -> None:
    skus = [some_sku() for _ in range(101)]
    for sku in skus:
        merchant.create_product(sku=sku, wait=False)
    for sku in skus:
        path = f"/v1/products/{ids.product_id(sku)}"
        wait_until(f"{path} is there", lambda path=path: merchant.get(path).status_code == 200)
    for sku in skus[:99]:
        assert shopper.add(ids.product_id(sku), 1, wait=False).status_code == 202
    assert shopper.add(ids.product_id(skus[99]), 1).status_code == 200
    response = shopper.add(ids.product_id(skus[100]), 1)
    assert (response.status_code, response.json()["code"]) == (422, "cart-lines-limit")
    assert shopper.add(ids.product_id(skus[0]), 1).status_code == 200


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"quantity": 0}, "/quantity"),
        ({"quantity": 1000}, "/quantity"),
        ({"quantity": -1}, "/quantity"),
        ({"quantity": "2"}, "/quantity"),
        ({"quantity": 1.5}, "/quantity"),
        ({"quantity": True}, "/quantity"),
        ({"price": "0.01"}, "/price"),
        ({"product_name": "mine"}, "/product_name"),
        ({"product_id": "x"}, "/product_id"),
    ],
)
def test_a_wrong_body_is_refused_with_a_pointer(
    shopper: Client, product: str, body: dict[str, object], pointer: str
) -> None:
    response = shopper.write("POST", "/v1/cart/items", {"product_id": product, "quantity": 1, **body})
    assert response.status_code == 422, response.text
    assert pointer in [error["pointer"] for error in response.json()["errors"]], response.text


def test_one_members_cart_is_not_another_ones(anyone: Client, shopper: Client, product: str) -> None:
    shopper.add(product, 2)
    other = anyone.as_caller(anyone.new_member().access_token)
    assert other.get("/v1/cart").json()["items"] == []


def test_everything_agrees_with_a_fold_of_the_log(judged: Judged) -> None:
    judged()
