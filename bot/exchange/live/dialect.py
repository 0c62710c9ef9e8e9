"""
What one venue's protocol is to the live adapter: recipes and parsers, all of them pure.

Parsers raise `Unreadable`; for reads the adapter makes that `Unreachable`, for writes `Unsure`.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from decimal import Decimal
from typing import Protocol, TypeAlias

from bot.core.actions import Action
from bot.core.events import BarsReported
from bot.core.model import AccountSnapshot, Instrument, PositionMode
from bot.core.units import Price, Ratio
from bot.exchange.live.calls import Call, Heard, Json, Unreadable
from bot.exchange.live.credentials import Credentials
from bot.exchange.ports import (
    MarginChange,
    NoMarginHistory,
    Notice,
    OrderAbsent,
    OrderFound,
    Refused,
    Reply,
)


@dataclass(frozen=True, slots=True)
class Listed:
    """
    The contracts of a venue that it trades now: unified symbols by the venue's ids.

    `sizes` are what one contract is in units of base; empty where the venue counts in base.
    """

    symbols: Mapping[str, str]
    sizes: Mapping[str, Decimal] = field(default_factory=dict)
    endings: Mapping[str, int] = field(default_factory=dict)
    """When the venue settles a contract for good, of those by their ids that it does."""
    numbers: Mapping[str, int] = field(default_factory=dict)
    """What requests call a contract, where they do not by its id."""
    price_places: Mapping[str, int] = field(default_factory=dict)
    """The most decimals of a price, where a recipe has prices of its own."""

    def renewed_by(self, newer: "Listed") -> "Listed":
        """`newer`, and what is gone: it keeps its name while a position in it may be open."""
        return Listed(
            {**self.symbols, **newer.symbols},
            {**self.sizes, **newer.sizes},
            newer.endings,
            {**self.numbers, **newer.numbers},
            {**self.price_places, **newer.price_places},
        )

    def symbol_of(self, name: str) -> str:
        """The unified symbol, or the venue's id of what is not listed."""
        return self.symbols.get(name, name)

    def size_of(self, name: str, size: Decimal) -> Decimal:
        """`size`, as the venue says that a contract is; raises `Resized` for another."""
        if size != self.sizes[name]:
            raise Resized(f"{name}: expected a size of {self.sizes[name]}, was {size}")
        return size

    def id_of(self, symbol: str) -> str:
        """The venue's id; raises `KeyError` with the symbol where it is not listed."""
        for name, listed in self.symbols.items():
            if listed == symbol:
                return name
        raise KeyError(symbol)


@dataclass(frozen=True, slots=True)
class TooMany:
    """
    What the venue says to more requests than it takes, besides HTTP 429.

    By a status, or by how an answer of any status begins: those are limits of seconds.
    """

    statuses: frozenset[int] = frozenset()
    words: str = ""
    """A regular expression; empty where there are none."""

    def is_said_so(self, heard: Heard) -> bool:
        """Whether the answer begins with the words."""
        return bool(self.words and re.match(self.words, heard.text))


@dataclass(frozen=True, slots=True)
class Pace:
    """So many requests in so many seconds; all of them may be at once."""

    count: int
    window_s: int


class Resized(Unreadable):
    """A contract that is of another size than it is listed with: the listing is out of date."""


@dataclass(frozen=True, slots=True)
class Marked:
    """A mark price and the next bill, as the venue pushed or answered them."""

    symbol: str
    price: Price
    rate: Ratio
    next_at_ms: int
    """0 where the venue has no bill ahead."""


@dataclass(frozen=True, slots=True)
class Unmoved:
    """A frame by which the venue says that a mark price is still the one that it told last."""

    symbol: str


@dataclass(frozen=True, slots=True)
class Ground:
    """
    What a recipe has to know of the account: its mode, and what `ground_calls` answered.

    `state` is what `state_calls` answered last, where a position has a number of the venue's.
    """

    position_mode: PositionMode
    answers: Sequence[Json]
    state: Sequence[Json] = ()


@dataclass(frozen=True, slots=True)
class ByDate:
    """
    The venue has no clock to ask for: its answers are dated, to the second (RFC 9110, 6.6.1).

    `time_of` then reads an object of the `date` and the `answer` to `call`.
    """

    call: Call


@dataclass(frozen=True, slots=True)
class Opening:
    """How a stream begins: where, and the texts that ask for what it shall tell."""

    url: str
    asks: tuple[str, ...] = ()
    _: KW_ONLY
    sign_in: str = ""
    """Sent first where the venue hears of nothing else before it has answered it."""
    ping: str = ""
    """Sent every few seconds where the venue wants more than a socket's own pings."""
    pong: str = ""
    """What it answers, where that is no JSON."""
    asks_of: Callable[[Json], tuple[str, ...]] = lambda _: ()
    """
    What is asked for in place of `asks`, made of the answer to the sign-in: a challenge that has
    to be signed. Of a frame that is not that answer it makes nothing.
    """


@dataclass(frozen=True, slots=True)
class StreamEnded:
    """A frame by which the venue says that this stream tells nothing any more."""

    reason: str


@dataclass(frozen=True, slots=True)
class Irrelevant:
    """A frame that says nothing about the account."""


Told: TypeAlias = Notice | StreamEnded | Irrelevant


@dataclass(frozen=True, slots=True)
class MarginHistory:
    """How margin moved into positions of a contract is asked for, and what the answer tells."""

    call: Callable[[str, int], Call]
    """By the venue's id, and since a time of its clock in ms."""
    changes_of: Callable[[Json, Listed], tuple[MarginChange, ...]]


class MarketDialect(Protocol):
    """What the venue is: its clock and limits, its contracts and their prices."""

    @property
    def ccxt_id(self) -> str:
        """Its class in ccxt; with dots in it, one of ours on ccxt's base, by its full name."""

    @property
    def read_weight_per_minute(self) -> int:
        """What the venue allows an address, in its own weights."""

    @property
    def used_weight_header(self) -> str:
        """In small letters, the header that tells what the address has used of a minute, or ""."""

    @property
    def too_many(self) -> TooMany: ...
    @property
    def write_pace(self) -> Pace:
        """What is sent for an account at most: less than the venue takes, or as much."""

    def time_call(self) -> Call | ByDate: ...
    def time_of(self, json: Json) -> int: ...

    def listing_call(self) -> Call: ...
    def listing_of(self, json: Json) -> Listed: ...
    def instrument_calls(self, name: str) -> Sequence[Call]: ...
    def instrument_of(self, jsons: Sequence[Json], listed: Listed, name: str) -> Instrument:
        """Its rules; raises `Resized` where its size is not the listed one."""

    def interval_call(self, name: str) -> Call: ...
    def interval_of(self, json: Json, name: str) -> int:
        """How often the contract settles funding, in milliseconds."""

    def marks_calls(self, names: Sequence[str]) -> Sequence[Call]: ...
    def marks_of(self, jsons: Sequence[Json], listed: Listed) -> Sequence[Marked]: ...
    def marks_opening(self, names: Sequence[str], at_ms: int) -> Opening: ...
    def mark_frame(self, json: Json, listed: Listed) -> Sequence[Marked | Unmoved]: ...
    def bars_call(self, name: str) -> Call: ...
    def bars_of(self, json: Json, symbol: str, received_at_ms: int) -> BarsReported: ...


class AccountDialect(Protocol):
    """What its key may ask: the account, what waits in it, its stream, and what it allows."""

    def terms_calls(self) -> Sequence[Call]: ...
    def state_calls(self) -> Sequence[Call]: ...
    def held_names(self, state: Sequence[Json]) -> frozenset[str]: ...
    def stops_call(self, name: str) -> Call: ...
    def all_stops_call(self) -> Call: ...
    def stop_names(self, stops: Sequence[Json]) -> frozenset[str]: ...
    def snapshot_of(
        self,
        terms: Sequence[Json],
        state: Sequence[Json],
        stops: Sequence[Json],
        listed: Listed,
        taken_at_ms: int,
    ) -> AccountSnapshot: ...

    @property
    def margin_history(self) -> MarginHistory | NoMarginHistory:
        """Margin moved into positions, where the venue keeps a history of it."""

    def account_calls(self) -> Sequence[Call]:
        """What has to be asked before the account's stream can be opened: a key to listen."""

    def account_opening(
        self, answers: Sequence[Json], credentials: Credentials, at_ms: int
    ) -> Opening: ...
    def keep_calls(self, answers: Sequence[Json]) -> Sequence[Call]:
        """What keeps it open, every 20 minutes."""

    def account_frame(self, json: Json, listed: Listed, received_at_ms: int) -> Told: ...

    def check_calls(self) -> Sequence[Call]: ...
    def refusals(self, jsons: Sequence[Json]) -> tuple[str, ...]:
        """Why this key or account cannot be guarded, a sentence each."""

    def unsupported(self, jsons: Sequence[Json]) -> tuple[str, ...]:
        """
        What makes it an account whose liquidation is not known, a sentence each.

        Portfolio margin, several assets, credit: it is watched, and nothing is sent for it.
        """

    def unproven(self, jsons: Sequence[Json]) -> tuple[str, ...]:
        """What the venue does not tell about the key, and the user has to answer for."""


class OrderDialect(Protocol):
    """What its key may do: how that is sent, and what proves that it was done."""

    @property
    def request_life_ms(self) -> int:
        """How long after its date the venue accepts a request, at most."""

    def ground_calls(self, action: Action, listed: Listed) -> Sequence[Call]:
        """What has to be asked before the recipe is known: the venue's own id of a stop."""

    def write_call(
        self, action: Action, client_id: str, listed: Listed, ground: Ground
    ) -> Call | Refused:
        """The recipe, or why there is nothing to send."""

    def reply_of(self, heard: Heard, action: Action, client_id: str, listed: Listed) -> Reply: ...

    def order_calls(self, name: str, client_id: str) -> Sequence[Call]: ...
    def order_of(
        self, answers: Sequence[Heard], client_id: str, name: str, listed: Listed
    ) -> OrderFound | OrderAbsent: ...


@dataclass(frozen=True, slots=True)
class Dialect:
    """A venue's protocol: a module a side, or a value."""

    market: MarketDialect
    account: AccountDialect
    orders: OrderDialect
