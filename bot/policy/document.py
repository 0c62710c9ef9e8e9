"""
The shape of a policy file: a dataclass a section, a field a key, whose docstring says what it is.

A key that is a word of Python has a trailing underscore here. A value is a `Cell`: it may be
unreadable while the rest of the file is still judged, so that all problems come at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, get_type_hints

from bot.core.model import PositionMode
from bot.core.policy import Metric
from bot.core.units import Duration, Money, Ratio
from bot.policy.problems import Place
from bot.policy.tree import Node
from bot.policy.values import (
    AccountName,
    Beta,
    ClosesUnknown,
    Coin,
    Count,
    CredentialsName,
    HandsOver,
    KeepsFloor,
    Level,
    MarginModes,
    MatchedModes,
    Name,
    RespectsCancel,
    Schema,
    Sides,
    Symbol,
    Symbols,
    Venue,
)
from bot.policy.verbs import BoundVerb, Verb

T = TypeVar("T")


class Unread(Exception):
    """The value could not be read, which is reported: who needs it has nothing to say."""


@dataclass(frozen=True, slots=True)
class Absent:
    """An optional key that the file leaves out."""


@dataclass(frozen=True, slots=True)
class Cell(Generic[T]):
    """A value and where it stands."""

    node: Node
    content: T | Unread

    @property
    def value(self) -> T:
        """The parsed value; raises `Unread` where there is none."""
        if isinstance(self.content, Unread):
            raise Unread
        return self.content


def fields_of(section: type) -> dict[str, Any]:
    """The type of every field of a section that stands for a key."""
    return {name: hint for name, hint in get_type_hints(section).items() if name != "at"}


def key_of(field: str) -> str:
    """The key that a field stands for."""
    return field.removesuffix("_")


def or_else(cell: Cell[T] | Absent, default: T) -> T:
    """The value of an optional key, or `default`; raises `Unread` where it cannot be read."""
    return default if isinstance(cell, Absent) else cell.value


def items_of(cell: Cell[tuple[T, ...]]) -> tuple[T, ...]:
    """The items of a list, none of one that could not be read."""
    return () if isinstance(cell.content, Unread) else cell.content


@dataclass(frozen=True, slots=True)
class AccountSection:
    """
    Which account the policy is for, and what it must look like.

    Without `credentials` they are those of the account's own name. Amounts are written in the coin
    of `settle`, USDT without one.
    """

    at: Place
    name: Cell[AccountName]
    """Names the account in the journal, in files and in commands."""
    venue: Cell[Venue]
    """Where the account is."""
    margin_mode: Cell[MarginModes]
    """What the guard expects to find; `mixed` is both. Anything else is refused at start."""
    position_mode: Cell[PositionMode]
    """What the guard expects to find."""
    credentials: Cell[CredentialsName] | Absent
    """Where a process that goes live finds the credentials, if not under the account's name."""
    settle: Cell[Coin] | Absent
    """The coin that the account's contracts pay in, and its amounts are written in."""


@dataclass(frozen=True, slots=True)
class StopSection:
    """The standing stop."""

    at: Place
    room: Cell[Ratio]
    """Distance from liquidation at which the resting stop of every position triggers."""
    share: Cell[Ratio] | Absent
    """It triggers earlier where less than this is left of the way from the entry price."""
    canary: Cell[Duration] | Absent
    """So often it is placed anew though it rests: a venue that takes no stops is found in calm."""
    if_cancelled: Cell[RespectsCancel] | Absent
    """Whether one that somebody else has cancelled is placed again, as it is without this."""


@dataclass(frozen=True, slots=True)
class ProtectSection:
    """What holds for every position, whatever the rules say."""

    at: Place
    stop: StopSection
    floor: Cell[Ratio]
    """Nearer to liquidation than this the position is closed, whatever the rules say."""
    floor_in_hold: Cell[KeepsFloor]
    """Whether the floor closes while a human holds the guard too."""
    unknown_after: Cell[Duration]
    """A position that nobody could measure for so long is an alarm."""
    unknown_then: Cell[ClosesUnknown] | Absent
    """Whether it is closed besides, on the side and of the size that were last known."""


@dataclass(frozen=True, slots=True)
class BudgetSection:
    """How much margin may be added over rolling windows and per episode."""

    at: Place
    per_action: Cell[Money]
    """At most so much at once."""
    per_1h: Cell[Money]
    """At most so much within any hour."""
    per_24h: Cell[Money]
    """At most so much within any day."""
    per_episode: Cell[Money]
    """At most so much for one position until it has been quiet for ten minutes."""


@dataclass(frozen=True, slots=True)
class GuardrailsSection:
    """Limits that can only refuse or shrink."""

    at: Place
    keep_free: Cell[Money]
    """What is never spent of the free money of the wallet."""
    top_up: BudgetSection
    top_ups_per_episode: Cell[Count]
    """So many top-ups of one position until it has been quiet for ten minutes."""
    actions_per_1m: Cell[Count]
    """So many actions within any minute; stops and full closes are not held back."""
    data_max_age: Cell[Duration]
    """No margin is added on older prices or balances."""
    loss_max: Cell[Money]
    """Loss against the entry price, for each position, beyond which no stop rests."""
    slippage_max: Cell[Ratio]
    """How much worse than the mark price a close may fill while there is time."""


@dataclass(frozen=True, slots=True)
class StressSection:
    """The shock under which the worst loss of the account is judged."""

    at: Place
    shock: Cell[Ratio]
    """How far every symbol moves against the account at once."""
    betas: Cell[Mapping[Symbol, Beta]] | Absent
    """How many times the shock a symbol moves; 1 where it is not named."""


@dataclass(frozen=True, slots=True)
class MatchSection:
    """Which positions a rule speaks of."""

    at: Place
    symbols: Cell[Symbols]
    """Which symbols, as the venue's contracts are called here."""
    side: Cell[Sides]
    """Which side."""
    margin_mode: Cell[MatchedModes]
    """Positions of which margin mode."""


@dataclass(frozen=True, slots=True)
class StepSection:
    """
    One rung of a ladder.

    `with_` is bound to the verb of `do`, which must come before it.
    """

    at: Place
    step: Cell[Name]
    """Names the step in alerts and in the journal; its own within the ladder."""
    below: Cell[Level] | Absent
    """The threshold of a rule on a distance, in the metric's unit."""
    above: Cell[Level] | Absent
    """The threshold of a rule on anything else."""
    for_: Cell[Duration]
    """The step fires when its threshold has been crossed for so long."""
    do: Cell[Verb]
    """What is done while it fires."""
    with_: Cell[BoundVerb]
    """The parameters of the verb, if it has any."""
    cooldown: Cell[Duration] | Absent
    """How long the step waits before it acts again. Verbs that act again need one."""
    then: Cell[HandsOver] | Absent
    """Hands over to the next deeper step when the budget is used up."""


@dataclass(frozen=True, slots=True)
class RuleSection:
    """
    A metric and the ladder on it.

    Levels are written in the unit of `watch`, which must come before them.
    """

    at: Place
    rule: Cell[Name]
    """Names the rule in alerts and in the journal; its own within the file."""
    match: MatchSection
    watch: Cell[Metric]
    """The metric that thresholds are compared with."""
    hysteresis: Cell[Level]
    """A step that fired clears only when the metric is back by this much."""
    unknown_after: Cell[Duration] | Absent
    """A metric that only bars tell, and nobody could measure for so long, is an alarm."""
    ladder: Cell[tuple[StepSection, ...]]
    """The steps, from the mildest threshold to the most severe. The deepest that fires acts."""


@dataclass(frozen=True, slots=True)
class PolicySection:
    """A whole file."""

    at: Place
    schema: Cell[Schema]
    """The version of this language."""
    account: AccountSection
    protect: ProtectSection
    guardrails: GuardrailsSection
    stress: StressSection | Absent
    rules: Cell[tuple[RuleSection, ...]]
    """The ladders. An empty list leaves the stop and the floor."""
