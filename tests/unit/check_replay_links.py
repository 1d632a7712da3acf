"""What replays a log can publish nothing: no producer and no policy is linked into it.

Called with the source and the build folder. Looks at the program's symbols, those it takes from librdkafka included.
"""
import pathlib
import re
import subprocess
import sys
import unittest

BUILD = pathlib.Path(sys.argv[2]).resolve()
WAYS_TO_SPEAK = {
    "librdkafka's producer": r"rd_kafka_(produce|producev|produceva|produce_batch|flush|init_transactions)$",
    "our producer": r"tw_producer_\w+$|tw_publisher_\w+$",
    "a policy": r"\w*policy\w*$",
}


def symbols(program: str) -> set[str]:
    done = subprocess.run(["nm", BUILD / "bin" / program], capture_output=True, text=True, check=True)
    return {line.split()[-1].partition("@")[0] for line in done.stdout.splitlines()}


def ways_to_speak(program: str) -> dict[str, list[str]]:
    found = {way: sorted(filter(re.compile(pattern).match, symbols(program)))
             for way, pattern in WAYS_TO_SPEAK.items()}
    return {way: names for way, names in found.items() if names}


class ReplayLinks(unittest.TestCase):
    def test_what_replays_a_log_has_no_way_to_speak(self):
        self.assertEqual(ways_to_speak("tillwire-replay"), {})

    def test_it_reads_the_log_all_the_same(self):
        self.assertIn("rd_kafka_consume_batch_queue", symbols("tillwire-replay"))

    def test_this_check_sees_a_worker_s_producer_and_policy(self):
        self.assertEqual(set(ways_to_speak("tillwire-cart")), set(WAYS_TO_SPEAK))


unittest.main(argv=sys.argv[:1])
