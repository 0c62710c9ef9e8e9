"""
Cases: one position a line of JSON, for a replay of many.

    {"data", "venue", "symbol", "side", "leverage", "margin", "reserve", "entry_at_ms",
     "margin_mode"?, "slippage_bps"?, "latency_ms"?}

`data` is a scenario, a price file or fetched prices, `symbol` that of the data, unified or as the
venue writes it. `venue` is that of the policy, whose rules hold, or that of the data: prices of
one venue may be replayed by the rules of another. Numbers may be strings, so that they stay exact.
"""

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn

from bot.core.model import Instrument, MarginMode, Side
from bot.core.units import ZERO, Money, Ratio
from bot.rehearsal.bars import Bars
from bot.rehearsal.setups import SLIPPAGE, ByMargin, Opening, Setup

LATENCY_MS = 250
LATENCY_MAX_MS = 10_000
"""With more the venue refuses every request as too old."""

NUMBER_MAX = Decimal(10**12)
BPS = Decimal(10_000)

_SHOWN_MAX = 60
_TEXT_MAX = 1000
_WRITTEN = re.compile(r"[-+.0-9eE]{1,100}")
"""Decimal takes more for a number: digits of every script, and underscores among them."""

_REQUIRED = ("data", "venue", "symbol", "side", "leverage", "margin", "reserve", "entry_at_ms")
_OPTIONAL = ("margin_mode", "slippage_bps", "latency_ms")


class CaseError(ValueError):
    """A case that cannot be run. The message is one line for the user."""


@dataclass(frozen=True, slots=True)
class Case:
    """A position to replay, as the line says it."""

    data: str
    venue: str
    symbol: str
    side: Side
    leverage: Decimal
    margin: Money
    reserve: Money
    entry_at_ms: int
    margin_mode: MarginMode
    slippage: Ratio
    latency_ms: int


def read_case(line: str) -> Case:
    """The case of a line; raises `CaseError` for anything that is not exactly one."""
    try:
        given = json.loads(
            line, parse_float=Decimal, parse_constant=_no_number, object_pairs_hook=_object
        )
    except (ValueError, RecursionError) as e:
        raise CaseError(f"case: expected one JSON object a line, was {_short(line)} ({e})") from e
    if not isinstance(given, dict):
        raise CaseError(f"case: expected a JSON object, was {_short(line)}")
    for name in _REQUIRED:
        if name not in given:
            raise CaseError(f"{name}: expected it in every case, was missing")
    for name in given:
        if name not in _REQUIRED + _OPTIONAL:
            known = ", ".join(_REQUIRED + _OPTIONAL)
            raise CaseError(f"{_short(name)}: expected one of {known}, was unknown")
    margin_mode = given.get("margin_mode", MarginMode.ISOLATED.value)
    default_bps = SLIPPAGE * BPS
    return Case(
        data=_text("data", given["data"]),
        venue=_text("venue", given["venue"]),
        symbol=_text("symbol", given["symbol"]),
        side=Side(_one_of("side", given["side"], list(Side))),
        leverage=_number("leverage", given["leverage"], above=ZERO),
        margin=Money(_number("margin", given["margin"], above=ZERO)),
        reserve=Money(_number("reserve", given["reserve"])),
        entry_at_ms=_whole("entry_at_ms", given["entry_at_ms"]),
        margin_mode=MarginMode(_one_of("margin_mode", margin_mode, list(MarginMode))),
        slippage=Ratio(
            _number("slippage_bps", given.get("slippage_bps", default_bps), most=BPS - 1) / BPS
        ),
        latency_ms=_whole("latency_ms", given.get("latency_ms", LATENCY_MS), most=LATENCY_MAX_MS),
    )


def setup_of(
    case: Case, bars: Bars, venue: str, contract_of: Callable[[str, Bars], Instrument]
) -> Setup:
    """
    The account of `case` on the `bars` of its data, at the `venue` of the policy.

    Raises `CaseError` where the bars are of another symbol or the case of another venue, and
    what `contract_of` raises.
    """
    if case.symbol not in (bars.symbol, bars.symbol.partition(":")[0].replace("/", "")):
        raise CaseError(f"symbol: expected that of the data, {bars.symbol}, was {case.symbol!r}")
    if case.venue not in (venue, bars.venue):
        expected = f"that of the policy, {venue}, whose rules hold, or of the data, {bars.venue}"
        raise CaseError(f"venue: expected {expected}, was {case.venue!r}")
    opening = Opening(
        bars=bars,
        instrument=contract_of(venue, bars),
        side=case.side,
        leverage=case.leverage,
        size=ByMargin(case.margin),
        margin_mode=case.margin_mode,
    )
    return Setup(
        openings=(opening,),
        reserve=case.reserve,
        entry_at_ms=case.entry_at_ms,
        latency_ms=case.latency_ms,
        slippage=case.slippage,
    )


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    given = dict(pairs)
    if len(given) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{_short(twice)} is there twice")
    return given


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _TEXT_MAX:
        expected = f"a text of 1 to {_TEXT_MAX} characters"
        raise CaseError(f"{name}: expected {expected}, was {_short(value)}")
    return value


def _one_of(name: str, value: Any, allowed: Iterable[str]) -> str:
    known = [str(each) for each in allowed]
    if not isinstance(value, str) or value not in known:
        expected = " or ".join(known)
        raise CaseError(f"{name}: expected {expected}, was {_short(value)}")
    return value


def _number(
    name: str, value: Any, *, above: Decimal | None = None, most: Decimal = NUMBER_MAX
) -> Decimal:
    expected = f"a number from 0 to {most:f}" if above is None else f"a number above {above:f}"
    wrong = CaseError(f"{name}: expected {expected}, was {_short(value)}")
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        raise wrong
    if isinstance(value, str) and not _WRITTEN.fullmatch(value):
        raise wrong
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise wrong from None
    if not number.is_finite() or not ZERO <= number <= most or number == above:
        raise wrong
    return number


def _whole(name: str, value: Any, *, most: int = 10**14) -> int:
    number = _number(name, value, most=Decimal(most))
    if number != number.to_integral_value():
        raise CaseError(f"{name}: expected whole milliseconds, was {_short(value)}")
    return int(number)


def _short(value: Any) -> str:
    """A value as it fits into one line."""
    text = str(value) if isinstance(value, Decimal) else repr(value)
    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}..."
