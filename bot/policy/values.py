"""
The kinds of value a policy file can hold: what is expected of the text, and how it is parsed.

Numbers are plain decimals with a unit (`12%`, `25 bps`, `250 USDT`, `30s`), exact, and never
negative. No exponent, no thousands separator, no leading zero: nothing that two people could
read as two different numbers.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Generic, NewType, TypeAlias, TypeVar

from bot.core.model import MarginMode, PositionMode, Side
from bot.core.policy import AnyMarginMode, AnySide, AnySymbol, Metric
from bot.core.units import ZERO, Duration, Money, Price, Ratio
from bot.policy.problems import did_you_mean, listed, shown
from bot.policy.verbs import Verb, find_verbs

T = TypeVar("T")

KNOWN_VENUES = ("binanceusdm",)
"""Venues that an account may name."""

Schema = NewType("Schema", str)
AccountName = NewType("AccountName", str)
Name = NewType("Name", str)
Venue = NewType("Venue", str)
Symbol = NewType("Symbol", str)
Count = NewType("Count", int)
KeepsFloor = NewType("KeepsFloor", bool)
HandsOver = NewType("HandsOver", bool)
Beta = NewType("Beta", Ratio)
MarginModes: TypeAlias = frozenset[MarginMode]
MatchedModes: TypeAlias = MarginMode | AnyMarginMode
Symbols: TypeAlias = frozenset[str] | AnySymbol
Sides: TypeAlias = Side | AnySide


class Unfit(Exception):
    """The text is not of its kind. The message, if any, is a hint for the user."""


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """A kind of value: what a user should write, and its parser, which may raise `Unfit`."""

    expected: str
    parse: Callable[[str], T]


# Twelve digits before and eight behind the point stay exact in every later step.
_NUMBER = r"(?:0|[1-9][0-9]{0,11})(?:\.[0-9]{1,8})?"
_MEASURED = re.compile(rf"({_NUMBER}) ?([A-Za-z%]+)")
_WHOLE = re.compile(r"0|[1-9][0-9]{0,8}")

_RATIO_UNITS = {"%": Decimal("0.01"), "bps": Decimal("0.0001")}
_RATIO_MAX = Decimal(10)
_MULTIPLE_UNITS = {"x": Decimal(1)}
_BETA_MAX = Decimal(100)
_MONEY_UNITS = {"USDT": Decimal(1)}
_DURATION_UNITS = {
    "ms": Decimal(1),
    "s": Decimal(1_000),
    "m": Decimal(60_000),
    "h": Decimal(3_600_000),
}


def _measured(text: str, units: Mapping[str, Decimal]) -> Decimal:
    found = _MEASURED.fullmatch(text)
    if found is None:
        raise Unfit
    number, unit = found.groups()
    if unit not in units:
        hint = did_you_mean(unit, list(units))
        raise Unfit(f"unknown unit '{shown(unit)}'" + (f", {hint}" if hint else ""))
    return Decimal(number) * units[unit]


def _ratio(text: str) -> Ratio:
    value = _measured(text, _RATIO_UNITS)
    if not ZERO < value <= _RATIO_MAX:
        raise Unfit("more than 0% and at most 1000%")
    return Ratio(value)


def _beta(text: str) -> Beta:
    value = _measured(text, _MULTIPLE_UNITS)
    if value > _BETA_MAX:
        raise Unfit("at most 100x")
    return Beta(Ratio(value))


def _money(text: str) -> Money:
    return Money(_measured(text, _MONEY_UNITS))


def _price(text: str) -> Price:
    value = _measured(text, _MONEY_UNITS)
    if value == ZERO:
        raise Unfit("more than 0")
    return Price(value)


def _duration(text: str) -> Duration:
    value = _measured(text, _DURATION_UNITS)
    if value != value.to_integral_value():
        raise Unfit("a part of a millisecond is too short")
    return Duration(int(value))


def _count(text: str) -> Count:
    if not _WHOLE.fullmatch(text):
        raise Unfit
    return Count(int(text))


def _symbol(text: str) -> Symbol:
    if text == "any" or not re.fullmatch(r"[!-~]{1,40}", text):
        raise Unfit
    return Symbol(text)


def _words(pattern: str) -> Callable[[str], str]:
    compiled = re.compile(pattern)

    def parse(text: str) -> str:
        if not compiled.fullmatch(text):
            raise Unfit
        return text

    return parse


def _one_of(choices: Mapping[str, T], not_yet: Mapping[str, str] | None = None) -> Kind[T]:
    def parse(text: str) -> T:
        if text in choices:
            return choices[text]
        if not_yet and text in not_yet:
            raise Unfit(f"{not_yet[text]} is not supported yet")
        raise Unfit(did_you_mean(text, list(choices)) if len(choices) > 1 else "")

    return Kind(listed(list(choices)), parse)


_MODES = {mode.value: mode for mode in MarginMode}

KINDS: Mapping[object, Kind[Any]] = {
    Schema: _one_of({"liqguard/v1": Schema("liqguard/v1")}),
    AccountName: Kind("1 to 32 of a-z, 0-9 and -", _words(r"[a-z0-9-]{1,32}")),
    Name: Kind("a name of a-z, 0-9 and -", _words(r"[a-z0-9-]+")),
    Venue: _one_of({name: Venue(name) for name in KNOWN_VENUES}),
    MarginModes: _one_of(
        {
            **{name: frozenset({mode}) for name, mode in _MODES.items()},
            "mixed": frozenset(MarginMode),
        }
    ),
    MatchedModes: _one_of({**_MODES, "any": AnyMarginMode()}),
    PositionMode: _one_of({"one_way": PositionMode.ONE_WAY}, {"hedge": "hedge mode"}),
    Metric: _one_of({metric.value: metric for metric in Metric}),
    Sides: _one_of({"any": AnySide(), **{side.value: side for side in Side}}),
    Symbol: Kind("a symbol like 'BTCUSDT'", _symbol),
    Symbols: Kind("any or a list of symbols", _one_of({"any": AnySymbol()}).parse),
    Verb: _one_of(find_verbs()),
    KeepsFloor: _one_of({"close": KeepsFloor(True), "keep": KeepsFloor(False)}),
    HandsOver: _one_of({"next": HandsOver(True)}),
    Ratio: Kind("a ratio like '12%' or '25 bps'", _ratio),
    Beta: Kind("a multiple like '1.2x'", _beta),
    Money: Kind("an amount like '250 USDT'", _money),
    Price: Kind("a price like '61250.5 USDT'", _price),
    Duration: Kind("a duration like '500ms', '30s', '10m' or '1h'", _duration),
    Count: Kind("a whole number without a unit like '3'", _count),
}
"""How each type of `bot.policy.document`, and of the verbs' parameters, is written."""
