"""
Cards: what the guard did and said, each with its reason in numbers, from the rows of its journal.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TypeAlias

from bot.core.actions import AddMargin
from bot.core.decision import Alert, Audited, BookVerdict, Decision, NoBook, PositionVerdict
from bot.core.events import OutcomeReported
from bot.core.guardrails import spent_since, with_intent
from bot.core.ladder import NotKnown, is_crossed, metric_value, reason_of
from bot.core.metrics import BookKnown, Known, Unknown
from bot.core.model import MarginMode
from bot.core.policy import Above, Below, Metric, Policy, Rule, Step, Threshold
from bot.core.state import DAY_MS, HOUR_MS, AccountState, Intent
from bot.core.units import ZERO, Money
from bot.journal.codec import from_json
from bot.journal.port import Kind, Row
from bot.policy.values import level_of, level_text
from bot.rehearsal.deeds import Deed, deed_of, outcomes
from bot.rehearsal.report.wording import percent, threshold
from bot.rehearsal.runs import Guarded
from bot.runtime.record import Recorded

_ACTS = frozenset({"top_up", "refund", "close", "stop_filled"})
_HOUSEKEEPING = "cancel_stop"
_ANNOUNCEMENTS = ("action", "close:")
"""Alerts that only repeat a deed, by how their kind begins."""


@dataclass(frozen=True, slots=True)
class BudgetLeft:
    """What may still be added after a top-up, in the hour, the day and the episode."""

    hour: Money
    day: Money
    episode: Money
    top_ups: int


@dataclass(frozen=True, slots=True)
class NoBudget:
    """It takes nothing from a budget."""


Left: TypeAlias = BudgetLeft | NoBudget


@dataclass(frozen=True, slots=True)
class Card:
    """
    Something done or said: the newest of `count` that were alike since `first_ms`.

    `symbol` is empty for what concerns the whole account. `why` tells metric and threshold,
    `shrinks` which limits made it smaller.
    """

    first_ms: int
    at_ms: int
    count: int
    symbol: str
    what: Deed | Alert
    why: str
    shrinks: tuple[str, ...]
    left: Left

    @property
    def is_act(self) -> bool:
        """Whether money or the position moved: what the chart marks."""
        return isinstance(self.what, Deed) and self.what.verb in _ACTS and self.has_effect

    @property
    def has_effect(self) -> bool:
        """Whether the venue did at least part of it."""
        return not isinstance(self.what, Deed) or self.what.proven in ("applied", "partial")

    @property
    def likeness(self) -> tuple[str, ...]:
        """What is the same in all that one card may stand for."""
        match self.what:
            case Deed(side=side, verb=verb, reason=reason, proven=proven):
                return (self.symbol, side, verb, reason, proven)
            case Alert(subject=subject, kind=kind):
                return (self.symbol, subject, kind)


def deal(guarded: Guarded, policy: Policy) -> tuple[Card, ...]:
    """All cards in the order of time, those that are alike between two acts made one."""
    final = outcomes(guarded.rows)
    cards = [
        card
        for row in guarded.rows
        if row.entry.kind is Kind.DECISION and _may_speak(row)
        for card in _of_row(from_json(row.entry.body, Recorded), policy, final)
    ]
    fills = (deed for deed in guarded.deeds if deed.verb == "stop_filled")
    cards.extend(
        Card(
            first_ms=fill.at_ms,
            at_ms=fill.at_ms,
            count=1,
            symbol=fill.symbol,
            what=fill,
            why="the mark price reached the trigger of the resting stop",
            shrinks=(),
            left=NoBudget(),
        )
        for fill in fills
    )
    return tuple(_gathered(sorted(cards, key=lambda card: card.at_ms)))


def _gathered(cards: Sequence[Card]) -> list[Card]:
    """An act ends the series of its symbol; everything else adds to the newest that is alike."""
    series: dict[tuple[str, ...], int] = {}
    gathered: list[Card] = []
    for card in cards:
        if card.is_act:
            series = {
                alike: place
                for alike, place in series.items()
                if gathered[place].symbol != card.symbol
            }
            gathered.append(card)
        elif card.likeness in series:
            place = series[card.likeness]
            before = gathered[place]
            gathered[place] = replace(card, first_ms=before.first_ms, count=before.count + 1)
        else:
            series[card.likeness] = len(gathered)
            gathered.append(card)
    return gathered


def _may_speak(row: Row) -> bool:
    """Whether anything was sent or said: most rows did neither, and reading one takes long."""
    decision = json.loads(row.entry.body)["decision"]
    return bool(decision["approved"] or decision["alerts"])


def _of_row(
    recorded: Recorded, policy: Policy, final: dict[str, OutcomeReported]
) -> Iterator[Card]:
    at_ms, decision = recorded.now_ms, recorded.decision
    for alert in decision.alerts:
        if not alert.kind.startswith(_ANNOUNCEMENTS):
            symbols = {verdict.position.symbol for verdict in decision.positions}
            named = (symbol for symbol in symbols if alert.subject.startswith(f"{symbol} "))
            symbol = next(named, "")
            why = _why_said(alert, symbol, decision, policy)
            yield Card(at_ms, at_ms, 1, symbol, alert, why, (), NoBudget())
    state = recorded.state
    for approved in decision.approved:
        state = with_intent(state, approved)
        intent = approved.intent
        deed = deed_of(intent, decision, final)
        if deed.verb != _HOUSEKEEPING:
            yield Card(
                first_ms=at_ms,
                at_ms=at_ms,
                count=1,
                symbol=intent.key.symbol,
                what=deed,
                why=_why_done(intent, decision, policy),
                shrinks=approved.shrinks,
                left=_left(intent, state, policy, at_ms),
            )


def _left(intent: Intent, state: AccountState, policy: Policy, now_ms: int) -> Left:
    """What the budgets hold once `intent`, which `state` counts already, is spent."""
    if not intent.counts_as_spent:
        return NoBudget()
    rails = policy.guardrails
    episode = [
        each
        for each in state.intents.values()
        if each.counts_as_spent and (each.key, each.episode) == (intent.key, intent.episode)
    ]
    spent = sum(
        (each.action.amount for each in episode if isinstance(each.action, AddMargin)), ZERO
    )
    return BudgetLeft(
        hour=Money(rails.top_up_1h_max - spent_since(state, now_ms - HOUR_MS)),
        day=Money(rails.top_up_24h_max - spent_since(state, now_ms - DAY_MS)),
        episode=Money(rails.top_up_per_episode_max - spent),
        top_ups=rails.top_ups_per_episode_max - len(episode),
    )


def _why_done(intent: Intent, decision: Decision, policy: Policy) -> str:
    verdict = next(each for each in decision.positions if each.position.key == intent.key)
    protect = policy.protect
    match intent.reason.split("/")[0], intent.reason:
        case _, "protect/stop":
            status = verdict.stop.status if isinstance(verdict.stop, Audited) else "unknown"
            return f"the stop that must rest was {status} ({_distance(verdict)})"
        case _, "protect/floor":
            return f"{_distance(verdict)}, nearer than the floor of {threshold(protect.floor)}"
        case _, "protect/watchdog":
            return f"the mark price is past the stop, and no stop closed it ({_distance(verdict)})"
        case _, "protect/unknown":
            limit_s = protect.unknown_after_ms // 1_000
            return f"nobody could measure it for {limit_s} s, and the policy closes it then"
        case _, "protect/hedge":
            return f"it has hedged the leg that is closed ({_distance(verdict)})"
        case "refund", _:
            return "the margin that a trim had freed goes back"
        case _:
            return _why_step(intent.reason, verdict, decision, policy)


def _why_said(alert: Alert, symbol: str, decision: Decision, policy: Policy) -> str:
    """The numbers behind a step that speaks; any other alert has its reason in its text."""
    kind, _, reason = alert.kind.partition(":")
    speaking = [each for each in decision.positions if each.position.symbol == symbol]
    if kind != "step":
        return ""
    for verdict in speaking:
        return _why_step(reason, verdict, decision, policy)
    return _of_book(reason, decision, policy)


def _why_step(reason: str, verdict: PositionVerdict, decision: Decision, policy: Policy) -> str:
    rule, step = _step(reason, policy)
    if rule.metric.is_shared and verdict.position.margin_mode is MarginMode.CROSS:
        return _of_book(reason, decision, policy)
    return _compared(rule, step, verdict.measured)


def _of_book(reason: str, decision: Decision, policy: Policy) -> str:
    rule, step = _step(reason, policy)
    match decision.book:
        case BookVerdict(measured=measured):
            return f"all cross positions together: {_compared(rule, step, measured)}"
        case NoBook():
            return _limit(rule, step)


def _step(reason: str, policy: Policy) -> tuple[Rule, Step]:
    return next(
        (rule, step)
        for rule in policy.rules
        for step in rule.steps
        if reason_of(rule, step) == reason
    )


def _compared(rule: Rule, step: Step, measured: Known | BookKnown | Unknown) -> str:
    """The metric beside its threshold."""
    name = str(rule.metric).replace("_", " ")
    match measured:
        case Unknown(reason):
            return f"{name} unknown ({reason}), {_limit(rule, step)}"
        case Known() | BookKnown():
            value = metric_value(rule.metric, measured)
    if isinstance(value, NotKnown):
        return f"{name} unknown ({value.reason}), {_limit(rule, step)}"
    handed = "" if is_crossed(step.threshold, value) else ", handed over by a step before it"
    return f"{name} {level_text(rule.metric, value)}, {_limit(rule, step)}{handed}"


def _limit(rule: Rule, step: Step) -> str:
    return f"fires {bound(rule.metric, step.threshold)} (line {step.line} of the policy)"


def bound(metric: Metric, limit: Threshold) -> str:
    """A threshold in words."""
    match limit:
        case Below(value):
            return f"below {_level(metric, value)}"
        case Above(value):
            return f"above {_level(metric, value)}"


def _level(metric: Metric, value: Decimal) -> str:
    """A share as the policy may name it, with as many decimals as it needs."""
    is_share = level_of(metric) is level_of(Metric.LIQUIDATION_DISTANCE)
    return threshold(value) if is_share else level_text(metric, value)


def _distance(verdict: PositionVerdict) -> str:
    match verdict.measured:
        case Known(liquidation_distance=distance):
            return f"liquidation distance {percent(distance)}"
        case Unknown(reason):
            return f"liquidation distance unknown: {reason}"
