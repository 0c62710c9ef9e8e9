"""Rehearsals: the same prices with and without a guard, and what is told of them."""

from dataclasses import replace
from decimal import Decimal
from itertools import pairwise

import pytest

from bot.core.model import Side
from bot.core.units import Money, Price
from bot.exchange.paper.machine import PaperMachine
from bot.rehearsal.bars import Bar, Bars, NoFunding, Ohlc
from bot.rehearsal.runs import (
    ACCOUNT,
    FLAT_FOR_MS,
    Alive,
    Guarded,
    Setup,
    SetupError,
    TakenOver,
    open_position,
    run_guarded,
    run_unguarded,
)
from bot.testing.builders import SYMBOL, instrument
from tests.runtime.build import T0, TEXT, policy

D = Decimal
MINUTE_MS = 60_000
FALL = (50_000, 49_000, 48_000, 47_000, 46_000, 45_000, 44_000, 43_000, 42_000)


def bars_of(*closes: int, interval_ms: int = 10 * MINUTE_MS) -> Bars:
    """Bars that open where the one before closed and go straight to their close."""
    rows = []
    for index, (first, last) in enumerate(pairwise(closes)):
        ohlc = Ohlc(*(Price(D(p)) for p in (first, max(first, last), min(first, last), last)))
        rows.append(Bar(T0 + index * interval_ms, ohlc, ohlc, NoFunding()))
    return Bars("binanceusdm", SYMBOL, interval_ms, True, tuple(rows), "made up")


def setup(*closes: int, side: Side = Side.LONG, reserve: int = 5_000) -> Setup:
    return Setup(
        bars=bars_of(*closes),
        instrument=instrument(),
        side=side,
        leverage=D(10),
        margin=Money(D(5_000)),
        reserve=Money(D(reserve)),
        entry_at_ms=0,
    )


def stop_prices(guarded: Guarded) -> list[Price]:
    return [d.price for d in guarded.deeds if d.verb == "place_stop" and d.price is not None]


@pytest.fixture(scope="module")
def fallen() -> Guarded:
    return run_guarded(setup(*FALL), policy())


def test_unguarded_a_fall_takes_the_position_and_leaves_the_reserve() -> None:
    fate = run_unguarded(setup(*FALL))
    assert isinstance(fate.outcome, TakenOver)
    assert fate.outcome.price == 45_000  # bankruptcy: the loss is the whole margin
    assert fate.equity_final == 5_000
    assert fate.distance_min == 0
    # 50,000 to 45,226 is 4.77 legs of a thousand, each straight from a bar's open to its low.
    assert T0 + 40 * MINUTE_MS < fate.outcome.at_ms < T0 + 44 * MINUTE_MS


def test_unguarded_a_calm_market_leaves_it_as_it_is() -> None:
    fate = run_unguarded(setup(50_000, 50_500, 50_000, 49_500))
    assert fate.outcome == Alive()
    assert fate.equity_final == 9_500
    assert D("0.086") < fate.distance_min < D("0.0865")  # (49,500 - 45,226.2) / 49,500


def test_guarded_it_lives_within_its_budget(fallen: Guarded) -> None:
    assert fallen.fate.outcome == Alive()
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
    refused = run_guarded(replace(setup(*FALL), bars=quick, stops_refused=True), policy())
    assert refused.fate.outcome == Alive()
    assert [deed.verb for deed in refused.deeds if deed.proven == "applied"][-1] == "close"
    assert {d.proven for d in refused.deeds if d.verb == "place_stop"} == {"rejected"}
    stop_only = policy(TEXT.split("rules:", maxsplit=1)[0] + ALERT_ONLY)
    stopped = run_guarded(setup(*FALL), stop_only)
    assert stopped.fate.outcome == Alive()
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
    assert isinstance(run_unguarded(short).outcome, TakenOver)
    guarded = run_guarded(short, policy())
    assert guarded.fate.outcome == Alive()
    assert 0 < guarded.spent <= 1_500
    assert stop_prices(guarded) == sorted(stop_prices(guarded))


def test_an_empty_wallet_is_protected_by_the_stop_alone() -> None:
    guarded = run_guarded(setup(*FALL, reserve=0), policy())
    assert guarded.fate.outcome == Alive()
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
    guarded = run_guarded(replace(setup(*FALL), bars=long_after), policy(), heard.append)
    assert heard == sorted(heard)
    out_at_ms = max(d.at_ms for d in guarded.deeds if d.verb in ("close", "stop_filled"))
    last_ms = long_after.rows[-1].open_at_ms
    assert out_at_ms < heard[-1] <= out_at_ms + FLAT_FOR_MS + 10 * MINUTE_MS < last_ms


def test_a_later_entry_starts_at_the_first_bar_from_then_on() -> None:
    machine = PaperMachine([instrument()], setup(*FALL).slippage)
    late = replace(setup(*FALL), entry_at_ms=T0 + 1)
    path = open_position(late, machine, ACCOUNT)
    (position,) = machine.snapshot(ACCOUNT, machine.at_ms).positions
    assert position.entry_price == 49_000
    assert machine.at_ms == T0 + 10 * MINUTE_MS
    assert next(path).at_ms == machine.at_ms


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"entry_at_ms": T0 + 10**9}, "entry: expected a time before the data ends"),
        ({"leverage": D(60)}, "expected leverage up to 50"),
        ({"margin": Money(D("0.1"))}, "expected a quantity from 0.001"),
        ({"margin": Money(D("0.123456789"))}, "expected a multiple of"),
    ],
)
def test_a_position_that_cannot_be_opened_is_one_line(
    wrong: dict[str, object], words: str
) -> None:
    with pytest.raises(SetupError) as raised:
        run_unguarded(replace(setup(*FALL), **wrong))  # type: ignore[arg-type]
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)
