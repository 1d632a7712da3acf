"""The throw-away stack a bench runs on: a state folder and ports of its own, everything stopped at the end."""

import hashlib
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests" / "lib"))

from throwaway import free_base_port, state_folder  # noqa: E402

PEER_PORT = 90  # the peers' ports begin here, above everything of ./dev
SETTINGS = ("TW_KAFKA", "TW_POSTGRES_URI", "TW_MONGO_URI", "TW_REDIS_URI", "TW_BASE_PORT", "TW_BIN_DIR")
STARTED = time.monotonic()


class BenchError(Exception):
    """Something did not work; the text is the sentence for whoever runs the bench."""


def say(text: str) -> None:
    print(f"[{time.monotonic() - STARTED:4.0f}s] {text}", flush=True)


def run(*command: object, timeout_s: float = 300, **options: object) -> str:
    """Runs a command to its end; returns what it printed, or raises what it complained about."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=timeout_s, **options)
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"{Path(words[0]).name} did not end within {timeout_s:.0f} s") from error
    if done.returncode != 0:
        shown = " ".join(word for word in words[1:4] if "://" not in word)  # addresses hold passwords
        complaint = (done.stderr.strip() or done.stdout.strip())[-2000:]
        raise BenchError(f"{Path(words[0]).name} {shown} ended with {done.returncode}: {complaint}")
    return done.stdout


def numbers(text: str) -> dict[str, float]:
    """`name=value name=value` of the last line, as our programs print their results."""
    return {name: float(value) for name, value in (pair.split("=") for pair in text.split("\n")[-2].split())}


def product_id(sku: str) -> str:
    """As in include/tillwire/uuid.h."""
    digest = hashlib.sha256(b"tillwire/product/v1\0" + sku.encode()).hexdigest()
    text = digest[:12] + "8ca7a109" + digest[12:24]
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


class Process:
    """A peer or a floor, stopped when its `with` ends."""

    def __init__(self, log: Path, *command: object, env: dict[str, str] | None = None) -> None:
        self.command = [str(word) for word in command]
        self.log = log
        self.environment = env

    def __enter__(self) -> "Process":
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                            env=self.environment)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def wait_port(self, port: int, timeout_s: float = 20) -> None:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and self.process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.05)
        raise BenchError(f"{Path(self.command[0]).name} does not listen on {port}: {self.log.read_text()[-500:]}")


class Stack:
    """`with Stack(build, partitions) as stack`: servers are up, schemas and topics applied, no program runs."""

    def __init__(self, build: Path, partitions: int) -> None:
        self.bin = build / "bin"
        self.partitions = partitions
        self.state = state_folder("bench")
        self.peers = self.state / "peers"
        self.base_port = free_base_port()
        self.environment = {
            **{name: value for name, value in os.environ.items() if name not in SETTINGS},
            "TW_STATE_DIR": str(self.state), "TW_BASE_PORT": str(self.base_port), "TW_BIN_DIR": str(self.bin),
            "TW_JARS_DIR": os.environ.get("TW_JARS_DIR", str(ROOT / ".local" / "jars")), "TW_RATE_LIMITS": "off",
            "TW_STORE_TIMEOUT_MS": "60000",  # a busy machine is slow, and a batch whose answer is lost cannot be counted
            "TW_HANG_TIMEOUT_S": "300",  # more than four such waits
        }
        self.settings: dict[str, str] = {}

    def __enter__(self) -> "Stack":
        try:
            say(f"starting the servers of a stack with {self.partitions} partitions on ports from {self.base_port}")
            self.dev("servers")
            self.settings = self._read_settings()
            self.dev("twctl", "schema", "apply")
            self.dev("twctl", "topics", "apply")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.dev("down")
        except BenchError as error:
            print(error, file=sys.stderr)
        shutil.rmtree(self.state, ignore_errors=True)

    def dev(self, *words: str) -> str:
        return run(ROOT / "dev", *words, env=self.environment, cwd=ROOT)

    def _read_settings(self) -> dict[str, str]:
        return dict(shlex.split(line)[1].split("=", 1) for line in self.dev("env").splitlines())

    def spawn(self, name: str) -> subprocess.Popen:
        """`./dev start NAME` without waiting for it."""
        return subprocess.Popen([ROOT / "dev", "start", name], env=self.environment, cwd=ROOT,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def port(self, offset: int) -> int:
        return self.base_port + offset

    def log(self, name: str) -> Path:
        return self.state / "logs" / f"{name}.log"

    # --- our own tools

    def tool(self, name: str, *words: object) -> str:
        return run(self.bin / name, *words, env={**self.environment, **self.settings})

    def load(self, what: str, round_: int, count: int) -> None:
        self.tool("bench_load", self.settings["TW_KAFKA"], what, round_, count)

    def ends(self, topic: str) -> list[int]:
        """The next offset of each partition."""
        return [int(end) for end in self.tool("bench_load", self.settings["TW_KAFKA"], "ends", topic).split(",")]


def read_metric(port: int, name: str) -> dict[str, int]:
    """Labels -> value of a counter on an admin port; empty when nobody answers yet."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            text = answer.read().decode()
    except OSError:
        return {}
    found = {}
    for line in text.splitlines():
        if line.startswith(name) and not line.startswith("#"):
            labels, _, value = line.removeprefix(name).rpartition(" ")
            found[labels] = int(float(value))
    return found
