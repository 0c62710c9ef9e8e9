"""
Books: several positions that one wallet backs, and what simpler ways than a guard come to.

1,000 USDT of margin are split evenly over the legs and 1,000 more lie in the wallet, as for a
position alone; here all of it is at stake. Plain floats, nothing of the guard: the equity of the
cross legs is held against their requirements at every corner of the path, and a stop of each leg
rests where it was put at entry.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.benefit.plain import MARGIN, RESERVE, Costs, End
from bench.benefit.windows import OFFSETS_MS, Window, bars_of, worst_of
from bot.core.model import Instrument, MarginMode, Side
from bot.rehearsal.bars import Bar, Bars, FundingSettled, Ohlc
from bot.rehearsal.path import in_common

LONG, SHORT = Side.LONG, Side.SHORT
CROSS, ISOLATED = MarginMode.CROSS, MarginMode.ISOLATED
CORNERS = 4
"""Of a bar."""

SOLVED = 60
"""Halvings by which the joint distance is found."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Which contracts a book holds, on which side; `turned` is the same against the market."""

    name: str
    legs: tuple[tuple[str, Side, MarginMode], ...]

    @property
    def turned(self) -> "Shape":
        """Every leg on the other side."""
        legs = tuple((base, _other(side), mode) for base, side, mode in self.legs)
        return replace(self, legs=legs)


def _other(side: Side) -> Side:
    return SHORT if side is LONG else LONG


def _alike(*bases: str) -> tuple[tuple[str, Side, MarginMode], ...]:
    return tuple((base, LONG, CROSS) for base in bases)


SHAPES = (
    Shape("3 alike", _alike("BTC", "ETH", "XRP")),
    Shape("5 alike", _alike("BTC", "ETH", "XRP", "LTC", "ADA")),
    Shape("6 alike", _alike("BTC", "ETH", "XRP", "LTC", "ADA", "BCH")),
    Shape(
        "long and short",
        (
            ("BTC", LONG, CROSS),
            ("ETH", LONG, CROSS),
            ("XRP", SHORT, CROSS),
            ("LTC", SHORT, CROSS),
        ),
    ),
    Shape("hedged pair", (("BTC", LONG, CROSS), ("ETH", SHORT, CROSS))),
    Shape("isolated beside cross", (("BTC", LONG, CROSS), ("ADA", LONG, ISOLATED))),
)


@dataclass(frozen=True, slots=True)
class BookCase:
    """A book on the hourly windows of one event, entered so long before its first leg's worst."""

    shape: Shape
    windows: tuple[Window, ...]
    leverage: int
    entry_at_ms: int


def book_cases(
    folder: Path,
    chosen: Sequence[Window],
    leverages: Sequence[int],
    offsets_ms: Sequence[int] = OFFSETS_MS,
) -> Iterator[BookCase]:
    """The books of every event: hourly windows of one venue, so that bars open together."""
    hourly = [each for each in chosen if each.file.endswith("_1h.csv.gz")]
    for told in dict.fromkeys(each.told for each in hourly):
        of_event = {_base(each): each for each in hourly if each.told == told}
        for shape in (turn for each in SHAPES for turn in (each, each.turned)):
            parts = tuple(of_event[base] for base, _, _ in shape.legs if base in of_event)
            if len(parts) < len(shape.legs):
                continue
            rows = bars_of(folder, parts[0]).rows
            worst = worst_of(rows, shape.legs[0][1])
            if worst is rows[0]:
                continue
            for offset_ms in offsets_ms:
                at_ms = max(worst.open_at_ms - offset_ms, rows[0].open_at_ms)
                for leverage in leverages:
                    yield BookCase(shape, parts, leverage, at_ms)


def _base(window: Window) -> str:
    return window.file.split("_")[1].removesuffix("USDT")


class Shared:
    """One book on one path; every method is another way of looking after it."""

    def __init__(
        self, case: BookCase, bars: Sequence[Bars], listed: Sequence[Instrument], costs: Costs
    ) -> None:
        """Enter at the first open that all bars have in common at or after the entry."""
        legs = list(zip(in_common(bars, case.entry_at_ms), listed, case.shape.legs, strict=True))
        margin = MARGIN / len(legs)
        self._costs = costs
        self._legs = [
            _Leg(own.rows, rules, side, mode, margin, case.leverage)
            for own, rules, (_, side, mode) in legs
        ]
        self._wallet = MARGIN + RESERVE - sum(leg.margin for leg in self._legs if leg.alone)

    def unguarded(self) -> End:
        """Wait."""
        return self._live([])

    def stopped(self, buffer: float) -> End:
        """Rest a stop for each leg where `buffer` of the way from entry to liquidation is left."""
        cross = [leg for leg in self._legs if not leg.alone]
        shock = _joint(cross, self._wallet)
        triggers = []
        for leg in self._legs:
            own = _joint([leg], leg.margin) if leg.alone else shock
            triggers.append(leg.entry * (1 - leg.sign * own * (1 - buffer)))
        return self._live(triggers)

    def foreseen(self) -> End:
        """Leave at once what would end with less than that, and sit through the rest."""
        left = sum(leg.gain(leg.entry, self._costs) for leg in self._legs)
        at_once = End(MARGIN + RESERVE + left, liquidated=False)
        sat = self.unguarded()
        return at_once if at_once.equity >= sat.equity else sat

    def _live(self, triggers: Sequence[float]) -> End:
        margins = {leg: leg.margin for leg in self._legs if leg.alone}
        stops = dict(zip(self._legs, triggers, strict=False))
        life = _Life(list(self._legs), self._wallet, margins, stops)
        for tick in range(len(self._legs[0].corners) - 1):
            if self._costs.funding and tick and tick % CORNERS == 0:
                life.pay(tick)
            here = 0.0
            while life.held and (met := life.first(tick, here)) is not None:
                here = met.part
                life.meet(met, tick, self._costs)
            if not life.held:
                break
        return End(life.left(), life.liquidated)


@dataclass(slots=True)
class _Life:
    """What is held and what backs it, as time goes on."""

    held: list["_Leg"]
    wallet: float
    margins: dict["_Leg", float]
    stops: dict["_Leg", float]
    liquidated: bool = False

    def pay(self, tick: int) -> None:
        """Settle the bills at the open of the bar."""
        for leg in self.held:
            bill = leg.sign * leg.quantity * leg.mark(tick, 0.0) * leg.rates[tick // CORNERS]
            if leg.alone:
                self.margins[leg] -= bill
            else:
                self.wallet -= bill

    def first(self, tick: int, here: float) -> "_Met | None":
        """What is met first between `here` and the end of the line; liquidations before stops."""
        met = []
        for leg in self.held:
            start, end = leg.mark(tick, 0.0), leg.mark(tick, 1.0)
            if leg in self.stops and leg.sign * (end - self.stops[leg]) <= 0.0:
                part = (self.stops[leg] - start) / (end - start) if end != start else here
                met.append(_Met(max(part, here), (leg,), is_stop=True))
            if leg.alone:
                met += _spent((leg,), self.margins[leg], tick, here)
        met += _spent(tuple(leg for leg in self.held if not leg.alone), self.wallet, tick, here)
        return min(met, key=lambda each: (each.part, each.is_stop), default=None)

    def meet(self, met: "_Met", tick: int, costs: Costs) -> None:
        """Close what stopped, or lose what is liquidated and all that backs it."""
        self.held = [leg for leg in self.held if leg not in met.legs]
        if met.is_stop:
            (leg,) = met.legs
            fill = leg.last(tick, met.part) * (1 - leg.sign * costs.slippage)
            gain = leg.gain(fill, costs)
            self.wallet += max(gain + self.margins[leg], 0.0) if leg.alone else gain
            if all(leg.alone for leg in self.held):
                self.wallet = max(self.wallet, 0.0)  # what it owes nobody is left to pay
            return
        self.liquidated = True
        if not met.legs[0].alone:
            self.wallet = 0.0

    def left(self) -> float:
        """Wallet, margins and profit at the last marks."""
        return self.wallet + sum(
            self.margins.get(leg, 0.0) + leg.sign * leg.quantity * (leg.corners[-1][0] - leg.entry)
            for leg in self.held
        )


class _Leg:
    """One position of a book."""

    def __init__(
        self,
        rows: Sequence[Bar],
        listed: Instrument,
        side: Side,
        mode: MarginMode,
        margin: float,
        leverage: int,
    ) -> None:
        self.sign = 1.0 if side is LONG else -1.0
        self.alone = mode is ISOLATED
        self.entry = float(rows[0].last.open)
        step = float(listed.quantity_step)
        self.quantity = margin * leverage / self.entry // step * step
        self.margin = self.quantity * self.entry / leverage
        self.tiers = [
            (float(tier.cap), float(tier.rate), float(tier.deduction)) for tier in listed.tiers
        ]
        self.corners = [
            corner
            for row in rows
            for corner in zip(_order(row.mark, side), _order(row.last, side), strict=True)
        ]
        self.rates = [
            float(row.funding.rate) if isinstance(row.funding, FundingSettled) else 0.0
            for row in rows
        ]

    def spare(self, mark: float) -> float:
        """Profit less maintenance margin at `mark`."""
        notional = self.quantity * mark
        rate, deduction = next((r, d) for cap, r, d in self.tiers if notional <= cap)
        return self.sign * self.quantity * (mark - self.entry) - notional * rate + deduction

    def gain(self, fill: float, costs: Costs) -> float:
        """What closing all of it at `fill` brings, after the fee."""
        return self.sign * self.quantity * (fill - self.entry) - self.quantity * fill * costs.fee

    def mark(self, tick: int, part: float) -> float:
        """The mark price at that part of the line that begins at `tick`."""
        (start, _), (end, _) = self.corners[tick], self.corners[tick + 1]
        return start + (end - start) * part

    def last(self, tick: int, part: float) -> float:
        """The last price at that part of the line that begins at `tick`."""
        (_, start), (_, end) = self.corners[tick], self.corners[tick + 1]
        return start + (end - start) * part


@dataclass(frozen=True, slots=True)
class _Met:
    """A leg's stop, or the liquidation of legs, at that part of the line."""

    part: float
    legs: tuple[_Leg, ...]
    is_stop: bool


def _spent(legs: tuple[_Leg, ...], backing: float, tick: int, here: float) -> list[_Met]:
    """Where on the line what backs the legs is used up, to first order; nothing if it is not."""
    ends = backing + sum(leg.spare(leg.mark(tick, 1.0)) for leg in legs)
    if not legs or ends > 0.0:
        return []
    begins = backing + sum(leg.spare(leg.mark(tick, here)) for leg in legs)
    part = here if begins <= 0.0 else here + (1 - here) * begins / (begins - ends)
    return [_Met(part, legs, is_stop=False)]


def _joint(legs: Sequence[_Leg], backing: float) -> float:
    """The common adverse move from entry at which the backing is used up; at most all."""
    low, high = 0.0, 1.0
    for _ in range(SOLVED):
        shock = (low + high) / 2
        spare = backing + sum(leg.spare(leg.entry * (1 - leg.sign * shock)) for leg in legs)
        low, high = (shock, high) if spare > 0.0 else (low, shock)
    return low


def _order(ohlc: Ohlc, side: Side) -> tuple[float, float, float, float]:
    low, high = float(ohlc.low), float(ohlc.high)
    first, second = (low, high) if side is LONG else (high, low)
    return float(ohlc.open), first, second, float(ohlc.close)
