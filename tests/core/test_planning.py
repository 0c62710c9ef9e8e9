"""
Planning against what it must mean: sums in exact fractions, growth rates, published figures.
"""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bot.core.margin import LiquidatesAt, NoLiquidation
from bot.core.model import MaintenanceAt, MarginMode, Side
from bot.core.planning import (
    NOT_GIVEN,
    Carry,
    Edge,
    FundingTerms,
    Plan,
    Threat,
    effective_leverage,
    gain_to_recover,
    kelly,
    plan,
    stop_by_atr,
)
from bot.core.sizing import CannotReach
from bot.core.units import Price, Ratio
from bot.testing import builders as build
from tests.core.draws import decimals, instruments
from tests.core.exact import surplus
from tests.core.ideas import HOUR_MS, account, idea, planned

D = Decimal
LONG, SHORT = Side.LONG, Side.SHORT


def threat(made: Plan) -> Threat:
    assert isinstance(made.liquidation, Threat)
    return made.liquidation


def carry(made: Plan) -> Carry:
    assert isinstance(made.carry, Carry)
    return made.carry


def test_the_size_is_the_risk_over_the_way_to_the_stop() -> None:
    made = planned(idea(slippage=Ratio(D(0)), stop_price=Price(D(48_000))), taker_fee=0)
    assert made.position.quantity == D("0.050")  # 100 USDT over 2,000 a coin
    assert made.loss_at_stop == 100
    dearer = planned(idea(stop_price=Price(D(48_000))))
    assert dearer.position.quantity == D("0.048")  # 24 of slippage and 48.99 of fees more


@st.composite
def trades(draw: st.DrawFn) -> tuple[Plan, Fraction]:
    """A plan at any leverage, and what was risked."""
    side = draw(st.sampled_from(Side))
    entry = draw(decimals("1", "70000", 2))
    away = draw(decimals("0.001", "0.3", 4))
    stop = entry * (1 - side.sign * away)
    risk, wallet = draw(decimals("0.001", "0.2", 3)), draw(decimals("100", "1000000", 2))
    thought = idea(
        side=side,
        entry_price=Price(entry),
        stop_price=Price(stop),
        risk=Ratio(risk),
        slippage=Ratio(draw(decimals("0", "0.01", 4))),
        funding=FundingTerms(Ratio(draw(decimals("-0.01", "0.01", 4))), 8 * HOUR_MS),
    )
    leverage = draw(decimals("1", "100", 1))
    made = plan(draw(instruments()), account(str(wallet)), thought, leverage)
    assume(not isinstance(made, CannotReach))
    assert not isinstance(made, CannotReach)
    return made, Fraction(risk) * Fraction(wallet)


def loss(made: Plan, quantity: Decimal) -> Fraction:
    """What a stopped position loses, as the sum of two orders and their fees."""
    thought, sign = made.idea, made.idea.side.sign
    entry = Fraction(thought.entry_price)
    fill = Fraction(thought.stop_price) * (1 - sign * Fraction(thought.slippage))
    got = sign * (fill - entry) * Fraction(quantity)
    fees = (entry + fill) * Fraction(quantity) * Fraction(made.instrument.taker_fee)
    return fees - got


@given(trades())
def test_no_step_more_could_be_lost_within_the_risk(trade: tuple[Plan, Fraction]) -> None:
    made, risked = trade
    quantity, step = made.position.quantity, made.instrument.quantity_step
    tiny = risked / 10**20  # of a quotient's last digit
    assert quantity % step == 0
    assert loss(made, quantity) <= risked + tiny
    assert loss(made, quantity + step) > risked - tiny
    assert float(made.loss_at_stop) == pytest.approx(float(loss(made, quantity)))


@given(trades())
def test_the_exchange_liquidates_where_the_plan_says(trade: tuple[Plan, Fraction]) -> None:
    made, _ = trade
    assume(isinstance(made.liquidation, Threat))
    found = Fraction(threat(made).price)
    step = found / 10**9
    toward = -made.idea.side.sign * step
    assert surplus(made.instrument, made.position, found - toward) > 0
    assert surplus(made.instrument, made.position, found + toward) < 0


@given(trades())
def test_liquidation_comes_before_the_loss_is_the_initial_margin(
    trade: tuple[Plan, Fraction],
) -> None:
    made, _ = trade
    assume(isinstance(made.liquidation, Threat))
    lost = threat(made).away.share * made.notional
    assert lost < made.initial_margin


@given(trades(), decimals("1.01", "3", 2))
def test_less_leverage_binds_more_margin_and_moves_liquidation_away(
    trade: tuple[Plan, Fraction], times: Decimal
) -> None:
    more, _ = trade
    assume(more.position.leverage / times >= 1)
    less = plan(more.instrument, more.account, more.idea, more.position.leverage / times)
    assert isinstance(less, Plan)
    assert less.initial_margin > more.initial_margin
    assert less.position.quantity == more.position.quantity
    if isinstance(less.liquidation, Threat):
        assert threat(less).away.share > threat(more).away.share


@pytest.mark.parametrize(
    ("valued", "price"), [(MaintenanceAt.ENTRY, "45250"), (MaintenanceAt.MARK, "45226.130653")]
)
def test_every_distance_is_in_shares_atrs_and_sigmas(valued: MaintenanceAt, price: str) -> None:
    made = planned(maintenance_at=valued)
    found = threat(made)
    assert found.price == pytest.approx(D(price), abs=D("1e-6"))
    assert found.away.share == (50_000 - found.price) / 50_000
    assert found.away.atrs == (50_000 - found.price) / 750
    assert found.room.share == (48_500 - found.price) / 48_500
    assert found.room.atrs == (48_500 - found.price) / 750
    assert found.away.sigmas == (50_000 / found.price).ln() / D("0.03")
    assert made.stop_away.share == D("0.03")
    assert made.stop_away.atrs == 2


def test_what_is_not_given_is_not_measured() -> None:
    bare = planned(idea(atr=NOT_GIVEN, daily_move=NOT_GIVEN, funding=NOT_GIVEN))
    away = threat(bare).away
    assert (away.atrs, away.sigmas) == (NOT_GIVEN, NOT_GIVEN)
    assert (threat(bare).after_ms, bare.carry) == (NOT_GIVEN, NOT_GIVEN)


def test_a_stop_behind_liquidation_has_no_room() -> None:
    assert threat(planned(leverage=50)).room.share < 0
    short = idea(side=SHORT, stop_price=Price(D(51_500)))
    assert threat(planned(short, 50)).room.share < 0
    assert threat(planned(short, 10)).room.share > 0


def test_margin_that_covers_everything_is_never_liquidated() -> None:
    assert isinstance(planned(leverage=1).liquidation, NoLiquidation)


def test_the_funding_of_the_seed_article() -> None:
    """50x at 0.05 % every 8 hours: 2.5 % of the margin an interval, 7.5 % a day."""
    dear = idea(funding=FundingTerms(Ratio(D("0.0005")), 8 * HOUR_MS))
    bills, margin = carry(planned(dear, 50)), planned(dear, 50).initial_margin
    assert bills.payment / margin == D("0.025")
    assert bills.day / margin == D("0.075")


@pytest.mark.parametrize(("hours", "bills"), [(1, 1), (8, 1), (9, 2), (24, 3)])
def test_a_bill_may_come_just_after_the_entry(hours: int, bills: int) -> None:
    held = carry(planned(idea(holding_ms=hours * HOUR_MS)))
    assert held.holding == held.payment * bills


def test_bills_move_liquidation_and_favours_do_not() -> None:
    def after(rate: str, side: Side) -> Decimal:
        stop = Price(D(50_000 - side.sign * 1_500))
        terms = FundingTerms(Ratio(D(rate)), 8 * HOUR_MS)
        settled = carry(planned(idea(side=side, stop_price=stop, funding=terms))).liquidation
        assert isinstance(settled, LiquidatesAt)
        return settled.price

    # Three bills of 0.1 % of 50,000 a coin, over 1 - rate of the maintenance margin at mark.
    assert after("0.001", LONG) == pytest.approx((45_000 + 150) / D("0.995"))
    assert after("-0.001", SHORT) == pytest.approx((55_000 - 150) / D("1.005"))
    assert after("-0.001", LONG) == pytest.approx(45_000 / D("0.995"))
    assert after("0.001", SHORT) == pytest.approx(55_000 / D("1.005"))


@pytest.mark.parametrize("side", Side)
def test_bills_beyond_the_margin_liquidate_by_themselves(side: Side) -> None:
    rate = Ratio(side.sign * D("0.05"))
    stop = Price(D(50_000 - side.sign * 1_500))
    thought = idea(side=side, stop_price=stop, funding=FundingTerms(rate, 8 * HOUR_MS))
    assert carry(planned(thought)).liquidation == LiquidatesAt(Price(D(50_000)))


def test_funding_shortens_the_time_to_liquidation() -> None:
    def days(rate: str) -> float:
        made = threat(planned(idea(funding=FundingTerms(Ratio(D(rate)), 8 * HOUR_MS))))
        assert isinstance(made.after_ms, int)
        return made.after_ms / 86_400_000

    sigmas = float((50_000 / (45_000 / D("0.995"))).ln() / D("0.03"))
    assert days("0") == pytest.approx(sigmas**2)
    assert days("-0.001") == days("0")  # what may be received is not counted on
    assert days("0.001") < days("0.0001") < days("0")


def test_the_kelly_of_the_seed_article_is_a_quarter() -> None:
    """It prints 28.3 %, which its own formula contradicts."""
    share = kelly(Edge(Ratio(D("0.55")), D("1.5")))
    assert share == D("0.25")
    assert share != D("0.283")


@given(decimals("0.01", "0.99", 2), decimals("0.1", "10", 1))
def test_kelly_grows_fastest(win_rate: Decimal, payoff: Decimal) -> None:
    """The slope of the expected log growth W ln(1 + R f) + (1 - W) ln(1 - f) is 0 there."""
    share = Fraction(win_rate) - (1 - Fraction(win_rate)) / Fraction(payoff)
    won, odds = Fraction(win_rate), Fraction(payoff)
    assert won * odds / (1 + odds * share) == (1 - won) / (1 - share)
    assert float(kelly(Edge(Ratio(win_rate), payoff))) == pytest.approx(float(share), abs=1e-12)


@given(decimals("0", "0.9999", 4))
def test_after_the_gain_everything_is_back(drawdown: Decimal) -> None:
    back = (1 - drawdown) * (1 + gain_to_recover(Ratio(drawdown)))
    assert back == pytest.approx(D(1), rel=D("1e-20"))


@pytest.mark.parametrize("drawdown", ["1", "1.5"])
def test_from_nothing_there_is_no_way_back(drawdown: str) -> None:
    assert gain_to_recover(Ratio(D(drawdown))) == D("Infinity")


def test_three_longs_are_one_bet_and_shorts_are_not_relied_on() -> None:
    held = account(
        10_000,
        build.position("ETH", quantity=1, entry_price=2_000, margin=100),
        build.position("SOL", quantity=100, entry_price=100, margin=0,
                       margin_mode=MarginMode.CROSS),
        build.position("XRP", SHORT, quantity=1_000, entry_price=1, margin=100),
    )  # fmt: skip
    made = planned(held=held)
    joint = made.joint
    own = min(made.notional * D("0.1"), made.initial_margin)
    assert joint.others == 2
    assert joint.loss == own + 100 + 1_000  # ETH loses its margin, not 200; the wallet backs SOL
    assert made.effective_leverage == (made.notional + 2_000 + 10_000 + 1_000) / D(10_200)


def test_what_cross_positions_bind_is_not_free() -> None:
    cross = build.position(quantity=1, entry_price=20_000, margin=0, margin_mode=MarginMode.CROSS)
    isolated = build.position("ETH", margin=500)
    assert account(10_000, cross, isolated).free == 8_000
    assert account(10_000, cross, isolated).equity == 10_500


def test_leverage_on_nothing_is_endless() -> None:
    assert effective_leverage(D(1), D(0)) == D("Infinity")
    assert effective_leverage(D(1), D(-5)) == D("Infinity")
    assert effective_leverage(D(30), D(10)) == 3


def test_too_little_risk_for_the_smallest_order_is_said() -> None:
    found = plan(build.instrument(), account(100), idea(), D(10))
    assert isinstance(found, CannotReach)
    assert "the smallest order, of 0.001, would lose 1.57 USDT" in found.reason
    assert "1.00 may be lost" in found.reason


@pytest.mark.parametrize(("side", "price"), [(LONG, "48500.1"), (SHORT, "51499.9")])
def test_a_stop_by_atrs_is_on_the_tick_and_early(side: Side, price: str) -> None:
    stop = stop_by_atr(build.instrument(), side, Price(D(50_000)), Price(D("749.98")), D(2))
    assert stop == D(price)
