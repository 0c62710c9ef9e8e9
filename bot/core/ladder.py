"""
The ladder: which steps fire. The sole owner of *when*.

A step is inactive until its threshold is crossed, pending while it stays crossed, and firing
once it has been for `for`. It clears only beyond threshold plus hysteresis. An Unknown metric
neither fires nor clears a step: it pauses `for`, at most ten seconds a time.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeAlias, assert_never

from bot.core.funding import ACT_MS, FundingCost, FundingUnknown
from bot.core.metrics import BookKnown, Known, Measured, MeasuredBook, Unknown
from bot.core.model import MarginMode, Position
from bot.core.policy import Above, Below, Metric, Policy, Rule, Step, Threshold
from bot.core.state import NEVER_MS, Phase, PositionMemory, StepMemory
from bot.core.strategy import Severity
from bot.core.units import Ratio

PAUSE_MAX_MS = 10_000
"""Longest stretch of Unknown that does not count towards `for`."""

IDLE = StepMemory()

Covering: TypeAlias = tuple[tuple[Rule, Step], ...]
"""Steps with the rule they stand in, in the order of the file."""


class StepPhase(StrEnum):
    """State of a step at a decision, as a user reads it."""

    INACTIVE = "inactive"
    PENDING = "pending"
    FIRING = "firing"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class StepVerdict:
    """What a step came to at one decision."""

    reason: str
    phase: StepPhase


@dataclass(frozen=True, slots=True)
class Waiting:
    """A firing step that may act from `until_ms` on."""

    reason: str
    until_ms: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """
    Verdicts of every step that covers a position, in the order of the file.

    `firing` holds the steps with the rule they stand in; `waiting` those that fire and may act
    only later, shortly before a settlement. `wake_at_ms` is when the passing of time alone may
    change a verdict, infinite as a far future.
    """

    memory: PositionMemory
    verdicts: tuple[StepVerdict, ...]
    firing: Covering
    waiting: tuple[Waiting, ...]
    wake_at_ms: int


NO_WAKE_MS = 10**15


def reason_of(rule: Rule, step: Step) -> str:
    """The name under which a step is remembered and journalled."""
    return f"{rule.name}/{step.name}"


def steps_for(policy: Policy, position: Position) -> Covering:
    """The steps that speak of one position: of a cross one, those on what it pays by itself."""
    alone = position.margin_mode is MarginMode.ISOLATED
    return tuple(
        (rule, step)
        for rule in policy.rules
        if rule.match.covers(position) and (alone or not rule.metric.is_shared)
        for step in rule.steps
    )


def steps_for_book(policy: Policy) -> Covering:
    """The steps that speak of all cross positions together."""
    return tuple(
        (rule, step)
        for rule in policy.rules
        if rule.match.covers_mode(MarginMode.CROSS) and rule.metric.is_shared
        for step in rule.steps
    )


def evaluate(
    covering: Covering, memory: PositionMemory, measured: Measured | MeasuredBook, now_ms: int
) -> Evaluation:
    """Advance every step of `covering` to `now_ms`."""
    match measured:
        case Unknown(since_ms=first_ms):
            since = first_ms if memory.unknown_since_ms == NEVER_MS else memory.unknown_since_ms
            verdicts = tuple(
                StepVerdict(reason_of(rule, step), StepPhase.UNKNOWN) for rule, step in covering
            )
            blind = replace(memory, unknown_since_ms=since)
            return Evaluation(blind, verdicts, (), (), NO_WAKE_MS)
        case Known() | BookKnown():
            return _advance(covering, memory, measured, now_ms)
    assert_never(measured)


def _advance(
    covering: Covering, memory: PositionMemory, known: Known | BookKnown, now_ms: int
) -> Evaluation:
    blind_ms = 0 if memory.unknown_since_ms == NEVER_MS else now_ms - memory.unknown_since_ms
    steps: dict[str, StepMemory] = {}
    verdicts = []
    firing: list[tuple[Rule, Step]] = []
    waiting: list[Waiting] = []
    wake_at_ms = NO_WAKE_MS
    for rule, step in covering:
        reason = reason_of(rule, step)
        before = memory.steps.get(reason, IDLE)
        value = metric_value(rule.metric, known)
        if isinstance(value, FundingUnknown):
            steps[reason] = before  # unknown neither fires nor clears
            verdicts.append(StepVerdict(reason, StepPhase.UNKNOWN))
            continue
        after = _step(rule, step, before, value, now_ms, blind_ms)
        steps[reason] = after
        verdicts.append(StepVerdict(reason, StepPhase(after.phase.value)))
        if after.phase is Phase.FIRING:
            due_ms = _due_from_ms(rule, step, known)
            if now_ms >= due_ms:
                firing.append((rule, step))
            else:
                waiting.append(Waiting(reason, due_ms))
                wake_at_ms = min(wake_at_ms, due_ms)
        if after.phase is Phase.PENDING:
            wake_at_ms = min(wake_at_ms, after.since_ms + after.paused_ms + step.hold_ms)
    unchanged = steps == memory.steps and memory.unknown_since_ms == NEVER_MS
    seen = memory if unchanged else replace(memory, steps=steps, unknown_since_ms=NEVER_MS)
    return Evaluation(seen, tuple(verdicts), tuple(firing), tuple(waiting), wake_at_ms)


def _due_from_ms(rule: Rule, step: Step, known: Known | BookKnown) -> int:
    """
    From when on a firing step may act.

    What answers the cost of the next settlement waits for the last minutes before it, when the
    rate is nearly certain; whatever else fires, and every alert, acts at once.
    """
    match rule.metric, known:
        case (
            (Metric.FUNDING_COST_INTERVAL | Metric.FUNDING_COST_24H),
            Known(funding=FundingCost(next_at_ms=next_at_ms)),
        ) if step.severity >= Severity.SPEND:
            return next_at_ms - ACT_MS
        case _:
            return NEVER_MS


def _step(
    rule: Rule, step: Step, before: StepMemory, value: Ratio, now_ms: int, blind_ms: int
) -> StepMemory:
    crossed = is_crossed(step.threshold, value)
    match before.phase:
        case Phase.FIRING:
            if has_cleared(step.threshold, rule.hysteresis, value):
                return replace(before, phase=Phase.INACTIVE, since_ms=now_ms, paused_ms=0, left={})
            return before
        case Phase.PENDING if crossed:
            waited = replace(before, paused_ms=before.paused_ms + min(blind_ms, PAUSE_MAX_MS))
        case Phase.INACTIVE if crossed:
            waited = replace(before, phase=Phase.PENDING, since_ms=now_ms, paused_ms=0)
        case Phase.PENDING:
            return replace(before, phase=Phase.INACTIVE, since_ms=now_ms, paused_ms=0)
        case Phase.INACTIVE:
            return before
        case _:
            assert_never(before.phase)
    if now_ms - waited.since_ms - waited.paused_ms >= step.hold_ms:
        return replace(waited, phase=Phase.FIRING, since_ms=now_ms, paused_ms=0)
    return waited


def is_crossed(threshold: Threshold, value: Ratio) -> bool:
    """Whether `value` lies beyond the threshold."""
    match threshold:
        case Below(limit):
            return value < limit
        case Above(limit):
            return value > limit
    assert_never(threshold)


def has_cleared(threshold: Threshold, hysteresis: Ratio, value: Ratio) -> bool:
    """Whether `value` is back by at least the hysteresis."""
    match threshold:
        case Below(limit):
            return value >= limit + hysteresis
        case Above(limit):
            return value <= limit - hysteresis
    assert_never(threshold)


def metric_value(metric: Metric, known: Known | BookKnown) -> Ratio | FundingUnknown:
    """What a rule compares with its thresholds."""
    match metric:
        case Metric.LIQUIDATION_DISTANCE:
            return known.liquidation_distance
        case Metric.MARGIN_RATIO:
            return known.margin_ratio
        case Metric.FUNDING_COST_INTERVAL | Metric.FUNDING_COST_24H | Metric.FUNDING_COST_EPISODE:
            return _funding_value(metric, known)
    assert_never(metric)


def _funding_value(metric: Metric, known: Known | BookKnown) -> Ratio | FundingUnknown:
    match known:
        case Known(funding=FundingCost(interval=interval, day=day, episode=episode)):
            costs = {
                Metric.FUNDING_COST_INTERVAL: interval,
                Metric.FUNDING_COST_24H: day,
                Metric.FUNDING_COST_EPISODE: episode,
            }
            return costs[metric]
        case Known(funding=FundingUnknown() as unknown):
            return unknown
        case _:
            raise AssertionError("a funding rule speaks of one position, not of a book")


def deepest_first(firing: Covering) -> Covering:
    """Firing steps by severity of their verb, the later in the file first among equals."""
    ranked = sorted(
        enumerate(firing), key=lambda item: (item[1][1].severity, item[0]), reverse=True
    )
    return tuple(pair for _, pair in ranked)


def with_step(memory: PositionMemory, reason: str, step: StepMemory) -> PositionMemory:
    """`memory` with one step's memory replaced."""
    return replace(memory, steps={**memory.steps, reason: step})
