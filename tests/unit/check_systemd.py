"""The units of docker/systemd: systemd reads them without a complaint, finds them hardened, and what they tell the
programs are settings these know."""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(sys.argv[1]).resolve()
BUILD = pathlib.Path(sys.argv[2]).resolve()
UNITS = SOURCE / "docker/systemd"
SHARED = UNITS / "tillwire-.service.d/10-shared.conf"
SERVICES = sorted(path.name for path in UNITS.glob("*.service"))
PROGRAMS = ("cart", "edge", "member", "product")
EXPOSURE_MAX = 20  # tenths
URIS = {"postgres_uri": "postgresql://u:p@127.0.0.1:1/t", "mongo_uri": "mongodb://u:p@127.0.0.1:1/t",
        "redis_uri": "redis://:p@127.0.0.1:1"}


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, check=False, timeout=60)


class Units(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        self.units = self.root / "etc/systemd/system"
        shutil.copytree(UNITS, self.units)
        for name in (*(f"usr/local/bin/tillwire-{program}" for program in PROGRAMS), "bin/kill"):
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o755)

    def complaints(self) -> str:
        done = analyze("verify", "--man=no", "--recursive-errors=no", f"--root={self.root}", *SERVICES, "tillwire.target")
        return done.stdout + done.stderr + (f"exit code {done.returncode}" if done.returncode else "")

    def test_there_is_one_for_each_program_and_systemd_has_no_complaint(self):
        self.assertEqual(SERVICES, [f"tillwire-{program}.service" for program in PROGRAMS])
        self.assertEqual(self.complaints(), "")

    def test_a_wrong_unit_would_be_found(self):
        shared = self.units / SHARED.relative_to(UNITS)
        shared.write_text(shared.read_text().replace("Restart=on-failure", "Restart=now-and-then"))
        self.assertIn("now-and-then", self.complaints())

    def test_each_is_hardened(self):
        for service in SERVICES:
            done = analyze("security", "--offline=true", f"--threshold={EXPOSURE_MAX}", f"--root={self.root}", service)
            self.assertEqual(done.returncode, 0, done.stdout[-300:] + done.stderr)

    def test_without_the_shared_lines_none_would_be(self):
        shutil.rmtree(self.units / "tillwire-.service.d")
        done = analyze("security", "--offline=true", f"--threshold={EXPOSURE_MAX}", f"--root={self.root}", SERVICES[0])
        self.assertNotEqual(done.returncode, 0)

    def credentials(self, text: str) -> str:
        """As LoadCredential= would put them; the folder."""
        folder = self.root / "credentials"
        folder.mkdir(exist_ok=True)
        for name in re.findall(r"^LoadCredential=(\w+):/etc/tillwire/secrets/\w+$", text, re.M):
            path = folder / name
            path.write_text("kid:" + "00" * 32 if name == "jwt_keys" else URIS.get(name, "00" * 32))
            path.chmod(0o600)
        return str(folder)

    def test_what_they_set_are_settings_of_their_programs_and_the_sample_files_are_good(self):
        for program in PROGRAMS:
            text = (UNITS / f"tillwire-{program}.service").read_text() + SHARED.read_text()
            words = re.findall(r"^Environment=(.*)$", text, re.M)
            pairs = [pair.replace("%d", self.credentials(text)).replace("%H", "host")
                     for pair in " ".join(words).split()]
            plain = {name: value for name, value in os.environ.items() if not name.startswith("TW_")}
            done = subprocess.run(
                [BUILD / f"bin/tillwire-{program}", "--config", UNITS / f"etc/{program}.conf", "--check"],
                env={**plain, **dict(pair.split("=", 1) for pair in pairs)}, capture_output=True, text=True, check=False)
            self.assertEqual((done.returncode, done.stderr), (0, ""), program)
            self.assertIn(f"--config /etc/tillwire/{program}.conf", text)
            for pair in (pair for pair in pairs if pair.startswith("TW_")):
                setting = pair.split("=")[0].removeprefix("TW_").lower()
                self.assertRegex(done.stdout, rf"(?m)^{setting.removesuffix('_file')}(_file)? = .*environment")

    def test_what_needs_a_person_is_not_started_again(self):
        codes = re.search(r"^RestartPreventExitStatus=(.*)$", SHARED.read_text(), re.M)[1].split()
        table = re.findall(r"^\| (\d+) \| .*\| (yes|no) \|$", (SOURCE / "docs/operations.md").read_text(), re.M)
        self.assertEqual(codes, [code for code, again in table if again == "no" and code != "0"])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
