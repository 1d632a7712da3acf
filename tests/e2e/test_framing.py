"""Bytes on the socket: what ends a request, what is refused, and that nothing of it holds the next client up."""

import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from stack import Stack, wait_until

HOST = b"Host: x\r\n"
CLOSE = b"Connection: close\r\n"
GET = b"GET /v1/categories HTTP/1.1\r\n"
LAST = GET + HOST + CLOSE + b"\r\n"
POST = b"POST /v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
# RFC 9110 wants them of no answer in particular; ours have them on all.
SECURITY = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'",
    "referrer-policy": "no-referrer",
}


@dataclass
class Answer:
    status: int
    fields: dict[str, str]
    body: bytes


def answers_in(data: bytes) -> list[Answer]:
    """Cuts what came back into answers; each must be whole and carry what every answer carries."""
    answers = []
    while data:
        head, end, data = data.partition(b"\r\n\r\n")
        lines = head.decode("ascii").split("\r\n")
        version, status, _ = lines[0].split(" ", 2)
        assert version == "HTTP/1.1" and end, head
        fields = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines[1:])}
        if status == "100":
            continue
        length = int(fields.get("content-length", 0))
        assert len(data) >= length, "the answer was cut off"
        assert {name: fields.get(name) for name in SECURITY} == SECURITY
        assert "server" not in fields and "date" in fields
        answers.append(Answer(int(status), fields, data[:length]))
        data = data[length:]
    return answers


def everything_from(connection: socket.socket) -> bytes:
    data = b""
    while chunk := connection.recv(65536):
        data += chunk
    return data


@dataclass
class Edge:
    url: str

    def connect(self, timeout_s: float = 20) -> socket.socket:
        at = urlsplit(self.url)
        return socket.create_connection((at.hostname, at.port), timeout=timeout_s)

    def exchange(self, request: bytes, *, half_close: bool = False) -> list[Answer]:
        """Sends bytes as they are; what comes back until the edge closes."""
        with self.connect() as connection:
            connection.sendall(request)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
            return answers_in(everything_from(connection))

    def refuses(self, request: bytes, status: int, code: str = "") -> dict[str, Any]:
        """Exactly one answer, a problem document, and the connection is closed."""
        answers = self.exchange(request)
        assert [answer.status for answer in answers] == [status], answers
        assert answers[0].fields["content-type"] == "application/problem+json"
        problem: dict[str, Any] = json.loads(answers[0].body)
        assert problem["status"] == status and problem["type"] == f"/problems/{problem['code']}"
        assert problem["title"] and problem["detail"] and len(problem["trace_id"]) == 32
        assert code in ("", problem["code"])
        return problem


@pytest.fixture(scope="module")
def edge(servers: Stack) -> Iterator[Edge]:
    """No worker runs: nothing here may become a command."""
    servers.start("edge")
    yield Edge(servers.url("edge"))
    servers.stop("edge")


@pytest.fixture(autouse=True)
def the_next_client_is_served_at_once(edge: Edge) -> Iterator[None]:
    yield
    assert httpx.get(f"{edge.url}/v1/categories", timeout=5).status_code == 200


def line(text: bytes) -> bytes:
    return text + b"\r\n" + HOST + CLOSE + b"\r\n"


def with_field(field: bytes) -> bytes:
    return GET + HOST + field + b"\r\n" + CLOSE + b"\r\n"


REQUEST_LINES = {
    "HTTP/0.9": b"GET /v1/categories\r\n\r\n",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    "a TLS hello": bytes.fromhex("16030100c8010000c40303") + b"\x11" * 200,
    "a version there is not": line(b"GET /v1/categories HTTP/1.2"),
    "another major version": line(b"GET /v1/categories HTTP/2.0"),
    "a version in lower case": line(b"GET /v1/categories http/1.1"),
    "two spaces": line(b"GET  /v1/categories HTTP/1.1"),
    "a tab": line(b"GET\t/v1/categories HTTP/1.1"),
    "a space at the end": line(b"GET /v1/categories HTTP/1.1 "),
    "a CR inside": line(b"GET /v1/categories\r HTTP/1.1"),
    "a NUL in the method": line(b"G\0ET /v1/categories HTTP/1.1"),
    "a NUL in the path": line(b"GET /v1/cat\0egories HTTP/1.1"),
    "an encoded NUL": line(b"GET /v1/products/a%00b HTTP/1.1"),
    "an encoded slash": line(b"GET /v1/products/a%2Fb HTTP/1.1"),
    "a dot segment": line(b"GET /v1/../admin HTTP/1.1"),
    "a dot segment of one": line(b"GET /v1/./categories HTTP/1.1"),
    "an encoded dot segment": line(b"GET /v1/%2e%2E/categories HTTP/1.1"),
    "a bad escape": line(b"GET /v1/products/a%2 HTTP/1.1"),
    "an escape that is no UTF-8": line(b"GET /v1/products/a%ff HTTP/1.1"),
    "no slash": line(b"GET v1/categories HTTP/1.1"),
    "an asterisk": line(b"OPTIONS * HTTP/1.1"),
    "the form of proxies": line(b"CONNECT x:80 HTTP/1.1"),
    "another host's URI": line(b"GET http://other.example/v1/categories HTTP/1.1"),
    "another scheme": line(b"GET ftp://x/v1/categories HTTP/1.1"),
}
FIELDS = {
    "no Host": GET + CLOSE + b"\r\n",
    "an empty Host": GET + b"Host: \r\n" + CLOSE + b"\r\n",
    "two Hosts": with_field(b"Host: y"),
    "a Host that is a list": GET + b"Host: x, y\r\n" + CLOSE + b"\r\n",
    "a Host with a path": GET + b"Host: x/v1\r\n" + CLOSE + b"\r\n",
    "two tokens": with_field(b"Authorization: Bearer a\r\nAuthorization: Bearer b"),
    "a folded field": with_field(b"X-A: a\r\n b"),
    "a fold before any field": GET + b" Host: x\r\n" + CLOSE + b"\r\n",
    "a space before the colon": with_field(b"Content-Length : 5"),
    "a tab before the colon": with_field(b"Content-Length\t: 5"),
    "no colon": with_field(b"garbage"),
    "no name": with_field(b": a"),
    "a name that is no token": with_field(b"X(A): a"),
    "a name beyond ASCII": with_field(b"X\xff: a"),
    "a NUL in a value": with_field(b"X-A: a\0b"),
    "a NUL in a name": with_field(b"X\0A: a"),
    "a control character": with_field(b"X-A: a\x01b"),
    "bare LFs": LAST.replace(b"\r\n", b"\n"),
    "one bare LF": GET + b"Host: x\nX-A: b\r\n" + CLOSE + b"\r\n",
    "a bare LF at the end": GET + HOST + CLOSE + b"\n",
    "a CR without LF": GET + b"Host: x\rX-A: b\r\n" + CLOSE + b"\r\n",
}
LENGTHS = {
    "TE with CL": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "CL with TE": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two CLs": POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}" + LAST,
    "two CLs that agree": POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}" + LAST,
    "a list of CLs": POST + b"Content-Length: 2, 2\r\n\r\n{}" + LAST,
    "a CL with a sign": POST + b"Content-Length: +2\r\n\r\n{}" + LAST,
    "a negative CL": POST + b"Content-Length: -2\r\n\r\n{}" + LAST,
    "a CL in hex": POST + b"Content-Length: 0x2\r\n\r\n{}" + LAST,
    "an empty CL": POST + b"Content-Length: \r\n\r\n{}" + LAST,
    "two codings": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + LAST,
    "chunked twice": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + LAST,
    "no coding": POST + b"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n" + LAST,
    "almost chunked": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + LAST,
    "chunked behind a control character": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n" + LAST,
    "chunked in HTTP/1.0": CHUNKED.replace(b"1.1", b"1.0") + b"0\r\n\r\n" + LAST,
    "a chunk of 2^64 - 1": CHUNKED + b"ffffffffffffffff\r\n{}",
    "a chunk beyond 2^64": CHUNKED + b"10000000000000002\r\n{}\r\n0\r\n\r\n" + LAST,
    "a negative chunk": CHUNKED + b"-2\r\n{}\r\n0\r\n\r\n" + LAST,
    "a chunk with a sign": CHUNKED + b"+2\r\n{}\r\n0\r\n\r\n" + LAST,
    "a chunk with 0x": CHUNKED + b"0x2\r\n{}\r\n0\r\n\r\n" + LAST,
    "a space before the chunk": CHUNKED + b" 2\r\n{}\r\n0\r\n\r\n" + LAST,
    "a space after the size": CHUNKED + b"2 \r\n{}\r\n0\r\n\r\n" + LAST,
    "a chunk extension": CHUNKED + b"2;a=b\r\n{}\r\n0\r\n\r\n" + LAST,
    "a long chunk extension": CHUNKED + b"2;" + b"a" * 5000 + b"\r\n{}\r\n0\r\n\r\n" + LAST,
    "chunks that end in LF": CHUNKED + b"2\n{}\n0\n\n" + LAST,
    "a chunk that does not end": CHUNKED + b"2\r\n{}0\r\n\r\n" + LAST,
    "a chunk without a size": CHUNKED + b"\r\n{}\r\n0\r\n\r\n" + LAST,
    "a chunk of letters": CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n" + LAST,
}


@pytest.mark.parametrize("name", REQUEST_LINES)
def test_a_request_line_that_two_could_read_differently_is_refused(edge: Edge, name: str) -> None:
    edge.refuses(REQUEST_LINES[name], 400, "malformed-request")


@pytest.mark.parametrize("name", FIELDS)
def test_fields_that_two_could_read_differently_are_refused(edge: Edge, name: str) -> None:
    edge.refuses(FIELDS[name], 400, "malformed-request")


@pytest.mark.parametrize("name", LENGTHS)
def test_a_body_that_two_could_end_differently_is_refused_and_nothing_after_it_is_read(edge: Edge, name: str) -> None:
    edge.refuses(LENGTHS[name], 400, "malformed-request")


# --- limits


def sized(body: bytes) -> bytes:
    return POST + CLOSE + b"Content-Length: %d\r\n\r\n" % len(body) + body


def test_a_uri_has_two_kib(edge: Edge) -> None:
    path = b"/v1/categories?a="
    uri = path + b"x" * (2048 - len(path))
    assert [answer.status for answer in edge.exchange(line(b"GET " + uri + b" HTTP/1.1"))] == [200]
    edge.refuses(line(b"GET " + uri + b"x HTTP/1.1"), 414, "uri-too-long")
    edge.refuses(line(b"GET " + uri + b"x" * 50_000 + b" HTTP/1.1"), 414, "uri-too-long")


def test_fields_have_eight_kib(edge: Edge) -> None:
    rest = 8192 - len(HOST + CLOSE + b"X-A: \r\n")
    assert [answer.status for answer in edge.exchange(with_field(b"X-A: " + b"x" * rest))] == [200]
    edge.refuses(with_field(b"X-A: " + b"x" * (rest + 1)), 431, "headers-too-large")
    edge.refuses(with_field(b"X-A: " + b"x" * 50_000), 431, "headers-too-large")


def test_there_are_64_fields_at_most(edge: Edge) -> None:
    many = b"\r\n".join(b"X-%d: y" % i for i in range(62))
    assert [answer.status for answer in edge.exchange(with_field(many))] == [200]
    edge.refuses(with_field(many + b"\r\nX-62: y"), 431, "headers-too-large")


def test_a_head_larger_than_any_buffer_is_refused(edge: Edge) -> None:
    """Which limit it breaks cannot be told any more, see the decision on HTTP."""
    edge.refuses(with_field(b"X-A: " + b"x" * 70_000), 400)


def test_a_body_has_64_kib_however_it_is_framed(edge: Edge) -> None:
    full = b"{}" + b" " * (65536 - 2)
    one_more = full + b" "
    assert [answer.status for answer in edge.exchange(sized(full))] == [422]
    edge.refuses(sized(one_more), 413, "too-large")
    edge.refuses(POST + b"Content-Length: 99999999999999999999\r\n\r\n", 413, "too-large")
    unsent = edge.exchange(POST + b"Content-Length: 65537\r\n\r\n", half_close=True)
    assert statuses(unsent) == [413], "it is refused by its length alone"
    chunks = CHUNKED + b"10000\r\n%s\r\n" % full
    assert [answer.status for answer in edge.exchange(chunks + b"0\r\n\r\n" + LAST)] == [422, 200]
    edge.refuses(chunks + b"1\r\n \r\n0\r\n\r\n", 413, "too-large")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b'{"a":' * 33 + b"1" + b"}" * 33, 400, "malformed-request"),
        (b'{"a":' * 32 + b"1" + b"}" * 32, 422, "invalid-body"),
        (b'{"email":"a@b.example","password":"x","more":1}', 422, "invalid-body"),
        (b'{"email":"a@b.example","email":"a@b.example","password":"x"}', 400, "malformed-request"),
        (b'{"email":"\xff","password":"x"}', 400, "malformed-request"),
        (b'{"email":"a@b.example","password":"x"}x', 400, "malformed-request"),
        (b'{"email":"a@b.example","password":"x"}\0', 400, "malformed-request"),
    ],
)
def test_a_body_is_one_json_object(edge: Edge, body: bytes, status: int, code: str) -> None:
    edge.refuses(sized(body), status, code)


def test_another_content_type_is_415_and_another_method_is_405_with_allow(edge: Edge) -> None:
    edge.refuses(sized(b"{}").replace(b"application/json", b"text/json"), 415, "unsupported-media-type")
    answer = edge.exchange(line(b"DELETE /v1/categories HTTP/1.1"))[0]
    assert (answer.status, answer.fields["allow"]) == (405, "GET, HEAD")
    assert json.loads(answer.body)["code"] == "method-not-allowed"


# --- what is taken


def statuses(answers: list[Answer]) -> list[int]:
    return [answer.status for answer in answers]


def test_requests_may_be_sent_ahead(edge: Edge) -> None:
    assert statuses(edge.exchange((GET + HOST + b"\r\n") * 5 + LAST)) == [200] * 6
    body = GET + HOST + b"Content-Length: 3\r\n\r\nabc"  # a GET's body means nothing, but has its length
    assert statuses(edge.exchange(body + LAST)) == [200, 200]
    assert statuses(edge.exchange(CHUNKED + b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n" + LAST)) == [422, 200]


def test_older_clients_are_served(edge: Edge) -> None:
    assert statuses(edge.exchange(b"GET /v1/categories HTTP/1.0\r\n\r\n" + LAST)) == [200]
    kept = b"GET /v1/categories HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    assert statuses(edge.exchange(kept + LAST)) == [200, 200]


def test_the_edges_own_absolute_uri_is_a_path(edge: Edge) -> None:
    uri = edge.url.encode() + b"/v1/categories"
    assert statuses(edge.exchange(line(b"GET " + uri + b" HTTP/1.1"))) == [200]


def test_a_client_that_has_said_all_still_gets_its_answer(edge: Edge) -> None:
    assert statuses(edge.exchange(GET + HOST + b"\r\n", half_close=True)) == [200]
    assert statuses(edge.exchange(POST + b"Content-Length: 9\r\n\r\n{}", half_close=True)) == [400]


def test_a_client_that_asks_first_is_told_to_go_on_unless_its_body_is_too_large(edge: Edge) -> None:
    with edge.connect() as connection:
        connection.sendall(POST + CLOSE + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"{}")
        assert statuses(answers_in(everything_from(connection))) == [422]
    edge.refuses(POST + b"Expect: 100-continue\r\nContent-Length: 65537\r\n\r\n", 413, "too-large")


@pytest.mark.parametrize("upgrade", [b"websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: QUJD", b"h2c"])
def test_an_upgrade_is_not_taken_up(edge: Edge, upgrade: bytes) -> None:
    assert statuses(edge.exchange(GET + HOST + b"Connection: Upgrade\r\nUpgrade: " + upgrade + b"\r\n\r\n")) == [200]


@pytest.mark.parametrize(
    "trailers", [b"X-A: b\r\n\r\n" + LAST, b"Content-Length: 5\r\n\r\n", LAST, b"GET http://x/ HTTP/1.1\r\n\r\n"]
)
def test_what_follows_the_last_chunk_is_never_a_request(edge: Edge, trailers: bytes) -> None:
    assert statuses(edge.exchange(CHUNKED + b"2\r\n{}\r\n0\r\n" + trailers)) == [422]


def test_blank_lines_do_not_show_what_others_sent(edge: Edge) -> None:
    """civetweb would read on in the bytes of the request before; where nothing was before, they may be passed over."""
    edge.exchange(GET.replace(b"categories", b"tags/secret") + HOST + CLOSE + b"\r\n")
    for blank in (b"\r\n", b"\r\n\r\n", b"\n", b" "):
        answers = edge.exchange(blank + LAST)
        assert statuses(answers) in ([200], [400])
        assert b"secret" not in answers[0].body


# --- slowness

ESTABLISHED = "01"  # in /proc/net/tcp
MANY = 30  # of half a megabyte each: more than the kernel keeps for a client
PATIENCE_S = 60  # none of them would ever end by itself


@dataclass
class Slow:
    """Sends `start`, then `drip` every quarter of a second until it is answered."""

    start: bytes
    drip: bytes
    status: int
    has_long: bool = False  # the time of a whole request, not that of a head or a pause


SLOW = {
    "says nothing": Slow(b"", b"", 0),
    "stops in its head": Slow(GET + b"Ho", b"", 408),
    "drips its head": Slow(GET + b"X: ", b"a", 408),
    "drips its second head": Slow(GET + HOST + b"\r\n" + GET + b"X: ", b"a", 408),
    "stops in its body": Slow(POST + b"Content-Length: 60000\r\n\r\n{", b"", 408),
    "drips its body": Slow(POST + b"Content-Length: 60000\r\n\r\n", b" ", 408, True),
    "is quick and then drips": Slow(POST + b"Content-Length: 60000\r\n\r\n" + b" " * 20_000, b" ", 408, True),
    "drips its chunks": Slow(CHUNKED + b"fff0\r\n" + b" " * 20_000, b" ", 408, True),
    "drips a body that is not taken": Slow(POST + b"Content-Length: 70000\r\n\r\n" + b" " * 20_000, b" ", 413, True),
}


def slow_exchange(edge: Edge, slow: Slow) -> tuple[list[Answer], float]:
    """The answers, and when the edge ended the connection."""
    begin, data = time.monotonic(), b""
    with edge.connect() as connection:
        connection.sendall(slow.start)
        connection.settimeout(0.25)
        while True:
            assert time.monotonic() - begin < PATIENCE_S, "the edge still listens"
            try:
                chunk = connection.recv(65536)
            except TimeoutError:
                try:
                    connection.sendall(slow.drip)
                except OSError:
                    break
                continue
            except ConnectionResetError:  # it was still sending: no reason to lose what was said
                break
            if not chunk:
                break
            data += chunk
    return answers_in(data), time.monotonic() - begin


def holds_on(edge: Edge, client_port: int) -> bool:
    """The edge's end of a connection is open still. Its client cannot see that it is not before it reads."""
    ends = [f"{port:04X}" for port in (urlsplit(edge.url).port or 0, client_port)]
    rows = [row.split() for row in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]]
    return any([row[1].split(":")[1], row[2].split(":")[1]] == ends and row[3] == ESTABLISHED for row in rows)


def take_nothing_for_a_while(edge: Edge) -> list[bytes]:
    """The answers to a client that asks for much and begins to read when it was given up; the last may be cut."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(30)
        at = urlsplit(edge.url)
        connection.connect((at.hostname, at.port))
        connection.sendall((b"GET /docs HTTP/1.1\r\n" + HOST + b"\r\n") * MANY)
        assert holds_on(edge, connection.getsockname()[1])
        wait_until("it is given up", lambda: not holds_on(edge, connection.getsockname()[1]), PATIENCE_S)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        data = everything_from(connection)
    return data.split(b"HTTP/1.1 200 ")[1:]


def test_slow_clients_are_sent_away_in_time(edge: Edge) -> None:
    with ThreadPoolExecutor(len(SLOW) + 1) as pool:
        taken = pool.submit(take_nothing_for_a_while, edge)
        ends = dict(zip(SLOW, pool.map(lambda slow: slow_exchange(edge, slow), SLOW.values()), strict=True))
    for name, (answers, _) in ends.items():
        slow = SLOW[name]
        assert (answers[-1].status if answers else 0) == slow.status, (name, answers)
        assert not answers or answers[-1].fields["connection"] == "close"
    long, short = ([took_s for name, (_, took_s) in ends.items() if SLOW[name].has_long is kind] for kind in (True, False))
    assert max(short) < min(long), ends
    *whole, last = taken.result()
    assert len(whole) < MANY - 1, "the answers fit into what the kernel keeps: ask for more"
    assert len(set(map(len, whole))) == 1 and len(last) < len(whole[0]), "nothing follows on an answer that was cut"
