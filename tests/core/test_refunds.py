"""A trim's freed margin goes back once, whatever is forgotten, lost or found meanwhile."""

from dataclasses import replace
from decimal import Decimal

import pytest

from bot.core.actions import Action, AddMargin, ClosePosition
from bot.core.events import IntentState, OutcomeReported
from bot.core.model import Fill, Position
from bot.core.state import Instruments
from bot.core.strategy import Severity
from bot.core.transitions import apply, resumed
from bot.core.units import Price, Quantity, Ratio
from bot.policy.verbs import BoundVerb, find_verbs
from bot.testing import builders as build
from strategies import trim_and_refund
from tests.core.life import LONG, Life, below

HALF = BoundVerb(find_verbs()["trim_and_refund"], trim_and_refund.Fraction(Ratio(Decimal("0.5"))))
TRIM = build.step("trim", below("0.2"), Severity.REDUCE, HALF, cooldown_ms=3_600_000)
HALF_LONG = build.position(quantity="0.5", margin=2_500)
STOP = build.our_stop(LONG, 46_700)
MINUTE_MS = 60_000


def trimmed() -> Life:
    """A trim of half of LONG is proven to have filled at 50,000: 2,500 less 12.50 fee is freed."""
    life = Life(build.policy(build.rule(TRIM)), stops=[STOP])
    (close,) = life.decide()
    assert isinstance(close, ClosePosition)
    assert close.quantity == Decimal("0.5")
    (approved,) = life.decision.approved
    fill = Fill(Quantity(Decimal("0.5")), Price(Decimal(50_000)))
    applied = IntentState.APPLIED
    life.happen(OutcomeReported(approved.intent.id, applied, "", life.now_ms, fill))
    later(life, HALF_LONG)
    return life


def later(life: Life, position: Position, wait_ms: int = 1) -> None:
    life.wait(wait_ms)
    life.mark(50_000)
    life.read(position, stops=[STOP])


def refunds(actions: list[Action]) -> list[Decimal]:
    return [each.amount for each in actions if isinstance(each, AddMargin)]


def test_a_process_may_learn_of_the_trim_before_the_rules_of_the_contract() -> None:
    life = Life(build.policy(build.rule(TRIM)), stops=[STOP])
    life.decide()
    (approved,) = life.decision.approved
    state = resumed(life.state, life.state.policy_digest, life.now_ms)
    fresh = replace(state, instruments=Instruments(digest=""))
    fill = Fill(Quantity(Decimal("0.5")), Price(Decimal(50_000)))
    told = OutcomeReported(approved.intent.id, IntentState.APPLIED, "", life.now_ms, fill)
    after = apply(fresh, told)
    assert after.intents[approved.intent.id].state is IntentState.APPLIED
    assert after.refunds == {}


def test_what_was_freed_goes_back_once_and_never_again() -> None:
    life = trimmed()
    assert refunds(life.decide()) == [Decimal("2487.50")]
    life.settle(IntentState.APPLIED)
    whole = build.position(quantity="0.5", margin="4987.50")
    for wait_ms in (1, MINUTE_MS - 1, MINUTE_MS + 1, 120_000):
        later(life, whole, wait_ms)
        assert refunds(life.decide()) == []


def test_while_nobody_knows_whether_it_went_back_it_is_not_sent_again() -> None:
    life = trimmed()
    assert refunds(life.decide()) == [Decimal("2487.50")]
    life.settle(IntentState.UNKNOWN)
    for _ in range(10):
        later(life, HALF_LONG, MINUTE_MS)
        assert refunds(life.decide()) == []


@pytest.mark.parametrize("outcome", [IntentState.REJECTED, IntentState.NOT_APPLIED])
def test_what_is_proven_not_to_have_gone_back_is_tried_again(outcome: IntentState) -> None:
    life = trimmed()
    assert refunds(life.decide()) == [Decimal("2487.50")]
    life.settle(outcome)
    later(life, HALF_LONG, 5_001)
    assert refunds(life.decide()) == [Decimal("2487.50")]


def test_it_is_tried_again_where_nothing_but_its_outcome_has_changed() -> None:
    life = trimmed()
    assert refunds(life.decide()) == [Decimal("2487.50")]
    (refund,) = life.decision.approved
    life.mark(60_000)  # nothing fires any more
    for _ in range(3):
        assert refunds(life.decide()) == []
    before = life.state.memos
    assert life.decide() == []
    assert before
    assert life.state.memos == before
    not_applied = OutcomeReported(refund.intent.id, IntentState.NOT_APPLIED, "", life.now_ms)
    life.happen(not_applied)
    assert refunds(life.decide()) == [Decimal("2487.50")]


def test_what_did_not_go_back_in_time_is_given_up_loudly() -> None:
    life = trimmed()
    assert refunds(life.decide()) == [Decimal("2487.50")]
    life.settle(IntentState.NOT_APPLIED)
    later(life, HALF_LONG, 300_001)
    assert refunds(life.decide()) == []
    assert "refund_lapsed" in life.alerts


def test_a_refund_is_no_spending() -> None:
    tight = build.guardrails(per_1h=0, per_24h=0, per_action=0, per_episode=0)
    life = Life(build.policy(build.rule(TRIM), limits=tight), stops=[STOP])
    assert len(life.decide()) == 1
    fill = Fill(Quantity(Decimal("0.5")), Price(Decimal(50_000)))
    (approved,) = life.decision.approved
    life.happen(OutcomeReported(approved.intent.id, IntentState.APPLIED, "", life.now_ms, fill))
    later(life, HALF_LONG)
    assert refunds(life.decide()) == [Decimal("2487.50")]
