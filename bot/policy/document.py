"""
The shape of a policy file: a dataclass a section, a field a key.

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
    Count,
    CredentialsName,
    HandsOver,
    KeepsFloor,
    MarginModes,
    MatchedModes,
    Name,
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

    Without `credentials` they are those of the account's own name.
    """

    at: Place
    name: Cell[AccountName]
    venue: Cell[Venue]
    margin_mode: Cell[MarginModes]
    position_mode: Cell[PositionMode]
    credentials: Cell[CredentialsName] | Absent


@dataclass(frozen=True, slots=True)
class StopSection:
    """The standing stop."""

    at: Place
    room: Cell[Ratio]


@dataclass(frozen=True, slots=True)
class ProtectSection:
    """What holds for every position, whatever the rules say."""

    at: Place
    stop: StopSection
    floor: Cell[Ratio]
    floor_in_hold: Cell[KeepsFloor]
    unknown_after: Cell[Duration]


@dataclass(frozen=True, slots=True)
class BudgetSection:
    """How much margin may be added over rolling windows and per episode."""

    at: Place
    per_action: Cell[Money]
    per_1h: Cell[Money]
    per_24h: Cell[Money]
    per_episode: Cell[Money]


@dataclass(frozen=True, slots=True)
class GuardrailsSection:
    """Limits that can only refuse or shrink."""

    at: Place
    keep_free: Cell[Money]
    top_up: BudgetSection
    top_ups_per_episode: Cell[Count]
    actions_per_1m: Cell[Count]
    data_max_age: Cell[Duration]
    loss_max: Cell[Money]
    slippage_max: Cell[Ratio]


@dataclass(frozen=True, slots=True)
class StressSection:
    """The shock under which the worst loss of the account is judged."""

    at: Place
    shock: Cell[Ratio]
    betas: Cell[Mapping[Symbol, Beta]] | Absent


@dataclass(frozen=True, slots=True)
class MatchSection:
    """Which positions a rule speaks of."""

    at: Place
    symbols: Cell[Symbols]
    side: Cell[Sides]
    margin_mode: Cell[MatchedModes]


@dataclass(frozen=True, slots=True)
class StepSection:
    """
    One rung of a ladder.

    `with_` is bound to the verb of `do`, which must come before it.
    """

    at: Place
    step: Cell[Name]
    below: Cell[Ratio] | Absent
    above: Cell[Ratio] | Absent
    for_: Cell[Duration]
    do: Cell[Verb]
    with_: Cell[BoundVerb]
    cooldown: Cell[Duration] | Absent
    then: Cell[HandsOver] | Absent


@dataclass(frozen=True, slots=True)
class RuleSection:
    """A metric and the ladder on it."""

    at: Place
    rule: Cell[Name]
    match: MatchSection
    watch: Cell[Metric]
    hysteresis: Cell[Ratio]
    ladder: Cell[tuple[StepSection, ...]]


@dataclass(frozen=True, slots=True)
class PolicySection:
    """A whole file."""

    at: Place
    schema: Cell[Schema]
    account: AccountSection
    protect: ProtectSection
    guardrails: GuardrailsSection
    stress: StressSection | Absent
    rules: Cell[tuple[RuleSection, ...]]
