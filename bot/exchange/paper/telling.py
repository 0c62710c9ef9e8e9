"""A liquidation in words: each step of the ladder with its numbers, a line a step."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import assert_never

from bot.core.units import ONE, ZERO, Money
from bot.exchange.paper.books import (
    CollateralTaken,
    LadderStep,
    OrdersCancelled,
    PositionStep,
    Rung,
)

_COARSE, _FINE = Decimal("0.01"), Decimal("0.00000001")

_DID = {
    Rung.NETTED: "netted",
    Rung.REDUCED: "reduced by",
    Rung.TAKEN_OVER: "taken over:",
}


def tell(steps: Iterable[LadderStep]) -> Iterator[str]:
    """
    A line for each step: when, what was left of what was required, and what was done.

    Amounts of money are in the settle currency. They and prices are rounded to hundredths from 1
    on.
    """
    for step in steps:
        at = datetime.fromtimestamp(step.at_ms / 1_000, UTC).isoformat(" ", "milliseconds")
        money = f"{_short(step.equity)} of {_short(step.requirement)} required"
        yield f"{at.removesuffix('+00:00')} UTC  {money}: {_what(step)}"


def _what(step: LadderStep) -> str:
    match step:
        case OrdersCancelled(client_ids=client_ids):
            return f"cancelled {', '.join(client_ids)}"
        case CollateralTaken():
            return (
                f"{_exact(step.amount)} {step.coin} taken at {_short(step.mark)}, "
                f"which gave {_short(step.received)}"
            )
        case PositionStep():
            return "; ".join(_deed(step))
        case _:
            assert_never(step)


def _deed(step: PositionStep) -> Iterator[str]:
    yield (
        f"{step.symbol} {step.side} {_DID[step.rung]} {_exact(step.quantity)} at "
        f"{_short(step.price)} with the mark at {_short(step.mark)}, {_exact(step.left)} left"
    )
    if step.fee:
        yield f"fee {_short(step.fee)}"
    if step.to_fund:
        yield f"insurance fund {'gained' if step.to_fund > ZERO else 'paid'} {_abs(step.to_fund)}"
    if step.deleveraged:
        yield f"{_exact(step.deleveraged)} filled by deleveraging others"


def _abs(amount: Money) -> str:
    return _short(abs(amount))


def _exact(quantity: Decimal) -> str:
    return f"{quantity.normalize():,f}"


def _short(number: Decimal) -> str:
    rounded = number.quantize(_COARSE if abs(number) >= ONE else _FINE)
    return f"{rounded.normalize():,f}"
