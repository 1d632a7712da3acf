"""Sessions: refreshing, ending, and that every edge refuses what is revoked, whatever it can reach."""

import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator

import httpx
import pytest

from client import Client, Member, at_once, claims_of, some_password
from judge import Judged
from stack import Stack, wait_until
from stores import Stores
from topics import Topics

SECOND_MS = 1000
AGAIN = 10


def logged_in(anyone: Client, member: Member) -> Client:
    """Another session of the same member."""
    response = anyone.login(member.email, member.password)
    assert response.status_code == 200, response.text
    return anyone.as_caller(response.json()["access_token"])


def items(caller: Client) -> list[dict[str, object]]:
    response = caller.get("/v1/auth/sessions")
    assert response.status_code == 200, response.text
    found: list[dict[str, object]] = response.json()["items"]
    return found


def session_of(caller: Client) -> str:
    (mine,) = (item for item in items(caller) if item["current"])
    return str(mine["id"])


def await_refused(caller: Client) -> None:
    wait_until("the token is refused", lambda: not caller.is_let_in(), every_s=0.02)


def last_let_in_before_refused(caller: Client) -> float:
    """When the last request was sent that was let in, by time.monotonic(); 0: none."""
    last = 0.0

    def is_refused() -> bool:
        nonlocal last
        sent = time.monotonic()
        if not caller.is_let_in():
            return True
        last = sent
        return False

    wait_until("the token is refused", is_refused, every_s=0.02)
    return last


def without_ids(response: httpx.Response) -> dict[str, object]:
    return {name: value for name, value in response.json().items() if name != "trace_id"}


# --- refreshing


def test_a_refresh_gives_two_new_tokens_of_the_same_session(anyone: Client) -> None:
    member = anyone.new_member()
    before = anyone.as_caller(member.access_token)
    session = session_of(before)
    response = anyone.refresh(member.refresh_token)
    assert response.status_code == 200, response.text
    tokens = response.json()
    assert (tokens["token_type"], tokens["expires_in"], tokens["member_id"]) == ("Bearer", 600, member.id)
    assert tokens["access_token"] != member.access_token and tokens["refresh_token"] != member.refresh_token
    assert response.headers["Cache-Control"] == "no-store"
    after = anyone.as_caller(tokens["access_token"])
    assert session_of(after) == session
    assert before.is_let_in(), "what was handed out goes on until its end"


def test_a_chain_of_refreshes_goes_on(anyone: Client, stores: Stores) -> None:
    member = anyone.new_member()
    refresh_token = member.refresh_token
    for _ in range(4):
        response = anyone.refresh(refresh_token)
        assert response.status_code == 200, response.text
        refresh_token = response.json()["refresh_token"]
    live = "select 1 from jwt_tokens where member_id = %s and kind = 'refresh' and not is_revoked"
    assert len(stores.rows(live, member.id)) == 1


def test_a_spent_refresh_token_ends_its_session_and_no_other(anyone: Client) -> None:
    member = anyone.new_member()
    other = logged_in(anyone, member)
    tokens = anyone.refresh(member.refresh_token).json()
    stolen = anyone.refresh(member.refresh_token)
    assert (stolen.status_code, stolen.json()["code"]) == (401, "unauthenticated")
    for token in (member.access_token, tokens["access_token"]):
        await_refused(anyone.as_caller(token))
    assert anyone.refresh(tokens["refresh_token"]).status_code == 401
    assert other.is_let_in()


def test_one_of_two_refreshes_at_once_wins_and_the_session_ends(anyone: Client) -> None:
    for _ in range(3):
        member = anyone.new_member()
        answers = at_once(*[lambda: anyone.refresh(member.refresh_token)] * 2)
        assert sorted(answer.status_code for answer in answers) == [200, 401]
        (winner,) = (answer.json() for answer in answers if answer.status_code == 200)
        await_refused(anyone.as_caller(winner["access_token"]))
        assert anyone.refresh(winner["refresh_token"]).status_code == 401


def test_every_bad_refresh_token_gets_the_same_401_and_leaves_nothing_in_the_log(
    anyone: Client, topics: Topics
) -> None:
    member = anyone.new_member()
    row, _, secret = member.refresh_token.partition(".")
    bad = {
        "not a token": "abc",
        "empty": "",
        "an unknown row": f"{uuid.uuid4()}.{secret}",
        "another secret": f"{row}.{'A' * len(secret)}",
        "half a secret": member.refresh_token[:-1],
        "bytes behind it": f"{member.refresh_token}A",
        "an access token": member.access_token,
        "the row alone": row,
        "another member's row": f"{anyone.new_member().refresh_token.partition('.')[0]}.{secret}",
    }
    settled = topics.ends()
    answers = {name: anyone.refresh(token) for name, token in bad.items()}
    refused = {name: answer for name, answer in answers.items() if answer.status_code == 401}
    assert set(answers) - set(refused) <= {"empty"}, "what is no token at all may be no good body"
    first = without_ids(refused["not a token"])
    assert all(without_ids(answer) == first for answer in refused.values())
    assert topics.ends() == settled
    assert anyone.refresh(member.refresh_token).status_code == 200, "none of them spent it"


def test_a_refresh_ignores_an_idempotency_key(anyone: Client) -> None:
    member = anyone.new_member()
    body = {"refresh_token": member.refresh_token}
    first = anyone.write("POST", "/v1/auth/refresh", body, key="the-same")
    again = anyone.write("POST", "/v1/auth/refresh", body, key="the-same")
    assert (first.status_code, again.status_code) == (200, 401)


# --- ending


def test_a_logout_ends_this_session_alone(anyone: Client) -> None:
    member = anyone.new_member()
    mine, other = anyone.as_caller(member.access_token), logged_in(anyone, member)
    response = mine.write("POST", "/v1/auth/logout")
    assert response.status_code == 204, response.text
    await_refused(mine)
    assert anyone.refresh(member.refresh_token).status_code == 401
    assert other.is_let_in()


def test_a_logout_of_all_ends_every_session_and_a_new_one_can_begin(anyone: Client) -> None:
    member = anyone.new_member()
    sessions = [anyone.as_caller(member.access_token), logged_in(anyone, member), logged_in(anyone, member)]
    stranger = anyone.new_caller()
    assert sessions[1].write("POST", "/v1/auth/logout-all").status_code == 204
    for session in sessions:
        await_refused(session)
    assert anyone.refresh(member.refresh_token).status_code == 401
    assert stranger.is_let_in() and logged_in(anyone, member).is_let_in()


def test_the_list_has_live_sessions_and_marks_this_one(anyone: Client) -> None:
    member = anyone.new_member()
    mine, other, ended = anyone.as_caller(member.access_token), logged_in(anyone, member), logged_in(anyone, member)
    assert len(items(mine)) == 3
    ended.write("POST", "/v1/auth/logout")
    found = items(mine)
    assert {item["id"]: item["current"] for item in found} == {session_of(mine): True, session_of(other): False}
    for item in found:
        assert str(item["created_at"]) < str(item["expires_at"])
        assert not {"token_hash", "access_token", "refresh_token"} & item.keys()


def test_one_session_is_ended_by_another(anyone: Client) -> None:
    member = anyone.new_member()
    mine, lost = anyone.as_caller(member.access_token), logged_in(anyone, member)
    response = mine.write("DELETE", f"/v1/auth/sessions/{session_of(lost)}", wait=True)
    assert response.status_code == 204, response.text
    await_refused(lost)
    assert mine.is_let_in() and len(items(mine)) == 1


def test_a_session_of_nobody_or_of_another_member_is_404(anyone: Client, shopper: Client) -> None:
    other = anyone.new_caller()
    for session in (str(uuid.uuid4()), session_of(other)):
        response = shopper.write("DELETE", f"/v1/auth/sessions/{session}", wait=True)
        assert (response.status_code, response.json()["code"]) == (404, "not-found")
    assert other.is_let_in()


# --- every edge refuses what is revoked


class Probe:
    """Asks one edge with one token all the time; when was it let in?"""

    def __init__(self, caller: Client) -> None:
        self._caller = caller
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.seen: list[tuple[int, int]] = []  # (when it was sent, status)

    def _run(self) -> None:
        while not self._stop.wait(0.01):
            sent_ms = time.time_ns() // 1_000_000
            self.seen.append((sent_ms, self._caller.get("/v1/members/me").status_code))

    def __enter__(self) -> "Probe":
        self._thread.start()
        wait_until("the edge let it in", lambda: (200 in [status for _, status in self.seen]))
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def last_let_in(self) -> int:
        return max(sent_ms for sent_ms, status in self.seen if status == 200)

    def after(self) -> list[int]:
        """What came behind that."""
        return [status for sent_ms, status in self.seen if sent_ms > self.last_let_in()]


def revoked_at(topics: Topics, token: str) -> int:
    """When the broker took the event that says so."""
    token_id = claims_of(token)["jti"]

    def find() -> int:
        topics.read("member.events")
        return next(
            (
                event.timestamp_ms
                for event in topics.records("member.events")
                if event.type == "member.tokens_revoked.v1"
                and token_id in [revoked["token_id"] for revoked in event.body["tokens"]]
            ),
            0,
        )

    return wait_until("the event is there", find)


def by_logout(caller: Client, member: Member, stack: Stack) -> None:
    assert caller.write("POST", "/v1/auth/logout").status_code == 204


def by_logout_of_all(caller: Client, member: Member, stack: Stack) -> None:
    assert caller.write("POST", "/v1/auth/logout-all").status_code == 204


def by_another_session(caller: Client, member: Member, stack: Stack) -> None:
    session = session_of(caller)
    assert logged_in(caller, member).write("DELETE", f"/v1/auth/sessions/{session}", wait=True).status_code == 204


def by_a_new_password(caller: Client, member: Member, stack: Stack) -> None:
    assert logged_in(caller, member).change_password(member.password, some_password()).status_code == 204


def by_leaving(caller: Client, member: Member, stack: Stack) -> None:
    assert caller.write("DELETE", "/v1/members/me", wait=True).status_code == 204


def by_reuse_of_a_refresh_token(caller: Client, member: Member, stack: Stack) -> None:
    assert [caller.refresh(member.refresh_token).status_code for _ in range(2)] == [200, 401]


def by_an_operator(caller: Client, member: Member, stack: Stack) -> None:
    token = stack.twctl("token", "issue", "--scope", "members:admin", "--name", "e2e").strip()
    body = {"status": "SUSPENDED", "reason": "a test"}
    response = caller.as_caller(token).write("PUT", f"/v1/members/{member.id}/status", body, wait=True)
    assert response.status_code == 200, response.text


def by_the_operators_tool(caller: Client, member: Member, stack: Stack) -> None:
    stack.twctl("token", "revoke", str(claims_of(caller.token)["jti"]))


@pytest.mark.parametrize(
    "way",
    [
        by_logout,
        by_logout_of_all,
        by_another_session,
        by_a_new_password,
        by_leaving,
        by_reuse_of_a_refresh_token,
        by_an_operator,
        by_the_operators_tool,
    ],
)
def test_every_edge_refuses_a_token_within_a_second_of_its_revocation(
    healed: Stack, anyone: Client, edge2: Client, topics: Topics, way: Callable[[Client, Member, Stack], None]
) -> None:
    member = anyone.new_member()
    here, there = anyone.as_caller(member.access_token), edge2.as_caller(member.access_token)
    with Probe(here) as first, Probe(there) as second:
        way(here, member, healed)
        event_ms = revoked_at(topics, member.access_token)
        for probe in (first, second):
            wait_until("it is refused again and again", lambda probe=probe: len(probe.after()) >= AGAIN)
    for probe in (first, second):
        assert probe.last_let_in() <= event_ms + SECOND_MS
        assert set(probe.after()) == {401}, "refused once, refused for ever"


def test_an_edge_that_starts_again_refuses_what_was_revoked_before(
    healed: Stack, anyone: Client, edge2: Client
) -> None:
    for ending in (signal.SIGTERM, signal.SIGKILL):
        member = anyone.new_member()
        caller = edge2.as_caller(member.access_token)
        assert caller.is_let_in()
        assert anyone.as_caller(member.access_token).write("POST", "/v1/auth/logout").status_code == 204
        await_refused(caller)
        if ending == signal.SIGTERM:
            healed.stop("edge2")
        else:
            healed.kill("edge2")
        healed.start("edge2")
        assert caller.get("/v1/members/me").status_code == 401, "at its first request"
        assert edge2.as_caller(anyone.new_member().access_token).is_let_in()


# --- when the events are not fresh


UNFOLLOWED = "tillwire_edge_tail_fresh 0"


@pytest.fixture
def unfollowed(healed: Stack) -> Iterator[Callable[[str], None]]:
    """Makes the broker fall silent, and waits until the edge has noticed."""

    def silence(how: str) -> None:
        {"stopped": healed.stop_server, "paused": healed.pause_server}[how]("kafka")
        wait_until("the edge does not follow", lambda: UNFOLLOWED in healed.admin("edge", "/metrics").text.splitlines())

    yield silence


def rows_read(stack: Stack) -> float:
    name = "tillwire_edge_token_rows_read_total "
    lines = stack.admin("edge", "/metrics").text.splitlines()
    return sum(float(line.split()[1]) for line in lines if line.startswith(name))


@pytest.mark.parametrize("how", ["stopped", "paused"])
def test_an_edge_that_cannot_follow_events_asks_the_table(
    healed: Stack, anyone: Client, stores: Stores, unfollowed: Callable[[str], None], how: str
) -> None:
    member = anyone.new_member()
    caller = anyone.as_caller(member.access_token)
    assert caller.is_let_in()
    unfollowed(how)
    before = rows_read(healed)
    wait_until("reads go on, by the table", lambda: caller.is_let_in() and rows_read(healed) > before)
    token_id = claims_of(member.access_token)["jti"]
    flip = "update jwt_tokens set is_revoked = %s where id = %s"  # beside the log, and put right again
    stores.rows(flip, True, token_id)
    try:
        flipped = time.monotonic()
        assert last_let_in_before_refused(caller) <= flipped + 1, "a row is good for a second"
    finally:
        stores.rows(flip, False, token_id)
    wait_until("it counts again", caller.is_let_in)


@pytest.mark.parametrize("how", ["stopped", "paused"])
def test_an_edge_that_cannot_ask_anybody_answers_503(
    healed: Stack, anyone: Client, unfollowed: Callable[[str], None], how: str
) -> None:
    caller = anyone.new_caller()
    assert caller.is_let_in()
    healed.stop_server("postgres")
    unfollowed(how)
    response = caller.get("/v1/cart")
    assert response.status_code == 503, response.text
    assert int(response.headers["Retry-After"]) >= 1
    assert anyone.get("/v1/cart").status_code == 401, "without a token there is nothing to ask"


def test_what_was_revoked_while_an_edge_could_not_follow_is_refused(
    healed: Stack, anyone: Client, edge2: Client
) -> None:
    """The edge stands still while the session ends, and goes on: not one answer after that lets it in."""
    member = anyone.new_member()
    here, there = anyone.as_caller(member.access_token), edge2.as_caller(member.access_token)
    assert there.is_let_in()
    healed.signal("edge2", signal.SIGSTOP)
    try:
        assert here.write("POST", "/v1/auth/logout").status_code == 204
        time.sleep(2)
    finally:
        healed.signal("edge2", signal.SIGCONT)
    assert there.get("/v1/members/me").status_code == 401


def test_everything_agrees_with_a_fold_of_the_log(judged: Judged) -> None:
    judged()
