"""
How much rests on the other side of a market order: endless, or a book that thins in a crash.

The book is a model of three facts. What rests is spread evenly over the price, so a larger order
gets a worse price. After the price has moved, less rests: with m the range of the last price over
the last `memory_ms`, as a share of its high, and h the halving move, 1 / (1 + (m / h)^2) of the
calm amount. And what was eaten comes back little by little, so slices are not free.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Decimal
from itertools import pairwise
from typing import TypeAlias

from bot.core.units import ONE, ZERO, Money, Price, Ratio

PERCENT = Decimal("0.01")
_FINEST = Decimal("0.000000000001")


@dataclass(frozen=True, slots=True)
class Endless:
    """Any quantity fills at the best price."""


@dataclass(frozen=True, slots=True)
class OrderBook:
    """
    What rests on each side of one symbol, from the best price on.

    In calm times `notional_calm` (at the best price) rests in each 1 % of the price. A range
    `halving_move` of the last price within `memory_ms` leaves half of it. A hole of 1 % is filled
    again after `refill_ms`. At the share `reach` from the best price any quantity fills: a market
    order always does.
    """

    notional_calm: Money
    halving_move: Ratio
    memory_ms: int
    refill_ms: int
    reach: Ratio

    def __post_init__(self) -> None:
        """Raise `ValueError` for a book that nothing rests in, or that never comes back."""
        positive = (self.notional_calm, self.halving_move, self.memory_ms, self.refill_ms)
        if not all(each > 0 for each in positive) or not ZERO < self.reach < ONE:
            raise ValueError(
                f"order book: expected amounts above 0 and a reach below 1, was {self}"
            )


Depth: TypeAlias = Endless | OrderBook

ENDLESS = Endless()

BTC_2025 = OrderBook(
    notional_calm=Money(Decimal(283_200_000)),
    halving_move=Ratio(Decimal("0.008")),
    memory_ms=300_000,
    refill_ms=10_000,
    reach=Ratio(Decimal("0.1")),
)
"""
BTCUSDT on Binance before and in the crash of 10 October 2025.

Recorded: bids within 1 % had a median of 283.2 million USDT before 20:00 UTC and fell to 2.14
million after 21:00, while the last price fell by 9.2 % in five minutes: the halving move is the
one that gives both. Assumed: how fast the book refills, and its reach.
"""


@dataclass(frozen=True, slots=True)
class Traded:
    """The last price of a moment. Between two moments it went in a straight line."""

    at_ms: int
    last: Price


@dataclass(frozen=True, slots=True)
class Hole:
    """How far from the best price everything was eaten, as a share of it, at one moment."""

    at_ms: int
    depth: Decimal


@dataclass(slots=True)
class Tape:
    """
    What a book remembers: `trades` of the last `memory_ms`, and the line that leads to them.

    `holes` are by the side of the positions that were closed into it.
    """

    memory_ms: int
    trades: list[Traded] = field(default_factory=list)
    holes: dict[str, Hole] = field(default_factory=dict)


def record(tape: Tape, trade: Traded) -> None:
    """Go on to `trade` in a straight line, and forget what is too old to matter."""
    trades = tape.trades
    if trades and trades[-1] == trade:
        return
    trades.append(trade)
    while len(trades) > 1 and trades[1].at_ms <= trade.at_ms - tape.memory_ms:
        trades.pop(0)


def notional_now(book: OrderBook, tape: Tape, now: Traded) -> Decimal:
    """What rests in each 1 % of the price now, holes apart."""
    seen = list(_seen(tape, now, now.at_ms - tape.memory_ms))
    high = max(seen)
    moved = (high - min(seen)) / high
    return book.notional_calm / (ONE + (moved / book.halving_move) ** 2)


def hole_now(book: OrderBook, tape: Tape, side: str, at_ms: int) -> Decimal:
    """How much of the hole that closing `side` positions has left is not yet filled again."""
    if side not in tape.holes:
        return ZERO
    hole = tape.holes[side]
    return max(ZERO, hole.depth - PERCENT * (at_ms - hole.at_ms) / book.refill_ms)


def dig(tape: Tape, side: str, at_ms: int, depth: Decimal) -> None:
    """Leave a hole, its depth rounded up."""
    tape.holes[side] = Hole(at_ms, depth.quantize(_FINEST, ROUND_CEILING))


def _seen(tape: Tape, now: Traded, since_ms: int) -> Iterator[Price]:
    """The last prices from `since_ms` to now, at the corners of their line and at its ends."""
    for low, high in pairwise((*tape.trades, now)):
        if low.at_ms >= since_ms:
            yield low.last
        elif high.at_ms > since_ms:
            passed_ms, length_ms = since_ms - low.at_ms, high.at_ms - low.at_ms
            yield Price(low.last + (high.last - low.last) * passed_ms / length_ms)
    yield now.last
