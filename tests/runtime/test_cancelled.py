"""A human cancels the guard's stop by hand: it comes back, or stays off as the policy says."""

import pytest

from bot.core.actions import CancelStop, ClosePosition, PlaceStop
from bot.core.model import Side
from bot.exchange.ports import Accepted
from bot.rehearsal.loop import run_virtual
from bot.testing.builders import ACCOUNT, SYMBOL
from tests.runtime.build import T0, TEXT, policy
from tests.runtime.paper import World, world

RESPECTS = TEXT.replace("stop: { room: ", "stop: { if_cancelled: respect, room: ")
NO_STEPS = RESPECTS[: RESPECTS.index("      - { step: top-up")]
"""Nothing but what stands for the stop closes."""


async def cancelled_by_hand(here: World) -> None:
    await here.wait_for(lambda: bool(here.machine.snapshot(ACCOUNT, T0).stops))
    (stop,) = here.machine.snapshot(ACCOUNT, T0).stops
    await here.clock.sleep_ms(2_000)  # the guard has seen it rest
    by_hand = CancelStop(SYMBOL, Side.LONG, stop.client_id)
    reply = here.venue.at_now(
        lambda machine, at_ms: machine.handle(ACCOUNT, by_hand, "users", at_ms)
    )
    assert reply == Accepted()


@pytest.mark.parametrize(("text", "stops"), [(TEXT, 2), (RESPECTS, 1)])
def test_a_stop_cancelled_by_hand(text: str, stops: int) -> None:
    async def main() -> None:
        async with world((60_000, 50_000)) as here:
            here.policy = policy(text)
            async with here.guarding():
                await cancelled_by_hand(here)
                await here.clock.sleep_ms(30_000)
                assert len(here.sent(PlaceStop)) == stops

    run_virtual(main())


def test_where_it_stays_off_the_guard_closes_at_its_level() -> None:
    async def main() -> None:
        async with world((30_000, 50_000), (60_000, 45_800)) as here:
            here.policy = policy(NO_STEPS)
            async with here.guarding():
                await cancelled_by_hand(here)
                await here.wait_for(lambda: not here.machine.snapshot(ACCOUNT, T0).positions)
                assert len(here.sent(PlaceStop)) == 1
                assert here.sent(ClosePosition)

    run_virtual(main())
