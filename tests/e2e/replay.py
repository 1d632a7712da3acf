"""`twctl verify`, `rebuild` and `snapshot` as an operator gives them, what they say, and a shop to give them in."""

import fcntl
import os
import re
import signal
import struct
import subprocess
import termios
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx

import reprices
import test_poison
from client import Client, MixedLoad, some_email, some_password
from fold import Fold
from messages import TOPICS
from stack import Stack, wait_until
from stores import Stores
from topics import Topics

DOMAINS = ("member", "product", "cart")
DONE, REFUSED, USAGE, UNREACHED = range(4)
F_SETPIPE_SZ = 1031
PIPE_BYTES = 4096
PAUSE_S = 0.03  # between two writes: the log is folded again and again


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str

    def __str__(self) -> str:
        return f"ended with {self.code}\n{self.out}{self.err}"

    def must_be(self, code: int) -> "Said":
        assert self.code == code, str(self)
        return self

    def _found(self, pattern: str) -> str:
        found = re.search(pattern, self.out, re.MULTILINE)
        assert found, f"no {pattern!r} in: {self}"
        return found[1]

    @property
    def hash(self) -> str:
        return self._found(r"sha256 ([0-9a-f]{64})\b")

    @property
    def watermarks(self) -> list[int]:
        return [int(word) for word in self._found(r": watermarks ([\d ]+)$").split()]

    @property
    def compared(self) -> int:
        """Aggregates and remembered commands of which the log says the same."""
        return int(self._found(r"the log says the same of all (\d+)$"))


def _environment(stack: Stack, more: dict[str, str]) -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("TW_")}
    return {**plain, **stack.environment, **more}


def begin(
    stack: Stack, *words: str, prepare: Callable[[], None] | None = None, **environment: str
) -> "subprocess.Popen[str]":
    """In a process group of its own: a terminal's interrupt goes to all of a group."""
    return subprocess.Popen(
        [Path(os.environ["TW_BIN_DIR"]) / "twctl", *words],
        env=_environment(stack, environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=prepare,
    )


def end(process: "subprocess.Popen[str]", timeout_s: float = 120) -> Said:
    try:
        out, err = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired as error:
        os.killpg(process.pid, signal.SIGKILL)
        raise AssertionError(f"twctl did not end within {timeout_s:.0f} s: {process.communicate()}") from error
    assert "Sanitizer" not in err, err
    return Said(process.returncode, out, err)


def twctl(stack: Stack, *words: str, prepare: Callable[[], None] | None = None, **environment: str) -> Said:
    return end(begin(stack, *words, prepare=prepare, **environment))


def verify(stack: Stack, domain: str, *words: str, **environment: str) -> Said:
    return twctl(stack, "verify", domain, *words, prepare=None, **environment)


def agrees(stack: Stack, domain: str, *words: str) -> Said:
    """The log says the same of all of it."""
    return verify(stack, domain, "--against-log", *words).must_be(DONE)


def rebuild(stack: Stack, domain: str, *words: str, **environment: str) -> Said:
    return twctl(stack, "rebuild", domain, *words, prepare=None, **environment)


def drop(stack: Stack, *domains: str) -> None:
    """Shadows, and stores that were kept."""
    for domain in domains or DOMAINS:
        rebuild(stack, domain, "--drop").must_be(DONE)


# --- a verify that holds the store


@dataclass
class Holding:
    """It holds all partitions and waits for somebody to read its dump."""

    process: "subprocess.Popen[str]"
    pipe: int

    def interrupt(self, number: signal.Signals) -> None:
        os.killpg(self.process.pid, number)

    def drain(self) -> Said:
        """Lets it go on to its end."""
        reader = threading.Thread(target=self._read)
        reader.start()
        said = end(self.process)
        reader.join(20)
        return said

    def _read(self) -> None:
        while os.read(self.pipe, 65536):
            pass


def _bytes_in(pipe: int) -> int:
    return int(struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))[0])


@contextmanager
def holding(stack: Stack, domain: str, folder: Path) -> Iterator[Holding]:
    """A verify that stands still while it holds the store: its dump goes to a pipe that nobody reads, and is longer than
    that can take."""
    path = folder / f"{domain}.pipe"
    os.mkfifo(path)
    pipe = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # before somebody writes: what is in a pipe must fit
    fcntl.fcntl(pipe, F_SETPIPE_SZ, PIPE_BYTES)
    os.set_blocking(pipe, True)
    process = begin(stack, "verify", domain, "--dump", str(path))
    try:
        wait_until("it has begun to write what it reads", lambda: _bytes_in(pipe) == PIPE_BYTES)
        yield Holding(process, pipe)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        os.close(pipe)
        path.unlink()


# --- a shop


@dataclass(frozen=True)
class Shop:
    """What there is of each kind, with every field that may be absent, and poison in every log."""

    member: str  # whose cart has a line with a previous price
    caller: Client


def open_shop(stack: Stack, anyone: Client, merchant: Client, topics: Topics, fold: Fold, seed: int) -> Shop:
    load = MixedLoad(merchant, anyone, seed)
    for domain, count in {"member": 25, "product": 50, "cart": 50}.items():
        load.send(domain, count)
    account = anyone.new_member()
    caller = anyone.as_caller(account.access_token)
    assert caller.change_email(some_email(), account.password).status_code == 200
    assert caller.add_address(address_line2="Lantai 3").status_code == 201
    assert caller.write("PATCH", "/v1/members/me", {"phone_number": "+628123456789"}, wait=True).status_code == 200
    anyone.register(some_email(), some_password())
    stack.twctl("token", "issue", "--scope", "products:write", "--label", "import", "--name", f"replay-{uuid.uuid4()}")
    words = {"description": "Heavy cotton.", "tags": ["cotton"], "images": {"front": "https://cdn.example.com/f.jpg"}}
    product = merchant.new_product(discount_price="149.00", **words)
    assert caller.rate(product, 4).status_code in (200, 201)
    assert caller.add(product, 2).status_code == 200
    merchant.change_product(product, discount_price="99.00")
    wait_until("the cart's line follows its product", lambda: "previous_price" in caller.get("/v1/cart").text, 60)
    for domain in DOMAINS:
        topics.write(f"{domain}.commands", account.id.encode(), b"no message", test_poison.headers_of(), 0)
    for name in ("random bytes", "an unknown version", "another partitioner"):
        test_poison.write(topics, account.id, test_poison.poisons(account.id)[name])
    fold.drained()
    wait_until("policies have nothing more to say, also when they begin again", lambda: policies_rest(topics), 60)
    return Shop(account.id, caller)


def policies_rest(topics: Topics) -> bool:
    followed = (("tillwire-member-policy", "member"), (reprices.GROUP, "product"), (reprices.GROUP, "cart"))
    return all(reprices.is_told_to_the_end(topics, f"{domain}.events", group) for group, domain in followed)


def settle(stores: Stores) -> None:
    """Until every outbox is forgotten."""
    wait_until(
        "the outboxes are forgotten",
        lambda: not stores.rows("select 1 from tw_progress where outbox <> ''")
        and not list(stores.mongo["tw_progress"].find({"outbox": {"$nin": [None, b""]}}, {"_id": 1}))
        and all((stores.redis.strlen(f"tw:progress:{p}") or 33) == 33 for p in range(TOPICS["cart.commands"])),
        60,
    )


# --- traffic meanwhile


def accepted(response: httpx.Response) -> None:
    assert response.status_code == 202, response.text


def writes(anyone: Client, merchant: Client, product: str) -> list[Callable[[], Any]]:
    """A write of each domain, for as often as they are called; each must be accepted."""
    caller = anyone.new_caller()
    return [
        lambda: accepted(caller.write("PATCH", "/v1/members/me", {"full_name": "Ana"})),
        lambda: accepted(merchant.view(product)),
        lambda: accepted(caller.add(product, 1, wait=False)),
    ]


class Traffic:
    """Calls something again and again, in threads of its own, until it is told to stop; what failed is told then."""

    def __init__(self, *calls: Callable[[], object], pause_s: float = PAUSE_S) -> None:
        self._pause_s = pause_s
        self._stop = threading.Event()
        self._failures: list[str] = []
        self.counts = [0] * len(calls)
        self._threads = [threading.Thread(target=self._run, args=(i, call)) for i, call in enumerate(calls)]

    def _run(self, which: int, call: Callable[[], object]) -> None:
        while not self._stop.is_set():
            try:
                call()
                self.counts[which] += 1
                self._stop.wait(self._pause_s)
            except (AssertionError, httpx.HTTPError) as error:
                self._failures.append(f"{type(error).__name__}: {error}")
                return

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
        if kind is None:
            assert not self._failures, self._failures
            assert all(self.counts), f"some of it never came: {self.counts}"
