"""Two hours of a live guard, compressed; `tests/faults/day.py` lives through whole days."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.day import Measured, grown

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


def hours(hours: int = 22, **an_hour: int) -> list[Measured]:
    """From two hours on: so much more of each an hour."""
    return [
        Measured(
            2 + each,
            160_000 + each * an_hour.get("rss_kib", 0),
            975_000 + each * an_hour.get("blocks", 0),
            30 + each * an_hour.get("tasks", 0),
            30 + each * an_hour.get("files", 0),
        )
        for each in range(hours + 1)
    ]


@pytest.mark.parametrize(
    ("name", "fine", "leaks"),
    [("blocks", 1_200, 7_000), ("rss_kib", 500, 5_000), ("tasks", 0, 1), ("files", 0, 1)],
)
def test_what_is_left_behind_every_hour_is_found(name: str, fine: int, leaks: int) -> None:
    assert grown(hours(**{name: fine})) == []
    (sentence,) = grown(hours(**{name: leaks}))
    assert sentence.startswith(f"{name}: expected at most")


def test_what_is_in_flight_at_one_hour_and_not_at_another_is_no_leak() -> None:
    first, last = hours(1)
    last.tasks, last.files = first.tasks + 5, first.files + 6
    assert grown([first, last]) == []
    assert grown([first]) == []
