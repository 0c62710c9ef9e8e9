"""
A policy, compiled: what the user's file says, with every number parsed and every verb bound.

`bot.policy` makes these from YAML; the core never sees text.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import TypeAlias

from bot.core.model import MarginMode, Position, PositionMode, Side
from bot.core.strategy import Proposal, Severity, View
from bot.core.units import ONE, Duration, Money, Ratio


class Metric(StrEnum):
    """
    What a rule watches.

    Distance, ratio and leverage belong to an isolated position, or to all cross positions of an
    account together; what is measured by volatility belongs to an isolated one; funding costs and
    break-even belong to one position.
    """

    LIQUIDATION_DISTANCE = "liquidation_distance"
    """How far the mark price may go against the position, as a share of it; 0 is liquidation."""
    MARGIN_RATIO = "margin_ratio"
    """Maintenance margin over margin balance; 100% is liquidation."""
    LIQUIDATION_DISTANCE_ATR = "liquidation_distance_atr"
    """The liquidation distance in average true ranges (Wilder's, over 14) of an hour."""
    LIQUIDATION_DISTANCE_SIGMA = "liquidation_distance_sigma"
    """The liquidation distance in standard deviations of a day's return."""
    TIME_TO_LIQUIDATION = "time_to_liquidation"
    """When a move of one sigma, growing with time, and the funding have used up the distance."""
    EFFECTIVE_LEVERAGE = "effective_leverage"
    """The notional at the mark price over margin balance, whatever leverage is set."""
    BREAK_EVEN_DISTANCE = "break_even_distance"
    """How far the mark price must come back before a close, with its fee and funding, is even."""
    FUNDING_COST_INTERVAL = "funding_cost_interval"
    """The next bill, as a share of the margin."""
    FUNDING_COST_24H = "funding_cost_24h"
    """A day of bills at the present rate and interval, as a share of the margin."""
    FUNDING_COST_EPISODE = "funding_cost_episode"
    """What was paid since the last episode, or since first seen, as a share of the margin."""

    @property
    def is_shared(self) -> bool:
        """Whether all cross positions of an account have one value of it together."""
        return self in (
            Metric.LIQUIDATION_DISTANCE,
            Metric.MARGIN_RATIO,
            Metric.EFFECTIVE_LEVERAGE,
        )

    @property
    def needs_bars(self) -> bool:
        """Whether it is measured by how much the price moves, which only bars tell."""
        return self in (
            Metric.LIQUIDATION_DISTANCE_ATR,
            Metric.LIQUIDATION_DISTANCE_SIGMA,
            Metric.TIME_TO_LIQUIDATION,
        )

    @property
    def is_nearness(self) -> bool:
        """Whether it says how near to liquidation something is, in whatever unit."""
        return self.is_shared or self.needs_bars


@dataclass(frozen=True, slots=True)
class Below:
    """Satisfied while the metric is smaller than `value`, in the metric's own unit."""

    value: Decimal


@dataclass(frozen=True, slots=True)
class Above:
    """Satisfied while the metric is greater than `value`, in the metric's own unit."""

    value: Decimal


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
    propose: Callable[[View], Proposal]
    line: int


@dataclass(frozen=True, slots=True)
class AnySymbol:
    """Matches every symbol."""


@dataclass(frozen=True, slots=True)
class AnySide:
    """Matches both sides."""


@dataclass(frozen=True, slots=True)
class AnyMarginMode:
    """Matches isolated and cross positions."""


@dataclass(frozen=True, slots=True)
class Match:
    """Which positions a rule speaks of."""

    symbols: frozenset[str] | AnySymbol
    side: Side | AnySide
    margin_mode: MarginMode | AnyMarginMode

    def covers(self, position: Position) -> bool:
        """Whether the rule speaks of `position`."""
        return (
            (isinstance(self.symbols, AnySymbol) or position.symbol in self.symbols)
            and (isinstance(self.side, AnySide) or position.side is self.side)
            and self.covers_mode(position.margin_mode)
        )

    def covers_mode(self, mode: MarginMode) -> bool:
        """Whether the rule speaks of positions of that margin mode."""
        return isinstance(self.margin_mode, AnyMarginMode) or mode is self.margin_mode


@dataclass(frozen=True, slots=True)
class Rule:
    """
    A metric and the ladder of steps on it, from the mildest threshold to the most severe.

    Where the metric alone is not known for `unknown_after_ms` it is alarmed, and nothing else.
    """

    name: str
    match: Match
    metric: Metric
    hysteresis: Decimal
    unknown_after_ms: Duration
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Protect:
    """
    The standing obligation on every position.

    `room` is the liquidation distance that is left where the stop triggers, `share` what is left
    there of the way from the entry price to liquidation: the nearer one to the mark price counts,
    so a share of 0 asks for nothing. Below `floor` the position is closed whatever the ladder
    says, in HOLD too unless `floor_in_hold` is False. A position that cannot be measured for
    `unknown_after_ms` is alarmed, and closed whole if `closes_unknown`, on HOLD as at the floor.
    After `canary_ms` in which no stop of a position was placed one like that which rests is, to
    find out in calm whether the venue still takes them; 0 for never.
    A stop that somebody else has cancelled is placed again unless `respects_cancel`.
    """

    room: Ratio
    share: Ratio
    floor: Ratio
    floor_in_hold: bool
    unknown_after_ms: Duration
    canary_ms: Duration
    respects_cancel: bool
    closes_unknown: bool


@dataclass(frozen=True, slots=True)
class Guardrails:
    """
    Limits that can only refuse or shrink. Budgets are gross and roll.

    `data_age_max_ms` is the oldest mark price and account read that a top-up may rest on.
    `loss_max` is the loss against entry, per position, beyond which no stop may rest.
    `slippage_max` is how much worse than the mark price a close may fill while there is time.
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
    slippage_max: Ratio


@dataclass(frozen=True, slots=True)
class Stress:
    """
    The shock under which an account's worst loss is judged: all symbols at once, adversely.

    A symbol moves by `shock` times its beta, which is 1 where `betas` does not name it. The
    betas also weigh the common shock that the distance of cross positions is measured by.
    """

    shock: Ratio
    betas: Mapping[str, Ratio]

    def beta_of(self, symbol: str) -> Ratio:
        """How many times the common shock `symbol` moves."""
        return self.betas.get(symbol, Ratio(ONE))


@dataclass(frozen=True, slots=True)
class Policy:
    """
    Everything the user decided for one account: `text` is the file, `digest` its SHA-256.

    Amounts are in `settle`, the coin that the account's contracts pay in. `credentials` is the
    name under which a process that goes live finds what the venue asks for, never the credentials
    themselves.
    """

    digest: str
    text: str
    account: str
    venue: str
    credentials: str
    settle: str
    margin_modes: frozenset[MarginMode]
    position_mode: PositionMode
    protect: Protect
    guardrails: Guardrails
    stress: Stress
    rules: tuple[Rule, ...]
