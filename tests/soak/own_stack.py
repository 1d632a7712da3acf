"""A stack of servers of our own: a state folder and ports that nobody else has, and nothing left behind."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

from stack import NOT_OURS, ROOT, Stack
from throwaway import free_base_port, state_folder

BUILD = ROOT / "build" / "release"


def build() -> Path:
    """The folder of the programs that are deployed."""
    print(f"building {BUILD}", flush=True)
    for words in (["cmake", "--preset", "release"], ["cmake", "--build", BUILD, "-j2"]):
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{' '.join(map(str, words))} failed:\n{done.stdout[-4000:]}{done.stderr}")
    return BUILD / "bin"


class OwnStack:
    """`with OwnStack(programs) as stack`: the servers run, schemas and topics are applied, no program runs."""

    def __init__(self, programs: Path) -> None:
        self.state = state_folder("soak")
        for name in (*NOT_OURS, "TW_SEED"):
            os.environ.pop(name, None)
        os.environ.update(TW_STATE_DIR=str(self.state), TW_BASE_PORT=str(free_base_port()), TW_BIN_DIR=str(programs))
        self.stack: Stack | None = None
        self.keeps_logs = False  # for whoever finds that a promise was broken

    def _dev(self, *words: str) -> None:
        done = subprocess.run([ROOT / "dev", *words], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"./dev {' '.join(words)}: {done.stdout}{done.stderr}")

    def __enter__(self) -> Stack:
        began = time.monotonic()
        try:
            self._dev("servers")
            self._dev("twctl", "schema", "apply")
            self._dev("twctl", "topics", "apply")
            self.stack = Stack(self.state)
        except BaseException:
            self._leave(keep=False)
            raise
        print(f"servers on ports from {os.environ['TW_BASE_PORT']} ({time.monotonic() - began:.0f} s)", flush=True)
        return self.stack

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Logs of a run that failed stay, and are named."""
        self._leave(keep=self.keeps_logs or (kind is not None and kind is not SystemExit))

    def _leave(self, keep: bool) -> None:
        try:
            if self.stack:
                self.stack.abandon()
            self._dev("down")
        finally:
            if keep:
                shutil.rmtree(self.state / "data", ignore_errors=True)
                print(f"logs are in {self.state / 'logs'}", flush=True)
            else:
                shutil.rmtree(self.state, ignore_errors=True)
