"""wrk as a crowd of clients that view products."""

import subprocess
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent


@dataclass
class Answers:
    """Of one run of wrk."""

    seconds: float = 0
    p50_ms: float = 0
    p99_ms: float = 0
    ended_at: float = 0  # by the monotonic clock
    broken: int = 0  # connections that failed, and answers that took too long
    command_ids: list[str] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    without_retry_after: Counter[int] = field(default_factory=Counter)

    @property
    def accepted_per_second(self) -> float:
        return len(self.command_ids) / self.seconds

    def waited_ms(self, told_ms: float, clients: int) -> float:
        """wrk knows of answers alone. With fewer of them than clients somebody waited as long as all of it lasted."""
        return told_ms if self.statuses.total() >= clients else max(told_ms, self.seconds * 1000)

    def take(self, lines: Iterable[str]) -> None:
        for line in lines:
            status, told = line.split()
            self.statuses[int(status)] += 1
            if status == "202":
                self.command_ids.append(told)
            elif told == "-":
                self.without_retry_after[int(status)] += 1


class Crowd:
    """Begins at once; `answers()` waits for its end. `pause_ms`: how long each client rests before each request."""

    def __init__(
        self, folder: Path, url: str, products: list[str], connections: int, seconds: float, pause_ms: int = 0
    ) -> None:
        ids = folder / "product-ids"
        ids.write_text("".join(f"{product}\n" for product in products), encoding="utf-8")
        self._out = folder / "answers"
        for old in folder.glob("answers.*"):
            old.unlink()
        words = ["wrk", f"-t{min(2, connections)}", f"-c{connections}", f"-d{seconds:.0f}s", "--timeout", "15s"]
        words += ["-s", str(HERE / "views.lua"), url, "--", str(ids), str(self._out)]
        words += [str(pause_ms)] if pause_ms else []
        self._process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)

    def answers(self) -> Answers:
        said, _ = self._process.communicate()
        ended_at = time.monotonic()
        assert self._process.returncode == 0, f"wrk ended with {self._process.returncode}: {said}"
        told = {name: int(value) for name, value in (word.split("=") for word in said.splitlines()[-1].split())}
        answers = Answers(told["duration"] / 1e6, told["p50"] / 1e3, told["p99"] / 1e3, ended_at)
        answers.broken = sum(told[name] for name in ("connect", "read", "write", "timeout"))
        for file in sorted(self._out.parent.glob("answers.*")):
            with file.open(encoding="ascii") as lines:
                answers.take(lines)
            file.unlink()
        return answers

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
