"""What a change in the catalogue means for carts: prices, names and what is for sale reach every cart that holds the
product, also a line that came while the change was on its way, whatever ends the policy in between."""

import uuid
from decimal import Decimal

import pytest

import direct
import ids
from client import Client
from fold import Fold
from judge import Judged
from reprices import (
    POLICY,
    QUICKLY,
    WITHIN_S,
    await_line,
    cart_of,
    is_told_to_the_end,
    line_of,
    member_of,
    place_of,
    put_line,
    reprices,
    totals,
)
from stack import FAILPOINT_EXIT, Stack, wait_until
from stores import Stores, exact_json
from topics import Record, Topics


@pytest.fixture(scope="module")
def shoppers(anyone: Client) -> list[Client]:
    """Their carts begin empty and fill from test to test."""
    return [anyone.new_caller() for _ in range(5)]


# --- what changes reaches every cart


def test_a_new_price_reaches_every_cart_and_shows_the_one_before(
    shoppers: list[Client], merchant: Client, topics: Topics
) -> None:
    product, other = merchant.new_product(price="199.00"), merchant.new_product(price="5.00")
    for shopper in shoppers:
        assert shopper.add(product, 2).status_code == 200
        assert shopper.add(other, 1).status_code == 200
    direct.change_product(topics, product, price="149.50")
    for shopper in shoppers:
        line = await_line(shopper, product, price="149.50")
        assert (line["price_changed"], line["previous_price"], line["available"]) == (True, "199.00", True)
        assert line["line_total"] == "299.00"
        assert totals(shopper) == (3, "304.00")
        assert not line_of(shopper, other).get("price_changed")


def test_a_discount_is_a_new_price_and_its_end_brings_the_old_one_back(
    shopper: Client, merchant: Client, topics: Topics
) -> None:
    product = merchant.new_product(price="199.00")
    shopper.add(product, 1)
    direct.change_product(topics, product, discount_price="99.00")
    assert await_line(shopper, product, price="99.00")["previous_price"] == "199.00"
    direct.change_product(topics, product, clear_discount_price=True)
    line = await_line(shopper, product, price="199.00")
    assert not line.get("price_changed") and "previous_price" not in line, "nothing changed for the member"
    assert totals(shopper) == (1, "199.00")


def test_the_first_price_is_shown_until_the_member_acknowledges(
    shopper: Client, merchant: Client, topics: Topics
) -> None:
    product = merchant.new_product(price="10.00")
    shopper.add(product, 1)
    direct.change_product(topics, product, price="12.00")
    await_line(shopper, product, price="12.00", previous_price="10.00")
    direct.change_product(topics, product, price="11.00")
    await_line(shopper, product, price="11.00", previous_price="10.00")
    direct.write(topics, "cart.acknowledge.v1", member_of(shopper), member_id=member_of(shopper))
    wait_until("it is accepted", lambda: not line_of(shopper, product).get("price_changed"))
    direct.change_product(topics, product, price="9.00")
    await_line(shopper, product, price="9.00", previous_price="11.00")


def test_a_new_name_reaches_carts_and_is_no_new_price(
    shopper: Client, merchant: Client, topics: Topics, stores: Stores
) -> None:
    product = merchant.new_product(price="10.00")
    shopper.add(product, 1)
    direct.change_product(topics, product, name="Café shirt")
    line = await_line(shopper, product, product_name="Café shirt")
    assert not line.get("price_changed")
    item = stores.cart_texts(member_of(shopper))[f"cart:{member_of(shopper)}:{product}"]
    assert exact_json(item)["product_name"] == "Café shirt"


def test_what_is_not_for_sale_is_out_of_the_totals_until_it_is_back(
    shopper: Client, merchant: Client, topics: Topics, stores: Stores
) -> None:
    product, other = merchant.new_product(price="199.00"), merchant.new_product(price="5.00")
    shopper.add(product, 2)
    shopper.add(other, 1)
    member = member_of(shopper)
    direct.write(topics, "product.deactivate.v1", product, product_id=product)
    assert await_line(shopper, product, available=False)["quantity"] == 2
    assert totals(shopper) == (1, "5.00")
    texts = stores.cart_texts(member)
    assert f"cart:{member}:{product}" in texts, "the line stays"
    assert exact_json(texts[f"cart:{member}:summary"])["total_price"] == Decimal("5.00")
    direct.write(topics, "cart.acknowledge.v1", member, member_id=member)
    direct.change_product(topics, product, is_active=True)
    await_line(shopper, product, available=True)
    assert totals(shopper) == (3, "403.00")


def test_a_reprice_does_not_move_the_end_of_a_cart(
    shopper: Client, merchant: Client, topics: Topics, stores: Stores
) -> None:
    product = merchant.new_product(price="199.00")
    shopper.add(product, 1)
    before = cart_of(shopper)
    ends = {key: stores.redis.pexpiretime(key) for key in stores.cart_texts(member_of(shopper))}
    direct.change_product(topics, product, price="149.00")
    await_line(shopper, product, price="149.00")
    after = cart_of(shopper)
    assert after["expires_at"] == before["expires_at"]
    assert after["summary"]["updated_at"] == before["summary"]["updated_at"], "the member did nothing"
    assert {key: stores.redis.pexpiretime(key) for key in stores.cart_texts(member_of(shopper))} == ends


def test_a_reprice_is_a_quiet_command_that_names_its_cause(shopper: Client, merchant: Client, topics: Topics) -> None:
    product = merchant.new_product(price="199.00")
    shopper.add(product, 1)
    direct.change_product(topics, product, price="149.00")
    await_line(shopper, product, price="149.00")
    commands = reprices(topics, product)  # two, when the line was looked up only after the change
    for command in commands:
        assert (command.header("ce_source"), command.header("tw_caller")) == (POLICY, member_of(shopper))
        assert uuid.UUID(command.command_id).version == 7 and ids.command_domain(command.command_id) == 3

    def told() -> list[Record]:
        return [event for command in commands for event in topics.events_of(command.command_id)]

    (event,) = wait_until("it is told", told)
    assert event.type == "cart.item_repriced.v1", "and no outcome"


# --- a line that comes while the product changes


@pytest.mark.parametrize("ce_type", ["cart.add_item.v1", "cart.set_item.v1"])
def test_a_line_that_raced_a_change_is_repriced(
    shopper: Client, merchant: Client, topics: Topics, ce_type: str
) -> None:
    """The edge read the product, then it changed and every cart was told, and only then the command came."""
    product = merchant.new_product(price="199.00")
    witness = shopper.new_caller()
    witness.add(product, 1)
    direct.change_product(topics, product, price="149.00")
    await_line(witness, product, price="149.00")
    put_line(topics, member_of(shopper), product, ce_type)
    line = await_line(shopper, product, price="149.00")
    assert line["previous_price"] == "199.00", "what the member saw when adding it"


def test_a_line_of_what_is_no_longer_for_sale_is_out_of_the_totals(
    shopper: Client, merchant: Client, topics: Topics
) -> None:
    product = merchant.new_product(price="199.00", is_active=False)
    direct.change_product(topics, product, name="Gone")
    place_of(topics, product, 2)
    put_line(topics, member_of(shopper), product)
    await_line(shopper, product, available=False, product_name="Gone")
    assert totals(shopper) == (0, "0.00")


def test_a_line_waits_for_a_catalogue_that_is_away(
    healed: Stack, shopper: Client, merchant: Client, topics: Topics
) -> None:
    product = merchant.new_product(price="199.00")
    witness = shopper.new_caller()
    witness.add(product, 1)
    direct.change_product(topics, product, price="149.00")
    await_line(witness, product, price="149.00")  # the change has been to all carts: it would not need the catalogue
    healed.stop_server("mongo")
    put_line(topics, member_of(shopper), product)
    wait_until("the policy says what it waits for", lambda: "MongoDB" in healed.admin("cart", "/readyz").text)
    await_line(shopper, product, price="199.00")
    assert shopper.remove(product).status_code == 204, "carts go on meanwhile"
    put_line(topics, member_of(shopper), product)
    healed.start_server("mongo")
    await_line(shopper, product, price="149.00")


# --- whatever ends in between


STEPS = [
    *(("policy_after_consume", hit) for hit in (1, 2, 5)),
    *(("policy_after_produce", hit) for hit in (1, 2)),
    *(("policy_before_offset_commit", hit) for hit in (1, 2)),
    ("before_commit", 1),
    ("after_commit", 1),
    ("after_produce_before_report", 1),
]


@pytest.mark.parametrize(("point", "hit"), STEPS)
def test_the_worker_may_end_at_every_step(
    healed: Stack,
    shoppers: list[Client],
    merchant: Client,
    topics: Topics,
    fold: Fold,
    judged: Judged,
    point: str,
    hit: int,
) -> None:
    product = merchant.new_product(price="199.00")
    for shopper in shoppers[1:]:
        shopper.add(product, 1)
    fold.drained()
    late = member_of(shoppers[0])
    healed.stop("cart")
    healed.start("cart", fail=f"{point}=exit@{hit}", settings=QUICKLY, ready=False)
    direct.change_product(topics, product, price="149.00")
    put_line(topics, late, product)
    keep_it_busy(healed, merchant, topics)
    assert healed.wait_exit("cart", WITHIN_S) == FAILPOINT_EXIT
    assert f'"{point}"' in healed.log("cart") and "failpoint fired" in healed.log("cart")
    healed.start("cart", settings=QUICKLY, ready=False)
    for shopper in shoppers:
        await_line(shopper, product, price="149.00", previous_price="199.00")
    judged()
    written = {(record.command_id, record.value) for record in reprices(topics, product)}
    assert len({command_id for command_id, _ in written}) == len(written), "the same id is the same command"


def keep_it_busy(stack: Stack, merchant: Client, topics: Topics) -> None:
    """Something more for the policy, until a failpoint that fires at a later hit has fired."""
    members = [str(uuid.uuid4()) for _ in range(3)]
    product = merchant.new_product()
    version = 1
    for member in members:
        put_line(topics, member, product)
    for _ in range(20):
        if not stack.is_running("cart"):
            return
        version += 1
        direct.change_product(topics, product, price=f"{version}.00")
        wait_until("it is told, or the worker ended", lambda: _is_told(stack, topics, product, version), 20)


def _is_told(stack: Stack, topics: Topics, product: str, version: int) -> bool:
    return not stack.is_running("cart") or any(
        record.body["product_version"] == version for record in reprices(topics, product)
    )


def test_a_change_while_redis_is_refilled_reaches_every_cart(
    healed: Stack, shoppers: list[Client], merchant: Client, topics: Topics, stores: Stores, fold: Fold, judged: Judged
) -> None:
    """The sets of holders are not there yet when the policy reads them: the lines' events come again, and with them
    their turn."""
    product = merchant.new_product(price="199.00")
    for shopper in shoppers:
        shopper.add(product, 1)
    fold.drained()
    stores.redis.flushall()
    direct.change_product(topics, product, price="149.00")
    for shopper in shoppers:
        await_line(shopper, product, price="149.00", previous_price="199.00")
    judged()


def test_a_line_added_while_mongodb_is_refilled_is_repriced(
    healed: Stack, shopper: Client, merchant: Client, topics: Topics, stores: Stores, fold: Fold, judged: Judged
) -> None:
    """The policy told everybody of the change long ago, and finds nothing when it looks the line up: the change's event
    comes again, and with it the line's turn."""
    product = merchant.new_product(price="199.00")
    witness = shopper.new_caller()
    witness.add(product, 1)
    direct.change_product(topics, product, price="149.00")
    await_line(witness, product, price="149.00")
    fold.drained()
    healed.stop("product")
    for name in stores.mongo.list_collection_names():
        stores.mongo[name].delete_many({})
    put_line(topics, member_of(shopper), product)
    await_line(shopper, product, price="199.00")
    healed.start("product", ready=False)
    await_line(shopper, product, price="149.00", previous_price="199.00")
    judged()


def test_an_offset_whose_commit_was_lost_is_told_again(
    healed: Stack, shopper: Client, topics: Topics, product: str
) -> None:
    healed.stop("cart")
    shopper.add(product, 1, wait=False)
    healed.start("cart", fail="policy_before_offset_commit=error@1", settings=QUICKLY)
    wait_until("it was lost", lambda: "failpoint fired" in healed.log("cart"), WITHIN_S)
    both = ("product.events", "cart.events")  # either may have been in it
    wait_until("all is told", lambda: all(is_told_to_the_end(topics, topic) for topic in both), WITHIN_S)


def test_everything_agrees_with_a_fold_of_the_log(judged: Judged) -> None:
    judged()
