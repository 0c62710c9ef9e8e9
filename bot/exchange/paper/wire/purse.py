"""The spot wallet of an account: where transfers into the futures wallet come from."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from bot.core.units import ZERO, Money
from bot.exchange.paper.arithmetic import MONEY_STEP, on_step
from bot.exchange.paper.wire.listing import text
from bot.exchange.paper.wire.refusal import Refusal


class Way(StrEnum):
    """The venue's names for the two ways that there are here."""

    IN = "MAIN_UMFUTURE"
    OUT = "UMFUTURE_MAIN"


@dataclass(frozen=True, slots=True)
class Moved:
    """A transfer that was made."""

    transfer_id: int
    way: Way
    amount: Money
    at_ms: int

    @property
    def into_futures(self) -> Money:
        """Signed, as the futures wallet sees it."""
        return Money(self.amount if self.way is Way.IN else -self.amount)

    def shown(self) -> dict[str, Any]:
        """A row of GET asset/transfer."""
        return {
            "asset": "USDT",
            "amount": text(self.amount),
            "type": self.way.value,
            "status": "CONFIRMED",
            "tranId": self.transfer_id,
            "timestamp": self.at_ms,
        }


class Purse:
    """Money beside the futures exchange, and what was moved between the two."""

    def __init__(self, amount: Money) -> None:
        """Begin with `amount`."""
        self.amount = amount
        self.moved: list[Moved] = []

    def take(self, amount: Money) -> None:
        """Let money go; refused where there is not so much."""
        if amount <= ZERO or not on_step(amount, MONEY_STEP):
            raise Refusal(-4055)
        if amount > self.amount:
            raise Refusal(-5013, "Asset transfer failed: insufficient balance")
        self.amount = Money(self.amount - amount)

    def put(self, amount: Money) -> None:
        """Take money in."""
        self.amount = Money(self.amount + amount)

    def record(self, moved: Moved) -> None:
        """Remember a transfer."""
        self.moved.append(moved)
