"""The caller's addresses: each route, its refusals, one default always, versions."""

import uuid
from typing import Any

import pytest

from client import Client
from judge import Judged
from stores import Stores
from topics import Topics

FOLDER = "/v1/members/me/addresses"
HOME = {
    "label": "Home",
    "address_line1": "Jl. Sudirman 1",
    "address_line2": "Lantai 3",
    "city": "Jakarta",
    "province": "DKI Jakarta",
    "postal_code": "10220",
}


def add(member: Client, wait: bool = True, key: str = "", **change: Any) -> dict[str, Any]:
    response = member.write("POST", FOLDER, {**HOME, **change}, wait=wait, key=key)
    assert response.status_code == (201 if wait else 202), response.text
    body: dict[str, Any] = response.json()
    return body


def defaults(member: Client) -> list[str]:
    return [address["id"] for address in member.get(FOLDER).json()["items"] if address["is_default"]]


def test_an_address_is_added_at_its_location_and_is_a_row(shopper: Client, stores: Stores) -> None:
    response = shopper.write("POST", FOLDER, HOME, wait=True)
    assert response.status_code == 201, response.text
    address = response.json()
    assert address == {**HOME, "id": address["id"], "is_default": True, "created_at": address["created_at"]}
    assert response.headers["Location"] == f"{FOLDER}/{address['id']}"
    assert shopper.get(response.headers["Location"]).json() == address
    assert shopper.get(FOLDER).json() == {"items": [address], "next_cursor": None}
    (row,) = stores.rows("select * from member_addresses where id = %s", address["id"])
    assert {name: row[name] for name in HOME} == HOME and row["is_default"]


def test_a_202_names_the_address_that_is_being_made(shopper: Client) -> None:
    accepted = add(shopper, wait=False)
    folder, _, address_id = accepted["resource"].rpartition("/")
    assert folder == FOLDER and uuid.UUID(address_id)
    status = shopper.get(accepted["links"]["self"], Prefer="wait=10").json()
    assert (status["status"], status["http_status"], status["resource"]) == ("succeeded", 201, accepted["resource"])
    assert shopper.get(accepted["resource"]).json()["label"] == "Home"


def test_a_repeat_with_the_same_key_shows_the_same_address(shopper: Client) -> None:
    first = shopper.write("POST", FOLDER, HOME, wait=True, key="one address")
    again = shopper.write("POST", FOLDER, HOME, wait=True, key="one address")
    assert (again.status_code, again.json()) == (201, first.json())
    assert again.headers["Location"] == first.headers["Location"] and again.headers["Idempotent-Replayed"] == "true"
    assert len(shopper.get(FOLDER).json()["items"]) == 1


def test_without_a_second_line_it_is_null(shopper: Client) -> None:
    response = shopper.write("POST", FOLDER, {k: v for k, v in HOME.items() if k != "address_line2"}, wait=True)
    assert response.status_code == 201 and response.json()["address_line2"] is None


def test_one_address_is_the_default_whatever_happens(shopper: Client) -> None:
    first, second, third = (add(shopper, label=label)["id"] for label in ("1", "2", "3"))
    assert defaults(shopper) == [first]
    response = shopper.write("PUT", f"{FOLDER}/{third}/default", wait=True)
    assert (response.status_code, response.json()["id"], response.json()["is_default"]) == (200, third, True)
    assert defaults(shopper) == [third]
    assert shopper.write("PATCH", f"{FOLDER}/{second}", {"is_default": True}, wait=True).json()["is_default"]
    assert defaults(shopper) == [second]
    refused = shopper.write("PATCH", f"{FOLDER}/{second}", {"is_default": False}, wait=True)
    assert (refused.status_code, refused.json()["code"]) == (422, "default-address")
    assert add(shopper, label="4", is_default=True)["id"] == defaults(shopper)[0]
    assert shopper.write("DELETE", f"{FOLDER}/{defaults(shopper)[0]}", wait=True).status_code == 204
    assert defaults(shopper) == [first]


def test_a_patch_changes_what_it_names(shopper: Client) -> None:
    before = add(shopper)
    path = f"{FOLDER}/{before['id']}"
    after = shopper.write("PATCH", path, {"city": "Bandung", "address_line2": None}, wait=True)
    assert after.status_code == 200, after.text
    assert after.json() == {**before, "city": "Bandung", "address_line2": None} == shopper.get(path).json()


def test_a_patch_may_come_as_a_merge_patch(shopper: Client) -> None:
    path = f"{FOLDER}/{add(shopper)['id']}"
    fields = {"Content-Type": "application/merge-patch+json"}
    assert shopper.write("PATCH", path, {"city": "Bogor"}, wait=True, fields=fields).json()["city"] == "Bogor"


def test_an_empty_patch_is_answered_like_a_get(shopper: Client, topics: Topics) -> None:
    path = f"{FOLDER}/{add(shopper)['id']}"
    shown = shopper.get(path)
    before = topics.ends()
    response = shopper.write("PATCH", path, {})
    assert (response.status_code, response.json()) == (200, shown.json())
    assert response.headers["ETag"] == shown.headers["ETag"]
    assert shopper.write("PATCH", path, {}, fields={"If-Match": '"1.00"'}).status_code == 412
    assert topics.ends() == before


@pytest.mark.parametrize("name", ["label", "address_line1", "city", "province", "postal_code", "is_default"])
def test_what_an_address_must_have_cannot_be_taken_away(shopper: Client, name: str) -> None:
    path = f"{FOLDER}/{add(shopper)['id']}"
    response = shopper.write("PATCH", path, {name: None})
    assert response.status_code == 422, response.text
    assert [(e["pointer"], e["code"]) for e in response.json()["errors"]] == [(f"/{name}", "wrong-type")]


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"label": ""}, "/label", "wrong-length"),
        ({"label": "x" * 51}, "/label", "wrong-length"),
        ({"city": None}, "/city", "missing"),
        ({"postal_code": 10220}, "/postal_code", "wrong-type"),
        ({"is_default": "yes"}, "/is_default", "wrong-type"),
        ({"country": "ID"}, "/country", "unknown-member"),
        ({"id": str(uuid.uuid4())}, "/id", "unknown-member"),
    ],
)
def test_a_wrong_body_is_refused_with_a_pointer(
    shopper: Client, topics: Topics, change: dict[str, Any], pointer: str, code: str
) -> None:
    before = topics.ends()
    body = {name: value for name, value in {**HOME, **change}.items() if value is not None}
    response = shopper.write("POST", FOLDER, body)
    assert response.status_code == 422, response.text
    assert [(e["pointer"], e["code"]) for e in response.json()["errors"]] == [(pointer, code)]
    assert topics.ends() == before


def test_making_one_the_default_takes_no_body(shopper: Client, topics: Topics) -> None:
    address = add(shopper)
    path = f"{FOLDER}/{address['id']}/default"
    before = topics.ends()
    response = shopper.write("PUT", path, {"is_default": False})
    assert response.status_code == 422, response.text
    assert [(e["pointer"], e["code"]) for e in response.json()["errors"]] == [("/is_default", "unknown-member")]
    assert topics.ends() == before
    assert shopper.write("PUT", path, {}, wait=True).json() == address


def test_a_member_has_at_most_20_addresses(shopper: Client) -> None:
    for number in range(20):
        add(shopper, wait=number == 19, label=str(number))
    response = shopper.write("POST", FOLDER, HOME, wait=True)
    assert (response.status_code, response.json()["code"]) == (422, "addresses-limit")
    labels = [address["label"] for address in shopper.get(FOLDER).json()["items"]]
    assert labels == [str(number) for number in range(20)]


def test_another_members_address_is_not_there(anyone: Client, shopper: Client) -> None:
    address = add(shopper)
    path = f"{FOLDER}/{address['id']}"
    other = anyone.as_caller(anyone.new_member().access_token)
    assert other.get(path).status_code == 404
    assert other.write("PATCH", path, {"city": "Bandung"}, wait=True).status_code == 404
    assert other.write("DELETE", path, wait=True).status_code == 404
    assert other.write("PUT", f"{path}/default", wait=True).status_code == 404
    assert other.get(FOLDER).json()["items"] == []
    assert shopper.get(path).json() == address


@pytest.mark.parametrize("name", ["not-a-uuid", str(uuid.uuid4())])
def test_an_unknown_address_is_not_there(shopper: Client, name: str) -> None:
    assert shopper.get(f"{FOLDER}/{name}").status_code == 404
    assert shopper.write("DELETE", f"{FOLDER}/{name}", wait=True).status_code == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", FOLDER),
        ("POST", FOLDER),
        ("GET", f"{FOLDER}/{uuid.UUID(int=1)}"),
        ("PATCH", f"{FOLDER}/{uuid.UUID(int=1)}"),
        ("DELETE", f"{FOLDER}/{uuid.UUID(int=1)}"),
        ("PUT", f"{FOLDER}/{uuid.UUID(int=1)}/default"),
    ],
)
def test_nobody_without_a_token_gets_anywhere(anyone: Client, method: str, path: str) -> None:
    assert anyone.write(method, path, HOME).status_code == 401


# --- versions


def test_an_etag_saves_reading_what_is_known(shopper: Client) -> None:
    path = f"{FOLDER}/{add(shopper)['id']}"
    for read in (path, FOLDER):
        etag = shopper.get(read).headers["ETag"]
        unchanged = shopper.get(read, **{"If-None-Match": f'"x", W/{etag}'})
        assert (unchanged.status_code, unchanged.content, unchanged.headers["ETag"]) == (304, b"", etag)
        assert "Content-Length" not in unchanged.headers
    etag = shopper.get(path).headers["ETag"]
    shopper.write("PATCH", path, {"city": "Bandung"}, wait=True)
    changed = shopper.get(path, **{"If-None-Match": etag})
    assert changed.status_code == 200 and changed.headers["ETag"] != etag


def test_if_match_refuses_what_rests_on_an_old_version(shopper: Client) -> None:
    path = f"{FOLDER}/{add(shopper)['id']}"
    old = shopper.get(path).headers["ETag"]
    fresh = shopper.write("PATCH", path, {"city": "Bandung"}, wait=True, fields={"If-Match": old})
    assert fresh.status_code == 200, fresh.text
    for method, target, body in (
        ("PATCH", path, {"city": "Bogor"}),
        ("PUT", f"{path}/default", None),
        ("DELETE", path, None),
        ("POST", FOLDER, HOME),
    ):
        response = shopper.write(method, target, body, wait=True, fields={"If-Match": old})
        assert (response.status_code, response.json()["code"]) == (412, "precondition-failed"), target
    assert shopper.get(path).json()["city"] == "Bandung"
    kept = shopper.write("DELETE", path, wait=True, fields={"If-Match": f'{old}, {fresh.headers["ETag"]}'})
    assert kept.status_code == 204, kept.text


def test_everything_agrees_with_a_fold_of_the_log(judged: Judged) -> None:
    judged()
