"""A market order walks the book, the book thins in a crash, and slices are not free."""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.actions import ClosePosition, NoWorseThan, PlaceStop
from bot.core.model import NO_FILL, Fill, Filled, Side
from bot.core.units import Money, Price, Quantity, Ratio
from bot.exchange.paper.books import Cause
from bot.exchange.paper.depth import BTC_2025, OrderBook, Tape, Traded, notional_now, record
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.ports import Accepted, OrderFound
from tests.exchange.paper.build import (
    ALICE,
    BTC,
    T0,
    D,
    contract,
    enter,
    machine_with,
    move,
    position_of,
    total,
)

LONG, SHORT = Side.LONG, Side.SHORT
BOOK = OrderBook(
    notional_calm=Money(D(100_000)),
    halving_move=Ratio(D("0.01")),
    memory_ms=60_000,
    refill_ms=10_000,
    reach=Ratio(D("0.05")),
)
"""At 50,000: two coins in each 1 %."""


def holding(
    side: Side = LONG, quantity: str = "4", *, slippage: str = "0", book: OrderBook = BOOK
) -> PaperMachine:
    machine = machine_with(contract(), slippage=slippage, deposit="2000000", depths={BTC: book})
    enter(machine, side, quantity, "2")
    return machine


def close(
    machine: PaperMachine,
    quantity: str,
    *,
    side: Side = LONG,
    within: str | None = None,
    client_id: str = "a",
    after_ms: int = 0,
) -> Filled:
    """Close so much, at market or within a bound; what was filled."""
    action = ClosePosition(BTC, side, Quantity(D(quantity)))
    if within is not None:
        action = replace(action, bound=NoWorseThan(Price(D(within))))
    assert machine.handle(ALICE, action, client_id, machine.at_ms + after_ms) == Accepted()
    found = machine.order(ALICE, BTC, client_id)
    assert isinstance(found, OrderFound)
    assert not found.resting
    return found.filled


def fill(quantity: str, price: str) -> Fill:
    return Fill(Quantity(D(quantity)), Price(D(price)))


# -- walking the book -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "quantity", "price"),
    [
        # Two coins are 1 % of the way: half of that on average.
        (LONG, "2", "49750"),
        (LONG, "4", "49500"),
        (LONG, "1", "49875"),
        (SHORT, "2", "50250"),
        # Ten coins are all there is within 5 %; the other ten are had there.
        (LONG, "20", str((D(10) * 48_750 + D(10) * 47_500) / 20)),
        (SHORT, "20", str((D(10) * 51_250 + D(10) * 52_500) / 20)),
    ],
)
def test_a_market_order_walks_the_book_and_always_fills(
    side: Side, quantity: str, price: str
) -> None:
    assert close(holding(side, quantity), quantity, side=side) == fill(quantity, price)


def test_the_slippage_comes_first() -> None:
    """From 49,500 on two coins are 0.99 % of the way."""
    assert close(holding(slippage="0.01"), "2") == fill("2", "49254.97")


def test_a_stop_and_the_liquidation_engine_walk_the_book_too() -> None:
    machine = holding(quantity="4", book=replace(BOOK, halving_move=Ratio(D(10) ** 12)))
    stop = PlaceStop(BTC, LONG, Quantity(D(2)), Price(D(49_000)))
    assert machine.handle(ALICE, stop, "stop", T0) == Accepted()
    move(machine, "49000")
    assert machine.realised(ALICE)[0].price == D("48759.9")  # half of 0.98 % below
    move(machine, "24000", at_ms=T0 + 3_600_000)
    last = machine.realised(ALICE)[-1]
    assert last.cause is Cause.LIQUIDATION
    assert total(machine) == machine.ledger().deposited


@given(
    st.sampled_from(Side),
    st.integers(1, 20_000),
    st.integers(0, 20_000),
    st.integers(1, 100),
)
def test_the_average_price_is_that_of_a_walk_level_by_level(
    side: Side, before: int, thousandths: int, thin: int
) -> None:
    """In exact fractions and small steps, each at the price of its middle."""
    book = replace(BOOK, notional_calm=Money(D(5_000 * thin)))
    machine = holding(side, "41", book=book)
    close(machine, str(D(before) / 1_000), side=side, client_id="before")
    wanted = D(thousandths + 1) / 1_000
    filled = close(machine, str(wanted), side=side)
    a_step, per_step = Fraction(1, 10_000), Fraction(5_000 * thin) / 50_000 / 100
    left, eaten, paid = Fraction(wanted), Fraction(D(before) / 1_000), Fraction(0)
    for level in range(500):
        there = per_step - min(per_step, eaten)
        eaten -= per_step - there
        begin = per_step - there  # of this level, that is gone
        part = min(there, left)
        middle = a_step * (level + (begin + part / 2) / per_step)
        paid += part * 50_000 * (1 - side.sign * middle)
        left -= part
    paid += left * 50_000 * (1 - side.sign * Fraction(1, 20))
    assert isinstance(filled, Fill)
    assert filled.quantity == wanted
    off = side.sign * (paid / Fraction(wanted) - Fraction(filled.price))
    assert -Fraction(1, 10**6) < off < Fraction(1, 100) + Fraction(1, 10**6)


def test_a_book_without_end_is_as_endless() -> None:
    deep = holding(slippage="0.0005", book=replace(BOOK, notional_calm=Money(D(10) ** 18)))
    endless = machine_with(contract(), slippage="0.0005", deposit="1000000")
    enter(endless, quantity="4", leverage="2")
    assert close(deep, "3.5") == fill("3.5", "49974.99")
    assert close(endless, "3.5") == fill("3.5", "49975")


# -- slices -----------------------------------------------------------------------------------


def test_slices_at_once_get_together_what_one_order_gets() -> None:
    machine = holding()
    assert close(machine, "2", client_id="a") == fill("2", "49750")
    assert close(machine, "2", client_id="b") == fill("2", "49250")


@pytest.mark.parametrize(
    ("after_ms", "price"), [(5_000, "49500"), (10_000, "49750"), (60_000, "49750")]
)
def test_what_was_eaten_comes_back_in_time(after_ms: int, price: str) -> None:
    machine = holding()
    close(machine, "2", client_id="a")
    assert close(machine, "2", client_id="b", after_ms=after_ms) == fill("2", price)


def test_the_two_sides_of_a_book_are_eaten_apart() -> None:
    machine = holding(SHORT)
    machine.deposit("bob", Money(D(1_000_000)))
    enter(machine, LONG, "4", "2", account="bob")
    sale = ClosePosition(BTC, LONG, Quantity(D(4)))
    assert machine.handle("bob", sale, "a", T0) == Accepted()
    assert close(machine, "2", side=SHORT) == fill("2", "50250")


def test_accounts_eat_of_the_same_book() -> None:
    machine = holding()
    machine.deposit("bob", Money(D(1_000_000)))
    enter(machine, LONG, "4", "2", account="bob")
    close(machine, "2")
    sale = ClosePosition(BTC, LONG, Quantity(D(2)))
    assert machine.handle("bob", sale, "a", T0) == Accepted()
    assert machine.realised("bob")[0].price == 49_250


# -- bounds -----------------------------------------------------------------------------------


def test_a_bounded_order_fills_what_is_there_and_the_rest_expires() -> None:
    machine = holding()
    assert close(machine, "3", within="49500") == fill("2", "49750")
    assert position_of(machine).quantity == 2
    assert close(machine, "2", within="49500", client_id="b") == NO_FILL
    assert position_of(machine).quantity == 2
    assert close(machine, "2", within="49500", client_id="c", after_ms=5_000) == fill("1", "49625")


def test_a_bound_is_of_the_worst_level_and_cut_to_whole_steps() -> None:
    """0.2 % are 0.4 coins, whichever average they get; 0.199 96 % are not quite."""
    assert close(holding(), "1", within="49900") == fill("0.4", "49950")
    assert close(holding(), "1", within="49900.02") == fill("0.399", "49950.12")


@pytest.mark.parametrize(("side", "bound"), [(LONG, "50000.01"), (SHORT, "49999.99")])
def test_nothing_within_the_bound_is_no_fill_and_no_refusal(side: Side, bound: str) -> None:
    machine = holding(side)
    before = machine.ledger()
    assert close(machine, "3", side=side, within=bound) == NO_FILL
    assert machine.ledger() == before
    assert machine.realised(ALICE) == ()


def test_a_bound_beyond_the_reach_of_the_book_is_none() -> None:
    machine = holding(quantity="20")
    assert close(machine, "20", within="47500") == fill("20", "48125")


@pytest.mark.parametrize(
    ("bound", "filled"), [("49950", fill("1", "49950")), ("49950.01", NO_FILL)]
)
def test_an_endless_book_has_one_price(bound: str, filled: Filled) -> None:
    machine = machine_with(contract(), slippage="0.001")
    enter(machine)
    assert close(machine, "1", within=bound) == filled


# -- thinning ---------------------------------------------------------------------------------


def test_the_recorded_crash_leaves_of_the_recorded_book_what_was_recorded() -> None:
    """283 million in calm; 2.14 million when 9.2 % had gone in five minutes (10 October 2025)."""
    tape = Tape(BTC_2025.memory_ms)
    for at_ms, last in ((0, 110_000), (300_000, D(110_000) * (1 - D("0.092")))):
        record(tape, Traded(at_ms, Price(D(last))))
        now = notional_now(BTC_2025, tape, tape.trades[-1])
        if at_ms == 0:
            assert now == D(283_200_000)
        else:
            assert D(2_100_000) < now < D(2_180_000)


def test_a_fall_thins_the_book_while_it_is_remembered_and_the_calm_after_fills_it() -> None:
    """1 % in 10 s leaves half; a minute after the fall began it begins to be forgotten."""
    seen = []
    for wait_ms in (10_000, 60_000, 65_000, 70_000):
        machine = holding()
        move(machine, "49500", at_ms=T0 + 10_000)
        move(machine, "49500", at_ms=T0 + wait_ms)
        filled = close(machine, "1")
        assert isinstance(filled, Fill)
        seen.append(1 - filled.price / 49_500)
    # One coin is 0.495 % of the calm book, a quarter of a per cent on average.
    fall, half = D("0.01"), D(250) / 49_750
    expected = [
        D("0.002475") * (1 + (moved / D("0.01")) ** 2) for moved in (fall, fall, half, D(0))
    ]
    assert all(abs(a - b) < D("0.000001") for a, b in zip(seen, expected, strict=True))


def test_a_move_that_came_back_still_thins() -> None:
    machine = holding()
    move(machine, "49500", at_ms=T0 + 5_000)
    move(machine, "50000", at_ms=T0 + 10_000)
    assert close(machine, "1") == fill("1", "49750")


def test_the_tape_forgets_what_is_older_than_the_books_memory() -> None:
    machine = holding()
    for second in range(1, 600):
        move(machine, str(50_000 + second % 7), at_ms=T0 + second * 1_000)
    trades = machine._books.tapes[BTC].trades
    assert len(trades) <= 62
    assert trades[0].at_ms <= machine.at_ms - BOOK.memory_ms


@pytest.mark.parametrize(
    "wrong",
    [
        {"notional_calm": D(0)},
        {"halving_move": D(0)},
        {"memory_ms": 0},
        {"refill_ms": 0},
        {"reach": D(0)},
        {"reach": D(1)},
    ],
)
def test_a_book_that_makes_no_sense_is_an_error(wrong: dict[str, Decimal]) -> None:
    with pytest.raises(ValueError, match="order book: expected"):
        replace(BOOK, **wrong)  # type: ignore[arg-type]


def test_depth_of_an_unlisted_symbol_is_an_error() -> None:
    with pytest.raises(KeyError, match="XRP"):
        PaperMachine([contract()], Ratio(D(0)), depths={"XRP": BOOK})
