"""Tests that use servers each take a stack of them for themselves, and get to know which; called with the source and the
build folder."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

SOURCE, BUILD = (pathlib.Path(word).resolve() for word in sys.argv[1:3])
WITHOUT_SERVERS = {"e2e/compare", "e2e/ids", "e2e/judge", "e2e/kubernetes", "e2e/parking"}


def tests() -> dict[str, dict]:
    """Name -> properties of all that ctest knows, with the command among them. Asked from a folder of its own: in the build
    folder the ctest that runs us keeps its log."""
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "CTestTestfile.cmake").write_text(f'subdirs("{BUILD}")\n')
        shown = subprocess.run(["ctest", "--show-only=json-v1"], cwd=folder, capture_output=True, text=True, check=True)
    return {test["name"]: {**{p["name"]: p["value"] for p in test["properties"]}, "command": test.get("command", [])}
            for test in json.loads(shown.stdout)["tests"]}


def on_stack(*words: str, **environment: str) -> list[str]:
    done = subprocess.run([SOURCE / "tests/on_stack", *words], env={"PATH": os.environ["PATH"], **environment},
                          capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


class Stacks(unittest.TestCase):
    def test_whoever_is_run_on_a_stack_takes_one_for_itself(self):
        for name, test in tests().items():
            launched = any(word.endswith("/on_stack") for word in test["command"])
            self.assertEqual(launched, "RESOURCE_GROUPS" in test, name)

    def test_no_file_has_to_be_named_to_be_run_on_a_stack(self):
        for name, test in tests().items():
            if name.startswith(("contract/", "e2e/")):
                self.assertEqual("RESOURCE_GROUPS" in test, name not in WITHOUT_SERVERS, name)

    def test_what_fills_the_log_is_begun_last(self):
        costs = {name: test["COST"] for name, test in tests().items()}
        if "e2e/real_sessions" in costs:
            last = costs.pop("e2e/real_sessions")
            self.assertLess(last, min(costs.values()))
            self.assertGreater(last, 0, "ctest takes 0 for unknown, and what it measured instead")

    def test_whatever_hangs_is_ended_soon_also_where_more_can_be_asked_for(self):
        """What has no bound of its own gets one from tests/run, by what was asked for."""
        for name, test in tests().items():
            self.assertLessEqual(test.get("TIMEOUT", 0), 1200, name)

    def test_a_test_gets_the_stack_that_it_was_dealt(self):
        with tempfile.TemporaryDirectory() as stacks:
            (pathlib.Path(stacks) / "2").mkdir()
            (pathlib.Path(stacks) / "2/contract-env").write_text("export TW_KAFKA=there:1\n")
            said = on_stack("env", TEST_STACKS=stacks, CTEST_RESOURCE_GROUP_0_STACKS="id:2,slots:1", TW_KAFKA="here:1")
        self.assertIn(f"TW_STATE_DIR={stacks}/2", said)
        self.assertIn("TW_KAFKA=there:1", said)

    def test_by_hand_it_gets_what_the_environment_names(self):
        said = on_stack("env", TW_STATE_DIR="/mine", TW_KAFKA="here:1")
        self.assertIn("TW_STATE_DIR=/mine", said)
        self.assertIn("TW_KAFKA=here:1", said)

    def test_a_count_of_stacks_that_cannot_be_is_refused(self):
        for count in ("0", "10", "two", "-1", "1 2"):
            done = subprocess.run([SOURCE / "tests/run", "unit"], env={**os.environ, "TW_E2E_STACKS": count},
                                  capture_output=True, text=True)
            self.assertEqual((done.returncode, done.stdout), (2, ""), count)
            self.assertEqual(done.stderr, f"TW_E2E_STACKS cannot be '{count}': allowed is 1..9\n")


unittest.main(argv=sys.argv[:1])
