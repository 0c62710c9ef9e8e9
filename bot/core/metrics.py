"""
Metrics: how near a position is to liquidation, or why nobody can say.

Missing and old data are Unknown: never safe, never flat.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias

from bot.core.margin import (
    LiquidatesAt,
    Liquidation,
    NoLiquidation,
    liquidation,
    liquidation_distance,
    margin_balance,
    requirement,
    tiers_are_continuous,
)
from bot.core.model import (
    ContractKind,
    Instrument,
    MarginMode,
    NotReported,
    Position,
    PositionMode,
    Reported,
    Side,
)
from bot.core.state import AccountRead, AccountState, NotRead
from bot.core.units import ONE, ZERO, Money, Price, Ratio

POSITION_AGE_MAX_MS = 60_000
"""Oldest read of a position that a stop or a close may rest on."""

DISAGREEMENT_MAX = Decimal("0.001")
"""Venue and guard may differ on a liquidation price by this share, or by two ticks."""


@dataclass(frozen=True, slots=True)
class Known:
    """
    A position measured on fresh data.

    `breached`: the mark is at or past liquidation, or nothing is left of the margin balance.
    `disputed`: the venue's liquidation price and ours differ; the nearer one counts.
    """

    mark_price: Price
    liquidation: Liquidation
    liquidation_distance: Ratio
    margin_balance: Money
    maintenance_margin: Money
    margin_ratio: Ratio
    breached: bool
    disputed: bool


@dataclass(frozen=True, slots=True)
class Unknown:
    """The position cannot be measured, why, and since when that is so."""

    reason: str
    since_ms: int


Measured: TypeAlias = Known | Unknown


@dataclass(frozen=True, slots=True)
class Supported:
    """The guard's arithmetic covers the position."""


@dataclass(frozen=True, slots=True)
class NotSupported:
    """The guard cannot judge the position, and why."""

    reason: str


def support(
    instrument: Instrument, position: Position, mode: PositionMode
) -> Supported | NotSupported:
    """Whether this version can guard `position`; asked at start and at every measurement."""
    if position.margin_mode is not MarginMode.ISOLATED:
        return NotSupported(f"{position.symbol}: cross margin is not supported yet")
    if mode is not PositionMode.ONE_WAY:
        return NotSupported(f"{position.symbol}: hedge mode is not supported yet")
    if instrument.kind is not ContractKind.LINEAR:
        return NotSupported(f"{position.symbol}: inverse contracts are not supported yet")
    if not tiers_are_continuous(instrument):
        return NotSupported(f"{position.symbol}: its risk tiers have jumps, not supported yet")
    return Supported()


def measure(
    state: AccountState, position: Position, now_ms: int, data_age_max_ms: int
) -> Measured:
    """Measure one position at `now_ms`; a mark older than `data_age_max_ms` is no mark."""
    mark = state.marks.get(position.symbol)
    instrument = state.instruments.by_symbol.get(position.symbol)
    if mark is None:
        return Unknown("no mark price has arrived", now_ms)
    if instrument is None:
        return Unknown("the venue's rules for the symbol have not been read", now_ms)
    stale_at_ms = mark.received_at_ms + data_age_max_ms
    if now_ms > stale_at_ms:
        return Unknown(f"the mark price is older than {data_age_max_ms} ms", stale_at_ms)
    match state.account:
        case NotRead():
            return Unknown("the account has not been read", now_ms)
        case AccountRead(received_at_ms=at_ms) if now_ms - at_ms > POSITION_AGE_MAX_MS:
            reason = f"the account read is older than {POSITION_AGE_MAX_MS} ms"
            return Unknown(reason, at_ms + POSITION_AGE_MAX_MS)
        case AccountRead(snapshot=snapshot):
            match support(instrument, position, snapshot.position_mode):
                case NotSupported(reason):
                    return Unknown(reason, now_ms)
                case Supported():
                    return _known(instrument, position, mark.price)


def settle_liquidation(instrument: Instrument, position: Position) -> tuple[Liquidation, bool]:
    """The nearer of the venue's and our own liquidation price, and whether they disagree."""
    ours = liquidation(instrument, position)
    match position.liquidation, ours:
        case NotReported(), _:
            return ours, False
        case Reported(theirs), LiquidatesAt(price):
            nearer = max(theirs, price) if position.side is Side.LONG else min(theirs, price)
            allowed = max(2 * instrument.tick_size, price * DISAGREEMENT_MAX)
            return LiquidatesAt(nearer), abs(theirs - price) > allowed
        case Reported(theirs), NoLiquidation():
            return LiquidatesAt(theirs), True
    raise AssertionError("every pair of reports is handled above")


def _known(instrument: Instrument, position: Position, mark: Price) -> Known:
    settled, disputed = settle_liquidation(instrument, position)
    match settled:
        case LiquidatesAt(price):
            distance = liquidation_distance(position, mark, price)
        case NoLiquidation():
            distance = Ratio(ONE)  # a long survives a fall by all of its value
    balance = margin_balance(position, mark)
    needed = requirement(instrument, position, mark)
    return Known(
        mark_price=mark,
        liquidation=settled,
        liquidation_distance=distance,
        margin_balance=balance,
        maintenance_margin=needed,
        margin_ratio=Ratio(needed / balance) if balance > ZERO else Ratio(Decimal("Infinity")),
        breached=distance <= ZERO or balance <= ZERO,
        disputed=disputed,
    )
