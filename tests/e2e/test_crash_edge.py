"""The edge ends before or behind the broker's acknowledgement, and never answers; the client tries again with its key. All
routes that write commands are in DEEDS."""

import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

import httpx
import pytest

from client import Client, Member, address_body, product_body, some_email, some_password
from faults import Report, reported, sample_of
from judge import Judged
from messages import ROUTES
from stack import FAILPOINT_EXIT, Stack, wait_until
from topics import Topics

POINTS = ("after_produce_before_report", "after_report_before_reply")
VIEWERS = 8


@pytest.mark.parametrize("point", POINTS)
def test_a_retry_after_a_crash_of_the_edge_has_one_effect(
    healed: Stack, anyone: Client, product: str, judged: Judged, point: str
) -> None:
    shopper = anyone.as_caller(anyone.new_member().access_token)
    healed.stop("edge")
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
    judged()
    assert shopper.get("/v1/cart/summary").json()["total_items"] == 3


class Viewers:
    """View a product without a pause until the block or the edge ends, whichever is first."""

    def __init__(self, anyone: Client, product: str) -> None:
        self._anyone = anyone
        self._product = product
        self.statuses: list[int] = []
        self._ended = threading.Event()

    def _run(self) -> None:
        with suppress(httpx.TransportError):
            while not self._ended.is_set():
                self.statuses.append(self._anyone.view(self._product).status_code)

    def __enter__(self) -> "Viewers":
        self._pool = ThreadPoolExecutor(VIEWERS)
        self._runs = [self._pool.submit(self._run) for _ in range(VIEWERS)]
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._pool.shutdown()
        for run in self._runs:
            run.result()


def test_sigterm_under_load_twice_answers_what_it_took(
    healed: Stack, anyone: Client, product: str, judged: Judged
) -> None:
    for _ in range(2):
        with Viewers(anyone, product) as viewers:
            wait_until("views are accepted", lambda: viewers.statuses.count(202) > 30)
            healed.stop("edge")
        assert set(viewers.statuses) <= {202, 503}
        healed.start("edge")
    judged()


# --- every route


@dataclass
class Someone:
    """Who has one of everything, to do something with."""

    anyone: Client
    merchant: Client
    operator: Client
    member: Member
    caller: Client
    product: str
    address: str
    session: str
    email: str
    password: str


def some_one(anyone: Client, merchant: Client, operator: Client) -> Someone:
    member = anyone.new_member()
    caller = anyone.as_caller(member.access_token)
    address = caller.add_address().json()["id"]
    caller.add_address()
    assert anyone.login(member.email, member.password).status_code == 200
    product = merchant.new_product()
    assert caller.add(product, 1).status_code == 200 and caller.rate(product, 4).status_code in (200, 201)
    sessions = caller.get("/v1/auth/sessions").json()["items"]
    session = next(found["id"] for found in sessions if not found["current"])
    email, password = some_email(), some_password()
    return Someone(anyone, merchant, operator, member, caller, product, address, session, email, password)


Deed = Callable[[Someone, str], httpx.Response]
ME = "/v1/members/me"
DEEDS: dict[str, Deed] = {
    "POST /v1/members": lambda s, k: s.anyone.register(s.email, s.password, wait=False, key=k),
    "PUT /v1/members/{member_id}/status": lambda s, k: s.operator.write(
        "PUT", f"/v1/members/{s.member.id}/status", {"status": "SUSPENDED", "reason": "asked for"}, key=k
    ),
    "PATCH /v1/members/me": lambda s, k: s.caller.write("PATCH", ME, {"full_name": "Ana"}, key=k),
    "DELETE /v1/members/me": lambda s, k: s.caller.write("DELETE", ME, key=k),
    "POST /v1/members/me/password": lambda s, k: s.caller.write(
        "POST", f"{ME}/password", {"current_password": s.member.password, "new_password": s.password}, key=k
    ),
    "POST /v1/members/me/email": lambda s, k: s.caller.change_email(s.email, s.member.password, wait=False, key=k),
    "POST /v1/members/me/addresses": lambda s, k: s.caller.write("POST", f"{ME}/addresses", address_body(), key=k),
    "PATCH /v1/members/me/addresses/{address_id}": lambda s, k: s.caller.write(
        "PATCH", f"{ME}/addresses/{s.address}", {"city": "Bandung"}, key=k
    ),
    "DELETE /v1/members/me/addresses/{address_id}": lambda s, k: s.caller.write(
        "DELETE", f"{ME}/addresses/{s.address}", key=k
    ),
    "PUT /v1/members/me/addresses/{address_id}/default": lambda s, k: s.caller.write(
        "PUT", f"{ME}/addresses/{s.address}/default", key=k
    ),
    "POST /v1/auth/login": lambda s, k: s.anyone.login(s.member.email, s.member.password),
    "POST /v1/auth/refresh": lambda s, k: s.anyone.refresh(s.member.refresh_token),
    "POST /v1/auth/logout": lambda s, k: s.caller.write("POST", "/v1/auth/logout"),
    "POST /v1/auth/logout-all": lambda s, k: s.caller.write("POST", "/v1/auth/logout-all"),
    "DELETE /v1/auth/sessions/{session_id}": lambda s, k: s.caller.write(
        "DELETE", f"/v1/auth/sessions/{s.session}", key=k
    ),
    "POST /v1/products": lambda s, k: s.merchant.create_product(wait=False, key=k, sku=f"SKU-{k}"),
    "POST /v1/products:batch": lambda s, k: s.merchant.create_products(
        [product_body(sku=f"SKU-{n}-{k}") for n in range(3)], key=k
    ),
    "PATCH /v1/products/{product_id}": lambda s, k: s.merchant.write(
        "PATCH", f"/v1/products/{s.product}", {"price": "3.49"}, key=k
    ),
    "DELETE /v1/products/{product_id}": lambda s, k: s.merchant.write("DELETE", f"/v1/products/{s.product}", key=k),
    "POST /v1/products/{product_id}/views": lambda s, k: s.anyone.view(s.product, key=k),
    "PUT /v1/products/{product_id}/ratings/me": lambda s, k: s.caller.rate(s.product, 5, wait=False, key=k),
    "DELETE /v1/products/{product_id}/ratings/me": lambda s, k: s.caller.write(
        "DELETE", f"/v1/products/{s.product}/ratings/me", key=k
    ),
    "POST /v1/cart/items": lambda s, k: s.caller.add(s.product, 2, wait=False, key=k),
    "PUT /v1/cart/items/{product_id}": lambda s, k: s.caller.write(
        "PUT", f"/v1/cart/items/{s.product}", {"quantity": 3}, key=k
    ),
    "DELETE /v1/cart/items/{product_id}": lambda s, k: s.caller.write("DELETE", f"/v1/cart/items/{s.product}", key=k),
    "DELETE /v1/cart": lambda s, k: s.caller.write("DELETE", "/v1/cart", key=k),
    "POST /v1/cart:acknowledge": lambda s, k: s.caller.write("POST", "/v1/cart:acknowledge", key=k),
}
# What was in the log before the crash may have ended the token that the second try comes with.
MAY_LOSE_ITS_TOKEN = ("DELETE /v1/members/me", "POST /v1/auth/refresh", "POST /v1/auth/logout", "POST /v1/auth/logout-all")
CELLS = [(point, route) for point in POINTS for route in DEEDS]
CHOSEN = sample_of(CELLS, 1, "crash matrix of the edge")


def test_the_matrix_has_every_route_that_writes() -> None:
    of_commands = {f"{route['method']} {route['path']}" for route in ROUTES if "command" in route}
    others = {name for name in DEEDS if ":batch" in name or name.startswith("POST /v1/auth/")}
    assert set(DEEDS) == of_commands | others


def crash(stack: Stack, someone: Someone, point: str, route: str, report: Report) -> None:
    """Of the edge, in the middle of that request; then the client tries again."""
    stack.stop("edge")
    stack.start("edge", fail=f"{point}=exit")
    key = uuid.uuid4().hex
    with pytest.raises(httpx.TransportError):
        DEEDS[route](someone, key)
    assert stack.wait_exit("edge") == FAILPOINT_EXIT, f"{route} did not reach {point}"
    assert point in stack.log("edge")
    with report.recovery():
        stack.start("edge")
    again = DEEDS[route](someone, key)
    allowed = {200, 201, 202, 204} | ({401} if route in MAY_LOSE_ITS_TOKEN else set())
    assert again.status_code in allowed, f"{route} after {point}: {again.status_code} {again.text}"


@pytest.mark.parametrize("point", sorted({point for point, _ in CHOSEN}))
def test_a_request_of_any_kind_whose_edge_ended_has_one_effect(
    healed: Stack, anyone: Client, merchant: Client, topics: Topics, judged: Judged, point: str
) -> None:
    operator = anyone.as_caller(healed.twctl("token", "issue", "--scope", "members:admin", "--name", "crashes").strip())
    before = topics.ends()
    with reported(f"crashes of the edge at {point}") as report:
        for route in [route for at, route in CHOSEN if at == point]:
            crash(healed, some_one(anyone, merchant, operator), point, route, report)
            report.cycles += 1
        judged()
        report.commands = sum(topics.ends().values()) - sum(before.values())
