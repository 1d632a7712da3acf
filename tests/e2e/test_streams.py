"""Server-sent events: who is told what, how a stream goes on after it ended, and when it ends."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import httpx
import pytest

from client import Client, Member, claims_of
from judge import Judged
from recorder import Recorder
from stack import Stack, wait_until
from streams import Stream, stream_of
from topics import Topics

NARROW = "edge2"
SLOTS, PER_CALLER, TOKEN_S, WAITS = 5, 2, 6, 2
HEARTBEAT_S = 15  # of other edges
IN_FLIGHT_S = 5  # so long an edge that goes down waits for requests under way
SETTINGS = {
    "TW_WAIT_SLOTS": str(WAITS),
    "TW_STREAM_SLOTS": str(SLOTS),
    "TW_STREAMS_PER_CALLER": str(PER_CALLER),
    "TW_STREAM_HEARTBEAT_S": "1",
    "TW_STREAM_HISTORY_KBYTES": "16",
    "TW_ACCESS_TTL_S": str(TOKEN_S),
}


@pytest.fixture(scope="module")
def narrow(stack: Stack, recorder: Recorder) -> Iterator[Client]:
    """An edge with few slots, a quick heartbeat, a short memory and short lives of tokens."""
    stack.start(NARROW, settings=SETTINGS)
    client = Client(stack.url(NARROW), recorder)
    yield client
    client.close()
    if stack.is_running(NARROW):
        stack.stop(NARROW)


def login(edge: Client, member: Member) -> Client:
    answer = edge.http.post("/v1/auth/login", json={"email": member.email, "password": member.password})
    assert answer.status_code == 200, answer.text
    return edge.as_caller(answer.json()["access_token"])


def ticket_of(client: Client) -> str:
    answer = client.http.post("/v1/events/tickets", headers={"Authorization": f"Bearer {client.token}"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["expires_in"] == 30
    return str(answer.json()["ticket"])


# --- what is told ----------------------------------------------------------------------------------------------------


def test_a_caller_is_told_of_own_outcomes_and_changes_and_of_nobody_elses(
    anyone: Client, shopper: Client, product: str
) -> None:
    other = anyone.new_caller()
    with stream_of(shopper) as mine, stream_of(other) as theirs:
        assert mine.fields["Content-Type"] == "text/event-stream"
        assert mine.fields["Cache-Control"] == "no-store"
        assert mine.fields["X-Accel-Buffering"] == "no"
        mine.started(), theirs.started()
        assert mine.retry > 0
        command = shopper.add(product, 2, wait=False).json()["command_id"]
        told = sorted((mine.next() for _ in range(2)), key=lambda event: event.type)
        assert [event.type for event in told] == ["cart.item_added", "command.outcome"]
        added, outcome = (event.data for event in told)
        assert added["command_id"] == outcome["command_id"] == outcome["data"]["command_id"] == command
        assert added["type"] == "cart.item_added"
        assert added["data"]["product_id"] == product
        assert (added["data"]["price"], added["data"]["total_price"]) == ("199.00", "398.00")
        assert added["time"].endswith("Z") and added["data"]["expires_at"].endswith("Z")
        assert outcome["data"]["status"] == "succeeded"
        assert shopper.add(product, 999, wait=True).status_code == 422
        assert mine.next().data["data"]["problem_code"] == "line-quantity-limit"
        theirs.must_be_quiet()
        mine.must_be_quiet(0.1)


def test_a_merchant_is_told_of_own_outcomes_and_an_operator_of_everything(
    stack: Stack, anyone: Client, merchant: Client, shopper: Client, product: str
) -> None:
    operator = anyone.as_caller(stack.twctl("token", "issue", "--scope", "events:read", "--name", "watch").strip())
    with stream_of(operator) as all_of_it, stream_of(merchant) as of_merchant:
        all_of_it.started(), of_merchant.started()
        changed = merchant.change_product(product, wait=True, name="Black T-shirt, L")
        assert changed.status_code == 200
        outcome = of_merchant.next()
        assert (outcome.type, outcome.data["data"]["command_type"]) == ("command.outcome", "product.change")
        assert shopper.add(product, 1, wait=True).status_code == 200
        seen: set[str] = set()
        while not seen >= {"command.outcome", "product.changed", "cart.item_added"}:
            seen.add(all_of_it.next().type)
        of_merchant.must_be_quiet(0.2)


def test_a_stream_needs_credentials(anyone: Client) -> None:
    assert anyone.get("/v1/events").status_code == 401
    assert anyone.get("/v1/events?ticket=nonsense").status_code == 401
    assert anyone.get("/v1/events?ticket=").status_code == 401
    assert anyone.as_caller("nonsense").get("/v1/events").status_code == 401
    assert anyone.http.post("/v1/events/tickets").status_code == 401


def test_head_has_the_fields_and_no_stream(shopper: Client) -> None:
    answer = shopper.http.head("/v1/events", headers={"Authorization": f"Bearer {shopper.token}"})
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/event-stream")


# --- going on --------------------------------------------------------------------------------------------------------


def test_a_stream_resumes_without_gap_or_repeat_after_a_restart_and_on_another_edge(
    healed: Stack, shopper: Client, product: str, recorder: Recorder
) -> None:
    def add(edge: Client) -> str:
        answer = edge.add(product, 1, wait=True)
        assert answer.status_code == 200
        return answer.headers["Consistency-Token"]

    def quantities(stream: Stream, count: int) -> list[int]:
        events = [stream.next() for _ in range(2 * count)]
        return [event.data["data"]["quantity"] for event in events if event.type == "cart.item_added"]

    with stream_of(shopper) as stream:
        stream.started()
        add(shopper), add(shopper)
        assert quantities(stream, 1) == [1]
        half = stream.next()  # of the second: its outcome or its change is still to come
    add(shopper)
    healed.stop("edge")
    healed.start("edge")
    with stream_of(shopper, last_id=half.id) as stream:
        stream.started()
        told = [stream.next() for _ in range(3)]
        assert [event.type for event in [half, *told]].count("cart.item_added") == 2
        assert told[-1].data["data"].get("quantity", 3) == 3
        stream.must_be_quiet(0.3)
        last_id = stream.last_id
    add(shopper)
    healed.start("edge2")
    second = Client(healed.url("edge2"), recorder, shopper.token)
    with stream_of(second, last_id=last_id) as stream:
        assert quantities(stream, 1) == [4]
        add(second)
        assert quantities(stream, 1) == [5]
        stream.must_be_quiet(0.3)
        last_id = stream.last_id
    with stream_of(second, query=f"?last_event_id={quote(last_id)}") as stream:
        stream.started()
        add(second)
        assert quantities(stream, 1) == [6]
    second.close()


def test_an_id_nobody_can_read_is_a_reset_and_the_stream_goes_on(shopper: Client, product: str) -> None:
    with stream_of(shopper, last_id="7") as stream:
        reset = stream.next()
        assert (reset.type, reset.data) == ("reset", {})
        assert reset.id
        shopper.add(product, 1, wait=True)
        assert sorted(stream.types(2)) == ["cart.item_added", "command.outcome"]


def test_an_id_that_is_too_old_is_a_reset(narrow: Client, shopper: Client, product: str) -> None:
    mine = narrow.as_caller(shopper.token)
    with stream_of(mine) as stream:
        last_id = stream.started().last_id
    for _ in range(30):  # more than eight kilobytes of events of members
        shopper.add(product, 1, wait=False)
    shopper.add(product, 1, wait=True)

    def has_read_them() -> bool:
        """That edge may be behind the one that took them, and a stream behind either."""
        with stream_of(mine) as stream:
            stream.started()
            command = shopper.add(product, 1, wait=False).json()["command_id"]
            while (event := stream.next()).type != "reset":
                if event.data["command_id"] == command:
                    return True
        return False

    wait_until("that edge has read them, too", has_read_them)
    with stream_of(mine, last_id=last_id) as stream:
        assert stream.next().type == "reset"


# --- tickets ---------------------------------------------------------------------------------------------------------


def test_a_ticket_opens_one_stream_of_who_got_it(shopper: Client, narrow: Client, product: str) -> None:
    url = str(shopper.http.base_url)
    ticket = ticket_of(shopper)
    with Stream(url, query=f"?ticket={ticket}") as stream:
        stream.started()
        shopper.add(product, 1, wait=True)
        assert sorted(stream.types(2)) == ["cart.item_added", "command.outcome"]
        assert httpx.get(f"{url}/v1/events?ticket={ticket}").status_code == 401, "it was used"
    with Stream(str(narrow.http.base_url), query=f"?ticket={ticket_of(shopper)}") as stream:
        stream.started()  # another edge takes it, too


def test_a_ticket_is_worth_nothing_once_its_token_is_revoked(anyone: Client) -> None:
    member = login(anyone, anyone.new_member())
    ticket = ticket_of(member)
    assert member.http.post("/v1/auth/logout", headers={"Authorization": f"Bearer {member.token}"}).status_code == 204
    wait_until("the token is refused", lambda: member.get("/v1/members/me").status_code == 401)
    assert anyone.get(f"/v1/events?ticket={ticket}").status_code == 401


# --- ends ------------------------------------------------------------------------------------------------------------


def test_a_stream_ends_when_its_token_is_revoked(anyone: Client) -> None:
    member = login(anyone, anyone.new_member())
    with stream_of(member) as stream:
        stream.started()
        answer = member.http.post("/v1/auth/logout", headers={"Authorization": f"Bearer {member.token}"})
        assert answer.status_code == 204
        stream.must_end()


def test_a_stream_ends_with_its_token_and_says_until_then_that_it_is_there(narrow: Client, anyone: Client) -> None:
    member = login(narrow, anyone.new_member())
    with stream_of(member) as stream:
        stream.started()
        stream.must_end()
        assert time.time() >= claims_of(member.token)["exp"]
        assert stream.comments >= 2
        assert stream.events.empty()


def test_a_client_that_goes_away_is_noticed_without_being_written_to(stack: Stack, shopper: Client) -> None:
    def is_noticed() -> bool:
        return metric(stack, "tillwire_edge_streams", "edge") == 0

    wait_until("nobody has a stream", is_noticed, 2 * HEARTBEAT_S)
    with stream_of(shopper) as stream:
        stream.started()
        assert not is_noticed()
    wait_until("its slot is free", is_noticed, HEARTBEAT_S - 1)


def test_streams_are_counted_for_each_caller_and_in_all(stack: Stack, narrow: Client, anyone: Client) -> None:
    wait_until("nobody has a stream", lambda: metric(stack, "tillwire_edge_streams") == 0)
    callers = [narrow.as_caller(anyone.new_caller().token) for _ in range(SLOTS // PER_CALLER + 1)]
    streams: list[Stream] = []
    try:
        for i in range(SLOTS):
            streams.append(stream_of(callers[i // PER_CALLER]).started())
        full = callers[0].get("/v1/events")
        assert (full.status_code, full.json()["code"]) == (429, "too-many-requests")
        assert int(full.headers["Retry-After"]) > 0
        assert full.headers["RateLimit-Policy"] == f'"streams";q={PER_CALLER};qu="concurrent-requests"'
        assert full.headers["RateLimit"] == '"streams";r=0'
        ticket = ticket_of(callers[0])
        assert callers[0].http.get(f"/v1/events?ticket={ticket}").status_code == 429
        full = callers[-1].get("/v1/events")
        assert (full.status_code, full.json()["code"]) == (503, "unavailable")
        assert int(full.headers["Retry-After"]) > 0
        streams[0].close()
        wait_until("its slot is free", lambda: len(open_again(narrow, streams, ticket)) > SLOTS)
    finally:
        for stream in streams:
            stream.close()


def open_again(anyone: Client, streams: list[Stream], ticket: str) -> list[Stream]:
    """With a ticket that found no room before, and so is as good as new."""
    stream = Stream(str(anyone.http.base_url), query=f"?ticket={ticket}")
    assert stream.status != 401
    if stream.status == 200:
        streams.append(stream)
    else:
        stream.close()
    return streams


def metric(stack: Stack, name: str, edge: str = NARROW) -> float:
    lines = stack.admin(edge, "/metrics").text.splitlines()
    return next((float(line.split()[-1]) for line in lines if line.startswith(name + " ")), 0.0)


def test_a_client_that_does_not_read_loses_its_stream(
    stack: Stack, narrow: Client, merchant: Client, product: str
) -> None:
    operator = narrow.as_caller(stack.twctl("token", "issue", "--scope", "events:read", "--name", "slow").strip())
    wait_until("nobody has a stream", lambda: metric(stack, "tillwire_edge_streams") == 0)
    with stream_of(operator, buffer=4096, reads=False) as stream:
        assert stream.status == 200
        for i in range(120):  # of eight kilobytes each
            merchant.change_product(product, wait=False, description=f"{i:03d}" + "x" * 7900)
        wait_until("the stream is let go", lambda: metric(stack, "tillwire_edge_streams") == 0, 60)


def test_waits_are_counted_and_who_finds_no_slot_is_answered_at_once(
    stack: Stack, narrow: Client, anyone: Client, shopper: Client, product: str, topics: Topics
) -> None:
    mine = narrow.as_caller(shopper.token)
    member = anyone.new_member()
    stack.stop("cart")
    try:
        before = in_the_log(topics)
        with ThreadPoolExecutor(WAITS) as pool:
            waiting = [pool.submit(mine.add, product, 1) for _ in range(WAITS)]
            wait_until("all slots are taken", lambda: in_the_log(topics) == before + WAITS)
            answer = mine.add(product, 1)
            assert answer.status_code == 202 and "Preference-Applied" not in answer.headers
            assert not any(one.done() for one in waiting), "who asked before waits still"
            login(narrow, member)  # which cannot go without waiting
            stack.start("cart", ready=False)
            assert {one.result().status_code for one in waiting} <= {200, 202}
    finally:
        if not stack.is_running("cart"):
            stack.start("cart", ready=False)
        stack.wait_ready("cart")


def in_the_log(topics: Topics) -> int:
    """Commands of carts. Who waits for an end has a slot before that."""
    return sum(end for (topic, _), end in topics.ends().items() if topic == "cart.commands")


def test_going_down_ends_streams_at_once(stack: Stack, narrow: Client, shopper: Client) -> None:
    """Else it would take longer every time."""

    def goes_down_at_once() -> bool:
        if not stack.is_running(NARROW):
            stack.start(NARROW, settings=SETTINGS)
        with stream_of(narrow.as_caller(shopper.token)) as stream:
            stream.started()
            began = time.monotonic()
            stack.stop(NARROW)
            stream.must_end()
            return time.monotonic() - began < IN_FLIGHT_S

    wait_until("nobody waits for a stream", goes_down_at_once, 60)


def test_everything_agrees_with_a_fold_of_the_log(judged: Judged) -> None:
    judged()
