"""How long the machine itself lets wait: a token through processes that do next to nothing. What else runs here delays
it as it delays a request, which goes through as many threads."""

import os
import time

HOPS = 4
WORK = range(2000)  # some 40 µs


def _pass_on(source: int, target: int) -> None:
    while token := os.read(source, 1):
        sum(WORK)
        os.write(target, token)


class Ring:
    """`with Ring() as ring`: the processes run."""

    def __enter__(self) -> "Ring":
        self._pids: list[int] = []
        self._out, self._in = os.pipe()
        for _ in range(HOPS):
            self._add()
        return self

    def _add(self) -> None:
        """One more process behind the others; it ends when what it reads has ended."""
        out, target = os.pipe()
        pid = os.fork()
        if not pid:
            try:
                os.close(self._in)
                _pass_on(self._out, target)
            finally:
                os._exit(0)
        self._pids.append(pid)
        os.close(self._out)
        os.close(target)
        self._out = out

    def lap_ms(self) -> float:
        began = time.monotonic()
        os.write(self._in, b".")
        os.read(self._out, 1)
        return (time.monotonic() - began) * 1000

    def __exit__(self, *_: object) -> None:
        os.close(self._in)
        os.close(self._out)
        for pid in self._pids:
            os.waitpid(pid, 0)
