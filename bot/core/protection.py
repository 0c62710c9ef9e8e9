"""
Protection: the stop that every position must have resting on the exchange, in every account mode.

`wanted` says where it belongs, `audit` compares that with what rests. The stop is
level-triggered: nobody orders it, it follows from the position, the policy and the steps that
tighten it while they fire.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import TypeAlias

from bot.core.cross import Leg
from bot.core.margin import LiquidatesAt, LiquidatesTogether, Liquidation, NoLiquidation
from bot.core.model import Instrument, Position, Side, StopOrder
from bot.core.policy import Policy, Protect
from bot.core.sizing import price_at_loss, price_at_share, price_with_room, round_early
from bot.core.units import ONE, ZERO, Price, Ratio

DRIFT_MAX = Decimal("0.1")
"""Share of the stop-to-liquidation gap by which a resting stop may differ from the wanted one."""


@dataclass(frozen=True, slots=True)
class StopWanted:
    """
    Where the standing stop belongs.

    `loosest_price` is where the user's `loss_max` forbids anything looser; `drift` is how far
    from `trigger_price` a resting stop may be before it is replaced.
    """

    trigger_price: Price
    loosest_price: Price
    drift: Decimal


@dataclass(frozen=True, slots=True)
class StopNotNeeded:
    """No price can hurt the position beyond what the policy allows."""

    proof: str


Wanted: TypeAlias = StopWanted | StopNotNeeded


class StopStatus(StrEnum):
    """What the audit of a position's stop found."""

    RESTS = "rests"
    DRIFTED = "drifted"
    """A safe one rests, not where it belongs any more."""
    MISSING = "missing"
    """None rests, or only such that would not protect the whole position."""
    NOT_NEEDED = "not_needed"


@dataclass(frozen=True, slots=True)
class Audit:
    """The verdict on our own resting stops, and which of them are superfluous."""

    status: StopStatus
    superfluous: tuple[StopOrder, ...]


def tighter(side: Side, first: Price, second: Price) -> Price:
    """Of two prices the one that a mark going against `side` reaches first."""
    return max(first, second) if side is Side.LONG else min(first, second)


def wanted(
    policy: Policy,
    instrument: Instrument,
    position: Position,
    settled: Liquidation,
    bounds: tuple[Price, ...],
) -> Wanted:
    """
    The tightest of: `room` before liquidation, `share` of the way from entry, `loss_max` from
    entry, and `bounds`.

    `bounds` are prices that firing steps or the user's own stop set. Rounded to the tick that
    triggers earlier.
    """
    side = position.side
    loss_cap = price_at_loss(instrument, position, policy.guardrails.loss_max)
    loosest = round_early(instrument, side, loss_cap) if loss_cap.is_finite() else loss_cap
    candidates = [loosest, *bounds]
    match settled:
        case LiquidatesAt(liquidation_price) | LiquidatesTogether(liquidation_price):
            room, share = policy.protect.room, policy.protect.share
            candidates.append(price_with_room(instrument, side, settled, room))
            if share > ZERO:
                candidates.append(price_at_share(instrument, position, liquidation_price, share))
        case NoLiquidation():
            liquidation_price = Price(ZERO)
    trigger = candidates[0]
    for candidate in candidates[1:]:
        trigger = tighter(side, trigger, candidate)
    if side is Side.SHORT and trigger <= ZERO:
        # Only the excess of a pair: what both have lost for good is past its loss at any price.
        trigger = instrument.tick_size
    if trigger <= ZERO or not trigger.is_finite():
        return StopNotNeeded("neither liquidation nor loss_max can be reached at a positive price")
    return StopWanted(trigger, loosest, abs(trigger - liquidation_price) * DRIFT_MAX)


def distance_at_stop(protect: Protect, leg: Leg) -> Ratio:
    """
    The joint distance that must be left so that the standing stop of a cross leg is not reached.

    At the joint distance d the leg's own liquidation price is L = m (1 - s b d), m its mark price
    and b its beta. `share` of the way from the entry price E is left, or more, where

        s (m - L) >= share s (E - L)    that is    d >= share / (1 - share) s (E - m) / (b m)
    """
    if leg.beta <= ZERO:
        return protect.room  # it does not move with the others, and has no such price
    behind = leg.position.side.sign * (leg.position.entry_price - leg.mark_price)
    asked = protect.share / (ONE - protect.share) * behind / (leg.beta * leg.mark_price)
    return Ratio(max(protect.room, asked))


def users_own(
    position: Position, foreign: tuple[StopOrder, ...], mark: Price, settled: Liquidation
) -> tuple[Price, ...]:
    """Triggers of full-size foreign stops that protect `position` between mark and liquidation."""
    return tuple(
        stop.trigger_price
        for stop in foreign
        if covers(stop, position) and is_between(position, stop.trigger_price, mark, settled)
    )


def is_between(position: Position, trigger: Price, mark: Price, settled: Liquidation) -> bool:
    """Whether `trigger` lies strictly between the mark and liquidation."""
    return _triggers_before(position, trigger, settled) and (
        position.side.sign * (mark - trigger) > ZERO
    )


def covers(stop: StopOrder, position: Position) -> bool:
    """Whether `stop` closes the whole of `position` and can do nothing else."""
    return (
        stop.symbol == position.symbol
        and stop.side is position.side
        and stop.reduce_only
        and stop.quantity >= position.quantity
    )


def audit(
    position: Position, ours: tuple[StopOrder, ...], target: Wanted, settled: Liquidation
) -> Audit:
    """
    Compare our own resting stops with the wanted one.

    All but the best one are superfluous, also where that has drifted: while prices run, others
    would pile up. Where none is safe nothing is.
    """
    sign = position.side.sign
    match target:
        case StopNotNeeded():
            return Audit(StopStatus.NOT_NEEDED, ())
        case StopWanted(trigger, loosest, drift):
            pass
    safe = safe_stops(position, ours, settled)
    good = [
        stop
        for stop in safe
        if abs(stop.trigger_price - trigger) <= drift
        and sign * (stop.trigger_price - loosest) >= ZERO
    ]
    if not safe:
        return Audit(StopStatus.MISSING, ())
    kept = min(
        good or safe,
        key=lambda stop: (
            sign * (stop.trigger_price - loosest) < ZERO,
            abs(stop.trigger_price - trigger),
            stop.client_id,
        ),
    )
    status = StopStatus.RESTS if good else StopStatus.DRIFTED
    return Audit(status, tuple(stop for stop in ours if stop is not kept))


def safe_stops(
    position: Position, stops: tuple[StopOrder, ...], settled: Liquidation
) -> tuple[StopOrder, ...]:
    """Of `stops` those that close the whole of `position` before it is liquidated."""
    return tuple(
        stop
        for stop in stops
        if covers(stop, position) and _triggers_before(position, stop.trigger_price, settled)
    )


def _triggers_before(position: Position, trigger: Price, settled: Liquidation) -> bool:
    match settled:
        case LiquidatesAt(liquidation_price) | LiquidatesTogether(liquidation_price):
            return position.side.sign * (trigger - liquidation_price) > ZERO
        case NoLiquidation():
            return trigger > ZERO
