"""
Metrics: how near a position is to liquidation, or why nobody can say.

Missing and old data are Unknown: never safe, never flat. Cross positions are measured together:
each then carries the account's distance, balance and ratio, and its own price in that shock.
"""

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TypeAlias

from bot.core.cross import (
    Book,
    Leg,
    LiquidatesAfter,
    Pledge,
    equity,
    faced,
    joint_liquidation,
    total_requirement,
    turned_over,
)
from bot.core.events import MarkPrice
from bot.core.funding import Funding, FundingCost, FundingUnknown, bill_ahead, funding_cost
from bot.core.kept import kept
from bot.core.margin import (
    LiquidatesAt,
    LiquidatesTogether,
    Liquidation,
    NoLiquidation,
    liquidation,
    liquidation_distance,
    margin_balance,
    requirement,
    tiers_are_continuous,
    value,
)
from bot.core.model import (
    BAR_MS,
    AccountSnapshot,
    Collateral,
    ContractKind,
    Instrument,
    MarginMode,
    NotReported,
    Position,
    Reported,
    Side,
    TierMeasure,
)
from bot.core.policy import Policy, Stress
from bot.core.state import (
    DAY_MS,
    NEVER_MS,
    AccountRead,
    AccountState,
    NotRead,
    PositionMemory,
)
from bot.core.units import ONE, ZERO, Money, Price, Ratio, floor_to
from bot.core.volatility import NoVolatility, Volatility, log_distance, time_to_liquidation

POSITION_AGE_MAX_MS = 60_000
"""Oldest read of a position that a stop or a close may rest on."""

DISAGREEMENT_MAX = Decimal("0.001")
"""Venue and guard may differ on a liquidation price by this share, or by two ticks."""

BARS_AGE_MAX_MS = 2 * BAR_MS
"""So long after its end the newest bar of a symbol counts: one may be late, none may be missed."""

FINEST = Decimal("0.0001")
"""What is left in ATRs and sigmas is told to this part of one, rounded down."""

ENDLESS = Decimal("Infinity")


@dataclass(frozen=True, slots=True)
class TimeLeft:
    """After how many milliseconds one sigma and the funding have used up the distance."""

    ms: Decimal


@dataclass(frozen=True, slots=True)
class ByVolatility:
    """The liquidation distance as the market moves: endless where nothing liquidates."""

    atrs: Decimal
    sigmas: Decimal
    time: TimeLeft | FundingUnknown


@dataclass(frozen=True, slots=True)
class VolatilityUnknown:
    """Nobody knows how much the price moves by itself, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Known:
    """
    A position measured on fresh data, net of a funding bill that is just ahead.

    `breached`: the mark is at or past liquidation, or nothing is left of the margin balance.
    `disputed`: the venue's liquidation price and ours differ; the nearer one counts. Of a cross
    position distance, balance, requirement and ratio are those of all cross positions together.
    """

    mark_price: Price
    liquidation: Liquidation
    liquidation_distance: Ratio
    margin_balance: Money
    maintenance_margin: Money
    margin_ratio: Ratio
    breached: bool
    disputed: bool
    effective_leverage: Decimal
    break_even_distance: Ratio
    funding: Funding
    volatility: ByVolatility | VolatilityUnknown


@dataclass(frozen=True, slots=True)
class BookKnown:
    """All cross positions of the account, measured together on fresh data."""

    book: Book
    liquidation: LiquidatesAfter | NoLiquidation
    liquidation_distance: Ratio
    margin_balance: Money
    maintenance_margin: Money
    margin_ratio: Ratio
    effective_leverage: Decimal
    breached: bool


@dataclass(frozen=True, slots=True)
class Unknown:
    """The position cannot be measured, why, and since when that is so."""

    reason: str
    since_ms: int


Measured: TypeAlias = Known | Unknown
MeasuredBook: TypeAlias = BookKnown | Unknown


@dataclass(frozen=True, slots=True)
class Supported:
    """The guard's arithmetic covers the position."""


@dataclass(frozen=True, slots=True)
class NotSupported:
    """The guard cannot judge the position, and why."""

    reason: str


NO_BARS = VolatilityUnknown("no bars have been read")
OF_ALL_TOGETHER = VolatilityUnknown("cross positions are not measured by volatility")


@dataclass(frozen=True, slots=True)
class Facts:
    """What a measurement of one position rests on, all of it fresh."""

    instrument: Instrument
    mark_price: Price


def support(
    instrument: Instrument, position: Position, read: AccountSnapshot, policy: Policy
) -> Supported | NotSupported:
    """Whether this version can guard `position`; asked at start and at every measurement."""
    if read.position_mode is not policy.position_mode:
        return NotSupported(
            f"{position.symbol}: the account is in {read.position_mode} mode, the policy says "
            f"{policy.position_mode} (account.position_mode)"
        )
    against = [
        each
        for each in read.positions
        if each.symbol == position.symbol and each.key != position.key
    ]
    modes = {position.margin_mode, *(each.margin_mode for each in against)}
    if len(modes) > 1:
        return NotSupported(
            f"{position.symbol}: a cross position with an isolated one against it in its symbol "
            "is not supported"
        )
    if against and MarginMode.CROSS in modes and instrument.kind is ContractKind.INVERSE:
        return NotSupported(
            f"{position.symbol}: a cross long and short of one inverse contract are not supported "
            "yet"
        )
    if instrument.settle != policy.settle:
        return NotSupported(
            f"{position.symbol}: it pays in {instrument.settle}, the amounts of the policy are in "
            f"{policy.settle} (account.settle)"
        )
    by_value = instrument.rules.tier_measure is TierMeasure.VALUE
    if by_value and not tiers_are_continuous(instrument):
        return NotSupported(f"{position.symbol}: its risk tiers have jumps, not supported yet")
    return Supported()


def measure(state: AccountState, position: Position, now_ms: int, policy: Policy) -> Measured:
    """Measure one isolated position at `now_ms`; an old mark price is none."""
    match facts_of(state, position, now_ms, policy):
        case Unknown() as unknown:
            return unknown
        case Facts() as facts:
            return _known(state, position, facts, now_ms)


def measure_book(state: AccountState, now_ms: int, policy: Policy) -> MeasuredBook:
    """Measure all cross positions together; Unknown where one of them is."""
    legs = []
    positions = cross_positions(state)
    for garbled in state.garbled:
        if not any(key.symbol == garbled.symbol for key in state.carried):
            return Unknown(f"a position could not be read: {garbled.reason}", now_ms)
    for position in positions:
        match facts_of(state, position, now_ms, policy):
            case Unknown(reason, since_ms):
                return Unknown(f"{position.symbol}: {reason}", since_ms)
            case Facts(instrument, mark_price):
                beta = policy.stress.beta_of(position.symbol)
                legs.append(Leg(instrument, position, mark_price, beta))
    pledges = []
    for each in state.collateral:
        mark = state.marks.get(each.symbol)
        if mark is None:
            return Unknown(f"{each.coin}: no price of the collateral has arrived", now_ms)
        stale_at_ms = mark.received_at_ms + policy.guardrails.data_age_max_ms
        if now_ms > stale_at_ms:
            return Unknown(f"{each.coin}: the price of the collateral is old", stale_at_ms)
        pledges.append(_pledge(each, mark, policy.stress))
    bills = (bill_ahead(state, leg.position, leg.mark_price, now_ms) for leg in legs)
    wallet = Money(state.wallet_balance - sum(bills, ZERO))
    return measured_book(faced(Book(wallet, tuple(legs), tuple(pledges))))


def book_of(state: AccountState, stress: Stress, now_ms: int) -> Book | Unknown:
    """The cross positions at the newest marks, however old: what a stop may rest on."""
    legs = []
    for position in cross_positions(state):
        mark = state.marks.get(position.symbol)
        instrument = state.instruments.by_symbol.get(position.symbol)
        if mark is None or instrument is None:
            return Unknown(f"{position.symbol}: no mark price or no rules", now_ms)
        legs.append(Leg(instrument, position, mark.price, stress.beta_of(position.symbol)))
    pledges = []
    for each in state.collateral:
        price = state.marks.get(each.symbol)
        if price is None:
            return Unknown(f"{each.coin}: no price of the collateral", now_ms)
        pledges.append(_pledge(each, price, stress))
    return faced(Book(state.wallet_balance, tuple(legs), tuple(pledges)))


def _pledge(coin: Collateral, mark: MarkPrice, stress: Stress) -> Pledge:
    return Pledge(coin.symbol, coin.balance * coin.weight, mark.price, stress.beta_of(coin.symbol))


def cross_positions(state: AccountState) -> tuple[Position, ...]:
    """The open cross positions, in the order of their keys."""
    return _cross(state.positions)


@kept(most=64)
def _cross(positions: tuple[Position, ...]) -> tuple[Position, ...]:
    return tuple(
        sorted(
            (each for each in positions if each.margin_mode is MarginMode.CROSS),
            key=lambda each: (each.symbol, each.side),
        )
    )


@kept(most=8)
def measured_book(book: Book) -> BookKnown:
    """The joint distance and the ratio of a book."""
    reached = joint_liquidation(book)
    match reached:
        case LiquidatesAfter(shock):
            distance = shock
        case NoLiquidation():
            distance = Ratio(ONE)  # a fall by all of its value leaves something
    balance, needed = equity(book), total_requirement(book)
    return BookKnown(
        book=book,
        liquidation=reached,
        liquidation_distance=distance,
        margin_balance=balance,
        maintenance_margin=needed,
        margin_ratio=_ratio(needed, balance),
        effective_leverage=_ratio(notional(book), balance),
        breached=distance <= ZERO or balance <= ZERO,
    )


def leg_liquidation(known: BookKnown, leg: Leg) -> LiquidatesTogether | NoLiquidation:
    """Where the mark price of one leg is when the account is liquidated by a common shock."""
    match known.liquidation:
        case NoLiquidation() as none:
            return none
        case LiquidatesAfter(shock):
            price = leg.price_after(shock)
            if leg.beta <= ZERO or price <= ZERO:
                return NoLiquidation("the account is liquidated at no price of this symbol alone")
            return LiquidatesTogether(price, leg.mark_price * leg.beta)


def liquidation_against(known: BookKnown, leg: Leg) -> LiquidatesTogether | NoLiquidation:
    """
    As `leg_liquidation`, with the symbol of the leg moving against it whatever hurts the account.

    The other symbols move the way that hurts.
    """
    if leg.beta >= ZERO:
        return leg_liquidation(known, leg)
    book = turned_over(known.book, frozenset({leg.position.symbol}))
    return leg_liquidation(measured_book(book), book.leg_of(leg.position.key))


def leg_known(state: AccountState, known: BookKnown, leg: Leg, now_ms: int) -> Known:
    """What `known` of all cross positions means for one of them."""
    position, mark = leg.position, leg.mark_price
    memory = state.memory_of(position.key)
    return Known(
        mark_price=mark,
        liquidation=leg_liquidation(known, leg),
        liquidation_distance=known.liquidation_distance,
        margin_balance=known.margin_balance,
        maintenance_margin=known.maintenance_margin,
        margin_ratio=known.margin_ratio,
        breached=known.breached,
        disputed=False,
        effective_leverage=known.effective_leverage,
        break_even_distance=break_even_distance(leg.instrument, position, mark, memory),
        funding=funding_cost(state, position, mark, memory, now_ms),
        volatility=OF_ALL_TOGETHER,
    )


def facts_of(
    state: AccountState, position: Position, now_ms: int, policy: Policy
) -> Facts | Unknown:
    """The rules and the mark price of a position, if all that is known of it is fresh."""
    data_age_max_ms = policy.guardrails.data_age_max_ms
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
        case AccountRead() as read if (
            now_ms - (at_ms := read.seen_at_ms(position.key)) > POSITION_AGE_MAX_MS
        ):
            reason = f"the account read is older than {POSITION_AGE_MAX_MS} ms"
            return Unknown(reason, at_ms + POSITION_AGE_MAX_MS)
        case AccountRead(carried=carried) if position.key in carried:
            return Unknown(f"its row could not be read: {carried[position.key]}", now_ms)
        case AccountRead(snapshot=snapshot):
            match support(instrument, position, snapshot, policy):
                case NotSupported(reason):
                    return Unknown(reason, now_ms)
                case Supported():
                    return Facts(instrument, mark.price)


@kept(most=256)
def settle_liquidation(
    instrument: Instrument, position: Position
) -> tuple[LiquidatesAt | NoLiquidation, bool]:
    """The nearer of the venue's and our own liquidation price, and whether they disagree."""
    ours = liquidation(instrument, position)
    match position.liquidation, ours:
        case NotReported(), _:
            return ours, False
        case Reported(theirs), LiquidatesAt(price):
            allowed = max(2 * instrument.tick_size, price * DISAGREEMENT_MAX)
            return LiquidatesAt(_nearer(position, theirs, price)), abs(theirs - price) > allowed
        case Reported(theirs), NoLiquidation():
            return LiquidatesAt(theirs), True
    raise AssertionError("every pair of reports is handled above")


def after_bill(
    instrument: Instrument,
    position: Position,
    settled: LiquidatesAt | NoLiquidation,
    bill: Money,
) -> LiquidatesAt | NoLiquidation:
    """Where liquidation is once `bill` has been paid from the position's margin."""
    if bill == ZERO:
        return settled
    left = Money(position.isolated_margin - bill)
    billed = liquidation(instrument, replace(position, isolated_margin=left))
    match settled, billed:
        case LiquidatesAt(price), LiquidatesAt(nearer):
            return LiquidatesAt(_nearer(position, price, nearer))
        case _, LiquidatesAt():
            return billed
        case _:
            return settled


def _known(state: AccountState, position: Position, facts: Facts, now_ms: int) -> Known:
    instrument, mark = facts.instrument, facts.mark_price
    bill = bill_ahead(state, position, mark, now_ms)
    settled, disputed = settle_liquidation(instrument, position)
    settled = after_bill(instrument, position, settled, bill)
    match settled:
        case LiquidatesAt(price):
            distance = liquidation_distance(position, mark, price)
        case NoLiquidation():
            distance = Ratio(ONE)  # a long survives a fall by all of its value
    balance = Money(margin_balance(instrument, position, mark) - bill)
    needed = requirement(instrument, position, mark)
    memory = state.memory_of(position.key)
    funding = funding_cost(state, position, mark, memory, now_ms)
    return Known(
        mark_price=mark,
        liquidation=settled,
        liquidation_distance=distance,
        margin_balance=balance,
        maintenance_margin=needed,
        margin_ratio=_ratio(needed, balance),
        breached=distance <= ZERO or balance <= ZERO,
        disputed=disputed,
        effective_leverage=_ratio(value(instrument, position.quantity, mark), balance),
        break_even_distance=break_even_distance(instrument, position, mark, memory),
        funding=funding,
        volatility=_by_volatility(state, facts, position, settled, funding, now_ms),
    )


def bars_until_ms(state: AccountState, symbol: str) -> int:
    """Until when the newest bars of `symbol` count, if there are any."""
    swings = state.swings.get(symbol)
    return NEVER_MS if swings is None else swings.closed_at_ms + BARS_AGE_MAX_MS


def _by_volatility(
    state: AccountState,
    facts: Facts,
    position: Position,
    settled: LiquidatesAt | NoLiquidation,
    funding: Funding,
    now_ms: int,
) -> ByVolatility | VolatilityUnknown:
    match state.swings.get(position.symbol), settled:
        case None, _:
            return NO_BARS
        case NoVolatility(reason), _:
            return VolatilityUnknown(reason)
        case Volatility(), _ if now_ms > bars_until_ms(state, position.symbol):
            hours = BARS_AGE_MAX_MS // BAR_MS
            return VolatilityUnknown(f"the newest bar ended more than {hours} h ago")
        case Volatility(), NoLiquidation():
            return ByVolatility(ENDLESS, ENDLESS, TimeLeft(ENDLESS))
        case Volatility(atr, sigma_day), LiquidatesAt(price):
            mark = facts.mark_price
            away = log_distance(position.side, mark, price) if price > ZERO else ENDLESS
            return ByVolatility(
                atrs=floor_to(position.side.sign * (mark - price) / atr, FINEST),
                sigmas=floor_to(away / sigma_day, FINEST) if away.is_finite() else ENDLESS,
                time=_time_left(facts, position, price, away, sigma_day, funding),
            )
    raise AssertionError("every pair of swings and liquidation is handled above")


def _time_left(
    facts: Facts,
    position: Position,
    price: Price,
    away: Decimal,
    sigma_day: Ratio,
    funding: Funding,
) -> TimeLeft | FundingUnknown:
    """
    By the square root of time, with the funding of a day as drift; see `bot.core.volatility`.

    What would be received is not counted on.
    """
    if not away.is_finite():
        return TimeLeft(ENDLESS)
    match funding:
        case FundingUnknown() as unknown:
            return unknown
        case FundingCost(day=day):
            pass
    paid = Money(max(position.isolated_margin * day, ZERO)) if day.is_finite() else ZERO
    drift = ZERO
    match after_bill(facts.instrument, position, LiquidatesAt(price), Money(paid)):
        case LiquidatesAt(moved) if moved > ZERO:
            drift = max(away - log_distance(position.side, facts.mark_price, moved), ZERO)
        case _:
            pass
    return TimeLeft(floor_to(time_to_liquidation(away, sigma_day, drift) * DAY_MS, ONE))


def break_even_distance(
    instrument: Instrument, position: Position, mark: Price, memory: PositionMemory
) -> Ratio:
    """
    How far the mark price must come back before a close is even; not above 0 where it is now.

    s (p - mark) / mark, p the price where profit(p) = fee(p) + funding paid; signed.

    Linear: p = (s q E + paid) / (q (s - fee)); inverse: p = q (s + fee) / (s q / E - paid).
    """
    sign, quantity, fee = position.side.sign, position.quantity, instrument.taker_fee
    entry, paid = position.entry_price, memory.funding_paid
    match instrument.kind:
        case ContractKind.LINEAR:
            price = (sign * quantity * entry + paid) / (quantity * (sign - fee))
        case ContractKind.INVERSE:
            left = sign * quantity / entry - paid
            price = quantity * (sign + fee) / left if left else ENDLESS
    if price <= ZERO:  # no price mends it: none is above zero, or above any
        price = ENDLESS if sign > 0 else ZERO
    return Ratio(sign * (price - mark) / mark)


def notional(book: Book) -> Money:
    """What all cross positions are worth at their mark prices, whichever their side."""
    worth = (value(leg.instrument, leg.position.quantity, leg.mark_price) for leg in book.legs)
    return Money(sum(worth, ZERO))


def _nearer(position: Position, one: Price, other: Price) -> Price:
    return max(one, other) if position.side is Side.LONG else min(one, other)


def _ratio(needed: Money, balance: Money) -> Ratio:
    return Ratio(needed / balance) if balance > ZERO else Ratio(Decimal("Infinity"))
