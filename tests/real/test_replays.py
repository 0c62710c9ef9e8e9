"""
Every recorded window at 3x, 5x, 10x and 20x, long and short, without and with the guard.

Entered is six hours before the extreme against the position. Without a guard an independent
calculation must find the same end, six hours after the extreme and at the end of the data. With it
no position may be liquidated.

A run takes one side and leverage of every second window, which is a minute's work; with
REAL_DATA_ALL=1 it takes all.
"""

from dataclasses import replace
from decimal import Decimal
from typing import Any, Literal

import pytest

from bot.cli.demo import demo_policy
from bot.core.model import Side
from bot.core.units import Money, Ratio
from bot.exchange.venues.binanceusdm import instruments
from bot.rehearsal.bars import Bars, read_bars
from bot.rehearsal.fates import Fate, nobody
from bot.rehearsal.replay import Liquidation, replay
from bot.rehearsal.runs import run_unguarded
from bot.rehearsal.setups import ByMargin, Opening, Setup
from tests.real import independent

AROUND_MS = 6 * 3_600_000
MARGIN = 1000
RESERVE = 1000
STEP = Ratio(Decimal("0.0025"))


@pytest.mark.parametrize("leverage", [3, 5, 10, 20])
@pytest.mark.parametrize("side", ["long", "short"])
def test_the_guard_saves_what_is_lost_without_it(
    klines: dict[str, Any], side: Literal["long", "short"], leverage: int
) -> None:
    recorded = read_bars(klines["path"])
    bars = _around_the_worst(recorded, Side(side))
    opening = Opening(
        bars=bars,
        instrument=instruments()[bars.symbol],
        side=Side(side),
        leverage=Decimal(leverage),
        size=ByMargin(Money(Decimal(MARGIN))),
    )
    setup = Setup(
        (opening,),
        reserve=Money(Decimal(RESERVE)),
        entry_at_ms=bars.rows[0].open_at_ms,
        step=STEP,
    )
    account = independent.Account(
        side,
        leverage,
        margin=MARGIN,
        reserve=RESERVE,
        quantity_step=float(opening.instrument.quantity_step),
        tiers=[
            (float(tier.cap), float(tier.rate), float(tier.deduction))
            for tier in opening.instrument.tiers
        ],
    )

    def expected(held: Bars) -> independent.Fate:
        last_ms = held.rows[-1].open_at_ms
        return independent.unguarded(klines["path"], account, setup.entry_at_ms, last_ms)

    policy = demo_policy("demo")
    lived = replay(setup, policy, lambda at_ms: None, nobody, nobody)
    _assert_same_end(lived.unguarded, expected(bars), bars.interval_ms)
    first = lived.first_unguarded
    if isinstance(first, Liquidation):
        level = expected(bars).liquidation_price
        assert float(first.price) == pytest.approx(level, abs=float(opening.instrument.tick_size))
    whole = replace(setup, openings=(replace(opening, bars=recorded),))
    _assert_same_end(run_unguarded(whole), expected(recorded), bars.interval_ms)

    assert lived.guarded.spent <= policy.guardrails.top_up_24h_max
    assert not lived.guarded.fate.taken


def _around_the_worst(bars: Bars, side: Side) -> Bars:
    """The bars around the worst one for `side`."""
    worst = min(
        bars.rows,
        key=lambda bar: bar.last.low if side is Side.LONG else -bar.last.high,
    )
    near = (row for row in bars.rows if abs(row.open_at_ms - worst.open_at_ms) <= AROUND_MS)
    return replace(bars, rows=tuple(near))


def _assert_same_end(found: Fate, expected: independent.Fate, interval_ms: int) -> None:
    assert float(found.equity_final) == pytest.approx(expected.equity, abs=0.01)
    if expected.liquidated_at_ms is None:
        assert not found.taken
        return
    (taken,) = found.taken
    # The path goes from the open straight to the adverse extreme in a third of the bar.
    into_bar_ms = taken.at_ms - expected.liquidated_at_ms
    assert 0 <= into_bar_ms <= interval_ms // 3
