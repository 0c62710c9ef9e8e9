"""Kills chosen by the growth of the journal: after each one the dead guard's folder is sound."""

import asyncio
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from bot.core.model import Reported
from bot.journal.sqlite import SqliteJournal
from bot.policy.loader import load_policy
from bot.runtime.verify import verify
from tests.e2e.test_process import CRASH, POLICY, ROOT, liqguard, running, saved

SYMBOL = "BTC/USDT:USDT"
STOP_AFTER_MS = 10_000


def rows_in(state_dir: Path) -> int:
    """How many rows the journal has beside the guard that writes it: counted, not checked."""
    try:
        with closing(sqlite3.connect(f"file:{state_dir}/demo.db?mode=ro", uri=True)) as journal:
            ((count,),) = journal.execute("SELECT count(*) FROM entries")
    except sqlite3.OperationalError:
        return 0  # not made yet
    return int(count)


def wait_for_rows(state_dir: Path, count: int) -> None:
    until_s = time.monotonic() + 60  # noqa: TID251 - another process is waited for
    while rows_in(state_dir) < count:
        assert time.monotonic() < until_s, f"the journal did not grow to {count} rows"  # noqa: TID251
        time.sleep(0.001)


def assert_sound(state_dir: Path, opened_at_ms: int) -> None:
    """The journal verifies, and a position that has been open for long rests on a good stop."""

    async def check() -> None:
        journal = SqliteJournal.read(state_dir / "demo.db", "demo")
        await verify(journal)
        await journal.close()

    asyncio.run(check())
    machine = saved(state_dir)
    if machine.at_ms - opened_at_ms < STOP_AFTER_MS:
        return
    snapshot = machine.snapshot("demo", machine.at_ms)
    mark = machine.quotes[SYMBOL].mark
    for position in snapshot.positions:
        assert isinstance(position.liquidation, Reported)
        assert any(
            stop.reduce_only
            and stop.quantity >= position.quantity
            and position.liquidation.price < stop.trigger_price < mark
            for stop in snapshot.stops
        )


@pytest.mark.timeout(300)
def test_killed_as_the_journal_grows_the_folder_is_sound_each_time(tmp_path: Path) -> None:
    rows, opened_at_ms = 0, int(CRASH[-1])
    for growth in (2, 1, 3, 1, 4, 2, 1, 5, 3, 1):
        with running(tmp_path, [*CRASH, "--speed", "90"]) as process:
            # The first new row only says that it started.
            wait_for_rows(tmp_path, rows + 1 + growth)
            process.send_signal(signal.SIGKILL)
            process.wait(timeout=30)
        rows = rows_in(tmp_path)
        assert_sound(tmp_path, opened_at_ms)
    ended = liqguard(tmp_path, *CRASH, "--speed", "100000")
    assert ended.returncode == 0, ended.stderr
    assert_sound(tmp_path, opened_at_ms)
    machine = saved(tmp_path)
    moved = [change.amount for change in machine.margin_changes("demo", SYMBOL, 0)]
    rails = load_policy(ROOT / POLICY).guardrails
    assert 0 < sum(moved) <= rails.top_up_1h_max
    assert all(amount <= rails.top_up_per_action_max for amount in moved)
    assert all(each.cause.value != "liquidation" for each in machine.realised("demo"))
