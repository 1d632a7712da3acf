"""./dev demo is a user's first look: it must run, and its counts must be right."""

from pathlib import Path

from checker import Checker
from stack import ROOT, Stack

REAL = ROOT.parent / "shared" / "data" / "otto-sessions-sample.jsonl"
GENERATED = ("--sessions-count", "60", "--members", "10")


def demo(stack: Stack, *words: str) -> str:
    return stack.dev("demo", *words, timeout_s=240)


def test_generated_sessions_are_counted_exactly(stack: Stack, checker: Checker) -> None:
    report = demo(stack, *GENERATED, "--seed", "7")
    assert "everything is as the input says" in report and "DIFFERS" not in report
    checker.check()


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
