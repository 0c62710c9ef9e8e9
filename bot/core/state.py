"""
State of one guarded account: one frozen value, changed only by `transitions.apply`.

It holds facts with their ages, what the ladder remembers, and every intent that is open or
still counts for a budget. Together with a policy and a time it determines the next decision.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias

from bot.core.actions import Action, AddMargin, ClosePosition
from bot.core.events import (
    TERMINAL,
    AccountMode,
    AddressBanned,
    AutoDeleveraged,
    FundingReported,
    IntentState,
    Liquidated,
    MarkPrice,
)
from bot.core.held import NOTHING_SHARED, Shared
from bot.core.ids import Birth, account_prefix
from bot.core.model import (
    AccountSnapshot,
    Collateral,
    Garbled,
    Instrument,
    Position,
    PositionKey,
    StopOrder,
)
from bot.core.units import ZERO, Money, Quantity
from bot.core.volatility import Swings

NOTHING = Money(ZERO)

NEVER_MS = -(10**15)
"""A moment before every other: ages since then exceed every limit."""

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
WITHHELD_MS = 60_000
"""What was withheld and has no cooldown of its own is wanted again after this."""

GONE_MS = 2_000
"""A position or a stop is gone when two reads this far apart did not find it."""

EPISODE_QUIET_MS = 600_000
"""An episode ends, and a position's identity with it, after ten quiet minutes."""


class Phase(StrEnum):
    """What a step remembers of its condition."""

    INACTIVE = "inactive"
    PENDING = "pending"
    FIRING = "firing"


@dataclass(frozen=True, slots=True)
class StepMemory:
    """
    A step's phase since `since_ms`. `paused_ms` is Unknown time that does not count to `for`.

    `acted_at_ms` starts the cooldown; `refused_at_ms` is the venue's last proven refusal. `left`
    is what a close that filled in part has still to close: its next slice, without a cooldown.
    """

    phase: Phase = Phase.INACTIVE
    since_ms: int = NEVER_MS
    paused_ms: int = 0
    acted_at_ms: int = NEVER_MS
    refused_at_ms: int = NEVER_MS
    left: Mapping[PositionKey, Quantity] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PositionMemory:
    """
    What is remembered of a position, or of all cross positions together, until flat so long.

    `steps` is keyed "rule/step", `blind_since_ms` by the rules whose metric is not known though
    the position is, `alerted` by the kind of alert, with the time it last went out.
    `episode` is when the newest episode began, so that no two of them share it; `funding_paid`
    is what settlements have charged since the one before ended, by rate and mark price.
    `flat_since_ms` is when a read first had no such position, which is `flat_surely` once a
    second proof has come.
    `past_stop_until_ms` is when the mark price was seen to be back from beyond the stop's level.
    `cancelled_at_ms` is when a read first showed that somebody else had cancelled our stop, which
    is `cancelled_surely` once another one has, of a position as large. `reentries` is how often it
    was closed in the episode and opened again; `reentered`: nobody has been told of the last yet.
    """

    steps: Mapping[str, StepMemory] = field(default_factory=dict)
    blind_since_ms: Mapping[str, int] = field(default_factory=dict)
    episode: int = 0
    in_episode: bool = False
    active_at_ms: int = NEVER_MS
    funding_paid: Money = NOTHING
    flat_since_ms: int = NEVER_MS
    flat_surely: bool = False
    unknown_since_ms: int = NEVER_MS
    past_stop_since_ms: int = NEVER_MS
    past_stop_until_ms: int = NEVER_MS
    naked_since_ms: int = NEVER_MS
    stop_sent_at_ms: int = NEVER_MS
    stop_refused_at_ms: int = NEVER_MS
    stop_refusals: int = 0
    cancelled_at_ms: int = NEVER_MS
    cancelled_surely: bool = False
    reentered: bool = False
    reentries: int = 0
    alerted: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plain:
    """The action is all there is to it."""


@dataclass(frozen=True, slots=True)
class Trim:
    """A close of part of `position`, whose freed margin is to be put back afterwards."""

    position: Position


@dataclass(frozen=True, slots=True)
class Refund:
    """Margin that a trim freed, put back: limited by that, not by budgets."""

    trim_id: str


Purpose: TypeAlias = Plain | Trim | Refund


@dataclass(frozen=True, slots=True)
class Intent:
    """
    An effect the guard wants, by its client id, from plan to proof.

    `reason` is "rule/step" or "protect/...". `known_at_ms` is the venue's time of the read it
    rests on, `margin_before` and `quantity_before` the position's margin and size in it: what a
    top-up or a close has made of them is proven against these.
    `clears` are stops of ours that are taken off the book just before a close is sent, because
    they would have it refused; upkeep rests another as soon as the close is answered.
    """

    id: str
    key: PositionKey
    action: Action
    purpose: Purpose
    reason: str
    episode: int
    known_at_ms: int
    margin_before: Money
    quantity_before: Quantity
    planned_at_ms: int
    state: IntentState
    changed_at_ms: int
    detail: str
    clears: tuple[str, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether its outcome is not proven yet."""
        return self.state not in TERMINAL

    @property
    def counts_as_spent(self) -> bool:
        """Whether a budget must count it: everything but a refund and proven absence."""
        return self.may_have_added_margin and not isinstance(self.purpose, Refund)

    @property
    def may_have_added_margin(self) -> bool:
        """Whether it moved margin, or nobody has proven that it did not."""
        return isinstance(self.action, AddMargin) and self.may_have_happened

    @property
    def may_have_happened(self) -> bool:
        """Whether nobody has proven that the venue has never done it."""
        return self.state not in (
            IntentState.WITHHELD,
            IntentState.REJECTED,
            IntentState.NOT_APPLIED,
        )


@dataclass(frozen=True, slots=True)
class RefundDue:
    """
    Margin that a trim has freed and that is to be put back before `expires_at_ms`.

    `amount` is what has not been proven to be back yet.
    """

    key: PositionKey
    amount: Money
    expires_at_ms: int


@dataclass(frozen=True, slots=True)
class NotRead:
    """No complete read of the account has arrived in this life of the guard."""


@dataclass(frozen=True, slots=True)
class Lacked:
    """
    A position that reads have lacked since the one asked for at `since_ms`.

    The newest read that had it was asked for and received at the other two moments.
    """

    since_ms: int
    asked_at_ms: int
    received_at_ms: int


@dataclass(frozen=True, slots=True)
class AccountRead:
    """
    The newest complete read of the account.

    Among its positions are, as they were last read, those `carried` over: it may have them in a
    row that is garbled. Why, by their keys. And those `lacked`: it does not have them, and no
    second proof has come yet that they are gone.
    """

    snapshot: AccountSnapshot
    asked_at_ms: int
    received_at_ms: int
    carried: Mapping[PositionKey, str] = field(default_factory=dict)
    lacked: Mapping[PositionKey, Lacked] = field(default_factory=dict)

    def seen_at_ms(self, key: PositionKey) -> int:
        """When the newest read was received that had a position: how old its facts are."""
        return self.lacked[key].received_at_ms if key in self.lacked else self.received_at_ms


@dataclass(frozen=True, slots=True)
class Instruments:
    """The venue's rules by symbol. A journal row carries only the `digest` of its copy of them."""

    digest: str
    by_symbol: Mapping[str, Instrument] = field(default_factory=dict, metadata={"journal": False})


@dataclass(frozen=True, slots=True)
class AccountState:
    """
    Everything a decision depends on, besides the policy and the time.

    `funding` is the next bill of each symbol, `funding_before` the one that was next before it.
    `swings` is what the newest bars of a symbol were measured to; they themselves are not kept.
    `book` is what is remembered of all cross positions together, `shared` of the wallet that
    backs them; `refunds` are keyed by the intent of the close that freed them. Until
    `banned_until_ms` nothing may be sent; `bans` are those that no human has heard of. `others` is
    when the journals began of the other guards whose orders were seen on the account, `heard` of
    those whose orders its stream has told of.
    `garbled_told_ms` is when it was last said of a symbol that its position cannot be read.
    """

    birth: Birth
    policy_digest: str
    mode: AccountMode
    mode_reason: str
    instruments: Instruments
    marks: Mapping[str, MarkPrice]
    funding: Mapping[str, FundingReported]
    funding_before: Mapping[str, FundingReported]
    swings: Mapping[str, Swings]
    account: AccountRead | NotRead
    lost_at_ms: int
    liquidated: tuple[Liquidated | AutoDeleveraged, ...]
    memories: Mapping[PositionKey, PositionMemory]
    book: PositionMemory
    shared: Shared
    refunds: Mapping[str, RefundDue]
    intents: Mapping[str, Intent]
    intents_planned: int
    banned_until_ms: int = NEVER_MS
    bans: tuple[AddressBanned, ...] = ()
    others: frozenset[int] = frozenset()
    heard: frozenset[int] = frozenset()
    garbled_told_ms: Mapping[str, int] = field(default_factory=dict)
    memos: Mapping[PositionKey, Any] = field(
        default_factory=dict, compare=False, repr=False, metadata={"journal": False}
    )

    @property
    def positions(self) -> tuple[Position, ...]:
        """Open positions of the newest read, none before the first."""
        match self.account:
            case AccountRead(snapshot=snapshot):
                return snapshot.positions
            case NotRead():
                return ()

    @property
    def stops(self) -> tuple[StopOrder, ...]:
        """Resting stops of the newest read, ours and foreign ones."""
        match self.account:
            case AccountRead(snapshot=snapshot):
                return snapshot.stops
            case NotRead():
                return ()

    @property
    def known_at_ms(self) -> int:
        """The venue's time of the newest read."""
        match self.account:
            case AccountRead(snapshot=snapshot):
                return snapshot.taken_at_ms
            case NotRead():
                return NEVER_MS

    @property
    def wallet_balance(self) -> Money:
        """Money of the newest read that is bound to no isolated position."""
        match self.account:
            case AccountRead(snapshot=snapshot):
                return snapshot.wallet_balance
            case NotRead():
                return Money(ZERO)

    @property
    def free(self) -> Money:
        """Wallet money of the newest read that could be spent as isolated margin."""
        match self.account:
            case AccountRead(snapshot=snapshot):
                return snapshot.free
            case NotRead():
                return Money(ZERO)

    @property
    def collateral(self) -> tuple[Collateral, ...]:
        """Balances of other coins in the newest read, none before the first."""
        match self.account:
            case AccountRead(snapshot=snapshot):
                return snapshot.collateral
            case NotRead():
                return ()

    @property
    def garbled(self) -> tuple[Garbled, ...]:
        """What of the newest read nobody can read."""
        match self.account:
            case AccountRead(snapshot=snapshot):
                return snapshot.garbled
            case NotRead():
                return ()

    @property
    def carried(self) -> Mapping[PositionKey, str]:
        """The positions that are as they were last read, and why they cannot be now."""
        match self.account:
            case AccountRead(carried=carried):
                return carried
            case NotRead():
                return {}

    @property
    def lacked(self) -> Mapping[PositionKey, Lacked]:
        """The positions that the newest read did not have, and that are not surely gone."""
        match self.account:
            case AccountRead(lacked=lacked):
                return lacked
            case NotRead():
                return {}

    def may_hold(self, symbol: str) -> bool:
        """Whether the newest read leaves open whether there is a position in `symbol`."""
        match self.account:
            case AccountRead(snapshot=snapshot):
                return not snapshot.tells_of(symbol)
            case NotRead():
                return True

    def is_guards(self, stop: StopOrder) -> bool:
        """Whether a guard of this account has placed a stop: this one or another."""
        return stop.client_id.startswith(account_prefix(self.birth.account))

    def has_closed(self, position: Position, since_ms: int) -> bool:
        """Whether a close of ours for all of a position is proven to have filled since then."""
        return any(
            intent.key == position.key
            and isinstance(intent.action, ClosePosition)
            and intent.state is IntentState.APPLIED
            and intent.action.quantity >= max(position.quantity, intent.quantity_before)
            and intent.changed_at_ms >= since_ms
            for intent in self.intents.values()
        )

    def is_unseen(self, intent: Intent) -> bool:
        """Whether an effect is proven that the newest read is too old to show."""
        match self.account:
            case AccountRead(asked_at_ms=asked_at_ms):
                return intent.state is IntentState.APPLIED and asked_at_ms < intent.changed_at_ms
            case NotRead():
                return False

    def memory_of(self, key: PositionKey) -> PositionMemory:
        """What is remembered of a position, a blank memory at first."""
        return self.memories.get(key, BLANK)


BLANK = PositionMemory()


def newborn(birth: Birth, policy_digest: str) -> AccountState:
    """The state before the first event."""
    return AccountState(
        birth=birth,
        policy_digest=policy_digest,
        mode=AccountMode.ACTIVE,
        mode_reason="",
        instruments=Instruments(digest=""),
        marks={},
        funding={},
        funding_before={},
        swings={},
        account=NotRead(),
        lost_at_ms=NEVER_MS,
        liquidated=(),
        memories={},
        book=BLANK,
        shared=NOTHING_SHARED,
        refunds={},
        intents={},
        intents_planned=0,
    )
