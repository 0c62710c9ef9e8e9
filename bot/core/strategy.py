"""
What a protective verb sees and what it may answer.

A verb owns *how much*, nothing else: when it is asked is the ladder's affair, whether its
proposal goes out is the guardrails'. It is a pure function of `PositionView` and its frozen
parameters, one file in `strategies/`.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

from bot.core.model import Instrument, Position
from bot.core.units import Money, Price


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
    long is margined beyond its whole value. `stop_price` is where the standing stop belongs.
    """

    position: Position
    instrument: Instrument
    mark_price: Price
    liquidation_price: Price
    stop_price: Price


@dataclass(frozen=True, slots=True)
class Notify:
    """Tell the human."""

    text: str


@dataclass(frozen=True, slots=True)
class TightenStop:
    """Have the standing stop at `trigger_price` or nearer to the mark, as long as this fires."""

    trigger_price: Price


@dataclass(frozen=True, slots=True)
class TopUp:
    """Add `amount` to the isolated margin."""

    amount: Money


@dataclass(frozen=True, slots=True)
class Close:
    """Close the whole position at market, reduce-only."""


@dataclass(frozen=True, slots=True)
class Nothing:
    """There is nothing to do, or the target cannot be reached, and why."""

    reason: str


Proposal: TypeAlias = Notify | TightenStop | TopUp | Close | Nothing
