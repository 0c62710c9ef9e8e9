"""Another guard on the account: the younger one spends nothing, and both keep their stops."""

from dataclasses import replace

import pytest

from bot.core.actions import CancelStop, PlaceStop
from bot.core.events import AccountMode, Command, OrderHeard
from bot.core.ids import Birth, birth_prefix
from bot.core.model import StopOrder
from bot.testing import builders as build
from tests.core.life import GOOD_STOP, LONG, Life

BORN_MS = build.BIRTH.at_ms
MINE = "a" * 10


def stop_of_one_born(at_ms: int, trigger: str = "46624.9") -> StopOrder:
    stop = build.our_stop(LONG, trigger)
    return replace(stop, client_id=birth_prefix(Birth(build.ACCOUNT, at_ms)) + MINE)


def test_the_younger_one_latches_and_says_why() -> None:
    life = Life(build.policy(), stops=(GOOD_STOP, stop_of_one_born(BORN_MS - 60_000)))
    life.decide()
    assert life.state.mode is AccountMode.NO_SPEND
    assert "elder guard" in life.state.mode_reason
    assert life.alerts == ["another_guard"]
    (alert,) = life.decision.alerts
    assert "NO_SPEND" in alert.text


def test_the_elder_one_says_so_and_goes_on() -> None:
    life = Life(build.policy(), stops=(GOOD_STOP, stop_of_one_born(BORN_MS + 1)))
    life.decide()
    assert life.state.mode is AccountMode.ACTIVE
    assert life.alerts == ["another_guard"]


def test_one_whose_orders_the_stream_tells_of_is_seen_without_a_stop_of_its() -> None:
    """It closes and adds margin, and its stop may rest in a read that lacks it."""
    life = Life(build.policy(), stops=(GOOD_STOP,))
    life.decide()
    for strangers in ("a human's", "", GOOD_STOP.client_id):
        life.happen(OrderHeard(strangers, life.now_ms))
        life.decide()
        assert life.alerts == []
    for _ in range(2):
        life.happen(OrderHeard(stop_of_one_born(BORN_MS - 60_000).client_id, life.now_ms))
        life.decide()
    assert life.alerts == []  # said once
    assert life.state.mode is AccountMode.NO_SPEND
    assert "elder guard" in life.state.mode_reason


@pytest.mark.parametrize("later_ms", [-60_000, 60_000])
def test_neither_cancels_the_others_stop_nor_takes_it_for_its_own(later_ms: int) -> None:
    theirs = stop_of_one_born(BORN_MS + later_ms)
    life = Life(build.policy(), stops=(theirs,))
    (place,) = life.decide()
    assert isinstance(place, PlaceStop)
    life.wait(10_000)
    life.read(LONG, stops=(GOOD_STOP, theirs))
    life.mark(50_000)
    assert [each for each in life.decide() if isinstance(each, CancelStop)] == []


def test_a_human_who_knows_better_is_not_contradicted_but_a_third_guard_is_told_of() -> None:
    stops = (GOOD_STOP, stop_of_one_born(BORN_MS - 60_000))
    life = Life(build.policy(), stops=stops)
    life.decide()
    life.happen(Command(AccountMode.ACTIVE, "its own past", life.now_ms))
    life.wait(10_000)
    life.read(LONG, stops=stops)
    life.decide()
    assert life.state.mode is AccountMode.ACTIVE
    assert life.alerts == []
    life.read(LONG, stops=(*stops, stop_of_one_born(BORN_MS - 1)))
    life.decide()
    assert life.alerts == ["another_guard"]
    assert life.decision.mode is AccountMode.NO_SPEND


def test_a_hold_stays_a_hold() -> None:
    life = Life(build.policy(), stops=(stop_of_one_born(BORN_MS - 1),), mode=AccountMode.HOLD)
    life.decide()
    assert life.state.mode is AccountMode.HOLD


def test_an_id_of_no_date_does_not_end_the_guard() -> None:
    strange = replace(GOOD_STOP, client_id=birth_prefix(build.BIRTH)[:6] + "7" * 20)
    life = Life(build.policy(), stops=(GOOD_STOP, strange))
    life.decide()
    assert life.alerts == ["another_guard"]
