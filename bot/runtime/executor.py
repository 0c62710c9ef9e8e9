"""
The executor: the only caller of a write. It takes only `Approved`.

What the venue did not prove is Unknown, and Unknown is settled by asking, never by sending
again.
"""

import asyncio
from collections.abc import Callable

import structlog

from bot.clock import Clock
from bot.core.actions import AT_MARKET, Action, CancelStop, ClosePosition
from bot.core.events import Event, IntentState, OutcomeReported
from bot.core.guardrails import Approved
from bot.core.ids import part_id
from bot.core.state import Intent
from bot.exchange.ports import (
    NOT_TOLD,
    Accepted,
    Account,
    Barred,
    Refused,
    Reply,
    Unsure,
    Withheld,
)
from bot.runtime.reconcile import Reconciler
from bot.runtime.waiting import to_its_end

WRITE_TIMEOUT_MS = 3_000

CLEAR_TIMEOUT_MS = 1_000
"""A close does not wait longer than this for the answer to what clears its way."""

log = structlog.get_logger()


class Executor:
    """Sends approved intents of one account and sees each to its proof."""

    def __init__(
        self,
        account: Account,
        reconciler: Reconciler,
        clock: Clock,
        publish: Callable[[Event], None],
    ) -> None:
        self._account = account
        self._reconciler = reconciler
        self._clock = clock
        self._publish = publish
        self._waiting: dict[str, Intent] = {}
        """What waits for its way to be cleared, and that no larger close has overtaken."""

    async def perform(self, approved: Approved) -> None:
        """Send one intent, whose journal row is durable, and report until it is terminal."""
        intent = approved.intent
        reply = await self._send(intent)
        match reply:
            case Accepted():
                state, detail = IntentState.ACKED, "accepted by the venue"
            case Refused(code, text):
                state, detail = IntentState.REJECTED, f"{code} {text}"
            case Barred(text):
                state, detail = IntentState.REJECTED, text
            case Withheld(reason):
                state, detail = IntentState.WITHHELD, reason
            case Unsure(reason):
                state, detail = IntentState.UNKNOWN, reason
        log.info("intent.answered", intent=intent.id, state=str(state), detail=detail)
        self._publish(OutcomeReported(intent.id, state, detail, self._clock.now_ms()))
        match reply:
            case Withheld() | Barred():
                pass
            case Refused():
                await self._reconciler.look_again(intent)
            case Accepted(order=order):
                await self._reconciler.settle(intent, acknowledged=True, told=order)
            case Unsure():
                await self._reconciler.settle(intent, acknowledged=False, told=NOT_TOLD)

    async def _send(self, intent: Intent) -> Reply:
        """What the venue said, or why it was not asked."""
        self._waiting[intent.id] = intent
        replies = await self._clear_way(intent)
        is_overtaken = self._waiting.pop(intent.id, None) is None
        for barred in replies:
            if isinstance(barred, Barred):
                return barred
        if is_overtaken:
            return Refused("NOT_SENT", "a larger close was sent while its way was cleared")
        self._overtake(intent)
        return await self._send_within(intent.action, intent.id, WRITE_TIMEOUT_MS)

    def _overtake(self, intent: Intent) -> None:
        """Let no smaller close of the position follow this one: it was decided before it."""
        match intent.action:
            case ClosePosition(quantity=most, bound=bound):
                pass
            case _:
                return
        for each in list(self._waiting.values()):
            match each.action:
                case ClosePosition(quantity=quantity, bound=its) if each.key == intent.key:
                    # One at any price is not held back by one that may not fill.
                    if quantity < most and (bound == AT_MARKET or its != AT_MARKET):
                        del self._waiting[each.id]
                case _:
                    pass

    async def _clear_way(self, intent: Intent) -> list[Reply]:
        """
        Take the stops off the book that would have the close refused, all at the same time.

        Whatever is answered, but that the address is banned, the close goes out: if one still
        rests, the venue will say so.
        """
        cancels = []
        if not intent.clears:
            return []
        async with asyncio.TaskGroup() as tasks:
            for number, target in enumerate(intent.clears):
                part = part_id(intent.id, number)
                log.info("way.clearing", intent=intent.id, part=part, stop=target)
                cancel = CancelStop(intent.key.symbol, intent.key.side, target)
                sending = to_its_end(self._send_within, cancel, part, CLEAR_TIMEOUT_MS)
                cancels.append(tasks.create_task(sending))
        return [each.result() for each in cancels]

    async def _send_within(self, action: Action, client_id: str, timeout_ms: int) -> Reply:
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                return await self._account.send(action, client_id)
        except TimeoutError:
            return Unsure(f"no reply within {timeout_ms} ms")
