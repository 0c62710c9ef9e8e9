"""A live account put together: connections, lanes, clock and the checks before the start."""

import ssl
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
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
from bot.exchange.live.findings import Finding, Standing, noted, require_sound, unsupported
from bot.exchange.live.keyless import Documents, Keyless
from bot.exchange.live.lanes import (
    Allowance,
    Detour,
    Lane,
    Over,
    Quiet,
    read_pace,
    start_budget,
)
from bot.exchange.live.loopback import LOOPBACK, LoopbackSession
from bot.exchange.live.market import LiveMarket
from bot.exchange.live.neighbours import LOOK_MS, Neighbours
from bot.exchange.live.sessions import KEPT_OPEN_S, session
from bot.exchange.live.transport import Network, Transport
from bot.exchange.ports import Banned, Throttled, Unreachable

READ_TIMEOUT_MS = 5_000
WRITE_TIMEOUT_MS = 2_500
CLOCK_READS = 5
CLOCK_OFF_MAX_MS = 60_000
CLOCK_NOTED_MS = 1_000
"""From here on a clock that is off is said: followed by us, but by nothing else of the machine."""

FIRST_ADDRESS = ""
"""That of this machine from which the system sends unless it is told."""


@dataclass(frozen=True, slots=True)
class Internet:
    """The venue itself."""


@dataclass(frozen=True, slots=True)
class Loopback:
    """A port of this machine that speaks the venue's protocol."""

    port: int


Route: TypeAlias = Internet | Loopback


@dataclass(frozen=True, slots=True)
class Alone:
    """No other process is known to ask a venue from this machine."""


@dataclass(frozen=True, slots=True)
class Egress:
    """
    From where requests leave this machine, and where guards meet that do the same.

    `second_address`, where there is one, is an address of this machine: writes, and what they have
    to ask before, are sent from it, and a ban of the first does not hold them up. What does not
    pass there is sent from the first.
    """

    meeting: Path | Alone
    second_address: str = ""


USUAL = Egress(Alone())


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
    neighbours: tuple[Neighbours, ...]
    unsupported: tuple[str, ...] = ()
    noted: tuple[str, ...] = ()

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
    egress: Egress = USUAL,
    accept_unproven_key: bool = False,
) -> AsyncIterator[Connection]:
    """
    Connect, check and hand over; closes everything at the end.

    Raises `Unreachable`, and `CheckFailed` with everything that forbids to guard the account:
    also what the venue does not tell about the key, unless the user answers for it.
    """
    async with reach(dialect, credentials, route, clock, egress) as connection:
        findings = await connection.examine()
        require_sound(findings, accept_unverified=accept_unproven_key)
        yield replace(connection, unsupported=unsupported(findings), noted=noted(findings))


@asynccontextmanager
async def reach(
    dialect: Dialect,
    credentials: Credentials,
    route: Route,
    clock: Clock,
    egress: Egress = USUAL,
) -> AsyncIterator[Connection]:
    """Connect without judging what is found; closes everything at the end. `Unreachable`."""
    market, apart = dialect.market, egress.second_address
    ways = [_Way(FIRST_ADDRESS, READ_TIMEOUT_MS), _Way(FIRST_ADDRESS, WRITE_TIMEOUT_MS)]
    if apart:
        ways.append(_Way(apart, WRITE_TIMEOUT_MS))
    networks = [_network(route, way.address) for way in ways]
    transports = [
        Transport(market.ccxt_id, credentials, network, way.timeout_ms)
        for network, way in zip(networks, ways, strict=True)
    ]
    # The clock is read over a connection of the writes, so that it is open when one goes out.
    by_writes = Transport(market.ccxt_id, credentials, networks[1], READ_TIMEOUT_MS)
    transports.append(by_writes)
    quiets = {way.address: Quiet() for way in ways}
    neighbours = _neighbours(market, egress.meeting, quiets, clock)
    try:
        reads = _reads(market, transports[0], clock, quiets[FIRST_ADDRESS], bans_all=not apart)
        usual, *second = (
            _writes(market, transport, clock, quiets[way.address])
            for transport, way in zip(transports[1 : len(ways)], ways[1:], strict=True)
        )
        writes = Detour(second[0], usual) if second else usual
        with _naming(route):
            ahead_ms = await _clock_ahead_ms(market, reads)
            reads.follow_clock(ahead_ms)
            writes.follow_clock(ahead_ms)
            contracts = Contracts(market, await listing(market, reads), reads, clock)
        yield Connection(
            LiveMarket(market, contracts, reads=reads, network=networks[0], clock=clock),
            LiveAccount(
                dialect,
                contracts,
                credentials,
                reads=reads,
                writes=writes,
                times=Over(reads, by_writes),
                network=networks[0],
                clock=clock,
            ),
            contracts,
            dialect,
            reads,
            neighbours,
        )
    finally:
        for each in neighbours:
            each.leave()
        for transport in transports:
            await transport.close()
        for network in networks:
            await network.close()


@dataclass(frozen=True, slots=True)
class Watched:
    """A venue's public side, and who else on this machine asks it."""

    market: LiveMarket
    neighbours: tuple[Neighbours, ...]


@asynccontextmanager
async def watch(
    dialect: MarketDialect,
    documents: Documents,
    route: Route,
    clock: Clock,
    egress: Egress = USUAL,
) -> AsyncIterator[Watched]:
    """A venue's public side alone, without a key; closed at the end. `Unreachable`."""
    network = _network(route, FIRST_ADDRESS)
    transport = Transport(dialect.ccxt_id, NO_KEYS, network, READ_TIMEOUT_MS)
    quiet = Quiet()
    neighbours = _neighbours(dialect, egress.meeting, {FIRST_ADDRESS: quiet}, clock)
    try:
        reads = Keyless(_reads(dialect, transport, clock, quiet, bans_all=True), documents)
        with _naming(route):
            contracts = Contracts(dialect, await listing(dialect, reads), reads, clock)
        market = LiveMarket(dialect, contracts, reads=reads, network=network, clock=clock)
        yield Watched(market, neighbours)
    finally:
        for each in neighbours:
            each.leave()
        await transport.close()
        await network.close()


async def follow(neighbours: Sequence[Neighbours], clock: Clock) -> None:
    """Hear of others on the same address what they were told, until cancelled."""
    while True:
        await clock.sleep_ms(LOOK_MS)
        for each in neighbours:
            each.look()


@dataclass(frozen=True, slots=True)
class _Way:
    address: str
    timeout_ms: int


@contextmanager
def _naming(route: Route) -> Iterator[None]:
    """Whoever does not answer is named, where it is not the venue itself."""
    try:
        yield
    except (Banned, Throttled):
        raise
    except Unreachable as e:
        match route:
            case Internet():
                raise
            case Loopback(port):
                raise Unreachable(f"{LOOPBACK}:{port}: {e}") from e


def _neighbours(
    market: MarketDialect, meeting: Path | Alone, quiets: Mapping[str, Quiet], clock: Clock
) -> tuple[Neighbours, ...]:
    """Those on each of our addresses. They meet by the venue and that."""
    match meeting:
        case Alone():
            return ()
        case folder:
            return tuple(
                Neighbours(folder / f"{market.ccxt_id}@{address or 'first'}", quiet, clock.now_ms)
                for address, quiet in quiets.items()
            )


def _reads(
    market: MarketDialect, transport: Transport, clock: Clock, quiet: Quiet, *, bans_all: bool
) -> Lane:
    return Lane(
        transport,
        clock,
        quiet,
        _allowance(market),
        pace=read_pace(market.read_weight_per_minute),
        at_first=start_budget(_allowance(market)) // quiet.guards,
        is_read=True,
        bans_all=bans_all,
    )


def _writes(market: MarketDialect, transport: Transport, clock: Clock, quiet: Quiet) -> Lane:
    return Lane(
        transport,
        clock,
        quiet,
        _allowance(market),
        pace=market.write_pace,
        at_first=0,
        is_read=False,
    )


def _allowance(market: MarketDialect) -> Allowance:
    return Allowance(market.read_weight_per_minute, market.used_weight_header, market.too_many)


def _network(route: Route, address: str) -> Network:
    """A session of its own, from `address` of this machine, or from whatever the system takes."""
    match route:
        case Internet():
            context = ssl.create_default_context(cafile=certifi.where())
            bound = (address, 0) if address else None
            return session(
                aiohttp.TCPConnector(ssl=context, local_addr=bound, keepalive_timeout=KEPT_OPEN_S)
            )
        case Loopback(port):
            return LoopbackSession(port, address)


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
    if abs(ahead_ms) > CLOCK_NOTED_MS:
        text = f"this machine's is {ahead_ms} ms ahead of the venue's, which requests allow for"
        return Finding("clock", Standing.NOTED, f"clock: {text}")
    return Finding("clock", Standing.FINE, f"{ahead_ms} ms ahead of the venue's")
