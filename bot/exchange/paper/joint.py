"""
What is liquidated together: an isolated position alone, or all cross positions of an account.

With W what backs them and, for each position, the direction d, the worth v and the worth at entry
V of `arithmetic`, they are liquidated as soon as

    W + sum of d (v - V) + sum of b p w  <=  sum of requirements

with b the balance, p the mark price and w the weight of each coin that is collateral beside W.
All marks count as they are at that moment; the price that is displayed for one cross position
keeps the others where they are. W is an isolated position's margin, or the wallet. Of a cross
long and a short of one contract the venue's rules say what they need together. Source: the
formulas the venues publish (Binance, Hyperliquid, OKX; Gate and Kraken for the larger leg).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

from bot.core.model import HedgeRequirement, Instrument, MarginMode, PositionMode, Side
from bot.core.units import ZERO, Money, Quantity
from bot.exchange.paper import arithmetic
from bot.exchange.paper.arithmetic import Terms
from bot.exchange.paper.books import AccountBook, Books, Holding, Quote


@dataclass(frozen=True, slots=True)
class Leg:
    """A position and how much of it has a requirement: less than all where a hedge counts."""

    instrument: Instrument
    held: Holding
    charged: Quantity


def cross(book: AccountBook) -> dict[str, Holding]:
    """The account's cross positions by slot, in the order of their opening."""
    return {
        slot: held for slot, held in book.holdings.items() if held.margin_mode is MarginMode.CROSS
    }


def legs_of(books: Books, mode: PositionMode, holdings: Iterable[Holding]) -> list[Leg]:
    """Positions that are liquidated together, each with what of it needs margin."""
    legs = [Leg(books.instruments[held.symbol], held, held.quantity) for held in holdings]
    match mode:
        case PositionMode.ONE_WAY:
            return legs
        case PositionMode.HEDGE:
            return [_hedged(books, leg, legs) for leg in legs]


def spare(backing: Decimal, legs: Iterable[Leg], quotes: Mapping[str, Quote]) -> Decimal:
    """Equity minus requirement at the present marks; not positive is spent."""
    return backing + sum(
        gain_at(leg, mark) - required_at(leg, mark)
        for leg in legs
        for mark in (quotes[leg.held.symbol].mark,)
    )


def equity(backing: Decimal, legs: Iterable[Leg], quotes: Mapping[str, Quote]) -> Decimal:
    """What backs the positions, with their profits and losses at the present marks."""
    return backing + sum(gain_at(leg, quotes[leg.held.symbol].mark) for leg in legs)


def backing_coins(book: AccountBook) -> dict[str, Decimal]:
    """The account's balances of other coins, as far as it lets them back its cross positions."""
    return book.coins if book.counts_coins else {}


def pledged(books: Books, book: AccountBook) -> Decimal:
    """What the account's coins count as collateral at the present marks."""
    counted = ZERO
    for coin, balance in backing_coins(book).items():
        pledge = books.pledges[coin]
        counted += balance * books.quotes[pledge.symbol].mark * pledge.weight
    return counted


def gain_at(leg: Leg, mark: Decimal) -> Decimal:
    """The position's unrealised profit, not rounded."""
    held = leg.held
    return arithmetic.gain(leg.instrument, held.side, held.quantity, held.entry_price, mark)


def required_at(leg: Leg, mark: Decimal) -> Decimal:
    """What the charged part of the position needs."""
    if not leg.charged:
        return ZERO
    worth = arithmetic.value(leg.instrument, leg.charged, mark)
    needed = terms_at(leg, mark)
    return worth * needed.rate + needed.constant


def displayed_price(
    books: Books, book: AccountBook, holdings: Iterable[Holding], wallet: Decimal, shown: Holding
) -> Decimal:
    """
    Where the cross position `shown`, one of `holdings`, is liquidated if no other mark moves.

    A long and a short of one contract move together and share one price, the nearer of two; a
    coin that is worth its mark moves with it too. Not above zero or infinite where there is none.
    """
    legs = legs_of(books, book.mode, holdings)
    here = [leg for leg in legs if leg.held.symbol == shown.symbol]
    elsewhere = [leg for leg in legs if leg.held.symbol != shown.symbol]
    backing = spare(wallet, elsewhere, books.quotes) + pledged(books, book)
    mark = books.quotes[shown.symbol].mark
    coins = coins_worth(books, book, shown.symbol)
    if len(here) > 1 or coins:
        return _nearest(here, coins, backing - coins * mark, mark)
    (leg,) = here
    return price_alone(leg, backing)


def price_alone(leg: Leg, backing: Decimal) -> Decimal:
    """Where a position is liquidated that alone moves with its mark, with all that backs it."""
    held = leg.held
    return arithmetic.liquidation_price_of(
        leg.instrument,
        held.side,
        held.quantity,
        held.entry_price,
        margin=_own_margin(leg),
        backing=backing,
    )


def free(books: Books, book: AccountBook) -> Money:
    """What the wallet would let go: no more than it has, nor than is available."""
    return Money(max(ZERO, min(book.wallet, available(books, book))))


def available(books: Books, book: AccountBook) -> Money:
    """
    What could become the initial margin of cross positions: wallet and counted coins.

    Less the initial margins there are (notional at mark / leverage, rounded up) and less what
    all cross positions together have lost; a profit does not count.
    """
    unrealised, bound = ZERO, ZERO
    for held in cross(book).values():
        instrument, mark = books.instruments[held.symbol], books.quotes[held.symbol].mark
        unrealised += arithmetic.profit(
            instrument, held.side, held.quantity, held.entry_price, mark
        )
        worth = arithmetic.value(instrument, held.quantity, mark)
        bound += arithmetic.money_up(worth / held.leverage)
    counted = arithmetic.money_down(pledged(books, book)) if book.coins else ZERO
    return Money(book.wallet + counted + min(ZERO, unrealised) - bound)


def _hedged(books: Books, leg: Leg, legs: list[Leg]) -> Leg:
    """The leg with what of it is charged beside the other one of its contract."""
    for other in legs:
        if other.held.symbol == leg.held.symbol and other is not leg:
            mine, theirs = leg.held.quantity, other.held.quantity
            larger = _size(leg) > _size(other)
            match leg.instrument.rules.hedge_requirement:
                case HedgeRequirement.BOTH_LEGS:
                    return leg
                case HedgeRequirement.LARGER_LEG:
                    charged = mine if larger else ZERO
                case HedgeRequirement.NET:
                    charged = max(mine - theirs, ZERO)
            return Leg(leg.instrument, leg.held, Quantity(charged))
    return leg


def _size(leg: Leg) -> tuple[Quantity, Decimal, Side]:
    """What tells the larger leg from the smaller one, which are worth the same unit at mark."""
    held = leg.held
    paid = arithmetic.value(leg.instrument, held.quantity, held.entry_price)
    return held.quantity, paid, held.side


def coins_worth(books: Books, book: AccountBook, symbol: str) -> Decimal:
    """What the coins that are worth the mark of `symbol` count for each unit of that price."""
    return sum(
        (
            balance * books.pledges[coin].weight
            for coin, balance in backing_coins(book).items()
            if books.pledges[coin].symbol == symbol
        ),
        ZERO,
    )


def _nearest(legs: list[Leg], coins: Decimal, backing: Decimal, mark: Decimal) -> Decimal:
    """
    The nearest price at which legs of one contract, and coins worth its price, are spent.

    Everything is linear in the worth of one unit, between the worths at which a leg passes a
    border of its tiers. (Coins are worth the price of linear contracts only.)
    """
    instrument, one = legs[0].instrument, Quantity(Decimal(1))
    unit = arithmetic.value(instrument, one, mark)
    borders = {
        tier.cap / leg.charged
        for leg in legs
        for tier in instrument.tiers[:-1]
        if leg.charged and not arithmetic.is_tier_fixed(instrument)
    }
    edges = [ZERO, *sorted(borders), Decimal("Infinity")]
    found = []
    for low, high in pairwise(edges):
        inside = low + 1 if high.is_infinite() else (low + high) / 2
        constant, weight = backing, coins
        for leg in legs:
            way = arithmetic.direction(instrument, leg.held.side)
            paid = arithmetic.value(instrument, leg.held.quantity, leg.held.entry_price)
            constant, weight = constant - way * paid, weight + way * leg.held.quantity
            if leg.charged:
                needed = terms_at(leg, arithmetic.price_at(instrument, one, inside))
                constant, weight = constant - needed.constant, weight - leg.charged * needed.rate
        if weight and low < -constant / weight <= high:
            found.append(-constant / weight)
    if not found:
        return ZERO
    return arithmetic.price_at(instrument, one, min(found, key=lambda each: abs(each - unit)))


def _own_margin(leg: Leg) -> Decimal:
    """What its bankruptcy is reckoned from: a cross position's is its initial margin (Bybit)."""
    held = leg.held
    if held.margin_mode is MarginMode.ISOLATED:
        return held.margin
    return arithmetic.value(leg.instrument, leg.charged, held.entry_price) / held.leverage


def terms_at(leg: Leg, mark: Decimal) -> Terms:
    """What the charged part of the position needs within the tier that it has at `mark`."""
    held, instrument = leg.held, leg.instrument
    tier = arithmetic.tier_held(instrument, leg.charged, held.entry_price, mark)
    return arithmetic.terms_in(
        instrument, tier, held.side, leg.charged, held.entry_price, _own_margin(leg)
    )
