"""`twctl snapshot`: a file with all that a store held, and a rebuild that starts from it. A file with a wrong byte, of
another domain or of another shop is refused, and none is ever replaced."""

import os
import resource
import signal
import stat
import time
from pathlib import Path

import pytest

import replay
from client import Client
from fold import Fold
from judge import Judged
from replay import DOMAINS, DONE, REFUSED, UNREACHED, USAGE, Said, Shop, agrees, drop, rebuild, twctl, verify, writes
from stack import Stack, wait_until
from topics import Topics

SHOP_SEED = 13


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("snapshots")


@pytest.fixture(scope="module")
def files(shop: Shop, stack: Stack, folder: Path) -> dict[str, Path]:
    """Of each domain one."""
    for domain in DOMAINS:
        said = snapshot(stack, domain, folder / domain).must_be(DONE)
        assert str(folder / domain) in said.out and len(said.hash) == 64
    return {domain: folder / domain for domain in DOMAINS}


def snapshot(stack: Stack, domain: str, path: Path) -> Said:
    return twctl(stack, "snapshot", domain, "--output", str(path))


def from_snapshot(stack: Stack, domain: str, path: Path, **environment: str) -> Said:
    return rebuild(stack, domain, "--snapshot", str(path), **environment)


@pytest.mark.parametrize("domain", DOMAINS)
def test_a_rebuild_from_a_snapshot_gives_what_one_from_the_logs_beginning_gives(
    files: dict[str, Path],
    stack: Stack,
    anyone: Client,
    merchant: Client,
    product: str,
    topics: Topics,
    fold: Fold,
    domain: str,
) -> None:
    for _ in range(3):
        for call in writes(anyone, merchant, product):
            call()
    fold.drained()
    right = agrees(stack, domain)
    ends = {**topics.ends("commands"), **topics.ends("events")}
    from_snapshot(stack, domain, files[domain]).must_be(DONE)
    assert agrees(stack, domain).hash == right.hash
    drop(stack, domain)
    rebuild(stack, domain).must_be(DONE)
    assert agrees(stack, domain).hash == right.hash
    drop(stack, domain)
    assert {**topics.ends("commands"), **topics.ends("events")} == ends


def test_a_snapshot_is_for_its_owner_only_and_the_same_store_gives_the_same_items(
    files: dict[str, Path], stack: Stack, folder: Path, fold: Fold
) -> None:
    fold.drained()
    for domain in DOMAINS:
        one, two = folder / f"{domain}-1", folder / f"{domain}-2"
        snapshot(stack, domain, one).must_be(DONE)
        snapshot(stack, domain, two).must_be(DONE)
        assert stat.S_IMODE(one.stat().st_mode) == 0o600
        assert items_of(one) == items_of(two)


def items_of(path: Path) -> bytes:
    """All behind the head, without the hash at the end."""
    content = path.read_bytes()
    return content[content.index(b"\n\n") : -32]


def places(content: bytes) -> dict[str, int]:
    head = content.index(b"\n\n")
    return {
        "the first byte": 0,
        "the domain": content.index(b"domain ") + 7,
        "a watermark": content.index(b"partition 0") + 12,
        "an item's length": head + 3,
        "an item": (head + len(content)) // 2,
        "the last item": len(content) - 40,
        "the hash": len(content) - 1,
    }


def is_rebuilt(said: Said) -> bool:
    """Not yet, while what a killed one holds is not free again."""
    done = said.code == DONE or "it keeps the store before the last rebuild" in said.err
    assert done or "is held by another" in said.err, str(said)
    return done


def test_a_snapshot_that_was_loaded_in_part_is_loaded_anew(
    files: dict[str, Path], stack: Stack, fold: Fold
) -> None:
    fold.drained()
    right = agrees(stack, "cart")
    for after_s in (0.05, 0.15, 0.25, 0.35):
        process = replay.begin(stack, "rebuild", "cart", "--snapshot", str(files["cart"]))
        time.sleep(after_s)  # the fault itself
        os.killpg(process.pid, signal.SIGKILL)
        replay.end(process)
    wait_until("it is rebuilt", lambda: is_rebuilt(from_snapshot(stack, "cart", files["cart"])), 60)
    assert agrees(stack, "cart").hash == right.hash
    drop(stack, "cart")


def test_one_wrong_byte_is_refused_wherever_it_is(files: dict[str, Path], stack: Stack, tmp_path: Path) -> None:
    content = files["cart"].read_bytes()
    before = verify(stack, "cart").must_be(DONE)
    for name, at in places(content).items():
        path = tmp_path / "damaged"
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        refused = from_snapshot(stack, "cart", path)
        words, code = ("is no snapshot", USAGE) if at == 0 else ("is damaged", REFUSED)
        assert refused.code == code and words in refused.err and str(path) in refused.err, f"{name}: {refused}"
    for length in (0, 1, 31, 32, 33, len(content) // 2, len(content) - 32, len(content) - 1):
        path = tmp_path / "cut"
        path.write_bytes(content[:length])
        refused = from_snapshot(stack, "cart", path)
        assert refused.code in (REFUSED, USAGE) and str(path) in refused.err, f"{length} bytes: {refused}"
    assert verify(stack, "cart").must_be(DONE).hash == before.hash
    assert "there is nothing to forget" in rebuild(stack, "cart", "--drop").must_be(DONE).out


def test_a_snapshot_of_something_else_is_refused(files: dict[str, Path], stack: Stack, tmp_path: Path) -> None:
    refused = from_snapshot(stack, "member", files["cart"])
    assert "is of another domain: cart, not member" in refused.must_be(USAGE).err
    key = tmp_path / "id_key"
    key.write_text("5" * 64, encoding="utf-8")
    key.chmod(0o600)
    refused = from_snapshot(stack, "member", files["member"], TW_ID_KEY_FILE=str(key))
    assert "is of another id key" in refused.must_be(USAGE).err
    text = tmp_path / "text"
    text.write_text("these are a few words, and more than a hash is long", encoding="utf-8")
    assert str(text) in from_snapshot(stack, "cart", text).err
    assert str(tmp_path / "none") in from_snapshot(stack, "cart", tmp_path / "none").must_be(USAGE).err


def test_a_file_that_is_there_is_never_replaced(files: dict[str, Path], stack: Stack) -> None:
    before = files["cart"].read_bytes()
    assert "is there already" in snapshot(stack, "cart", files["cart"]).must_be(USAGE).err
    assert files["cart"].read_bytes() == before
    nowhere = files["cart"].parent / "none" / "cart"
    assert str(nowhere) in snapshot(stack, "cart", nowhere).must_be(USAGE).err


def test_a_full_disk_leaves_no_file_and_holds_nothing(shop: Shop, stack: Stack, tmp_path: Path) -> None:
    def little_room() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a vendor's library writes before the program does
        resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))

    for domain in DOMAINS:
        said = twctl(stack, "snapshot", domain, "--output", str(tmp_path / domain), prepare=little_room)
        assert said.code == UNREACHED and "cannot write" in said.err and "File too large" in said.err, str(said)
        dumped = twctl(stack, "verify", domain, "--dump", str(tmp_path / "dump"), prepare=little_room)
        assert dumped.code == UNREACHED and "cannot write" in dumped.err, str(dumped)
        (tmp_path / "dump").unlink()
        assert not list(tmp_path.iterdir())
        verify(stack, domain).must_be(DONE)


def test_everything_agrees_with_a_fold_of_the_log(judged: Judged) -> None:
    judged()
