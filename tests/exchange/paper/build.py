"""Contracts, machines and shorthand for the tests of the paper exchange."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from bot.core.model import (
    CloseFee,
    ContractKind,
    Instrument,
    MaintenanceAt,
    MarginMode,
    MarginOnReduce,
    NotReported,
    Position,
    Reported,
    RiskTier,
    Side,
    VenueRules,
)
from bot.core.units import Money, Price, Quantity, Ratio
from bot.exchange.paper.depth import Depth
from bot.exchange.paper.ladders import GATE, Ladder
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.prices import Prices

D = Decimal
BTC, ETH = "BTCUSDT", "ETHUSDT"
ALICE, BOB = "alice", "bob"
T0 = 1_584_000_000_000

MARK = VenueRules(MaintenanceAt.MARK, CloseFee.NONE, D("0.01"), MarginOnReduce.PRO_RATA)
ENTRY = VenueRules(MaintenanceAt.ENTRY, CloseFee.NONE, D("0.01"), MarginOnReduce.PRO_RATA)
RETAINED = replace(MARK, margin_on_reduce=MarginOnReduce.RETAINED)
MARK_WITH_FEE = VenueRules(MaintenanceAt.MARK, CloseFee.MARK, D("0.01"), MarginOnReduce.PRO_RATA)


def tiers(*brackets: tuple[str, str, str], last: tuple[str, str]) -> tuple[RiskTier, ...]:
    """Brackets (cap, rate, leverage_max) and the open-ended one, with continuous deductions."""
    table: list[RiskTier] = []
    floor, rate_before, deduction = D(0), D(0), D(0)
    for cap, rate, leverage_max in (*brackets, ("Infinity", *last)):
        deduction += floor * (D(rate) - (rate_before if table else D(rate)))
        table.append(RiskTier(floor, D(cap), Ratio(D(rate)), Money(deduction), D(leverage_max)))
        floor, rate_before = D(cap), D(rate)
    return tuple(table)


ONE_TIER = tiers(last=("0.005", "125"))
THREE_TIERS = tiers(("50000", "0.004", "125"), ("250000", "0.01", "50"), last=("0.05", "10"))


def contract(
    symbol: str = BTC,
    *,
    rules: VenueRules = MARK,
    table: Sequence[RiskTier] = ONE_TIER,
    taker_fee: str = "0",
    tick_size: str = "0.01",
    kind: ContractKind = ContractKind.LINEAR,
) -> Instrument:
    """A contract; one unit of an inverse one is worth one dollar, and settled in bitcoin."""
    return Instrument(
        symbol=symbol,
        kind=kind,
        settle="USDT" if kind is ContractKind.LINEAR else "BTC",
        tick_size=Price(D(tick_size)),
        quantity_step=Quantity(D("0.001")),
        quantity_min=Quantity(D("0.001")),
        taker_fee=Ratio(D(taker_fee)),
        tiers=tuple(table),
        rules=rules,
    )


def machine_with(
    *instruments: Instrument,
    price: str = "50000",
    slippage: str = "0",
    deposit: str = "10000",
    depths: Mapping[str, Depth] | None = None,
    ladder: Ladder = GATE,
    fund: str = "0",
) -> PaperMachine:
    """A machine with an account `alice`, `fund` to insure it, and all prices at `price`."""
    machine = PaperMachine(instruments, Ratio(D(slippage)), depths=depths or {}, ladder=ladder)
    machine.endow(Money(D(fund)))
    machine.deposit(ALICE, Money(D(deposit)))
    for instrument in instruments:
        move(machine, price, symbol=instrument.symbol, at_ms=T0)
    machine.take_notices()
    return machine


def prices(mark: str | Decimal, last: str | Decimal | None = None) -> Prices:
    """`mark`, and `last` at the same price unless told otherwise."""
    return Prices(Price(D(mark)), Price(D(mark if last is None else last)))


def move(
    machine: PaperMachine,
    mark: str | Decimal,
    last: str | Decimal | None = None,
    *,
    symbol: str = BTC,
    at_ms: int = T0 + 1_000,
) -> None:
    """Move `mark`, and `last` to the same price unless told otherwise."""
    machine.move(at_ms, {symbol: prices(mark, last)})


def enter(
    machine: PaperMachine,
    side: Side = Side.LONG,
    quantity: str = "1",
    leverage: str = "10",
    *,
    account: str = ALICE,
    symbol: str = BTC,
    margin_mode: MarginMode = MarginMode.ISOLATED,
) -> None:
    """Open a position now."""
    machine.open_position(
        account,
        symbol,
        side,
        quantity=Quantity(D(quantity)),
        leverage=D(leverage),
        at_ms=machine.at_ms,
        margin_mode=margin_mode,
    )


def position_of(machine: PaperMachine, account: str = ALICE) -> Position:
    """The only position of the account."""
    (position,) = machine.snapshot(account, machine.at_ms).positions
    return position


def reported(machine: PaperMachine, account: str = ALICE) -> Decimal:
    """The reported liquidation price of the only position."""
    match position_of(machine, account).liquidation:
        case Reported(price):
            return price
        case NotReported():
            raise AssertionError("no liquidation price was reported")


def total(machine: PaperMachine) -> Decimal:
    """All money in the books but `deposited`."""
    books = machine.ledger()
    return books.wallets + books.margins + books.insurance_fund + books.fees + books.market
