"""./dev demo is a user's first look: it must run, and its counts must be right."""

import argparse
import sys
from pathlib import Path

import pytest

from judge import Judged
from stack import ROOT, Stack
from stores import Stores

sys.path.insert(0, str(ROOT / "tests" / "demo"))

REAL = ROOT.parent / "shared" / "data" / "otto-sessions-sample.jsonl"
GENERATED = ("--sessions-count", "60", "--members", "10")


def demo(stack: Stack, *words: str) -> str:
    return stack.dev("demo", *words, timeout_s=240)


def test_generated_sessions_are_counted_exactly(stack: Stack, judged: Judged) -> None:
    report = demo(stack, *GENERATED, "--seed", "7")
    assert "everything is as the input says" in report and "DIFFERS" not in report
    judged(but=["I1"])  # the demo has a client of its own, which no recorder sees


def test_real_sessions_are_counted_exactly_where_they_are_at_hand(stack: Stack) -> None:
    words = ("--sessions", str(REAL)) if REAL.exists() else GENERATED
    assert "everything is as the input says" in demo(stack, *words, "--members", "10")


def test_a_file_that_holds_no_sessions_is_named(stack: Stack, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.jsonl"
    wrong.write_text('{"session": 1}\n', encoding="utf-8")
    try:
        demo(stack, "--sessions", str(wrong))
    except AssertionError as error:
        assert "wrong.jsonl:1 is no session" in str(error)
    else:
        raise AssertionError("it was accepted")


def test_a_count_that_differs_is_found(
    stack: Stack, stores: Stores, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], judged: Judged
) -> None:
    import demo as program  # what it needs of the environment is there now
    import sessions

    for name, value in stack.environment.items():
        monkeypatch.setenv(name, value)
    options = argparse.Namespace(seed=3, members=2, connections=4)
    walk = program.Demo(options, sessions.generate(20, seed=3))
    walk.run()
    assert program.Report(walk).print() is True

    sku = walk.catalogue.sku(max(walk.views, key=lambda aid: walk.views[aid]))
    stores.mongo["products"].update_one({"sku": sku}, {"$inc": {"view_count": 1}})
    assert program.Report(walk).print() is False
    assert "DIFFERS" in capsys.readouterr().out
    stores.mongo["products"].update_one({"sku": sku}, {"$inc": {"view_count": -1}})

    customer = next(customer for customer in walk.customers if customer.lines)
    key = next(key for key in stores.cart_texts(customer.id) if not key.endswith(":summary"))
    line = stores.redis.getdel(key)
    assert program.Report(walk).print() is False
    stores.redis.set(key, line, pxat=stores.redis.pexpiretime(f"cart:{customer.id}:summary"))
    assert program.Report(walk).print() is True
    judged(but=["I1"])  # the demo has a client of its own, which no recorder sees
