"""The edge and the workers as an operator meets them without any server: wrong settings, and servers that are away."""
import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.request

import check_metrics_text

SOURCE = pathlib.Path(sys.argv[1]).resolve()
BUILD = pathlib.Path(sys.argv[2]).resolve()
WORKERS = {"member": "postgres_uri", "product": "mongo_uri", "cart": "redis_uri"}
NOBODY = "127.0.0.1:1"


KEPT = []  # sockets


def free_address() -> str:
    """Nobody else is given it until we end; who names it may listen there."""
    probe = socket.socket()
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    probe.bind(("127.0.0.1", 0))
    KEPT.append(probe)
    return f"127.0.0.1:{probe.getsockname()[1]}"


class Programs(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.admin = free_address()
        self.settings = {
            "kafka": NOBODY, "postgres_uri": f"postgresql://tillwire:hidden@{NOBODY}/tillwire",
            "mongo_uri": f"mongodb://tillwire:hidden@{NOBODY}/tillwire", "redis_uri": f"redis://:hidden@{NOBODY}",
            "id_key_file": self.file("id_key", "00" * 32), "edge_key_file": self.file("edge_key", "11" * 32),
            "jwt_keys_file": self.file("jwt_keys", "key-1:" + "22" * 32), "admin_listen": self.admin,
            "broker_timeout_ms": "500", "store_timeout_ms": "500",
        }

    def file(self, name: str, text: str) -> str:
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o600)
        return str(path)

    def environment(self, **changed: str) -> dict[str, str]:
        plain = {name: value for name, value in os.environ.items() if not name.startswith("TW_")}
        plain["MONGOC_DISABLE_SHM"] = "1"  # else it warns where a killed process with the same number left its file
        return {**plain, **{f"TW_{name.upper()}": value for name, value in {**self.settings, **changed}.items()}}

    @contextlib.contextmanager
    def running(self, program: str, *options: str, **changed: str):
        log = self.folder / f"{program}.log"
        with log.open("w") as out:
            process = subprocess.Popen([BUILD / f"bin/tillwire-{program}", *options], stdout=out, stderr=out,
                                       env=self.environment(**changed), stdin=subprocess.DEVNULL)
        try:
            yield log, process
            process.send_signal(signal.SIGTERM)
            self.assertEqual(process.wait(20), 0, log.read_text())
        finally:
            process.kill()
            process.wait()

    def ask(self, path: str) -> tuple[int, str]:
        with contextlib.suppress(urllib.error.HTTPError):
            try:
                with urllib.request.urlopen(f"http://{self.admin}{path}", timeout=5) as answer:
                    return answer.status, answer.read().decode()
            except urllib.error.HTTPError as error:
                return error.code, error.read().decode()
            except OSError:
                return 0, ""

    def wait_for(self, what: str, question) -> None:
        deadline = time.monotonic() + 30
        while not question():
            self.assertLess(time.monotonic(), deadline, what)
            time.sleep(0.1)

    def reload(self, process: subprocess.Popen, log: pathlib.Path, word: str) -> None:
        before = log.read_text().count(word)
        process.send_signal(signal.SIGHUP)
        self.wait_for(f"the log tells {word}", lambda: log.read_text().count(word) > before)

    def assert_refused(self, program: str, *words: str, **changed: str):
        done = subprocess.run([BUILD / f"bin/tillwire-{program}"], env=self.environment(**changed), capture_output=True,
                              text=True, stdin=subprocess.DEVNULL, check=False, timeout=30)
        self.assertEqual(done.returncode, 2, f"{program} {changed}: {done.stderr}")
        for word in words:
            self.assertIn(word, done.stderr)
        self.assertNotIn("hidden", done.stderr)

    def test_a_wrong_setting_is_named_before_any_server_is_asked(self):
        store = {"postgres_uri": ("nonsense", "postgresql://u:hidden@[half/x"),
                 "mongo_uri": ("nonsense", f"mongodb://u:hidden@{NOBODY}"),
                 "redis_uri": ("nonsense", f"rediss://:hidden@{NOBODY}")}
        for program, uri in [*WORKERS.items(), ("cart", "mongo_uri"), *(("edge", uri) for uri in WORKERS.values())]:
            for value in store[uri]:
                self.assert_refused(program, uri, **{uri: value})
        for program in (*WORKERS, "edge"):
            self.assert_refused(program, "kafka", "no_such_setting", kafka=f"{NOBODY}?no_such_setting=1")
            self.assert_refused(program, "id_key_file", id_key_file="/nonexistent")
            self.assert_refused(program, "id_key_file", "hex", id_key_file=self.file("short", "00"))
            self.assert_refused(program, "nonsense", admin_listen="nonsense")
            self.assert_refused(program, "TW_NONSENSE", nonsense="1")

    def test_a_wrong_setting_of_the_edge_alone_is_named(self):
        self.assert_refused("edge", "edge_key_file", edge_key_file="/nonexistent")
        self.assert_refused("edge", "jwt_keys_file", jwt_keys_file=self.file("keys", "nonsense"))
        self.assert_refused("edge", "nonsense", listen="nonsense")

    def test_a_store_with_its_password_may_stand_in_a_file(self):
        for program, uri in (("member", "postgres_uri"), ("cart", "mongo_uri"), ("edge", "redis_uri")):
            plain = self.settings.pop(uri)
            self.assert_refused(program, uri, "nonsense", **{f"{uri}_file": "/nonsense"})
            self.assert_refused(program, uri, **{f"{uri}_file": self.file("uri", "hidden nonsense")})
            path = self.file("uri", plain)
            done = self.check(program, **{f"{uri}_file": path})
            self.assertIn(f"{uri} = (set)  # environment, in the file {path}", done.stdout)
            self.settings[uri] = plain

    def test_check_looks_into_the_files_before_anybody_starts_or_reloads(self):
        for program in (*WORKERS, "edge"):
            done = self.check(program)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            done = self.check(program, id_key_file=self.file("short", "00"))
            self.assertEqual(done.returncode, 2)
            self.assertIn("id_key_file", done.stderr)
        done = self.check("edge", jwt_keys_file=self.file("broken_keys", "key-3:33"))
        self.assertEqual(done.returncode, 2)
        self.assertIn("jwt_keys_file: line 1 of the token keys is not a key of 32 to 64 bytes in hex", done.stderr)

    def test_check_refuses_what_the_start_would_refuse(self):
        for name, value in (("cors_origins", "*"), ("trusted_proxies", "0.0.0.0/0"), ("access_log", "somewhere"),
                            ("listen", "127.0.0.1:8443s"), ("admin_listen", "nonsense"),
                            ("postgres_uri", "nonsense"), ("mongo_uri", "nonsense"), ("redis_uri", "nonsense")):
            self.assert_refused("edge", name, **{name: value})
            done = self.check("edge", **{name: value})
            self.assertEqual(done.returncode, 2, name)
            self.assertIn(name, done.stderr)

    def check(self, program: str, **changed: str) -> subprocess.CompletedProcess:
        return subprocess.run([BUILD / f"bin/tillwire-{program}", "--check"], env=self.environment(**changed),
                              capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False, timeout=30)

    def test_the_threads_of_workers_and_the_edge_are_two_settings(self):
        for program in WORKERS:
            self.assert_refused(program, "threads", "1..16", threads="17")
        self.assert_refused("edge", "request_threads", "2..2000", request_threads="1")
        with self.running("edge", threads="1", listen=free_address()):
            self.wait_for("the admin port answers", lambda: self.ask("/healthz")[0] == 200)

    def test_a_time_that_would_take_a_server_that_is_away_for_a_hang_is_refused(self):
        for program in WORKERS:
            self.assert_refused(program, "hang_timeout_s", "store_timeout_ms", hang_timeout_s="2")
        self.assert_refused("edge", "hang_timeout_s", "10 s", hang_timeout_s="10")

    def test_a_worker_tells_that_the_broker_is_away_and_goes_on_trying_also_after_sighup(self):
        config = pathlib.Path(self.file("config", ""))
        for program in WORKERS:
            config.write_text("log_level = info")
            with self.running(program, "--config", str(config)) as (log, process):
                self.wait_for("/readyz tells it", lambda: "brokers" in self.ask("/readyz")[1])
                self.assertEqual((self.ask("/readyz")[0], self.ask("/healthz")[0]), (503, 200))
                self.assertIn("waiting for the broker", log.read_text())
                check_metrics_text.check_page(SOURCE, self.ask("/metrics")[1], is_edge=False, is_fresh=True)
                config.write_text("log_level = nonsense")
                self.reload(process, log, "a setting is wrong; all stay as they were")
                config.write_text("log_level = info\nlinger_us = 7")
                self.reload(process, log, '"setting":"linger_us"')

    def assert_reads_anew(self, process: subprocess.Popen, log: pathlib.Path, config: str) -> None:
        keys = pathlib.Path(self.settings["jwt_keys_file"])
        keys.write_text("key-2:" + "33" * 32 + "\nkey-1:" + "22" * 32)
        pathlib.Path(config).write_text("log_level = debug\nwait_slots = 7")
        self.reload(process, log, '"keys":2,"signs":"key-2"')
        self.assertIn('"setting":"wait_slots"', log.read_text())
        keys.write_text("key-3:33")
        self.reload(process, log, "the token keys stay as they were")
        self.assertIn(f'"file":"{keys}"', log.read_text())
        self.assertIn("line 1 of the token keys is not a key of 32 to 64 bytes in hex", log.read_text())
        self.assertNotIn("33" * 8, log.read_text())

    def test_the_edge_tells_which_servers_are_away_and_goes_on_trying_also_after_sighup(self):
        def told():
            lines = [json.loads(line) for line in log.read_text().rpartition("\n")[0].splitlines()]
            return {line.get("store") for line in lines if line["message"] == "store does not answer"}

        config = self.file("config", "log_level = info")
        with self.running("edge", "--config", config, listen=free_address()) as (log, process):
            self.wait_for("all stores are named", lambda: told() == {"postgres", "mongo", "redis"})
            status, parts = self.ask("/readyz")
            self.assertEqual(status, 503)
            for part in ("broker", "postgres", "mongo", "redis"):
                self.assertFalse(json.loads(parts)["parts"][part])
            self.assertEqual(self.ask("/healthz")[0], 200)
            self.assertNotIn("hidden", log.read_text())
            check_metrics_text.check_page(SOURCE, self.ask("/metrics")[1], is_edge=True, is_fresh=True)
            self.assert_reads_anew(process, log, config)

    def test_the_edge_goes_down_soon_and_in_order_while_servers_hang_and_its_admin_port_is_asked(self):
        def keep_asking():
            while process.poll() is None:
                self.ask("/readyz")
                self.ask("/metrics")

        with socket.socket() as hung:  # takes connections and never says a word
            hung.bind(("127.0.0.1", 0))
            hung.listen(64)
            address = f"127.0.0.1:{hung.getsockname()[1]}"
            stores = {"postgres_uri": f"postgresql://tillwire:hidden@{address}/tillwire",
                      "mongo_uri": f"mongodb://tillwire:hidden@{address}/tillwire",
                      "redis_uri": f"redis://:hidden@{address}"}
            with self.running("edge", kafka=address, listen=free_address(), **stores) as (log, process):
                self.wait_for("the admin port answers", lambda: self.ask("/healthz")[0] == 200)
                asker = threading.Thread(target=keep_asking)
                asker.start()
                self.addCleanup(asker.join)
                time.sleep(0.5)
        self.assertIn("edge is down", log.read_text())
        self.assertNotIn("hung on the way down", log.read_text())


unittest.main(argv=sys.argv[:1])
