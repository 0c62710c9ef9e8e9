"""A request of the guard, and what became of it as the exchange knows."""

from dataclasses import dataclass
from decimal import Decimal

from bot.core.actions import Action, AddMargin, CancelStop

NEVER_MS = -(10**15)


@dataclass(slots=True)
class Request:
    """`reason` is why the guard says it wants it; `freed` is what a close gave to the wallet."""

    client_id: str
    action: Action
    sent_at_ms: int
    life: int
    offset_ms: int
    """By how much the clock of that life was ahead."""
    reason: str
    arrived_at_ms: int = NEVER_MS
    accepted: bool = False
    told_refused: bool = False
    part_of: str = ""
    """The id of the close whose way it says it clears."""
    begun_at_ms: int = NEVER_MS
    """When the first request of its intent was sent: its own, or one that clears its way."""
    freed: Decimal = Decimal(0)
    levels: tuple[float, ...] = ()
    """Where the guard may have believed liquidation to be when it sent a stop."""

    @property
    def by_its_clock_ms(self) -> int:
        """When it was begun by the clock of the process that sent it."""
        return self.begun_at_ms + self.offset_ms

    @property
    def was_an_order(self) -> bool:
        """Not a cancel, whose effect may come about without it."""
        return not isinstance(self.action, CancelStop)

    @property
    def intent_id(self) -> str:
        """What the guard has written down before it sends this."""
        return self.part_of or self.client_id

    @property
    def is_refund(self) -> bool:
        """Whether it says that it puts back what a trim has freed."""
        return isinstance(self.action, AddMargin) and self.reason.startswith("refund/")

    @property
    def amount(self) -> Decimal:
        """The margin that it moves."""
        assert isinstance(self.action, AddMargin)
        return self.action.amount
