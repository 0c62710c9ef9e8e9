"""
Sizing: how much brings a position or an account to a target, rounded to the safe side.

A target is a liquidation distance or, as `AtRatio`, a margin ratio; either is reached by that
much or more. Every amount enters the margin equation linearly, in each tier of what is left, so
each is solved exactly and then rounded to the venue's step. Where the target cannot be reached
the answer says why; it is never a smaller target.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TypeAlias

from bot.core.cross import (
    NEVER,
    Book,
    Leg,
    LiquidatesAfter,
    equity,
    faced,
    first_root,
    joint_liquidation,
    priced_until,
    shocks_to_watch,
    spare,
    total_requirement,
)
from bot.core.margin import (
    LiquidatesAt,
    LiquidatesTogether,
    NoLiquidation,
    direction_of,
    maintenance_margin,
    margin_at,
    margin_balance,
    profit,
    requirement,
    tier_of,
    tiers_are_continuous,
    value,
)
from bot.core.model import (
    CloseFee,
    ContractKind,
    HedgeRequirement,
    Instrument,
    MaintenanceAt,
    MarginOnReduce,
    Position,
    PositionKey,
    Side,
    TierMeasure,
)
from bot.core.units import ONE, ZERO, Money, Price, Quantity, Ratio, ceil_to, floor_to

OWES_WITHOUT_END = "an inverse contract owes without end before its price is zero"
LAST_DIGITS = ONE - Decimal("1e-18")
"""A distance that is solved for again may come out shorter by its last digits."""


@dataclass(frozen=True, slots=True)
class CannotReach:
    """No amount reaches the target."""

    reason: str


@dataclass(frozen=True, slots=True)
class AlreadyThere:
    """Nothing is missing to the target."""

    reason: str


@dataclass(frozen=True, slots=True)
class AtRatio:
    """A margin ratio as a target: requirement / margin balance, 1 is liquidation."""

    ratio: Ratio


Target: TypeAlias = Ratio | AtRatio
"""A plain ratio is a liquidation distance."""


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


def price_at_loss(instrument: Instrument, position: Position, loss: Money) -> Price:
    """
    The price at which the position has lost `loss` against its entry price E.

    Linear: E - s loss / q, which may be none above zero; inverse: q / (q / E + s loss), endless
    where no price loses a short so much.
    """
    sign, quantity, entry = position.side.sign, position.quantity, position.entry_price
    if instrument.kind is ContractKind.LINEAR:
        return Price(entry - sign * loss / quantity)
    worth = quantity / entry + sign * loss
    return Price(quantity / worth if worth > ZERO else NEVER)


def round_early(instrument: Instrument, side: Side, price: Decimal) -> Price:
    """`price` on the tick that a falling (long) or rising (short) mark reaches first."""
    to_tick = ceil_to if side is Side.LONG else floor_to
    return Price(to_tick(price, instrument.tick_size))


def margin_to_reach(
    instrument: Instrument, position: Position, mark: Price, to: Target
) -> Money | AlreadyThere | CannotReach:
    """
    Isolated margin to add so that at `mark` the target is reached, rounded up to the margin step.

    Exact under tiers: the margin is a function of the liquidation price, which a distance names.
    Where a table jumps, no border on the way may be reached first.
    """
    if (reason := _out_of_reach(instrument, position, to)) is not None:
        return CannotReach(reason)
    missing = _margin_for(instrument, position, mark, to) - position.isolated_margin
    if missing <= ZERO:
        return _already(to)
    return Money(ceil_to(missing, instrument.rules.position_margin_step))


def leverage_to_keep(
    instrument: Instrument, position: Position, to: Target, step: Decimal
) -> Decimal | CannotReach:
    """
    The highest leverage at which `position`, just opened, is at the target: a multiple of `step`.

    Its margin is value / leverage then. No tier allows more than its own maximum.
    """
    if (reason := _out_of_reach(instrument, position, to)) is not None:
        return CannotReach(reason)
    entry = position.entry_price
    bare = replace(position, isolated_margin=Money(ZERO))
    needed = _margin_for(instrument, bare, entry, to)
    worth = value(instrument, position.quantity, entry)
    by_value = instrument.rules.tier_measure is TierMeasure.VALUE
    allowed = tier_of(instrument, worth if by_value else position.quantity).leverage_max
    leverage = allowed if needed * allowed <= worth else floor_to(worth / needed, step)
    if leverage < max(step, ONE):
        return CannotReach("not even without leverage")
    return leverage


def close_to_reach(
    instrument: Instrument, position: Position, mark: Price, fill: Price, to: Target
) -> Quantity | AlreadyThere | CannotReach:
    """
    How much of an isolated position to close at `fill`, its freed margin put back afterwards.

    With c closed, the liquidation distance at `mark` is reached where

        B + profit of c at F - fee of c at F + profit of q - c at T  >=  requirement of q - c at T

    T is the mark price that is so far away and F the fill price; a ratio r is reached where r
    times the balance of the rest at `mark` is its requirement or more. A venue that retains
    margin on a reduction settles profit and fee with the wallet: B stays. Solved tier by tier of
    what remains, rounded up to the quantity step.
    """
    if (reason := _out_of_reach(instrument, position, to)) is not None:
        return CannotReach(reason)
    at, share = _seen_at(position, mark, to)

    def left_of(closed: Decimal) -> Position:
        match instrument.rules.margin_on_reduce:
            case MarginOnReduce.PRO_RATA:
                settled = profit(instrument, position.side, closed, position.entry_price, fill)
                fee = value(instrument, closed, fill) * instrument.taker_fee
                margin = position.isolated_margin + settled - fee
            case MarginOnReduce.RETAINED:
                margin = position.isolated_margin
        quantity = Quantity(position.quantity - closed)
        return replace(position, quantity=quantity, isolated_margin=Money(margin))

    def margin_to_spare(closed: Decimal) -> Decimal:
        left = left_of(closed)
        return share * margin_balance(instrument, left, at) - requirement(instrument, left, at)

    return _least_close(
        instrument, position, margin_to_spare, at, _bankrupt_from(instrument, position, left_of)
    )


def transfer_to_reach(book: Book, to: Target, step: Decimal) -> Money | AlreadyThere | CannotReach:
    """
    How much to bring into the wallet of a cross book, rounded up to `step`.

    What is spare after a shock grows one for one with the wallet, so the most that is missing
    on the way to the target is all that is needed.
    """
    match to:
        case AtRatio(ratio):
            missing = total_requirement(book) / ratio - equity(book)
        case distance:
            if any(distance >= priced_until(leg) for leg in book.legs):
                return CannotReach(OWES_WITHOUT_END)
            missing = max(-spare(book, shock) for shock in shocks_to_watch(book, distance))
    if missing <= ZERO:
        return _already(to)
    amount = Money(ceil_to(missing, step))
    richer = replace(book, wallet_balance=Money(book.wallet_balance + amount))
    return amount if _is_at(richer, to) else CannotReach("what is spare dips between two tiers")


def hedge_to_reach(
    book: Book, key: PositionKey, fill: Price, distance: Ratio
) -> Quantity | AlreadyThere | CannotReach:
    """
    The size of a leg against the position `key`, opened at `fill`, that brings the book there.

    In hedge mode, on the same symbol: what one leg loses the other gains, and both may have to be
    margined. Rounded up to the quantity step; more than the position itself is no hedge.
    """
    if spare(book, distance) >= ZERO:
        return _already(distance)
    if any(distance >= priced_until(leg) for leg in book.legs):
        return CannotReach(OWES_WITHOUT_END)
    leg = book.leg_of(key)
    instrument, position = leg.instrument, leg.position
    other = Side.SHORT if position.side is Side.LONG else Side.LONG
    if any(each.position.key == PositionKey(key.symbol, other) for each in book.legs):
        return CannotReach("there is a leg against it already")

    def hedged(quantity: Decimal) -> Book:
        against = replace(position, side=other, quantity=Quantity(quantity), entry_price=fill)
        fee = value(instrument, quantity, fill) * instrument.taker_fee
        legs = (*book.legs, replace(leg, position=against, beta=Ratio(-leg.beta)))
        return replace(book, wallet_balance=Money(book.wallet_balance - fee), legs=legs)

    bends = _border_sizes(instrument, leg.price_after(distance), fill)
    if instrument.rules.hedge_requirement is HedgeRequirement.NET:
        bends = {position.quantity - bend for bend in bends}
    inside = sorted(bend for bend in bends if ZERO < bend < position.quantity)
    least = first_root(
        lambda quantity: spare(hedged(quantity), distance), [ZERO, *inside, position.quantity]
    )
    quantity = Quantity(ceil_to(max(least, instrument.quantity_min), instrument.quantity_step))
    if quantity > position.quantity or not _is_at(faced(hedged(quantity)), distance):
        return CannotReach("not even a hedge of the whole position does, after its fee and margin")
    return quantity


def closes_to_reach(
    book: Book, ranked: tuple[Leg, ...], fills: Mapping[PositionKey, Price], to: Target
) -> tuple[LegClose, ...] | AlreadyThere | CannotReach:
    """
    What to close of the cross positions so that they reach the target together.

    The legs are taken in the order of `ranked`, each as far as it is needed, at its price in
    `fills`; of two legs of one symbol first what the larger one has beyond the smaller, and as
    much of both once nothing else is left. Where a symbol has two legs, or its coin backs the
    account, every result is tried: a close may turn the way that hurts.
    """
    if _left_over(book, to) >= ZERO:
        return _already(to)
    closed: dict[PositionKey, Decimal] = {}
    for cut in _cuts(ranked):
        without = faced(_after_cut(book, cut, cut.most, fills))
        if _left_over(without, to) > ZERO:
            quantity = _least_cut(book, cut, fills, to)
            if book.is_plain or _is_at(faced(_after_cut(book, cut, quantity, fills)), to):
                return _with_cut(closed, cut, quantity)
        closed = {each.key: each.quantity for each in _with_cut(closed, cut, cut.most)}
        book = without
    return CannotReach("not even closing every cross position reaches it")


def shares_to_close(ranked: tuple[Leg, ...], fraction: Ratio) -> tuple[LegClose, ...]:
    """`fraction` of the first leg of `ranked`, and of the one against it in its symbol."""
    symbol = ranked[0].position.symbol
    return tuple(
        LegClose(leg.position.key, share_to_close(leg.instrument, leg.position, fraction))
        for leg in ranked
        if leg.position.symbol == symbol
    )


def share_to_close(instrument: Instrument, position: Position, fraction: Ratio) -> Quantity:
    """`fraction` of the position on the quantity step, at least one step, at most all."""
    share = ceil_to(position.quantity * fraction, instrument.quantity_step)
    return _leaving_enough(instrument, position.quantity, share)


def _already(to: Target) -> AlreadyThere:
    match to:
        case AtRatio(ratio):
            return AlreadyThere(f"the margin ratio is already {ratio:%} or less")
        case distance:
            return AlreadyThere(f"the distance is already {distance:%} or more")


def _out_of_reach(instrument: Instrument, position: Position, to: Target) -> str | None:
    """Why no margin at all would do."""
    match to:
        case AtRatio():
            return None
        case distance if position.side.sign * distance >= ONE:
            return f"a long cannot be more than 100% from liquidation, asked {distance:%}"
        case _:
            return None


def _seen_at(position: Position, mark: Price, to: Target) -> tuple[Price, Decimal]:
    """The price at which a target is looked at, and the share of the balance that must do."""
    match to:
        case AtRatio(ratio):
            return mark, ratio
        case distance:
            return Price(mark * (ONE - position.side.sign * distance)), ONE


def _margin_for(instrument: Instrument, position: Position, mark: Price, to: Target) -> Decimal:
    """The least isolated margin that is at the target."""
    match to:
        case AtRatio(ratio):
            return _margin_for_ratio(instrument, position, mark, ratio)
        case distance:
            target = Price(mark * (ONE - position.side.sign * distance))
            prices = (target, *_cliffs(instrument, position, target, mark))
            return max(margin_at(instrument, position, price) for price in prices)


def _margin_for_ratio(
    instrument: Instrument, position: Position, mark: Price, ratio: Ratio
) -> Decimal:
    """
    B = requirement / ratio - profit; a close fee at bankruptcy falls or rises with B itself.

    As long as there is a bankruptcy it does so linearly: two margins tell the line, and its root
    is exact. A margin that covers every loss owes no such fee, and then the plain root is more.
    """

    def missing(margin: Decimal) -> Decimal:
        backed = replace(position, isolated_margin=Money(margin))
        balance = margin_balance(instrument, backed, mark)
        return requirement(instrument, backed, mark) / ratio - balance

    if instrument.rules.close_fee is not CloseFee.BANKRUPTCY:
        return missing(ZERO)
    some = value(instrument, position.quantity, position.entry_price) / 2
    at_none, at_some = missing(ZERO), missing(some)
    bare = replace(position, isolated_margin=Money(ZERO))
    plain = maintenance_margin(instrument, bare, mark) / ratio
    return max(
        some * at_none / (at_none - at_some), plain - margin_balance(instrument, bare, mark)
    )


def _cliffs(
    instrument: Instrument, position: Position, low: Price, high: Price
) -> Iterator[Price]:
    """Prices just short of a border between two prices, where the requirement jumps."""
    rules = instrument.rules
    by_value = rules.tier_measure is TierMeasure.VALUE and (
        rules.maintenance_at is MaintenanceAt.MARK
    )
    if not by_value or tiers_are_continuous(instrument):
        return
    for tier in instrument.tiers:
        if tier.cap.is_finite():
            at = tier.cap / value(instrument, position.quantity, high)
            border = high * (at if instrument.kind is ContractKind.LINEAR else ONE / at)
            for beside in (border.next_plus(), border.next_minus()):
                if min(low, high) < beside < max(low, high):
                    yield Price(beside)


def _bankrupt_from(
    instrument: Instrument, position: Position, left_of: Callable[[Decimal], Position]
) -> set[Decimal]:
    """The close at which bankruptcy vanishes, or appears, and a fee that is charged there."""
    if instrument.rules.close_fee is not CloseFee.BANKRUPTCY:
        return set()

    def at_stake(closed: Decimal) -> Decimal:
        left = left_of(closed)
        entry_value = value(instrument, left.quantity, left.entry_price)
        return direction_of(instrument, left) * entry_value - left.isolated_margin

    at_none, at_all = at_stake(ZERO), at_stake(position.quantity)
    if at_none == at_all:
        return set()
    return {position.quantity * at_none / (at_none - at_all)}


def _left_over(book: Book, to: Target) -> Decimal:
    """What is spare at the target."""
    match to:
        case AtRatio(ratio):
            return ratio * equity(book) - total_requirement(book)
        case distance:
            return spare(book, distance)


def _is_at(book: Book, to: Target) -> bool:
    """Whether nothing is liquidated on the way to the target, within the last digits."""
    match to, joint_liquidation(book):
        case AtRatio(ratio), _:
            return ratio * equity(book) >= total_requirement(book)
        case _, NoLiquidation():
            return True
        case distance, LiquidatesAfter(shock):
            return shock >= distance * LAST_DIGITS
    raise AssertionError("every pair is handled above")


@dataclass(frozen=True, slots=True)
class _Cut:
    """Legs that are closed by the same quantity, `most` at most."""

    legs: tuple[Leg, ...]
    most: Quantity


def _cuts(ranked: tuple[Leg, ...]) -> Iterator[_Cut]:
    """
    All that could be closed, in order: lone legs and the excess of pairs, then the pairs whole.

    Of a pair whose larger leg gains in the shock the excess is what helps, so it comes last.
    """
    pairs, gaining = [], []
    for leg in ranked:
        position = leg.position
        against = [
            other
            for other in ranked
            if other.position.symbol == position.symbol and other is not leg
        ]
        if not against:
            yield _Cut((leg,), position.quantity)
        for other in against:
            excess = Quantity(position.quantity - other.position.quantity)
            if excess > ZERO:
                cut = _Cut((leg,), excess)
                if leg.beta >= ZERO:
                    yield cut
                else:
                    gaining.append(cut)
            if excess > ZERO or (excess == ZERO and position.side is Side.LONG):
                pairs.append(_Cut((leg, other), other.position.quantity))
    yield from (*pairs, *gaining)


def _after_cut(
    book: Book, cut: _Cut, quantity: Decimal, fills: Mapping[PositionKey, Price]
) -> Book:
    for leg in cut.legs:
        book = book.after_close(leg.position.key, quantity, fills[leg.position.key])
    return book


def _with_cut(
    closed: Mapping[PositionKey, Decimal], cut: _Cut, quantity: Decimal
) -> tuple[LegClose, ...]:
    """What has been closed before, and the cut: each leg once."""
    total = dict(closed)
    for leg in cut.legs:
        key = leg.position.key
        total[key] = total.get(key, ZERO) + quantity
    return tuple(LegClose(key, Quantity(each)) for key, each in total.items())


def _least_cut(book: Book, cut: _Cut, fills: Mapping[PositionKey, Price], to: Target) -> Quantity:
    """The least of `cut` that brings the book to the target; all of it is enough."""
    legs = [book.leg_of(leg.position.key) for leg in cut.legs]
    if not isinstance(to, AtRatio) and any(to >= priced_until(leg) for leg in legs):
        return cut.most  # whatever is left of it owes without end there

    def to_spare(closed: Decimal) -> Decimal:
        return _left_over(_after_cut(book, cut, closed, fills), to)

    bends: set[Decimal] = set()
    for leg in legs:
        at = leg.mark_price if isinstance(to, AtRatio) else leg.price_after(to)
        sizes = _border_sizes(leg.instrument, at, leg.position.entry_price)
        bends |= {whole - size for size in sizes for whole in (leg.position.quantity, cut.most)}
    instrument = legs[0].instrument
    found = _least_of(instrument, cut.most, to_spare, bends)
    return cut.most if isinstance(found, AlreadyThere | CannotReach) else found


def _border_sizes(instrument: Instrument, at: Price, entry: Price) -> set[Decimal]:
    """The quantities at which a position, valued at `at` or at its `entry`, changes its tier."""
    caps = (tier.cap for tier in instrument.tiers if tier.cap.is_finite())
    if instrument.rules.tier_measure is TierMeasure.QUANTITY:
        return set(caps)
    valued = at if instrument.rules.maintenance_at is MaintenanceAt.MARK else entry
    if valued <= ZERO:
        return set()
    if instrument.kind is ContractKind.LINEAR:
        return {cap / valued for cap in caps}
    return {cap * valued for cap in caps}


def _least_close(
    instrument: Instrument,
    position: Position,
    to_spare: Callable[[Decimal], Decimal],
    at: Price,
    bends: set[Decimal],
) -> Quantity | AlreadyThere | CannotReach:
    """
    The least quantity where `to_spare` is not below 0.

    It is linear between `bends` and where the rest, valued `at` that price, changes its tier.
    """
    sizes = _border_sizes(instrument, at, position.entry_price)
    bends = bends | {position.quantity - size for size in sizes}
    return _least_of(instrument, position.quantity, to_spare, bends)


def _least_of(
    instrument: Instrument,
    whole: Quantity,
    to_spare: Callable[[Decimal], Decimal],
    bends: set[Decimal],
) -> Quantity | AlreadyThere | CannotReach:
    """The least of `whole` where `to_spare`, linear between `bends`, is not below 0."""
    if to_spare(ZERO) >= ZERO:
        return AlreadyThere("the target is reached already")
    inside = sorted(bend for bend in bends if ZERO < bend < whole)
    least = first_root(to_spare, [ZERO, *inside, whole])
    if least == NEVER or least >= whole:
        return CannotReach("only closing the whole position would do")
    closed = ceil_to(least, instrument.quantity_step)
    if to_spare(closed) < ZERO:
        closed += instrument.quantity_step  # the root was rounded down
    # Where a lower tier is reached within the step, closing more may cost more than it helps.
    if closed < whole and to_spare(closed) < ZERO:
        return CannotReach("only closing the whole position would do")
    return _leaving_enough(instrument, whole, min(closed, whole))


def _leaving_enough(instrument: Instrument, whole: Quantity, closed: Decimal) -> Quantity:
    """`closed`, at least the venue's minimum; everything where less than that would remain."""
    closed = max(closed, instrument.quantity_min)
    return whole if whole - closed < instrument.quantity_min else Quantity(closed)
