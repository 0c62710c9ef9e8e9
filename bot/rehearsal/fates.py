"""What became of an account: each position, the wallet, and how near they came to the end."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from bot.core.cross import Book, Leg, LiquidatesAfter, faced, joint_liquidation, spare
from bot.core.margin import NoLiquidation, liquidation_distance
from bot.core.model import AccountSnapshot, MarginMode, PositionKey, Reported
from bot.core.units import ONE, ZERO, Money, Price, Quantity, Ratio
from bot.exchange.paper.books import Cause, LadderStep
from bot.exchange.paper.ladders import WHOLE
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.prices import Prices
from bot.rehearsal.setups import Setup

ACCOUNT = "rehearsal"


@dataclass(frozen=True, slots=True)
class Alive:
    """The exchange did not take the position over."""


@dataclass(frozen=True, slots=True)
class TakenOver:
    """
    The exchange liquidated the position, when and at which bankruptcy price.

    Cross positions are taken over together, at prices at which they lose just the wallet.
    """

    at_ms: int
    price: Price


Outcome: TypeAlias = Alive | TakenOver


@dataclass(frozen=True, slots=True)
class Ending:
    """How it ended for one position of the setup; `left` is what is open of it at the end."""

    key: PositionKey
    margin_mode: MarginMode
    outcome: Outcome
    left: Quantity


@dataclass(frozen=True, slots=True)
class Fate:
    """
    How a run ended.

    `equity_final` = wallet + margins + unrealised profit at mark. `funding_paid` is what was paid
    in bills less what was received. `distance_min` is the smallest liquidation distance seen
    while a position was open: of an isolated one its own, of cross ones the common adverse move
    of all marks that liquidates them together. `liquidation` are the steps in which the exchange
    took what it took.
    """

    endings: tuple[Ending, ...]
    equity_final: Money
    funding_paid: Money
    distance_min: Ratio
    liquidation: tuple[LadderStep, ...]

    @property
    def taken(self) -> tuple[TakenOver, ...]:
        """The liquidations, in the order of the setup."""
        outcomes = (ending.outcome for ending in self.endings)
        return tuple(outcome for outcome in outcomes if isinstance(outcome, TakenOver))

    @property
    def wallet_lost(self) -> bool:
        """Whether the exchange took the cross positions over, and with them all of the wallet."""
        return any(
            ending.margin_mode is MarginMode.CROSS and isinstance(ending.outcome, TakenOver)
            for ending in self.endings
        )


Witness: TypeAlias = Callable[[PaperMachine, AccountSnapshot], None]
"""Is shown the exchange and its account: opened, and whenever prices or time have moved."""


def nobody(machine: PaperMachine, snapshot: AccountSnapshot) -> None:
    """A witness that does not look."""


class Observed(PaperMachine):
    """A paper exchange that notes how near its account came to liquidation, at every price."""

    def __init__(self, setup: Setup, witness: Witness) -> None:
        """Start empty, with the contracts of `setup` listed."""
        super().__init__(
            setup.instruments, setup.slippage, setup.stops_refused, setup.depths, WHOLE
        )
        self._setup = setup
        self._witness = witness
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
        snapshot = self.snapshot(ACCOUNT, at_ms)
        self.is_open = bool(snapshot.positions)
        if self.is_open:
            self.open_at_ms = at_ms
            self._note_isolated(snapshot)
            self._note_cross(snapshot)
        self._witness(self, snapshot)

    def _note_isolated(self, snapshot: AccountSnapshot) -> None:
        for position in snapshot.positions:
            if position.margin_mode is MarginMode.ISOLATED and isinstance(
                position.liquidation, Reported
            ):
                mark = self.quotes[position.symbol].mark
                distance = liquidation_distance(position, mark, position.liquidation.price)
                self._distance_min = min(self._distance_min, distance)

    def _note_cross(self, snapshot: AccountSnapshot) -> None:
        instruments, quotes = self.instruments, self.quotes
        legs = tuple(
            Leg(
                instruments[position.symbol],
                position,
                quotes[position.symbol].mark,
                beta=Ratio(ONE),
            )
            for position in snapshot.positions
            if position.margin_mode is MarginMode.CROSS
        )
        book = faced(Book(snapshot.wallet_balance, legs))
        # Most prices are no new minimum, and that is told without solving for the distance.
        if legs and spare(book, self._distance_min) <= ZERO:
            match joint_liquidation(book):
                case LiquidatesAfter(distance):
                    self._distance_min = min(self._distance_min, distance)
                case NoLiquidation():
                    pass

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
        left = {each.key: each.quantity for each in self.snapshot(ACCOUNT, self.at_ms).positions}
        return Fate(
            endings=tuple(
                Ending(
                    key,
                    opening.margin_mode,
                    taken.get(key, Alive()),
                    left.get(key, Quantity(ZERO)),
                )
                for key, opening in zip(keys, self._setup.openings, strict=True)
            ),
            equity_final=self.equity(ACCOUNT),
            funding_paid=Money(sum((paid.amount for paid in self.funding(ACCOUNT)), ZERO)),
            distance_min=Ratio(ZERO) if taken else self._distance_min,
            liquidation=self.liquidation(ACCOUNT),
        )
