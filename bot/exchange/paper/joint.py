"""
The cross positions of one account: one wallet backs them all, and they are liquidated together.

With W the wallet and, for each cross position, the side's sign s, the quantity q, the entry price
E and the mark price p, the account's cross book is liquidated as soon as

    W + sum of s q (p - E)  <=  sum of (n rate - deduction + q p close_fee)

where n, rate, deduction and close_fee are those of `arithmetic`, for each position its own. All
marks count as they are at that moment; the price that is displayed for one of them keeps the
others where they are. Source: the formulas the venues publish (Binance, Hyperliquid, OKX).
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from fractions import Fraction

from bot.core.model import Instrument, MaintenanceAt, MarginMode
from bot.core.units import ZERO, Money, Price
from bot.exchange.paper import arithmetic
from bot.exchange.paper.books import AccountBook, Books, Holding
from bot.exchange.paper.way import END, START, Way


def cross(book: AccountBook) -> dict[str, Holding]:
    """The account's cross positions by symbol, in the order of their opening."""
    return {
        symbol: held
        for symbol, held in book.holdings.items()
        if held.margin_mode is MarginMode.CROSS
    }


def spare(books: Books, wallet: Decimal, holdings: Mapping[str, Holding]) -> Decimal:
    """Equity minus requirement of cross `holdings` at the present marks; not positive is spent."""
    return wallet + sum(
        _spare_of(books.instruments[symbol], held, books.quotes[symbol].mark)
        for symbol, held in holdings.items()
    )


def backing(books: Books, book: AccountBook, symbol: str) -> Money:
    """What backs the cross position in `symbol` while all other marks stay where they are."""
    others = {each: held for each, held in cross(book).items() if each != symbol}
    return Money(spare(books, book.wallet, others))


def free(books: Books, book: AccountBook) -> Money:
    """
    What the wallet would let go: less the initial margins of cross positions and their loss.

    Initial margins are notional at mark / leverage, rounded up; a profit does not count.
    """
    unrealised, bound = ZERO, ZERO
    for symbol, held in cross(book).items():
        mark = books.quotes[symbol].mark
        unrealised += arithmetic.profit(held.side, held.quantity, held.entry_price, mark)
        bound += arithmetic.money_up(held.quantity * mark / held.leverage)
    return Money(max(ZERO, book.wallet + min(ZERO, unrealised) - bound))


def spent_at(books: Books, book: AccountBook, way: Way, here: Fraction) -> Iterator[Fraction]:
    """
    The first place from `here` on where the cross book is to be liquidated, if there is any.

    What is spare is linear in the fraction of the way between the places where a position
    changes its tier, so the place is exact.
    """
    legs = [
        (books.instruments[symbol], held, way.starts[symbol].mark, way.ends[symbol].mark)
        for symbol, held in book.holdings.items()
        if held.margin_mode is MarginMode.CROSS
    ]
    if not legs:
        return
    borders = sorted(place for leg in legs for place in _borders(*leg) if place > here)
    low = here
    for high in (*borders, END):
        middle = (low + high) / 2
        share = Decimal(middle.numerator) / middle.denominator
        start, slope = Decimal(book.wallet), ZERO
        for instrument, held, mark_start, mark_end in legs:
            weight, constant = _line(
                instrument, held, mark_start + (mark_end - mark_start) * share
            )
            start += weight * mark_start + constant
            slope += weight * (mark_end - mark_start)
        if low == START and high == END and start > ZERO and start + slope > ZERO:
            return  # nearly always; without fractions that is quick
        exact_start, exact_slope = Fraction(start), Fraction(slope)
        if exact_start + exact_slope * low <= 0:
            yield low
            return
        if exact_start + exact_slope * high <= 0:
            yield -exact_start / exact_slope
            return
        low = high


def _spare_of(instrument: Instrument, held: Holding, mark: Price) -> Decimal:
    """The position's unrealised profit minus its requirement."""
    weight, constant = _line(instrument, held, mark)
    return weight * mark + constant


def _line(instrument: Instrument, held: Holding, mark: Decimal) -> tuple[Decimal, Decimal]:
    """Profit minus requirement as weight x mark + constant, in the tier that holds at `mark`."""
    sign, quantity = held.side.sign, held.quantity
    fee, entry_notional = arithmetic.close_fee(instrument), quantity * held.entry_price
    match instrument.rules.maintenance_at:
        case MaintenanceAt.MARK:
            tier = arithmetic.tier_of(instrument, quantity * mark)
            weight = sign * quantity - quantity * (tier.rate + fee)
            return weight, tier.deduction - sign * entry_notional
        case MaintenanceAt.ENTRY:
            tier = arithmetic.tier_of(instrument, entry_notional)
            maintenance = entry_notional * tier.rate - tier.deduction
            return sign * quantity - quantity * fee, -maintenance - sign * entry_notional


def _borders(
    instrument: Instrument, held: Holding, start: Price, end: Price
) -> Iterator[Fraction]:
    """Where on the way from `start` to `end` the notional at mark passes a border of its tiers."""
    if instrument.rules.maintenance_at is MaintenanceAt.ENTRY:
        return
    low, high = sorted((held.quantity * start, held.quantity * end))
    for tier in instrument.tiers[:-1]:
        if low < tier.cap < high:
            border = Fraction(tier.cap) / Fraction(held.quantity)
            yield (border - Fraction(start)) / (Fraction(end) - Fraction(start))
