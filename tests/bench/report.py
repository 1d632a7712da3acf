"""The table at the end: medians, ratios round by round, and a warning where a ratio means little."""

import os
import statistics
from dataclasses import dataclass
from typing import Optional

import http_rounds
import worker_rounds
from http_rounds import HttpResults
from worker_rounds import DOMAINS, WorkerResults

# What the Go services reach of their floor on two cores with nothing else running. One far below was held up by
# something, and a ratio to it says little.
HEALTHY_HTTP = {32: 0.18, 64: 0.22, 120: 0.25}
HEALTHY_WORKER = {"member": 0.023, "product": 0.020, "cart": 0.021}
FAR_BELOW = 0.6


@dataclass
class Results:
    partitions: int
    http: Optional[HttpResults] = None
    workers: Optional[WorkerResults] = None


def row(*cells: object) -> str:
    widths = (14, 22, 26, 22, 14, 14)
    return " ".join(f"{cell!s:<{width}}" for cell, width in zip(cells, widths)).rstrip()


def ratio(ours: list[float], theirs: list[float]) -> float:
    """The median of each round's own ratio: what held up one round held up both."""
    return statistics.median(a / b for a, b in zip(ours, theirs))


def http_table(results: HttpResults) -> list[str]:
    lines = ["HTTP: POST /v1/products/{id}/views, accepted a second (p99 in ms)",
             row("connections", http_rounds.FLOOR, "Go, its best linger", http_rounds.OURS, "tillwire/Go", "tillwire/bare")]
    warnings = []
    for connections, linger in results.linger.items():
        rates, cell = {}, {}
        for system in (http_rounds.FLOOR, http_rounds.PEER, http_rounds.OURS):
            samples = results.samples[connections, system]
            rates[system] = [sample.per_second for sample in samples]
            p99 = statistics.median(sample.p99_ms for sample in samples)
            cell[system] = f"{statistics.median(rates[system]):,.0f} ({p99:.1f})"
        floor, peer, ours = (rates[s] for s in (http_rounds.FLOOR, http_rounds.PEER, http_rounds.OURS))
        lines.append(row(connections, cell[http_rounds.FLOOR], f"{cell[http_rounds.PEER]} {linger}",
                         cell[http_rounds.OURS], f"{ratio(ours, peer):.2f}", f"{ratio(ours, floor):.2f}"))
        warnings += warning(f"at {connections} connections", ratio(peer, floor), HEALTHY_HTTP.get(connections),
                            "bare civetweb")
    return lines + warnings


def worker_table(results: WorkerResults, records: int) -> list[str]:
    lines = [f"Workers: draining {records:,} commands, records a second",
             row("worker", "librdkafka, no work", "Go, its best batch", worker_rounds.OURS, "tillwire/Go", "tillwire/rdkafka")]
    warnings = []
    for domain in DOMAINS:
        floor, peer, ours = (results.samples[domain.name, system]
                             for system in (worker_rounds.FLOOR, worker_rounds.PEER, worker_rounds.OURS))
        go = f"{statistics.median(peer):,.0f} ({domain.store}, {results.batch[domain.name]:,})"
        lines.append(row(domain.name, f"{statistics.median(floor):,.0f}", go, f"{statistics.median(ours):,.0f}",
                         f"{ratio(ours, peer):.2f}", f"{ratio(ours, floor):.3f}"))
        warnings += warning(f"for {domain.name}", ratio(peer, floor), HEALTHY_WORKER[domain.name], "librdkafka")
    return lines + warnings


def warning(where: str, reached: float, healthy: Optional[float], floor: str) -> list[str]:
    if healthy is None or reached >= FAR_BELOW * healthy:
        return []
    return [f"  warning: {where} Go reaches only {reached:.3f} of {floor}, where {healthy:.3f} is usual: "
            "something held it up, so the ratio to it says little"]


def table(results: Results, records: int) -> list[str]:
    lines = [f"--- {results.partitions} partitions ---"]
    if results.workers:
        lines += worker_table(results.workers, records)
    if results.http:
        lines += http_table(results.http)
    return lines


def machine() -> str:
    return f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}"
