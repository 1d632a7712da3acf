"""Logins and registrations of an edge that limits them, as deployments do."""

import re
import time
from collections.abc import Iterator

import httpx
import pytest

from client import Client, some_email, some_password
from contract import judge
from judge import Judged
from recorder import Recorder
from stack import Stack, wait_until

EDGE = "edge2"


@pytest.fixture
def limited(stack: Stack, anyone: Client, recorder: Recorder) -> Iterator[httpx.Client]:
    """An edge of its own for each test: what it counted goes with it."""
    stack.start(EDGE, settings={"TW_RATE_LIMITS": "on"})
    transport = recorder.transport(httpx.HTTPTransport(limits=httpx.Limits(keepalive_expiry=0.3)))  # as in client.py
    with httpx.Client(
        base_url=stack.url(EDGE), timeout=30, transport=transport, event_hooks={"response": [judge]}
    ) as http:
        yield http
    stack.stop(EDGE)


def login(http: httpx.Client, email: str, password: str) -> httpx.Response:
    return http.post("/v1/auth/login", json={"email": email, "password": password})


class Tries:
    """Logins under a limit: `count` at once, then one more for each `count`th part of a minute that has passed, however
    slow the machine is."""

    def __init__(self, http: httpx.Client, count: int) -> None:
        self._http = http
        self._count = count
        self._began = time.monotonic()
        self._let_in = 0

    def login(self, email: str, password: str) -> httpx.Response:
        answer = login(self._http, email, password)
        if answer.status_code != 429:
            self._let_in += 1
            come_back = (time.monotonic() - self._began) * self._count / 60
            assert self._let_in <= self._count + come_back, "more than the limit were let in"
        return answer

    def until_refused(self, email: str = "", password: str = "") -> httpx.Response:
        """Of that account, or of another one each time."""

        def refused() -> httpx.Response | None:
            answer = self.login(email or some_email(), password or some_password())
            return answer if answer.status_code == 429 else None

        found = wait_until("it is refused", refused, 60)
        assert found is not None
        return found


def must_be_limited(response: httpx.Response, limit: str, window_s: int) -> None:
    assert response.status_code == 429, response.text
    assert response.json()["code"] == "too-many-requests"
    assert 1 <= int(response.headers["Retry-After"]) <= window_s
    assert re.search(rf', "{limit}";q=\d+;w={window_s}$', response.headers["RateLimit-Policy"])
    assert response.headers["RateLimit"].endswith(f', "{limit}";r=0;t={response.headers["Retry-After"]}')


def test_an_account_is_tried_five_times_a_minute_whatever_its_spelling(
    anyone: Client, limited: httpx.Client
) -> None:
    member, tries = anyone.new_member(), Tries(limited, 5)
    spellings = [member.email, member.email.upper(), f" {member.email} ", member.email.lower(), member.email]
    assert [tries.login(email, some_password()).status_code for email in spellings] == [401] * 5
    must_be_limited(tries.until_refused(member.email, member.password), "login-account", 60)
    other = anyone.new_member()
    assert login(limited, other.email, other.password).status_code == 200, "others are not held back"


def test_an_account_that_is_not_there_is_limited_alike(limited: httpx.Client) -> None:
    email, tries = some_email(), Tries(limited, 5)
    assert [tries.login(email, some_password()).status_code for _ in range(5)] == [401] * 5
    must_be_limited(tries.until_refused(email), "login-account", 60)


def test_an_address_tries_twenty_accounts_a_minute(limited: httpx.Client) -> None:
    tries = Tries(limited, 20)
    assert [tries.login(some_email(), some_password()).status_code for _ in range(20)] == [401] * 20
    must_be_limited(tries.until_refused(), "login-address", 60)


def test_an_address_registers_ten_members_an_hour(limited: httpx.Client) -> None:
    answers = []
    for _ in range(11):
        body = {"email": some_email(), "password": some_password(), "full_name": "Ana Lim"}
        answers.append(limited.post("/v1/members", json=body))
    assert [answer.status_code for answer in answers[:10]] == [202] * 10
    must_be_limited(answers[10], "registration-address", 3600)


def test_everything_agrees_with_a_fold_of_the_log(judged: Judged) -> None:
    judged()
