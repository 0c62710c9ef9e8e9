"""True SIGKILLs, a few of them; `tests/faults/kills.py` does many more."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("script", ["a high leverage", "two on one wallet"])
def test_after_true_kills_nothing_is_doubled_lost_or_left_without_a_stop(script: str) -> None:
    """In a process of its own: it forks, and pytest has more in it than may be forked."""
    done = subprocess.run(
        [sys.executable, "tests/faults/kills.py", "--kills", "6", "--script", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 true kills" in done.stdout


@pytest.mark.timeout(300)
def test_a_live_guard_killed_on_the_wire_has_done_what_the_venue_has_on_record() -> None:
    script = ["--script", "a high leverage", "--first", "1"]
    done = subprocess.run(
        [sys.executable, "tests/faults/kills.py", "--wire", "--kills", "4", *script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 true kills" in done.stdout


@pytest.mark.timeout(300)
def test_a_guard_that_sends_what_is_on_no_row_is_found_out() -> None:
    """As if the journal only said that it had taken what it is given."""
    careless = (
        "import sys; sys.argv[1:] = ['--kills', '30', '--script', 'a high leverage']\n"
        "from bot.journal.sqlite import SqliteJournal\n"
        "from tests.faults import kills\n"
        "from bot.journal.port import Kind\n"
        "plain = SqliteJournal.append\n"
        "async def careless(self, entries):\n"
        "    return await plain(self, [e for e in entries if e.kind is not Kind.INTENT])\n"
        "SqliteJournal.append = careless\n"
        "sys.exit(kills.main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", careless],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "is on the exchange and on no row" in done.stdout
