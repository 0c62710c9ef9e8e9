"""A guarded account on the paper exchange, lived through corners of prices, and verified."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bot.clock import Clock
from bot.core.actions import Action
from bot.core.policy import Policy
from bot.core.units import Price
from bot.exchange.paper.course import Course
from bot.exchange.paper.faults import no_faults
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.prices import PathItem, PricePoint
from bot.exchange.paper.store import MemoryOnly
from bot.exchange.paper.venue import PaperAccount, PaperMarket, PaperVenue
from bot.journal.codec import from_json
from bot.journal.port import Kind
from bot.journal.sqlite import SqliteJournal
from bot.rehearsal.loop import run_virtual
from bot.runtime.assemble import assemble
from bot.runtime.record import Recorded
from bot.runtime.verify import verify
from bot.testing.builders import ACCOUNT
from tests.runtime.build import T0, D


@dataclass(frozen=True)
class Lived:
    """What came of a guarded account."""

    machine: PaperMachine
    intents: Sequence[Action]
    decisions: int


def path(machine: PaperMachine, *corners: tuple[int, int]) -> Iterator[PathItem]:
    """All symbols at the same prices, milliseconds from T0."""
    for at_ms, price in corners:
        for symbol in machine.instruments:
            yield PricePoint(T0 + at_ms, symbol, Price(D(price)), Price(D(price)))


def unguarded(machine: PaperMachine, *corners: tuple[int, int]) -> bool:
    """Whether the exchange takes anything over."""
    course = Course(path(machine, *corners), machine)
    course.advance(T0 + corners[-1][0])
    return bool(machine.liquidation(ACCOUNT))


def guarded(machine: PaperMachine, rules: Policy, *corners: tuple[int, int]) -> Lived:
    async def main() -> Lived:
        clock = Clock(T0)
        venue = PaperVenue(
            machine,
            path(machine, *corners),
            clock,
            latency_ms=50,
            store=MemoryOnly(),
            faults=no_faults(),
        )
        journal = SqliteJournal.open(None, rules.account)
        async with venue:
            account = PaperAccount(venue, ACCOUNT)
            guard = await assemble(rules, PaperMarket(venue), account, clock, journal)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(guard.run())
                await venue.run()
                guard.stop()
        rows = await journal.rows(0)
        verified = await verify(journal)
        intents = [
            approved.intent.action
            for row in rows
            if row.entry.kind is Kind.DECISION
            for approved in from_json(row.entry.body, Recorded).decision.approved
        ]
        await journal.close()
        return Lived(machine, intents, verified.decisions)

    return run_virtual(main())
