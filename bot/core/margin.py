"""
Margin arithmetic of one position under risk tiers, linear or inverse.

With s = +1 for a long and -1 for a short, q the quantity, E the entry price, B the margin that
backs the position and p the mark price:

    value(p)               = q p (linear), q / p (inverse: q is the face value)
    profit(p)              = d (value(p) - value(E)), d = s (linear), -s (inverse)
    margin balance(p)      = B + profit(p)
    maintenance margin(p)  = value rate - deduction, value at p or, on some venues, at E
    requirement(p)         = maintenance margin + close fee, where the venue adds it

all in the settle currency. The exchange liquidates where margin balance <= requirement. In the
value v that is one equation for both kinds, linear in every tier:

    B + d (v - value(E)) = v (rate + fee) - deduction

Source: the venues' published formulas (Binance "liquidation price of USD-M and COIN-M futures",
Gate, OKX, Bybit, KuCoin, Bitunix, Kraken), which this one equation reproduces;
`tests/core/liquidation_cases.py` holds their printed numbers.
"""

from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import TypeAlias

from bot.core.kept import kept
from bot.core.model import (
    CloseFee,
    ContractKind,
    Instrument,
    LiquidationRounding,
    MaintenanceAt,
    MarginMode,
    Position,
    RiskTier,
    Side,
    TierMeasure,
)
from bot.core.units import ONE, ZERO, Money, Price, Ratio, ceil_to, floor_to

ENDLESS = Decimal("Infinity")


@dataclass(frozen=True, slots=True)
class LiquidatesAt:
    """The exchange liquidates when the mark price reaches `price`."""

    price: Price


@dataclass(frozen=True, slots=True)
class LiquidatesTogether:
    """
    A cross position: liquidated when all cross positions of the account have moved together.

    Its own mark price is then at `price`. It moves by `per_distance` while the joint distance
    shrinks by one: its present mark price times its beta.
    """

    price: Price
    per_distance: Decimal


@dataclass(frozen=True, slots=True)
class NoLiquidation:
    """No mark price liquidates the position, and why that is so."""

    proof: str


Liquidation: TypeAlias = LiquidatesAt | LiquidatesTogether | NoLiquidation

COVERED = NoLiquidation("the margin covers the whole entry value and the maintenance margin")


def value(instrument: Instrument, quantity: Decimal, price: Decimal) -> Money:
    """What `quantity` is worth at `price`, in the settle currency."""
    if instrument.kind is ContractKind.LINEAR:
        return Money(quantity * price)
    return Money(quantity / price)


def profit(
    instrument: Instrument, side: Side, quantity: Decimal, entry: Decimal, price: Decimal
) -> Money:
    """What a position from `entry` gains by `price`, in the settle currency."""
    if instrument.kind is ContractKind.LINEAR:
        return Money(side.sign * quantity * (price - entry))
    return Money(side.sign * (quantity / entry - quantity / price))


def tier_of(instrument: Instrument, measure: Decimal) -> RiskTier:
    """The tier that a position of size `measure` falls in; the last one is open-ended."""
    return next((tier for tier in instrument.tiers if measure <= tier.cap), instrument.tiers[-1])


@kept(most=1_024)
def tiers_are_continuous(instrument: Instrument) -> bool:
    """Whether the maintenance margin is a continuous, rising function of the size."""
    tiers = instrument.tiers
    return (
        tiers[0].floor == ZERO
        and tiers[0].deduction == ZERO
        and not tiers[-1].cap.is_finite()
        and all(
            low.cap == high.floor
            and low.rate <= high.rate
            and low.cap * low.rate - low.deduction == high.floor * high.rate - high.deduction
            for low, high in pairwise(tiers)
        )
    )


def direction_of(instrument: Instrument, position: Position) -> int:
    """+1 where the position gains with its value, -1 where it loses."""
    sign = position.side.sign
    return sign if instrument.kind is ContractKind.LINEAR else -sign


def margin_balance(instrument: Instrument, position: Position, price: Price) -> Money:
    """Isolated margin plus unrealised profit at `price`."""
    return Money(position.isolated_margin + _profit_of(instrument, position, price))


def maintenance_margin(instrument: Instrument, position: Position, price: Price) -> Money:
    """What the tier of the position demands at the mark price `price`, without a close fee."""
    rules, quantity = instrument.rules, position.quantity
    at = price if rules.maintenance_at is MaintenanceAt.MARK else position.entry_price
    valued = value(instrument, quantity, at)
    tier = tier_of(instrument, valued if rules.tier_measure is TierMeasure.VALUE else quantity)
    return Money(valued * tier.rate - tier.deduction)


def requirement(instrument: Instrument, position: Position, price: Price) -> Money:
    """Margin balance at or below which the venue liquidates at the mark price `price`."""
    maintenance = maintenance_margin(instrument, position, price)
    match instrument.rules.close_fee:
        case CloseFee.NONE:
            return maintenance
        case CloseFee.MARK:
            fee = value(instrument, position.quantity, price) * instrument.taker_fee
        case CloseFee.BANKRUPTCY:
            fee = _fee_at_bankruptcy(instrument, position)
    return Money(maintenance + fee)


def liquidation(instrument: Instrument, position: Position) -> LiquidatesAt | NoLiquidation:
    """
    The first price where margin balance and requirement meet, for a mark that is still safe.

    A continuous table has exactly one such price, or none where the margin of a long (of an
    inverse short) covers its whole entry value. Where a table jumps there can be more, and the
    one is taken that a mark from the safe end reaches first; `liquidation_from` knows the mark.
    """
    safe_end = ENDLESS if direction_of(instrument, position) > 0 else ZERO
    return _liquidation(instrument, position, safe_end)


def liquidation_from(
    instrument: Instrument, position: Position, mark: Price
) -> LiquidatesAt | NoLiquidation:
    """
    The first price that liquidates, for a mark that goes against the position from `mark` on.

    Where it is liquidated at `mark` already: the nearest price back where it would not be, which
    is none for a balance that no price mends; then it is `mark`.
    """
    return _liquidation(instrument, position, value(instrument, position.quantity, mark))


def bankruptcy(instrument: Instrument, position: Position) -> LiquidatesAt | NoLiquidation:
    """
    The price at which nothing is left of the margin, the close fee paid where it counts there.

    Linear: (E - s B / q) / (1 - s fee); inverse: q (1 + s fee) / (q / E + s B). The fee is 0
    unless the venue charges it at bankruptcy.
    """
    spent, gradient = _bankruptcy_value(instrument, position)
    if spent * gradient <= ZERO:
        return COVERED
    return LiquidatesAt(_price_of(instrument, position, spent, gradient))


def as_shown(instrument: Instrument, position: Position, price: Price) -> Price:
    """A liquidation price as the venue shows it: rounded by its rule."""
    tick, sign = instrument.tick_size, position.side.sign
    match instrument.rules.liquidation_rounding:
        case LiquidationRounding.NONE:
            return price
        case LiquidationRounding.TOWARDS_MARK:
            return Price((ceil_to if sign > 0 else floor_to)(price, tick))
        case LiquidationRounding.AWAY_FROM_MARK:
            return Price((floor_to if sign > 0 else ceil_to)(price, tick))
        case LiquidationRounding.ONE_TICK_EARLY:
            isolated = position.margin_mode is MarginMode.ISOLATED
            return Price(price + sign * tick) if isolated else price


def liquidation_distance(position: Position, mark: Price, price: Price) -> Ratio:
    """s (mark - liquidation) / mark: how far the mark may go against the position; signed."""
    return Ratio(position.side.sign * (mark - price) / mark)


def margin_at(instrument: Instrument, position: Position, price: Price) -> Money:
    """The isolated margin with which balance and requirement meet exactly at `price`."""
    needed = maintenance_margin(instrument, position, price) - _profit_of(
        instrument, position, price
    )
    match instrument.rules.close_fee:
        case CloseFee.NONE:
            return Money(needed)
        case CloseFee.MARK:
            fee = value(instrument, position.quantity, price) * instrument.taker_fee
            return Money(needed + fee)
        case CloseFee.BANKRUPTCY:
            # The fee depends on the margin: solved for it, as long as there is a bankruptcy.
            fee, entry = instrument.taker_fee, _entry_value(instrument, position)
            charged = needed * (ONE - direction_of(instrument, position) * fee) + fee * entry
            return Money(max(needed, charged))


def funding_payment(instrument: Instrument, position: Position, mark: Price, rate: Ratio) -> Money:
    """What a settlement at `rate` charges the position; negative where the position is paid."""
    return Money(position.side.sign * value(instrument, position.quantity, mark) * rate)


_Slice: TypeAlias = tuple[Decimal, Decimal, Decimal, Decimal]
"""Floor, cap, slope, constant: between the values the requirement is value * slope - constant."""


def _liquidation(
    instrument: Instrument, position: Position, start: Decimal
) -> LiquidatesAt | NoLiquidation:
    """As `liquidation_from`, for a mark at which the position has the value `start`."""
    direction = direction_of(instrument, position)
    owned = position.isolated_margin - direction * _entry_value(instrument, position)
    slices = _slices(instrument, position)
    is_safe = True  # an endless value is worth more than any requirement: every rate is below 1
    if start.is_finite():
        _, _, slope, constant = next(each for each in slices if start <= each[1])
        is_safe = owned + constant + start * (direction - slope) > ZERO
    spare, gradient = _first_meeting(slices, owned, direction, start, is_safe)
    if spare * gradient > ZERO:
        return LiquidatesAt(_price_of(instrument, position, spare, gradient))
    return COVERED if is_safe else LiquidatesAt(_price_of(instrument, position, start, ONE))


def _first_meeting(
    slices: tuple[_Slice, ...], owned: Decimal, direction: int, start: Decimal, is_safe: bool
) -> tuple[Decimal, Decimal]:
    """
    The first value from `start` on where balance and requirement meet, as a fraction.

    Zero where they never do.

    A safe position is followed into its loss, another one back into its gain. A jump of the
    requirement at a border counts as a meeting. Between borders the difference is linear, and
    the sign at both ends is asked before anything is divided: no rounding loses a root.
    """
    rises = (direction < 0) is is_safe
    for floor, cap, slope, constant in slices if rises else slices[::-1]:
        if cap < start if rises else floor > start:
            continue
        near, far = (max(start, floor), cap) if rises else (min(start, cap), floor)
        fixed, gradient = owned + constant, direction - slope
        if near.is_finite() and _meets(fixed + gradient * near, is_safe):
            return near, ONE
        if not far.is_finite() or _meets(fixed + gradient * far, is_safe):
            return -fixed, gradient
    return ZERO, ONE


def _meets(spare: Decimal, is_safe: bool) -> bool:
    return spare <= ZERO if is_safe else spare >= ZERO


def _slices(instrument: Instrument, position: Position) -> tuple[_Slice, ...]:
    """The requirement as a function of the value: one slice a tier, or one where none changes."""
    rules, quantity = instrument.rules, position.quantity
    slope, charged = ZERO, ZERO
    match rules.close_fee:
        case CloseFee.NONE:
            pass
        case CloseFee.MARK:
            slope = instrument.taker_fee
        case CloseFee.BANKRUPTCY:
            charged = _fee_at_bankruptcy(instrument, position)
    if rules.maintenance_at is MaintenanceAt.ENTRY:
        frozen = maintenance_margin(instrument, position, position.entry_price)
        return ((ZERO, ENDLESS, slope, -frozen - charged),)
    if rules.tier_measure is TierMeasure.QUANTITY:
        tier = tier_of(instrument, quantity)
        return ((ZERO, ENDLESS, tier.rate + slope, tier.deduction - charged),)
    *lower, last = instrument.tiers
    return (
        *((each.floor, each.cap, each.rate + slope, each.deduction - charged) for each in lower),
        (last.floor, ENDLESS, last.rate + slope, last.deduction - charged),
    )


def _fee_at_bankruptcy(instrument: Instrument, position: Position) -> Decimal:
    spent, gradient = _bankruptcy_value(instrument, position)
    return max(spent / gradient, ZERO) * instrument.taker_fee


def _bankruptcy_value(instrument: Instrument, position: Position) -> tuple[Decimal, Decimal]:
    """
    The value at bankruptcy as a fraction, not positive where there is none.

    A cross position has no margin of its own: there it is where the initial margin is gone.
    Source: Bybit, "fee to close" = q E (1 - s / leverage) taker fee.
    """
    direction, entry = direction_of(instrument, position), _entry_value(instrument, position)
    if position.margin_mode is MarginMode.CROSS:
        return entry * (position.leverage - direction), position.leverage
    charges = instrument.rules.close_fee is CloseFee.BANKRUPTCY
    fee = instrument.taker_fee if charges else ZERO
    return direction * entry - position.isolated_margin, direction - fee


def _entry_value(instrument: Instrument, position: Position) -> Decimal:
    return value(instrument, position.quantity, position.entry_price)


def _profit_of(instrument: Instrument, position: Position, price: Decimal) -> Decimal:
    return profit(instrument, position.side, position.quantity, position.entry_price, price)


def _price_of(instrument: Instrument, position: Position, worth: Decimal, parts: Decimal) -> Price:
    """The price at which the position has the value `worth` / `parts`: rounded only once."""
    if instrument.kind is ContractKind.LINEAR:
        return Price(worth / (position.quantity * parts))
    return Price(position.quantity * parts / worth if worth else ENDLESS)
