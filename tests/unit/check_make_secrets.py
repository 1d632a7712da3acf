"""docker/make-secrets: made once, for nobody else's eyes; what compose.yaml asks for is there, what people added stays."""
import os
import pathlib
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(sys.argv[1]).resolve()


class MakeSecrets(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.docker = pathlib.Path(folder.name) / "docker"
        (self.docker / "local").mkdir(parents=True)
        for name in ("make-secrets", "local/secrets.sh"):
            shutil.copy(SOURCE / "docker" / name, self.docker / name)
        self.make()

    def make(self, **settings: str):
        plain = {name: value for name, value in os.environ.items() if not name.startswith("TW_")}
        subprocess.run([self.docker / "make-secrets"], env={**plain, **settings}, check=True, capture_output=True)

    def settings(self) -> dict[str, str]:
        lines = (self.docker / ".env").read_text().splitlines()
        found = dict(line.split("=", 1) for line in lines)
        self.assertEqual(len(found), len(lines), "a setting stands there twice")
        return found

    def test_everything_compose_needs_is_there(self):
        compose = (SOURCE / "docker/compose.yaml").read_text()
        for name in re.findall(r"\$\{(TW_\w+):-\}", compose):
            self.assertTrue(self.settings().get(name), name)
        for name in re.findall(r"file: \./secrets/(\w+)", compose):
            self.assertTrue((self.docker / "secrets" / name).read_text().strip(), name)
        for path in (self.docker / ".env", *(self.docker / "secrets").iterdir()):
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600, path)

    def test_again_it_changes_nothing_and_keeps_lines_of_ones_own(self):
        before = self.settings()
        with (self.docker / ".env").open("a") as env:
            env.write("TW_BASE_PORT=9000\nTW_LOG_LEVEL=debug\n")
        for _ in range(2):
            self.make()
            self.assertEqual(self.settings(), {**before, "TW_BASE_PORT": "9000", "TW_LOG_LEVEL": "debug"})

    def test_another_algorithm_takes_the_old_ones_place_and_stays(self):
        self.make(TW_JWT_ALGORITHM="ES256")
        for _ in range(2):
            self.assertEqual(self.settings()["TW_JWT_ALGORITHM"], "ES256")
            self.assertIn("PRIVATE KEY", (self.docker / "secrets" / self.settings()["TW_JWT_KEYS"]).read_text())
            self.make()


unittest.main(argv=sys.argv[:1])
