"""
What a protective verb sees and what it may answer.

A verb owns *how much*, nothing else: when it is asked is the ladder's affair, whether its
proposal goes out is the guardrails'. It is a pure function of a `View` and its frozen
parameters, one file in `strategies/`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

from bot.core.cross import Book, Leg
from bot.core.model import Instrument, Position, PositionKey
from bot.core.sizing import AlreadyThere, CannotReach, LegClose
from bot.core.units import Money, Price, Quantity, Ratio


class Severity(IntEnum):
    """How deep a verb cuts. Of several firing steps the deepest acts."""

    ALERT = 0
    STOP = 1
    """Places or tightens the standing stop: beside the ladder, never inhibited."""
    SPEND = 2
    REDUCE = 3
    CLOSE = 4


@dataclass(frozen=True, slots=True)
class PositionView:
    """
    One position with the numbers that were Known when its step fired.

    `liquidation_price` is the nearer of the venue's and our own; it is not positive where a
    long is margined beyond its whole value. `stop_price` is where the standing stop belongs,
    `close_price` the worst that a close may fill at.
    """

    position: Position
    instrument: Instrument
    mark_price: Price
    liquidation_price: Price
    stop_price: Price
    close_price: Price


@dataclass(frozen=True, slots=True)
class BookView:
    """
    All cross positions together, with the numbers that were Known when the step fired.

    `liquidation_distance` is the joint one. `ranked` are the legs in the order in which closing
    them takes most stressed loss away for what it costs; `close_prices` the worst that a close
    of each may fill at.
    """

    book: Book
    liquidation_distance: Ratio
    ranked: tuple[Leg, ...]
    close_prices: Mapping[PositionKey, Price]


View: TypeAlias = PositionView | BookView


@dataclass(frozen=True, slots=True)
class Notify:
    """Tell the human."""

    text: str


@dataclass(frozen=True, slots=True)
class TightenStop:
    """Have the standing stop at `trigger_price` or nearer to the mark, as long as this fires."""

    trigger_price: Price


@dataclass(frozen=True, slots=True)
class TightenStops:
    """Have the stop of every leg where `room` of the joint distance is left, or nearer."""

    room: Ratio


@dataclass(frozen=True, slots=True)
class TopUp:
    """Add `amount` to the isolated margin."""

    amount: Money


@dataclass(frozen=True, slots=True)
class Reduce:
    """Close part of the position, or of some cross positions."""

    closes: tuple[LegClose, ...]


@dataclass(frozen=True, slots=True)
class TrimAndRefund:
    """Close `quantity`, then put the margin that it freed back into the position."""

    quantity: Quantity


@dataclass(frozen=True, slots=True)
class Close:
    """Close the whole position, or every cross position, reduce-only."""


@dataclass(frozen=True, slots=True)
class Nothing:
    """The verb cannot help here, and why: a step may hand over to a deeper one."""

    reason: str


@dataclass(frozen=True, slots=True)
class Enough:
    """Nothing is missing to what the verb aims at: no step hands over for that."""

    reason: str


Proposal: TypeAlias = (
    Notify | TightenStop | TightenStops | TopUp | Reduce | TrimAndRefund | Close | Nothing | Enough
)


def unmoved(found: AlreadyThere | CannotReach) -> Enough | Nothing:
    """What a verb answers where solving for its target has found no amount."""
    match found:
        case AlreadyThere(reason):
            return Enough(reason)
        case CannotReach(reason):
            return Nothing(reason)
