"""
The process: picks exchange, clock and journal for what was asked, and runs it.

What a command does is here as a plain function; `bot.cli` reads arguments and prints.
"""

import asyncio
import json
import re
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from pathlib import Path

import structlog

from bot.alerts.box import Routes
from bot.alerts.channel import Channel, Delivery
from bot.alerts.heard import HeardJournal
from bot.alerts.notice import AtOnce, Notice
from bot.alerts.outbox import Outbox
from bot.alerts.routes import load_alerting, open_channels
from bot.alerts.store import BoxFile
from bot.clock import Clock
from bot.core.decision import Alert, AlertSeverity
from bot.core.events import OutcomeReported
from bot.core.model import Instrument
from bot.core.policy import Policy
from bot.core.units import Money
from bot.exchange.paper.faults import no_faults
from bot.exchange.paper.ladders import WHOLE
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.store import FileStore, NothingSaved
from bot.exchange.paper.venue import PaperAccount, PaperMarket, PaperVenue
from bot.exchange.venues import (
    apex,
    binancecoinm,
    binanceusdm,
    bitget,
    bitunix,
    bybit,
    gate,
    hyperliquid,
    krakenfutures,
    kucoin,
    okx,
    xt,
)
from bot.journal.codec import from_json
from bot.journal.port import Journal, JournalUnavailable, Kind, Row
from bot.journal.sqlite import SqliteJournal
from bot.policy.casefile import CaseFile, NoData, load_cases, policy_of
from bot.policy.loader import load_policy
from bot.policy.problems import PolicyError, did_you_mean
from bot.rehearsal.bars import Bars, DataError, read_bars
from bot.rehearsal.casebook import Trial, try_policy
from bot.rehearsal.deeds import Deed, read_deeds
from bot.rehearsal.listing import NoContract, contract
from bot.rehearsal.loop import run_virtual
from bot.rehearsal.positions import Asked, read_positions
from bot.rehearsal.setups import Setup, open_account
from bot.runtime.assemble import assemble
from bot.runtime.control import Answer, ask, listening, socket_path
from bot.runtime.guard import Guard, PolicyRefused
from bot.runtime.heartbeat import Pulse, Push, watchdog_of
from bot.runtime.notices import NoticeReader
from bot.runtime.record import Reader, Recorded
from bot.runtime.verify import Verified, verify

log = structlog.get_logger()

LATENCY_MS = 250

_LISTINGS: dict[str, Callable[[], dict[str, Instrument]]] = {
    "apex": dict,
    "binancecoinm": dict,
    "binanceusdm": binanceusdm.instruments,
    "bitget": dict,
    "bitunix": dict,
    "bybit": dict,
    "gate": dict,
    "hyperliquid": dict,
    "krakenfutures": dict,
    "kucoin": dict,
    "okx": dict,
    "xt": dict,
}
"""The contracts that are recorded here. Of the others every rule is read from the venue."""

_RULES = {
    "apex": apex.RULES,
    "binancecoinm": binancecoinm.RULES,
    "binanceusdm": binanceusdm.RULES,
    "bitget": bitget.RULES,
    "bitunix": bitunix.RULES,
    "bybit": bybit.RULES,
    "gate": gate.RULES,
    "hyperliquid": hyperliquid.RULES,
    "krakenfutures": krakenfutures.RULES,
    "kucoin": kucoin.RULES,
    "okx": okx.RULES,
    "xt": xt.RULES,
}


class RunError(Exception):
    """What was asked for cannot be run as the files and folders are. One line for the user."""


class Untested(Exception):
    """A policy that real money would follow has no tests, or they fail. One line for the user."""


class LiveMode(StrEnum):
    """Whether what is decided for a real account is sent."""

    LIVE = "live"
    OBSERVE = "observe"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a paper run ended: what was done in it, and what the account is worth."""

    at_ms: int
    equity: Money
    positions: int
    settle: str
    deeds: tuple[Deed, ...]
    digest: str


def contract_of(venue: str, bars: Bars) -> Instrument:
    """
    The contract of `bars`, held at `venue`: with the steps, fee and tiers that the data brings.

    Raises `RunError` where it brings no tiers, and none are known.
    """
    try:
        return contract(bars.symbol, bars.listing, _LISTINGS[venue](), _RULES[venue])
    except NoContract as e:
        raise RunError(str(e)) from e


def instrument_for(venue: str, symbol: str) -> Instrument:
    """The venue's rules for `symbol`; raises `RunError` with what is known."""
    listed = _LISTINGS[venue]()
    if symbol not in listed:
        raise RunError(
            f"{symbol}: expected a contract that {venue} is known to list "
            f"({', '.join(sorted(listed)) or 'none is recorded here'})"
        )
    return listed[symbol]


def try_policies(files: list[Path], wanted: re.Pattern[str]) -> tuple[Trial, ...]:
    """
    Live through the tests of policies; a policy stands for the test file beside it.

    Raises `PolicyError` for a file that cannot be read, `RunError` for a test that names what
    the policy or the venue does not have.
    """
    return tuple(_try_policy(file, wanted) for file in files)


def require_tested(policy_file: Path) -> None:
    """Raise `Untested` unless all tests beside the policy pass; `PolicyError` where it is none."""
    load_policy(policy_file)
    beside = policy_file.with_name(f"{policy_file.stem}_test{policy_file.suffix}")
    if not beside.is_file():
        raise Untested(f"{policy_file}: expected tests in {beside}, was none (or --untested)")
    trial = _try_policy(beside, re.compile(""))
    failed = [verdict.case.name for verdict in trial.verdicts if verdict.failures]
    if failed:
        raise Untested(
            f"{policy_file}: expected its tests to pass, was {len(failed)} failed: "
            f"{', '.join(failed)} (or --untested)"
        )


def _try_policy(file: Path, wanted: re.Pattern[str]) -> Trial:
    is_test = file.stem.endswith("_test")
    beside = file if is_test else file.with_name(f"{file.stem}_test{file.suffix}")
    policy = load_policy(policy_of(beside))
    cases = load_cases(beside, policy.settle)
    steps = [f"{rule.name}/{step.name}" for rule in policy.rules for step in rule.steps]
    for case in cases.cases:
        for expectation in case.expectations:
            for name in expectation.states:
                if name not in steps:
                    hint = did_you_mean(name, steps) or f"one of {', '.join(steps)}"
                    raise RunError(
                        f"{cases.file}:{expectation.line}: states: expected a step of "
                        f"{cases.policy} ({hint}), was '{name}'"
                    )
    symbols = {symbol for case in cases.cases for symbol in case.prices}
    instruments = {symbol: _told(cases, policy, symbol) for symbol in sorted(symbols)}
    for case in cases.cases:
        for symbol, series in case.prices.items():
            tick_size = instruments[symbol].tick_size
            if any(not isinstance(sample, NoData) and sample < tick_size for sample in series):
                raise RunError(
                    f"{cases.file}:{case.line}: prices: expected prices of {symbol} from its "
                    f"tick of {tick_size} on, was less"
                )
    return try_policy(cases, policy, instruments, wanted)


def _told(cases: CaseFile, policy: Policy, symbol: str) -> Instrument:
    """The contract of a symbol of the cases: as the file named for it says, or as it is known."""
    if symbol not in cases.contracts:
        instrument = instrument_for(policy.venue, symbol)
    else:
        path = cases.contracts[symbol]
        try:
            bars = read_bars(path)
        except DataError as e:
            raise RunError(f"{cases.file}: contracts.{symbol}: {e}") from e
        if bars.symbol != symbol:
            raise RunError(
                f"{cases.file}: contracts.{symbol}: expected prices of it, was {bars.symbol} "
                f"in {path}"
            )
        instrument = contract_of(policy.venue, bars)
    if instrument.settle != policy.settle:
        raise RunError(
            f"{cases.file}: prices: expected contracts that pay in {policy.settle}, as "
            f"account.settle of {cases.policy} says, was {symbol}"
        )
    return instrument


def positions_in(file: Path, venue: str, settle: str, find: Callable[[str], Bars]) -> Asked:
    """
    The positions to open that a file names, on the prices that `find` finds for them, or of now.

    They are held at `venue` and pay in `settle`.

    Raises `PolicyError` with all that is wrong with the file.
    """
    known, rules = _LISTINGS[venue](), _RULES[venue]
    return read_positions(
        file, find, lambda bars: contract(bars.symbol, bars.listing, known, rules), settle
    )


@dataclass(frozen=True, slots=True)
class Audience:
    """Who is told what, and how they are reached; `pulses` only that all is well, while it is."""

    routes: Routes
    channels: Mapping[str, Channel]
    pulses: tuple[Pulse, ...] = ()


NOBODY = Audience(Routes({}, 0), {})
"""Alerts stay in the log, the journal and `status`."""


def audience(file: Path, environ: Mapping[str, str]) -> Audience:
    """Those whom the file names; raises `PolicyError`, `AlertsError` for an unusable URL."""
    alerting = load_alerting(file)
    return Audience(alerting.routes, open_channels(alerting, environ))


def try_channels(hearers: Audience, at_ms: int) -> dict[str, Delivery]:
    """Tell each channel once that this is a test, and what came of it."""
    notice = Notice(
        id="test",
        at_ms=at_ms,
        account="-",
        subject="test",
        severity=AlertSeverity.INFO,
        weight=AtOnce(),
        text="this is a test: nothing has happened",
    )

    async def main() -> list[Delivery]:
        sent = (channel.send(notice) for channel in hearers.channels.values())
        return await asyncio.gather(*sent)

    return dict(zip(hearers.channels, asyncio.run(main()), strict=True))


def run_paper(
    policy_file: Path, setup: Setup, state_dir: Path, speed: float, hearers: Audience
) -> Ended:
    """
    Guard the account of `setup` on the paper exchange until the data ends or SIGTERM.

    `hearers` are told of it. SIGHUP makes it read the policy file again.

    Journal and exchange live in `state_dir`: started again, both go on where they were. Raises
    `RunError`, `DataError`, `SetupError`, `StoreDamaged`, `JournalUnavailable`,
    `JournalDamaged`, `ControlError`.
    """
    return run_virtual(_run_paper(policy_file, setup, state_dir, speed, hearers), speed)


async def _run_paper(
    policy_file: Path, setup: Setup, state_dir: Path, speed: float, hearers: Audience
) -> Ended:
    policy = load_policy(policy_file)
    machine = PaperMachine(
        setup.instruments, setup.slippage, setup.stops_refused, setup.depths, WHOLE
    )
    path = open_account(setup, machine, policy.account)
    socket = socket_path(state_dir, policy.account)
    make_folder(state_dir)
    written = asyncio.Event()
    journal = HeardJournal(
        SqliteJournal.open(journal_path(state_dir, policy.account), policy.account), written
    )
    files = PaperFiles(policy.account, state_dir, setup)
    saved = files.load()
    machine = files.begin(machine) if isinstance(saved, NothingSaved) else saved
    clock = Clock(await resume_at_ms(journal, machine.at_ms))
    venue = PaperVenue(
        machine, path, clock, latency_ms=setup.one_way_ms, store=files.store, faults=no_faults()
    )
    async with venue:
        account = PaperAccount(venue, policy.account)
        guard = await assemble(policy, PaperMarket(venue, setup.charts), account, clock, journal)
        outbox = outbox_of(journal, written, guard, state_dir, hearers, clock)
        async with (
            listening(socket, guard, outbox, clock.now_ms, lambda: "paper"),
            asyncio.TaskGroup() as tasks,
        ):
            tasks.create_task(outbox.run())
            guarding = tasks.create_task(guard.run())
            prices = tasks.create_task(venue.run())
            prices.add_done_callback(lambda _: guard.stop())
            stop_on_signals(guard)
            reload_on_hangup(guard, policy_file, tasks)
            # Whoever reads this may ask, stop or reload at once: all of that works from here on.
            log.info("guard.started", account=policy.account, mode="paper", speed=speed)
            await guarding
            prices.cancel()
            outbox.finish()
    log.info("guard.stopped", account=policy.account)
    return await ended_of(policy, machine, journal)


def make_folder(state_dir: Path) -> None:
    """Have a folder for state that only its owner reads; raises `RunError`."""
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as e:
        raise RunError(f"LIQGUARD_STATE_DIR: expected a folder, was {state_dir} ({e})") from e


async def ended_of(policy: Policy, machine: PaperMachine, journal: Journal) -> Ended:
    """How the run on `machine` ended; closes the journal."""
    rows = await journal.rows(0)
    deeds = await read_deeds(journal, machine.realised(policy.account))
    await journal.close()
    snapshot = machine.snapshot(policy.account, machine.at_ms)
    return Ended(
        machine.at_ms,
        machine.equity(policy.account),
        len(snapshot.positions),
        policy.settle,
        deeds,
        rows[-1].hash,
    )


def outbox_of(
    journal: Journal,
    written: asyncio.Event,
    guard: Guard,
    state_dir: Path,
    hearers: Audience,
    clock: Clock,
) -> Outbox:
    account = guard.policy.account
    return Outbox(
        journal=journal,
        written=written,
        spooled=lambda: guard.unwritten,
        read=NoticeReader(journal, account).read,
        routes=hearers.routes,
        channels=hearers.channels,
        file=BoxFile(state_dir / f"{account}.alerts.json"),
        clock=clock,
    )


def pulses_of(heartbeat_url: str, environ: Mapping[str, str]) -> tuple[Pulse, ...]:
    """Who is told that the guard works: systemd, if it has started this, and a monitor."""
    monitor = (Push(heartbeat_url),) if heartbeat_url else ()
    return (*watchdog_of(environ), *monitor)


async def resume_at_ms(journal: Journal, at_ms: int) -> int:
    """Where time goes on: never before anything the guard has already journalled."""
    newest = [await journal.last(kind) for kind in Kind]
    return max([at_ms, *(row.entry.at_ms for row in newest if isinstance(row, Row))])


@dataclass(frozen=True, slots=True)
class PaperFiles:
    """Where a paper run keeps its exchange: that of one thing asked for, `asked`, and no other."""

    account: str
    state_dir: Path
    asked: object

    @property
    def store(self) -> FileStore:
        return FileStore(self.state_dir / f"{self.account}.paper.json")

    def load(self) -> PaperMachine | NothingSaved:
        """The exchange of this very run; raises `RunError` where there is that of another one."""
        saved = self.store.load()
        if isinstance(saved, PaperMachine) and not self._is_named():
            raise RunError(
                f"{self.state_dir}: expected a folder without a paper run of account "
                f"{self.account!r} on other data or another position; name another folder in "
                "LIQGUARD_STATE_DIR"
            )
        return saved

    def begin(self, machine: PaperMachine) -> PaperMachine:
        """Keep a fresh exchange as that of this run."""
        self._name_file.write_text(self._name, encoding="utf-8")
        self.store.save(machine)
        return machine

    def _is_named(self) -> bool:
        file = self._name_file
        return file.is_file() and file.read_bytes() == self._name.encode()

    @property
    def _name_file(self) -> Path:
        return self.state_dir / f"{self.account}.paper.run"

    @property
    def _name(self) -> str:
        return json.dumps({"setup": sha256(repr(self.asked).encode()).hexdigest()}) + "\n"


def stop_on_signals(guard: Guard) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, guard.stop)


def admit_any(policy: Policy) -> None:
    """Every policy can be acted by where the exchange is ours."""


def reload_on_hangup(
    guard: Guard,
    policy_file: Path,
    tasks: asyncio.TaskGroup,
    admit: Callable[[Policy], None] = admit_any,
) -> None:
    """SIGHUP: `reload`."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(
        signal.SIGHUP, lambda: tasks.create_task(reload(guard, policy_file, admit))
    )


async def reload(guard: Guard, policy_file: Path, admit: Callable[[Policy], None]) -> None:
    """
    Read the policy again; a bad file leaves the old one at work, and says so.

    `admit` raises `PolicyRefused` for one that needs what cannot be done here.
    """
    try:
        policy = load_policy(policy_file)
        admit(policy)
        await guard.load(policy)
    except (PolicyError, PolicyRefused, JournalUnavailable) as e:
        log.critical("policy.refused", file=str(policy_file), reason=str(e))
        text = f"{policy_file.name} was not taken, the policy of before goes on: {e}"
        guard.announce(Alert("account", "policy", AlertSeverity.CRITICAL, text))


def journal_path(state_dir: Path, account: str) -> Path:
    """Where the journal of `account` is."""
    return state_dir / f"{account}.db"


def ask_guard(state_dir: Path, account: str, question: Answer) -> Answer:
    """Ask the running guard of `account`; raises `ControlError` when none answers."""
    return asyncio.run(ask(socket_path(state_dir, account), question))


def verify_journal(state_dir: Path, account: str) -> Verified:
    """Verify a journal; raises `JournalDamaged` or `JournalUnavailable`."""

    async def main() -> Verified:
        journal = SqliteJournal.read(journal_path(state_dir, account), account)
        return await verify(journal)

    return asyncio.run(main())


@dataclass(frozen=True, slots=True)
class Explained:
    """A decision row, with its policy and what has become of its intents by their ids."""

    row: Row
    recorded: Recorded
    policy: Policy
    outcomes: Mapping[str, OutcomeReported]


def explain(state_dir: Path, account: str, sequence: int | None) -> Explained:
    """
    The decision row `sequence`, or the newest one that did or said something.

    Raises `RunError` where there is none, `JournalDamaged`, `JournalUnavailable`.
    """

    async def main() -> Explained:
        journal = SqliteJournal.read(journal_path(state_dir, account), account)
        every = await journal.rows(0)
        rows = [row for row in every if row.entry.kind is Kind.DECISION]
        reader = Reader(journal)
        for row in reversed(rows):
            recorded, policy = await reader.read(row)
            wanted = recorded.decision.is_noteworthy if sequence is None else True
            if wanted and sequence in (None, row.sequence):
                moved = (
                    from_json(each.entry.body, OutcomeReported)
                    for each in every
                    if each.entry.kind is Kind.INTENT and each.sequence > row.sequence
                )
                its = {approved.intent.id for approved in recorded.decision.approved}
                outcomes = {each.intent_id: each for each in moved if each.intent_id in its}
                return Explained(row, recorded, policy, outcomes)
        known = ", ".join(str(row.sequence) for row in rows[-5:])
        raise RunError(f"journal of {account!r}: expected a decision row, like {known or 'none'}")

    return asyncio.run(main())
