"""
The heartbeat: tells the outside that the guard works, so that its silence is an alarm.

It is fed by nothing but a decision that was completed, is on record and stands on fresh data of
every position. A process that is alive and blind, banned, stuck or without its journal is silent,
as one that is dead is. What listens is outside of this machine (a URL that a monitor expects to be
asked for), and on it (the watchdog of systemd, which kills and restarts).
"""

import asyncio
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Protocol
from urllib.error import URLError
from urllib.request import Request, urlopen

import structlog

from bot.clock import Clock

SOUND_MS = 60_000
"""A calm account is read every half minute: one read may fail."""

PUSH_MS = 30_000
PUSH_TIMEOUT_S = 10
TELLS = "liqguard"

log = structlog.get_logger()


class Pulse(Protocol):
    """Somebody who is told now and then that all is well."""

    @property
    def every_ms(self) -> int:
        """How often."""

    def begin(self) -> None:
        """The guard has started."""

    def beat(self) -> None:
        """All is well. Raises nothing, and never waits."""

    def end(self) -> None:
        """The guard stops because it was asked to."""


class Push:
    """A monitor that alarms when its URL has not been asked for, as healthchecks.io does."""

    every_ms = PUSH_MS

    def __init__(self, url: str) -> None:
        """`url` is a secret: whoever knows it can keep the monitor quiet. It is never told."""
        self._url = url
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Nothing: the first beat says it."""

    def beat(self) -> None:
        """Ask for it in a thread, one at a time: a slow monitor holds nobody up."""
        if self._thread is not None and self._thread.is_alive():
            return
        self._thread = threading.Thread(target=self._ask, daemon=True, name="heartbeat")
        self._thread.start()

    def end(self) -> None:
        """Nothing: whoever stops the guard knows, and silence is what follows."""

    def _ask(self) -> None:
        try:
            request = Request(self._url, headers={"User-Agent": TELLS})  # noqa: S310 - settings
            with urlopen(request, timeout=PUSH_TIMEOUT_S):  # noqa: S310 - allow only http(s)
                pass
        except (URLError, OSError, ValueError) as e:
            log.warning("heartbeat.failed", to="push", reason=type(e).__name__)


class Watchdog:
    """
    systemd, by the datagrams of sd_notify(3).

    READY once the guard has started, WATCHDOG while all is well, STOPPING in the end.
    """

    def __init__(self, address: str, every_ms: int) -> None:
        """`address` is `NOTIFY_SOCKET`; it kills who does not tell within twice `every_ms`."""
        self.every_ms = every_ms
        self._address = f"\0{address[1:]}" if address.startswith("@") else address

    def begin(self) -> None:
        """It is up."""
        self._tell("READY=1")

    def beat(self) -> None:
        """It is well."""
        self._tell("WATCHDOG=1")

    def end(self) -> None:
        """It is going down."""
        self._tell("STOPPING=1")

    def _tell(self, text: str) -> None:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as one:
                one.connect(self._address)
                one.send(text.encode())
        except OSError as e:
            log.warning("heartbeat.failed", to="systemd", reason=type(e).__name__)


def watchdog_of(environ: Mapping[str, str]) -> tuple[Watchdog, ...]:
    """The watchdog that started this process; none where it was not systemd, or wants none."""
    address, within_us = environ.get("NOTIFY_SOCKET", ""), environ.get("WATCHDOG_USEC", "")
    if not address:
        return ()
    return (Watchdog(address, int(within_us) // 2000 if within_us.isdecimal() else PUSH_MS),)


async def beat(pulses: tuple[Pulse, ...], sound_at_ms: Callable[[], int], clock: Clock) -> None:
    """
    Tell each of `pulses` that all is well as often as it wants, while that is so; until cancelled.

    `sound_at_ms` is when the guard last completed a decision on fresh data.
    """
    for pulse in pulses:
        pulse.begin()
    try:
        async with asyncio.TaskGroup() as tasks:
            for pulse in pulses:
                tasks.create_task(_beat(pulse, sound_at_ms, clock))
    finally:
        for pulse in pulses:
            pulse.end()


async def _beat(pulse: Pulse, sound_at_ms: Callable[[], int], clock: Clock) -> None:
    silent = False
    while True:
        age_ms = clock.now_ms() - sound_at_ms()
        if age_ms <= SOUND_MS:
            pulse.beat()
        elif not silent:
            log.critical("heartbeat.withheld", no_sound_decision_for_ms=age_ms)
        silent = age_ms > SOUND_MS
        await clock.sleep_ms(pulse.every_ms)
