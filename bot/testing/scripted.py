"""
A scripted venue: every answer is written down in advance, every question is recorded.

Use it where a test is about one answer of an exchange: a refusal, a silence, two reads that
contradict each other. For an exchange that behaves, use the paper exchange.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from bot.clock import Clock
from bot.core.actions import Action
from bot.core.events import BarsReported, MarkPrice
from bot.core.model import AccountSnapshot, Instrument
from bot.exchange.ports import (
    Accepted,
    MarginChange,
    NoMarginHistory,
    Notice,
    OrderAbsent,
    OrderFound,
    Reply,
    Unreachable,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Silence:
    """The venue never answers this request; whether it had its effect is not said."""


class Script(Generic[T]):
    """Answers in the order in which they were written; the last one is given ever after."""

    def __init__(self, *answers: T | Unreachable) -> None:
        """`Unreachable` among the answers is raised in its turn."""
        self.asked = 0
        self._answers = deque(answers)

    def write(self, *answers: T | Unreachable) -> None:
        """Forget the answers that were not given yet, and go on with these."""
        self._answers = deque(answers)

    def next(self) -> T:
        """The next answer."""
        self.asked += 1
        answer = self._answers[0] if len(self._answers) == 1 else self._answers.popleft()
        if isinstance(answer, Unreachable):
            raise answer
        return answer


class ScriptedAccount:
    """
    Implements `Account` from scripts, without any delay of its own.

    `sent` holds what was sent, with its client id, in order; `asked_since_ms` the times from
    which the margin history was asked for. Notices are put on the stream by `notify`.
    """

    def __init__(self, clock: Clock, read: AccountSnapshot) -> None:
        """Answer `read` to every read, accept every request, know no order and no margin."""
        self.reads: Script[AccountSnapshot] = Script(read)
        self.replies: Script[Reply | Silence] = Script(Accepted())
        self.orders: Script[OrderFound | OrderAbsent] = Script(OrderAbsent())
        self.margins: Script[tuple[MarginChange, ...] | NoMarginHistory] = Script(())
        self.request_life_ms = 5_000
        self.sent: list[tuple[Action, str]] = []
        self.asked_since_ms: list[int] = []
        self.streams = 0
        self._clock = clock
        self._notices: asyncio.Queue[Notice | Unreachable] = asyncio.Queue()

    def notify(self, notice: Notice | Unreachable) -> None:
        """Put a notice on the stream; `Unreachable` breaks it."""
        self._notices.put_nowait(notice)

    async def snapshot(self) -> AccountSnapshot:
        """The next read of the script."""
        return self.reads.next()

    async def stream(self, publish: Callable[[Notice], None]) -> None:
        """Publish what `notify` was given, until it breaks."""
        self.streams += 1
        while True:
            notice = await self._notices.get()
            if isinstance(notice, Unreachable):
                raise notice
            publish(notice)

    async def send(self, action: Action, client_id: str) -> Reply:
        """The next reply of the script; `Silence` waits until the caller gives up."""
        self.sent.append((action, client_id))
        reply = self.replies.next()
        if isinstance(reply, Silence):
            await asyncio.Event().wait()
            raise AssertionError("nobody ends this wait")  # noqa: TRY004 - no type is wrong
        return reply

    async def order(self, symbol: str, client_id: str) -> OrderFound | OrderAbsent:
        """The next order of the script, whatever id was asked for."""
        return self.orders.next()

    async def margin_changes(
        self, symbol: str, since_ms: int
    ) -> tuple[MarginChange, ...] | NoMarginHistory:
        """The next history of the script."""
        self.asked_since_ms.append(since_ms)
        return self.margins.next()

    async def server_time_ms(self) -> int:
        """The guard's own time: this venue's clock is never off."""
        return self._clock.now_ms()


class ScriptedMarket:
    """Implements `MarketData`: lists `instruments`, shows the `marks`, streams nothing else."""

    def __init__(self, instruments: Iterable[Instrument]) -> None:
        self.listed = {instrument.symbol: instrument for instrument in instruments}
        self.marks: tuple[MarkPrice, ...] = ()
        self.charts: Script[BarsReported] = Script(BarsReported("", 0, (), 0))

    async def instruments(self, symbols: tuple[str, ...]) -> tuple[Instrument, ...]:
        """Rules of the named symbols; raises `KeyError` with the name that is not listed."""
        return tuple(self.listed[symbol] for symbol in symbols)

    def latest(self) -> tuple[MarkPrice, ...]:
        """The marks as they are set."""
        return self.marks

    async def bars(self, symbol: str) -> BarsReported:
        """What is written, for whichever symbol; no bars at first."""
        return replace(self.charts.next(), symbol=symbol)

    async def stream(self, publish: Callable[[MarkPrice], None]) -> None:
        """End at once: `latest` says everything."""
