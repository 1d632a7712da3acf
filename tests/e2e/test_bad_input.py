"""Requests that must be refused, each with the right code, and must leave nothing in the log."""

import json
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from client import Client
from topics import Topics

ITEMS = "/v1/cart/items"


@pytest.fixture(scope="module")
def shopper(anyone: Client) -> Client:
    """One for all of them: none of their requests has an effect."""
    return anyone.as_caller(anyone.new_member().access_token)


@pytest.fixture(autouse=True)
def nothing_reaches_the_log(topics: Topics, shopper: Client, product: str) -> Iterator[None]:
    before = topics.ends()
    yield
    assert topics.ends() == before


def post(shopper: Client, content: bytes, content_type: str = "application/json", path: str = ITEMS) -> tuple[int, str]:
    response = shopper.http.post(
        path, content=content, headers={"Authorization": f"Bearer {shopper.token}", "Content-Type": content_type}
    )
    assert response.headers["Content-Type"] == "application/problem+json", response.text
    problem = response.json()
    assert problem["status"] == response.status_code and problem["type"] == f"/problems/{problem['code']}"
    assert problem["title"] and problem["trace_id"] and "Server" not in response.headers
    return response.status_code, str(problem["code"])


GOOD = b'{"product_id":"%s","quantity":1}'


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b"1",
        b'"text"',
        b'{"quantity":1',
        b"{'quantity':1}",
        b'{"quantity":1}x',
        b'{"quantity":1}{}',
        b'{"quantity":01}',
        b'{"quantity":1,}',
        b'{"quantity":1,"quantity":2}',
        b'{"quantity":\xff}',
        b'{"product_id":"\xc0\x80"}',
        b'{"product_id":"\\ud800"}',
        b'{"quantity":NaN}',
        b'{"quantity":+1}',
        b"\xef\xbb\xbf{}",
        b'{"a":"\x01"}',
        b"[" * 40 + b"]" * 40,
        b'{"a":' * 40 + b"1" + b"}" * 40,
    ],
)
def test_malformed_json_is_400(shopper: Client, content: bytes) -> None:
    assert post(shopper, content) == (400, "malformed-request")


@pytest.mark.parametrize(
    "content",
    [
        b"[]",
        b"{}",
        b'{"quantity":1}',
        b'{"product_id":1,"quantity":1}',
        b'{"product_id":"0192f5c0-7b1e-8d3a-8f27-6c1d2e3f4a5b","quantity":99999999999999999999}',
        b'{"product_id":"0192f5c0-7b1e-8d3a-8f27-6c1d2e3f4a5b","quantity":1e0}',
        b'{"product_id":"0192f5c0-7b1e-8d3a-8f27-6c1d2e3f4a5b","quantity":1,"member_id":"x"}',
    ],
)
def test_json_that_does_not_fit_the_schema_is_422(shopper: Client, content: bytes) -> None:
    assert post(shopper, content) == (422, "invalid-body")


BAD_QUANTITIES = ["-1", "1000", "0.0", "1.5", "1e2", "9223372036854775807", '"1"', "true", "null", "[1]", "{}"]
BAD_QUANTITIES += ["1e400", "-1E+400", "99999999999999999999"]  # JSON, but no number a machine holds


@pytest.mark.parametrize(
    ("method", "quantity"),
    [("POST", "0"), ("POST", "-0")]  # a PUT of it takes the line away
    + [(method, quantity) for method in ("POST", "PUT") for quantity in BAD_QUANTITIES],
)
def test_a_wrong_quantity_is_422_with_a_pointer(shopper: Client, product: str, method: str, quantity: str) -> None:
    path, content = ITEMS, b'{"product_id":"%s","quantity":%s}' % (product.encode(), quantity.encode())
    if method == "PUT":
        path, content = f"{ITEMS}/{product}", b'{"quantity":%s}' % quantity.encode()
    fields = {"Authorization": f"Bearer {shopper.token}", "Content-Type": "application/json"}
    response = shopper.http.request(method, path, content=content, headers=fields)
    assert response.status_code == 422, response.text
    assert [error["pointer"] for error in response.json()["errors"]] == ["/quantity"]


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/xml",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonp",
        "",
    ],
)
def test_another_content_type_is_415(shopper: Client, product: str, content_type: str) -> None:
    assert post(shopper, GOOD % product.encode(), content_type) == (415, "unsupported-media-type")


def test_a_body_above_the_limit_is_413(shopper: Client) -> None:
    assert post(shopper, b'{"a":"' + b"x" * 70_000 + b'"}') == (413, "too-large")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", ITEMS),
        ("PATCH", ITEMS),
        ("GET", ITEMS),
        ("PUT", "/v1/members"),
        ("POST", "/v1/cart/summary"),
        ("DELETE", "/v1/products"),
        ("GET", "/v1/products:batch"),
        ("PUT", "/v1/products:batch"),
        ("GET", "/v1/cart:acknowledge"),
        ("POST", "/v1/categories"),
        ("DELETE", "/v1/tags"),
        ("GET", "/v1/products/x/ratings/me"),
    ],
)
def test_another_method_is_405_with_allow(shopper: Client, method: str, path: str) -> None:
    response = shopper.http.request(method, path, headers={"Authorization": f"Bearer {shopper.token}"})
    assert response.status_code == 405, response.text
    assert response.headers["Allow"] and method not in response.headers["Allow"].split(", ")
    assert response.json()["code"] == "method-not-allowed"


@pytest.mark.parametrize("method", ["TRACE", "BREW", "get"])
def test_a_method_the_http_library_does_not_know_is_refused(shopper: Client, method: str) -> None:
    answer = raw(shopper, method.encode() + b" /v1/cart HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 405 ")), answer[:200]
    assert b"application/problem+json" in answer


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1",
        "/v2/cart",
        "/v1/cart/",
        "/v1//cart",
        "/v1/cart/items/x/y",
        "/v1/nothing",
        "/v1/products:",
        "/v1/products:all",
        "/v1/cart:batch",
        "/v1/products/x:batch/y",
    ],
)
def test_an_unknown_path_is_404(shopper: Client, path: str) -> None:
    assert shopper.get(path).status_code == 404


def raw(shopper: Client, request: bytes) -> bytes:
    """Sends bytes as they are; returns all that comes back until the edge closes."""
    url = urlsplit(str(shopper.http.base_url))
    with socket.create_connection((url.hostname, url.port), timeout=15) as connection:
        connection.sendall(request)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
        return answer


HEAD = b"POST /v1/cart/items HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    ("name", "fields", "status"),
    [
        ("TE with CL", b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400),
        ("two CLs", b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400),
        ("a CL with a sign", b"Content-Length: +2\r\n\r\n{}", 400),
        ("a huge CL", b"Content-Length: 99999999999999999999\r\n\r\n", 413),
        ("two hosts", b"Host: y\r\nContent-Length: 2\r\n\r\n{}", 400),
        ("two tokens", b"Authorization: Bearer x\r\nContent-Length: 2\r\n\r\n{}", 400),
        ("a large header", b"X-Long: " + b"x" * 9000 + b"\r\nContent-Length: 2\r\n\r\n{}", 431),
        ("many headers", b"".join(b"X-%d: y\r\n" % i for i in range(80)) + b"Content-Length: 2\r\n\r\n{}", 431),
    ],
)
def test_bad_framing_is_refused_and_the_connection_closed(
    shopper: Client, name: str, fields: bytes, status: int
) -> None:
    answer = raw(shopper, HEAD % shopper.token.encode() + fields)
    assert answer.startswith(b"HTTP/1.1 %d " % status), (name, answer[:200])
    assert answer.count(b"HTTP/1.1 ") == 1, "what follows must not be taken for a request"
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head and json.loads(body)["status"] == status


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET /v1/cart HTTP/1.1\r\n\r\n", 400),  # no Host
        (b"GET /v1/%2e%2e/cart HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /v1/products/a%2Fb HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /v1/products/a%00b HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /v1/" + b"x" * 3000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    ],
)
def test_a_bad_request_line_is_refused_and_the_connection_closed(
    shopper: Client, request_line: bytes, status: int
) -> None:
    answer = raw(shopper, request_line)
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:200]
    assert b"application/problem+json" in answer
