"""The catalogue: creating, reading, views."""

from decimal import Decimal
from typing import Any

import pytest
from bson import Decimal128, Int64, ObjectId

import ids
from checker import Checker
from client import Client, product_body, some_sku
from stack import wait_until
from stores import Stores, decimal_of

FULL: dict[str, Any] = {
    "name": "Black T-shirt, M",
    "description": "Heavy cotton.",
    "price": "199.00",
    "discount_price": "149.5",
    "category": "shirts",
    "tags": ["cotton", "summer"],
    "images": {"front": "https://cdn.example.com/tee.jpg"},
}


def test_a_created_product_is_answered_with_its_id_when_the_client_waits(merchant: Client) -> None:
    sku = some_sku()
    response = merchant.create_product(sku=sku, **FULL)
    assert response.status_code == 201, response.text
    assert response.headers["Location"] == f"/v1/products/{ids.product_id(sku)}"
    shown = response.json()
    assert shown["product_id"] == ids.product_id(sku) and shown["_id"] == ids.product_object_id(sku).hex()
    assert (shown["price"], shown["discount_price"], shown["effective_price"]) == ("199.00", "149.50", "149.50")
    assert (shown["rating"], shown["review_count"], shown["view_count"], shown["version"]) == ("0.00", 0, 0, 1)
    assert shown["slug"] == "black-t-shirt-m" and shown["is_active"] is True


def test_its_document_is_exactly_the_data_models(merchant: Client, stores: Stores) -> None:
    sku = some_sku()
    document = stores.product(merchant.new_product(sku=sku, **FULL))
    assert document
    created = document["created_at"]
    expected = {
        "_id": ObjectId(ids.product_object_id(sku)),
        "sku": sku,
        "name": FULL["name"],
        "slug": "black-t-shirt-m",
        "description": FULL["description"],
        "price": Decimal128("199.00"),
        "discount_price": Decimal128("149.50"),
        "category": "shirts",
        "tags": ["cotton", "summer"],
        "images": FULL["images"],
        "view_count": 0,
        "rating": Decimal128("0.00"),
        "review_count": 0,
        "is_active": True,
        "created_at": created,
        "updated_at": created,
    }
    assert {name: document.get(name) for name in expected} == expected
    assert isinstance(document["view_count"], Int64 | int) and str(document["price"]) == "199.00"
    assert decimal_of(document["effective_price"]) == Decimal("149.50")


def test_absent_optional_fields_are_null(merchant: Client, stores: Stores) -> None:
    document = stores.product(merchant.new_product())
    assert document and document["description"] is None and document["discount_price"] is None
    assert document["tags"] == [] and document["images"] == {}
    assert document["effective_price"] == document["price"]


def test_a_sku_can_be_taken_once(merchant: Client) -> None:
    sku = some_sku()
    assert merchant.create_product(sku=sku).status_code == 201
    again = merchant.create_product(sku=sku, price="1.00")
    assert (again.status_code, again.json()["code"]) == (409, "sku-taken")
    assert merchant.get(f"/v1/products/{ids.product_id(sku)}").json()["price"] == "199.00"


def test_a_discount_must_be_below_the_price(merchant: Client) -> None:
    response = merchant.create_product(price="10.00", discount_price="10.00")
    assert (response.status_code, response.json()["code"]) == (422, "price-rule")


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"price": 199}, "/price"),
        ({"price": "199.001"}, "/price"),
        ({"price": "-1.00"}, "/price"),
        ({"price": "1e3"}, "/price"),
        ({"price": "99999999999.00"}, "/price"),
        ({"sku": "with space"}, "/sku"),
        ({"sku": "x" * 65}, "/sku"),
        ({"tags": ["t"] * 21}, "/tags"),
        ({"tags": [1]}, "/tags/0"),
        ({"images": {"a.b": "https://x.example/"}}, "/images/a.b"),
        ({"images": {"a": "ftp://x"}}, "/images/a"),
        ({"is_active": "yes"}, "/is_active"),
        ({"slug": "Not A Slug"}, "/slug"),
        ({"rating": "5.00"}, "/rating"),
    ],
)
def test_a_wrong_body_is_refused_with_a_pointer(merchant: Client, change: dict[str, object], pointer: str) -> None:
    response = merchant.write("POST", "/v1/products", product_body(**change))
    assert response.status_code == 422, response.text
    assert pointer in [error["pointer"] for error in response.json()["errors"]], response.text


def test_a_product_can_be_read_by_anyone(anyone: Client, merchant: Client) -> None:
    product = merchant.new_product(**FULL)
    response = anyone.get(f"/v1/products/{product}")
    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "public, max-age=30"


def test_an_unknown_product_is_404(anyone: Client) -> None:
    for path in (ids.product_id(some_sku()), "0192f5c0-7b1e-8d3a-8f27-6c1d2e3f4a5b", "no-uuid"):
        response = anyone.get(f"/v1/products/{path}")
        assert (response.status_code, response.json()["code"]) == (404, "not-found"), path


def test_an_inactive_product_is_gone_for_customers(anyone: Client, merchant: Client) -> None:
    product = merchant.create_product(is_active=False).json()["product_id"]
    response = anyone.get(f"/v1/products/{product}")
    assert (response.status_code, response.json()["code"]) == (410, "gone")


def test_views_are_counted_exactly(anyone: Client, merchant: Client, stores: Stores) -> None:
    product = merchant.new_product()
    for _ in range(57):
        assert anyone.view(product).status_code == 202
    for _ in range(3):  # one view, told three times
        assert anyone.view(product, key="the same look").status_code in (200, 202)
    wait_until("58 views are counted", lambda: stores.view_count(product) == 58)
    shown = anyone.get(f"/v1/products/{product}").json()
    assert (shown["view_count"], shown["version"]) == (58, 1)
    assert shown["updated_at"] == shown["created_at"]


def test_a_view_of_an_unknown_product_is_404(anyone: Client) -> None:
    response = anyone.view(ids.product_id(some_sku()))
    assert (response.status_code, response.json()["code"]) == (404, "not-found")


def test_everything_agrees_with_a_fold_of_the_log(checker: Checker) -> None:
    checker.check()
