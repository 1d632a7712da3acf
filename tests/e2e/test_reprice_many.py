"""A product in thousands of carts: a change reaches all of them, at the policy's rate and whatever ends it or is away,
and holds up nothing that is fresh."""

import uuid

import pytest

import direct
from client import Client
from fold import Fold
from judge import Judged
from messages import TOPICS
from reprices import (
    GROUP,
    QUICKLY,
    WITHIN_S,
    await_line,
    is_told_to_the_end,
    line_body,
    place_of,
    reprices,
)
from stack import FAILPOINT_EXIT, Stack, wait_until
from topics import Topics

MANY = 3000
SLOWLY = {**QUICKLY, "TW_POLICY_RATE": "25"}  # two minutes for so many, whatever is done meanwhile


@pytest.fixture(scope="module")
def crowd() -> list[str]:
    """Members that only the log knows."""
    return [str(uuid.uuid4()) for _ in range(MANY)]


def put_lines(topics: Topics, members: list[str], product: str) -> None:
    lines = [(member, line_body(member, product)) for member in members]
    direct.write_all(topics, "cart.add_item.v1", lines)


def fill_carts(topics: Topics, fold: Fold, members: list[str], product: str) -> None:
    put_lines(topics, members, product)
    fold.drained()
    wait_until("the lines are looked up", lambda: is_told_to_the_end(topics, "cart.events"), WITHIN_S)


def spread_over(topics: Topics, product: str, version: int) -> set[str]:
    """Members who were told of that version."""
    return {r.body["member_id"] for r in reprices(topics, product) if r.body["product_version"] == version}


def test_a_product_in_many_carts_does_not_hold_up_what_is_fresh(
    healed: Stack, shopper: Client, merchant: Client, topics: Topics, fold: Fold, judged: Judged, crowd: list[str]
) -> None:
    product, other = merchant.new_product(price="199.00"), merchant.new_product(price="10.00")
    fill_carts(topics, fold, crowd, product)
    shopper.add(other, 1)
    healed.stop("cart")
    healed.start("cart", settings=SLOWLY)
    direct.change_product(topics, product, price="149.00")
    event = place_of(topics, product, 2)
    wait_until("it has begun", lambda: spread_over(topics, product, 2), WITHIN_S)

    for _ in range(20):
        assert shopper.add(other, 1).status_code == 200, "answered, not only accepted"
    direct.change_product(topics, other, price="11.00")
    await_line(shopper, other, price="11.00", quantity=21)
    assert 0 < len(spread_over(topics, product, 2)) < MANY, "all this came while most carts still waited"
    told = topics.committed(GROUP, "product.events")[event.partition]
    assert told <= event.offset, "a crash would begin it again"

    direct.change_product(topics, product, price="139.00")
    place_of(topics, product, 3)
    healed.stop("cart")
    healed.start("cart", settings=QUICKLY)
    wait_until("everybody is told", lambda: len(spread_over(topics, product, 3)) == MANY, WITHIN_S)
    wait_until(
        "that it is done is told", lambda: topics.committed(GROUP, "product.events")[event.partition] > event.offset
    )
    judged()


@pytest.mark.parametrize("hit", [3, 12])
def test_a_crash_amid_many_carts_forgets_none(
    healed: Stack, merchant: Client, topics: Topics, fold: Fold, judged: Judged, crowd: list[str], hit: int
) -> None:
    product = merchant.new_product(price="199.00")
    fill_carts(topics, fold, crowd, product)
    healed.stop("cart")
    healed.start("cart", fail=f"policy_after_produce=exit@{hit}", settings=QUICKLY)
    direct.change_product(topics, product, price="149.00")
    assert healed.wait_exit("cart", WITHIN_S) == FAILPOINT_EXIT
    assert len(spread_over(topics, product, 2)) < MANY
    healed.start("cart", settings=QUICKLY)
    wait_until("everybody is told", lambda: len(spread_over(topics, product, 2)) == MANY, WITHIN_S)
    judged()


def test_lines_that_waited_for_the_catalogue_go_at_the_policys_rate(
    healed: Stack, merchant: Client, topics: Topics, fold: Fold, judged: Judged, crowd: list[str]
) -> None:
    product = merchant.new_product(price="199.00")
    direct.change_product(topics, product, price="149.00")
    wait_until("it changed", lambda: merchant.get(f"/v1/products/{product}").json()["price"] == "149.00")
    healed.stop("cart")
    healed.start("cart", settings={**QUICKLY, "TW_POLICY_RATE": "1000"})
    healed.stop_server("mongo")
    put_lines(topics, crowd, product)
    wait_until("carts go on", lambda: fold.stores.watermarks("cart") == cart_ends(topics), WITHIN_S)
    wait_until("the policy says what it waits for", lambda: "MongoDB" in healed.admin("cart", "/readyz").text)
    told = topics.committed(GROUP, "cart.events")
    healed.start_server("mongo")
    wait_until("everybody is told", lambda: len(spread_over(topics, product, 2)) == MANY, WITHIN_S)
    wait_until("and that is told", lambda: sum(topics.committed(GROUP, "cart.events")) >= sum(told) + MANY)
    written_ms = [record.timestamp_ms for record in reprices(topics, product)]
    assert max(written_ms) - min(written_ms) >= 1000, "at the policy's rate, the last round on credit"
    judged()


def test_a_catalogue_that_is_away_does_not_hold_up_the_carts_of_a_change(
    healed: Stack, merchant: Client, topics: Topics, fold: Fold, judged: Judged, crowd: list[str]
) -> None:
    """Lines wait for the catalogue, and the policy says so all the time."""
    product, other = merchant.new_product(price="199.00"), merchant.new_product(price="10.00")
    fill_carts(topics, fold, crowd, product)
    healed.stop("cart")
    healed.start("cart", settings=SLOWLY)
    direct.change_product(topics, product, price="149.00")
    wait_until("it has begun", lambda: spread_over(topics, product, 2), WITHIN_S)
    healed.stop_server("mongo")
    put_lines(topics, crowd[:2000], other)
    wait_until("the policy says what it waits for", lambda: "MongoDB" in healed.admin("cart", "/readyz").text)
    assert len(spread_over(topics, product, 2)) < MANY
    healed.stop("cart")
    healed.start("cart", settings=QUICKLY, ready=False)
    wait_until("everybody is told", lambda: len(spread_over(topics, product, 2)) == MANY, WITHIN_S)
    wait_until("the lines wait still", lambda: "MongoDB" in healed.admin("cart", "/readyz").text)
    assert healed.log("cart").count("it will be tried again") < 5, "a trouble is logged once"
    healed.stop("cart")
    healed.start_server("mongo")
    healed.start("cart", settings=QUICKLY)
    judged()


def cart_ends(topics: Topics) -> list[int]:
    return [topics.end("cart.commands", p) for p in range(TOPICS["cart.commands"])]


def test_everything_agrees_with_a_fold_of_the_log(judged: Judged) -> None:
    judged()
