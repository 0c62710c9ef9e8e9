"""The guard: nothing is sent before it is durable, and the way out is never blocked."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from itertools import pairwise
from typing import Any, NoReturn

import pytest
import structlog

from bot.core.actions import AddMargin, ClosePosition, PlaceStop
from bot.core.decision import Alert
from bot.core.events import AccountMode, Command, InstrumentsReported, IntentState, MarkPrice
from bot.core.ids import account_prefix
from bot.core.model import AccountSnapshot, Instrument
from bot.exchange.paper.venue import PaperMarket
from bot.journal.codec import from_json, to_json
from bot.journal.port import JournalUnavailable, Kind, Row, digest_of
from bot.rehearsal.loop import run_virtual
from bot.runtime.guard import DRAIN_MS, Guard
from bot.runtime.verify import verify
from bot.testing.builders import ACCOUNT, SYMBOL, instrument
from tests.runtime.build import T0
from tests.runtime.paper import TracedAccount, World, decisions, moved, world

CALM = (0, 50_000)
TOP_UP = ((0, 50_000), (5_000, 50_000), (10_000, 47_000))
"""3.8 % before liquidation: the ladder adds margin."""
CRASH = (*TOP_UP, (20_000, 47_000), (30_000, 43_500))
SUDDEN = ((0, 50_000), (5_000, 50_000), (5_001, 47_000), (30_000, 47_000), (30_001, 43_500))
"""Calm until the very moment at which something is sent."""

Play = Callable[[World, Guard], Awaitable[None]]


def play(corners: tuple[tuple[int, int], ...], act: Play) -> World:
    async def main() -> World:
        async with world(*corners) as here:
            async with here.guarding() as guard:
                await act(here, guard)
            return here

    return run_virtual(main())


def waits(duration_ms: int) -> Play:
    async def act(here: World, guard: Guard) -> None:
        await here.clock.sleep_ms(duration_ms)

    return act


async def rows_of(here: World) -> list[Row]:
    return list(await here.journal.rows(0))


def test_every_intent_is_durable_before_it_is_sent_and_sent_once() -> None:
    here = play(CRASH, waits(60_000))
    sent = [line.removeprefix("sent ") for line in here.trace if line.startswith("sent")]
    assert len(sent) >= 4  # a stop, a top-up, its stop, a close at least
    assert len(set(sent)) == len(sent)
    for intent_id in sent:
        durable = here.trace.index(f"durable {intent_id}")
        assert durable < here.trace.index(f"sent {intent_id}")
        assert intent_id.startswith(account_prefix(ACCOUNT))


def test_what_is_durable_is_sent_before_anything_is_said_or_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trace: list[str] = []
    plain = TracedAccount.snapshot

    async def snapshot(self: TracedAccount) -> AccountSnapshot:
        trace.append("read")
        return await plain(self)

    def said(_logger: object, _method: str, event: MutableMapping[str, Any]) -> NoReturn:
        if event["event"] in {"intent.prepared", "alert.raised"}:
            trace.append("said")
        raise structlog.DropEvent

    monkeypatch.setattr(TracedAccount, "snapshot", snapshot)

    async def main() -> None:
        async with world(*SUDDEN) as here:
            here.trace = here.account._trace = here.journal._trace = trace
            async with here.guarding():
                await here.clock.sleep_ms(60_000)

    before = structlog.get_config()["processors"]
    structlog.configure(processors=[said])
    try:
        run_virtual(main())
    finally:
        structlog.configure(processors=before)
    after = [
        now.split()[0]
        for last, now in pairwise(trace)
        if last.startswith("durable") and not now.startswith("durable")
    ]
    assert len(after) >= 4
    assert set(after) == {"sent"}
    assert trace.count("said") > len(after)


def test_a_crash_is_met_with_a_top_up_a_stop_that_follows_and_a_way_out() -> None:
    here = play(CRASH, waits(60_000))
    kinds = [type(action) for action, _ in here.account.sent]
    assert kinds.index(PlaceStop) < kinds.index(AddMargin)
    first, second, *_ = (a.trigger_price for a, _ in here.account.sent if isinstance(a, PlaceStop))
    assert second < first
    assert here.machine.snapshot(ACCOUNT, here.machine.at_ms).positions == ()
    assert {each.cause.value for each in here.machine.realised(ACCOUNT)} <= {"stop", "close"}


def test_a_quiet_market_gets_a_stop_and_few_rows() -> None:
    async def main() -> None:
        async with world(CALM) as here:
            async with here.guarding():
                await here.clock.sleep_ms(3_600_000)
            assert [type(action) for action, _ in here.account.sent] == [PlaceStop]
            assert len(await rows_of(here)) < 15

    run_virtual(main())


def test_stopping_waits_for_what_is_on_its_way_and_writes_its_outcome() -> None:
    async def main() -> None:
        async with world(CALM) as here:
            async with here.guarding():
                await here.wait_for(lambda: bool(here.account.sent))
            states = [each.state for each in await moved(here.journal)]
            assert states == [IntentState.PREPARED, IntentState.ACKED, IntentState.APPLIED]
            assert (await rows_of(here))[-1].entry.kind is Kind.STOPPED
            await verify(here.journal)

    run_virtual(main())


def test_stopping_does_not_wait_for_ever() -> None:
    async def main() -> None:
        async with world(CALM) as here:
            here.account.lose_replies = True
            async with here.guarding() as guard:
                await here.wait_for(lambda: bool(guard.state.intents))
                stopped_at_ms = here.clock.now_ms()
            assert here.clock.now_ms() - stopped_at_ms <= DRAIN_MS + 100

    run_virtual(main())


def test_a_guard_stopped_before_it_runs_only_writes_that() -> None:
    async def main() -> None:
        async with world(CALM) as here:
            guard = await here.guard()
            guard.stop()
            await guard.run()
            kinds = [row.entry.kind for row in await rows_of(here)]
            assert kinds == [Kind.STARTED, Kind.STOPPED]
            assert here.account.sent == []

    run_virtual(main())


def test_a_human_on_hold_stops_spending_and_is_journalled() -> None:
    async def main() -> None:
        async with world(*TOP_UP) as here:
            async with here.guarding() as guard:
                guard.tell(Command(AccountMode.HOLD, "lunch", here.clock.now_ms()))
                await here.clock.sleep_ms(60_000)
            assert here.sent(AddMargin) == []
            assert here.sent(PlaceStop)
            _, last = (await decisions(here.journal))[-1]
            assert (last.state.mode, last.state.mode_reason) == (AccountMode.HOLD, "lunch")
            assert last.decision.mode is AccountMode.HOLD

    run_virtual(main())


def test_without_a_journal_nothing_is_spent_but_the_stop_and_the_close_go_out() -> None:
    async def main() -> None:
        async with world(*CRASH) as here:
            guard = await here.guard()
            async with asyncio.TaskGroup() as tasks:
                running = tasks.create_task(guard.run())
                await here.wait_for(lambda: guard.decision.positions != ())
                here.journal.is_broken = True
                await here.clock.sleep_ms(60_000)
                assert guard.state.mode is AccountMode.NO_SPEND
                assert "the journal does not take rows" in guard.state.mode_reason
                running.cancel()
            assert here.sent(AddMargin) == []
            assert here.sent(PlaceStop)
            flat = here.machine.snapshot(ACCOUNT, here.machine.at_ms).positions == ()
            assert flat
            assert {each.cause.value for each in here.machine.realised(ACCOUNT)} <= {
                "stop",
                "close",
            }

    run_virtual(main())


def test_a_close_goes_out_without_a_journal_where_no_stop_can() -> None:
    async def main() -> None:
        async with world(*CRASH) as here:
            here.machine.refuse_stops = True
            guard = await here.guard()
            async with asyncio.TaskGroup() as tasks:
                running = tasks.create_task(guard.run())
                await here.clock.sleep_ms(2_000)
                here.journal.is_broken = True
                await here.wait_for(lambda: bool(here.sent(ClosePosition)))
                running.cancel()
            assert here.sent(AddMargin) == []

    run_virtual(main())


def test_rows_kept_in_memory_are_written_in_order_once_the_journal_recovers() -> None:
    async def main() -> None:
        async with world(CALM) as here:
            guard = await here.guard()
            here.journal.is_broken = True
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(guard.run())
                await here.wait_for(lambda: here.sent(PlaceStop) != [])
                await here.clock.sleep_ms(20_000)
                before = await rows_of(here)
                here.journal.is_broken = False
                await here.clock.sleep_ms(60_000)
                after = await rows_of(here)
                assert guard.state.mode is AccountMode.NO_SPEND  # latched until a human resumes
                guard.stop()
            assert [row.entry.kind for row in before] == [Kind.STARTED]
            assert len(after) > len(before)
            states = [each.state for each in await moved(here.journal)]
            assert states[:3] == [IntentState.PREPARED, IntentState.ACKED, IntentState.APPLIED]
            times = [row.entry.at_ms for row in await rows_of(here)]
            assert times == sorted(times)
            await verify(here.journal)

    run_virtual(main())


def test_a_human_resumes_after_a_latch() -> None:
    async def main() -> None:
        async with world(*TOP_UP) as here, here.guarding() as guard:
            here.journal.is_broken = True
            await here.wait_for(lambda: guard.state.mode is AccountMode.NO_SPEND)
            here.journal.is_broken = False
            await here.clock.sleep_ms(15_000)
            assert here.sent(AddMargin) == []
            guard.tell(Command(AccountMode.ACTIVE, "repaired", here.clock.now_ms()))
            await here.wait_for(lambda: here.sent(AddMargin) != [])

    run_virtual(main())


def test_a_journal_that_is_gone_at_the_end_is_said() -> None:
    async def main() -> None:
        async with world(CALM) as here:
            guard = await here.guard()
            here.journal.is_broken = True
            guard.stop()
            with pytest.raises(JournalUnavailable, match="the disk is full"):
                await guard.run()

    run_virtual(main())


def test_a_defect_in_any_task_ends_the_guard_with_it() -> None:
    class Broken(PaperMarket):
        async def stream(self, publish: Callable[[MarkPrice], None]) -> None:
            raise LookupError("a defect")

    async def main() -> None:
        async with world(CALM) as here:
            guard = await here.guard()
            guard._feed._market = Broken(here.venue)
            await guard.run()

    with pytest.raises(ExceptionGroup) as raised:
        run_virtual(main())
    assert raised.group_contains(LookupError, match="a defect")


def test_a_defect_in_a_request_ends_the_guard_with_it() -> None:
    async def main() -> None:
        async with world(CALM) as here:
            guard = await here.guard()

            async def send(action: object, client_id: str) -> None:
                raise LookupError("a defect")

            here.account.send = send  # type: ignore[method-assign,assignment]
            await guard.run()

    with pytest.raises(ExceptionGroup) as raised:
        run_virtual(main())
    assert raised.group_contains(LookupError, match="a defect")


def test_lost_replies_double_nothing() -> None:
    async def main() -> None:
        async with world(*TOP_UP) as here:
            here.account.lose_replies = True
            async with here.guarding():
                await here.clock.sleep_ms(90_000)
            assert here.margins == [action.amount for action in here.sent(AddMargin)]  # type: ignore[union-attr]
            assert len(here.margins) == 1
            applied = [each for each in await moved(here.journal) if each.state == "applied"]
            assert len(applied) == len(here.account.sent)

    run_virtual(main())


def test_time_never_runs_backwards_in_the_journal() -> None:
    async def main() -> None:
        async with world(*CRASH) as here:
            async with here.guarding():
                await here.clock.sleep_ms(60_000)
            times = [row.entry.at_ms for row in await rows_of(here)]
            assert times == sorted(times)
            assert times[0] >= T0

    run_virtual(main())


def test_rules_that_change_are_said_and_judged_by_and_verify() -> None:
    changed = (instrument(taker_fee="0.004"),)
    digest = digest_of(to_json(changed, tuple[Instrument, ...]))

    async def act(here: World, guard: Guard) -> None:
        await here.clock.sleep_ms(10_000)
        guard.tell(InstrumentsReported(digest, changed))
        await here.clock.sleep_ms(10_000)
        assert guard.state.instruments.by_symbol[SYMBOL] == changed[0]

    here = play((CALM,), act)
    said = [
        from_json(row.entry.body, Alert).text
        for row in asyncio.run(rows_of(here))
        if row.entry.kind is Kind.ALERT
    ]
    assert said == [f"{SYMBOL}: the venue has changed taker_fee, which counts from now"]
    asyncio.run(verify(here.journal))
