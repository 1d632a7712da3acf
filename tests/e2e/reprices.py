"""What tests of the reprice policy share: lines of carts, as the log gets them and as members see them, and what the
policy wrote."""

from typing import Any

import direct
from client import Client
from messages import TOPICS
from stack import wait_until
from topics import Record, Topics

POLICY = "/tillwire/policy/cart-reprice"
GROUP = "tillwire-cart-policy"
WITHIN_S = 60
QUICKLY = {"TW_SESSION_TIMEOUT_MS": "6000"}  # so long the policy's group waits for a member that is dead
NAME = "Black T-shirt, M"  # of every new product


def line_body(member: str, product: str) -> dict[str, Any]:
    """A line as the edge sees it of a product at 199.00."""
    seen = {"product_name": NAME, "price": "199.00", "product_version": 1}
    return {"member_id": member, "product_id": product, "quantity": 1, **seen}


def put_line(topics: Topics, member: str, product: str, ce_type: str = "cart.add_item.v1") -> None:
    direct.write(topics, ce_type, member, **line_body(member, product))


def cart_of(shopper: Client) -> dict[str, Any]:
    cart: dict[str, Any] = shopper.get("/v1/cart").json()
    return cart


def member_of(shopper: Client) -> str:
    return str(cart_of(shopper)["member_id"])


def line_of(shopper: Client, product: str) -> dict[str, Any]:
    """None of it when there is no such line."""
    lines: list[dict[str, Any]] = cart_of(shopper)["items"]
    return next((line for line in lines if line["product_id"] == product), {})


def await_line(shopper: Client, product: str, **expected: Any) -> dict[str, Any]:
    """The line, as soon as it has all these members."""

    def answer() -> dict[str, Any]:
        line = line_of(shopper, product)
        return line if expected.items() <= line.items() else {}

    return wait_until(f"the line shows {expected}", answer, WITHIN_S)


def totals(shopper: Client) -> tuple[int, str]:
    summary = cart_of(shopper)["summary"]
    return summary["total_items"], summary["total_price"]


def reprices(topics: Topics, product: str) -> list[Record]:
    topics.read("cart.commands")
    return [
        record
        for record in topics.records("cart.commands")
        if record.type == "cart.reprice.v1" and record.body["product_id"] == product
    ]


def place_of(topics: Topics, product: str, version: int) -> Record:
    """The event that tells that version."""

    def find() -> list[Record]:
        topics.read("product.events")
        changed = (record for record in topics.records("product.events") if record.type == "product.changed.v1")
        return [r for r in changed if (r.body["product_id"], r.body["version"]) == (product, version)]

    return wait_until("the change is told", find)[0]


def is_told_to_the_end(topics: Topics, topic: str, group: str = GROUP) -> bool:
    """A policy that is started again begins there; what it has not told it does again."""
    ends = [topics.end(topic, p) for p in range(TOPICS[topic])]
    return topics.committed(group, topic) == ends
