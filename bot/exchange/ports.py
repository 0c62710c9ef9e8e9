"""
Ports: what the guard needs of an exchange. Live venues and the paper exchange stand behind them.

Reads raise `Unreachable`. The one write, `Account.send`, never raises for what the network or
the venue did: it answers `Accepted`, `Refused` (proven by a code on the venue's allow-list),
`Barred` or `Unsure`, and everything that is not proven is `Unsure`; `Withheld` where this port
sends nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from bot.core.actions import Action
from bot.core.events import (
    AutoDeleveraged,
    BarsReported,
    FundingReported,
    Liquidated,
    MarkPrice,
)
from bot.core.model import AccountSnapshot, Filled, Instrument, Side
from bot.core.units import Money


class Unreachable(Exception):
    """A read got no answer. It proves nothing about the account."""


class Throttled(Unreachable):
    """The venue wants no reads before `until_ms` of the guard's clock; requests still pass."""

    def __init__(self, reason: str, until_ms: int) -> None:
        """Unreachable for reads until then."""
        super().__init__(reason)
        self.until_ms = until_ms


class Banned(Unreachable):
    """The venue answers nothing to this address before `until_ms` of the guard's clock."""

    def __init__(self, reason: str, until_ms: int) -> None:
        """Unreachable for everything until then; whatever is sent makes it longer."""
        super().__init__(reason)
        self.until_ms = until_ms


@dataclass(frozen=True, slots=True)
class OrderFound:
    """An order the venue knows by its client id: resting, or done; and what it has filled."""

    client_id: str
    resting: bool
    filled: Filled


@dataclass(frozen=True, slots=True)
class NotTold:
    """The answer does not say what became of the order."""


NOT_TOLD = NotTold()


@dataclass(frozen=True, slots=True)
class Accepted:
    """
    The venue proved that it took the request, by echoing it.

    `number` is by what it knows a stop from now on, where that carries no client id. `order` is
    what became of a close, where the answer says that too: it need not be asked for any more.
    """

    number: str = ""
    order: OrderFound | NotTold = NOT_TOLD


@dataclass(frozen=True, slots=True)
class Refused:
    """The venue proved that it did not take the request."""

    code: str
    text: str


def not_sent(why: str) -> Refused:
    """The refusal that is our own: nothing was sent, and no venue can have taken it."""
    return Refused("NOT_SENT", why)


@dataclass(frozen=True, slots=True)
class Barred:
    """Not taken, which is proven: this address is banned until `until_ms` of the guard's clock."""

    text: str
    until_ms: int


@dataclass(frozen=True, slots=True)
class Unsure:
    """The request may or may not have had its effect."""

    reason: str


@dataclass(frozen=True, slots=True)
class Withheld:
    """The request was deliberately not sent: there is nothing to look for."""

    reason: str


Reply: TypeAlias = Accepted | Refused | Barred | Withheld | Unsure


@dataclass(frozen=True, slots=True)
class OrderAbsent:
    """The venue answered that it knows no order by that client id."""


@dataclass(frozen=True, slots=True)
class MarginChange:
    """
    A row of the venue's history of margin moved into a position.

    `sides` are those of the positions that it may have gone to: both where that is not told.
    """

    symbol: str
    amount: Money
    at_ms: int
    sides: tuple[Side, ...] = tuple(Side)


@dataclass(frozen=True, slots=True)
class NoMarginHistory:
    """The venue keeps no history of margin moved: only the position's margin tells of it."""


@dataclass(frozen=True, slots=True)
class AccountChanged:
    """
    Something happened to the account: an alarm clock, the truth is in the next snapshot.

    `client_id` is that of an order, where the venue tells of one: somebody has sent it.
    """

    client_id: str = ""


Notice: TypeAlias = AccountChanged | Liquidated | AutoDeleveraged


Quoted: TypeAlias = MarkPrice | FundingReported
"""What the public side of a venue says about a symbol."""


class MarketData(Protocol):
    """Public side of a venue, shared by its accounts."""

    async def instruments(self, symbols: tuple[str, ...]) -> tuple[Instrument, ...]:
        """Rules of the named symbols; raises `KeyError` with the name the venue does not list."""

    def latest(self) -> tuple[Quoted, ...]:
        """The newest mark price and funding of each symbol that has any, without waiting."""

    async def bars(self, symbol: str) -> BarsReported:
        """
        The newest `BARS_MAX` closed bars of the symbol's mark price, or as many as there are.

        One that a gap leaves the way to is not among them. Raises `Unreachable`.
        """

    async def stream(self, publish: Callable[[Quoted], None]) -> None:
        """Publish mark prices and funding until cancelled or the venue has no more."""


class Account(Protocol):
    """Private side of a venue: one account."""

    @property
    def request_life_ms(self) -> int:
        """How long after its date the venue may still accept a request that is under way."""

    async def snapshot(self) -> AccountSnapshot:
        """One complete read."""

    async def stream(self, publish: Callable[[Notice], None]) -> None:
        """Publish notices until cancelled; raises `Unreachable` when the stream is lost."""

    async def send(self, action: Action, client_id: str) -> Reply:
        """Perform one action. Margin additions carry no client id on most venues."""

    async def order(self, symbol: str, client_id: str) -> OrderFound | OrderAbsent:
        """Look an order of ours up, in the regular and in the conditional book."""

    async def margin_changes(
        self, symbol: str, since_ms: int
    ) -> tuple[MarginChange, ...] | NoMarginHistory:
        """Margin added to positions of `symbol` at or after the venue time `since_ms`."""

    async def server_time_ms(self) -> int:
        """The venue's clock."""
