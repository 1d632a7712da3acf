"""The report of a run, in Markdown, with figures as measured; and what of it broke a promise."""

import os
import time
from collections.abc import Iterable
from statistics import median


def machine() -> str:
    return f"{os.cpu_count()} cores, {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') >> 30} GiB"


class Paper:
    def __init__(self, title: str) -> None:
        self._lines = [f"# {title}", "", f"On {machine()}, {time.strftime('%Y-%m-%d %H:%M')}."]
        self._told: list[str] = []
        self.broken: list[str] = []

    def heading(self, text: str) -> None:
        self._lines += ["", f"## {text}", ""]

    def line(self, text: str, told: bool = False) -> None:
        """`told`: also in the report of `./dev test --all`."""
        self._lines.append(text)
        print(text, flush=True)
        if told:
            self._told.append(text)

    def table(self, head: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
        names = list(head)
        self._lines += ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
        self._lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]

    def promise(self, text: str, kept: bool) -> None:
        """A sentence that is true, or the run has failed."""
        self.line(f"- {'kept' if kept else '**BROKEN**'}: {text}", told=True)
        if not kept:
            self.broken.append(text)

    def text(self) -> str:
        verdict = "; ".join(self.broken) if self.broken else "all promises were kept"
        return "\n".join([*self._lines, "", f"Verdict: {verdict}."]) + "\n"

    def tell(self) -> None:
        """As tests/all wants to hear it."""
        if path := os.environ.get("TW_REPORT"):
            with open(path, "a", encoding="utf-8") as file:
                file.writelines(line + "\n" for line in self._told)


def percentile(values: Iterable[float], share: float) -> float:
    """The smallest value that so many of all are not above."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * int(share * 1000) // 1000) - 1)]


def growth(values: list[float]) -> float:
    """From the median of the first third to that of the last: what is left when noise and peaks are gone."""
    third = max(1, len(values) // 3)
    return median(values[-third:]) - median(values[:third])
