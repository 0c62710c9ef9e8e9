"""
The feed: keeps the inbox supplied with facts. Complete reads are the truth, streams the alarm.

A calm account is read every 25 s and whenever the venue says that something happened;
an endangered one every two seconds. Bars are read for the symbols that a rule asks them for, once
after every hour.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from bot.clock import Clock
from bot.core.events import (
    AccountReported,
    AutoDeleveraged,
    Event,
    InstrumentsReported,
    Liquidated,
    OrderHeard,
    StreamLost,
)
from bot.core.model import BAR_MS, AccountSnapshot, Instrument
from bot.exchange.ports import (
    Account,
    AccountChanged,
    Banned,
    MarketData,
    Notice,
    Throttled,
    Unreachable,
)
from bot.journal.codec import to_json
from bot.journal.port import digest_of
from bot.runtime.waiting import patience, to_its_end

POLL_CALM_MS = 25_000
"""With the way there and back, what went wrong unseen is seen and mended within half a minute."""
POLL_ENDANGERED_MS = 2_000
READ_SPACING_MS = 500
"""Reads asked for by decisions or alarms are at least this far apart."""
RECONNECT_MS = 1_000
RULES_MS = 3_600_000
"""How often the rules of the contracts are read again: a venue changes tiers while one holds."""
READS_AT_ONCE = 2
"""One may hang, and the others do not wait for it."""
BARS_LAG_MS = 5_000
"""So long after the full hour a venue has closed its bar."""
BARS_RETRY_MS = 30_000
BARS_LATE_MS = 300_000
"""A venue that has not closed its bar by then is asked again after this."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Ended:
    """What the read of that number came to; they are numbered as they began."""

    number: int
    found: AccountSnapshot | Unreachable

    def read(self) -> AccountSnapshot:
        match self.found:
            case Banned(until_ms=until_ms) as e:
                raise Banned(str(e), until_ms)
            case Throttled(until_ms=until_ms) as e:
                raise Throttled(str(e), until_ms)
            case Unreachable() as e:
                raise Unreachable(str(e))
            case snapshot:
                return snapshot


class Feed:
    """Reads and streams of one account and its venue."""

    def __init__(
        self,
        market: MarketData,
        account: Account,
        clock: Clock,
        publish: Callable[[Event], None],
    ) -> None:
        self._market = market
        self._account = account
        self._clock = clock
        self._publish = publish
        self.listed: dict[str, Instrument] = {}
        self.unread: dict[str, str] = {}
        """Why the rules of a contract could not be read, of those of which they still are not."""
        self._wanted = asyncio.Event()
        self._interval_ms = POLL_CALM_MS
        self._charted: dict[str, int] = {}
        self._to_chart: frozenset[str] = frozenset()
        self._chart_wanted = asyncio.Event()
        self._turns = asyncio.Semaphore(READS_AT_ONCE)
        self._begun = 0
        self._ended = _Ended(0, Unreachable("not read yet"))

    def chart(self, symbols: frozenset[str]) -> None:
        """Keep the bars of these symbols up to date from now on, and of no others."""
        if symbols != self._to_chart:
            self._to_chart = symbols
            self._chart_wanted.set()

    def pace(self, endangered: bool, needs_read: bool) -> None:
        """How often the last decision wants the account read; at once if it `needs_read`."""
        interval_ms = POLL_ENDANGERED_MS if endangered else POLL_CALM_MS
        if needs_read or interval_ms < self._interval_ms:
            self._wanted.set()
        self._interval_ms = interval_ms

    async def run(self) -> None:
        """Stream and poll until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(to_its_end(self._market.stream, self._publish))
            tasks.create_task(to_its_end(self._listen))
            tasks.create_task(to_its_end(self._poll))
            tasks.create_task(to_its_end(self._follow_rules))
            tasks.create_task(to_its_end(self._chart))

    async def read(self) -> AccountSnapshot:
        """
        One complete read that began after it was asked for; published with new symbols' rules.

        Whoever waits for a turn meanwhile shares it: twenty intents in need of evidence cost a
        few reads, not twenty. Raises `Unreachable`.
        """
        before = self._begun
        async with self._turns:
            if self._ended.number <= before:
                self._begun = number = self._begun + 1
                ended = _Ended(number, await self._try_read())
                self._ended = max(self._ended, ended, key=lambda each: each.number)
                return ended.read()
        return self._ended.read()

    async def _try_read(self) -> AccountSnapshot | Unreachable:
        asked_at_ms = self._clock.now_ms()
        try:
            async with patience():
                snapshot = await self._account.snapshot()
            self._publish(AccountReported(snapshot, asked_at_ms, self._clock.now_ms()))
            await self._learn(tuple(sorted({each.symbol for each in snapshot.positions})))
        except Unreachable as e:
            return e
        return snapshot

    async def _learn(self, symbols: tuple[str, ...]) -> None:
        """
        Learn the rules of new symbols, and tell each as soon as it is known.

        Of one without an answer the position stays Unknown, which is alarmed; it is asked about
        again with the next read, which is soon, and no other waits for it. Raises `Banned` and
        `Throttled`.
        """
        self.unread = {symbol: why for symbol, why in self.unread.items() if symbol in symbols}
        for symbol in symbols:
            if symbol in self.listed:
                continue
            try:
                async with patience():
                    (self.listed[symbol],) = await self._market.instruments((symbol,))
            except KeyError:
                log.critical("instrument.not_listed", symbol=symbol)
            except (Banned, Throttled):
                raise
            except Unreachable as e:
                if symbol not in self.unread:
                    log.critical("instrument.not_read", symbol=symbol, reason=str(e))
                self.unread[symbol] = str(e)
                self._wanted.set()
            else:
                self.unread.pop(symbol, None)
                self._publish_rules()

    async def _follow_rules(self) -> None:
        """Read the rules of the contracts again and again, and tell where they have changed."""
        while True:
            await self._clock.sleep_ms(RULES_MS)
            before = dict(self.listed)
            for symbol in sorted(before):
                try:
                    async with patience():
                        (self.listed[symbol],) = await self._market.instruments((symbol,))
                except (KeyError, Unreachable) as e:
                    # What was known of it goes on: a position in it is measured by that.
                    log.warning("instrument.not_read", symbol=symbol, reason=str(e))
            if self.listed != before:
                self._publish_rules()

    def _publish_rules(self) -> None:
        listed = tuple(self.listed[symbol] for symbol in sorted(self.listed))
        digest = digest_of(to_json(listed, tuple[Instrument, ...]))
        self._publish(InstrumentsReported(digest, listed))

    async def _poll(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._interval_ms / 1000):
                    await self._wanted.wait()
            except TimeoutError:
                pass  # the interval is over: read as well
            self._wanted.clear()
            try:
                await self.read()
            except Banned as e:
                self._wanted.set()
                await self._clock.sleep_until_ms(e.until_ms)
            except Throttled as e:
                log.warning("account.throttled", until_ms=e.until_ms, reason=str(e))
                self._wanted.set()
                await self._hold_back(e.until_ms)
            except Unreachable as e:
                log.warning("account.unreachable", reason=str(e))
                self._wanted.set()
            await self._clock.sleep_ms(READ_SPACING_MS)

    async def _chart(self) -> None:
        while True:
            self._chart_wanted.clear()
            if not self._to_chart:
                await self._chart_wanted.wait()
                continue
            waits_ms = [await self._read_bars(symbol) for symbol in sorted(self._to_chart)]
            try:
                async with asyncio.timeout(min(waits_ms) / 1000):
                    await self._chart_wanted.wait()
            except TimeoutError:
                pass  # the next bar is due

    async def _read_bars(self, symbol: str) -> int:
        """Read the bars of a symbol if there should be newer ones; how long until the next."""
        if self._charted.get(symbol, 0) < self._closed_at_ms():
            try:
                async with patience():
                    bars = await self._market.bars(symbol)
            except Unreachable as e:
                log.warning("bars.unreachable", symbol=symbol, reason=str(e))
                return BARS_RETRY_MS
            self._charted[symbol] = bars.closed_at_ms
            self._publish(bars)
        if self._charted[symbol] < self._closed_at_ms():
            return BARS_LATE_MS
        return self._closed_at_ms() + BAR_MS + BARS_LAG_MS - self._clock.now_ms()

    def _closed_at_ms(self) -> int:
        """When the newest bar ended that a venue should have by now."""
        ended_ms = self._clock.now_ms() - BARS_LAG_MS
        return ended_ms - ended_ms % BAR_MS

    async def _hold_back(self, until_ms: int) -> None:
        """The venue wants no reads: only those of an endangered account go on, and seldom."""
        while (left_ms := until_ms - self._clock.now_ms()) > 0:
            if self._interval_ms == POLL_ENDANGERED_MS:
                await self._clock.sleep_ms(min(left_ms, POLL_ENDANGERED_MS))
                return
            await self._clock.sleep_ms(min(left_ms, READ_SPACING_MS))

    async def _listen(self) -> None:
        while True:
            try:
                await self._account.stream(self._hear)
            except Unreachable as e:
                log.warning("stream.lost", reason=str(e))
                self._publish(StreamLost(str(e), self._clock.now_ms()))
                if isinstance(e, Banned | Throttled):  # to connect takes a read
                    await self._clock.sleep_until_ms(e.until_ms)
            self._wanted.set()
            await self._clock.sleep_ms(RECONNECT_MS)

    def _hear(self, notice: Notice) -> None:
        match notice:
            case Liquidated() | AutoDeleveraged():
                self._publish(notice)
            case AccountChanged(client_id=client_id):
                if client_id:
                    self._publish(OrderHeard(client_id, self._clock.now_ms()))
        self._wanted.set()
