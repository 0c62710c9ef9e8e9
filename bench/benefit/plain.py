"""
What simpler ways than a guard come to, on the same path: plain floats, nothing of the guard.

A position waits, rests one stop on the exchange, or lets the exchange add margin. Prices run in
straight lines through open, the extreme against the position, the other extreme and close, mark
and last by the same share of the way. The only things shared with the project are facts: bars,
risk tiers, fees.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

from bot.core.model import Instrument, Side
from bot.rehearsal.bars import Bar, FundingSettled, Ohlc

MARGIN = 1000.0
RESERVE = 1000.0

Corner: TypeAlias = tuple[float, float]
"""Mark and last price at an end of a straight line."""


@dataclass(frozen=True, slots=True)
class Costs:
    """What trading costs: shares of the value traded, and whether funding is paid."""

    slippage: float
    fee: float
    funding: bool


@dataclass(frozen=True, slots=True)
class End:
    """What is left of margin and reserve, and whether the exchange took the position over."""

    equity: float
    liquidated: bool


@dataclass(frozen=True, slots=True)
class Stretch:
    """Straight lines between two settlements; the bill at the end is a share of the notional."""

    corners: tuple[Corner, ...]
    worst: float
    rate: float


def path_of(rows: Sequence[Bar], side: Side) -> tuple[Stretch, ...]:
    """The path of a `side` position, cut at settlements: at opens, but for that of the entry."""
    stretches: list[Stretch] = []
    corners: list[Corner] = []
    for index, row in enumerate(rows):
        ends = list(zip(_order(row.mark, side), _order(row.last, side), strict=True))
        if index and isinstance(row.funding, FundingSettled):
            corners.append(ends[0])
            stretches.append(_stretch(corners, side, float(row.funding.rate)))
            corners = []
        corners += ends
    return (*stretches, _stretch(corners, side, 0.0))


class Plain:
    """One position on one path; every method is another way of looking after it."""

    def __init__(
        self,
        path: tuple[Stretch, ...],
        side: Side,
        leverage: float,
        listed: Instrument,
        costs: Costs,
    ) -> None:
        """Enter at the last price that `path` begins with, for 1,000 of margin."""
        self._sign = 1.0 if side is Side.LONG else -1.0
        self._costs = costs
        self._stretches = path
        self._tiers = [
            (float(tier.cap), float(tier.rate), float(tier.deduction)) for tier in listed.tiers
        ]
        _, self.entry = path[0].corners[0]
        step = float(listed.quantity_step)
        self.quantity = MARGIN * leverage / self.entry // step * step
        self.margin = self.quantity * self.entry / leverage

    def unguarded(self) -> End:
        """Wait."""
        return self._live([], 0.0)

    def stopped(self, buffer: float) -> End:
        """
        Rest a stop where `buffer` of the way from entry to liquidation is left.

        It triggers by the mark and fills at last, less slippage and fee.
        """
        level = self._liquidation(self.margin)
        trigger = level + (self.entry - level) * buffer
        return self._live([trigger], 0.0)

    def auto_margin(self) -> End:
        """Let the exchange add the initial margin at liquidation, until the reserve is gone."""
        return self._live([], RESERVE)

    def foreseen(self) -> End:
        """Leave at once what would end with less than that, and sit through the rest."""
        at_once = self._closed(self.entry, self.margin, 0.0)
        sat = self.auto_margin()
        return at_once if at_once.equity >= sat.equity else sat

    def _live(self, stops: list[float], to_add: float) -> End:
        margin, paid_in, bills = self.margin, 0.0, 0.0
        sign = self._sign
        level = self._liquidation(margin)
        for stretch in self._stretches:
            while True:
                nearest = max([level, *stops], key=lambda price: sign * price)
                if sign * (stretch.worst - nearest) > 0.0:
                    break
                last = _last_at(stretch.corners, nearest, sign)
                if nearest in stops:
                    return self._closed(last * (1 - sign * self._costs.slippage), margin, paid_in)
                if to_add <= 0.0:
                    return End(RESERVE + MARGIN - self.margin - paid_in, liquidated=True)
                added = min(self.margin, to_add)
                to_add, margin, paid_in = to_add - added, margin + added, paid_in + added
                level = self._liquidation(margin)
            if self._costs.funding:
                bills = sign * self.quantity * stretch.corners[-1][0] * stretch.rate
                margin -= bills
                level = self._liquidation(margin)
        mark = self._stretches[-1].corners[-1][0]
        profit = sign * self.quantity * (mark - self.entry)
        return End(RESERVE + MARGIN - self.margin - paid_in + margin + profit, liquidated=False)

    def _closed(self, fill: float, margin: float, paid_in: float) -> End:
        """Never worse than the loss of the margin: an isolated position has no more to give."""
        profit = self._sign * self.quantity * (fill - self.entry)
        fee = self.quantity * fill * self._costs.fee
        left = max(margin + profit - fee, 0.0)
        return End(RESERVE + MARGIN - self.margin - paid_in + left, liquidated=False)

    def _liquidation(self, margin: float) -> float:
        """Where margin and profit are down to the maintenance margin; 0 for nowhere."""
        sign, quantity, floor = self._sign, self.quantity, 0.0
        found = [0.0 if sign > 0 else float("inf")]
        for cap, rate, deduction in self._tiers:
            price = (margin + deduction - sign * quantity * self.entry) / (
                quantity * (rate - sign)
            )
            if floor < quantity * price <= cap:
                found.append(price)
            floor = cap
        return max(found, key=lambda price: sign * price)


def _last_at(corners: Iterable[Corner], level: float, sign: float) -> float:
    """The last price at the moment when the mark first reaches `level`."""
    for (mark, last), (next_mark, next_last) in pairwise(corners):
        if sign * (mark - level) <= 0.0:
            return last
        if sign * (next_mark - level) <= 0.0:
            return last + (next_last - last) * (mark - level) / (mark - next_mark)
    raise AssertionError("the mark does not reach the level")


def _stretch(corners: list[Corner], side: Side, rate: float) -> Stretch:
    marks = [mark for mark, _ in corners]
    return Stretch(tuple(corners), min(marks) if side is Side.LONG else max(marks), rate)


def _order(ohlc: Ohlc, side: Side) -> tuple[float, float, float, float]:
    low, high = float(ohlc.low), float(ohlc.high)
    first, second = (low, high) if side is Side.LONG else (high, low)
    return float(ohlc.open), first, second, float(ohlc.close)
