"""
The guard and the paper exchange, which share no formula, agree on where positions are liquidated.

Only here do the two meet: paper may not import the guard's arithmetic, nor the guard paper's.
"""

from decimal import Decimal

from hypothesis import assume, given
from hypothesis import strategies as st

from bot.core import cross, margin
from bot.core.model import (
    Instrument,
    MarginMode,
    NotReported,
    Position,
    Reported,
    Side,
)
from bot.core.units import Money, Price, Quantity, Ratio
from bot.exchange.paper import arithmetic
from bot.exchange.paper.ladders import WHOLE
from bot.exchange.paper.machine import PaperMachine
from tests.exchange.paper.build import (
    ALICE,
    ENTRY,
    MARK,
    MARK_WITH_FEE,
    T0,
    THREE_TIERS,
    D,
    contract,
    enter,
    position_of,
    prices,
    tiers,
)
from tests.exchange.paper.draws import Case, cases


def position(case: Case) -> Position:
    instrument, side, quantity, entry, backing = case
    return Position(
        symbol=instrument.symbol,
        side=side,
        quantity=Quantity(quantity),
        entry_price=Price(entry),
        margin_mode=MarginMode.ISOLATED,
        isolated_margin=Money(backing),
        leverage=D(10),
        liquidation=NotReported(),
    )


@given(cases())
def test_both_find_the_same_liquidation_price_or_none(case: Case) -> None:
    """Of linear and inverse contracts, under every rule of fee, valuation and tiers."""
    instrument, side, quantity, entry, backing = case
    ours = arithmetic.liquidation_price(
        instrument, side, Quantity(quantity), Price(entry), Money(backing)
    )
    match margin.liquidation(instrument, position(case)):
        case margin.LiquidatesAt(price):
            assert abs(price - ours) <= max(instrument.tick_size, price / 10**12)
        case margin.NoLiquidation():
            assert ours <= 0 or not ours.is_finite()


@given(cases(), st.integers(10, 1_200))
def test_what_the_exchange_shows_is_within_a_tick_of_what_the_guard_finds(
    case: Case, thousandths: int
) -> None:
    """And a machine liquidates there: not a tick before, surely a tick beyond."""
    instrument, side, quantity, entry, _ = case
    wallet = arithmetic.money_up(arithmetic.value(instrument, Quantity(quantity), entry)) * 3
    machine = PaperMachine([instrument], Ratio(D(0)), ladder=WHOLE)
    machine.deposit(ALICE, Money(wallet))
    machine.move(T0, {instrument.symbol: prices(entry)})
    # More than is required at entry, whichever tier it is in, and less than 125x.
    tier = arithmetic.tier_held(instrument, Quantity(quantity), Price(entry), entry)
    leverage = 1 / (tier.rate + instrument.taker_fee + D(thousandths) / 1_000)
    enter(machine, side, str(quantity), str(leverage), symbol=instrument.symbol)
    tick = instrument.tick_size
    held = position_of(machine)
    found = margin.liquidation(instrument, held)
    if isinstance(found, margin.NoLiquidation):
        assert held.liquidation == NotReported()
        return
    assert isinstance(held.liquidation, Reported)
    shown = held.liquidation.price
    assert abs(shown - found.price) <= tick
    before, beyond = shown + side.sign * tick, shown - side.sign * tick
    assume(side.sign * (entry - before) >= 0 and beyond > 0)
    machine.move(T0 + 1_000, {instrument.symbol: prices(before)})
    assert machine.snapshot(ALICE, T0).positions
    machine.move(T0 + 2_000, {instrument.symbol: prices(beyond)})
    assert machine.snapshot(ALICE, T0).positions == ()


# -- cross ------------------------------------------------------------------------------------

STEEP = tiers(("30000", "0.01", "100"), last=("0.09", "100"))
Leg = tuple[Instrument, Side, Decimal, Decimal]


@st.composite
def books_of_legs(draw: st.DrawFn) -> list[Leg]:
    """Contract, side, quantity and price, of linear positions on one wallet."""
    found = []
    for number in range(draw(st.integers(1, 5))):
        rules = draw(st.sampled_from([MARK, MARK_WITH_FEE, ENTRY]))
        table = draw(st.sampled_from([THREE_TIERS, STEEP]))
        listed = contract(f"S{number}", rules=rules, table=table, taker_fee="0.006")
        price = D(draw(st.integers(100, 100_000)))
        quantity = round(D(draw(st.integers(1_000, 400_000))) / price, 3) or D("0.001")
        found.append((listed, draw(st.sampled_from(Side)), quantity, price))
    return found


@given(books_of_legs(), st.integers(11, 60))
def test_the_joint_distance_is_where_the_exchange_takes_the_book(
    legs: list[Leg], hundredths: int
) -> None:
    """All marks go against their positions by the guard's distance: a hair less, a hair more."""
    wallet = sum((leg[2] * leg[3] for leg in legs), D(0)) * hundredths / 100
    machine = PaperMachine([leg[0] for leg in legs], Ratio(D(0)), ladder=WHOLE)
    machine.deposit(ALICE, Money(round(wallet, 8)))
    machine.move(T0, {listed.symbol: prices(price) for listed, _, _, price in legs})
    for listed, side, quantity, _ in legs:
        enter(
            machine,
            side,
            str(quantity),
            "10",
            symbol=listed.symbol,
            margin_mode=MarginMode.CROSS,
        )
    snapshot = machine.snapshot(ALICE, T0)
    marks = {listed.symbol: price for listed, _, _, price in legs}
    book = cross.Book(
        snapshot.wallet_balance,
        tuple(
            cross.Leg(
                machine.instruments[each.symbol],
                each,
                Price(marks[each.symbol]),
                beta=Ratio(D(1)),
            )
            for each in snapshot.positions
        ),
    )
    found = cross.joint_liquidation(book)
    assume(isinstance(found, cross.LiquidatesAfter) and found.shock < D("0.99"))
    assert isinstance(found, cross.LiquidatesAfter)

    def shocked(by: Decimal) -> dict[str, Decimal]:
        return {each.position.symbol: each.price_after(by) for each in book.legs}

    hair = D("1e-9")
    twin = PaperMachine.from_json(machine.to_json())
    for exchange, shock, survives in (
        (machine, found.shock * (1 - hair), True),
        (twin, found.shock * (1 + hair), False),
    ):
        exchange.move(T0 + 1_000, {symbol: prices(at) for symbol, at in shocked(shock).items()})
        assert bool(exchange.snapshot(ALICE, T0).positions) is survives
