"""The report of a soak: what its figures are made of, and that a broken promise fails it."""
import contextlib
import io
import os
import random
import sys
import tempfile
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "soak"))

from machine import Ring  # noqa: E402
from paper import Paper, growth, percentile  # noqa: E402
from ratio import Window, change, ratio_of  # noqa: E402
from wrk_load import Answers  # noqa: E402


def quiet_paper(*promises: tuple) -> Paper:
    paper = Paper("Soak, seed 7")
    with contextlib.redirect_stdout(io.StringIO()):
        for text, kept in promises:
            paper.promise(text, kept)
    return paper


class Figures(unittest.TestCase):
    def test_a_percentile_is_a_value_that_was_measured(self):
        self.assertEqual(percentile(range(1, 101), 0.99), 99)
        self.assertEqual(percentile([7], 0.99), 7)
        self.assertEqual(percentile([3, 1, 2], 0.5), 2)

    def test_growth_is_between_the_medians_of_the_first_and_the_last_third(self):
        self.assertEqual(growth([10, 10, 10, 50, 50, 50, 12, 12, 12]), 2)
        self.assertEqual(growth([10, 900, 10, 11, 11, 11, 10, 10, 900]), 0, "one peak is no growth")

    def test_growth_of_few_values_is_that_of_the_first_and_the_last(self):
        self.assertEqual(growth([5, 8]), 3)


def some_windows(dice: random.Random, factor: float, count: int) -> list:
    """Of a busy machine: some of them are ten times as slow as others."""
    return [factor * dice.lognormvariate(0, 0.7) for _ in range(count)]


def turns_of(factor: float, seed: int) -> list:
    """Minutes of a machine that differ, each without and with something that makes it slower by that factor."""
    dice = random.Random(seed)
    minutes = some_windows(dice, 1, 8)
    return [(some_windows(dice, minute, 6), some_windows(dice, minute * factor, 6)) for minute in minutes]


class Ratios(unittest.TestCase):
    def test_the_range_holds_what_is_true_and_seldom_fails_what_is_not_slower(self):
        ratios = [ratio_of(turns_of(1, seed), seed) for seed in range(10)]
        self.assertLessEqual(sum(ratio.lower > 1.1 for ratio in ratios), 1)

    def test_what_is_several_times_as_slow_is_seen(self):
        ratios = [ratio_of(turns_of(4, seed), seed) for seed in range(10)]
        self.assertGreaterEqual(sum(ratio.lower > 1.1 for ratio in ratios), 9)

    def test_a_quiet_machine_tells_a_tenth_from_a_fifth(self):
        for factor, is_more in ((1.05, False), (1.2, True)):
            quiet = [([1.0, 1.02, 0.99], [factor, 1.01 * factor, factor]) for _ in range(8)]
            self.assertEqual(ratio_of(quiet, 7).lower > 1.1, is_more)

    def test_the_same_windows_and_seed_give_the_same_figures(self):
        self.assertEqual(ratio_of(turns_of(2, 1), 5), ratio_of(turns_of(2, 1), 5))
        self.assertEqual(str(ratio_of([([2.0], [3.0])], 1)), "1.50 (1.50 to 1.50)")


class Changes(unittest.TestCase):
    before = [Window(2 + n % 3, 0.5 + n % 2) for n in range(15)]

    def after(self, client: float, machine: float) -> list:
        return [Window(one.p99_ms * client, one.machine_p99_ms * machine) for one in self.before]

    def test_what_is_ten_times_as_slow_is_slower(self):
        self.assertTrue(change(self.before, self.after(10, 1), 7).is_slower)

    def test_what_is_as_much_slower_as_the_machine_is_not(self):
        self.assertFalse(change(self.before, self.after(10, 10), 7).is_slower)

    def test_a_machine_that_became_faster_makes_nothing_slower(self):
        self.assertFalse(change(self.before, self.after(1, 0.1), 7).is_slower)

    def test_what_is_slower_than_the_machine_explains_is_slower(self):
        self.assertTrue(change(self.before, self.after(30, 3), 7).is_slower)


class Machine(unittest.TestCase):
    def test_the_token_comes_round_and_the_processes_end(self):
        with Ring() as ring:
            self.assertTrue(all(ring.lap_ms() > 0 for _ in range(3)))
        with self.assertRaises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)


class Crowd(unittest.TestCase):
    def test_accepted_are_known_by_their_ids_and_a_refusal_without_a_time_is_counted(self):
        answers = Answers(seconds=2)
        answers.take(["202 id-1\n", "503 1\n", "202 id-2\n", "429 -\n", "503 2\n"])
        self.assertEqual(answers.command_ids, ["id-1", "id-2"])
        self.assertEqual(answers.accepted_per_second, 1)
        self.assertEqual(dict(answers.statuses), {202: 2, 503: 2, 429: 1})
        self.assertEqual(dict(answers.without_retry_after), {429: 1})

    def test_where_some_have_no_answer_the_wait_was_as_long_as_the_window(self):
        answers = Answers(seconds=2, p99_ms=7)
        answers.take(["202 id-1\n", "202 id-2\n"])
        self.assertEqual(answers.waited_ms(answers.p99_ms, clients=2), 7)
        self.assertEqual(answers.waited_ms(answers.p99_ms, clients=3), 2000)


class Report(unittest.TestCase):
    def test_a_broken_promise_is_in_the_verdict(self):
        paper = quiet_paper(("nothing is lost", True), ("reads are served", False))
        self.assertEqual(paper.broken, ["reads are served"])
        self.assertTrue(paper.text().endswith("\nVerdict: reads are served.\n"))
        self.assertIn("- **BROKEN**: reads are served", paper.text())

    def test_kept_promises_are_all(self):
        self.assertIn("Verdict: all promises were kept.", quiet_paper(("nothing is lost", True)).text())

    def test_what_it_tells_is_appended_where_the_whole_check_looks(self):
        with tempfile.TemporaryDirectory() as folder:
            told = Path(folder) / "told"
            told.write_text("before\n", encoding="utf-8")
            os.environ["TW_REPORT"] = str(told)
            try:
                quiet_paper(("nothing is lost", True)).tell()
            finally:
                del os.environ["TW_REPORT"]
            self.assertEqual(told.read_text(encoding="utf-8"), "before\n- kept: nothing is lost\n")


if __name__ == "__main__":
    unittest.main()
