"""
The joint distance against published accounts, arithmetic by hand and bisection.

Venues print a price of one symbol with all others held still: with a beta of 0 for the others
the joint distance must say the same.
"""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

import pytest
from hypothesis import assume, example, given, settings

from bot.core.cross import (
    Book,
    Leg,
    LiquidatesAfter,
    equity,
    first_root,
    joint_liquidation,
    spare,
    total_requirement,
)
from bot.core.margin import (
    LiquidatesAt,
    LiquidatesTogether,
    NoLiquidation,
    liquidation,
    liquidation_distance,
)
from bot.core.metrics import leg_liquidation, measured_book
from bot.core.model import (
    CloseFee,
    Instrument,
    MaintenanceAt,
    MarginMode,
    Position,
    RiskTier,
    Side,
)
from bot.core.units import Money, Price, Ratio
from bot.testing import builders as build
from tests.core.books import book, cross, flat_rate, leg
from tests.core.draws import books, decimals, instruments, positions
from tests.core.exact import joint_distance, shared_surplus

LONG, SHORT = Side.LONG, Side.SHORT
MARK, ENTRY = MaintenanceAt.MARK, MaintenanceAt.ENTRY


def distance(of: Book) -> Ratio:
    found = joint_liquidation(of)
    assert isinstance(found, LiquidatesAfter)
    return found.shock


# Published accounts


class Line(NamedTuple):
    """A cross position as a venue shows it."""

    side: Side
    entry: str
    mark: str
    quantity: str
    rate: str
    deduction: str = "0"
    fee: str = "0"
    valued: MaintenanceAt = MARK


class Account(NamedTuple):
    source: str
    wallet: str
    line: Line
    others: tuple[Line, ...]
    price: str
    tolerance: str


BINANCE = "Binance FAQ b3c689c1f50a44cabb3a84e663b81d93, worked example of two positions"
BTC = Line(LONG, "32481.98", "31967.27", "109.488", "0.025", "16300")
ETH = Line(LONG, "1456.84", "1335.18", "3683.979", "0.1", "135365")

PUBLISHED = [
    Account(BINANCE, "1535443.01", ETH, (BTC,), "1153.26", "0.006"),
    Account(f"{BINANCE}; freqtrade c9ae5e1e pins it", "1535443.01", BTC, (ETH,), "26316.89",
            "0.006"),
    Account("ccxt static response hyperliquid, fetchPositions (short SOL beside long ETH)",
            "9464.616934", Line(SHORT, "138.76", "137.96", "0.5", "0.01"),
            (Line(LONG, "1100", "2387", "1.6", "0.01"),), "22881.19788911", "0.001"),
    Account("OKX v5 docs, trading bot positions example", "25.684685585058343",
            Line(LONG, "1597.74", "1584.33", "0.15", "0.008", fee="0.0005"), (),
            "1438.7380360728976", "1e-9"),
    Account("ccxt blofin parse_position comment", "58.099998096594916",
            Line(LONG, "68.16", "68.96631223", "1", "0.005", fee="0.0006"), (),
            "10.116655172370356", "1e-9"),
    Account("moonxbt help 5532119155343", "2200",
            Line(LONG, "20000", "21000", "1", "0.005", valued=ENTRY), (), "17900", "1e-9"),
    Account("BitMEX isolatedMarginExamples, Karen", "10000",
            Line(LONG, "1000", "1000", "20", "0.01", valued=ENTRY), (), "510", "1e-9"),
]  # fmt: skip


def shown(line: Line, symbol: str, beta: int) -> Leg:
    endless = Decimal("Infinity")
    rate, deduction = Ratio(Decimal(line.rate)), Money(Decimal(line.deduction))
    instrument = build.instrument(
        symbol,
        taker_fee=line.fee,
        maintenance_at=line.valued,
        close_fee=CloseFee.MARK,
        risk_tiers=(RiskTier(Decimal(0), endless, rate, deduction, endless),),
    )
    position = cross(symbol, line.side, quantity=line.quantity, entry_price=line.entry)
    return leg(position, line.mark, beta=beta, instrument=instrument)


@pytest.mark.parametrize("account", PUBLISHED, ids=lambda account: account.price)
def test_published_prices_with_the_other_positions_held_still(account: Account) -> None:
    others = (shown(line, f"OTHER{number}", 0) for number, line in enumerate(account.others))
    measured = measured_book(book(account.wallet, shown(account.line, "IT", 1), *others))
    found = leg_liquidation(measured, measured.book.legs[0])
    assert isinstance(found, LiquidatesTogether), account.source
    assert abs(found.price - Decimal(account.price)) <= Decimal(account.tolerance), account.source


# By hand


def ten_longs(*, moving: int = 10, wallet: build.Number = 100) -> Book:
    """Ten longs, each as large as the wallet, at 1 % maintenance; `moving` of them move."""
    return book(
        wallet,
        *(
            leg(
                cross(f"C{number}"),
                100,
                beta=int(number < moving),
                instrument=flat_rate(f"C{number}", "0.01"),
            )
            for number in range(10)
        ),
    )


def test_ten_equal_longs_on_one_wallet_are_nine_percent_away_and_not_ninety() -> None:
    """
    1 - 10 x = 0.01 * 10 (1 - x), so x = (1 - 0.1) / (10 (1 - 0.01)) = 1/11.

    What a venue displays lets one symbol move: 1 - x = 0.01 * (9 + 1 - x), so x = 10/11.
    """
    joint, displayed = distance(ten_longs()), distance(ten_longs(moving=1))
    assert f"{joint:.10f}" == "0.0909090909"
    assert f"{displayed:.10f}" == "0.9090909091"
    assert 11 * joint == pytest.approx(Decimal(1), abs=Decimal("1e-26"))


def test_a_long_and_a_short_move_against_each_other_not_together() -> None:
    """20 - 200 x = 0.01 * (100 (1 - x) + 100 (1 + x)), so x = 0.09."""
    both = book(
        20,
        leg(cross("A"), 100, instrument=flat_rate("A", "0.01")),
        leg(cross("B", SHORT), 100, instrument=flat_rate("B", "0.01")),
    )
    assert distance(both) == Decimal("0.09")
    measured = measured_book(both)
    prices = [leg_liquidation(measured, each) for each in both.legs]
    assert prices == [
        LiquidatesTogether(Price(Decimal(91)), Decimal(100)),
        LiquidatesTogether(Price(Decimal(109)), Decimal(100)),
    ]


def test_a_beta_makes_a_leg_move_so_many_times_as_far() -> None:
    """20 - 300 x = 0.01 * (100 (1 - x) + 100 (1 - 2 x)), so x = 18/297."""
    both = book(
        20,
        leg(cross("A"), 100, instrument=flat_rate("A", "0.01")),
        leg(cross("B"), 100, beta=2, instrument=flat_rate("B", "0.01")),
    )
    assert 297 * distance(both) == pytest.approx(Decimal(18), abs=Decimal("1e-24"))
    measured = measured_book(both)
    found = leg_liquidation(measured, both.legs[1])
    assert isinstance(found, LiquidatesTogether)
    assert found.per_distance == 200
    assert found.price == pytest.approx(100 * (1 - Decimal(36) / 297), abs=Decimal("1e-20"))


@pytest.mark.parametrize(
    ("mark", "expected"),
    [
        (50_000, "0.0954773869"),  # liquidation at 45,000 / 0.995 = 45,226.13
        (45_000, "-0.0050251256"),
        (20_000, "-1"),  # more than its value would have to come back
    ],
)
def test_the_distance_is_signed(mark: int, expected: str) -> None:
    breached = book(5_000, leg(cross("A", entry_price=50_000), mark))
    assert f"{distance(breached):.10f}".rstrip("0").rstrip(".") == expected
    assert measured_book(breached).breached is expected.startswith("-")


def test_a_breached_book_of_a_short_and_a_long_says_how_far_both_must_come_back() -> None:
    """1 + 200 y = 0.01 * 200 with y the recovery, so x = -0.005."""
    both = book(
        1,
        leg(cross("A"), 100, instrument=flat_rate("A", "0.01")),
        leg(cross("B", SHORT), 100, instrument=flat_rate("B", "0.01")),
    )
    assert distance(both) == Decimal("-0.005")


def test_a_fully_covered_book_has_no_liquidation_and_says_why() -> None:
    found = joint_liquidation(ten_longs(wallet="1000.01"))
    assert isinstance(found, NoLiquidation)
    assert found.proof
    assert distance(ten_longs(wallet=1_000)) == 1
    measured = measured_book(ten_longs(wallet="1000.01"))
    assert measured.liquidation_distance == 1
    assert not measured.breached
    assert isinstance(leg_liquidation(measured, measured.book.legs[0]), NoLiquidation)


@pytest.mark.parametrize("beta", ["0.62", "0.7", "1.3", "2.9", "3"])
def test_a_covered_book_is_covered_whatever_the_beta(beta: str) -> None:
    """Where one over the beta has no last digit, the mark price must still be gone there."""
    small = cross("A", quantity="0.001", entry_price="0.5")
    covered = book("0.00075", leg(small, "0.5", beta=beta))
    assert isinstance(joint_liquidation(covered), NoLiquidation)
    assert measured_book(covered).liquidation_distance == 1


def test_no_wallet_covers_a_short() -> None:
    assert distance(book(10**9, leg(cross("A", SHORT), 100))) > 1_000


def test_a_leg_that_does_not_move_is_liquidated_at_no_price_of_its_own() -> None:
    measured = measured_book(ten_longs(moving=1))
    assert isinstance(leg_liquidation(measured, measured.book.legs[9]), NoLiquidation)


def test_what_nothing_moves_is_safe_or_lost() -> None:
    still = leg(cross("A"), 100, beta=0)
    assert isinstance(joint_liquidation(book(1, still)), NoLiquidation)
    assert distance(book("0.4", still)) == -1  # no shock brings it back
    assert measured_book(book("0.4", still)).breached


def test_closing_settles_profit_and_fee_with_the_wallet() -> None:
    """Half of 2 from 100 closed at 90: 10 lost, a fee of 0.0005 * 90."""
    before = book(50, leg(cross("A", quantity=2), 95), leg(cross("B"), 10))
    after = before.after_close(cross("A").key, Decimal(1), Price(Decimal(90)))
    assert after.wallet_balance == Decimal("39.955")
    assert [each.position.quantity for each in after.legs] == [1, 1]
    assert after.legs[1] is before.legs[1]
    short = book(50, leg(cross("A", SHORT, quantity=2), 95))
    gained = short.after_close(cross("A", SHORT).key, Decimal(1), Price(Decimal(90)))
    assert gained.wallet_balance == Decimal("59.955")
    whole = before.after_close(cross("A").key, Decimal(2), Price(Decimal(90)))
    assert whole.legs == (before.legs[1],)
    with pytest.raises(KeyError):
        before.leg_of(cross("A", SHORT).key)


# Bisection


TOLERANCE = Fraction(1, 10**14)


@settings(max_examples=200)
@given(books())
@example(ten_longs(wallet=1_000))
def test_the_joint_distance_is_where_bisection_finds_it(of: Book) -> None:
    expected = joint_distance(of)
    match joint_liquidation(of):
        case LiquidatesAfter(shock):
            assert expected is not None
            assert abs(Fraction(shock) - expected) <= max(abs(expected), Fraction(1)) * TOLERANCE
        case NoLiquidation(proof):
            assert expected is None
            assert proof


@settings(max_examples=100)
@given(books(), decimals("-1", "3", 4))
def test_equity_and_requirement_agree_with_fractions(of: Book, shock: Decimal) -> None:
    exact = shared_surplus(of, Fraction(shock))
    assert Fraction(spare(of, shock)) == pytest.approx(exact, rel=1e-15, abs=1e-15)
    left = equity(of, shock) - total_requirement(of, shock)
    assert Fraction(left) == pytest.approx(exact, rel=1e-15, abs=1e-15)


@settings(max_examples=100)
@given(books())
def test_the_balance_and_the_sign_agree(of: Book) -> None:
    """Breached is what has no surplus now, by whichever of the numbers one looks."""
    measured = measured_book(of)
    now = shared_surplus(of, Fraction(0))
    assume(abs(now) > Fraction(1, 10**12))
    assert measured.breached is (now <= 0 or measured.margin_balance <= 0)
    assert (measured.liquidation_distance > 0) is (now > 0)


@settings(max_examples=200)
@given(instrument=instruments(), position=positions(), moved=decimals("-0.3", "0.3", 3))
@example(build.instrument(), build.position(margin=50_000), Decimal(0))
def test_one_leg_is_as_far_away_as_if_the_wallet_were_its_margin(
    instrument: Instrument, position: Position, moved: Decimal
) -> None:
    # At bankruptcy a cross position pays by its leverage, an isolated one by its margin.
    assume(instrument.rules.close_fee is not CloseFee.BANKRUPTCY)
    mark = Price(position.entry_price * (1 + moved))
    shared = replace(position, margin_mode=MarginMode.CROSS, isolated_margin=Money(Decimal(0)))
    alone = book(position.isolated_margin, leg(shared, mark, instrument=instrument))
    match liquidation(instrument, position):
        case LiquidatesAt(price):
            expected = max(Fraction(liquidation_distance(position, mark, price)), Fraction(-1))
        case NoLiquidation():
            expected = Fraction(1)
    found = Fraction(measured_book(alone).liquidation_distance)
    assert abs(found - expected) <= Fraction(1, 10**18)


@settings(max_examples=100)
@given(books())
def test_at_the_joint_distance_every_leg_is_at_the_price_that_is_told(of: Book) -> None:
    """The legs' prices together leave nothing, in arithmetic that knows no shock."""
    measured = measured_book(of)
    assume(isinstance(measured.liquidation, LiquidatesAfter))
    moved = []
    for each in of.legs:
        match leg_liquidation(measured, each):
            case LiquidatesTogether(price, per_distance):
                assert per_distance == each.mark_price * each.beta
                moved.append(replace(each, mark_price=price))
            case NoLiquidation():
                shock = measured.liquidation_distance
                assume(each.beta == 0 or each.position.side.sign * each.beta * shock < 1)
                moved.append(each)
    assume(measured.liquidation_distance > -1)
    gross = sum(leg.position.quantity * leg.mark_price for leg in of.legs)
    left = shared_surplus(Book(of.wallet_balance, tuple(moved)), Fraction(0))
    assert abs(left) <= Fraction(gross) * Fraction(1, 10**18)


# Roots of bent lines


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2, 3], "0"),  # reached at once
        ([-1, 1, 3], "0.5"),
        ([-1, 0, 0], "1"),
        ([-3, -2, 2], "1.5"),
        ([-3, -2, -1], "3"),  # beyond the last border, with its slope
        ([-3, -2, -2], "Infinity"),
        ([-3, -2, -2.5], "Infinity"),
    ],
)
def test_the_first_root_of_a_bent_line(values: list[float], expected: str) -> None:
    """`values` at 0, 1 and 2, straight between them and on beyond 2."""
    at = [Decimal(str(value)) for value in values]

    def line(x: Decimal) -> Decimal:
        piece = 0 if x < 1 else 1
        return at[piece] + (x - piece) * (at[piece + 1] - at[piece])

    borders = [Decimal(0), Decimal(1), Decimal(2)]
    assert first_root(line, borders) == Decimal(expected)


@pytest.mark.parametrize(
    ("slope", "expected"), [("1", "1"), ("4", "0.75"), ("-1", "1"), ("0", "1")]
)
def test_a_jump_at_a_border_reaches_what_the_line_before_it_does_not(
    slope: str, expected: str
) -> None:
    """From -3 with a slope, and from 1 on it is 5."""

    def line(x: Decimal) -> Decimal:
        return Decimal(5) if x >= 1 else -3 + x * Decimal(slope)

    assert first_root(line, [Decimal(0), Decimal(1), Decimal(2)]) == Decimal(expected)
