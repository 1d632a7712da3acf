"""Operators: their tokens, the tool that lists and revokes them, and a database that was lost under them."""

import json
import os
import subprocess
import uuid
from typing import Any

import pytest

from client import Client, claims_of
from fold import Fold
from judge import Judged
from stack import ROOT, Stack, wait_until
from stores import Stores


def issue(stack: Stack, anyone: Client, scope: str, *words: str) -> Client:
    return anyone.as_caller(stack.twctl("token", "issue", "--scope", scope, *words).strip())


def listed(stack: Stack) -> dict[str, dict[str, Any]]:
    return {token["id"]: token for token in json.loads(stack.twctl("token", "list", "--json"))}


def id_of(operator: Client) -> str:
    return str(claims_of(operator.token)["jti"])


def may_write_products(operator: Client) -> bool:
    status = operator.create_product().status_code
    assert status in (201, 401), status
    return status == 201


# --- the operator's tool


def test_the_list_shows_what_was_issued_and_no_token(healed: Stack, anyone: Client) -> None:
    name, label = f"e2e-{uuid.uuid4().hex[:8]}", "import \u2013 \u00e9t\u00e9"
    operator = issue(healed, anyone, "products:write,members:read", "--name", name, "--label", label, "--ttl", "2h")
    claims, token = claims_of(operator.token), listed(healed)[id_of(operator)]
    assert (token["member_id"], token["name"], token["label"]) == (claims["sub"], name, label)
    assert token["scopes"] == ["products:write", "members:read"] and token["is_revoked"] is False
    assert token["issued_at"] < token["expires_at"]
    (line,) = (line for line in healed.twctl("token", "list").splitlines() if line.startswith(id_of(operator)))
    assert all(word in line for word in (name, "products:write members:read", label, token["expires_at"]))
    assert line.split()[-1] == "no"
    everything = healed.twctl("token", "list") + healed.twctl("token", "list", "--json")
    assert operator.token not in everything and "hash" not in everything


def test_a_members_own_tokens_are_not_listed(healed: Stack, anyone: Client) -> None:
    member = anyone.new_member()
    assert claims_of(member.access_token)["jti"] not in listed(healed)


def test_a_revoked_token_is_refused_by_every_edge_and_listed_as_such(
    healed: Stack, anyone: Client, edge2: Client
) -> None:
    operator, other = (issue(healed, anyone, "products:write", "--name", "e2e") for _ in range(2))
    there = edge2.as_caller(operator.token)
    assert may_write_products(operator) and may_write_products(there)
    for _ in range(2):  # a second time says the same
        assert id_of(operator) in healed.twctl("token", "revoke", id_of(operator))
    for caller in (operator, there):
        wait_until("it is refused", lambda: not may_write_products(caller))
    assert listed(healed)[id_of(operator)]["is_revoked"] is True
    assert may_write_products(other), "another token of the same operator"


def test_a_members_token_can_be_revoked_by_its_id(healed: Stack, anyone: Client) -> None:
    member = anyone.new_member()
    caller = anyone.as_caller(member.access_token)
    healed.twctl("token", "revoke", str(claims_of(member.access_token)["jti"]))
    wait_until("it is refused", lambda: not caller.is_let_in())
    assert anyone.refresh(member.refresh_token).status_code == 200, "the session has other tokens"


def test_an_unknown_token_cannot_be_revoked(healed: Stack) -> None:
    unknown = str(uuid.uuid4())
    done = subprocess.run(
        [ROOT / "dev", "twctl", "token", "revoke", unknown], env=os.environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and done.stdout == ""
    assert f"there is no token {unknown}" in done.stderr


# --- scopes


def test_an_operator_suspends_a_member_and_lets_them_in_again(healed: Stack, anyone: Client) -> None:
    operator, member = issue(healed, anyone, "members:admin", "--name", "e2e"), anyone.new_member()
    caller = anyone.as_caller(member.access_token)

    def set_status(status: str) -> None:
        body = {"status": status, "reason": "a test"}
        response = operator.write("PUT", f"/v1/members/{member.id}/status", body, wait=True)
        assert response.status_code == 200 and response.json()["status"] == status, response.text

    set_status("SUSPENDED")
    wait_until("the session is over", lambda: not caller.is_let_in())
    assert anyone.login(member.email, member.password).status_code == 401
    assert anyone.refresh(member.refresh_token).status_code == 401
    set_status("ACTIVE")
    assert anyone.login(member.email, member.password).status_code == 200
    assert not caller.is_let_in(), "what was revoked stays so"


def test_a_scope_is_good_for_nothing_else(healed: Stack, anyone: Client) -> None:
    reader, member = issue(healed, anyone, "members:read", "--name", "e2e"), anyone.new_member()
    assert reader.get(f"/v1/members/{member.id}").status_code == 200
    response = reader.write("PUT", f"/v1/members/{member.id}/status", {"status": "SUSPENDED", "reason": "a test"})
    assert (response.status_code, response.json()["code"]) == (403, "missing-scope")
    assert reader.create_product().status_code == 403


# --- a lost database


@pytest.mark.parametrize("idle", [True, False], ids=["while idle", "under load"])
def test_operators_work_again_after_the_database_was_lost(
    healed: Stack, anyone: Client, stores: Stores, fold: Fold, judged: Judged, idle: bool
) -> None:
    kept, revoked = (issue(healed, anyone, "products:write,members:read", "--name", f"e2e-{i}") for i in range(2))
    member = anyone.new_member()
    healed.twctl("token", "revoke", id_of(revoked))
    fold.drained()
    before = listed(healed)
    assert before[id_of(revoked)]["is_revoked"] and not before[id_of(kept)]["is_revoked"]

    stores.empty_postgres()  # the worker runs
    added = (
        [] if idle else [anyone.register(f"load-{i}-{member.email}", member.password, wait=False) for i in range(30)]
    )
    assert {response.status_code for response in added} <= {202}
    wait_until("the tokens are back", lambda: listed(healed) == before, 60)
    fold.drained()
    assert may_write_products(kept) and not may_write_products(revoked)
    assert kept.get(f"/v1/members/{member.id}").json()["email"] == member.email
    assert anyone.as_caller(member.access_token).is_let_in()
    assert anyone.login(member.email, member.password).status_code == 200
    assert may_write_products(issue(healed, anyone, "products:write", "--name", "e2e-0")), "and new ones are issued"
    judged()


def test_everything_agrees_with_a_fold_of_the_log(judged: Judged) -> None:
    judged()
