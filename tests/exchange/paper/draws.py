"""Positions of every kind that this exchange can judge, drawn at random."""

from dataclasses import replace
from decimal import Decimal

from hypothesis import strategies as st

from bot.core.model import (
    CloseFee,
    ContractKind,
    Instrument,
    MaintenanceAt,
    MarginOnReduce,
    RiskTier,
    Side,
    TierMeasure,
    VenueRules,
)
from bot.core.units import Money, Quantity, Ratio
from bot.exchange.paper import arithmetic
from tests.exchange.paper.build import D, contract

Case = tuple[Instrument, Side, Decimal, Decimal, Decimal]
"""Contract, side, quantity, entry price and margin."""


@st.composite
def tables(draw: st.DrawFn) -> tuple[RiskTier, ...]:
    rates = sorted(draw(st.lists(st.integers(1, 400), min_size=1, max_size=5, unique=True)))
    caps = sorted(
        draw(
            st.lists(
                st.integers(1, 3_000_000),
                min_size=len(rates) - 1,
                max_size=len(rates) - 1,
                unique=True,
            )
        )
    )
    table: list[RiskTier] = []
    floor, deduction, before = D(0), D(0), D(rates[0]) / 1000
    for rate, cap in zip(rates, [*map(D, caps), D("Infinity")], strict=True):
        deduction += floor * (D(rate) / 1000 - before)
        floor_here, floor, before = floor, cap, D(rate) / 1000
        table.append(RiskTier(floor_here, cap, Ratio(before), Money(deduction), D(125)))
    return tuple(table)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Of either kind, with tiers by value, or by quantity and then with cliffs."""
    measure = draw(st.sampled_from(TierMeasure))
    rules = VenueRules(
        draw(st.sampled_from(MaintenanceAt)),
        draw(st.sampled_from(CloseFee)),
        D("0.01"),
        MarginOnReduce.PRO_RATA,
        tier_measure=measure,
    )
    table = draw(tables())
    if measure is TierMeasure.QUANTITY:
        table = tuple(replace(tier, deduction=Money(D(0))) for tier in table)
    kind = draw(st.sampled_from(ContractKind))
    instrument = contract(rules=rules, table=table, taker_fee="0.0006", kind=kind)
    entry = D(draw(st.integers(1, 10_000_000))) / 100
    paid = D(draw(st.integers(1, 5_000_000)))
    quantity = round(paid / entry if kind is ContractKind.LINEAR else paid * entry, 3) or D(1)
    share = D(draw(st.integers(1, 1_500))) / 1000
    margin = arithmetic.value(instrument, Quantity(quantity), entry) * share
    return instrument, draw(st.sampled_from(Side)), quantity, entry, margin
