"""Who listens to which stream, and what is on its way to each of them."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

WAITING_MAX = 1_000
"""Frames that may wait for a slow listener before it is cut off."""

MARK_STREAMS = ("@markPrice", "@markPrice@1s")
ALL_MARKS = ("!markPrice@arr", "!markPrice@arr@1s")


@dataclass(frozen=True, slots=True)
class Goodbye:
    """The connection is to be closed."""


@dataclass(slots=True)
class Listener:
    """
    One connection. `combined` wraps each frame with the name of its stream, as the venue does.

    `keys` are listen keys: accounts are found by them.
    """

    combined: bool
    streams: set[str] = field(default_factory=set)
    accounts: dict[str, str] = field(default_factory=dict)
    """The name that it listens under, by account."""
    waiting: "asyncio.Queue[str | Goodbye]" = field(
        default_factory=lambda: asyncio.Queue(WAITING_MAX)
    )

    def send(self, stream: str, payload: Any) -> None:
        """Put a frame on its way. Whoever does not read them is cut off."""
        frame = {"stream": stream, "data": payload} if self.combined else payload
        self.put(json.dumps(frame))

    def put(self, message: str | Goodbye) -> None:
        """Put anything on its way."""
        if self.waiting.full():
            while not self.waiting.empty():
                self.waiting.get_nowait()
            message = Goodbye()
        self.waiting.put_nowait(message)


class Hub:
    """All connections."""

    def __init__(self) -> None:
        self.listeners: list[Listener] = []
        self.stalled = False
        """Nothing is sent while this holds, and no connection closes: a silent failure."""

    def tell_account(self, account: str, event: dict[str, Any]) -> None:
        """Push an event to the account's user streams, one of a topic to those that follow it."""
        if self.stalled:
            return
        for listener in self.listeners:
            if account in listener.accounts and event.get("topic", "") in (
                "",
                *listener.streams,
            ):
                listener.send(listener.accounts[account], event)

    def tell_topics(self, frames: list[dict[str, Any]]) -> None:
        """Push frames, each to those that follow its topic."""
        if self.stalled:
            return
        for listener in self.listeners:
            for frame in frames:
                if frame["topic"] in listener.streams:
                    listener.put(json.dumps(frame))

    def tell_marks(self, frames: list[dict[str, Any]]) -> None:
        """Push the mark prices of all symbols."""
        if self.stalled:
            return
        for listener in self.listeners:
            for stream in ALL_MARKS:
                if stream in listener.streams:
                    listener.send(stream, frames)
            for frame in frames:
                for suffix in MARK_STREAMS:
                    stream = frame["s"].lower() + suffix
                    if stream in listener.streams:
                        listener.send(stream, frame)

    def close_all(self) -> None:
        """End every connection."""
        for listener in self.listeners:
            listener.put(Goodbye())
