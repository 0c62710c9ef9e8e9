"""
The steps of a liquidation, as the exchange's ladder has them, at the present prices.

Cancel orders, turn collateral into money, net a long against a short, reduce, take over the rest.
How it reduces is data.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

from bot.core.model import ContractKind, MaintenanceAt, MarginMode, TierMeasure
from bot.core.units import ZERO, Quantity, Ratio, ceil_to, floor_to
from bot.exchange.paper import arithmetic, joint
from bot.exchange.paper.books import Books, OrdersCancelled, OrderState, Rung, slot_of
from bot.exchange.paper.estate import Estate
from bot.exchange.paper.ladders import (
    AtOnce,
    Cancels,
    Keeps,
    ShareFirst,
    TiersDown,
    UntilCompliant,
)
from bot.exchange.paper.orders import is_reducing, sent_by
from bot.exchange.paper.settling import end_order
from bot.exchange.paper.trading import NONE, priced
from bot.exchange.ports import Notice


def liquidate(
    books: Books, account: str, slots: tuple[str, ...], margin_mode: MarginMode
) -> Iterator[tuple[str, Notice]]:
    """
    Go down the ladder until the rest of what is spent is safe or gone; what to tell to whom.

    `slots` are one isolated position, or all cross positions of the account.
    """
    estate = Estate(books, account, slots, margin_mode)
    _cancel(estate)
    if margin_mode is MarginMode.CROSS:
        estate.take_coins()
    if not (books.ladder.nets and _net(estate) and not estate.is_spent()):
        if estate.is_beyond_backstop():
            estate.surplus = Keeps()
            _take_over(estate)
        else:
            _reduce(estate)
    _tidy(estate)
    for slot in sorted(estate.touched):
        yield account, estate.touched[slot]
    yield from estate.deleveraged


def _cancel(estate: Estate) -> None:
    ladder, ids = estate.books.ladder, tuple(estate.book.open_orders)
    isolated = estate.mode is MarginMode.ISOLATED
    match ladder.cancels_isolated if isolated else ladder.cancels_cross:
        case Cancels.NOTHING:
            ids = ()
        case Cancels.CONTRACT:
            symbols = {estate.book.holdings[slot].symbol for slot in estate.all}
            ids = tuple(each for each in ids if estate.book.orders[each].symbol in symbols)
        case Cancels.ACCOUNT:
            pass
    if ids:
        step = OrdersCancelled(estate.books.at_ms, *estate.figures(), ids)
        estate.book.liquidation.append(step)
    for client_id in ids:
        end_order(estate.books, estate.book, client_id, OrderState.CANCELLED)


def _net(estate: Estate) -> bool:
    """Close what a cross long and a short of a contract have in common; whether any did."""
    held = {slot: estate.book.holdings[slot] for slot in estate.slots()}
    pairs = [
        (slot, other)
        for slot, other in pairwise(sorted(held))
        if held[slot].symbol == held[other].symbol
    ]
    for pair in pairs:
        common = Quantity(min(held[slot].quantity for slot in pair))
        for slot in pair:
            estate.close_at_mark(slot, common)
    return bool(pairs)


def _reduce(estate: Estate) -> None:
    match estate.books.ladder.reduction:
        case AtOnce():
            _take_over(estate)
        case TiersDown(tiers):
            _step_down(estate, tiers)
        case UntilCompliant(headroom):
            _sell_until_compliant(estate, headroom)
        case ShareFirst() as rule:
            _sell_a_share_first(estate, rule)


def _step_down(estate: Estate, tiers: int) -> None:
    stepped = False
    while not stepped or estate.is_spent():
        for slot in estate.by_requirement():
            if (slice_ := _above(estate, slot, tiers)) > ZERO:
                estate.slice(slot, slice_, Rung.REDUCED)
                stepped = True
                break
        else:
            _take_over(estate)
            return


def _sell_until_compliant(estate: Estate, headroom: Ratio) -> None:
    for slot in estate.by_requirement():
        if (enough := _enough(estate, slot, headroom)) > ZERO:
            estate.slice(slot, enough, Rung.REDUCED)
            return
    _take_over(estate)


def _sell_a_share_first(estate: Estate, rule: ShareFirst) -> None:
    begun = False
    while estate.slots() and (not begun or estate.is_spent()):
        slot = estate.by_requirement()[0]
        held, book = estate.book.holdings[slot], estate.book
        quantity, rung = held.quantity, Rung.TAKEN_OVER
        if estate.worth(held) > rule.above and estate.books.at_ms >= book.whole_until_ms:
            step = estate.books.instruments[held.symbol].quantity_step
            quantity = Quantity(min(quantity, ceil_to(quantity * rule.share, step)))
            book.whole_until_ms = estate.books.at_ms + rule.whole_ms
            rung = Rung.REDUCED if quantity < held.quantity else rung
        estate.slice(slot, quantity, rung)
        begun = True


def _take_over(estate: Estate) -> None:
    for slot in estate.slots():
        estate.slice(slot, estate.book.holdings[slot].quantity, Rung.TAKEN_OVER)


def _tidy(estate: Estate) -> None:
    """No order outlives the position that it would reduce."""
    gone = [slot for slot in estate.all if slot not in estate.book.holdings]
    for client_id, resting in list(estate.book.open_orders.items()):
        order = sent_by(resting)
        slot = slot_of(estate.book, order.symbol, order.direction.closes)
        if slot in gone and is_reducing(order):
            end_order(estate.books, estate.book, client_id, OrderState.CANCELLED)


def _above(estate: Estate, slot: str, tiers: int) -> Quantity:
    """What of a position is above the cap so many tiers down; nothing where there is none."""
    held = estate.book.holdings[slot]
    instrument, mark = estate.books.instruments[held.symbol], estate.mark(held)
    tier = arithmetic.tier_held(instrument, held.quantity, held.entry_price, mark)
    index = instrument.tiers.index(tier) - tiers
    if index < 0:
        return NONE
    rules, cap = instrument.rules, instrument.tiers[index].cap
    at = mark if rules.maintenance_at is MaintenanceAt.MARK else held.entry_price
    match rules.tier_measure, instrument.kind:
        case TierMeasure.QUANTITY, _:
            most = cap
        case TierMeasure.VALUE, ContractKind.LINEAR:
            most = cap / at
        case TierMeasure.VALUE, ContractKind.INVERSE:
            most = cap * at
    left = floor_to(most, instrument.quantity_step)
    return Quantity(held.quantity - left) if left > ZERO else NONE


def _enough(estate: Estate, slot: str, headroom: Ratio) -> Quantity:
    """The least that makes the rest compliant with that headroom; nothing where no part does."""
    held = estate.book.holdings[slot]
    instrument = estate.books.instruments[held.symbol]
    step = instrument.quantity_step
    whole = int(held.quantity / step)
    # Between two of these what is spare is a straight line: there can be one root.
    tiers = range(1, len(instrument.tiers))
    corners = {int(_above(estate, slot, each) / step) for each in tiers} | {0, whole}
    low = 0
    for high in sorted(corners)[1:]:
        if _complies(estate, slot, Quantity(high * step), headroom):
            while high - low > 1:
                middle = (low + high) // 2
                if _complies(estate, slot, Quantity(middle * step), headroom):
                    high = middle  # noqa: PLW2901 - the bracket closes
                else:
                    low = middle
            enough = Quantity(high * step)
            return NONE if estate.is_last(slot, enough) else enough
        low = high
    return NONE


def _complies(estate: Estate, slot: str, sold: Quantity, headroom: Ratio) -> bool:
    """Whether the rest would be safe, were so much sold at market and its fee paid."""
    held = estate.book.holdings[slot]
    instrument = estate.books.instruments[held.symbol]
    price = priced(estate.books, held.symbol, held.side, sold)
    profit = arithmetic.profit(instrument, held.side, sold, held.entry_price, price)
    backing = estate.backing() + profit - estate.clearance(held, sold, price)
    rest = [estate.book.holdings[each] for each in estate.slots() if each != slot]
    if sold < held.quantity:
        rest.append(replace(held, quantity=Quantity(held.quantity - sold)))
    legs = joint.legs_of(estate.books, estate.book.mode, rest)
    spare = joint.spare(backing, legs, estate.books.quotes)
    equity = joint.equity(backing, legs, estate.books.quotes)
    return spare > ZERO and spare >= headroom * (equity - spare)
