"""Steps that should help, and hand over, repeat in vain or stay silent instead."""

from decimal import Decimal

import pytest

from bot.core.actions import ClosePosition
from bot.core.events import AccountMode, IntentState, OutcomeReported
from bot.core.model import Fill
from bot.core.policy import Metric
from bot.core.state import HOUR_MS
from bot.core.strategy import Severity
from bot.core.transitions import resumed
from bot.core.units import Price, Quantity
from bot.policy.verbs import BoundVerb, find_verbs
from bot.testing import builders as build
from strategies import close, top_up
from tests.core.life import LONG, Life, above, below, ratio
from tests.core.test_refunds import HALF, HALF_LONG, STOP, later, refunds, trimmed

CLOSE = BoundVerb(find_verbs()["close"], close.Params())
TO_7 = BoundVerb(find_verbs()["top_up"], top_up.Params(ratio("0.07")))


def closed(life: Life) -> list[Decimal]:
    return [each.quantity for each in life.decide() if isinstance(each, ClosePosition)]


def test_a_top_up_whose_distance_is_there_already_does_not_hand_over_to_the_close() -> None:
    rule = build.rule(
        build.step("up", above("0.06"), Severity.SPEND, TO_7, cooldown_ms=60_000, then_next=True),
        build.step("out", above("0.5"), Severity.CLOSE, CLOSE),
        metric=Metric.MARGIN_RATIO,
        hysteresis="0.02",
    )
    assert closed(Life(build.policy(rule), mark=49_000)) == []


def test_a_trim_whose_margin_may_not_go_back_is_not_repeated() -> None:
    step = build.step("trim", below("0.2"), Severity.REDUCE, HALF, cooldown_ms=60_000)
    life = Life(build.policy(build.rule(step)), stops=[STOP], mode=AccountMode.NO_SPEND)
    for _ in closed(life):
        (approved,) = life.decision.approved
        fill = Fill(Quantity(Decimal("0.5")), Price(Decimal(50_000)))
        intent_id, applied = approved.intent.id, IntentState.APPLIED
        life.happen(OutcomeReported(intent_id, applied, "", life.now_ms, fill))
    later(life, HALF_LONG, 61_000)
    assert closed(life) == []


def test_a_rule_on_what_an_episode_has_cost_fires_without_another_rule() -> None:
    step = build.step("out", above("0.03"), Severity.CLOSE, CLOSE)
    rule = build.rule(step, metric=Metric.FUNDING_COST_EPISODE)
    life = Life(build.policy(rule))
    for _ in range(10):
        at_ms = life.now_ms + 8 * HOUR_MS
        life.bill("0.001", at_ms)
        life.wait(8 * HOUR_MS + 2_000)
        life.mark(50_000)
        life.read(LONG)
        life.bill("0.001", at_ms + 8 * HOUR_MS)
        if closed(life):
            return
    pytest.fail("500 of 5,000 USDT of margin went in bills, and the rule never fired")


@pytest.mark.parametrize("margin", [0, -10])
def test_a_bill_of_a_position_without_margin_is_acted_on_or_alarmed(margin: int) -> None:
    step = build.step("out", above("0.03"), Severity.CLOSE, CLOSE)
    rule = build.rule(step, metric=Metric.FUNDING_COST_INTERVAL)
    life = Life(build.policy(rule), build.position(entry_price=40_000, margin=margin))
    life.bill("0.01", life.now_ms + 300_000)
    assert closed(life) or life.alerts


def test_a_refund_that_is_due_outlives_a_decision_before_the_first_read() -> None:
    life = trimmed()
    life.state = resumed(life.state, "policy", life.now_ms)
    assert refunds(life.decide()) == []
    later(life, HALF_LONG)
    assert refunds(life.decide()) == [Decimal("2487.50")]
