"""Who may reach what, for every route there is: the cases are made from schemas/http.json, so a new route is covered
when it is described, and a new kind of id fails until somebody says whose it is."""

import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from client import Client, Member, some_email
from judge import Judged
from messages import COMMANDS, ROUTES, SCHEMAS
from stack import Stack, wait_until
from stores import Stores
from tokens import expired
from topics import Topics

Route = dict[str, Any]
PROTECTED = [route for route in ROUTES if route["auth"] not in ("public", "optional")]
SCOPED = [route for route in PROTECTED if ":" in route["auth"]]
OF_MEMBERS = [route for route in PROTECTED if ":" not in route["auth"]]
IDS = re.compile(r"\{(\w+)\}")


def name_of(route: Route) -> str:
    return f"{route['method']} {route['path']}"


def body_of(route: Route) -> dict[str, Any] | None:
    """One that fits the schema: the examples of what clients send."""
    if route.get("body") == "ProductBatch":
        return {"items": [body_of({"command": "product.create.v1"})]}
    if "command" in route:
        schema = COMMANDS[route["command"]]
    elif "body" in route:
        schema = json.loads((SCHEMAS / "bodies" / f"{route['body']}.json").read_text(encoding="utf-8"))
    else:
        return None
    fields = [field for field in schema["fields"] if field.get("from", "body") in ("body", "body_only")]
    return {field["name"]: field["example"] for field in fields} or None


@dataclass
class Owner:
    """A member with one of everything."""

    member: Member
    caller: Client
    ids: dict[str, str]

    @property
    def marks(self) -> set[str]:
        """What gives this member away in an answer."""
        return {self.member.id, self.member.email, self.member.email.lower(), *self.private_ids}

    @property
    def private_ids(self) -> set[str]:
        return {value for name, value in self.ids.items() if name != "product_id"}


def make_owner(anyone: Client, product: str) -> Owner:
    member = anyone.new_member()
    caller = anyone.as_caller(member.access_token)
    address = caller.add_address(label=f"of {member.id}"[:50])
    assert address.status_code == 201, address.text
    assert caller.rate(product, 4).status_code == 200
    command = caller.add(product, 2, wait=False)
    (session,) = caller.get("/v1/auth/sessions").json()["items"]
    caller.get(command.headers["Location"], Prefer="wait=10")
    return Owner(
        member,
        caller,
        {
            "member_id": member.id,
            "address_id": address.json()["id"],
            "session_id": session["id"],
            "command_id": command.json()["command_id"],
            "product_id": product,  # everybody's
        },
    )


@pytest.fixture(scope="module")
def victim(anyone: Client, product: str) -> Owner:
    return make_owner(anyone, product)


def path_of(route: Route, ids: dict[str, str]) -> str:
    missing = [name for name in IDS.findall(route["path"]) if name not in ids]
    assert not missing, f"{name_of(route)}: whose is {missing}? Say so in make_owner()"
    return IDS.sub(lambda found: ids[found.group(1)], str(route["path"]))


def send(route: Route, caller: Client, ids: dict[str, str], body: dict[str, Any] | None = None) -> httpx.Response:
    path = path_of(route, ids)
    if route["method"] == "GET":
        return caller.get(path)
    return caller.write(route["method"], path, body if body is not None else body_of(route), wait=True)


def seen_by(owner: Owner, stores: Stores) -> dict[str, Any]:
    """All that the owner has, as the API and the tables show it."""
    paths = ("/v1/members/me", "/v1/members/me/addresses", "/v1/cart", "/v1/auth/sessions")
    shown: dict[str, Any] = {path: owner.caller.get(path).json() for path in paths}
    for table, column in (("members", "id"), ("member_addresses", "member_id"), ("jwt_tokens", "member_id")):
        shown[table] = stores.rows(f"select * from {table} where {column} = %s order by id", owner.member.id)
    return shown


@pytest.fixture
def untouched(victim: Owner, stores: Stores) -> Iterator[None]:
    """The victim has afterwards what it had before."""
    before = seen_by(victim, stores)
    yield
    assert seen_by(victim, stores) == before


# --- a token is needed, and a good one


def revoked_token(anyone: Client) -> str:
    caller = anyone.new_caller()
    assert caller.write("POST", "/v1/auth/logout").status_code == 204
    wait_until("it is refused", lambda: not caller.is_let_in())
    return caller.token


@pytest.fixture(scope="module")
def bad_tokens(stack: Stack, anyone: Client) -> dict[str, str]:
    good = anyone.new_member()
    return {
        "none": "",
        "no token": "abc",
        "expired": expired(good.access_token, stack),
        "revoked": revoked_token(anyone),
        "a refresh token": good.refresh_token,
        "another signature": good.access_token[:-4] + ("AAAA" if good.access_token[-4:] != "AAAA" else "BBBB"),
    }


@pytest.mark.parametrize("route", PROTECTED, ids=name_of)
def test_without_a_good_token_it_is_401_and_nothing_is_written(
    anyone: Client, victim: Owner, bad_tokens: dict[str, str], topics: Topics, route: Route
) -> None:
    before = topics.ends()
    answers = {name: send(route, anyone.as_caller(token), victim.ids) for name, token in bad_tokens.items()}
    assert {name: answer.status_code for name, answer in answers.items()} == dict.fromkeys(bad_tokens, 401)
    assert {answer.json()["code"] for answer in answers.values()} == {"unauthenticated"}
    assert {answer.headers["WWW-Authenticate"] for answer in answers.values()} == {"Bearer"}
    assert topics.ends() == before


# --- a member's token


@pytest.mark.parametrize("route", SCOPED, ids=name_of)
def test_a_member_has_no_scope(shopper: Client, victim: Owner, untouched: None, topics: Topics, route: Route) -> None:
    before = topics.ends()
    response = send(route, shopper, victim.ids)
    assert (response.status_code, response.json()["code"]) == (403, "missing-scope"), response.text
    assert topics.ends() == before


@pytest.mark.parametrize(
    "route", [route for route in OF_MEMBERS if set(IDS.findall(route["path"])) - {"product_id"}], ids=name_of
)
def test_what_is_another_members_is_not_found(shopper: Client, victim: Owner, untouched: None, route: Route) -> None:
    response = send(route, shopper, victim.ids)
    assert (response.status_code, response.json()["code"]) == (404, "not-found"), response.text
    nobodys = {name: str(uuid.uuid4()) for name in victim.ids}
    nothing = send(route, shopper, nobodys)
    # One's absence looks like the other's: nobody learns that it exists.
    told = [
        {k: v for k, v in answer.json().items() if k not in ("trace_id", "instance")} for answer in (response, nothing)
    ]
    assert told[0] == told[1]


def own_body(route: Route, owner: Owner) -> dict[str, Any] | None:
    """The examples, with the secrets and addresses that make them work for this member."""
    body = body_of(route)
    if body is None:
        return None
    mine = {"password": owner.member.password, "current_password": owner.member.password, "email": some_email()}
    if "product_id" in IDS.findall(route["path"]):
        body.pop("product_id", None)
    return {name: {**mine, "product_id": owner.ids["product_id"]}.get(name, value) for name, value in body.items()}


@pytest.mark.parametrize("route", [route for route in OF_MEMBERS if route["auth"] == "member"], ids=name_of)
def test_what_a_member_reaches_is_their_own(
    anyone: Client, product: str, victim: Owner, untouched: None, topics: Topics, stores: Stores, route: Route
) -> None:
    mine = make_owner(anyone, product)
    before = topics.ends()
    response = send(route, mine.caller, mine.ids, own_body(route, mine))
    assert 200 <= response.status_code < 300, response.text
    assert not [mark for mark in victim.marks if mark in response.text]
    if route["method"] == "GET" or route.get("writes_nothing"):
        assert topics.ends() == before
        return
    topics.read()
    written = [
        record
        for (topic, p), end in before.items()
        for record in topics.partition(topic, p)[end:]
        if record.header("ce_source") == "/tillwire/edge"
    ]
    assert {record.header("tw_caller") for record in written} == {mine.member.id}
    assert {record.body.get("member_id", mine.member.id) for record in written} == {mine.member.id}


def test_every_kind_of_access_is_known() -> None:
    assert {route["auth"] for route in ROUTES if ":" not in route["auth"]} <= {"public", "optional", "member", "caller"}
    assert len(SCOPED) >= 4 and len(OF_MEMBERS) >= 15, "the matrix is not empty"


# --- a body may not say who it is about


@pytest.mark.parametrize(
    "route",
    [route for route in OF_MEMBERS if body_of(route)],
    ids=name_of,
)
def test_a_body_cannot_name_another_member(
    shopper: Client, victim: Owner, untouched: None, topics: Topics, route: Route
) -> None:
    before = topics.ends()
    body = {**(body_of(route) or {}), "member_id": victim.member.id}
    response = send(route, shopper, {**victim.ids, "product_id": victim.ids["product_id"]}, body)
    assert response.status_code in (404, 422), response.text
    if response.status_code == 422:
        assert "/member_id" in [error["pointer"] for error in response.json()["errors"]]
    assert topics.ends() == before


def test_everything_agrees_with_a_fold_of_the_log(judged: Judged) -> None:
    judged()
