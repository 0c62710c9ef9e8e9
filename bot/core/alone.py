"""
Alone: the judgement of one isolated position, and the memo that spares judging it again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import assert_never

from bot.core.act import act, close_unknown, is_below_floor, view_of
from bot.core.decision import AlertSeverity, Audited, NotAudited, PositionVerdict, StopVerdict
from bot.core.desk import REPEAT_MS, Desk, Draft, subject_of
from bot.core.funding import bill_ahead
from bot.core.kept import kept
from bot.core.ladder import Evaluation, evaluate, steps_for
from bot.core.metrics import (
    POSITION_AGE_MAX_MS,
    Known,
    Supported,
    Unknown,
    bars_until_ms,
    measure,
    settle_liquidation,
    support,
)
from bot.core.model import Position, PositionKey, StopOrder
from bot.core.policy import Policy
from bot.core.protection import StopStatus, safe_stops
from bot.core.state import (
    EPISODE_QUIET_MS,
    NEVER_MS,
    AccountRead,
    AccountState,
    Instruments,
    Intent,
    NotRead,
    Phase,
    PositionMemory,
)
from bot.core.strategy import TightenStop
from bot.core.units import ZERO, Price
from bot.core.upkeep import keep_stop, survey
from bot.core.vigil import (
    advance_episode,
    is_endangered,
    is_in_danger,
    wake_for_settlement,
    warn_blind,
    warn_of_mode,
    warn_of_reentry,
    warn_unknown,
)


@dataclass(frozen=True, slots=True)
class Memo:
    """
    A verdict that had nothing done or refused, and the very objects it rests on.

    As long as they are the same, and the data fresh, judging again before `wake_at_ms` would say
    the same. An episode that `goes_on` is only noted to be active still. `in_play` is what was
    sent for it, and what else counts while a step fires or waits, or an episode has not ended;
    `beside` decides whether the position can be judged at all.
    """

    verdict: PositionVerdict
    wake_at_ms: int
    endangered: bool
    goes_on: bool
    in_play: tuple[object, ...]
    beside: tuple[object, ...]
    mark_price: Price
    stops: tuple[StopOrder, ...]
    memory: PositionMemory
    instruments: Instruments
    funding: object
    swings: object


def judge_alone(
    state: AccountState, policy: Policy, position: Position, now_ms: int, draft: Draft
) -> AccountState:
    """Judge one isolated position into `draft`; the state that counts what was approved."""
    key = position.key
    stale_at_ms = _stale_at_ms(state, policy, position)
    memo = state.memos.get(key)
    if (
        memo is not None
        and now_ms <= stale_at_ms
        and now_ms < memo.wake_at_ms
        and _still_holds(memo, state, position)
    ):
        draft.verdicts.append(memo.verdict)
        draft.endangered = draft.endangered or memo.endangered
        alarm_at_ms = stale_at_ms + policy.protect.unknown_after_ms
        draft.wake_at_ms = min(draft.wake_at_ms, memo.wake_at_ms, alarm_at_ms)
        if memo.goes_on:
            draft.wake_at_ms = min(draft.wake_at_ms, now_ms + EPISODE_QUIET_MS)
            draft.memories[key] = memory = replace(memo.memory, active_at_ms=now_ms)
            draft.memos[key] = replace(memo, memory=memory)
        return state
    before = state.memory_of(key)
    desk = Desk(state, policy, subject_of(position), before, now_ms)
    verdict = _judge(desk, position)
    goes_on = desk.memory.in_episode and not _is_idle(desk.memory)
    wake_at_ms = desk.wake_at_ms
    if isinstance(verdict.measured, Known):
        desk.wake(desk.memory.active_at_ms + EPISODE_QUIET_MS)
        wake_at_ms = wake_at_ms if goes_on else desk.wake_at_ms
    desk.wake(stale_at_ms + policy.protect.unknown_after_ms)
    endangered = _is_endangered(desk, verdict)
    draft.verdicts.append(verdict)
    draft.collect(desk)
    draft.endangered = draft.endangered or endangered
    state = desk.state
    if desk.memory is not before:
        draft.memories[key] = desk.memory
    # What was paid for an episode that has just ended is in the verdict, and is forgotten now.
    # A sum that came to nothing is equal to that, and not the same to the journal.
    if _is_settled(desk, verdict) and desk.memory.funding_paid is before.funding_paid:
        mark_price = state.marks[position.symbol].price
        draft.memos[key] = Memo(
            verdict,
            wake_at_ms,
            endangered,
            goes_on,
            _in_play(state, key, desk.memory),
            _beside(state),
            mark_price,
            state.stops,
            desk.memory,
            state.instruments,
            state.funding.get(position.symbol),
            state.swings.get(position.symbol),
        )
    return state


def _still_holds(memo: Memo, state: AccountState, position: Position) -> bool:
    return (
        memo.verdict.position is position
        # Byte for byte: 1.0 and 1.00 are equal, and not the same to the journal.
        and memo.mark_price.compare_total(state.marks[position.symbol].price) == 0
        and memo.stops is state.stops
        and memo.memory is state.memories.get(position.key)
        and memo.instruments is state.instruments
        and memo.funding is state.funding.get(position.symbol)
        and memo.swings is state.swings.get(position.symbol)
        and memo.beside == _beside(state)
        and memo.in_play == _in_play(state, position.key, memo.memory)
    )


def _is_settled(desk: Desk, verdict: PositionVerdict) -> bool:
    """Whether nothing is going on that an outcome, a read or time could change unseen."""
    match verdict:
        case PositionVerdict(
            measured=Known() as known,
            stop=Audited(status=StopStatus.RESTS | StopStatus.NOT_NEEDED),
        ):
            pass
        case _:
            return False
    position, mark = verdict.position, known.mark_price
    return (
        not (desk.approved or desk.denied or desk.alerts or desk.needs_read)
        and not is_below_floor(desk, known)
        # A read that shows a bill takes it out of the verdict, though nothing else in it changes.
        and bill_ahead(desk.state, position, mark, desk.now_ms) == ZERO
        and desk.memory.past_stop_since_ms == NEVER_MS
    )


def _is_idle(memory: PositionMemory) -> bool:
    """Whether no step fires or waits to."""
    return all(step.phase is Phase.INACTIVE for step in memory.steps.values())


def _in_play(state: AccountState, key: PositionKey, memory: PositionMemory) -> tuple[object, ...]:
    """What was sent for a position, and what one on which a step may act rests on besides."""
    sent = _sent_for(state.intents).get(key, ())  # another leg's close may clear its stops
    if not memory.in_episode and _is_idle(memory):
        return (sent,)
    return (state.mode, state.refunds, sent)


def _beside(state: AccountState) -> tuple[object, ...]:
    """The account's mode and its positions: mostly the same objects, which costs nothing."""
    match state.account:
        case AccountRead(snapshot=snapshot):
            return (snapshot.position_mode, snapshot.positions)
        case NotRead():
            return ()
    assert_never(state.account)


@kept(most=1)
def _sent_for(intents: Mapping[str, Intent]) -> Mapping[PositionKey, tuple[Intent, ...]]:
    """All intents by the position that they are for."""
    sent: dict[PositionKey, tuple[Intent, ...]] = {}
    for intent in intents.values():
        sent[intent.key] = (*sent.get(intent.key, ()), intent)
    return sent


def _is_endangered(desk: Desk, verdict: PositionVerdict) -> bool:
    """Whether the account should be looked at often: more than an alert may be near."""
    return (
        not isinstance(verdict.measured, Known)
        or is_endangered(desk.memory, verdict.stop)
        or is_in_danger(desk.memory, steps_for(desk.policy, verdict.position))
    )


def _stale_at_ms(state: AccountState, policy: Policy, position: Position) -> int:
    mark = state.marks.get(position.symbol)
    match state.account:
        case AccountRead(carried=carried) if position.key in carried:
            return NEVER_MS
        case AccountRead() as read if mark is not None:
            mark_until_ms = mark.received_at_ms + policy.guardrails.data_age_max_ms
            return min(mark_until_ms, read.seen_at_ms(position.key) + POSITION_AGE_MAX_MS)
        case AccountRead() | NotRead():
            return NEVER_MS


def _judge(desk: Desk, position: Position) -> PositionVerdict:
    policy, now_ms = desk.policy, desk.now_ms
    # What is said is remembered in what the evaluation goes on from.
    warn_of_mode(desk, position.margin_mode)
    warn_of_reentry(desk)
    measured = measure(desk.state, position, now_ms, policy)
    evaluation = evaluate(steps_for(policy, position), desk.memory, measured, now_ms)
    desk.wake(evaluation.wake_at_ms)
    wake_for_settlement(desk, position)
    desk.wake(bars_until_ms(desk.state, position.symbol) + 1)
    stop: StopVerdict
    match measured:
        case Unknown():
            desk.memory = evaluation.memory
            stop = _keep_stop_blindly(desk, position, measured)
            warn_unknown(desk, measured)
            close_unknown(desk, (position,))
        case Known():
            desk.memory = advance_episode(evaluation, now_ms)
            stop = _protect_and_act(desk, position, measured, evaluation)
            warn_blind(desk, evaluation)
            if measured.disputed:
                text = "the venue's liquidation price differs from ours; the nearer one counts"
                desk.say("disputed", AlertSeverity.WARNING, text, REPEAT_MS)
        case _:
            assert_never(measured)
    return PositionVerdict(position, measured, evaluation.verdicts, stop, tuple(desk.denied))


def _keep_stop_blindly(desk: Desk, position: Position, unknown: Unknown) -> StopVerdict:
    """Stops may rest on a read up to a minute old, whatever became of the mark price."""
    state = desk.state
    instrument = state.instruments.by_symbol.get(position.symbol)
    match state.account:
        case AccountRead(snapshot=snapshot) as read if (
            instrument is not None
            and position.key not in state.carried
            and desk.now_ms - read.seen_at_ms(position.key) <= POSITION_AGE_MAX_MS
            and isinstance(support(instrument, position, snapshot, desk.policy), Supported)
        ):
            settled, _ = settle_liquidation(instrument, position)
            ground = survey(state, instrument, position, settled)
            # Unknown clears no step: what a firing one has tightened stays where it is.
            resting = safe_stops(instrument, position, ground.ours, settled)
            bounds = tuple(stop.trigger_price for stop in resting)
            return keep_stop(desk, ground, unknown, bounds)
        case AccountRead() | NotRead():
            return NotAudited(unknown.reason)


def _protect_and_act(
    desk: Desk, position: Position, known: Known, evaluation: Evaluation
) -> StopVerdict:
    state = desk.state
    instrument = state.instruments.by_symbol[position.symbol]
    ground = survey(state, instrument, position, known.liquidation)
    bounds: tuple[Price, ...] = ()
    if asked := (*evaluation.firing, *evaluation.held):
        view = view_of(desk, known, ground)
        bounds = tuple(
            proposal.trigger_price
            for _, step in asked
            if isinstance(proposal := step.propose(view), TightenStop)
        )
    stop = keep_stop(desk, ground, known, bounds)
    act(desk, known, evaluation, ground, stop)
    return stop
