"""A ban of the address: nothing is approved until it is over, and a human is paged once."""

from dataclasses import replace
from decimal import Decimal

from bot.core.actions import CancelStop, ClosePosition, PlaceStop
from bot.core.decision import AlertSeverity
from bot.core.events import AddressBanned
from bot.core.state import BLANK
from bot.core.strategy import Severity, TopUp
from bot.core.transitions import resumed
from bot.core.units import Money
from bot.testing import builders as build
from tests.core.life import GOOD_STOP, LONG, T0, Life, below

MINUTE_MS = 60_000


def ban(life: Life, until_ms: int) -> None:
    life.happen(AddressBanned(until_ms, "418", life.now_ms))


def test_nothing_is_approved_before_the_ban_is_over_not_even_the_way_out() -> None:
    life = Life(build.policy(), mark=45_300)  # below the floor, and no stop rests
    ban(life, T0 + 3_000)
    assert life.decide() == []
    assert life.decision.wake_at_ms <= T0 + 3_000
    life.wait(2_999)
    assert life.decide() == []
    life.wait(1)
    (close,) = life.decide()
    assert close == ClosePosition(LONG.symbol, LONG.side, LONG.quantity)


def test_stops_are_neither_placed_nor_cancelled_in_a_ban() -> None:
    second = build.our_stop(LONG, "46624.9", name="b" * 20)
    for stops, after in (((), PlaceStop), ((GOOD_STOP, second), CancelStop)):
        life = Life(build.policy(), stops=stops)
        ban(life, T0 + 2_000)
        assert life.decide() == []
        life.wait(2_000)
        assert [type(action) for action in life.decide()] == [after]


def test_no_margin_is_added_in_a_ban() -> None:
    adds = build.step("add", below("0.04"), Severity.SPEND, lambda view: TopUp(Money(Decimal(9))))
    life = Life(build.policy(build.rule(adds)), stops=(GOOD_STOP,), mark=46_800)
    ban(life, T0 + 2_000)
    assert life.decide() == []
    (denied,) = life.verdict.denied
    assert denied.limit == "banned"
    life.wait(2_000)
    assert len(life.decide()) == 1


def test_a_human_is_paged_once_a_ban_however_often_it_is_told_or_made_longer() -> None:
    life = Life(build.policy(), stops=(GOOD_STOP,))
    ban(life, T0 + MINUTE_MS)
    life.decide()
    (alert,) = life.decision.alerts
    assert alert.severity is AlertSeverity.CRITICAL
    assert "until 2020-09-13T12:27:40" in alert.text
    life.wait(10_000)
    ban(life, T0 + MINUTE_MS)
    ban(life, T0 + 2 * MINUTE_MS)
    life.decide()
    assert life.alerts == []
    assert life.state.banned_until_ms == T0 + 2 * MINUTE_MS
    life.wait(2 * MINUTE_MS)
    ban(life, T0 + 4 * MINUTE_MS)  # another one
    life.decide()
    assert life.alerts.count("banned") == 1


def test_a_ban_outlives_the_process_but_what_was_told_of_it_is_not_told_again() -> None:
    life = Life(build.policy(), stops=(GOOD_STOP,))
    ban(life, T0 + MINUTE_MS)
    life.decide()
    after = resumed(replace(life.state, book=BLANK), "policy", T0 + 1)
    assert (after.banned_until_ms, after.bans) == (T0 + MINUTE_MS, ())
