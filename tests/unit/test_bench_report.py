"""The bench's report: what its numbers are made of, and that it fits a page."""
import argparse
import sys
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))

import report  # noqa: E402
from http_rounds import FLOOR, OURS, PEER, HttpResults  # noqa: E402
from rebuild_rounds import RebuildResults, RebuildSample  # noqa: E402
from storm_rounds import REQUESTS, StormResults, StormSample  # noqa: E402
from stream_rounds import CASES, StreamResults, StreamSample  # noqa: E402
from visible_rounds import VisibleResults, VisibleSample  # noqa: E402
from worker_rounds import DOMAINS, PEER_SAME, WRITE_FLOOR, Shape, WorkerResults, shapes  # noqa: E402
from worker_rounds import FLOOR as CONSUMER  # noqa: E402
from wrk import Sample  # noqa: E402

PAGE = 120
OPTIONS = argparse.Namespace(records=200_000, views=500_000, log=10_000_000)


def sample(per_second=1.0, p99_ms=1.0):
    return Sample(1, per_second, p99_ms)


def wide_results():
    """As many digits as any machine will ever need, and a Go service that something held up."""
    http = HttpResults()
    for connections in report.HEALTHY_HTTP:
        http.linger[connections] = "500us"
        http.add(connections, FLOOR, sample(9_999_999, 9_999.9))
        http.add(connections, PEER, sample(999_999, 9_999.9))
        http.add(connections, OURS, sample(999_999, 9_999.9))
    workers = WorkerResults()
    for domain in DOMAINS:
        workers.add(domain.title, CONSUMER, 99_999_999)
        workers.add(domain.title, OURS, 9_999_999)
        for system in (PEER_SAME, PEER):
            workers.shape[domain.title, system] = Shape(5000, 2)
            workers.add(domain.title, system, 999_999)
        if domain.has_write_floor:
            workers.add(domain.title, WRITE_FLOOR, 999_999)
    visible = VisibleResults()
    for system in (PEER, OURS):
        visible.add(system, VisibleSample(9_999.9, 99_999.9, 9_999.9, 99_999.9))
    storms = StormResults({what: [StormSample(sample(99_999, 999.9), sample(99_999, 99_999.9), 999.0, 99_999.0)]
                           for what in REQUESTS})
    streams = StreamResults({case: [StreamSample(sample(999_999, 9_999.9), sample(999_999, 9_999.9))] for case in CASES},
                            [9_999.0])
    rebuild = RebuildResults({domain: [RebuildSample(9_999_999.0, 9_999_999.0, 9_999_999, 9_999_999.0, 1.0)]
                              for domain in ("member", "product", "cart")})
    return report.Results(1000, http, workers, storms, streams, visible, rebuild)


def line_of(lines, start):
    return next(line for line in lines if line.startswith(start))


class BenchReport(unittest.TestCase):
    def test_no_line_is_longer_than_a_page(self):
        lines = report.table(wide_results(), OPTIONS)
        self.assertTrue(any("warning" in line for line in lines))
        self.assertEqual([line for line in lines if len(line) > PAGE], [])

    def test_cells_of_a_row_stay_in_their_columns(self):
        lines = report.table(wide_results(), OPTIONS)
        for head, first_cell in (("worker ", "member"), ("connections", "32"), ("chain", "Go"), ("request", "GET"), ("what", "views,")):
            head_line, line = line_of(lines, head), line_of(lines, first_cell)
            for at in (i for i in range(1, len(head_line)) if head_line[i - 2:i] == "  " and head_line[i] != " "):
                self.assertEqual(line[at - 1], " ", f"a cell runs into the column at {at}: {line}")

    def test_a_ratio_is_the_median_of_the_rounds_own(self):
        self.assertEqual(report.ratio([10, 90, 30], [10, 30, 20]), 1.5)

    def test_a_worker_stands_beside_its_floors_and_two_shapes_of_the_go_worker(self):
        results = wide_results().workers
        for system, rate in ((CONSUMER, 1_000_000), (WRITE_FLOOR, 50_000), (PEER_SAME, 24_000), (PEER, 30_000),
                             (OURS, 36_000)):
            results.samples["member", system] = [rate]
        lines = report.worker_table(results, 200_000, 200_000)
        self.assertEqual(line_of(lines, "member").split()[-5:], ["36,000", "1.50", "1.20", "0.72", "0.036"])
        self.assertEqual(line_of(lines, "product, Zipf").split()[-2], "-")

    def test_the_go_worker_is_tried_with_our_own_batch(self):
        self.assertIn(Shape(500, 1), shapes(500))
        self.assertEqual(len(shapes(1000)), 4)

    def test_the_go_worker_may_have_as_many_views_in_a_batch_as_ours(self):
        self.assertIn(Shape(40_000, 1), shapes(5000, shares=True))
        self.assertNotIn(Shape(40_000, 1), shapes(5000))

    def test_a_chain_is_told_by_the_median_of_its_rounds(self):
        results = VisibleResults({PEER: [VisibleSample(2, 8, 10, 20), VisibleSample(2, 8, 10, 20)],
                                  OURS: [VisibleSample(1, 2, 4, 8), VisibleSample(1, 2, 6, 12)]})
        lines = report.visible_table(results)
        self.assertEqual(line_of(lines, "tillwire").split()[-2:], ["5.0", "(10.0)"])
        self.assertEqual(line_of(lines, "ratio").split()[-2:], ["0.50", "(0.50)"])

    def test_a_storm_is_told_by_how_much_worse_the_p99_gets(self):
        results = StormResults({"reads": [StormSample(sample(9_000, 2.0), sample(4_000, 5.0), 80.0, 7_000.0)]})
        self.assertEqual(report.storm_table(results)[-1].split()[-7:],
                         ["2.0", "(9,000)", "5.0", "(4,000)", "2.50", "80", "7,000"])

    def test_streams_are_told_by_how_much_worse_p99_and_rate_get(self):
        results = StreamResults({"crowd": [StreamSample(sample(800, 2.0), sample(600, 5.0))]}, [40.0, 44.0])
        lines = report.stream_table(results)
        self.assertIn("takes 42 KiB", lines[1])
        self.assertEqual(lines[-1].split()[-6:], ["2.0", "(800)", "5.0", "(600)", "2.50", "0.75"])

    def test_a_rebuild_of_products_says_how_much_of_the_time_is_the_servers(self):
        results = RebuildResults({"member": [RebuildSample(10.0, 20.0, 2048)],
                                  "product": [RebuildSample(10.0, 20.0, 2048, 80.0, share) for share in (0.5, 0.91, 0.9)]})
        lines = report.rebuild_table(results, 1000)
        self.assertEqual(line_of(lines, "member").split()[-4:], ["-", "-", "2", "MiB"])
        self.assertEqual(line_of(lines, "product").split()[-4:], ["0.25", "90%", "2", "MiB"])

    def test_a_go_service_far_below_its_usual_share_is_warned_of(self):
        self.assertEqual(report.warning("here", 0.02, 0.02, "x"), [])
        self.assertIn("0.010", report.warning("here", 0.01, 0.02, "x")[0])


if __name__ == "__main__":
    unittest.main()
