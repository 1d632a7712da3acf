"""openapi.json as a judge: is an answer one the document tells of? Every answer of every test is asked, since client.py
hangs `judge()` on its connections. Members and header fields the document does not know are refused, although clients
must take them: the document is to be whole."""

import copy
import json
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import httpx
from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from references import Node, Referring

BASE = "urn:openapi"
METHODS = ("get", "put", "post", "delete", "patch")
# What a request may be answered with before anybody looks at its route.
OF_FRAMING = {"400", "408", "413", "414", "431", "500", "503"}

formats = FormatChecker(formats=["uuid"])


@formats.checks("date-time")
def is_time(text: object) -> bool:
    return not isinstance(text, str) or bool(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text))


def closed(node: Any) -> Any:
    """The same schemas, but that objects have no other members than those named. Parts of an allOf are left open."""
    if isinstance(node, list):
        return [closed(part) for part in node]
    if not isinstance(node, dict):
        return node
    parts = {name: part if name == "allOf" else closed(part) for name, part in node.items()}
    if isinstance(node.get("properties"), dict) and node.get("type") == "object":
        parts.setdefault("additionalProperties", False)
    return parts


class Contract(Referring):
    def __init__(self, document: Node) -> None:
        self.document = document
        strict = copy.deepcopy(document)
        strict["components"]["schemas"] = closed(document["components"]["schemas"])
        self._registry: Registry[Any] = Registry().with_resource(BASE, DRAFT202012.create_resource(strict))
        self._patterns = [(self._pattern(path), path) for path in sorted(document["paths"], key=lambda p: p.count("{"))]
        self._validators: dict[str, Draft202012Validator] = {}
        self.seen: dict[str, set[str]] = defaultdict(set)  # operationId -> statuses

    @staticmethod
    def _pattern(path: str) -> re.Pattern[str]:
        return re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path)))

    # --- what is there

    def operations(self) -> Iterator[tuple[str, str, Node]]:
        """Path, method, operation."""
        for path, item in self.document["paths"].items():
            for method in METHODS:
                if method in item:
                    yield path, method, item[method]

    def operation(self, operation_id: str) -> tuple[str, str, Node]:
        return next(found for found in self.operations() if found[2]["operationId"] == operation_id)

    def documented(self, operation_id: str) -> set[str]:
        return set(self.operation(operation_id)[2]["responses"])

    def path_of(self, path: str) -> str | None:
        return next((template for pattern, template in self._patterns if pattern.fullmatch(path)), None)

    # --- judging

    def judge(self, method: str, path: str, status: str, fields: Mapping[str, str], body: bytes) -> None:
        """Raises an AssertionError that says what is not documented. `fields`: with names in lower case."""
        where = f"{method} {path} -> {status}"
        template = self.path_of(path)
        item = self.document["paths"][template] if template else {}
        known = "get" if method == "HEAD" else method.lower()
        if known in item:
            operation = item[known]
            assert status in operation["responses"], f"{where}: {operation['operationId']} does not document this status"
            response = self.resolve(operation["responses"][status])
            self.seen[operation["operationId"]].add(status)
        else:
            response = self._of_no_operation(where, status, bool(template))
        self._judge_fields(where, response, fields)
        self._judge_body(where, response, fields.get("content-type", ""), body, method == "HEAD")

    def _of_no_operation(self, where: str, status: str, is_path: bool) -> Node:
        expected = "405" if is_path else "404"
        assert status in {expected} | OF_FRAMING, f"{where}: no such operation, but the answer is no {expected}"
        if status == "404":
            content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
            return {"description": "", "content": content}
        titles = self.document["components"]["responses"].items()
        return next(r for _, r in titles if status == self._status_of(r))

    @staticmethod
    def _status_of(response: Node) -> str:
        content = response["content"].get("application/problem+json")
        return str(content["schema"]["allOf"][1]["properties"]["status"]["const"]) if content else ""

    def _judge_fields(self, where: str, response: Node, fields: Mapping[str, str]) -> None:
        common = {n.lower(): spec["required"] for n, spec in self.document["x-headers-of-every-answer"].items()}
        own = {name.lower(): self.resolve(header) for name, header in response.get("headers", {}).items()}
        unknown = set(fields) - set(common) - set(own)
        assert not unknown, f"{where}: header fields {sorted(unknown)} are not documented"
        needed = {n for n, is_needed in common.items() if is_needed} | {n for n, h in own.items() if h.get("required")}
        assert needed <= set(fields), f"{where}: header fields {sorted(needed - set(fields))} are missing"
        for name in set(own) & set(fields):
            schema = own[name]["schema"]
            value: Any = fields[name]
            if schema.get("type") == "integer" and re.fullmatch(r"\d+", value):
                value = int(value)
            errors = list(Draft202012Validator(schema).iter_errors(value))
            assert not errors, f"{where}: {name}: {errors[0].message}"

    def _judge_body(self, where: str, response: Node, content_type: str, body: bytes, is_head: bool) -> None:
        kind = content_type.partition(";")[0]
        content = response.get("content", {})
        if not content:
            assert not kind and not body, f"{where}: a body is not documented"
            return
        assert kind in content, f"{where}: content type '{kind}' is not documented"
        if is_head or not kind.endswith("json"):
            return
        errors = sorted(self._validator(content[kind]["schema"]).iter_errors(json.loads(body)), key=lambda e: e.path)
        told = [f"/{'/'.join(str(part) for part in error.path)}: {error.message}" for error in errors]
        assert not told, f"{where}: the body is not what the document says: {told}"

    def _validator(self, schema: Node) -> Draft202012Validator:
        key = json.dumps(schema)
        if key not in self._validators:
            absolute = json.loads(key.replace('"#/', f'"{BASE}#/'))
            self._validators[key] = Draft202012Validator(absolute, registry=self._registry, format_checker=formats)
        return self._validators[key]

    def fits(self, schema: Node, value: Any) -> list[str]:
        """What is wrong with a value."""
        return [error.message for error in self._validator(schema).iter_errors(value)]


@cache
def contract() -> Contract:
    """Of the programs under test, as their build made it."""
    path = Path(os.environ["TW_BIN_DIR"]).parent / "gen/docs/openapi.json"
    return Contract(json.loads(path.read_text(encoding="utf-8")))


def judge(response: httpx.Response) -> None:
    """A hook of httpx's clients."""
    streams = response.headers.get("content-type", "").startswith("text/event-stream")
    body = b"" if streams else response.read()
    request = response.request
    path = request.url.raw_path.decode().partition("?")[0]
    contract().judge(request.method, path, str(response.status_code), response.headers, body)
