"""What Hypothesis draws for the core: instruments with any tiers, and positions on them."""

from dataclasses import replace
from decimal import Decimal
from itertools import pairwise

from hypothesis import assume
from hypothesis import strategies as st

from bot.core.cross import Book, Leg
from bot.core.model import (
    CloseFee,
    ContractKind,
    Instrument,
    MaintenanceAt,
    MarginMode,
    Position,
    Side,
    TierMeasure,
)
from bot.core.units import Money, Price, Ratio
from bot.testing import builders as build


def decimals(low: str, high: str, places: int) -> st.SearchStrategy[Decimal]:
    return st.decimals(Decimal(low), Decimal(high), places=places)


@st.composite
def instruments(draw: st.DrawFn) -> Instrument:
    """One to four tiers, continuous or by quantity, both valuations, all closing fees."""
    rates = sorted(draw(st.lists(decimals("0.001", "0.2", 4), min_size=1, max_size=4)))
    gaps = draw(
        st.lists(decimals("50", "200000", 2), min_size=len(rates) - 1, max_size=len(rates) - 1)
    )
    floors = [sum(gaps[:count], Decimal(0)) for count in range(len(rates))]
    measure = draw(st.sampled_from(TierMeasure))
    table = build.tiers(*zip(floors, rates, strict=True))
    if measure is TierMeasure.QUANTITY:
        table = tuple(replace(tier, deduction=Money(Decimal(0))) for tier in table)
    made = build.instrument(
        tick_size=draw(st.sampled_from(["0.01", "0.1", "5"])),
        margin_step=draw(st.sampled_from(["0.000001", "0.01", "1"])),
        taker_fee=draw(decimals("0", "0.001", 5)),
        maintenance_at=draw(st.sampled_from(MaintenanceAt)),
        close_fee=draw(st.sampled_from(CloseFee)),
        risk_tiers=table,
    )
    return replace(made, rules=replace(made.rules, tier_measure=measure))


@st.composite
def positions(draw: st.DrawFn) -> Position:
    """Longs and shorts from 100x to margined beyond their whole value."""
    entry = draw(decimals("0.5", "70000", 4))
    quantity = draw(decimals("0.001", "50", 3))
    share = draw(st.one_of(decimals("0.01", "0.3", 4), decimals("0.3", "1.5", 3)))
    return build.position(
        side=draw(st.sampled_from(Side)),
        quantity=quantity,
        entry_price=entry,
        margin=(quantity * entry * share).quantize(Decimal("0.00000001")),
    )


@st.composite
def holdings(draw: st.DrawFn) -> tuple[Instrument, Position]:
    """
    Linear and inverse positions under every rule that venues differ in, tables that jump too.

    The brackets lie around the size of the position, in what they measure.
    """
    kind = draw(st.sampled_from(ContractKind))
    entry = draw(decimals("0.5", "70000", 4))
    face = draw(decimals("1", "900000", 0))
    quantity = face if kind is ContractKind.INVERSE else (face / entry).quantize(Decimal("1e-6"))
    quantity = max(quantity, Decimal("1e-6"))
    value = quantity / entry if kind is ContractKind.INVERSE else quantity * entry
    measure = draw(st.sampled_from(TierMeasure))
    size = value if measure is TierMeasure.VALUE else quantity
    rates = sorted(draw(st.lists(decimals("0.001", "0.2", 4), min_size=1, max_size=4)))
    joints = len(rates) - 1
    shares = sorted(
        draw(st.lists(decimals("0.5", "2", 3), min_size=joints, max_size=joints, unique=True))
    )
    floors = [Decimal(0), *((size * share).quantize(Decimal("1e-12")) for share in shares)]
    assume(all(low < high for low, high in pairwise(floors)))
    table = build.tiers(*zip(floors, rates, strict=True))
    if measure is TierMeasure.QUANTITY or draw(st.booleans()):
        table = tuple(replace(tier, deduction=Money(Decimal(0))) for tier in table)
    instrument = build.instrument(
        kind=kind,
        tick_size=draw(st.sampled_from(["0.01", "0.1", "5"])),
        margin_step=draw(st.sampled_from(["0.00000001", "0.01"])),
        taker_fee=draw(decimals("0", "0.001", 5)),
        maintenance_at=draw(st.sampled_from(MaintenanceAt)),
        close_fee=draw(st.sampled_from(CloseFee)),
        risk_tiers=table,
    )
    share = draw(decimals("0.005", "0.3", 4) | decimals("0.3", "1.5", 3))
    position = build.position(
        side=draw(st.sampled_from(Side)),
        quantity=quantity,
        entry_price=entry,
        margin=(value * share).quantize(Decimal("1e-10")),
    )
    return replace(instrument, rules=replace(instrument.rules, tier_measure=measure)), position


@st.composite
def books(draw: st.DrawFn) -> Book:
    """
    One to four cross positions, long and short, that gained or lost up to 30 %.

    From a wallet that owes more than it has to one that covers everything.
    """
    legs = []
    for number in range(draw(st.integers(1, 4))):
        symbol = f"COIN{number}USDT"
        position = draw(positions())
        mark = (position.entry_price * (1 + draw(decimals("-0.3", "0.3", 3)))).quantize(
            Decimal("0.0001")
        )
        legs.append(
            Leg(
                replace(draw(instruments()), symbol=symbol),
                replace(
                    position,
                    symbol=symbol,
                    margin_mode=MarginMode.CROSS,
                    isolated_margin=Money(Decimal(0)),
                ),
                Price(mark),
                Ratio(draw(st.sampled_from(BETAS) | decimals("0.01", "3", 2))),
            )
        )
    gross = sum((leg.position.quantity * leg.mark_price for leg in legs), Decimal(0))
    share = draw(decimals("-0.1", "0.5", 4) | decimals("0.5", "3", 3))
    return Book(Money((gross * share).quantize(Decimal("0.00000001"))), tuple(legs))


BETAS = [Decimal(0), Decimal(1), Decimal(1)]
