"""
What a user's policy test says: `<policy>_test.yaml`, read as strictly as the policy itself.

A case gives positions and a wallet, prices as a series, optional faults of the venue, and what
is expected at which moments. `bot.rehearsal.casebook` lives it through.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, NewType, TypeAlias, TypeVar

from bot.core.model import MarginMode, Side
from bot.core.units import Duration, Money, Price, Quantity, Ratio
from bot.policy.bind import bind_section
from bot.policy.document import Absent, Cell, Unread, items_of, or_else
from bot.policy.loader import read_source
from bot.policy.problems import Place, Report, Source, did_you_mean
from bot.policy.tree import describe, read_tree
from bot.policy.values import (
    ANY_AMOUNT,
    KINDS,
    SETTLE,
    Kind,
    Schema,
    Symbol,
    Unfit,
    amount_in,
    price_in,
)

T = TypeVar("T")
S = TypeVar("S", bound=str)

SAMPLES_MAX = 100_000
"""Longest series: more than a day at one sample a second."""


@dataclass(frozen=True, slots=True)
class NoData:
    """The price feed brings nothing at this sample; the market goes on."""


Sample: TypeAlias = Price | NoData
Series: TypeAlias = tuple[Sample, ...]


@dataclass(frozen=True, slots=True)
class FundingPlan:
    """`rate` is settled every `interval_ms`, for the first time after `first_ms`."""

    rate: Ratio
    interval_ms: int
    first_ms: int


@dataclass(frozen=True, slots=True)
class Coins:
    """A quantity of a named coin, as a user writes it."""

    quantity: Quantity
    coin: str


@dataclass(frozen=True, slots=True)
class Done:
    """Something the guard did. `amount` is empty where the case does not say how much."""

    verb: str
    amount: str


AtEnd = NewType("AtEnd", bool)
Moment: TypeAlias = Duration | AtEnd
Title = NewType("Title", str)
StepName = NewType("StepName", str)
StepState = NewType("StepState", str)
Yes = NewType("Yes", bool)
StopState = NewType("StopState", str)
FaultName = NewType("FaultName", str)
Leverage = NewType("Leverage", Decimal)

_NUMBER = r"(?:0|[1-9][0-9]{0,11})(?:\.[0-9]{1,8})?"
_RUN = re.compile(rf"({_NUMBER})(?:([+-])({_NUMBER}))?(?:x([1-9][0-9]{{0,5}}))?")
_GAP = re.compile(r"_(?:x([1-9][0-9]{0,5}))?")
_FUNDING = re.compile(r"(-?)(\S+%|\S+ bps) every (\S+)(?:, first in (\S+))?")
_COINS = re.compile(rf"({_NUMBER}) ([0-9A-Z]{{1,20}})")
VERBS = (
    "alert", "place_stop", "top_up", "partial_close", "trim_and_refund", "refund", "close",
)  # fmt: skip
"""What can be expected of a guard."""

FAULTS = ("writes_unknown", "writes_lost", "reads_lost", "stops_refused")
"""What can go wrong in a case: requests that happen and nobody hears, or never arrive, ..."""


def _series(text: str) -> Series:
    samples: list[Sample] = []
    for word in text.split():
        if gap := _GAP.fullmatch(word):
            samples.extend([NoData()] * int(gap[1] or 1))
        elif run := _RUN.fullmatch(word):
            start, step = Decimal(run[1]), Decimal(f"{run[2] or '+'}{run[3] or 0}")
            count = int(run[4] or 0)
            if len(samples) + count > SAMPLES_MAX:
                raise Unfit(f"at most {SAMPLES_MAX} samples")
            samples.extend(Price(start + step * i) for i in range(count + 1))
        else:
            raise Unfit(f"cannot read '{word}'")
    if not samples or isinstance(samples[0], NoData) or isinstance(samples[-1], NoData):
        raise Unfit("a series begins and ends with a price")
    if any(not isinstance(each, NoData) and each <= 0 for each in samples):
        raise Unfit("every price above 0")
    return tuple(samples)


def _funding(text: str) -> FundingPlan:
    found = _FUNDING.fullmatch(text)
    if found is None:
        raise Unfit
    minus, rate, every, first = found.groups()
    interval_ms = KINDS[Duration].parse(every)
    sign = -1 if minus else 1
    first_ms = interval_ms if first is None else KINDS[Duration].parse(first)
    if interval_ms <= 0:
        raise Unfit("an interval above 0")
    return FundingPlan(Ratio(sign * KINDS[Ratio].parse(rate)), interval_ms, first_ms)


def _coins(text: str) -> Coins:
    found = _COINS.fullmatch(text)
    if found is None:
        raise Unfit
    return Coins(Quantity(Decimal(found[1])), found[2])


def _leverage(text: str) -> Leverage:
    found = re.fullmatch(rf"({_NUMBER})x", text)
    if found is None or Decimal(found[1]) <= 0:
        raise Unfit
    return Leverage(Decimal(found[1]))


def _any_price(text: str) -> Price:
    for quote in (SETTLE, "USD"):
        with suppress(Unfit):
            return price_in(quote).parse(text)
    raise Unfit


def _moment(text: str) -> Moment:
    if text == "end":
        return AtEnd(True)
    moment: Duration = KINDS[Duration].parse(text)
    return moment


def _done(text: str) -> Done:
    verb, _, amount = text.partition(" ")
    if verb not in VERBS:
        raise Unfit(did_you_mean(verb, list(VERBS)))
    if not amount:
        return Done(verb, "")
    coins = _coins(amount)
    return Done(verb, f"{coins.quantity.normalize():f} {coins.coin}")


def _words(*choices: S) -> Kind[S]:
    by_text = {str(choice): choice for choice in choices}

    def parse(text: str) -> S:
        if text not in by_text:
            raise Unfit(did_you_mean(text, list(by_text)))
        return by_text[text]

    return Kind(f"one of {', '.join(by_text)}", parse, {"enum": list(by_text)})


def _text(expected: str, pattern: str) -> Kind[str]:
    def parse(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise Unfit
        return text

    return Kind(expected, parse, {"type": "string"})


def _truth(text: str) -> Yes:
    if text not in ("true", "false"):
        raise Unfit
    return Yes(text == "true")


_STRING: Mapping[str, object] = {"type": "string"}

CASE_KINDS: Mapping[object, Kind[Any]] = {
    **KINDS,
    Series: Kind("prices like '60000-150x10 _x2 58500x20'", _series, _STRING),
    FundingPlan: Kind("a bill like '0.05% every 8h, first in 10m'", _funding, _STRING),
    Coins: Kind("a quantity like '0.5 BTC'", _coins, _STRING),
    Leverage: Kind("a leverage like '10x'", _leverage, _STRING),
    Moment: Kind("a moment like '30s', or end", _moment, _STRING),
    Done: Kind(f"one of {', '.join(VERBS)}, with an amount or not", _done, _STRING),
    Title: _text("a name in words", r".{1,120}"),
    StepName: _text("a step like 'rule/step'", r"[a-z0-9-]+/[a-z0-9-]+"),
    StepState: _words("inactive", "pending", "firing", "unknown"),
    StopState: _words("in_place", "missing"),
    FaultName: _words(*FAULTS),
    Yes: Kind("true or false", _truth, {"type": "boolean"}),
    Side: _words(*Side),
    MarginMode: _words(*MarginMode),
}
"""How each type of value in a case file is written."""


_ANY_COIN: Mapping[object, Kind[Any]] = {
    Money: ANY_AMOUNT,
    Price: Kind("a price like '61250.5 USDT'", _any_price, _STRING),
}
"""Amounts and prices in a file whose policy has not been read yet."""


@dataclass(frozen=True, slots=True)
class GivenPosition:
    """A position that is open when the case begins; isolated with a margin, or with leverage."""

    at: Place
    symbol: Cell[Symbol]
    side: Cell[Side]
    quantity: Cell[Coins]
    entry_price: Cell[Price]
    margin_mode: Cell[MarginMode]
    margin: Cell[Money] | Absent
    leverage: Cell[Leverage] | Absent


@dataclass(frozen=True, slots=True)
class GivenSection:
    """What there is when the case begins. `wallet` is the money beside isolated margins."""

    at: Place
    wallet: Cell[Money]
    positions: Cell[tuple[GivenPosition, ...]]
    latency: Cell[Duration] | Absent


@dataclass(frozen=True, slots=True)
class FaultSection:
    """Something goes wrong from `at_` on, for a while."""

    at: Place
    fault: Cell[FaultName]
    from_: Cell[Duration]
    for_: Cell[Duration]


@dataclass(frozen=True, slots=True)
class ExpectSection:
    """What must be so at one moment; actions are those since the expectation before."""

    at: Place
    at_: Cell[Moment]
    states: Cell[Mapping[StepName, StepState]] | Absent
    actions: Cell[tuple[Done, ...]] | Absent
    spent: Cell[Money] | Absent
    stop: Cell[Mapping[Symbol, StopState]] | Absent
    quantity: Cell[Mapping[Symbol, Coins]] | Absent
    liquidated: Cell[Yes] | Absent


@dataclass(frozen=True, slots=True)
class CaseSection:
    """One story and what must come of it. `history` has a price an hour, from before it began."""

    at: Place
    name: Cell[Title]
    interval: Cell[Duration]
    given: GivenSection
    history: Cell[Mapping[Symbol, Series]] | Absent
    prices: Cell[Mapping[Symbol, Series]]
    last_prices: Cell[Mapping[Symbol, Series]] | Absent
    funding: Cell[Mapping[Symbol, FundingPlan]] | Absent
    faults: Cell[tuple[FaultSection, ...]] | Absent
    expect: Cell[tuple[ExpectSection, ...]]


@dataclass(frozen=True, slots=True)
class CaseFileSection:
    """
    A whole file. `policy` is the path of the policy, seen from the file's folder.

    `contracts` are price files that say what their contract is, by its symbol: of those that are
    not recorded here.
    """

    at: Place
    schema: Cell[Schema]
    policy: Cell[Title]
    contracts: Cell[Mapping[Symbol, Title]] | Absent
    tests: Cell[tuple[CaseSection, ...]]


@dataclass(frozen=True, slots=True)
class OwnMargin:
    """Isolated, with that margin."""

    margin: Money


@dataclass(frozen=True, slots=True)
class AtLeverage:
    """Opened with the initial margin of that leverage."""

    leverage: Decimal


Backing: TypeAlias = OwnMargin | AtLeverage


@dataclass(frozen=True, slots=True)
class Given:
    """An open position at the beginning of a case."""

    symbol: str
    side: Side
    quantity: Quantity
    entry_price: Price
    margin_mode: MarginMode
    backing: Backing


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong, from when on, until when."""

    name: str
    from_ms: int
    until_ms: int


@dataclass(frozen=True, slots=True)
class Expectation:
    """
    What must be so at `at_ms` after the beginning; an empty claim claims nothing.

    `line` is where the file says so. `actions` and `liquidated` hold one claim or none.
    """

    line: int
    at_ms: int
    states: Mapping[str, str]
    actions: tuple[tuple[Done, ...], ...]
    spent: tuple[Money, ...]
    stops: Mapping[str, str]
    quantities: Mapping[str, Quantity]
    liquidated: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class Case:
    """
    One story to live through, and what is expected of it.

    `history` are prices that are an hour apart, the newest from an hour before it begins.
    """

    name: str
    line: int
    interval_ms: int
    latency_ms: int
    wallet: Money
    positions: tuple[Given, ...]
    history: Mapping[str, tuple[Price, ...]]
    prices: Mapping[str, Series]
    last_prices: Mapping[str, Series]
    funding: Mapping[str, FundingPlan]
    faults: tuple[Fault, ...]
    expectations: tuple[Expectation, ...]

    @property
    def duration_ms(self) -> int:
        """From the first to the last sample of the longest series."""
        return (max(len(series) for series in self.prices.values()) - 1) * self.interval_ms


@dataclass(frozen=True, slots=True)
class CaseFile:
    """The cases of one policy, and where it and the contracts of some symbols are told."""

    file: str
    policy: Path
    contracts: Mapping[str, Path]
    cases: tuple[Case, ...]


def policy_of(source: Path) -> Path:
    """
    The policy whose cases are in the file `source`.

    Raises `PolicyError` with all that is wrong with it but for the coin of its amounts.
    """
    return _parsed(read_source(source).text, source, _ANY_COIN).policy


def load_cases(source: Path, settle: str) -> CaseFile:
    """
    The cases in the file `source`, whose amounts are in `settle`, the coin of its policy.

    Raises `PolicyError` with all that is wrong with it.
    """
    return parse_cases(read_source(source).text, source, settle)


def parse_cases(text: str, source: Path, settle: str = SETTLE) -> CaseFile:
    """The cases in `text`, which stands in `source`; raises `PolicyError`."""
    return _parsed(text, source, {Money: amount_in(settle), Price: _prices(settle)})


def _prices(settle: str) -> Kind[Price]:
    """Contracts that pay in another coin than the dollar's quote in USD, as venues write it."""
    return price_in(settle if settle == SETTLE else "USD")


def _parsed(text: str, source: Path, money: Mapping[object, Kind[Any]]) -> CaseFile:
    report = Report(Source(str(source), text))
    kinds = {**CASE_KINDS, **money}
    file = bind_section(CaseFileSection, read_tree(text, report), report, kinds)
    cases = _checked(file, report)
    report.raise_if_any()
    told = or_else(file.contracts, {})
    contracts = {str(symbol): source.parent / path for symbol, path in told.items()}
    return CaseFile(str(source), source.parent / file.policy.value, contracts, cases)


def _checked(file: CaseFileSection, report: Report) -> tuple[Case, ...]:
    cases: list[Case] = []
    names: dict[str, int] = {}
    for section in items_of(file.tests):
        with suppress(Unread):
            name = section.name.value
            if name in names:
                line = names[name]
                report.add(section.name.node.at, f"another name than line {line}", f"'{name}'")
            names[name] = section.at.line
        with suppress(Unread):
            cases.append(_case(section, report))
    if not items_of(file.tests):
        report.add(file.tests.node.at, "at least one case", "none")
    return tuple(cases)


def _case(section: CaseSection, report: Report) -> Case:
    given, prices = section.given, section.prices.value
    interval_ms = section.interval.value
    if interval_ms <= 0:
        report.add(section.interval.node.at, "more than 0", "'0s'")
        raise Unread
    if not given.positions.value:
        report.add(given.positions.node.at, "at least one position", "none")
    positions = tuple(_priced(each, prices, report) for each in given.positions.value)
    case = Case(
        name=section.name.value,
        line=section.at.line,
        interval_ms=interval_ms,
        latency_ms=or_else(given.latency, Duration(0)),
        wallet=given.wallet.value,
        positions=positions,
        history={str(s): _told(each) for s, each in or_else(section.history, {}).items()},
        prices={str(symbol): series for symbol, series in prices.items()},
        last_prices={str(s): series for s, series in or_else(section.last_prices, {}).items()},
        funding={str(s): plan for s, plan in or_else(section.funding, {}).items()},
        faults=tuple(_fault(each) for each in or_else(section.faults, ())),
        expectations=(),
    )
    _same_symbols(section.history, prices, report)
    _same_symbols(section.last_prices, prices, report)
    _same_symbols(section.funding, prices, report)
    return replace(case, expectations=_expectations(section, case, report))


def _told(series: Series) -> tuple[Price, ...]:
    """The prices of a series; where it has none, the market stood still."""
    told: list[Price] = []
    for sample in series:
        told.append(told[-1] if isinstance(sample, NoData) else sample)
    return tuple(told)


def _priced(given: GivenPosition, prices: Mapping[Symbol, Series], report: Report) -> Given:
    symbol = given.symbol.value
    if symbol not in prices:
        expected = f"a symbol that prices names ({', '.join(prices)})"
        report.add(given.symbol.node.at, expected, f"'{symbol}'")
    return position_given(given, report)


def position_given(given: GivenPosition, report: Report) -> Given:
    """What a position is said to be; raises `Unread` where that is not enough to know it."""
    symbol, coins = given.symbol.value, given.quantity.value
    unit = _unit_of(symbol)
    if coins.coin != unit:
        report.add(given.quantity.node.at, f"a quantity of {unit}", f"'{coins.coin}'")
    _above_zero(given.quantity, coins.quantity, report)
    backing: Backing
    match given.margin, given.leverage:
        case Cell() as margin, Absent() if given.margin_mode.value is MarginMode.ISOLATED:
            _above_zero(margin, margin.value, report)
            backing = OwnMargin(margin.value)
        case Absent(), Cell() as leverage:
            backing = AtLeverage(leverage.value)
        case _:
            expected = "a margin or a leverage, of a cross position a leverage"
            report.add(given.at, expected, "none or both")
            raise Unread
    return Given(
        symbol,
        given.side.value,
        coins.quantity,
        given.entry_price.value,
        given.margin_mode.value,
        backing,
    )


def _unit_of(symbol: str) -> str:
    """What quantities are counted in: of a contract that pays in its base, in what it quotes."""
    base, _, rest = symbol.partition("/")
    quote, _, settle = rest.partition(":")
    return quote if settle == base else base


def _above_zero(cell: Cell[Any], number: Decimal, report: Report) -> None:
    if number == 0:
        report.add(cell.node.at, "more than 0", describe(cell.node))
        raise Unread


def _fault(section: FaultSection) -> Fault:
    from_ms = section.from_.value
    return Fault(section.fault.value, from_ms, from_ms + section.for_.value)


def _same_symbols(
    cell: Cell[Mapping[Symbol, T]] | Absent, prices: Mapping[Symbol, Series], report: Report
) -> None:
    for symbol in or_else(cell, {}):
        if symbol not in prices:
            assert isinstance(cell, Cell)  # noqa: S101 - it has at least this symbol
            expected = f"symbols that prices names ({', '.join(prices)})"
            report.add(cell.node.at, expected, f"'{symbol}'")


def _expectations(section: CaseSection, case: Case, report: Report) -> tuple[Expectation, ...]:
    found: list[Expectation] = []
    for each in items_of(section.expect):
        moment = each.at_.value
        at_ms = case.duration_ms if moment is True else int(moment)
        if at_ms > case.duration_ms:
            expected = f"a moment until the end of the prices, {case.duration_ms} ms"
            report.add(each.at_.node.at, expected, f"{at_ms} ms")
        if found and at_ms < found[-1].at_ms:
            report.add(each.at_.node.at, "a moment after that of the expectation before", "before")
        claims = Expectation(
            line=each.at.line,
            at_ms=at_ms,
            states={str(step): str(is_) for step, is_ in or_else(each.states, {}).items()},
            actions=_claimed(each.actions),
            spent=_claimed(each.spent),
            stops={str(symbol): state for symbol, state in or_else(each.stop, {}).items()},
            quantities={
                str(symbol): coins.quantity for symbol, coins in or_else(each.quantity, {}).items()
            },
            liquidated=tuple(bool(each) for each in _claimed(each.liquidated)),
        )
        found.append(claims)
    if not found:
        report.add(section.expect.node.at, "at least one expectation", "none")
    return tuple(found)


def _claimed(cell: Cell[T] | Absent) -> tuple[T, ...]:
    return () if isinstance(cell, Absent) else (cell.value,)
