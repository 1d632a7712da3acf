"""Many products in one request: all are checked before the first is written, each is a command of its own."""

import json
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

import ids
from client import Client, product_body, some_sku
from fold import Fold
from judge import Judged
from stack import Stack, wait_until
from topics import Topics

BATCH = "/v1/products:batch"


def bodies(count: int, **more: Any) -> list[dict[str, Any]]:
    return [product_body(price=f"{i}.50", **more) for i in range(1, count + 1)]


def final(merchant: Client, accepted: dict[str, Any]) -> dict[str, Any]:
    status: dict[str, Any] = merchant.get(accepted["links"]["self"], Prefer="wait=10").json()
    return status


@pytest.mark.parametrize("count", [1, 2, 100])
def test_each_item_is_a_command_in_the_order_of_the_items(merchant: Client, topics: Topics, count: int) -> None:
    items = bodies(count)
    before = topics.ends()
    response = merchant.create_products(items)
    assert response.status_code == 202, response.text
    assert sum(topics.ends().values()) - sum(before.values()) == count, "all are in the log by then"
    accepted = response.json()["items"]
    assert response.json().keys() == {"items"} and response.headers["Retry-After"] == "1"
    assert [one["resource"] for one in accepted] == [f"/v1/products/{ids.product_id(item['sku'])}" for item in items]
    assert {(one["type"], one["status"]) for one in accepted} == {("product.create", "accepted")}
    assert len({one["command_id"] for one in accepted}) == count
    for item, one in zip(items, accepted, strict=True):
        assert (final(merchant, one)["status"], final(merchant, one)["http_status"]) == ("succeeded", 201)
        shown = merchant.get(one["resource"]).json()
        assert (shown["sku"], shown["price"]) == (item["sku"], item["price"])


def test_an_end_is_each_ones_own(merchant: Client) -> None:
    taken = some_sku()
    assert merchant.create_product(sku=taken).status_code == 201
    first, second, third = merchant.create_products([product_body(), product_body(sku=taken), product_body()]).json()[
        "items"
    ]
    assert final(merchant, first)["status"] == final(merchant, third)["status"] == "succeeded"
    refused = final(merchant, second)
    assert (refused["status"], refused["problem"]["code"]) == ("rejected", "sku-taken")


def test_nobody_waits_for_the_ends(merchant: Client) -> None:
    response = merchant.create_products([product_body()], fields={"Prefer": "wait=10"})
    assert response.status_code == 202 and "Preference-Applied" not in response.headers


# --- all or nothing


@pytest.fixture
def nothing_is_written(topics: Topics) -> Any:
    before = topics.ends()
    yield
    assert topics.ends() == before


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"price": "-1.00"}, "/price", "wrong-format"),
    ({"price": 1}, "/price", "wrong-type"),
    ({"price": "1.001"}, "/price", "wrong-format"),
    ({"discount_price": "199.00"}, "/discount_price", "out-of-range"),
    ({"tags": ["a", 1]}, "/tags/1", "wrong-type"),
    ({"images": {"a.b": "https://x.example/"}}, "/images/a.b", "wrong-name"),
    ({"images": {"$a": "https://x.example/"}}, "/images/$a", "wrong-name"),
    ({"view_count": 1}, "/view_count", "unknown-member"),
    ({"a/b~": 1}, "/a~1b~0", "unknown-member"),
]


@pytest.mark.parametrize(("change", "pointer", "code"), WRONG, ids=[pointer for _, pointer, _ in WRONG])
def test_one_wrong_item_refuses_all_with_a_pointer_to_it(
    merchant: Client, nothing_is_written: None, change: dict[str, Any], pointer: str, code: str
) -> None:
    items = [*bodies(3), product_body(**change), *bodies(2)]
    response = merchant.create_products(items)
    assert (response.status_code, response.json()["code"]) == (422, "invalid-body"), response.text
    assert [(e["pointer"], e["code"]) for e in response.json()["errors"]] == [(f"/items/3{pointer}", code)]


def test_all_faults_are_told_at_once(merchant: Client, nothing_is_written: None) -> None:
    no_sku = product_body(price="x")
    del no_sku["sku"]
    response = merchant.create_products([no_sku, 7, *bodies(1), product_body(price="1.00", discount_price="2.00")])
    told = {(e["pointer"], e["code"]) for e in response.json()["errors"]}
    assert told == {
        ("/items/0/sku", "missing"),
        ("/items/0/price", "wrong-format"),
        ("/items/1", "wrong-type"),
        ("/items/3/discount_price", "out-of-range"),
    }


def test_an_sku_stands_once_in_a_batch(merchant: Client, nothing_is_written: None) -> None:
    sku = some_sku()
    response = merchant.create_products([product_body(), product_body(sku=sku), product_body(), product_body(sku=sku)])
    assert response.status_code == 422, response.text
    (fault,) = response.json()["errors"]
    assert (fault["pointer"], fault["code"]) == ("/items/3/sku", "repeated") and "/items/1" in fault["detail"]


@pytest.mark.parametrize(
    ("body", "faults"),
    [
        ({"items": []}, [("/items", "wrong-count")]),
        ({"items": [product_body() for _ in range(101)]}, [("/items", "wrong-count")]),
        ({"items": {}}, [("/items", "wrong-type")]),
        ({"items": None}, [("/items", "wrong-type")]),
        ({}, [("/items", "missing")]),
        ([product_body()], [("", "wrong-type")]),
        (None, []),
        ({"items": [product_body()], "a/b": 1}, [("/a~1b", "unknown-member")]),
        ({"sku": "X"}, [("/sku", "unknown-member"), ("/items", "missing")]),
    ],
    ids=str,
)
def test_a_body_that_is_no_batch_is_refused(
    merchant: Client, nothing_is_written: None, body: Any, faults: list[tuple[str, str]]
) -> None:
    response = merchant.write("POST", BATCH, body)
    assert response.status_code == (422 if faults else 400), response.text
    assert [(e["pointer"], e["code"]) for e in response.json().get("errors", [])] == faults


def test_a_batch_may_have_a_mebibyte(merchant: Client, topics: Topics) -> None:
    items = [product_body(description="x" * 8000) for _ in range(100)]
    assert len(json.dumps({"items": items})) > 800_000
    assert merchant.create_products(items).status_code == 202
    before = topics.ends()
    for size in (1_048_577, 1_200_000, 3_000_000):
        refused = merchant.http.post(BATCH, content=b" " * size, headers=as_json(merchant))
        assert (refused.status_code, refused.json()["code"]) == (413, "too-large")
    other = merchant.http.post("/v1/products", content=b" " * 65_537, headers=as_json(merchant))
    assert other.status_code == 413, "no other route takes that much"
    assert topics.ends() == before


def as_json(client: Client) -> dict[str, str]:
    return {"Authorization": f"Bearer {client.token}", "Content-Type": "application/json"}


def chunks(size: int) -> Iterator[bytes]:
    yield from (b" " * 10_000 for _ in range(size // 10_000))


@pytest.mark.parametrize("size", [1000, 100_000, 1_200_000])
def test_a_large_body_is_read_of_known_callers_only(
    anyone: Client, shopper: Client, merchant: Client, size: int
) -> None:
    for client, status in ((anyone.as_caller("abc"), 401), (shopper, 403)):
        response = client.http.post(BATCH, content=b" " * size, headers=as_json(client))
        assert response.status_code == status, (size, response.text)
        assert (response.headers.get("Connection") == "close") == (size > 65_536)
    response = merchant.http.post(BATCH, content=b" " * size, headers=as_json(merchant))
    assert response.status_code == (413 if size > 1_048_576 else 400), response.text


def test_a_body_of_unknown_length_is_a_large_one(anyone: Client, shopper: Client, merchant: Client) -> None:
    for client, status in ((anyone.as_caller("abc"), 401), (shopper, 403), (merchant, 400)):
        response = client.http.post(BATCH, content=chunks(100_000), headers=as_json(client))
        assert response.status_code == status, response.text


def test_a_large_body_of_a_caller_who_cannot_be_looked_up_can_be_sent_later(healed: Stack, merchant: Client) -> None:
    def post(size: int) -> httpx.Response:
        return merchant.http.post(BATCH, content=b" " * size, headers=as_json(merchant))

    healed.stop_server("kafka")  # without events, the row of the token is asked for
    healed.stop_server("postgres")
    wait_until("callers cannot be looked up", lambda: post(1000).status_code == 503, 60)
    response = post(100_000)
    assert (response.status_code, response.json()["code"]) == (503, "unavailable"), response.text
    assert response.headers["Retry-After"] and "credentials" in response.json()["detail"]


# --- once more


def test_a_batch_that_is_sent_again_is_answered_alike(merchant: Client, topics: Topics) -> None:
    key, items = uuid.uuid4().hex, bodies(5)
    first = merchant.create_products(items, key=key)
    assert first.status_code == 202 and "Idempotent-Replayed" not in first.headers
    for one in first.json()["items"]:
        final(merchant, one)
    before = topics.ends()
    again = merchant.create_products(items, key=key)
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (202, "true")
    assert again.json() == first.json()
    assert topics.ends() == before


def test_a_batch_that_is_sent_again_at_once_makes_each_product_once(merchant: Client) -> None:
    key, items = uuid.uuid4().hex, bodies(10)
    answers = [merchant.create_products(items, key=key) for _ in range(3)]
    told = [[one["command_id"] for one in answer.json()["items"]] for answer in answers]
    assert told[0] == told[1] == told[2]
    for one in answers[0].json()["items"]:
        assert final(merchant, one)["http_status"] == 201


def test_of_a_batch_that_was_written_in_part_the_rest_follows(
    healed: Stack, merchant: Client, topics: Topics, fold: Fold
) -> None:
    key, items = uuid.uuid4().hex, bodies(20)
    healed.stop("edge")
    healed.start("edge", fail="after_produce_before_report=error@7")
    before = topics.ends()
    refused = merchant.create_products(items, key=key)
    assert (refused.status_code, refused.json()["code"]) == (503, "enqueue-timeout"), refused.text
    assert "failpoint fired" in healed.log("edge")
    fold.drained()
    assert 6 <= sum(topics.ends().values()) - sum(before.values()) <= 7, "what came behind was not sent"

    rest = merchant.create_products(items, key=key)
    assert rest.status_code == 202 and "Idempotent-Replayed" not in rest.headers
    for item, one in zip(items, rest.json()["items"], strict=True):
        assert final(merchant, one)["http_status"] == 201
        assert merchant.get(one["resource"]).json()["sku"] == item["sku"]
    assert 20 <= sum(topics.ends().values()) - sum(before.values()) <= 21


def test_one_report_that_is_missing_refuses_all(healed: Stack, merchant: Client) -> None:
    key, items = uuid.uuid4().hex, bodies(3)
    healed.stop("edge")
    healed.start("edge", fail="after_report_before_reply=error@2")
    refused = merchant.create_products(items, key=key)
    assert (refused.status_code, refused.json()["code"]) == (503, "enqueue-timeout"), refused.text
    assert refused.headers["Retry-After"] and "items" not in refused.json()
    for one in merchant.create_products(items, key=key).json()["items"]:
        assert final(merchant, one)["http_status"] == 201


@pytest.mark.parametrize("change", ["an item", "their order", "one more"])
def test_the_key_is_good_for_exactly_this_batch(merchant: Client, topics: Topics, change: str) -> None:
    key, items = uuid.uuid4().hex, bodies(3)
    for one in merchant.create_products(items, key=key).json()["items"]:
        final(merchant, one)
    before = topics.ends()
    other = {
        "an item": [{**items[0], "price": "7.77"}, *items[1:]],
        "their order": list(reversed(items)),
        "one more": [*items, product_body()],
    }[change]
    refused = merchant.create_products(other, key=key)
    assert (refused.status_code, refused.json()["code"]) == (422, "idempotency-key-reused"), refused.text
    assert topics.ends() == before


def test_a_key_that_makes_no_sense_is_refused(merchant: Client, nothing_is_written: None) -> None:
    assert merchant.create_products(bodies(2), key="x" * 256).status_code == 400


def test_without_the_broker_nothing_is_accepted_and_the_same_batch_is_later(
    healed: Stack, merchant: Client, fold: Fold
) -> None:
    key, items = uuid.uuid4().hex, bodies(20)
    healed.stop_server("kafka")
    refused = merchant.create_products(items, key=key)
    assert refused.status_code == 503 and refused.headers["Retry-After"]
    healed.start_server("kafka")

    def accepted() -> httpx.Response | None:
        again = merchant.create_products(items, key=key)
        return again if again.status_code == 202 else None

    answer = wait_until("the edge sends again", accepted, 60)
    assert answer
    fold.drained()  # the worker may need longer to come back than anybody may wait
    for one in answer.json()["items"]:
        assert final(merchant, one)["http_status"] == 201


def test_everything_agrees_with_a_fold_of_the_log(judged: Judged) -> None:
    judged()
