"""Bars of the prices that were met, of one minute, and joined into longer ones when asked for."""

from collections import deque
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby
from typing import Any

from bot.core.units import Price
from bot.exchange.paper.wire.listing import text
from bot.exchange.paper.wire.refusal import Refusal

MINUTE_MS = 60_000
KEPT = 10_000
"""Minutes that are remembered of a symbol: about a week."""

_MINUTES = {
    "1m": 1,
    "3m": 3,
    "5m": 5,
    "15m": 15,
    "30m": 30,
    "1h": 60,
    "2h": 120,
    "4h": 240,
    "6h": 360,
    "8h": 480,
    "12h": 720,
    "1d": 1440,
}


@dataclass(slots=True)
class Candle:
    """The prices of a minute."""

    open_ms: int
    open: Price
    high: Price
    low: Price
    close: Price

    def add(self, price: Price) -> None:
        """Meet a price."""
        self.high = max(self.high, price)
        self.low = min(self.low, price)
        self.close = price


class Candles:
    """The bars of one price of one symbol."""

    def __init__(self) -> None:
        self._minutes: deque[Candle] = deque(maxlen=KEPT)

    def record(self, at_ms: int, price: Price) -> None:
        """Meet `price`, not before the last one."""
        open_ms = at_ms - at_ms % MINUTE_MS
        if self._minutes and self._minutes[-1].open_ms == open_ms:
            self._minutes[-1].add(price)
        else:
            self._minutes.append(Candle(open_ms, price, price, price, price))

    def rows(self, interval: str, since_ms: int, until_ms: int, limit: int) -> list[list[Any]]:
        """Rows of GET klines: the newest `limit`. Nobody's trades are counted: no volume."""
        if interval not in _MINUTES:
            raise Refusal(-1120, "Invalid interval.")
        length_ms = _MINUTES[interval] * MINUTE_MS
        bars = groupby(self._minutes, key=lambda each: each.open_ms - each.open_ms % length_ms)
        joined = [_row(open_ms, list(minutes), length_ms) for open_ms, minutes in bars]
        inside = [row for row in joined if since_ms <= row[0] <= until_ms]
        return inside[-limit:]

    def day(self, now_ms: int) -> tuple[Candle, ...]:
        """The minutes of the last 24 hours."""
        begins_ms = now_ms - 24 * 60 * MINUTE_MS
        return tuple(each for each in self._minutes if each.open_ms >= begins_ms)


def _row(open_ms: int, minutes: list[Candle], length_ms: int) -> list[Any]:
    high: Decimal = max(each.high for each in minutes)
    low: Decimal = min(each.low for each in minutes)
    none = "0"
    return [
        open_ms,
        text(minutes[0].open),
        text(high),
        text(low),
        text(minutes[-1].close),
        none,
        open_ms + length_ms - 1,
        none,
        0,
        none,
        none,
        none,
    ]
