"""Recovery: what a fresh process believes after each moment at which the last one may die."""

import asyncio
from dataclasses import replace

import pytest

from bot.core.actions import AddMargin
from bot.core.events import AccountMode, Command, IntentState
from bot.core.guardrails import spent_since
from bot.core.state import AccountState, NotRead
from bot.journal.port import Kind
from bot.rehearsal.loop import run_virtual
from bot.runtime.record import recover
from bot.runtime.verify import verify
from bot.testing.builders import ACCOUNT
from tests.runtime.build import T0, D, FragileJournal, policy
from tests.runtime.paper import World, moved, world

TOP_UP = (
    *((0, 50_000), (5_000, 50_000)),
    *((10_000, 47_000), (200_000, 47_000)),  # wants 1,509 USDT, may add 1,000
    *((210_000, 46_000), (400_000, 46_000)),  # wants more, may add 500
    (410_000, 45_500),  # wants more, may add none
)
END_MS = 600_000
CALM = (0, 50_000)


async def recovered(here: World) -> AccountState:
    return await recover(here.journal, ACCOUNT, policy(), here.clock.now_ms())


def spends(state: AccountState) -> list[tuple[IntentState, object]]:
    return [
        (intent.state, intent.action.amount)
        for intent in state.intents.values()
        if isinstance(intent.action, AddMargin)
    ]


def test_a_first_start_is_newborn_now() -> None:
    async def main() -> AccountState:
        return await recover(FragileJournal(), ACCOUNT, policy(), T0 + 5)

    state = run_virtual(main())
    assert (state.birth.account, state.birth.at_ms) == (ACCOUNT, T0 + 5)
    assert state.intents == {}
    assert state.mode is AccountMode.ACTIVE
    assert state.account == NotRead()


def test_a_process_that_died_before_it_decided_leaves_its_birth() -> None:
    async def main() -> None:
        async with world(CALM) as here:
            born = (await here.guard()).state.birth
            await here.clock.sleep_ms(60_000)
            assert (await recovered(here)).birth == born

    run_virtual(main())


def durable(here: World) -> int:
    return sum(line.startswith("durable") for line in here.trace)


@pytest.mark.parametrize("arrived", [False, True])
def test_an_intent_whose_sender_died_is_unknown_and_spent_until_settled(arrived: bool) -> None:
    async def main() -> None:
        async with world(*TOP_UP) as here:
            await here.guard_until(lambda: bool(here.margins if arrived else here.sent(AddMargin)))
            assert bool(here.margins) is arrived
            state = await recovered(here)
            assert spends(state) == [(IntentState.UNKNOWN, D("1000.00"))]
            assert spent_since(state, 0) == 1_000
            async with here.guarding() as guard:
                await here.wait_for(lambda: IntentState.APPLIED in dict(spends(guard.state)))
                await here.clock.sleep_ms(END_MS)
            # One thousand before the crash, and five hundred after it: the budget of an hour.
            assert here.margins == [D("1000.00"), D("500.00")]
            await verify(here.journal)

    run_virtual(main())


def test_an_intent_that_was_never_sent_is_proven_absent_and_may_be_wanted_again() -> None:
    async def main() -> None:
        async with world(*TOP_UP) as here:
            await _die_between_append_and_send(here)
            assert durable(here) == 2  # the stop and the top-up
            assert here.sent(AddMargin) == []
            state = await recovered(here)
            assert spends(state) == [(IntentState.UNKNOWN, D("1000.00"))]
            async with here.guarding():
                await here.clock.sleep_ms(20_000)
                assert here.sent(AddMargin) == []  # the first may still be under way
                await here.clock.sleep_ms(END_MS)
            states = [each.state for each in await moved(here.journal)]
            assert IntentState.NOT_APPLIED in states
            assert here.margins == [D("1000.00"), D("500.00")]
            await verify(here.journal)

    run_virtual(main())


async def _die_between_append_and_send(here: World) -> None:
    """A guard of which every top-up dies on its way from the journal to the wire."""
    guard = await here.guard()
    perform = guard._executor.perform
    died = asyncio.Event()

    async def dying(approved: object) -> None:
        if isinstance(approved.intent.action, AddMargin):  # type: ignore[attr-defined]
            died.set()
            return
        await perform(approved)  # type: ignore[arg-type]

    guard._executor.perform = dying  # type: ignore[method-assign]
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(guard.run())
        await died.wait()
        running.cancel()


def test_an_outcome_that_was_journalled_is_known_at_once() -> None:
    async def main() -> None:
        async with world(*TOP_UP) as here:
            async with here.guarding() as guard:
                await here.wait_for(lambda: IntentState.APPLIED in dict(spends(guard.state)))
                guard.tell(Command(AccountMode.HOLD, "enough", here.clock.now_ms()))
                await here.clock.sleep_ms(1_000)
            state = await recovered(here)
            assert (IntentState.APPLIED, D("1000.00")) in spends(state)
            assert (state.mode, state.mode_reason) == (AccountMode.HOLD, "enough")
            assert state.account == NotRead()
            assert state.marks == {}
            assert all(intent.is_open is False for intent in state.intents.values())

    run_virtual(main())


@pytest.mark.parametrize("deaths", [1, 5])
def test_budgets_are_remembered_through_any_number_of_deaths(deaths: int) -> None:
    async def main() -> None:
        async with world(*TOP_UP) as here:
            await here.guard_until(lambda: sum(here.margins) == 1_000)
            for _ in range(deaths):
                alive_until_ms = here.clock.now_ms() + 7_000
                await here.guard_until(
                    lambda until_ms=alive_until_ms: here.clock.now_ms() >= until_ms  # type: ignore[misc]
                )
            async with here.guarding():
                await here.clock.sleep_ms(END_MS)
            assert sum(here.margins) == 1_500  # per_1h, and not a cent more
            await verify(here.journal)

    run_virtual(main())


def test_client_ids_never_repeat_across_lives() -> None:
    async def main() -> None:
        async with world(*TOP_UP) as here:
            for _ in range(4):
                until_ms = here.clock.now_ms() + 12_000
                await here.guard_until(
                    lambda until_ms=until_ms: here.clock.now_ms() >= until_ms  # type: ignore[misc]
                )
            ids = [client_id for _, client_id in here.account.sent]
            assert len(ids) == len(set(ids))

    run_virtual(main())


def test_a_restart_leaves_the_stop_in_place_and_places_no_second() -> None:
    async def main() -> None:
        async with world(CALM) as here:
            for _ in range(5):
                until_ms = here.clock.now_ms() + 8_000
                await here.guard_until(
                    lambda until_ms=until_ms: here.clock.now_ms() >= until_ms  # type: ignore[misc]
                )
            assert len(here.account.sent) == 1
            assert len(here.machine.snapshot(ACCOUNT, here.machine.at_ms).stops) == 1

    run_virtual(main())


def test_every_life_writes_a_started_row_with_the_first_birth() -> None:
    async def main() -> None:
        async with world(CALM) as here:
            first = await here.guard()
            await here.clock.sleep_ms(1_000)
            second = await here.guard()
            assert second.state.birth == first.state.birth
            kinds = [row.entry.kind for row in await here.journal.rows(0)]
            assert kinds == [Kind.STARTED, Kind.STARTED]

    run_virtual(main())


def test_a_changed_policy_is_followed_and_the_old_one_still_explains_the_old_rows() -> None:
    async def main() -> None:
        async with world(*TOP_UP) as here:
            await here.guard_until(lambda: sum(here.margins) == 1_000)
            stricter = policy(policy().text.replace("per_1h: 1500", "per_1h: 1000"))
            state = await recover(here.journal, ACCOUNT, stricter, here.clock.now_ms())
            assert state.policy_digest == stricter.digest
            assert replace(state, policy_digest="") == replace(
                await recovered(here), policy_digest=""
            )

    run_virtual(main())
