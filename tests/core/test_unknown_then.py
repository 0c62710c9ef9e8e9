"""What nobody could measure for too long is an alarm, or closed where the policy says so."""

from dataclasses import replace

import pytest

from bot.core.actions import Action, AtMarket, ClosePosition
from bot.core.events import AccountMode, IntentState
from bot.core.model import MarginMode, Position, PositionMode, Side
from bot.core.policy import Policy
from bot.core.state import Instruments
from bot.testing import builders as build
from tests.core.books import cross
from tests.core.life import GOOD_STOP, LONG, Life

AFTER_MS, AGE_MAX_MS = 20_000, 5_000
LIMITS = build.guardrails(data_age_max_ms=AGE_MAX_MS)


def says(*, closes: bool = True, floor_in_hold: bool = True) -> Policy:
    protection = build.protect(
        unknown_after_ms=AFTER_MS, closes_unknown=closes, floor_in_hold=floor_in_hold
    )
    modes = frozenset(MarginMode)
    return build.policy(protection=protection, limits=LIMITS, margin_modes=modes)


def blind(life: Life, *positions: Position, for_ms: int = AFTER_MS) -> list[Action]:
    """No mark price comes any more, while reads go on; what is done so much later."""
    life.wait(AGE_MAX_MS + 1)
    life.read(*positions, stops=[GOOD_STOP])
    life.decide()
    life.wait(for_ms)
    life.read(*positions, stops=[GOOD_STOP])
    return life.decide()


def closes(actions: list[Action]) -> list[ClosePosition]:
    return [each for each in actions if isinstance(each, ClosePosition)]


def test_it_is_closed_whole_at_market_once_it_was_unknown_for_too_long() -> None:
    life = Life(says(), stops=[GOOD_STOP])
    assert closes(blind(life, LONG, for_ms=AFTER_MS - 2)) == []
    life.wait(2)
    (close,) = closes(life.decide())
    assert (close.side, close.quantity, close.bound) == (LONG.side, LONG.quantity, AtMarket())
    assert "unknown" in life.alerts
    assert life.decision.approved[0].intent.reason == "protect/unknown"


def test_without_a_word_or_with_alert_it_is_said_and_nothing_else() -> None:
    life = Life(says(closes=False), stops=[GOOD_STOP])
    assert closes(blind(life, LONG)) == []
    assert "unknown" in life.alerts


def test_a_mark_in_time_clears_it() -> None:
    life = Life(says(), stops=[GOOD_STOP])
    blind(life, LONG, for_ms=AFTER_MS - 2)
    life.mark(50_000)
    life.decide()
    assert closes(blind(life, LONG, for_ms=AFTER_MS - 2)) == []


@pytest.mark.parametrize("floor_in_hold", [True, False])
def test_on_hold_it_is_closed_as_the_floor_closes(floor_in_hold: bool) -> None:
    policy = says(floor_in_hold=floor_in_hold)
    life = Life(policy, stops=[GOOD_STOP], mode=AccountMode.HOLD)
    assert bool(closes(blind(life, LONG))) is floor_in_hold


def test_one_close_is_under_way_at_a_time_and_one_that_was_refused_is_tried_again() -> None:
    life = Life(says(), stops=[GOOD_STOP])
    assert closes(blind(life, LONG))
    life.wait(500)
    assert closes(life.decide()) == []
    life.settle(IntentState.PREPARED)
    life.decide()
    for intent in list(life.state.intents.values()):
        refused = replace(intent, state=IntentState.REJECTED, changed_at_ms=life.now_ms)
        life.state = replace(life.state, intents={refused.id: refused})
    life.wait(1_000)
    assert closes(life.decide())


def test_a_contract_whose_rules_nobody_knows_is_only_said() -> None:
    life = Life(says(), stops=[GOOD_STOP])
    life.state = replace(life.state, instruments=Instruments(""))
    assert closes(blind(life, LONG)) == []
    assert "unknown" in life.alerts


def test_what_is_not_guarded_at_all_is_only_said() -> None:
    policy = replace(says(), position_mode=PositionMode.HEDGE)
    life = Life(policy, stops=[GOOD_STOP])
    assert closes(blind(life, LONG)) == []
    assert "unknown" in life.alerts


def test_it_needs_no_mark_price_at_all() -> None:
    life = Life(says(), stops=[GOOD_STOP])
    life.state = replace(life.state, marks={})
    assert [each.quantity for each in closes(blind(life, LONG))] == [LONG.quantity]


def test_both_legs_of_a_pair_go() -> None:
    short = build.position(side=Side.SHORT)
    policy = replace(says(), position_mode=PositionMode.HEDGE)
    life = Life(policy, LONG, short, stops=[GOOD_STOP], position_mode=PositionMode.HEDGE)
    found = closes(blind(life, LONG, short))
    assert {each.side for each in found} == {Side.LONG, Side.SHORT}
    assert len(found) == 2


def test_where_one_cross_position_is_unknown_for_too_long_all_are_closed() -> None:
    """They are liquidated together, and nobody can say when."""
    btc, eth = cross("BTCUSDT", entry_price=50_000), cross("ETHUSDT", entry_price=2_000)
    rules = (build.instrument("BTCUSDT"), build.instrument("ETHUSDT"))
    life = Life(says(), btc, eth, free=0, wallet=20_000, instruments=rules)
    life.mark(2_000, "ETHUSDT")
    life.decide()
    for wait_ms in (AGE_MAX_MS + 1, AFTER_MS):
        life.wait(wait_ms)
        life.mark(50_000)  # that of ETH does not come
        life.read(btc, eth)
        actions = life.decide()
    assert {each.symbol for each in closes(actions)} == {"BTCUSDT", "ETHUSDT"}
