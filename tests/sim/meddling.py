"""What a user does besides orders of a kind the guard knows: he grows, withdraws, levers."""

from dataclasses import replace
from decimal import Decimal

from bot.core.model import MarginMode
from bot.core.units import Money, Price, Quantity, floor_to
from bot.exchange.paper.arithmetic import MONEY_STEP, money_up, tier_of
from bot.exchange.paper.books import NOTHING, Holding, slot_of
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.ports import AccountChanged
from tests.sim.case import ACCOUNT
from tests.sim.truth import Truth

ENTRY_STEP = Decimal("0.00000001")
"""Venues report the average of several entries to so many digits."""


def meddle(kind: str, machine: PaperMachine, truth: Truth, share: Decimal) -> str:
    """Do what `kind` says to the position, as much as `share` says and the wallet lets."""
    book, symbol = machine._books.accounts[ACCOUNT], truth.symbol
    held = book.holdings[slot_of(book, symbol, truth.side)]
    match kind:
        case "user_grows":
            return _grow(machine, symbol, held, share)
        case "user_withdraws":
            return _withdraw(machine, share)
        case "user_levers":
            return _lever(machine, symbol, held, share)
        case _:
            raise ValueError(f"no user does {kind}")


def _grow(machine: PaperMachine, symbol: str, held: Holding, share: Decimal) -> str:
    books = machine._books
    instrument, price = books.instruments[symbol], books.quotes[symbol].last
    most = machine.quantity_for(symbol, Money(_free(machine) * share / 2), held.leverage)
    more = min(most, held.quantity)
    quantity = Quantity(held.quantity + more)
    is_too_much = tier_of(instrument, quantity * price).leverage_max < held.leverage
    if more < instrument.quantity_min or is_too_much:
        return "refused"
    is_alone = held.margin_mode is MarginMode.ISOLATED
    margin = money_up(more * price / held.leverage) if is_alone else NOTHING
    entry = floor_to((held.quantity * held.entry_price + more * price) / quantity, ENTRY_STEP)
    grown = replace(
        held,
        quantity=quantity,
        entry_price=Price(entry),
        margin=Money(held.margin + margin),
    )
    _pay(machine, margin)
    _change(machine, symbol, grown)
    return f"{more} more"


def _withdraw(machine: PaperMachine, share: Decimal) -> str:
    amount = Money(floor_to(_free(machine) * share / 2, MONEY_STEP))
    machine._books.deposited = Money(machine._books.deposited - amount)
    _pay(machine, amount)
    machine._tell(ACCOUNT, AccountChanged())
    return f"{amount:f}"


def _lever(machine: PaperMachine, symbol: str, held: Holding, share: Decimal) -> str:
    books = machine._books
    notional = held.quantity * books.quotes[symbol].last
    most = tier_of(books.instruments[symbol], notional).leverage_max
    leverage = min(max(floor_to(held.leverage * 2 * share, Decimal(1)), Decimal(1)), most)
    _change(machine, symbol, replace(held, leverage=leverage))
    if _free(machine) > 0:
        return f"{leverage}x"
    _change(machine, symbol, held)
    return "refused"


def _free(machine: PaperMachine) -> Money:
    return machine.snapshot(ACCOUNT, machine.at_ms).free


def _pay(machine: PaperMachine, amount: Money) -> None:
    book = machine._books.accounts[ACCOUNT]
    book.wallet = Money(book.wallet - amount)


def _change(machine: PaperMachine, symbol: str, held: Holding) -> None:
    book = machine._books.accounts[ACCOUNT]
    book.holdings[slot_of(book, symbol, held.side)] = held
    machine._tell(ACCOUNT, AccountChanged())
