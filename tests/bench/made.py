"""Bars and setups that the bench's tests share."""

from collections.abc import Sequence
from decimal import Decimal

from bot.core.model import MarginMode, Side
from bot.core.units import Money, Price, Ratio
from bot.exchange.venues.binanceusdm import instruments
from bot.rehearsal.bars import Bar, Bars, FundingSettled, NoFunding, Ohlc, read_bars
from bot.rehearsal.setups import ByMargin, Opening, Setup

BTC = "BTC/USDT:USDT"
LISTED = instruments()
HOUR_MS = 3_600_000
Row = tuple[float, float, float, float]


def ohlc(row: Row) -> Ohlc:
    return Ohlc(*(Price(Decimal(str(price))) for price in row))


def bars_of(*marks: Row, lasts: Sequence[Row] = (), rates: dict[int, str] | None = None) -> Bars:
    """Hourly bars of BTC; last prices are the marks where none are given."""
    settled = {
        index: FundingSettled(Ratio(Decimal(rate)), 8 * HOUR_MS)
        for index, rate in (rates or {}).items()
    }
    rows = tuple(
        Bar(index * HOUR_MS, ohlc(last), ohlc(mark), settled.get(index, NoFunding()))
        for index, (mark, last) in enumerate(zip(marks, lasts or marks, strict=True))
    )
    return Bars("binanceusdm", BTC, HOUR_MS, True, rows, "made up")


def setup(*held: tuple[str, Side, MarginMode], leverage: int, from_ms: int = 0) -> Setup:
    """Positions in bundled scenarios; 1,000 of margin are split over them, 1,000 are free."""
    openings = []
    for name, side, mode in held:
        bars = read_bars(name)
        margin = Money(Decimal(1000) / len(held))
        openings.append(
            Opening(bars, LISTED[bars.symbol], side, Decimal(leverage), ByMargin(margin), mode)
        )
    reserve, step = Money(Decimal(1000)), Ratio(Decimal("0.01"))
    return Setup(tuple(openings), reserve, from_ms, step=step)
