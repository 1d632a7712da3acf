"""./dev as a person meets it without any server: mistakes, what it leaves behind, what a signal in the middle does."""
import os
import pathlib
import select
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(sys.argv[1]).resolve()
PARTS = "common settings ports secrets packages process java kafka postgres redis mongo build programs stack"


class Dev(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.state = pathlib.Path(folder.name) / "it's here"
        self.bin = pathlib.Path(folder.name) / "bin"
        self.bin.mkdir()
        self.port = self.free_base_port()
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("TW_")}
        self.environment.update(TW_STATE_DIR=str(self.state), TW_BIN_DIR=str(self.bin), TW_BASE_PORT=str(self.port))

    @staticmethod
    def free_base_port() -> int:
        """Nobody listens on what a cart worker would take."""
        for base in range(31000, 32000, 100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", base + 4)):
                    return base
        raise AssertionError("no free port")

    def dev(self, *words: str, **more: str) -> subprocess.CompletedProcess:
        return subprocess.run([SOURCE / "dev", *words], env={**self.environment, **more}, capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, check=False, timeout=60)

    def shell(self, script: str, **more) -> subprocess.CompletedProcess:
        """A script that has all of ./dev's functions."""
        sources = "\n".join(f'source "$CHECKOUT/docker/local/{part}.sh"' for part in PARTS.split())
        script = f"set -euo pipefail\nCHECKOUT={shlex.quote(str(SOURCE))}\n{sources}\nsettings_load; state_prepare\n{script}"
        return subprocess.run(["bash", "-c", script], env=self.environment, capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, check=False, timeout=60, **more)

    def fake(self, name: str, script: str = "sleep 300"):
        """A program in place of a built one; what ./dev started of it ends with the test."""
        (self.bin / f"tillwire-{name}").write_text(f"#!/bin/sh\nexec {script}\n")
        (self.bin / f"tillwire-{name}").chmod(0o755)
        self.addCleanup(self.end, name)

    def end(self, name: str):
        pidfile = self.state / "run" / f"{name}.pid"
        if pidfile.exists():
            try:
                os.kill(int(pidfile.read_text().split()[0]), signal.SIGKILL)
            except ProcessLookupError:
                pass

    def assert_refused(self, done: subprocess.CompletedProcess, *words: str):
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        for word in words:
            self.assertIn(word, done.stderr)

    def test_help_is_told_and_does_nothing(self):
        for words in ((), ("help",), ("up", "--help"), ("reset", "-h")):
            done = self.dev(*words)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("./dev up ", done.stdout)
        self.assertFalse(self.state.exists())

    def test_words_that_mean_nothing_are_refused_before_anything_happens(self):
        self.assert_refused(self.dev("upp"), "no command called 'upp'")
        self.assert_refused(self.dev("up", "now"), "up takes no arguments, not 'now'")
        self.assert_refused(self.dev("reset", "--force"), "reset takes --yes, not '--force'")
        self.assert_refused(self.dev("start", "shop"), "no component called 'shop'")
        self.assert_refused(self.dev("start", "cart", "--as", "member2"), "start cart --as cart2")
        self.assertFalse(self.state.exists())

    def test_a_base_port_that_is_none_is_refused(self):
        for port in ("http", "80", "0999", "60001", "8080 "):
            done = self.dev("status", TW_BASE_PORT=port)
            self.assert_refused(done, "TW_BASE_PORT must be a number from 1024 to 60000")
            self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)

    def test_env_survives_the_shell(self):
        given = {"TW_KAFKA": "there:9092", "TW_POSTGRES_URI": "postgresql://u:it's$HOME@there/x",
                 "TW_MONGO_URI": "mongodb://there/x", "TW_REDIS_URI": "redis://there"}
        (self.state / "secrets").mkdir(parents=True)
        lines = self.dev("env", **given).stdout
        done = subprocess.run(["bash", "-c", f'{lines}\nprintf "%s\\n" "$TW_POSTGRES_URI" "$TW_ID_KEY_FILE"'], env={},
                              capture_output=True, text=True, check=True)
        self.assertEqual(done.stdout.splitlines(), [given["TW_POSTGRES_URI"], f"{self.state}/secrets/id_key"])

    def test_what_is_started_holds_nothing_of_the_caller(self):
        self.addCleanup(self.end, "thing")
        read, write = os.pipe()
        done = self.shell("state_lock; spawn thing sleep 300", pass_fds=[write])
        os.close(write)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(select.select([read], [], [], 20)[0], "somebody still holds the other end")
        self.assertEqual(os.read(read, 1), b"")
        os.close(read)

    def test_a_signal_while_a_program_is_started_waits_until_its_pid_is_known(self):
        self.addCleanup(self.end, "thing")
        done = self.shell("""
            trap 'echo "started: ${STARTED[*]}"' EXIT
            trap on_signal TERM
            eval "real_$(declare -f proc_field)"
            proc_field() { kill -TERM $$; real_proc_field "$@"; }
            spawn thing sleep 300
            echo "not reached"
        """)
        self.assertEqual((done.returncode, done.stdout), (130, "started: thing\n"), done.stderr)
        pid, started = (self.state / "run/thing.pid").read_text().split()
        self.assertEqual(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19], started)

    def test_what_runs_already_must_be_ready_too(self):
        self.fake("cart")
        done = self.shell("""
            START_TIMEOUT_S=1
            spawn cart "$TW_BIN_DIR/tillwire-cart"
            STARTED=()
            start cart
        """)
        self.assert_refused(done, "cart runs but is not ready after a long wait")

    def test_another_server_is_refused_while_the_stack_runs(self):
        self.fake("cart")
        started = self.shell('settings_save; spawn cart "$TW_BIN_DIR/tillwire-cart"')
        self.assertEqual(started.returncode, 0, started.stderr)
        self.assert_refused(self.dev("start", "member", TW_KAFKA="there:9092"), "runs with another TW_KAFKA")
        self.assertNotIn("there", self.dev("env").stdout)
        self.assert_refused(self.dev("start", "member", TW_BASE_PORT="9000"), f"runs with TW_BASE_PORT={self.port}")

    def test_a_program_that_ends_at_once_is_shown_with_its_reason(self):
        self.fake("cart", "sh -c 'echo this is why; exit 2'")
        self.assert_refused(self.dev("start", "cart"), "cart: this is why", "cart stopped while starting")
        self.assertFalse((self.state / "run/cart.pid").exists())

    def test_a_taken_port_is_named(self):
        self.fake("cart")
        with socket.create_server(("127.0.0.1", self.port + 4)):
            self.assert_refused(self.dev("start", "cart"), f"port {self.port + 4}, meant for cart, is taken")
        self.assertFalse((self.state / "run/cart.pid").exists())


unittest.main(argv=sys.argv[:1])
