"""
Look at the account again while it is guarded: what was fine at the start may not be any more.

A key that may withdraw now, a margin that the venue adds by itself: spending is latched off,
loudly, and stops and closes go on. An account of another kind, whose liquidation is not known, is
only watched from then on; what rests on the exchange stays there. Nothing is taken back by itself.
A contract that the venue settles or takes off is said as soon as it is held.
"""

from collections.abc import Awaitable, Callable, Collection

import structlog

from bot.clock import Clock
from bot.core.decision import Alert, AlertSeverity
from bot.core.events import AccountMode, Command
from bot.exchange.live.findings import Finding, blocking, noted, unsupported
from bot.exchange.ports import Unreachable
from bot.runtime.guard import Guard

DAY_MS = 24 * 3_600_000
HOUR_MS = 3_600_000
"""A look that got no answer is taken again after this, one at the contracts in any case."""

HELD_MS = 2_000
"""How soon a contract that is newly held is asked about."""

SILENT_MS = 60_000
"""A question about contracts that got no answer is asked again after this."""

log = structlog.get_logger()


def only_watched(why: str) -> Alert:
    """What is said of an account of a kind that is not supported."""
    text = f"{why}: it is only watched, and nothing is sent for it"
    return Alert("account", "unsupported", AlertSeverity.CRITICAL, text)


def to_know(what: str) -> Alert:
    """What is said of something that a human should know and the guard works with."""
    return Alert("account", "noted", AlertSeverity.WARNING, what)


async def recheck(
    examine: Callable[[], Awaitable[tuple[Finding, ...]]],
    guard: Guard,
    observe: Callable[[str], None],
    clock: Clock,
    *,
    accept_unverified: bool,
) -> None:
    """Look once a day until cancelled. `observe` has nothing sent any more, for a reason."""
    wait_ms = DAY_MS
    while True:
        await clock.sleep_ms(wait_ms)
        try:
            found = await examine()
        except Unreachable as e:
            log.warning("recheck.unreachable", reason=str(e))
            wait_ms = HOUR_MS
            continue
        wait_ms = DAY_MS
        wrong = blocking(found, accept_unverified=accept_unverified)
        for each in wrong:
            guard.announce(Alert("account", "recheck", AlertSeverity.CRITICAL, each.text))
        for text in unsupported(found):
            observe(text)
            guard.announce(only_watched(text))
        for text in noted(found):
            guard.announce(to_know(text))
        if wrong and guard.state.mode is AccountMode.ACTIVE:
            reason = f"the daily look at the account: {wrong[0].text}"
            guard.tell(Command(AccountMode.NO_SPEND, reason, clock.now_ms()))


async def watch_endings(
    endings: Callable[[Collection[str]], Awaitable[tuple[Finding, ...]]],
    guard: Guard,
    clock: Clock,
) -> None:
    """
    Ask `endings` about the contracts that are held, until cancelled.

    At once, every hour, and when another is held. What it finds is said once a day.
    """
    asked = frozenset[str]()
    due_ms = 0
    said_at_ms: dict[str, int] = {}
    while True:
        now_ms = clock.now_ms()
        held = frozenset(each.symbol for each in guard.state.positions)
        if held and (now_ms >= due_ms or held - asked):
            try:
                found = await endings(held)
            except Unreachable as e:
                log.warning("endings.unreachable", reason=str(e))
                await clock.sleep_ms(SILENT_MS)
            else:
                asked, due_ms = held, now_ms + HOUR_MS
                for each in found:
                    if now_ms - said_at_ms.get(each.text, now_ms - DAY_MS) >= DAY_MS:
                        said_at_ms[each.text] = now_ms
                        alert = Alert("account", "ending", AlertSeverity.CRITICAL, each.text)
                        guard.announce(alert)
        await clock.sleep_ms(HELD_MS)
