"""
A rehearsal as a report tells it: the lines that prices and both accounts drew, moment by moment.

The runs are the very ones of `runs`; a witness looks at their exchange whenever it has moved.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias

from bot.core.cross import Book, Leg, LiquidatesAfter, faced, joint_liquidation
from bot.core.margin import NoLiquidation, liquidation_distance
from bot.core.model import AccountSnapshot, MarginMode, Position, PositionKey, Reported, Side
from bot.core.policy import Policy
from bot.core.units import ZERO, Money
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.prices import PricePoint
from bot.rehearsal.fates import ACCOUNT, Fate
from bot.rehearsal.replay import Replay, replay
from bot.rehearsal.runs import Guarded
from bot.rehearsal.setups import Setup, open_account

AFTERMATH = 8
"""A report goes on for an eighth of the time until nothing was left to happen."""

Stretch: TypeAlias = tuple[tuple[int, Decimal], ...]
"""Times and values without a gap, in the order of time."""

Line: TypeAlias = tuple[Stretch, ...]
"""Stretches with gaps between them, where there was no value."""


@dataclass(frozen=True, slots=True)
class PriceLines:
    """What the prices of a symbol did: straight from point to point."""

    mark: Line
    last: Line


@dataclass(frozen=True, slots=True)
class AccountLines:
    """
    What one run of the account drew.

    Liquidation and stop of a position stay as they are until the next point. Of a cross position
    `liquidation` is the mark at which the common adverse move liquidates all of them, which moves
    with the marks; `together` is the distance to that, each symbol weighed by the policy's beta.
    `distances` are those of isolated positions; `held` is what was open when the run ended.
    """

    equity: Line
    liquidation: Mapping[PositionKey, Line]
    stop: Mapping[PositionKey, Line]
    distances: Mapping[PositionKey, Line]
    together: Line
    held: tuple[Position, ...]


@dataclass(frozen=True, slots=True)
class Chronicle:
    """
    Everything that is told of one setup under one policy, from `begins_ms` to `ends_ms`.

    From `flat_ms` on nothing was open in either run, if that came before the end. `deposit` is
    the money that the account began with.
    """

    setup: Setup
    policy: Policy
    replayed: Replay
    begins_ms: int
    flat_ms: int
    ends_ms: int
    deposit: Money
    prices: Mapping[str, PriceLines]
    alone: AccountLines
    watched: AccountLines

    @property
    def opened(self) -> tuple[Position, ...]:
        """The positions as they were at the beginning."""
        return self.replayed.opened

    @property
    def unguarded(self) -> Fate:
        """How the account ended without a guard."""
        return self.replayed.unguarded

    @property
    def guarded(self) -> Guarded:
        """How it ended with one."""
        return self.replayed.guarded


def live_through(setup: Setup, policy: Policy, progress: Callable[[int], None]) -> Chronicle:
    """Run `setup` without and with a guard; `progress` hears the time the guarded run reached."""
    alone, watched = _Track(policy), _Track(policy)
    replayed = replay(setup, policy, progress, alone.look, watched.look)
    begins_ms, over_ms = alone.began_ms, max(alone.newest_ms, watched.newest_ms)
    prices = _prices(setup, over_ms + (over_ms - begins_ms) // AFTERMATH)
    return Chronicle(
        setup=setup,
        policy=policy,
        replayed=replayed,
        begins_ms=begins_ms,
        flat_ms=max(alone.open_ms, watched.open_ms),
        ends_ms=max(lines.mark[-1][-1][0] for lines in prices.values()),
        deposit=alone.deposit,
        prices=prices,
        alone=alone.lines(),
        watched=watched.lines(),
    )


def _prices(setup: Setup, until_ms: int) -> dict[str, PriceLines]:
    """The path that both runs were given, on to `until_ms` or the end of the data."""
    marks = {instrument.symbol: _Pen() for instrument in setup.instruments}
    lasts = {instrument.symbol: _Pen() for instrument in setup.instruments}
    scratch = PaperMachine(setup.instruments, setup.slippage)
    for item in open_account(setup, scratch, ACCOUNT):
        if item.at_ms > until_ms:
            break
        if isinstance(item, PricePoint):
            marks[item.symbol].draw(item.at_ms, item.mark)
            lasts[item.symbol].draw(item.at_ms, item.last)
    return {symbol: PriceLines(marks[symbol].line(), lasts[symbol].line()) for symbol in marks}


class _Pen:
    """Draws one line. A point between two of its own value says nothing and is left out."""

    def __init__(self) -> None:
        self._stretches: list[list[tuple[int, Decimal]]] = []
        self._is_down = False

    def draw(self, at_ms: int, value: Decimal) -> None:
        if not self._is_down:
            self._stretches.append([])
            self._is_down = True
        points = self._stretches[-1]
        if len(points) > 1 and points[-2][1] == points[-1][1] == value:
            points.pop()
        points.append((at_ms, value))

    def lift(self) -> None:
        self._is_down = False

    def line(self) -> Line:
        return tuple(tuple(points) for points in self._stretches)


class _Pens:
    """A pen for each position; those of which nothing is drawn at a moment are lifted."""

    def __init__(self) -> None:
        self._pens: dict[PositionKey, _Pen] = {}

    def draw(self, at_ms: int, values: Mapping[PositionKey, Decimal]) -> None:
        for key, value in values.items():
            self._pens.setdefault(key, _Pen()).draw(at_ms, value)
        for key in self._pens.keys() - values.keys():
            self._pens[key].lift()

    def lines(self) -> dict[PositionKey, Line]:
        return {key: self._pens[key].line() for key in sorted(self._pens)}


class _Track:
    """Looks at the account of one run and draws its lines."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._equity, self._together = _Pen(), _Pen()
        self._liquidation, self._stop, self._distances = _Pens(), _Pens(), _Pens()
        self._held: tuple[Position, ...] = ()
        self.began_ms = 0
        self.open_ms = 0
        self.newest_ms = 0
        self.deposit = Money(ZERO)

    def look(self, machine: PaperMachine, snapshot: AccountSnapshot) -> None:
        """The witness of a run."""
        at_ms = snapshot.taken_at_ms
        if not self.began_ms:
            self.began_ms = at_ms
            margins = sum((each.isolated_margin for each in snapshot.positions), ZERO)
            self.deposit = Money(snapshot.wallet_balance + margins)
        self.newest_ms = at_ms
        if snapshot.positions:
            self.open_ms = at_ms
        self._held = snapshot.positions
        self._equity.draw(at_ms, machine.equity(ACCOUNT))
        marks = {symbol: quote.mark for symbol, quote in machine.quotes.items()}
        liquidation: dict[PositionKey, Decimal] = {}
        distances: dict[PositionKey, Decimal] = {}
        for position in snapshot.positions:
            if position.margin_mode is MarginMode.ISOLATED and isinstance(
                position.liquidation, Reported
            ):
                price = position.liquidation.price
                liquidation[position.key] = price
                mark = marks[position.symbol]
                distances[position.key] = liquidation_distance(position, mark, price)
        self._look_at_book(machine, snapshot, liquidation)
        self._liquidation.draw(at_ms, liquidation)
        self._distances.draw(at_ms, distances)
        self._stop.draw(at_ms, _tightest(snapshot))

    def lines(self) -> AccountLines:
        """What has been drawn."""
        return AccountLines(
            equity=self._equity.line(),
            liquidation=self._liquidation.lines(),
            stop=self._stop.lines(),
            distances=self._distances.lines(),
            together=self._together.line(),
            held=self._held,
        )

    def _look_at_book(
        self,
        machine: PaperMachine,
        snapshot: AccountSnapshot,
        liquidation: dict[PositionKey, Decimal],
    ) -> None:
        """Draw the distance of the cross positions, and add where each is liquidated."""
        quotes, instruments = machine.quotes, machine.instruments
        legs = tuple(
            Leg(
                instruments[position.symbol],
                position,
                quotes[position.symbol].mark,
                self._policy.stress.beta_of(position.symbol),
            )
            for position in snapshot.positions
            if position.margin_mode is MarginMode.CROSS
        )
        if not legs:
            self._together.lift()
            return
        book = faced(Book(snapshot.wallet_balance, legs))
        match joint_liquidation(book):
            case LiquidatesAfter(shock):
                self._together.draw(snapshot.taken_at_ms, shock)
                for leg in book.legs:
                    liquidation[leg.position.key] = leg.price_after(shock)
            case NoLiquidation():
                self._together.lift()


def _tightest(snapshot: AccountSnapshot) -> dict[PositionKey, Decimal]:
    """Of the stops that rest for each open position, the one that triggers first."""
    tightest: dict[PositionKey, Decimal] = {}
    for position in snapshot.positions:
        triggers = [
            stop.trigger_price
            for stop in snapshot.stops
            if stop.symbol == position.symbol and stop.side is position.side
        ]
        if triggers:
            first = max if position.side is Side.LONG else min
            tightest[position.key] = first(triggers)
    return tightest
