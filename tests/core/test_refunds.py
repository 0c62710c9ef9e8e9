"""Margin that a trim has freed goes back once, however long that is remembered."""

from dataclasses import replace
from decimal import Decimal

from bot.core.actions import AddMargin, ClosePosition
from bot.core.events import IntentState, OutcomeReported
from bot.core.model import Fill, Position
from bot.core.state import REFUND_MS
from bot.core.strategy import Severity, TrimAndRefund
from bot.core.units import Money, Price, Quantity
from bot.testing import builders as build
from tests.core.life import LONG, Life, below

TRIM = build.step(
    "trim",
    below("0.1"),
    Severity.REDUCE,
    lambda view: TrimAndRefund(Quantity(Decimal("0.4"))),
    cooldown_ms=3_600_000,
)
STOP = build.our_stop(LONG, "46624.9")
HALF = replace(LONG, quantity=Quantity(Decimal("0.6")), isolated_margin=Money(Decimal(3_000)))


def trimmed() -> Life:
    """Four tenths were closed at the entry price: 2,000 less the fee are due."""
    life = Life(build.policy(build.rule(TRIM)), stops=[STOP])
    assert [type(action) for action in life.decide()] == [ClosePosition]
    (approved,) = life.decision.approved
    fill = Fill(Quantity(Decimal("0.4")), Price(Decimal(50_000)))
    life.wait(500)
    life.happen(
        OutcomeReported(approved.intent.id, IntentState.APPLIED, "filled", life.now_ms, fill)
    )
    life.wait(1)
    return life


def decided(life: Life, position: Position) -> list[AddMargin]:
    life.read(position, stops=[STOP])
    life.mark(50_000)
    return [action for action in life.decide() if isinstance(action, AddMargin)]


def test_a_refund_that_went_back_does_not_go_back_again_minutes_later() -> None:
    life = trimmed()
    (refund,) = decided(life, HALF)
    life.wait(500)
    life.settle(IntentState.APPLIED)
    life.wait(1)
    back = replace(HALF, isolated_margin=Money(HALF.isolated_margin + refund.amount))
    for _ in range(REFUND_MS // 1_000):
        assert decided(life, back) == []
        life.wait(1_000)


def test_a_refund_that_may_have_gone_back_is_not_sent_again() -> None:
    life = trimmed()
    assert len(decided(life, HALF)) == 1
    life.wait(500)
    life.settle(IntentState.UNKNOWN)
    for _ in range(REFUND_MS // 1_000):
        life.wait(1_000)
        assert decided(life, HALF) == []


def test_a_refund_that_never_arrived_is_sent_once_more() -> None:
    life = trimmed()
    (refund,) = decided(life, HALF)
    life.wait(40_000)
    life.settle(IntentState.NOT_APPLIED)
    life.wait(1)
    assert decided(life, HALF) == [refund]
