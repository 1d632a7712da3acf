"""Connections that are slow, narrow, silent or cut: Shopify's toxiproxy between a program and its store, or the broker."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx

from stack import ROOT, wait_until

BOTH = ("upstream", "downstream")
PROXY_PORT, PROXIED_PORT = 5, 6  # above the broker's own; see docker/local/ports.sh


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Proxy:
    """One way through; its toxics can be changed while connections are open."""

    def __init__(self, control: httpx.Client, log: Path, name: str, uri: str, listen: str, upstream: str) -> None:
        """`uri`: for whoever is to go through it."""
        self._control, self._log, self._name, self._path, self.uri = control, log, name, f"/proxies/{name}", uri
        self._ask("POST", "/proxies", {"name": name, "listen": listen, "upstream": upstream})

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        answer = self._control.request(method, path, json=body)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def add(self, kind: str, *streams: str, **attributes: int) -> None:
        """`upstream`: what the program sends; `downstream`: what it is answered."""
        for stream in streams or BOTH:
            body = {"name": f"{kind} {stream}", "type": kind, "stream": stream, "attributes": attributes}
            self._ask("POST", f"{self._path}/toxics", body)

    def heal(self) -> None:
        for toxic in self._ask("GET", f"{self._path}/toxics"):
            self._ask("DELETE", f"{self._path}/toxics/{toxic['name']}")

    def cut(self) -> None:
        """Every connection ends; new ones are taken."""
        for enabled in (False, True):
            self._ask("POST", self._path, {"enabled": enabled})

    def accepted(self) -> int:
        """Connections so far. Whoever keeps theirs open makes another one only when it was cut."""
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        return sum(f'"name":"{self._name}"' in line and '"Accepted client"' in line for line in lines)


class Toxiproxy:
    def __init__(self, control: httpx.Client, log: Path) -> None:
        self._control = control
        self._log = log

    def proxy(self, name: str, uri: str) -> Proxy:
        """A new one in front of the server that the URI names."""
        parts, port = urlsplit(uri), free_port()
        through = urlunsplit(parts._replace(netloc=parts.netloc.replace(f":{parts.port}", f":{port}")))
        return self._new(name, through, f"127.0.0.1:{port}", f"{parts.hostname}:{parts.port}")

    def broker(self, brokers: str) -> Proxy:
        """In front of the stack's broker, which tells whoever comes through where it is (docker/local/kafka.sh)."""
        host, port = brokers.split(":")
        listen, upstream = (f"{host}:{int(port) + further}" for further in (PROXY_PORT, PROXIED_PORT))
        return self._new("kafka", listen, listen, upstream)

    def _new(self, name: str, *where: str) -> Proxy:
        self._control.delete(f"/proxies/{name}")
        return Proxy(self._control, self._log, name, *where)


@contextmanager
def running_toxiproxy(logs: Path) -> Iterator[Toxiproxy]:
    built = subprocess.run([ROOT / "tests/toxiproxy/build"], capture_output=True, text=True, check=False)
    assert built.returncode == 0, f"toxiproxy was not built: {built.stderr}"
    port = free_port()
    log = logs / "toxiproxy.log"
    with log.open("ab") as out:
        process = subprocess.Popen([built.stdout.strip(), "-port", str(port)], stdout=out, stderr=out)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as control:
            wait_until("toxiproxy listens", lambda: _is_up(control))
            yield Toxiproxy(control, log)
    finally:
        process.terminate()
        process.wait(10)


def _is_up(control: httpx.Client) -> bool:
    try:
        return control.get("/version").is_success
    except httpx.TransportError:
        return False
