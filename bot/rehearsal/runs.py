"""
Rehearsals: the same recorded prices lived through twice from one start, without and with a guard.

Guarded runs use the very parts of a live account; time is virtual and the exchange is paper.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from random import Random

from bot.clock import Clock
from bot.core.policy import Policy
from bot.core.units import ZERO, Money
from bot.exchange.paper.course import Course
from bot.exchange.paper.faults import FaultPlan, Faults
from bot.exchange.paper.prices import PathItem
from bot.exchange.paper.store import MemoryOnly
from bot.exchange.paper.timeline import PathEnded
from bot.exchange.paper.venue import PaperAccount, PaperMarket, PaperVenue
from bot.journal.port import Row
from bot.journal.sqlite import SqliteJournal
from bot.rehearsal.deeds import Deed, read_deeds
from bot.rehearsal.fates import ACCOUNT, Fate, Observed, Witness, nobody
from bot.rehearsal.loop import run_virtual
from bot.rehearsal.setups import Setup, open_account
from bot.runtime.assemble import assemble

FLAT_FOR_MS = 1_800_000
"""A rehearsal ends when the account has been flat for half an hour: nothing is left to happen."""

REPLY_SLACK_MS = 1_000
"""How long after its two ways a reply is still waited for."""


@dataclass(frozen=True, slots=True)
class Guarded:
    """A run with a guard: its fate, what was done, the margin spent, and the journal's rows."""

    fate: Fate
    deeds: tuple[Deed, ...]
    spent: Money
    rows: tuple[Row, ...]

    @property
    def digest(self) -> str:
        """The hash of the journal's last row, which covers all of them."""
        return self.rows[-1].hash


def run_unguarded(setup: Setup, witness: Witness = nobody) -> Fate:
    """Live through the prices with no guard."""
    machine = Observed(setup, witness)
    course = Course(open_account(setup, machine, ACCOUNT), machine)
    witness(machine, machine.snapshot(ACCOUNT, machine.at_ms))
    while not isinstance(item := course.upcoming(), PathEnded):
        course.advance(item.at_ms)
        course.forget(item.at_ms)
        if not machine.is_open:
            break  # nothing is left to happen
    return machine.fate()


def _silent(at_ms: int) -> None:
    """Progress that nobody watches."""


def run_guarded(
    setup: Setup,
    policy: Policy,
    progress: Callable[[int], None] = _silent,
    witness: Witness = nobody,
) -> Guarded:
    """Live through the same prices with a guard; `progress` hears the time it has reached."""
    return run_virtual(_guarded(setup, policy, progress, witness))


async def _guarded(
    setup: Setup, policy: Policy, progress: Callable[[int], None], witness: Witness
) -> Guarded:
    machine = Observed(setup, witness)
    path = open_account(setup, machine, ACCOUNT)
    witness(machine, machine.snapshot(ACCOUNT, machine.at_ms))
    clock = Clock(machine.at_ms)
    journal = SqliteJournal.open(None, policy.account)
    venue = PaperVenue(
        machine,
        _until_flat(machine, path, progress),
        clock,
        latency_ms=setup.one_way_ms,
        store=MemoryOnly(),
        faults=_patient(setup),
    )
    async with venue:
        guard = await assemble(
            policy,
            PaperMarket(venue, setup.charts),
            PaperAccount(venue, ACCOUNT),
            clock,
            journal,
        )
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(guard.run())
            await venue.run()
            guard.stop()
    deeds = await read_deeds(journal, machine.realised(ACCOUNT))
    spent = sum((deed.amount for deed in deeds if deed.verb == "top_up"), ZERO)
    rows = await journal.rows(0)
    await journal.close()
    return Guarded(machine.fate(), deeds, Money(spent), tuple(rows))


def _patient(setup: Setup) -> Faults:
    """No faults, and no reply that the latency alone makes late."""
    plan = FaultPlan()
    waits_ms = max(plan.timeout_ms, 2 * setup.one_way_ms + REPLY_SLACK_MS)
    return Faults(replace(plan, timeout_ms=waits_ms), Random(0))  # noqa: S311 - never drawn from


def _until_flat(
    machine: Observed, path: Iterator[PathItem], progress: Callable[[int], None]
) -> Iterator[PathItem]:
    """The items of `path` until nothing is left to happen."""
    for item in path:
        if not machine.is_open and item.at_ms - machine.open_at_ms > FLAT_FOR_MS:
            return
        progress(item.at_ms)
        yield item
