"""An HTTP client that knows nothing of the shop but what /openapi.json says, read at run time: where an operation is,
which parameters go where, what a body looks like, whether a token is needed. Whoever uses it names operations only."""

import uuid
from typing import Any
from urllib.parse import quote

import httpx

from references import Node, Referring


class Stranger(Referring):
    def __init__(self, http: httpx.Client, token: str = "", document: Node | None = None) -> None:
        self.http = http
        self.token = token
        self.document: Node = document if document is not None else http.get("/openapi.json").json()
        self._operations: dict[str, tuple[str, str, Node]] = {
            operation["operationId"]: (path, method, operation)
            for path, item in self.document["paths"].items()
            for method, operation in item.items()
        }

    def with_token(self, token: str) -> "Stranger":
        return Stranger(self.http, token, self.document)

    def example(self, operation_id: str) -> Any:
        """The document's own example of a body."""
        _, _, operation = self._operations[operation_id]
        return operation["requestBody"]["content"]["application/json"]["example"]

    def call(
        self, operation_id: str, body: Any = None, *, fields: dict[str, str] | None = None, **parameters: Any
    ) -> httpx.Response:
        """Parameters by name; those of the header with `_` for `-` and in lower case. `fields`: others, as they are."""
        path, method, operation = self._operations[operation_id]
        declared = {p["name"].replace("-", "_").lower(): p for p in map(self.resolve, operation.get("parameters", []))}
        unknown = set(parameters) - set(declared)
        assert not unknown, f"{operation_id} has no parameters {sorted(unknown)}"
        query: dict[str, str] = {}
        sent: dict[str, str] = {}
        for name, value in parameters.items():
            parameter = declared[name]
            text = str(value).lower() if isinstance(value, bool) else str(value)
            if parameter["in"] == "path":
                path = path.replace("{" + parameter["name"] + "}", quote(text, safe=""))
            elif parameter["in"] == "query":
                query[parameter["name"]] = text
            else:
                sent[parameter["name"]] = text
        assert "{" not in path, f"{operation_id} needs what is in {path}"
        if self.token and operation["security"]:
            sent["Authorization"] = f"Bearer {self.token}"
        sent.update(fields or {})
        given = {"json": body} if body is not None else {}
        return self.http.request(method.upper(), path, params=query or None, headers=sent, **given)  # type: ignore[arg-type]

    def write(self, operation_id: str, body: Any = None, **parameters: Any) -> httpx.Response:
        """Once, whatever happens, and to its end: as the document says how."""
        return self.call(operation_id, body, prefer="wait=10", idempotency_key=str(uuid.uuid4()), **parameters)
