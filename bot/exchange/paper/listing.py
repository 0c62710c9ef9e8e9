"""What an exchange can be made of: contracts, books, coins, and what of them it refuses."""

from collections.abc import Mapping

from bot.core.model import ContractKind, Instrument
from bot.core.units import ONE, ZERO, Ratio
from bot.exchange.paper import arithmetic
from bot.exchange.paper.books import Books, Pledge
from bot.exchange.paper.depth import ENDLESS, Depth, OrderBook, Tape
from bot.exchange.paper.ladders import Ladder


def empty_books(
    listed: Mapping[str, Instrument],
    slippage: Ratio,
    depths: Mapping[str, Depth],
    ladder: Ladder,
    pledges: Mapping[str, Pledge],
) -> Books:
    """
    The books of an exchange without accounts.

    Raises `ValueError` for what it could not judge, `KeyError` for a symbol that is not listed.
    """
    for instrument in listed.values():
        arithmetic.check_listing(instrument)
    if len(currencies := sorted({each.settle for each in listed.values()})) > 1:
        raise ValueError(f"instruments: expected one settle currency, was {currencies}")
    if not ZERO <= slippage < ONE:
        raise ValueError(f"slippage: expected a share from 0 to below 1, was {slippage}")
    for symbol, depth in depths.items():
        if listed[symbol].kind is ContractKind.INVERSE and depth != ENDLESS:
            raise ValueError(f"{symbol}: expected endless depth of an inverse contract")
    for coin, pledge in pledges.items():
        if listed[pledge.symbol].kind is ContractKind.INVERSE:
            raise ValueError(f"{coin}: expected the mark of a linear contract")
        if not ZERO < pledge.weight <= ONE:
            raise ValueError(f"{coin}: expected a weight above 0 up to 1, was {pledge.weight}")
    return Books(
        instruments=dict(listed),
        depths={symbol: depths.get(symbol, ENDLESS) for symbol in listed},
        slippage=slippage,
        refuse_stops=False,
        ladder=ladder,
        pledges=dict(pledges),
        tapes={
            symbol: Tape(depth.memory_ms)
            for symbol, depth in depths.items()
            if isinstance(depth, OrderBook)
        },
    )
