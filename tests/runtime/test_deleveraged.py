"""What the guard does when the exchange makes its account fill another's liquidation."""

import asyncio

from bot.clock import Clock
from bot.core.actions import PlaceStop
from bot.core.model import Side
from bot.core.units import Money, Price, Quantity, Ratio
from bot.exchange.paper.faults import no_faults
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.prices import PricePoint, Prices
from bot.exchange.paper.store import MemoryOnly
from bot.exchange.paper.venue import PaperVenue
from bot.rehearsal.loop import run_virtual
from bot.testing.builders import ACCOUNT, SYMBOL, instrument
from tests.runtime.build import T0, D
from tests.runtime.paper import LATENCY_MS, World, decisions

OTHER = "other"
ACT_WITHIN_MS = 5_000


def two_accounts() -> PaperMachine:
    """The guarded short of 1 at 10x, and another's long of 0.6 at 20x, bankrupt at 47,500."""
    machine = PaperMachine([instrument()], Ratio(D(0)))
    machine.move(T0, {SYMBOL: Prices(Price(D(50_000)), Price(D(50_000)))})
    for account, side, quantity, leverage in (
        (ACCOUNT, Side.SHORT, "1", 10),
        (OTHER, Side.LONG, "0.6", 20),
    ):
        machine.deposit(account, Money(D(10_000)))
        machine.open_position(
            account, SYMBOL, side, quantity=Quantity(D(quantity)), leverage=D(leverage), at_ms=T0
        )
    machine.take_notices()
    return machine


def test_what_is_left_of_a_deleveraged_position_gets_a_stop_again_within_five_seconds() -> None:
    """
    0.6 of the short are closed to fill the other's liquidation, and its stop is cancelled with it.

    The guard says so, reads the account at once and rests a stop for the 0.4 that are left.
    """

    async def main() -> None:
        machine = two_accounts()
        path = [
            PricePoint(T0 + at_ms, SYMBOL, Price(D(mark)), Price(D(last)))
            for at_ms, mark, last in (
                (40_000, 50_000, 50_000),
                (60_000, 47_700, 46_000),
                (90_000, 47_700, 47_700),
            )
        ]
        venue = PaperVenue(
            machine,
            iter(path),
            Clock(T0),
            latency_ms=LATENCY_MS,
            store=MemoryOnly(),
            faults=no_faults(),
        )
        async with venue, asyncio.TaskGroup() as tasks:
            prices = tasks.create_task(venue.run())
            world = World(machine, venue)
            async with world.guarding():
                await world.wait_for(lambda: bool(machine.snapshot(ACCOUNT, T0).stops))
                (first,) = machine.snapshot(ACCOUNT, T0).stops
                assert first.quantity == 1
                await world.wait_for(lambda: not machine.snapshot(OTHER, T0).positions)
                taken_at_ms = world.clock.now_ms()
                (left,) = machine.snapshot(ACCOUNT, T0).positions
                assert left.quantity == D("0.4")
                assert machine.snapshot(ACCOUNT, T0).stops == ()
                await world.wait_for(
                    lambda: bool(machine.snapshot(ACCOUNT, T0).stops), longest_ms=ACT_WITHIN_MS
                )
                (stop,) = machine.snapshot(ACCOUNT, T0).stops
                assert stop.quantity == D("0.4")
            told = [
                (alert.kind, recorded.decision.at_ms - taken_at_ms)
                for _, recorded in await decisions(world.journal)
                for alert in recorded.decision.alerts
                if alert.kind == "auto_deleveraged"
            ]
            assert [kind for kind, _ in told] == ["auto_deleveraged"]
            assert told[0][1] <= LATENCY_MS + 10
            (named,) = [
                approved.intent
                for _, recorded in await decisions(world.journal)
                for approved in recorded.decision.approved
                if recorded.decision.at_ms >= taken_at_ms
                and isinstance(approved.intent.action, PlaceStop)
            ]
            assert named.reason == "protect/stop"
            prices.cancel()

    run_virtual(main())
