"""Products one by one: creating, reading, changing, taking off sale, views."""

import uuid
from decimal import Decimal
from typing import Any

import pytest
from bson import Decimal128, Int64, ObjectId

import ids
from client import Client, at_once, product_body, some_sku
from judge import Judged
from stack import wait_until
from stores import Stores, decimal_of
from topics import Topics

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


@pytest.mark.parametrize("discount", ["10.00", "10.01", "10", "999999.00"])
def test_a_discount_must_be_below_the_price(merchant: Client, topics: Topics, discount: str) -> None:
    before = topics.ends()
    response = merchant.create_product(price="10.00", discount_price=discount)
    assert response.status_code == 422, response.text
    assert [(e["pointer"], e["code"]) for e in response.json()["errors"]] == [("/discount_price", "out-of-range")]
    assert topics.ends() == before
    assert merchant.create_product(price="10.00", discount_price="9.99").status_code == 201


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"price": 199}, "/price"),
        ({"price": 199.5}, "/price"),
        ({"price": None}, "/price"),
        ({"price": "199.001"}, "/price"),
        ({"price": "NaN"}, "/price"),
        ({"price": " 1.00"}, "/price"),
        ({"discount_price": "-0.01"}, "/discount_price"),
        ({"discount_price": "0.001"}, "/discount_price"),
        ({"price": "-1.00"}, "/price"),
        ({"price": "1e3"}, "/price"),
        ({"price": "99999999999.00"}, "/price"),
        ({"sku": "with space"}, "/sku"),
        ({"sku": "x" * 65}, "/sku"),
        ({"tags": ["t"] * 21}, "/tags"),
        ({"tags": [1]}, "/tags/0"),
        ({"tags": ["fine", None, ""]}, "/tags/1"),
        ({"tags": ["fine", {"$gt": ""}]}, "/tags/1"),
        ({"tags": "cotton"}, "/tags"),
        ({"images": {"a.b": "https://x.example/"}}, "/images/a.b"),
        ({"images": {"$set": "https://x.example/"}}, "/images/$set"),
        ({"images": {"": "https://x.example/"}}, "/images/"),
        ({"images": {"a": 1}}, "/images/a"),
        ({"images": ["https://x.example/"]}, "/images"),
        ({"images": {"a": "ftp://x"}}, "/images/a"),
        ({"is_active": "yes"}, "/is_active"),
        ({"slug": "Not A Slug"}, "/slug"),
        ({"rating": "5.00"}, "/rating"),
    ],
)
def test_a_wrong_body_is_refused_with_a_pointer_and_leaves_nothing_in_the_log(
    merchant: Client, topics: Topics, change: dict[str, object], pointer: str
) -> None:
    before = topics.ends()
    response = merchant.write("POST", "/v1/products", product_body(**change))
    assert response.status_code == 422, response.text
    assert pointer in [error["pointer"] for error in response.json()["errors"]], response.text
    assert topics.ends() == before


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


# --- changing


@pytest.fixture
def mine(merchant: Client) -> dict[str, Any]:
    """A product as it is shown."""
    shown: dict[str, Any] = merchant.create_product(**FULL).json()
    return shown


def path_of(product: dict[str, Any]) -> str:
    return f"/v1/products/{product['product_id']}"


def test_a_patch_changes_what_it_names(merchant: Client, stores: Stores, mine: dict[str, Any]) -> None:
    change = {"name": "Blue T-shirt", "price": "150.00", "tags": ["linen"], "category": "summer", "slug": "blue"}
    response = merchant.change_product(mine["product_id"], **change)
    assert response.status_code == 200, response.text
    after = response.json()
    assert after["updated_at"] > mine["updated_at"]
    assert after == {**mine, **change, "updated_at": after["updated_at"], "version": 2}
    assert merchant.get(path_of(mine)).json() == after
    document = stores.product(mine["product_id"])
    assert document and str(document["price"]) == "150.00" and document["tags"] == ["linen"]


def test_null_takes_away_what_can_be_taken_away(merchant: Client, stores: Stores, mine: dict[str, Any]) -> None:
    response = merchant.change_product(mine["product_id"], description=None, discount_price=None)
    assert response.status_code == 200, response.text
    after = response.json()
    assert (after["description"], after["discount_price"], after["effective_price"]) == (None, None, "199.00")
    document = stores.product(mine["product_id"])
    assert document and document["description"] is None and document["discount_price"] is None


def test_images_are_added_replaced_and_removed_by_name(merchant: Client, mine: dict[str, Any]) -> None:
    url = "https://cdn.example.com/new.jpg"
    product = mine["product_id"]
    assert merchant.change_product(product, images={"back": url, "side": url}).json()["images"] == {
        **FULL["images"],
        "back": url,
        "side": url,
    }
    assert merchant.change_product(product, images={"front": url, "back": None}).json()["images"] == {
        "front": url,
        "side": url,
    }
    same = merchant.change_product(product, images={"unknown": None, "front": url})
    assert same.json()["images"] == {"front": url, "side": url}
    many = {f"image {i}": url for i in range(19)}
    full = merchant.change_product(product, images=many)
    assert (full.status_code, full.json()["code"]) == (422, "images-limit")
    assert len(merchant.change_product(product, images={**many, "side": None}).json()["images"]) == 20


def test_a_patch_may_come_as_a_merge_patch_and_as_nothing_else(merchant: Client, mine: dict[str, Any]) -> None:
    def patch(content_type: str) -> int:
        fields = {"Content-Type": content_type}
        return merchant.write("PATCH", path_of(mine), {"name": "Cap"}, wait=True, fields=fields).status_code

    assert patch("application/merge-patch+json") == 200
    assert patch("application/json-patch+json") == 415


def test_an_empty_patch_is_answered_like_a_get(merchant: Client, topics: Topics, mine: dict[str, Any]) -> None:
    shown = merchant.get(path_of(mine))
    before = topics.ends()
    response = merchant.write("PATCH", path_of(mine), {})
    assert (response.status_code, response.json()) == (200, shown.json())
    assert response.headers["ETag"] == shown.headers["ETag"]
    assert merchant.change_product(mine["product_id"], etag=shown.headers["ETag"]).status_code == 200
    assert merchant.change_product(mine["product_id"], etag='"999.00"').status_code == 412
    assert merchant.change_product(ids.product_id(some_sku())).status_code == 404
    assert topics.ends() == before


def test_what_changes_nothing_moves_no_version(merchant: Client, mine: dict[str, Any]) -> None:
    same = {name: mine[name] for name in ("name", "description", "price", "discount_price", "tags", "images")}
    assert merchant.change_product(mine["product_id"], **same).json() == mine


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({"name": None}, "/name", "wrong-type"),
        ({"name": ""}, "/name", "wrong-length"),
        ({"price": None}, "/price", "wrong-type"),
        ({"price": "-1"}, "/price", "wrong-format"),
        ({"price": 5}, "/price", "wrong-type"),
        ({"discount_price": "1.005"}, "/discount_price", "wrong-format"),
        ({"price": "10.00", "discount_price": "10.00"}, "/discount_price", "out-of-range"),
        ({"category": None}, "/category", "wrong-type"),
        ({"tags": None}, "/tags", "wrong-type"),
        ({"tags": [None]}, "/tags/0", "wrong-type"),
        ({"images": None}, "/images", "wrong-type"),
        ({"images": {"a.b": None}}, "/images/a.b", "wrong-name"),
        ({"images": {"$a": "https://x.example/"}}, "/images/$a", "wrong-name"),
        ({"is_active": None}, "/is_active", "wrong-type"),
        ({"sku": "OTHER"}, "/sku", "unknown-member"),
        ({"sku": None}, "/sku", "unknown-member"),
        ({"view_count": 7}, "/view_count", "unknown-member"),
        ({"rating": "5.00"}, "/rating", "unknown-member"),
        ([], "", "wrong-type"),
    ],
)
def test_a_wrong_patch_is_refused_with_a_pointer_and_leaves_nothing_in_the_log(
    merchant: Client, product: str, topics: Topics, body: Any, pointer: str, code: str
) -> None:
    before = topics.ends()
    response = merchant.write("PATCH", f"/v1/products/{product}", body)
    assert response.status_code == 422, response.text
    assert [(e["pointer"], e["code"]) for e in response.json()["errors"]] == [(pointer, code)]
    assert topics.ends() == before


def test_the_worker_refuses_what_only_it_can_see_of_prices(merchant: Client, mine: dict[str, Any]) -> None:
    for change in ({"price": "149.50"}, {"price": "1.00"}, {"discount_price": "199.00"}):
        response = merchant.change_product(mine["product_id"], **change)
        assert (response.status_code, response.json()["code"]) == (422, "price-rule"), change
    assert merchant.get(path_of(mine)).json() == mine
    both = merchant.change_product(mine["product_id"], price="1.00", discount_price="0.99")
    assert both.json()["effective_price"] == "0.99"


def test_versions_save_reading_and_guard_writing(anyone: Client, merchant: Client, mine: dict[str, Any]) -> None:
    product, path = mine["product_id"], path_of(mine)
    etag = anyone.get(path).headers["ETag"]
    unchanged = anyone.get(path, **{"If-None-Match": etag})
    assert unchanged.status_code == 304 and unchanged.headers["Cache-Control"] == "public, max-age=30"
    assert (unchanged.headers["Vary"], unchanged.headers["ETag"]) == ("Authorization, Consistency-Token", etag)
    head, shown = anyone.http.head(path), anyone.get(path)
    assert head.content == b"" and head.headers["Content-Length"] == str(len(shown.content))
    assert all(head.headers[name] == shown.headers[name] for name in ("ETag", "Cache-Control", "Vary", "Content-Type"))
    changed = merchant.change_product(product, etag=etag, name="One")
    assert changed.status_code == 200 and changed.headers["ETag"] != etag
    late_change = merchant.change_product(product, etag=etag, name="Two")
    for late in (late_change, merchant.deactivate_product(product, etag=etag)):
        assert (late.status_code, late.json()["code"]) == (412, "precondition-failed")
    assert merchant.change_product(product, etag='"of another server"', name="Two").status_code == 412
    assert merchant.change_product(product, etag="*", name="Three").status_code == 200
    assert anyone.get(path).json()["name"] == "Three"
    assert merchant.deactivate_product(product, etag=merchant.get(path).headers["ETag"]).status_code == 204


def test_a_view_moves_the_etag_but_not_the_version(anyone: Client, merchant: Client, mine: dict[str, Any]) -> None:
    etag = anyone.get(path_of(mine)).headers["ETag"]
    seen = anyone.view(mine["product_id"], key=uuid.uuid4().hex)
    anyone.get(seen.headers["Location"], Prefer="wait=10")
    shown = anyone.get(path_of(mine), **{"If-None-Match": etag})
    assert shown.status_code == 200 and shown.headers["ETag"].split(".")[0] == etag.split(".")[0]
    assert merchant.change_product(mine["product_id"], etag=etag, name="Cap").status_code == 200


def test_of_changes_that_saw_the_same_version_one_is_made(merchant: Client, mine: dict[str, Any]) -> None:
    etag = merchant.get(path_of(mine)).headers["ETag"]
    merchants = [merchant.as_caller(merchant.token) for _ in range(5)]
    answers = at_once(
        *(
            lambda c=client, n=n: c.change_product(mine["product_id"], etag=etag, name=f"Name {n}")
            for n, client in enumerate(merchants)
        )
    )
    assert sorted(answer.status_code for answer in answers) == [200, 412, 412, 412, 412]
    (made,) = (answer.json() for answer in answers if answer.status_code == 200)
    assert merchant.get(path_of(mine)).json() == made and made["version"] == 2


def test_a_product_can_be_changed_before_its_making_is_seen(merchant: Client) -> None:
    sku = some_sku()
    product = ids.product_id(sku)
    assert merchant.create_product(sku=sku, wait=False).status_code == 202
    assert merchant.change_product(product, wait=False, name="Cap").status_code == 202
    assert merchant.change_product(product, price="5.00").json()["name"] == "Cap"


# --- taking off sale


def test_a_product_goes_off_sale_and_comes_back(
    anyone: Client, merchant: Client, stores: Stores, mine: dict[str, Any]
) -> None:
    product, path = mine["product_id"], path_of(mine)
    for _ in range(2):  # a second time changes nothing
        assert merchant.deactivate_product(product).status_code == 204
    gone = anyone.get(path)
    assert (gone.status_code, gone.json()["code"]) == (410, "gone")
    hidden = merchant.get(path)
    assert (hidden.json()["is_active"], hidden.json()["version"]) == (False, 2)
    assert hidden.headers["Cache-Control"] == "no-store", "a cache must not show it to customers"
    document = stores.product(product)
    assert document and document["is_active"] is False
    back = merchant.change_product(product, is_active=True)
    assert back.status_code == 200 and anyone.get(path).status_code == 200


def test_nothing_that_is_not_there_can_be_changed(merchant: Client, topics: Topics) -> None:
    unknown = ids.product_id(some_sku())
    for response in (merchant.change_product(unknown, name="Cap"), merchant.deactivate_product(unknown)):
        assert (response.status_code, response.json()["code"]) == (404, "not-found"), "says the worker"
    before = topics.ends()
    for product in ("no-uuid", str(uuid.uuid4())):
        for response in (merchant.change_product(product, name="Cap"), merchant.deactivate_product(product)):
            assert (response.status_code, response.json()["code"]) == (404, "not-found"), product
    assert topics.ends() == before, "no product has such an id"


# --- views


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


def test_everything_agrees_with_a_fold_of_the_log(judged: Judged) -> None:
    judged()
