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


class Deadlock(RuntimeError):
    """Every task waits for something that no timer will bring."""


class _VirtualSelector(selectors.DefaultSelector):
    """Lets simulated time pass instead of waiting for it."""

    def __init__(self, speed: float) -> None:
        super().__init__()
        self.now_s = 0.0
        self._speed = speed

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if math.isinf(self._speed):
            return self._leap(timeout)
        started_s = time.perf_counter()
        longest_s = PAUSE_S if timeout is None else min(timeout / self._speed, PAUSE_S)
        ready = super().select(longest_s)
        passed_s = (time.perf_counter() - started_s) * self._speed
        self.now_s += passed_s if timeout is None else min(passed_s, max(timeout, 0.0))
        return ready

    def _leap(self, timeout: float | None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise Deadlock("no timer is set and nothing is ready: this wait would never end")
        if not ready and timeout is not None and timeout > 0:
            self.now_s += timeout
        return ready


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
