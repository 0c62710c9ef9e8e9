"""
Vocabulary: everything that can happen to a guard, as a closed union of frozen facts.

`received_at_ms` is when the guard got to know (ages count from it); the venue's own time only
orders events.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from bot.core.model import NO_FILL, AccountSnapshot, Filled, Instrument, PriceBar, Side
from bot.core.units import Price, Quantity, Ratio


class AccountMode(StrEnum):
    """What the guard may do on an account. Stops are kept in every one of them."""

    ACTIVE = "active"
    REDUCING = "reducing"
    """Closes, stops and cancels only."""
    NO_SPEND = "no_spend"
    """Latched by a breached promise or a human: no margin is added."""
    HOLD = "hold"
    """Entered by a human: stops are kept, and below the floor a position is still closed."""


class IntentState(StrEnum):
    """Life of an intent. The last seven are terminal."""

    PLANNED = "planned"
    PREPARED = "prepared"
    """Durable in the journal; it counts as sent: a byte may be on the wire from now on."""
    ACKED = "acked"
    UNKNOWN = "unknown"
    WITHHELD = "withheld"
    """Approved and deliberately not sent: it spends nothing and proves nothing."""
    REJECTED = "rejected"
    APPLIED = "applied"
    NOT_APPLIED = "not_applied"
    PARTIAL = "partial"
    EXPIRED = "expired"
    HUMAN = "human"


TERMINAL = frozenset(
    {
        IntentState.WITHHELD,
        IntentState.REJECTED,
        IntentState.APPLIED,
        IntentState.NOT_APPLIED,
        IntentState.PARTIAL,
        IntentState.EXPIRED,
        IntentState.HUMAN,
    }
)


@dataclass(frozen=True, slots=True)
class InstrumentsReported:
    """The venue's rules for every guarded symbol. `digest` names the journal's copy of them."""

    digest: str
    instruments: tuple[Instrument, ...]


@dataclass(frozen=True, slots=True)
class MarkPrice:
    """The venue's fair price, which triggers liquidations and stops."""

    symbol: str
    price: Price
    received_at_ms: int


@dataclass(frozen=True, slots=True)
class FundingReported:
    """
    The bill that comes next: at `next_at_ms` longs pay `rate` of their notional to shorts.

    Notional is valued at the mark price of that moment; a negative rate pays the longs.
    `interval_ms` is the present distance of two settlements, which a venue may change.
    """

    symbol: str
    rate: Ratio
    next_at_ms: int
    interval_ms: int
    received_at_ms: int


@dataclass(frozen=True, slots=True)
class BarsReported:
    """
    The newest closed bars of a symbol's mark price, each of `BAR_MS`, oldest first, without a gap.

    `closed_at_ms` is when the newest of them ended. What a venue has is reported whole every time:
    a bar that was missed, or revised, leaves no trace.
    """

    symbol: str
    closed_at_ms: int
    bars: tuple[PriceBar, ...]
    received_at_ms: int


@dataclass(frozen=True, slots=True)
class AccountReported:
    """A complete read of the account arrived. `asked_at_ms` is when it was sent for."""

    snapshot: AccountSnapshot
    asked_at_ms: int
    received_at_ms: int


@dataclass(frozen=True, slots=True)
class Liquidated:
    """The exchange took a position over, or a slice of it."""

    symbol: str
    side: Side
    price: Price
    received_at_ms: int


@dataclass(frozen=True, slots=True)
class AutoDeleveraged:
    """
    The exchange closed `quantity` of a position at `price` to fill another's liquidation.

    It takes the most profitable ones: what they hedged stands naked from then on.
    """

    symbol: str
    side: Side
    quantity: Quantity
    price: Price
    received_at_ms: int


@dataclass(frozen=True, slots=True)
class OrderHeard:
    """The account's stream has told of an order with this client id, whoever has sent it."""

    client_id: str
    received_at_ms: int


@dataclass(frozen=True, slots=True)
class StreamLost:
    """Account events may have been missed: nothing is known until the next complete read."""

    reason: str
    received_at_ms: int


@dataclass(frozen=True, slots=True)
class AddressBanned:
    """The venue takes nothing from this address before `until_ms` (HTTP 418)."""

    until_ms: int
    reason: str
    received_at_ms: int


@dataclass(frozen=True, slots=True)
class OutcomeReported:
    """
    What became of an intent.

    `detail` is the venue's code and words for REJECTED, and the evidence otherwise. `filled` is
    what a close has filled. What is proven by evidence came with a read of the account that was
    asked for at `received_at_ms`, after the venue had shown it: that read is one that can show it.
    """

    intent_id: str
    state: IntentState
    detail: str
    received_at_ms: int
    filled: Filled = NO_FILL


@dataclass(frozen=True, slots=True)
class Command:
    """A human (or a breached promise) changes what the guard may do."""

    mode: AccountMode
    reason: str
    received_at_ms: int


@dataclass(frozen=True, slots=True)
class PolicyLoaded:
    """From here on decisions follow the policy with this digest."""

    digest: str
    received_at_ms: int


@dataclass(frozen=True, slots=True)
class Tick:
    """Only time has passed."""

    received_at_ms: int


Event: TypeAlias = (
    InstrumentsReported
    | MarkPrice
    | FundingReported
    | BarsReported
    | AccountReported
    | Liquidated
    | AutoDeleveraged
    | OrderHeard
    | StreamLost
    | AddressBanned
    | OutcomeReported
    | Command
    | PolicyLoaded
    | Tick
)
