"""
Together: the judgement of all cross positions of an account, which one wallet backs.

Distance, ratio, floor and their steps are theirs together; the stop, and what funding costs, are
each position's own. One shock is common to all: every leg's stop rests where its mark price is
once the joint distance has shrunk to `room`.
"""

from dataclasses import dataclass, replace
from typing import assert_never

from bot.core.act import (
    PLAIN,
    SAID,
    Answer,
    Asked,
    acts_for_stop,
    climb,
    climb_alone,
    close_at_floor,
    close_unknown,
    close_with_hedge,
    closes_what_is_left_of_a_pair,
    enough,
    floor_closes,
    is_below_floor,
    ladder_close,
    nothing_helps,
    notify,
    settle,
)
from bot.core.actions import AT_MARKET, Bound
from bot.core.cost import close_bound, close_price
from bot.core.cross import NEVER, Book, Leg
from bot.core.decision import Audited, BookVerdict, NotAudited, PositionVerdict, StopVerdict
from bot.core.desk import Desk, Draft, subject_of
from bot.core.guardrails import Approved, Denied, PartClose, review_close, review_reduce
from bot.core.ladder import Evaluation, evaluate, steps_for, steps_for_book
from bot.core.margin import LiquidatesTogether
from bot.core.metrics import (
    POSITION_AGE_MAX_MS,
    BookKnown,
    Facts,
    Known,
    Supported,
    Unknown,
    book_of,
    cross_positions,
    facts_of,
    leg_known,
    liquidation_against,
    measure_book,
    measured_book,
    support,
)
from bot.core.model import AccountSnapshot, MarginMode, Position, PositionKey
from bot.core.pairs import NotStopped, stopped_as
from bot.core.policy import Policy
from bot.core.protection import StopStatus, StopWanted, safe_stops
from bot.core.sizing import LegClose, price_with_room
from bot.core.state import EPISODE_QUIET_MS, AccountRead, AccountState
from bot.core.strategy import (
    BookView,
    Close,
    Enough,
    Nothing,
    Notify,
    Reduce,
    TightenStop,
    TightenStops,
    TopUp,
    TrimAndRefund,
)
from bot.core.stress import by_relief
from bot.core.units import ZERO, Price, Quantity, Ratio
from bot.core.upkeep import Ground, keep_stop, stands_in, survey
from bot.core.vigil import (
    advance_episode,
    is_endangered,
    is_in_danger,
    wake_for_settlement,
    warn_of_mode,
    warn_of_reentry,
    warn_unknown,
)


@dataclass(slots=True)
class _Leg:
    """One cross position on its own desk."""

    desk: Desk
    position: Position
    known: Known
    evaluation: Evaluation
    ground: Ground
    stop: StopVerdict


def judge_together(state: AccountState, policy: Policy, now_ms: int, draft: Draft) -> AccountState:
    """Judge all cross positions into `draft`; the state that counts what was approved."""
    if not cross_positions(state):
        return state
    desk = Desk(state, policy, "cross positions", state.book, now_ms)
    warn_of_mode(desk, MarginMode.CROSS)
    warn_of_reentry(desk)
    measured = measure_book(state, now_ms, policy)
    evaluation = evaluate(steps_for_book(policy), desk.memory, measured, now_ms)
    desk.wake(evaluation.wake_at_ms)
    match measured:
        case Unknown():
            desk.memory = evaluation.memory
            warn_unknown(desk, measured)
            _judge_blindly(desk, measured, draft)
            close_unknown(desk, cross_positions(desk.state))
        case BookKnown():
            desk.memory = advance_episode(evaluation, now_ms)
            desk.wake(desk.memory.active_at_ms + EPISODE_QUIET_MS)
            _judge_knowingly(desk, measured, evaluation, draft)
        case _:
            assert_never(measured)
    draft.book = BookVerdict(measured, evaluation.verdicts, tuple(desk.denied))
    draft.collect(desk)
    draft.endangered = draft.endangered or (
        isinstance(measured, Unknown) or is_in_danger(desk.memory, steps_for_book(policy))
    )
    return replace(desk.state, book=desk.memory)


def _judge_knowingly(desk: Desk, known: BookKnown, evaluation: Evaluation, draft: Draft) -> None:
    rooms: tuple[Ratio, ...] = ()
    if evaluation.firing:
        view = _view_of(desk, known)
        rooms = tuple(
            proposal.room
            for _, step in evaluation.firing
            if isinstance(proposal := step.propose(view), TightenStops)
        )
    legs = [_protect_leg(desk, known, leg.position.key, rooms) for leg in known.book.legs]
    if is_below_floor(desk, known):
        if floor_closes(desk):
            close_at_floor(desk, tuple(leg.position for leg in legs))
        else:
            for leg in legs:
                _stand_in(desk, leg)
    else:
        alone = [_act_alone(desk, leg) for leg in legs]
        if not any(alone):
            climb(desk, evaluation, lambda asked: _answer(asked, known))
    memories = {leg.position.key: leg.desk.memory for leg in legs}
    desk.state = replace(desk.state, memories={**desk.state.memories, **memories})
    for leg in legs:
        draft.collect(leg.desk)
        denied = tuple(leg.desk.denied)
        draft.verdicts.append(
            PositionVerdict(leg.position, leg.known, leg.evaluation.verdicts, leg.stop, denied)
        )
        draft.endangered = draft.endangered or is_endangered(leg.desk.memory, leg.stop)


def _protect_leg(desk: Desk, known: BookKnown, key: PositionKey, rooms: tuple[Ratio, ...]) -> _Leg:
    """Keep the stop of one leg, and advance the steps on what it pays by itself."""
    leg = known.book.leg_of(key)
    position, instrument, policy = leg.position, leg.instrument, desk.policy
    own = Desk(desk.state, policy, subject_of(position), desk.state.memory_of(key), desk.now_ms)
    its = leg_known(desk.state, known, leg, desk.now_ms)
    evaluation = evaluate(steps_for(policy, position), own.memory, its, desk.now_ms)
    own.memory = advance_episode(evaluation, desk.now_ms)
    own.wake(evaluation.wake_at_ms)
    own.wake(own.memory.active_at_ms + EPISODE_QUIET_MS)
    wake_for_settlement(own, position)
    settled = liquidation_against(known, leg)
    ground = survey(own.state, instrument, position, settled)
    bounds: tuple[Price, ...] = ()
    if isinstance(settled, LiquidatesTogether):
        bounds = tuple(price_with_room(instrument, position.side, settled, room) for room in rooms)
    stop = keep_stop(own, ground, its, _ahead_of(position, its.mark_price, bounds))
    desk.state = own.state
    return _Leg(own, position, its, evaluation, ground, stop)


def _ahead_of(position: Position, mark: Price, bounds: tuple[Price, ...]) -> tuple[Price, ...]:
    """The bounds that the mark price has not passed: a stop is not tightened into the mark."""
    return tuple(each for each in bounds if position.side.sign * (mark - each) > 0)


def _act_alone(desk: Desk, leg: _Leg) -> bool:
    """Stand in for the leg's stop, or let its own steps act; whether something was approved."""
    own = leg.desk
    before = len(own.approved)
    if not _stand_in(desk, leg) and not _is_left_of_a_pair(desk, leg):
        climb_alone(own, leg.known, leg.evaluation, leg.ground)
        desk.state = own.state
    return len(own.approved) > before


def _stand_in(desk: Desk, leg: _Leg) -> bool:
    """Whether the guard stands in for the leg's stop, or for one that it cannot have."""
    own = leg.desk
    own.state = desk.state
    match leg.ground.stopped:
        case NotStopped():
            stands = _is_past_a_stop_of_both(own, leg)
            if stands:
                request = own.request(leg.position.key, "protect/watchdog")
                review = review_close(request, leg.position, holds=False, bound=AT_MARKET)
                close_with_hedge(own, leg.position, review)
        case Position() as stopped if stopped.quantity < leg.position.quantity:
            stands = stands_in(own, leg.position, leg.stop, leg.known)
            if stands:
                request = own.request(leg.position.key, "protect/watchdog")
                settle(own, review_close(request, stopped, holds=False, bound=AT_MARKET))
        case Position():
            stands = acts_for_stop(own, leg.position, leg.known, leg.stop)
        case _:
            assert_never(leg.ground.stopped)
    desk.state = own.state
    return stands


def _is_past_a_stop_of_both(desk: Desk, leg: _Leg) -> bool:
    """
    Whether a leg without a stop of its own is what a nearer liquidation now comes from.

    That is where what both legs require grows faster than the larger one gains. A stop would have
    to close both at once; the guard does so by itself, where one of a lone leg would trigger.
    """
    known = leg.known
    is_hurt = isinstance(known.liquidation, LiquidatesTogether)
    return is_hurt and known.liquidation_distance <= desk.policy.protect.room


def _is_left_of_a_pair(desk: Desk, leg: _Leg) -> bool:
    """Whether the leg goes now, as one that was to go along with the other is still there."""
    own = leg.desk
    own.state = desk.state
    goes = closes_what_is_left_of_a_pair(own, leg.position)
    desk.state = own.state
    return goes


def _judge_blindly(desk: Desk, unknown: Unknown, draft: Draft) -> None:
    """Stops may rest on a read up to a minute old and on the newest marks, however old."""
    state, policy, now_ms = desk.state, desk.policy, desk.now_ms
    draft.endangered = True
    book = book_of(state, policy.stress, now_ms)
    for position in cross_positions(state):
        own = Desk(desk.state, policy, subject_of(position), state.memory_of(position.key), now_ms)
        evaluation = evaluate(steps_for(policy, position), own.memory, unknown, now_ms)
        own.memory = evaluation.memory
        stop = _keep_stop_blindly(own, position, unknown, book)
        if _has_passed(own, position, stop):
            request = own.request(position.key, "protect/watchdog")
            stopped = stopped_as(
                state.instruments.by_symbol[position.symbol], position, state.positions
            )
            if isinstance(stopped, NotStopped):
                raise AssertionError("nothing passes a stop that is not wanted")
            settle(own, review_close(request, stopped, holds=False, bound=AT_MARKET))
        memories = {**own.state.memories, position.key: own.memory}
        desk.state = replace(own.state, memories=memories)
        draft.collect(own)
        draft.verdicts.append(
            PositionVerdict(position, unknown, evaluation.verdicts, stop, tuple(own.denied))
        )


def _has_passed(desk: Desk, position: Position, stop: StopVerdict) -> bool:
    """
    Whether a leg's own fresh mark price is past its stop, though another leg's is not known.

    The level is that of the newest marks. Where a stop rests there the venue closes by itself.
    """
    facts = facts_of(desk.state, position, desk.now_ms, desk.policy)
    match facts, stop:
        case Facts(mark_price=mark), Audited(status=status, target=StopWanted() as target):
            passed = position.side.sign * (mark - target.trigger_price) <= ZERO
            return passed and status is not StopStatus.RESTS
        case _:
            return False


def _keep_stop_blindly(
    desk: Desk, position: Position, unknown: Unknown, book: Book | Unknown
) -> StopVerdict:
    state = desk.state
    # A leg that may be hedged by one that cannot be read has no size that is surely right.
    garbled = {each.symbol for each in state.garbled} | {key.symbol for key in state.carried}
    match state.account, book:
        case AccountRead(snapshot=snapshot) as read, Book() as book if (
            position.symbol not in garbled
            and desk.now_ms - read.seen_at_ms(position.key) <= POSITION_AGE_MAX_MS
            and _is_supported(book, snapshot, desk.policy)
        ):
            leg = book.leg_of(position.key)
            settled = liquidation_against(measured_book(book), leg)
            ground = survey(state, leg.instrument, position, settled)
            bounds: tuple[Price, ...] = ()
            if isinstance(ground.stopped, Position):
                resting = safe_stops(leg.instrument, ground.stopped, ground.ours, settled)
                bounds = tuple(stop.trigger_price for stop in resting)
            return keep_stop(desk, ground, unknown, bounds)
        case _:
            return NotAudited(unknown.reason)


def _is_supported(book: Book, read: AccountSnapshot, policy: Policy) -> bool:
    """Whether the arithmetic covers every leg: nothing can be said of one without the others."""
    return all(
        isinstance(support(leg.instrument, leg.position, read, policy), Supported)
        for leg in book.legs
    )


def _view_of(desk: Desk, known: BookKnown) -> BookView:
    fills = {
        leg.position.key: close_price(
            desk.policy,
            leg.instrument,
            leg.position,
            leg_known(desk.state, known, leg, desk.now_ms),
        )
        for leg in known.book.legs
    }
    ranked = by_relief(known.book.legs, fills, desk.policy.stress)
    return BookView(known.book, known.liquidation_distance, ranked, fills)


def _answer(asked: Asked, known: BookKnown) -> Answer:
    """What a step on all cross positions together comes to."""
    match asked.step.propose(_view_of(asked.desk, known)):
        case Notify(text):
            return notify(asked, text)
        case Reduce(closes):
            return _reduce(asked, known, closes)
        case Close():
            return _close_all(asked.desk, known, asked.reason)
        case Nothing(text):
            return nothing_helps(text)
        case Enough(text):
            return enough(text)
        case TightenStops() | TightenStop():
            return SAID
        case TopUp() | TrimAndRefund():
            raise AssertionError(f"{asked.reason}: the verb does not work on cross positions")


def _reduce(
    asked: Asked, known: BookKnown, closes: tuple[LegClose, ...]
) -> tuple[Approved, ...] | Denied:
    """Whether these parts may be closed now, or what slices have left to close."""
    desk = asked.desk
    left = desk.memory.steps[asked.reason].left
    plan = {close.key: close.quantity for close in closes}
    # Slices go on with what is left of the legs that are open, and close no more of one than the
    # step would ask for now.
    slices = {
        leg.position.key: min(left[leg.position.key], plan.get(leg.position.key, NEVER))
        for leg in known.book.legs
        if leg.position.key in left
    }
    wanted = slices or plan
    parts = tuple(
        PartClose(
            leg.position, Quantity(wanted[leg.position.key]), _bound(desk, known, leg), PLAIN
        )
        for leg in known.book.legs
        if leg.position.key in wanted
    )
    request = desk.request(parts[0].position.key, asked.reason)
    return review_reduce(request, parts, asked.step.cooldown_ms, is_slice=bool(slices))


def _close_all(desk: Desk, known: BookKnown, reason: str) -> tuple[Approved, ...] | Denied:
    """Close every leg that may be closed now; the first refusal where none may."""
    reviews = [
        ladder_close(desk, leg.position, reason, _bound(desk, known, leg))
        for leg in known.book.legs
    ]
    approved = tuple(each for each in reviews if isinstance(each, Approved))
    return approved or next(each for each in reviews if isinstance(each, Denied))


def _bound(desk: Desk, known: BookKnown, leg: Leg) -> Bound:
    its = leg_known(desk.state, known, leg, desk.now_ms)
    return close_bound(desk.policy, leg.instrument, leg.position, its)
