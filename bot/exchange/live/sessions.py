"""HTTP sessions that send every request once, and when lost streams are dialled again."""

import aiohttp

KEPT_OPEN_S = 90
"""
How long a connection that nothing goes over is kept: longer than the reads of a calm account are
apart. One that has to be dialled anew costs an order two or three ways to the venue and back.
"""

REDIAL_MS, REDIAL_MS_MAX = 1_000, 4_000
"""Before each new connection prices are asked for once: at most so long are they without news."""

LASTED_MS = 30_000
"""A connection that lasted so long was a good one."""


class Redials:
    """
    How long to wait before a lost connection is made again: ever longer while none lasts.

    KuCoin takes 30 new ones a minute of an account.
    """

    def __init__(self) -> None:
        """Nothing was lost yet."""
        self._pause_ms = 0

    def pause_ms(self, lasted_ms: int) -> int:
        """After one was lost that lasted `lasted_ms`, however little that was."""
        doubled_ms = min(2 * self._pause_ms, REDIAL_MS_MAX)
        self._pause_ms = REDIAL_MS if lasted_ms >= LASTED_MS else max(doubled_ms, REDIAL_MS)
        return self._pause_ms


def session(connector: aiohttp.BaseConnector) -> aiohttp.ClientSession:
    """
    A session over `connector`, which it closes with itself.

    Left alone, aiohttp sends GET, PUT and DELETE again when a kept connection is dropped: the
    first DELETE cancels a stop, and the second one's answer says that there was none to cancel.
    """
    made = aiohttp.ClientSession(connector=connector)
    made._retry_connection = False  # noqa: SLF001 - there is no public way to say so
    return made
