"""Stores built anew from their logs, beside the worker that folded the same commands live, and what it takes in memory."""

import os
import re
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from stack import BenchError, Stack, numbers, run, say
from worker_rounds import CART, MEMBER, PRODUCTS, Domain, WorkerRounds

NEW_PRODUCTS = 20  # of so many commands one makes a product; the others are views of the catalogue
ROUND = 1000  # its members and carts are of no other round


@dataclass
class RebuildSample:
    live: float  # records a second
    rebuild: float  # records a second, of the whole command: fold, reading back, swap
    kbytes: int  # its largest resident memory
    plain: float = 0.0  # records a second at which the server takes the same documents, 0: not measured
    server_share: float = 0.0  # of the processor time of both while it is rebuilt, 0: not measured


@dataclass
class RebuildResults:
    samples: dict[str, list[RebuildSample]] = field(default_factory=dict)  # by domain


class RebuildRounds:
    def __init__(self, stack: Stack, workers: WorkerRounds, records: int) -> None:
        self.stack = stack
        self.workers = workers
        self.records = records
        self.results = RebuildResults()

    def measure(self, rounds: int) -> RebuildResults:
        for round_ in range(1, rounds + 1):
            for domain in (MEMBER, PRODUCTS[0], CART):
                sample = self._round(domain, round_)
                self.results.samples.setdefault(domain.name, []).append(sample)
                say(f"round {round_} of {rounds}, rebuild of {domain.name}: live {sample.live:,.0f}/s, rebuild "
                    f"{sample.rebuild:,.0f}/s in {sample.kbytes / 1024:,.0f} MiB"
                    + (f", plain writes {sample.plain:,.0f}/s, {sample.server_share:.0%} of the processor time the "
                       f"server's" if sample.plain else ""))
        return self.results

    def _round(self, domain: Domain, round_: int) -> RebuildSample:
        """The log of a domain grows from round to round, and a rebuild folds all of it."""
        say(f"writing {self.records:,} commands of {domain.name}")
        self._write(domain, ROUND + round_)
        live = self.workers.drain(domain, self.records)
        worker = self.stack.spawn(domain.name)  # a rebuild waits for its last events, as it would in real life
        worker.communicate(timeout=60)
        try:
            server_before = self._mongo_cpu_s()
            seconds, kbytes, ours = self._rebuild(domain.name)
            server = self._mongo_cpu_s() - server_before
            self._must_agree(domain.name)
        finally:
            self.stack.dev("stop", domain.name)
        records = sum(self.stack.ends(domain.topic))
        sample = RebuildSample(live, records / seconds, kbytes)
        if domain.name == "product":
            sample.plain, sample.server_share = records / self._plain_bulk(), server / (server + ours)
        self.stack.dev("twctl", "rebuild", domain.name, "--drop")
        return sample

    def _write(self, domain: Domain, round_: int) -> None:
        if domain.name != "product":
            self.stack.load(domain.load, round_, self.records)
            return
        new = self.records // NEW_PRODUCTS
        self.stack.load("assortment", round_, new)
        self.stack.load("views", round_, self.records - new)

    def _mongo_cpu_s(self) -> float:
        """Processor time of MongoDB, or what stands in for it, so far."""
        pid = int((self.stack.state / "run" / "mongo.pid").read_text().split()[0])
        ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")

    def _rebuild(self, name: str) -> tuple[float, int, float]:
        """Seconds of the whole command, the most memory it had, and its processor time."""
        began = time.monotonic()
        with subprocess.Popen([self.stack.bin / "tillwire-replay", "rebuild", name], text=True,
                              env={**self.stack.environment, **self.stack.settings}, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT) as rebuild:
            text = rebuild.stdout.read()
            _, status, usage = os.wait4(rebuild.pid, 0)
            rebuild.returncode = os.waitstatus_to_exitcode(status)
        if rebuild.returncode:
            raise BenchError(f"rebuild of {name} ended with {rebuild.returncode}: {text[-2000:]}")
        return time.monotonic() - began, usage.ru_maxrss, usage.ru_utime + usage.ru_stime

    def _must_agree(self, name: str) -> None:
        text = self.stack.tool("twctl", "verify", name, "--against-log")
        if not re.search(r"the log says the same of all \d+", text):
            raise BenchError(f"{name} does not agree with its log after the rebuild: {text[-2000:]}")

    def _plain_bulk(self) -> float:
        """Seconds that MongoDB takes for the same documents when nothing else is done."""
        uri = urlsplit(self.stack.settings["TW_MONGO_URI"])
        other = uri._replace(path=f"{uri.path}_plain").geturl()
        environment = {**self.stack.environment, **self.stack.settings, "TW_MONGO_URI": other}
        run(self.stack.bin / "twctl", "schema", "apply", env=environment)
        result = numbers(self.stack.tool("bench_plain_bulk", uri.geturl(), other))
        return result["seconds"]
