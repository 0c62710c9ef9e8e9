"""True SIGKILLs, a few of them; `tests/faults/kills.py` does many more."""

import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from bot.core.actions import AT_MARKET, ClosePosition
from bot.core.events import IntentState
from bot.core.model import Side
from bot.core.units import Money, Price, Quantity
from bot.exchange.paper.books import Cause, Realised
from tests.faults.kills import misclosed

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


ZERO = Money(Decimal(0))
CLOSE = ClosePosition("BTC/USDT:USDT", Side.LONG, Quantity(Decimal("0.2")), AT_MARKET)


def fill(client_id: str = "a", quantity: str = "0.2", cause: Cause = Cause.CLOSE) -> Realised:
    size, price = Quantity(Decimal(quantity)), Price(Decimal(50_000))
    return Realised(0, client_id, CLOSE.symbol, CLOSE.side, size, price, ZERO, ZERO, ZERO, cause)


@pytest.mark.parametrize(
    ("fills", "state", "said"),
    [
        ((fill(),), IntentState.APPLIED, []),
        ((fill(quantity="0.1"),), IntentState.PARTIAL, []),
        ((), IntentState.NOT_APPLIED, []),
        ((fill(),), IntentState.UNKNOWN, []),
        ((), IntentState.UNKNOWN, []),
        ((fill(), fill("", cause=Cause.LIQUIDATION)), IntentState.APPLIED, []),
        ((fill(quantity="0.1"),) * 2, IntentState.APPLIED, ["a was filled twice"]),
        ((fill(quantity="0.4"),), IntentState.APPLIED, ["a asked for 0.2, and filled 0.4"]),
        ((fill(), fill("b")), IntentState.APPLIED, ["'b' closed 0.2 and is on no plan"]),
        ((), IntentState.APPLIED, ["a is applied, and filled 0"]),
        ((fill(),), IntentState.NOT_APPLIED, ["a is not_applied, and filled 0.2"]),
    ],
)
def test_a_close_that_is_doubled_or_other_than_is_on_record_is_found_out(
    fills: tuple[Realised, ...], state: IntentState, said: list[str]
) -> None:
    assert misclosed(fills, {"a": CLOSE}, {"a": state}) == said
