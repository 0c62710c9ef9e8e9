"""
What a venue said of a contract when its prices were fetched, and how a file keeps it.

A replay uses it: of a contract that is not known otherwise, and for tiers that are newer.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from typing import Any, TypeAlias

from bot.core.model import ContractKind, Instrument, RiskTier, VenueRules
from bot.core.units import ZERO, Money, Price, Quantity, Ratio


class NoContract(Exception):
    """The tiers of a contract are nowhere to be had. One line for the user."""

    def __init__(self, symbol: str, known: Iterable[str]) -> None:
        """No tiers for `symbol`; those of `known` contracts would be there."""
        self.expected = f"a known contract ({', '.join(sorted(known))}), or data with its tiers"
        super().__init__(f"{symbol}: expected {self.expected}")


@dataclass(frozen=True, slots=True)
class Listing:
    """
    A contract as its venue lists it.

    `tiers` are its risk tiers, in the settle currency; empty where the venue does not publish
    them.
    """

    tick_size: Price
    quantity_step: Quantity
    quantity_min: Quantity
    taker_fee: Ratio
    tiers: tuple[RiskTier, ...]


@dataclass(frozen=True, slots=True)
class NotListed:
    """A file says nothing about the contract."""


NOT_LISTED = NotListed()

Listed: TypeAlias = Listing | NotListed


def contract(
    symbol: str, listed: Listed, known: Mapping[str, Instrument], rules: VenueRules
) -> Instrument:
    """
    The contract `symbol`: steps, fee and tiers as its file has them, else as `known`.

    `rules` are those of the venue that it is held at. Raises `NoContract`.
    """
    if isinstance(listed, Listing) and (listed.tiers or symbol in known):
        return Instrument(
            symbol=symbol,
            kind=kind_of(symbol),
            settle=symbol.rpartition(":")[2],
            tick_size=listed.tick_size,
            quantity_step=listed.quantity_step,
            quantity_min=listed.quantity_min,
            taker_fee=listed.taker_fee,
            tiers=listed.tiers or known[symbol].tiers,
            rules=rules,
        )
    if symbol in known:
        return known[symbol]
    raise NoContract(symbol, known)


def kind_of(symbol: str) -> ContractKind:
    """Whether the contract of a unified symbol pays in its base, as BTC/USD:BTC does."""
    base, settle = symbol.split("/", maxsplit=1)[0], symbol.rpartition(":")[2]
    return ContractKind.INVERSE if settle == base else ContractKind.LINEAR


def unit_of(symbol: str) -> str:
    """What quantities of the contract of a unified symbol are counted in."""
    base, _, paid = symbol.partition("/")
    return paid.partition(":")[0] if kind_of(symbol) is ContractKind.INVERSE else base


def listing_json(listing: Listing) -> dict[str, Any]:
    """A listing with plain JSON values; numbers keep their exact text."""
    return {
        "tick_size": f"{listing.tick_size:f}",
        "quantity_step": f"{listing.quantity_step:f}",
        "quantity_min": f"{listing.quantity_min:f}",
        "taker_fee": f"{listing.taker_fee:f}",
        "tiers": [
            {
                "cap": str(tier.cap),
                "maintenance_margin_rate": f"{tier.rate:f}",
                "max_leverage": f"{tier.leverage_max:f}",
            }
            for tier in listing.tiers
        ],
    }


def listing_of(said: Any) -> Listing:
    """The listing that `listing_json` wrote; raises `ValueError` for anything else."""
    try:
        steps = ("tick_size", "quantity_step", "quantity_min")
        tick_size, step, least = (_above_zero(said[name]) for name in steps)
        rows = [
            (
                _above_zero(tier["cap"]),
                _above_zero(tier["maintenance_margin_rate"]),
                _above_zero(tier["max_leverage"]),
            )
            for tier in said["tiers"]
        ]
        fee = Ratio(Decimal(said["taker_fee"]))
    except (KeyError, TypeError, InvalidOperation) as e:
        raise ValueError(f"listing: expected steps, fee and tiers, was {said!r}") from e
    if not ZERO <= fee < 1:
        raise ValueError(f"taker_fee: expected a share of one, was {fee}")
    return Listing(Price(tick_size), Quantity(step), Quantity(least), fee, tiers_of(rows))


def tiers_of(rows: list[tuple[Decimal, Decimal, Decimal]]) -> tuple[RiskTier, ...]:
    """
    Risk tiers of caps, maintenance margin rates and maximum leverages, from the lowest on.

    Deductions are those that make the maintenance margin continuous, as venues publish them.
    The last tier is endless: what is larger cannot be opened. Raises `ValueError` where caps or
    rates fall.
    """
    for (cap, rate, _), (next_cap, next_rate, _) in pairwise(rows):
        if next_cap <= cap or next_rate < rate:
            raise ValueError(f"tiers: expected caps and rates that rise, was {next_cap} at {rate}")
    tiers: list[RiskTier] = []
    floor, deduction, rate_before = ZERO, ZERO, ZERO
    for number, (cap, rate, leverage_max) in enumerate(rows, start=1):
        if tiers:
            deduction += floor * (rate - rate_before)
        endless = Decimal("Infinity") if number == len(rows) else cap
        tiers.append(RiskTier(floor, endless, Ratio(rate), Money(deduction), leverage_max))
        floor, rate_before = cap, rate
    return tuple(tiers)


def _above_zero(text: Any) -> Decimal:
    number = Decimal(text)
    if not number > ZERO:
        raise ValueError(f"listing: expected a number above 0, was {text!r}")
    return number
