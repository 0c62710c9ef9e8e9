"""Venues whose resting orders get in the way of others, and what the guard makes of it."""

from bot.core.actions import ClosePosition, PlaceStop
from bot.core.model import Side
from bot.core.units import Quantity
from bot.exchange.paper.books import Resting
from bot.exchange.ports import Accepted
from bot.rehearsal.loop import run_virtual
from bot.testing.builders import ACCOUNT, SYMBOL
from tests.runtime.build import T0, D
from tests.runtime.paper import world


def test_a_stop_that_a_users_close_displaced_is_placed_again() -> None:
    """Half closed by hand: the venue cancels the guard's stop of 1, and 0.5 stand naked."""

    async def main() -> None:
        async with world((60_000, 50_000)) as here:
            here.machine.resting = Resting.DISPLACE
            async with here.guarding():
                await here.wait_for(lambda: bool(here.machine.snapshot(ACCOUNT, T0).stops))
                half = ClosePosition(SYMBOL, Side.LONG, Quantity(D("0.5")))
                reply = here.venue.at_now(
                    lambda machine, at_ms: machine.handle(ACCOUNT, half, "users", at_ms)
                )
                assert reply == Accepted()
                assert here.machine.snapshot(ACCOUNT, T0).stops == ()
                await here.wait_for(
                    lambda: bool(here.machine.snapshot(ACCOUNT, T0).stops), longest_ms=5_000
                )
                (stop,) = here.machine.snapshot(ACCOUNT, T0).stops
                assert stop.quantity == D("0.5")
                assert len(here.sent(PlaceStop)) == 2

    run_virtual(main())
