"""
Notice: a sentence on its way to a human, and whether it may be one too many.
"""

from dataclasses import dataclass
from typing import TypeAlias

from bot.core.decision import AlertSeverity


@dataclass(frozen=True, slots=True)
class AtOnce:
    """An action, a failure, a beginning or an end: said whatever was said before."""


@dataclass(frozen=True, slots=True)
class Warned:
    """A warning, which repeats wear out. A greater `depth` is a more severe step of a ladder."""

    depth: int


Weight: TypeAlias = AtOnce | Warned


@dataclass(frozen=True, slots=True)
class Notice:
    """
    What a human must hear of `subject`, a position or the account.

    `id` follows from what the journal says: the same row gives the same notice again.
    """

    id: str
    at_ms: int
    account: str
    subject: str
    severity: AlertSeverity
    weight: Weight
    text: str
