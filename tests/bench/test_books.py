"""Books on one wallet, unguarded: as the paper exchange says; and what their stops leave."""

import pytest

from bench.benefit.books import CROSS, ISOLATED, LONG, SHORT, BookCase, Shape, Shared
from bench.benefit.plain import Costs, Plain, path_of
from bench.benefit.windows import Window
from bot.core.model import MarginMode, Side
from bot.rehearsal.bars import read_bars
from bot.rehearsal.runs import run_unguarded
from tests.bench.made import LISTED, setup

COSTS = Costs(slippage=0.0005, fee=0.0005, funding=True)
BTC, ETH, XRP = (f"2020-03-12-{name}" for name in ("btc", "eth", "xrp"))
Held = tuple[tuple[str, Side, MarginMode], ...]


def shared(held: Held, leverage: int) -> Shared:
    windows = tuple(Window(name, "2020-03-12", "crash") for name, _, _ in held)
    case = BookCase(Shape("made up", held), windows, leverage, 0)
    bars = [read_bars(name) for name, _, _ in held]
    return Shared(case, bars, [LISTED[each.symbol] for each in bars], COSTS)


@pytest.mark.parametrize("leverage", [3, 10])
@pytest.mark.parametrize(
    "held",
    [
        ((BTC, LONG, CROSS),),
        ((BTC, LONG, CROSS), (ETH, LONG, CROSS), (XRP, LONG, CROSS)),
        ((BTC, SHORT, CROSS), (ETH, SHORT, CROSS), (XRP, SHORT, CROSS)),
        ((BTC, LONG, CROSS), (ETH, SHORT, CROSS)),
        ((BTC, LONG, CROSS), (XRP, LONG, ISOLATED)),
    ],
    ids=["one", "longs", "shorts", "pair", "beside"],
)
def test_unguarded_it_ends_as_on_the_paper_exchange(held: Held, leverage: int) -> None:
    fate = run_unguarded(setup(*held, leverage=leverage))
    end = shared(held, leverage).unguarded()
    assert end.liquidated == bool(fate.taken)
    assert float(fate.equity_final) == pytest.approx(end.equity, abs=1)


def test_an_isolated_position_is_the_same_in_a_book_of_one() -> None:
    rows, listed = read_bars(BTC).rows, LISTED["BTC/USDT:USDT"]
    alone = Plain(path_of(rows, LONG), LONG, 10, listed, COSTS)
    book = shared(((BTC, LONG, ISOLATED),), 10)
    for buffer in (0.1, 0.5):
        assert book.stopped(buffer).equity == pytest.approx(alone.stopped(buffer).equity, abs=0.1)


def test_stops_leave_a_falling_book_what_they_say() -> None:
    """Of 2,000 that back 3 x 333 at 10x the stops at a half leave about a half."""
    book = shared(((BTC, LONG, CROSS), (ETH, LONG, CROSS), (XRP, LONG, CROSS)), 10)
    assert book.unguarded().equity == 0
    assert book.stopped(0.5).equity == pytest.approx(1000, abs=120)
    assert not book.stopped(0.5).liquidated
    assert book.foreseen().equity == pytest.approx(1995, abs=0.5)
