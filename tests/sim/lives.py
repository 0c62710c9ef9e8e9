"""
The lives of the guard's process: it starts, it dies at any await, it starts again.

A dying process runs no line of code any more: every task of that life is ended at the await it
stands at. What it has sent belongs to the network and goes on.
"""

import asyncio
from collections.abc import Coroutine, Generator
from contextvars import ContextVar
from typing import Any

LIFE: ContextVar["Life"] = ContextVar("life")


class Life:
    """One process. `fuse` counts the resumptions of its tasks that are left, if it is lit."""

    def __init__(self) -> None:
        self.is_over = False
        self.resumptions = 0
        self._fuse: list[int] = []
        self._fuse_after_send: list[int] = []
        self._task: list[asyncio.Task[None]] = []

    def begin(self, task: "asyncio.Task[None]") -> None:
        """`task` is the process."""
        self._task.append(task)

    def kill(self) -> None:
        """End it now."""
        self.is_over = True
        for task in self._task:
            task.cancel()

    def light(self, resumptions: int, after_send: bool) -> None:
        """Let it end after so many resumptions, counted from now or from the next request."""
        if after_send:
            self._fuse_after_send = [resumptions]
        elif resumptions == 0:
            self.kill()
        else:
            self._fuse = [resumptions]

    def sends(self) -> None:
        """It is about to send a request."""
        if self._fuse_after_send:
            self._fuse = [self._fuse_after_send.pop()]

    def resumes(self) -> bool:
        """One of its tasks is about to go on; whether it may."""
        self.resumptions += 1
        if self._fuse and not self.is_over:
            self._fuse[0] -= 1
            if self._fuse[0] < 0:
                self.kill()
        return not self.is_over


class _Mortal(Coroutine[Any, Any, Any]):
    """A coroutine of a life: it goes on only while that lasts."""

    def __init__(self, inner: Coroutine[Any, Any, Any], life: Life) -> None:
        self._inner, self._life, self._was_told = inner, life, False

    def send(self, value: Any) -> Any:
        if not self._life.resumes() and not self._was_told:
            self._was_told = True
            return self._inner.throw(asyncio.CancelledError("the process died"))
        return self._inner.send(value)

    def throw(self, *error: Any) -> Any:
        self._life.resumes()
        return self._inner.throw(*error)

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        raise AssertionError("only a task drives this")


def make_task(
    loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], **options: Any
) -> "asyncio.Task[Any]":
    """The loop's task factory: tasks of a life are mortal, the exchange's own are not."""
    life = LIFE.get(None)
    is_the_venues = getattr(coroutine, "__qualname__", "").startswith("PaperVenue.")
    if life is not None and not is_the_venues:
        coroutine = _Mortal(coroutine, life)
    return asyncio.Task(coroutine, loop=loop, **options)
