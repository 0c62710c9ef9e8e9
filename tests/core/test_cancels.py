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


@pytest.mark.parametrize("state", [IntentState.SENT, IntentState.UNKNOWN, IntentState.APPLIED])
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
