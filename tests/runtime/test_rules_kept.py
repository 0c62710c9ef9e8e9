"""The venue's rules are kept in the journal before a row names them, and never waited for."""

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
from bot.runtime.verify import verify
from bot.testing.builders import ACCOUNT, SYMBOL, instrument
from tests.runtime.build import T0, D
from tests.runtime.paper import END_MS, LATENCY_MS, World

OTHER = "ETHUSDT"
AT = Prices(Price(D(2_000)), Price(D(2_000)))


def test_a_symbol_met_while_the_store_is_down_is_protected_and_on_record_afterwards() -> None:
    async def main() -> None:
        machine = PaperMachine([instrument(), instrument(OTHER)], Ratio(D(0)))
        machine.move(T0, {SYMBOL: AT, OTHER: AT})
        machine.deposit(ACCOUNT, Money(D(10_000)))
        path = [PricePoint(T0 + END_MS, each, AT.mark, AT.last) for each in (SYMBOL, OTHER)]
        venue = PaperVenue(
            machine,
            iter(path),
            Clock(T0),
            latency_ms=LATENCY_MS,
            store=MemoryOnly(),
            faults=no_faults(),
        )
        async with venue:
            here = World(machine, venue)
            async with here.guarding():
                await here.clock.sleep_ms(1_000)
                here.journal.is_broken = True
                venue.at_now(
                    lambda machine, now_ms: machine.open_position(
                        ACCOUNT,
                        OTHER,
                        Side.LONG,
                        quantity=Quantity(D(1)),
                        leverage=D(10),
                        at_ms=now_ms,
                    )
                )
                await here.wait_for(lambda: here.sent(PlaceStop) != [], longest_ms=5_000)
                here.journal.is_broken = False
                await here.clock.sleep_ms(60_000)
            assert machine.snapshot(ACCOUNT, machine.at_ms).stops
            await verify(here.journal)

    run_virtual(main())
