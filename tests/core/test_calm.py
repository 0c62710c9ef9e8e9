"""Calm: an unchanged position costs next to nothing, and forgets nothing that is going on."""

from dataclasses import replace
from decimal import Decimal

import pytest

from bot.core.engine import decide
from bot.core.events import AccountMode, Command, StreamLost, Tick
from bot.core.model import Reported
from bot.core.state import AccountState
from bot.core.strategy import Close, Nothing, Severity
from bot.core.units import Price
from bot.testing import builders as build
from tests.core.life import GOOD_STOP, LONG, Life, below


def calm() -> Life:
    life = Life(build.policy(), stops=[GOOD_STOP])
    life.decide()
    return life


def recalls(life: Life) -> bool:
    """Whether the next decision remembers its verdict instead of judging again."""
    before: AccountState = life.state
    life.decide()
    (memo,) = before.memos.values()
    return any(verdict is memo.verdict for verdict in life.decision.positions)


def test_an_unchanged_position_is_recalled() -> None:
    life = calm()
    for _ in range(3):
        life.wait(1_000)
        life.mark(50_000)
        assert recalls(life)
    life.read(build.position(), stops=[replace(GOOD_STOP)])
    life.happen(Tick(life.now_ms))
    life.happen(StreamLost("reset", life.now_ms))
    life.happen(Command(AccountMode.HOLD, "holiday", life.now_ms))
    assert recalls(life)
    assert life.decision.mode is AccountMode.HOLD


def test_a_recalled_position_wakes_with_its_alarm() -> None:
    life = calm()
    first = life.decision.wake_at_ms
    life.decide()
    assert life.decision.wake_at_ms == first == life.now_ms + 5_000 + 60_000


def test_whatever_changes_is_judged_again() -> None:
    life = calm()
    life.mark("50000.1")
    assert not recalls(life)
    life = calm()
    life.read(build.position(margin=5_001), stops=[GOOD_STOP])
    assert not recalls(life)
    life = calm()
    life.read(LONG, stops=[GOOD_STOP, build.foreign_stop(LONG, 47_000)])
    assert not recalls(life)
    life = calm()
    life.wait(5_001)
    assert not recalls(life)


def test_a_disputed_liquidation_price_is_said_every_half_hour_though_nothing_moves() -> None:
    position = build.position(liquidation=Reported(Price(Decimal(44_000))))
    life = Life(build.policy(), position, stops=[GOOD_STOP])
    said = []
    for minute in range(65):
        life.decide()
        if "disputed" in life.alerts:
            said.append(minute)
        life.wait(60_000)
        life.read(position, stops=[GOOD_STOP])
        life.mark(50_000)
    assert said == [0, 30, 60]


@pytest.mark.parametrize("mark", [47_500, 46_600])
def test_what_is_in_danger_is_not_remembered_as_calm(mark: int) -> None:
    out = build.step("out", below("0.05"), Severity.CLOSE, lambda view: Close(), hold_ms=60_000)
    life = Life(build.policy(build.rule(out)), stops=[GOOD_STOP], mark=mark)
    life.decide()
    assert life.state.memos == {}
    assert life.decision.endangered


def test_an_alert_alone_does_not_endanger() -> None:
    warn = build.step("warn", below("0.2"), Severity.ALERT, lambda view: Nothing("quiet"))
    life = Life(build.policy(build.rule(warn)), stops=[GOOD_STOP])
    life.decide()
    assert not life.decision.endangered
    assert life.state.memos == {}


def test_a_decision_on_calm_touches_nothing_but_what_it_must() -> None:
    life = calm()
    state, decision = decide(life.state, life.policy, life.now_ms)
    assert state is life.state
    assert not decision.is_noteworthy
    assert decision.signature == life.decision.signature
