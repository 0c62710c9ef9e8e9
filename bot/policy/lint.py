"""
What a valid policy will not do as its author may think.

A danger is a policy that cannot do what it says; a warning is worth a second look. Speeds of the
market are those that were recorded, and a message names the day.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from itertools import combinations, pairwise
from typing import NamedTuple, TypeAlias, get_args

from bot.core.model import MarginMode, Side
from bot.core.policy import (
    AnyMarginMode,
    AnySide,
    AnySymbol,
    Match,
    Metric,
    Policy,
    Rule,
    Step,
)
from bot.core.strategy import Severity
from bot.core.units import ONE, ZERO, Ratio
from bot.policy.checks import threshold_of
from bot.policy.document import (
    Absent,
    PolicySection,
    RuleSection,
    StepSection,
)
from bot.policy.problems import Place, Source, excerpt, listed
from bot.policy.tree import MapNode, describe
from strategies import partial_close

FALLS = (
    (60_000, Decimal("0.079")),
    (300_000, Decimal("0.120")),
    (900_000, Decimal("0.180")),
    (3_600_000, Decimal("0.229")),
)
"""
How far BTC fell at most within so many milliseconds on 19 May 2021, from the highest price of the
window, in one-minute bars of Binance's spot market. Between the windows: straight lines.
"""

NOISE = Ratio(Decimal("0.006"))
"""
How far BTC fell at most within a minute of the quiet week from 5 to 11 August 2023, in one-minute
bars of Binance's USD-M perpetual.
"""

OUTAGE_MS = 60_000
"""Streams that break at a bad moment have been silent for forty seconds and more."""

THE_STOP = "the stop"

OTHER_SYMBOL = "any other symbol"
"""Stands for whatever no rule names; no venue has it, as symbols have no spaces."""

NEARNESS = {Metric.LIQUIDATION_DISTANCE, Metric.MARGIN_RATIO}
"""What is known whenever a position is: what bars tell may be unknown just when it matters."""


class Level(StrEnum):
    """How bad it is."""

    DANGER = "danger"
    WARNING = "warning"


class Remark(NamedTuple):
    """One thing to say about a policy: where, how bad, under which name, and the sentence."""

    at: Place
    level: Level
    name: str
    text: str


Remarks: TypeAlias = Iterator[Remark]


@dataclass(frozen=True, slots=True)
class Lint:
    """A remark in its file. `str()` of it is one line for the user."""

    file: str
    line: int
    column: int
    path: str
    level: Level
    name: str
    text: str
    source: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}: {self.path}"
        return f"{where}: {self.level}: {self.text} ({self.name})"

    def shown(self) -> str:
        """The remark, its source line and a caret under the spot."""
        return "\n".join([str(self), *excerpt(self.source, self.column)])


class Ladder(NamedTuple):
    """A compiled rule beside the section that it was made from, which knows the places."""

    rule: Rule
    section: RuleSection

    def steps(self) -> Iterator[tuple[Step, StepSection]]:
        """The steps with their sections, mildest first."""
        return zip(self.rule.steps, self.section.ladder.value, strict=True)

    @property
    def is_nearness(self) -> bool:
        """Whether the rule watches how near to liquidation a position is."""
        return self.rule.metric in NEARNESS


def in_file_order(remarks: Iterable[Remark], source: Source) -> tuple[Lint, ...]:
    """The remarks as lints of the file `source`."""
    return tuple(
        Lint(source.file, at.line, at.column, at.path, level, name, text, source.line(at))
        for at, level, name, text in sorted(
            remarks, key=lambda remark: (remark.at.line, remark.at.column)
        )
    )


def ladders_of(policy: Policy, sections: PolicySection) -> tuple[Ladder, ...]:
    """The rules of a policy with their sections."""
    pairs = zip(policy.rules, sections.rules.value, strict=True)
    return tuple(Ladder(rule, section) for rule, section in pairs)


def positions_thinkable(policy: Policy) -> tuple[Match, ...]:
    """Every sort of position that the rules could tell apart, on the account as declared."""
    named = {
        symbol
        for rule in policy.rules
        if not isinstance(rule.match.symbols, AnySymbol)
        for symbol in rule.match.symbols
    }
    return tuple(
        Match(frozenset({symbol}), side, mode)
        for symbol in [*sorted(named), OTHER_SYMBOL]
        for mode in sorted(policy.margin_modes)
        for side in Side
    )


def meet(one: Match, other: Match) -> bool:
    """Whether some position is matched by both."""
    return (
        (
            isinstance(one.symbols, AnySymbol)
            or isinstance(other.symbols, AnySymbol)
            or not one.symbols.isdisjoint(other.symbols)
        )
        and (AnySide() in {one.side, other.side} or one.side == other.side)
        and (
            AnyMarginMode() in {one.margin_mode, other.margin_mode}
            or one.margin_mode == other.margin_mode
        )
    )


def remarks_on(policy: Policy, sections: PolicySection, positions: tuple[Match, ...]) -> Remarks:
    """Everything to say about a policy by itself, for an account that may hold `positions`."""
    ladders = ladders_of(policy, sections)
    yield from _stop_beyond_liquidation(sections)
    yield from _closes_at_an_outage(policy, sections)
    yield from _no_budget(policy, sections)
    yield from _does_not_move(policy, sections)
    yield from _uncovered(ladders, sections, positions)
    yield from _overlaps(ladders, positions)
    yield from _empty_wallet(ladders, positions)
    for ladder in ladders:
        yield from _matches_nothing(ladder, policy, sections)
        yield from _never_clears(ladder)
        yield from _stays_as_dear(ladder)
        yield from _too_close(ladder)
        yield from _stops(ladder, policy)
        yield from _too_slow(ladder, policy)


def percent(value: Decimal) -> str:
    """A ratio as a user writes it."""
    return f"{value.normalize():%}"


def _stop_beyond_liquidation(sections: PolicySection) -> Remarks:
    room, slippage = sections.protect.stop.room, sections.guardrails.slippage_max
    if room.value <= slippage.value:
        text = (
            f"a stop that triggers {describe(room.node)} from liquidation may fill beyond it, "
            f"as closes may slip by slippage_max, {describe(slippage.node)}"
        )
        yield Remark(room.node.at, Level.DANGER, "stop-beyond-liquidation", text)


def _closes_at_an_outage(policy: Policy, sections: PolicySection) -> Remarks:
    """A stream that broke is missed, connected again and caught up within this."""
    after = sections.protect.unknown_after
    if policy.protect.closes_unknown and after.value < OUTAGE_MS:
        text = (
            f"a position that cannot be measured for {describe(after.node)} is closed, and a "
            "venue's short outage takes as long"
        )
        yield Remark(after.node.at, Level.WARNING, "closes-at-an-outage", text)


def _no_budget(policy: Policy, sections: PolicySection) -> Remarks:
    steps = [step for rule in policy.rules for step in rule.steps]
    spending = [step.name for step in steps if step.severity is Severity.SPEND]
    limits = sections.guardrails
    for cell in (limits.top_up.per_action, limits.top_ups_per_episode):
        if spending and cell.value == 0:
            text = f"no margin can be added, so the step {spending[0]} does nothing"
            yield Remark(cell.node.at, Level.DANGER, "no-budget", text)


def _does_not_move(policy: Policy, sections: PolicySection) -> Remarks:
    """The distance of cross positions is a common move, in which a beta of 0 has no part."""
    stress = sections.stress
    if MarginMode.CROSS not in policy.margin_modes or isinstance(stress, Absent):
        return
    if isinstance(stress.betas, Absent) or not isinstance(stress.betas.node, MapNode):
        return
    for symbol, entry in stress.betas.node.entries.items():
        if policy.stress.betas[symbol] == ZERO:
            text = (
                f"{symbol} has no part in the shock, so a cross position in it counts as one "
                "that nothing can liquidate, and a stop for it is not placed"
            )
            yield Remark(entry.node.at, Level.DANGER, "does-not-move", text)


def _uncovered(
    ladders: tuple[Ladder, ...], sections: PolicySection, positions: tuple[Match, ...]
) -> Remarks:
    bare = [
        position
        for position in positions
        if not any(ladder.is_nearness and meet(ladder.rule.match, position) for ladder in ladders)
    ]
    names = ["any position"] if len(bare) == len(positions) else [name_of(each) for each in bare]
    if bare:
        text = (
            f"no rule watches how near to liquidation is {listed(names)}: "
            "only the stop and the floor of protect cover that"
        )
        yield Remark(sections.rules.node.at, Level.WARNING, "uncovered", text)


def name_of(position: Match) -> str:
    """A sort of position in words: `BTCUSDT isolated long`."""
    symbols = position.symbols
    names = "any symbol" if isinstance(symbols, AnySymbol) else ", ".join(sorted(symbols))
    return f"{names} {position.margin_mode} {position.side}"


def _overlaps(ladders: tuple[Ladder, ...], positions: tuple[Match, ...]) -> Remarks:
    for one, other in combinations(ladders, 2):
        is_shared = any(
            meet(one.rule.match, position) and meet(other.rule.match, position)
            for position in positions
        )
        if is_shared and one.rule.metric is other.rule.metric:
            text = (
                f"the rule {one.rule.name} watches {one.rule.metric} of the same positions: "
                "of both ladders only the firing step that cuts deepest acts"
            )
            yield Remark(other.section.match.at, Level.WARNING, "overlap", text)


def _empty_wallet(ladders: tuple[Ladder, ...], positions: tuple[Match, ...]) -> Remarks:
    told: set[Place] = set()
    for position in positions:
        steps = [
            (step, section)
            for ladder in ladders
            if ladder.is_nearness and meet(ladder.rule.match, position)
            for step, section in ladder.steps()
        ]
        if any(step.severity > Severity.SPEND for step, _ in steps):
            continue
        for step, section in steps:
            if step.severity is Severity.SPEND and section.at not in told:
                told.add(section.at)
                text = (
                    f"no step works on an empty wallet: where {step.verb} finds no money, "
                    "only the stop and the floor of protect are left"
                )
                yield Remark(section.do.node.at, Level.DANGER, "empty-wallet", text)


def _matches_nothing(ladder: Ladder, policy: Policy, sections: PolicySection) -> Remarks:
    if not any(map(ladder.rule.match.covers_mode, policy.margin_modes)):
        written = describe(sections.account.margin_mode.node)
        text = f"the rule matches nothing, as the account is {written}"
        at = ladder.section.match.margin_mode.node.at
        yield Remark(at, Level.DANGER, "matches-nothing", text)


def _never_clears(ladder: Ladder) -> Remarks:
    """A short may be more than 100% from liquidation, a long may not."""
    is_distance = ladder.rule.metric is Metric.LIQUIDATION_DISTANCE
    if not is_distance or ladder.rule.match.side is Side.SHORT:
        return
    for step, section in ladder.steps():
        clears_at = step.threshold.value + ladder.rule.hysteresis
        if clears_at > ONE:
            at = threshold_of(ladder.rule.metric, section).node.at
            text = (
                f"the step clears at {percent(clears_at)}, as far from liquidation no long can be"
            )
            yield Remark(at, Level.DANGER, "never-clears", text)


def _stays_as_dear(ladder: Ladder) -> Remarks:
    """A bill is a share of the margin, and a part that is closed takes its margin along."""
    if ladder.rule.metric not in {Metric.FUNDING_COST_INTERVAL, Metric.FUNDING_COST_24H}:
        return
    for _, section in ladder.steps():
        if isinstance(section.with_.value.params, get_args(partial_close.Params)):
            text = (
                "a smaller position costs the same share of its smaller margin: "
                "the step acts again after every cooldown, where trim_and_refund would clear it"
            )
            yield Remark(section.do.node.at, Level.WARNING, "never-clears", text)


def _too_close(ladder: Ladder) -> Remarks:
    rule, hysteresis = ladder.rule, describe(ladder.section.hysteresis.node)
    for (milder, milder_section), (deeper, section) in pairwise(ladder.steps()):
        if abs(milder.threshold.value - deeper.threshold.value) < rule.hysteresis:
            before = describe(threshold_of(rule.metric, milder_section).node)
            text = (
                f"nearer than the hysteresis, {hysteresis}, to {before} of the step before: "
                "this step clears only where that one does not even fire"
            )
            at = threshold_of(rule.metric, section).node.at
            yield Remark(at, Level.WARNING, "too-close", text)


def _stops(ladder: Ladder, policy: Policy) -> Remarks:
    """A verb that tightens the stop has the stop's distance as its parameter `room`."""
    if ladder.rule.metric is not Metric.LIQUIDATION_DISTANCE:
        return
    for step, section in ladder.steps():
        if step.severity is not Severity.STOP:
            continue
        room: Ratio = section.with_.value.params.room
        at, below = section.with_.node.at, percent(step.threshold.value)
        if room <= policy.protect.room:
            text = f"the stop that rests anyway is as tight, {percent(policy.protect.room)}"
            yield Remark(at, Level.WARNING, "stop-changes-nothing", text)
        elif room >= step.threshold.value:
            text = f"the stop would trigger at once below {below}, so it is never placed"
            yield Remark(at, Level.DANGER, "stop-at-once", text)
        elif step.threshold.value - room < NOISE:
            gap = percent(step.threshold.value - room)
            text = (
                f"the stop rests {gap} from the mark price when the step fires: BTC fell "
                f"{percent(NOISE)} within a minute of a quiet week, that of 5 August 2023"
            )
            yield Remark(at, Level.WARNING, "stop-in-noise", text)


def _too_slow(ladder: Ladder, policy: Policy) -> Remarks:
    """
    Whether the market may pass a step by while it waits.

    The way is the difference of two distances, which is that of the marks to first order.
    """
    if ladder.rule.metric is not Metric.LIQUIDATION_DISTANCE:
        return
    steps = tuple(ladder.steps())
    for index, (step, section) in enumerate(steps):
        overtaking = (
            (f"the step {deeper.name}", deeper.threshold.value)
            for deeper, _ in steps[index + 1 :]
            if Severity.SPEND <= step.severity < deeper.severity
        )
        until, end = next(overtaking, (THE_STOP, policy.protect.room))
        way = step.threshold.value - end
        needed_ms, fall, window = _fastest(way)
        if way > ZERO and step.hold_ms > needed_ms:
            is_last_chance = until == THE_STOP and step.severity > Severity.ALERT
            text = (
                f"the market may need {needed_ms / 1000:.0f}s to pass from here to {until}, "
                f"as BTC on 19 May 2021, when it fell {fall} within {window}"
            )
            level = Level.DANGER if is_last_chance else Level.WARNING
            yield Remark(section.for_.node.at, level, "too-slow", text)


def _fastest(way: Decimal) -> tuple[Decimal, str, str]:
    """How long the fastest recorded fall by `way` took, and in which window of which fall."""
    for (from_ms, above), (to_ms, below) in pairwise([(0, ZERO), *FALLS]):
        if way <= below:
            needed_ms = from_ms + (to_ms - from_ms) * (way - above) / (below - above)
            return needed_ms, percent(below), f"{to_ms // 60_000}m"
    return Decimal("Infinity"), "", ""
