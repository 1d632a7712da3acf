"""docker/hold-when-wrong, with which compose.yaml starts every program: it ends as its program does, and holds what needs a
person instead of having it started again without end."""
import pathlib
import re
import signal
import subprocess
import sys
import unittest

SOURCE = pathlib.Path(sys.argv[1]).resolve()
HOLD = SOURCE / "docker/hold-when-wrong"
NEED_A_PERSON = ("2", "3", "78")


def started(script: str) -> "subprocess.Popen[str]":
    return subprocess.Popen([HOLD, "sh", "-c", script], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


class Hold(unittest.TestCase):
    def ended(self, process: "subprocess.Popen[str]") -> tuple[int, str, str]:
        self.addCleanup(process.kill)
        out, err = process.communicate(timeout=20)
        return process.returncode, out, err

    def test_it_ends_as_its_program_does(self):
        for code in (0, 1, 70, 71, 137):
            self.assertEqual(self.ended(started(f"echo said; exit {code}")), (code, "said\n", ""))

    def test_what_needs_a_person_is_held_until_somebody_stops_it(self):
        held = {code: started(f"exit {code}") for code in NEED_A_PERSON}
        for code, process in held.items():
            self.assertIn(f"ended with {code}, which needs a person", process.stderr.readline())
            self.assertIsNone(process.poll())
            process.terminate()
        for code, process in held.items():
            self.assertEqual(self.ended(process), (int(code), "", ""))

    def test_its_program_gets_the_signals_and_may_go_on(self):
        process = started("trap 'echo anew' HUP; trap 'echo down; exit 0' TERM; echo up; while :; do sleep 0.01; done")
        self.assertEqual(process.stdout.readline(), "up\n")
        for number in (signal.SIGHUP, signal.SIGHUP):
            process.send_signal(number)
            self.assertEqual(process.stdout.readline(), "anew\n")
        process.terminate()
        self.assertEqual(self.ended(process), (0, "down\n", ""))

    def test_its_codes_are_those_of_the_documentation(self):
        table = re.findall(r"^\| (\d+) \| .*\| (yes|no) \|$", (SOURCE / "docs/operations.md").read_text(), re.M)
        self.assertEqual(NEED_A_PERSON, tuple(code for code, again in table if again == "no" and code != "0"))
        self.assertIn(f"\n{' | '.join(NEED_A_PERSON)})", HOLD.read_text())

    def test_compose_starts_every_program_with_it(self):
        compose = (SOURCE / "docker/compose.yaml").read_text()
        program = re.search(r"^x-program:.*?\n\n", compose, re.M | re.S)[0]
        self.assertIn("\n  entrypoint: [hold-when-wrong]\n  restart: unless-stopped\n", program)
        self.assertIn(f"COPY docker/{HOLD.name} /usr/local/bin/\n", (SOURCE / "docker/Dockerfile").read_text())
        commands = re.findall(r"<<: \*program\n +command: \[(.*)\]", compose)
        self.assertEqual(sorted(commands), [f"tillwire-{name}" for name in ("cart", "edge", "member", "product")])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
