"""Logins and registrations of an edge that limits them, as deployments do."""

import re
from collections.abc import Iterator

import httpx
import pytest

from client import Client, some_email, some_password
from contract import judge
from judge import Judged
from recorder import Recorder
from stack import Stack

EDGE = "edge2"


@pytest.fixture
def limited(stack: Stack, anyone: Client, recorder: Recorder) -> Iterator[httpx.Client]:
    """An edge of its own for each test: what it counted goes with it."""
    stack.start(EDGE, settings={"TW_RATE_LIMITS": "on"})
    transport = recorder.transport(httpx.HTTPTransport())
    with httpx.Client(
        base_url=stack.url(EDGE), timeout=30, transport=transport, event_hooks={"response": [judge]}
    ) as http:
        yield http
    stack.stop(EDGE)


def login(http: httpx.Client, email: str, password: str) -> httpx.Response:
    return http.post("/v1/auth/login", json={"email": email, "password": password})


def must_be_limited(response: httpx.Response, limit: str, window_s: int) -> None:
    assert response.status_code == 429, response.text
    assert response.json()["code"] == "too-many-requests"
    assert 1 <= int(response.headers["Retry-After"]) <= window_s
    assert re.search(rf', "{limit}";q=\d+;w={window_s}$', response.headers["RateLimit-Policy"])
    assert response.headers["RateLimit"].endswith(f', "{limit}";r=0;t={response.headers["Retry-After"]}')


def test_an_account_is_tried_five_times_a_minute_whatever_its_spelling(
    anyone: Client, limited: httpx.Client
) -> None:
    member = anyone.new_member()
    spellings = [member.email, member.email.upper(), f" {member.email} ", member.email.lower(), member.email]
    assert [login(limited, email, some_password()).status_code for email in spellings] == [401] * 5
    must_be_limited(login(limited, member.email, member.password), "login-account", 60)
    other = anyone.new_member()
    assert login(limited, other.email, other.password).status_code == 200, "others are not held back"


def test_an_account_that_is_not_there_is_limited_alike(limited: httpx.Client) -> None:
    email = some_email()
    assert [login(limited, email, some_password()).status_code for _ in range(5)] == [401] * 5
    must_be_limited(login(limited, email, some_password()), "login-account", 60)


def test_an_address_tries_twenty_accounts_a_minute(limited: httpx.Client) -> None:
    answers = [login(limited, some_email(), some_password()) for _ in range(30)]
    refused = [answer for answer in answers if answer.status_code != 401]
    assert 9 <= len(refused) + 1 <= 30, "one comes back every three seconds"
    assert all(answer.status_code == 401 for answer in answers[:20])
    must_be_limited(refused[0], "login-address", 60)


def test_an_address_registers_ten_members_an_hour(limited: httpx.Client) -> None:
    answers = []
    for _ in range(11):
        body = {"email": some_email(), "password": some_password(), "full_name": "Ana Lim"}
        answers.append(limited.post("/v1/members", json=body))
    assert [answer.status_code for answer in answers[:10]] == [202] * 10
    must_be_limited(answers[10], "registration-address", 3600)


def test_everything_agrees_with_a_fold_of_the_log(judged: Judged) -> None:
    judged()
