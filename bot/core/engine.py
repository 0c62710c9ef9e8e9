"""
The engine: from state, policy and time to a decision. Pure, and the same for every run.

For each position: measure it, advance its ladder, keep its standing stop, ask the deepest
firing verb and review what it proposes. At most one ladder action a position, stops besides;
what is approved for one position already counts when the next one is judged.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import assert_never

from bot.core.act import act, view_of
from bot.core.actions import CancelStop
from bot.core.decision import (
    Alert,
    AlertSeverity,
    Audited,
    Decision,
    NotAudited,
    PositionVerdict,
    StopVerdict,
)
from bot.core.desk import REPEAT_MS, Desk
from bot.core.guardrails import (
    Approved,
    Request,
    approve_stop,
    still_counts,
    with_intent,
)
from bot.core.ids import account_prefix
from bot.core.ladder import (
    IDLE,
    NO_WAKE_MS,
    Evaluation,
    evaluate,
    reason_of,
)
from bot.core.metrics import (
    POSITION_AGE_MAX_MS,
    Known,
    Supported,
    Unknown,
    measure,
    settle_liquidation,
    support,
)
from bot.core.model import Position, PositionKey, StopOrder
from bot.core.policy import Policy, Rule
from bot.core.protection import StopStatus, safe_stops
from bot.core.state import (
    EPISODE_QUIET_MS,
    NEVER_MS,
    AccountRead,
    AccountState,
    Instruments,
    NotRead,
    Phase,
    PositionMemory,
)
from bot.core.strategy import Severity, TightenStop
from bot.core.units import Price
from bot.core.upkeep import keep_stop, survey

ORPHAN_MS = 2_000
"""A stop of ours is cancelled when its position was gone in two reads this far apart."""


@dataclass(frozen=True, slots=True)
class Memo:
    """
    A calm verdict, and the very objects it rests on.

    As long as they are the same, and the data fresh, judging again before `wake_at_ms` would say
    the same.
    """

    verdict: PositionVerdict
    wake_at_ms: int
    mark_price: Price
    stops: tuple[StopOrder, ...]
    memory: PositionMemory
    instruments: Instruments


@dataclass(slots=True)
class _Draft:
    """The decision in the making, over all positions."""

    verdicts: list[PositionVerdict] = field(default_factory=list)
    approved: list[Approved] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    wake_at_ms: int = NO_WAKE_MS
    endangered: bool = False
    needs_read: bool = False


def decide(state: AccountState, policy: Policy, now_ms: int) -> tuple[AccountState, Decision]:
    """
    The decision at `now_ms`, and the state that counts its intents as PLANNED.

    Time must not run backwards between calls on the same state.
    """
    draft = _Draft()
    state = _forget(state, now_ms)
    state = _report_liquidations(state, draft)
    for position in sorted(state.positions, key=lambda each: each.key):
        state = _judge_or_recall(state, policy, position, now_ms, draft)
    state = _cancel_orphans(state, policy, now_ms, draft)
    decision = Decision(
        at_ms=now_ms,
        mode=state.mode,
        positions=tuple(draft.verdicts),
        approved=tuple(draft.approved),
        alerts=tuple(draft.alerts),
        wake_at_ms=draft.wake_at_ms,
        endangered=draft.endangered,
        needs_read=draft.needs_read,
    )
    return state, decision


def _judge_or_recall(
    state: AccountState, policy: Policy, position: Position, now_ms: int, draft: _Draft
) -> AccountState:
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
        alarm_at_ms = stale_at_ms + policy.protect.unknown_after_ms
        draft.wake_at_ms = min(draft.wake_at_ms, memo.wake_at_ms, alarm_at_ms)
        return state
    before = state.memory_of(key)
    desk = Desk(state, policy, position, before, now_ms)
    verdict = _judge(desk)
    wake_at_ms = desk.wake_at_ms
    desk.wake(stale_at_ms + policy.protect.unknown_after_ms)
    calm = _is_calm(desk, verdict)
    draft.verdicts.append(verdict)
    draft.approved.extend(desk.approved)
    draft.alerts.extend(desk.alerts)
    draft.wake_at_ms = min(draft.wake_at_ms, desk.wake_at_ms)
    draft.needs_read = draft.needs_read or desk.needs_read
    draft.endangered = draft.endangered or _is_endangered(desk, verdict)
    state = desk.state
    if desk.memory is not before:
        state = replace(state, memories={**state.memories, key: desk.memory})
    if calm:
        mark_price = state.marks[position.symbol].price
        memo = Memo(verdict, wake_at_ms, mark_price, state.stops, desk.memory, state.instruments)
        state = replace(state, memos={**state.memos, key: memo})
    return state


def _still_holds(memo: Memo, state: AccountState, position: Position) -> bool:
    return (
        memo.verdict.position is position
        and memo.mark_price == state.marks[position.symbol].price
        and memo.stops is state.stops
        and memo.memory is state.memories.get(position.key)
        and memo.instruments is state.instruments
    )


def _is_calm(desk: Desk, verdict: PositionVerdict) -> bool:
    """Whether nothing is going on that an outcome or the passing of time could soon change."""
    return (
        not _is_endangered(desk, verdict)
        and not (desk.approved or desk.denied or desk.alerts or desk.needs_read)
        and all(step.phase is Phase.INACTIVE for step in desk.memory.steps.values())
        and desk.memory.past_stop_since_ms == NEVER_MS
    )


def _is_endangered(desk: Desk, verdict: PositionVerdict) -> bool:
    """Whether the account should be looked at often: more than an alert may be near."""
    deep = (phase for rule in desk.policy.rules for phase in _deep_phases(rule, desk))
    return not (
        isinstance(verdict.measured, Known)
        and isinstance(verdict.stop, Audited)
        and verdict.stop.status in (StopStatus.RESTS, StopStatus.NOT_NEEDED)
        and not desk.memory.in_episode
        and all(phase is Phase.INACTIVE for phase in deep)
    )


def _deep_phases(rule: Rule, desk: Desk) -> Iterator[Phase]:
    for step in rule.steps:
        if step.severity is not Severity.ALERT:
            memory = desk.memory.steps.get(reason_of(rule, step), IDLE)
            yield memory.phase


def _stale_at_ms(state: AccountState, policy: Policy, position: Position) -> int:
    mark = state.marks.get(position.symbol)
    match state.account:
        case AccountRead(received_at_ms=read_at_ms) if mark is not None:
            mark_until_ms = mark.received_at_ms + policy.guardrails.data_age_max_ms
            return min(mark_until_ms, read_at_ms + POSITION_AGE_MAX_MS)
        case AccountRead() | NotRead():
            return NEVER_MS


def _judge(desk: Desk) -> PositionVerdict:
    position, policy, now_ms = desk.position, desk.policy, desk.now_ms
    measured = measure(desk.state, position, now_ms, policy.guardrails.data_age_max_ms)
    evaluation = evaluate(policy, position, desk.memory, measured, now_ms)
    desk.wake(evaluation.wake_at_ms)
    stop: StopVerdict
    match measured:
        case Unknown(reason):
            desk.memory = evaluation.memory
            stop = _keep_stop_blindly(desk, measured)
            alarm_at_ms = desk.memory.unknown_since_ms + policy.protect.unknown_after_ms
            desk.wake(alarm_at_ms)
            if now_ms >= alarm_at_ms:
                text = f"cannot be measured: {reason}"
                desk.say("unknown", AlertSeverity.CRITICAL, text, REPEAT_MS)
        case Known():
            desk.memory = _episode(evaluation, now_ms)
            desk.wake(desk.memory.active_at_ms + EPISODE_QUIET_MS)
            stop = _protect_and_act(desk, measured, evaluation)
            if measured.disputed:
                text = "the venue's liquidation price differs from ours; the nearer one counts"
                desk.say("disputed", AlertSeverity.WARNING, text, REPEAT_MS)
        case _:
            assert_never(measured)
    return PositionVerdict(position, measured, evaluation.verdicts, stop, tuple(desk.denied))


def _episode(evaluation: Evaluation, now_ms: int) -> PositionMemory:
    """Open an episode with the first step beyond alert, end it after ten quiet minutes."""
    memory = evaluation.memory
    if any(step.severity > Severity.ALERT for _, step in evaluation.firing):
        began_ms = memory.episode if memory.in_episode else now_ms
        return replace(memory, episode=began_ms, in_episode=True, active_at_ms=now_ms)
    if not memory.in_episode:
        return memory
    if any(step.phase is not Phase.INACTIVE for step in memory.steps.values()):
        return replace(memory, active_at_ms=now_ms)
    if now_ms - memory.active_at_ms >= EPISODE_QUIET_MS:
        return replace(memory, in_episode=False)
    return memory


def _keep_stop_blindly(desk: Desk, unknown: Unknown) -> StopVerdict:
    """Stops may rest on a read up to a minute old, whatever became of the mark price."""
    state, position = desk.state, desk.position
    instrument = state.instruments.by_symbol.get(position.symbol)
    match state.account:
        case AccountRead(snapshot=snapshot, received_at_ms=at_ms) if (
            instrument is not None
            and desk.now_ms - at_ms <= POSITION_AGE_MAX_MS
            and isinstance(support(instrument, position, snapshot.position_mode), Supported)
        ):
            settled, _ = settle_liquidation(instrument, position)
            ground = survey(state, instrument, position, settled)
            # Unknown clears no step: what a firing one has tightened stays where it is.
            resting = safe_stops(position, ground.ours, settled)
            bounds = tuple(stop.trigger_price for stop in resting)
            return keep_stop(desk, ground, unknown, bounds)
        case AccountRead() | NotRead():
            return NotAudited(unknown.reason)


def _protect_and_act(desk: Desk, known: Known, evaluation: Evaluation) -> StopVerdict:
    state, position = desk.state, desk.position
    instrument = state.instruments.by_symbol[position.symbol]
    ground = survey(state, instrument, position, known.liquidation)
    view = view_of(desk, known, ground)
    bounds = tuple(
        proposal.trigger_price
        for _, step in evaluation.firing
        if isinstance(proposal := step.propose(view), TightenStop)
    )
    stop = keep_stop(desk, ground, known, bounds)
    act(desk, known, evaluation, view, ground, stop)
    return stop


def _report_liquidations(state: AccountState, draft: _Draft) -> AccountState:
    if not state.liquidated:
        return state
    for event in state.liquidated:
        subject = f"{event.symbol} {event.side}"
        text = f"{subject}: the exchange LIQUIDATED the position at {event.price:f}"
        draft.alerts.append(Alert(subject, "liquidated", AlertSeverity.CRITICAL, text))
    draft.needs_read = True
    return replace(state, liquidated=())


def _cancel_orphans(
    state: AccountState, policy: Policy, now_ms: int, draft: _Draft
) -> AccountState:
    """Cancel our own stops of positions that two reads did not find any more."""
    open_keys = {position.key for position in state.positions}
    prefix = account_prefix(state.birth.account)
    for stop in state.stops:
        key = PositionKey(stop.symbol, stop.side)
        if key in open_keys or not stop.client_id.startswith(prefix):
            continue
        memory = state.memory_of(key)
        sure = memory.flat_read_at_ms - memory.flat_since_ms >= ORPHAN_MS
        draft.needs_read = True
        draft.wake_at_ms = min(draft.wake_at_ms, now_ms + ORPHAN_MS)
        asked = any(
            isinstance(intent.action, CancelStop)
            and intent.action.target_client_id == stop.client_id
            for intent in state.intents.values()
        )
        if sure and not asked:
            request = Request(state, policy, key, memory, "protect/cancel", now_ms)
            cancel = CancelStop(stop.symbol, stop.side, stop.client_id)
            approved = approve_stop(request, cancel)
            draft.approved.append(approved)
            state = with_intent(state, approved)
    return state


def _forget(state: AccountState, now_ms: int) -> AccountState:
    """Drop intents that no limit needs any more and positions flat for ten minutes."""
    intents = {
        intent.id: intent
        for intent in state.intents.values()
        if still_counts(intent, state.memory_of(intent.key), now_ms)
    }
    memories = {
        key: memory
        for key, memory in state.memories.items()
        if memory.flat_since_ms == NEVER_MS or now_ms - memory.flat_since_ms < EPISODE_QUIET_MS
    }
    if len(intents) == len(state.intents) and len(memories) == len(state.memories):
        return state
    return replace(state, intents=intents, memories=memories)
