"""The page of faults: it is as the code is, names tests that there are, and leaves no kind out."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

from bot.exchange.paper.wire.mishaps import MishapKind
from docs.faults import PAGE, faults
from tests.exchange.venues.stage import FaultKind
from tests.faults.catalogue import GAPS, ROWS
from tests.faults.crisis import Fault
from tests.sim.ingredients import MISHAPS
from tests.sim.mishaps import KINDS, NEWER, RARER

ROOT = Path(__file__).parents[2]


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == faults(), "run: python docs/faults.py"


def test_every_kind_of_fault_that_is_brought_about_is_in_one_row() -> None:
    injected = Counter(each for row in ROWS for each in row.injected)
    brought = {*map(str, (*FaultKind, *MishapKind, *Fault)), *KINDS, *RARER, *NEWER, *MISHAPS}
    assert set(injected) == brought
    assert max(injected.values()) == 1


def test_a_row_has_tests_and_a_gap_a_reason() -> None:
    assert all(row.tests for row in ROWS)
    assert all(gap.why for gap in GAPS)
    names = [row.fault for row in ROWS] + [gap.fault for gap in GAPS]
    assert len(set(names)) == len(names)


def test_every_test_that_is_named_is_one_that_pytest_collects() -> None:
    named = {each for row in ROWS for each in row.tests}
    files = sorted({each.partition("::")[0] for each in named})
    found = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *files],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    assert named - {each.partition("[")[0] for each in found.stdout.splitlines()} == set()
