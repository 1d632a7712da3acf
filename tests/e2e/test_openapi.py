"""/openapi.json against the edge, both ways: what the edge answers must be in the document (contract.py, which all tests
have with them), and what the document tells of must be there. Each operation is asked for each status it documents; one
that is not seen must be among the excused, with the reason."""

import json
import re
import socket
import uuid
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from openapi_spec_validator import validate

from browser import look_at, photograph
from client import Client, Member, some_email, some_password, some_sku
from contract import Contract, contract
from judge import Judged
from stack import Stack
from stranger import Stranger

# Of every operation.
EXCUSED = {
    "408": "takes ten seconds of silence; the tests of framing do it once",
    "429": "limits are off here; test_limits.py has them on",
    "500": "would be a mistake of ours",
    "503": "needs something to be away; test_outages.py takes it away",
}
# Of one operation. A check of the state that the token's own check goes before, but for a race.
RACE = "the token of a member who left is refused first; only a race gets as far"
EXCUSED_OF = {
    ("changeMe", "409"): RACE,
    ("leave", "409"): RACE,
    ("addAddress", "409"): RACE,
    ("changeAddress", "409"): RACE,
    ("removeAddress", "409"): RACE,
    ("setDefaultAddress", "409"): RACE,
    ("changePassword", "409"): RACE,
    ("getKeys", "200"): "keys are told with ES256 only: test_es256.py",
    ("getCommand", "410"): "takes a day",
}


@dataclass
class World:
    """Who there is and what they have."""

    anyone: Stranger
    member: Stranger
    merchant: Stranger
    operator: Stranger
    account: Member
    product: str
    gone: str  # a product that is off sale
    address: str
    session: str
    command: str

    def caller(self, operation_id: str) -> Stranger:
        """Whom the document lets do it."""
        security = contract().operation(operation_id)[2]["security"]
        scopes = [scope for choice in security for scope in choice.get("bearer", [])]
        if not security:
            return self.anyone
        if not scopes:
            return self.member
        return self.merchant if scopes == ["products:write"] else self.operator

    def ids(self, operation_id: str) -> dict[str, str]:
        """What stands in its path."""
        mine = {
            "product_id": self.product,
            "address_id": self.address,
            "session_id": self.session,
            "member_id": self.account.id,
            "command_id": self.command,
        }
        return {name: mine[name] for name in re.findall(r"{(\w+)}", contract().operation(operation_id)[0])}


def product(stranger: Stranger, **more: Any) -> dict[str, Any]:
    return {**stranger.example("createProduct"), "sku": some_sku(), **more}


def new_account(stranger: Stranger) -> tuple[Member, Stranger]:
    email, password = some_email(), some_password()
    body = {"email": email, "password": password, "full_name": "Ana Lim"}
    assert stranger.write("registerMember", body).status_code == 201
    tokens = stranger.call("login", {"email": email, "password": password}).json()
    member = Member(tokens["member_id"], email, password, tokens["access_token"], tokens["refresh_token"])
    return member, stranger.with_token(member.access_token)


@pytest.fixture(scope="module")
def world(stack: Stack, anyone: Client, merchant: Client) -> World:
    stranger = Stranger(anyone.http)
    operator = stack.twctl("token", "issue", "--scope", "members:read,members:admin", "--name", "openapi").strip()
    account, member = new_account(stranger)
    selling = stranger.with_token(merchant.token)
    ids = [selling.write("createProduct", product(stranger)).json()["product_id"] for _ in range(2)]
    assert selling.write("deactivateProduct", product_id=ids[1]).status_code == 204
    address = member.write("addAddress", stranger.example("addAddress")).json()["id"]
    sessions = member.call("listSessions").json()["items"]
    command = member.call("addCartItem", {"product_id": ids[0], "quantity": 1}).json()["command_id"]
    return World(
        stranger, member, selling, stranger.with_token(operator), account, *ids, address, sessions[0]["id"], command
    )


# --- the document by itself


def test_it_is_openapi(anyone: Client) -> None:
    served = anyone.get("/openapi.json")
    assert served.json() == contract().document
    validate(served.json())


def test_its_examples_fit_its_schemas() -> None:
    def media(operation: dict[str, Any]) -> list[dict[str, Any]]:
        answers = [contract().resolve(answer) for answer in operation["responses"].values()]
        return [m for part in [operation.get("requestBody", {}), *answers] for m in part.get("content", {}).values()]

    shown = [m for _, _, operation in contract().operations() for m in media(operation) if "example" in m]
    assert len(shown) > 300
    assert [told for m in shown for told in contract().fits(m["schema"], m["example"])] == []


def test_every_operation_tells_who_may_and_what_goes_wrong() -> None:
    for path, _, operation in contract().operations():
        assert {"summary", "tags", "security", "parameters", "responses"} <= set(operation), path
        assert {"400", "414", "429", "431", "503"} <= set(operation["responses"]), path
        names = {contract().resolve(p)["name"] for p in operation["parameters"] if "{" in path}
        assert set(re.findall(r"{(\w+)}", path)) <= names | {""}, path


# --- the page for people


def test_the_page_shows_everything_in_a_browser_and_hurts_no_policy(anyone: Client, tmp_path: Path) -> None:
    url = f"{anyone.http.base_url}/docs".replace("//docs", "/docs")
    page = look_at(url, tmp_path)
    assert page.complaints == []
    assert {operation["operationId"] for _, _, operation in contract().operations()} <= page.ids
    messages = anyone.get("/asyncapi.json").json()["components"]["messages"]
    assert {f"message-{name}" for name in messages if name not in ("dead-letter", "settlement")} <= page.ids
    assert {f"problem-{code}" for code in contract().document["x-problems"]} <= page.ids
    assert page.links <= page.ids, "every link leads somewhere"
    assert page.landmarks == {"header", "nav", "main"} and page.levels[0] == page.levels.count(1) == 1
    assert "find" not in page.hidden, "its script has run"
    assert len(photograph(url, tmp_path, 390, 1200)) > 30_000, "something is to be seen on a telephone, too"


def test_the_page_asks_for_nothing_else(anyone: Client) -> None:
    answer = anyone.get("/docs")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'" and policy["frame-ancestors"] == "'none'"
    assert all(re.fullmatch(r"'sha256-[\w+/]{43}='", policy[name]) for name in ("style-src", "script-src"))
    assert not re.search(r"(?:src|href)=[\"'](?:https?:)?//", answer.text)


# --- refusals that need nothing but the operation's own place


def body_of(world: World, operation_id: str) -> Any:
    """The document's example, with what makes it true of this world; None when the operation takes no body."""
    if "requestBody" not in contract().operation(operation_id)[2]:
        return None
    mine = {"password": world.account.password, "current_password": world.account.password, "email": some_email()}
    mine |= {"new_password": some_password(), "product_id": world.product, "sku": some_sku()}
    return {name: mine.get(name, value) for name, value in world.anyone.example(operation_id).items()}


def place_of(world: World, operation_id: str) -> tuple[str, str]:
    """Method and path."""
    path, method, _ = contract().operation(operation_id)
    for name, value in world.ids(operation_id).items():
        path = path.replace("{" + name + "}", value)
    return method.upper(), path


def raw(world: World, operation_id: str, line: str = "", body: bytes = b"", host: bool = True) -> None:
    """A request byte by byte, for what no library would send; the answer is judged like all others."""
    method, path = place_of(world, operation_id)
    address = urlsplit(str(world.anyone.http.base_url))
    token = world.caller(operation_id).token
    head = f"{method} {path} HTTP/1.1\r\nConnection: close\r\n" + ("Host: shop\r\n" if host else "") + line
    head += f"Authorization: Bearer {token}\r\n" if token else ""
    with socket.create_connection((address.hostname, address.port), timeout=15) as connection:
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        answer = HTTPResponse(connection, method=method)
        answer.begin()
        fields = {name.lower(): value for name, value in answer.getheaders()}
        contract().judge(method, path.partition("?")[0], str(answer.status), fields, answer.read())


def provoke_400(world: World, operation_id: str) -> None:
    raw(world, operation_id, host=False)


def provoke_413(world: World, operation_id: str) -> None:
    raw(world, operation_id, body=b" " * (1_048_577 if operation_id == "createProducts" else 65_537))


def provoke_414(world: World, operation_id: str) -> None:
    method, path = place_of(world, operation_id)
    world.anyone.http.request(method, f"{path}?x={'x' * 2048}")


def provoke_431(world: World, operation_id: str) -> None:
    method, path = place_of(world, operation_id)
    world.anyone.http.request(method, path, headers={f"x-{n}": "x" for n in range(65)})


def provoke_401(world: World, operation_id: str) -> None:
    send(world, operation_id, world.anyone.with_token("no.good.token"))


def provoke_403(world: World, operation_id: str) -> None:
    send(world, operation_id, world.member)


def send(world: World, operation_id: str, caller: Stranger, **fields: str) -> httpx.Response:
    return caller.call(operation_id, body_of(world, operation_id), fields=fields, **world.ids(operation_id))


def parameters_of(operation_id: str) -> set[str]:
    return {contract().resolve(p)["name"] for p in contract().operation(operation_id)[2]["parameters"]}


def provoke_404(world: World, operation_id: str) -> None:
    """Something that is not there; in the body when the path names nothing."""
    caller, ids = world.caller(operation_id), dict.fromkeys(world.ids(operation_id), str(uuid.uuid4()))
    body = body_of(world, operation_id)
    if body and "product_id" in body:
        body["product_id"] = str(uuid.uuid4())
    caller.call(operation_id, body, fields={"Prefer": "wait=10"}, **ids)


def provoke_412(world: World, operation_id: str) -> None:
    send(world, operation_id, world.caller(operation_id), **{"If-Match": '"999999.x"', "Prefer": "wait=10"})


def provoke_415(world: World, operation_id: str) -> None:
    method, path = place_of(world, operation_id)
    token = world.caller(operation_id).token
    fields = {"Content-Type": "text/plain", **({"Authorization": f"Bearer {token}"} if token else {})}
    world.anyone.http.request(method, path, headers=fields, content=b"{}")


def provoke_422(world: World, operation_id: str) -> None:
    """A member that nobody knows; where no body is looked at, a key that came with another one."""
    caller, ids = world.caller(operation_id), world.ids(operation_id)
    if "415" in contract().documented(operation_id):
        caller.call(operation_id, {"nobody-knows": 1}, **ids)
        return
    if caller is world.member:
        account, caller = new_account(world.anyone)
        if "session_id" in ids:
            world.anyone.call("login", {"email": account.email, "password": account.password})
            sessions = caller.call("listSessions").json()["items"]
            ids["session_id"] = next(session["id"] for session in sessions if not session["current"])
    path, method, _ = contract().operation(operation_id)
    key = {"Idempotency-Key": str(uuid.uuid4()), "Authorization": f"Bearer {caller.token}"}
    if "If-Match" in parameters_of(operation_id):  # so that the first one, too, changes nothing
        key["If-Match"] = '"999999.x"'
    for name, value in ids.items():
        path = path.replace("{" + name + "}", value)
    caller.http.request(method.upper(), path, headers={**key, "Prefer": "wait=10"})
    caller.http.request(method.upper(), path, headers=key, content=b'{"another":"body"}')


def provoke_304(world: World, operation_id: str) -> None:
    caller, ids = world.caller(operation_id), world.ids(operation_id)
    caller.call(operation_id, if_none_match=caller.call(operation_id, **ids).headers["ETag"], **ids)


PROVOKE = {name[-3:]: call for name, call in list(globals().items()) if name.startswith("provoke_")}
OPERATIONS = [operation["operationId"] for _, _, operation in contract().operations()]


@pytest.mark.parametrize("operation_id", OPERATIONS)
def test_it_is_refused_as_documented(world: World, operation_id: str) -> None:
    for status in sorted(contract().documented(operation_id) & set(PROVOKE)):
        PROVOKE[status](world, operation_id)


@pytest.mark.parametrize("path", sorted(contract().document["paths"]))
def test_other_methods_are_405_and_head_is_a_get_without_its_body(world: World, path: str) -> None:
    item = contract().document["paths"][path]
    there = re.sub(r"{(\w+)}", str(uuid.uuid4()), path)
    for method in {"get", "put", "post", "delete", "patch"} - set(item):
        answer = world.member.http.request(method.upper(), there)
        assert answer.status_code == 405, f"{method} {path}: the edge knows a method the document does not"
        allowed = set(answer.headers["Allow"].lower().split(", ")) - {"head"}
        assert allowed == set(item) & {"get", "put", "post", "delete", "patch"}
    if "get" in item and not streams(item["get"]["operationId"]):
        fields = {"Authorization": f"Bearer {world.operator.token}"}
        answers = [world.member.http.request(method, there, headers=fields) for method in ("GET", "HEAD")]
        assert answers[0].status_code == answers[1].status_code and answers[1].content == b""


# --- successes, and refusals of the state


def must(response: httpx.Response, status: int) -> Any:
    assert response.status_code == status, response.text
    return response.json() if response.content else None


def success_of(operation_id: str) -> set[str]:
    return {status for status in contract().documented(operation_id) if status < "300"}


def streams(operation_id: str) -> bool:
    """Does it answer with events that go on?"""
    answers = [contract().resolve(r) for r in contract().operation(operation_id)[2]["responses"].values()]
    return any("text/event-stream" in answer.get("content", {}) for answer in answers)


def asks_for_nothing(operation_id: str) -> bool:
    return "requestBody" not in contract().operation(operation_id)[2] and "202" not in success_of(operation_id)


@pytest.mark.parametrize("operation_id", [o for o in OPERATIONS if asks_for_nothing(o) and not streams(o)])
def test_what_needs_no_body_is_answered(world: World, operation_id: str) -> None:
    ids, caller = world.ids(operation_id), world.caller(operation_id)
    if caller is world.member and not ids:  # it may be the end of a session
        _, caller = new_account(world.anyone)
    response = caller.call(operation_id, **ids)
    expected = success_of(operation_id) if (operation_id, "200") not in EXCUSED_OF else {"404"}
    assert str(response.status_code) in expected, response.text


@pytest.mark.parametrize("operation_id", [o for o in OPERATIONS if streams(o)])
def test_a_stream_begins(world: World, operation_id: str) -> None:
    method, path = place_of(world, operation_id)
    fields = {"Authorization": f"Bearer {world.member.token}"}
    with world.anyone.http.stream(method, path, headers=fields) as answer:
        assert answer.status_code == 200


def test_a_member_registers_logs_in_and_leaves(world: World) -> None:
    account, member = new_account(world.anyone)
    body = {"email": some_email(), "password": some_password(), "full_name": "Ana Lim"}
    must(world.anyone.call("registerMember", body), 202)
    must(world.anyone.write("registerMember", {**body, "email": account.email}), 409)
    must(world.anyone.call("login", {"email": account.email, "password": "not the password"}), 401)
    pair = must(world.anyone.call("refresh", {"refresh_token": account.refresh_token}), 200)
    must(world.anyone.call("refresh", {"refresh_token": "none"}), 401)
    member = world.anyone.with_token(pair["access_token"])
    others = [world.anyone.call("login", {"email": account.email, "password": account.password}) for _ in range(2)]
    ends = [s["id"] for s in must(member.call("listSessions"), 200)["items"] if not s["current"]]
    must(member.write("endSession", session_id=ends[0]), 204)
    must(member.call("endSession", session_id=ends[1]), 202)
    must(member.call("logout"), 204)
    tokens = must(world.anyone.call("login", {"email": account.email, "password": account.password}), 200)
    must(world.anyone.with_token(tokens["access_token"]).call("logoutAll"), 204)
    assert {other.status_code for other in others} == {200}
    _, member = new_account(world.anyone)
    must(member.write("leave"), 204)
    _, member = new_account(world.anyone)
    must(member.call("leave"), 202)


def test_a_member_changes_what_they_are(world: World) -> None:
    account, member = new_account(world.anyone)
    must(member.call("getMe"), 200)
    must(member.write("changeMe", {"phone_number": None}), 200)
    must(member.call("changeMe", {"full_name": "Ana"}), 202)
    new = some_password()
    must(member.write("changePassword", {"current_password": account.password, "new_password": new}), 204)
    must(member.call("changePassword", {"current_password": new, "new_password": account.password}), 202)
    account, member = new_account(world.anyone)
    body = {"email": some_email(), "password": account.password}
    must(member.write("changeEmail", body), 200)
    must(member.write("changeEmail", {**body, "email": world.account.email}), 409)
    must(member.call("changeEmail", {**body, "email": some_email()}), 202)


def test_a_member_keeps_addresses(world: World) -> None:
    _, member = new_account(world.anyone)
    body = world.anyone.example("addAddress")
    first = must(member.write("addAddress", body), 201)["id"]
    second = must(member.write("addAddress", {**body, "is_default": False}), 201)["id"]
    must(member.call("addAddress", body), 202)
    must(member.call("listAddresses"), 200)
    must(member.call("getAddress", address_id=first), 200)
    must(member.write("changeAddress", {"label": "Work"}, address_id=first), 200)
    must(member.call("changeAddress", {"label": "Work"}, address_id=first), 202)
    must(member.write("setDefaultAddress", address_id=second), 200)
    must(member.call("setDefaultAddress", address_id=first), 202)
    must(member.write("removeAddress", address_id=first), 204)
    must(member.call("removeAddress", address_id=second), 202)


def test_a_merchant_keeps_the_catalogue(world: World) -> None:
    merchant = world.merchant
    body = product(world.anyone)
    made = must(merchant.write("createProduct", body), 201)["product_id"]
    page = world.anyone.call("listProducts", limit=1)
    assert "next" in page.links, "there are two that were waited for"
    must(world.anyone.call("listProducts", limit=1, cursor=must(page, 200)["next_cursor"]), 200)
    must(merchant.write("createProduct", body), 409)
    must(merchant.call("createProduct", product(world.anyone)), 202)
    must(merchant.call("createProducts", {"items": [product(world.anyone) for _ in range(2)]}), 202)
    must(merchant.write("changeProduct", {"price": "200.00"}, product_id=made), 200)
    must(merchant.call("changeProduct", {"price": "201.00"}, product_id=made), 202)
    must(merchant.call("deactivateProduct", product_id=made), 202)
    must(merchant.write("deactivateProduct", product_id=made), 204)
    must(world.anyone.call("getProduct", product_id=world.product), 200)
    must(world.anyone.call("getProduct", product_id=made), 410)
    for counted in ("listCategories", "listTags"):
        must(world.anyone.call(counted), 200)


def test_a_member_looks_at_products_and_rates_them(world: World) -> None:
    ids = {"product_id": world.product}
    must(world.anyone.call("recordView", **ids), 202)
    key = str(uuid.uuid4())
    views = [world.anyone.call("recordView", idempotency_key=key, fields={"Prefer": "wait=10"}, **ids) for _ in range(2)]
    assert [must(view, 202)["status"] for view in views] == ["accepted"] * 2
    must(world.member.write("rateProduct", {"stars": 5}, **ids), 200)
    must(world.member.call("rateProduct", {"stars": 4}, **ids), 202)
    must(world.member.write("withdrawRating", **ids), 204)
    must(world.member.call("withdrawRating", **ids), 202)
    must(world.member.write("rateProduct", {"stars": 4}, product_id=world.gone), 410)


def test_a_member_fills_a_cart(world: World) -> None:
    _, member = new_account(world.anyone)
    line = {"product_id": world.product, "quantity": 2}
    must(member.write("addCartItem", line), 200)
    must(member.call("addCartItem", line), 202)
    must(member.write("addCartItem", {**line, "product_id": world.gone}), 409)
    must(member.write("addCartItem", {**line, "quantity": 999}), 422)
    must(member.write("setCartItem", {"quantity": 3}, product_id=world.product), 200)
    must(member.call("setCartItem", {"quantity": 4}, product_id=world.product), 202)
    must(member.write("setCartItem", {"quantity": 4}, product_id=world.gone), 409)
    must(member.call("getCart"), 200)
    must(member.call("getCartSummary"), 200)
    must(member.write("acknowledgeCart"), 204)
    must(member.call("acknowledgeCart"), 202)
    must(member.write("removeCartItem", product_id=world.product), 204)
    must(member.call("removeCartItem", product_id=world.product), 202)
    must(member.write("clearCart"), 204)
    must(member.call("clearCart"), 202)


def test_an_operator_looks_after_members(world: World) -> None:
    page = world.operator.call("listMembers", limit=1)
    assert "next" in page.links
    account, _ = new_account(world.anyone)
    must(world.operator.call("getMember", member_id=account.id), 200)
    body = {"status": "SUSPENDED", "reason": "asked for"}
    must(world.operator.write("setMemberStatus", body, member_id=account.id), 200)
    must(world.operator.call("setMemberStatus", {**body, "status": "ACTIVE"}, member_id=account.id), 202)


def test_commands_and_documents_can_be_read(world: World) -> None:
    must(world.member.call("getCommand", command_id=world.command, prefer="wait=5"), 200)
    for document in ("getOpenApi", "getAsyncApi", "getDocs"):
        must_be = world.anyone.call(document)
        assert must_be.status_code == 200 and len(must_be.content) > 10_000


# --- the end: nothing is in the document for show


def test_nothing_is_documented_that_is_not_there(world: World) -> None:
    missing = {
        (operation_id, status)
        for operation_id in OPERATIONS
        for status in contract().documented(operation_id) - contract().seen[operation_id] - set(EXCUSED)
    }
    assert sorted(missing - set(EXCUSED_OF)) == [], "nobody saw these, and nobody excused them"
    assert sorted(set(EXCUSED_OF) - missing) == [], "these were seen after all"


def test_the_judge_refuses_what_is_not_documented() -> None:
    judge = Contract(contract().document).judge
    fields = {name.lower(): "x" for name, f in contract().document["x-headers-of-every-answer"].items() if f["required"]}
    good = {**fields, "content-type": "application/json"}
    body = {"items": [], "next_cursor": None}

    def text(**more: Any) -> bytes:
        return json.dumps({**body, **more}).encode()

    judge("GET", "/v1/products", "200", good, text())
    for wrong in (
        ("GET", "/v1/products", "201", good, text()),
        ("GET", "/v1/nothing", "200", good, text()),
        ("DELETE", "/v1/products", "204", fields, b""),
        ("GET", "/v1/products", "200", {**good, "x-new": "1"}, text()),
        ("GET", "/v1/products", "200", {"content-type": "application/json"}, text()),
        ("GET", "/v1/products", "200", {**good, "content-type": "text/html"}, text()),
        ("GET", "/v1/products", "200", good, text(more=1)),
        ("GET", "/v1/products", "200", good, text(items=[{"product_id": 7}])),
        ("GET", "/v1/products", "401", good, text()),
    ):
        with pytest.raises(AssertionError):
            judge(*wrong)


def test_everything_agrees_with_a_fold_of_the_log(judged: Judged) -> None:
    judged()
