"""Two hours of a live guard, compressed; `tests/faults/day.py` lives through whole days."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(300)
def test_two_hours_pass_without_a_stuck_stream_or_a_missing_stop() -> None:
    """In a process of its own: its clocks are not those of other tests."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.day", "--hours", "2"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 h lived through, 0 wrong" in done.stdout
