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
from bot.core.units import ZERO, Quantity
from bot.exchange.ports import (
    Account,
    Banned,
    MarginChange,
    NoMarginHistory,
    NotTold,
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

CENT = Decimal("0.01")
"""An amount with digits below it carries the number of its intent."""

STILL = Decimal("0.01")
"""A margin that has moved by less than this share of a top-up has not had it."""

LAG_MS = 10_000
"""How long an acknowledged effect may take to show before it counts as unknown."""

SECOND_READ_MS = 2_000
PAUSE_FIRST_MS = 250
PAUSE_MAX_MS = 2_000

RESTS = "the stop rests on the exchange"
CONTRADICTED = "the evidence contradicts itself; it counts as done until a human has looked"

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


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look has shown, with a read of the account that was asked for at `asked_at_ms`."""

    found: Evidence
    asked_at_ms: int


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

    async def settle(  # noqa: C901
        self, intent: Intent, *, acknowledged: bool, told: OrderFound | NotTold
    ) -> None:
        """
        Report what became of `intent`, and on the way that it is Unknown if it lags.

        `told` is what the answer to a close said of it; the account is read after it all the same.
        """
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
                text = "acknowledged, but no effect shows"
                self._report(intent, IntentState.UNKNOWN, text, now_ms)
            try:
                async with patience():
                    looked = await self._look(intent, told)
            except Banned as e:
                await self._clock.sleep_until_ms(e.until_ms)
                continue
            except Unreachable as e:
                log.warning("evidence.unreachable", intent=intent.id, reason=str(e))
                continue
            match looked.found:
                case Proven(state, evidence, filled):
                    self._report(intent, state, evidence, looked.asked_at_ms, filled)
                    return
                case Absent() if now_ms >= started_ms + fence_ms:
                    absent_since_ms.append(now_ms)
                case Absent():
                    pass
                case Unclear() if now_ms >= started_ms + fence_ms + LAG_MS:
                    # Nothing that may still come will tell: it counts as done.
                    self._report(intent, IntentState.HUMAN, CONTRADICTED, looked.asked_at_ms)
                    return
                case Unclear():
                    absent_since_ms.clear()  # the reads must agree
                case _:
                    assert_never(looked.found)
            if absent_since_ms and now_ms - absent_since_ms[0] >= SECOND_READ_MS:
                text = "absent in two reads past the fence"
                self._report(intent, IntentState.NOT_APPLIED, text, looked.asked_at_ms)
                return

    async def look_again(self, intent: Intent) -> None:
        """A refusal says that the world is not as the guard saw it: read the account."""
        try:
            await self._read()
        except Unreachable as e:
            log.warning("account.unreachable", intent=intent.id, reason=str(e))

    async def _look(self, intent: Intent, told: OrderFound | NotTold) -> Looked:
        """
        One look at the evidence, and a fresh read of the account published before it counts.

        What an order or the history of margin tells is asked for before the read, which then can
        show it: what is decided on next needs no other.
        """
        asked_at_ms = self._clock.now_ms()
        match intent.action:
            case AddMargin() as add:
                changes = await self._account.margin_changes(add.symbol, intent.known_at_ms)
                asked_at_ms = self._clock.now_ms()
                found = _margin_evidence(intent, add, changes, await self._read())
            case PlaceStop():
                snapshot = await self._read()
                if any(stop.client_id == intent.id for stop in snapshot.stops):
                    return Looked(Proven(IntentState.APPLIED, RESTS), asked_at_ms)
                found = _stop_evidence(await self._account.order(intent.key.symbol, intent.id))
                if isinstance(found, Proven):
                    asked_at_ms = self._clock.now_ms()
                    await self._read()  # the one before may not show what the stop has done
            case ClosePosition() as close:
                order: OrderFound | OrderAbsent
                match told:
                    case OrderFound(resting=False):
                        order = told
                    case _:
                        order = await self._account.order(intent.key.symbol, intent.id)
                asked_at_ms = self._clock.now_ms()
                found = _close_evidence(intent, close.quantity, order, await self._read())
            case CancelStop(target_client_id=target):
                found = _cancel_evidence(target, await self._read())
            case _:
                assert_never(intent.action)
        return Looked(found, asked_at_ms)

    def _report(
        self,
        intent: Intent,
        state: IntentState,
        evidence: str,
        at_ms: int,
        filled: Filled = NO_FILL,
    ) -> None:
        log.info("intent.settled", intent=intent.id, state=str(state), evidence=evidence)
        self._publish(OutcomeReported(intent.id, state, evidence, at_ms, filled))


def _margin_evidence(
    intent: Intent,
    add: AddMargin,
    changes: tuple[MarginChange, ...] | NoMarginHistory,
    snapshot: AccountSnapshot,
) -> Evidence:
    if isinstance(changes, NoMarginHistory):
        return _margin_told(intent, add, snapshot)
    if any(change.amount == add.amount and add.side in change.sides for change in changes):
        return Proven(IntentState.APPLIED, "the venue's margin history shows it")
    margins = [p.isolated_margin for p in snapshot.positions if p.key == intent.key]
    is_numbered = add.amount % CENT != ZERO
    if is_numbered and any(margin - intent.margin_before == add.amount for margin in margins):
        return Proven(IntentState.APPLIED, "the margin has grown by its amount, number and all")
    if any(margin >= intent.margin_before + add.amount / 2 for margin in margins):
        log.warning("evidence.contradicted", intent=intent.id)
        return Unclear()
    return Absent()


def _cancel_evidence(target: str, snapshot: AccountSnapshot) -> Evidence:
    if any(stop.client_id == target for stop in snapshot.stops):
        return Absent()
    return Proven(IntentState.APPLIED, "the stop does not rest any more")


def _margin_told(intent: Intent, add: AddMargin, snapshot: AccountSnapshot) -> Evidence:
    """
    What the position's margin alone tells, where the venue keeps no history of it.

    Only a margin that stands still is a top-up that did not happen: one that a close by hand or
    a bill has moved meanwhile may contain it, and the budgets count it.
    """
    margins = [each.isolated_margin for each in snapshot.positions if each.key == intent.key]
    if not margins and not snapshot.tells_of(intent.key.symbol):
        return Unclear()
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


def _close_evidence(
    intent: Intent,
    ordered: Quantity,
    order: OrderFound | OrderAbsent,
    snapshot: AccountSnapshot,
) -> Evidence:
    """
    What the order says of itself; of one that the venue does not know, what the position says.

    One that is smaller than in the read that the close rests on may be so by it.
    """
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
            sizes = [each.quantity for each in snapshot.positions if each.key == intent.key]
            stands = sum(sizes, ZERO) >= intent.quantity_before
            return Absent() if stands else Unclear()
    assert_never(order)
