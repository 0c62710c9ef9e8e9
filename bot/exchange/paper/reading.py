"""What the exchange tells of its books."""

from decimal import Decimal

from bot.core.actions import AtMarket
from bot.core.model import (
    AccountSnapshot,
    Collateral,
    Instrument,
    MarginMode,
    NotReported,
    Position,
    Reported,
    StopOrder,
)
from bot.core.units import ZERO, Money
from bot.exchange.paper import arithmetic, joint
from bot.exchange.paper.books import AccountBook, Books, CoinLedger, Holding, Ledger
from bot.exchange.paper.executing import held_against
from bot.exchange.paper.levels import Levels
from bot.exchange.paper.orders import (
    AGAINST,
    CloseAll,
    Conditional,
    Order,
    Trigger,
    TriggerBy,
    is_reducing,
)
from bot.exchange.paper.tracks import displayed_prices


def snapshot(books: Books, levels: Levels, account: str, at_ms: int) -> AccountSnapshot:
    """One complete read; liquidation prices rounded as the venue shows them."""
    book = books.accounts[account]
    tracks = levels.tracks(books, account, book)
    prices = {id(each): price for each, price in displayed_prices(books, book, tracks)}
    positions = []
    for slot in sorted(book.holdings):
        held = book.holdings[slot]
        match held.margin_mode:
            case MarginMode.ISOLATED:
                level = levels.of(books, account, slot, held)
            case MarginMode.CROSS:
                level = prices[id(held)]
        positions.append(_position(books.instruments[held.symbol], held, level))
    return AccountSnapshot(
        taken_at_ms=at_ms,
        position_mode=book.mode,
        wallet_balance=book.wallet,
        free=joint.free(books, book),
        positions=tuple(positions),
        stops=stops(book),
        collateral=tuple(
            Collateral(coin, balance, books.pledges[coin].weight, books.pledges[coin].symbol)
            for coin, balance in sorted(joint.backing_coins(book).items())
        ),
    )


def stops(book: AccountBook) -> tuple[StopOrder, ...]:
    """
    Stop-market orders on the mark price that wait; nothing else protects as a stop does.

    One that closes all of a position has the size of what it would close.
    """
    found = []
    for order in book.open_orders.values():
        match order:
            case Conditional(client_id, Trigger(price, TriggerBy.MARK, passage), sends) if (
                passage is AGAINST[sends.direction.closes] and _is_at_market(sends)
            ):
                quantity = held_against(book, sends)
                if isinstance(sends, Order):
                    quantity = sends.quantity
                elif not quantity:
                    continue
                found.append(
                    StopOrder(
                        sends.symbol,
                        sends.direction.closes,
                        client_id,
                        quantity,
                        price,
                        is_reducing(sends),
                    )
                )
            case _:
                pass
    return tuple(found)


def _is_at_market(order: Order | CloseAll) -> bool:
    return isinstance(order, CloseAll) or isinstance(order.pricing, AtMarket)


def equity(books: Books, book: AccountBook) -> Money:
    """Wallet, coins without haircut, position margins and unrealised profit at the marks."""
    profits = (
        arithmetic.profit(
            books.instruments[held.symbol],
            held.side,
            held.quantity,
            held.entry_price,
            books.quotes[held.symbol].mark,
        )
        for held in book.holdings.values()
    )
    margins = (held.margin for held in book.holdings.values())
    coins = (
        arithmetic.money_down(balance * books.quotes[books.pledges[coin].symbol].mark)
        for coin, balance in book.coins.items()
    )
    return Money(book.wallet + sum(coins) + sum(margins) + sum(profits))


def ledger(books: Books) -> Ledger:
    """Where all money is."""
    accounts = books.accounts.values()
    margins = (held.margin for book in accounts for held in book.holdings.values())
    return Ledger(
        deposited=books.deposited,
        wallets=Money(sum((book.wallet for book in accounts), ZERO)),
        margins=Money(sum(margins, ZERO)),
        insurance_fund=books.insurance_fund,
        fees=books.fees,
        market=books.market,
        coins={
            coin: CoinLedger(amount, sum((book.coins.get(coin, ZERO) for book in accounts), ZERO))
            for coin, amount in books.coins_deposited.items()
        },
    )


def _position(instrument: Instrument, held: Holding, level: Decimal) -> Position:
    is_ever_reached = level > ZERO and level.is_finite()
    return Position(
        symbol=held.symbol,
        side=held.side,
        quantity=held.quantity,
        entry_price=held.entry_price,
        margin_mode=held.margin_mode,
        isolated_margin=held.margin,
        leverage=held.leverage,
        liquidation=Reported(arithmetic.reported_price(instrument, held.side, level))
        if is_ever_reached
        else NotReported(),
    )
