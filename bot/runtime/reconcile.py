"""
Reconcile: find out what became of an intent, by evidence only.

The venue's word that it took a request is not yet its effect, and the absence of an effect is
proven only once the request cannot arrive any more (the fence) and two reads, apart in time or
in kind, agree.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias, assert_never

import structlog

from bot.clock import Clock
from bot.core.actions import AddMargin, CancelStop, ClosePosition, PlaceStop
from bot.core.events import Event, IntentState, OutcomeReported
from bot.core.model import NO_FILL, AccountSnapshot, Fill, Filled
from bot.core.state import Intent
from bot.exchange.ports import (
    Account,
    Banned,
    NoMarginHistory,
    OrderAbsent,
    OrderFound,
    Unreachable,
)
from bot.runtime.waiting import patience

FENCE_MARGIN_MS = 1_000
"""Later than this after the venue's last word on it, no request can arrive any more."""

ORDER_FENCE_MS = 6_000
SPEND_FENCE_MS = 30_000
"""Only after this may the absence of a top-up mean that it never happened."""

STILL = Decimal("0.01")
"""A margin that has moved by less than this share of a top-up has not had it."""

LAG_MS = 10_000
"""How long an acknowledged effect may take to show before it counts as unknown."""

SECOND_READ_MS = 2_000
PAUSE_FIRST_MS = 250
PAUSE_MAX_MS = 2_000

RESTS = "the stop rests on the exchange"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Proven:
    """The evidence names the terminal state."""

    state: IntentState
    evidence: str
    filled: Filled = NO_FILL


@dataclass(frozen=True, slots=True)
class Absent:
    """No trace of the effect in this read."""


@dataclass(frozen=True, slots=True)
class Unclear:
    """Two sources contradict each other; look again."""


Evidence: TypeAlias = Proven | Absent | Unclear


class Reconciler:
    """
    Asks the exchange about the intents of one account until each is terminal.

    `read` reads the account and publishes what it found, as `Feed.read` does.
    """

    def __init__(
        self,
        account: Account,
        read: Callable[[], Awaitable[AccountSnapshot]],
        clock: Clock,
        publish: Callable[[Event], None],
    ) -> None:
        self._account = account
        self._read = read
        self._clock = clock
        self._publish = publish

    async def settle(self, intent: Intent, acknowledged: bool) -> None:
        """Report what became of `intent`, and on the way that it is Unknown if it lags."""
        started_ms = self._clock.now_ms()
        least_ms = SPEND_FENCE_MS if isinstance(intent.action, AddMargin) else ORDER_FENCE_MS
        fence_ms = max(least_ms, self._account.request_life_ms + FENCE_MARGIN_MS)
        overdue_ms = started_ms + LAG_MS
        absent_since_ms: list[int] = []
        pause_ms = PAUSE_FIRST_MS
        while True:
            await self._clock.sleep_ms(pause_ms)
            pause_ms = min(pause_ms * 2, PAUSE_MAX_MS)
            now_ms = self._clock.now_ms()
            if acknowledged and now_ms >= overdue_ms:
                acknowledged = False
                self._report(intent, IntentState.UNKNOWN, "acknowledged, but no effect shows")
            try:
                async with patience():
                    found = await self._look(intent)
            except Banned as e:
                await self._clock.sleep_until_ms(e.until_ms)
                continue
            except Unreachable as e:
                log.warning("evidence.unreachable", intent=intent.id, reason=str(e))
                continue
            match found:
                case Proven(state, evidence, filled):
                    self._report(intent, state, evidence, filled)
                    return
                case Absent() if now_ms >= started_ms + fence_ms:
                    absent_since_ms.append(now_ms)
                case Absent():
                    pass
                case Unclear():
                    absent_since_ms.clear()  # the reads must agree
                case _:
                    assert_never(found)
            if absent_since_ms and now_ms - absent_since_ms[0] >= SECOND_READ_MS:
                self._report(intent, IntentState.NOT_APPLIED, "absent in two reads past the fence")
                return

    async def look_again(self, intent: Intent) -> None:
        """A refusal says that the world is not as the guard saw it: read the account."""
        try:
            await self._read()
        except Unreachable as e:
            log.warning("account.unreachable", intent=intent.id, reason=str(e))

    async def _look(self, intent: Intent) -> Evidence:
        """One look at the evidence, and a fresh read of the account published before it counts."""
        match intent.action:
            case AddMargin() as add:
                return await self._margin_evidence(intent, add)
            case PlaceStop():
                snapshot = await self._read()
                if any(stop.client_id == intent.id for stop in snapshot.stops):
                    return Proven(IntentState.APPLIED, RESTS)
                found = _stop_evidence(await self._account.order(intent.key.symbol, intent.id))
                if isinstance(found, Proven):
                    await self._read()  # the one before may not show what the stop has done
                return found
            case ClosePosition(quantity=quantity):
                order = await self._account.order(intent.key.symbol, intent.id)
                await self._read()
                return _close_evidence(order, ordered=quantity)
            case CancelStop(target_client_id=target):
                snapshot = await self._read()
                if any(stop.client_id == target for stop in snapshot.stops):
                    return Absent()
                return Proven(IntentState.APPLIED, "the stop does not rest any more")
        assert_never(intent.action)

    async def _margin_evidence(self, intent: Intent, add: AddMargin) -> Evidence:
        changes = await self._account.margin_changes(add.symbol, intent.known_at_ms)
        snapshot = await self._read()
        if isinstance(changes, NoMarginHistory):
            return _margin_told(intent, add, snapshot)
        if any(change.amount == add.amount for change in changes):
            return Proven(IntentState.APPLIED, "the venue's margin history shows it")
        margins = [p.isolated_margin for p in snapshot.positions if p.key == intent.key]
        if any(margin >= intent.margin_before + add.amount / 2 for margin in margins):
            log.warning("evidence.contradicted", intent=intent.id)
            return Unclear()
        return Absent()

    def _report(
        self, intent: Intent, state: IntentState, evidence: str, filled: Filled = NO_FILL
    ) -> None:
        log.info("intent.settled", intent=intent.id, state=str(state), evidence=evidence)
        now_ms = self._clock.now_ms()
        self._publish(OutcomeReported(intent.id, state, evidence, now_ms, filled))


def _margin_told(intent: Intent, add: AddMargin, snapshot: AccountSnapshot) -> Evidence:
    """
    What the position's margin alone tells, where the venue keeps no history of it.

    Only a margin that stands still is a top-up that did not happen: one that a close by hand or
    a bill has moved meanwhile may contain it, and the budgets count it.
    """
    margins = [each.isolated_margin for each in snapshot.positions if each.key == intent.key]
    if any(abs(margin - intent.margin_before) < add.amount * STILL for margin in margins):
        return Absent()
    return Proven(IntentState.APPLIED, "the margin has moved, of which the venue keeps no history")


def _stop_evidence(order: OrderFound | OrderAbsent) -> Evidence:
    match order:
        case OrderFound(resting=True):
            return Proven(IntentState.APPLIED, RESTS)
        case OrderFound(filled=Fill()):
            return Proven(IntentState.APPLIED, "the stop has triggered and filled")
        case OrderFound():
            return Proven(IntentState.EXPIRED, "the stop was taken off the exchange")
        case OrderAbsent():
            return Absent()
    assert_never(order)


def _close_evidence(order: OrderFound | OrderAbsent, ordered: object) -> Evidence:
    match order:
        case OrderFound(resting=True):
            return Absent()
        case OrderFound(filled=Fill(quantity, price) as fill) if quantity == ordered:
            return Proven(IntentState.APPLIED, f"filled {quantity:f} at {price:f}", fill)
        case OrderFound(filled=Fill(quantity, price) as fill):
            text = f"filled {quantity:f} of {ordered} at {price:f}"
            return Proven(IntentState.PARTIAL, text, fill)
        case OrderFound():
            return Proven(IntentState.EXPIRED, "ended without a fill")
        case OrderAbsent():
            return Absent()
    assert_never(order)
