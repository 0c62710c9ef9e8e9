"""A request that was let in, and what an endpoint is."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

from bot.core.model import Instrument
from bot.exchange.paper.wire.desk import Desk
from bot.exchange.paper.wire.exchange import WireExchange
from bot.exchange.paper.wire.parameters import Parameters
from bot.exchange.paper.wire.refusal import Refusal

ROWS_MAX = 1_000
ROWS_USUAL = 500
NEVER_MS = 2**62


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that was let in."""

    exchange: WireExchange
    parameters: Parameters
    now_ms: int

    def instruments(self) -> list[Instrument]:
        """The one that `symbol` names, or all."""
        listing = self.exchange.listing
        if self.parameters.has("symbol"):
            return [listing.named(self.parameters.text("symbol"))]
        return list(listing.by_id.values())

    def only(self) -> Instrument:
        """The one that `symbol` has to name."""
        return self.exchange.listing.named(self.parameters.text("symbol"))

    def answer_one_or_all(self, rows: list[Any]) -> Any:
        """One row where `symbol` was sent, else a list of all."""
        return rows[0] if self.parameters.has("symbol") else rows

    def span(self) -> tuple[int, int, int]:
        """startTime, endTime and limit."""
        limit = self.parameters.integer_or("limit", ROWS_USUAL)
        if not 1 <= limit <= ROWS_MAX * 1.5:
            raise Refusal(-1130, "Data sent for parameter 'limit' is not valid.")
        since_ms = self.parameters.integer_or("startTime", 0)
        return since_ms, self.parameters.integer_or("endTime", NEVER_MS), limit


class Security(Enum):
    """What a request has to bring."""

    NONE = 0
    KEY = 1
    SIGNED = 2
    ORDER = 3
    """Signed, and counted as an order."""


Route: TypeAlias = tuple[str, str]
"""Method and path."""

Handler: TypeAlias = Callable[[Asked, Desk], Any]
PublicHandler: TypeAlias = Callable[[Asked], Any]


@dataclass(frozen=True, slots=True)
class Public:
    """An endpoint for everybody."""

    weight: int
    handle: PublicHandler


@dataclass(frozen=True, slots=True)
class Private:
    """An endpoint of an account."""

    weight: int
    security: Security
    handle: Handler


Endpoint: TypeAlias = Public | Private
