"""
What one venue's protocol is to the live adapter: recipes and parsers, all of them pure.

A venue's module is a `Dialect`. Parsers raise `Unreadable`; for reads the adapter makes that
`Unreachable`, for writes `Unsure`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from bot.core.actions import Action
from bot.core.events import BarsReported
from bot.core.model import AccountSnapshot, Instrument
from bot.core.units import Price, Ratio
from bot.exchange.live.calls import Call, Heard, Json
from bot.exchange.ports import MarginChange, Notice, OrderAbsent, OrderFound, Reply


@dataclass(frozen=True, slots=True)
class Listed:
    """The contracts of a venue that it trades now: unified symbols by the venue's ids."""

    symbols: Mapping[str, str]

    def id_of(self, symbol: str) -> str:
        """The venue's id; raises `KeyError` with the symbol where it is not listed."""
        for name, listed in self.symbols.items():
            if listed == symbol:
                return name
        raise KeyError(symbol)


@dataclass(frozen=True, slots=True)
class Marked:
    """A mark price and the next bill, as the venue pushed or answered them."""

    symbol: str
    price: Price
    rate: Ratio
    next_at_ms: int
    """0 where the venue has no bill ahead."""


@dataclass(frozen=True, slots=True)
class StreamEnded:
    """A frame by which the venue says that this stream tells nothing any more."""

    reason: str


@dataclass(frozen=True, slots=True)
class Irrelevant:
    """A frame that says nothing about the account."""


Told: TypeAlias = Notice | StreamEnded | Irrelevant


class Dialect(Protocol):
    """A venue's protocol."""

    ccxt_id: str
    read_weight_per_minute: int
    """What the venue allows an address, in its own weights."""

    def time_call(self) -> Call: ...
    def time_of(self, json: Json) -> int: ...

    def listing_call(self) -> Call: ...
    def listing_of(self, json: Json) -> Listed: ...
    def instrument_calls(self, name: str) -> Sequence[Call]: ...
    def instrument_of(self, jsons: Sequence[Json], listed: Listed, name: str) -> Instrument: ...
    def intervals_call(self) -> Call: ...
    def intervals_of(self, json: Json, listed: Listed) -> Mapping[str, int]: ...

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

    def write_call(self, action: Action, client_id: str, listed: Listed) -> Call: ...
    def reply_of(self, heard: Heard, action: Action, client_id: str, listed: Listed) -> Reply: ...

    def order_calls(self, name: str, client_id: str) -> Sequence[Call]: ...
    def order_of(
        self, answers: Sequence[Heard], client_id: str, name: str
    ) -> OrderFound | OrderAbsent: ...
    def margin_call(self, name: str, since_ms: int) -> Call: ...
    def margin_changes_of(self, json: Json, listed: Listed) -> tuple[MarginChange, ...]: ...

    def marks_call(self) -> Call: ...
    def marks_of(self, json: Json, listed: Listed) -> Sequence[Marked]: ...
    def bars_call(self, name: str) -> Call: ...
    def bars_of(self, json: Json, symbol: str, received_at_ms: int) -> BarsReported: ...
    def marks_url(self, names: Sequence[str]) -> str: ...
    def mark_frame(self, json: Json, listed: Listed) -> Sequence[Marked]: ...

    def listen_call(self) -> Call: ...
    def listen_key_of(self, json: Json) -> str: ...
    def keep_call(self, key: str) -> Call: ...
    def account_url(self, key: str) -> str: ...
    def account_frame(self, json: Json, listed: Listed, received_at_ms: int) -> Told: ...

    def check_calls(self) -> Sequence[Call]: ...
    def refusals(self, jsons: Sequence[Json]) -> tuple[str, ...]: ...
