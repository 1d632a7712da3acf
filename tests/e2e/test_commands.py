"""202, Location, Prefer: wait, the status of a command, Idempotency-Key, and reads that show a write."""

import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

import ids
from client import Client, address_body, at_once, product_body, some_email, some_password, some_sku
from judge import Judged
from messages import TOPICS
from stack import Stack, wait_until
from topics import Topics


WAIT_S = 10


def test_a_202_names_the_command_and_where_to_ask(shopper: Client, product: str, topics: Topics) -> None:
    response = shopper.add(product, 1, wait=False)
    assert response.status_code == 202, response.text
    body = response.json()
    assert body["type"] == "cart.add_item" and body["status"] == "accepted" and body["resource"] == "/v1/cart"
    assert response.headers["Location"].startswith(f"/v1/commands/{body['command_id']}")
    assert body["links"]["self"] == response.headers["Location"]
    assert response.headers["Retry-After"] == "1" and response.headers["Consistency-Token"]
    assert "Preference-Applied" not in response.headers
    (record,) = topics.commands_of(body["command_id"])
    assert ids.command_domain(body["command_id"]) == ids.DOMAINS["cart"]
    assert ids.command_partition(body["command_id"]) == record.partition
    assert record.partition == ids.partition_of(record.key or b"", TOPICS["cart.commands"])


def status_of(caller: Client, location: str, wait: bool = True) -> dict[str, object]:
    response = caller.get(location, **({"Prefer": "wait=10"} if wait else {}))
    assert response.status_code == 200, response.text
    body: dict[str, object] = response.json()
    return body


def test_a_command_ends_succeeded(shopper: Client, product: str) -> None:
    location = shopper.add(product, 1, wait=False).headers["Location"]
    status = status_of(shopper, location)
    assert (status["status"], status["http_status"], status["resource"]) == ("succeeded", 200, "/v1/cart")
    assert status["type"] == "cart.add_item" and status["submitted_at"] and status["finished_at"]
    assert "problem" not in status


def test_a_command_ends_rejected_with_its_problem(shopper: Client, product: str) -> None:
    shopper.add(product, 999)
    status = status_of(shopper, shopper.add(product, 1, wait=False).headers["Location"])
    assert (status["status"], status["http_status"]) == ("rejected", 422)
    problem = status["problem"]
    assert isinstance(problem, dict) and problem["code"] == "line-quantity-limit"


@pytest.mark.parametrize("domain", ["member", "product", "cart"])
def test_a_command_is_accepted_while_its_worker_is_away(
    healed: Stack, merchant: Client, shopper: Client, product: str, domain: str
) -> None:
    healed.kill(domain)
    if domain == "member":
        caller, response = shopper, shopper.register(some_email(), some_password(), wait=False)
    elif domain == "product":
        caller, response = merchant, merchant.create_product(wait=False)
    else:
        caller, response = shopper, shopper.add(product, 1, wait=False)
    assert response.status_code == 202, response.text
    assert status_of(caller, response.headers["Location"], wait=False)["status"] == "accepted"
    healed.start(domain)
    status = wait_until(
        "it ends", lambda: (s := status_of(caller, response.headers["Location"]))["status"] != "accepted" and s
    )
    assert isinstance(status, dict) and status["status"] == "succeeded"


def test_a_wait_that_is_too_short_ends_as_a_202(healed: Stack, shopper: Client, product: str) -> None:
    healed.kill("cart")
    response = shopper.write(
        "POST", "/v1/cart/items", {"product_id": product, "quantity": 1}, fields={"Prefer": "wait=1"}
    )
    assert response.status_code == 202 and response.json()["status"] == "accepted"


def test_an_unknown_command_is_404(shopper: Client) -> None:
    response = shopper.get(f"/v1/commands/{uuid.uuid4()}")
    assert (response.status_code, response.json()["code"]) == (404, "not-found")


def test_another_members_command_is_404(anyone: Client, shopper: Client, product: str) -> None:
    location = shopper.add(product, 1, wait=False).headers["Location"]
    status_of(shopper, location)
    other = anyone.as_caller(anyone.new_member().access_token)
    assert other.get(location).status_code == 404
    assert anyone.get(location).status_code in (401, 404)


def test_an_operator_sees_every_command_at_every_edge(
    healed: Stack, anyone: Client, edge2: Client, shopper: Client, product: str
) -> None:
    operator, other = (
        edge2.as_caller(healed.twctl("token", "issue", "--scope", scope, "--name", "e2e").strip())
        for scope in ("commands:read", "members:read")
    )
    healed.kill("cart")
    location = shopper.add(product, 1, wait=False).headers["Location"]
    assert status_of(operator, location, wait=False)["status"] == "accepted"
    assert other.get(location).status_code == 404 and edge2.get(location).status_code == 401
    healed.start("cart")
    assert status_of(operator, location.partition("?")[0])["status"] == "succeeded"
    assert other.get(location).status_code == 404


@pytest.mark.parametrize("domain", sorted(ids.DOMAINS))
def test_a_command_of_the_day_before_is_gone(anyone: Client, domain: str) -> None:
    now_ms, day_ms = time.time_ns() // 1_000_000, 24 * 60 * 60 * 1000
    for age_ms, status, code in [(day_ms + 60_000, 410, "gone"), (day_ms - 60_000, 404, "not-found")]:
        response = anyone.get(f"/v1/commands/{ids.some_command_id(now_ms - age_ms, domain)}")
        assert (response.status_code, response.json()["code"]) == (status, code)


def test_nobody_waits_for_the_end_of_a_view(anyone: Client, product: str) -> None:
    location = anyone.view(product).headers["Location"]
    start = time.monotonic()
    assert status_of(anyone, location)["status"] == "accepted"
    assert time.monotonic() - start < WAIT_S


# --- Idempotency-Key


def test_a_key_is_known_by_another_edge_and_after_a_restart(
    healed: Stack, edge2: Client, shopper: Client, product: str
) -> None:
    key = uuid.uuid4().hex
    callers = [shopper, edge2.as_caller(shopper.token)]
    twins = at_once(*(lambda caller=caller: caller.add(product, 2, key=key) for caller in callers * 4))
    assert {answer.status_code for answer in twins} == {200}
    assert sum("Idempotent-Replayed" not in answer.headers for answer in twins) == 1, "one of them was the first"
    healed.stop("edge")
    healed.start("edge")
    locations = set()
    for caller in callers:
        accepted, again = caller.add(product, 2, wait=False, key=key), caller.add(product, 2, key=key)
        assert accepted.headers["Idempotent-Replayed"] == again.headers["Idempotent-Replayed"] == "true"
        assert (accepted.status_code, again.status_code) == (202, 200)
        assert again.json() == twins[0].json()
        locations.add(accepted.headers["Location"])
        other = caller.add(product, 3, key=key)
        assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")
    assert len(locations) == 1, "both tell of the same command"
    assert shopper.get("/v1/cart/summary").json()["total_items"] == 2


def test_the_same_key_with_another_method_or_path_is_another_command(
    shopper: Client, merchant: Client, product: str
) -> None:
    key, other = uuid.uuid4().hex, merchant.new_product()
    body = {"quantity": 2}
    calls = [("PUT", f"/v1/cart/items/{product}", body), ("PUT", f"/v1/cart/items/{other}", body)]
    calls += [("DELETE", f"/v1/cart/items/{product}", None)]
    answers = [shopper.write(method, path, sent, key=key, wait=True) for method, path, sent in calls]
    assert [answer.status_code for answer in answers] == [200, 200, 204]
    assert all("Idempotent-Replayed" not in answer.headers for answer in answers)
    assert [line["product_id"] for line in shopper.get("/v1/cart").json()["items"]] == [other]


def test_strangers_who_pick_the_same_key_do_not_meet(anyone: Client) -> None:
    key = uuid.uuid4().hex
    for _ in range(2):
        response = anyone.register(some_email(), some_password(), key=key)
        assert response.status_code == 201 and "Idempotent-Replayed" not in response.headers


def test_login_and_refresh_ignore_a_key(anyone: Client) -> None:
    member, key = anyone.new_member(), uuid.uuid4().hex
    right = {"email": member.email, "password": member.password}

    def login(body: dict[str, str]) -> httpx.Response:
        return anyone.write("POST", "/v1/auth/login", body, key=key)

    one, wrong, two = login(right), login({**right, "password": "not this one"}), login(right)
    assert [one.status_code, wrong.status_code, two.status_code] == [200, 401, 200]
    assert one.json()["refresh_token"] != two.json()["refresh_token"]
    for response in (one, two):
        token = {"refresh_token": response.json()["refresh_token"]}
        refreshed = anyone.write("POST", "/v1/auth/refresh", token, key=key)
        assert refreshed.status_code == 200 and "Idempotent-Replayed" not in refreshed.headers


def test_a_repeat_with_the_same_key_is_one_command_with_one_effect(
    shopper: Client, product: str, topics: Topics
) -> None:
    key = uuid.uuid4().hex
    first = shopper.add(product, 2, wait=False, key=key)
    assert first.status_code == 202
    command = first.json()["command_id"]
    status_of(shopper, first.headers["Location"])
    again = shopper.add(product, 2, key=key)
    assert again.status_code == 200, again.text
    assert again.headers["Idempotent-Replayed"] == "true"
    assert shopper.get("/v1/cart/summary").json()["total_items"] == 2
    assert len(topics.commands_of(command)) == 1, "the edge answers from the ledger"


def test_repeats_that_race_have_one_effect(shopper: Client, product: str, topics: Topics) -> None:
    key = uuid.uuid4().hex
    answers = [shopper.add(product, 2, wait=False, key=key) for _ in range(5)]
    commands = {a.json()["command_id"] for a in answers if a.status_code == 202}
    assert len(commands) == 1
    wait_until("the cart has it", lambda: shopper.get("/v1/cart/summary").json()["total_items"] == 2)
    status_of(shopper, answers[0].headers["Location"])
    wait_until(
        "each record has its outcome",
        lambda: len(topics.events_of(commands.copy().pop())) >= 1 + len(topics.commands_of(commands.copy().pop())),
    )
    assert shopper.get("/v1/cart/summary").json()["total_items"] == 2


def test_a_record_that_is_in_the_log_twice_has_one_effect(shopper: Client, product: str, topics: Topics) -> None:
    command_id = shopper.add(product, 2, wait=False, key=uuid.uuid4().hex).json()["command_id"]
    (first,) = topics.commands_of(command_id)
    again = topics.write(first.topic, first.key, first.value, list(first.headers), first.partition)
    other = [(name, b"0" * 32 if name == "tw_fingerprint" else value) for name, value in first.headers]
    misused = topics.write(first.topic, first.key, first.value, list(other), first.partition)

    def outcomes() -> dict[int, tuple[str, int, bool]]:
        told = [e for e in topics.events_of(command_id) if e.type == "command.outcome.v1"]
        return {e.cause[0]: (e.body["status"], e.body["http_status"], e.body["repeated"]) for e in told}

    wait_until("each record has its outcome", lambda: len(outcomes()) == 3)
    assert outcomes() == {
        first.offset: ("succeeded", 200, False),
        again[1]: ("succeeded", 200, True),
        misused[1]: ("rejected", 422, False),
    }
    assert shopper.get("/v1/cart/summary").json()["total_items"] == 2


def test_another_body_under_the_same_key_is_422(shopper: Client, product: str) -> None:
    key = uuid.uuid4().hex
    assert shopper.add(product, 2, key=key).status_code == 200
    response = shopper.add(product, 3, key=key)
    assert (response.status_code, response.json()["code"]) == (422, "idempotency-key-reused")
    assert shopper.get("/v1/cart/summary").json()["total_items"] == 2


def test_a_key_that_went_to_another_partition_is_known_too(merchant: Client) -> None:
    def partition_of(sku: str) -> int:
        return ids.partition_of(ids.product_id(sku).encode(), 6)

    one, key = some_sku(), uuid.uuid4().hex
    other = next(sku for sku in iter(some_sku, "") if partition_of(sku) != partition_of(one))
    assert merchant.create_product(sku=one, key=key).status_code == 201
    response = merchant.create_product(sku=other, key=key)
    assert (response.status_code, response.json()["code"]) == (422, "idempotency-key-reused")
    assert merchant.get(f"/v1/products/{ids.product_id(other)}").status_code == 404


def test_spaces_and_order_of_members_are_no_other_body(shopper: Client, product: str) -> None:
    key, path = uuid.uuid4().hex, "/v1/cart/items"
    fields = {
        "Authorization": f"Bearer {shopper.token}",
        "Content-Type": "application/json",
        "Idempotency-Key": key,
        "Prefer": "wait=10",
    }
    one = shopper.http.post(path, content=f'{{"product_id":"{product}","quantity":2}}', headers=fields)
    two = shopper.http.post(path, content=f'{{ "quantity" : 2, "product_id":"{product}"}}', headers=fields)
    assert one.status_code == two.status_code == 200, two.text
    assert two.headers["Idempotent-Replayed"] == "true"


def test_a_refusal_is_repeated_too(merchant: Client) -> None:
    sku, key = some_sku(), uuid.uuid4().hex
    merchant.create_product(sku=sku)
    body = product_body(sku=sku)
    first, again = (merchant.write("POST", "/v1/products", body, key=key, wait=True) for _ in range(2))
    assert first.status_code == again.status_code == 409
    assert again.headers["Idempotent-Replayed"] == "true"


def test_two_callers_may_use_the_same_key(anyone: Client, shopper: Client, product: str) -> None:
    key = uuid.uuid4().hex
    other = anyone.as_caller(anyone.new_member().access_token)
    assert shopper.add(product, 1, key=key).status_code == 200
    assert other.add(product, 4, key=key).status_code == 200
    assert other.get("/v1/cart/summary").json()["total_items"] == 4


def test_a_registration_can_be_repeated(anyone: Client) -> None:
    email, password, key = some_email(), some_password(), uuid.uuid4().hex
    assert anyone.register(email, password, key=key).status_code == 201
    again = anyone.register(email, password, key=key)
    assert again.status_code == 201 and again.headers["Idempotent-Replayed"] == "true"


def test_without_a_key_each_request_is_its_own_command(shopper: Client, product: str) -> None:
    one, two = shopper.add(product, 1, wait=False), shopper.add(product, 1, wait=False)
    assert one.json()["command_id"] != two.json()["command_id"]
    status_of(shopper, two.headers["Location"])
    assert shopper.get("/v1/cart/summary").json()["total_items"] == 2


def test_a_bad_key_is_refused(shopper: Client, product: str, topics: Topics) -> None:
    before = topics.ends()
    for key in ("x" * 256, "", '""', "caf\u00e9"):
        fields = {"Idempotency-Key": key.encode()}
        response = shopper.http.post(
            "/v1/cart/items",
            json={"product_id": product, "quantity": 1},
            headers={"Authorization": f"Bearer {shopper.token}".encode(), **fields},
        )
        assert (response.status_code, response.json()["code"]) == (400, "malformed-request"), key
    assert topics.ends() == before
    assert shopper.add(product, 1, wait=False, key="x" * 255).status_code == 202


# --- Consistency-Token


def reads_of_members(stack: Stack, shopper: Client) -> tuple[str, dict[str, tuple[Client, str]]]:
    """A change of name and a new address, not waited for; what shows them, and whom to ask."""
    me = shopper.get("/v1/members/me").json()
    scope = stack.twctl("token", "issue", "--scope", "members:read", "--name", "reader").strip()
    operator = shopper.as_caller(scope)
    stack.kill("member")
    assert shopper.write("PATCH", "/v1/members/me", {"full_name": "Shown Now"}).status_code == 202
    address = shopper.write("POST", "/v1/members/me/addresses", address_body(label="Shown Now"))
    shown = {
        "/v1/members/me": shopper,
        "/v1/members/me/addresses": shopper,
        address.json()["resource"]: shopper,
        f"/v1/members/{me['id']}": operator,
        f"/v1/members?email={me['email'].replace('+', '%2B')}": operator,
    }
    return address.headers["Consistency-Token"], {path: (caller, "Shown Now") for path, caller in shown.items()}


def reads_of_products(stack: Stack, merchant: Client, anyone: Client) -> tuple[str, dict[str, tuple[Client, str]]]:
    sku = some_sku()
    product = merchant.new_product(sku=sku)
    name = f"Shelf {uuid.uuid4().hex}"
    assert anyone.get("/v1/categories").status_code == anyone.get("/v1/tags").status_code == 200, "both are kept now"
    stack.kill("product")
    changed = merchant.change_product(product, wait=False, category=name, tags=[name])
    paths = [f"/v1/products/{product}", f"/v1/products?sku={sku}", f"/v1/products?category={name}"]
    paths += ["/v1/categories", "/v1/tags"]
    return changed.headers["Consistency-Token"], {path: (anyone, name) for path in paths}


def reads_of_carts(stack: Stack, shopper: Client, product: str) -> tuple[str, dict[str, tuple[Client, str]]]:
    stack.kill("cart")
    added = shopper.add(product, 987, wait=False)
    shown = {"/v1/cart": '"quantity":987', "/v1/cart/summary": '"total_items":987'}  # more than digits: ids have them, too
    return added.headers["Consistency-Token"], {path: (shopper, text) for path, text in shown.items()}


@pytest.mark.parametrize("domain", ["member", "product", "cart"])
def test_a_read_with_the_token_of_a_write_waits_until_it_shows(
    healed: Stack, anyone: Client, merchant: Client, shopper: Client, product: str, domain: str
) -> None:
    if domain == "member":
        token, reads = reads_of_members(healed, shopper)
    elif domain == "product":
        token, reads = reads_of_products(healed, merchant, anyone)
    else:
        token, reads = reads_of_carts(healed, shopper, product)
    for path, (caller, text) in reads.items():
        early = caller.get(path, **{"Consistency-Token": token, "Prefer": "wait=0"})
        assert text not in early.text.replace(path, ""), early.text
        assert (early.headers["Consistency"], early.headers["Cache-Control"]) == ("stale", "no-store"), path

    def read(path: str) -> httpx.Response:
        """A worker may take longer to start than anybody may wait: who waited in vain asks again."""
        for _ in range(6):
            asked_at = time.monotonic()
            answer = reads[path][0].get(path, **{"Consistency-Token": token, "Prefer": f"wait={WAIT_S}"})
            if "Consistency" not in answer.headers:
                break
            assert time.monotonic() - asked_at > 0.9 * WAIT_S, "it is stale because that time is over"
        return answer

    with ThreadPoolExecutor(len(reads)) as pool:
        waiting = {path: pool.submit(read, path) for path in reads}
        healed.start(domain)
        for path, future in waiting.items():
            answer = future.result()
            assert answer.status_code == 200, answer.text
            assert reads[path][1] in answer.text, path
            assert "Consistency" not in answer.headers and answer.headers["Preference-Applied"] == "wait=10"
            assert domain != "product" or "Consistency-Token" in answer.headers["Vary"]


def test_a_read_that_waits_in_vain_for_a_second_is_stale(healed: Stack, shopper: Client, product: str) -> None:
    healed.kill("cart")
    token = shopper.add(product, 1, wait=False).headers["Consistency-Token"]
    start = time.monotonic()
    late = shopper.get("/v1/cart", **{"Consistency-Token": token})
    assert (late.status_code, late.json()["items"], late.headers["Consistency"]) == (200, [], "stale")
    assert 0.9 < time.monotonic() - start < WAIT_S
    unchanged = shopper.get("/v1/cart", **{"Consistency-Token": token, "If-None-Match": late.headers["ETag"]})
    assert (unchanged.status_code, unchanged.headers["Consistency"]) == (304, "stale")
    start = time.monotonic()
    other = shopper.get(f"/v1/products/{product}", **{"Consistency-Token": token, "Prefer": "wait=10"})
    assert time.monotonic() - start < WAIT_S, "what is read is not what was written"
    assert other.status_code == 200 and "Consistency" not in other.headers


def test_a_token_and_an_etag_go_together(shopper: Client, product: str) -> None:
    for path in ("/v1/cart", "/v1/cart/summary"):
        before = shopper.get(path).headers["ETag"]
        token = shopper.add(product, 1, wait=False).headers["Consistency-Token"]
        both = {"Consistency-Token": token, "Prefer": "wait=10"}
        changed = shopper.get(path, **both, **{"If-None-Match": before})
        assert changed.status_code == 200 and changed.headers["ETag"] != before
        known = {**both, "If-None-Match": changed.headers["ETag"]}
        for unchanged in (shopper.get(path, **known), shopper.http.head(path, headers=shopper._fields(known))):
            assert (unchanged.status_code, unchanged.content) == (304, b"")
            assert unchanged.headers["ETag"] == changed.headers["ETag"]
            assert unchanged.headers["Cache-Control"] == "no-store"


def test_a_view_shows_to_who_counted_it(anyone: Client, merchant: Client) -> None:
    product = merchant.new_product()
    for views in (1, 2, 3):
        token = anyone.view(product).headers["Consistency-Token"]
        shown = anyone.get(f"/v1/products/{product}", **{"Consistency-Token": token, "Prefer": "wait=10"})
        assert shown.json()["view_count"] == views


def test_a_batch_shows_whole(merchant: Client) -> None:
    name = f"Shelf {uuid.uuid4().hex}"
    response = merchant.create_products([product_body(category=name) for _ in range(30)])
    tokens = response.headers["Consistency-Token"]
    assert 2 <= len(tokens.split(", ")) <= 6, "one a partition"
    fields = {"Consistency-Token": tokens, "Prefer": "wait=10"}
    shown = merchant.get(f"/v1/products?limit=100&category={name}", **fields)
    assert len(shown.json()["items"]) == 30 and "Consistency" not in shown.headers


def test_a_token_we_did_not_give_is_refused(shopper: Client, product: str) -> None:
    token = shopper.add(product, 1, wait=False).headers["Consistency-Token"]
    for path in ("/v1/cart", "/v1/members/me", f"/v1/products/{product}", "/v1/categories"):
        for bad in ("x", "", token[:-1], token[:-2] + ("AA" if token[-2:] != "AA" else "BB"), f"{token}, x"):
            response = shopper.get(path, **{"Consistency-Token": bad})
            assert (response.status_code, response.json()["code"]) == (400, "malformed-request"), (path, bad)
            assert "Consistency-Token" in response.json()["detail"]


def test_everything_agrees_with_a_fold_of_the_log(judged: Judged) -> None:
    judged()
