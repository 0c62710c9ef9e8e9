"""
Margin arithmetic against numbers that venues and other projects print, and against bisection.

The published numbers are facts; each names its source. The bisection is in exact fractions and
sums the tiers bracket by bracket, without the deductions that the guard's formula uses.
"""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from random import Random

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from bot.core.margin import (
    LiquidatesAt,
    NoLiquidation,
    as_shown,
    bankruptcy,
    liquidation,
    liquidation_distance,
    liquidation_from,
    margin_at,
    margin_balance,
    requirement,
    tier_of,
    tiers_are_continuous,
)
from bot.core.model import (
    CloseFee,
    ContractKind,
    Instrument,
    LiquidationRounding,
    MaintenanceAt,
    MarginMode,
    Position,
    RiskTier,
    Side,
)
from bot.core.units import Money, Price, Ratio
from bot.testing import builders as build
from tests.core.draws import decimals, holdings, instruments, positions
from tests.core.exact import surplus
from tests.core.published import Published, published

LONG, SHORT = Side.LONG, Side.SHORT
MARK, ENTRY = MaintenanceAt.MARK, MaintenanceAt.ENTRY


PLAIN = [
    case
    for case in published()
    if case.question["margin_mode"] == "isolated"
    and not {"tick", "adjust_factor", "maintenance_margin_given"} & case.question.keys()
    and "rules" in case.question
]
"""One rate, rounded by nobody."""


@pytest.mark.parametrize("case", PLAIN, ids=lambda case: case.name)
def test_published_liquidation_prices(case: Published) -> None:
    asked = case.question
    instrument = build.instrument(
        kind=ContractKind(asked["kind"]),
        taker_fee=asked.get("fee_rate", 0),
        maintenance_at=MaintenanceAt(asked["rules"]["maintenance_at"]),
        close_fee=CloseFee.MARK,
        risk_tiers=one_tier(asked["mmr"], asked.get("mm_amount", 0)),
    )
    position = build.position(
        side=Side(asked["side"]),
        quantity=asked["contracts"] * asked.get("contract_size", 1),
        entry_price=asked["entry"],
        margin=asked["isolated_margin" if "isolated_margin" in asked else "wallet_balance"],
    )
    for name, solve in (("liquidation_price", liquidation), ("bankruptcy_price", bankruptcy)):
        if name in case.answers:
            found, expected = solve(instrument, position), case.answers[name]
            assert isinstance(found, LiquidatesAt)
            assert abs(found.price - expected.value) <= expected.tolerance


def one_tier(rate: build.Number, deduction: build.Number) -> tuple[RiskTier, ...]:
    """The tier that a published case says it is in."""
    endless = Decimal("Infinity")
    return (
        RiskTier(Decimal(0), endless, Ratio(Decimal(rate)), Money(Decimal(deduction)), endless),
    )


def test_published_maintenance_margin() -> None:
    """KuCoin's payload: posMaint = mark value * (rate + taker fee)."""
    instrument = build.instrument(
        taker_fee="0.0006", close_fee=CloseFee.MARK, risk_tiers=one_tier("0.004", "0")
    )
    position = build.position(quantity="0.001", entry_price="120016.4", margin="20.0027333373")
    assert requirement(instrument, position, Price(Decimal("120009.57"))) == Decimal("0.552044022")


# Bisection


def bisected(instrument: Instrument, position: Position) -> Fraction | None:
    """Where the surplus is nothing, to 2**-110 of the first guess; None if it never is."""
    if position.side is LONG and surplus(instrument, position, Fraction(0)) >= 0:
        return None
    high = Fraction(position.entry_price)
    while (surplus(instrument, position, high) > 0) is not (position.side is LONG):
        high *= 2
    low = Fraction(0)
    for _ in range(110):
        middle = (low + high) / 2
        if (surplus(instrument, position, middle) > 0) is (position.side is LONG):
            high = middle
        else:
            low = middle
    return high


@settings(max_examples=200)
@given(instrument=instruments(), position=positions())
@example(build.instrument(), build.position(margin=50_000))  # the root is 0: no price at all
def test_the_root_is_where_bisection_finds_it(instrument: Instrument, position: Position) -> None:
    expected = bisected(instrument, position)
    match liquidation(instrument, position):
        case LiquidatesAt(price):
            assert expected is not None
            assert price > 0
            assert abs(Fraction(price) - expected) <= expected * Fraction(1, 10**20)
        case NoLiquidation(proof):
            assert expected is None
            assert position.side is LONG
            assert proof


@settings(max_examples=100)
@given(data=st.data(), instrument=instruments(), position=positions())
def test_a_root_on_the_border_of_two_tiers_is_found(
    data: st.DataObject, instrument: Instrument, position: Position
) -> None:
    """Where rounding could lose it: the margin is such that liquidation is at a tier's cap."""
    assume(len(instrument.tiers) > 1)
    tier = data.draw(st.sampled_from(instrument.tiers[:-1]))
    border = Price(tier.cap / position.quantity)
    margin = margin_at(instrument, position, border) + data.draw(decimals("-1e-8", "1e-8", 9))
    assume(margin > 0)
    placed = build.position(
        side=position.side,
        quantity=position.quantity,
        entry_price=position.entry_price,
        margin=margin,
    )
    expected = bisected(instrument, placed)
    assume(expected is not None and expected > 0)
    found = liquidation(instrument, placed)
    assert isinstance(found, LiquidatesAt)
    assert expected is not None
    assert abs(Fraction(found.price) - expected) <= expected * Fraction(1, 10**15)


@given(instrument=instruments(), position=positions(), added=decimals("0.01", "1000", 2))
def test_adding_margin_moves_liquidation_away(
    instrument: Instrument, position: Position, added: Decimal
) -> None:
    before = liquidation(instrument, position)
    margin = position.isolated_margin + added
    after = liquidation(
        instrument,
        build.position(
            side=position.side,
            quantity=position.quantity,
            entry_price=position.entry_price,
            margin=margin,
        ),
    )
    match before, after:
        case LiquidatesAt(first), LiquidatesAt(second):
            assert position.side.sign * (first - second) > 0
        case NoLiquidation(), _:
            assert isinstance(after, NoLiquidation)
        case _:
            assert position.side is LONG


@given(instrument=instruments(), position=positions(), price=decimals("0.1", "90000", 3))
def test_balance_requirement_and_margin_at_agree_with_fractions(
    instrument: Instrument, position: Position, price: Decimal
) -> None:
    at = Price(price)
    balance, needed = (
        margin_balance(instrument, position, at),
        requirement(instrument, position, at),
    )
    left = surplus(instrument, position, Fraction(price))
    assert Fraction(balance) - Fraction(needed) == pytest.approx(left, rel=1e-15, abs=1e-15)
    wanted = replace(position, isolated_margin=margin_at(instrument, position, at))
    assert surplus(instrument, wanted, Fraction(price)) == pytest.approx(0, abs=1e-15)


# Every kind and rule


def first_unsafe(
    instrument: Instrument, position: Position, mark: Fraction
) -> tuple[Fraction, bool]:
    """
    Where a mark that goes against the position from `mark` first finds no surplus, if anywhere.

    Between two borders of the brackets the surplus only falls, or only rises back from a jump:
    every border is looked at from both sides, then the stretch that ends without is halved.
    """
    tiny = Fraction(1, 10**24)
    size = Fraction(position.quantity)
    borders = [
        Fraction(tier.cap) / size
        if instrument.kind is ContractKind.LINEAR
        else size / Fraction(tier.cap)
        for tier in instrument.tiers[:-1]
    ]
    end = mark / 10**30 if position.side is LONG else mark * 10**30
    low, high = sorted((mark, end))
    looked = sorted(
        {
            mark,
            end,
            *(
                edge
                for at in borders
                if low < at < high
                for edge in (at * (1 - tiny), at * (1 + tiny))
            ),
        },
        reverse=position.side is LONG,
    )
    for before, after in pairwise(looked):
        if surplus(instrument, position, after) <= 0:
            return bisected_between(instrument, position, before, after), True
    return end, False


def bisected_between(
    instrument: Instrument, position: Position, safe: Fraction, unsafe: Fraction
) -> Fraction:
    for _ in range(230):
        middle = (safe + unsafe) / 2
        if surplus(instrument, position, middle) > 0:
            safe = middle
        else:
            unsafe = middle
    return unsafe


@settings(max_examples=300)
@given(holding=holdings(), moved=decimals("-0.1", "0.1", 3))
def test_the_first_price_reached_from_the_mark_is_found(
    holding: tuple[Instrument, Position], moved: Decimal
) -> None:
    instrument, position = holding
    mark = Price(position.entry_price * (1 + moved))
    safe = surplus(instrument, position, Fraction(mark)) > 0
    match liquidation_from(instrument, position, mark), safe:
        case LiquidatesAt(price), _ if safe:
            expected, is_reached = first_unsafe(instrument, position, Fraction(mark))
            assert is_reached
            assert abs(Fraction(price) - expected) <= expected * Fraction(1, 10**15)
        case NoLiquidation(proof), _:
            assert safe
            assert proof
            assert not first_unsafe(instrument, position, Fraction(mark))[1]
        case LiquidatesAt(price), _:
            # Back where the position would hold again, or at the mark for one that never would.
            back = position.side.sign * (price - mark)
            assert back >= 0
            if back > 0:
                nearer = Fraction(price) - position.side.sign * Fraction(price) / 10**15
                assert surplus(instrument, position, nearer) <= Fraction(price) / 10**12
                beyond = Fraction(price) + position.side.sign * Fraction(price) / 10**15
                assert surplus(instrument, position, beyond) >= 0


@settings(max_examples=200)
@given(holding=holdings())
def test_the_margin_for_a_price_puts_liquidation_there(
    holding: tuple[Instrument, Position],
) -> None:
    """Solved for the margin and then for the price: of a table without jumps there and back."""
    instrument, position = holding
    assume(tiers_are_continuous(instrument) or len(instrument.tiers) == 1)
    sign = position.side.sign
    price = Price(position.entry_price * (1 - sign * Decimal("0.03")))
    margin = margin_at(instrument, position, price)
    found = liquidation(instrument, replace(position, isolated_margin=margin))
    assert isinstance(found, LiquidatesAt)
    assert abs(found.price - price) <= price * Decimal("1e-18")


def test_a_cliff_is_reached_before_the_root_below_it() -> None:
    """
    Above 100 the whole position needs 20 %, below only 1 %: the long is gone at its cliff.

    1 from 120 on 30: at 20 % its root is (120 - 30) / 0.8 = 112.5, at 1 % it is 90 / 0.99.
    """
    table = tuple(
        replace(tier, deduction=Money(Decimal(0)))
        for tier in build.tiers((0, "0.01"), (100, "0.2"))
    )
    instrument = build.instrument(risk_tiers=table)
    long = build.position(entry_price=120, margin=30)
    assert liquidation(instrument, long) == LiquidatesAt(Price(Decimal("112.5")))
    assert liquidation_from(instrument, long, Price(Decimal(120))) == LiquidatesAt(
        Price(Decimal("112.5"))
    )
    below = liquidation_from(instrument, long, Price(Decimal(99)))
    assert isinstance(below, LiquidatesAt)
    assert below.price == Decimal(90) / Decimal("0.99")
    # At 105 the bracket has liquidated it; at 112.5 it would hold again.
    assert liquidation_from(instrument, long, Price(Decimal(105))) == LiquidatesAt(
        Price(Decimal("112.5"))
    )
    short = build.position(side=SHORT, entry_price=90, margin=25)
    assert liquidation(instrument, short) == LiquidatesAt(Price(Decimal(100)))


def test_a_thousand_inverse_shorts_against_bisection() -> None:
    """Their value falls while the price rises: a root exists until the margin pays any rise."""
    random, covered = Random(6), 0
    for _ in range(1_000):
        entry = Decimal(random.randint(1_000, 90_000_000)) / 1_000
        face = Decimal(random.randint(1, 1_000_000))
        value = face / entry
        instrument = build.instrument(
            kind=ContractKind.INVERSE,
            taker_fee=Decimal(random.randint(0, 10)) / 10_000,
            maintenance_at=random.choice(list(MaintenanceAt)),
            close_fee=random.choice(list(CloseFee)),
            risk_tiers=build.tiers(
                (0, Decimal(random.randint(20, 100)) / 10_000),
                (value * Decimal(random.randint(20, 90)) / 100, "0.015"),
                (value, "0.03"),
            ),
        )
        margin = value * Decimal(random.randint(5, 1_100)) / 1_000
        short = build.position(side=SHORT, quantity=face, entry_price=entry, margin=margin)

        low, high = 1, int(entry * 10**4) * 10**9  # in billionths; the last is far too high
        if surplus(instrument, short, Fraction(high, 10**9)) > 0:
            covered += 1
            found = liquidation(instrument, short)
            assert isinstance(found, NoLiquidation) or found.price > entry * 9_999
            continue
        while high - low > 1:
            middle = (low + high) // 2
            if surplus(instrument, short, Fraction(middle, 10**9)) > 0:
                low = middle
            else:
                high = middle
        found = liquidation(instrument, short)
        assert isinstance(found, LiquidatesAt)
        assert low - 1 <= found.price * 10**9 <= high + 1
    assert 10 < covered < 200


def test_an_inverse_short_that_is_covered_has_no_liquidation() -> None:
    """100,000 of face from 50,000 are 2 coins: as much margin pays any rise."""
    instrument = build.instrument(kind=ContractKind.INVERSE)
    covered = build.position(side=SHORT, quantity=100_000, entry_price=50_000, margin=2)
    assert isinstance(liquidation(instrument, covered), NoLiquidation)
    nearly = replace(covered, isolated_margin=Money(Decimal("1.9")))
    found = liquidation(instrument, nearly)
    assert isinstance(found, LiquidatesAt)
    assert found.price == Decimal(100_000) * Decimal("0.995") / Decimal("0.1")


def test_a_balance_that_no_price_mends_is_breached_at_the_mark() -> None:
    short = build.position(side=SHORT, margin=-60_000)
    found = liquidation_from(build.instrument(), short, Price(Decimal(40_000)))
    assert found == LiquidatesAt(Price(Decimal(40_000)))


def test_bankruptcy_is_where_nothing_is_left() -> None:
    """Bybit: bust of an inverse long = (1 + fee) N / (N / E + B)."""
    inverse = build.instrument(
        kind=ContractKind.INVERSE, taker_fee="0.00075", close_fee=CloseFee.BANKRUPTCY
    )
    long = build.position(quantity=10_000, entry_price=8_000, margin="0.5")
    found = bankruptcy(inverse, long)
    assert isinstance(found, LiquidatesAt)
    assert round(found.price, 2) == Decimal("5718.57")
    plain = bankruptcy(build.instrument(kind=ContractKind.INVERSE), long)
    assert plain == LiquidatesAt(Price(Decimal(10_000) / Decimal("1.75")))
    covered = build.position(quantity=1, entry_price=100, margin=100)
    assert isinstance(bankruptcy(build.instrument(), covered), NoLiquidation)


@pytest.mark.parametrize(
    ("rounding", "side", "expected"),
    [
        (LiquidationRounding.NONE, LONG, "100.03"),
        (LiquidationRounding.TOWARDS_MARK, LONG, "100.1"),
        (LiquidationRounding.TOWARDS_MARK, SHORT, "100.0"),
        (LiquidationRounding.AWAY_FROM_MARK, LONG, "100.0"),
        (LiquidationRounding.AWAY_FROM_MARK, SHORT, "100.1"),
        (LiquidationRounding.ONE_TICK_EARLY, LONG, "100.13"),
        (LiquidationRounding.ONE_TICK_EARLY, SHORT, "99.93"),
    ],
)
def test_prices_as_venues_show_them(
    rounding: LiquidationRounding, side: Side, expected: str
) -> None:
    plain = build.instrument()
    instrument = replace(plain, rules=replace(plain.rules, liquidation_rounding=rounding))
    shown = as_shown(instrument, build.position(side=side), Price(Decimal("100.03")))
    assert shown == Decimal(expected)


def test_one_tick_early_is_for_isolated_positions() -> None:
    plain = build.instrument()
    rules = replace(plain.rules, liquidation_rounding=LiquidationRounding.ONE_TICK_EARLY)
    cross = build.position(margin_mode=MarginMode.CROSS)
    price = Price(Decimal("100.03"))
    assert as_shown(replace(plain, rules=rules), cross, price) == price


# Tiers and distance


THREE = build.tiers((0, "0.004"), (50_000, "0.005"), (250_000, "0.01"))


def test_a_tier_ends_with_its_cap() -> None:
    instrument = build.instrument(risk_tiers=THREE)
    notionals = [Decimal(n) for n in ("0", "50000", "50000.01", "250000", "250000.01", "1e15")]
    floors = [tier_of(instrument, notional).floor for notional in notionals]
    assert floors == [0, 0, 50_000, 50_000, 250_000, 250_000]


def test_deductions_as_the_venues_publish_them() -> None:
    """Binance: cum of a tier = cum before + floor * (rate - rate before)."""
    assert [tier.deduction for tier in THREE] == [0, 50, 1_300]


def broken(index: int, **changes: Decimal) -> tuple[RiskTier, ...]:
    tier = THREE[index]
    facts = {
        "floor": tier.floor,
        "cap": tier.cap,
        "rate": tier.rate,
        "deduction": tier.deduction,
    } | changes
    changed = RiskTier(
        facts["floor"],
        facts["cap"],
        Ratio(facts["rate"]),
        Money(facts["deduction"]),
        tier.leverage_max,
    )
    return (*THREE[:index], changed, *THREE[index + 1 :])


@pytest.mark.parametrize(
    "tiers",
    [
        broken(0, floor=Decimal(1)),
        broken(0, deduction=Decimal(1)),
        broken(2, cap=Decimal(10**9)),
        broken(1, floor=Decimal(60_000)),
        broken(1, deduction=Decimal(0)),
        broken(2, deduction=Decimal(1_299)),
        build.tiers((0, "0.01"), (50_000, "0.005")),
    ],
    ids=["starts late", "deducts at once", "ends", "gap", "jump", "small jump", "falling rate"],
)
def test_tables_that_are_not_continuous(tiers: tuple[RiskTier, ...]) -> None:
    assert not tiers_are_continuous(build.instrument(risk_tiers=tiers))
    assert tiers_are_continuous(build.instrument(risk_tiers=THREE))


@pytest.mark.parametrize(
    ("side", "mark", "liquidated_at", "expected"),
    [
        (LONG, 50_000, 45_000, "0.1"),
        (LONG, 50_000, 50_000, "0"),
        (LONG, 50_000, 55_000, "-0.1"),
        (SHORT, 50_000, 55_000, "0.1"),
        (SHORT, 50_000, 45_000, "-0.1"),
    ],
)
def test_distance_is_signed(side: Side, mark: int, liquidated_at: int, expected: str) -> None:
    position = build.position(side=side)
    found = liquidation_distance(position, Price(Decimal(mark)), Price(Decimal(liquidated_at)))
    assert found == Decimal(expected)
