"""
Protection: the stop that every position must have resting on the exchange, in every account mode.

`wanted` says where it belongs, `audit` compares that with what rests. The stop is
level-triggered: nobody orders it, it follows from the position, the policy and the steps that
tighten it while they fire.

A standing stop is one order, or several where the venue takes none that is large enough: the
fewest of one target that are for all of the position together. Decision 20 says why.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from operator import itemgetter
from typing import TypeAlias

from bot.core.cross import Leg
from bot.core.margin import LiquidatesAt, LiquidatesTogether, Liquidation, NoLiquidation
from bot.core.model import Instrument, Position, Side, StopOrder
from bot.core.policy import Policy, Protect
from bot.core.sizing import price_at_loss, price_at_share, price_with_room, round_early
from bot.core.units import ONE, ZERO, Price, Quantity, Ratio, ceil_to, floor_to

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
    """None rests, or only what would not protect the whole position."""
    NOT_NEEDED = "not_needed"


@dataclass(frozen=True, slots=True)
class Audit:
    """
    The verdict on our own resting stops, and which of them are `superfluous`.

    `lacking` is what to place so that a standing stop rests where it belongs. `in_the_way` are
    those that nobody would miss then: where no more may rest they go first, from the one that
    protects least.
    """

    status: StopStatus
    superfluous: tuple[StopOrder, ...]
    lacking: tuple[Quantity, ...] = ()
    in_the_way: tuple[StopOrder, ...] = ()


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
    instrument: Instrument,
    position: Position,
    foreign: tuple[StopOrder, ...],
    mark: Price,
    settled: Liquidation,
) -> tuple[Price, ...]:
    """Where foreign stops between mark and liquidation have closed the whole of `position`."""
    between = tuple(
        stop for stop in foreign if is_between(position, stop.trigger_price, mark, settled)
    )
    return level(position, tightest(instrument, position, between))


def is_between(position: Position, trigger: Price, mark: Price, settled: Liquidation) -> bool:
    """Whether `trigger` lies strictly between the mark and liquidation."""
    return _triggers_before(position, trigger, settled) and (
        position.side.sign * (mark - trigger) > ZERO
    )


def slices(instrument: Instrument, quantity: Quantity) -> tuple[Quantity, ...]:
    """
    The orders that a stop of `quantity` takes: the fewest, none larger than the venue allows.

    The last one is at least the least that it takes, where the one before can spare that. Of a
    quantity that needs more than `stops_max` orders those are the first.
    """
    step, least = instrument.quantity_step, instrument.quantity_min
    most = max(floor_to(instrument.quantity_max, step), step)
    if quantity <= most:
        return (quantity,)
    count = int(ceil_to(quantity / most, ONE))
    rest = Quantity(quantity - (count - 1) * most)
    moved = max(least - rest, ZERO)
    last = (Quantity(most - moved), Quantity(rest + moved))
    whole = [Quantity(most)] * min(count - 2, instrument.stops_max)
    return (*whole, *last)[: instrument.stops_max]


def standing(
    instrument: Instrument, position: Position, stops: Sequence[StopOrder]
) -> tuple[StopOrder, ...]:
    """
    Of `stops`, the best first, those that together close the whole of `position`; else none.

    They are no more than the fewest that could: many small ones would fill the places that the
    venue has for stops, and what a human has spread over prices on purpose is no standing stop.
    """
    closing = [stop for stop in stops if closes(stop, position)]
    kept: list[StopOrder] = []
    left, places = position.quantity, len(slices(instrument, position.quantity))
    for index, stop in enumerate(closing):
        others = sorted((each.quantity for each in closing[index + 1 :]), reverse=True)
        rest = sum(others[: places - len(kept) - 1], ZERO)
        if stop.quantity + rest >= left:
            kept.append(stop)
            left = Quantity(left - stop.quantity)
            if left <= ZERO:
                return tuple(kept)
    return ()


def closes(stop: StopOrder, position: Position) -> bool:
    """Whether `stop` closes `position`, or a part of it, and can do nothing else."""
    return stop.symbol == position.symbol and stop.side is position.side and stop.reduce_only


def tightest(
    instrument: Instrument, position: Position, stops: tuple[StopOrder, ...]
) -> tuple[StopOrder, ...]:
    """The `standing` stop among `stops` that a mark going against `position` reaches first."""
    sign = position.side.sign
    ordered = sorted(stops, key=lambda stop: (-sign * stop.trigger_price, stop.client_id))
    return standing(instrument, position, ordered)


def level(position: Position, stands: tuple[StopOrder, ...]) -> tuple[Price, ...]:
    """The price at which a standing stop has closed all: that of its loosest order."""
    prices = sorted(
        (stop.trigger_price for stop in stands), key=lambda at: position.side.sign * at
    )
    return tuple(prices[:1])


def audit(
    instrument: Instrument,
    position: Position,
    ours: tuple[StopOrder, ...],
    target: Wanted,
    settled: Liquidation,
) -> Audit:
    """
    Compare our own resting stops with the wanted one.

    All but the best that stand for the position are superfluous, also where those have drifted:
    while prices run, others would pile up. Where none are safe nothing is.
    """
    sign = position.side.sign
    match target:
        case StopNotNeeded():
            return Audit(StopStatus.NOT_NEEDED, ())
        case StopWanted(trigger, loosest, drift):
            pass

    ranked = sorted(
        (
            (
                sign * (stop.trigger_price - loosest) < ZERO,
                abs(stop.trigger_price - trigger),
                stop.client_id,
                stop,
            )
            for stop in ours
            if closes(stop, position) and _triggers_before(position, stop.trigger_price, settled)
        ),
        key=itemgetter(0, 1, 2),
    )
    safe = [stop for _, _, _, stop in ranked]
    good = [stop for is_looser, off, _, stop in ranked if off <= drift and not is_looser]
    if stands := standing(instrument, position, good):
        return Audit(StopStatus.RESTS, tuple(stop for stop in ours if stop not in stands))
    kept, lacking = _lacking(instrument, position, good)
    if stands := standing(instrument, position, safe):
        superfluous = tuple(stop for stop in ours if stop not in stands)
        return Audit(StopStatus.DRIFTED, superfluous, lacking)
    unsafe = [stop for stop in ours if stop not in safe]
    in_the_way = [stop for stop in (*unsafe, *reversed(safe)) if stop not in kept]
    return Audit(StopStatus.MISSING, (), lacking, tuple(in_the_way))


def _lacking(
    instrument: Instrument, position: Position, good: Sequence[StopOrder]
) -> tuple[Sequence[StopOrder], tuple[Quantity, ...]]:
    """
    Which of the `good` ones may stay, and the fewest orders that are a standing stop with them.

    Where the venue takes too few orders for the whole position: as much as they can be for.
    """
    plan = slices(instrument, position.quantity)
    largest = sorted(good, key=lambda stop: -stop.quantity)
    for count in range(min(len(largest), len(plan)), 0, -1):
        kept = largest[:count]
        rest = Quantity(sum(plan, ZERO) - sum((stop.quantity for stop in kept), ZERO))
        if rest <= ZERO:
            return kept, ()
        asked = slices(instrument, rest)
        if rest >= instrument.quantity_min and len(asked) <= len(plan) - count:
            return kept, asked
    return (), plan


def safe_stops(
    instrument: Instrument,
    position: Position,
    stops: tuple[StopOrder, ...],
    settled: Liquidation,
) -> tuple[StopOrder, ...]:
    """Of `stops` the tightest that close the whole of `position` before it is liquidated."""
    safe = tuple(stop for stop in stops if _triggers_before(position, stop.trigger_price, settled))
    return tightest(instrument, position, safe)


def _triggers_before(position: Position, trigger: Price, settled: Liquidation) -> bool:
    match settled:
        case LiquidatesAt(liquidation_price) | LiquidatesTogether(liquidation_price):
            return position.side.sign * (trigger - liquidation_price) > ZERO
        case NoLiquidation():
            return trigger > ZERO
