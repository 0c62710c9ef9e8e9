"""Messages that take their time from the venue to whoever listens."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from bot.exchange.paper.prices import Clock

T = TypeVar("T")


class Wire(Generic[T]):
    """One listener's connection: messages arrive in the order in which they were sent."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._under_way: asyncio.Queue[tuple[int, T]] = asyncio.Queue()

    def send(self, message: T, arrives_at_ms: int) -> None:
        """Put a message on the wire."""
        self._under_way.put_nowait((arrives_at_ms, message))

    async def receive(self) -> T:
        """The next message, once it has arrived."""
        arrives_at_ms, message = await self._under_way.get()
        # What arrives together is received together: a listener acts once on all of it.
        if (delay_ms := arrives_at_ms - self._clock.now_ms()) > 0:
            await self._clock.sleep_ms(delay_ms)
        return message


class Topic(Generic[T]):
    """Whoever listens to one kind of message. What is sent while nobody listens is lost."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wires: list[Wire[T]] = []

    def send(self, message: T, arrives_at_ms: int) -> None:
        """Send to all listeners of this moment."""
        for wire in self._wires:
            wire.send(message, arrives_at_ms)

    @contextmanager
    def listen(self) -> Iterator[Wire[T]]:
        """A connection from now on until the end of the block."""
        wire: Wire[T] = Wire(self._clock)
        self._wires.append(wire)
        try:
            yield wire
        finally:
            self._wires.remove(wire)
