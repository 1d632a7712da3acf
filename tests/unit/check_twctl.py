"""twctl as a person meets it without any server: help, mistakes, exit codes."""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

SOURCE, BUILD = (pathlib.Path(argument) for argument in sys.argv[1:3])
NOBODY = "127.0.0.1:1"
COMMANDS = ("topics apply", "topics diff", "schema apply", "schema diff", "token issue", "token list", "token revoke",
            "log export", "log import", "log check", "trace", "dlq list", "dlq show", "dlq requeue", "dlq drop", "ping",
            "verify", "rebuild", "snapshot")
SOME_ID = "7d0b1e52-43aa-8f0e-b1c5-91f3e7a4c820"


def twctl(*words: str, **settings: str) -> subprocess.CompletedProcess:
    env = {name: value for name, value in os.environ.items() if not name.startswith("TW_")}
    env.update({f"TW_{name.upper()}": value for name, value in settings.items()})
    return subprocess.run([BUILD / "bin/twctl", *words], env=env, capture_output=True, text=True, check=False,
                          timeout=60)


class Twctl(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.settings = {
            "kafka": NOBODY, "postgres_uri": f"postgresql://tillwire:hidden@{NOBODY}/tillwire",
            "mongo_uri": f"mongodb://{NOBODY}/tillwire", "redis_uri": f"redis://:hidden@{NOBODY}",
            "id_key_file": self.secret(folder.name, "id_key", "00" * 32),
            "jwt_keys_file": self.secret(folder.name, "jwt_keys", "key-1:" + "11" * 32),
            "store_timeout_ms": "500", "broker_timeout_ms": "500",
        }

    @staticmethod
    def secret(folder: str, name: str, text: str) -> str:
        path = pathlib.Path(folder) / name
        path.write_text(text)
        path.chmod(0o600)
        return str(path)

    def assert_refused(self, done: subprocess.CompletedProcess, code: int, *words: str):
        self.assertEqual(done.returncode, code, done.stderr)
        for word in words:
            self.assertIn(word, done.stderr)

    def test_help_names_every_command_and_the_version_is_told(self):
        done = twctl("--help")
        self.assertEqual(done.returncode, 0)
        for command in COMMANDS:
            self.assertIn(f"twctl {command}", done.stdout)
        self.assertRegex(twctl("--version").stdout, r"^twctl \d+\.\d+\.\d+\n$")

    def test_every_command_explains_itself_without_settings(self):
        for command in COMMANDS:
            done = twctl(*command.split(), "--help")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn(f"Usage: twctl {command} ", done.stdout)
            self.assertIn(done.stdout.split(" [")[0].removeprefix("Usage: "), twctl("--help").stdout)
        self.assertIn("twctl token revoke JTI ", twctl("token", "--help").stdout)
        self.assertNotIn("--scope", twctl("schema", "apply", "--help").stdout)
        self.assertIn("twctl topics diff", twctl("topics", "--help").stdout)

    def test_what_is_no_command_is_refused_with_a_list(self):
        self.assert_refused(twctl(), 2, "which command?", "twctl ping")
        self.assert_refused(twctl("topics"), 2, "topics what?", "twctl topics apply")
        self.assert_refused(twctl("topics", "drop"), 2, "no command 'topics drop'")
        self.assert_refused(twctl("pong"), 2, "no command 'pong'", "twctl ping")

    def test_a_missing_or_wrong_setting_is_named(self):
        self.assert_refused(twctl("schema", "apply"), 2, "postgres_uri must be given", "id_key_file must be given")
        self.assert_refused(twctl("topics", "apply", "--replication", "0"), 2, "replication", "1..16")
        for option, value in (("--scope", "everything"), ("--ttl", "soon"), ("--name", "Ada Lovelace")):
            words = {"--scope": "products:write", option: value}
            done = twctl("token", "issue", *(word for pair in words.items() for word in pair), **self.settings)
            self.assert_refused(done, 2, value)
            self.assertEqual(done.stdout, "")

    def test_a_token_to_revoke_is_named_by_its_id_alone(self):
        self.assert_refused(twctl("token", "revoke", **self.settings), 2, "needs one argument, JTI")
        done = twctl("token", "revoke", SOME_ID, SOME_ID, **self.settings)
        self.assert_refused(done, 2, "takes only one argument, JTI")
        for word in ("everything", SOME_ID[:-1], f"{SOME_ID}0"):
            done = twctl("token", "revoke", word, **self.settings)
            self.assert_refused(done, 2, word, "no token id", "twctl token list")
        self.assert_refused(twctl("token", "list", SOME_ID, **self.settings), 2, "one argument too many")

    def test_a_log_is_asked_for_by_topic_or_file(self):
        self.assert_refused(twctl("log"), 2, "log what?", "twctl log export TOPIC", "twctl log import FILE")
        self.assert_refused(twctl("log", "export", "cart.commands", kafka=NOBODY), 2, "to must be given")
        done = twctl("log", "export", "cart.wishes", "--to", "/tmp", kafka=NOBODY)
        self.assert_refused(done, 2, "'cart.wishes' is none of the topics member.commands, ")
        for command in ("import", "check"):
            settings = {"kafka": NOBODY} if command == "import" else {}
            done = twctl("log", command, "/nowhere/cart.commands.twlog", **settings)
            self.assert_refused(done, 2, "cannot open '/nowhere/cart.commands.twlog': No such file")
            self.assert_refused(twctl("log", command, "/tmp", **settings), 2, "'/tmp' is no file")
        done = twctl("log", "export", "cart.dlq", "--to", "/tmp", kafka=NOBODY, broker_timeout_ms="500")
        self.assert_refused(done, 3)

    def test_a_trace_is_asked_for_by_an_id(self):
        for word in ("everything", SOME_ID[:-1], "00000000-0000-0000-0000-000000000000"):
            self.assert_refused(twctl("trace", word, kafka=NOBODY), 2, f"'{word}' is no id")
        done = twctl("trace", SOME_ID, "--until", "tomorrow", kafka=NOBODY)
        self.assert_refused(done, 2, "until 'tomorrow' is no time")
        self.assert_refused(twctl("trace", SOME_ID, kafka=NOBODY, broker_timeout_ms="500"), 3)

    def test_dead_letters_are_asked_for_by_domain_and_name(self):
        away = {"kafka": NOBODY, "broker_timeout_ms": "500"}
        mistakes = {
            ("list", "basket"): ("no domain 'basket'", "member, product or cart"),
            ("list", "cart", "member"): ("takes only one argument, [DOMAIN]",),
            ("list", "--reason", "tired"): ("'tired' is none of the reasons bad_envelope, ", "parked"),
            ("show",): ("needs one argument, NAME",),
            ("show", "17"): ("'17' is no name of a dead letter like cart/3/17",),
            ("show", "cart/99/17"): ("'cart/99/17'", "no partition 99"),
            ("requeue", "--all-open"): ("needs one argument, DOMAIN",),
            ("requeue", "cart"): ("say which ones: one of --record NAME", "--all-open"),
            ("requeue", "cart", "--all-open", "--reason", "parked"): ("say which ones",),
            ("requeue", "cart", "--record", "member/0/1"): ("'member/0/1' is of another domain",),
            ("requeue", "cart", "--all-open", "--max-attempts", "0"): ("max_attempts", "1..1000"),
            ("drop", "cart", "--all-open"): ("say why, --because TEXT",),
        }
        for words, parts in mistakes.items():
            self.assert_refused(twctl("dlq", *words, **away), 2, *parts)
        for words in (("list",), ("list", "cart"), ("show", "cart/3/17"), ("requeue", "cart", "--all-open")):
            self.assert_refused(twctl("dlq", *words, **away), 3, "twctl: ")

    def test_a_replay_is_asked_for_by_a_domain(self):
        for command in ("verify", "rebuild", "snapshot"):
            self.assertIn(f"twctl {command} DOMAIN ", twctl("--help").stdout)
            needed = () if command != "snapshot" else ("--output", "/nonexistent/file")
            done = twctl(command, *needed, **self.settings)
            self.assert_refused(done, 2, f"twctl {command}: needs one argument, DOMAIN")
            done = twctl(command, *needed, "basket", **self.settings)
            self.assert_refused(done, 2, "no domain 'basket'", "member, product", "cart")
        self.assert_refused(twctl("rebuild", "all", **self.settings), 2, "no domain 'all'")
        self.assert_refused(twctl("verify", "member", "cart", **self.settings), 2, "takes only one argument")

    def test_the_store_of_a_replay_must_be_named(self):
        stores = {"member": "postgres_uri", "product": "mongo_uri", "cart": "redis_uri"}
        for domain, uri in stores.items():
            settings = {name: value for name, value in self.settings.items() if name not in stores.values()}
            for words in (("verify",), ("rebuild",), ("snapshot", "--output", "/nonexistent/file")):
                done = twctl(*words, domain, **settings)
                self.assert_refused(done, 2, f"{uri} must be given", f"the {domain} store")
            self.assert_refused(twctl("verify", domain, **{**settings, uri: self.settings[uri]}), 3, f"{domain}: ")
        done = twctl("verify", "all", **settings)
        self.assert_refused(done, 2, *(f"{uri} must be given" for uri in stores.values()))

    def test_a_replay_that_ends_by_a_signal_is_told(self):
        with tempfile.TemporaryDirectory() as folder:
            program = pathlib.Path(shutil.copy(BUILD / "bin/twctl", folder))
            replay = program.with_name("tillwire-replay")
            for name, words in (("INT", ("interrupted",)), ("KILL", ("tillwire-replay", "signal 9"))):
                replay.write_text(f"#!/bin/sh\nkill -{name} $$\n")
                replay.chmod(0o755)
                done = subprocess.run([program, "verify", "cart"], capture_output=True, text=True, check=False, timeout=60)
                self.assert_refused(done, 3, *words)

    def test_wrong_settings_of_a_replay_are_named(self):
        for words, refusal in ((("rebuild", "cart", "--threads", "0"), ("threads", "1..16")),
                               (("rebuild", "cart", "--threads", "17"), ("threads", "1..16")),
                               (("rebuild", "cart", "--shadow", "x" * 64), ("shadow", "0..63")),
                               (("verify", "cart", "--store-timeout-ms", "99"), ("store_timeout_ms", "100..60000")),
                               (("verify", "cart", "--against-log=perhaps"), ("against_log", "on|off")),
                               (("snapshot", "cart"), ("output must be given",)),
                               (("verify", "all", "--dump", "/nonexistent/dump"), ("a dump is of one domain",)),
                               (("verify", "cart", "--dump", "/nonexistent/x"), ("cannot write '/nonexistent/x'",)),
                               (("verify", "cart", "--until", "0:1"), ("until",)),
                               (("snapshot", "cart", "--output", "/tmp/x", "--threads", "2"), ("--threads",)),
                               (("verify", "cart", "--log-folder", "/tmp"), ("log_folder", "against_log")),
                               (("rebuild", "cart", "--drop", "--roll-back"), ("roll_back and drop",)),
                               (("rebuild", "cart", "--drop", "--until", "0:1"), ("until, roll_back",))):
            self.assert_refused(twctl(*words, **self.settings), 2, *refusal)

    def test_a_replay_tells_which_server_is_away(self):
        for words in (("verify",), ("rebuild",), ("snapshot", "--output", "/nonexistent/file")):
            for domain in ("member", "product", "cart"):
                done = twctl(*words, domain, **self.settings)
                self.assert_refused(done, 3, f"twctl: {domain}: ")
                self.assertNotIn("hidden", done.stdout + done.stderr)

    def test_a_list_needs_no_key_and_no_broker(self):
        settings = {"postgres_uri": self.settings["postgres_uri"]}
        for words in ((), ("--json",), ("--json", "off"), ("--json=on",)):
            self.assert_refused(twctl("token", "list", *words, **settings), 3, "PostgreSQL: cannot connect")
        self.assertNotIn("--kafka", twctl("token", "list", "--help").stdout)

    def test_a_key_file_that_is_wrong_is_named(self):
        pathlib.Path(self.settings["id_key_file"]).write_text("too short")
        self.assert_refused(twctl("schema", "diff", **self.settings), 3, "id_key_file", "32 bytes as hex")

    def test_an_unreadable_postgres_uri_is_not_shown(self):
        self.settings["postgres_uri"] = "postgresql://tillwire:hidden@[half/tillwire"
        done = twctl("token", "issue", "--scope", "products:write", **self.settings)
        self.assert_refused(done, 2, "postgres_uri is no connection string")
        self.assertNotIn("hidden", done.stderr)

    def test_servers_that_are_away_are_named_and_hide_no_others(self):
        done = twctl("schema", "apply", **self.settings)
        self.assert_refused(done, 3, "PostgreSQL: cannot connect", "MongoDB: ", "Redis: ")
        self.assert_refused(twctl("topics", "diff", **self.settings), 3, "Kafka: ")
        self.assert_refused(twctl("token", "issue", "--scope", "products:write", **self.settings), 3, "PostgreSQL: ")
        self.assert_refused(twctl("token", "revoke", SOME_ID, **self.settings), 3, "PostgreSQL: ")
        done = twctl("ping", **self.settings)
        self.assertEqual(done.returncode, 3)
        self.assertEqual([line.split(":")[0] for line in done.stdout.splitlines()],
                         ["Kafka", "PostgreSQL", "MongoDB", "Redis"])
        self.assertNotIn("hidden", done.stdout + done.stderr)


unittest.main(argv=sys.argv[:1])
