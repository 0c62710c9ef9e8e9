"""Sizing: the target is reached, with nothing to spare, or the answer says why it cannot be."""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings

from bot.core.margin import LiquidatesAt, NoLiquidation, liquidation
from bot.core.model import Instrument, Position, Side
from bot.core.sizing import (
    AlreadyThere,
    CannotReach,
    margin_to_reach,
    price_at_distance,
    round_early,
)
from bot.core.units import Money, Price, Ratio, ceil_to, floor_to
from bot.testing import builders as build
from tests.core.draws import decimals, instruments, positions


def distance_with(
    instrument: Instrument, position: Position, mark: Price, amount: Decimal
) -> Fraction:
    """Liquidation distance after adding `amount`; a long without liquidation has all of it."""
    topped_up = replace(position, isolated_margin=Money(position.isolated_margin + amount))
    match liquidation(instrument, topped_up):
        case LiquidatesAt(price):
            exact = Fraction(mark)
            return position.side.sign * (exact - Fraction(price)) / exact
        case NoLiquidation():
            return Fraction(1)


ROUNDING = Fraction(1, 10**20)


@settings(max_examples=300)
@given(
    instrument=instruments(),
    position=positions(),
    moved=decimals("-0.3", "0.3", 4),
    target=decimals("0.001", "0.6", 4),
)
def test_the_amount_reaches_the_target_and_one_step_less_does_not(
    instrument: Instrument, position: Position, moved: Decimal, target: Decimal
) -> None:
    mark = Price(position.entry_price * (1 + moved))
    match margin_to_reach(instrument, position, mark, Ratio(target)):
        case CannotReach():
            raise AssertionError("these targets can be reached")
        case AlreadyThere():
            found = distance_with(instrument, position, mark, Decimal(0))
            assert found >= Fraction(target) - ROUNDING
        case amount:
            step = instrument.rules.position_margin_step
            assert amount > 0
            assert amount % step == 0
            reached = distance_with(instrument, position, mark, amount)
            assert reached >= Fraction(target) - ROUNDING
            less = distance_with(instrument, position, mark, amount - step)
            assert less < Fraction(target) + ROUNDING


def test_the_amount_of_a_known_case() -> None:
    """
    10x long of 1 from 50,000 at mark 47,000, to be 10 % away: liquidation at 42,300.

    There 0.5 % of 42,300 = 211.50 is needed and 7,700 is lost: 7,911.50, of which 5,000 are there.
    """
    found = margin_to_reach(
        build.instrument(), build.position(), Price(Decimal(47_000)), Ratio(Decimal("0.1"))
    )
    assert found == Decimal("2911.5")


@pytest.mark.parametrize(
    ("target", "reason"),
    [("1", "more than 100%"), ("1.2", "more than 100%")],
)
def test_what_cannot_be_reached_says_why(target: str, reason: str) -> None:
    found = margin_to_reach(
        build.instrument(), build.position(), Price(Decimal(50_000)), Ratio(Decimal(target))
    )
    assert isinstance(found, CannotReach)
    assert reason in found.reason.replace(".00", "")


def test_a_target_that_is_reached_is_no_failure() -> None:
    found = margin_to_reach(
        build.instrument(), build.position(), Price(Decimal(50_000)), Ratio(Decimal("0.05"))
    )
    assert isinstance(found, AlreadyThere)


def test_a_short_can_be_more_than_its_value_away() -> None:
    short = build.position(side=Side.SHORT)
    found = margin_to_reach(
        build.instrument(), short, Price(Decimal(50_000)), Ratio(Decimal("1.2"))
    )
    assert found == 60_000 + Decimal("0.005") * 110_000 - 5_000


@given(
    instrument=instruments(),
    position=positions(),
    room=decimals("0.001", "0.5", 3),
)
def test_a_price_at_a_distance_is_on_the_tick_and_not_late(
    instrument: Instrument, position: Position, room: Decimal
) -> None:
    side, liquidated_at = position.side, position.entry_price
    price = price_at_distance(instrument, side, liquidated_at, Ratio(room))
    assert price % instrument.tick_size == 0
    left = side.sign * (Fraction(price) - Fraction(liquidated_at))
    assert left >= Fraction(room) * Fraction(price)
    later = Fraction(price) - side.sign * Fraction(instrument.tick_size)
    assert side.sign * (later - Fraction(liquidated_at)) < Fraction(room) * later


@pytest.mark.parametrize(
    ("side", "price", "expected"),
    [
        (Side.LONG, "100.01", "100.1"),
        (Side.SHORT, "100.09", "100.0"),
        (Side.LONG, "100.1", "100.1"),
        (Side.SHORT, "100.1", "100.1"),
    ],
)
def test_early_is_up_for_a_long_and_down_for_a_short(
    side: Side, price: str, expected: str
) -> None:
    assert round_early(build.instrument(), side, Decimal(price)) == Decimal(expected)


def test_steps() -> None:
    step = Decimal("0.05")
    assert floor_to(Decimal("0.12"), step) == Decimal("0.10")
    assert ceil_to(Decimal("0.12"), step) == Decimal("0.15")
    assert floor_to(Decimal("-0.12"), step) == Decimal("-0.15")
    assert ceil_to(Decimal("0.15"), step) == Decimal("0.15")
