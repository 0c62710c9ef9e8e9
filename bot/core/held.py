"""
Held: the stops of cross positions that a loss does not loosen.

One wallet backs them all, and what an isolated position beside them returns goes into it. So a
position that is gone leaves the others farther from liquidation, and stops that follow it would
move away: every loss would be taken for room to lose more. Where a position was closed, whole or
in part, by its stop, by the guard or by the venue, the stops that rest for the cross ones are
held: no looser one takes their place.

A hold ends when the wallet has gained more than that close changed it by, when a cross position
is opened or grows, and with another policy. What a human closes neither makes a hold nor ends one.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from bot.core.model import (
    AccountSnapshot,
    Instrument,
    MarginMode,
    Position,
    PositionKey,
    StopOrder,
)
from bot.core.pairs import excess_of
from bot.core.protection import level, tighter, tightest
from bot.core.units import ZERO, Money, Price, Quantity


@dataclass(frozen=True, slots=True)
class SeenLeg:
    """A position as it was last seen: one read without it does not prove that it is gone."""

    quantity: Quantity
    is_open: bool


@dataclass(frozen=True, slots=True)
class Shared:
    """
    What is remembered of the wallet and all positions from one read to the next, over restarts.

    `taken` are positions that the venue said it took from, before a read has shown it. `held` are
    trigger prices that stops may not be looser than, until the wallet balance is more than
    `released_at`.
    """

    wallet_balance: Money
    legs: Mapping[PositionKey, SeenLeg]
    taken: frozenset[PositionKey]
    held: Mapping[PositionKey, Price]
    released_at: Money

    def bounds(self, key: PositionKey) -> tuple[Price, ...]:
        """What the stop of one position may not be looser than."""
        return (self.held[key],) if key in self.held else ()


NOTHING_SHARED = Shared(Money(ZERO), {}, frozenset(), {}, Money(ZERO))


def taken(shared: Shared, key: PositionKey) -> Shared:
    """The venue has closed a position, or a part of it."""
    return replace(shared, taken=shared.taken | {key})


def released(shared: Shared) -> Shared:
    """Nothing is held any more."""
    return replace(shared, held={}, released_at=Money(ZERO)) if shared.held else shared


def without(shared: Shared, gone: frozenset[PositionKey]) -> Shared:
    """The same without positions that are surely gone: if one is there again it was opened."""
    if not gone:
        return shared
    legs = {key: leg for key, leg in shared.legs.items() if key not in gone}
    held = {key: price for key, price in shared.held.items() if key not in gone}
    return replace(shared, legs=legs, held=held)


def after_read(
    shared: Shared,
    snapshot: AccountSnapshot,
    ours: Iterable[StopOrder],
    closed: frozenset[PositionKey],
    instruments: Mapping[str, Instrument],
    *,
    is_newer: bool,
) -> Shared:
    """
    What a read shows: what shrank holds the stops of cross positions, one that grew frees them.

    `ours` are our own stops in it; `closed` the positions that an order of ours may have closed
    since the read before. The venue's part is in `taken`, until a read that was asked for after
    the venue said so: `is_newer`.
    """
    now = {position.key: position for position in snapshot.positions}
    before = shared.legs
    cross = [each for each in snapshot.positions if each.margin_mode is MarginMode.CROSS]
    grew = any(
        each.key not in before or each.quantity > before[each.key].quantity for each in cross
    )
    shrank = frozenset(
        key
        for key, leg in before.items()
        if leg.is_open and (key not in now or now[key].quantity < leg.quantity)
    )
    lost = shrank & (closed | shared.taken)
    missing = {key: leg for key, leg in before.items() if key not in now and key not in lost}
    seen = replace(
        shared,
        wallet_balance=snapshot.wallet_balance,
        legs={
            **{key: replace(leg, is_open=False) for key, leg in missing.items()},
            **{key: SeenLeg(each.quantity, is_open=True) for key, each in now.items()},
        },
        taken=frozenset() if is_newer else shared.taken - lost,
        held={key: price for key, price in shared.held.items() if key in now or key in missing},
    )
    if grew or (shared.held and snapshot.wallet_balance > shared.released_at):
        seen = released(seen)
    if grew or not lost:
        return seen
    changed = abs(snapshot.wallet_balance - shared.wallet_balance)
    return replace(
        seen,
        held=_resting(cross, seen, tuple(ours), instruments),
        released_at=Money(max(seen.released_at, snapshot.wallet_balance + changed)),
    )


def _resting(
    legs: list[Position],
    shared: Shared,
    ours: tuple[StopOrder, ...],
    instruments: Mapping[str, Instrument],
) -> dict[PositionKey, Price]:
    """The tightest stop that rests for each cross position, or what was held of it before."""
    held = dict(shared.held)
    for leg in legs:
        excess = replace(leg, quantity=excess_of(leg, legs))
        if excess.quantity > ZERO and leg.symbol in instruments:
            for at in level(leg, tightest(instruments[leg.symbol], excess, ours)):
                held[leg.key] = tighter(leg.side, held.get(leg.key, at), at)
    return held
