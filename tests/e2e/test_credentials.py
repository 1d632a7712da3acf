"""Passwords that change while somebody logs in, or while somebody else changes them, too."""

import hashlib
import time
import uuid
from collections.abc import Callable

import httpx
import msgpack
import pytest

import ids
from client import Client, Member, at_once, some_email, some_password
from judge import Judged
from messages import TOPICS
from model import time_text
from passwords import weak_hash
from stack import Stack, wait_until
from stores import Stores
from tokens import parts_of, signed, signing_key
from topics import Topics

ROUNDS = 5


def another_session(anyone: Client, member: Member) -> Client:
    return anyone.as_caller(anyone.login(member.email, member.password).json()["access_token"])


def live_sessions(stores: Stores, member_id: str) -> int:
    live = "select 1 from jwt_tokens where member_id = %s and kind = 'refresh' and not is_revoked"
    return len(stores.rows(live, member_id))


def can_log_in(anyone: Client, member: Member, password: str) -> bool:
    status = anyone.login(member.email, password).status_code
    assert status in (200, 401)
    return status == 200


def test_a_new_password_ends_all_other_sessions(anyone: Client, stores: Stores) -> None:
    member, new = anyone.new_member(), some_password()
    mine = anyone.as_caller(member.access_token)
    others = [another_session(anyone, member) for _ in range(2)]
    response = mine.change_password(member.password, new)
    assert response.status_code == 204, response.text
    for other in others:
        wait_until("the other session is refused", lambda: not other.is_let_in())
    assert mine.is_let_in() and live_sessions(stores, member.id) == 1
    assert anyone.refresh(member.refresh_token).status_code == 200, "the session goes on"
    assert not can_log_in(anyone, member, member.password) and can_log_in(anyone, member, new)


def test_a_wrong_password_changes_nothing_and_writes_nothing(anyone: Client, topics: Topics) -> None:
    member = anyone.new_member()
    before = topics.ends()
    response = anyone.as_caller(member.access_token).change_password(some_password(), some_password())
    assert response.status_code == 422, response.text
    assert [error["pointer"] for error in response.json()["errors"]] == ["/current_password"]
    assert topics.ends() == before


def test_one_of_two_new_passwords_at_once_wins(anyone: Client, edge2: Client, stores: Stores) -> None:
    for _ in range(ROUNDS):
        member, wanted = anyone.new_member(), [some_password(), some_password()]
        there = edge2.as_caller(another_session(anyone, member).token)
        callers = [anyone.as_caller(member.access_token), there]
        answers = at_once(
            lambda: callers[0].change_password(member.password, wanted[0]),
            lambda: callers[1].change_password(member.password, wanted[1]),
        )
        statuses = [answer.status_code for answer in answers]
        assert statuses.count(204) == 1, [answer.text for answer in answers]
        won = statuses.index(204)
        lost = answers[1 - won]
        # Either the worker found that the credentials had moved, or the edge that the password was old by then, or the
        # session was over before the request came.
        assert lost.status_code in (409, 422, 401), lost.text
        assert can_log_in(anyone, member, wanted[won])
        assert not can_log_in(anyone, member, wanted[1 - won]) and not can_log_in(anyone, member, member.password)
        wait_until("the loser's session is over", lambda: not callers[1 - won].is_let_in())
        assert callers[won].is_let_in()


def survivors(anyone: Client, answers: list[httpx.Response]) -> list[Client]:
    """Of those who were logged in, who still is."""
    sessions = [anyone.as_caller(answer.json()["access_token"]) for answer in answers if answer.status_code == 200]
    return [session for session in sessions if session.is_let_in()]


def test_no_session_of_the_old_password_survives_its_change(anyone: Client, edge2: Client, stores: Stores) -> None:
    for _ in range(ROUNDS):
        member, new = anyone.new_member(), some_password()
        mine = anyone.as_caller(member.access_token)
        logins: list[Callable[[], httpx.Response]] = [
            lambda edge=edge: edge.login(member.email, member.password)  # type: ignore[misc]
            for edge in (anyone, edge2, anyone, edge2)
        ]
        changed, *answers = at_once(lambda: mine.change_password(member.password, new), *logins)
        assert changed.status_code == 204, changed.text
        assert {answer.status_code for answer in answers} <= {200, 401}
        wait_until("the old sessions are over", lambda: not survivors(anyone, answers))
        assert mine.is_let_in() and live_sessions(stores, member.id) == 1
        assert not can_log_in(anyone, member, member.password)


# --- a hash of an earlier release


def write_as_an_edge(topics: Topics, ce_type: str, member_id: str, command_id: str, **body: object) -> None:
    """A record as an edge of then wrote it, but for its source: there is no client who was told of it."""
    headers: list[tuple[str, str | bytes | None]] = [
        ("ce_id", command_id),
        ("ce_type", ce_type),
        ("ce_source", "/somewhere"),
        ("ce_time", time_text(1_750_000_000_000)),
        ("ce_specversion", "1.0"),
        ("content-type", "application/msgpack"),
    ]
    key = member_id.encode()
    partition = ids.partition_of(key, TOPICS["member.commands"])
    topics.write("member.commands", key, msgpack.packb({"member_id": member_id, **body}), headers, partition)


@pytest.fixture
def veteran(anyone: Client, topics: Topics, stores: Stores, id_key: bytes) -> Member:
    """Registered long ago, when hashes were weaker, and not logged in since."""
    email, password = some_email(), some_password()
    member_id = ids.member_id(id_key, email)
    write_as_an_edge(
        topics,
        "member.register.v1",
        member_id,
        str(uuid.uuid4()),
        email=email,
        email_folded=email.lower(),
        password_hash=weak_hash(password),
        full_name="Ana Lim",
    )
    wait_until("the member is there", lambda: stores.member(member_id))
    return Member(member_id, email, password, "", "")


def old_session(anyone: Client, topics: Topics, stack: Stack, stores: Stores, member: Member) -> Client:
    """A session from before the hash would have been renewed."""
    command_id, now = str(uuid.uuid4()), int(time.time())
    header, claims = parts_of(anyone.new_member().access_token)
    token_id = ids.derived_id(command_id, member.id, "access")
    token = signed(header, {**claims, "sub": member.id, "jti": token_id, "exp": now + 600}, signing_key(stack))
    write_as_an_edge(
        topics,
        "member.start_session.v1",
        member.id,
        command_id,
        credential_version=1,
        access_token_hash=hashlib.sha256(token.encode()).digest(),
        access_expires_at=(now + 600) * 1000,
        refresh_token_hash=bytes(32),
        refresh_expires_at=(now + 600) * 1000,
    )
    wait_until("the session is there", lambda: stores.rows("select 1 from jwt_tokens where id = %s", token_id))
    return anyone.as_caller(token)


def stored_hash(stores: Stores, member: Member) -> str:
    row = stores.member(member.id)
    assert row
    return str(row["password_hash"])


def test_a_login_renews_a_weak_hash_of_the_same_password(anyone: Client, veteran: Member, stores: Stores) -> None:
    before = stored_hash(stores, veteran)
    assert "$m=8," in before
    assert can_log_in(anyone, veteran, veteran.password)
    row = stores.member(veteran.id)
    assert row and row["password_hash"] != before and "$m=65536," in row["password_hash"]
    assert (row["version"], row["credential_version"]) == (1, 1), "the password is the same"
    assert can_log_in(anyone, veteran, veteran.password)
    again = stores.member(veteran.id)
    assert again and again["password_hash"] == row["password_hash"], "there is nothing left to renew"


def test_a_login_that_fails_renews_nothing(anyone: Client, veteran: Member, stores: Stores) -> None:
    before = stored_hash(stores, veteran)
    assert not can_log_in(anyone, veteran, some_password())
    assert stored_hash(stores, veteran) == before


@pytest.mark.parametrize("_", range(ROUNDS))
def test_a_renewed_hash_never_takes_the_place_of_a_new_password(
    anyone: Client, edge2: Client, veteran: Member, topics: Topics, stack: Stack, stores: Stores, _: int
) -> None:
    """Logins that renew the old password's hash and its change, all under way with the same credentials."""
    new, mine = some_password(), old_session(anyone, topics, stack, stores, veteran)
    assert "$m=8," in stored_hash(stores, veteran)
    changed, *answers = at_once(
        lambda: mine.change_password(veteran.password, new),
        lambda: edge2.login(veteran.email, veteran.password),
        lambda: anyone.login(veteran.email, veteran.password),
    )
    assert changed.status_code == 204, changed.text
    wait_until("the old sessions are over", lambda: not survivors(anyone, answers))
    assert not can_log_in(anyone, veteran, veteran.password) and can_log_in(anyone, veteran, new)


def test_everything_agrees_with_a_fold_of_the_log(judged: Judged) -> None:
    judged()
