"""
The quiet week of August 2023: `balanced` has nothing to do, and does nothing.

Every window of it, long and short, at 3x, 5x and 10x, entered 24, 6 and 1 hours before the worst
moment: 144 cases in which a stop is placed and followed by bills, and nothing spent or closed.
"""

from decimal import Decimal
from pathlib import Path

import pytest

from bench.benefit.guarded import run_guarded_fast
from bench.benefit.windows import Case, bars_of, cases, windows
from bot.core.policy import Policy
from bot.core.units import Money
from bot.exchange.venues.binanceusdm import instruments
from bot.policy.loader import parse_policy
from bot.policy.preset import account_file
from bot.rehearsal.deeds import Deed
from bot.rehearsal.setups import ByMargin, Opening, Setup

MARGIN = Money(Decimal(1000))
UPKEEP = {"place_stop", "cancel_stop"}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("leverage", [3, 5, 10])
def test_balanced_neither_spends_nor_closes(real_data_dir: Path, leverage: int) -> None:
    policy = balanced()
    interventions = {
        case: kinds
        for case in quiet(real_data_dir, leverage)
        if (kinds := {deed.verb for deed in deeds(real_data_dir, case, policy)} - UPKEEP)
    }
    assert interventions == {}


@pytest.mark.parametrize("leverage", [3, 5, 10])
def test_these_are_a_third_of_144_cases(real_data_dir: Path, leverage: int) -> None:
    assert len(quiet(real_data_dir, leverage)) == 48


def balanced() -> Policy:
    text = account_file("balanced", "balanced", "quiet", "binanceusdm", "isolated")
    return parse_policy(text, "balanced")


def quiet(folder: Path, leverage: int) -> tuple[Case, ...]:
    chosen = [window for window in windows(folder) if window.kind == "quiet"]
    return tuple(cases(folder, chosen, [leverage]))


def deeds(folder: Path, case: Case, policy: Policy) -> tuple[Deed, ...]:
    bars = bars_of(folder, case.window)
    opening = Opening(
        bars=bars,
        instrument=instruments()[bars.symbol],
        side=case.side,
        leverage=Decimal(case.leverage),
        size=ByMargin(MARGIN),
    )
    return run_guarded_fast(Setup((opening,), MARGIN, case.entry_at_ms), policy).deeds
