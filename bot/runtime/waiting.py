"""
Waiting that cannot go wrong in silence: neither without an end nor without a word.

Libraries have hung past their own timeouts, and have let the cancellation of one of their inner
tasks out to their caller, in whose group it then looks like an orderly end.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, ParamSpec, TypeVar

from bot.exchange.ports import Unreachable

P = ParamSpec("P")
T = TypeVar("T")

READ_TIMEOUT_MS = 12_000
"""
An answer that takes longer is too old to act on, and keeps the next question waiting.

Both ways of the slowest line on which a request still comes within a venue's window of 5 s, and
a little more.
"""


class TaskDropped(Exception):
    """A task was ended by a cancellation that nobody has asked for: the process ends with it."""


@asynccontextmanager
async def patience() -> AsyncIterator[None]:
    """Wait for the reads of the block, but not for ever; raises `Unreachable`."""
    try:
        async with asyncio.timeout(READ_TIMEOUT_MS / 1000):
            yield
    except TimeoutError as e:
        raise Unreachable(f"no answer within {READ_TIMEOUT_MS} ms") from e


async def to_its_end(
    work: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **named: P.kwargs
) -> T:
    """
    Do `work` in a task of a group, which would not notice if it ended by a stray cancellation.

    Raises `TaskDropped` for one that nobody has asked for.
    """
    try:
        return await work(*args, **named)
    except asyncio.CancelledError as e:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise TaskDropped("a task of the guard was cancelled, and nobody asked for it") from e
