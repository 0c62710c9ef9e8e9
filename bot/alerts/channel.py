"""
Channels: how a notice leaves the house, over apprise and its many services.

An attempt runs in a thread of its own, ended by real time, so that neither a slow service nor a
dead one holds up the loop or the end of the process. What fails is told without the channel's
URL: that is a secret.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from bot.alerts.notice import Notice
from bot.core.decision import AlertSeverity

ATTEMPT_S = 30.0
"""An attempt that takes longer has failed."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """The service took the notice."""


@dataclass(frozen=True, slots=True)
class Failed:
    """It did not, or nobody knows."""

    reason: str


Delivery: TypeAlias = Delivered | Failed


class Channel(Protocol):
    """A way to a human."""

    async def send(self, notice: Notice) -> Delivery:
        """Try once. Raises nothing."""


class UnusableChannel(Exception):
    """The URL is none that apprise can send to."""


class AppriseChannel:
    """The service behind one apprise URL."""

    def __init__(self, url: str, attempt_s: float = ATTEMPT_S) -> None:
        """Raises `UnusableChannel`."""
        from apprise import Apprise  # noqa: PLC0415 - it is large, and only who is told needs it

        self._attempt_s = attempt_s
        # The one service and not a set of them: that would use threads which hold up the exit.
        service = Apprise.instantiate(url)
        if service is None:
            raise UnusableChannel
        self._service = service

    async def send(self, notice: Notice) -> Delivery:
        """Send it as title and text."""
        return await _within(self._attempt_s, lambda: self._notify(notice))

    def _notify(self, notice: Notice) -> Delivery:
        from apprise import NotifyType  # noqa: PLC0415 - as above

        kind = {
            AlertSeverity.INFO: NotifyType.INFO,
            AlertSeverity.WARNING: NotifyType.WARNING,
            AlertSeverity.CRITICAL: NotifyType.FAILURE,
        }[notice.severity]
        title = f"liqguard {notice.account}: {notice.subject}"
        taken = self._service.notify(title=title, body=notice.text, notify_type=kind)
        return Delivered() if taken else Failed("the service did not take it")


async def _within(seconds: float, attempt: Callable[[], Delivery]) -> Delivery:
    """What `attempt` comes to in a thread; a thread that takes longer is left to itself."""
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[Delivery] = loop.create_future()

    def settle(delivery: Delivery) -> None:
        if not outcome.done():
            outcome.set_result(delivery)

    def tell(delivery: Delivery) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, delivery)

    def work() -> None:
        try:
            tell(attempt())
        except Exception as e:  # noqa: BLE001 - a service's library may raise anything
            tell(Failed(f"the attempt ended with {type(e).__name__}"))

    late = threading.Timer(seconds, tell, [Failed(f"no answer within {seconds:g} s")])
    late.daemon = True
    late.start()
    threading.Thread(target=work, daemon=True, name="alert").start()
    try:
        return await outcome
    finally:
        late.cancel()
