"""
How often a venue is asked: reads within half of what it allows, the way out never behind them.

Throttling reads the real clock, so this sits in front of real venues only. A 429 stops reads until
the venue's time is over, but for a trickle, which an endangered account's reads are paced for;
a 418 stops everything on this address. Other accounts and programs on it count too: where the
venue tells what the address has used of a minute, reads end well before all of it, so that what is
left is there for stops and closes.
"""

import asyncio
from dataclasses import dataclass
from typing import Protocol

import structlog
from asyncio_throttle.throttler import Throttler

from bot.clock import Clock
from bot.exchange.live.calls import Call, Heard, Hushed, NotSent, Outcome
from bot.exchange.live.dialect import Pace, TooMany
from bot.exchange.live.transport import Transport

READ_SHARE = 0.5
READ_WINDOW_S = 5
"""The budget of a minute is given out in small parts: reads wait for seconds, never for many."""

START_SHARE = 0.2
"""
Of a minute, once: what a start may read at once beside that, where the venue counts in minutes. No
position has a stop until the rules of all are known; those of twenty contracts are a fifth of what
Binance allows.
"""

ADDRESS_SHARE = 0.6
"""Of what the venue allows an address: beyond it reads trickle until the next minute."""

ADDRESS_SHARE_MAX = 0.8
"""Beyond it none is sent: the rest is for stops and closes."""

MINUTE_MS = 60_000
RETRY_AFTER_USUAL_S = 60
RETRY_AFTER_WORDS_S = 10
"""Limits that are told with HTTP 200 are of one second, or of ten."""

TRICKLE_MS = 5_000
TRICKLE_WEIGHT = 50
"""
What may be read in that time though the venue wants no reads: an account, whole, and a few times
what changes of it.
"""

_TOO_MANY, _BANNED = 429, 418

log = structlog.get_logger()


@dataclass(slots=True)
class Quiet:
    """Until when nothing of a kind is sent from an address, and how many guards share that."""

    reads_until_ms: int = 0
    all_until_ms: int = 0
    trickle_at_ms: int = 0
    trickle_left: int = 0
    guards: int = 1

    def heed(self, reads_until_ms: int, all_until_ms: int) -> None:
        """What another guard on this address was told."""
        self.reads_until_ms = max(self.reads_until_ms, reads_until_ms)
        self.all_until_ms = max(self.all_until_ms, all_until_ms)


@dataclass(frozen=True, slots=True)
class Allowance:
    """What the venue allows an address in a minute, and the header that tells what was used."""

    weight_per_minute: int
    used_header: str
    """In small letters; empty where the venue tells nothing."""
    too_many: TooMany


class Asks(Protocol):
    """Whoever is asked for what a venue says."""

    async def ask(self, call: Call) -> Outcome:
        """Send once, or say why not."""


class Lane:
    """A transport with a budget of its own."""

    def __init__(
        self,
        transport: Transport,
        clock: Clock,
        quiet: Quiet,
        allowance: Allowance,
        *,
        pace: Pace,
        at_first: int,
        is_read: bool,
        bans_all: bool = True,
    ) -> None:
        """
        Spend weight at `pace`, and once `at_first`.

        Of reads, which the venue counts by address, it is shared with other guards on that. A ban
        that is met here `bans_all`, unless writes leave by another address.
        """
        self._allowance = allowance
        self._transport = transport
        self._clock = clock
        self._quiet = quiet
        self._budget = pace.count
        self._throttler = Throttler(pace.count, pace.window_s)
        self._at_first = at_first
        self._turn = asyncio.Lock()
        self._is_read = is_read
        self._bans_all = bans_all

    async def ask(self, call: Call) -> Outcome:
        """Send once, when there is budget; not at all while the venue wants quiet."""
        return await self.ask_over(self._transport, call)

    async def ask_over(self, transport: Transport, call: Call) -> Outcome:
        """Ask within this budget, by other connections than its own."""
        if (hushed := self._hushed(call.weight)) is not None:
            return hushed
        async with self._turn:  # whoever waits in the throttler polls: one at a time
            if self._is_read:
                self._throttler.rate_limit = max(self._budget // self._quiet.guards, 1)
            given = min(self._at_first, call.weight)
            self._at_first -= given
            for _ in range(call.weight - given):
                await self._throttler.acquire()  # type: ignore[no-untyped-call]
        if (hushed := self._hushed(call.weight)) is not None:
            return hushed
        self._quiet.trickle_left -= call.weight
        outcome = await transport.ask(call)
        if isinstance(outcome, Heard):
            self._mind(outcome)
            if outcome.status in (_TOO_MANY, _BANNED, *self._allowance.too_many.statuses):
                return self._be_quiet(outcome, RETRY_AFTER_USUAL_S)
            if self._allowance.too_many.is_said_so(outcome):
                return self._be_quiet(outcome, RETRY_AFTER_WORDS_S)
        return outcome

    def follow_clock(self, ahead_ms: int) -> None:
        """Date requests by the venue's clock, which this machine's is `ahead_ms` ahead of."""
        self._transport.set_clock_offset_ms(ahead_ms)

    def _hushed(self, weight: int) -> Hushed | None:
        quiet, now_ms = self._quiet, self._clock.now_ms()
        if now_ms < (until_ms := quiet.all_until_ms):
            reason = f"the venue has banned this address until {until_ms}"
            return Hushed(reason, until_ms, everything=self._bans_all)
        if self._is_read and now_ms < quiet.reads_until_ms and not self._trickles(weight, now_ms):
            until_ms = quiet.reads_until_ms
            return Hushed(f"the venue wants no reads until {until_ms}", until_ms, everything=False)
        return None

    def _trickles(self, weight: int, now_ms: int) -> bool:
        quiet = self._quiet
        if now_ms - quiet.trickle_at_ms >= TRICKLE_MS:
            quiet.trickle_at_ms, quiet.trickle_left = now_ms, TRICKLE_WEIGHT
        return quiet.trickle_left >= weight

    def _mind(self, heard: Heard) -> None:
        """Leave the rest of this minute to stops and closes where the address has used much."""
        headers = {name.lower(): text for name, text in heard.headers.items()}
        told = headers.get(self._allowance.used_header, "")
        used = int(told) if told.isdecimal() else 0
        if used < self._allowance.weight_per_minute * ADDRESS_SHARE:
            return
        now_ms = self._clock.now_ms()
        until_ms = now_ms - now_ms % MINUTE_MS + MINUTE_MS
        if until_ms > self._quiet.reads_until_ms:
            self._quiet.reads_until_ms = until_ms
            self._quiet.trickle_at_ms, self._quiet.trickle_left = now_ms, TRICKLE_WEIGHT
            log.warning("reads.held_back", used=used, until_ms=until_ms)
        if used >= self._allowance.weight_per_minute * ADDRESS_SHARE_MAX:
            self._quiet.trickle_at_ms, self._quiet.trickle_left = until_ms - TRICKLE_MS, 0

    def _be_quiet(self, heard: Heard, usual_s: int) -> Outcome:
        """Heed a 429, or what is like one, or a 418; what it means for the request it answers."""
        quiet, now_ms = self._quiet, self._clock.now_ms()
        headers = {name.lower(): text for name, text in heard.headers.items()}
        told = headers.get("retry-after", "")
        wait_s = int(told) if told.isdecimal() else usual_s
        until_ms = now_ms + wait_s * 1000
        reason = f"HTTP {heard.status}: {heard.text[:120]}"
        if heard.status == _BANNED:
            quiet.all_until_ms = max(quiet.all_until_ms, until_ms)
            log.critical("venue.banned", until_ms=until_ms)
            return Hushed(reason, quiet.all_until_ms, everything=self._bans_all)
        quiet.reads_until_ms = max(quiet.reads_until_ms, until_ms)
        quiet.trickle_at_ms, quiet.trickle_left = now_ms, 0
        log.error("venue.too_many_requests", until_ms=until_ms)
        # What a write was answered is for its parser: this may be a limit of orders.
        return Hushed(reason, until_ms, everything=False) if self._is_read else heard


@dataclass(frozen=True, slots=True)
class Over:
    """Asks within the budget of a lane, by the connections of `transport`."""

    lane: Lane
    transport: Transport

    async def ask(self, call: Call) -> Outcome:
        """Send once, or say why not."""
        return await self.lane.ask_over(self.transport, call)


class Detour:
    """
    A lane from a second address of ours, and the usual one for what proves not to pass there.

    That is no blind retry: of what was not sent, or was answered by a ban, nothing was taken.
    """

    def __init__(self, apart: Lane, usual: Lane) -> None:
        """Ask by `apart` first."""
        self._apart = apart
        self._usual = usual

    async def ask(self, call: Call) -> Outcome:
        """Send once where it passes."""
        outcome = await self._apart.ask(call)
        if isinstance(outcome, NotSent | Hushed):
            log.error("second_address.refused", reason=outcome.reason)
            return await self._usual.ask(call)
        return outcome

    def follow_clock(self, ahead_ms: int) -> None:
        """Date requests by the venue's clock, which this machine's is `ahead_ms` ahead of."""
        self._apart.follow_clock(ahead_ms)
        self._usual.follow_clock(ahead_ms)


def start_budget(allowance: Allowance) -> int:
    """
    The weight of reads that a start may send at once.

    None where the venue does not tell what was used of a minute: there the limits that count are
    those of a second, and a minute's weight is only their sum.
    """
    return int(allowance.weight_per_minute * START_SHARE) if allowance.used_header else 0


def read_pace(weight_per_minute: int) -> Pace:
    """The weight of reads in a window, out of what the venue allows in a minute."""
    return Pace(int(weight_per_minute * READ_SHARE * READ_WINDOW_S / 60), READ_WINDOW_S)
