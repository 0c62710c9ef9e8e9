"""
An event loop whose time is simulated: as fast as the machine can, or paced by a factor.

Every timeout of the guard obeys it, because every timeout is the loop's. Real sockets still
work in between, so that a paced run can be asked for its status.
"""

import asyncio
import math
import selectors
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

PAUSE_S = 0.02
"""Longest real wait in one turn of a paced loop, so that signals are noticed."""

ASKED_EVERY = 64
"""Of so many turns of an unpaced loop one asks the system what has happened."""


class Deadlock(RuntimeError):
    """Every task waits for something that no timer will bring."""


class _VirtualSelector(selectors.DefaultSelector):
    """Lets simulated time pass: at once where it lags behind its pace, else by waiting."""

    def __init__(self, speed: float) -> None:
        super().__init__()
        self.now_s = 0.0
        self._unasked = 0
        self._speed, self._is_unpaced = speed, math.isinf(speed)
        self._started_s = time.perf_counter()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and self._may_skip():
            self.now_s += max(timeout, 0.0)
            return []
        if timeout is None and self._is_unpaced:
            ready = super().select(0)
            if not ready:
                raise Deadlock("no timer is set and nothing is ready: this wait would never end")
            return ready
        wanted_s = math.inf if timeout is None else self.now_s + max(timeout, 0.0)
        ready = super().select(min(max(self._due_in_s(wanted_s), 0.0), PAUSE_S))
        if not ready:
            self.now_s = max(self.now_s, min(wanted_s, self._paced_s()))
        return ready

    def _may_skip(self) -> bool:
        """
        Whether the system need not be asked for now: there is no socket but the loop's own.

        That one tells of signals, which are asked for now and then.
        """
        self._unasked = (self._unasked + 1) % ASKED_EVERY
        return bool(self._unasked) and self._is_unpaced and len(self.get_map()) <= 1

    def _due_in_s(self, virtual_s: float) -> float:
        """Real seconds until the pace reaches `virtual_s`."""
        if self._is_unpaced:
            return 0.0
        return (virtual_s / self._speed) - (time.perf_counter() - self._started_s)

    def _paced_s(self) -> float:
        """Where simulated time may be by now."""
        if self._is_unpaced:
            return math.inf
        return (time.perf_counter() - self._started_s) * self._speed


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """`time()` is simulated seconds since the loop was made."""

    def __init__(self, speed: float) -> None:
        """`speed`: simulated seconds per real one; infinite for as fast as possible."""
        if not speed > 0:
            raise ValueError(f"speed: expected a number above 0, was {speed}")
        self._virtual = _VirtualSelector(speed)
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now_s


def run_virtual(main: Coroutine[Any, Any, T], speed: float = math.inf) -> T:
    """Run `main` to its end on a loop of its own."""
    with asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(speed)) as runner:
        return runner.run(main)
