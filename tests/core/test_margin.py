"""
Margin arithmetic against numbers that venues and other projects print, and against bisection.

The published numbers are facts; each names its source. The bisection is in exact fractions and
sums the tiers bracket by bracket, without the deductions that the guard's formula uses.
"""

from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from bot.core.margin import (
    LiquidatesAt,
    NoLiquidation,
    liquidation,
    liquidation_distance,
    margin_at,
    margin_balance,
    requirement,
    tier_of,
    tiers_are_continuous,
)
from bot.core.model import CloseFee, Instrument, MaintenanceAt, Position, RiskTier, Side
from bot.core.units import Money, Price, Ratio
from bot.testing import builders as build
from tests.core.draws import decimals, instruments, positions
from tests.core.exact import surplus

LONG, SHORT = Side.LONG, Side.SHORT
MARK, ENTRY = MaintenanceAt.MARK, MaintenanceAt.ENTRY


class Published(NamedTuple):
    source: str
    side: Side
    entry: str
    quantity: str
    margin: str
    rate: str
    deduction: str
    fee: str
    valued: MaintenanceAt
    price: str
    tolerance: str


FREQTRADE = "freqtrade c9ae5e1e tests/exchange/test_exchange.py::test_get_liquidation_price"
BITUNIX = "Bitunix, the table of the seed article (10x 50,000, rate 0.5 % of the open value)"
BYBIT = "Bybit help 900000181046, Liquidation Price (USDT Contract)"
BINANCE = "Binance FAQ b3c689c1f50a44cabb3a84e663b81d93, worked example"

PUBLISHED = [
    Published(BINANCE, LONG, "1456.84", "3683.979", "1535443.01", "0.1", "135365", "0", MARK,
              "1114.78", "0.006"),
    Published(f"binance short 1: {FREQTRADE}", SHORT, "10", "1", "2", "0.01", "0.01", "0", MARK,
              "11.89108910891089", "1e-6"),
    Published(f"binance short 3: {FREQTRADE}", SHORT, "8", "1", "1.6", "0.01", "0.01", "0", MARK,
              "9.514851485148514", "1e-6"),
    Published(f"binance short 4: {FREQTRADE}", SHORT, "10", "0.6", "1.2", "0.01", "0.01", "0",
              MARK, "11.897689768976898", "1e-6"),
    Published(f"binance long 6: {FREQTRADE}", LONG, "8", "1", "1.6", "0.01", "0.01", "0", MARK,
              "6.454545454545454", "1e-6"),
    Published(f"binance long 8: {FREQTRADE}", LONG, "10", "0.6", "1.2", "0.01", "0.01", "0", MARK,
              "8.063973063973064", "1e-6"),
    Published("affmiss.com teaching example", LONG, "100000", "1", "5000", "0.005", "0", "0",
              ENTRY, "95500", "1e-9"),
    Published(f"5x: {BITUNIX}", LONG, "50000", "1", "10000", "0.005", "0", "0", ENTRY,
              "40250", "0"),
    Published(f"10x: {BITUNIX}", LONG, "50000", "1", "5000", "0.005", "0", "0", ENTRY,
              "45250", "0"),
    Published(f"20x: {BITUNIX}", LONG, "50000", "1", "2500", "0.005", "0", "0", ENTRY,
              "47750", "0"),
    Published(f"50x: {BITUNIX}", LONG, "50000", "1", "1000", "0.005", "0", "0", ENTRY,
              "49250", "0"),
    Published(f"100x: {BITUNIX}", LONG, "50000", "1", "500", "0.005", "0", "0", ENTRY,
              "49750", "0"),
    Published(f"short 10x: {BITUNIX}", SHORT, "50000", "1", "5000", "0.005", "0", "0", ENTRY,
              "54750", "0"),
    Published("10x valued at mark: 45,000 / 0.995", LONG, "50000", "1", "5000", "0.005", "0", "0",
              MARK, "45226.13", "0.005"),
    Published(f"bybit long 1x: {FREQTRADE}", LONG, "10", "1", "10", "0.01", "0", "0", ENTRY,
              "0.1", "1e-5"),
    Published(f"bybit long 5x: {FREQTRADE}", LONG, "10", "1", "2", "0.01", "0", "0", ENTRY,
              "8.1", "1e-5"),
    Published(f"bybit short 1x: {FREQTRADE}", SHORT, "10", "1", "10", "0.01", "0", "0", ENTRY,
              "19.9", "1e-5"),
    Published(f"bybit short 3x: {FREQTRADE}", SHORT, "10", "1", "3.3333333333333335", "0.01", "0",
              "0", ENTRY, "13.233333", "1e-5"),
    Published(BYBIT, SHORT, "8000", "1", "200", "0.005", "0", "0", ENTRY, "8160", "1e-9"),
    Published("Bybit testnet help, Liquidation-Price-USDT-Contract", LONG, "20000", "1", "400",
              "0.005", "0", "0", ENTRY, "19700", "1e-9"),
    Published(f"gate short 1: {FREQTRADE}", SHORT, "10", "1", "2", "0.01", "0", "0.0006", MARK,
              "11.87413417771621", "1e-6"),
    Published(f"gate long 6: {FREQTRADE}", LONG, "10", "1", "2", "0.01", "0", "0.0006", MARK,
              "8.085708510208207", "1e-6"),
    Published(f"gate long 7: {FREQTRADE}", LONG, "10", "1", "3.3333333333333335", "0.01", "0",
              "0.0006", MARK, "6.738090425173506", "1e-6"),
    Published("Hyperliquid docs, clearinghouseState example", LONG, "2986.3", "0.0335",
              "4.981226", "0.01", "0", "0", MARK, "2866.26936529", "5e-5"),
    Published("ccxt static response hyperliquid, isolated short", SHORT, "47.9932", "4",
              "19.171617", "0.05", "0", "0", MARK, "50.2724802381", "5e-5"),
    Published("kucoin.com/support/4408061803033", SHORT, "28000", "0.005", "1.4", "0.004", "0",
              "0", ENTRY, "28168", "1e-9"),
    Published("KuCoin GET /api/v1/positions example", LONG, "120016.4", "0.001", "20.0027333373",
              "0.004", "0", "0.0006", MARK, "100475.86", "0.006"),
    Published("MEXC blog liquidation-in-futures-2", LONG, "50000", "0.1", "200", "0.004", "0",
              "0", ENTRY, "48200", "1e-9"),
    Published("Phemex help liq-price-for-USDTM", LONG, "0.4", "500", "40.096", "0.01", "0",
              "0.0006", MARK, "0.3232", "0.0001"),
]  # fmt: skip


@pytest.mark.parametrize("case", PUBLISHED, ids=lambda case: f"{case.side}-{case.price}")
def test_published_liquidation_prices(case: Published) -> None:
    instrument = build.instrument(
        taker_fee=case.fee,
        maintenance_at=case.valued,
        close_fee=CloseFee.MARK,
        risk_tiers=one_tier(case.rate, case.deduction),
    )
    position = build.position(
        side=case.side, quantity=case.quantity, entry_price=case.entry, margin=case.margin
    )
    found = liquidation(instrument, position)
    assert isinstance(found, LiquidatesAt), case.source
    assert abs(found.price - Decimal(case.price)) <= Decimal(case.tolerance), case.source


def one_tier(rate: str, deduction: str) -> tuple[RiskTier, ...]:
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
        margin_balance(position, at),
        requirement(instrument, position, at),
    )
    left = surplus(instrument, position, Fraction(price))
    assert Fraction(balance) - Fraction(needed) == pytest.approx(left, rel=1e-15, abs=1e-15)
    wanted = margin_at(instrument, position, at)
    assert Fraction(wanted) == pytest.approx(
        Fraction(position.isolated_margin) - left, rel=1e-15, abs=1e-15
    )


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
