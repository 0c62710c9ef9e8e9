"""
The bound of a close: the allowed slippage in calm, wider towards the floor, then any price.

10x long of 1 from 50,000 with 5,000: bankrupt at 45,000, liquidated at 45,226.13. The stop keeps a
room of 3 %, the floor is at 1.5 %, so the bound widens from 6 % on.
"""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.core.actions import AT_MARKET, NoWorseThan
from bot.core.cost import close_bound, close_price
from bot.core.funding import FundingUnknown
from bot.core.margin import LiquidatesAt, LiquidatesTogether, NoLiquidation
from bot.core.metrics import NO_BARS, Known, measure
from bot.core.model import Instrument, MarginMode, Position, Side
from bot.core.policy import Policy
from bot.core.units import Money, Price, Ratio
from bot.testing import builders as build
from tests.core.draws import decimals, instruments, positions
from tests.core.life import LONG, T0

POLICY = build.policy(limits=build.guardrails(slippage_max="0.005"))
SHORT = build.position(side=Side.SHORT)  # bankrupt at 55,000, liquidated at 54,726.37


def known(position: Position, mark: build.Number, instrument: Instrument | None = None) -> Known:
    rules = instrument or build.instrument()
    state = build.account_state(
        build.snapshot([position]), {build.SYMBOL: mark}, now_ms=T0, instruments=[rules]
    )
    measured = measure(state, position, T0, POLICY)
    assert isinstance(measured, Known)
    return measured


def price(position: Position, mark: build.Number, policy: Policy = POLICY) -> Price:
    return close_price(policy, build.instrument(), position, known(position, mark))


def test_in_calm_a_close_costs_no_more_than_the_slippage_allowed() -> None:
    assert price(LONG, 50_000) == 49_750
    assert price(SHORT, 50_000) == 50_250
    assert price(LONG, "48119.8") == Decimal("47879.2")  # 6.01 % away, on the tick beyond


def test_the_bound_widens_with_the_falling_distance() -> None:
    """
    Half-way between 6 % and 1.5 %, at 3.75 %: the mean of 0.5 % and the way to bankruptcy.

    There the mark is 45,226.13 / 0.9625 = 46,988.18, and bankruptcy 4.2312 % away.
    """
    mark = Decimal(45_000) / Decimal("0.995") / Decimal("0.9625")
    slippage = (Decimal("0.005") + (mark - 45_000) / mark) / 2
    assert price(LONG, mark) == pytest.approx(mark * (1 - slippage), abs=Decimal("0.1"))


@pytest.mark.parametrize("slippage_max", ["0", "0.005", "0.5"])
def test_it_is_never_past_bankruptcy(slippage_max: str) -> None:
    policy = build.policy(limits=build.guardrails(slippage_max=slippage_max))
    for mark in (50_000, 47_000, 46_000, 45_300):
        assert price(LONG, mark, policy) >= 45_000
    for mark in (50_000, 53_000, 54_000, 54_700):
        assert price(SHORT, mark, policy) <= 55_000
    assert price(LONG, 50_000, build.policy()) == 45_000  # where 50 % would be allowed


def test_at_the_floor_any_price_will_do() -> None:
    """1.5 % are left at 45,914.85."""
    near = close_bound(POLICY, build.instrument(), LONG, known(LONG, "45914.9"))
    assert isinstance(near, NoWorseThan)
    assert 45_000 <= near.price < 45_010
    for mark in ("45914.8", "45226", "44000"):
        assert close_bound(POLICY, build.instrument(), LONG, known(LONG, mark)) == AT_MARKET
    assert price(LONG, 45_800) == price(LONG, 44_000) == 45_000  # what a close is sized with
    breached = replace(known(LONG, 50_000), breached=True)
    assert close_bound(POLICY, build.instrument(), LONG, breached) == AT_MARKET


def test_a_cross_position_is_closed_no_worse_than_its_liquidation() -> None:
    """Having no bankruptcy of its own, it has the account's: where a common shock brings it."""
    shared = replace(LONG, margin_mode=MarginMode.CROSS, isolated_margin=Money(Decimal(0)))
    far = Known(
        mark_price=Price(Decimal(50_000)),
        liquidation=LiquidatesTogether(Price(Decimal(46_000)), Decimal(50_000)),
        liquidation_distance=Ratio(Decimal("0.08")),
        margin_balance=Money(Decimal(5_000)),
        maintenance_margin=Money(Decimal(250)),
        margin_ratio=Ratio(Decimal("0.05")),
        breached=False,
        disputed=False,
        effective_leverage=Decimal(10),
        break_even_distance=Ratio(Decimal(0)),
        volatility=NO_BARS,
        funding=FundingUnknown("none"),
    )
    near = replace(far, liquidation_distance=Ratio(Decimal("0.0375")))
    safe = replace(far, liquidation=NoLiquidation("rich"), liquidation_distance=Ratio(Decimal(1)))

    def bound(of: Known) -> Price:
        return close_price(POLICY, build.instrument(), shared, of)

    assert bound(far) == 49_750
    assert bound(near) == 47_875  # the mean of 0.5 % and 8 %
    assert bound(safe) == 49_750
    assert bound(replace(near, liquidation=safe.liquidation)) == 49_750


@settings(max_examples=200)
@given(
    instrument=instruments(),
    position=positions(),
    moved=decimals("-0.2", "0.2", 4),
    nearer=decimals("0", "0.1", 4),
    slippage=st.sampled_from(["0", "0.003", "0.05"]),
)
def test_the_bound_holds_for_any_position(
    instrument: Instrument, position: Position, moved: Decimal, nearer: Decimal, slippage: str
) -> None:
    """On the tick, not past bankruptcy, and with less distance never tighter as a share."""
    policy = build.policy(limits=build.guardrails(slippage_max=slippage))
    sign, mark = position.side.sign, position.entry_price * (1 + moved)
    found = known(position, mark, instrument)
    match close_bound(policy, instrument, position, found):
        case NoWorseThan(bound):
            assert bound % instrument.tick_size == 0
            bankrupt = position.entry_price - sign * position.isolated_margin / position.quantity
            assert sign * (bound - bankrupt) >= 0
            assert sign * (mark - bound) < mark * Decimal(slippage) + instrument.tick_size or (
                found.liquidation_distance < 2 * policy.protect.room
            )
            closer = replace(
                found, liquidation_distance=Ratio(found.liquidation_distance - nearer)
            )
            match close_bound(policy, instrument, position, closer):
                case NoWorseThan(wider):
                    assert sign * (bound - wider) >= 0
                case _:
                    assert closer.liquidation_distance <= policy.protect.floor
        case _:
            assert found.breached or found.liquidation_distance <= policy.protect.floor


def test_liquidation_and_bankruptcy_are_two_prices() -> None:
    """What the numbers above rest on."""
    liquidated = known(LONG, 50_000).liquidation
    assert isinstance(liquidated, LiquidatesAt)
    assert liquidated.price > 45_000
