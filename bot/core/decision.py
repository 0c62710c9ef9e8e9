"""
What a decision is made of: the verdicts, what may be sent, and what a human must hear.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

from bot.core.events import AccountMode
from bot.core.guardrails import Approved, Denied
from bot.core.kept import kept
from bot.core.ladder import StepVerdict
from bot.core.metrics import BookKnown, Known, Measured, MeasuredBook
from bot.core.model import Position
from bot.core.protection import StopStatus, Wanted


class AlertSeverity(IntEnum):
    """How loudly to say it."""

    INFO = 0
    WARNING = 1
    CRITICAL = 2


@dataclass(frozen=True, slots=True)
class Alert:
    """A sentence for a human. `kind` is what repeats of it are recognised by."""

    subject: str
    kind: str
    severity: AlertSeverity
    text: str


@dataclass(frozen=True, slots=True)
class Audited:
    """The stop of a position was compared with the wanted one."""

    status: StopStatus
    target: Wanted


@dataclass(frozen=True, slots=True)
class NotAudited:
    """Nothing can be said about the stop, and why."""

    reason: str


StopVerdict: TypeAlias = Audited | NotAudited


@dataclass(frozen=True, slots=True)
class PositionVerdict:
    """One position at one decision: measured, every step, its stop, and what was refused."""

    position: Position
    measured: Measured
    steps: tuple[StepVerdict, ...]
    stop: StopVerdict
    denied: tuple[Denied, ...]


@dataclass(frozen=True, slots=True)
class BookVerdict:
    """All cross positions together at one decision: measured, their steps, what was refused."""

    measured: MeasuredBook
    steps: tuple[StepVerdict, ...]
    denied: tuple[Denied, ...]


@dataclass(frozen=True, slots=True)
class NoBook:
    """The account holds no cross position."""


@dataclass(frozen=True, slots=True)
class Decision:
    """
    The outcome of one `decide`.

    `wake_at_ms`: when time alone may change it. `endangered`: look at the account often.
    `needs_read`: a fresh read of the account would settle an open question.
    """

    at_ms: int
    mode: AccountMode
    positions: tuple[PositionVerdict, ...]
    book: BookVerdict | NoBook
    approved: tuple[Approved, ...]
    alerts: tuple[Alert, ...]
    wake_at_ms: int
    endangered: bool
    needs_read: bool

    @property
    def signature(self) -> tuple[object, ...]:
        """What must change for a decision to be worth a row: verdicts and account, no prices."""
        return (self.mode, tuple(map(_signature, self.positions)), _book_signature(self.book))

    @property
    def is_noteworthy(self) -> bool:
        """Whether it does or says something, whatever the verdicts were before."""
        return bool(self.approved or self.alerts)


@kept(most=256)
def _signature(verdict: PositionVerdict) -> tuple[object, ...]:
    return (
        _held(verdict.position),
        isinstance(verdict.measured, Known),
        tuple(step.phase for step in verdict.steps),
        verdict.stop.status if isinstance(verdict.stop, Audited) else "",
        tuple((denied.kind, denied.limit) for denied in verdict.denied),
    )


def _held(position: Position) -> tuple[object, ...]:
    """What the account holds; where the venue shows liquidation follows the prices of others."""
    return (
        position.key,
        position.quantity,
        position.entry_price,
        position.margin_mode,
        position.isolated_margin,
        position.leverage,
    )


def _book_signature(book: BookVerdict | NoBook) -> tuple[object, ...]:
    match book:
        case NoBook():
            return ()
        case BookVerdict(measured, steps, denied):
            return (
                isinstance(measured, BookKnown),
                tuple(step.phase for step in steps),
                tuple((each.kind, each.limit) for each in denied),
            )
