"""The account of a seed: an isolated position, a book of cross ones, or both on one wallet."""

from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from random import Random

from bot.core.model import (
    CloseFee,
    ContractKind,
    Instrument,
    MaintenanceAt,
    MarginMode,
    MarginOnReduce,
    RestingStops,
    RiskTier,
    Side,
    VenueRules,
)
from bot.core.units import Money, Price, Quantity, Ratio, floor_to
from bot.exchange.paper.arithmetic import money_up, tier_of
from bot.exchange.paper.books import Resting
from bot.exchange.paper.depth import Depth, OrderBook
from bot.exchange.venues.binanceusdm import instruments
from tests.sim.pool import Listing, Pool, stake

D = Decimal

LEVERAGES = (3, 5, 8, 10, 15, 20, 25, 25, 35, 35, 50, 50)
LISTED = {
    "BTC/USDT:USDT": (20_000, 90_000),
    "ETH/USDT:USDT": (1_000, 4_000),
    "SOL/USDT:USDT": (20, 250),
    "XRP/USDT:USDT": (1, 3),
}
"""Real contracts, between which prices they begin."""


class Kind(StrEnum):
    """What sort of account a seed is about."""

    ALONE = "alone"
    BOOK = "book"
    MIXED = "mixed"


@dataclass(frozen=True, slots=True)
class Opening:
    """A position as it is opened; `beta` is what the policy says of its symbol."""

    instrument: Instrument
    side: Side
    margin_mode: MarginMode
    leverage: Decimal
    quantity: Quantity
    price: Price
    beta: Ratio

    @property
    def symbol(self) -> str:
        """Which contract it is in."""
        return self.instrument.symbol

    @property
    def notional(self) -> Decimal:
        """Its value when it is opened, in what its contract pays in."""
        if self.instrument.kind is ContractKind.INVERSE:
            return self.quantity / self.price
        return self.quantity * self.price

    @property
    def initial_margin(self) -> Money:
        """What must be free to open it."""
        return money_up(self.notional / self.leverage)


def draw_kind(seed: int) -> Kind:
    """Half of the seeds are about one isolated position."""
    return (Kind.ALONE, Kind.BOOK, Kind.ALONE, Kind.MIXED)[seed % 4]


def draw_resting(venue: Random) -> tuple[Resting, RestingStops]:
    """What resting stops mean to the venue, and what is written of it, which may be wrong."""
    resting = venue.choice((Resting.COEXIST,) * 3 + (Resting.RESERVE,) * 2 + (Resting.DISPLACE,))
    if resting is Resting.RESERVE:
        return resting, venue.choice((RestingStops.RESERVE,) * 2 + (RestingStops.COEXIST,))
    return resting, RestingStops.COEXIST


def told_of_stops(opening: Opening, said: RestingStops) -> Opening:
    """The same, with what the venue's rules say of resting stops."""
    instrument = opening.instrument
    rules = replace(instrument.rules, resting_stops=said)
    return replace(opening, instrument=replace(instrument, rules=rules))


def charged_at_bankruptcy(opening: Opening) -> Opening:
    """The same where a close fee on the worth at bankruptcy is part of the requirement (Bybit)."""
    instrument = opening.instrument
    rules = replace(instrument.rules, close_fee=CloseFee.BANKRUPTCY)
    return replace(opening, instrument=replace(instrument, rules=rules))


def with_a_largest_order(opening: Opening, random: Random) -> Opening:
    """The same, too large for one order at market: between two and five are needed."""
    instrument = opening.instrument
    least, share = 10 * instrument.quantity_min, D(f"{random.uniform(1.1, 4.9):.3f}")
    most = max(floor_to(opening.quantity / share, instrument.quantity_step), least)
    return replace(opening, instrument=replace(instrument, quantity_max=Quantity(most)))


def draw_openings(random: Random, kind: Kind) -> tuple[Opening, ...]:
    """The positions, the isolated one first."""
    leverage = D(random.choice(LEVERAGES if kind is Kind.ALONE else LEVERAGES[2:]))
    modes: list[MarginMode] = []
    if kind is not Kind.BOOK:
        modes += [MarginMode.ISOLATED]
    if kind is not Kind.ALONE:
        modes += [MarginMode.CROSS] * random.randint(2, 5 if kind is Kind.BOOK else 3)
    left = [*LISTED]
    openings = []
    for number, mode in enumerate(modes):
        instrument, price = _instrument(random, left, number)
        notional = D(round(10 ** random.uniform(3, 5.3)))
        quantity = _quantity(instrument, notional, price)
        most = tier_of(instrument, quantity * price).leverage_max
        openings.append(
            Opening(
                instrument=instrument,
                side=random.choice(list(Side)),
                margin_mode=mode,
                leverage=min(leverage, most),
                quantity=quantity,
                price=price,
                beta=Ratio(D(random.randint(5, 16)) / 10),
            )
        )
    return tuple(openings)


def in_coins(opening: Opening) -> Opening:
    """
    About the same position in a contract that pays in the coin, of which one is a few dollars.

    A contract is a dollar. What was a bracket of a risk tier in dollars is one in coins.
    """
    instrument, places = opening.instrument, -opening.price.adjusted()
    inverse = replace(
        instrument,
        symbol="COIN/USD:COIN",
        kind=ContractKind.INVERSE,
        settle="COIN",
        tick_size=Price(instrument.tick_size.scaleb(places)),
        quantity_step=Quantity(D(1)),
        quantity_min=Quantity(D(1)),
    )
    price = Price(opening.price.scaleb(places))
    dollars = Quantity(max(floor_to(opening.notional, D(1)), D(10)))
    most = tier_of(inverse, dollars / price).leverage_max
    return replace(
        opening,
        instrument=inverse,
        price=price,
        quantity=dollars,
        leverage=min(opening.leverage, most),
    )


def pools_of(openings: tuple[Opening, ...], wallet: Decimal) -> dict[str, Pool]:
    """What each position stands on when all have just been opened, by symbol."""
    together = {
        each.symbol: stake(
            Listing(each.instrument),
            each.side,
            each.quantity,
            each.price,
            each.price,
            each.beta,
        )
        for each in openings
        if each.margin_mode is MarginMode.CROSS
    }
    book = Pool(float(wallet), together)
    return {
        each.symbol: book
        if each.margin_mode is MarginMode.CROSS
        else Pool(
            float(each.initial_margin),
            {
                each.symbol: stake(
                    Listing(each.instrument),
                    each.side,
                    each.quantity,
                    each.price,
                    each.price,
                    D(1),
                )
            },
        )
        for each in openings
    }


def draw_depth(random: Random, opening: Opening, distance: float) -> Depth:
    """A book that is thin for the size of the position, and thinner in a crash."""
    return OrderBook(
        notional_calm=Money(D(round(float(opening.notional) * 10 ** random.uniform(0, 1.7)))),
        halving_move=Ratio(D(f"{distance * random.uniform(0.1, 0.6):.5f}")),
        memory_ms=random.choice((60_000, 300_000)),
        refill_ms=random.choice((2_000, 10_000, 40_000)),
        reach=Ratio(D(f"{max(min(distance * random.uniform(0.3, 1.0), 0.2), 0.005):.5f}")),
    )


def _instrument(random: Random, left: list[str], number: int) -> tuple[Instrument, Price]:
    if left and random.random() < 0.4:
        symbol = left.pop(0 if number == 0 else random.randrange(len(left)))
        low, high = LISTED[symbol]
        instrument = instruments()[symbol]
        tick = instrument.tick_size
        return instrument, Price(floor_to(D(random.uniform(low, high)), tick))
    fine = D(10) ** -random.randint(1, 6)
    price = Price(fine * random.randint(20_000, 900_000))
    rules = VenueRules(
        maintenance_at=random.choice(list(MaintenanceAt)),
        close_fee=CloseFee.MARK if random.random() < 0.5 else CloseFee.NONE,
        position_margin_step=random.choice((D("0.01"), D("0.00000001"))),
        margin_on_reduce=random.choice((*MarginOnReduce, MarginOnReduce.PRO_RATA)),
    )
    unit = D(10) ** -(price.adjusted() - 1)
    drawn = Instrument(
        symbol=f"S{number}/USDT:USDT",
        kind=ContractKind.LINEAR,
        settle="USDT",
        tick_size=Price(fine),
        quantity_step=Quantity(unit / 10),
        quantity_min=Quantity(unit / 10),
        taker_fee=Ratio(D(random.choice(("0", "0.0004", "0.0006")))),
        tiers=_tiers(random),
        rules=rules,
    )
    return drawn, price


def _tiers(random: Random) -> tuple[RiskTier, ...]:
    """One to four brackets with continuous deductions; the first takes the leverage drawn."""
    caps = sorted(D(random.randint(1, 400)) * 1_000 for _ in range(random.randint(0, 3)))
    table: list[RiskTier] = []
    floor, deduction, rate = D(0), D(0), D(random.randint(20, 60)) / 10_000
    for cap in (*dict.fromkeys(caps), D("Infinity")):
        table.append(RiskTier(floor, cap, Ratio(rate), Money(deduction), D(125)))
        higher = rate + D(random.randint(5, 60)) / 10_000
        deduction += cap * (higher - rate) if cap.is_finite() else D(0)
        floor, rate = cap, higher
    return tuple(table)


def _quantity(instrument: Instrument, notional: Decimal, price: Price) -> Quantity:
    step = instrument.quantity_step
    return Quantity(max(floor_to(notional / price, step), 10 * step))
