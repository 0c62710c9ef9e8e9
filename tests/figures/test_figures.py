"""The figures see a guard that does its work, and one that does not."""

from collections.abc import Iterator

import pytest
import structlog

from bot.core.actions import Action
from bot.exchange.ports import Reply, Unsure
from tests.figures.breaches import STEP, Breach, run
from tests.figures.fates import Fate, Naked, Why, fate_of
from tests.figures.run import fates, percentile
from tests.sim.line import ObservedAccount

SAVED = 14
"""A seed in which one position is liquidated without the guard, and not with it."""


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    before = structlog.get_config()
    yield
    structlog.configure(**before)


def test_twenty_closes_are_performed_a_trip_after_the_breach_and_verified_a_trip_later() -> None:
    every = run(0, "close", 60, faulty=False).breaches.values()
    assert STEP > 0
    assert {each.safer_ms - each.breached_ms for each in every} == {250}
    assert {each.verified_ms - each.breached_ms for each in every} == {375}


def test_what_gets_no_answer_costs_time_and_nobody() -> None:
    every = list(run(1, "close", 60, faulty=True).breaches.values())
    assert all(each.verified_ms and not each.liquidated for each in every)
    assert max(_took(each) for each in every) > 3_000


def _took(breach: Breach) -> int:
    return breach.verified_ms - breach.breached_ms


def test_a_save_is_seen() -> None:
    fate = fate_of(SAVED)
    assert (len(fate.lost_alone), fate.lost_guarded) == (1, {})
    assert fate.naked_ms.get(Naked.CALM, 0) == 0


def test_a_guard_whose_requests_come_to_nothing_misses_and_is_naked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def nothing(self: ObservedAccount, action: Action, client_id: str) -> Reply:
        return Unsure("planted")

    monkeypatch.setattr(ObservedAccount, "_answer", nothing)
    fate = fate_of(SAVED)
    assert set(fate.lost_guarded) == fate.lost_alone
    assert fate.naked_ms[Naked.AT_FIRST] == fate.held_ms
    assert fate.other, "promises broke, and it is said"


def test_a_missed_save_without_a_reason_is_named_by_its_seed() -> None:
    lost = Fate(7, 1, frozenset({"X"}), {"X": Why.NONE}, frozenset(), (), (), 1_000, {})
    saved = Fate(8, 1, frozenset({"X"}), {}, frozenset({"X"}), (), (), 1_000, {})
    told = list(fates([lost, saved]))
    assert "| crises with a liquidation | 1000 | 500.0 |" in told
    assert told[-1] == "seed 7: X liquidated, no reason found"


def test_percentiles_are_values_that_occurred() -> None:
    values = [float(each) for each in range(1, 201)]
    assert (percentile(values, 0.5), percentile(values, 0.99)) == (100, 198)
    assert percentile([3.0], 0.99) == 3
