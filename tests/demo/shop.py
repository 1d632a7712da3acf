"""The demo's way into the shop: plain HTTP connections of the standard library, one a thread."""

import http.client
import json
import threading
import time
import uuid
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

IDLE_S = 0.3  # the edge closes connections that idle longer; a request must not meet that moment


class Refused(Exception):
    """An answer nobody expected."""


class Unknown(Exception):
    """No answer, or one that leaves open whether the write is in the log."""


@dataclass
class Accepted:
    """How long the 202s took, of all threads; appending to a list needs no lock."""

    seconds: list[float] = field(default_factory=list)
    retries: int = 0


class Shop:
    """A connection of its own for each thread."""

    def __init__(self, url: str, accepted: Accepted) -> None:
        self._address = urlsplit(url)
        self._accepted = accepted
        self._local = threading.local()

    def _connection(self) -> http.client.HTTPConnection:
        local = self._local
        if not hasattr(local, "connection"):
            local.connection, local.used_at = (
                http.client.HTTPConnection(self._address.hostname or "", self._address.port, timeout=20),
                0.0,
            )
        if time.monotonic() - local.used_at > IDLE_S:
            local.connection.close()
        local.used_at = time.monotonic()
        connection: http.client.HTTPConnection = local.connection
        return connection

    def ask(
        self, method: str, path: str, body: Any = None, token: str = "", key: str = "", wait: bool = False
    ) -> tuple[int, dict[str, Any]]:
        """One request, one answer."""
        fields = {"Content-Type": "application/json"} if body is not None else {}
        if token:
            fields["Authorization"] = f"Bearer {token}"
        if key:
            fields["Idempotency-Key"] = key
        if wait:
            fields["Prefer"] = "wait=10"
        connection = self._connection()
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None, fields)
            response = connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise Unknown(f"{method} {path}: {error!r}") from error
        self._local.used_at = time.monotonic()
        return response.status, json.loads(text) if text else {}

    def write(self, method: str, path: str, body: Any = None, token: str = "", safe: bool = True) -> None:
        """Until it is accepted. `safe`: with a key, so that an unknown end can be tried again."""
        key = uuid.uuid4().hex if safe else ""
        while True:
            started = time.monotonic()
            status, problem = 503, {"code": "enqueue-timeout"}
            broken: Unknown | None = None
            try:
                status, problem = self.ask(method, path, body, token, key)
            except Unknown as error:
                broken = error
            if status in (200, 202):
                self._accepted.seconds.append(time.monotonic() - started)
                return
            if status != 503:
                raise Refused(f"{method} {path}: {status} {problem}")
            if not safe and problem.get("code") == "enqueue-timeout":
                raise broken or Unknown(f"{method} {path}: {problem}")
            self._accepted.retries += 1
            time.sleep(0.2)
