"""What an operator does and looks at: keys that change under traffic, metrics, the access log, traces."""

import json
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from client import Client, some_email, some_password
from judge import Judged
from stack import PROGRAMS, ROOT, WORKERS, Stack, wait_until
from tokens import parts_of
from topics import Record, Topics

sys.path.insert(0, str(ROOT / "tests" / "unit"))
import check_metrics_text  # noqa: E402

EDGE = "edge2"
POLICY = "tillwire-cart-policy"  # its group
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture
def other(healed: Stack, anyone: Client) -> Iterator[Client]:
    """The client of a second edge; a test starts it."""
    client = Client(healed.url(EDGE), anyone.recorder)
    yield client
    client.close()


# --- keys


def key_line(name: str) -> str:
    return f"{name}:{uuid.uuid4().hex}{uuid.uuid4().hex}\n"


class Traffic:
    """Asks on and on who somebody is, in a thread of its own, and keeps what was answered."""

    def __init__(self, caller: Client) -> None:
        self.statuses: list[int] = []
        self._caller = Client(str(caller.http.base_url), caller.recorder, caller.token)
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._ends.is_set():
            self.statuses.append(self._caller.get("/v1/members/me").status_code)

    def __enter__(self) -> "Traffic":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()
        self._caller.close()


def test_keys_are_rotated_while_requests_go_on(healed: Stack, other: Client, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    old, new = key_line("old"), key_line("new")
    keys.touch(mode=0o600)
    keys.write_text(old)
    healed.start(EDGE, settings={"TW_JWT_KEYS_FILE": str(keys)})
    member = other.new_member()
    by_old = other.as_caller(member.access_token)
    assert parts_of(by_old.token)[0]["kid"] == "old"
    with Traffic(by_old) as traffic:
        keys.write_text(new + old)
        healed.reload(EDGE, "token keys were read anew")
        by_new = other.as_caller(other.login(member.email, member.password).json()["access_token"])
        assert parts_of(by_new.token)[0]["kid"] == "new"
        keys.write_text("nonsense")
        healed.reload(EDGE, "the token keys stay as they were")
        assert str(keys) in healed.log(EDGE) and "line 1 of the token keys is not kid:hex" in healed.log(EDGE)
        assert by_old.is_let_in() and by_new.is_let_in()
        seen = len(traffic.statuses)
        wait_until("traffic went on", lambda: len(traffic.statuses) > seen + 5)
    assert set(traffic.statuses) == {200}
    keys.write_text(new)
    healed.reload(EDGE, '"keys":1,"signs":"new"')
    assert not by_old.is_let_in() and by_new.is_let_in()


# --- metrics


def scrape(stack: Stack, name: str) -> tuple[Samples, dict[str, str]]:
    """What the Python client of Prometheus reads there, and the types; our own parser is stricter."""
    response = stack.admin(name, "/metrics")
    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    check_metrics_text.check_page(ROOT, response.text, is_edge=name == "edge", is_fresh=True)
    samples, types = {}, {}
    for family in text_string_to_metric_families(response.text):
        for sample in family.samples:
            samples[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
            types[sample.name] = family.type
    return samples, types


def total(samples: Samples, name: str, **labels: str) -> float:
    return sum(value for (n, of), value in samples.items() if n == name and labels.items() <= dict(of).items())


def test_metrics_count_what_happens(
    stack: Stack, anyone: Client, merchant: Client, shopper: Client, product: str
) -> None:
    def published(name: str) -> float:
        return total(scrape(stack, name)[0], "tillwire_publish_seconds_count")

    before = {name: scrape(stack, name)[0] for name in PROGRAMS}
    published_before = {name: published(name) for name in WORKERS}
    for number in range(20):
        assert anyone.get(f"/v1/no-such-thing/{number}").status_code == 404
        assert anyone.get(f"/v1/products/{product}").status_code == 200
    assert shopper.add(product, 1).status_code == 200
    merchant.new_product()
    assert anyone.register(some_email(), some_password()).status_code == 201
    wait_until("all events are out", lambda: all(published(name) > published_before[name] for name in WORKERS))
    after = {name: scrape(stack, name) for name in PROGRAMS}
    for name in PROGRAMS:
        samples, types = after[name]
        for key, value in before[name].items():
            if types[key[0]] in ("counter", "histogram"):
                assert samples[key] >= value, f"{name}: {key} went back"

    def grown(program: str, name: str, **labels: str) -> float:
        return total(after[program][0], name, **labels) - total(before[program], name, **labels)

    count = "http_server_request_duration_seconds_count"
    read = {"http_request_method": "GET", "http_response_status_code": "200", "http_route": "/v1/products/{product_id}"}
    assert grown("edge", count, **read) >= 20
    assert grown("edge", count, http_request_method="GET", http_response_status_code="404") >= 20
    assert "no-such-thing" not in str(after["edge"]) and product not in str(after["edge"])
    assert grown("edge", "messaging_client_sent_messages_total", messaging_system="kafka") >= 3
    assert grown("edge", "db_client_operation_duration_seconds_count", db_system_name="mongodb") >= 1
    assert grown("edge", "messaging_client_consumed_messages_total") >= 6
    for worker in WORKERS:
        assert grown(worker, "tillwire_records_total", outcome="succeeded") >= 1
        assert grown(worker, "messaging_process_duration_seconds_count") >= 1
        assert grown(worker, "tillwire_batch_records_count") >= 1
        assert grown(worker, "db_client_operation_duration_seconds_count", db_operation_name="commit") >= 1
        assert grown(worker, "tillwire_publish_seconds_count") >= 1
        lags = [key for key in after[worker][0] if key[0] == "tillwire_consumer_lag_records"]
        assert len(lags) == total(after[worker][0], "tillwire_partitions") > 0
        wait_until(
            f"{worker} is not behind", lambda w=worker: total(scrape(stack, w)[0], "tillwire_consumer_lag_records") == 0
        )


# --- access log


def lines_of(file: Path) -> list[dict[str, Any]]:
    """The last one may be half written."""
    whole = file.read_text(encoding="utf-8").rpartition("\n")[0]
    return [json.loads(line) for line in whole.splitlines()]


def test_the_access_log_tells_every_request_and_no_secret(
    healed: Stack, other: Client, product: str, tmp_path: Path
) -> None:
    file, old_file = tmp_path / "access.log", tmp_path / "access.log.1"
    healed.start(EDGE, settings={"TW_ACCESS_LOG": str(file)})
    member = other.new_member()
    shopper = other.as_caller(member.access_token)
    added = shopper.add(product, 2, wait=False)
    assert shopper.get(f"/v1/products/{product}?ticket=hidden-in-the-query").status_code in (200, 422)
    assert other.get("/v1/no-such-thing").status_code == 404
    lines = wait_until("all are there", lambda: found if len(found := lines_of(file)) >= 5 else [])
    by_path = {line["path"]: line for line in lines}
    line = by_path["/v1/cart/items"]
    assert {
        "method": "POST",
        "route": "/v1/cart/items",
        "status": 202,
        "client": "127.0.0.1",
        "member_id": member.id,
        "command_id": added.json()["command_id"],
        "trace_id": added.headers["Traceparent"].split("-")[1],
    }.items() <= line.items()
    assert line["bytes"] > len(added.content) and 0 < line["duration_ms"] < 15000
    assert not {"route", "member_id", "command_id"} & set(by_path["/v1/no-such-thing"])
    text = file.read_text(encoding="utf-8")
    secrets = (member.email, member.password, member.access_token, member.refresh_token, "hidden-in-the-query")
    assert not [secret for secret in secrets if secret in text]
    file.rename(old_file)
    healed.reload(EDGE)
    after = "/v1/after-the-change"
    assert other.get(after).status_code == 404
    wait_until("a new file", lambda: file.exists() and after in str(lines_of(file)))
    assert after not in old_file.read_text(encoding="utf-8")


# --- traces


def new_trace() -> tuple[str, dict[str, str]]:
    trace = uuid.uuid4().hex
    return trace, {"traceparent": f"00-{trace}-00f067aa0ba902b7-01", "tracestate": "vendor=hidden"}


def types_of(topics: Topics, trace: str, expected: set[str], timeout_s: float = 60) -> None:
    """The commands and events of this trace are of these types, and all of them come."""

    def records() -> list[Record]:
        topics.read()
        return [r for r in topics.all() if (r.header("traceparent") or "").split("-")[1:2] == [trace]]

    wait_until(f"records of {expected}", lambda: expected <= {record.type for record in records()}, timeout_s)
    found = records()
    assert {record.type for record in found} == expected
    assert not [record for record in found if record.header("tracestate")]


def test_a_trace_goes_from_the_request_to_the_event_in_every_domain(
    anyone: Client, merchant: Client, shopper: Client, product: str, topics: Topics
) -> None:
    address = {"label": "Home", "address_line1": "Jl. Sudirman 1", "city": "J", "province": "J", "postal_code": "1"}
    product_body = {"sku": f"SKU-{uuid.uuid4().hex}", "name": "T", "price": "1.00", "category": "shirts"}
    line = {"product_id": product, "quantity": 1}
    writes: list[tuple[Client, str, dict[str, Any], set[str]]] = [
        (shopper, "/v1/members/me/addresses", address, {"member.add_address.v1", "member.address_added.v1"}),
        (merchant, "/v1/products", product_body, {"product.create.v1", "product.created.v1"}),
        (shopper, "/v1/cart/items", line, {"cart.add_item.v1", "cart.item_added.v1"}),
    ]
    for caller, path, body, expected in writes:
        trace, fields = new_trace()
        response = caller.write("POST", path, body, wait=True, fields=fields)
        assert response.status_code in (200, 201), response.text
        assert response.headers["Traceparent"].split("-")[1::2] == [trace, "01"]
        types_of(topics, trace, {*expected, "command.outcome.v1"})


def test_a_problem_names_the_trace_of_its_request_and_a_broken_one_is_replaced(anyone: Client) -> None:
    trace, fields = new_trace()
    problem = anyone.get("/v1/members/me", **fields)
    assert problem.json()["trace_id"] == trace == problem.headers["Traceparent"].split("-")[1]
    for broken in (f"ff-{trace}-00f067aa0ba902b7-01", f"00-{trace}-0000000000000000-01", "nonsense"):
        made = anyone.get("/v1/members/me", traceparent=broken).json()["trace_id"]
        assert made != trace and len(made) == 32


def test_what_policies_write_belongs_to_the_trace_that_caused_it(
    anyone: Client, merchant: Client, shopper: Client, topics: Topics
) -> None:
    product = merchant.new_product(price="12.50")
    added = shopper.add(product, 1, wait=False).json()["command_id"]
    line = wait_until("the line is told", lambda: topics.events_of(added))[-1]
    # Else the look-up that follows a new line may be what reprices it, in the trace of that line.
    wait_until("the policy has seen the line", lambda: topics.committed(POLICY, line.topic)[line.partition] > line.offset)
    trace, fields = new_trace()
    response = merchant.write("PATCH", f"/v1/products/{product}", {"price": "13.00"}, wait=True, fields=fields)
    assert response.status_code == 200, response.text
    of_prices = {"product.change.v1", "product.changed.v1", "cart.reprice.v1", "cart.item_repriced.v1"}
    types_of(topics, trace, {*of_prices, "command.outcome.v1"})

    member = anyone.new_member()
    email = some_email()
    trace, fields = new_trace()
    body = {"email": email, "password": member.password}
    caller = anyone.as_caller(member.access_token)
    assert caller.write("POST", "/v1/members/me/email", body, wait=True, fields=fields).status_code == 200
    steps = {"change_email", "claim_email", "complete_email_change"}
    events = {"email_change_asked", "email_claim_decided", "email_changed"}
    types_of(topics, trace, {*(f"member.{word}.v1" for word in steps | events), "command.outcome.v1"})


def test_everything_agrees_with_a_fold_of_the_log(judged: Judged) -> None:
    judged()
