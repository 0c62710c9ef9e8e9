"""
One wallet behind everything: inverse contracts, both legs of a symbol, coins as collateral.

Held against the sums of exact.py, and against what venues say of their hedge mode.
"""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.core.cross import (
    Book,
    Leg,
    LiquidatesAfter,
    Pledge,
    equity,
    faced,
    joint_liquidation,
    shocks_to_watch,
    spare,
    turned_over,
)
from bot.core.margin import NoLiquidation
from bot.core.metrics import BookKnown, Unknown, leg_liquidation, measure_book, measured_book
from bot.core.model import (
    Collateral,
    ContractKind,
    HedgeRequirement,
    Instrument,
    MaintenanceAt,
    Side,
)
from bot.core.units import Money, Price, Ratio
from bot.testing import builders as build
from tests.core.books import book, cross, flat_rate, leg
from tests.core.draws import decimals
from tests.core.exact import bisected, shared_surplus

LONG, SHORT = Side.LONG, Side.SHORT
BOTH, LARGER, NET = HedgeRequirement


def ruled(instrument: Instrument, rule: HedgeRequirement) -> Instrument:
    return replace(instrument, rules=replace(instrument.rules, hedge_requirement=rule))


def hedged(
    wallet: int, long: str, short: str, rule: HedgeRequirement, rate: str = "0.004"
) -> Book:
    """A long from 50,000 and a short from 51,000 at the mark 50,500."""
    instrument = ruled(flat_rate("A", rate), rule)
    return faced(
        book(
            wallet,
            leg(cross("A", quantity=long, entry_price=50_000), 50_500, instrument=instrument),
            leg(
                cross("A", SHORT, quantity=short, entry_price=51_000),
                50_500,
                instrument=instrument,
            ),
        )
    )


def joint_price(of: Book) -> Decimal:
    found = joint_liquidation(of)
    assert isinstance(found, LiquidatesAfter)
    prices = {each.price_after(found.shock) for each in of.legs}
    (price,) = {round(price, 15) for price in prices}
    return price


@pytest.mark.parametrize(
    ("long", "short", "expected"), [("3", "1", "39818.548387"), ("1", "3", "61011.904762")]
)
def test_binance_margins_both_legs(long: str, short: str, expected: str) -> None:
    """LP = (WB + cumL + cumS - qL EL + qS ES) / (qL mmr + qS mmr - qL + qS): Binance's FAQ."""
    assert round(joint_price(hedged(20_000, long, short, BOTH)), 6) == Decimal(expected)


def test_only_the_larger_leg_is_margined_where_the_venue_says_so() -> None:
    """20,000 + 3 (p - 50,000) - (p - 51,000) = 0.004 * 3 p: 79,000 / 1.988."""
    price = joint_price(hedged(20_000, "3", "1", LARGER))
    assert price == pytest.approx(Decimal(79_000) / Decimal("1.988"), abs=Decimal("1e-10"))


def test_only_the_net_is_margined_where_the_venue_says_so() -> None:
    """The same with 0.004 * 2 p; and what is hedged whole is never liquidated."""
    price = joint_price(hedged(20_000, "3", "1", NET))
    assert price == pytest.approx(Decimal(79_000) / Decimal("1.992"), abs=Decimal("1e-10"))
    assert isinstance(joint_liquidation(hedged(1, "2", "2", NET)), NoLiquidation)


def test_the_net_of_two_legs_has_brackets_of_its_own() -> None:
    """
    1 % up to 150 and 10 % beyond: the net of 2 from 100 is in the first bracket below 75.

    60 + 2 (p - 100) = 0.01 * 2 p, so p = 140 / 1.98; neither leg changes its bracket there.
    """
    table = build.tiers((0, "0.01"), (150, "0.1"))
    instrument = ruled(build.instrument("A", risk_tiers=table), NET)
    of = faced(
        book(
            60,
            leg(cross("A", quantity=3), 100, instrument=instrument),
            leg(cross("A", SHORT, quantity=1), 100, instrument=instrument),
        )
    )
    assert joint_price(of) == pytest.approx(Decimal(140) / Decimal("1.98"), abs=Decimal("1e-12"))


def test_of_two_equal_legs_the_one_that_needs_more_is_margined() -> None:
    """Valued at entry, 1 % of 100 or of 200: 2 are required, and 1 of the wallet is not enough."""
    instrument = ruled(flat_rate("A", "0.01", maintenance_at=MaintenanceAt.ENTRY), LARGER)
    legs = (
        leg(cross("A"), 150, instrument=instrument),
        leg(cross("A", SHORT, entry_price=200), 150, instrument=instrument),
    )
    assert spare(book(-98, *legs), Decimal(0)) == 0  # 50 + 50 of profit


def test_of_two_legs_the_smaller_one_gains_in_the_shock() -> None:
    of = hedged(20_000, "3", "1", BOTH)
    assert [each.beta for each in of.legs] == [1, -1]
    measured = measured_book(of)
    assert isinstance(leg_liquidation(measured, of.legs[1]), NoLiquidation)
    assert [each.beta for each in hedged(20_000, "1", "3", BOTH).legs] == [-1, 1]


def test_a_whole_hedge_is_hurt_by_a_rise_where_both_legs_are_margined() -> None:
    """Profit and loss cancel; what both require grows with the price: 1,000 = 0.004 * 2 p."""
    of = hedged(0, "1", "1", BOTH)
    assert joint_price(of) == 125_000
    assert [each.beta for each in of.legs] == [-1, 1]


def test_a_coin_falls_with_the_position_that_it_backs() -> None:
    """47,500 (1 - x) - 50,000 x = 0.005 * 50,000 (1 - x), so x = 47,250 / 97,250."""
    coin = Pledge("A", Decimal("0.95"), Price(Decimal(50_000)), Ratio(Decimal(1)))
    of = faced(Book(Money(Decimal(0)), (leg(cross("A", entry_price=50_000), 50_000),), (coin,)))
    found = joint_liquidation(of)
    assert isinstance(found, LiquidatesAfter)
    assert found.shock == pytest.approx(Decimal(47_250) / 97_250, abs=Decimal("1e-20"))
    assert equity(of) == 47_500


def test_a_short_on_its_own_coin_is_hurt_by_a_fall_and_gains_in_it() -> None:
    coin = Pledge("A", Decimal(1), Price(Decimal(50_000)), Ratio(Decimal(1)))
    short = leg(cross("A", SHORT, quantity="0.5", entry_price=50_000), 50_000)
    of = faced(Book(Money(Decimal(-30_000)), (short,), (coin,)))
    assert of.legs[0].beta == -1
    assert of.pledges[0].beta == 1
    found = joint_liquidation(of)
    assert isinstance(found, LiquidatesAfter)
    # 20,000 - 50,000 x + 25,000 x = 0.005 * 25,000 (1 - x)
    assert found.shock == pytest.approx(Decimal(19_875) / 24_875, abs=Decimal("1e-20"))


def test_a_stablecoin_that_loses_its_peg_can_liquidate_what_nothing_else_moves() -> None:
    """1,000 of it at 0.98 and a long that stays: 980 (1 - x) = 500 of requirement."""
    coin = Pledge("USDC", Decimal(1_000) * Decimal("0.98"), Price(Decimal(1)), Ratio(Decimal(1)))
    still = leg(cross("A", entry_price=100_000), 100_000, beta=0)
    of = faced(Book(Money(Decimal(0)), (still,), (coin,)))
    found = joint_liquidation(of)
    assert isinstance(found, LiquidatesAfter)
    assert found.shock == pytest.approx(1 - Decimal(500) / 980, abs=Decimal("1e-20"))


def test_an_inverse_position_with_a_wallet_is_the_isolated_one() -> None:
    """Bybit's example: N = 10,000 from 8,000 on 0.5: N (1 + mmr) / (N / E + B)."""
    instrument = build.instrument("A", kind=ContractKind.INVERSE)
    of = book(
        "0.5", leg(cross("A", quantity=10_000, entry_price=8_000), 8_000, instrument=instrument)
    )
    expected = Decimal(10_000) * Decimal("1.005") / Decimal("1.75")
    assert joint_price(of) == pytest.approx(expected, abs=Decimal("1e-12"))
    lost = book(
        "-0.01", leg(cross("A", quantity=10_000, entry_price=8_000), 8_000, instrument=instrument)
    )
    back = joint_liquidation(lost)
    assert isinstance(back, LiquidatesAfter)
    expected = 10_000 * Decimal("1.005") / (Decimal("1.25") - Decimal("0.01"))
    assert lost.legs[0].price_after(back.shock) == pytest.approx(expected, abs=Decimal("1e-12"))


def test_a_wallet_that_pays_any_rise_of_inverse_shorts_is_never_liquidated() -> None:
    instrument = build.instrument("A", kind=ContractKind.INVERSE)
    short = leg(
        cross("A", SHORT, quantity=10_000, entry_price=8_000), 8_000, instrument=instrument
    )
    assert isinstance(joint_liquidation(book("1.25", short)), NoLiquidation)
    found = joint_liquidation(book("1.24", short))
    assert isinstance(found, LiquidatesAfter)
    assert found.shock > 100


def test_a_dip_between_two_ends_that_are_safe_is_found() -> None:
    """
    A linear long loses x while an inverse short gains 0.5625 x / (1 - x): least at x = 0.25.

    0.05 - x + 0.5625 x / (1 - x) = 0 where x^2 - 0.4875 x + 0.05 = 0, though at 0 and at 0.5
    something is left.
    """
    free = build.tiers((0, 0))
    long = leg(cross("A", entry_price=1), 1, instrument=build.instrument("A", risk_tiers=free))
    inverse = build.instrument("B", kind=ContractKind.INVERSE, risk_tiers=free)
    short = leg(
        cross("B", SHORT, quantity="0.5625", entry_price=1), 1, beta=-1, instrument=inverse
    )
    found = joint_liquidation(book("0.05", long, short))
    assert isinstance(found, LiquidatesAfter)
    expected = (Decimal("0.4875") - Decimal("0.03765625").sqrt()) / 2
    assert expected - Decimal("1e-20") < found.shock <= expected


# Against sums in fractions


@st.composite
def coin_books(draw: st.DrawFn, *, one_way: bool = False) -> Book:
    """One to three inverse symbols on a wallet of their coin; some with a leg against it."""
    legs: list[Leg] = []
    for number in range(draw(st.integers(1, 3))):
        entry = draw(decimals("10", "70000", 2))
        face = draw(decimals("100", "900000", 0))
        value = face / entry
        caps = sorted(draw(st.lists(decimals("0.3", "2", 2), max_size=2, unique=True)))
        rates = sorted(draw(st.lists(decimals("0.002", "0.1", 4), min_size=3, max_size=3)))
        floors = [Decimal(0), *((value * cap).quantize(Decimal("1e-12")) for cap in caps)]
        instrument = ruled(
            build.instrument(
                f"C{number}",
                kind=ContractKind.INVERSE,
                taker_fee=draw(decimals("0", "0.001", 5)),
                risk_tiers=build.tiers(*zip(floors, rates, strict=False)),
            ),
            draw(st.sampled_from(HedgeRequirement)),
        )
        mark = (entry * (1 + draw(decimals("-0.2", "0.2", 3)))).quantize(Decimal("0.01"))
        beta = draw(st.sampled_from(["0", "0.5", "1", "1", "2"]))
        side = draw(st.sampled_from(Side))
        sizes = [face]
        if not one_way and draw(st.booleans()):
            sizes.append(draw(decimals("100", "900000", 0)))
        for size, direction in zip(sizes, (side, LONG if side is SHORT else SHORT), strict=False):
            position = cross(f"C{number}", direction, quantity=size, entry_price=entry)
            legs.append(leg(position, mark, beta=beta, instrument=instrument))
    gross = sum((each.position.quantity / each.mark_price for each in legs), Decimal(0))
    share = draw(decimals("-0.02", "0.3", 4) | decimals("0.3", "2", 2))
    wallet = Money((gross * share).quantize(Decimal("1e-10")))
    return faced(Book(wallet, tuple(legs)))


@settings(max_examples=120)
@given(coin_books())
def test_no_shock_before_the_joint_distance_liquidates(of: Book) -> None:
    """What is found is never beyond the first root, and the surplus ends just there."""
    found = joint_liquidation(of)
    falls = [each.position.side.sign * each.beta for each in of.legs]
    end = min((1 / fall for fall in falls if fall > 0), default=Decimal(50))
    match found:
        case NoLiquidation():
            assert shared_surplus(of, Fraction(0)) > 0
            last = end * Decimal("0.999999")
            for shock in (last * part / 40 for part in range(41)):
                assert shared_surplus(of, Fraction(shock)) > 0
        case LiquidatesAfter(shock) if shock > 0:
            tiny = Fraction(1, 10**15)
            assert shared_surplus(of, Fraction(shock) * (1 + tiny)) <= tiny
            for part in range(40):
                assert shared_surplus(of, Fraction(shock) * part / 40) > 0
            for bend in shocks_to_watch(of, shock)[:-1]:
                assert shared_surplus(of, Fraction(bend) * (1 - tiny)) > 0
        case LiquidatesAfter(shock):
            assert shared_surplus(of, Fraction(0)) <= Fraction(1, 10**20)
            if shock > -1:
                assert shared_surplus(
                    of, Fraction(shock) * (1 + Fraction(1, 10**12))
                ) >= -Fraction(1, 10**15)


@settings(max_examples=60)
@given(coin_books(one_way=True))
def test_an_inverse_book_is_solved_to_its_last_digits(of: Book) -> None:
    """Of one-way books, whose surplus only falls, by bisection."""
    found = joint_liquidation(of)
    if not isinstance(found, LiquidatesAfter) or found.shock <= 0:
        return
    falls = [each.position.side.sign * each.beta for each in of.legs]
    ends = [1 / fall for fall in falls if fall > 0]
    high = Fraction(min(ends)) * (1 - Fraction(1, 10**20)) if ends else Fraction(found.shock) * 2
    expected = bisected(lambda shock: shared_surplus(of, shock) > 0, Fraction(0), high)
    # A short that its wallet all but covers is liquidated at a price beyond counting, and a wallet
    # all but spent at once: there the last of 28 digits decides, of the shock or of the price.
    allowed = max(Fraction(1, 10**17), expected / 10**26) * expected
    assert abs(Fraction(found.shock) - expected) <= max(allowed, Fraction(1, 10**26))


@st.composite
def mixed_books(draw: st.DrawFn) -> Book:
    """Linear books with legs on both sides of a symbol and coins beside the wallet."""
    legs, coins = [], []
    for number in range(draw(st.integers(1, 3))):
        symbol, entry = f"L{number}", draw(decimals("1", "1000", 2))
        rates = sorted(draw(st.lists(decimals("0.002", "0.1", 4), min_size=2, max_size=2)))
        floors = [Decimal(0), draw(decimals("10", "50000", 0))]
        instrument = ruled(
            build.instrument(symbol, risk_tiers=build.tiers(*zip(floors, rates, strict=True))),
            draw(st.sampled_from(HedgeRequirement)),
        )
        mark = (entry * (1 + draw(decimals("-0.2", "0.2", 3)))).quantize(Decimal("0.01"))
        beta = draw(st.sampled_from(["0", "0.5", "1", "1", "2"]))
        for side in draw(st.sampled_from([(LONG,), (SHORT,), (LONG, SHORT)])):
            position = cross(
                symbol, side, quantity=draw(decimals("1", "100", 2)), entry_price=entry
            )
            legs.append(leg(position, mark, beta=beta, instrument=instrument))
        if draw(st.booleans()):
            coins.append(
                Pledge(symbol, draw(decimals("0.1", "60", 2)), Price(mark), legs[-1].beta)
            )
    gross = sum((each.position.quantity * each.mark_price for each in legs), Decimal(0))
    wallet = (gross * draw(decimals("-0.02", "0.5", 3))).quantize(Decimal("0.01"))
    return faced(Book(Money(wallet), tuple(legs), tuple(coins)))


@settings(max_examples=150)
@given(mixed_books())
def test_a_linear_book_with_hedges_and_coins_is_solved_exactly(of: Book) -> None:
    found = joint_liquidation(of)
    now = shared_surplus(of, Fraction(0))
    match found:
        case NoLiquidation():
            assert now > 0
            for part in range(200):
                assert shared_surplus(of, Fraction(part, 20)) > 0
        case LiquidatesAfter(shock) if shock > 0:
            assert now > 0
            scale = Fraction(sum(each.position.quantity * each.mark_price for each in of.legs))
            assert abs(shared_surplus(of, Fraction(shock))) <= scale / 10**18
            for part in range(40):
                assert shared_surplus(of, Fraction(shock) * part / 40) > 0
        case LiquidatesAfter(shock):
            assert now <= Fraction(1, 10**15)
            assert shock >= -1


def turned_ways(of: Book) -> list[Book]:
    """The book with the shock of every choice of its symbols the other way round."""
    symbols = sorted(
        {each.position.symbol for each in of.legs} | {each.symbol for each in of.pledges}
    )
    sets = (
        [s for s, turned in zip(symbols, ways, strict=True) if turned]
        for ways in product((False, True), repeat=len(symbols))
    )
    return [turned_over(of, frozenset(chosen)) for chosen in sets]


@settings(max_examples=100)
@given(mixed_books() | coin_books())
def test_every_symbol_moves_in_one_direction(of: Book) -> None:
    assert faced(of) == of
    for each in of.legs:
        moves = {
            other.price_after(Decimal("0.1"))
            for other in of.legs
            if other.position.symbol == each.position.symbol
        }
        assert len(moves) == 1


@settings(max_examples=150)
@given(mixed_books())
def test_a_linear_book_is_faced_the_way_in_which_it_is_liquidated_first(of: Book) -> None:
    """No way of all the ways that its symbols could move takes everything that is spare sooner."""
    if shared_surplus(of, Fraction(0)) <= 0:
        return
    found = joint_liquidation(of)
    reached = found.shock if isinstance(found, LiquidatesAfter) else Decimal(20)
    for other in turned_ways(of):
        for part in range(1, 41):
            shock = Fraction(reached) * part / 41
            assert shared_surplus(other, shock) > 0, (other, shock)


def test_a_pair_is_liquidated_by_a_rise_though_a_small_fall_hurts_it_more() -> None:
    """
    1 % up to a worth of 1,100 and 30 % beyond: a rise by 10 % brings both legs there.

    From 100 on the long of 10 and the short of 9.5 are spent where, above that border,
    60 + 0.5 (p - 100) = 0.3 * 19.5 p - 2 * 319 for the two, and a fall takes 52 % and more.
    """
    table = build.tiers((0, "0.01"), (1_100, "0.3"))
    instrument = build.instrument("A", risk_tiers=table)
    of = faced(
        book(
            60,
            leg(cross("A", quantity=10), 100, instrument=instrument),
            leg(cross("A", SHORT, quantity="9.5"), 100, instrument=instrument),
        )
    )
    assert [each.beta for each in of.legs] == [-1, 1]
    assert joint_price(of) == pytest.approx(Decimal(648) / Decimal("5.35"), abs=Decimal("1e-12"))


# In the guard


def test_collateral_counts_with_its_price_and_its_age() -> None:
    long = cross("BTCUSDT", entry_price=50_000)
    read = replace(
        build.snapshot([long], free=0, wallet=0),
        collateral=(Collateral("BTC", Decimal(1), Ratio(Decimal("0.95")), "COINUSDT"),),
    )
    instruments = [build.instrument("BTCUSDT")]
    policy = build.policy()
    state = build.account_state(
        read, {"BTCUSDT": 50_000, "COINUSDT": 50_000}, instruments=instruments
    )
    known = measure_book(state, 0, policy)
    assert isinstance(known, BookKnown)
    assert known.margin_balance == 47_500
    blind = build.account_state(read, {"BTCUSDT": 50_000}, instruments=instruments)
    unknown = measure_book(blind, 0, policy)
    assert isinstance(unknown, Unknown)
    assert "collateral" in unknown.reason
    old = replace(
        state,
        marks={
            **state.marks,
            "BTCUSDT": replace(state.marks["BTCUSDT"], received_at_ms=50_000),
        },
    )
    assert isinstance(measure_book(old, 50_000, policy), Unknown)
