"""A stop that is being cancelled is as good as gone: nothing may lean on it."""

from dataclasses import replace

import pytest

from bot.core.actions import CancelStop, PlaceStop
from bot.core.events import IntentState
from bot.core.units import Money
from bot.testing import builders as build
from tests.core.life import GOOD_STOP, LONG, Life

OLD = build.our_stop(LONG, "47500", name="d" * 20)
BETWEEN = replace(LONG, isolated_margin=Money(LONG.isolated_margin - 900))
"""With so little margin the stop belongs at about 47,551: `OLD` would do, `GOOD_STOP` not."""


def replaced() -> Life:
    """A good stop rests, and the old one is being cancelled."""
    life = Life(build.policy(), stops=[OLD, GOOD_STOP])
    assert life.decide() == [CancelStop(OLD.symbol, OLD.side, OLD.client_id)]
    return life


@pytest.mark.parametrize("state", [IntentState.PREPARED, IntentState.UNKNOWN, IntentState.APPLIED])
def test_the_new_stop_is_not_given_up_for_the_one_that_is_being_cancelled(
    state: IntentState,
) -> None:
    life = replaced()
    life.wait(100)
    life.settle(state)
    life.read(BETWEEN, stops=[OLD, GOOD_STOP])  # the venue has not got the cancel yet
    life.mark(50_000)
    assert [type(action) for action in life.decide()] == [PlaceStop]


def test_a_stop_whose_cancel_never_arrived_counts_again() -> None:
    life = replaced()
    life.wait(10_000)
    life.settle(IntentState.NOT_APPLIED)
    life.read(BETWEEN, stops=[OLD, GOOD_STOP])
    life.mark(50_000)
    assert life.decide() == [CancelStop(OLD.symbol, OLD.side, GOOD_STOP.client_id)]


def test_a_cancel_of_an_orphan_that_came_to_nothing_is_asked_for_again_on_time() -> None:
    """For five seconds the old one may still be on its way; the guard wakes when they are over."""
    life = Life(build.policy(), stops=[GOOD_STOP])
    for _ in range(2):
        life.wait(2_000)
        life.read(stops=[GOOD_STOP])
        asked = life.decide()
    assert asked == [CancelStop(GOOD_STOP.symbol, GOOD_STOP.side, GOOD_STOP.client_id)]
    life.settle(IntentState.NOT_APPLIED)
    life.wait(4_000)
    life.read(stops=[GOOD_STOP])
    assert life.decide() == []
    assert life.decision.wake_at_ms == life.now_ms + 1_000
    life.wait(1_000)
    assert life.decide() == asked
