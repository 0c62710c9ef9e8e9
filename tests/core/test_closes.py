"""
How much to close: measured again after the close, in arithmetic of the tests.

The target is reached and one quantity step less would not do, or the answer says why not.
"""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.core.cross import Book
from bot.core.margin import LiquidatesAt, NoLiquidation, liquidation
from bot.core.model import Instrument, MarginOnReduce, Position, PositionKey
from bot.core.sizing import (
    AlreadyThere,
    CannotReach,
    LegClose,
    close_to_reach,
    closes_to_reach,
    share_to_close,
)
from bot.core.units import Money, Price, Quantity, Ratio
from bot.testing import builders as build
from tests.core.books import book, cross, flat_rate, leg
from tests.core.draws import books, decimals, instruments, positions
from tests.core.exact import gain, shared_surplus, surplus

PRO_RATA, RETAINED = MarginOnReduce.PRO_RATA, MarginOnReduce.RETAINED
ROUNDING = Fraction(1, 10**18)
DUST = st.sampled_from([Decimal("0.001"), Decimal("0.001"), Decimal("0.05"), Decimal(1)])
SLIPS = decimals("0", "0.02", 4) | decimals("0", "0.2", 3)


def money(text: build.Number) -> Money:
    return Money(Decimal(text))


def price(text: build.Number) -> Price:
    return Price(Decimal(text))


def ratio(text: build.Number) -> Ratio:
    return Ratio(Decimal(text))


# One isolated position


def left_at(
    instrument: Instrument, position: Position, closed: Decimal, fill: Price, target: Fraction
) -> Fraction:
    """
    Surplus at `target` once `closed` was filled and what it freed was put back.

    The venue's bookkeeping one step after the other: the closed share of the margin leaves the
    position, profit and fee are settled with it in the wallet, and all of that returns. Where the
    margin is retained, profit and fee are the wallet's affair.
    """
    margin = Fraction(position.isolated_margin)
    if instrument.rules.margin_on_reduce is PRO_RATA:
        share = margin * Fraction(closed) / Fraction(position.quantity)
        part = replace(position, quantity=Quantity(closed))
        fee = Fraction(closed) * Fraction(fill) * Fraction(instrument.taker_fee)
        freed = share + gain(instrument, part, Fraction(fill)) - fee
        margin = margin - share + freed
    kept = money(Decimal(margin.numerator) / margin.denominator)
    rest = replace(position, quantity=Quantity(position.quantity - closed), isolated_margin=kept)
    return surplus(instrument, rest, target)


@settings(max_examples=300)
@given(
    instrument=instruments(),
    position=positions(),
    moved=decimals("-0.3", "0.3", 4),
    wanted=decimals("0.001", "0.6", 4),
    slip=SLIPS,
    rule=st.sampled_from(MarginOnReduce),
    dust=DUST,
)
def test_the_close_reaches_the_target_and_one_step_less_does_not(
    *,
    instrument: Instrument,
    position: Position,
    moved: Decimal,
    wanted: Decimal,
    slip: Decimal,
    rule: MarginOnReduce,
    dust: Decimal,
) -> None:
    rules = replace(instrument.rules, margin_on_reduce=rule)
    instrument = replace(instrument, rules=rules, quantity_min=Quantity(dust))
    mark, sign = Price(position.entry_price * (1 + moved)), position.side.sign
    fill = Price(mark * (1 - sign * slip))
    target = Fraction(mark) * (1 - sign * Fraction(wanted))

    def left(closed: Decimal) -> Fraction:
        return left_at(instrument, position, closed, fill, target)

    step, held = instrument.quantity_step, position.quantity
    match close_to_reach(instrument, position, mark, fill, Ratio(wanted)):
        case AlreadyThere():
            assert left(Decimal(0)) >= -ROUNDING
        case CannotReach(reason):
            assert "only closing the whole position" in reason
            shares = (held * share / 50 for share in range(50))
            assert all(left(closed) < ROUNDING for closed in (*shares, held - step))
        case closed:
            assert 0 < closed <= held
            if closed < held:
                assert closed % step == 0
                assert held - closed >= dust
                assert left(closed) >= -ROUNDING
                assert closed == dust or left(closed - step) < ROUNDING
            else:
                most = (held - dust) // step * step
                assert most < dust or left(most) < ROUNDING  # nor may an order be smaller


def test_the_close_of_a_known_case() -> None:
    """
    10x long of 1 from 50,000 at 47,000 (liquidated at 45,226.13), to be 10 % away: at 42,300.

    Filled at 46,900 with a fee of 23.45 a coin, c closed: 5,000 - 3,100 c - 23.45 c stay, the
    rest loses 7,700 (1 - c) at 42,300 and needs 211.5 (1 - c). So 4,788.05 c >= 2,911.5.
    """
    found = close_to_reach(
        build.instrument(), build.position(), price(47_000), price(46_900), ratio("0.1")
    )
    assert found == Decimal("0.609")  # 0.60808 in steps of 0.001


def test_a_venue_that_retains_margin_needs_a_smaller_close() -> None:
    """5,000 stay whole: 7,911.5 (1 - c) <= 5,000."""
    keeps = build.instrument(margin_on_reduce=RETAINED)
    found = close_to_reach(keeps, build.position(), price(47_000), price(46_900), ratio("0.1"))
    assert found == Decimal("0.369")  # 0.36801


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("1", "a long cannot be more than 100% from liquidation, asked 100%"),
        ("1.5", "a long cannot be more than 100% from liquidation, asked 150%"),
    ],
)
def test_what_a_close_cannot_reach_says_why(target: str, reason: str) -> None:
    """The position is 9.5 % away."""
    found = close_to_reach(
        build.instrument(), build.position(), price(50_000), price(49_900), ratio(target)
    )
    assert found == CannotReach(reason)


def test_a_close_at_a_price_beyond_the_target_reaches_nothing() -> None:
    """Every coin closed at 45,000 costs more than it would cost at a liquidation at 46,000."""
    found = close_to_reach(
        build.instrument(), build.position(), price(47_000), price(45_000), ratio("0.0213")
    )
    assert found == AlreadyThere("the target is reached already")
    lost = close_to_reach(
        build.instrument(), build.position(), price(46_000), price(44_000), ratio("0.03")
    )
    assert lost == CannotReach("only closing the whole position would do")


def test_what_only_less_than_a_step_would_reach_cannot_be_reached() -> None:
    """
    Beyond 100 of notional 20 % are needed: the first 0.00078 closed help, and more only costs.

    At a target of 45,000: 19.5 - 15 - 7.5 = -3 before, -3 + 4,000 c up to c = 0.00078, then
    less by 4,795 a coin. So 0.00075 would do, and a step of 0.001 does not.
    """
    steep = build.instrument(risk_tiers=build.tiers((0, "0.005"), (100, "0.2")), taker_fee=0)
    small = build.position(quantity="0.003", margin="19.5")
    found = close_to_reach(steep, small, price(50_000), price(40_000), ratio("0.1"))
    assert found == CannotReach("only closing the whole position would do")


@settings(max_examples=200)
@given(
    instrument=instruments(),
    position=positions(),
    share=st.sampled_from([Decimal("0.125"), Decimal("0.5"), Decimal("0.75")]),
)
def test_a_plain_close_leaves_liquidation_where_it_was(
    instrument: Instrument, position: Position, share: Decimal
) -> None:
    """
    The venue releases the margin of the closed share: the same price, or farther by a lower tier.

    Otherwise `partial_close` to a distance would be a promise that cannot be kept.
    """
    rest = replace(
        position,
        quantity=Quantity(position.quantity * share),
        isolated_margin=money(position.isolated_margin * share),
    )
    before, after = liquidation(instrument, position), liquidation(instrument, rest)
    match before, after:
        case LiquidatesAt(first), LiquidatesAt(second):
            moved = position.side.sign * (Fraction(first) - Fraction(second)) / Fraction(first)
            assert moved >= -Fraction(1, 10**20)
            if len(instrument.tiers) == 1:
                assert moved <= Fraction(1, 10**20)
        case NoLiquidation(), _:
            assert isinstance(after, NoLiquidation)
        case _:
            assert len(instrument.tiers) > 1


# Cross positions


def after(of: Book, closes: tuple[LegClose, ...], fills: dict[PositionKey, Price]) -> Book:
    """The wallet's bookkeeping of some fills."""
    wallet, legs = of.wallet_balance, list(of.legs)
    for close in closes:
        (index,) = [n for n, each in enumerate(legs) if each.position.key == close.key]
        position, fill = legs[index].position, fills[close.key]
        instrument = legs[index].instrument
        part = gain(instrument, replace(position, quantity=close.quantity), Fraction(fill))
        fee = close.quantity * fill * instrument.taker_fee
        wallet = money(wallet + Decimal(part.numerator) / Decimal(part.denominator) - fee)
        rest = replace(position, quantity=Quantity(position.quantity - close.quantity))
        legs[index] = replace(legs[index], position=rest)
    return Book(wallet, tuple(legs))


@settings(max_examples=200)
@given(of=books(), data=st.data(), wanted=decimals("0.001", "0.4", 4), slip=SLIPS)
def test_the_closes_reach_the_joint_target_and_one_step_less_does_not(
    of: Book, data: st.DataObject, wanted: Decimal, slip: Decimal
) -> None:
    ranked = tuple(data.draw(st.permutations(of.legs)))
    fills = {
        each.position.key: Price(each.mark_price * (1 - each.position.side.sign * slip))
        for each in of.legs
    }
    target = Fraction(wanted)
    gross = sum((each.position.quantity * each.mark_price for each in of.legs), Decimal(0))
    rounding = Fraction(gross) * ROUNDING
    match closes_to_reach(of, ranked, fills, Ratio(wanted)):
        case AlreadyThere():
            assert shared_surplus(of, target) >= -rounding
        case CannotReach(reason):
            assert "not even closing every cross position" in reason
            everything = tuple(
                LegClose(each.position.key, each.position.quantity) for each in of.legs
            )
            assert after(of, everything, fills).wallet_balance <= Decimal("1e-12")
        case closes:
            keys = [each.position.key for each in ranked]
            assert [close.key for close in closes] == keys[: len(closes)]
            *whole, last = closes
            for close in whole:
                assert close.quantity == of.leg_of(close.key).position.quantity
            assert shared_surplus(after(of, closes, fills), target) >= -rounding
            held, step = of.leg_of(last.key).position.quantity, Decimal("0.001")
            assert 0 < last.quantity <= held
            less = replace(last, quantity=Quantity(last.quantity - step))
            assert shared_surplus(after(of, (*whole, less), fills), target) < rounding


def ten_longs() -> Book:
    """Ten longs, each as large as the wallet of 100, at 1 %: 9.09 % away."""
    legs = (
        leg(cross(f"C{number}"), 100, instrument=flat_rate(f"C{number}", "0.01", taker_fee=0))
        for number in range(10)
    )
    return book(100, *legs)


def test_the_closes_of_a_known_book() -> None:
    """
    With n of ten longs left at the mark they were opened at: 1 - n x = 0.01 * n (1 - x).

    To be 20 % away n must not exceed 1 / 0.208 = 4.80769: five go whole, 0.193 of the sixth.
    """
    of = ten_longs()
    fills = {each.position.key: price(100) for each in of.legs}
    found = closes_to_reach(of, of.legs, fills, ratio("0.2"))
    assert isinstance(found, tuple)
    assert [(close.key.symbol, close.quantity) for close in found] == [
        *((f"C{number}", 1) for number in range(5)),
        ("C5", Decimal("0.193")),
    ]


def test_the_order_of_the_ranking_is_kept() -> None:
    """Of ten 1 / (0.1 + 0.01 * 0.9) = 9.17431 may stay: 0.826 of the first ranked go."""
    of = ten_longs()
    fills = {each.position.key: price(100) for each in of.legs}
    found = closes_to_reach(of, of.legs[::-1], fills, ratio("0.1"))
    assert isinstance(found, tuple)
    assert found == (LegClose(of.legs[9].position.key, Quantity(Decimal("0.826"))),)


def test_what_closes_cannot_reach_says_why() -> None:
    of = ten_longs()
    fills = {each.position.key: price(100) for each in of.legs}
    assert closes_to_reach(of, of.legs, fills, ratio("0.09")) == AlreadyThere(
        "the distance is already 9% or more"
    )
    ruinous = {key: price(89) for key in fills}
    found = closes_to_reach(of, of.legs, ruinous, ratio("0.1"))
    assert found == CannotReach("not even closing every cross position reaches it")


# A share


@pytest.mark.parametrize(
    ("quantity", "fraction", "least", "expected"),
    [
        ("1", "0.25", "0.001", "0.25"),
        ("1", "0.2501", "0.001", "0.251"),  # up to the step
        ("0.003", "0.01", "0.001", "0.001"),  # one step at least
        ("1", "1", "0.001", "1"),
        ("1", "0.95", "0.1", "1"),  # what would remain is less than the venue's minimum
        ("1", "0.9", "0.1", "0.9"),
        ("0.0015", "0.5", "0.001", "0.0015"),
        ("0.0015", "0.9", "0.001", "0.0015"),  # a position off the step is closed whole
    ],
)
def test_a_share_is_on_the_step_and_leaves_no_dust(
    quantity: str, fraction: str, least: str, expected: str
) -> None:
    instrument = replace(build.instrument(), quantity_min=Quantity(Decimal(least)))
    position = build.position(quantity=quantity)
    assert share_to_close(instrument, position, ratio(fraction)) == Decimal(expected)
