"""What Hypothesis draws for the core: instruments with any tiers, and positions on them."""

from decimal import Decimal

from hypothesis import strategies as st

from bot.core.model import Instrument, MaintenanceAt, Position, Side
from bot.testing import builders as build


def decimals(low: str, high: str, places: int) -> st.SearchStrategy[Decimal]:
    return st.decimals(Decimal(low), Decimal(high), places=places)


@st.composite
def instruments(draw: st.DrawFn) -> Instrument:
    """One to four continuous tiers, both valuations, with and without the closing fee."""
    rates = sorted(draw(st.lists(decimals("0.001", "0.2", 4), min_size=1, max_size=4)))
    gaps = draw(
        st.lists(decimals("50", "200000", 2), min_size=len(rates) - 1, max_size=len(rates) - 1)
    )
    floors = [sum(gaps[:count], Decimal(0)) for count in range(len(rates))]
    return build.instrument(
        tick_size=draw(st.sampled_from(["0.01", "0.1", "5"])),
        margin_step=draw(st.sampled_from(["0.000001", "0.01", "1"])),
        taker_fee=draw(decimals("0", "0.001", 5)),
        maintenance_at=draw(st.sampled_from(MaintenanceAt)),
        close_fee_in_maintenance=draw(st.booleans()),
        risk_tiers=build.tiers(*zip(floors, rates, strict=True)),
    )


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
