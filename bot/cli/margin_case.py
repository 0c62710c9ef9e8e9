"""
A question about margin as JSON: one position, its risk tiers, and what else is on the wallet.

Parsed strictly and once: a field that is unknown, missing, of another kind or out of range is a
`CaseError` that names it. Numbers stay as written, to the last digit.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import pairwise
from typing import Any, Final, TypeAlias

from bot.core.margin import profit, requirement
from bot.core.model import (
    CloseFee,
    ContractKind,
    Instrument,
    LiquidationRounding,
    MaintenanceAt,
    MarginMode,
    NotReported,
    Position,
    RiskTier,
    Side,
    VenueRules,
)
from bot.core.units import ONE, ZERO, Money, Price, Quantity, Ratio
from bot.exchange.venues.margining import UNKNOWN_VENUE, VENUES, Margining

_SAID: Final = frozenset(
    {
        "id", "source", "expected", "tolerance", "formula", "computed", "abs_error", "provenance",
        "note", "status", "fitted_inputs", "general", "coin"
    }
)  # fmt: skip
"""Fields that say where a case comes from: never read."""

_NUMBERS: Final = frozenset(
    {
        "entry", "mark", "contracts", "contract_size", "notional", "leverage", "isolated_margin",
        "wallet_balance", "account_value", "mmr", "mm_amount", "maintenance_margin_given",
        "adjust_factor", "fee_rate", "tick"
    }
)  # fmt: skip
_BESIDE: Final = frozenset(
    {
        "raw_usd", "max_leverage", "isolated_margin_sat", "maintenance_margin_sat", "fill_price",
        "bankruptcy_price_given", "mmr_base", "mmr_step_per_unit", "funding_rate",
        "funding_interval_h"
    }
)  # fmt: skip
"""Numbers that a venue shows beside others: known, and no part of an answer."""

_OTHERS: Final = frozenset(
    {
        "exchange", "kind", "margin_mode", "hedge_mode", "hedge_leg", "side", "tiers", "rules",
        "other_positions"
    }
)  # fmt: skip
_OF_ANOTHER: Final = frozenset(
    {"side", "entry", "mark", "contracts", "contract_size", "mmr", "mm_amount", "coin"}
)
_MAY_BE_NEGATIVE: Final = frozenset({"wallet_balance", "account_value"})
_MAY_BE_ZERO: Final = frozenset(
    {
        "isolated_margin", "mmr", "mm_amount", "maintenance_margin_given", "adjust_factor",
        "fee_rate"
    }
)  # fmt: skip
_SHARES: Final = frozenset({"mmr", "fee_rate", "adjust_factor"})
_BACKING: Final = frozenset({"isolated_margin", "wallet_balance", "account_value"})
_DIGITS_MAX: Final = 30
_TIER_COLUMNS: Final = (3, 4)

SYMBOL: Final = "CASE"
_ENDLESS: Final = Decimal("Infinity")


class CaseError(Exception):
    """A case that cannot be answered; the message says which field, what was expected, was."""


@dataclass(frozen=True, slots=True)
class MaintenanceOnly:
    """A size without an entry price: all that can be said is what its tier demands."""

    maintenance_margin: Money


@dataclass(frozen=True, slots=True)
class MarginCase:
    """
    One position and what backs it, the rest of the wallet held still at its marks.

    `position` carries as isolated margin what the wallet leaves to it beyond what the others
    require, `unencumbered` beyond nothing: that is what bankruptcy looks at. `against` is the
    other leg of the symbol in hedge mode, if there is one; it moves along. `others_required` is
    what the other positions require.
    """

    instrument: Instrument
    position: Position
    mark_price: Price
    unencumbered: Position
    against: tuple[Position, ...]
    others_required: Decimal
    fee_shown: bool


Question: TypeAlias = MarginCase | MaintenanceOnly


def read_question(given: object) -> Question:
    """The case that a JSON value is. Raises `CaseError`."""
    if not isinstance(given, dict):
        raise CaseError(f"expected a case like {{...}}, was {_shown(given)}")
    _only(given, _SAID | _NUMBERS | _BESIDE | _OTHERS)
    numbers = {name: _number(name, given[name]) for name in _NUMBERS if name in given}
    venue = _venue(given)
    kind = ContractKind(_one_of(given, "kind", list(ContractKind)))
    mode = MarginMode(_one_of(given, "margin_mode", list(MarginMode)))
    side = Side(_one_of(given, "side", list(Side)))
    instrument = _instrument(given, numbers, venue, kind, mode)
    if "entry" not in numbers and not _BACKING & numbers.keys():
        return MaintenanceOnly(_maintenance_only(instrument, numbers))
    for name in ("entry", "contracts"):
        if name not in numbers:
            raise CaseError(f"{name}: expected a number, was missing")
    position = Position(
        symbol=SYMBOL,
        side=side,
        quantity=Quantity(numbers["contracts"] * numbers.get("contract_size", ONE)),
        entry_price=Price(numbers["entry"]),
        margin_mode=MarginMode.ISOLATED,
        isolated_margin=Money(ZERO),
        leverage=numbers.get("leverage", ONE),
        liquidation=NotReported(),
    )
    mark = Price(numbers.get("mark", numbers["entry"]))
    against = _against(given, position, mode)
    others = tuple(
        _other(number, each, instrument)
        for number, each in enumerate(_others(given, mode), start=1)
    )
    gained = sum((gain for gain, _ in others), ZERO)
    required = sum((needed for _, needed in others), ZERO)
    backing = _backing(numbers, mode)
    if "account_value" in numbers and "wallet_balance" not in numbers:
        backing -= gained + sum(_gain(instrument, leg, mark) for leg in (position, *against))
    return MarginCase(
        instrument=instrument,
        position=replace(position, isolated_margin=Money(backing + gained - required)),
        mark_price=mark,
        unencumbered=replace(position, isolated_margin=Money(backing + gained)),
        against=against,
        others_required=required,
        fee_shown=venue.fee_shown,
    )


def _venue(given: Mapping[str, Any]) -> Margining:
    venue = (
        VENUES.get(_text(given, "exchange"), UNKNOWN_VENUE)
        if "exchange" in given
        else UNKNOWN_VENUE
    )
    asked = given.get("rules", {})
    if not isinstance(asked, dict):
        raise CaseError(f"rules: expected an object, was {_shown(asked)}")
    _only(asked, frozenset({"maintenance_at"}), "rules.")
    if not asked:
        return venue
    at = MaintenanceAt(_one_of(asked, "maintenance_at", list(MaintenanceAt), "rules."))
    rules = replace(venue.rules, maintenance_at=at)
    if at is MaintenanceAt.ENTRY and rules.close_fee is CloseFee.MARK:
        # No venue is known that froze maintenance at entry and let a fee move with the mark.
        rules = replace(rules, close_fee=CloseFee.NONE)
    return replace(venue, rules=rules)


def _instrument(
    given: Mapping[str, Any],
    numbers: Mapping[str, Decimal],
    venue: Margining,
    kind: ContractKind,
    mode: MarginMode,
) -> Instrument:
    rules = venue.rules
    one_early = rules.liquidation_rounding is LiquidationRounding.ONE_TICK_EARLY
    if "tick" not in numbers or (one_early and mode is MarginMode.CROSS):
        rules = replace(rules, liquidation_rounding=LiquidationRounding.NONE)
    if "maintenance_margin_given" in numbers:
        rules = replace(rules, maintenance_at=MaintenanceAt.ENTRY, close_fee=CloseFee.NONE)
    fee = Ratio(numbers.get("fee_rate", ZERO))
    tiers = _tiers(given, numbers, venue)
    for tier in tiers:
        if tier.rate + fee >= ONE:
            raise CaseError(f"mmr: expected it below 1 with the fee, was {tier.rate + fee}")
    return _contract(kind, rules, fee, tiers, Price(numbers.get("tick", ONE)))


def _contract(
    kind: ContractKind,
    rules: VenueRules,
    fee: Ratio,
    tiers: tuple[RiskTier, ...],
    tick: Price,
) -> Instrument:
    smallest = Quantity(Decimal("1e-18"))
    return Instrument(SYMBOL, kind, "settle", tick, smallest, smallest, fee, tiers, rules)


def _tiers(
    given: Mapping[str, Any], numbers: Mapping[str, Decimal], venue: Margining
) -> tuple[RiskTier, ...]:
    match given.get("tiers"):
        case None:
            pass
        case list(rows):
            return _table(rows, venue)
        case str(named):
            return _listed(named, venue)
        case other:
            raise CaseError(f"tiers: expected rows [floor, cap, rate], was {_shown(other)}")
    if "maintenance_margin_given" in numbers:
        return _flat(ZERO, -numbers["maintenance_margin_given"])
    if "mmr" in numbers:
        return _flat(numbers["mmr"], numbers.get("mm_amount", ZERO))
    if "adjust_factor" in numbers and "leverage" in numbers:
        # HTX (formerly): adjust factor x value / leverage is what must be left.
        return _flat(numbers["adjust_factor"] / numbers["leverage"], ZERO)
    raise CaseError("mmr: expected a maintenance margin rate, or tiers, was missing")


def _listed(named: str, venue: Margining) -> tuple[RiskTier, ...]:
    """The tiers of a contract that the venue is known to list; its symbol ends the text."""
    symbol = named.rpartition(" ")[2]
    listed = venue.listing()
    if symbol not in listed:
        known = ", ".join(sorted(listed)) or "none of this venue"
        raise CaseError(
            f"tiers: expected rows [floor, cap, rate], or one of {known}, was {named!r}"
        )
    return listed[symbol].tiers


def _flat(rate: Decimal, deduction: Decimal) -> tuple[RiskTier, ...]:
    return (RiskTier(ZERO, _ENDLESS, Ratio(rate), Money(deduction), ONE),)


def _table(rows: list[object], venue: Margining) -> tuple[RiskTier, ...]:
    """Rows of floor, cap (null for none), rate and, if the venue names it, deduction."""
    tiers: list[RiskTier] = []
    for number, row in enumerate(rows):
        name = f"tiers.{number}"
        if not isinstance(row, list) or len(row) not in _TIER_COLUMNS:
            raise CaseError(f"{name}: expected [floor, cap, rate], was {_shown(row)}")
        floor, rate = _number(f"{name}.floor", row[0], ZERO), _number(f"{name}.mmr", row[2], ZERO)
        cap = _ENDLESS if row[1] is None else _number(f"{name}.cap", row[1])
        deduction = ZERO
        if len(row) == max(_TIER_COLUMNS):
            deduction = _number(f"{name}.deduction", row[3], ZERO)
        elif tiers and venue.deducts:
            deduction = tiers[-1].deduction + floor * (rate - tiers[-1].rate)
        tiers.append(RiskTier(floor, cap, Ratio(rate), Money(deduction), ONE))
    joined = all(low.cap == high.floor < high.cap for low, high in pairwise(tiers))
    if not tiers or tiers[0].floor != ZERO or tiers[-1].cap != _ENDLESS or not joined:
        raise CaseError("tiers: expected brackets that join, from 0 to one without a cap (null)")
    return tuple(tiers)


def _maintenance_only(instrument: Instrument, numbers: Mapping[str, Decimal]) -> Money:
    """What a notional demands, or contracts at a mark price."""
    size = numbers.get("contracts", ZERO) * numbers.get("contract_size", ONE)
    if "notional" in numbers:
        # A notional is a value already: as so many units at a price of 1 it stays one.
        size, at = numbers["notional"], ONE
    elif size and "mark" in numbers:
        at = numbers["mark"]
    else:
        raise CaseError("entry: expected a number, was missing")
    position = Position(
        SYMBOL,
        Side.LONG,
        Quantity(size),
        Price(at),
        MarginMode.ISOLATED,
        Money(ZERO),
        ONE,
        NotReported(),
    )
    bare = replace(instrument, rules=replace(instrument.rules, close_fee=CloseFee.NONE))
    return requirement(bare, position, Price(at))


def _backing(numbers: Mapping[str, Decimal], mode: MarginMode) -> Decimal:
    names = {
        MarginMode.ISOLATED: ("isolated_margin", "wallet_balance"),
        MarginMode.CROSS: ("wallet_balance", "account_value"),
    }[mode]
    for name in names:
        if name in numbers:
            return numbers[name]
    raise CaseError(f"{names[0]}: expected a number, was missing")


def _others(given: Mapping[str, Any], mode: MarginMode) -> list[object]:
    others = given.get("other_positions", [])
    if not isinstance(others, list):
        raise CaseError(f"other_positions: expected a list, was {_shown(others)}")
    if others and mode is MarginMode.ISOLATED:
        raise CaseError("other_positions: expected none, for an isolated position stands alone")
    return others


def _against(
    given: Mapping[str, Any], position: Position, mode: MarginMode
) -> tuple[Position, ...]:
    """The leg on the other side of the symbol, on the same risk tiers."""
    if "hedge_leg" not in given:
        return ()
    leg, where = given["hedge_leg"], "hedge_leg."
    if not isinstance(leg, dict):
        raise CaseError(f"hedge_leg: expected a position, was {_shown(leg)}")
    if mode is MarginMode.ISOLATED:
        raise CaseError("hedge_leg: expected none, for an isolated leg stands alone")
    _only(leg, frozenset({"side", "entry", "contracts", "contract_size", "mmr"}), where)
    numbers = {name: _number(name, leg[name], where=where) for name in leg if name in _NUMBERS}
    for name in ("entry", "contracts"):
        if name not in numbers:
            raise CaseError(f"{where}{name}: expected a number, was missing")
    side = Side(_one_of(leg, "side", list(Side), where))
    if side is position.side:
        raise CaseError(f"{where}side: expected the other side, was {side}")
    if numbers.get("mmr", given.get("mmr")) != given.get("mmr"):
        raise CaseError(f"{where}mmr: expected that of the position, was {numbers['mmr']}")
    size = numbers["contracts"] * numbers.get("contract_size", ONE)
    return (
        replace(position, side=side, quantity=Quantity(size), entry_price=Price(numbers["entry"])),
    )


def _other(number: int, given: object, own: Instrument) -> tuple[Decimal, Decimal]:
    """What another position of the wallet has gained at its mark, and what it requires."""
    where = f"other_positions.{number}."
    if not isinstance(given, dict):
        raise CaseError(f"{where[:-1]}: expected a position, was {_shown(given)}")
    _only(given, _OF_ANOTHER, where)
    numbers = {name: _number(name, given[name], where=where) for name in given if name in _NUMBERS}
    for name in ("entry", "mark", "contracts", "mmr"):
        if name not in numbers:
            raise CaseError(f"{where}{name}: expected a number, was missing")
    tiers = _flat(numbers["mmr"], numbers.get("mm_amount", ZERO))
    instrument = replace(own, tiers=tiers)
    position = Position(
        symbol=SYMBOL,
        side=Side(_one_of(given, "side", list(Side), where)),
        quantity=Quantity(numbers["contracts"] * numbers.get("contract_size", ONE)),
        entry_price=Price(numbers["entry"]),
        margin_mode=MarginMode.ISOLATED,
        isolated_margin=Money(ZERO),
        leverage=ONE,
        liquidation=NotReported(),
    )
    mark = Price(numbers["mark"])
    return _gain(instrument, position, mark), requirement(instrument, position, mark)


def _gain(instrument: Instrument, position: Position, price: Price) -> Money:
    return profit(instrument, position.side, position.quantity, position.entry_price, price)


# -- fields ----------------------------------------------------------------------------------


def _only(given: Mapping[str, Any], known: frozenset[str], where: str = "") -> None:
    for name in given:
        if name not in known:
            raise CaseError(f"{where}{name}: expected a known field, was unknown")


def _number(name: str, given: object, least: Decimal | None = None, where: str = "") -> Decimal:
    if not isinstance(given, Decimal) or not given.is_finite():
        raise CaseError(f"{where}{name}: expected a number, was {_shown(given)}")
    if given and abs(given.adjusted()) > _DIGITS_MAX:
        raise CaseError(f"{where}{name}: expected at most {_DIGITS_MAX} digits, was {given}")
    if least is None and name in _MAY_BE_NEGATIVE:
        return given
    if given < ZERO or (given == ZERO and least is None and name not in _MAY_BE_ZERO):
        raise CaseError(f"{where}{name}: expected a number above 0, was {given}")
    if name in _SHARES and given >= ONE:
        raise CaseError(f"{where}{name}: expected a share below 1, was {given}")
    return given


def _text(given: Mapping[str, Any], name: str, where: str = "") -> str:
    found = given.get(name)
    if not isinstance(found, str):
        was = "missing" if name not in given else _shown(found)
        raise CaseError(f"{where}{name}: expected a text, was {was}")
    return found


def _one_of(given: Mapping[str, Any], name: str, known: list[Any], where: str = "") -> str:
    found = given.get(name)
    if found not in known or not isinstance(found, str):
        was = "missing" if name not in given else _shown(found)
        raise CaseError(f"{where}{name}: expected {' or '.join(known)}, was {was}")
    return found


def _shown(given: object) -> str:
    return f"{given}" if isinstance(given, Decimal) else f"{given!r:.60}"
