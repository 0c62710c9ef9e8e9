"""
Funding: what the next settlement costs a position, and what it does to its distance.

A settlement charges the value at the mark price x rate, paid by longs to shorts where the rate is
positive. An isolated position pays from its margin, a cross one from the wallet.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias

from bot.core.events import FundingReported
from bot.core.margin import funding_payment, value
from bot.core.model import Instrument, MarginMode, Position
from bot.core.state import DAY_MS, AccountRead, AccountState, NotRead, PositionMemory
from bot.core.units import ZERO, Money, Price, Ratio

NET_MS = 300_000
"""So long before a settlement the distance is already net of its bill."""

ACT_MS = 600_000
"""So long before a settlement the steps of a funding rule may act; before that they wait."""

SETTLE_LAG_MS = 1_000
"""A venue may take its time to book a settlement: one read asked for after this is made."""


@dataclass(frozen=True, slots=True)
class FundingCost:
    """
    What funding costs a position: the next bill (paid > 0), and shares of its margin.

    `interval` is the next bill, `day` a day of bills like it, `episode` what has been paid since
    the last episode ended, or since the guard first saw the position.
    """

    next_payment: Money
    next_at_ms: int
    interval: Ratio
    day: Ratio
    episode: Ratio


@dataclass(frozen=True, slots=True)
class FundingUnknown:
    """The next bill is not known, and why."""

    reason: str


Funding: TypeAlias = FundingCost | FundingUnknown


def funding_cost(
    state: AccountState, position: Position, mark: Price, memory: PositionMemory, now_ms: int
) -> Funding:
    """The costs of funding as shares of the isolated margin, or of a cross position's initial."""
    report = state.funding.get(position.symbol)
    instrument = state.instruments.by_symbol.get(position.symbol)
    if report is None or instrument is None or report.next_at_ms <= now_ms:
        return FundingUnknown("the venue has not said what the next settlement charges")
    margin = _margin(instrument, position, mark)
    next_payment = funding_payment(instrument, position, mark, report.rate)
    return FundingCost(
        next_payment,
        report.next_at_ms,
        _share(next_payment, margin),
        _share(Money(next_payment * DAY_MS / report.interval_ms), margin),
        _share(memory.funding_paid, margin),
    )


def _share(paid: Money, margin: Decimal) -> Ratio:
    """What was paid as a share of the margin: of none at all, more than any threshold."""
    if margin > ZERO:
        return Ratio(paid / margin)
    return Ratio(Decimal("Infinity")) if paid > ZERO else Ratio(ZERO)


def bill_ahead(state: AccountState, position: Position, mark: Price, now_ms: int) -> Money:
    """
    What settlements near `now_ms` will take that the newest read does not show yet; never below 0.

    A bill in the position's favour is not counted on.
    """
    instrument = state.instruments.by_symbol.get(position.symbol)
    if instrument is None:
        return Money(ZERO)  # then nothing of the position is known, and this is no news
    bills = (
        max(funding_payment(instrument, position, mark, report.rate), ZERO)
        for reports in (state.funding, state.funding_before)
        if (report := reports.get(position.symbol)) is not None
        and _is_ahead(state, report, now_ms)
    )
    return Money(sum(bills, ZERO))


def settlement_wakes_ms(state: AccountState, position: Position) -> tuple[int, ...]:
    """The moments at which the coming settlement changes a verdict though nothing else does."""
    report = state.funding.get(position.symbol)
    if report is None:
        return ()
    at_ms = report.next_at_ms
    return (at_ms - ACT_MS, at_ms - NET_MS, at_ms, at_ms + SETTLE_LAG_MS)


def settling_until_ms(state: AccountState, symbol: str, now_ms: int) -> tuple[int, ...]:
    """
    From when on a read shows settlements that came just now; empty where none is in doubt.

    Until then a bill may be counted twice, in the read and ahead of it: enough to be careful by,
    not enough to move what is safe where it is.
    """
    return tuple(
        report.next_at_ms + SETTLE_LAG_MS
        for reports in (state.funding, state.funding_before)
        if (report := reports.get(symbol)) is not None
        and report.next_at_ms <= now_ms
        and _is_unseen(state, report)
    )


def unseen_settlement(state: AccountState, position: Position, now_ms: int) -> bool:
    """Whether a settlement is over that the newest read cannot show yet."""
    for reports in (state.funding, state.funding_before):
        report = reports.get(position.symbol)
        if report is not None and _is_unseen(state, report) and _is_over(report, now_ms):
            return True
    return False


def _is_over(report: FundingReported, now_ms: int) -> bool:
    return report.next_at_ms + SETTLE_LAG_MS <= now_ms


def _is_unseen(state: AccountState, report: FundingReported) -> bool:
    match state.account:
        case AccountRead(asked_at_ms=asked_at_ms):
            return asked_at_ms < report.next_at_ms + SETTLE_LAG_MS
        case NotRead():
            return False


def _is_ahead(state: AccountState, report: FundingReported, now_ms: int) -> bool:
    """
    Whether the newest read is from before a settlement that is near, or over.

    By the venue's own time, for both are its: a bill that a read shows must not count twice.
    """
    match state.account:
        case AccountRead(snapshot=snapshot):
            is_due = report.next_at_ms - now_ms <= NET_MS
            return is_due and snapshot.taken_at_ms < report.next_at_ms
        case NotRead():
            return False


def _margin(instrument: Instrument, position: Position, mark: Price) -> Decimal:
    match position.margin_mode:
        case MarginMode.ISOLATED:
            return position.isolated_margin
        case MarginMode.CROSS:
            return value(instrument, position.quantity, mark) / position.leverage
