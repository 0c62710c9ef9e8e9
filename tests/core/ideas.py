"""A trade to plan, of which a test changes what it is about."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

from bot.core.model import Position, Side
from bot.core.planning import Account, Edge, FundingTerms, Idea, Plan, plan
from bot.core.sizing import CannotReach
from bot.core.units import Money, Price, Ratio
from bot.testing import builders as build

D = Decimal
HOUR_MS = 3_600_000

IDEA = Idea(
    side=Side.LONG,
    entry_price=Price(D(50_000)),
    stop_price=Price(D(48_500)),
    risk=Ratio(D("0.01")),
    slippage=Ratio(D("0.0005")),
    atr=Price(D(750)),
    daily_move=Ratio(D("0.03")),
    funding=FundingTerms(Ratio(D("0.0001")), 8 * HOUR_MS),
    holding_ms=24 * HOUR_MS,
    edge=Edge(Ratio(D("0.55")), D("1.5")),
    shock=Ratio(D("0.1")),
)
"""A long, 3 % and 2 ATRs to its stop; every check of it passes at 10x on 10,000 USDT."""


def idea(**changed: Any) -> Idea:
    return replace(IDEA, **changed)


def account(wallet: int | str = 10_000, *positions: Position) -> Account:
    return Account(Money(D(wallet)), positions)


def planned(
    thought: Idea = IDEA,
    leverage: int | str = 10,
    *,
    held: Account | None = None,
    **rules: Any,
) -> Plan:
    """The plan, on an instrument with one tier of 0.5 % unless `rules` say otherwise."""
    made = plan(build.instrument(**rules), held or account(), thought, D(leverage))
    assert not isinstance(made, CannotReach)
    return made
