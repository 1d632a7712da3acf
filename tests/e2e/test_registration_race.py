"""Two who register with one address: whoever is first in the log has it, live and in every replay."""

import httpx

from client import Client, at_once, some_email, some_password
from fold import Fold
from judge import Judged
from stack import Stack
from stores import Stores

ROUNDS = 8


def race(anyone: Client, edge2: Client, wait: bool) -> tuple[str, list[str], list[httpx.Response]]:
    """Address, passwords, and answers of two edges that were asked at the same moment."""
    email, passwords = some_email(), [some_password(), some_password()]
    answers = at_once(
        lambda: anyone.register(email, passwords[0], wait=wait, full_name="First"),
        lambda: edge2.register(f" {email.upper()} ", passwords[1], wait=wait, full_name="Second"),
    )
    return email, passwords, answers


def winners(stores: Stores) -> list[dict[str, object]]:
    return stores.rows("select id, email, full_name, password_hash, created_at from members order by id")


def test_one_of_two_registrations_at_two_edges_wins(anyone: Client, edge2: Client, stores: Stores) -> None:
    for _ in range(ROUNDS):
        email, passwords, answers = race(anyone, edge2, wait=True)
        statuses = [answer.status_code for answer in answers]
        assert sorted(statuses) == [201, 409], [answer.text for answer in answers]
        won = statuses.index(201)
        assert answers[1 - won].json()["code"] == "email-taken"
        (row,) = stores.rows("select * from members where email_folded = %s", email.lower())
        assert row["full_name"] == ("First", "Second")[won] == answers[won].json()["full_name"]
        assert anyone.login(email, passwords[won]).status_code == 200
        assert edge2.login(email, passwords[1 - won]).status_code == 401


def test_both_are_accepted_and_one_of_the_commands_is_rejected(anyone: Client, edge2: Client) -> None:
    for _ in range(ROUNDS):
        _, _, answers = race(anyone, edge2, wait=False)
        assert [answer.status_code for answer in answers] == [202, 202]
        ends = [anyone.get(answer.headers["Location"], Prefer="wait=10").json() for answer in answers]
        assert sorted((end["status"], end["http_status"]) for end in ends) == [("rejected", 409), ("succeeded", 201)]


def test_a_replay_into_an_emptied_database_finds_the_same_winners(
    healed: Stack, anyone: Client, edge2: Client, stores: Stores, fold: Fold, judged: Judged
) -> None:
    healed.kill("member")  # so that all of them wait in the log, and are folded in one batch, too
    raced = [race(anyone, edge2, wait=False) for _ in range(ROUNDS)]
    healed.start("member", ready=False)
    fold.drained()
    before = winners(stores)
    assert len([row for row in before if row["email"] in [email for email, _, _ in raced]]) + len(
        [row for row in before if row["email"] in [email.upper() for email, _, _ in raced]]
    ) == len(raced)
    for batch_records in ("1", "7", "500"):
        healed.stop("member")
        stores.empty_postgres()
        healed.start("member", settings={"TW_BATCH_RECORDS": batch_records})
        fold.drained(240)  # all that there is on the stack, with "1" a record a commit
        assert winners(stores) == before
    judged()


def test_everything_agrees_with_a_fold_of_the_log(judged: Judged) -> None:
    judged()
