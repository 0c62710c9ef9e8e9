"""Strict reading of parsed answers. Every error names where it is, what was expected, what was."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

import structlog

from bot.core.events import BarsReported
from bot.core.model import (
    BAR_MS,
    NO_FILL,
    Fill,
    Filled,
    Garbled,
    LiquidationReport,
    NotReported,
    Position,
    PriceBar,
    Reported,
)
from bot.core.units import ONE, ZERO, Price, Quantity
from bot.exchange.live.calls import Heard, Json, Unreadable, parse_json

_MAGNITUDE_MAX = Decimal(10**15)
_HTTP_OK = 200

_Part = TypeVar("_Part")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class NotOpen:
    """A row of a contract in which nothing is held."""


NOT_OPEN = NotOpen()


class Row:
    """One JSON object, and its place for errors."""

    def __init__(self, json: Json, where: str) -> None:
        """Raise `Unreadable` for what is no object."""
        if not isinstance(json, dict):
            raise Unreadable(f"{where}: expected an object, was {json!r}")
        self._json: dict[str, Any] = json
        self.where = where

    def raw(self, name: str) -> Json:
        """What is there, whatever it is."""
        if name not in self._json:
            raise Unreadable(f"{self.where}.{name}: expected to be there, was missing")
        return self._json[name]

    def has(self, name: str) -> bool:
        """Whether it is there."""
        return name in self._json

    def text(self, name: str) -> str:
        """A text that is not empty."""
        value = self.raw(name)
        if not isinstance(value, str) or not value:
            raise self.wrong(name, "a text")
        return value

    def number(self, name: str) -> Decimal:
        """A finite number, as text or as a JSON number."""
        value = self.raw(name)
        if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
            raise self.wrong(name, "a number")
        try:
            number = Decimal(value)
        except InvalidOperation as e:
            raise self.wrong(name, "a number") from e
        if not number.is_finite() or abs(number) > _MAGNITUDE_MAX:
            raise self.wrong(name, "a number of a sane size")
        return number

    def above_zero(self, name: str) -> Decimal:
        """A number above zero."""
        number = self.number(name)
        if number <= ZERO:
            raise self.wrong(name, "a number above 0")
        return number

    def integer(self, name: str) -> int:
        """A whole number."""
        number = self.number(name)
        if number != int(number):
            raise self.wrong(name, "a whole number")
        return int(number)

    def identity(self, name: str) -> str:
        """A number above zero by which the venue knows something, of any length, as text."""
        value = self.raw(name)
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise self.wrong(name, "a number by which it is known")
        text = str(value)
        if not text.isdecimal() or not text.strip("0"):
            raise self.wrong(name, "a number by which it is known")
        return text

    def flag(self, name: str) -> bool:
        """A boolean, as JSON's or as a text."""
        match self.raw(name):
            case bool(value):
                return value
            case "true":
                return True
            case "false":
                return False
            case _:
                pass
        raise self.wrong(name, "true or false")

    def meaning(self, name: str, meanings: Mapping[str, _Part]) -> _Part:
        """What the word that is there means, of the few that may be."""
        word = self.raw(name)
        if not isinstance(word, str) or word not in meanings:
            *all_but_last, last = meanings
            raise self.wrong(name, f"{', '.join(all_but_last)} or {last}")
        return meanings[word]

    def given(self, name: str) -> str:
        """The text that is there, or nothing."""
        value = self.raw(name) if self.has(name) else ""
        return value if isinstance(value, str) else ""

    def wrong(self, name: str, expected: str) -> Unreadable:
        """The error for a part that is not what it has to be."""
        return Unreadable(f"{self.where}.{name}: expected {expected}, was {self._json[name]!r}")


def require_worth(row: Row, name: str, told: Decimal, worth: Decimal, off_max: Decimal) -> None:
    """
    What `name` tells that a position is worth has to be what the listed size makes it worth.

    Venues cut contracts and put them together. `Unreadable` where it is off by a larger share
    than `off_max`.
    """
    if abs(told - worth) > worth * off_max:
        raise row.wrong(name, f"about {worth:f}: a contract may have changed its size")


def liquidation_in(
    row: Row, name: str, *, never: Decimal = Decimal("Infinity")
) -> LiquidationReport:
    """
    The liquidation price that a row reports.

    Nothing readable above zero, and below what the venue writes for `never`, is no report: it
    says nothing about safety.
    """
    try:
        price = row.above_zero(name)
    except Unreadable as e:
        log.debug("liquidation_price.not_reported", reason=str(e))
        return NotReported()
    return Reported(Price(price)) if price < never else NotReported()


def answer_of(heard: Heard, where: str) -> Json:
    """The answer to a look-up; raises `Unreadable` for one with another status than 200."""
    if heard.status != _HTTP_OK:
        raise Unreadable(f"{where}: expected HTTP 200, was {heard.status}")
    return parse_json(heard.text)


def rests(row: Row, name: str, waits: Set[str], over: Set[str]) -> bool:
    """Whether an order waits still, by a status of one of the two kinds."""
    status = row.text(name)
    if status not in waits | over:
        raise row.wrong(name, "a status that is known")
    return status in waits


def filled_in(row: Row, quantity: str, price: str, size: Decimal = ONE) -> Filled:
    """What an order has filled, at its average price; `size` is what the venue counts as one."""
    number = row.number(quantity)
    if number < ZERO:
        raise row.wrong(quantity, "0 or above")
    if number == ZERO:
        return NO_FILL
    return Fill(Quantity(number * size), Price(row.above_zero(price)))


def rows(json: Json, where: str) -> Iterator[Row]:
    """The objects of a JSON list."""
    for at, each in enumerate(_items(json, where)):
        yield Row(each, f"{where}[{at}]")


def page(json: Json, where: str, most: int) -> list[Json]:
    """A JSON list of fewer than `most`: a page that is full may not be all there is."""
    found = _items(json, where)
    if len(found) >= most:
        raise Unreadable(f"{where}: expected fewer than a page, was {len(found)}")
    return found


def _items(json: Json, where: str) -> list[Json]:
    if not isinstance(json, list):
        raise Unreadable(f"{where}: expected a list, was {json!r}")
    return json


def sort_out(
    json: Json,
    where: str,
    parse: Callable[[Row], Position | NotOpen],
    symbol_of: Callable[[Row], str],
) -> tuple[tuple[Position, ...], tuple[Garbled, ...]]:
    """
    The open positions of a list of rows, and those that cannot be read: they cost no other row.

    `symbol_of` says whose a row is, as far as that can be told. Raises `Unreadable` for what is
    no list, and for two positions on one side of a contract.
    """
    positions, garbled = list[Position](), list[Garbled]()
    for at, each in enumerate(_items(json, where)):
        symbol = ""
        try:
            row = Row(each, f"{where}[{at}]")
            symbol = symbol_of(row)
            found = parse(row)
        except Unreadable as e:
            log.warning("position.unreadable", symbol=symbol, reason=str(e))
            garbled.append(Garbled(symbol, str(e)))
        else:
            if isinstance(found, Position):
                positions.append(found)
    if len({each.key for each in positions}) != len(positions):
        raise Unreadable(f"{where}: expected one on each side of a contract, was several")
    return tuple(sorted(positions, key=lambda each: each.key)), tuple(garbled)


def readable(json: Json, where: str, parse: Callable[[Row], Iterable[_Part]]) -> tuple[_Part, ...]:
    """What `parse` makes of the rows of a list; those it cannot read are left out and logged."""
    found = list[_Part]()
    for at, each in enumerate(_items(json, where)):
        try:
            found += parse(Row(each, f"{where}[{at}]"))
        except Unreadable as e:
            log.warning("row.unreadable", reason=str(e))
    return tuple(found)


def told_in(lists: Iterable[Json], where: str, text_of: Callable[[Row], str]) -> frozenset[str]:
    """What `text_of` tells of the rows of several lists, but for those it cannot read."""
    return frozenset(
        text for each in lists for text in readable(each, where, lambda row: [text_of(row)])
    )


def names_of(json: Json, where: str, name: str, size: str) -> frozenset[str]:
    """The contracts of rows whose size is not nothing, or is not readable."""
    found = set[str]()
    for at, each in enumerate(_items(json, where)):
        try:
            row = Row(each, f"{where}[{at}]")
            named = row.text(name)
        except Unreadable:
            continue  # it has no name to ask by: the position is told of as garbled
        try:
            is_open = row.number(size) != ZERO
        except Unreadable:
            is_open = True
        if is_open:
            found.add(named)
    return frozenset(found)


def closed_bars(
    charted: Iterable[tuple[int, Row]], symbol: str, received_at_ms: int
) -> BarsReported:
    """
    The bars of a chart that are over by `received_at_ms`, and have no gap behind them.

    `charted` are rows with `high`, `low` and `close` and when each of them opened, oldest first.
    """
    closed_at_ms, bars = 0, list[PriceBar]()
    for opens_at_ms, row in charted:
        if opens_at_ms + BAR_MS > received_at_ms:
            break
        if opens_at_ms != closed_at_ms:
            bars.clear()
        bars.append(PriceBar(*(Price(row.above_zero(name)) for name in ("high", "low", "close"))))
        closed_at_ms = opens_at_ms + BAR_MS
    return BarsReported(symbol, closed_at_ms, tuple(bars), received_at_ms)
