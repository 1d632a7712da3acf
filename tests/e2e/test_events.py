"""What happened, as other systems read it."""

import re

import ids
from client import Client, some_email, some_password, some_sku
from judge import Judged
from model import TIME
from stack import wait_until
from topics import Record, Topics


def events_of(topics: Topics, command_id: str, count: int) -> list[Record]:
    wait_until(f"{count} events", lambda: len(topics.events_of(command_id)) >= count)
    return topics.events_of(command_id)


def test_an_event_is_a_complete_cloudevent(shopper: Client, product: str, topics: Topics) -> None:
    command_id = shopper.add(product, 2, wait=False).json()["command_id"]
    for event in events_of(topics, command_id, 2):
        header = event.header
        assert header("ce_specversion") == "1.0" and header("content-type") == "application/msgpack"
        assert header("ce_source") == "/tillwire/cart" and TIME.fullmatch(header("ce_time") or "")
        assert header("tw_command_id") == command_id
        assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", header("traceparent") or "")
        assert len({name for name, _ in event.headers}) == len(event.headers)


def test_an_event_has_the_key_and_the_partition_of_its_cause(
    anyone: Client, merchant: Client, shopper: Client, product: str, topics: Topics
) -> None:
    answers = [
        anyone.register(some_email(), some_password(), wait=False),
        merchant.create_product(wait=False),
        shopper.add(product, 1, wait=False),
    ]
    for answer in answers:
        command_id = answer.json()["command_id"]
        events = events_of(topics, command_id, 2)
        (cause,) = topics.commands_of(command_id)
        for n, event in enumerate(events):
            assert (event.partition, event.key) == (cause.partition, cause.key)
            assert event.cause == (cause.offset, n)
            assert event.command_id == f"{cause.topic}/{cause.partition}/{cause.offset}/{n}"


def test_the_clients_trace_goes_through_to_the_event(shopper: Client, product: str, topics: Topics) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    response = shopper.write(
        "POST",
        "/v1/cart/items",
        {"product_id": product, "quantity": 1},
        fields={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"},
    )
    for event in events_of(topics, response.json()["command_id"], 2):
        assert (event.header("traceparent") or "").split("-")[1] == trace


def test_domain_events_come_before_the_outcome_and_say_what_happened(
    shopper: Client, merchant: Client, topics: Topics
) -> None:
    product = merchant.new_product(price="12.50")
    added, outcome = events_of(topics, shopper.add(product, 2, wait=False).json()["command_id"], 2)
    assert (added.type, outcome.type) == ("cart.item_added.v1", "command.outcome.v1")
    assert {
        "product_id": product,
        "price": "12.50",
        "added": 2,
        "quantity": 2,
        "total_items": 2,
        "total_price": "25.00",
        "product_version": 1,
    }.items() <= added.body.items()
    assert {
        "status": "succeeded",
        "http_status": 200,
        "command_type": "cart.add_item",
        "repeated": False,
        "resource": "/v1/cart",
    }.items() <= outcome.body.items()


def test_a_refusal_has_an_outcome_and_nothing_else(shopper: Client, product: str, topics: Topics) -> None:
    shopper.add(product, 999)
    command_id = shopper.add(product, 1, wait=False).json()["command_id"]
    (outcome,) = events_of(topics, command_id, 1)
    assert {
        "status": "rejected",
        "http_status": 422,
        "problem_code": "line-quantity-limit",
    }.items() <= outcome.body.items()


def test_views_share_events_that_carry_the_new_total(anyone: Client, merchant: Client, topics: Topics) -> None:
    sku = some_sku()
    product = merchant.new_product(sku=sku)
    for _ in range(40):
        anyone.view(product)

    def totals() -> list[int]:
        topics.read("product.events")
        return [
            e.body["view_count"]
            for e in topics.records("product.events")
            if e.type == "product.viewed.v1" and e.body["product_id"] == ids.product_id(sku)
        ]

    wait_until("the last total is told", lambda: totals()[-1:] == [40])
    assert totals() == sorted(set(totals())) and len(totals()) <= 40


def test_nothing_personal_is_in_an_event(anyone: Client, topics: Topics) -> None:
    email, password = some_email(), some_password()
    command_id = anyone.register(email, password, wait=False, full_name="Zenobia Personal").json()["command_id"]
    for event in events_of(topics, command_id, 2):
        for personal in (email, email.lower(), "Zenobia", "argon2"):
            assert personal.encode() not in event.value


def test_everything_agrees_with_a_fold_of_the_log(judged: Judged) -> None:
    judged()
