"""A position that is larger than any order that the exchange takes, guarded to its end."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from bot.core.actions import CancelStop, ClosePosition, PlaceStop
from bot.core.events import IntentState
from bot.core.model import RestingStops, Side
from bot.core.units import Money, Price, Quantity, Ratio
from bot.exchange.paper.books import Cause, Resting
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.orders import OrderLimits
from bot.exchange.paper.prices import Prices
from bot.exchange.ports import Refused
from bot.rehearsal.loop import run_virtual
from bot.runtime.verify import verify
from bot.testing.builders import ACCOUNT, SYMBOL, instrument
from tests.runtime.build import T0, TEXT, D, policy
from tests.runtime.paper import World, moved, world_of

MOST = D(1)
WHOLE = D("3.4")
NO_TOP_UPS = "\n".join(line for line in TEXT.splitlines() if "top-up" not in line)
CRASH = ((20_000, 50_000), (20_001, 45_700), (10**8, 45_700))
"""The stop is at 45,914.9, liquidation at 45,226.13."""

NO_LADDER = NO_TOP_UPS.replace("below: 2.5%", "below: 0.8%")


def machine(places: int, said: RestingStops = RestingStops.COEXIST) -> PaperMachine:
    """A 10x long of 3.4 bitcoin, where no order at market is for more than one."""
    listed = instrument()
    listed = replace(
        listed,
        quantity_max=Quantity(MOST),
        stops_max=places,
        rules=replace(listed.rules, resting_stops=said),
    )
    made = PaperMachine([listed], Ratio(D("0.0005")))
    made.move(T0, {SYMBOL: Prices(Price(D(50_000)), Price(D(50_000)))})
    made.deposit(ACCOUNT, Money(D(34_000)))
    made.open_position(
        ACCOUNT, SYMBOL, Side.LONG, quantity=Quantity(WHOLE), leverage=D(10), at_ms=T0
    )
    made.limits = OrderLimits(
        market_steps_max=MOST / listed.quantity_step, conditional_symbol_max=places
    )
    made.take_notices()
    return made


@asynccontextmanager
async def held(
    *corners: tuple[int, int], places: int = 10, said: RestingStops = RestingStops.COEXIST
) -> AsyncIterator[World]:
    async with world_of(machine(places, said), *corners) as here:
        here.policy = policy(NO_LADDER)
        yield here


def stopped(here: World) -> list[Quantity]:
    return sorted(stop.quantity for stop in here.machine.snapshot(ACCOUNT, T0).stops)


def is_flat(here: World) -> bool:
    return not here.machine.snapshot(ACCOUNT, T0).positions


def test_the_exchange_takes_no_stop_of_that_size() -> None:
    whole = PlaceStop(SYMBOL, Side.LONG, Quantity(WHOLE), Price(D(46_000)))
    reply = machine(10).handle(ACCOUNT, whole, "whole", T0)
    assert isinstance(reply, Refused)
    assert reply.code == "-4005"


@pytest.mark.parametrize("resting", list(Resting))
def test_its_stop_is_several_orders_and_a_crash_fills_them_all(resting: Resting) -> None:
    """The guard does not have to close anything itself, and is not liquidated."""

    async def main() -> None:
        async with held(*CRASH) as here:
            here.machine.resting = resting
            async with here.guarding():
                await here.wait_for(
                    lambda: stopped(here) == [D("0.4"), MOST, MOST, MOST], longest_ms=2_000
                )
                await here.clock.sleep_ms(10_000)
                assert len(here.sent(PlaceStop)) == 4
                await here.wait_for(lambda: is_flat(here), longest_ms=12_000)
                await here.clock.sleep_ms(10_000)
                assert here.sent(ClosePosition) == []
                assert {fill.cause for fill in here.machine.realised(ACCOUNT)} == {Cause.STOP}
            outcomes = {each.intent_id: each.state for each in await moved(here.journal)}
            assert set(outcomes.values()) == {IntentState.APPLIED}
            assert len(outcomes) == 4
            assert (await verify(here.journal)).intents == 4

    run_virtual(main())


def test_one_that_the_user_cancels_comes_back() -> None:
    async def main() -> None:
        async with held((10**8, 50_000)) as here, here.guarding():
            await here.wait_for(lambda: len(stopped(here)) == 4)
            victim = next(
                stop.client_id
                for stop in here.machine.snapshot(ACCOUNT, T0).stops
                if stop.quantity == MOST
            )
            cancel = CancelStop(SYMBOL, Side.LONG, victim)
            here.venue.at_now(
                lambda machine, at_ms: machine.handle(ACCOUNT, cancel, "users", at_ms)
            )
            await here.wait_for(lambda: len(stopped(here)) == 4, longest_ms=1_000)
            assert stopped(here) == [D("0.4"), MOST, MOST, MOST]

    run_virtual(main())


def test_a_guard_that_comes_back_finds_its_stop_and_places_no_other() -> None:
    async def main() -> None:
        async with held((10**8, 50_000)) as here:
            await here.guard_until(lambda: len(stopped(here)) == 4)
            async with here.guarding():
                await here.clock.sleep_ms(30_000)
            assert len(here.sent(PlaceStop)) == 4

    run_virtual(main())


def test_with_too_few_places_the_guard_itself_closes_at_the_level() -> None:
    """Two of four orders rest and fill; what is left the guard closes, an order at a time."""

    async def main() -> None:
        async with held(*CRASH, places=2) as here, here.guarding():
            await here.wait_for(lambda: stopped(here) == [MOST, MOST])
            await here.wait_for(lambda: is_flat(here), longest_ms=30_000)
            assert here.sent(ClosePosition)
            causes = {fill.cause for fill in here.machine.realised(ACCOUNT)}
            assert causes == {Cause.STOP, Cause.CLOSE}

    run_virtual(main())


def test_a_close_of_it_clears_every_order_of_its_stop() -> None:
    """Where resting stops reserve the position, in slices, and none is refused for them."""

    async def main() -> None:
        falls = ((20_000, 50_000), (20_001, 46_100), (10**8, 46_100))
        async with held(*falls, said=RestingStops.RESERVE) as here:
            here.machine.resting = Resting.RESERVE
            here.policy = policy(NO_TOP_UPS)
            async with here.guarding():
                await here.wait_for(lambda: len(stopped(here)) == 4)
                await here.wait_for(lambda: is_flat(here), longest_ms=40_000)
                outcomes = {each.intent_id: each.state for each in await moved(here.journal)}
                assert IntentState.REJECTED not in outcomes.values()

    run_virtual(main())
