"""
Three longs on one wallet on 12 March 2020: no stop moves away after another has filled.

Where stops followed the joint liquidation all the way down, that of BTC went from 6,703 to 6,247
and a twentieth of the account was left.
"""

from decimal import Decimal

from bot.core.model import MarginMode, Side
from bot.core.units import Money, Ratio
from bot.exchange.venues.binanceusdm import instruments
from bot.policy.loader import parse_policy
from bot.policy.preset import account_file
from bot.rehearsal.bars import read_bars
from bot.rehearsal.runs import run_guarded
from bot.rehearsal.setups import ByMargin, Opening, Setup

LISTED = instruments()
NAMES = ("2020-03-12-btc", "2020-03-12-eth", "2020-03-12-xrp")
HOURS_BEFORE = 24
HOUR_MS = 3_600_000


def three_longs() -> Setup:
    recorded = [read_bars(name) for name in NAMES]
    worst = min(recorded[0].rows, key=lambda row: row.mark.low)
    openings = tuple(
        Opening(
            bars,
            LISTED[bars.symbol],
            Side.LONG,
            Decimal(10),
            ByMargin(Money(Decimal(333))),
            MarginMode.CROSS,
        )
        for bars in recorded
    )
    entry_at_ms = worst.open_at_ms - HOURS_BEFORE * HOUR_MS
    step = Ratio(Decimal("0.005"))
    return Setup(openings, Money(Decimal(1_001)), entry_at_ms, step=step)


def test_no_stop_moves_away_once_another_leg_is_lost() -> None:
    text = account_file("balanced", "balanced", "rehearsal", "binanceusdm", "mixed")
    run = run_guarded(three_longs(), parse_policy(text, "balanced"))
    filled = [deed for deed in run.deeds if deed.verb == "stop_filled"]
    assert len(filled) == len(NAMES)
    lost_at_ms = filled[0].at_ms
    rested: dict[str, Decimal] = {}
    for deed in run.deeds:
        if deed.verb != "place_stop" or deed.price is None:
            continue
        if deed.at_ms > lost_at_ms:
            assert deed.price >= rested[deed.symbol], deed
        rested[deed.symbol] = deed.price
    assert not run.fate.taken
    assert run.fate.equity_final > 400  # what stops leave that stay where they were put at entry
