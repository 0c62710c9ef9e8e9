"""
The desk on which one position is judged: what is approved, refused and said about it.

The only mutable thing in the core. It lives inside one `decide` and never leaves it.
"""

from dataclasses import dataclass, field, replace
from typing import assert_never

from bot.core.actions import AddMargin, CancelStop, ClosePosition, PlaceStop
from bot.core.decision import Alert, AlertSeverity
from bot.core.guardrails import Approved, Denied, Request, with_intent
from bot.core.ladder import NO_WAKE_MS
from bot.core.model import Position
from bot.core.policy import Policy
from bot.core.state import NEVER_MS, AccountState, PositionMemory

REPEAT_MS = 1_800_000
"""The same alert about the same position is repeated after half an hour."""


@dataclass(slots=True)
class Desk:
    """A position's judgement in the making. `state` already counts what is approved."""

    state: AccountState
    policy: Policy
    position: Position
    memory: PositionMemory
    now_ms: int
    approved: list[Approved] = field(default_factory=list)
    denied: list[Denied] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    wake_at_ms: int = NO_WAKE_MS
    needs_read: bool = False

    def request(self, reason: str) -> Request:
        """Who asks the guardrails, and why."""
        key = self.position.key
        return Request(self.state, self.policy, key, self.memory, reason, self.now_ms)

    def take(self, approved: Approved) -> None:
        """Let an approved intent count from now on."""
        intent = approved.intent
        self.approved.append(approved)
        self.state = with_intent(self.state, approved)
        match intent.action:
            case AddMargin(amount=amount):
                note = f"adding {amount:f} margin ({intent.reason})"
                self.shout("action", AlertSeverity.WARNING, note)
            case ClosePosition(quantity=quantity):
                note = f"closing {quantity:f} at market ({intent.reason})"
                self.shout("action", AlertSeverity.CRITICAL, note)
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
        subject = f"{self.position.symbol} {self.position.side}"
        self.alerts.append(Alert(subject, kind, severity, f"{subject}: {text}"))

    def say(self, kind: str, severity: AlertSeverity, text: str, repeat_ms: int) -> None:
        """Say it unless the same kind was said less than `repeat_ms` ago."""
        again_at_ms = self.memory.alerted.get(kind, NEVER_MS) + repeat_ms
        if self.now_ms < again_at_ms:
            self.wake(again_at_ms)
            return
        alerted = {**self.memory.alerted, kind: self.now_ms}
        self.memory = replace(self.memory, alerted=alerted)
        self.shout(kind, severity, text)
