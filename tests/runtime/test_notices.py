"""What a human is told of a guard's life; and that telling never changes that life."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bot.alerts.box import Routes
from bot.alerts.heard import HeardJournal
from bot.alerts.notice import AtOnce, Notice, Warned
from bot.alerts.outbox import Outbox
from bot.alerts.store import BoxFile
from bot.clock import Clock
from bot.core.actions import AddMargin, PlaceStop
from bot.core.decision import AlertSeverity
from bot.core.events import IntentState, OutcomeReported
from bot.core.model import AccountSnapshot
from bot.exchange.paper.venue import PaperMarket
from bot.journal.port import Entry, Kind, NoIntent
from bot.rehearsal.loop import run_virtual
from bot.runtime.assemble import assemble
from bot.runtime.guard import Guard
from bot.runtime.notices import NoticeReader
from bot.runtime.record import outcome_entry
from bot.testing.builders import ACCOUNT, SYMBOL
from tests.alerts.build import HALF_HOUR_MS, Recorder
from tests.runtime.build import policy
from tests.runtime.paper import World, world

INFO, WARNING, CRITICAL = AlertSeverity
LONG = f"{SYMBOL} long"
SLIDE = ((0, 50_000), (5_000, 50_000), (15_000, 47_600))
"""5.0 % before liquidation: the ladder warns."""
CRASH = (*SLIDE, (25_000, 47_000), (60_000, 47_000), (70_000, 43_500))
EVERYTHING = Routes(dict.fromkeys(AlertSeverity, ("phone",)), HALF_HOUR_MS)

Act = Callable[[World, Guard], Awaitable[None]]


def told(
    corners: tuple[tuple[int, int], ...],
    act: Act,
    file: Path,
    prepare: Callable[[Recorder], None] = lambda phone: None,
) -> tuple[World, list[Notice]]:
    """A guard's life from start to stop, and what its phone was told."""

    async def main() -> tuple[World, list[Notice]]:
        async with world(*corners) as here:
            assert isinstance(here.clock, Clock)
            written = asyncio.Event()
            journal = HeardJournal(here.journal, written)
            guard = await assemble(
                policy(), PaperMarket(here.venue), here.account, here.clock, journal
            )
            phone = Recorder(here.clock)
            prepare(phone)
            outbox = Outbox(
                journal=journal,
                written=written,
                spooled=lambda: guard.unwritten,
                read=NoticeReader(journal, ACCOUNT).read,
                routes=EVERYTHING,
                channels={"phone": phone},
                file=BoxFile(file),
                clock=here.clock,
            )
            async with asyncio.TaskGroup() as tasks:
                telling = tasks.create_task(outbox.run())
                guarding = tasks.create_task(guard.run())
                await act(here, guard)
                guard.stop()
                await guarding
                outbox.finish()
                await asyncio.wait([telling], timeout=1)
                telling.cancel()
            return here, [notice for _, notice in phone.taken]

    return run_virtual(main())


def waits(duration_ms: int) -> Act:
    async def act(here: World, guard: Guard) -> None:
        await here.clock.sleep_ms(duration_ms)

    return act


def test_a_warning_says_how_near_it_is_and_what_comes_next(tmp_path: Path) -> None:
    _, (started, warned, stopped) = told(SLIDE, waits(60_000), tmp_path / "box")
    assert (started.subject, started.text) == ("account", "the guard has started")
    assert stopped.text == "the guard has stopped; the stops on the exchange stay"
    assert (warned.subject, warned.severity, warned.weight) == (LONG, WARNING, Warned(1))
    first, distance, after = warned.text.split("\n")
    assert first.startswith(f"{LONG} is 4.99% from liquidation (mark price 47600, ")
    assert first.endswith("liquidation price 45226.2)")
    assert distance == "distance 4.99%"
    assert after == "next: top-up (top_up) below 4.00%"


def test_a_crash_is_told_from_the_warning_to_the_close(tmp_path: Path) -> None:
    _, notices = told(CRASH, waits(120_000), tmp_path / "box")
    texts = [notice.text for notice in notices]
    (adding,) = [text for text in texts if text.startswith("adding 1000 margin (ladder/top-up)")]
    _, distance, after = adding.split("\n")
    assert distance == "distance 3.77%, 4.99% when last told"
    assert after == "next: out (close) below 2.50%"
    assert "done: 1000 margin (ladder/top-up)" in texts
    assert texts.index(adding) < texts.index("done: 1000 margin (ladder/top-up)")
    assert texts.count("it is no longer open") == 1
    assert texts[0] == "the guard has started"
    assert texts[-1].startswith("the guard has stopped")


def test_one_read_that_lacks_a_position_tells_nobody_that_it_is_closed(tmp_path: Path) -> None:
    async def act(here: World, guard: Guard) -> None:
        whole = here.account.snapshot
        for number in range(40):

            async def snapshot(lacks: bool = number % 2 == 1) -> AccountSnapshot:
                read = await whole()
                return replace(read, positions=()) if lacks else read

            here.account.snapshot = snapshot  # type: ignore[method-assign]
            await here.clock.sleep_ms(400)
        here.account.snapshot = whole  # type: ignore[method-assign]
        await here.clock.sleep_ms(10_000)
        assert [each.key.symbol for each in guard.state.positions] == [SYMBOL]

    _, notices = told(((0, 50_000), (120_000, 50_000)), act, tmp_path / "box")
    assert [each.text for each in notices if each.subject == LONG] == []


@pytest.mark.parametrize("trouble", ["hangs", "fails"])
def test_a_channel_changes_nothing_that_the_guard_does(tmp_path: Path, trouble: str) -> None:
    def trace(prepare: Callable[[Recorder], None]) -> tuple[list[str], str]:
        here, _ = told(CRASH, waits(120_000), tmp_path / f"{trouble}-box", prepare)
        rows = run_virtual(here.journal.rows(0))
        return here.trace, rows[-1].hash

    well = trace(lambda phone: None)
    ill = trace(lambda phone: setattr(phone, trouble, True))
    assert len(well[0]) > 6
    assert ill == well


def test_a_liquidation_is_told_as_one(tmp_path: Path) -> None:
    async def act(here: World, guard: Guard) -> None:
        here.machine.refuse_stops = True
        guard._executor.perform = never  # type: ignore[method-assign]
        await here.clock.sleep_ms(120_000)

    async def never(approved: object) -> None:
        """An executor that does not get through."""

    _, notices = told(CRASH, act, tmp_path / "box")
    (said,) = [each for each in notices if "liquidated" in each.text.lower()]
    assert said.text.startswith("the exchange LIQUIDATED the position at ")
    assert not any("no longer open" in each.text for each in notices)
    assert (said.subject, said.severity, said.weight) == (LONG, CRITICAL, AtOnce())


def test_a_journal_that_takes_no_rows_is_told_of_at_once(tmp_path: Path) -> None:
    async def act(here: World, guard: Guard) -> None:
        await here.clock.sleep_ms(4_000)
        here.journal.is_broken = True
        await here.clock.sleep_ms(30_000)
        here.journal.is_broken = False
        await here.clock.sleep_ms(30_000)

    _, notices = told(CRASH, act, tmp_path / "box")
    cries = [each for each in notices if each.text.startswith("promise 5: the journal does not")]
    assert len(cries) == 1
    assert (cries[0].subject, cries[0].severity) == ("account", CRITICAL)
    assert cries[0].at_ms < notices[-1].at_ms - 30_000


def outcome(state: IntentState, action: AddMargin | PlaceStop) -> list[str]:
    """What is told when an intent of a decision comes to `state`."""

    async def main() -> list[str]:
        async with world(*CRASH) as here:
            async with here.guarding():
                await here.clock.sleep_ms(60_000)
            reader = NoticeReader(here.journal, ACCOUNT)
            for row in await here.journal.rows(0):
                await reader.read(row.entry)
            (intent, *_) = (
                each for each in reader._intents.values() if isinstance(each.action, type(action))
            )
            event = OutcomeReported(intent.id, state, "-2019 margin is insufficient", 1)
            return [each.text for each in await reader.read(outcome_entry(event))]

    return run_virtual(main())


TOP_UP = AddMargin.__new__(AddMargin)
STOP = PlaceStop.__new__(PlaceStop)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (IntentState.APPLIED, "done: 1000 margin (ladder/top-up)"),
        (IntentState.PARTIAL, "done in part: 1000 margin (ladder/top-up); -2019 margin is"),
        (IntentState.WITHHELD, "not sent: 1000 margin (ladder/top-up); -2019 margin"),
        (IntentState.REJECTED, "not done: 1000 margin (ladder/top-up); rejected, -2019 margin"),
        (IntentState.NOT_APPLIED, "not done: 1000 margin (ladder/top-up); not_applied"),
        (IntentState.HUMAN, "not done: 1000 margin (ladder/top-up); human"),
    ],
)
def test_what_became_of_a_top_up_is_told(state: IntentState, words: str) -> None:
    (text,) = outcome(state, TOP_UP)
    assert text.startswith(words)


@pytest.mark.parametrize(
    ("state", "action"),
    [
        (IntentState.PREPARED, TOP_UP),
        (IntentState.UNKNOWN, TOP_UP),
        (IntentState.EXPIRED, TOP_UP),
        (IntentState.APPLIED, STOP),
    ],
)
def test_what_is_under_way_or_upkeep_is_not(
    state: IntentState, action: AddMargin | PlaceStop
) -> None:
    assert outcome(state, action) == []


@pytest.mark.parametrize(
    "kind", [Kind.STARTED, Kind.DECISION, Kind.INTENT, Kind.POLICY, Kind.ALERT]
)
def test_a_row_that_cannot_be_read_is_told_of(kind: Kind) -> None:
    async def main() -> tuple[Notice, ...]:
        async with world((0, 50_000)) as here:
            reader = NoticeReader(here.journal, ACCOUNT)
            return await reader.read(Entry(kind, 1, "{}", NoIntent()))

    (said,) = run_virtual(main())
    assert said.severity is CRITICAL
    assert "a row of the journal cannot be read" in said.text
