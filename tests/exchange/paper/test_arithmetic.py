"""Liquidation prices agree with published ones and with a bisection that knows no formula."""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bot.core.model import (
    Instrument,
    Side,
    VenueRules,
)
from bot.core.units import Money, Price, Quantity, Ratio
from bot.exchange.paper import arithmetic
from tests.exchange.paper.build import ENTRY, MARK, THREE_TIERS, D, contract
from tests.exchange.paper.draws import cases
from tests.exchange.paper.independent import Spare


def level(
    instrument: Instrument, side: Side, quantity: Decimal, entry: Decimal, margin: Decimal
) -> Decimal:
    return arithmetic.liquidation_price(
        instrument, side, Quantity(quantity), Price(entry), Money(margin)
    )


@pytest.mark.parametrize(
    ("rules", "side", "leverage", "expected"),
    [
        (MARK, Side.LONG, 10, "45226.13"),
        (ENTRY, Side.LONG, 5, "40250"),
        (ENTRY, Side.LONG, 10, "45250"),
        (ENTRY, Side.LONG, 20, "47750"),
        (ENTRY, Side.LONG, 50, "49250"),
        (ENTRY, Side.LONG, 100, "49750"),
        (ENTRY, Side.SHORT, 10, "54750"),
    ],
)
def test_published_prices_are_reproduced(
    rules: VenueRules, side: Side, leverage: int, expected: str
) -> None:
    """Venues' own examples: entry 50,000, maintenance rate 0.5 %, no fee."""
    price = level(contract(rules=rules), side, D(1), D(50_000), D(50_000) / leverage)
    assert round(price, 2) == D(expected)


@given(cases())
def test_liquidation_is_where_balance_meets_requirement(
    case: tuple[Instrument, Side, Decimal, Decimal, Decimal],
) -> None:
    """In any tier: a hair before that price the balance is enough, a hair beyond it is not."""
    instrument, side, quantity, entry, margin = case
    balance = Spare(instrument, side, quantity, entry, margin)
    found = level(instrument, side, quantity, entry, margin)
    low, high = Fraction(entry) / 10**9, Fraction(entry) * 10**9
    if found < low or found > high:
        worst = low if side is Side.LONG else high
        assert balance.at(worst) > 0
        return
    hair = Fraction(found) / 10**15
    assert balance.at(Fraction(found) + side.sign * hair) > 0
    assert balance.at(Fraction(found) - side.sign * hair) < 0


@given(cases(), st.integers(1, 10_000))
def test_more_margin_moves_liquidation_away(
    case: tuple[Instrument, Side, Decimal, Decimal, Decimal], more: int
) -> None:
    """Added margin never brings a liquidation price nearer."""
    instrument, side, quantity, entry, margin = case
    before = level(instrument, side, quantity, entry, margin)
    after = level(instrument, side, quantity, entry, margin + more)
    if before.is_finite():
        assert side.sign * (before - after) > 0
    else:
        assert after == before


@given(cases())
def test_bankruptcy_lies_beyond_liquidation(
    case: tuple[Instrument, Side, Decimal, Decimal, Decimal],
) -> None:
    """The margin is never used up before the position is liquidated."""
    instrument, side, quantity, entry, margin = case
    liquidation = level(instrument, side, quantity, entry, margin)
    assume(liquidation > 0 and liquidation.is_finite())
    bankruptcy = arithmetic.bankruptcy_price(
        instrument, side, Quantity(quantity), Price(entry), Money(margin)
    )
    assert side.sign * (liquidation - bankruptcy) > 0


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("border", [tier.cap for tier in THREE_TIERS[:-1]])
def test_liquidation_on_a_border_between_tiers(side: Side, border: Decimal) -> None:
    """The notional at liquidation may be exactly where two tiers meet."""
    quantity, entry = D(3), D(50_000)
    tier = next(tier for tier in THREE_TIERS if tier.cap == border)
    margin = border * tier.rate - tier.deduction - side.sign * (border - quantity * entry)
    found = level(contract(table=THREE_TIERS), side, quantity, entry, margin)
    assert abs(found - border / quantity) < D("1e-20")


def test_fills_are_rounded_against_the_closer() -> None:
    """A sale fills lower and a purchase higher."""
    instrument = contract(tick_size="0.5")
    assert arithmetic.fill_price(instrument, Side.LONG, D("0.75")) == D("0.5")
    assert arithmetic.fill_price(instrument, Side.SHORT, D("0.75")) == 1
    assert arithmetic.fill_price(instrument, Side.SHORT, D("1.5")) == D("1.5")


FIRST, SECOND, THIRD = THREE_TIERS


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (contract(table=()), "expected a first tier from 0"),
        (contract(table=(SECOND, THIRD)), "expected a first tier from 0"),
        (contract(table=(FIRST, SECOND)), "expected a last tier without cap"),
        (contract(table=(FIRST, THIRD)), "expected to reach up from 50000"),
        (
            contract(table=(FIRST, replace(SECOND, deduction=Money(D(0))), THIRD)),
            "expected deduction 300.000, was 0",
        ),
        (
            contract(table=(replace(THIRD, floor=D(0), deduction=Money(D(0)), rate=Ratio(D(1))),)),
            "expected rate and close fee from 0 to below 1, was 1",
        ),
    ],
)
def test_a_contract_that_cannot_be_judged_is_not_listed(broken: Instrument, words: str) -> None:
    """The error names the contract and what was expected."""
    with pytest.raises(ValueError, match=words):
        arithmetic.check_listing(broken)
