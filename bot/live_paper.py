"""
The process that guards a made-up account at a venue's prices of now, without a key.

As `bot.live`, with the paper exchange in place of the account: what anybody may know of the venue
moves it, and the guard hears the same.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

from bot.alerts.heard import HeardJournal
from bot.app import (
    LATENCY_MS,
    Audience,
    Ended,
    PaperFiles,
    RunError,
    ended_of,
    journal_path,
    make_folder,
    outbox_of,
    reload_on_hangup,
    resume_at_ms,
    stop_on_signals,
)
from bot.clock import Clock, system_wall_ms
from bot.core.events import BarsReported
from bot.core.model import Instrument, PositionMode
from bot.core.policy import Policy
from bot.core.units import Money
from bot.exchange.live.connection import USUAL, Egress, Route, follow, watch
from bot.exchange.live.keyless import Documents, NotTold
from bot.exchange.live.market import LiveMarket
from bot.exchange.paper.following import Followed
from bot.exchange.paper.ladders import WHOLE
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.store import NothingSaved, Store
from bot.exchange.paper.venue import PaperAccount, PaperVenue
from bot.exchange.ports import Quoted, Unreachable
from bot.exchange.venues.dialects import DIALECTS
from bot.exchange.venues.keyless import DOCUMENTS
from bot.journal.sqlite import SqliteJournal
from bot.policy.loader import load_policy
from bot.rehearsal.setups import SLIPPAGE, Entry, open_positions
from bot.runtime.assemble import assemble
from bot.runtime.control import listening, socket_path

FIRST_PRICES_S = 30
SAVE_MS = 60_000
"""How often the exchange is kept though nothing has happened to the account: bills ahead."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Book:
    """
    The account to begin with: positions opened at the first prices, and a wallet behind them.

    The wallet is given their margins and `reserve` beside.
    """

    venue: str
    entries: tuple[Entry, ...]
    reserve: Money
    position_mode: PositionMode

    @property
    def symbols(self) -> tuple[str, ...]:
        """The contracts, each once."""
        return tuple(dict.fromkeys(entry.symbol for entry in self.entries))


class SharedMarket:
    """A venue's prices for the exchange that follows them and then for the guard: `MarketData`."""

    def __init__(
        self, market: LiveMarket, listed: Mapping[str, Instrument], followed: Followed
    ) -> None:
        """Hand on what `market` says. The rules are those of the exchange, `listed`."""
        self._market = market
        self._listed = listed
        self._followed = followed
        self._listeners: list[Callable[[Quoted], None]] = []

    def tell(self, quoted: Quoted) -> None:
        """Take what the venue has just said."""
        self._followed.take(quoted)
        for publish in self._listeners:
            publish(quoted)

    async def instruments(self, symbols: tuple[str, ...]) -> tuple[Instrument, ...]:
        """Rules of the named symbols; raises `KeyError` with the name that is not listed."""
        return tuple(self._listed[symbol] for symbol in symbols)

    def latest(self) -> tuple[Quoted, ...]:
        """The newest mark price and funding of each symbol that has any, without waiting."""
        return self._market.latest()

    async def bars(self, symbol: str) -> BarsReported:
        """The newest closed bars of the symbol's mark price."""
        return await self._market.bars(symbol)

    async def stream(self, publish: Callable[[Quoted], None]) -> None:
        """Publish mark prices and funding until cancelled."""
        self._listeners.append(publish)
        try:
            await asyncio.Event().wait()
        finally:
            self._listeners.remove(publish)


def run_live_paper(
    policy_file: Path,
    entries: tuple[Entry, ...],
    reserve: Money,
    state_dir: Path,
    route: Route,
    hearers: Audience,
    *,
    egress: Egress = USUAL,
) -> Ended:
    """
    Guard a paper account at the prices of the policy's venue until SIGTERM.

    `hearers` are told of it. SIGHUP makes it read the policy file again.

    Journal and exchange live in `state_dir`: started again, both go on where they were. Raises
    what `run_paper` raises, and `Unreachable`.
    """
    return asyncio.run(
        _run(policy_file, entries, reserve, state_dir, route, hearers, egress=egress)
    )


async def _run(
    policy_file: Path,
    entries: tuple[Entry, ...],
    reserve: Money,
    state_dir: Path,
    route: Route,
    hearers: Audience,
    *,
    egress: Egress = USUAL,
) -> Ended:
    policy = load_policy(policy_file)
    book = Book(policy.venue, entries, reserve, policy.position_mode)
    documents = _documents_of(policy)
    make_folder(state_dir)
    written = asyncio.Event()
    journal = HeardJournal(
        SqliteJournal.open(journal_path(state_dir, policy.account), policy.account), written
    )
    files = PaperFiles(policy.account, state_dir, book)
    saved = files.load()
    now_ms = system_wall_ms()
    begins_ms = now_ms if isinstance(saved, NothingSaved) else max(now_ms, saved.at_ms)
    clock = Clock(await resume_at_ms(journal, begins_ms))
    async with (
        watch(DIALECTS[policy.venue].market, documents, route, clock, egress) as watched,
        asyncio.TaskGroup() as watching,
    ):
        following = watching.create_task(follow(watched.neighbours, clock))
        market = watched.market
        listed = await _rules_of(market, policy, book)
        machine = (
            PaperMachine(listed, SLIPPAGE, ladder=WHOLE)
            if isinstance(saved, NothingSaved)
            else saved
        )
        followed = Followed(book.symbols, machine.terms, clock)
        shared = SharedMarket(market, machine.instruments, followed)
        streaming = watching.create_task(market.stream(shared.tell))
        await _first_prices(followed)
        venue = PaperVenue(
            machine,
            followed,
            clock,
            latency_ms=LATENCY_MS // 2,
            store=files.store,
            faults=followed,
        )
        async with venue:
            _open(venue, files, book)
            account = PaperAccount(venue, policy.account)
            guard = await assemble(policy, shared, account, clock, journal)
            outbox = outbox_of(journal, written, guard, state_dir, hearers, clock)
            async with (
                listening(
                    socket_path(state_dir, policy.account),
                    guard,
                    outbox,
                    clock.now_ms,
                    lambda: "paper",
                ),
                asyncio.TaskGroup() as tasks,
            ):
                tasks.create_task(outbox.run())
                guarding = tasks.create_task(guard.run())
                living = tasks.create_task(live_on(venue, followed, files.store))
                stop_on_signals(guard)
                reload_on_hangup(guard, policy_file, tasks)
                log.info("guard.started", account=policy.account, mode="paper", at=policy.venue)
                await guarding
                living.cancel()
                outbox.finish()
        streaming.cancel()
        following.cancel()
    log.info("guard.stopped", account=policy.account)
    files.store.save(machine)
    return await ended_of(policy, machine, journal)


def _documents_of(policy: Policy) -> Documents:
    if policy.venue not in DOCUMENTS:
        raise RunError(
            f"account.venue: expected one whose contracts are known without a key "
            f"({', '.join(sorted(DOCUMENTS))}), was {policy.venue}"
        )
    return DOCUMENTS[policy.venue]


async def _rules_of(market: LiveMarket, policy: Policy, book: Book) -> tuple[Instrument, ...]:
    """The contracts of the book, which are watched from now on."""
    try:
        listed = await market.instruments(book.symbols)
    except KeyError as e:
        raise RunError(f"{e.args[0]}: expected a contract that {policy.venue} lists") from e
    except NotTold as e:
        raise RunError(str(e)) from e
    for each in listed:
        if each.settle != policy.settle:
            raise RunError(
                f"{each.symbol}: expected a contract that pays in {policy.settle}, as "
                f"account.settle of the policy says, was {each.settle}"
            )
    return listed


async def _first_prices(followed: Followed) -> None:
    """Wait until every contract has a price; raises `Unreachable`."""
    try:
        async with asyncio.timeout(FIRST_PRICES_S):
            while followed.unheard_of:
                await followed.news()
    except TimeoutError as e:
        missing = ", ".join(followed.unheard_of)
        raise Unreachable(f"{missing}: no mark price within {FIRST_PRICES_S} s") from e


def _open(venue: PaperVenue, files: PaperFiles, book: Book) -> None:
    """Open the book at the prices of this moment, unless that was done by an earlier process."""

    def act(machine: PaperMachine, _: int) -> None:
        if files.account not in machine.accounts:
            open_positions(book.entries, book.reserve, book.position_mode, machine, files.account)
            files.begin(machine)

    venue.at_now(act)


async def live_on(venue: PaperVenue, followed: Followed, store: Store) -> None:
    """Live through every price as it comes."""
    saved_ms = venue.clock.now_ms()
    while True:
        await followed.news()
        venue.advance()
        if (now_ms := venue.clock.now_ms()) >= saved_ms + SAVE_MS:
            venue.at_now(lambda machine, _: store.save(machine))
            saved_ms = now_ms
