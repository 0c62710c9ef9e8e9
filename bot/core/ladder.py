"""
The ladder: which steps fire. The sole owner of *when*.

A step is inactive until its threshold is crossed, pending while it stays crossed, and firing
once it has been for `for`. It clears only beyond threshold plus hysteresis. An Unknown metric
neither fires nor clears a step: it pauses `for`, at most ten seconds a time. Where a position is
known but the metric of a rule is not, the steps of that rule do nothing, but a stop that one of
them has tightened stays tightened.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from typing import TypeAlias, assert_never

from bot.core.funding import ACT_MS, Funding, FundingCost, FundingUnknown
from bot.core.kept import kept
from bot.core.metrics import (
    BookKnown,
    ByVolatility,
    Known,
    Measured,
    MeasuredBook,
    TimeLeft,
    Unknown,
    VolatilityUnknown,
)
from bot.core.model import MarginMode, Position
from bot.core.policy import Above, Below, Metric, Policy, Rule, Step, Threshold
from bot.core.state import NEVER_MS, Phase, PositionMemory, StepMemory
from bot.core.strategy import Severity

PAUSE_MAX_MS = 10_000
"""Longest stretch of Unknown that does not count towards `for`."""

IDLE = StepMemory()

Covering: TypeAlias = tuple[tuple[Rule, Step], ...]
"""Steps with the rule they stand in, in the order of the file."""

NotKnown: TypeAlias = FundingUnknown | VolatilityUnknown
"""Why the metric of a rule is not known though the position is."""


class StepPhase(StrEnum):
    """State of a step at a decision, as a user reads it."""

    INACTIVE = "inactive"
    PENDING = "pending"
    FIRING = "firing"
    UNKNOWN = "unknown"


_SHOWN = {phase: StepPhase(phase.value) for phase in Phase}


@dataclass(frozen=True, slots=True)
class StepVerdict:
    """What a step came to at one decision."""

    reason: str
    phase: StepPhase


@dataclass(frozen=True, slots=True)
class _Named:
    """A step by its name, and all that it can come to."""

    rule: Rule
    step: Step
    reason: str
    verdicts: Mapping[StepPhase, StepVerdict]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A firing step that may act from `until_ms` on."""

    reason: str
    until_ms: int


@dataclass(frozen=True, slots=True)
class Blind:
    """A rule whose metric alone is not known since `since_ms`, and why."""

    rule: Rule
    reason: str
    since_ms: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """
    Verdicts of every step that covers a position, in the order of the file.

    `firing` holds the steps with the rule they stand in; `waiting` those that fire and may act
    only later, shortly before a settlement; `held` those that were firing when the metric of
    their rule was last known, `blind` such rules. `wake_at_ms` is when the passing of time alone
    may change a verdict, infinite as a far future.
    """

    memory: PositionMemory
    verdicts: tuple[StepVerdict, ...]
    firing: Covering
    waiting: tuple[Waiting, ...]
    held: Covering
    blind: tuple[Blind, ...]
    wake_at_ms: int


NO_WAKE_MS = 10**15


def reason_of(rule: Rule, step: Step) -> str:
    """The name under which a step is remembered and journalled."""
    return f"{rule.name}/{step.name}"


@kept(most=256)
def steps_for(policy: Policy, position: Position) -> Covering:
    """The steps that speak of one position: of a cross one, those on what it pays by itself."""
    alone = position.margin_mode is MarginMode.ISOLATED
    return tuple(
        (rule, step)
        for rule in policy.rules
        if rule.match.covers(position) and (alone or not rule.metric.is_shared)
        for step in rule.steps
    )


@kept(most=8)
def steps_for_book(policy: Policy) -> Covering:
    """The steps that speak of all cross positions together."""
    return tuple(
        (rule, step)
        for rule in policy.rules
        if rule.match.covers_mode(MarginMode.CROSS) and rule.metric.is_shared
        for step in rule.steps
    )


@kept(most=256)
def _named(covering: Covering) -> tuple[_Named, ...]:
    return tuple(_by_name(rule, step) for rule, step in covering)


@kept(most=256)
def _by_name(rule: Rule, step: Step) -> _Named:
    reason = reason_of(rule, step)
    return _Named(rule, step, reason, {each: StepVerdict(reason, each) for each in StepPhase})


@kept(most=64)
def symbols_to_chart(policy: Policy, positions: tuple[Position, ...]) -> frozenset[str]:
    """The symbols whose bars a rule asks for."""
    return frozenset(
        position.symbol
        for rule in policy.rules
        if rule.metric.needs_bars
        for position in positions
        if rule.match.covers(position)
    )


def evaluate(
    covering: Covering, memory: PositionMemory, measured: Measured | MeasuredBook, now_ms: int
) -> Evaluation:
    """Advance every step of `covering` to `now_ms`."""
    match measured:
        case Unknown(since_ms=first_ms):
            since = first_ms if memory.unknown_since_ms == NEVER_MS else memory.unknown_since_ms
            verdicts = tuple(each.verdicts[StepPhase.UNKNOWN] for each in _named(covering))
            blind = replace(memory, unknown_since_ms=since)
            return Evaluation(blind, verdicts, (), (), (), (), NO_WAKE_MS)
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
    held: list[tuple[Rule, Step]] = []
    blind: dict[str, Blind] = {}
    wake_at_ms = NO_WAKE_MS
    for named in _named(covering):
        rule, step, reason = named.rule, named.step, named.reason
        before = memory.steps.get(reason, IDLE)
        value = metric_value(rule.metric, known)
        if isinstance(value, NotKnown):
            steps[reason] = before  # unknown neither fires nor clears
            verdicts.append(named.verdicts[StepPhase.UNKNOWN])
            since_ms = memory.blind_since_ms.get(rule.name, now_ms)
            blind[rule.name] = Blind(rule, value.reason, since_ms)
            if before.phase is Phase.FIRING:
                held.append((rule, step))
            continue
        after = _step(rule, step, before, value, now_ms, blind_ms)
        steps[reason] = after
        verdicts.append(named.verdicts[_SHOWN[after.phase]])
        if after.phase is Phase.FIRING:
            due_ms = _due_from_ms(rule, step, known)
            if now_ms >= due_ms:
                firing.append((rule, step))
            else:
                waiting.append(Waiting(reason, due_ms))
                wake_at_ms = min(wake_at_ms, due_ms)
        if after.phase is Phase.PENDING:
            wake_at_ms = min(wake_at_ms, after.since_ms + after.paused_ms + step.hold_ms)
    since = {name: each.since_ms for name, each in blind.items()}
    unchanged = (
        steps == memory.steps
        and since == memory.blind_since_ms
        and memory.unknown_since_ms == NEVER_MS
    )
    seen = (
        memory
        if unchanged
        else replace(memory, steps=steps, blind_since_ms=since, unknown_since_ms=NEVER_MS)
    )
    return Evaluation(
        memory=seen,
        verdicts=tuple(verdicts),
        firing=tuple(firing),
        waiting=tuple(waiting),
        held=tuple(held),
        blind=tuple(blind.values()),
        wake_at_ms=wake_at_ms,
    )


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
    rule: Rule, step: Step, before: StepMemory, value: Decimal, now_ms: int, blind_ms: int
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


def is_crossed(threshold: Threshold, value: Decimal) -> bool:
    """Whether `value` lies beyond the threshold."""
    match threshold:
        case Below(limit):
            return value < limit
        case Above(limit):
            return value > limit
    assert_never(threshold)


def has_cleared(threshold: Threshold, hysteresis: Decimal, value: Decimal) -> bool:
    """Whether `value` is back by at least the hysteresis."""
    match threshold:
        case Below(limit):
            return value >= limit + hysteresis
        case Above(limit):
            return value <= limit - hysteresis
    assert_never(threshold)


def metric_value(metric: Metric, known: Known | BookKnown) -> Decimal | NotKnown:
    """What a rule compares with its thresholds, in the metric's own unit."""
    match metric:
        case Metric.LIQUIDATION_DISTANCE:
            return known.liquidation_distance
        case Metric.MARGIN_RATIO:
            return known.margin_ratio
        case Metric.EFFECTIVE_LEVERAGE:
            return known.effective_leverage
        case _:
            pass
    match known:
        case Known():
            return _value_of_one(metric, known)
        case BookKnown():
            raise AssertionError("the metric is that of one position, not of a book")
    assert_never(known)


def _value_of_one(metric: Metric, known: Known) -> Decimal | NotKnown:
    if metric is Metric.BREAK_EVEN_DISTANCE:
        return known.break_even_distance
    match known.volatility:
        case _ if not metric.needs_bars:
            return _funding_value(metric, known.funding)
        case VolatilityUnknown() as unknown:
            return unknown
        case ByVolatility(atrs=atrs) if metric is Metric.LIQUIDATION_DISTANCE_ATR:
            return atrs
        case ByVolatility(sigmas=sigmas) if metric is Metric.LIQUIDATION_DISTANCE_SIGMA:
            return sigmas
        case ByVolatility(time=time):
            return time.ms if isinstance(time, TimeLeft) else time
    raise AssertionError("a volatility is known or not")


def _funding_value(metric: Metric, funding: Funding) -> Decimal | FundingUnknown:
    match funding:
        case FundingCost(interval=interval, day=day, episode=episode):
            costs = {
                Metric.FUNDING_COST_INTERVAL: interval,
                Metric.FUNDING_COST_24H: day,
                Metric.FUNDING_COST_EPISODE: episode,
            }
            return costs[metric]
        case FundingUnknown() as unknown:
            return unknown
    assert_never(funding)


def deepest_first(firing: Covering) -> Covering:
    """Firing steps by severity of their verb, the later in the file first among equals."""
    ranked = sorted(
        enumerate(firing), key=lambda item: (item[1][1].severity, item[0]), reverse=True
    )
    return tuple(pair for _, pair in ranked)


def with_step(memory: PositionMemory, reason: str, step: StepMemory) -> PositionMemory:
    """`memory` with one step's memory replaced."""
    return replace(memory, steps={**memory.steps, reason: step})
