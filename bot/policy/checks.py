"""
What a policy file must mean, beyond its shape: rules between values, each with its place.

A check that needs a value which could not be read raises `Unread` and says nothing.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import pairwise
from typing import Any, NamedTuple, TypeAlias, TypeVar

from bot.core.model import MarginMode, PositionMode
from bot.core.policy import Above, AnyMarginMode, AnySide, AnySymbol, Below, Metric
from bot.core.strategy import Severity
from bot.core.units import ONE, Duration, Money, Ratio
from bot.policy.document import (
    Absent,
    Cell,
    GuardrailsSection,
    PolicySection,
    ProtectSection,
    RuleSection,
    StepSection,
    StressSection,
    Unread,
    items_of,
)
from bot.policy.problems import Place, Report, listed
from bot.policy.tree import LostNode, MapNode, describe
from bot.policy.values import KINDS, Level, Name, level_of
from bot.policy.verbs import find_verbs

T = TypeVar("T")


class Finding(NamedTuple):
    """One broken rule, as `Report.add` takes it."""

    at: Place
    expected: str
    was: str


Findings: TypeAlias = Iterator[Finding]


def check_policy(policy: PolicySection, report: Report) -> None:
    """Report every broken rule that the readable values show."""
    for findings in _checks(policy):
        with suppress(Unread):
            for finding in findings:
                report.add(*finding)


def threshold_of(metric: Metric, step: StepSection) -> Cell[Level]:
    """The threshold on the side of `metric` that is dangerous; `Unread` if it is not given."""
    cell = step.below if bound_of(metric) is Below else step.above
    if isinstance(cell, Absent):
        raise Unread
    return cell


def bound_of(metric: Metric) -> type[Below] | type[Above]:
    """The kind of threshold that has danger beyond it."""
    match metric:
        case (
            Metric.LIQUIDATION_DISTANCE
            | Metric.LIQUIDATION_DISTANCE_ATR
            | Metric.LIQUIDATION_DISTANCE_SIGMA
            | Metric.TIME_TO_LIQUIDATION
        ):
            return Below
        case (
            Metric.MARGIN_RATIO
            | Metric.EFFECTIVE_LEVERAGE
            | Metric.BREAK_EVEN_DISTANCE
            | Metric.FUNDING_COST_INTERVAL
            | Metric.FUNDING_COST_24H
            | Metric.FUNDING_COST_EPISODE
        ):
            return Above


def _checks(policy: PolicySection) -> Iterator[Findings]:
    yield from _protect(policy.protect)
    yield from _guardrails(policy.guardrails)
    yield _is_stressed(policy)
    if isinstance(policy.stress, StressSection):
        yield _less_than_whole(policy.stress.shock)
    rules = items_of(policy.rules)
    yield _own_names(rule.rule for rule in rules)
    for rule in rules:
        steps = items_of(rule.ladder)
        yield _speaks_of_all_cross_positions(rule)
        yield _is_measured_by_bars(rule)
        yield _may_be_unknown(rule)
        yield _has_steps(rule)
        yield _own_names(step.step for step in steps)
        for milder, deeper in pairwise(steps):
            yield _deeper(rule, milder, deeper)
        for step in steps:
            yield _threshold_fits(rule, step)
            yield _fires_before_liquidation(rule, step)
            yield _repeats_before_the_stop(rule, step, policy.protect)
            yield _repeats_with_cooldown(step)
            yield _can_clear(rule, step)
            yield _clears_at_its_target(rule, step)
            yield _helps(rule, step)
            yield _needs_no_end(rule, step)
        for last in steps[-1:]:
            yield _hands_over_to_nobody(last)


def _protect(protect: ProtectSection) -> Iterator[Findings]:
    yield _less(protect.floor, protect.stop.room, "protect.stop.room")
    yield _less_than_whole(protect.stop.room, ", the most that a long can have")
    if not isinstance(protect.stop.share, Absent):
        yield _less_than_whole(protect.stop.share, ", where it rests at the entry price")
    if not isinstance(protect.stop.canary, Absent):
        yield _above_zero(protect.stop.canary)
    yield _above_zero(protect.unknown_after)


def _guardrails(guardrails: GuardrailsSection) -> Iterator[Findings]:
    budget = guardrails.top_up
    yield _at_most(budget.per_action, budget.per_1h, "per_1h")
    yield _at_most(budget.per_1h, budget.per_24h, "per_24h")
    yield _at_most(budget.per_action, budget.per_episode, "per_episode")
    yield _above_zero(guardrails.actions_per_1m)
    yield _above_zero(guardrails.data_max_age)
    yield _above_zero(guardrails.loss_max)
    yield _less_than_whole(guardrails.slippage_max)


def _less(small: Cell[Ratio], large: Cell[Ratio], name: str) -> Findings:
    if small.value >= large.value:
        yield _finding(small, f"less than {name}, {describe(large.node)}")


def _at_most(small: Cell[Money], large: Cell[Money], name: str) -> Findings:
    if small.value > large.value:
        yield _finding(small, f"at most {name}, {describe(large.node)}")


def _less_than_whole(share: Cell[Ratio], why: str = "") -> Findings:
    if share.value >= ONE:
        yield _finding(share, f"less than 100%{why}")


def _is_stressed(policy: PolicySection) -> Findings:
    """What nets against each other is judged under a shock, which nobody may guess."""
    account = policy.account
    mode: Cell[Any]
    if MarginMode.CROSS in account.margin_mode.value:
        mode = account.margin_mode
    elif account.position_mode.value is PositionMode.HEDGE:
        mode = account.position_mode
    else:
        return
    if isinstance(policy.stress, Absent):
        expected = f"a mapping of shock, betas, as the account is {describe(mode.node)}"
        yield Finding(policy.at.child("stress"), expected, "missing")


def _above_zero(cell: Cell[Any]) -> Findings:
    if cell.value == 0:
        yield _finding(cell, "more than 0")


def _own_names(cells: Iterable[Cell[Name]]) -> Findings:
    first_lines: dict[Name, int] = {}
    for cell in cells:
        if isinstance(cell.content, Unread):
            continue
        if cell.content in first_lines:
            line = first_lines[cell.content]
            yield _finding(cell, f"a name of its own, as line {line} has this one")
        first_lines.setdefault(cell.content, cell.node.at.line)


def _has_steps(rule: RuleSection) -> Findings:
    if not rule.ladder.value:
        yield _finding(rule.ladder, "at least one step")


def _deeper(rule: RuleSection, milder: StepSection, deeper: StepSection) -> Findings:
    metric = rule.watch.value
    before, after = threshold_of(metric, milder), threshold_of(metric, deeper)
    below = bound_of(metric) is Below
    if after.value >= before.value if below else after.value <= before.value:
        written = describe(before.node)
        yield _finding(after, f"a more severe threshold than {written} of the step before")


def _threshold_fits(rule: RuleSection, step: StepSection) -> Findings:
    metric = rule.watch.value
    if bound_of(metric) is Below:
        key, wanted, other = "below", step.below, step.above
    else:
        key, wanted, other = "above", step.above, step.below
    if isinstance(wanted, Absent):
        expected = f"{level_of(metric).expected}, as the rule watches {metric}"
        yield Finding(step.at.child(key), expected, "missing")
    if isinstance(other, Cell) and not isinstance(other.node, LostNode):
        yield _finding(other, f"only '{key}', as the rule watches {metric}")


def _fires_before_liquidation(rule: RuleSection, step: StepSection) -> Findings:
    threshold = threshold_of(rule.watch.value, step)
    if rule.watch.value is Metric.MARGIN_RATIO and threshold.value >= ONE:
        yield _finding(threshold, "less than 100%, where liquidation is")


def _repeats_before_the_stop(
    rule: RuleSection, step: StepSection, protect: ProtectSection
) -> Findings:
    if rule.watch.value is Metric.LIQUIDATION_DISTANCE and step.do.value.may_repeat:
        threshold, room = threshold_of(rule.watch.value, step), protect.stop.room
        if threshold.value <= room.value:
            written = describe(room.node)
            yield _finding(threshold, f"more than protect.stop.room, {written}")


def _repeats_with_cooldown(step: StepSection) -> Findings:
    if isinstance(step.cooldown, Absent) and step.do.value.may_repeat:
        expected = f"{KINDS[Duration].expected}, as the verb may act more than once"
        yield Finding(step.at.child("cooldown"), expected, "missing")


def _can_clear(rule: RuleSection, step: StepSection) -> Findings:
    if bound_of(rule.watch.value) is Above:
        threshold = threshold_of(rule.watch.value, step)
        if threshold.value <= rule.hysteresis.value:
            written = describe(rule.hysteresis.node)
            expected = f"more than the hysteresis, {written}, below which the step clears"
            yield _finding(threshold, expected)


def _clears_at_its_target(rule: RuleSection, step: StepSection) -> Findings:
    with_ = step.with_.node
    if rule.watch.value is not Metric.LIQUIDATION_DISTANCE or not isinstance(with_, MapNode):
        return
    params = step.with_.value.params
    if hasattr(params, "to"):
        clears_at = threshold_of(rule.watch.value, step).value + rule.hysteresis.value
        if params.to <= clears_at:
            target = with_.entries["to"].node
            expected = f"more than threshold + hysteresis, '{clears_at.normalize():%}'"
            yield Finding(target.at, expected, describe(target))


def _speaks_of_all_cross_positions(rule: RuleSection) -> Findings:
    if rule.match.margin_mode.value is MarginMode.ISOLATED:
        return
    if not rule.watch.value.is_shared:
        return
    together = f"the {rule.watch.value} of cross positions is that of all of them together"
    for cell, any_ in ((rule.match.symbols, AnySymbol), (rule.match.side, AnySide)):
        if not isinstance(cell.value, any_):
            yield _finding(cell, f"any, as {together}")


def _is_measured_by_bars(rule: RuleSection) -> Findings:
    """One symbol has bars; positions that one wallet backs have no common ones."""
    mode = rule.match.margin_mode
    if rule.watch.value.needs_bars and mode.value is not MarginMode.ISOLATED:
        yield _finding(mode, f"isolated, as {rule.watch.value} is that of one symbol")


def _may_be_unknown(rule: RuleSection) -> Findings:
    """Bars can be missing while all else is known: the file says how long that may go on."""
    metric, given = rule.watch.value, rule.unknown_after
    if isinstance(given, Absent):
        if metric.needs_bars:
            expected = f"{KINDS[Duration].expected}, as bars may be missing for {metric}"
            yield Finding(rule.at.child("unknown_after"), expected, "missing")
    elif not metric.needs_bars:
        if not isinstance(given.node, LostNode):
            yield _finding(given, f"no 'unknown_after', as {metric} needs no bars")
    else:
        yield from _above_zero(given)


def _helps(rule: RuleSection, step: StepSection) -> Findings:
    modes = rule.match.margin_mode.value
    for mode in MarginMode if isinstance(modes, AnyMarginMode) else [modes]:
        if mode not in step.do.value.works_on:
            helpers = [verb.name for verb in find_verbs().values() if mode in verb.works_on]
            yield _finding(step.do, f"a verb that helps {mode} positions ({listed(helpers)})")


def _needs_no_end(rule: RuleSection, step: StepSection) -> Findings:
    """What an episode has cost never falls: a step on it stays on until the episode is over."""
    lasting = {Severity.ALERT, Severity.CLOSE}
    if rule.watch.value is not Metric.FUNDING_COST_EPISODE:
        return
    if step.do.value.severity not in lasting:
        fit = listed([verb.name for verb in find_verbs().values() if verb.severity in lasting])
        yield _finding(step.do, f"{fit}, as {rule.watch.value} never falls and no step clears")


def _hands_over_to_nobody(last: StepSection) -> Findings:
    if isinstance(last.then, Cell) and last.then.value:
        yield _finding(last.then, "no 'then' on the last step")


def _finding(cell: Cell[Any], expected: str) -> Finding:
    return Finding(cell.node.at, expected, describe(cell.node))
