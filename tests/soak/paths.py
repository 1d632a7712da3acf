"""Modules of tests/e2e, tests/demo and tests/lib are used here, too."""

import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[1:1] = [str(TESTS / "e2e"), str(TESTS / "demo"), str(TESTS / "lib")]
