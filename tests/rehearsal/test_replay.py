"""Replays: what a program reads of one, checked by hand."""

from decimal import Decimal

import pytest

from bot.core.policy import Policy
from bot.rehearsal.fates import nobody
from bot.rehearsal.replay import Liquidation, NotLiquidated, Replay, replay
from bot.rehearsal.setups import Setup
from tests.rehearsal.test_chronicle import CROSS_TEXT, silent
from tests.rehearsal.test_runs import (
    ALERT_ONLY,
    FALL,
    JOINT_FALL,
    OTHER,
    book,
    cross,
    opening,
    setup,
)
from tests.runtime.build import TEXT, policy

D = Decimal


def replayed(setup: Setup, policy: Policy) -> Replay:
    return replay(setup, policy, silent, nobody, nobody)


@pytest.fixture(scope="module")
def fallen() -> Replay:
    return replayed(setup(*FALL), policy())


def test_the_liquidation_price_is_that_of_the_position_not_the_bankruptcy_price(
    fallen: Replay,
) -> None:
    first = fallen.first_unguarded
    assert isinstance(first, Liquidation)
    assert first.price == D("45226.2")  # 45,000 / 0.995, rounded to the tick against the holder
    (taken,) = fallen.unguarded.taken
    assert [first.at_ms, taken.price] == [taken.at_ms, D(45_000)]
    assert fallen.first_guarded == NotLiquidated()


def test_what_the_guard_closed_is_a_share_of_the_whole(fallen: Replay) -> None:
    assert fallen.closed_fraction == 1
    calm = replayed(setup(50_000, 50_500, 50_000, 50_200), policy())
    assert calm.closed_fraction == 0
    liquid = opening(*[2_000] * len(FALL), symbol=OTHER)
    half = replayed(book(opening(*FALL), liquid), policy())
    assert half.closed_fraction == D(50_000) / D(100_000)


def test_a_close_that_filled_nothing_closed_nothing() -> None:
    """Where the exchange takes the position over, nothing was closed by the guard."""
    unheard = policy(TEXT.split("rules:", maxsplit=1)[0] + ALERT_ONLY)
    lost = replayed(setup(50_000, 42_000, 42_100), unheard)
    sent = [deed for deed in lost.guarded.deeds if deed.verb in ("close", "stop_filled")]
    filled = sum(deed.amount for deed in sent if deed.price is not None)
    assert lost.closed_fraction == filled / D(1)


def test_of_several_liquidations_the_first_counts() -> None:
    slower = [price // 10 + 200 for price in FALL]
    both = replayed(book(opening(*slower, symbol=OTHER), opening(*FALL)), policy())
    taken = both.unguarded.taken
    assert isinstance(both.first_unguarded, Liquidation)
    assert both.first_unguarded.at_ms == min(each.at_ms for each in taken)


def test_a_cross_book_has_the_level_that_the_venue_showed_last() -> None:
    fall = (50_000, 48_000, 46_000, 45_000, 47_000)
    both = [cross(*fall), cross(*(price // 25 for price in fall), symbol=OTHER)]
    told = replayed(book(*both, reserve=0), policy(CROSS_TEXT))
    assert isinstance(told.first_unguarded, Liquidation)
    # Together they are liquidated 9.5477 % down, where each shows a level just below its mark.
    assert told.first_unguarded.price == pytest.approx(
        D(50_000) * (1 - JOINT_FALL), rel=D("0.003")
    )
