"""A real browser, Debian's Chromium without a window: what a page looks like to it, and what it complains about."""

import re
import subprocess
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars")
CONSOLE = re.compile(r"CONSOLE[(:]\S*\] (.*)")


@dataclass
class Page:
    ids: set[str]  # of all elements
    hidden: set[str]  # classes of elements that are hidden
    links: set[str]  # within the page, without the #
    landmarks: set[str]
    levels: list[int]  # of headings, in order
    complaints: list[str]  # of the console: scripts that failed, policies that were hurt


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.page = Page(set(), set(), set(), set(), [], [])

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        have = dict(attrs)
        if have.get("id"):
            self.page.ids.add(have["id"] or "")
        if "hidden" in have:
            self.page.hidden.add(have.get("class") or "")
        if (have.get("href") or "").startswith("#"):
            self.page.links.add((have["href"] or "")[1:])
        if tag in ("header", "nav", "main"):
            self.page.landmarks.add(tag)
        if re.fullmatch("h[1-6]", tag):
            self.page.levels.append(int(tag[1]))


def _run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = ["chromium", *OPTIONS, f"--user-data-dir={folder}/browser", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return done


def look_at(url: str, folder: Path) -> Page:
    """After its scripts have run."""
    done = _run(folder, "--enable-logging=stderr", "--virtual-time-budget=3000", "--dump-dom", url)
    reader = _Reader()
    reader.feed(done.stdout)
    reader.page.complaints = CONSOLE.findall(done.stderr)
    return reader.page


def photograph(url: str, folder: Path, width: int, height: int) -> bytes:
    """A PNG."""
    path = folder / "page.png"
    _run(folder, f"--window-size={width},{height}", "--virtual-time-budget=3000", f"--screenshot={path}", url)
    return path.read_bytes()
