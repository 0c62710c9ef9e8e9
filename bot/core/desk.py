"""
The desk on which one subject is judged: what is approved, refused and said about it.

A subject is a position, or all cross positions of the account together.

The only mutable things in the core. They live inside one `decide` and never leave it.
"""

from dataclasses import dataclass, field, replace
from typing import assert_never

from bot.core.actions import (
    AddMargin,
    AtMarket,
    Bound,
    CancelStop,
    ClosePosition,
    NoWorseThan,
    PlaceStop,
)
from bot.core.decision import Alert, AlertSeverity, BookVerdict, NoBook, PositionVerdict
from bot.core.guardrails import Approved, Denied, Request, with_intent
from bot.core.ladder import NO_WAKE_MS
from bot.core.model import Position, PositionKey
from bot.core.policy import Policy
from bot.core.state import NEVER_MS, AccountState, Intent, PositionMemory, Refund

SLICES_MS = 60_000
"""The slices of a close are announced once in this time."""

NO_BOOK = NoBook()

REPEAT_MS = 1_800_000
"""The same alert about the same position is repeated after half an hour."""


@dataclass(slots=True)
class Desk:
    """A subject's judgement in the making. `state` already counts what is approved."""

    state: AccountState
    policy: Policy
    subject: str
    memory: PositionMemory
    now_ms: int
    approved: list[Approved] = field(default_factory=list)
    denied: list[Denied] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    wake_at_ms: int = NO_WAKE_MS
    needs_read: bool = False

    def request(self, key: PositionKey, reason: str) -> Request:
        """Who asks the guardrails about which position, and why."""
        return Request(self.state, self.policy, key, self.memory, reason, self.now_ms)

    def take(self, approved: Approved) -> None:
        """Let an approved intent count from now on."""
        intent = approved.intent
        self.approved.append(approved)
        self.state = with_intent(self.state, approved)
        match intent.action:
            case AddMargin(amount=amount):
                note = f"{_verb(intent)} {amount:f} margin ({intent.reason})"
                self.shout("action", AlertSeverity.WARNING, note)
            case ClosePosition(quantity=quantity, bound=bound):
                note = f"closing {quantity:f} {_within(bound)} ({intent.reason})"
                # The slices of one close are one action to whoever hears of it.
                kind = f"close:{intent.reason}:{_name(intent.key)}"
                self.say(kind, AlertSeverity.CRITICAL, note, SLICES_MS)
            case PlaceStop() | CancelStop():
                pass  # upkeep of what already stands: recorded, not announced
            case _:
                assert_never(intent.action)

    def refuse(self, denied: Denied) -> None:
        """Record a refusal; ask again when it may end."""
        self.denied.append(denied)
        self.needs_read = self.needs_read or denied.needs_read
        self.wake(denied.until_ms)

    def wake(self, at_ms: int) -> None:
        """Decide again at `at_ms` at the latest, if that lies ahead."""
        if at_ms > self.now_ms:
            self.wake_at_ms = min(self.wake_at_ms, at_ms)

    def shout(self, kind: str, severity: AlertSeverity, text: str) -> None:
        """Say it now, whatever was said before."""
        self.alerts.append(Alert(self.subject, kind, severity, f"{self.subject}: {text}"))

    def say(self, kind: str, severity: AlertSeverity, text: str, repeat_ms: int) -> None:
        """Say it unless the same kind was said less than `repeat_ms` ago."""
        again_at_ms = self.memory.alerted.get(kind, NEVER_MS) + repeat_ms
        if self.now_ms < again_at_ms:
            self.wake(again_at_ms)
            return
        alerted = {**self.memory.alerted, kind: self.now_ms}
        self.memory = replace(self.memory, alerted=alerted)
        self.shout(kind, severity, text)


@dataclass(slots=True)
class Draft:
    """The decision in the making, over all subjects."""

    verdicts: list[PositionVerdict] = field(default_factory=list)
    book: BookVerdict | NoBook = NO_BOOK
    approved: list[Approved] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    wake_at_ms: int = NO_WAKE_MS
    endangered: bool = False
    needs_read: bool = False
    memories: dict[PositionKey, PositionMemory] = field(default_factory=dict)
    memos: dict[PositionKey, object] = field(default_factory=dict)
    """What is remembered of isolated positions from now on; none of them asks for another's."""

    def collect(self, desk: Desk) -> None:
        """Take over what was approved and said on a desk, and when it wants to be woken."""
        self.approved.extend(desk.approved)
        self.alerts.extend(desk.alerts)
        self.wake_at_ms = min(self.wake_at_ms, desk.wake_at_ms)
        self.needs_read = self.needs_read or desk.needs_read


def subject_of(position: Position) -> str:
    """How a position is called in what a human hears."""
    return _name(position.key)


def _name(key: PositionKey) -> str:
    return f"{key.symbol} {key.side}"


def _verb(intent: Intent) -> str:
    return "putting back" if isinstance(intent.purpose, Refund) else "adding"


def _within(bound: Bound) -> str:
    match bound:
        case AtMarket():
            return "at market"
        case NoWorseThan(price):
            return f"at {price:f} or better"
    assert_never(bound)
