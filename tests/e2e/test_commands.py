"""202, Location, Prefer: wait, the status of a command, and Idempotency-Key."""

import uuid

import pytest

import ids
from checker import Checker
from client import Client, product_body, some_email, some_password, some_sku
from messages import TOPICS
from stack import Stack, wait_until
from topics import Topics


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


# --- Idempotency-Key


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
    assert shopper.add(product, 1, key="x" * 256).status_code == 400
    assert topics.ends() == before


def test_everything_agrees_with_a_fold_of_the_log(checker: Checker) -> None:
    checker.check()
