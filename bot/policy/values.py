"""
The kinds of value a policy file can hold: what is expected of the text, and how it is parsed.

Numbers are plain decimals with a unit (`12%`, `25 bps`, `250 USDT`, `30s`), exact, and never
negative. No exponent, no thousands separator, no leading zero: nothing that two people could
read as two different numbers.
"""

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Generic, NewType, TypeAlias, TypeVar, assert_never

from bot.core.model import MarginMode, PositionMode, Side
from bot.core.policy import AnyMarginMode, AnySide, AnySymbol, Metric
from bot.core.units import ZERO, Duration, Money, Price, Ratio
from bot.policy.problems import did_you_mean, listed, shown
from bot.policy.verbs import Verb, find_verbs

T = TypeVar("T")

KNOWN_VENUES = (
    "apex",
    "binancecoinm",
    "binanceusdm",
    "bitget",
    "bitunix",
    "bybit",
    "gate",
    "hyperliquid",
    "krakenfutures",
    "kucoin",
    "okx",
    "xt",
)
"""Venues that an account may name."""

Schema = NewType("Schema", str)
AccountName = NewType("AccountName", str)
CredentialsName = NewType("CredentialsName", str)
Name = NewType("Name", str)
Venue = NewType("Venue", str)
Coin = NewType("Coin", str)
Symbol = NewType("Symbol", str)
Count = NewType("Count", int)
KeepsFloor = NewType("KeepsFloor", bool)
ClosesUnknown = NewType("ClosesUnknown", bool)
RespectsCancel = NewType("RespectsCancel", bool)
HandsOver = NewType("HandsOver", bool)
Beta = NewType("Beta", Ratio)
Level = NewType("Level", Decimal)
"""A threshold or a hysteresis, written in the unit of the metric that a rule watches."""
MarginModes: TypeAlias = frozenset[MarginMode]
MatchedModes: TypeAlias = MarginMode | AnyMarginMode
Symbols: TypeAlias = frozenset[str] | AnySymbol
Sides: TypeAlias = Side | AnySide


class Unfit(Exception):
    """The text is not of its kind. The message, if any, is a hint for the user."""


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """
    A kind of value: what a user should write, and its parser, which may raise `Unfit`.

    `schema` says the same in the words of JSON Schema, as far as they go. Of a confidential kind
    nothing that a user wrote is ever shown.
    """

    expected: str
    parse: Callable[[str], T]
    schema: Mapping[str, object]
    is_confidential: bool = False


# Twelve digits before and eight behind the point stay exact in every later step.
_NUMBER = r"(?:0|[1-9][0-9]{0,11})(?:\.[0-9]{1,8})?"
_MEASURED = re.compile(rf"({_NUMBER}) ?([A-Za-z%]+)")
_WHOLE = r"0|[1-9][0-9]{0,8}"
_WHOLE_MAX = 999_999_999
_SYMBOL = r"[!-~]{1,40}"

_RATIO_UNITS = {"%": Decimal("0.01"), "bps": Decimal("0.0001")}
_RATIO_MAX = Decimal(10)
_MULTIPLE_UNITS = {"x": Decimal(1)}
_ATR_UNITS = {"atr": Decimal(1)}
_SIGMA_UNITS = {"sigma": Decimal(1)}
_MULTIPLE_MAX = Decimal(1_000)
_BETA_MAX = Decimal(100)
SETTLE = "USDT"
"""The coin of the amounts of a policy that names none."""
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


def _duration(text: str) -> Duration:
    value = _measured(text, _DURATION_UNITS)
    if value != value.to_integral_value():
        raise Unfit("a part of a millisecond is too short")
    return Duration(int(value))


def _count(text: str) -> Count:
    if not re.fullmatch(_WHOLE, text):
        raise Unfit
    return Count(int(text))


def _symbol(text: str) -> Symbol:
    if text == "any" or not re.fullmatch(_SYMBOL, text):
        raise Unfit
    return Symbol(text)


def _level(units: Mapping[str, Decimal]) -> Callable[[str], Level]:
    def parse(text: str) -> Level:
        value = _measured(text, units)
        if not ZERO < value <= _MULTIPLE_MAX:
            raise Unfit("more than 0 and at most 1000")
        return Level(value)

    return parse


def _level_in_time(text: str) -> Level:
    value = _duration(text)
    if value == 0:
        raise Unfit("more than 0")
    return Level(Decimal(value))


def _written(pattern: str) -> Mapping[str, object]:
    return {"type": "string", "pattern": f"^(?:{pattern})$"}


def _number_with(units: Mapping[str, Decimal]) -> Mapping[str, object]:
    return _written(f"{_NUMBER} ?(?:{'|'.join(units)})")


def amount_in(coin: str) -> Kind[Money]:
    """How amounts of money are written where `coin` is what contracts pay in."""
    units = {coin: Decimal(1)}
    example = "250" if coin == SETTLE else "0.25"
    return Kind(
        f"an amount like '{example} {coin}'",
        lambda text: Money(_measured(text, units)),
        _number_with(units),
    )


def price_in(quote: str) -> Kind[Price]:
    """How prices are written where contracts quote in `quote`."""
    units = {quote: Decimal(1)}

    def parse(text: str) -> Price:
        value = _measured(text, units)
        if value == ZERO:
            raise Unfit("more than 0")
        return Price(value)

    return Kind(f"a price like '61250.5 {quote}'", parse, _number_with(units))


def _words(expected: str, pattern: str, *, is_confidential: bool = False) -> Kind[str]:
    compiled = re.compile(pattern)

    def parse(text: str) -> str:
        if not compiled.fullmatch(text):
            raise Unfit
        return text

    return Kind(expected, parse, _written(pattern), is_confidential)


def _one_of(choices: Mapping[str, T]) -> Kind[T]:
    def parse(text: str) -> T:
        if text in choices:
            return choices[text]
        raise Unfit(did_you_mean(text, list(choices)) if len(choices) > 1 else "")

    return Kind(listed(list(choices)), parse, {"enum": list(choices)})


_MODES = {mode.value: mode for mode in MarginMode}

KINDS: Mapping[object, Kind[Any]] = {
    Schema: _one_of({"liqguard/v1": Schema("liqguard/v1")}),
    AccountName: _words("1 to 32 of a-z, 0-9 and -", r"[a-z0-9-]{1,32}"),
    CredentialsName: _words(
        "the name of credentials, 1 to 32 of a-z, 0-9 and -, never the credentials",
        r"[a-z0-9-]{1,32}",
        is_confidential=True,
    ),
    Name: _words("a name of a-z, 0-9 and -", r"[a-z0-9-]+"),
    Venue: _one_of({name: Venue(name) for name in KNOWN_VENUES}),
    MarginModes: _one_of(
        {
            **{name: frozenset({mode}) for name, mode in _MODES.items()},
            "mixed": frozenset(MarginMode),
        }
    ),
    MatchedModes: _one_of({**_MODES, "any": AnyMarginMode()}),
    PositionMode: _one_of({mode.value: mode for mode in PositionMode}),
    Metric: _one_of({metric.value: metric for metric in Metric}),
    Sides: _one_of({"any": AnySide(), **{side.value: side for side in Side}}),
    Symbol: Kind(
        "a symbol like 'BTC/USDT:USDT'", _symbol, {**_written(_SYMBOL), "not": {"enum": ["any"]}}
    ),
    Symbols: replace(_one_of({"any": AnySymbol()}), expected="any or a list of symbols"),
    Verb: _one_of(find_verbs()),
    KeepsFloor: _one_of({"close": KeepsFloor(True), "keep": KeepsFloor(False)}),
    ClosesUnknown: _one_of({"alert": ClosesUnknown(False), "close": ClosesUnknown(True)}),
    RespectsCancel: _one_of({"restore": RespectsCancel(False), "respect": RespectsCancel(True)}),
    HandsOver: _one_of({"next": HandsOver(True)}),
    Ratio: Kind("a ratio like '12%' or '25 bps'", _ratio, _number_with(_RATIO_UNITS)),
    Beta: Kind("a multiple like '1.2x'", _beta, _number_with(_MULTIPLE_UNITS)),
    Coin: _words("a coin like 'BTC'", r"[A-Z0-9]{2,12}"),
    Money: amount_in(SETTLE),
    Price: price_in(SETTLE),
    Duration: Kind(
        "a duration like '500ms', '30s', '10m' or '1h'", _duration, _number_with(_DURATION_UNITS)
    ),
    Count: Kind(
        "a whole number without a unit like '3'",
        _count,
        # Without its quotes it is a number to whoever reads the file by this schema.
        {
            "type": ["integer", "string"],
            "minimum": 0,
            "maximum": _WHOLE_MAX,
            "pattern": f"^(?:{_WHOLE})$",
        },
    ),
}
"""How each type of `bot.policy.document`, and of the verbs' parameters, is written."""

_IN_RATIO: Kind[Level] = replace(KINDS[Ratio], parse=lambda text: Level(_ratio(text)))
_IN_ATRS: Kind[Level] = Kind(
    "a number of ATRs like '3 atr'", _level(_ATR_UNITS), _number_with(_ATR_UNITS)
)
_IN_SIGMAS: Kind[Level] = Kind(
    "a number of sigmas like '2.5 sigma'", _level(_SIGMA_UNITS), _number_with(_SIGMA_UNITS)
)
_IN_TIME: Kind[Level] = replace(KINDS[Duration], parse=_level_in_time)
_IN_MULTIPLES: Kind[Level] = Kind(
    "a multiple like '8x'", _level(_MULTIPLE_UNITS), _number_with(_MULTIPLE_UNITS)
)


def level_of(metric: Metric) -> Kind[Level]:
    """How the thresholds on a metric are written."""
    match metric:
        case (
            Metric.LIQUIDATION_DISTANCE
            | Metric.MARGIN_RATIO
            | Metric.BREAK_EVEN_DISTANCE
            | Metric.FUNDING_COST_INTERVAL
            | Metric.FUNDING_COST_24H
            | Metric.FUNDING_COST_EPISODE
        ):
            return _IN_RATIO
        case Metric.LIQUIDATION_DISTANCE_ATR:
            return _IN_ATRS
        case Metric.LIQUIDATION_DISTANCE_SIGMA:
            return _IN_SIGMAS
        case Metric.TIME_TO_LIQUIDATION:
            return _IN_TIME
        case Metric.EFFECTIVE_LEVERAGE:
            return _IN_MULTIPLES
    assert_never(metric)


def level_text(metric: Metric, value: Decimal) -> str:
    """A value of a metric as a policy would write it, to two decimals or a whole second."""
    kind = level_of(metric)
    if not value.is_finite():
        return "endless"
    if kind is _IN_RATIO:
        return f"{value * 100:.2f}%"
    if kind is _IN_TIME:
        minutes, seconds = divmod(int(value) // 1000, 60)
        return f"{minutes // 60}h {minutes % 60}m {seconds}s"
    unit = {id(_IN_ATRS): " atr", id(_IN_SIGMAS): " sigma", id(_IN_MULTIPLES): "x"}[id(kind)]
    return f"{value:.2f}{unit}"


def _in_any_unit(text: str) -> Level:
    for kind in _LEVELS:
        with suppress(Unfit):
            return kind.parse(text)
    raise Unfit


_LEVELS = (_IN_RATIO, _IN_ATRS, _IN_SIGMAS, _IN_TIME, _IN_MULTIPLES)

ANY_LEVEL: Kind[Level] = Kind(
    "a threshold with a unit, like '12%', '3 atr', '2.5 sigma', '4h' or '8x'",
    _in_any_unit,
    {"anyOf": [kind.schema for kind in _LEVELS]},
)
"""A level in a rule of which nobody can say what it watches."""

ANY_AMOUNT: Kind[Money] = replace(
    KINDS[Money],
    expected="an amount in the coin of account.settle",
    parse=lambda text: Money(_amount_of_any(text)),
    schema=_written(rf"{_NUMBER} ?[A-Z0-9]{{2,12}}"),
)
"""An amount in a file of which nobody can say what its contracts pay in."""


def _amount_of_any(text: str) -> Decimal:
    found = re.fullmatch(rf"({_NUMBER}) ?[A-Z0-9]{{2,12}}", text)
    if found is None:
        raise Unfit
    return Decimal(found[1])
