"""The report of a soak: what its figures are made of, and that a broken promise fails it."""
import contextlib
import io
import os
import sys
import tempfile
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "soak"))

from paper import Paper, growth, percentile  # noqa: E402
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


class Crowd(unittest.TestCase):
    def test_accepted_are_known_by_their_ids_and_a_refusal_without_a_time_is_counted(self):
        answers = Answers(seconds=2)
        answers.take(["202 id-1\n", "503 1\n", "202 id-2\n", "429 -\n", "503 2\n"])
        self.assertEqual(answers.command_ids, ["id-1", "id-2"])
        self.assertEqual(answers.accepted_per_second, 1)
        self.assertEqual(dict(answers.statuses), {202: 2, 503: 2, 429: 1})
        self.assertEqual(dict(answers.without_retry_after), {429: 1})


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
