"""
The one source of time: the event loop's.

Wall time is anchored once and then follows the loop's monotonic clock, so it never runs
backwards and simulated runs own it. Every module sleeps and reads time through here.
"""

import asyncio
import time


class Clock:
    """Wall time in milliseconds since 1970, UTC, of the running event loop."""

    def __init__(self, wall_at_ms: int) -> None:
        """Anchor: the wall time is `wall_at_ms` now. Needs a running loop."""
        self._loop = asyncio.get_running_loop()
        self._anchor_s = self._loop.time()
        self._wall_at_ms = wall_at_ms

    def now_ms(self) -> int:
        """Wall time now."""
        return self._wall_at_ms + round((self._loop.time() - self._anchor_s) * 1000)

    async def sleep_ms(self, duration_ms: int) -> None:
        """Wait; at least one turn of the loop."""
        await asyncio.sleep(max(duration_ms, 0) / 1000)

    async def sleep_until_ms(self, at_ms: int) -> None:
        """Wait until the wall time `at_ms`."""
        await self.sleep_ms(at_ms - self.now_ms())


def system_wall_ms() -> int:
    """The machine's wall clock, read once to anchor a `Clock`."""
    return time.time_ns() // 1_000_000
