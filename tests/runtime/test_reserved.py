"""
A venue that refuses a close while reduce-only stops rest for the position (Binance, -4118).

The guard's own stops must never keep it from getting out, and the way out leaves no rest naked.
"""

import pytest

from bot.core.actions import AddMargin, CancelStop, ClosePosition, PlaceStop
from bot.core.events import IntentState
from bot.core.model import RestingStops, Side
from bot.core.units import Price, Quantity
from bot.exchange.paper.books import Resting
from bot.exchange.ports import Accepted
from bot.rehearsal.loop import run_virtual
from bot.testing.builders import ACCOUNT, SYMBOL
from tests.runtime.build import T0, TEXT, D, policy
from tests.runtime.paper import World, moved, world

FALLS = ((20_000, 50_000), (20_001, 46_300), (10**8, 46_300))
"""After 20 s the mark is 2.3 % before liquidation: `out` fires, and the stop is not reached."""

TRIMS = TEXT.replace(
    "{ step: out, below: 2.5%, for: 0s, do: close }",
    "{ step: trim, below: 2.5%, for: 0s, do: partial_close, with: { fraction: 25% }, "
    "cooldown: 600s }",
)
NAKED_MAX_MS = 500


def no_top_ups(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if "top-up" not in line)


async def rests(here: World) -> None:
    await here.wait_for(lambda: bool(here.machine.snapshot(ACCOUNT, T0).stops))


def is_flat(here: World) -> bool:
    return not here.machine.snapshot(ACCOUNT, T0).positions


def quantity(here: World) -> object:
    return [each.quantity for each in here.machine.snapshot(ACCOUNT, T0).positions]


@pytest.mark.parametrize(
    ("said", "late_ms"), [(RestingStops.RESERVE, 1_000), (RestingStops.COEXIST, 6_000)]
)
def test_the_guards_own_stop_does_not_keep_it_from_closing(
    said: RestingStops, late_ms: int
) -> None:
    """At once where the rules say so; where they are wrong, when the step may ask again."""

    async def main() -> None:
        async with world(*FALLS, said=said) as here:
            here.machine.resting = Resting.RESERVE
            here.policy = policy(no_top_ups(TEXT))
            async with here.guarding():
                await rests(here)
                await here.wait_for(lambda: bool(here.sent(ClosePosition)))
                await here.wait_for(lambda: is_flat(here), longest_ms=late_ms)

    run_virtual(main())


def test_the_rest_of_a_position_has_a_stop_again_within_half_a_second() -> None:
    async def main() -> None:
        async with world(*FALLS, said=RestingStops.RESERVE) as here:
            here.machine.resting = Resting.RESERVE
            here.policy = policy(no_top_ups(TRIMS))
            async with here.guarding():
                await rests(here)
                await here.wait_for(lambda: not here.machine.snapshot(ACCOUNT, T0).stops)
                gone_ms = here.clock.now_ms()
                await rests(here)
                assert here.clock.now_ms() - gone_ms <= NAKED_MAX_MS
                assert quantity(here) == [D("0.75")]
                await here.clock.sleep_ms(20_000)  # and it stays so, with one stop
                assert len(here.machine.snapshot(ACCOUNT, T0).stops) == 1
                assert len(here.sent(ClosePosition)) == 1

    run_virtual(main())


def test_a_close_whose_way_is_cleared_is_one_durable_intent() -> None:
    async def main() -> None:
        async with world(*FALLS, said=RestingStops.RESERVE) as here:
            here.machine.resting = Resting.RESERVE
            here.policy = policy(no_top_ups(TRIMS))
            async with here.guarding():
                await rests(here)
                await here.wait_for(lambda: bool(here.sent(ClosePosition)))
                close = next(each for action, each in here.account.sent if _closes(action))
                order = [line for line in here.trace if line != f"sent {close}"]
                cancelled_at = next(
                    index
                    for index, (action, _) in enumerate(here.account.sent)
                    if isinstance(action, CancelStop)
                )
                _, cancel = here.account.sent[cancelled_at]
                assert order.index(f"durable {close}") < order.index(f"sent {cancel}")
                assert here.trace.index(f"sent {cancel}") < here.trace.index(f"sent {close}")
                assert f"durable {cancel}" not in here.trace  # it is part of the close

    run_virtual(main())


@pytest.mark.parametrize("died_after", [CancelStop, ClosePosition])
def test_a_guard_that_dies_on_the_way_out_rests_a_stop_when_it_comes_back(
    died_after: type[CancelStop | ClosePosition],
) -> None:
    """Killed with its stop cancelled, before and after the close is on its way."""

    async def main() -> None:
        async with world(*FALLS, said=RestingStops.RESERVE) as here:
            here.machine.resting = Resting.RESERVE
            here.policy = policy(no_top_ups(TRIMS))
            await here.guard_until(lambda: bool(here.sent(died_after)))
            await here.clock.sleep_ms(1_000)
            assert here.machine.snapshot(ACCOUNT, T0).stops == ()
            async with here.guarding():
                await here.wait_for(
                    lambda: bool(here.machine.snapshot(ACCOUNT, T0).stops), longest_ms=1_000
                )
                await here.clock.sleep_ms(20_000)
                trims = {each for action, each in here.account.sent if _closes(action)}
                outcomes = {each.intent_id: each.state for each in await moved(here.journal)}
                assert all(outcomes[each] is IntentState.APPLIED for each in trims)
                assert len(here.machine.snapshot(ACCOUNT, T0).stops) == 1

    run_virtual(main())


def test_a_cancel_that_nobody_answers_does_not_hold_up_the_close() -> None:
    """Its reply is lost: the close goes out within the second that the cancel is waited for."""

    async def main() -> None:
        async with world(*FALLS, said=RestingStops.RESERVE) as here:
            here.machine.resting = Resting.RESERVE
            here.policy = policy(no_top_ups(TEXT))
            async with here.guarding():
                await rests(here)
                here.account.silent = CancelStop
                await here.wait_for(lambda: bool(here.sent(CancelStop)))
                await here.wait_for(lambda: is_flat(here), longest_ms=1_200)

    run_virtual(main())


def test_what_the_users_stops_leave_is_closed_and_theirs_are_not_cancelled() -> None:
    async def main() -> None:
        async with world(*FALLS, said=RestingStops.RESERVE) as here:
            here.machine.resting = Resting.RESERVE
            here.policy = policy(no_top_ups(TEXT))
            theirs = PlaceStop(SYMBOL, Side.LONG, Quantity(D("0.4")), Price(D(45_500)))
            async with here.guarding():
                await rests(here)
                reply = here.venue.at_now(
                    lambda machine, at_ms: machine.handle(ACCOUNT, theirs, "users", at_ms)
                )
                assert reply == Accepted()
                await here.wait_for(lambda: quantity(here) == [D("0.4")], longest_ms=40_000)
                stops = here.machine.snapshot(ACCOUNT, T0).stops
                assert "users" in {stop.client_id for stop in stops}

    run_virtual(main())


def test_a_venue_whose_stops_lie_beside_a_close_keeps_them() -> None:
    async def main() -> None:
        async with world(*FALLS) as here:
            here.policy = policy(no_top_ups(TRIMS))
            async with here.guarding():
                await rests(here)
                await here.wait_for(lambda: quantity(here) == [D("0.75")])
                assert here.sent(CancelStop) == []
                assert here.sent(AddMargin) == []

    run_virtual(main())


def _closes(action: object) -> bool:
    return isinstance(action, ClosePosition)
