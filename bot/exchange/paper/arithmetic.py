"""
The paper exchange's own arithmetic of one position under risk tiers.

Everything is reckoned in what a position is worth in the settle currency: v = q p at the price p
for a linear contract, v = q / p for an inverse one, whose quantity q is its face in the quote
currency. With s = +1 for a long and -1 for a short, d = s for a linear and -s for an inverse
contract (whose worth falls while the price rises), V the worth at entry and B the margin that
backs it, a position is liquidated as soon as

    B + d (v - V)  <=  n rate - deduction + closing

where the notional n is v or, on venues that value maintenance at entry, V. Rate and deduction
are those of the tier that n, or on some venues q, falls in. Closing is what the venue's rules
add for the taker fee: nothing, its share of v, or its share of the worth at bankruptcy. Source:
the formulas the venues publish (Binance, Gate, Bybit, Bitunix, OKX). Written apart from the
guard's arithmetic on purpose: it judges it.

Amounts of money are multiples of `MONEY_STEP`, so that sums and differences are exact.
"""

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from itertools import pairwise

from bot.core.model import (
    CloseFee,
    ContractKind,
    Instrument,
    LiquidationRounding,
    MaintenanceAt,
    RiskTier,
    Side,
    TierMeasure,
)
from bot.core.units import ONE, ZERO, Money, Price, Quantity, Ratio, ceil_to, floor_to

MONEY_STEP = Decimal("0.00000001")
"""The smallest amount of money the paper exchange keeps books of."""


_DIGITS = 27
"""So many digits a quotient has at most, one fewer than the arithmetic's."""


def money_down(amount: Decimal) -> Money:
    """`amount` rounded towards minus infinity: what an account receives."""
    return Money(amount.quantize(MONEY_STEP, ROUND_FLOOR))


def money_up(amount: Decimal) -> Money:
    """`amount` rounded towards plus infinity: what an account pays."""
    return Money(amount.quantize(MONEY_STEP, ROUND_CEILING))


def on_step(value: Decimal, step: Decimal) -> bool:
    """
    Whether `value` is a multiple of `step`.

    A number of more steps than can be told apart is of none.
    """
    return abs(value) < step.scaleb(_DIGITS) and value % step == ZERO


def value(instrument: Instrument, quantity: Quantity, price: Decimal) -> Decimal:
    """What `quantity` is worth at `price`, in the settle currency."""
    match instrument.kind:
        case ContractKind.LINEAR:
            return quantity * price
        case ContractKind.INVERSE:
            return quantity / price


def direction(instrument: Instrument, side: Side) -> int:
    """+1 where a position gains while its worth in the settle currency grows, else -1."""
    match instrument.kind:
        case ContractKind.LINEAR:
            return side.sign
        case ContractKind.INVERSE:
            return -side.sign


def gain(
    instrument: Instrument, side: Side, quantity: Quantity, entry_price: Price, price: Decimal
) -> Decimal:
    """d (v - V), not rounded."""
    worth, paid = value(instrument, quantity, price), value(instrument, quantity, entry_price)
    return direction(instrument, side) * (worth - paid)


def profit(
    instrument: Instrument, side: Side, quantity: Quantity, entry_price: Price, price: Decimal
) -> Money:
    """d (v - V), rounded down."""
    return money_down(gain(instrument, side, quantity, entry_price, price))


def funding_payment(
    instrument: Instrument, side: Side, quantity: Quantity, mark: Price, rate: Ratio
) -> Money:
    """
    s v rate at mark, rounded up: what a holder pays, negative for what it gets.

    Source: Binance, OKX, Bybit, Bitget: position value at the mark price times the rate, long to
    short; of an inverse contract in its coin.
    """
    return money_up(side.sign * value(instrument, quantity, mark) * rate)


def fill_price(instrument: Instrument, side: Side, price: Decimal) -> Price:
    """
    `price` to the tick, rounded against the one who closes a `side` position.

    Down for the sale that closes a long, up for the purchase that closes a short.
    """
    match side:
        case Side.LONG:
            return Price(floor_to(price, instrument.tick_size))
        case Side.SHORT:
            return Price(ceil_to(price, instrument.tick_size))


def tier_of(instrument: Instrument, measure: Decimal) -> RiskTier:
    """The tier with `floor` < `measure` <= `cap`: of a notional, or of a quantity."""
    return next(tier for tier in instrument.tiers if measure <= tier.cap)


def tier_held(
    instrument: Instrument, quantity: Quantity, entry_price: Price, mark: Decimal
) -> RiskTier:
    """The tier that a position falls in when the mark price is `mark`."""
    rules = instrument.rules
    match rules.tier_measure:
        case TierMeasure.QUANTITY:
            return tier_of(instrument, quantity)
        case TierMeasure.VALUE:
            at = mark if rules.maintenance_at is MaintenanceAt.MARK else entry_price
            return tier_of(instrument, value(instrument, quantity, at))


def is_tier_fixed(instrument: Instrument) -> bool:
    """Whether no mark price moves a position from one tier to another."""
    rules = instrument.rules
    return (
        rules.tier_measure is TierMeasure.QUANTITY or rules.maintenance_at is MaintenanceAt.ENTRY
    )


@dataclass(frozen=True, slots=True)
class Terms:
    """
    What a position needs while its tier stays: `rate` of its worth at mark, and `constant`.

    `rate` has the close fee in it where that is taken at mark.
    """

    rate: Decimal
    constant: Decimal


def terms_in(
    instrument: Instrument,
    tier: RiskTier,
    side: Side,
    quantity: Quantity,
    entry_price: Price,
    margin: Decimal,
) -> Terms:
    """
    The requirement of a position within `tier`.

    `margin` is what its bankruptcy is reckoned from, on venues that take the close fee there.
    """
    paid = value(instrument, quantity, entry_price)
    match instrument.rules.close_fee:
        case CloseFee.NONE:
            share, constant = ZERO, ZERO
        case CloseFee.MARK:
            share, constant = instrument.taker_fee, ZERO
        case CloseFee.BANKRUPTCY:
            way = direction(instrument, side)
            worth = max(ZERO, (margin - way * paid) / (instrument.taker_fee - way))
            share, constant = ZERO, worth * instrument.taker_fee
    match instrument.rules.maintenance_at:
        case MaintenanceAt.MARK:
            return Terms(tier.rate + share, constant - tier.deduction)
        case MaintenanceAt.ENTRY:
            return Terms(share, constant + paid * tier.rate - tier.deduction)


def liquidation_price(
    instrument: Instrument, side: Side, quantity: Quantity, entry_price: Price, margin: Money
) -> Decimal:
    """
    The mark price at which the position is liquidated, unrounded.

    Where no price reaches it: not above zero for a long whose margin covers all that it paid,
    infinite for a short (of an inverse contract) whose margin does.
    """
    return liquidation_price_of(
        instrument, side, quantity, entry_price, margin=margin, backing=margin
    )


def liquidation_price_of(
    instrument: Instrument,
    side: Side,
    quantity: Quantity,
    entry_price: Price,
    *,
    margin: Decimal,
    backing: Decimal,
) -> Decimal:
    """The same for a position with the margin of one and the backing of more, as in cross."""
    way = direction(instrument, side)
    owned = backing - way * value(instrument, quantity, entry_price)
    tiers = instrument.tiers
    if is_tier_fixed(instrument):
        tiers = (tier_held(instrument, quantity, entry_price, entry_price),)
    for tier in tiers:
        needed = terms_in(instrument, tier, side, quantity, entry_price, margin)
        # d (balance - requirement) grows with the worth, so they meet in the first tier at whose
        # cap that is not negative. Told without a division: a root on a border is in one tier.
        if (
            tier is tiers[-1]
            or way * (owned - needed.constant - tier.cap * (needed.rate - way)) >= ZERO
        ):
            break
    return price_at(instrument, quantity, (owned - needed.constant) / (needed.rate - way))


def price_at(instrument: Instrument, quantity: Quantity, worth: Decimal) -> Decimal:
    """The price at which `quantity` is worth that much; infinite where no price is so high."""
    match instrument.kind:
        case ContractKind.LINEAR:
            return worth / quantity
        case ContractKind.INVERSE:
            return quantity / worth if worth > ZERO else Decimal("Infinity")


def reported_price(instrument: Instrument, side: Side, price: Decimal) -> Price:
    """
    The liquidation price `price` as the venue shows it.

    To the tick that the mark reaches first (up for a long, down for a short) where its rules
    do not say otherwise: this exchange never shows more digits than a tick.
    """
    tick = instrument.tick_size
    towards, away = (ceil_to, floor_to) if side is Side.LONG else (floor_to, ceil_to)
    match instrument.rules.liquidation_rounding:
        case LiquidationRounding.NONE | LiquidationRounding.TOWARDS_MARK:
            return Price(towards(price, tick))
        case LiquidationRounding.AWAY_FROM_MARK:
            return Price(away(price, tick))
        case LiquidationRounding.ONE_TICK_EARLY:
            return Price(towards(price, tick) + side.sign * tick)


def bankruptcy_price(
    instrument: Instrument, side: Side, quantity: Quantity, entry_price: Price, margin: Money
) -> Decimal:
    """
    Where the loss equals the margin, unrounded: d (v - V) = -B.

    Fees of closing are not in it. Not above zero for a long, infinite for a short that is
    covered beyond all that it paid.
    """
    paid = value(instrument, quantity, entry_price)
    return price_at(instrument, quantity, paid - direction(instrument, side) * margin)


def check_listing(instrument: Instrument) -> None:
    """
    Raise `ValueError` for an instrument that this exchange cannot judge.

    The requirement must grow more slowly than the position earns and, where a price can move a
    position from tier to tier, without a jump; then each position has one liquidation price.
    """
    tiers = instrument.tiers
    fee = ZERO if instrument.rules.close_fee is CloseFee.NONE else instrument.taker_fee
    if not tiers or tiers[0].floor != ZERO or tiers[0].deduction != ZERO:
        raise ValueError(f"{instrument.symbol}: expected a first tier from 0 without deduction")
    if tiers[-1].cap != Decimal("Infinity"):
        raise ValueError(f"{instrument.symbol}: expected a last tier without cap")
    for tier in tiers:
        if not ZERO <= tier.rate + fee < ONE:
            raise ValueError(
                f"{instrument.symbol}: tier from {tier.floor}: "
                f"expected rate and close fee from 0 to below 1, was {tier.rate + fee}"
            )
    for low, high in pairwise(tiers):
        where = f"{instrument.symbol}: tier from {high.floor}"
        if high.floor != low.cap or high.floor >= high.cap:
            raise ValueError(f"{where}: expected to reach up from {low.cap}, was to {high.cap}")
        deduction = low.deduction + low.cap * (high.rate - low.rate)
        if high.deduction != deduction and not is_tier_fixed(instrument):
            raise ValueError(f"{where}: expected deduction {deduction}, was {high.deduction}")
