"""Rehearsals: the same prices with and without a guard, and what is told of them."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from bot.core.model import MarginMode, PositionMode, Side
from bot.core.units import Money, Price, Quantity, Ratio
from bot.exchange.paper.depth import ENDLESS, OrderBook
from bot.exchange.paper.machine import PaperMachine
from bot.rehearsal.bars import Bar, Bars, DataError, FundingSettled, NoFunding, Ohlc
from bot.rehearsal.fates import ACCOUNT, Alive, TakenOver
from bot.rehearsal.runs import FLAT_FOR_MS, Guarded, run_guarded, run_unguarded
from bot.rehearsal.setups import (
    SLIPPAGE,
    ByMargin,
    ByQuantity,
    Opening,
    Setup,
    SetupError,
    open_account,
)
from bot.testing.builders import SYMBOL, instrument
from tests.runtime.build import T0, TEXT, policy

D = Decimal
MINUTE_MS = 60_000
FALL = (50_000, 49_000, 48_000, 47_000, 46_000, 45_000, 44_000, 43_000, 42_000)


OTHER = "ETH/USDT:USDT"


def bars_of(*closes: int, interval_ms: int = 10 * MINUTE_MS, symbol: str = SYMBOL) -> Bars:
    """Bars that open where the one before closed and go straight to their close."""
    rows = []
    for index, (first, last) in enumerate(pairwise(closes)):
        ohlc = Ohlc(*(Price(D(p)) for p in (first, max(first, last), min(first, last), last)))
        rows.append(Bar(T0 + index * interval_ms, ohlc, ohlc, NoFunding()))
    return Bars("binanceusdm", symbol, interval_ms, True, tuple(rows), "made up")


def opening(*closes: int, symbol: str = SYMBOL, side: Side = Side.LONG) -> Opening:
    """A position of 5,000 margin at 10x."""
    return Opening(
        bars=bars_of(*closes, symbol=symbol),
        instrument=instrument(symbol),
        side=side,
        leverage=D(10),
        size=ByMargin(Money(D(5_000))),
    )


def cross(*closes: int, symbol: str = SYMBOL, side: Side = Side.LONG) -> Opening:
    """The same with the wallet as its margin."""
    return replace(
        opening(*closes, symbol=symbol, side=side),
        margin_mode=MarginMode.CROSS,
    )


def billed(opening: Opening, bills: dict[int, str]) -> Opening:
    """With settlements at the open of some bars, 40 minutes after the one before."""
    rows = list(opening.bars.rows)
    for index, rate in bills.items():
        settled = FundingSettled(Ratio(D(rate)), 40 * MINUTE_MS)
        rows[index] = replace(rows[index], funding=settled)
    return replace(opening, bars=replace(opening.bars, rows=tuple(rows)))


def book(*openings: Opening, reserve: int = 5_000) -> Setup:
    return Setup(openings, reserve=Money(D(reserve)), entry_at_ms=0)


def setup(*closes: int, side: Side = Side.LONG, reserve: int = 5_000) -> Setup:
    return book(opening(*closes, side=side), reserve=reserve)


def on(setup: Setup, bars: Bars) -> Setup:
    """The same position on other prices."""
    return replace(setup, openings=(replace(setup.openings[0], bars=bars),))


def stop_prices(guarded: Guarded) -> list[Price]:
    return [d.price for d in guarded.deeds if d.verb == "place_stop" and d.price is not None]


@pytest.fixture(scope="module")
def fallen() -> Guarded:
    return run_guarded(setup(*FALL), policy())


def test_unguarded_a_fall_takes_the_position_and_leaves_the_reserve() -> None:
    fate = run_unguarded(setup(*FALL))
    (taken,) = fate.taken
    assert taken.price == 45_000  # bankruptcy: the loss is the whole margin
    assert fate.equity_final == 5_000
    assert fate.distance_min == 0
    # 50,000 to 45,226 is 4.77 legs of a thousand, each straight from a bar's open to its low.
    assert T0 + 40 * MINUTE_MS < taken.at_ms < T0 + 44 * MINUTE_MS


def test_unguarded_a_calm_market_leaves_it_as_it_is() -> None:
    fate = run_unguarded(setup(50_000, 50_500, 50_000, 49_500))
    assert not fate.taken
    assert fate.equity_final == 9_500
    assert D("0.086") < fate.distance_min < D("0.0865")  # (49,500 - 45,226.2) / 49,500


def test_guarded_it_lives_within_its_budget(fallen: Guarded) -> None:
    assert not fallen.fate.taken
    assert fallen.spent == 1_500  # per_1h, and no more
    assert fallen.fate.distance_min > 0
    # It lost what a fall to its last stop costs, and never its reserve.
    assert fallen.fate.equity_final > 3_000


def test_deeds_are_told_in_time_order_with_their_proof(fallen: Guarded) -> None:
    times = [deed.at_ms for deed in fallen.deeds]
    assert times == sorted(times)
    assert fallen.deeds[0].verb == "place_stop"
    assert fallen.deeds[0].reason == "protect/stop"
    assert {deed.proven for deed in fallen.deeds} == {"applied"}
    top_ups = [deed for deed in fallen.deeds if deed.verb == "top_up"]
    assert [deed.amount for deed in top_ups] == [1_000, 500]
    assert all(deed.reason == "ladder/top-up" and deed.price is None for deed in top_ups)
    stops = stop_prices(fallen)
    assert stops == sorted(stops, reverse=True)  # each top-up moves it away, nothing else does


def test_a_position_goes_out_by_its_stop_or_by_a_close_and_the_deeds_say_which() -> None:
    quick = bars_of(*FALL, interval_ms=MINUTE_MS)
    refused = run_guarded(on(replace(setup(*FALL), stops_refused=True), quick), policy())
    assert not refused.fate.taken
    assert [deed.verb for deed in refused.deeds if deed.proven == "applied"][-1] == "close"
    assert {d.proven for d in refused.deeds if d.verb == "place_stop"} == {"rejected"}
    stop_only = policy(TEXT.split("rules:", maxsplit=1)[0] + ALERT_ONLY)
    stopped = run_guarded(setup(*FALL), stop_only)
    assert not stopped.fate.taken
    filled = next(deed for deed in stopped.deeds if deed.verb == "stop_filled")
    assert filled.price is not None
    assert filled.amount == D("1")
    assert stopped.spent == 0


ALERT_ONLY = """rules:
  - rule: ladder
    match: { symbols: any, side: any, margin_mode: isolated }
    watch: liquidation_distance
    hysteresis: 0.5%
    ladder:
      - { step: warn, below: 6%, for: 0s, do: alert }
"""


def test_a_short_is_guarded_as_a_long_is() -> None:
    rise = tuple(100_000 - price for price in FALL)
    short = setup(*rise, side=Side.SHORT)
    assert run_unguarded(short).taken
    guarded = run_guarded(short, policy())
    assert not guarded.fate.taken
    assert 0 < guarded.spent <= 1_500
    assert stop_prices(guarded) == sorted(stop_prices(guarded))


def test_an_empty_wallet_is_protected_by_the_stop_alone() -> None:
    guarded = run_guarded(setup(*FALL, reserve=0), policy())
    assert not guarded.fate.taken
    assert guarded.spent == 0
    assert guarded.fate.equity_final > 0


def test_the_same_rehearsal_writes_the_same_journal(fallen: Guarded) -> None:
    assert run_guarded(setup(*FALL), policy()) == fallen


def test_another_policy_writes_another_journal(fallen: Guarded) -> None:
    other = policy(TEXT.replace("below: 6%", "below: 6.5%"))
    assert run_guarded(setup(*FALL), other).digest != fallen.digest


def test_progress_is_told_forwards_and_ends_when_nothing_is_left_to_happen() -> None:
    heard: list[int] = []
    long_after = bars_of(*FALL, *[42_000] * 60)
    guarded = run_guarded(on(setup(*FALL), long_after), policy(), heard.append)
    assert heard == sorted(heard)
    out_at_ms = max(d.at_ms for d in guarded.deeds if d.verb in ("close", "stop_filled"))
    last_ms = long_after.rows[-1].open_at_ms
    assert out_at_ms < heard[-1] <= out_at_ms + FLAT_FOR_MS + 10 * MINUTE_MS < last_ms


def test_a_later_entry_starts_at_the_first_bar_from_then_on() -> None:
    machine = PaperMachine([instrument()], setup(*FALL).slippage)
    late = replace(setup(*FALL), entry_at_ms=T0 + 1)
    path = open_account(late, machine, ACCOUNT)
    (position,) = machine.snapshot(ACCOUNT, machine.at_ms).positions
    assert position.entry_price == 49_000
    assert machine.at_ms == T0 + 10 * MINUTE_MS
    assert next(path).at_ms == machine.at_ms


def test_a_position_of_a_quantity_gets_the_margin_that_it_needs() -> None:
    machine = PaperMachine([instrument()], setup(*FALL).slippage)
    exactly = replace(opening(*FALL), size=ByQuantity(Quantity(D("0.3"))), leverage=D(7))
    open_account(book(exactly, reserve=10), machine, ACCOUNT)
    snapshot = machine.snapshot(ACCOUNT, machine.at_ms)
    (position,) = snapshot.positions
    assert position.quantity == D("0.3")
    assert position.isolated_margin == D("2142.85714286")  # 0.3 x 50,000 / 7, rounded up
    assert snapshot.free == 10


def test_isolated_positions_do_not_touch_each_other() -> None:
    rise = (2_000, 2_010, 2_100, 2_120, 2_130, 2_120, 2_130, 2_140, 2_150)
    both = (opening(*FALL), opening(*rise, symbol=OTHER, side=Side.SHORT))
    alone = [run_unguarded(book(each, reserve=0)) for each in both]
    together = run_unguarded(book(*both, reserve=500))
    assert [len(fate.taken) for fate in alone] == [1, 0]
    assert together.endings == (*alone[0].endings, *alone[1].endings)
    assert together.equity_final == alone[0].equity_final + alone[1].equity_final + 500
    assert together.distance_min == min(each.distance_min for each in alone)


def test_one_of_a_book_is_taken_over_and_the_other_lives_on() -> None:
    calm = opening(*range(2_000, 2_009), symbol=OTHER)
    fate = run_unguarded(book(opening(*FALL), calm))
    (taken,) = fate.taken
    assert [ending.key.symbol for ending in fate.endings] == [SYMBOL, OTHER]
    assert fate.endings[0].outcome is taken
    assert fate.endings[1].outcome == Alive()
    assert [ending.left for ending in fate.endings] == [0, 25]
    # One margin gone; the other 25 ETH gained 8 each; the reserve is untouched.
    assert fate.equity_final == 5_000 + 5_000 + 200


def test_a_guard_keeps_a_book_alive_within_one_budget() -> None:
    setup_ = book(opening(*FALL), opening(*[p // 10 for p in FALL], symbol=OTHER), reserve=20_000)
    guarded = run_guarded(setup_, policy())
    assert not guarded.fate.taken
    assert {deed.symbol for deed in guarded.deeds} == {SYMBOL, OTHER}
    topped = {deed.symbol for deed in guarded.deeds if deed.verb == "top_up"}
    assert topped
    assert 0 < guarded.spent <= 1_500  # per_1h, of the whole account


JOINT_FALL = D(9_500) / D(99_500)
"""
Where two longs of 50,000 on a wallet of 10,000 are liquidated: 10,000 - 100,000 x = 500 (1 - x),
with a maintenance rate of 0.5 %.
"""


def test_cross_positions_share_the_wallet_and_their_distance_is_the_joint_one() -> None:
    fall = (50_000, 48_000, 46_000, 45_500, 47_000)  # 9 %
    both = [cross(*fall), cross(*(price // 25 for price in fall), symbol=OTHER)]
    fate = run_unguarded(book(*both, reserve=0))
    assert not fate.taken
    assert not fate.wallet_lost
    assert fate.distance_min == pytest.approx(1 - (1 - JOINT_FALL) / D("0.91"), abs=D("1e-20"))
    assert fate.equity_final == 10_000 - 6_000


def test_falling_together_cross_positions_lose_the_whole_wallet_at_one_moment() -> None:
    fall = (50_000, 48_000, 46_000, 45_000, 47_000)  # 10 %
    both = [cross(*fall), cross(*(price // 25 for price in fall), symbol=OTHER)]
    fate = run_unguarded(book(*both, reserve=0))
    assert fate.wallet_lost
    first, second = fate.taken
    # 9.5477 % down is 77.387 % of the way from 8 % to 10 %, the first leg of the third bar.
    assert first.at_ms == second.at_ms == T0 + 20 * MINUTE_MS + 154_774
    assert fate.equity_final == 0
    assert fate.distance_min == 0


def test_a_cross_position_that_gains_carries_the_one_that_loses() -> None:
    rise = (2_000, 2_080, 2_160, 2_200, 2_120)
    both = [cross(50_000, 48_000, 46_000, 45_000, 47_000), cross(*rise, symbol=OTHER)]
    fate = run_unguarded(book(*both, reserve=0))
    assert not fate.taken
    assert fate.equity_final == 10_000


def test_isolated_positions_live_on_where_the_wallet_is_lost() -> None:
    calm = opening(*[2_000] * len(FALL), symbol=OTHER)
    fate = run_unguarded(book(cross(*FALL), calm, reserve=0))
    assert fate.wallet_lost
    assert [type(ending.outcome) for ending in fate.endings] == [TakenOver, Alive]
    assert fate.equity_final == 5_000  # the isolated margin


def test_bills_are_paid_at_the_mark_of_their_moment_unless_funding_is_off() -> None:
    # After 40 minutes longs pay 1 % of 51,000, after 80 they receive 0.5 % of 52,000.
    prices = (50_000, *[51_000] * 5, *[52_000] * 5)
    bills = {0: "0.9", 4: "0.01", 8: "-0.005"}
    fate = run_unguarded(book(billed(opening(*prices), bills)))
    assert fate.funding_paid == 510 - 260
    assert fate.equity_final == 10_000 + 2_000 - 250
    free = run_unguarded(replace(book(billed(opening(*prices), bills)), funding=False))
    assert free.funding_paid == 0
    assert free.equity_final == 10_000 + 2_000


def test_a_bill_alone_can_liquidate() -> None:
    flat = [50_000] * 10
    fate = run_unguarded(book(billed(opening(*flat), {4: "0.096"})))
    (taken,) = fate.taken
    assert taken.at_ms == T0 + 40 * MINUTE_MS
    short = run_unguarded(book(billed(opening(*flat, side=Side.SHORT), {4: "0.096"})))
    assert not short.taken
    assert short.funding_paid == -4_800


def test_in_a_thin_book_a_stop_fills_worse() -> None:
    stop_only = policy(TEXT.split("rules:", maxsplit=1)[0] + ALERT_ONLY)
    thin = OrderBook(
        notional_calm=Money(D(100_000)),  # within 1 %, for a position of 50,000
        halving_move=Ratio(D("0.01")),
        memory_ms=10 * MINUTE_MS,
        refill_ms=MINUTE_MS,
        reach=Ratio(D("0.1")),
    )
    fills = [
        next(
            deed.price
            for deed in run_guarded(book(replace(opening(*FALL), depth=depth)), stop_only).deeds
            if deed.verb == "stop_filled"
        )
        for depth in (ENDLESS, thin)
    ]
    endless, walked = fills
    assert endless is not None
    assert walked is not None
    assert walked < endless * D("0.998")


def test_in_hedge_mode_a_symbol_may_be_there_once_a_side_and_on_one_file_of_prices() -> None:
    def hedged(*openings: Opening) -> Setup:
        mode = PositionMode.HEDGE
        return Setup(openings, Money(D(5_000)), entry_at_ms=0, position_mode=mode)

    long, short = opening(*FALL), opening(*FALL, side=Side.SHORT)
    machine = PaperMachine(hedged(long, short).instruments, SLIPPAGE)
    list(open_account(hedged(long, short), machine, "a"))
    assert {each.side for each in machine.snapshot("a", machine.at_ms).positions} == set(Side)
    with pytest.raises(SetupError, match=f"expected {SYMBOL} once a side, was 2x"):
        hedged(long, long)
    with pytest.raises(SetupError, match=f"expected one file of prices for {SYMBOL}, was two"):
        hedged(long, opening(50_000, 50_100, side=Side.SHORT))


@pytest.mark.parametrize(
    ("openings", "words"),
    [
        ((), "positions: expected one or more, was none"),
        ((opening(*FALL), opening(*FALL)), f"positions: expected {SYMBOL} once, was 2x"),
    ],
)
def test_a_book_of_no_or_doubled_symbols_is_one_line(
    openings: tuple[Opening, ...], words: str
) -> None:
    with pytest.raises(SetupError, match=words):
        book(*openings)


def test_a_book_enters_where_all_have_bars_and_a_later_data_end_is_cut() -> None:
    early = opening(*FALL)
    rows = bars_of(5_000, 4_990, 4_980, symbol=OTHER).rows
    shifted = tuple(replace(row, open_at_ms=row.open_at_ms + 20 * MINUTE_MS) for row in rows)
    other = opening(5_000, 4_990, 4_980, symbol=OTHER)
    other = replace(other, bars=replace(other.bars, rows=shifted))
    instruments = [early.instrument, other.instrument]
    machine = PaperMachine(instruments, setup(*FALL).slippage)
    path = open_account(book(early, other), machine, ACCOUNT)
    entries = {p.symbol: p.entry_price for p in machine.snapshot(ACCOUNT, 0).positions}
    assert entries == {SYMBOL: 48_000, OTHER: 5_000}
    times = [item.at_ms for item in path]
    assert (times[0], times[-1]) == (T0 + 20 * MINUTE_MS, T0 + 40 * MINUTE_MS - 1)


def wrong_entry(good: Setup) -> Setup:
    return replace(good, entry_at_ms=T0 + 10**9)


def with_opening(**wrong: Any) -> Callable[[Setup], Setup]:
    return lambda good: replace(good, openings=(replace(good.openings[0], **wrong),))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (wrong_entry, "entry: expected a time before the data ends"),
        (with_opening(leverage=D(60)), "expected leverage up to 50"),
        (with_opening(size=ByMargin(Money(D("0.1")))), "expected a quantity from 0.001"),
        (with_opening(size=ByMargin(Money(D("0.123456789")))), "expected a multiple of"),
        (with_opening(size=ByQuantity(Quantity(D("0.0015")))), "in steps of 0.001"),
    ],
)
def test_a_position_that_cannot_be_opened_is_one_line(
    spoil: Callable[[Setup], Setup], words: str
) -> None:
    with pytest.raises((SetupError, DataError)) as raised:
        run_unguarded(spoil(setup(*FALL)))
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)
