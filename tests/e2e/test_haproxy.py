"""The real HAProxy with docker/haproxy.cfg in front of an edge, and what the edge makes of proxies and origins."""

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from stack import ROOT, Stack, wait_until

ORIGIN = "https://shop.example"
# Few threads, so that one that is held shows; rates whose remainder does not move by itself while the tests run.
SETTINGS = {
    "TW_TRUSTED_PROXIES": "127.0.0.1,fd00::/8",
    "TW_CORS_ORIGINS": f"{ORIGIN}, http://localhost:3000",
    "TW_REQUEST_THREADS": "8",
    "TW_RATE_LIMITS": "on",
    "TW_ADDRESS_READ_LIMIT": "300/86400",
    "TW_ADDRESS_WRITE_LIMIT": "20/86400",
    "TW_LOGIN_ADDRESS_LIMIT": "3/86400",
}
WAIT_SLOTS = 512  # of an edge, unless set otherwise
# Above the edge's: a stack's ports on which nothing else listens, and which no outgoing connection takes. See
# docker/local/ports.sh.
PROXY_PORT, LISTENERS_PROXY_PORT = 17, 18


def port_above(servers: Stack, offset: int) -> int:
    return int(servers.environment["TW_EDGE_URL"].rpartition(":")[2]) + offset


@dataclass
class Proxy:
    port: int
    certificate: Path
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.certificate))

    def client(self, source: str = "127.0.0.1") -> httpx.Client:
        """Of somebody at this address."""
        host = "[::1]" if ":" in source else "127.0.0.1"
        transport = httpx.HTTPTransport(local_address=source, verify=self.context())
        return httpx.Client(base_url=f"https://{host}:{self.port}", transport=transport, timeout=20)

    def connect(self, context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        return (context or self.context()).wrap_socket(plain, server_hostname="localhost")

    def curl(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = ["curl", "-s", "--cacert", str(self.certificate), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=30)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Self-signed, with its key: the one file HAProxy wants."""
    folder = tmp_path_factory.mktemp("tls")
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1"
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")]
    words = ["openssl", "req", "-x509", *kind, "-subj", "/CN=localhost", "-addext", names, *files]
    subprocess.run(words, check=True, capture_output=True, timeout=30)
    both = folder / "tls.pem"
    both.write_text((folder / "certificate.pem").read_text() + (folder / "key.pem").read_text())
    return both


def start_proxy(port: int, certificate: Path, edge: str, admin_port: int) -> Proxy:
    environment = {
        "PATH": f"{os.environ['PATH']}:/usr/sbin",
        "LISTEN": f"127.0.0.1:{port},::1:{port}",
        "CERTIFICATE": str(certificate),
        "EDGE": edge,
        "EDGE_ADMIN_PORT": str(admin_port),
    }
    process = subprocess.Popen(["haproxy", "-f", ROOT / "docker/haproxy.cfg"], env=environment, start_new_session=True)
    return Proxy(port, certificate, process)


def stop_proxy(proxy: Proxy) -> None:
    proxy.process.send_signal(signal.SIGTERM)
    proxy.process.wait(20)


def status_of(proxy: Proxy) -> int:
    try:
        with proxy.client("127.0.0.99") as client:  # not one whose requests a test counts
            return client.get("/openapi.json").status_code
    except httpx.TransportError:
        return 0


@pytest.fixture(scope="module")
def edge(servers: Stack) -> Iterator[str]:
    """Its own URL, without the proxy. No worker runs."""
    servers.start("edge", settings=SETTINGS)
    yield servers.url("edge")
    servers.stop("edge")


@pytest.fixture(scope="module")
def proxy(servers: Stack, edge: str, certificate: Path) -> Iterator[Proxy]:
    admin_port = int(servers.environment["TW_ADMIN_URL"].rpartition(":")[2])
    port = port_above(servers, PROXY_PORT)
    proxy = start_proxy(port, certificate, edge.removeprefix("http://"), admin_port)
    try:
        wait_until("the proxy serves", lambda: status_of(proxy) == 200)
        yield proxy
    finally:
        stop_proxy(proxy)


def must_be_problem(response: httpx.Response, status: int, code: str) -> None:
    """As the edge's own problems look, whoever says it."""
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.headers["X-Content-Type-Options"] == "nosniff" and "Server" not in response.headers
    problem = response.json()
    assert (problem["status"], problem["code"], problem["type"]) == (status, code, f"/problems/{code}")
    assert re.fullmatch("[0-9a-f]{32}", problem["trace_id"]) and problem["title"] and problem["detail"]


# --- TLS, HTTP/2, IPv6


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_of_today_is_spoken(proxy: Proxy, version: ssl.TLSVersion) -> None:
    context = proxy.context()
    context.minimum_version = context.maximum_version = version
    with proxy.connect(context) as connection:
        assert connection.version() == version.name.replace("_", ".")
        connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 200 ")


def test_older_tls_and_plain_http_are_not(proxy: Proxy) -> None:
    words = ["openssl", "s_client", "-connect", f"127.0.0.1:{proxy.port}", "-tls1_1"]
    old = subprocess.run([*words, "-cipher", "DEFAULT@SECLEVEL=0"], input=b"", capture_output=True, timeout=20)
    assert old.returncode != 0 and b"alert protocol version" in old.stderr, old.stderr
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://127.0.0.1:{proxy.port}/openapi.json")


def test_http_2_is_spoken_and_says_the_same(proxy: Proxy) -> None:
    written = ["-o", "/dev/null", "-w", "%{http_version} %{http_code}"]
    assert proxy.curl("--http2", *written, f"{proxy.url}/openapi.json").stdout == "2 200"
    body = ["-H", "Content-Type: application/json", "-d", "{}"]
    assert proxy.curl("--http2", *written, *body, f"{proxy.url}/v1/auth/login").stdout == "2 422"


def test_ipv6_is_spoken(proxy: Proxy) -> None:
    with proxy.client("::1") as client:
        response = client.get("/v1/categories")
    assert response.status_code == 200
    assert response.headers["Strict-Transport-Security"] == "max-age=31536000"
    assert response.headers["Content-Security-Policy"] == "default-src 'none'" and "Server" not in response.headers


def test_an_absolute_uri_is_a_path(proxy: Proxy) -> None:
    uri = f"{proxy.url}/v1/tags"
    done = proxy.curl("--http1.1", "-w", "%{http_code}", "--request-target", uri, uri)
    assert done.stdout.endswith("200"), done.stdout


# --- who is counted


def left(response: httpx.Response) -> int:
    """Of the reads of whoever was counted."""
    found = re.fullmatch(r'"reads";r=(\d+);t=\d+', response.headers["RateLimit"])
    assert found and response.headers["RateLimit-Policy"] == '"reads";q=300;w=86400', response.headers
    return int(found[1])


def test_each_client_of_the_proxy_is_counted_for_himself(proxy: Proxy) -> None:
    for source in ("127.0.0.2", "127.0.0.3"):
        with proxy.client(source) as client:
            assert [left(client.get("/v1/tags")) for _ in range(3)] == [299, 298, 297], source


def test_what_a_client_says_of_himself_is_not_believed(proxy: Proxy, edge: str) -> None:
    lies = [
        {"X-Forwarded-For": "203.0.113.1"},
        {"X-Forwarded-For": "203.0.113.2, 127.0.0.1"},
        {"Forwarded": "for=203.0.113.3"},
        {"X-Real-IP": "203.0.113.4"},
    ]
    with proxy.client("127.0.0.4") as client:
        assert [left(client.get("/v1/tags", headers=lie)) for lie in lies] == [299, 298, 297, 296]
    with httpx.Client(base_url=edge, transport=httpx.HTTPTransport(local_address="127.0.0.5")) as client:
        assert [left(client.get("/v1/tags", headers=lie)) for lie in lies] == [299, 298, 297, 296], "it is no proxy"


def test_the_right_most_address_that_is_no_proxy_is_counted(edge: str) -> None:
    chains = ["198.51.100.9, 203.0.113.9", "203.0.113.9,fd00::1", "198.51.100.7, 203.0.113.9, fd00::2, 127.0.0.1"]
    with httpx.Client(base_url=edge) as client:
        assert [left(client.get("/v1/tags", headers={"X-Forwarded-For": chain})) for chain in chains] == [299, 298, 297]
        networks = ["2001:db8:1:2::1", "2001:db8:1:2:ffff::1", "2001:db8:1:3::1"]
        counted = [left(client.get("/v1/tags", headers={"X-Forwarded-For": address})) for address in networks]
        assert counted == [299, 298, 299], "who has one address of a /64 has all of it"


def test_one_clients_limit_is_nobody_elses(proxy: Proxy) -> None:
    body = {"email": "nobody@example.com", "password": "correct horse battery"}
    with proxy.client("127.0.0.6") as client:
        answers = [client.post("/v1/auth/login", json={**body, "email": f"n{i}@example.com"}) for i in range(4)]
    assert [answer.status_code for answer in answers] == [401, 401, 401, 429]
    must_be_problem(answers[3], 429, "too-many-requests")
    assert answers[3].headers["RateLimit-Policy"] == '"writes";q=20;w=86400, "login-address";q=3;w=86400'
    assert re.fullmatch(r'"writes";r=16;t=\d+, "login-address";r=0;t=\d+', answers[3].headers["RateLimit"])
    assert answers[3].headers["RateLimit"].endswith(f"t={answers[3].headers['Retry-After']}")
    with proxy.client("127.0.0.7") as client:
        assert client.post("/v1/auth/login", json=body).status_code == 401


def test_a_bad_token_is_counted_and_the_last_write_is_refused(proxy: Proxy) -> None:
    bad = {"Authorization": "Bearer x"}
    with proxy.client("127.0.0.8") as client:
        answers = [client.delete("/v1/cart", headers=bad) for _ in range(21)]
        assert [answer.status_code for answer in answers] == [401] * 20 + [429]
        assert left(client.get("/v1/tags")) == 299, "reads have their own"


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_a_bad_token_with_a_large_batch_is_counted_too(proxy: Proxy, framing: str) -> None:
    body = b" " * 70_000
    content: bytes | Iterator[bytes] = body if framing == "length" else iter([body])
    with proxy.client("127.0.0.14" if framing == "length" else "127.0.0.15") as client:
        fields = {"Authorization": "Bearer x", "Content-Type": "application/json"}
        response = client.post("/v1/products:batch", content=content, headers=fields)
    must_be_problem(response, 401, "unauthenticated")
    assert re.fullmatch(r'"writes";r=19;t=\d+', response.headers["RateLimit"])


# --- origins


def cors(response: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in response.headers.items() if name.startswith("access-control-")}


def preflight(client: httpx.Client, path: str, origin: str, method: str = "PUT") -> httpx.Response:
    asked = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": "authorization"}
    return client.options(path, headers={"Origin": origin, **asked})


def test_a_listed_origin_is_answered_before_it_asks(proxy: Proxy) -> None:
    with proxy.client("127.0.0.10") as client:
        response = preflight(client, "/v1/cart/items/x", ORIGIN)
    assert response.status_code == 204 and response.headers["Vary"] == "Origin"
    fields = cors(response)
    may_be_sent = fields.pop("access-control-allow-headers").split(", ")
    assert may_be_sent[:3] == ["Authorization", "Content-Type", "Idempotency-Key"]
    assert fields == {
        "access-control-allow-origin": ORIGIN,
        "access-control-allow-methods": "PUT, DELETE",
        "access-control-max-age": "600",
    }


def varies_by_origin(answer: httpx.Response) -> bool:
    return "Origin" in answer.headers["Vary"].split(", ")


def test_a_listed_origin_may_read_answers_and_problems(proxy: Proxy) -> None:
    with proxy.client("127.0.0.11") as client:
        for path, status in (("/v1/categories", 200), ("/v1/cart", 401), ("/v1/nothing", 404), ("/v1/%2e%2e", 400)):
            response = client.get(path, headers={"Origin": ORIGIN})
            assert response.status_code == status and varies_by_origin(response)
            assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
            exposed = response.headers["Access-Control-Expose-Headers"].split(", ")
            assert {"Location", "ETag", "Link", "Retry-After", "Consistency-Token", "RateLimit"} <= set(exposed)
            assert "Access-Control-Allow-Credentials" not in response.headers


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://shop.example", f"{ORIGIN}.evil.example"])
def test_other_origins_get_nothing(proxy: Proxy, origin: str) -> None:
    with proxy.client("127.0.0.12") as client:
        read = client.get("/v1/categories", headers={"Origin": origin})
        answers = [read, preflight(client, "/v1/cart", origin, "GET")]
    assert [answer.status_code for answer in answers] == [200, 405]
    assert [cors(answer) for answer in answers] == [{}, {}]
    assert all(varies_by_origin(answer) for answer in answers), "caches must keep them apart"


# --- slowness and absence


def drip(proxy: Proxy) -> bytes:
    """Sends a body a byte at a time until it is answered."""
    head = b"POST /v1/auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    data = b""
    with proxy.connect() as connection:
        connection.sendall(head + b"Content-Length: 60000\r\n\r\n" + b" " * 20_000)
        connection.settimeout(0.25)
        begin = time.monotonic()
        while time.monotonic() - begin < 20:
            try:
                chunk = connection.recv(65536)
            except TimeoutError:
                connection.sendall(b" ")
                continue
            except ConnectionError:  # a byte met the end of the connection, behind the answer
                break
            if not chunk:
                break
            data += chunk
    return data


def answering(servers: Stack) -> int:
    """How many requests the edge is at."""
    metrics = servers.admin("edge", "/metrics").text.splitlines()
    return next(int(float(line.split()[1])) for line in metrics if line.startswith("http_server_active_requests "))


def test_clients_that_drip_hold_no_thread_of_the_edge(servers: Stack, proxy: Proxy) -> None:
    with ThreadPoolExecutor(24) as pool, proxy.client("127.0.0.13") as client:
        slow = [pool.submit(drip, proxy) for _ in range(24)]  # three times as many as the edge has threads
        time.sleep(1)
        assert answering(servers) < int(SETTINGS["TW_REQUEST_THREADS"])
        for _ in range(20):
            assert client.get("/v1/tags").status_code == 200
        answers = [each.result() for each in slow]
    for answer in answers:
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 408 ") and b"application/problem+json" in head, answer
        assert json.loads(body)["code"] == "request-timeout"


def test_while_the_edge_is_away_the_proxy_says_so(servers: Stack, proxy: Proxy) -> None:
    servers.stop("edge")
    with proxy.client() as client:
        response = client.get("/v1/tags")
        must_be_problem(response, 503, "unavailable")
        assert response.headers["Retry-After"] == "1"
        servers.start("edge", settings=SETTINGS)
        wait_until("the proxy has seen it", lambda: client.get("/v1/tags").status_code == 200)


# --- what the edge gets to see


@dataclass
class Listener:
    """Stands in for an edge: keeps the heads it gets, and closes without an answer; a stream gets its first event, and
    whoever waits for a command goes on waiting."""

    heads: list[bytes] = field(default_factory=list)
    waiting: list[socket.socket] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=WAIT_SLOTS)
        self.port: int = self.socket.getsockname()[1]
        self.stream: socket.socket | None = None
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head and (chunk := connection.recv(65536)):
            head += chunk
        if head.startswith(b"GET /readyz"):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        elif head.startswith(b"GET /v1/events"):
            fields = b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
            self.stream = connection  # before whoever reads the first event looks for it
            connection.sendall(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n9\r\ndata: 1\n\n\r\n")
            return
        elif head.startswith(b"GET /v1/commands/"):
            self.waiting.append(connection)
            return
        else:
            self.heads.append(head)
        connection.close()


@pytest.fixture
def listener(servers: Stack, certificate: Path) -> Iterator[tuple[Listener, Proxy]]:
    listener = Listener()
    port = port_above(servers, LISTENERS_PROXY_PORT)
    proxy = start_proxy(port, certificate, f"127.0.0.1:{listener.port}", listener.port)
    try:
        wait_until("the proxy serves", lambda: status_of(proxy) == 502)
        listener.heads.clear()
        yield listener, proxy
    finally:
        stop_proxy(proxy)
        listener.socket.close()


def test_a_write_is_sent_once_and_the_edge_sees_one_forwarded_address(listener: tuple[Listener, Proxy]) -> None:
    heads, proxy = listener[0].heads, listener[1]
    lies = {"X-Forwarded-For": "203.0.113.1", "X-Forwarded-Host": "evil.example", "Forwarded": "for=203.0.113.1"}
    with proxy.client("127.0.0.2") as client:
        must_be_problem(client.post("/v1/cart/items", json={}, headers=lies), 502, "no-answer")
        assert len(heads) == 1, "whether it had an effect is not known, so it is not sent again"
        forwarded = [line.lower() for line in heads[0].decode().split("\r\n") if "forwarded" in line.lower()]
        assert forwarded == ["x-forwarded-for: 127.0.0.2", "x-forwarded-proto: https"]
    heads.clear()
    with proxy.client() as client:  # on a connection that has served one, HAProxy closes instead of answering
        assert client.get("/v1/tags").status_code == 502 and len(heads) == 2, "a read is tried once more"


def test_events_come_through_one_by_one(listener: tuple[Listener, Proxy]) -> None:
    with listener[1].client() as client, client.stream("GET", "/v1/events") as response:
        lines = response.iter_lines()
        assert next(lines) == "data: 1"
        connection = listener[0].stream
        assert connection is not None
        connection.sendall(b"9\r\ndata: 2\n\n\r\n")
        assert next(line for line in lines if line) == "data: 2"
        connection.sendall(b"0\r\n\r\n")
        assert not [line for line in lines if line]
        connection.close()


def begin_to_wait(proxy: Proxy) -> ssl.SSLSocket:
    connection = proxy.connect()
    connection.sendall(b"GET /v1/commands/x HTTP/1.1\r\nHost: localhost\r\nPrefer: wait=10\r\n\r\n")
    return connection


def test_as_many_as_the_edge_has_slots_wait_and_another_is_served(listener: tuple[Listener, Proxy]) -> None:
    edge, proxy = listener
    with ThreadPoolExecutor(8) as pool:
        waiting = list(pool.map(lambda _: begin_to_wait(proxy), range(WAIT_SLOTS)))
    wait_until("all of them have come through", lambda: len(edge.waiting) == WAIT_SLOTS)
    with proxy.client() as client:
        assert client.get("/v1/tags").status_code == 502 and edge.heads, "it was asked"
    for connection in [*edge.waiting, *waiting]:
        connection.close()
