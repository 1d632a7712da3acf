"""Servers that stop, hang, or are not there yet. Stores that lose what they had are in test_lost_stores.py."""

import time
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

import ids
from client import Client, some_email, some_password
from judge import Judged
from replay import Traffic
from stack import WORKERS, Stack, wait_until
from stores import Stores

STORE_OF = {"member": "postgres", "product": "mongo", "cart": "redis"}


def write_for(domain: str, merchant: Client, shopper: Client, product: str) -> Callable[[], int]:
    """One accepted write of that domain; returns its status."""
    return {
        "member": lambda: shopper.register(some_email(), some_password(), wait=False).status_code,
        "product": lambda: merchant.view(product).status_code,
        "cart": lambda: shopper.add(product, 1, wait=False).status_code,
    }[domain]


def not_ready_because(stack: Stack, name: str, *words: str) -> bool:
    """/readyz says no and has one of the words."""
    answer = stack.admin(name, "/readyz")
    return answer.status_code == 503 and any(word in answer.text.lower() for word in words)


def await_reason(stack: Stack, name: str, *words: str) -> None:
    wait_until(
        f"/readyz of {name} speaks of {' or '.join(words)}",
        lambda: stack.is_listening(name) and not_ready_because(stack, name, *words),
        30,
    )


def names_of(stack: Stack, server: str) -> tuple[str, str]:
    """How a sentence may name a server: what it is, or its port."""
    setting = {"postgres": "TW_POSTGRES_URI", "mongo": "TW_MONGO_URI", "redis": "TW_REDIS_URI"}[server]
    return server, str(urlsplit(stack.environment[setting]).port)


def test_without_the_broker_writes_are_503_and_reads_go_on(
    healed: Stack, anyone: Client, shopper: Client, product: str, judged: Judged
) -> None:
    shopper.add(product, 2)
    healed.stop_server("kafka")
    wait_until("writes are refused", lambda: shopper.add(product, 1, wait=False).status_code == 503)
    for _ in range(5):
        response = shopper.add(product, 1, wait=False)
        assert response.status_code == 503 and int(response.headers["Retry-After"]) >= 1, response.text
    assert anyone.get(f"/v1/products/{product}").status_code == 200
    assert shopper.get("/v1/cart").json()["summary"]["total_items"] == 2
    assert healed.admin("edge", "/readyz").status_code == 503
    assert healed.admin("edge", "/healthz").status_code == 200

    healed.start_server("kafka")
    wait_until("writes are accepted again", lambda: shopper.add(product, 1, wait=False).status_code == 202, 60)
    for name in (*WORKERS, "edge"):
        healed.wait_ready(name)
    judged()


def test_a_broker_that_hangs_gives_no_false_202(
    healed: Stack, shopper: Client, product: str, judged: Judged
) -> None:
    healed.pause_server("kafka")
    for _ in range(3):
        response = shopper.add(product, 1, wait=False)
        assert response.status_code == 503 and response.json()["code"] in ("enqueue-timeout", "unavailable")
    healed.resume_server("kafka")
    wait_until("writes are accepted again", lambda: shopper.add(product, 1, wait=False).status_code == 202, 60)
    judged()


def test_workers_wait_for_their_stores_and_go_on(
    healed: Stack, merchant: Client, shopper: Client, product: str, judged: Judged
) -> None:
    writes = {domain: write_for(domain, merchant, shopper, product) for domain in WORKERS}
    assert {write() for write in writes.values()} == {202}
    for domain in WORKERS:
        healed.stop_server(STORE_OF[domain])
    statuses: dict[str, list[int]] = {domain: [] for domain in WORKERS}
    until = time.monotonic() + 10
    while time.monotonic() < until:  # the edge may need a store to judge a request; what it accepts must be applied
        for domain, write in writes.items():
            statuses[domain].append(write())
        time.sleep(0.2)
    assert set(statuses["member"]) == {202}, "a registration needs no store"
    for domain in WORKERS:
        await_reason(healed, domain, "recover")
    for domain in WORKERS:
        healed.start_server(STORE_OF[domain])
    for name in (*WORKERS, "edge"):
        healed.wait_ready(name)
    assert {write() for write in writes.values()} == {202}
    judged()


@pytest.mark.parametrize("domain", WORKERS)
def test_a_store_that_is_killed_loses_nothing(
    healed: Stack, merchant: Client, shopper: Client, product: str, judged: Judged, domain: str
) -> None:
    write = write_for(domain, merchant, shopper, product)
    statuses: list[int] = []
    with Traffic(lambda: statuses.append(write())):
        wait_until("some are accepted", lambda: statuses.count(202) > 10, 60)
        healed.kill_server(STORE_OF[domain])
        wait_until(f"{domain} says so", lambda: not healed.is_ready(domain), 40)
        healed.start_server(STORE_OF[domain])
        before = statuses.count(202)
        wait_until("more are accepted", lambda: statuses.count(202) > before + 10, 60)
    healed.wait_ready(domain)
    judged()


def test_workers_that_start_without_their_store_name_it_and_wait(healed: Stack, judged: Judged) -> None:
    healed.stop(*WORKERS)
    for domain in WORKERS:
        healed.stop_server(STORE_OF[domain])
    healed.start(*WORKERS, ready=False)
    for domain in WORKERS:
        await_reason(healed, domain, *names_of(healed, STORE_OF[domain]))
    for domain in WORKERS:
        healed.start_server(STORE_OF[domain])
    for domain in WORKERS:
        healed.wait_ready(domain)
    judged()


def test_programs_that_start_without_the_broker_name_it_and_wait(
    healed: Stack, anyone: Client, product: str, judged: Judged
) -> None:
    healed.stop("cart", "edge")
    healed.stop_server("kafka")
    healed.start("cart", "edge", ready=False)
    await_reason(healed, "cart", "broker")
    wait_until(
        "the edge serves reads",
        lambda: healed.is_listening("edge") and anyone.get(f"/v1/products/{product}").status_code == 200,
        30,
    )
    assert not_ready_because(healed, "edge", "broker")
    assert anyone.view(product).status_code == 503
    healed.start_server("kafka")
    healed.wait_ready("cart")
    healed.wait_ready("edge")
    assert anyone.view(product).status_code == 202
    judged()


def test_ids_and_partitions_are_those_of_the_written_rules(stores: Stores, id_key: bytes) -> None:
    registered = "select id, email from members where id not in (select member_id from tw_email_claims)"
    for row in stores.rows(registered):
        assert str(row["id"]) == ids.member_id(id_key, row["email"])
