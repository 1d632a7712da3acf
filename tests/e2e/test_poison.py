"""Records that no edge would write, put straight into a command topic: each ends in the DLQ once, untouched, with the
reason, and its neighbours are applied."""

import os
import time
import uuid
from dataclasses import dataclass

import msgpack
import pytest

import ids
from client import Client
from judge import Judged
from messages import TOPICS
from model import time_text
from stack import wait_until
from stores import Stores
from topics import Headers, Record, Topics

PARTITIONS = TOPICS["cart.commands"]


@dataclass
class Poison:
    reason: str
    value: bytes
    headers: Headers
    key: bytes | None = None  # None here: the member's
    elsewhere: bool = False  # in another partition than the key's
    keyless: bool = False


def headers_of(ce_type: str = "cart.remove_item.v1", **changed: str | None) -> Headers:
    headers: dict[str, str | None] = {
        "ce_id": str(uuid.uuid4()),
        "ce_type": ce_type,
        "ce_source": "/somewhere",
        "ce_time": time_text(1_750_000_000_000),
        "ce_specversion": "1.0",
        "content-type": "application/msgpack",
        "x-unknown": "kept",
        **changed,
    }
    return [(name, value) for name, value in headers.items() if value is not None]


def poisons(member: str) -> dict[str, Poison]:
    body = {"member_id": member, "product_id": str(uuid.uuid4())}
    good = msgpack.packb(body)
    return {
        "random bytes": Poison("undecodable", os.urandom(300), headers_of()),
        "nothing": Poison("undecodable", b"", headers_of()),
        "a cut message": Poison("undecodable", good[:-5], headers_of()),
        "bytes behind it": Poison("undecodable", good + b"\0", headers_of()),
        "a wrong type": Poison("undecodable", msgpack.packb({**body, "product_id": 7}), headers_of()),
        "a missing field": Poison("undecodable", msgpack.packb({"member_id": member}), headers_of()),
        "deep nesting": Poison("undecodable", msgpack.packb(body)[:-1] + b"\x91" * 900_000, headers_of()),
        "an unknown type": Poison("unknown_type", good, headers_of("cart.burn.v1")),
        "an unknown version": Poison("unknown_type", good, headers_of("cart.remove_item.v99")),
        "another domain's type": Poison("unknown_type", good, headers_of("product.record_view.v1")),
        "no headers": Poison("bad_envelope", good, []),
        "no id": Poison("bad_envelope", good, headers_of(ce_id=None)),
        "a bad id": Poison("bad_envelope", good, headers_of(ce_id="42")),
        "another specversion": Poison("bad_envelope", good, headers_of(ce_specversion="0.3")),
        "another content type": Poison("bad_envelope", good, headers_of(**{"content-type": "application/json"})),
        "no key": Poison("misrouted", good, headers_of(), keyless=True),
        "a key that is no id": Poison("misrouted", good, headers_of(), key=b"\xff\x00key"),
        "another aggregate's key": Poison("misrouted", good, headers_of(), key=str(uuid.uuid4()).encode()),
        "another partitioner": Poison("misrouted", good, headers_of(), elsewhere=True),
    }


NAMES = sorted(poisons(str(uuid.uuid4())))


def write(topics: Topics, member: str, poison: Poison) -> tuple[int, int]:
    key = None if poison.keyless else poison.key or member.encode()
    partition = ids.partition_of(key or member.encode(), PARTITIONS)
    if poison.elsewhere:
        partition = (partition + 1) % PARTITIONS
    return topics.write("cart.commands", key, poison.value, poison.headers, partition)


def letters(topics: Topics, partition: int, offset: int) -> list[Record]:
    topics.read()
    return [r for r in topics.partition("cart.dlq", partition) if r.header("tw_dlq_offset") == str(offset)]


@pytest.mark.parametrize("name", NAMES)
def test_a_poisoned_record_is_set_aside_once_and_untouched(
    anyone: Client, product: str, topics: Topics, name: str
) -> None:
    member = anyone.new_member()
    shopper = anyone.as_caller(member.access_token)
    assert shopper.add(product, 1).status_code == 200
    poison = poisons(member.id)[name]
    partition, offset = write(topics, member.id, poison)
    assert shopper.add(product, 1).status_code == 200, "the neighbour behind it"
    assert shopper.get("/v1/cart/summary").json()["total_items"] == 2

    (letter,) = wait_until("it is in the DLQ", lambda: letters(topics, partition, offset))
    origin = topics.partition("cart.commands", partition)[offset]
    assert (letter.key, letter.value) == (origin.key, poison.value)
    assert letter.headers[: len(origin.headers)] == origin.headers
    assert letter.header("tw_dlq_reason") == poison.reason, letter.header("tw_dlq_message")
    assert letter.header("tw_dlq_topic") == "cart.commands" and letter.header("tw_dlq_message")
    assert letter.header("tw_dlq_partition") == str(partition)
    assert (letter.header("tw_dlq_program") or "").startswith("tillwire-cart ")


def test_a_registration_under_another_addresss_id_is_misrouted(topics: Topics, stores: Stores) -> None:
    stranger = str(uuid.uuid4())
    body = {
        "member_id": stranger,
        "email": "eve@example.com",
        "email_folded": "eve@example.com",
        "password_hash": "$argon2id$x",
        "full_name": "Eve",
    }
    partition = ids.partition_of(stranger.encode(), TOPICS["member.commands"])
    _, offset = topics.write(
        "member.commands", stranger.encode(), msgpack.packb(body), headers_of("member.register.v1"), partition
    )

    def in_dlq() -> bool:
        topics.read("member.dlq")
        return any(
            r.header("tw_dlq_offset") == str(offset) and r.header("tw_dlq_reason") == "misrouted"
            for r in topics.partition("member.dlq", partition)
        )

    wait_until("it is in the DLQ", in_dlq)
    assert stores.member(stranger) is None


def test_a_given_up_command_has_an_outcome(topics: Topics, anyone: Client) -> None:
    member = str(uuid.uuid4())
    partition = ids.partition_of(member.encode(), TOPICS["cart.commands"])
    command_id = ids.some_command_id(time.time_ns() // 1_000_000, "cart", partition)
    headers = headers_of("cart.burn.v1", ce_id=command_id)
    _, offset = write(topics, member, Poison("unknown_type", b"\x80", headers))
    (outcome,) = wait_until("its outcome", lambda: topics.events_of(command_id))
    assert {
        "status": "dead_lettered",
        "http_status": 500,
        "problem_code": "dead-lettered",
    }.items() <= outcome.body.items()
    assert outcome.cause == (offset, 0)
    shown = anyone.get(f"/v1/commands/{command_id}").json()
    assert (shown["status"], shown["http_status"], shown["problem"]["code"]) == ("dead_lettered", 500, "dead-lettered")


def test_everything_agrees_with_a_fold_of_the_log(judged: Judged) -> None:
    judged()
