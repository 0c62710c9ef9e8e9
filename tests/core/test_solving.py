"""Whatever is solved for is reached, and no step more is asked for: of every kind and rule."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bot.core.cross import LiquidatesAfter, faced, joint_liquidation, spare
from bot.core.model import (
    CloseFee,
    ContractKind,
    HedgeRequirement,
    Instrument,
    MaintenanceAt,
    MarginOnReduce,
    Position,
    Side,
    TierMeasure,
)
from bot.core.sizing import (
    AlreadyThere,
    AtRatio,
    CannotReach,
    LegClose,
    Target,
    close_to_reach,
    closes_to_reach,
    hedge_to_reach,
    leverage_to_keep,
    margin_to_reach,
    transfer_to_reach,
)
from bot.core.units import Money, Price, Quantity, Ratio
from bot.testing import builders as build
from tests.core.books import book, cross, flat_rate, leg
from tests.core.draws import decimals, holdings
from tests.core.solving import check_close, check_leverage, check_margin, check_transfer

LONG, SHORT = Side.LONG, Side.SHORT


def ratio(text: str) -> Ratio:
    return Ratio(Decimal(text))


def price(number: build.Number) -> Price:
    return Price(Decimal(number))


TARGETS: st.SearchStrategy[Target] = st.one_of(
    decimals("0.001", "0.6", 3).map(Ratio),
    decimals("0.05", "0.95", 2).map(lambda value: AtRatio(Ratio(value))),
)


@st.composite
def solvable(draw: st.DrawFn) -> tuple[Instrument, Position, Price]:
    """A holding with steps that suit its size, at a mark up to 5 % from its entry."""
    instrument, position = draw(holdings())
    jumps = not all(
        low.cap * low.rate - low.deduction == high.floor * high.rate - high.deduction
        for low, high in zip(instrument.tiers, instrument.tiers[1:], strict=False)
    )
    # Where a table by value jumps, one more step of margin may be liquidated on the way.
    assume(not jumps or instrument.rules.tier_measure is TierMeasure.QUANTITY)
    step = Decimal(1).scaleb(position.quantity.adjusted() - draw(st.integers(1, 3)))
    instrument = replace(
        instrument,
        quantity_step=Quantity(step),
        quantity_min=Quantity(step),
        rules=replace(instrument.rules, margin_on_reduce=draw(st.sampled_from(MarginOnReduce))),
    )
    mark = price(position.entry_price * (1 + draw(decimals("-0.05", "0.05", 3))))
    return instrument, position, mark


@settings(max_examples=250)
@given(solvable(), TARGETS)
def test_margin_to_add(holding: tuple[Instrument, Position, Price], to: Target) -> None:
    check_margin(*holding, to)


@settings(max_examples=250)
@given(solvable(), TARGETS, decimals("-0.01", "0.01", 4))
def test_quantity_to_close(
    holding: tuple[Instrument, Position, Price], to: Target, slip: Decimal
) -> None:
    instrument, position, mark = holding
    check_close(instrument, position, mark, price(mark * (1 + slip)), to)


@settings(max_examples=150)
@given(solvable(), TARGETS)
def test_leverage(holding: tuple[Instrument, Position, Price], to: Target) -> None:
    instrument, position, _ = holding
    check_leverage(instrument, position, to)


@settings(max_examples=150)
@given(solvable(), TARGETS)
def test_transfer(holding: tuple[Instrument, Position, Price], to: Target) -> None:
    instrument, position, mark = holding
    assume(instrument.rules.close_fee is not CloseFee.BANKRUPTCY)
    check_transfer(instrument, position, mark, to)


# By hand


def test_margin_for_an_inverse_short() -> None:
    """
    10,000 of face short at 50,000, liquidation wanted 10 % above: 0.995 N / 55,000 must be left.

    B = N / 50,000 - 0.995 N / 55,000 = 0.2 - 0.180909... = 0.0190909...
    """
    instrument = build.instrument(kind=ContractKind.INVERSE, margin_step="0.00000001")
    short = build.position(side=SHORT, quantity=10_000, entry_price=50_000, margin="0.01")
    added = margin_to_reach(instrument, short, price(50_000), ratio("0.1"))
    assert added == Decimal("0.0090909") + Decimal("0.00000001")


def test_a_margin_beyond_bankruptcy_owes_no_fee_there() -> None:
    """50,000 - 50 + 250, frozen at entry, is more than the entry value: no price is bankruptcy."""
    instrument = build.instrument(
        taker_fee="0.001", maintenance_at=MaintenanceAt.ENTRY, close_fee=CloseFee.BANKRUPTCY
    )
    position = build.position()
    found = margin_to_reach(instrument, position, price(50_000), ratio("0.999"))
    assert found == 50_200 - 5_000
    check_margin(instrument, position, price(50_000), ratio("0.999"))


def test_a_ratio_that_only_a_whole_cover_reaches_owes_no_fee_at_bankruptcy() -> None:
    """6 % of a balance is required: more margin than the position was worth, so no bankruptcy."""
    instrument = build.instrument(
        kind=ContractKind.INVERSE,
        taker_fee="0.0004",
        maintenance_at=MaintenanceAt.ENTRY,
        close_fee=CloseFee.BANKRUPTCY,
        risk_tiers=build.tiers((0, "0.0777")),
    )
    short = build.position(side=SHORT, quantity=100_000, entry_price=50_000, margin="0.1")
    to = AtRatio(ratio("0.06"))
    found = margin_to_reach(instrument, short, price(50_000), to)
    assert found == Decimal("2.49")  # 2 * 0.0777 / 0.06 - 0.1
    check_margin(instrument, short, price(50_000), to)


def test_leverage_that_keeps_a_distance() -> None:
    """A tenth away at 0.5 %: 10,000 of 50,000 less... B = 50,000 - 0.995 * 45,000 = 5,225."""
    position = build.position()
    found = leverage_to_keep(build.instrument(), position, ratio("0.1"), Decimal("0.01"))
    assert found == Decimal("9.56")
    whole = leverage_to_keep(build.instrument(), position, ratio("0.1"), Decimal(1))
    assert whole == 9
    least = leverage_to_keep(build.instrument(), position, ratio("0.001"), Decimal(1))
    assert least == 50  # no more than the tier allows
    assert isinstance(
        leverage_to_keep(build.instrument(), position, ratio("1"), Decimal(1)), CannotReach
    )
    short = build.position(side=SHORT)
    assert isinstance(
        leverage_to_keep(build.instrument(), short, ratio("1.5"), Decimal(1)), CannotReach
    )


def test_a_ratio_as_target() -> None:
    """Half of the balance may be required: 250 / 0.5 = 500 of 50,000 at 0.5 %."""
    thin = build.position(margin=300)
    to = AtRatio(ratio("0.5"))
    assert margin_to_reach(build.instrument(), thin, price(50_000), to) == 200
    assert isinstance(
        margin_to_reach(build.instrument(), build.position(margin=500), price(50_000), to),
        AlreadyThere,
    )
    # (300 - 25 c) * 0.5 >= 250 (1 - c), the fee being 25: c >= 100 / 237.5
    assert close_to_reach(build.instrument(), thin, price(50_000), price(50_000), to) == Decimal(
        "0.422"
    )


def test_a_cliff_between_mark_and_target_is_not_run_into() -> None:
    """
    Above 100 the whole needs 20 %: just above it that is 20 of balance, at 90 it is only 0.9.

    A long of 1 from 120: 20 + 20 of margin are needed for the cliff, 30.9 for the target.
    """
    table = tuple(
        replace(tier, deduction=Money(Decimal(0)))
        for tier in build.tiers((0, "0.01"), (100, "0.2"))
    )
    instrument = build.instrument(risk_tiers=table)
    long = build.position(entry_price=120, margin=10)
    found = margin_to_reach(instrument, long, price(120), ratio("0.25"))
    assert found == 30


def test_tiers_by_quantity_make_a_close_reach_what_none_of_its_margin_could() -> None:
    """OKX: more than 10 of quantity at 5 %, up to 10 at 1 %: closing down to 10 is the jump."""
    table = tuple(
        replace(tier, deduction=Money(Decimal(0)))
        for tier in build.tiers((0, "0.01"), (10, "0.05"))
    )
    instrument = build.instrument(risk_tiers=table, taker_fee=0)
    rules = replace(instrument.rules, tier_measure=TierMeasure.QUANTITY)
    by_quantity = replace(instrument, rules=rules)
    long = build.position(quantity=12, entry_price=100, margin=70)
    found = close_to_reach(by_quantity, long, price(100), price(100), ratio("0.06"))
    assert found == 2


def test_what_a_wallet_needs_for_ten_longs() -> None:
    """100 - 1,000 x - 0.01 * 1,000 (1 - x) at x = 0.15: 100 - 150 - 8.5."""
    of = book(
        100,
        *(
            leg(cross(f"C{number}"), 100, instrument=flat_rate(f"C{number}", "0.01"))
            for number in range(10)
        ),
    )
    assert transfer_to_reach(of, ratio("0.15"), Decimal("0.01")) == Decimal("58.5")
    assert transfer_to_reach(of, AtRatio(ratio("0.05")), Decimal("0.01")) == 100
    assert isinstance(transfer_to_reach(of, ratio("0.05"), Decimal("0.01")), AlreadyThere)


def test_no_wallet_brings_an_inverse_long_a_whole_price_away() -> None:
    instrument = build.instrument("A", kind=ContractKind.INVERSE)
    of = book(1, leg(cross("A", quantity=100), 100, instrument=instrument))
    found = transfer_to_reach(of, ratio("1"), Decimal("0.01"))
    assert isinstance(found, CannotReach)
    assert isinstance(transfer_to_reach(of, ratio("0.9"), Decimal("0.01")), Decimal)


def test_where_an_inverse_contract_has_no_price_left_nothing_is_spare() -> None:
    instrument = build.instrument("A", kind=ContractKind.INVERSE)
    for beta, gone in ((1, "1"), (2, "0.5")):
        of = book(1_000, leg(cross("A", quantity=1), 100, instrument=instrument, beta=beta))
        assert spare(of, Decimal(gone)) == spare(of, Decimal(3)) == Decimal("-Infinity")
        assert spare(of, Decimal(gone) - Decimal("0.01")) > 0
    rising = book(1, leg(cross("A", Side.SHORT, quantity=1), 100, instrument=instrument))
    assert spare(rising, Decimal(3)) > 0


def test_a_distance_without_a_price_is_reached_by_closing_the_inverse_long_whole() -> None:
    instrument = build.instrument("A", kind=ContractKind.INVERSE)
    inverse = leg(cross("A", quantity=100), 100, instrument=instrument, beta=2)
    beside = leg(cross("B", entry_price=10), 10)
    of, at = book(1_000, inverse, beside), {inverse.position.key: Price(Decimal(100))}
    found = closes_to_reach(of, (inverse, beside), at, ratio("0.6"))
    assert found == (LegClose(inverse.position.key, inverse.position.quantity),)
    assert isinstance(
        hedge_to_reach(of, inverse.position.key, Price(Decimal(100)), ratio("0.6")), CannotReach
    )


@pytest.mark.parametrize("rule", HedgeRequirement)
@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("wanted", ["0.2", "0.3", "0.8"])
def test_a_hedge_brings_the_book_there(rule: HedgeRequirement, side: Side, wanted: str) -> None:
    plain = build.instrument("A", risk_tiers=build.tiers((0, "0.004"), (30, "0.01"), (90, "0.02")))
    instrument = replace(plain, rules=replace(plain.rules, hedge_requirement=rule))
    of = book(12, leg(cross("A", side), 100, instrument=instrument))
    key = of.legs[0].position.key
    found = hedge_to_reach(of, key, price(100), ratio(wanted))
    assert not isinstance(found, AlreadyThere | CannotReach)

    def reached(quantity: Decimal) -> Decimal:
        other = cross("A", SHORT if side is LONG else LONG, quantity=str(quantity))
        fee = quantity * 100 * instrument.taker_fee
        against = leg(other, 100, instrument=instrument)
        result = joint_liquidation(faced(book(str(12 - fee), *of.legs, against)))
        return result.shock if isinstance(result, LiquidatesAfter) else Decimal(100)

    assert reached(found) >= ratio(wanted)
    assert reached(found - instrument.quantity_step) < ratio(wanted)


def test_a_hedge_that_its_own_margin_eats_does_not_help() -> None:
    """Both legs at 20 %: half a hedge needs 10 more and covers less than that of a fall of 1 %."""
    of = book(30, leg(cross("A"), 100, instrument=flat_rate("A", "0.2")))
    key = of.legs[0].position.key
    found = hedge_to_reach(of, key, price(100), ratio("0.9"))
    assert isinstance(found, CannotReach)
    assert isinstance(hedge_to_reach(of, key, price(100), ratio("0.01")), AlreadyThere)
