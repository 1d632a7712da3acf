"""The edge ends between the broker's acknowledgement and its answer; the client tries again with its key."""

import uuid

import httpx
import pytest

from checker import Checker, History
from client import Client
from stack import FAILPOINT_EXIT, Stack, wait_until
from topics import Topics


@pytest.mark.parametrize("point", ["after_produce_before_report", "after_report_before_reply"])
def test_a_retry_after_a_crash_of_the_edge_has_one_effect(
    healed: Stack, anyone: Client, product: str, topics: Topics, checker: Checker, history: History, point: str
) -> None:
    shopper = anyone.as_caller(anyone.new_member().access_token)
    healed.stop("edge")
    before = topics.ends()
    told = len(history.told)
    healed.start("edge", fail=f"{point}=exit")
    key = uuid.uuid4().hex
    with pytest.raises(httpx.TransportError):
        shopper.add(product, 3, wait=False, key=key)
    assert healed.wait_exit("edge") == FAILPOINT_EXIT
    assert point in healed.log("edge")

    healed.start("edge")
    again = shopper.add(product, 3, wait=False, key=key)
    assert again.status_code in (200, 202), again.text
    wait_until("the cart has it", lambda: shopper.get("/v1/cart/summary").json()["total_items"] == 3)
    checker.check(History(history.told[told:]), before)
    assert shopper.get("/v1/cart/summary").json()["total_items"] == 3


def test_sigterm_under_load_answers_what_it_took(healed: Stack, anyone: Client, product: str, checker: Checker) -> None:
    for _ in range(30):
        assert anyone.view(product).status_code == 202
    healed.stop("edge")
    healed.start("edge")
    assert anyone.view(product).status_code == 202
    checker.check()
