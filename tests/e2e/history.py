"""The file that recorder.py writes, read back: what each request was and what became of it."""

import json
import re
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import tokens
from messages import ROUTES
from recorder import as_bytes

SESSIONS = {  # what the contract describes without naming the command
    ("POST", "/v1/auth/login"): "member.start_session.v1",
    ("POST", "/v1/auth/refresh"): "member.refresh_session.v1",
    ("POST", "/v1/auth/logout"): "member.end_session.v1",
    ("POST", "/v1/auth/logout-all"): "member.end_all_sessions.v1",
    ("POST", "/v1/products:batch"): "product.create.v1",
}
SECRET_MEMBERS = ("password", "current_password", "new_password", "refresh_token", "access_token", "ticket")
REFRESH = "/v1/auth/refresh"
KEYLESS = ("/v1/auth/login", REFRESH)


class Unreadable(Exception):
    """The file is no history; the text says what is wrong where."""


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path)))


PATTERNS = [(route["method"], _pattern(route["path"]), route) for route in ROUTES]


@dataclass
class Exchange:
    """One request. Status 0: nothing is known of an answer."""

    method: str
    target: str
    fields: dict[str, str]
    body: bytes
    sent_ms: int
    status: int = 0
    answer_fields: dict[str, str] = field(default_factory=dict)
    answer: bytes = b""

    @cached_property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @cached_property
    def route(self) -> dict[str, Any] | None:
        found = (route for method, pattern, route in PATTERNS if method == self.method and pattern.fullmatch(self.path))
        return next(found, None)

    @property
    def auth(self) -> str:
        return self.route["auth"] if self.route else "public"

    @property
    def command_type(self) -> str | None:
        """Of the commands that the request asks for; None: it asks for none."""
        if not self.route:
            return None
        command: str | None = self.route.get("command") or SESSIONS.get((self.method, self.route["path"]))
        return command

    @cached_property
    def json(self) -> Any:
        return _json_of(self.body)

    @cached_property
    def answer_json(self) -> Any:
        return _json_of(self.answer)

    @property
    def commands(self) -> int:
        """How many it asks for."""
        items = self.json.get("items") if self.path.endswith(":batch") and isinstance(self.json, dict) else None
        return len(items) if isinstance(items, list) and items else 1

    @cached_property
    def command_ids(self) -> list[str]:
        """Of a 202."""
        if self.status != 202 or not isinstance(self.answer_json, dict):
            return []
        return [one["command_id"] for one in self.answer_json.get("items", [self.answer_json]) if "command_id" in one]

    @property
    def token(self) -> str:
        scheme, _, token = self.fields.get("authorization", "").partition(" ")
        return token if scheme.lower() == "bearer" else ""

    @property
    def issued(self) -> str:
        """The access token that the answer gives."""
        answer = self.answer_json
        return str(answer.get("access_token", "")) if self.status == 200 and isinstance(answer, dict) else ""

    @cached_property
    def claims(self) -> dict[str, Any]:
        """Unverified; empty when there is no token, or none that can be read."""
        try:
            return tokens.parts_of(self.token)[1] if self.token else {}
        except (ValueError, IndexError):
            return {}

    @property
    def key(self) -> str | None:
        return None if self.path in KEYLESS else self.fields.get("idempotency-key")

    @property
    def waited(self) -> bool:
        return "prefer" in self.fields or self.path.startswith("/v1/auth/")

    @property
    def is_replayed(self) -> bool:
        return "idempotent-replayed" in self.answer_fields

    @property
    def is_open(self) -> bool:
        """Whether there is a record does not follow from the answer."""
        if self.command_ids or self.status in (400, 403, 413, 415, 429):
            return False
        if self.status == 401:  # the worker's, when the password was right and something moved meanwhile
            return self.path in KEYLESS
        return self.waited or self.status < 300 or self.status >= 500

    @property
    def secrets(self) -> set[str]:
        """A token is one only when somebody took it for good, and a password nobody may have is just a word."""
        found = {self.token} if self.token and self.status not in (400, 401) and self.claims else set()
        asked = self.json if self.status not in (400, 413, 415, 422) else None
        if self.path == REFRESH and self.status == 401:  # a real one is known from the answer that gave it
            asked = None
        for said in (asked, self.answer_json):
            if isinstance(said, dict):
                found |= {said[name] for name in SECRET_MEMBERS if isinstance(said.get(name), str)}
        return {text for text in found if len(text) >= 8}

    def __str__(self) -> str:
        return f"{self.method} {self.path} at {self.sent_ms}"


def _json_of(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return None


@dataclass
class Record:
    """All that one file tells, in the order of its lines."""

    exchanges: list[Exchange] = field(default_factory=list)
    began: dict[tuple[str, int], int] = field(default_factory=dict)
    log_sizes: dict[str, int] = field(default_factory=dict)  # of the programs' logs then
    samples: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))  # by program
    marks: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))  # by domain
    asked_ms: list[int] = field(default_factory=list)


class Reader:
    """Of a file that grows."""

    def __init__(self, path: Path) -> None:
        self.record = Record()
        self._path = path
        self._size = 0  # of what was read
        self._lines = 0
        self._open: dict[str, Exchange] = {}

    def read_on(self) -> Record:
        """All of it, to the last line that is whole."""
        with self._path.open("rb") as file:
            file.seek(self._size)
            content = file.read()
        whole = content[: content.rfind(b"\n") + 1]
        for line in whole.splitlines():
            self._lines += 1
            try:
                self._take(json.loads(line))
            except (ValueError, KeyError, AttributeError, TypeError) as error:
                raise Unreadable(f"{self._path}: line {self._lines} is none of a history: {error!r}") from error
        self._size += len(whole)
        return self.record

    def _take(self, line: dict[str, Any]) -> None:
        getattr(self, f"_{line['kind']}")(line)

    def _began(self, line: dict[str, Any]) -> None:
        for name, end in line["ends"].items():
            topic, _, partition = name.rpartition("/")
            self.record.began.setdefault((topic, int(partition)), end)
        self.record.log_sizes = {**line.get("logs", {}), **self.record.log_sizes}

    def _asked(self, line: dict[str, Any]) -> None:
        exchange = Exchange(line["method"], line["path"], line["fields"], as_bytes(line["body"]), line["at"])
        self._open[line["n"]] = exchange
        self.record.exchanges.append(exchange)
        self.record.asked_ms.append(line["at"])

    def _answered(self, line: dict[str, Any]) -> None:
        exchange = self._open.pop(line["n"])
        exchange.status, exchange.answer_fields = line["status"], line["fields"]
        exchange.answer = as_bytes(line["body"])

    def _failed(self, line: dict[str, Any]) -> None:
        self._open.pop(line["n"])

    def _sample(self, line: dict[str, Any]) -> None:
        self.record.samples[line["program"]].append(line)

    def _marks(self, line: dict[str, Any]) -> None:
        self.record.marks[line["domain"]].append(line)

    def _restored(self, line: dict[str, Any]) -> None:
        self.record.marks[line["domain"]].append(line)


def read(path: Path) -> Record:
    return Reader(path).read_on()
