"""Logs in files: what is exported, what is refused, and a shop that goes on with an imported log. And `twctl trace`:
what the logs hold of one command, one member, one product."""

import hashlib
import json
import os
import resource
import signal
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic

import ids
from client import Client, Member, some_email
from fold import Fold
from judge import Judged
from messages import TOPICS
from replay import policies_rest
from stack import PROGRAMS, Stack, wait_until
from test_poison import headers_of, letters
from topics import Record, Topics

CART = ("cart.commands", "cart.events", "cart.dlq")


def twctl(
    stack: Stack, *words: str | Path, code: int = 0, prepare: Callable[[], None] | None = None
) -> subprocess.CompletedProcess[str]:
    """The program itself, because some are told that they may write little."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("TW_")}
    done = subprocess.run(
        [Path(os.environ["TW_BIN_DIR"]) / "twctl", *words],
        env={**plain, "TW_KAFKA": stack.environment["TW_KAFKA"]},
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=prepare,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


# --- files


@pytest.fixture(scope="module")
def files(
    stack: Stack, anyone: Client, product: str, topics: Topics, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder with the log of the carts, after somebody used one. It stays as it is until somebody uses one again."""
    folder = tmp_path_factory.mktemp("files")
    shopper = anyone.new_caller()
    for quantity in range(1, 5):
        assert shopper.add(product, quantity).status_code == 200
    wait_until("policies have nothing more to say", lambda: policies_rest(topics), 60)
    for topic in CART:
        twctl(stack, "log", "export", topic, "--to", folder)
    return folder


def test_an_export_says_what_it_wrote_and_a_check_says_the_same(stack: Stack, files: Path, topics: Topics) -> None:
    said = twctl(stack, "log", "check", files / "cart.commands.twlog").stdout
    topics.read("cart.commands")
    content = (files / "cart.commands.twlog").read_bytes()
    assert f"SHA-256 {hashlib.sha256(content[:-72]).hexdigest()}" in said
    assert said.startswith(f"cart.commands: {len(topics.records('cart.commands'))} records, written ")
    assert f" by twctl {stack.twctl('--version').split()[1]} from the cluster " in said
    assert all(f"partition {p}: " in said for p in range(TOPICS["cart.commands"]))
    assert not list(files.glob("*.part"))


def test_a_file_that_is_there_and_a_topic_that_is_not_are_refused(stack: Stack, files: Path) -> None:
    before = (files / "cart.commands.twlog").read_bytes()
    assert "is there already" in twctl(stack, "log", "export", "cart.commands", "--to", files, code=2).stderr
    assert (files / "cart.commands.twlog").read_bytes() == before
    refused = twctl(stack, "log", "export", "cart.wishes", "--to", files, code=2).stderr
    assert "'cart.wishes' is none of the topics member.commands, " in refused


def test_a_full_disk_leaves_no_file_and_says_so(stack: Stack, tmp_path: Path) -> None:
    def little_room() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a vendor's library writes before the program does
        resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))

    refused = twctl(stack, "log", "export", "cart.commands", "--to", tmp_path, code=1, prepare=little_room)
    assert "cannot write" in refused.stderr and "File too large" in refused.stderr
    assert not list(tmp_path.iterdir())
    refused = twctl(stack, "log", "export", "cart.commands", "--to", tmp_path / "nowhere", code=2)
    assert "No such file or directory" in refused.stderr


def test_damage_is_named_and_nothing_damaged_is_imported(
    stack: Stack, files: Path, topics: Topics, tmp_path: Path
) -> None:
    content = (files / "cart.commands.twlog").read_bytes()
    damaged = tmp_path / "cart.commands.twlog"
    block = content.index(b"TBLK") + 40
    ends = topics.ends()
    for bytes_, words in (
        (content[:block] + bytes([content[block] ^ 4]) + content[block + 1 :], ("block 0 (partition ", "expected ")),
        (content[:-100], ("is cut short",)),
        (content[:8] + struct.pack("<II", 9, 0xFFFFFFFF - 9) + content[16:], ("format version 9",)),
        (b"cart.commands", ("is no exported log",)),
    ):
        damaged.write_bytes(bytes_)
        for command in ("check", "import"):
            refused = twctl(stack, "log", command, damaged, code=2 if "version" in words[0] or "no " in words[0] else 1)
            assert all(word in refused.stderr for word in ("'cart.commands.twlog'", *words)), refused.stderr
    assert topics.ends() == ends


def empty_log(topic: str, bounds: list[tuple[int, int]]) -> bytes:
    """As docs/log-files.md has it, written a second time; without any record."""

    def sealed(run: bytes) -> bytes:
        return run + hashlib.blake2b(run, digest_size=16).digest()

    def text(value: str) -> bytes:
        return struct.pack("<I", len(value)) + value.encode()

    body = struct.pack("<qI", 1_750_000_000_000, len(bounds)) + text(topic) + text("nowhere") + text("a test")
    body += b"".join(struct.pack("<qq", *partition) for partition in bounds)
    head = sealed(b"\x89TWLOG\r\n" + struct.pack("<III", 1, 0xFFFFFFFE, len(body)) + body)
    index = sealed(b"")
    end = struct.pack("<qQ", len(head), 0) + hashlib.sha256(head + index).digest()
    return head + index + sealed(end) + b"TWLOGEND"


def test_a_log_that_fits_no_topic_is_refused(stack: Stack, tmp_path: Path) -> None:
    file, count = tmp_path / "x.twlog", TOPICS["cart.commands"]
    for topic, bounds, code, words in (
        ("cart.commands", [(0, 0)] * (count + 1), 1, f"has {count + 1} partitions of 'cart.commands', the manifest"),
        ("cart.commands", [(0, 0), (7, 7)] + [(0, 0)] * (count - 2), 1, "begins at offset 7 of partition 1"),
        ("cart.wishes", [(0, 0)], 2, "'cart.wishes' is none of the topics"),
    ):
        file.write_bytes(empty_log(topic, bounds))
        assert words in twctl(stack, "log", "import", file, code=code).stderr


# --- another cluster: the same one without its topics


def delete(stack: Stack, *names: str) -> None:
    admin = AdminClient({"bootstrap.servers": stack.environment["TW_KAFKA"]})
    for future in admin.delete_topics(list(names), operation_timeout=20).values():
        future.result()
    wait_until("they are gone", lambda: not {*names} & {*admin.list_topics(timeout=10).topics})


def setting(stack: Stack, topic: str, name: str) -> str:
    admin = AdminClient({"bootstrap.servers": stack.environment["TW_KAFKA"]})
    resource_ = ConfigResource(ConfigResource.Type.TOPIC, topic)
    return str(admin.describe_configs([resource_])[resource_].result()[name].value)


@pytest.fixture
def reread(stack: Stack) -> Iterator[Callable[[], dict[str, list[Record]]]]:
    """All records of the carts' topics, by a reader that has seen nothing yet."""
    readers: list[Topics] = []

    def read() -> dict[str, list[Record]]:
        readers.append(Topics(stack.environment["TW_KAFKA"]))
        for topic in CART:
            readers[-1].read(topic)
        return {topic: readers[-1].records(topic) for topic in CART}

    yield read
    for reader in readers:
        reader.close()


def test_a_shop_goes_on_with_an_imported_log(
    healed: Stack,
    anyone: Client,
    product: str,
    topics: Topics,
    fold: Fold,
    judged: Judged,
    reread: Callable[[], dict[str, list[Record]]],
    files: Path,
    tmp_path: Path,
) -> None:
    shopper = anyone.new_caller()
    member = str(shopper.get("/v1/cart").json()["member_id"])
    at = ids.partition_of(member.encode(), TOPICS["cart.commands"])
    partition, offset = topics.write(
        "cart.commands", member.encode(), b"no message", headers_of(many=None) + [("null", None), ("empty", "")], at
    )
    assert shopper.add(product, 5).status_code == 200
    wait_until("it is in the DLQ", lambda: letters(topics, partition, offset))
    fold.drained()
    before = reread()
    healed.stop(*PROGRAMS)
    for topic in CART:
        twctl(healed, "log", "export", topic, "--to", tmp_path)
    delete(healed, *CART)

    # a topic with partitions of its own
    admin = AdminClient({"bootstrap.servers": healed.environment["TW_KAFKA"]})
    admin.create_topics([NewTopic("cart.commands", 2, 1)])["cart.commands"].result()
    wait_until("it is there", lambda: "cart.commands" in admin.list_topics(timeout=10).topics)
    refused = twctl(healed, "log", "import", tmp_path / "cart.commands.twlog", code=1).stderr
    assert f"topic 'cart.commands' has 2 partitions, the manifest says {TOPICS['cart.commands']}" in refused
    delete(healed, "cart.commands")

    # somebody was there before
    healed.twctl("topics", "apply")
    topics.write("cart.commands", b"key", b"value", [], at)
    refused = twctl(healed, "log", "import", tmp_path / "cart.commands.twlog", code=1).stderr
    assert "it is not empty: " in refused and f"'cart.commands' partition {at} offset 0 has another " in refused
    assert setting(healed, "cart.commands", "message.timestamp.type") == "LogAppendTime"

    # and whatever leaves a gap: a transaction's end takes an offset
    writer = Producer({"bootstrap.servers": healed.environment["TW_KAFKA"], "transactional.id": "e2e-logs"})
    writer.init_transactions(30)
    writer.begin_transaction()
    writer.produce("cart.commands", b"value", b"key", at)
    writer.commit_transaction(30)
    wait_until("its end is written", lambda: topics.end("cart.commands", at) == 3)
    topics.write("cart.commands", b"key", b"value", [], at)
    (tmp_path / "gap").mkdir()
    refused = twctl(healed, "log", "export", "cart.commands", "--to", tmp_path / "gap", code=1).stderr
    assert f"partition {at}: offset 3 comes where 2 should: records are missing" in refused
    assert not list((tmp_path / "gap").iterdir())
    delete(healed, "cart.commands")

    # an older file, then the rest of the newer one; topics that exist and one that does not
    older = twctl(healed, "log", "import", files / "cart.commands.twlog").stdout
    imported = int(older.split(": ")[1].split()[0])
    assert 0 < imported < len(before["cart.commands"])
    for topic in CART:
        there = imported if topic == "cart.commands" else 0
        said = twctl(healed, "log", "import", tmp_path / f"{topic}.twlog").stdout
        assert f": {len(before[topic]) - there} records were imported, {there} were there already" in said
        again = twctl(healed, "log", "import", tmp_path / f"{topic}.twlog").stdout
        assert f": 0 records were imported, {len(before[topic])} were there already" in again
    assert reread() == before
    topics.reconnect()
    assert "all topics are as the manifest says" in healed.twctl("topics", "diff")
    older = twctl(healed, "log", "import", files / "cart.commands.twlog", code=1).stderr
    assert "'cart.commands' is not empty: partition " in older

    healed.heal()
    assert shopper.add(product, 2).status_code == 200
    assert shopper.get("/v1/cart/summary").json()["total_items"] == 7
    judged()


# --- trace


def traced(stack: Stack, id_: str, *words: str) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = json.loads(twctl(stack, "trace", id_, "--json", *words).stdout)
    return lines


def ended(stack: Stack, command: str) -> list[dict[str, Any]]:
    """What is traced of a command, once its outcome is."""
    lines = traced(stack, command)
    return lines if lines[-1]["type"] == "command.outcome.v1" else []


def place(line: dict[str, Any]) -> tuple[str, int, int]:
    return line["topic"], line["partition"], line["offset"]


def test_a_command_is_traced_to_its_end(stack: Stack, shopper: Client, product: str, topics: Topics) -> None:
    command = str(shopper.add(product, 3, wait=False).json()["command_id"])
    lines = wait_until("it ends", lambda: ended(stack, command))
    expected = topics.commands_of(command) + topics.events_of(command)
    assert [place(line) for line in lines] == [(r.topic, r.partition, r.offset) for r in expected]
    added = lines[0]
    assert added["type"] == "cart.add_item.v1" and added["body"]["quantity"] == 3 and added["id"] == command
    assert [line["type"] for line in lines[1:]] == ["cart.item_added.v1", "command.outcome.v1"]
    assert all(line["cause_offset"] == added["offset"] and line["command_id"] == command for line in lines[1:])
    table = twctl(stack, "trace", command).stdout.splitlines()
    assert len(table) == 4 and table[0].startswith("TIME ") and "  succeeded 200" in table[3]


def test_a_member_is_traced_with_the_cart_and_without_secrets(stack: Stack, anyone: Client, product: str) -> None:
    member: Member = anyone.new_member()
    shopper = anyone.as_caller(member.access_token)
    assert shopper.add(product, 1).status_code == 200
    lines = traced(stack, member.id)
    assert {line["key"] for line in lines} == {member.id}
    types = [line["type"] for line in lines]
    assert types.index("member.register.v1") < types.index("member.registered.v1") < types.index("cart.add_item.v1")
    shown = json.dumps(lines) + twctl(stack, "trace", member.id).stdout
    assert member.email in shown and "argon2id" not in shown and "_hash" not in shown


def test_the_first_command_of_a_change_of_email_is_traced_to_the_outcome_another_gave(
    stack: Stack, anyone: Client
) -> None:
    member = anyone.new_member()
    caller = anyone.as_caller(member.access_token)
    command = str(caller.change_email(some_email(), member.password, wait=False).json()["command_id"])
    outcome = wait_until("it ends", lambda: ended(stack, command), 60)[-1]
    assert outcome["body"]["command_id"] == command
    assert outcome["command_id"] != command, "the last step of it"


def test_a_dead_letter_is_traced_by_command_and_by_member(
    stack: Stack, shopper: Client, product: str, topics: Topics
) -> None:
    assert shopper.add(product, 1).status_code == 200
    member = str(shopper.get("/v1/cart").json()["member_id"])
    at = ids.partition_of(member.encode(), TOPICS["cart.commands"])
    command = ids.some_command_id(1_750_000_000_000, "cart", at)
    partition, offset = topics.write(
        "cart.commands", member.encode(), b"password=secret", headers_of(ce_id=command), at
    )
    wait_until("it is in the DLQ", lambda: letters(topics, partition, offset))
    for id_ in (command, member):
        lines = traced(stack, id_)
        (letter,) = (line for line in lines if line["topic"] == "cart.dlq")
        assert letter["dead_letter"]["reason"] == "undecodable" and letter["cause_offset"] == offset
        assert "15 bytes that cannot be decoded" in letter["not_decoded"]
        assert ("cart.commands", partition, offset) in [place(line) for line in lines]
        assert "secret" not in json.dumps(lines)
    assert "given up, undecodable: " in twctl(stack, "trace", command).stdout


def test_an_id_nobody_knows_is_told_with_what_was_searched(stack: Stack) -> None:
    refused = twctl(stack, "trace", ids.some_command_id(1_750_000_000_000, "product", 2), code=1).stderr
    assert "nothing is known of " in refused and "product.commands partition 2, " in refused
    assert "cart." not in refused, "only where such a command can be"
    refused = twctl(stack, "trace", "8d546db7-4db5-8236-b176-2a7b606eca26", code=1).stderr
    assert all(f"{topic} partition " in refused for topic in TOPICS)
    assert "'nonsense' is no id" in twctl(stack, "trace", "nonsense", code=2).stderr


def test_a_trace_is_narrowed_by_time(stack: Stack, shopper: Client, product: str) -> None:
    for quantity in (1, 2):
        assert shopper.add(product, quantity).status_code == 200
    member = str(shopper.get("/v1/cart").json()["member_id"])
    lines = traced(stack, member)
    times = sorted(line["time"] for line in lines)
    middle = times[len(times) // 2]
    early, late = traced(stack, member, "--until", middle), traced(stack, member, "--from", middle)
    assert early and all(line["time"] < middle for line in early)
    assert late and all(line["time"] >= middle for line in late)
    assert sorted(map(place, early + late)) == sorted(map(place, lines))
    refused = twctl(stack, "trace", member, "--from", "2100-01-01T00:00:00Z", code=1).stderr
    assert "at that time. What was searched:" in refused
    assert "from 'yesterday' is no time" in twctl(stack, "trace", member, "--from", "yesterday", code=2).stderr


def test_everything_agrees_with_a_fold_of_the_log(judged: Judged) -> None:
    judged()
