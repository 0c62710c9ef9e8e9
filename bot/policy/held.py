"""
What a policy will not do for the positions that an account holds.

They come in a file of their own, in the words of policy tests: `wallet` and `positions`. An
isolated position is judged by itself, as if the others did not move, at its entry price or where
a step fires. Of a cross position only whether a rule speaks of it: its margin is not its own.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from bot.core.margin import LiquidatesAt, NoLiquidation, liquidation, liquidation_distance
from bot.core.model import Instrument, MarginMode, NotReported, Position
from bot.core.policy import Match, Metric, Policy, Protect
from bot.core.protection import tighter
from bot.core.sizing import (
    AlreadyThere,
    CannotReach,
    margin_to_reach,
    price_at_distance,
    price_at_share,
)
from bot.core.strategy import Nothing, PositionView, Severity
from bot.core.units import ONE, ZERO, Money, Price, Ratio
from bot.policy.bind import bind_section
from bot.policy.casefile import (
    CASE_KINDS,
    AtLeverage,
    Given,
    GivenPosition,
    OwnMargin,
    position_given,
)
from bot.policy.document import Absent, Cell, PolicySection, Unread, items_of
from bot.policy.lint import (
    NOISE,
    Ladder,
    Level,
    Remark,
    Remarks,
    ladders_of,
    meet,
    name_of,
    percent,
)
from bot.policy.loader import read_source
from bot.policy.problems import Place, Report
from bot.policy.tree import read_tree


@dataclass(frozen=True, slots=True)
class HeldSection:
    """What an account holds, as the `given` of a policy test says it."""

    at: Place
    wallet: Cell[Money]
    positions: Cell[tuple[GivenPosition, ...]]


@dataclass(frozen=True, slots=True)
class Held:
    """What an account holds: the money beside isolated margins, and open positions."""

    wallet: Money
    positions: tuple[Position, ...]


def load_held(path: Path) -> Held:
    """What the file says is held; raises `PolicyError` with all that is wrong with the file."""
    source = read_source(path)
    report = Report(source)
    held = bind_section(HeldSection, read_tree(source.text, report), report, CASE_KINDS)
    given = []
    for each in items_of(held.positions):
        with suppress(Unread):
            given.append(position_given(each, report))
    report.raise_if_any()
    return Held(held.wallet.value, tuple(map(_position, given)))


def _position(given: Given) -> Position:
    notional = given.quantity * given.entry_price
    match given.backing:
        case OwnMargin(margin):
            leverage = notional / margin
        case AtLeverage(leverage):
            margin = Money(notional / leverage)
    is_cross = given.margin_mode is MarginMode.CROSS
    return Position(
        symbol=given.symbol,
        side=given.side,
        quantity=given.quantity,
        entry_price=given.entry_price,
        margin_mode=given.margin_mode,
        isolated_margin=Money(ZERO) if is_cross else margin,
        leverage=leverage,
        liquidation=NotReported(),
    )


def sort_of(position: Position) -> Match:
    """What rules see of a position."""
    return Match(frozenset({position.symbol}), position.side, position.margin_mode)


class _Judged(NamedTuple):
    """A position that can be liquidated, and where."""

    name: str
    position: Position
    instrument: Instrument
    liquidation_price: Price

    def price_at(self, distance: Ratio) -> Price:
        """The mark price at which `distance` is left."""
        side = self.position.side
        return price_at_distance(self.instrument, side, self.liquidation_price, distance)

    def stop_price(self, protect: Protect) -> Price:
        """Where the standing stop rests, if `loss_max` lets it."""
        at_share = price_at_share(
            self.instrument, self.position, self.liquidation_price, protect.share
        )
        return tighter(self.position.side, self.price_at(protect.room), at_share)


def remarks_on_held(
    policy: Policy, sections: PolicySection, held: Held, instruments: Mapping[str, Instrument]
) -> Remarks:
    """What there is to say about `policy` on an account that holds just this."""
    ladders = ladders_of(policy, sections)
    for ladder in ladders:
        yield from _matches_none(ladder, held)
    for position in held.positions:
        if position.margin_mode is MarginMode.CROSS:
            continue
        instrument = instruments[position.symbol]
        match liquidation(instrument, position):
            case NoLiquidation():
                continue
            case LiquidatesAt(price):
                judged = _Judged(name_of(sort_of(position)), position, instrument, price)
        yield from _stop_at_entry(judged, policy, sections)
        yield from _loss_in_noise(judged, sections)
        yield from _share_in_noise(judged, policy, sections)
        for ladder in ladders:
            if ladder.rule.metric is Metric.LIQUIDATION_DISTANCE and meet(
                ladder.rule.match, sort_of(position)
            ):
                yield from _fires_at_entry(judged, ladder)
                yield from _proposes_nothing(judged, ladder, policy)
                yield from _top_up_blocked(judged, ladder, policy, sections)
                yield from _spends_too_little(judged, ladder, policy, sections, held)


def _matches_none(ladder: Ladder, held: Held) -> Remarks:
    if not any(meet(ladder.rule.match, sort_of(position)) for position in held.positions):
        text = f"the rule {ladder.rule.name} matches no position that is held"
        yield Remark(ladder.section.match.at, Level.WARNING, "matches-nothing", text)


def _distance_at_entry(judged: _Judged) -> Ratio:
    position = judged.position
    return liquidation_distance(position, position.entry_price, judged.liquidation_price)


def _stop_at_entry(judged: _Judged, policy: Policy, sections: PolicySection) -> Remarks:
    distance = _distance_at_entry(judged)
    if distance <= policy.protect.room:
        text = (
            f"{judged.name} is {distance:.2%} from liquidation at its entry price: "
            "its stop would trigger at once"
        )
        at = sections.protect.stop.room.node.at
        yield Remark(at, Level.DANGER, "stop-at-once", text)


def _loss_in_noise(judged: _Judged, sections: PolicySection) -> Remarks:
    notional = judged.position.quantity * judged.position.entry_price
    cell = sections.guardrails.loss_max
    if cell.value < notional * NOISE:
        text = (
            f"{judged.name} loses that within {cell.value / notional:.2%} of its entry price: BTC "
            f"fell {percent(NOISE)} within a minute of a quiet week, that of 5 August 2023"
        )
        yield Remark(cell.node.at, Level.WARNING, "stop-in-noise", text)


def _share_in_noise(judged: _Judged, policy: Policy, sections: PolicySection) -> Remarks:
    cell, entry = sections.protect.stop.share, judged.position.entry_price
    way = abs(entry - judged.stop_price(policy.protect)) / entry
    if not isinstance(cell, Absent) and way < NOISE:
        text = (
            f"the stop of {judged.name} rests {way:.2%} from its entry price: BTC fell "
            f"{percent(NOISE)} within a minute of a quiet week, that of 5 August 2023"
        )
        yield Remark(cell.node.at, Level.WARNING, "stop-in-noise", text)


def _fires_at_entry(judged: _Judged, ladder: Ladder) -> Remarks:
    distance = _distance_at_entry(judged)
    for step, section in ladder.steps():
        clears_at = step.threshold.value + ladder.rule.hysteresis
        if distance < clears_at:
            text = (
                f"{judged.name} is {distance:.2%} from liquidation at its entry price: "
                f"the step clears only at {percent(clears_at)}"
            )
            yield Remark(section.at, Level.WARNING, "fires-at-entry", text)


def _proposes_nothing(judged: _Judged, ladder: Ladder, policy: Policy) -> Remarks:
    """A step that costs money or size is asked where it fires, as the guard will ask it."""
    for step, section in ladder.steps():
        if step.severity < Severity.SPEND:
            continue
        mark = judged.price_at(Ratio(step.threshold.value))
        slip = judged.position.side.sign * policy.guardrails.slippage_max
        view = PositionView(
            position=judged.position,
            instrument=judged.instrument,
            mark_price=mark,
            liquidation_price=judged.liquidation_price,
            stop_price=judged.stop_price(policy.protect),
            close_price=Price(mark * (ONE - slip)),
        )
        match step.propose(view):
            case Nothing(reason):
                text = f"for {judged.name} the step does nothing where it fires: {reason}"
                yield Remark(section.do.node.at, Level.DANGER, "does-nothing", text)
            case _:
                pass


def _top_up_blocked(
    judged: _Judged, ladder: Ladder, policy: Policy, sections: PolicySection
) -> Remarks:
    """A top-up is refused where the stop could not move away from the mark price after it."""
    spending = [step.name for step in ladder.rule.steps if step.severity is Severity.SPEND]
    position, stop = judged.position, judged.stop_price(policy.protect)
    loss = position.side.sign * (position.entry_price - stop) * position.quantity
    if spending and loss >= policy.guardrails.loss_max:
        text = (
            f"{judged.name} loses {loss:.2f} USDT at the stop as it is: loss_max holds the stop "
            f"there, so the step {spending[0]} is refused"
        )
        at = sections.guardrails.loss_max.node.at
        yield Remark(at, Level.DANGER, "top-up-blocked", text)


def _spends_too_little(
    judged: _Judged, ladder: Ladder, policy: Policy, sections: PolicySection, held: Held
) -> Remarks:
    """A verb that spends has the distance that it aims at as its parameter `to`."""
    limits, cells = policy.guardrails, sections.guardrails
    spendable = max(held.wallet - limits.keep_free, ZERO)
    for step, section in ladder.steps():
        if step.severity is not Severity.SPEND:
            continue
        mark = judged.price_at(Ratio(step.threshold.value))
        clears_at = Ratio(step.threshold.value + ladder.rule.hysteresis)
        least = margin_to_reach(judged.instrument, judged.position, mark, clears_at)
        most = margin_to_reach(
            judged.instrument, judged.position, mark, section.with_.value.params.to
        )
        if isinstance(least, AlreadyThere | CannotReach) or isinstance(
            most, AlreadyThere | CannotReach
        ):
            continue
        needs = f"{judged.name} needs {least:f} USDT for the step {step.name} to clear"
        if min(limits.top_up_per_episode_max, limits.top_up_1h_max) < least:
            at = cells.top_up.per_episode.node.at
            yield Remark(at, Level.DANGER, "budget-too-small", f"{needs}: the budget is less")
        elif limits.top_up_per_action_max < least:
            at = cells.top_up.per_action.node.at
            text = f"{needs}: one action adds less"
            yield Remark(at, Level.WARNING, "budget-too-small", text)
        if spendable < least:
            text = f"{needs}: keep_free leaves {spendable:f} of {held.wallet:f} USDT"
            yield Remark(cells.keep_free.node.at, Level.DANGER, "reserve-too-small", text)
        elif spendable < most:
            text = (
                f"{judged.name} needs {most:f} USDT for the target of the step {step.name}: "
                f"keep_free leaves {spendable:f} of {held.wallet:f} USDT"
            )
            yield Remark(cells.keep_free.node.at, Level.WARNING, "reserve-too-small", text)
