"""
The ladder: which steps fire. The sole owner of *when*.

A step is inactive until its threshold is crossed, pending while it stays crossed, and firing
once it has been for `for`. It clears only beyond threshold plus hysteresis. An Unknown metric
neither fires nor clears a step: it pauses `for`, at most ten seconds a time.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import assert_never

from bot.core.metrics import Known, Measured, Unknown
from bot.core.model import Position
from bot.core.policy import Above, Below, Metric, Policy, Rule, Step, Threshold
from bot.core.state import NEVER_MS, Phase, PositionMemory, StepMemory
from bot.core.units import Ratio

PAUSE_MAX_MS = 10_000
"""Longest stretch of Unknown that does not count towards `for`."""

IDLE = StepMemory()


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
class Evaluation:
    """
    Verdicts of every step that covers a position, in the order of the file.

    `firing` holds the steps with the rule they stand in; `wake_at_ms` is when the passing of
    time alone may change a verdict, infinite as a far future.
    """

    memory: PositionMemory
    verdicts: tuple[StepVerdict, ...]
    firing: tuple[tuple[Rule, Step], ...]
    wake_at_ms: int


NO_WAKE_MS = 10**15


def reason_of(rule: Rule, step: Step) -> str:
    """The name under which a step is remembered and journalled."""
    return f"{rule.name}/{step.name}"


def evaluate(
    policy: Policy, position: Position, memory: PositionMemory, measured: Measured, now_ms: int
) -> Evaluation:
    """Advance every step that covers `position` to `now_ms`."""
    covering = [
        (rule, step) for rule in policy.rules if rule.match.covers(position) for step in rule.steps
    ]
    match measured:
        case Unknown(since_ms=first_ms):
            since = first_ms if memory.unknown_since_ms == NEVER_MS else memory.unknown_since_ms
            verdicts = tuple(
                StepVerdict(reason_of(rule, step), StepPhase.UNKNOWN) for rule, step in covering
            )
            blind = replace(memory, unknown_since_ms=since)
            return Evaluation(blind, verdicts, (), NO_WAKE_MS)
        case Known():
            return _advance(covering, memory, measured, now_ms)
    assert_never(measured)


def _advance(
    covering: list[tuple[Rule, Step]], memory: PositionMemory, known: Known, now_ms: int
) -> Evaluation:
    blind_ms = 0 if memory.unknown_since_ms == NEVER_MS else now_ms - memory.unknown_since_ms
    steps: dict[str, StepMemory] = {}
    verdicts = []
    firing = []
    wake_at_ms = NO_WAKE_MS
    for rule, step in covering:
        reason = reason_of(rule, step)
        before = memory.steps.get(reason, IDLE)
        after = _step(rule, step, before, _value(rule.metric, known), now_ms, blind_ms)
        steps[reason] = after
        verdicts.append(StepVerdict(reason, StepPhase(after.phase.value)))
        if after.phase is Phase.FIRING:
            firing.append((rule, step))
        if after.phase is Phase.PENDING:
            wake_at_ms = min(wake_at_ms, after.since_ms + after.paused_ms + step.hold_ms)
    unchanged = steps == memory.steps and memory.unknown_since_ms == NEVER_MS
    seen = memory if unchanged else replace(memory, steps=steps, unknown_since_ms=NEVER_MS)
    return Evaluation(seen, tuple(verdicts), tuple(firing), wake_at_ms)


def _step(
    rule: Rule, step: Step, before: StepMemory, value: Ratio, now_ms: int, blind_ms: int
) -> StepMemory:
    crossed = is_crossed(step.threshold, value)
    match before.phase:
        case Phase.FIRING:
            if has_cleared(step.threshold, rule.hysteresis, value):
                return replace(before, phase=Phase.INACTIVE, since_ms=now_ms, paused_ms=0)
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


def _value(metric: Metric, known: Known) -> Ratio:
    match metric:
        case Metric.LIQUIDATION_DISTANCE:
            return known.liquidation_distance
        case Metric.MARGIN_RATIO:
            return known.margin_ratio
        case Metric.FUNDING_COST_INTERVAL | Metric.FUNDING_COST_24H | Metric.FUNDING_COST_EPISODE:
            raise AssertionError(f"the loader refuses rules that watch {metric}")
    assert_never(metric)


def deepest_first(firing: tuple[tuple[Rule, Step], ...]) -> tuple[tuple[Rule, Step], ...]:
    """Firing steps by severity of their verb, the later in the file first among equals."""
    ranked = sorted(
        enumerate(firing), key=lambda item: (item[1][1].severity, item[0]), reverse=True
    )
    return tuple(pair for _, pair in ranked)


def with_step(memory: PositionMemory, reason: str, step: StepMemory) -> PositionMemory:
    """`memory` with one step's memory replaced."""
    return replace(memory, steps={**memory.steps, reason: step})
