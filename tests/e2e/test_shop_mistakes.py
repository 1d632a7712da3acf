"""What other shops got wrong, a test each."""

import random
import uuid
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any

import httpx
import pytest

from client import Client, at_once
from judge import Judged
from messages import money_text
from stack import Stack, wait_until
from stores import Stores, exact_json

ADDS = 12


def member_of(shopper: Client) -> str:
    return str(shopper.get("/v1/cart").json()["member_id"])


def lines_of(shopper: Client) -> dict[str, dict[str, Any]]:
    """Product -> line; a second line of a product fails."""
    items = shopper.get("/v1/cart").json()["items"]
    lines = {item["product_id"]: item for item in items}
    assert len(lines) == len(items), "a product has two lines"
    return lines


def totals_of(shopper: Client) -> tuple[int, str]:
    summary = shopper.get("/v1/cart/summary").json()
    return summary["total_items"], summary["total_price"]


def change(merchant: Client, product: str, **body: Any) -> httpx.Response:
    response = merchant.write("PATCH", f"/v1/products/{product}", body, wait=True)
    assert response.status_code == 200, response.text
    return response


def deactivate(merchant: Client, product: str) -> None:
    response = merchant.write("DELETE", f"/v1/products/{product}", wait=True)
    assert response.status_code == 204, response.text


def clear(shopper: Client) -> None:
    response = shopper.write("DELETE", "/v1/cart", wait=True)
    assert response.status_code == 204, response.text


def until_line(shopper: Client, product: str, **wanted: Any) -> dict[str, Any]:
    """The policy needs a moment."""

    def line() -> dict[str, Any] | None:
        found = lines_of(shopper)[product]
        return found if all(found.get(name) == value for name, value in wanted.items()) else None

    found = wait_until(f"the line shows {wanted}", line, 60)
    assert found
    return found


# --- adding


def test_rapid_adds_from_two_devices_lose_no_item(shopper: Client, edge2: Client, merchant: Client) -> None:
    products = [merchant.new_product(price="1.00") for _ in range(4)]
    phone, laptop = shopper, edge2.as_caller(shopper.token)
    calls = [
        partial(device.add, products[i % len(products)], 1, wait=False)
        for i in range(ADDS)
        for device in (phone, laptop)
    ]
    assert [answer.status_code for answer in at_once(*calls)] == [202] * 2 * ADDS
    wait_until("all are there", lambda: totals_of(shopper) == (2 * ADDS, money_text(200 * ADDS)))
    pieces = Counter({product: line["quantity"] for product, line in lines_of(shopper).items()})
    assert pieces == Counter({product: 2 * ADDS // len(products) for product in products})


def test_the_same_product_twice_makes_one_line(shopper: Client, product: str, stores: Stores) -> None:
    calls = [partial(shopper.add, product, 2) for _ in range(4)]
    assert {answer.status_code for answer in at_once(*calls)} == {200}
    assert shopper.set(product, 5).status_code == 200
    assert shopper.add(product.upper(), 1).status_code == 200
    assert lines_of(shopper)[product]["quantity"] == 6
    member = member_of(shopper)
    assert stores.cart_texts(member).keys() == {f"cart:{member}:{product}", f"cart:{member}:summary"}


# --- money


def test_a_total_is_the_sum_of_its_lines_to_the_cent(shopper: Client, merchant: Client, stores: Stores) -> None:
    """Prices whose multiples a double does not hold: 1.15 * 3 = 3.4499999999999997."""
    dice, total = random.Random(5), 0
    for minor in (115, 10, 20, 1, 99_999_999, *(dice.randrange(1, 100_000) for _ in range(10))):
        price, quantity = Decimal(minor).scaleb(-2), dice.randrange(1, 1000)
        product = merchant.new_product(price=str(price + 1), discount_price=money_text(minor))
        assert shopper.add(product, quantity).status_code == 200
        total += minor * quantity
        shown = lines_of(shopper)[product]
        assert (shown["price"], shown["line_total"]) == (money_text(minor), money_text(minor * quantity))
    lines = lines_of(shopper).values()
    assert totals_of(shopper)[1] == money_text(total)
    assert sum(Decimal(line["line_total"]) for line in lines) == Decimal(money_text(total))
    summary = stores.cart_texts(member_of(shopper))[f"cart:{member_of(shopper)}:summary"]
    assert f":{money_text(total)}," in summary.replace(" ", "")
    assert exact_json(summary)["total_price"] == Decimal(money_text(total))


def test_a_sale_price_ends_with_the_sale(shopper: Client, anyone: Client, edge2: Client, merchant: Client) -> None:
    product = merchant.new_product(price="100.00", discount_price="60.00")
    assert shopper.add(product, 1).status_code == 200
    assert change(merchant, product, discount_price=None).json()["effective_price"] == "100.00"
    for late in (anyone.new_caller(), edge2.as_caller(anyone.new_member().access_token)):
        assert late.add(product, 1).status_code == 200
        assert lines_of(late)[product]["price"] == "100.00"
    until_line(shopper, product, price="100.00", previous_price="60.00", price_changed=True)
    assert totals_of(shopper) == (1, "100.00")
    assert shopper.add(product, 2).status_code == 200
    assert totals_of(shopper) == (3, "300.00")
    assert shopper.write("POST", "/v1/cart:acknowledge", wait=True).status_code == 204
    line = lines_of(shopper)[product]
    assert line["price"] == "100.00" and not line.get("price_changed") and "previous_price" not in line


def test_a_sale_price_ends_for_adds_that_race_the_end(anyone: Client, merchant: Client) -> None:
    product = merchant.new_product(price="100.00", discount_price="60.00")
    shoppers = [anyone.new_caller() for _ in range(6)]
    calls: list[Callable[[], object]] = [partial(shopper.add, product, 1) for shopper in shoppers]
    at_once(*calls, partial(change, merchant, product, discount_price=None))
    for shopper in shoppers:
        until_line(shopper, product, price="100.00", quantity=1)
        assert totals_of(shopper) == (1, "100.00")


def test_a_price_below_its_discount_is_refused(merchant: Client) -> None:
    product = merchant.new_product(price="100.00", discount_price="60.00")
    response = merchant.write("PATCH", f"/v1/products/{product}", {"price": "60.00"}, wait=True)
    assert (response.status_code, response.json()["code"]) == (422, "price-rule")
    assert merchant.get(f"/v1/products/{product}").json()["price"] == "100.00"


# --- what is not for sale


def test_a_deactivated_product_leaves_the_total(shopper: Client, merchant: Client, stores: Stores) -> None:
    kept, gone = merchant.new_product(price="5.00"), merchant.new_product(price="70.00")
    shopper.add(kept, 2)
    shopper.add(gone, 1)
    assert totals_of(shopper) == (3, "80.00")
    deactivate(merchant, gone)
    until_line(shopper, gone, available=False, quantity=1)
    assert totals_of(shopper) == (2, "10.00")
    refused = shopper.add(gone, 1)
    assert (refused.status_code, refused.json()["code"]) == (409, "product-inactive")
    texts = stores.cart_texts(member_of(shopper))
    assert exact_json(texts[f"cart:{member_of(shopper)}:summary"])["total_items"] == 2
    change(merchant, gone, is_active=True)
    until_line(shopper, gone, available=True)
    assert totals_of(shopper) == (3, "80.00")


# --- keys of readers


@pytest.mark.parametrize("how", ["removed", "set to nothing", "cleared"])
def test_a_summary_does_not_outlive_its_items(shopper: Client, merchant: Client, stores: Stores, how: str) -> None:
    products = [merchant.new_product() for _ in range(2)]
    member = member_of(shopper)
    for product in products:
        shopper.add(product, 1)
    keys = [f"cart:{member}:{product}" for product in products] + [f"cart:{member}:summary"]
    assert stores.cart_texts(member).keys() == set(keys)
    ends = {stores.redis.pexpiretime(key) for key in keys}
    assert len(ends) == 1 and ends.pop() > 0, "they end at the same instant"
    if how == "cleared":
        clear(shopper)
    for product in products if how != "cleared" else ():
        left = shopper.remove(product) if how == "removed" else shopper.set(product, 0)
        assert left.status_code in (200, 204)
    assert stores.cart_texts(member) == {}
    assert totals_of(shopper) == (0, "0.00") and lines_of(shopper) == {}


def test_a_new_price_leaves_a_carts_end_where_it_is(shopper: Client, merchant: Client, stores: Stores) -> None:
    product = merchant.new_product(price="5.00")
    shopper.add(product, 1)
    keys = stores.cart_texts(member_of(shopper))
    ends = {key: stores.redis.pexpiretime(key) for key in keys}
    change(merchant, product, price="6.00")
    until_line(shopper, product, price="6.00")
    assert {key: stores.redis.pexpiretime(key) for key in keys} == ends


# --- views


def test_views_are_neither_lost_nor_counted_twice(
    anyone: Client, edge2: Client, merchant: Client, healed: Stack, stores: Stores
) -> None:
    product, look = merchant.new_product(), uuid.uuid4().hex
    views = [partial(edge.view, product) for edge in (anyone, edge2) for _ in range(10)]
    again = [partial(edge.view, product, key=look) for edge in (anyone, edge2) for _ in range(3)]
    for _ in range(3):
        assert {answer.status_code for answer in at_once(*views)} == {202}
        healed.kill("product")
        assert {answer.status_code for answer in at_once(*again)} <= {200, 202}
        healed.start("product")
    for _ in range(5):
        assert anyone.get(f"/v1/products/{product}").status_code == 200, "a look at the page is no view yet"
    wait_until("61 views are counted", lambda: stores.view_count(product) == 61)


# --- lists


def listed(anyone: Client, **query: str) -> list[str]:
    text = "&".join(f"{name}={value}" for name, value in query.items())
    response = anyone.get(f"/v1/products?{text}")
    assert response.status_code == 200, response.text
    return [item["effective_price"] for item in response.json()["items"]]


def test_prices_are_sorted_and_compared_as_numbers(anyone: Client, merchant: Client) -> None:
    category = f"sorted-{uuid.uuid4().hex[:8]}"
    for price in ("10.00", "9.99", "100.00", "2.50", "1000.00", "0.07", "19.90"):
        merchant.new_product(category=category, price=price)
    merchant.new_product(category=category, price="5000.00", discount_price="9.50")
    rising = ["0.07", "2.50", "9.50", "9.99", "10.00", "19.90", "100.00", "1000.00"]
    assert listed(anyone, category=category, sort="price") == rising
    assert listed(anyone, category=category, sort="-price") == rising[::-1]
    assert listed(anyone, category=category, sort="price", min_price="9.99", max_price="100") == rising[3:7]
    assert listed(anyone, category=category, sort="price", max_price="9.98") == rising[:3]


def test_everything_agrees_with_a_fold_of_the_log(judged: Judged) -> None:
    judged()
