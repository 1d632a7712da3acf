"""The programs under test, started as processes of the test itself so that a crash shows its exit code. The servers
belong to `./dev`; pidfiles are written in its form, so that `./dev down` also finds a program a test left behind."""

import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import httpx

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ("member", "product", "cart", "edge")
WORKERS = ("member", "product", "cart")
FAILPOINT_EXIT = 86
T = TypeVar("T")

NO_TLS = False  # httpx would read all the certificates there are, which takes ten times as long as asking

# A thread under the sanitizers takes some 150 KiB, and no test needs the thousands that deployments have.
SMALL = {"TW_IDLE_CONNECTIONS": "64", "TW_WAIT_SLOTS": "256", "TW_STREAM_SLOTS": "128"}

# Of the test runner, not for programs; addresses of its contract tests must not look like servers somebody gave.
NOT_OURS = ("TW_KAFKA", "TW_POSTGRES_URI", "TW_MONGO_URI", "TW_REDIS_URI")


def wait_until(what: str, question: Callable[[], T], timeout_s: float = 20, every_s: float = 0.05) -> T:
    """The first answer that is true; an AssertionError that names `what` when there is none in time."""
    deadline = time.monotonic() + timeout_s
    while True:
        answer = question()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {timeout_s:.0f} s: {what} (last answer: {answer!r})"
        time.sleep(every_s)


def _fields(pid: int) -> list[str]:
    """Of /proc/PID/stat, from the third on."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()


def _start_time(pid: int) -> str:
    """Field 22, by which ./dev tells a process from a later one with its pid."""
    return _fields(pid)[19]


class Stack:
    def __init__(self, state: Path) -> None:
        self.state = state
        self.logs = state / "logs"
        self.environment = self._read_environment()
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._log_start: dict[str, int] = {}
        self._environments: dict[str, dict[str, str]] = {}
        self._stopped: set[str] = set()  # servers
        self._paused: set[str] = set()

    # --- ./dev

    def dev(self, *words: str, timeout_s: float = 120) -> str:
        """Runs ./dev on this stack; returns what it printed."""
        environment = {name: value for name, value in os.environ.items() if name not in NOT_OURS}
        done = subprocess.run(
            [ROOT / "dev", *words], env=environment, capture_output=True, text=True, timeout=timeout_s
        )
        assert done.returncode == 0, f"./dev {' '.join(words)}: {done.stdout}{done.stderr}"
        return done.stdout

    def twctl(self, *words: str) -> str:
        return self.dev("twctl", *words)

    def _read_environment(self, *program: str) -> dict[str, str]:
        lines = self.dev("env", *program).splitlines()
        return dict(shlex.split(line)[1].split("=", 1) for line in lines)

    def _environment_of(self, name: str) -> dict[str, str]:
        if name not in self._environments:
            self._environments[name] = self._read_environment(name)
        return self._environments[name]

    def stop_server(self, name: str) -> None:
        self._stopped.add(name)
        self.dev("stop", name)

    def kill_server(self, name: str) -> None:
        self._stopped.add(name)
        self.dev("stop", name, "--kill")

    def pause_server(self, name: str) -> None:
        self._paused.add(name)
        self.dev("stop", name, "--pause")

    def resume_server(self, name: str) -> None:
        self.dev("stop", name, "--resume")
        self._paused.discard(name)

    def server_runs(self, name: str) -> bool:
        """It may have ended by itself."""
        pid, started = (self.state / "run" / f"{name}.pid").read_text(encoding="utf-8").split()
        try:
            return _start_time(int(pid)) == started and _fields(int(pid))[0] not in "ZX"
        except FileNotFoundError:
            return False

    def start_server(self, name: str) -> None:
        self.dev("start", name)
        self._stopped.discard(name)

    # --- programs

    def start(
        self,
        *names: str,
        fail: str = "",
        settings: dict[str, str] | None = None,
        ready: bool = True,
        launcher: Sequence[str | Path] = (),
    ) -> None:
        """Starts them side by side and waits until they are ready. `fail`: TW_FAIL of the failpoint builds; `launcher`:
        a program that makes itself into the one behind it."""
        for name in names:
            self._spawn(name, {**(settings or {}), **({"TW_FAIL": fail} if fail else {})}, launcher)
        if ready:
            for name in names:
                self.wait_ready(name)

    def _spawn(self, name: str, settings: dict[str, str], launcher: Sequence[str | Path] = ()) -> None:
        assert not self.is_running(name), f"{name} runs already"
        kind = name.rstrip("0123456789")
        plain = {key: value for key, value in os.environ.items() if not key.startswith("TW_")}
        log = self.logs / f"{name}.log"
        with log.open("ab") as out:
            self._log_start[name] = out.tell()
            process = subprocess.Popen(
                [*launcher, Path(os.environ["TW_BIN_DIR"]) / f"tillwire-{kind}"],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                env={**plain, **SMALL, **self._environment_of(name), **settings},
            )
        self._running[name] = process
        (self.state / "run" / f"{name}.pid").write_text(f"{process.pid} {_start_time(process.pid)}\n")

    def is_running(self, name: str) -> bool:
        return name in self._running and self._running[name].poll() is None

    def pids(self) -> dict[str, int]:
        """Of the programs that run."""
        return {name: process.pid for name, process in self._running.items() if process.poll() is None}

    def url(self, edge: str) -> str:
        return f"http://{self._environment_of(edge)['TW_LISTEN']}"

    def admin(self, name: str, path: str) -> httpx.Response:
        address = self._environment_of(name)["TW_ADMIN_LISTEN"]
        return httpx.get(f"http://{address}{path}", timeout=5, verify=NO_TLS)

    def partitions_of(self, name: str) -> int:
        """How many of its domain's command partitions this worker owns; none while it does not listen yet."""
        if not self.is_listening(name):
            return 0
        for line in self.admin(name, "/metrics").text.splitlines():
            if line.startswith("tillwire_partitions "):
                return int(float(line.split()[1]))
        return 0

    def is_listening(self, name: str) -> bool:
        """Its admin port answers, whatever it says."""
        try:
            return bool(self.admin(name, "/healthz").status_code)
        except httpx.TransportError:
            return False

    def is_ready(self, name: str) -> bool:
        try:
            return self.admin(name, "/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def wait_ready(self, name: str, timeout_s: float = 40) -> None:
        def answer() -> bool:
            assert self.is_running(
                name
            ), f"{name} ended with {self._running[name].returncode}:\n{self.log(name)[-2000:]}"
            return self.is_ready(name)

        wait_until(f"{name} is ready", answer, timeout_s)

    def log(self, name: str) -> str:
        """What it wrote since it was last started."""
        with (self.logs / f"{name}.log").open("rb") as file:
            file.seek(self._log_start.get(name, 0))
            return file.read().decode("utf-8", "replace")

    def signal(self, name: str, number: signal.Signals) -> None:
        self._running[name].send_signal(number)

    def reload(self, name: str, word: str = "settings were read anew") -> None:
        """SIGHUP, and until the log says so."""
        before = self.log(name).count(word)
        self.signal(name, signal.SIGHUP)
        wait_until(f"the log of {name} tells {word}", lambda: self.log(name).count(word) > before)

    def wait_exit(self, name: str, timeout_s: float = 60) -> int:
        """Its exit code, negative for a signal."""
        try:
            code = self._running[name].wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"{name} did not end within {timeout_s:.0f} s") from error
        (self.state / "run" / f"{name}.pid").unlink(missing_ok=True)
        return code

    def kill(self, name: str) -> None:
        self.signal(name, signal.SIGKILL)
        assert self.wait_exit(name) == -signal.SIGKILL

    def stop(self, *names: str) -> None:
        """SIGTERM; they must end with 0, which a sanitizer's complaint prevents."""
        for name in names:
            self.signal(name, signal.SIGTERM)
        for name in names:
            code = self.wait_exit(name)
            assert code == 0, f"{name} ended with {code}:\n{self.log(name)[-4000:]}"

    def end(self) -> None:
        """Stops all that still runs."""
        self.stop(*(name for name in reversed(self._running) if self.is_running(name)))

    def abandon(self) -> None:
        """Ends all that still runs, also what hangs, and says nothing of how it ended."""
        for process in self._running.values():
            if process.poll() is None:
                process.kill()
                process.wait()

    def heal_servers(self) -> None:
        for name in list(self._paused):
            self.resume_server(name)
        for name in list(self._stopped):
            self.start_server(name)

    def heal(self) -> None:
        """After a test: servers and programs run as before it, whatever it did to them."""
        self.heal_servers()
        for name in list(self._running):
            if name not in PROGRAMS and self.is_running(name):
                self.stop(name)
        for name in PROGRAMS:
            if not self.is_running(name):
                self._spawn(name, {})
        for name in PROGRAMS:
            self.wait_ready(name)
