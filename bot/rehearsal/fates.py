"""What became of an account: each position, the wallet, and how near they came to the end."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from bot.core.margin import liquidation_distance
from bot.core.model import PositionKey, Reported
from bot.core.units import ONE, ZERO, Money, Price, Ratio
from bot.exchange.paper.books import Cause
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.prices import Prices
from bot.rehearsal.setups import Setup

ACCOUNT = "rehearsal"


@dataclass(frozen=True, slots=True)
class Alive:
    """The exchange did not take the position over."""


@dataclass(frozen=True, slots=True)
class TakenOver:
    """The exchange liquidated the position, when and at which bankruptcy price."""

    at_ms: int
    price: Price


Outcome: TypeAlias = Alive | TakenOver


@dataclass(frozen=True, slots=True)
class Ending:
    """How it ended for one position of the setup."""

    key: PositionKey
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Fate:
    """
    How a run ended.

    `equity_final` = wallet + margins + unrealised profit at mark. `distance_min` is the smallest
    liquidation distance of any position seen while one was open.
    """

    endings: tuple[Ending, ...]
    equity_final: Money
    distance_min: Ratio

    @property
    def taken(self) -> tuple[TakenOver, ...]:
        """The liquidations, in the order of the setup."""
        outcomes = (ending.outcome for ending in self.endings)
        return tuple(outcome for outcome in outcomes if isinstance(outcome, TakenOver))


class Observed(PaperMachine):
    """A paper exchange that notes how near its account came to liquidation, at every price."""

    def __init__(self, setup: Setup) -> None:
        """Start empty, with the contracts of `setup` listed."""
        super().__init__(
            [opening.instrument for opening in setup.openings],
            setup.slippage,
            setup.stops_refused,
        )
        self._setup = setup
        self._distance_min = Ratio(ONE)
        self.is_open = True
        """Whether anything was open at the newest prices."""
        self.open_at_ms = 0
        """When anything was open last."""

    def move(self, at_ms: int, prices: Mapping[str, Prices]) -> None:
        """Move, then look."""
        super().move(at_ms, prices)
        if ACCOUNT not in self.accounts:
            return
        positions = self.snapshot(ACCOUNT, at_ms).positions
        self.is_open = bool(positions)
        for position in positions:
            self.open_at_ms = at_ms
            if isinstance(position.liquidation, Reported):
                mark = self.quotes[position.symbol].mark
                distance = liquidation_distance(position, mark, position.liquidation.price)
                self._distance_min = min(self._distance_min, distance)

    def fate(self) -> Fate:
        """How it ended, as far as the exchange has lived."""
        taken = {
            PositionKey(each.symbol, each.side): TakenOver(each.at_ms, each.price)
            for each in self.realised(ACCOUNT)
            if each.cause is Cause.LIQUIDATION
        }
        keys = [
            PositionKey(opening.instrument.symbol, opening.side)
            for opening in self._setup.openings
        ]
        return Fate(
            endings=tuple(Ending(key, taken.get(key, Alive())) for key in keys),
            equity_final=self.equity(ACCOUNT),
            distance_min=Ratio(ZERO) if taken else self._distance_min,
        )
