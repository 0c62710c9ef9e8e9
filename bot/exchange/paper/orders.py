"""
Orders as accounts give them and as they rest: values only.

An order trades in a direction; what it may do with it, its effect says, so that nobody has to know
how an account keeps its positions. A conditional order waits for a price and then sends another.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import TypeAlias

from bot.core.actions import AtMarket
from bot.core.model import Instrument, Side
from bot.core.units import ZERO, Money, Price, Quantity

ENDLESS = Decimal("Infinity")
ANY_NOTIONAL = Money(ZERO)


class Direction(StrEnum):
    """Which way an order trades."""

    BUY = "BUY"
    SELL = "SELL"

    @property
    def closes(self) -> Side:
        """The side of the positions that it reduces."""
        return Side.SHORT if self is Direction.BUY else Side.LONG

    @property
    def opens(self) -> Side:
        """The side of the positions that it opens or grows."""
        return Side.LONG if self is Direction.BUY else Side.SHORT


def closing(side: Side) -> Direction:
    """The direction that closes positions of `side`."""
    return Direction.SELL if side is Side.LONG else Direction.BUY


class Effect(StrEnum):
    """What an order may do to positions."""

    REDUCE = "reduce"
    """Close, and never more than there is."""
    OPEN = "open"
    """Open or grow the leg of its direction, whatever the other leg is: hedge mode."""
    NET = "net"
    """Close what is against it, and open with the rest: one-way mode."""


class TimeInForce(StrEnum):
    """How long a limit order waits."""

    GTC = "GTC"
    """Until it is cancelled."""
    IOC = "IOC"
    """Not at all: what is not filled at once expires."""
    FOK = "FOK"
    """Not at all, and it is filled whole or not."""
    GTX = "GTX"
    """As GTC, and it is refused if it would fill at once."""

    @property
    def waits(self) -> bool:
        """Whether what is not filled at once rests."""
        return self in (TimeInForce.GTC, TimeInForce.GTX)


@dataclass(frozen=True, slots=True)
class Limit:
    """At `price` or better."""

    price: Price
    time_in_force: TimeInForce


Pricing: TypeAlias = AtMarket | Limit


@dataclass(frozen=True, slots=True)
class Order:
    """An order that trades at once, or rests at its limit."""

    symbol: str
    direction: Direction
    effect: Effect
    quantity: Quantity
    pricing: Pricing


@dataclass(frozen=True, slots=True)
class CloseAll:
    """What of a position there is then, at market. Only a conditional order can say that."""

    symbol: str
    direction: Direction


class TriggerBy(StrEnum):
    """The price that triggers a conditional order."""

    MARK = "mark"
    LAST = "last"
    INDEX = "index"


class Passage(StrEnum):
    """Which way a price has to go to reach a level."""

    FALLS = "falls"
    RISES = "rises"


def has_passed(passage: Passage, price: Decimal, level: Decimal) -> bool:
    """Whether `price` has gone that way as far as `level`, or further."""
    return price <= level if passage is Passage.FALLS else price >= level


AGAINST = {Side.LONG: Passage.FALLS, Side.SHORT: Passage.RISES}
"""The way that hurts a position: a stop waits for it, a take-profit for the other."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """What a conditional order waits for."""

    price: Price
    by: TriggerBy
    passage: Passage


@dataclass(frozen=True, slots=True)
class Conditional:
    """A conditional order that waits for its price."""

    client_id: str
    trigger: Trigger
    sends: Order | CloseAll


@dataclass(frozen=True, slots=True)
class RestingLimit:
    """
    A limit order, or what is left of one, that waits in the book.

    It fills whole, at its own price, as soon as the last price has got to `level`: that is its
    price, or a tick better than the last price that left it unfilled although it was good enough.
    """

    client_id: str
    left: Order
    price: Price
    level: Price


OpenOrder: TypeAlias = Conditional | RestingLimit


def sent_by(resting: OpenOrder) -> Order | CloseAll:
    """The order that trades when its time comes."""
    return resting.sends if isinstance(resting, Conditional) else resting.left


def is_reducing(order: Order | CloseAll) -> bool:
    """Whether an order can only ever make a position smaller: that which its direction closes."""
    return isinstance(order, CloseAll) or order.effect is Effect.REDUCE


@dataclass(frozen=True, slots=True)
class OrderLimits:
    """
    What an exchange takes of orders.

    Quantities are in the contract's quantity steps, `notional_min` is in the settle currency and
    binds orders that may open. The counts are of what an account may have resting. Where a
    contract has a largest order at market or a number of stops of its own, the smaller one binds.
    """

    steps_max: Decimal = ENDLESS
    market_steps_max: Decimal = ENDLESS
    notional_min: Money = ANY_NOTIONAL
    conditional_symbol_max: int = 10
    conditional_account_max: int = 200
    resting_symbol_max: int = 200

    def market_max(self, instrument: Instrument) -> Quantity:
        """The largest order at market, in base."""
        steps = min(self.market_steps_max, self.steps_max)
        return min(Quantity(steps * instrument.quantity_step), instrument.quantity_max)

    def conditional_max(self, instrument: Instrument) -> int:
        """How many conditional orders an account may have in a contract."""
        return min(self.conditional_symbol_max, instrument.stops_max)


ANY_SIZE = OrderLimits()
