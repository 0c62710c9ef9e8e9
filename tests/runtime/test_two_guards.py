"""Two guards on one account of a paper exchange, each with a journal, in one virtual time."""

import asyncio

from bot.clock import Clock
from bot.core.actions import CancelStop
from bot.core.events import AccountMode
from bot.core.ids import birth_prefix
from bot.exchange.paper.venue import PaperMarket
from bot.rehearsal.loop import run_virtual
from bot.runtime.assemble import assemble
from bot.runtime.guard import Guard
from bot.testing.builders import ACCOUNT
from tests.runtime.build import T0, D
from tests.runtime.paper import TracedAccount, TracedJournal, World, world

FALLS = ((40_000, 50_000), (40_001, 46_900), (10**8, 46_900))
"""After 40 s the mark is 3.6 % before liquidation, where the policy tops up."""


async def second_guard(here: World) -> tuple[Guard, TracedAccount]:
    clock = here.clock
    assert isinstance(clock, Clock)
    account = TracedAccount(here.venue, here.trace)
    journal = TracedJournal(here.trace)
    return await assemble(here.policy, PaperMarket(here.venue), account, clock, journal), account


def test_of_two_guards_the_younger_spends_nothing_and_both_keep_their_stops() -> None:
    async def main() -> None:
        async with world(*FALLS) as here:
            elder = await here.guard()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(elder.run())
                await here.clock.sleep_ms(5_000)
                younger, its = await second_guard(here)
                tasks.create_task(younger.run())
                await here.clock.sleep_ms(115_000)
                elder.stop()
                younger.stop()
            assert elder.state.mode is AccountMode.ACTIVE
            assert younger.state.mode is AccountMode.NO_SPEND
            resting = here.machine.snapshot(ACCOUNT, T0).stops
            for guard in (elder, younger):
                prefix = birth_prefix(guard.state.birth)
                assert [each for each in resting if each.client_id.startswith(prefix)]
            assert len(here.margins) == 1
            assert here.margins[0] > D(0)
            assert all(
                each.startswith(birth_prefix(guard.state.birth))
                for guard, account in ((elder, here.account), (younger, its))
                for action, _ in account.sent
                if isinstance(action, CancelStop)
                for each in (action.target_client_id,)
            )

    run_virtual(main())


def test_the_younger_one_learns_of_the_elder_whichever_places_its_stop_first() -> None:
    """Both begin before there is anything to protect; the younger one is the first to act."""

    async def main() -> None:
        async with world(*FALLS) as here:
            elder = await here.guard()
            await here.clock.sleep_ms(1)
            younger, _ = await second_guard(here)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(younger.run())
                await here.clock.sleep_ms(5_000)
                tasks.create_task(elder.run())
                await here.clock.sleep_ms(115_000)
                elder.stop()
                younger.stop()
            assert elder.state.mode is AccountMode.ACTIVE
            assert younger.state.mode is AccountMode.NO_SPEND
            assert len(here.margins) == 1

    run_virtual(main())
