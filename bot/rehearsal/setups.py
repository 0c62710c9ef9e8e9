"""What a rehearsal starts from: an account, the positions it opens, and the venue it meets."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias

from bot.core.margin import value
from bot.core.model import Instrument, MarginMode, PositionMode, Side
from bot.core.units import ZERO, Money, Quantity, Ratio
from bot.exchange.paper.arithmetic import money_up
from bot.exchange.paper.depth import ENDLESS, Depth
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.prices import Charts, PathItem, Prices
from bot.rehearsal.bars import Bars
from bot.rehearsal.charts import recorded_charts
from bot.rehearsal.path import book_path, in_common

SLIPPAGE = Ratio(Decimal("0.0005"))
STEP = Ratio(Decimal("0.001"))


class SetupError(ValueError):
    """The positions asked for cannot be opened on these prices. One line for the user."""


@dataclass(frozen=True, slots=True)
class ByMargin:
    """The largest quantity whose initial margin is within `margin`."""

    margin: Money


@dataclass(frozen=True, slots=True)
class ByQuantity:
    """Just this quantity."""

    quantity: Quantity


Size: TypeAlias = ByMargin | ByQuantity


@dataclass(frozen=True, slots=True)
class Entry:
    """A position to open at the last price of its moment, in a contract by its unified symbol."""

    symbol: str
    side: Side
    leverage: Decimal
    size: Size
    margin_mode: MarginMode = MarginMode.ISOLATED


@dataclass(frozen=True, slots=True)
class Opening:
    """
    A position to open at the open of a bar of `bars`, at the last price.

    `depth` is what the venue's order book of the contract holds.
    """

    bars: Bars
    instrument: Instrument
    side: Side
    leverage: Decimal
    size: Size
    margin_mode: MarginMode = MarginMode.ISOLATED
    depth: Depth = ENDLESS

    @property
    def entry(self) -> Entry:
        """What is opened, whatever the prices come from."""
        return Entry(self.instrument.symbol, self.side, self.leverage, self.size, self.margin_mode)


@dataclass(frozen=True, slots=True)
class Setup:
    """
    An account to rehearse with: positions that share one wallet, and how the venue treats it.

    All positions are opened at the same moment, the first at or after `entry_at_ms` at which a
    bar of each of them opens. The wallet is given the margins of all and `reserve` beside.
    `latency_ms` is the time from a price to the effect of the guard's answer to it: half of it
    the price is on its way, half the request. `slippage` is the share by which market orders fill
    worse than last, `step` how far a price moves between two points of the path, `funding`
    whether recorded bills are paid. `position_mode` is that of the account: in hedge mode a symbol
    may be there twice, long and short.
    """

    openings: tuple[Opening, ...]
    reserve: Money
    entry_at_ms: int
    latency_ms: int = 250
    slippage: Ratio = SLIPPAGE
    step: Ratio = STEP
    stops_refused: bool = False
    funding: bool = True
    position_mode: PositionMode = PositionMode.ONE_WAY

    def __post_init__(self) -> None:
        """Raise `SetupError` for no position, or for two where the account can hold one."""
        if not self.openings:
            raise SetupError("positions: expected one or more, was none")
        for opening in self.openings:
            symbol = opening.instrument.symbol
            same = [each for each in self.openings if each.instrument.symbol == symbol]
            sides = {each.side for each in same}
            if len(same) > 1 and self.position_mode is PositionMode.ONE_WAY:
                raise SetupError(f"positions: expected {symbol} once, was {len(same)}x")
            if len(same) > len(sides):
                raise SetupError(f"positions: expected {symbol} once a side, was {len(same)}x")
            if any(each.bars != opening.bars for each in same):
                raise SetupError(f"positions: expected one file of prices for {symbol}, was two")

    @property
    def one_way_ms(self) -> int:
        """What every message takes, rounded up to a millisecond."""
        return -(-self.latency_ms // 2)

    @property
    def instruments(self) -> tuple[Instrument, ...]:
        """The contracts, in the order of the openings."""
        return tuple({each.instrument.symbol: each.instrument for each in self.openings}.values())

    @property
    def depths(self) -> dict[str, Depth]:
        """The order books by symbol."""
        return {opening.instrument.symbol: opening.depth for opening in self.openings}

    @property
    def charts(self) -> Charts:
        """The bars of the contracts, from before the entry too where they were recorded."""
        return recorded_charts(opening.bars for opening in self.openings)


def open_account(setup: Setup, machine: PaperMachine, account: str) -> Iterator[PathItem]:
    """
    Open the positions of `setup` on an empty `machine`, and the path from there on.

    Raises `DataError` where the bars have no time in common, `SetupError` for what the exchange
    refuses to open.
    """
    bars = {opening.bars.symbol: opening.bars for opening in setup.openings}
    recordings = in_common(list(bars.values()), setup.entry_at_ms)
    begins_ms = recordings[0].rows[0].open_at_ms
    first = {bars.symbol: bars.rows[0] for bars in recordings}
    machine.move(
        begins_ms, {symbol: Prices(row.mark.open, row.last.open) for symbol, row in first.items()}
    )
    entries = [each.entry for each in setup.openings]
    open_positions(entries, setup.reserve, setup.position_mode, machine, account)
    legs = [(each, _against(each.symbol, machine, account)) for each in recordings]
    return book_path(legs, setup.step, funding=setup.funding)


def _against(symbol: str, machine: PaperMachine, account: str) -> Side:
    """The side that a path is hardest on: of a long and a short that of the larger one."""
    held = machine.snapshot(account, machine.at_ms).positions
    return max(
        (each for each in held if each.symbol == symbol), key=lambda each: each.quantity
    ).side


def open_positions(
    entries: Iterable[Entry],
    reserve: Money,
    position_mode: PositionMode,
    machine: PaperMachine,
    account: str,
) -> None:
    """
    Open `entries` at the prices that `machine` has reached, all in the same moment.

    The wallet is given the margins of all and `reserve` beside. Raises `SetupError` for what the
    exchange refuses to open.
    """
    wanted = list(entries)
    try:
        margins = (_margin(entry, machine) for entry in wanted)
        machine.deposit(account, Money(sum(margins, ZERO) + reserve))
        if position_mode is PositionMode.HEDGE:
            machine.set_position_mode(account, position_mode, machine.at_ms)
        for entry in wanted:
            machine.open_position(
                account,
                entry.symbol,
                entry.side,
                quantity=_quantity(entry, machine),
                leverage=entry.leverage,
                margin_mode=entry.margin_mode,
                at_ms=machine.at_ms,
            )
    except ValueError as e:
        raise SetupError(str(e)) from e


def _margin(entry: Entry, machine: PaperMachine) -> Money:
    match entry.size:
        case ByMargin(margin):
            return margin
        case ByQuantity(quantity):
            instrument, price = (
                machine.instruments[entry.symbol],
                machine.quotes[entry.symbol].last,
            )
            return money_up(value(instrument, quantity, price) / entry.leverage)


def _quantity(entry: Entry, machine: PaperMachine) -> Quantity:
    match entry.size:
        case ByMargin(margin):
            return machine.quantity_for(entry.symbol, margin, entry.leverage)
        case ByQuantity(quantity):
            return quantity
