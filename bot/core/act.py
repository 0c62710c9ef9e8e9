"""
Act: the one thing the ladder does about a position at a decision.

The floor comes first, then standing in for a stop that did not do its duty, then a refund that
is due, then the deepest firing step. A step that the venue refused gives way to milder ones; one
that is exhausted hands over only where it says `then: next`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias, assert_never

from bot.core.actions import AT_MARKET, Bound, ClosePosition
from bot.core.cost import close_bound, close_price
from bot.core.decision import AlertSeverity, StopVerdict
from bot.core.desk import REPEAT_MS, Desk
from bot.core.events import AccountMode, IntentState
from bot.core.guardrails import (
    Approved,
    Denial,
    Denied,
    PartClose,
    Review,
    hedge_of,
    refund_under_way,
    review_close,
    review_reduce,
    review_refund,
    review_top_up,
)
from bot.core.ladder import NO_WAKE_MS, Evaluation, deepest_first, reason_of, with_step
from bot.core.margin import LiquidatesAt, LiquidatesTogether, NoLiquidation
from bot.core.metrics import BookKnown, Known, Supported, support
from bot.core.model import Instrument, Position
from bot.core.pairs import NotStopped
from bot.core.policy import Rule, Step
from bot.core.protection import StopNotNeeded, StopWanted, Wanted, wanted
from bot.core.sizing import LegClose
from bot.core.state import AccountRead, Plain, RefundDue, Trim
from bot.core.strategy import (
    Close,
    Enough,
    Nothing,
    Notify,
    PositionView,
    Reduce,
    Severity,
    TightenStop,
    TightenStops,
    TopUp,
    TrimAndRefund,
)
from bot.core.units import ZERO, Price
from bot.core.upkeep import Ground, stands_in

HEDGE = "protect/hedge"
"""The reason of a close that goes along with that of the leg against it."""

REFUSED_MS = 5_000
"""A step that the venue refused gives way to milder ones for this long."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A firing step that is asked, on whose desk, and the name it is remembered by."""

    desk: Desk
    step: Step
    reason: str


@dataclass(frozen=True, slots=True)
class Said:
    """The step only speaks, or tightens a stop, which is upkeep and has been seen to."""


Answer: TypeAlias = tuple[Approved, ...] | Denied | Said

SAID = Said()
PLAIN = Plain()


def view_of(desk: Desk, known: Known, ground: Ground) -> PositionView:
    """What the verbs see of a measured position."""
    position = ground.position
    bounds = (*ground.users, *ground.held)
    match ground.stopped:
        case NotStopped(proof):
            target: Wanted = StopNotNeeded(proof)
        case Position() as stopped:
            target = wanted(desk.policy, ground.instrument, stopped, ground.settled, bounds)
    match known.liquidation:
        case LiquidatesAt(price) | LiquidatesTogether(price):
            liquidation_price = price
        case NoLiquidation():
            liquidation_price = Price(ZERO)
    match target:
        case StopWanted(trigger_price=trigger):
            stop_price = trigger
        case StopNotNeeded():
            stop_price = Price(ZERO)
    return PositionView(
        position=position,
        instrument=ground.instrument,
        mark_price=known.mark_price,
        liquidation_price=liquidation_price,
        stop_price=stop_price,
        close_price=close_price(desk.policy, ground.instrument, position, known),
    )


def act(
    desk: Desk, known: Known, evaluation: Evaluation, ground: Ground, stop: StopVerdict
) -> None:
    """The one ladder action: the floor, the watchdog, a refund, or the deepest firing step."""
    position = ground.position
    if is_below_floor(desk, known):
        if floor_closes(desk):
            close_at_floor(desk, (position,))
        else:
            acts_for_stop(desk, position, known, stop)
    elif (
        not closes_what_is_left_of_a_pair(desk, position)
        and not acts_for_stop(desk, position, known, stop)
        and not _gives_back(desk, position, evaluation)
    ):
        climb_alone(desk, known, evaluation, ground)


def climb_alone(desk: Desk, known: Known, evaluation: Evaluation, ground: Ground) -> None:
    """Let the deepest firing step of one position act."""
    climb(desk, evaluation, lambda asked: _answer(asked, known, ground))


def is_below_floor(desk: Desk, known: Known | BookKnown) -> bool:
    """Whether the policy's hard floor is passed."""
    return known.breached or known.liquidation_distance < desk.policy.protect.floor


def floor_closes(desk: Desk) -> bool:
    """Whether the floor may close; said loudly where a HOLD reaches down here and it may not."""
    if desk.state.mode is not AccountMode.HOLD or desk.policy.protect.floor_in_hold:
        return True
    text = "below the floor, and HOLD keeps the guard from closing"
    desk.say("floor_held", AlertSeverity.CRITICAL, text, REPEAT_MS)
    return False


def close_at_floor(desk: Desk, positions: tuple[Position, ...]) -> None:
    """Close them whole at market, whatever the ladder says."""
    for position in positions:
        request = desk.request(position.key, "protect/floor")
        close_with_hedge(desk, position, review_close(request, position, False, AT_MARKET))


def close_unknown(desk: Desk, positions: tuple[Position, ...]) -> None:
    """
    Close whole what nobody could measure for too long, where the policy says so.

    On the side and of the size that were last known; not what is not guarded at all, or whose
    rules nobody knows.
    """
    protect, state = desk.policy.protect, desk.state
    is_held = state.mode is AccountMode.HOLD and not protect.floor_in_hold
    due_ms = desk.memory.unknown_since_ms + protect.unknown_after_ms
    if not protect.closes_unknown or is_held or desk.now_ms < due_ms:
        return
    for position in positions:
        match state.account, state.instruments.by_symbol.get(position.symbol):
            case AccountRead(snapshot=snapshot), Instrument() as instrument if isinstance(
                support(instrument, position, snapshot, desk.policy), Supported
            ):
                request = desk.request(position.key, "protect/unknown")
                review = review_close(request, position, holds=False, bound=AT_MARKET)
            case _:
                continue
        if position.symbol in state.marks:
            close_with_hedge(desk, position, review)
        else:
            settle(desk, review)


def close_with_hedge(desk: Desk, position: Position, review: Review) -> None:
    """
    Take an approved close of the whole of `position`, and with it the leg that it would expose.

    Two legs that hedge each other go together: promise 1, ruling 3 of the design.
    """
    hedges = hedge_of(desk.request(position.key, HEDGE), position)
    settle(desk, review)
    if isinstance(review, Approved):
        for hedge in hedges:
            text = f"its close takes the {hedge.side} of {hedge.symbol} along, which it has hedged"
            desk.say("hedge", AlertSeverity.CRITICAL, text, REPEAT_MS)
            request = desk.request(hedge.key, HEDGE)
            settle(desk, review_close(request, hedge, holds=False, bound=AT_MARKET))


def closes_what_is_left_of_a_pair(desk: Desk, position: Position) -> bool:
    """
    Whether what a close was to take along with another leg is still there, and goes now.

    The leg that asked for it is closed by then, and asks no more.
    """
    tries = [
        intent
        for intent in desk.state.intents.values()
        if intent.reason == HEDGE and intent.key == position.key
    ]
    settled = (IntentState.APPLIED, IntentState.WITHHELD, IntentState.HUMAN)
    if not tries or max(tries, key=lambda each: each.planned_at_ms).state in settled:
        return False
    if any(
        each.symbol == position.symbol and each.key != position.key
        for each in desk.state.positions
    ):
        return False
    request = desk.request(position.key, HEDGE)
    settle(desk, review_close(request, position, holds=False, bound=AT_MARKET))
    return True


def acts_for_stop(desk: Desk, position: Position, known: Known, stop: StopVerdict) -> bool:
    """Whether the guard stands in for a stop that did not close `position`."""
    if not stands_in(desk, position, stop, known):
        return False
    request = desk.request(position.key, "protect/watchdog")
    close_with_hedge(desk, position, review_close(request, position, False, AT_MARKET))
    return True


def climb(desk: Desk, evaluation: Evaluation, answer: Callable[[Asked], Answer]) -> None:
    """Let the deepest firing step act; `answer` is what it comes to."""
    for waiting in evaluation.waiting:
        text = f"{waiting.reason} waits for the minutes before the settlement"
        desk.refuse(Denied(Denial.WAIT, "settlement", text, waiting.until_ms, needs_read=False))
    ladder = tuple(pair for pair in evaluation.firing if pair[1].severity is not Severity.STOP)
    for rule, step in deepest_first(ladder):
        reason = reason_of(rule, step)
        if _is_refused(desk, reason):
            desk.wake(desk.memory.steps[reason].refused_at_ms + REFUSED_MS)
            continue
        _ask(desk, rule, step, answer)
        return


def notify(asked: Asked, text: str) -> Said:
    """Tell the human what the step has to say."""
    repeat_ms = max(asked.step.cooldown_ms, REPEAT_MS)
    asked.desk.say(f"step:{asked.reason}", AlertSeverity.WARNING, text, repeat_ms)
    return SAID


def nothing_helps(text: str) -> Denied:
    """The answer of a step that has nothing to do, or cannot reach its target."""
    return Denied(Denial.EXHAUSTED, "nothing_helps", text, NO_WAKE_MS, needs_read=False)


def enough(text: str) -> Denied:
    """The answer of a step whose target is reached: it holds, and hands over to nobody."""
    return Denied(Denial.WAIT, "target", text, NO_WAKE_MS, needs_read=False)


def settle(desk: Desk, review: Review) -> None:
    """Take what was approved, or record that it was not."""
    match review:
        case Approved():
            desk.take(review)
        case Denied():
            desk.refuse(review)
        case _:
            assert_never(review)


def ladder_close(desk: Desk, position: Position, reason: str, bound: Bound) -> Review:
    """Whether the ladder may close the whole position now; not on HOLD."""
    on_hold = desk.state.mode is AccountMode.HOLD
    return review_close(desk.request(position.key, reason), position, on_hold, bound)


def _ask(desk: Desk, rule: Rule, step: Step, answer: Callable[[Asked], Answer]) -> None:
    """Ask one step; where it is exhausted and says `then: next`, the next deeper one."""
    reason = reason_of(rule, step)
    match answer(Asked(desk, step, reason)):
        case Said():
            pass
        case Denied() as denied:
            desk.refuse(denied)
            if denied.kind is Denial.EXHAUSTED:
                text = f"{reason} cannot act: {denied.text}"
                desk.say(f"exhausted:{denied.limit}", AlertSeverity.CRITICAL, text, REPEAT_MS)
                for deeper in _deeper(rule, step)[:1]:
                    _ask(desk, rule, deeper, answer)
        case approved:
            acted = replace(desk.memory.steps[reason], acted_at_ms=desk.now_ms)
            desk.memory = with_step(desk.memory, reason, acted)
            for each in approved:
                _take(desk, step, each)


def _take(desk: Desk, step: Step, approved: Approved) -> None:
    if step.severity is Severity.CLOSE:
        closing = (each.intent for each in desk.approved if each.intent.key == approved.intent.key)
        if any(isinstance(intent.action, ClosePosition) for intent in closing):
            return  # along with the leg against it
        (position,) = (each for each in desk.state.positions if each.key == approved.intent.key)
        close_with_hedge(desk, position, approved)
    else:
        desk.take(approved)


def _answer(asked: Asked, known: Known, ground: Ground) -> Answer:
    """What a step on one position comes to."""
    desk, step, position = asked.desk, asked.step, ground.position
    view = view_of(desk, known, ground)
    request = desk.request(position.key, asked.reason)
    match step.propose(view):
        case Notify(text):
            return notify(asked, text)
        case TopUp(amount):
            review = review_top_up(request, position, amount, step.cooldown_ms, ground.users)
            return (review,) if isinstance(review, Approved) else review
        case Reduce(closes):
            (close,) = closes
            return _reduce(asked, known, view, close)
        case TrimAndRefund() as trim:
            return _reduce(asked, known, view, trim)
        case Close():
            bound = close_bound(desk.policy, view.instrument, position, known)
            review = ladder_close(desk, position, asked.reason, bound)
            return (review,) if isinstance(review, Approved) else review
        case Nothing(text):
            return nothing_helps(text)
        case Enough(text):
            return enough(text)
        case TightenStop() | TightenStops():
            return SAID


def _reduce(
    asked: Asked, known: Known, view: PositionView, cut: TrimAndRefund | LegClose
) -> tuple[Approved, ...] | Denied:
    """Whether part of the position may be closed now, or what a slice has left to close."""
    desk, step, position = asked.desk, asked.step, view.position
    left = desk.memory.steps[asked.reason].left
    quantity = min(left.get(position.key, cut.quantity), cut.quantity)
    purpose = Trim(position) if isinstance(cut, TrimAndRefund) else PLAIN
    bound = close_bound(desk.policy, view.instrument, position, known)
    return review_reduce(
        desk.request(position.key, asked.reason),
        (PartClose(position, quantity, bound, purpose),),
        step.cooldown_ms,
        is_slice=position.key in left,
    )


def _gives_back(desk: Desk, position: Position, evaluation: Evaluation) -> bool:
    """
    Whether the margin that a trim freed is being put back, or waits to be.

    Until then the position is as near to liquidation as before, so no other step may judge it,
    but one that closes it: that comes first.
    """
    if _may_close(desk, evaluation):
        return False
    for trim_id, due in sorted(desk.state.refunds.items()):
        if due.key != position.key or _is_under_way(desk, trim_id, due):
            continue
        request = desk.request(position.key, f"refund/{trim_id[-8:]}")
        review = review_refund(request, position, trim_id, due)
        settle(desk, review)
        if isinstance(review, Approved) or review.kind is Denial.WAIT:
            return True
    return False


def _is_under_way(desk: Desk, trim_id: str, due: RefundDue) -> bool:
    """Whether a refund without an outcome may be putting back all that is due."""
    return refund_under_way(desk.state, trim_id) >= due.amount


def _may_close(desk: Desk, evaluation: Evaluation) -> bool:
    """Whether a step that closes the position fires, and the venue has not just refused it."""
    return any(
        step.severity is Severity.CLOSE and not _is_refused(desk, reason_of(rule, step))
        for rule, step in evaluation.firing
    )


def _is_refused(desk: Desk, reason: str) -> bool:
    """Whether the venue refused a step so lately that milder ones may try instead."""
    return desk.now_ms < desk.memory.steps[reason].refused_at_ms + REFUSED_MS


def _deeper(rule: Rule, step: Step) -> tuple[Step, ...]:
    if not step.then_next:
        return ()
    after = rule.steps[rule.steps.index(step) + 1 :]
    return tuple(each for each in after if each.severity is not Severity.STOP)
