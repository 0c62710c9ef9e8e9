"""
Act: the one thing the ladder does about a position at a decision.

The floor comes first, then standing in for a stop that did not do its duty, then the deepest
firing step. A step that the venue refused gives way to milder ones; one that is exhausted hands
over only where it says `then: next`.
"""

from dataclasses import replace
from typing import assert_never

from bot.core.decision import AlertSeverity, StopVerdict
from bot.core.desk import REPEAT_MS, Desk
from bot.core.events import AccountMode
from bot.core.guardrails import (
    Approved,
    Denial,
    Denied,
    Review,
    review_close,
    review_top_up,
)
from bot.core.ladder import NO_WAKE_MS, Evaluation, deepest_first, reason_of, with_step
from bot.core.margin import LiquidatesAt, NoLiquidation
from bot.core.metrics import Known
from bot.core.policy import Rule, Step
from bot.core.protection import StopNotNeeded, StopWanted, wanted
from bot.core.strategy import Close, Nothing, Notify, PositionView, Severity, TightenStop, TopUp
from bot.core.units import ZERO, Price
from bot.core.upkeep import Ground, stands_in

REFUSED_MS = 5_000
"""A step that the venue refused gives way to milder ones for this long."""


def view_of(desk: Desk, known: Known, ground: Ground) -> PositionView:
    """What the verbs see of a measured position."""
    position = desk.position
    target = wanted(desk.policy, ground.instrument, position, known.liquidation, ground.users)
    match known.liquidation:
        case LiquidatesAt(price):
            liquidation_price = price
        case NoLiquidation():
            liquidation_price = Price(ZERO)
    match target:
        case StopWanted(trigger_price=trigger):
            stop_price = trigger
        case StopNotNeeded():
            stop_price = Price(ZERO)
    return PositionView(
        position, ground.instrument, known.mark_price, liquidation_price, stop_price
    )


def act(
    desk: Desk,
    known: Known,
    evaluation: Evaluation,
    view: PositionView,
    ground: Ground,
    stop: StopVerdict,
) -> None:
    """The one ladder action: the floor, the watchdog, or the deepest firing step."""
    protect, on_hold = desk.policy.protect, desk.state.mode is AccountMode.HOLD
    if known.breached or known.liquidation_distance < protect.floor:
        review = _review_close(desk, "protect/floor", on_hold and not protect.floor_in_hold)
        _settle(desk, review)
        if isinstance(review, Denied) and review.kind is Denial.EXHAUSTED:
            text = "below the floor, and HOLD keeps the guard from closing"
            desk.say("floor_held", AlertSeverity.CRITICAL, text, REPEAT_MS)
        return
    if stands_in(desk, stop, known):
        _settle(desk, _review_close(desk, "protect/watchdog", holds=False))
        return
    ladder = tuple(pair for pair in evaluation.firing if pair[1].severity is not Severity.STOP)
    for rule, step in deepest_first(ladder):
        reason = reason_of(rule, step)
        retry_at_ms = desk.memory.steps[reason].refused_at_ms + REFUSED_MS
        if desk.now_ms < retry_at_ms:
            desk.wake(retry_at_ms)  # the venue refused it: any milder step that helps may try
            continue
        _ask(desk, rule, step, view, ground)
        return


def _ask(desk: Desk, rule: Rule, step: Step, view: PositionView, ground: Ground) -> None:
    """Ask one step; where it is exhausted and says `then: next`, the next deeper one."""
    reason = reason_of(rule, step)
    review: Review
    match step.propose(view):
        case Notify(text):
            repeat_ms = max(step.cooldown_ms, REPEAT_MS)
            desk.say(f"step:{reason}", AlertSeverity.WARNING, text, repeat_ms)
            return
        case TopUp(amount):
            review = review_top_up(
                desk.request(reason), desk.position, amount, step.cooldown_ms, ground.users
            )
        case Close():
            on_hold = desk.state.mode is AccountMode.HOLD
            review = _review_close(desk, reason, on_hold)
        case Nothing(text):
            review = Denied(Denial.EXHAUSTED, "nothing_helps", text, NO_WAKE_MS, needs_read=False)
        case TightenStop():
            return  # a tightened stop is upkeep and has been seen to
    if isinstance(review, Approved):
        acted = replace(desk.memory.steps[reason], acted_at_ms=desk.now_ms)
        desk.memory = with_step(desk.memory, reason, acted)
    _settle(desk, review)
    if isinstance(review, Denied) and review.kind is Denial.EXHAUSTED:
        text = f"{reason} cannot act: {review.text}"
        desk.say(f"exhausted:{review.limit}", AlertSeverity.CRITICAL, text, REPEAT_MS)
        for deeper in _deeper(rule, step):
            _ask(desk, rule, deeper, view, ground)
            return


def _deeper(rule: Rule, step: Step) -> tuple[Step, ...]:
    if not step.then_next:
        return ()
    after = rule.steps[rule.steps.index(step) + 1 :]
    return tuple(each for each in after if each.severity is not Severity.STOP)


def _review_close(desk: Desk, reason: str, holds: bool) -> Review:
    return review_close(desk.request(reason), desk.position, holds)


def _settle(desk: Desk, review: Review) -> None:
    match review:
        case Approved():
            desk.take(review)
        case Denied():
            desk.refuse(review)
        case _:
            assert_never(review)
