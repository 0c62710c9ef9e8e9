"""Coins that back cross positions: counted with a haircut, and worth what their mark says."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.model import Collateral, MarginMode, Reported, Side
from bot.core.units import Money, Price, Ratio
from bot.exchange.paper.books import CollateralTaken, Pledge, PositionStep
from bot.exchange.paper.ladders import WHOLE
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.ports import Refused
from tests.exchange.paper.build import (
    ALICE,
    BTC,
    ETH,
    T0,
    D,
    contract,
    enter,
    position_of,
    prices,
    total,
)

LONG, SHORT = Side.LONG, Side.SHORT
CROSS = MarginMode.CROSS
USDC = "USDCUSDT"
PLEDGES = (Pledge("BTC", Ratio(D("0.9")), BTC), Pledge("USDC", Ratio(D("0.95")), USDC))


def exchange(wallet: str = "0", btc: str = "0", usdc: str = "0", fund: str = "0") -> PaperMachine:
    """Alice with money and coins; BTC and ETH at 50,000, a dollar at 1."""
    machine = PaperMachine(
        [contract(), contract(ETH), contract(USDC)], Ratio(D(0)), pledges=PLEDGES
    )
    machine.endow(Money(D(fund)))
    machine.deposit(ALICE, Money(D(wallet)))
    machine.move(T0, {BTC: prices("50000"), ETH: prices("50000"), USDC: prices("1")})
    machine.deposit_coin(ALICE, "BTC", D(btc))
    machine.deposit_coin(ALICE, "USDC", D(usdc))
    return machine


def test_a_coin_backs_a_cross_position_with_its_haircut_and_cannot_be_spent() -> None:
    """10,000 dollars count 9,500: nine tenths of a 10x position of 2, and nothing isolated."""
    machine = exchange(usdc="10000")
    snapshot = machine.snapshot(ALICE, T0)
    assert snapshot.collateral == (Collateral("USDC", D(10_000), Ratio(D("0.95")), USDC),)
    assert snapshot.wallet_balance == snapshot.free == 0
    with pytest.raises(ValueError, match=r"free money of 5000\.\d+ .*, was 0"):
        enter(machine)
    with pytest.raises(ValueError, match=r"free money of 10000\.\d+ .*, was 9500"):
        enter(machine, quantity="2", margin_mode=CROSS)
    enter(machine, quantity="1.9", margin_mode=CROSS)
    assert machine.equity(ALICE) == 10_000
    assert isinstance(machine.withdraw(ALICE, Money(D(1)), T0), Refused)


def test_a_depeg_liquidates_although_no_position_has_moved() -> None:
    """1 ETH needs 250 and lost 4,000: 4,250 are counted of 10,000 at 0.447368."""
    machine = exchange(usdc="10000", fund="10000")
    enter(machine, symbol=ETH, margin_mode=CROSS)
    machine.move(T0 + 1_000, {ETH: prices("46000")})
    machine.move(T0 + 2_000, {USDC: prices("0.4455")})
    assert machine.liquidation(ALICE) == ()
    machine.move(T0 + 3_000, {USDC: prices("0.40")})
    taken, step = machine.liquidation(ALICE)
    assert isinstance(taken, CollateralTaken)
    assert isinstance(step, PositionStep)
    # 0.95 x 10,000 p = 4,000 + 0.005 x 46,000
    assert abs(taken.mark - D(4_230) / 9_500) < D("1e-20")
    assert taken.received == taken.equity + 4_000 == D("4230")
    assert machine.snapshot(ALICE, T0).collateral == ()
    assert machine.equity(ALICE) == 0
    assert total(machine) == machine.ledger().deposited
    coins = machine.ledger().coins["USDC"]
    assert (coins.deposited, coins.held) == (D(10_000), D(0))


def test_the_coin_and_the_long_of_it_fall_together() -> None:
    """
    Half a bitcoin at 0.9 backs a long of 1: 0.45 p + p - 50,000 = 0.005 p.

    The displayed price knows that both move: 50,000 / 1.445.
    """
    machine = exchange(btc="0.5")
    enter(machine, margin_mode=CROSS)
    assert position_of(machine).liquidation == Reported(Price(D("34602.08")))
    machine.move(T0 + 1_000, {BTC: prices("34603")})
    assert machine.liquidation(ALICE) == ()
    machine.move(T0 + 2_000, {BTC: prices("34602")})
    assert machine.liquidation(ALICE)
    assert machine.equity(ALICE) == 0


def test_a_short_that_its_own_coin_covers_outlives_any_rise() -> None:
    machine = exchange(btc="1.2")
    enter(machine, SHORT, margin_mode=CROSS)
    machine.move(T0 + 1_000, {BTC: prices("5000000")})
    assert position_of(machine).quantity == 1


def test_coins_survive_the_store() -> None:
    machine = exchange(wallet="5", btc="0.5", usdc="7")
    twin = PaperMachine.from_json(machine.to_json())
    assert twin.snapshot(ALICE, T0) == machine.snapshot(ALICE, T0)
    assert twin.ledger() == machine.ledger()


@pytest.mark.parametrize(
    ("pledge", "words"),
    [
        (Pledge("BTC", Ratio(D("1.1")), BTC), "expected a weight above 0 up to 1"),
        (Pledge("BTC", Ratio(D(0)), BTC), "expected a weight above 0 up to 1"),
    ],
)
def test_a_coin_counts_no_more_than_its_worth(pledge: Pledge, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        PaperMachine([contract()], Ratio(D(0)), pledges=[pledge])


def test_a_coin_that_does_not_count_is_not_taken() -> None:
    with pytest.raises(KeyError, match="DOGE"):
        exchange().deposit_coin(ALICE, "DOGE", D(1))


shares = st.integers(0, 1_000).map(lambda each: D(each) / 1_000)


@given(shares, shares, shares, st.lists(st.integers(-600, 600), min_size=3, max_size=3))
def test_a_book_with_coins_is_spent_where_all_that_counts_meets_the_requirement(
    wallet: Decimal, btc: Decimal, usdc: Decimal, moves: list[int]
) -> None:
    """By an equation in fractions of the way, of a long of 1 BTC and a short of 0.7 ETH."""
    machine = PaperMachine(
        [contract(), contract(ETH), contract(USDC)],
        Ratio(D(0)),
        ladder=WHOLE,
        pledges=PLEDGES,
    )
    money, dollars = 6_000 + 4_000 * wallet, 8_000 * usdc
    machine.deposit(ALICE, Money(money))
    starts = {BTC: D(50_000), ETH: D(50_000), USDC: D(1)}
    machine.move(0, {symbol: prices(price) for symbol, price in starts.items()})
    machine.deposit_coin(ALICE, "BTC", btc)
    machine.deposit_coin(ALICE, "USDC", dollars)
    enter(machine, LONG, "1", "50", margin_mode=CROSS)
    enter(machine, SHORT, "0.7", "50", symbol=ETH, margin_mode=CROSS)
    ends = {
        symbol: price * (1 + D(move) / 1_000)
        for (symbol, price), move in zip(starts.items(), moves, strict=True)
    }

    def spare(share: Fraction) -> Fraction:
        at = {
            each: Fraction(starts[each]) * (1 - share) + Fraction(ends[each]) * share
            for each in starts
        }
        counted = Fraction(btc) * at[BTC] * Fraction("0.9") + Fraction(dollars) * at[
            USDC
        ] * Fraction("0.95")
        gains = at[BTC] - 50_000 - Fraction("0.7") * (at[ETH] - 50_000)
        required = Fraction("0.005") * (at[BTC] + Fraction("0.7") * at[ETH])
        return Fraction(money) + counted + gains - required

    year_ms = 10**12
    machine.move(year_ms, {symbol: prices(price) for symbol, price in ends.items()})
    realised = machine.realised(ALICE)
    first, last = spare(Fraction(0)), spare(Fraction(1))
    if last > 0:
        assert realised == ()
    else:
        place = first / (first - last)
        assert all(abs(each.at_ms - place * year_ms) <= 1 for each in realised)
        assert len(realised) == 2
        assert machine.equity(ALICE) == 0
    assert total(machine) == machine.ledger().deposited
