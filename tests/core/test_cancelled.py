"""
A stop of the guard's that somebody else has cancelled: placed again, or left off as they wish.

`protect.stop.if_cancelled: respect` says the second. It takes two reads, and the guard goes on
watching the level.
"""

from dataclasses import replace

import pytest

from bot.core.actions import CancelStop, ClosePosition, PlaceStop
from bot.core.events import IntentState, PolicyLoaded
from bot.core.model import Side
from bot.core.policy import Policy
from bot.core.state import NotRead
from bot.core.transitions import resumed
from bot.core.units import Quantity
from bot.testing import builders as build
from tests.core.life import GOOD_STOP, LONG, Life

PLACE = PlaceStop(build.SYMBOL, Side.LONG, LONG.quantity, GOOD_STOP.trigger_price)
RESTORES = build.policy()
RESPECTS = build.policy(protection=build.protect(respects_cancel=True))


def cancelled(policy: Policy) -> Life:
    """A life whose stop rested and is gone in the read of this moment."""
    life = Life(policy, stops=[GOOD_STOP])
    assert life.decide() == []
    later(life)
    return life


def later(life: Life, *stops: object, position: object = LONG, after_ms: int = 1_000) -> None:
    life.wait(after_ms)
    life.read(position, stops=stops)  # type: ignore[arg-type]
    life.mark(50_000)


def respected(policy: Policy = RESPECTS) -> Life:
    """A life whose stop is gone for good."""
    life = cancelled(policy)
    life.decide()
    later(life, after_ms=2_000)
    assert life.decide() == []
    return life


def test_it_is_placed_again_at_once_where_the_policy_does_not_say_otherwise() -> None:
    assert cancelled(RESTORES).decide() == [PLACE]


def test_it_is_left_off_where_the_policy_respects_that_and_a_human_is_told() -> None:
    life = cancelled(RESPECTS)
    assert life.decide() == []
    assert life.decision.needs_read
    assert life.alerts == []
    later(life, after_ms=2_000)
    assert life.decide() == []
    assert life.alerts == ["stop_cancelled"]
    later(life, after_ms=60_000)
    assert life.decide() == []
    assert life.alerts == []  # neither that nor that it is naked, until half an hour is over


def test_one_read_without_it_proves_nothing() -> None:
    life = cancelled(RESPECTS)
    life.decide()
    later(life, GOOD_STOP)
    assert life.decide() == []
    later(life)
    assert life.decide() == []
    assert life.alerts == []
    assert life.decision.wake_at_ms == life.now_ms + 2_000


def test_a_stop_that_has_triggered_and_then_filled_in_part_was_not_cancelled() -> None:
    """A read may show that it is gone before it shows what it has closed."""
    life = cancelled(RESPECTS)
    life.decide()
    later(life, position=build.position(quantity="0.4", margin=2_000), after_ms=500)
    (place,) = life.decide()
    assert isinstance(place, PlaceStop)
    later(life, position=build.position(quantity="0.4", margin=2_000), after_ms=10_000)
    (place,) = life.decide()
    assert isinstance(place, PlaceStop)


def test_a_stop_that_the_mark_has_reached_was_not_cancelled() -> None:
    life = Life(RESPECTS, stops=[GOOD_STOP])
    life.decide()
    life.mark(GOOD_STOP.trigger_price)
    life.wait(1_000)
    life.read(LONG)
    life.mark(50_000)
    assert life.decide() == [PLACE]


def test_a_stop_that_the_mark_had_reached_between_two_reads_was_not_cancelled() -> None:
    """The mark is back when the read comes: a wick, that the guard has seen."""
    life = Life(RESPECTS, stops=[GOOD_STOP])
    life.decide()
    life.wait(1_000)
    life.mark(GOOD_STOP.trigger_price)
    assert life.decide() == []  # it rests, and has three seconds to fill
    life.wait(300)
    life.mark(50_000)
    assert life.decide() == []
    later(life)
    assert life.decide() == [PLACE]


def test_what_is_cancelled_after_a_mark_has_come_back_stays_off() -> None:
    """A read has shown since that the wick left the stop where it was."""
    life = Life(RESPECTS, stops=[GOOD_STOP])
    life.mark(GOOD_STOP.trigger_price)
    life.decide()
    life.wait(300)
    life.mark(50_000)
    life.decide()
    later(life, GOOD_STOP)
    life.decide()
    later(life)
    assert life.decide() == []
    later(life, after_ms=2_000)
    assert life.decide() == []
    assert life.alerts == ["stop_cancelled"]


def test_the_guard_closes_where_the_stop_would_have() -> None:
    life = respected()
    life.wait(1_000)
    life.mark(GOOD_STOP.trigger_price - 1)
    assert life.decide() == [ClosePosition(build.SYMBOL, Side.LONG, LONG.quantity)]


@pytest.mark.parametrize("quantity", ["0.5", "1"])
def test_it_stays_off_while_the_position_does_not_grow(quantity: str) -> None:
    life = respected()
    later(life, position=build.position(quantity=quantity))
    assert life.decide() == []


def test_a_position_that_grew_gets_a_stop() -> None:
    life = respected()
    later(life, position=build.position(quantity=2, margin=10_000))
    (place,) = life.decide()
    assert isinstance(place, PlaceStop)


def test_a_position_that_was_opened_anew_gets_a_stop() -> None:
    life = respected()
    life.wait(1_000)
    life.read_twice()
    life.decide()
    later(life)
    (place,) = life.decide()
    assert isinstance(place, PlaceStop)


def test_another_policy_is_the_users_newer_word() -> None:
    life = respected()
    life.happen(PolicyLoaded("another", life.now_ms))
    assert life.decide() == [PLACE]


def test_it_is_remembered_over_a_restart() -> None:
    life = respected()
    life.state = resumed(life.state, life.state.policy_digest, life.now_ms)
    assert isinstance(life.state.account, NotRead)
    later(life)
    assert life.decide() == []


def test_what_went_while_nobody_looked_is_placed_again() -> None:
    life = Life(RESPECTS, stops=[GOOD_STOP])
    life.decide()
    life.state = resumed(life.state, life.state.policy_digest, life.now_ms)
    later(life)
    assert life.decide() == [PLACE]


def test_a_stop_that_went_with_a_part_of_the_position_was_not_cancelled() -> None:
    """It may have been the venue that took it off, or it has filled in part."""
    life = Life(RESPECTS, stops=[GOOD_STOP])
    life.decide()
    later(life, position=build.position(quantity="0.5", margin=2_500))
    (place,) = life.decide()
    assert isinstance(place, PlaceStop)


def test_a_stop_that_another_one_displaced_was_not_cancelled() -> None:
    life = Life(RESPECTS, stops=[GOOD_STOP])
    life.decide()
    theirs = replace(GOOD_STOP, client_id="web-1")
    later(life, theirs)
    assert life.decide() == [PLACE]


def test_a_stop_that_the_guard_takes_out_of_the_way_was_not_cancelled_by_others() -> None:
    """One too small has the only place; the next read shows none."""
    small = replace(GOOD_STOP, quantity=Quantity(LONG.quantity / 2))
    life = Life(RESPECTS, stops=[small], instruments=[replace(build.instrument(), stops_max=1)])
    assert life.decide() == [CancelStop(build.SYMBOL, Side.LONG, small.client_id)]
    life.wait(100)
    life.settle(IntentState.APPLIED)
    later(life)
    assert life.decide() == [PLACE]


def test_what_others_cancel_beside_a_cancel_of_the_guard_stays_off() -> None:
    drifted = build.our_stop(LONG, "47500", name="d" * 20)
    life = Life(RESPECTS, stops=[drifted, GOOD_STOP])
    assert life.decide() == [CancelStop(build.SYMBOL, Side.LONG, drifted.client_id)]
    life.settle(IntentState.ACKED)
    later(life)
    assert life.decide() == []
    later(life, after_ms=2_000)
    assert life.decide() == []
    assert life.alerts == ["stop_cancelled"]
