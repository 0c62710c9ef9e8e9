"""
The guard and the paper exchange, which share no formula, agree on where positions are liquidated.

Only here do the two meet: paper may not import the guard's arithmetic, nor the guard paper's.
"""

from dataclasses import dataclass, replace
from decimal import Decimal

from hypothesis import assume, given
from hypothesis import strategies as st

from bot.core import cross, margin
from bot.core.model import (
    ContractKind,
    HedgeRequirement,
    Instrument,
    MarginMode,
    NotReported,
    Position,
    PositionMode,
    Reported,
    Side,
)
from bot.core.units import Money, Price, Quantity, Ratio
from bot.exchange.paper import arithmetic
from bot.exchange.paper.books import Pledge
from bot.exchange.paper.ladders import WHOLE
from bot.exchange.paper.machine import PaperMachine
from tests.exchange.paper.build import (
    ALICE,
    ENTRY,
    MARK,
    MARK_WITH_FEE,
    ONE_TIER,
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
IN_COINS = tiers(("1", "0.004", "125"), ("5", "0.01", "50"), last=("0.05", "10"))


@dataclass(frozen=True)
class Wallet:
    """
    What one wallet backs. `legs` are contract, side and quantity.

    `coins` are collateral: the contract whose mark they are worth, and the amount.
    """

    mode: PositionMode
    listed: tuple[Instrument, ...]
    starts: tuple[Decimal, ...]
    legs: tuple[tuple[int, Side, Quantity], ...]
    coins: tuple[tuple[int, Decimal], ...]
    money: Money


@st.composite
def wallets(draw: st.DrawFn) -> Wallet:
    """Linear or inverse, in either position mode; linear ones also with coins beside money."""
    kind, mode = draw(st.sampled_from(ContractKind)), draw(st.sampled_from(PositionMode))
    linear = kind is ContractKind.LINEAR
    number = draw(st.integers(1, 4))
    listed, starts, legs, worth = [], [], [], D(0)
    for index in range(number):
        rules = replace(
            draw(st.sampled_from([MARK, MARK_WITH_FEE, ENTRY])),
            hedge_requirement=draw(st.sampled_from(HedgeRequirement)),
        )
        table = draw(st.sampled_from([THREE_TIERS, STEEP] if linear else [ONE_TIER, IN_COINS]))
        one = contract(f"S{index}", rules=rules, table=table, taker_fee="0.006", kind=kind)
        start = D(draw(st.integers(100, 100_000)))
        both = mode is PositionMode.HEDGE and draw(st.booleans())
        for side in Side if both else [draw(st.sampled_from(Side))]:
            size = draw(st.integers(1_000, 400_000))
            quantity = Quantity(round(size / start if linear else D(size), 3) or D("0.001"))
            legs.append((index, side, quantity))
            worth += arithmetic.value(one, quantity, start)
        listed.append(one)
        starts.append(start)
    share = D(draw(st.integers(11, 60))) / 100
    coins: tuple[tuple[int, Decimal], ...] = ()
    if linear and draw(st.booleans()):
        of = draw(st.integers(0, number - 1))
        coins = ((of, round(worth * draw(st.integers(1, 20)) / 100 / starts[of], 3)),)
    return Wallet(
        mode, tuple(listed), tuple(starts), tuple(legs), coins, Money(round(worth * share, 8))
    )


def on_exchange(wallet: Wallet) -> PaperMachine:
    pledges = [
        Pledge(f"C{of}", Ratio(D("0.9")), wallet.listed[of].symbol) for of, _ in wallet.coins
    ]
    machine = PaperMachine(wallet.listed, Ratio(D(0)), ladder=WHOLE, pledges=pledges)
    machine.deposit(ALICE, wallet.money)
    machine.move(
        T0,
        {
            one.symbol: prices(start)
            for one, start in zip(wallet.listed, wallet.starts, strict=True)
        },
    )
    if wallet.mode is PositionMode.HEDGE:
        machine.set_position_mode(ALICE, wallet.mode, T0)
    for (of, amount), pledge in zip(wallet.coins, pledges, strict=True):
        assert wallet.listed[of].symbol == pledge.symbol
        machine.deposit_coin(ALICE, pledge.coin, amount)
    for index, side, quantity in wallet.legs:
        enter(
            machine,
            side,
            str(quantity),
            "10",
            symbol=wallet.listed[index].symbol,
            margin_mode=MarginMode.CROSS,
        )
    return machine


@given(wallets())
def test_the_joint_distance_is_where_the_exchange_takes_the_book(wallet: Wallet) -> None:
    """All marks go against the account by the guard's distance: a hair less, a hair more."""
    machine = on_exchange(wallet)
    snapshot, quotes = machine.snapshot(ALICE, T0), machine.quotes
    beta = Ratio(D(1))
    book = cross.faced(
        cross.Book(
            snapshot.wallet_balance,
            tuple(
                cross.Leg(machine.instruments[each.symbol], each, quotes[each.symbol].mark, beta)
                for each in snapshot.positions
            ),
            tuple(
                cross.Pledge(
                    each.symbol, each.balance * each.weight, quotes[each.symbol].mark, beta
                )
                for each in snapshot.collateral
            ),
        )
    )
    found = cross.joint_liquidation(book)
    assume(isinstance(found, cross.LiquidatesAfter) and D("0.0001") < found.shock < D("0.99"))
    assert isinstance(found, cross.LiquidatesAfter)
    hair = D("1e-7")
    twin = PaperMachine.from_json(machine.to_json())
    for exchange, shock, survives in (
        (machine, found.shock * (1 - hair), True),
        (twin, found.shock * (1 + hair), False),
    ):
        there = {each.position.symbol: each.price_after(shock) for each in book.legs}
        there |= {each.symbol: each.price_after(shock) for each in book.pledges}
        exchange.move(T0 + 1_000, {symbol: prices(at) for symbol, at in there.items()})
        assert bool(exchange.snapshot(ALICE, T0).positions) is survives
