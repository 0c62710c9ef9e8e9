"""
The outbox: reads the journal as it grows, and tells every channel until it has taken it.

A task of its own for each channel: one that is dead or slow holds up neither the others nor the
guard, which never waits for any of this. Delivery is at least once; what is undelivered is kept
across restarts.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import structlog

from bot.alerts.box import (
    Box,
    Nothing,
    Routes,
    Silenced,
    delivered,
    empty,
    next_for,
    routed,
    take,
)
from bot.alerts.channel import Channel, Delivered, Failed
from bot.alerts.notice import Notice
from bot.alerts.store import BoxDamaged, BoxFile, NothingKept
from bot.clock import Clock
from bot.journal.port import (
    Entry,
    Journal,
    JournalDamaged,
    JournalUnavailable,
    Kind,
    NothingRecorded,
)

LOOK_AGAIN_MS = 1_000
"""A journal that could not be read is looked into again after this."""

TURNS_GIVEN = 2
"""
Of the loop, before a new row is read, which takes longer than to decide: in the first one the
requests of a decision are made, in the second one they leave.
"""

RETRY_MS_MIN, RETRY_MS_MAX = 1_000, 300_000
"""A channel that fails is tried again after the first, then after twice as long each time."""

log = structlog.get_logger()

ReadEntry = Callable[[Entry], Awaitable[tuple[Notice, ...]]]


@dataclass(slots=True)
class _Line:
    """How it goes with one channel."""

    channel: Channel
    awake: asyncio.Event
    failures: int = 0
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """What `status` says of a channel: how much waits, since when, and why."""

    channel: str
    waiting: int
    oldest_at_ms: int
    trouble: str


class Outbox:
    """
    Tells what the journal of one account says.

    `written` is set when it may say more, `spooled` gives the entries that it does not take at the
    moment, `read` what is to be told of an entry.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        written: asyncio.Event,
        spooled: Callable[[], Sequence[Entry]],
        read: ReadEntry,
        routes: Routes,
        channels: Mapping[str, Channel],
        file: BoxFile,
        clock: Clock,
    ) -> None:
        self._journal = journal
        self._written = written
        self._spooled = spooled
        self._read = read
        self._routes = routes
        self._lines = {name: _Line(each, asyncio.Event()) for name, each in channels.items()}
        self._file = file
        self._clock = clock
        self._box = empty(0)
        self._finishing = False
        self._trouble = ""
        self._spool: tuple[Entry, ...] = ()

    def standing(self) -> tuple[Standing, ...]:
        """Every channel, and what it has not taken yet."""
        return tuple(self._standing_of(name, line) for name, line in self._lines.items())

    @property
    def dropped(self) -> int:
        """How many notices gave way to newer ones and were never told."""
        return self._box.dropped

    def finish(self) -> None:
        """Tell what there is, trying each channel until it fails, and return from `run`."""
        self._finishing = True
        self._written.set()

    async def run(self) -> None:
        """Tell until `finish`; at once where there is nobody to tell."""
        if not self._lines:
            return
        try:
            await self._run()
        except Exception:
            # A defect in what is said must not end what is done: the guard goes on.
            log.critical("alerts.ended", exc_info=True)
            for line in self._lines.values():
                line.trouble = "alerts have ended with a defect, see the log"

    async def _run(self) -> None:
        self._box = await self._begin()
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(self._follow())
            for name, line in self._lines.items():
                tasks.create_task(self._serve(name, line, reading))

    async def _begin(self) -> Box:
        """What was left the last time, or a box that begins where this process began."""
        started = await self._journal.last(Kind.STARTED)
        first = 0 if isinstance(started, NothingRecorded) else started.sequence - 1
        try:
            kept = self._file.load()
        except (BoxDamaged, OSError) as e:
            log.critical("alerts.forgotten", reason=str(e))
            return empty(first)
        if isinstance(kept, NothingKept):
            return empty(first)
        # Beyond what was there before this process it is of another journal, which was put away.
        box = replace(kept, read_to=min(kept.read_to, first))
        return routed(box, frozenset(self._lines))

    async def _follow(self) -> None:
        """Take in what the journal says from now on, and once more at the end."""
        while True:
            self._written.clear()
            is_last = self._finishing
            is_read = await self._collect()
            if is_last:
                break
            if is_read:
                await self._written.wait()
                for _ in range(TURNS_GIVEN):
                    await self._clock.sleep_ms(0)
            else:
                await _any_of(self._written, LOOK_AGAIN_MS)
        for line in self._lines.values():
            line.awake.set()

    async def _collect(self) -> bool:
        """Take in what there is; whether the journal could be read."""
        before, is_read = self._box, True
        try:
            for row in await self._journal.rows(self._box.read_to):
                await self._take(row.entry, early=False)
                self._box = replace(self._box, read_to=row.sequence)
        except (JournalUnavailable, JournalDamaged) as e:
            is_read = False
            self._say_once(f"the journal cannot be read: {e}")
        for entry in self._newly_spooled():
            await self._take(entry, early=True)
        if self._box != before:
            self._save()
        return is_read

    def _newly_spooled(self) -> Sequence[Entry]:
        """What is spooled now and was not yet at the last look."""
        spool, seen = tuple(self._spooled()), self._spool
        self._spool = spool
        return spool[len(seen) :] if spool[: len(seen)] == seen else spool

    async def _take(self, entry: Entry, *, early: bool) -> None:
        for notice in await self._read(entry):
            if notice.id in self._box.early:
                if not early:  # it has become a row
                    self._box = replace(self._box, early=self._box.early - {notice.id})
                continue
            self._box, verdict = take(self._box, notice, self._routes)
            if early:
                self._box = replace(self._box, early=self._box.early | {notice.id})
            if isinstance(verdict, Silenced):
                log.info("alert.silenced", text=notice.text, reason=verdict.reason)
                continue
            for name in self._routes.channels.get(notice.severity, ()):
                self._lines[name].awake.set()

    async def _serve(self, name: str, line: _Line, reading: asyncio.Task[None]) -> None:
        while True:
            line.awake.clear()
            notice = next_for(self._box, name)
            if isinstance(notice, Nothing):
                if reading.done():
                    return
                await line.awake.wait()
                continue
            match await line.channel.send(notice):
                case Delivered():
                    line.failures, line.trouble = 0, ""
                    self._box = delivered(self._box, name, notice)
                    self._save()
                case Failed(reason):
                    line.failures, line.trouble = line.failures + 1, reason
                    log.warning("alert.undelivered", channel=name, reason=reason)
                    if reading.done():
                        return
                    await _any_of(line.awake, _retry_ms(line.failures))

    def _standing_of(self, name: str, line: _Line) -> Standing:
        waiting = self._box.waiting.get(name, ())
        oldest_at_ms = waiting[0].at_ms if waiting else self._clock.now_ms()
        return Standing(name, len(waiting), oldest_at_ms, line.trouble)

    def _save(self) -> None:
        try:
            self._file.save(self._box)
        except OSError as e:
            self._say_once(f"undelivered alerts cannot be kept: {e}")

    def _say_once(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            log.error("alerts.troubled", reason=trouble)


def _retry_ms(failures: int) -> int:
    return min(RETRY_MS_MIN << min(failures - 1, 20), RETRY_MS_MAX)


async def _any_of(event: asyncio.Event, timeout_ms: int) -> None:
    """Return when `event` is set, or after `timeout_ms`."""
    try:
        async with asyncio.timeout(timeout_ms / 1000):
            await event.wait()
    except TimeoutError:
        return
