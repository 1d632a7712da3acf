"""Changing an e-mail address: a saga of three commands in two partitions that is one command to the client."""

import time
import uuid

import pytest

import ids
from client import Client, Member, at_once, some_email, some_password
from fold import Fold
from judge import Judged
from stack import FAILPOINT_EXIT, Stack, wait_until
from stores import Stores
from topics import Record, Topics

WITHIN_S = 60
WAIT_S = 10  # of a client that waits for a final code
QUICKLY = {"TW_SESSION_TIMEOUT_MS": "6000"}  # so long the policy's group waits for a member that is dead


def status_of(caller: Client, location: str, wait: bool = False) -> dict[str, object]:
    response = caller.get(location, **({"Prefer": f"wait={WAIT_S}"} if wait else {}))
    assert response.status_code == 200, response.text
    body: dict[str, object] = response.json()
    return body


def await_end(caller: Client, location: str) -> dict[str, object]:
    return wait_until(
        "the command ends",
        lambda: {} if (status := status_of(caller, location))["status"] == "accepted" else status,
        WITHIN_S,
        0.2,
    )


def code_of(status: dict[str, object]) -> object:
    problem = status.get("problem")
    return problem["code"] if isinstance(problem, dict) else None


def email_of(caller: Client) -> str:
    return str(caller.get("/v1/members/me").json()["email"])


def identity(id_key: bytes, email: str) -> str:
    return ids.member_id(id_key, email)


@pytest.fixture
def member(anyone: Client) -> Member:
    return anyone.new_member()


@pytest.fixture
def caller(anyone: Client, member: Member) -> Client:
    return anyone.as_caller(member.access_token)


# --- one member


def test_a_member_takes_another_address(
    anyone: Client, caller: Client, member: Member, stores: Stores, id_key: bytes
) -> None:
    new = some_email()
    response = caller.change_email(f" {new} ", member.password)
    assert response.status_code == 200, response.text
    assert (response.json()["id"], response.json()["email"]) == (member.id, new)
    assert email_of(caller) == new, "the session goes on"
    row = stores.member(member.id)
    assert row and (row["email"], row["email_folded"]) == (new, new.lower())
    claims = stores.rows("select * from tw_email_claims where member_id = %s", member.id)
    assert [str(claim["id"]) for claim in claims] == [identity(id_key, new)]
    assert not stores.rows("select 1 from tw_email_changes where member_id = %s", member.id)
    assert anyone.login(new, member.password).status_code == 200
    assert anyone.login(member.email, member.password).status_code == 401


def test_neither_the_old_address_nor_the_new_one_can_be_registered(
    anyone: Client, caller: Client, member: Member
) -> None:
    new = some_email()
    assert caller.change_email(new, member.password).status_code == 200
    for taken in (member.email, new, new.upper()):
        response = anyone.register(taken, some_password())
        assert (response.status_code, response.json()["code"]) == (409, "email-taken")


def test_without_waiting_the_command_says_what_became_of_it(caller: Client, member: Member) -> None:
    new = some_email()
    response = caller.change_email(new, member.password, wait=False)
    assert response.status_code == 202, response.text
    assert response.json()["type"] == "member.change_email" and response.json()["status"] == "accepted"
    status = await_end(caller, response.headers["Location"])
    assert (status["status"], status["http_status"], status["resource"]) == ("succeeded", 200, "/v1/members/me")
    assert email_of(caller) == new


def test_the_end_is_told_to_who_waits_at_another_edge(edge2: Client, caller: Client, member: Member) -> None:
    there = edge2.as_caller(caller.token)

    def is_told() -> bool:
        """Whoever is not told looks when the time is over that it was asked to wait."""
        location = caller.change_email(some_email(), member.password, wait=False).headers["Location"]
        started = time.monotonic()
        status = status_of(there, location, wait=True)["status"]
        return status == "succeeded" and time.monotonic() - started < WAIT_S

    assert any(is_told() for _ in range(3)), "one that took longer tells nothing"


def test_a_taken_address_is_refused_and_nothing_changes(anyone: Client, caller: Client, member: Member) -> None:
    taken = anyone.new_member().email
    response = caller.change_email(taken.upper(), member.password)
    assert (response.status_code, response.json()["code"]) == (409, "email-taken")
    assert email_of(caller) == member.email
    assert anyone.login(member.email, member.password).status_code == 200


def test_a_wrong_password_is_refused_before_anything_is_written(caller: Client, member: Member, topics: Topics) -> None:
    before = topics.ends()
    response = caller.change_email(some_email(), some_password())
    assert response.status_code == 422, response.text
    assert [error["pointer"] for error in response.json()["errors"]] == ["/password"]
    assert topics.ends() == before


def test_another_spelling_of_the_same_address_needs_no_claim(caller: Client, member: Member, stores: Stores) -> None:
    assert caller.change_email(member.email.upper(), member.password).status_code == 200
    assert email_of(caller) == member.email.upper()
    assert not stores.rows("select 1 from tw_email_claims where member_id = %s", member.id)


def test_a_member_goes_back_and_forth(caller: Client, member: Member) -> None:
    new = some_email()
    for address in (new, member.email, new, some_email(), new):
        assert caller.change_email(address, member.password).status_code == 200
        assert email_of(caller) == address


def test_a_repeat_with_the_same_key_is_one_change(caller: Client, member: Member, topics: Topics) -> None:
    new, key = some_email(), uuid.uuid4().hex
    first = caller.change_email(new, member.password, wait=False, key=key)
    assert first.status_code == 202
    await_end(caller, first.headers["Location"])
    again = caller.change_email(new, member.password, key=key)
    assert again.status_code == 200, again.text
    assert again.headers["Idempotent-Replayed"] == "true"
    assert len(topics.commands_of(first.json()["command_id"])) == 1


# --- two who want the same


def test_two_members_who_want_one_address_do_not_both_get_it(anyone: Client, edge2: Client) -> None:
    for _ in range(5):
        members, wanted = [anyone.new_member(), anyone.new_member()], some_email()
        callers = [edge.as_caller(m.access_token) for edge, m in zip((anyone, edge2), members)]
        answers = at_once(
            lambda: callers[0].change_email(wanted, members[0].password),
            lambda: callers[1].change_email(wanted.upper(), members[1].password),
        )
        assert sorted(answer.status_code for answer in answers) == [200, 409], [a.text for a in answers]
        lost = next(i for i, answer in enumerate(answers) if answer.status_code == 409)
        assert answers[lost].json()["code"] == "email-taken"
        assert email_of(callers[lost]) == members[lost].email
        assert email_of(callers[1 - lost]).lower() == wanted.lower()


def test_a_change_and_a_registration_do_not_both_get_the_address(anyone: Client, edge2: Client) -> None:
    for _ in range(5):
        member, wanted = anyone.new_member(), some_email()
        caller = anyone.as_caller(member.access_token)
        changed, registered = at_once(
            lambda: caller.change_email(wanted, member.password),
            lambda: edge2.register(wanted, some_password()),
        )
        assert (changed.status_code, registered.status_code) in ((200, 409), (409, 201)), registered.text
        assert (email_of(caller) == wanted) == (changed.status_code == 200)


def test_the_later_of_two_wishes_of_a_member_counts(healed: Stack, caller: Client, member: Member) -> None:
    healed.kill("member")
    first, second = some_email(), some_email()
    wishes = [caller.change_email(address, member.password, wait=False) for address in (first, second)]
    assert [wish.status_code for wish in wishes] == [202, 202]
    healed.start("member", ready=False)
    ends = [await_end(caller, wish.headers["Location"]) for wish in wishes]
    assert [(end["status"], code_of(end)) for end in ends] == [("rejected", "superseded"), ("succeeded", None)]
    assert email_of(caller) == second


def test_a_member_who_leaves_meanwhile_takes_no_address(
    healed: Stack, anyone: Client, caller: Client, member: Member, topics: Topics
) -> None:
    """Two commands wait for the worker: the wish is decided before the member leaves, its last step after."""
    healed.kill("member")
    wish = caller.change_email(some_email(), member.password, wait=False)
    assert caller.write("DELETE", "/v1/members/me").status_code == 202
    healed.start("member", ready=False)
    command_id = wish.json()["command_id"]
    outcome = wait_until("it ends", lambda: outcomes_of(topics, command_id), WITHIN_S, 0.3)[0]
    assert (outcome.body["status"], outcome.body["problem_code"]) == ("rejected", "member-not-active")
    assert anyone.login(member.email, member.password).status_code == 401


def outcomes_of(topics: Topics, command_id: str) -> list[Record]:
    topics.read("member.events")
    return [
        event
        for event in topics.records("member.events")
        if event.type == "command.outcome.v1" and event.body["command_id"] == command_id
    ]


# --- the worker ends at every step


def test_until_the_last_step_the_command_is_accepted(healed: Stack, caller: Client, member: Member) -> None:
    healed.kill("member")
    new, key = some_email(), uuid.uuid4().hex
    wish = caller.change_email(new, member.password, wait=False, key=key)
    location = wish.headers["Location"]
    assert status_of(caller, location)["status"] == "accepted"
    # Its first step is folded, and the worker ends before the policy can say anything.
    healed.start("member", fail="policy_after_consume=exit", ready=False)
    assert healed.wait_exit("member", WITHIN_S) == FAILPOINT_EXIT
    status = status_of(caller, location)
    assert status["status"] == "accepted" and "finished_at" not in status and "problem" not in status
    again = caller.change_email(new, member.password, wait=False, key=key)
    assert (again.status_code, again.json()["command_id"]) == (202, wish.json()["command_id"])
    hurried = caller.write(
        "POST",
        "/v1/members/me/email",
        {"email": new, "password": member.password},
        key=key,
        fields={"Prefer": "wait=1"},
    )
    assert hurried.status_code == 202, "nobody can end it"
    healed.start("member", ready=False)
    assert await_end(caller, location)["status"] == "succeeded"


STEPS = [
    *(("policy_after_consume", hit) for hit in (1, 2, 4)),
    *(("policy_after_produce", hit) for hit in (1, 2)),
    ("policy_before_offset_commit", 1),
    *(("before_commit", hit) for hit in (1, 3)),
    *(("after_commit", hit) for hit in (1, 2, 3)),
    ("after_produce_before_report", 2),
]


@pytest.mark.parametrize(("point", "hit"), STEPS)
def test_the_worker_may_end_at_every_step(
    healed: Stack, anyone: Client, fold: Fold, judged: Judged, topics: Topics, point: str, hit: int
) -> None:
    member = anyone.new_member()
    caller, new = anyone.as_caller(member.access_token), some_email()
    fold.drained()
    healed.stop("member")
    healed.start("member", fail=f"{point}=exit@{hit}", settings=QUICKLY, ready=False)
    wish = caller.change_email(new, member.password, wait=False)
    assert wish.status_code == 202, wish.text
    assert healed.wait_exit("member", WITHIN_S) == FAILPOINT_EXIT
    assert f'"{point}"' in healed.log("member") and "failpoint fired" in healed.log("member")
    healed.start("member", settings=QUICKLY, ready=False)
    assert await_end(caller, wish.headers["Location"])["status"] == "succeeded"
    assert email_of(caller) == new
    judged()
    assert outcomes_of(topics, wish.json()["command_id"])


@pytest.mark.parametrize("after_s", [0.0, 0.03, 0.1])
def test_the_worker_may_be_killed_at_any_moment(
    healed: Stack, anyone: Client, judged: Judged, after_s: float
) -> None:
    member, taken = anyone.new_member(), anyone.new_member().email
    caller, new = anyone.as_caller(member.access_token), some_email()
    loser = anyone.new_member()
    refused = anyone.as_caller(loser.access_token)
    wish = caller.change_email(new, member.password, wait=False)
    vain = refused.change_email(taken, loser.password, wait=False)
    time.sleep(after_s)
    healed.kill("member")
    healed.start("member", settings=QUICKLY, ready=False)
    assert await_end(caller, wish.headers["Location"])["status"] == "succeeded"
    end = await_end(refused, vain.headers["Location"])
    assert (end["status"], code_of(end)) == ("rejected", "email-taken")
    judged()


def test_everything_agrees_with_a_fold_of_the_log(judged: Judged) -> None:
    judged()
