"""The table at the end: medians, ratios round by round, and a warning where a ratio means little."""

import argparse
import os
import statistics
from dataclasses import dataclass
from typing import Optional

import http_rounds
import storm_rounds
import stream_rounds
import visible_rounds
import worker_rounds
from http_rounds import HttpResults
from rebuild_rounds import RebuildResults
from storm_rounds import StormResults
from stream_rounds import StreamResults
from visible_rounds import VisibleResults
from worker_rounds import DOMAINS, WorkerResults

# What the Go services reach of their floor on two cores with nothing else running. One far below was held up by
# something, and a ratio to it says little.
HEALTHY_HTTP = {32: 0.25, 64: 0.45, 120: 0.50}
HEALTHY_WORKER = {"member": 0.058, "product, uniform": 0.018, "product, Zipf": 0.035, "product, one hot": 0.060,
                  "cart": 0.065}
FAR_BELOW = 0.6

# Widths of columns; a line has at most 120 characters.
HTTP_COLUMNS = (12, 18, 25, 18, 12, 14)
WORKER_COLUMNS = (16, 10, 8, 20, 20, 9, 6, 6, 6, 8)
VISIBLE_COLUMNS = (10, 24, 24)
STORM_COLUMNS = (29, 22, 22, 12, 12, 14)
STREAM_COLUMNS = (28, 24, 24, 14, 14)
REBUILD_COLUMNS = (20, 14, 14, 14, 14, 14, 10, 12)


@dataclass
class Results:
    partitions: int
    http: Optional[HttpResults] = None
    workers: Optional[WorkerResults] = None
    storms: Optional[StormResults] = None
    streams: Optional[StreamResults] = None
    visible: Optional[VisibleResults] = None
    rebuild: Optional[RebuildResults] = None


def row(widths: tuple[int, ...], *cells: object) -> str:
    return " ".join(f"{cell!s:<{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()


def ratio(ours: list[float], theirs: list[float]) -> float:
    """The median of each round's own ratio: what held up one round held up both."""
    return statistics.median(a / b for a, b in zip(ours, theirs))


def http_table(results: HttpResults) -> list[str]:
    lines = ["HTTP: POST /v1/products/{id}/views, accepted a second (p99 in ms)",
             row(HTTP_COLUMNS, "connections", http_rounds.FLOOR, "Go, its best linger", http_rounds.OURS, "tillwire/Go",
                 "tillwire/bare")]
    warnings = []
    for connections, linger in results.linger.items():
        rates, cell = {}, {}
        for system in (http_rounds.FLOOR, http_rounds.PEER, http_rounds.OURS):
            samples = results.samples[connections, system]
            rates[system] = [sample.per_second for sample in samples]
            p99 = statistics.median(sample.p99_ms for sample in samples)
            cell[system] = f"{statistics.median(rates[system]):,.0f} ({p99:.1f})"
        floor, peer, ours = (rates[s] for s in (http_rounds.FLOOR, http_rounds.PEER, http_rounds.OURS))
        lines.append(row(HTTP_COLUMNS, connections, cell[http_rounds.FLOOR], f"{cell[http_rounds.PEER]} {linger}",
                         cell[http_rounds.OURS], f"{ratio(ours, peer):.2f}", f"{ratio(ours, floor):.2f}"))
        warnings += warning(f"at {connections} connections", ratio(peer, floor), HEALTHY_HTTP.get(connections),
                            "bare civetweb")
    return lines + warnings


def worker_table(results: WorkerResults, records: int, views: int) -> list[str]:
    sizes = f"{records:,} commands" + (f", {views:,} views" if views != records else "")
    lines = [f"Workers: draining {sizes}, records a second; then the ratios of {worker_rounds.OURS} to each",
             row(WORKER_COLUMNS, "worker", worker_rounds.FLOOR, "floor", worker_rounds.PEER_SAME, "Go, its best shape",
                 worker_rounds.OURS, "/same", "/best", "/floor", "/rdkafka")]
    warnings = []
    for domain in DOMAINS:
        floor, write_floor, same, peer, ours = (
            results.samples.get((domain.title, system))
            for system in (worker_rounds.FLOOR, worker_rounds.WRITE_FLOOR, worker_rounds.PEER_SAME, worker_rounds.PEER,
                           worker_rounds.OURS))
        go = [f"{statistics.median(samples):,.0f} ({results.shape[domain.title, system]})"
              for samples, system in ((same, worker_rounds.PEER_SAME), (peer, worker_rounds.PEER))]
        lines.append(row(WORKER_COLUMNS, domain.title, f"{statistics.median(floor):,.0f}",
                         f"{statistics.median(write_floor):,.0f}" if write_floor else "-", *go,
                         f"{statistics.median(ours):,.0f}", f"{ratio(ours, same):.2f}", f"{ratio(ours, peer):.2f}",
                         f"{ratio(ours, write_floor):.2f}" if write_floor else "-", f"{ratio(ours, floor):.3f}"))
        warnings += warning(f"for {domain.title}", ratio(peer, floor), HEALTHY_WORKER[domain.title], "librdkafka")
    return lines + warnings


def visible_table(results: VisibleResults) -> list[str]:
    lines = [f"Additions to carts, {visible_rounds.RATE:,} a second: ms from when a request was due, p50 (p99)",
             row(VISIBLE_COLUMNS, "chain", "until it is accepted", "until it can be read")]
    for system, samples in results.samples.items():
        cells = []
        for p50, p99 in (("accept_p50_ms", "accept_p99_ms"), ("p50_ms", "p99_ms")):
            middle, worst = (statistics.median(getattr(sample, name) for sample in samples) for name in (p50, p99))
            cells.append(f"{middle:.1f} ({worst:.1f})")
        lines.append(row(VISIBLE_COLUMNS, system, *cells))
    ours, peer = results.samples[visible_rounds.OURS], results.samples[visible_rounds.PEER]
    cells = []
    for p50, p99 in (("accept_p50_ms", "accept_p99_ms"), ("p50_ms", "p99_ms")):
        middle, worst = (ratio([getattr(a, name) for a in ours], [getattr(b, name) for b in peer]) for name in (p50, p99))
        cells.append(f"{middle:.2f} ({worst:.2f})")
    return [*lines, row(VISIBLE_COLUMNS, "ratio", *cells)]


def storm_table(results: StormResults) -> list[str]:
    lines = [f"Storms: {storm_rounds.CONNECTIONS} clients, p99 in ms (answers a second), while "
             f"{storm_rounds.CLIENTS} others log in again {storm_rounds.PAUSE_MS} ms after each answer",
             row(STORM_COLUMNS, "request", "quiet", "in the storm", "storm/quiet", "logins/s", "refused/s")]
    for what, samples in results.samples.items():
        cells = []
        for part in ([sample.quiet for sample in samples], [sample.storm for sample in samples]):
            p99, rate = (statistics.median(getattr(sample, name) for sample in part) for name in ("p99_ms", "per_second"))
            cells.append(f"{p99:.1f} ({rate:,.0f})")
        worse = ratio([sample.storm.p99_ms for sample in samples], [sample.quiet.p99_ms for sample in samples])
        lines.append(row(STORM_COLUMNS, storm_rounds.REQUESTS[what], *cells, f"{worse:.2f}",
                         f"{statistics.median(sample.logins_per_second for sample in samples):,.0f}",
                         f"{statistics.median(sample.refused_per_second for sample in samples):,.0f}"))
    return lines


def stream_table(results: StreamResults) -> list[str]:
    lines = [f"Streams: p99 in ms (accepted a second); {stream_rounds.EACH} of each: waiting, streaming and idle clients",
             f"(a stream takes {statistics.median(results.kbytes_per_stream):.0f} KiB of the edge's memory)",
             row(STREAM_COLUMNS, "what is asked", "alone", "beside them", "p99 ratio", "rate ratio")]
    for case, samples in results.samples.items():
        parts = ([sample.alone for sample in samples], [sample.beside for sample in samples])
        cells = [f"{statistics.median(s.p99_ms for s in part):.1f} ({statistics.median(s.per_second for s in part):,.0f})"
                 for part in parts]
        alone, beside = parts
        lines.append(row(STREAM_COLUMNS, stream_rounds.CASES[case], *cells,
                         f"{ratio([s.p99_ms for s in beside], [s.p99_ms for s in alone]):.2f}",
                         f"{ratio([s.per_second for s in beside], [s.per_second for s in alone]):.2f}"))
    return lines


def rebuild_table(results: RebuildResults, records: int) -> list[str]:
    lines = [f"Rebuilds of a log of {records:,} commands, records a second of the whole command",
             row(REBUILD_COLUMNS, "store", "live worker", "rebuild", "rebuild/live", "plain writes", "rebuild/plain",
                 "server's", "memory")]
    for domain, samples in results.samples.items():
        live, rebuild, plain = ([getattr(sample, name) for sample in samples] for name in ("live", "rebuild", "plain"))
        lines.append(row(REBUILD_COLUMNS, domain, f"{statistics.median(live):,.0f}", f"{statistics.median(rebuild):,.0f}",
                         f"{ratio(rebuild, live):.2f}", f"{statistics.median(plain):,.0f}" if plain[0] else "-",
                         f"{ratio(rebuild, plain):.2f}" if plain[0] else "-",
                         f"{statistics.median(s.server_share for s in samples):.0%}" if plain[0] else "-",
                         f"{max(sample.kbytes for sample in samples) / 1024:,.0f} MiB"))
    return lines


def warning(where: str, reached: float, healthy: Optional[float], floor: str) -> list[str]:
    if healthy is None or reached >= FAR_BELOW * healthy:
        return []
    return [f"  warning: {where} Go reaches only {reached:.3f} of {floor}, where {healthy:.3f} is usual:",
            "  something held it up, so the ratio to it says little"]


def table(results: Results, options: argparse.Namespace) -> list[str]:
    """@p options: how many `records`, `views` and commands of a `log` there were."""
    lines = [f"--- {results.partitions} partitions ---"]
    if results.workers:
        lines += worker_table(results.workers, options.records, options.views)
    if results.http:
        lines += http_table(results.http)
    if results.visible:
        lines += visible_table(results.visible)
    if results.storms:
        lines += storm_table(results.storms)
    if results.streams:
        lines += stream_table(results.streams)
    if results.rebuild:
        lines += rebuild_table(results.rebuild, options.log)
    return lines


def machine() -> str:
    return f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}"
