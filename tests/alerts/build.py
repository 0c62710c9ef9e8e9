"""Channels that take what they are told to, and notices to tell them."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

from bot.alerts.box import Routes
from bot.alerts.channel import Channel, Delivered, Delivery, Failed
from bot.alerts.heard import HeardJournal
from bot.alerts.notice import AtOnce, Notice, Warned, Weight
from bot.alerts.outbox import Outbox
from bot.alerts.store import BoxFile
from bot.clock import Clock
from bot.core.decision import AlertSeverity
from bot.journal.port import Entry, Kind, NoIntent
from bot.testing.builders import ACCOUNT
from tests.runtime.build import FragileJournal

INFO, WARNING, CRITICAL = AlertSeverity
T0 = 1_700_000_000_000
HALF_HOUR_MS = 1_800_000
BTC, ETH = "BTC/USDT:USDT long", "ETH/USDT:USDT short"
MILD = Warned(1)
ALL = Routes({INFO: ("mail",), WARNING: ("phone",), CRITICAL: ("phone", "mail")}, HALF_HOUR_MS)


class Recorder:
    """Takes notices, or fails or hangs for as long as it is told to."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.taken: list[tuple[int, Notice]] = []
        self.attempts: list[int] = []
        self.fails = False
        self.hangs = False

    async def send(self, notice: Notice) -> Delivery:
        self.attempts.append(self._clock.now_ms() - T0)
        if self.hangs:
            await asyncio.Event().wait()
        if self.fails:
            return Failed("made to fail")
        self.taken.append((self._clock.now_ms() - T0, notice))
        return Delivered()

    @property
    def texts(self) -> list[str]:
        return [notice.text for _, notice in self.taken]


def notice(
    text: str,
    at_ms: int = 0,
    *,
    subject: str = BTC,
    severity: AlertSeverity = WARNING,
    weight: Weight = MILD,
) -> Notice:
    """A warning of the first step of a ladder."""
    return Notice(f"{text}@{at_ms}", T0 + at_ms, ACCOUNT, subject, severity, weight, text)


def failure(text: str, at_ms: int = 0) -> Notice:
    return notice(text, at_ms, severity=CRITICAL, weight=AtOnce())


class Script:
    """A journal whose rows say just what the test gives them to say."""

    def __init__(self) -> None:
        self.written = asyncio.Event()
        self.store = FragileJournal()
        self.journal = HeardJournal(self.store, self.written)
        self.spooled: list[Entry] = []
        self.reads = 0
        self._said: dict[str, tuple[Notice, ...]] = {}

    def entry(self, *notices: Notice, kind: Kind = Kind.ALERT) -> Entry:
        body = f'"{len(self._said)}"'
        self._said[body] = notices
        return Entry(kind, T0, body, NoIntent())

    async def say(self, *notices: Notice) -> None:
        await self.journal.append([self.entry(*notices)])

    async def start(self, *notices: Notice) -> None:
        await self.journal.append([self.entry(*notices, kind=Kind.STARTED)])

    async def read(self, entry: Entry) -> tuple[Notice, ...]:
        self.reads += 1
        return self._said[entry.body]

    def outbox(
        self,
        clock: Clock,
        file: Path,
        channels: Mapping[str, Channel],
        routes: Routes = ALL,
    ) -> Outbox:
        return Outbox(
            journal=self.journal,
            written=self.written,
            spooled=self._spool,
            read=self.read,
            routes=routes,
            channels=channels,
            file=BoxFile(file),
            clock=clock,
        )

    def _spool(self) -> Sequence[Entry]:
        return tuple(self.spooled)
