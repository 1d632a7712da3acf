"""Ratings: one a member and product, and a mean that is exact."""

import uuid

import pytest

import ids
from client import Client, at_once, some_sku
from judge import Judged
from stores import Stores, decimal_of
from topics import Topics


@pytest.fixture
def rated(merchant: Client) -> str:
    return merchant.new_product()


def shown(client: Client, product: str) -> tuple[str, int]:
    product_now = client.get(f"/v1/products/{product}").json()
    return product_now["rating"], product_now["review_count"]


def test_the_mean_has_two_decimals_half_up(anyone: Client, rated: str, stores: Stores) -> None:
    for stars, mean in ((5, "5.00"), (4, "4.50"), (4, "4.33"), (1, "3.50"), (1, "3.00"), (1, "2.67"), (2, "2.57")):
        response = anyone.new_caller().rate(rated, stars)
        assert response.status_code == 200, response.text
        assert response.json()["rating"] == mean
    assert shown(anyone, rated) == ("2.57", 7)
    document = stores.product(rated)
    assert document and str(decimal_of(document["rating"])) == "2.57" and document["review_count"] == 7


def test_a_member_has_one_rating_which_can_change(shopper: Client, anyone: Client, rated: str) -> None:
    other = anyone.new_caller()
    assert other.rate(rated, 5).status_code == 200
    for stars in (1, 1, 3):
        assert shopper.rate(rated, stars).status_code == 200
    assert shown(anyone, rated) == ("4.00", 2)
    assert shopper.withdraw_rating(rated).status_code == 204
    assert shown(anyone, rated) == ("5.00", 1)
    again = shopper.withdraw_rating(rated)
    assert (again.status_code, again.json()["code"]) == (404, "not-found")
    assert shopper.rate(rated, 2).json()["rating"] == "3.50"
    assert other.withdraw_rating(rated).status_code == shopper.withdraw_rating(rated).status_code == 204
    assert shown(anyone, rated) == ("0.00", 0)


def test_ratings_at_the_same_moment_all_count(anyone: Client, rated: str) -> None:
    callers = [anyone.new_caller() for _ in range(6)]
    stars = [1, 2, 3, 4, 5, 5]
    answers = at_once(*(lambda c=c, s=s: c.rate(rated, s) for c, s in zip(callers, stars, strict=True)))
    assert {answer.status_code for answer in answers} == {200}
    assert shown(anyone, rated) == ("3.33", 6)


def test_a_rating_moves_the_etag_but_not_the_version(shopper: Client, merchant: Client, rated: str) -> None:
    path = f"/v1/products/{rated}"
    etag = merchant.get(path).headers["ETag"]
    assert shopper.rate(rated, 4).status_code == 200
    seen = merchant.get(path, **{"If-None-Match": etag})
    assert seen.status_code == 200 and seen.headers["ETag"].split(".")[0] == etag.split(".")[0]
    assert merchant.change_product(rated, etag=etag, name="Still the one").status_code == 200
    assert shown(merchant, rated) == ("4.00", 1), "and a change leaves the rating alone"


def test_one_that_is_sent_again_counts_once(shopper: Client, anyone: Client, rated: str) -> None:
    key = uuid.uuid4().hex
    first, second = shopper.rate(rated, 4, key=key), shopper.rate(rated, 4, key=key)
    assert (first.status_code, second.status_code) == (200, 200)
    assert second.headers["Idempotent-Replayed"] == "true"
    refused = shopper.rate(rated, 5, key=key)
    assert (refused.status_code, refused.json()["code"]) == (422, "idempotency-key-reused")
    assert shown(anyone, rated) == ("4.00", 1)


def test_what_is_not_for_sale_cannot_be_rated_but_a_rating_taken_back(
    shopper: Client, merchant: Client, rated: str
) -> None:
    assert shopper.rate(rated, 5).status_code == 200
    assert merchant.deactivate_product(rated).status_code == 204
    refused = shopper.rate(rated, 1)
    assert (refused.status_code, refused.json()["code"]) == (410, "gone")
    assert shown(merchant, rated) == ("5.00", 1)
    assert shopper.withdraw_rating(rated).status_code == 204
    assert shown(merchant, rated) == ("0.00", 0)


def test_a_rating_that_is_sent_again_shows_nothing_that_is_gone(
    shopper: Client, merchant: Client, rated: str
) -> None:
    key = uuid.uuid4().hex
    assert shopper.rate(rated, 5, key=key).status_code == 200
    assert merchant.deactivate_product(rated).status_code == 204
    again = shopper.rate(rated, 5, key=key)
    assert (again.status_code, again.json()["code"]) == (410, "gone") and "sku" not in again.json()
    assert again.headers["Idempotent-Replayed"] == "true"
    assert shown(merchant, rated) == ("5.00", 1)


def test_lists_go_by_rating(anyone: Client, merchant: Client) -> None:
    category = f"c-{uuid.uuid4().hex[:12]}"
    callers = [anyone.new_caller() for _ in range(2)]
    made = {}
    for name, stars in (("bad", (1, 2)), ("good", (5, 4)), ("fair", (3, 4)), ("new", ())):
        made[name] = merchant.new_product(category=category, name=name)
        for caller, given in zip(callers, stars, strict=False):
            assert caller.rate(made[name], given).status_code == 200

    def listed(query: str) -> list[str]:
        response = anyone.get(f"/v1/products?category={category}&{query}")
        assert response.status_code == 200, response.text
        return [item["name"] for item in response.json()["items"]]

    assert listed("sort=-rating") == ["good", "fair", "bad", "new"]
    assert listed("sort=-rating&min_rating=1.5") == ["good", "fair", "bad"]
    assert listed("sort=-rating&min_rating=3.51") == ["good"]
    assert listed("sort=-rating&min_rating=5") == []


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({"stars": 0}, "/stars", "out-of-range"),
        ({"stars": 6}, "/stars", "out-of-range"),
        ({"stars": -1}, "/stars", "out-of-range"),
        ({"stars": 4.5}, "/stars", "wrong-type"),
        ({"stars": "5"}, "/stars", "wrong-type"),
        ({"stars": True}, "/stars", "wrong-type"),
        ({"stars": None}, "/stars", "wrong-type"),
        ({}, "/stars", "missing"),
        ({"stars": 5, "text": "fine"}, "/text", "unknown-member"),
        ([5], "", "wrong-type"),
    ],
)
def test_a_wrong_body_is_refused_with_a_pointer_and_leaves_nothing_in_the_log(
    shopper: Client, product: str, topics: Topics, body: object, pointer: str, code: str
) -> None:
    before = topics.ends()
    response = shopper.write("PUT", f"/v1/products/{product}/ratings/me", body)
    assert response.status_code == 422, response.text
    assert [(error["pointer"], error["code"]) for error in response.json()["errors"]] == [(pointer, code)]
    assert topics.ends() == before


def test_an_unknown_product_is_404_and_leaves_nothing_in_the_log(shopper: Client, topics: Topics) -> None:
    before = topics.ends()
    for product in (ids.product_id(some_sku()), str(uuid.uuid4()), "no-uuid"):
        for response in (shopper.rate(product, 5), shopper.withdraw_rating(product)):
            assert (response.status_code, response.json()["code"]) == (404, "not-found"), product
    assert topics.ends() == before


def test_nobody_rates_without_a_name(anyone: Client, product: str, topics: Topics) -> None:
    before = topics.ends()
    assert anyone.rate(product, 5).status_code == 401
    assert anyone.withdraw_rating(product).status_code == 401
    assert topics.ends() == before


def test_everything_agrees_with_a_fold_of_the_log(judged: Judged) -> None:
    judged()
