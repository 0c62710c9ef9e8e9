"""
The planner's edge: what options or a JSON object say becomes an idea, and a plan becomes a page.

Options and JSON have the same names and the same values, so that one reader serves both.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, TypeVar

import typer

from bot.app import instrument_for
from bot.cli.exits import Exit
from bot.cli.plan_page import plan_json, print_plan
from bot.cli.show import console
from bot.core.checklist import Verdict, checklist, plan_at_best_leverage
from bot.core.model import ContractKind, Instrument, PriceBar, Side
from bot.core.planning import (
    NOT_GIVEN,
    Account,
    Edge,
    FundingTerms,
    Idea,
    NotGiven,
    Plan,
    plan,
    stop_by_atr,
)
from bot.core.sizing import CannotReach
from bot.core.state import DAY_MS
from bot.core.units import ONE, ZERO, Duration, Money, Price, Ratio
from bot.core.volatility import (
    TooFewBars,
    average_true_range,
    joined,
    sigma_of,
    sigma_over,
)
from bot.policy.held import load_held
from bot.policy.values import KINDS, KNOWN_VENUES, Unfit
from bot.rehearsal.bars import Bars, DataError, read_bars

T = TypeVar("T")
Measure = TypeVar("Measure", Price, Ratio)

DEFAULTS = {
    "venue": "binanceusdm",
    "slippage": "5 bps",
    "holding": "24h",
    "funding_interval": "8h",
    "shock": "10%",
}

HOUR_MS = 3_600_000
"""Bars shorter than this are joined: the range of a minute says nothing about a stop."""

_NUMBERS = Decimal("1e-12"), Decimal("1e12")
_RATIO = re.compile(r"(-?[0-9]{1,6}(?:\.[0-9]{1,8})?) ?(%|bps)")
_RATIO_UNITS = {"%": Decimal("0.01"), "bps": Decimal("0.0001")}


class PlanError(Exception):
    """The JSON of a plan cannot be used. The message is one line for the user."""


class Amiss(Exception):
    """One field is not as expected."""

    def __init__(self, field: str, expected: str, was: str) -> None:
        super().__init__(f"expected {expected}, was {was}")
        self.field = field


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked to be planned; a leverage that is not given is to be found."""

    instrument: Instrument
    account: Account
    idea: Idea
    leverage: Decimal | NotGiven


def fields_of_json(text: str) -> dict[str, str]:
    """The fields of a JSON object, each as the option of that name would say it."""
    try:
        given = json.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError) as e:
        raise PlanError(f"plan: expected one JSON object on standard input ({e})") from e
    if not isinstance(given, dict):
        raise PlanError("plan: expected one JSON object on standard input")
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
            raise PlanError(f"{name}: expected a text or a number, was {json.dumps(value)[:60]}")
    return {name: str(value) for name, value in given.items()}


def asked_in_json(text: str, known: frozenset[str]) -> Asked:
    """What the JSON object asks for; raises `PlanError`, and what its files raise."""
    fields = fields_of_json(text)
    for name in fields:
        if name not in known:
            expected = f"expected one of {', '.join(sorted(known))}"
            raise PlanError(f"{name}: {expected}, was unknown")
    try:
        return read_asked(fields)
    except Amiss as e:
        raise PlanError(f"{e.field}: {e}") from e


def asked_in_options(fields: Mapping[str, str]) -> Asked:
    """What the options ask for; raises `typer.BadParameter`, and what their files raise."""
    try:
        return read_asked(fields)
    except Amiss as e:
        raise typer.BadParameter(str(e), param_hint=f"--{e.field.replace('_', '-')}") from e


def show_plan(asked: Asked, as_json: bool) -> None:
    """Plan it and print it; exits with `Exit.UNSAFE` where a check fails or there is no plan."""
    found = planned(asked)
    if isinstance(found, CannotReach):
        typer.echo(json.dumps({"error": found.reason}) if as_json else found.reason)
        raise typer.Exit(Exit.UNSAFE)
    if as_json:
        typer.echo(json.dumps(plan_json(found)))
    else:
        print_plan(console(), found)
    if any(check.verdict is Verdict.FAIL for check in checklist(found)):
        raise typer.Exit(Exit.UNSAFE)


def planned(asked: Asked) -> Plan | CannotReach:
    """What was asked for, at the leverage that was given or that is found."""
    if isinstance(asked.leverage, NotGiven):
        return plan_at_best_leverage(asked.instrument, asked.account, asked.idea)
    return plan(asked.instrument, asked.account, asked.idea, asked.leverage)


# -- reading -------------------------------------------------------------------------------


def read_asked(fields: Mapping[str, str]) -> Asked:
    """Parse the fields; raises `Amiss`, and what the files that they name raise."""
    said = {**DEFAULTS, **fields}
    bars = read_bars(said["data"]) if "data" in said else NOT_GIVEN
    instrument = _instrument(said, bars)
    atr, daily_move = _volatility(said, bars)
    side = Side(_one_of(said, "side", list(Side)))
    entry = Price(_number(said, "entry_price"))
    funding_rate = _optional(said, "funding_rate", _rate)
    interval_ms = _duration(said, "funding_interval")
    idea = Idea(
        side=side,
        entry_price=entry,
        stop_price=_stop(said, instrument, side, entry, atr),
        risk=_ratio(said, "risk", most=ONE),
        slippage=_ratio(said, "slippage", most=ONE),
        atr=atr,
        daily_move=daily_move,
        funding=(
            NOT_GIVEN
            if isinstance(funding_rate, NotGiven)
            else FundingTerms(funding_rate, interval_ms)
        ),
        holding_ms=_duration(said, "holding"),
        edge=_edge(said),
        shock=_ratio(said, "shock", most=ONE),
    )
    leverage = _optional(said, "leverage", _number)
    if isinstance(leverage, NotGiven) and isinstance(daily_move, NotGiven):
        raise Amiss("leverage", "one, or daily_move or data to find it by", "missing")
    return Asked(instrument, _account(said), idea, leverage)


def _instrument(said: Mapping[str, str], bars: Bars | NotGiven) -> Instrument:
    venue = _one_of(said, "venue", list(KNOWN_VENUES))
    symbol = _text(said, "symbol") if isinstance(bars, NotGiven) else bars.symbol
    if said.get("symbol", symbol) != symbol:
        raise Amiss("symbol", f"that of the data, {symbol}", repr(said["symbol"]))
    instrument = instrument_for(venue, symbol)
    if instrument.kind is not ContractKind.LINEAR:
        raise Amiss("symbol", "a linear contract", f"{symbol}, an {instrument.kind} one")
    return instrument


def _volatility(
    said: Mapping[str, str], bars: Bars | NotGiven
) -> tuple[Price | NotGiven, Ratio | NotGiven]:
    """ATR and a day's sigma, as said or of the mark price in the data."""
    if isinstance(bars, NotGiven):
        atr = _optional(said, "atr", _number)
        return (
            atr if isinstance(atr, NotGiven) else Price(atr),
            _optional(said, "daily_move", lambda said, name: _ratio(said, name, most=ONE)),
        )
    for name in ("atr", "daily_move"):
        if name in said:
            raise Amiss(name, "either it or data", "both")
    size = max(HOUR_MS // bars.interval_ms, 1)
    marks = [PriceBar(bar.mark.high, bar.mark.low, bar.mark.close) for bar in bars.rows]
    hours = joined(marks, size)
    sigma = _enough(said["data"], sigma_of(hours))
    daily_move = sigma_over(sigma, size * bars.interval_ms, DAY_MS)
    return _enough(said["data"], average_true_range(hours)), daily_move


def _enough(data: str, measured: Measure | TooFewBars) -> Measure:
    if isinstance(measured, TooFewBars):
        expected = f"{measured.needed} bars of an hour or longer"
        raise DataError(f"{data}: rows: expected {expected}, was {measured.given}")
    if measured == ZERO:
        raise DataError(f"{data}: rows: expected prices that move, was none")
    return measured


def _stop(
    said: Mapping[str, str],
    instrument: Instrument,
    side: Side,
    entry: Price,
    atr: Price | NotGiven,
) -> Price:
    """The structure's price, or so many ATRs from the entry; always on the losing side."""
    match "stop_price" in said, "stop_atr" in said:
        case True, False:
            name, stop = "stop_price", Price(_number(said, "stop_price"))
        case False, True:
            if isinstance(atr, NotGiven):
                raise Amiss("stop_atr", "atr or data beside it", "missing")
            name = "stop_atr"
            stop = stop_by_atr(instrument, side, entry, atr, _number(said, "stop_atr"))
        case _:
            raise Amiss(
                "stop_price", "either it or stop_atr", "both" if "stop_atr" in said else "missing"
            )
    if side.sign * (entry - stop) <= ZERO or stop <= ZERO:
        where = "below" if side is Side.LONG else "above"
        raise Amiss(name, f"a stop {where} the entry price {entry:f}", f"{stop:f}")
    return stop


def _account(said: Mapping[str, str]) -> Account:
    match "equity" in said, "positions" in said:
        case True, False:
            return Account(Money(_number(said, "equity")), ())
        case False, True:
            held = load_held(Path(said["positions"]))
            return Account(held.wallet, held.positions)
        case _:
            both = "both" if "equity" in said else "missing"
            raise Amiss("equity", "either it or positions", both)


def _edge(said: Mapping[str, str]) -> Edge | NotGiven:
    match "win_rate" in said, "payoff" in said:
        case True, True:
            win_rate = _ratio(said, "win_rate", most=ONE)
            return Edge(win_rate, _number(said, "payoff"))
        case False, False:
            return NOT_GIVEN
        case _:
            missing = "payoff" if "win_rate" in said else "win_rate"
            raise Amiss(missing, "win_rate and payoff together", "missing")


def _optional(
    said: Mapping[str, str], name: str, parse: Callable[[Mapping[str, str], str], T]
) -> T | NotGiven:
    return parse(said, name) if name in said else NOT_GIVEN


def _text(said: Mapping[str, str], name: str) -> str:
    if not said.get(name):
        raise Amiss(name, "a value", "missing")
    return said[name]


def _one_of(said: Mapping[str, str], name: str, allowed: list[Any]) -> str:
    text = _text(said, name)
    if text not in allowed:
        raise Amiss(name, " or ".join(map(str, allowed)), repr(text))
    return text


def _number(said: Mapping[str, str], name: str) -> Decimal:
    text = _text(said, name)
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("NaN")
    least, most = _NUMBERS
    if not (value.is_finite() and least <= value <= most):
        raise Amiss(name, f"a number above 0, up to {most:f}", repr(text))
    return value


def _rate(said: Mapping[str, str], name: str) -> Ratio:
    text = _text(said, name)
    found = _RATIO.fullmatch(text)
    if found is None:
        raise Amiss(name, "a ratio like '0.01%' or '1 bps'", repr(text))
    number, unit = found.groups()
    value = Ratio(Decimal(number) * _RATIO_UNITS[unit])
    if abs(value) >= ONE:
        raise Amiss(name, "less than 100%", repr(text))
    return value


def _ratio(said: Mapping[str, str], name: str, *, most: Decimal) -> Ratio:
    text = _text(said, name)
    try:
        value: Ratio = KINDS[Ratio].parse(text)
    except Unfit:
        raise Amiss(name, KINDS[Ratio].expected, repr(text)) from None
    if value >= most:
        raise Amiss(name, f"less than {most:%}", repr(text))
    return value


def _duration(said: Mapping[str, str], name: str) -> int:
    text = _text(said, name)
    try:
        value: Duration = KINDS[Duration].parse(text)
    except Unfit:
        raise Amiss(name, KINDS[Duration].expected, repr(text)) from None
    if value == 0:
        raise Amiss(name, "more than 0", repr(text))
    return value
