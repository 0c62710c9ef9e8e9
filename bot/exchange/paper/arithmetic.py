"""
The paper exchange's own arithmetic of one linear position under risk tiers.

With s = +1 for a long and -1 for a short, q the quantity, E the entry price, B the margin that
backs it and p the mark price, a position is liquidated as soon as

    B + s q (p - E)  <=  n rate - deduction + q p close_fee

where the notional n is q p or, on venues that value maintenance at entry, q E, and the close fee
counts only where the venue's rules say so. Source: the formulas the venues publish (Binance,
Gate, Bybit, Bitunix). Written apart from the guard's arithmetic on purpose: it judges it.

Amounts of money are multiples of `MONEY_STEP`, so that sums and differences are exact.
"""

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from itertools import pairwise

from bot.core.model import (
    CloseFee,
    ContractKind,
    Instrument,
    MaintenanceAt,
    RiskTier,
    Side,
    TierMeasure,
)
from bot.core.units import ONE, ZERO, Money, Price, Quantity, Ratio, ceil_to, floor_to

MONEY_STEP = Decimal("0.00000001")
"""The smallest amount of money the paper exchange keeps books of."""


def money_down(amount: Decimal) -> Money:
    """`amount` rounded towards minus infinity: what an account receives."""
    return Money(amount.quantize(MONEY_STEP, ROUND_FLOOR))


def money_up(amount: Decimal) -> Money:
    """`amount` rounded towards plus infinity: what an account pays."""
    return Money(amount.quantize(MONEY_STEP, ROUND_CEILING))


def on_step(value: Decimal, step: Decimal) -> bool:
    """Whether `value` is a multiple of `step`."""
    return value % step == ZERO


def profit(side: Side, quantity: Quantity, entry_price: Price, price: Price) -> Money:
    """s q (price - entry), rounded down."""
    return money_down(side.sign * quantity * (price - entry_price))


def funding_payment(side: Side, quantity: Quantity, mark: Price, rate: Ratio) -> Money:
    """
    s q mark rate, rounded up: what a holder pays, negative for what it gets.

    Source: Binance, OKX, Bybit: position value at the mark price times the rate, long to short.
    """
    return money_up(side.sign * quantity * mark * rate)


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


def tier_of(instrument: Instrument, notional: Decimal) -> RiskTier:
    """The tier with `floor` < `notional` <= `cap`."""
    return next(tier for tier in instrument.tiers if notional <= tier.cap)


def close_fee(instrument: Instrument) -> Decimal:
    """The share of its value that closing adds to a position's requirement."""
    return instrument.taker_fee if instrument.rules.close_fee is CloseFee.MARK else ZERO


def liquidation_price(
    instrument: Instrument, side: Side, quantity: Quantity, entry_price: Price, margin: Money
) -> Decimal:
    """
    The mark price at which the position is liquidated, unrounded.

    Zero or negative for a long whose margin covers its whole entry value: no price reaches it.
    """
    sign, fee = side.sign, close_fee(instrument)
    entry_notional = quantity * entry_price
    owned = margin - sign * entry_notional
    match instrument.rules.maintenance_at:
        case MaintenanceAt.MARK:
            tier = _liquidation_tier(instrument, sign, owned, fee)
            return (owned + tier.deduction) / (tier.rate + fee - sign) / quantity
        case MaintenanceAt.ENTRY:
            tier = tier_of(instrument, entry_notional)
            maintenance = entry_notional * tier.rate - tier.deduction
            return (owned - maintenance) / (fee - sign) / quantity


def reported_price(instrument: Instrument, side: Side, price: Decimal) -> Price:
    """`price` to the tick, rounded against the holder: up for a long, down for a short."""
    match side:
        case Side.LONG:
            return Price(ceil_to(price, instrument.tick_size))
        case Side.SHORT:
            return Price(floor_to(price, instrument.tick_size))


def bankruptcy_price(side: Side, quantity: Quantity, entry_price: Price, margin: Money) -> Price:
    """Where the loss equals the margin: E - s B / q. Negative for an over-covered long."""
    return Price(entry_price - side.sign * margin / quantity)


def check_listing(instrument: Instrument) -> None:
    """
    Raise `ValueError` for an instrument that this exchange cannot judge.

    The tiers must make the requirement a continuous function of the notional that grows more
    slowly than the position earns; then each position has exactly one liquidation price.
    """
    tiers, fee = instrument.tiers, close_fee(instrument)
    if instrument.kind is not ContractKind.LINEAR:
        raise ValueError(f"{instrument.symbol}: expected a linear contract, was {instrument.kind}")
    _check_rules(instrument)
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
        if high.deduction != deduction:
            raise ValueError(f"{where}: expected deduction {deduction}, was {high.deduction}")


def _check_rules(instrument: Instrument) -> None:
    if instrument.rules.close_fee is CloseFee.BANKRUPTCY:
        raise ValueError(f"{instrument.symbol}: expected no close fee or one at mark")
    if instrument.rules.tier_measure is not TierMeasure.VALUE:
        raise ValueError(f"{instrument.symbol}: expected tiers by value")


def _liquidation_tier(instrument: Instrument, sign: int, owned: Decimal, fee: Decimal) -> RiskTier:
    """
    The tier in which balance and requirement at mark meet.

    s (balance - requirement) grows with the notional, so it is the first tier at whose cap that
    is not negative. Decided without a division: a root on a border is in exactly one tier.
    """
    for tier in instrument.tiers[:-1]:
        spare = owned + tier.deduction - tier.cap * (tier.rate + fee - sign)
        if sign * spare >= ZERO:
            return tier
    return instrument.tiers[-1]
