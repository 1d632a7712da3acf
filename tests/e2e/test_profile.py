"""What members change of themselves, and what operators see and do."""

import uuid
from typing import Any

import pytest

from client import Client, Member, some_email, some_password
from judge import Judged
from stack import Stack, wait_until
from stores import Stores
from topics import Topics

ME = "/v1/members/me"


@pytest.fixture
def member(anyone: Client) -> Member:
    return anyone.new_member()


@pytest.fixture
def me(anyone: Client, member: Member) -> Client:
    return anyone.as_caller(member.access_token)


@pytest.fixture(scope="session")
def operator(stack: Stack, anyone: Client) -> Client:
    token = stack.twctl("token", "issue", "--scope", "members:read,members:admin", "--name", "operator")
    return anyone.as_caller(token.strip())


# --- profile


def test_a_patch_changes_what_it_names(me: Client, member: Member, stores: Stores) -> None:
    before = me.get(ME).json()
    response = me.write("PATCH", ME, {"full_name": "Ana Maria Lim", "phone_number": "+6281234567890"}, wait=True)
    assert response.status_code == 200, response.text
    after = response.json()
    assert after["updated_at"] > before["updated_at"]
    assert after == {
        **before,
        "full_name": "Ana Maria Lim",
        "phone_number": "+6281234567890",
        "updated_at": after["updated_at"],
    }
    assert me.get(ME).json() == after
    assert me.write("PATCH", ME, {"full_name": "Ana"}, wait=True).json()["phone_number"] == "+6281234567890"
    assert me.write("PATCH", ME, {"phone_number": None}, wait=True).json()["phone_number"] is None
    row = stores.member(member.id)
    assert row and (row["full_name"], row["phone_number"]) == ("Ana", None)


def test_a_patch_may_come_as_a_merge_patch_and_as_nothing_else(me: Client) -> None:
    def patch(content_type: str) -> int:
        fields = {"Content-Type": content_type}
        return me.write("PATCH", ME, {"full_name": "Ana"}, wait=True, fields=fields).status_code

    assert patch("application/merge-patch+json") == 200
    assert patch("application/json; charset=utf-8") == 200
    assert patch("application/json-patch+json") == 415
    assert patch("text/plain") == 415


def test_an_empty_patch_is_answered_like_a_get(me: Client, topics: Topics) -> None:
    shown = me.get(ME)
    before = topics.ends()
    response = me.write("PATCH", ME, {})
    assert (response.status_code, response.json()) == (200, shown.json())
    assert response.headers["ETag"] == shown.headers["ETag"]
    assert me.write("PATCH", ME, {}, fields={"If-Match": shown.headers["ETag"]}).status_code == 200
    assert me.write("PATCH", ME, {}, fields={"If-Match": '"999.00"'}).status_code == 412
    assert topics.ends() == before


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({"full_name": ""}, "/full_name", "wrong-length"),
        ({"full_name": None}, "/full_name", "wrong-type"),
        ({"phone_number": "0812"}, "/phone_number", "wrong-format"),
        ({"email": "other@example.com"}, "/email", "unknown-member"),
        ({"email": None}, "/email", "unknown-member"),
        ({"status": "SUSPENDED"}, "/status", "unknown-member"),
        ({"password_hash": "x"}, "/password_hash", "unknown-member"),
        ([], "", "wrong-type"),
    ],
)
def test_a_wrong_patch_is_refused_with_a_pointer(me: Client, topics: Topics, body: Any, pointer: str, code: str) -> None:
    before = topics.ends()
    response = me.write("PATCH", ME, body)
    assert response.status_code == 422, response.text
    assert [(e["pointer"], e["code"]) for e in response.json()["errors"]] == [(pointer, code)]
    assert topics.ends() == before


def test_versions_save_reading_and_guard_writing(me: Client) -> None:
    etag = me.get(ME).headers["ETag"]
    assert me.get(ME, **{"If-None-Match": etag}).status_code == 304
    assert me.get(ME, **{"If-None-Match": "*"}).status_code == 304
    changed = me.write("PATCH", ME, {"full_name": "One"}, wait=True, fields={"If-Match": etag})
    assert changed.status_code == 200 and changed.headers["ETag"] != etag
    late = me.write("PATCH", ME, {"full_name": "Two"}, wait=True, fields={"If-Match": etag})
    assert (late.status_code, late.json()["code"]) == (412, "precondition-failed")
    foreign = me.write("PATCH", ME, {"full_name": "Two"}, fields={"If-Match": '"of another server"'})
    assert foreign.status_code == 412
    assert me.write("PATCH", ME, {"full_name": "Three"}, wait=True, fields={"If-Match": "*"}).status_code == 200
    assert me.write("DELETE", ME, wait=True, fields={"If-Match": etag}).status_code == 412
    assert me.get(ME).json()["full_name"] == "Three"


def test_a_login_moves_the_etag_but_not_the_version(anyone: Client, me: Client, member: Member) -> None:
    etag = me.get(ME).headers["ETag"]
    anyone.login(member.email, member.password)
    seen = me.get(ME, **{"If-None-Match": etag})
    assert seen.status_code == 200 and seen.headers["ETag"].split(".")[0] == etag.split(".")[0]
    assert me.write("PATCH", ME, {"full_name": "Ana"}, wait=True, fields={"If-Match": etag}).status_code == 200


# --- password


def change_password(caller: Client, old: str, new: str, key: str = "", wait: bool = True) -> Any:
    return caller.write("POST", f"{ME}/password", {"current_password": old, "new_password": new}, wait=wait, key=key)


def test_a_new_password_counts_and_ends_all_other_sessions(anyone: Client, me: Client, member: Member) -> None:
    other = anyone.as_caller(anyone.login(member.email, member.password).json()["access_token"])
    new = some_password()
    response = change_password(me, member.password, new)
    assert (response.status_code, response.content) == (204, b""), response.text
    assert anyone.login(member.email, member.password).status_code == 401
    assert anyone.login(member.email, new).status_code == 200
    assert me.get(ME).status_code == 200
    wait_until("the other session ends", lambda: other.get(ME).status_code == 401)


def test_a_wrong_current_password_is_told_apart_from_a_bad_token(me: Client, topics: Topics) -> None:
    before = topics.ends()
    response = change_password(me, some_password(), some_password())
    assert (response.status_code, response.json()["code"]) == (422, "wrong-password")
    assert [(e["pointer"], e["code"]) for e in response.json()["errors"]] == [("/current_password", "wrong-password")]
    assert topics.ends() == before


@pytest.mark.parametrize(
    ("new", "code"), [("short", "wrong-length"), ("x" * 129, "wrong-length"), ("password123", "unknown-value")]
)
def test_a_bad_new_password_is_refused(me: Client, member: Member, new: str, code: str) -> None:
    body = {"current_password": member.password, "new_password": new}
    response = me.write("POST", f"{ME}/password", body)
    assert response.status_code == 422, response.text
    assert [(e["pointer"], e["code"]) for e in response.json()["errors"]] == [("/new_password", code)]


def test_a_repeat_with_the_same_key_needs_no_other_password(me: Client, member: Member) -> None:
    new = some_password()
    assert change_password(me, member.password, new, key="once").status_code == 204
    again = change_password(me, member.password, new, key="once")
    assert again.status_code == 204 and again.headers["Idempotent-Replayed"] == "true"
    other = change_password(me, new, some_password(), key="once")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")


# --- e-mail


def change_email(caller: Client, email: str, password: str, key: str = "", wait: bool = True) -> Any:
    return caller.write("POST", f"{ME}/email", {"email": email, "password": password}, wait=wait, key=key)


def test_a_new_address_is_taken_and_used_to_log_in(anyone: Client, me: Client, member: Member) -> None:
    email = some_email()
    response = change_email(me, f" {email} ", member.password)
    assert response.status_code == 200, response.text
    assert response.json()["email"] == email == me.get(ME).json()["email"]
    assert anyone.login(email, member.password).json()["member_id"] == member.id
    assert anyone.login(member.email, member.password).status_code == 401


def test_a_taken_address_is_a_409(anyone: Client, me: Client, member: Member) -> None:
    response = change_email(me, anyone.new_member().email, member.password)
    assert (response.status_code, response.json()["code"]) == (409, "email-taken")
    assert me.get(ME).json()["email"] == member.email


def test_a_change_of_address_is_accepted_until_its_last_step(me: Client, member: Member) -> None:
    accepted = change_email(me, some_email(), member.password, wait=False)
    assert accepted.status_code == 202, accepted.text
    first = me.get(accepted.headers["Location"]).json()
    assert first["status"] in ("accepted", "succeeded") and ("finished_at" in first) == (first["status"] != "accepted")
    status = me.get(accepted.headers["Location"], Prefer="wait=10").json()
    assert (status["status"], status["http_status"], status["resource"]) == ("succeeded", 200, ME)


def test_a_repeat_with_the_same_key_is_one_change(me: Client, member: Member, topics: Topics) -> None:
    email = some_email()
    first = change_email(me, email, member.password, key="once", wait=False)
    assert first.status_code == 202
    wait_until("it is known", lambda: me.get(first.headers["Location"]).json().get("resource"))
    again = change_email(me, email, member.password, key="once")
    assert (again.status_code, again.json()["email"]) == (200, email)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert len(topics.commands_of(first.json()["command_id"])) == 1


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"email": "no-at-sign"}, "/email", "wrong-format"),
        ({"password": "wrong horse"}, "/password", "wrong-password"),
        ({"email": None}, "/email", "missing"),
    ],
)
def test_a_wrong_change_of_address_is_refused_with_a_pointer(
    me: Client, member: Member, topics: Topics, change: dict[str, Any], pointer: str, code: str
) -> None:
    before = topics.ends()
    body = {"email": some_email(), "password": member.password, **change}
    body = {name: value for name, value in body.items() if value is not None}
    response = me.write("POST", f"{ME}/email", body)
    assert response.status_code == 422, response.text
    assert [(e["pointer"], e["code"]) for e in response.json()["errors"]] == [(pointer, code)]
    assert topics.ends() == before


# --- leaving


def test_a_member_who_leaves_is_inactive_and_out(anyone: Client, me: Client, member: Member, stores: Stores) -> None:
    response = me.write("DELETE", ME, wait=True)
    assert (response.status_code, response.content) == (204, b""), response.text
    wait_until("the session ends", lambda: me.get(ME).status_code == 401)
    assert anyone.login(member.email, member.password).status_code == 401
    row = stores.member(member.id)
    assert row and row["status"] == "INACTIVE"
    assert anyone.register(member.email, some_password()).status_code == 409


# --- operators


def test_an_operator_sees_one_member(operator: Client, me: Client, member: Member) -> None:
    response = operator.get(f"/v1/members/{member.id}")
    assert (response.status_code, response.json()) == (200, me.get(ME).json())
    assert operator.get(f"/v1/members/{member.id}", **{"If-None-Match": response.headers["ETag"]}).status_code == 304
    assert operator.get(f"/v1/members/{uuid.uuid4()}").status_code == 404
    assert operator.get("/v1/members/x").status_code == 404


def test_an_operator_suspends_and_restores_a_member(anyone: Client, operator: Client, me: Client, member: Member) -> None:
    path = f"/v1/members/{member.id}/status"
    body = {"status": "SUSPENDED", "reason": "payment fraud, case 4711"}
    etag = operator.get(f"/v1/members/{member.id}").headers["ETag"]
    response = operator.write("PUT", path, body, wait=True, fields={"If-Match": etag})
    assert (response.status_code, response.json()["status"]) == (200, "SUSPENDED"), response.text
    wait_until("sessions end", lambda: me.get(ME).status_code == 401)
    assert anyone.login(member.email, member.password).status_code == 401
    late = operator.write("PUT", path, {**body, "status": "INACTIVE"}, wait=True, fields={"If-Match": etag})
    assert late.status_code == 412
    restored = operator.write("PUT", path, {"status": "ACTIVE", "reason": "case closed"}, wait=True)
    assert restored.json()["status"] == "ACTIVE"
    assert anyone.login(member.email, member.password).status_code == 200


def test_an_unknown_members_status_is_404_and_a_wrong_one_422(operator: Client, member: Member) -> None:
    body = {"status": "SUSPENDED", "reason": "x"}
    assert operator.write("PUT", f"/v1/members/{uuid.uuid4()}/status", body, wait=True).status_code == 404
    for change, pointer in (({"status": "GONE"}, "/status"), ({"reason": ""}, "/reason")):
        response = operator.write("PUT", f"/v1/members/{member.id}/status", {**body, **change})
        assert (response.status_code, response.json()["errors"][0]["pointer"]) == (422, pointer)


def test_scopes_are_needed_one_by_one(stack: Stack, anyone: Client, me: Client, member: Member) -> None:
    token = stack.twctl("token", "issue", "--scope", "members:read", "--name", "reader").strip()
    reader = anyone.as_caller(token)
    body = {"status": "ACTIVE", "reason": "x"}
    assert reader.get("/v1/members").status_code == 200
    for caller in (me, reader):
        refused = caller.write("PUT", f"/v1/members/{member.id}/status", body)
        assert (refused.status_code, refused.json()["code"]) == (403, "missing-scope")
    for path in ("/v1/members", f"/v1/members/{member.id}"):
        assert me.get(path).status_code == 403
        assert anyone.get(path).status_code == 401


def pages(operator: Client, path: str) -> list[list[dict[str, Any]]]:
    """All pages from `path` on, by their links."""
    found = []
    while path:
        response = operator.get(path)
        assert response.status_code == 200, response.text
        found.append(response.json()["items"])
        cursor = response.json()["next_cursor"]
        path = response.links["next"]["url"] if cursor else ""
        assert cursor is None or path.endswith(f"cursor={cursor}")
    return found


def test_pages_show_every_member_once_oldest_first(anyone: Client, operator: Client, stores: Stores) -> None:
    for _ in range(5):
        anyone.register(some_email(), some_password())
    found = pages(operator, "/v1/members?limit=3")
    members = [member for page in found for member in page]
    assert all(len(page) == 3 for page in found[:-1]) and 1 <= len(found[-1]) <= 3
    rows = stores.rows("select id from members order by created_at, id")
    assert [member["id"] for member in members] == [str(row["id"]) for row in rows]
    assert not any("password_hash" in member for member in members)


def test_a_list_is_filtered_by_status_and_address(operator: Client, me: Client, member: Member) -> None:
    me.write("DELETE", ME, wait=True)
    found = operator.http.get("/v1/members", params={"email": f" {member.email.upper()} "}, headers=operator._fields({}))
    assert [m["id"] for m in found.json()["items"]] == [member.id] and found.json()["next_cursor"] is None
    inactive = [m for page in pages(operator, "/v1/members?status=INACTIVE&limit=1") for m in page]
    assert member.id in [m["id"] for m in inactive] and {m["status"] for m in inactive} == {"INACTIVE"}
    nobody = operator.get(f"/v1/members?status=ACTIVE&email={member.email}")
    assert nobody.json() == {"items": [], "next_cursor": None}


def test_a_cursor_is_good_for_its_list_only(operator: Client, anyone: Client) -> None:
    for _ in range(2):
        anyone.register(some_email(), some_password())
    cursor = operator.get("/v1/members?limit=1").json()["next_cursor"]
    assert operator.get(f"/v1/members?cursor={cursor}&limit=2").status_code == 200
    for query in (f"status=ACTIVE&cursor={cursor}", f"cursor={cursor}A", f"cursor={cursor[:-1]}", "cursor="):
        refused = operator.get(f"/v1/members?{query}")
        assert (refused.status_code, refused.json()["code"]) == (400, "malformed-request"), query


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "status=gone", "status=", "email=x", "email=%zz"])
def test_a_wrong_filter_is_refused(operator: Client, query: str) -> None:
    refused = operator.get(f"/v1/members?{query}")
    assert (refused.status_code, refused.json()["code"]) == (400, "malformed-request")
    assert [error["pointer"] for error in refused.json()["errors"]] == [f"/{query.split('=')[0]}"]


def test_everything_agrees_with_a_fold_of_the_log(judged: Judged) -> None:
    judged()
