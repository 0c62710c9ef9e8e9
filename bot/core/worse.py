"""
Worse: what a close of part of an account may not leave behind.

The guard chooses how much to close. It may choose nothing that leaves more at risk under the
policy's shock, and of a long and a short of one symbol on one wallet nothing that brings the
liquidation of the account nearer: what one leg loses the other gains, and a venue may charge the
larger one alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import assert_never

from bot.core.actions import AtMarket, Bound, NoWorseThan
from bot.core.cross import Book, faced
from bot.core.metrics import BookKnown, Unknown, measure_book, measured_book
from bot.core.model import Instrument, MarginOnReduce, Position, PositionKey
from bot.core.pairs import leg_against
from bot.core.policy import Policy
from bot.core.state import AccountState
from bot.core.stress import Held, worst_stressed_loss
from bot.core.units import ZERO, Money, Price, Quantity


@dataclass(frozen=True, slots=True)
class Part:
    """So much of a position is closed, within `bound`."""

    position: Position
    quantity: Quantity
    bound: Bound


def raises_stressed_loss(state: AccountState, policy: Policy, parts: tuple[Part, ...]) -> bool:
    """
    Whether more would be lost under the policy's shock without the parts than with them.

    So it is where a venue keeps all margin in the position and the wallet pays the loss, and where
    the parts of a symbol have hedged what is left of it.
    """
    closed = {part.position.key: part.quantity for part in parts}
    return any(
        _raises_loss_of(state, policy, symbol, closed)
        for symbol in sorted({key.symbol for key in closed})
    )


def brings_nearer(
    state: AccountState, policy: Policy, now_ms: int, parts: tuple[Part, ...]
) -> Iterator[str]:
    """Why parts of pairs may not be closed: the account would be nearer to liquidation then."""
    if not any(leg_against(part.position, state.positions) for part in parts):
        return
    match measure_book(state, now_ms, policy):
        case Unknown(reason):
            yield f"nobody can say where liquidation would be without the part: {reason}"
        case BookKnown() as known:
            book = known.book
            for part in parts:
                book = book.after_close(part.position.key, part.quantity, _worst_fill(book, part))
            before = known.liquidation_distance
            after = measured_book(faced(book)).liquidation_distance
            if after < before:
                yield f"it would bring liquidation nearer, from {before:.2%} to {after:.2%}"


def _raises_loss_of(
    state: AccountState, policy: Policy, symbol: str, closed: dict[PositionKey, Quantity]
) -> bool:
    instrument, mark = state.instruments.by_symbol[symbol], state.marks[symbol].price
    legs = [each for each in state.positions if each.symbol == symbol]
    left = [_left_of(instrument, each, closed.get(each.key, ZERO)) for each in legs]
    before = worst_stressed_loss((Held(instrument, each, mark) for each in legs), policy.stress)
    after = worst_stressed_loss(
        (Held(instrument, each, mark) for each in left if each.quantity), policy.stress
    )
    return after > before


def _left_of(instrument: Instrument, position: Position, quantity: Decimal) -> Position:
    share = max(position.quantity - quantity, ZERO) / position.quantity
    match instrument.rules.margin_on_reduce:
        case MarginOnReduce.PRO_RATA:
            margin = position.isolated_margin * share
        case MarginOnReduce.RETAINED:
            margin = position.isolated_margin if share else ZERO
    return replace(
        position, quantity=Quantity(position.quantity * share), isolated_margin=Money(margin)
    )


def _worst_fill(book: Book, part: Part) -> Price:
    match part.bound:
        case NoWorseThan(price):
            return price
        case AtMarket():
            return book.leg_of(part.position.key).mark_price
    assert_never(part.bound)
