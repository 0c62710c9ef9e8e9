"""
The executor: the only caller of a write. It takes only `Approved`.

What the venue did not prove is Unknown, and Unknown is settled by asking, never by sending
again.
"""

import asyncio
from collections.abc import Callable

import structlog

from bot.clock import Clock
from bot.core.events import Event, IntentState, OutcomeReported
from bot.core.guardrails import Approved
from bot.exchange.ports import Accepted, Account, Refused, Reply, Unsure, Withheld
from bot.runtime.reconcile import Reconciler

WRITE_TIMEOUT_MS = 3_000

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

    async def perform(self, approved: Approved) -> None:
        """Send one intent, whose journal row is durable, and report until it is terminal."""
        intent = approved.intent
        reply = await self._send(approved)
        match reply:
            case Accepted():
                state, detail = IntentState.ACKED, "accepted by the venue"
            case Refused(code, text):
                state, detail = IntentState.REJECTED, f"{code} {text}"
            case Withheld(reason):
                state, detail = IntentState.WITHHELD, reason
            case Unsure(reason):
                state, detail = IntentState.UNKNOWN, reason
        log.info("intent.answered", intent=intent.id, state=str(state), detail=detail)
        self._publish(OutcomeReported(intent.id, state, detail, self._clock.now_ms()))
        match reply:
            case Withheld():
                pass
            case Refused():
                await self._reconciler.look_again(intent)
            case Accepted():
                await self._reconciler.settle(intent, acknowledged=True)
            case Unsure():
                await self._reconciler.settle(intent, acknowledged=False)

    async def _send(self, approved: Approved) -> Reply:
        intent = approved.intent
        try:
            async with asyncio.timeout(WRITE_TIMEOUT_MS / 1000):
                return await self._account.send(intent.action, intent.id)
        except TimeoutError:
            return Unsure(f"no reply within {WRITE_TIMEOUT_MS} ms")
