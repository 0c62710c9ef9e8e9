"""
Sizing: how much brings a position to a target, rounded to the safe side.

Where the target cannot be reached the answer says why; it is never a smaller target.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from bot.core.cross import NEVER, Book, Leg, first_root, spare
from bot.core.margin import LiquidatesAt, LiquidatesTogether, margin_at, requirement
from bot.core.model import Instrument, MaintenanceAt, MarginOnReduce, Position, PositionKey, Side
from bot.core.units import ONE, ZERO, Money, Price, Quantity, Ratio, ceil_to, floor_to


@dataclass(frozen=True, slots=True)
class CannotReach:
    """No amount reaches the target."""

    reason: str


@dataclass(frozen=True, slots=True)
class AlreadyThere:
    """Nothing is missing to the target."""

    reason: str


@dataclass(frozen=True, slots=True)
class LegClose:
    """How much of one cross position to close."""

    key: PositionKey
    quantity: Quantity


def price_with_room(
    instrument: Instrument, side: Side, settled: LiquidatesAt | LiquidatesTogether, room: Ratio
) -> Price:
    """
    The mark price at which `room` of the distance to liquidation is left, rounded early.

    A cross position reaches it when all legs have moved together as far as that.
    """
    match settled:
        case LiquidatesAt(price):
            return price_at_distance(instrument, side, price, room)
        case LiquidatesTogether(price, per_distance):
            return round_early(instrument, side, price + side.sign * per_distance * room)


def price_at_distance(
    instrument: Instrument, side: Side, liquidation: Price, distance: Ratio
) -> Price:
    """
    The mark price at which `distance` to `liquidation` is left, on the tick, rounded early.

    From s (p - L) / p = d follows p = L / (1 - s d). Early is up for a long and down for a short.
    """
    exact = liquidation / (ONE - side.sign * distance)
    return round_early(instrument, side, exact)


def price_at_share(
    instrument: Instrument, position: Position, liquidation: Price, share: Ratio
) -> Price:
    """The price that leaves `share` of the way from entry to `liquidation`, rounded early."""
    exact = liquidation + (position.entry_price - liquidation) * share
    return round_early(instrument, position.side, exact)


def round_early(instrument: Instrument, side: Side, price: Decimal) -> Price:
    """`price` on the tick that a falling (long) or rising (short) mark reaches first."""
    to_tick = ceil_to if side is Side.LONG else floor_to
    return Price(to_tick(price, instrument.tick_size))


def margin_to_reach(
    instrument: Instrument, position: Position, mark: Price, distance: Ratio
) -> Money | AlreadyThere | CannotReach:
    """
    Isolated margin to add so that at `mark` the liquidation distance is at least `distance`.

    Rounded up to the venue's margin step. Exact under tiers: the margin is a function of the
    liquidation price, which the target names.
    """
    target = Price(mark * (ONE - position.side.sign * distance))
    if target <= ZERO:
        return CannotReach(f"a long cannot be more than 100% from liquidation, asked {distance:%}")
    missing = margin_at(instrument, position, target) - position.isolated_margin
    if missing <= ZERO:
        return AlreadyThere(f"the distance is already {distance:%} or more")
    return Money(ceil_to(missing, instrument.rules.position_margin_step))


def close_to_reach(
    instrument: Instrument, position: Position, mark: Price, fill: Price, distance: Ratio
) -> Quantity | AlreadyThere | CannotReach:
    """
    How much of an isolated position to close at `fill`, its freed margin put back afterwards.

    With c closed, the liquidation distance at `mark` is `distance` or more where

        B + s c (F - E) - fee c F + s (q - c) (T - E)  >=  requirement of q - c at T

    T is the mark price that is `distance` away and F the fill price. A venue that retains margin
    on a reduction settles profit and fee with the wallet: B stays. Solved tier by tier of what
    remains, rounded up to the quantity step.
    """
    sign, rules = position.side.sign, instrument.rules
    target = Price(mark * (ONE - sign * distance))
    if target <= ZERO:
        return CannotReach(f"a long cannot be more than 100% from liquidation, asked {distance:%}")

    def margin_to_spare(closed: Decimal) -> Decimal:
        match rules.margin_on_reduce:
            case MarginOnReduce.PRO_RATA:
                settled = sign * closed * (fill - position.entry_price)
                margin = position.isolated_margin + settled - closed * fill * instrument.taker_fee
            case MarginOnReduce.RETAINED:
                margin = position.isolated_margin
        left = replace(position, quantity=Quantity(position.quantity - closed))
        gain = sign * left.quantity * (target - position.entry_price)
        return margin + gain - requirement(instrument, left, target)

    valued = target if rules.maintenance_at is MaintenanceAt.MARK else position.entry_price
    return _least_close(instrument, position, margin_to_spare, valued)


def closes_to_reach(
    book: Book, ranked: tuple[Leg, ...], fills: Mapping[PositionKey, Price], distance: Ratio
) -> tuple[LegClose, ...] | AlreadyThere | CannotReach:
    """
    What to close of the cross positions so that the joint distance is `distance` or more.

    The legs are taken in the order of `ranked`, each as far as it is needed, at its price in
    `fills`.
    """
    if spare(book, distance) >= ZERO:
        return AlreadyThere(f"the distance is already {distance:%} or more")
    closes: list[LegClose] = []
    for leg in ranked:
        key, position = leg.position.key, leg.position
        fill = fills[key]
        without = book.after_close(key, position.quantity, fill)
        if spare(without, distance) > ZERO:
            quantity = _least_close_of_leg(book, leg, fill, distance)
            return (*closes, LegClose(key, quantity))
        closes.append(LegClose(key, position.quantity))
        book = without
    return CannotReach("not even closing every cross position reaches it")


def share_to_close(instrument: Instrument, position: Position, fraction: Ratio) -> Quantity:
    """`fraction` of the position on the quantity step, at least one step, at most all."""
    share = ceil_to(position.quantity * fraction, instrument.quantity_step)
    return _leaving_enough(instrument, position, share)


def _least_close_of_leg(book: Book, leg: Leg, fill: Price, distance: Ratio) -> Quantity:
    """The least close of `leg` that brings the book to `distance`; all of it is enough."""
    instrument, position = leg.instrument, leg.position

    def to_spare(closed: Decimal) -> Decimal:
        return spare(book.after_close(position.key, closed, fill), distance)

    at_mark = instrument.rules.maintenance_at is MaintenanceAt.MARK
    valued = leg.price_after(distance) if at_mark else position.entry_price
    found = _least_close(instrument, position, to_spare, valued)
    return position.quantity if isinstance(found, AlreadyThere | CannotReach) else found


def _least_close(
    instrument: Instrument,
    position: Position,
    to_spare: Callable[[Decimal], Decimal],
    valued: Price,
) -> Quantity | AlreadyThere | CannotReach:
    """The least quantity where `to_spare`, which bends at tiers of the rest, is not below 0."""
    if to_spare(ZERO) >= ZERO:
        return AlreadyThere("the target is reached already")
    bends = {
        position.quantity - tier.cap / valued
        for tier in instrument.tiers
        if valued > ZERO and tier.cap.is_finite()
    }
    inside = sorted(bend for bend in bends if ZERO < bend < position.quantity)
    least = first_root(to_spare, [ZERO, *inside])
    if least == NEVER or least >= position.quantity:
        return CannotReach("only closing the whole position would do")
    closed = ceil_to(least, instrument.quantity_step)
    # Where a lower tier is reached within the step, closing more may cost more than it helps.
    # What a venue cannot tell apart is no miss.
    if closed < position.quantity and to_spare(closed) < -instrument.rules.position_margin_step:
        return CannotReach("only closing the whole position would do")
    return _leaving_enough(instrument, position, closed)


def _leaving_enough(instrument: Instrument, position: Position, closed: Decimal) -> Quantity:
    """`closed`, at least the venue's minimum; everything where less than that would remain."""
    closed = max(closed, instrument.quantity_min)
    left = position.quantity - closed
    return position.quantity if left < instrument.quantity_min else Quantity(closed)
