"""
A policy, compiled: what the user's file says, with every number parsed and every verb bound.

`bot.policy` makes these from YAML; the core never sees text.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from bot.core.model import MarginMode, Position, PositionMode, Side
from bot.core.strategy import PositionView, Proposal, Severity
from bot.core.units import Duration, Money, Ratio


class Metric(StrEnum):
    """What a rule watches."""

    LIQUIDATION_DISTANCE = "liquidation_distance"
    MARGIN_RATIO = "margin_ratio"


@dataclass(frozen=True, slots=True)
class Below:
    """Satisfied while the metric is smaller than `value`."""

    value: Ratio


@dataclass(frozen=True, slots=True)
class Above:
    """Satisfied while the metric is greater than `value`."""

    value: Ratio


Threshold: TypeAlias = Below | Above


@dataclass(frozen=True, slots=True)
class Step:
    """
    One rung of a ladder: a threshold that must hold `hold_ms`, and the verb it asks.

    `line` is where the policy file says so. `then_next` hands over to the next deeper step
    when this one's budget is exhausted.
    """

    name: str
    threshold: Threshold
    hold_ms: Duration
    cooldown_ms: Duration
    then_next: bool
    verb: str
    severity: Severity
    propose: Callable[[PositionView], Proposal]
    line: int


@dataclass(frozen=True, slots=True)
class AnySymbol:
    """Matches every symbol."""


@dataclass(frozen=True, slots=True)
class AnySide:
    """Matches both sides."""


@dataclass(frozen=True, slots=True)
class Match:
    """Which positions a rule speaks of."""

    symbols: frozenset[str] | AnySymbol
    side: Side | AnySide
    margin_mode: MarginMode

    def covers(self, position: Position) -> bool:
        """Whether the rule speaks of `position`."""
        return (
            (isinstance(self.symbols, AnySymbol) or position.symbol in self.symbols)
            and (isinstance(self.side, AnySide) or position.side is self.side)
            and position.margin_mode is self.margin_mode
        )


@dataclass(frozen=True, slots=True)
class Rule:
    """A metric and the ladder of steps on it, from the mildest threshold to the most severe."""

    name: str
    match: Match
    metric: Metric
    hysteresis: Ratio
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Protect:
    """
    The standing obligation on every position.

    `room` is the liquidation distance that is left where the stop triggers. Below `floor` the
    position is closed whatever the ladder says, in HOLD too unless `floor_in_hold` is False.
    A position that cannot be measured for `unknown_after_ms` is alarmed.
    """

    room: Ratio
    floor: Ratio
    floor_in_hold: bool
    unknown_after_ms: Duration


@dataclass(frozen=True, slots=True)
class Guardrails:
    """
    Limits that can only refuse or shrink. Budgets are gross and roll.

    `data_age_max_ms` is the oldest mark price and account read that a top-up may rest on.
    `loss_max` is the loss against entry, per position, beyond which no stop may rest.
    """

    keep_free: Money
    top_up_per_action_max: Money
    top_up_1h_max: Money
    top_up_24h_max: Money
    top_up_per_episode_max: Money
    top_ups_per_episode_max: int
    actions_1m_max: int
    data_age_max_ms: Duration
    loss_max: Money


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything the user decided for one account: `text` is the file, `digest` its SHA-256."""

    digest: str
    text: str
    account: str
    venue: str
    margin_mode: MarginMode
    position_mode: PositionMode
    protect: Protect
    guardrails: Guardrails
    rules: tuple[Rule, ...]
