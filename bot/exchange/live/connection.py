"""A live account put together: connections, lanes, clock and the checks before the start."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from statistics import median
from typing import TypeAlias

import aiohttp
import certifi

from bot.clock import Clock, system_wall_ms
from bot.exchange.live.account import LiveAccount, read
from bot.exchange.live.calls import Unreadable
from bot.exchange.live.credentials import Credentials
from bot.exchange.live.dialect import Dialect
from bot.exchange.live.lanes import WRITES_PER_WINDOW, Lane, Quiet, read_budget
from bot.exchange.live.loopback import LoopbackSession
from bot.exchange.live.market import LiveMarket
from bot.exchange.live.sessions import session
from bot.exchange.live.transport import Network, Transport
from bot.exchange.ports import Unreachable

READ_TIMEOUT_MS = 5_000
WRITE_TIMEOUT_MS = 2_500
CLOCK_READS = 5
CLOCK_OFF_MAX_MS = 60_000


class CheckFailed(Exception):
    """This key or account cannot be guarded. A sentence a line."""


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
    """Both sides of a venue, for one account."""

    market: LiveMarket
    account: LiveAccount


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
    networks = [_network(route) for _ in range(2)]
    transports = [
        Transport(dialect.ccxt_id, credentials, network, timeout_ms)
        for network, timeout_ms in zip(networks, (READ_TIMEOUT_MS, WRITE_TIMEOUT_MS), strict=True)
    ]
    try:
        quiet = Quiet()
        budget = read_budget(dialect.read_weight_per_minute)
        reads = Lane(transports[0], clock, quiet, budget=budget, is_read=True)
        writes = Lane(transports[1], clock, quiet, budget=WRITES_PER_WINDOW, is_read=False)
        ahead_ms = await _clock_ahead_ms(dialect, reads)
        for lane in (reads, writes):
            lane.follow_clock(ahead_ms)
        await _check(dialect, reads, accept_unproven_key)
        try:
            listed = dialect.listing_of(await read(reads, dialect.listing_call()))
            intervals = dialect.intervals_of(await read(reads, dialect.intervals_call()), listed)
        except Unreadable as e:
            raise Unreachable(str(e)) from e
        yield Connection(
            LiveMarket(dialect, listed, intervals, reads=reads, network=networks[0], clock=clock),
            LiveAccount(
                dialect,
                listed,
                credentials,
                reads=reads,
                writes=writes,
                network=networks[0],
                clock=clock,
            ),
        )
    finally:
        for transport in transports:
            await transport.close()
        for network in networks:
            await network.close()


def _network(route: Route) -> Network:
    match route:
        case Internet():
            context = ssl.create_default_context(cafile=certifi.where())
            return session(aiohttp.TCPConnector(ssl=context))
        case Loopback(port):
            return LoopbackSession(port)


async def _clock_ahead_ms(dialect: Dialect, reads: Lane) -> int:
    """How far this machine's clock is ahead of the venue's: the median of some readings."""
    readings = []
    for _ in range(CLOCK_READS):
        asked_ms = system_wall_ms()
        try:
            venue_ms = dialect.time_of(await read(reads, dialect.time_call()))
        except Unreadable as e:
            raise Unreachable(str(e)) from e
        readings.append((asked_ms + system_wall_ms()) // 2 - venue_ms)
    ahead_ms = round(median(readings))
    if abs(ahead_ms) > CLOCK_OFF_MAX_MS:
        raise CheckFailed(
            f"clock: expected within {CLOCK_OFF_MAX_MS} ms of the venue's, was {ahead_ms} ms ahead"
        )
    return ahead_ms


async def _check(dialect: Dialect, reads: Lane, accept_unproven_key: bool) -> None:
    answers = [await read(reads, call) for call in dialect.check_calls()]
    try:
        found = dialect.refusals(answers)
        if not accept_unproven_key:
            found += dialect.unproven(answers)
    except Unreadable as e:
        raise Unreachable(str(e)) from e
    if found:
        raise CheckFailed("\n".join(found))
