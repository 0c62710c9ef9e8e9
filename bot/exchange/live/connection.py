"""A live account put together: connections, lanes, clock and the checks before the start."""

import ssl
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from statistics import median
from typing import TypeAlias

import aiohttp
import certifi

from bot.clock import Clock, system_wall_ms
from bot.exchange.live.account import LiveAccount
from bot.exchange.live.asking import read, venue_time_ms
from bot.exchange.live.calls import Unreadable
from bot.exchange.live.contracts import Contracts, listing
from bot.exchange.live.credentials import NO_KEYS, Credentials
from bot.exchange.live.dialect import Dialect, MarketDialect
from bot.exchange.live.findings import Finding, Standing, require_sound, unsupported
from bot.exchange.live.keyless import Documents, Keyless
from bot.exchange.live.lanes import (
    WRITES_PER_WINDOW,
    Allowance,
    Lane,
    Over,
    Quiet,
    read_budget,
    start_budget,
)
from bot.exchange.live.loopback import LoopbackSession
from bot.exchange.live.market import LiveMarket
from bot.exchange.live.sessions import KEPT_OPEN_S, session
from bot.exchange.live.transport import Network, Transport
from bot.exchange.ports import Unreachable

READ_TIMEOUT_MS = 5_000
WRITE_TIMEOUT_MS = 2_500
CLOCK_READS = 5
CLOCK_OFF_MAX_MS = 60_000


@dataclass(frozen=True, slots=True)
class Internet:
    """The venue itself."""


@dataclass(frozen=True, slots=True)
class Loopback:
    """A port of this machine that speaks the venue's protocol."""

    port: int


Route: TypeAlias = Internet | Loopback


@dataclass(frozen=True, slots=True)
class Connection:
    """
    Both sides of a venue, for one account, and what is asked about it again and again.

    `unsupported` was found when it was made, a sentence each: such an account is only watched.
    """

    market: LiveMarket
    account: LiveAccount
    contracts: Contracts
    dialect: Dialect
    reads: Lane
    unsupported: tuple[str, ...] = ()

    async def examine(self) -> tuple[Finding, ...]:
        """
        The clock, what the key may do and what kind of account it is, as they are now.

        Raises `Unreachable`.
        """
        ahead_ms = await _clock_ahead_ms(self.dialect.market, self.reads)
        answers = [await read(self.reads, call) for call in self.dialect.account.check_calls()]
        try:
            refused = self.dialect.account.refusals(answers)
            strange = self.dialect.account.unsupported(answers)
            unproven = self.dialect.account.unproven(answers)
        except Unreadable as e:
            raise Unreachable(str(e)) from e
        found = [Finding("key and account", Standing.REFUSED, each) for each in refused]
        found += [Finding("account", Standing.UNSUPPORTED, each) for each in strange]
        found += [Finding("key", Standing.UNVERIFIED, each) for each in unproven]
        if not found:
            text = "may trade and cannot withdraw; of a kind that can be guarded"
            found.append(Finding("key and account", Standing.FINE, text))
        return (_of_clock(ahead_ms), *found)

    async def endings(self, symbols: Collection[str]) -> tuple[Finding, ...]:
        """Those of `symbols` that the venue is to settle or has taken off; `Unreachable`."""
        listed = await self.contracts.renew()
        found = []
        for symbol in sorted(symbols):
            if symbol not in listed.symbols.values():
                text = f"{symbol}: the venue does not list it any more"
                found.append(Finding("contract", Standing.NOTED, text))
            elif (ends_at_ms := listed.endings.get(listed.id_of(symbol), 0)) > 0:
                ends = datetime.fromtimestamp(ends_at_ms / 1000, UTC)
                text = f"{symbol}: the venue settles it on {ends:%Y-%m-%d %H:%M} UTC"
                found.append(Finding("contract", Standing.NOTED, text))
        return tuple(found)


@asynccontextmanager
async def connect(
    dialect: Dialect,
    credentials: Credentials,
    route: Route,
    clock: Clock,
    *,
    accept_unproven_key: bool = False,
) -> AsyncIterator[Connection]:
    """
    Connect, check and hand over; closes everything at the end.

    Raises `Unreachable`, and `CheckFailed` with everything that forbids to guard the account:
    also what the venue does not tell about the key, unless the user answers for it.
    """
    async with reach(dialect, credentials, route, clock) as connection:
        findings = await connection.examine()
        require_sound(findings, accept_unverified=accept_unproven_key)
        yield replace(connection, unsupported=unsupported(findings))


@asynccontextmanager
async def reach(
    dialect: Dialect, credentials: Credentials, route: Route, clock: Clock
) -> AsyncIterator[Connection]:
    """Connect without judging what is found; closes everything at the end. `Unreachable`."""
    networks = [_network(route) for _ in range(2)]
    # The clock is read over the connection of the writes, so that it is open when one goes out.
    transports = [
        Transport(dialect.market.ccxt_id, credentials, network, timeout_ms)
        for network, timeout_ms in (
            (networks[0], READ_TIMEOUT_MS),
            (networks[1], WRITE_TIMEOUT_MS),
            (networks[1], READ_TIMEOUT_MS),
        )
    ]
    try:
        quiet = Quiet()
        reads = _reads(dialect.market, transports[0], clock, quiet)
        writes = Lane(
            transports[1],
            clock,
            quiet,
            _allowance(dialect.market),
            budget=WRITES_PER_WINDOW,
            at_first=0,
            is_read=False,
        )
        ahead_ms = await _clock_ahead_ms(dialect.market, reads)
        for lane in (reads, writes):
            lane.follow_clock(ahead_ms)
        listed = await listing(dialect.market, reads)
        contracts = Contracts(dialect.market, listed, reads, clock)
        yield Connection(
            LiveMarket(dialect.market, contracts, reads=reads, network=networks[0], clock=clock),
            LiveAccount(
                dialect,
                contracts,
                credentials,
                reads=reads,
                writes=writes,
                times=Over(reads, transports[2]),
                network=networks[0],
                clock=clock,
            ),
            contracts,
            dialect,
            reads,
        )
    finally:
        for transport in transports:
            await transport.close()
        for network in networks:
            await network.close()


@asynccontextmanager
async def watch(
    dialect: MarketDialect, documents: Documents, route: Route, clock: Clock
) -> AsyncIterator[LiveMarket]:
    """A venue's public side alone, without a key; closed at the end. `Unreachable`."""
    network = _network(route)
    transport = Transport(dialect.ccxt_id, NO_KEYS, network, READ_TIMEOUT_MS)
    try:
        reads = Keyless(_reads(dialect, transport, clock, Quiet()), documents)
        contracts = Contracts(dialect, await listing(dialect, reads), reads, clock)
        yield LiveMarket(dialect, contracts, reads=reads, network=network, clock=clock)
    finally:
        await transport.close()
        await network.close()


def _reads(market: MarketDialect, transport: Transport, clock: Clock, quiet: Quiet) -> Lane:
    return Lane(
        transport,
        clock,
        quiet,
        _allowance(market),
        budget=read_budget(market.read_weight_per_minute),
        at_first=start_budget(_allowance(market)),
        is_read=True,
    )


def _allowance(market: MarketDialect) -> Allowance:
    return Allowance(market.read_weight_per_minute, market.used_weight_header)


def _network(route: Route) -> Network:
    match route:
        case Internet():
            context = ssl.create_default_context(cafile=certifi.where())
            return session(aiohttp.TCPConnector(ssl=context, keepalive_timeout=KEPT_OPEN_S))
        case Loopback(port):
            return LoopbackSession(port)


async def _clock_ahead_ms(dialect: MarketDialect, reads: Lane) -> int:
    """How far this machine's clock is ahead of the venue's: the median of some readings."""
    readings = []
    for _ in range(CLOCK_READS):
        asked_ms = system_wall_ms()
        venue_ms = await venue_time_ms(dialect, reads)
        readings.append((asked_ms + system_wall_ms()) // 2 - venue_ms)
    return round(median(readings))


def _of_clock(ahead_ms: int) -> Finding:
    if abs(ahead_ms) > CLOCK_OFF_MAX_MS:
        text = f"expected within {CLOCK_OFF_MAX_MS} ms of the venue's, was {ahead_ms} ms ahead"
        return Finding("clock", Standing.REFUSED, f"clock: {text}")
    return Finding("clock", Standing.FINE, f"{ahead_ms} ms ahead of the venue's")
