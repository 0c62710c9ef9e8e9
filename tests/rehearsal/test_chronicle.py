"""Chronicles: looking on changes nothing, and the lines are those of the account."""

from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.model import PositionKey, Side
from bot.rehearsal.chronicle import Chronicle, Line, _tightest, live_through
from bot.rehearsal.report.strokes import thinned
from bot.rehearsal.runs import run_guarded, run_unguarded
from bot.testing.builders import SYMBOL, our_stop, position, snapshot
from tests.rehearsal.test_runs import FALL, JOINT_FALL, OTHER, book, cross, setup
from tests.runtime.build import T0, policy

D = Decimal
KEY = PositionKey(SYMBOL, Side.LONG)


def silent(at_ms: int) -> None:
    """Nobody watches."""


@pytest.fixture(scope="module")
def fallen() -> Chronicle:
    return live_through(setup(*FALL), policy(), silent)


def points(line: Line) -> list[tuple[int, Decimal]]:
    return [point for stretch in line for point in stretch]


def test_looking_on_changes_nothing(fallen: Chronicle) -> None:
    assert fallen.guarded == run_guarded(setup(*FALL), policy())
    assert fallen.unguarded == run_unguarded(setup(*FALL))


def test_it_begins_with_what_was_deposited_and_opened(fallen: Chronicle) -> None:
    assert fallen.deposit == 10_000
    (opened,) = fallen.opened
    assert opened.key == KEY
    assert (opened.quantity, opened.entry_price) == (D(1), D(50_000))
    assert fallen.begins_ms == T0


def test_equity_ends_where_the_fate_says(fallen: Chronicle) -> None:
    for lines, fate in (
        (fallen.alone, fallen.unguarded),
        (fallen.watched, fallen.guarded.fate),
    ):
        (stretch,) = lines.equity
        assert stretch[0] == (T0, D(10_000))
        assert stretch[-1][1] == fate.equity_final


def test_liquidation_moves_away_with_every_top_up_and_is_gone_with_the_position(
    fallen: Chronicle,
) -> None:
    levels = points(fallen.watched.liquidation[KEY])
    moves = [value for (_, before), (_, value) in pairwise(levels) if value != before]
    # 5,000 of margin: 50,000 - 5,000 = 45,000 = p (1 - 0.5 %); 1,000 and 500 more move it by
    # their share of that.
    exact = [D(45_000) / D("0.995"), D(44_000) / D("0.995"), D(43_500) / D("0.995")]
    assert [levels[0][1], *moves] == [pytest.approx(each, abs=D("0.1")) for each in exact]
    top_ups = [deed.at_ms for deed in fallen.guarded.deeds if deed.verb == "top_up"]
    changes = [at_ms for (_, before), (at_ms, value) in pairwise(levels) if value != before]
    for planned_ms, seen_ms in zip(top_ups, changes, strict=True):
        assert planned_ms < seen_ms <= planned_ms + 1_000
    out_ms = max(d.at_ms for d in fallen.guarded.deeds if d.verb in ("close", "stop_filled"))
    assert levels[-1][0] <= out_ms + 1_000 < fallen.ends_ms
    alone = points(fallen.alone.liquidation[KEY])
    assert {value for _, value in alone} == {levels[0][1]}


def test_the_stop_line_is_that_of_the_stops_that_were_placed(fallen: Chronicle) -> None:
    placed = [d.price for d in fallen.guarded.deeds if d.verb == "place_stop"]
    drawn = [value for _, value in points(fallen.watched.stop[KEY])]
    assert list(dict.fromkeys(drawn)) == placed
    assert not fallen.alone.stop


@pytest.mark.parametrize(("side", "first"), [(Side.LONG, 46_500), (Side.SHORT, 46_000)])
def test_of_two_stops_the_one_that_triggers_first_is_drawn(side: Side, first: int) -> None:
    held = position(side=side)
    both = [our_stop(held, 46_000), our_stop(held, 46_500, name="b" * 20)]
    assert _tightest(snapshot([held], both)) == {held.key: first}


def test_prices_are_the_path_that_was_lived_and_a_little_after(fallen: Chronicle) -> None:
    marks = points(fallen.prices[SYMBOL].mark)
    assert marks[0] == (T0, D(50_000))
    assert [at_ms for at_ms, _ in marks] == sorted(at_ms for at_ms, _ in marks)
    assert fallen.flat_ms < fallen.ends_ms == marks[-1][0]
    lowest_ms, lowest = min(marks, key=lambda point: point[1])
    # a straight fall of a thousand in ten minutes, reached in the first third of each
    assert lowest == pytest.approx(50_000 - (lowest_ms - T0) // 600_000 * 1_000 - 1_000, abs=1_000)


def test_distances_end_at_nothing_only_where_the_exchange_took_over(fallen: Chronicle) -> None:
    alone = [value for _, value in points(fallen.alone.distances[KEY])]
    watched = [value for _, value in points(fallen.watched.distances[KEY])]
    assert min(alone) < D("0.002")
    assert min(watched) == fallen.guarded.fate.distance_min


def test_cross_positions_have_one_distance_and_each_its_price_in_that_fall() -> None:
    fall = (50_000, 48_000, 46_000, 45_500, 47_000)
    both = [cross(*fall), cross(*(price // 25 for price in fall), symbol=OTHER)]
    text = CROSS_TEXT
    told = live_through(book(*both, reserve=0), policy(text), silent)
    together = points(told.alone.together)
    assert together[0][1] == pytest.approx(JOINT_FALL, abs=D("1e-20"))
    for key, price in ((KEY, 50_000), (PositionKey(OTHER, Side.LONG), 2_000)):
        first = points(told.alone.liquidation[key])[0][1]
        assert first == pytest.approx(price * (1 - JOINT_FALL), abs=D("1e-9"))
    assert not told.alone.distances


CROSS_TEXT = """
schema: liqguard/v1
account: { name: main, venue: binanceusdm, margin_mode: cross, position_mode: one_way }
stress: { shock: 20% }
protect: { stop: { room: 1.5% }, floor: 0.7%, floor_in_hold: close, unknown_after: 60s }
guardrails:
  keep_free: 0 USDT
  top_up: { per_action: 0 USDT, per_1h: 0 USDT, per_24h: 0 USDT, per_episode: 0 USDT }
  top_ups_per_episode: 0
  actions_per_1m: 60
  data_max_age: 5s
  loss_max: 9000 USDT
  slippage_max: 50 bps
rules:
  - rule: ladder
    match: { symbols: any, side: any, margin_mode: cross }
    watch: liquidation_distance
    hysteresis: 0.5%
    ladder:
      - { step: warn, below: 6%, for: 0s, do: alert }
      - { step: out, below: 2.5%, for: 0s, do: close }
"""

values = st.decimals(min_value=-1000, max_value=1000, places=3)


@given(
    steps=st.lists(st.tuples(st.integers(1, 50), values), min_size=1, max_size=300),
    cells=st.integers(1, 20),
)
def test_thinning_keeps_both_ends_and_every_extreme_of_every_cell(
    steps: list[tuple[int, Decimal]], cells: int
) -> None:
    at_ms, stretch = 1_000, []
    for wait_ms, value in steps:
        at_ms += wait_ms
        stretch.append((at_ms, value))
    kept = thinned(tuple(stretch), 1_000, at_ms, cells)
    assert len(kept) <= 4 * cells
    assert [point for point in stretch if point in set(kept)] == list(kept)
    assert (kept[0], kept[-1]) == (stretch[0], stretch[-1])
    length_ms = at_ms - 1_000 + 1
    for cell in range(cells):
        inside = [v for t, v in stretch if (t - 1_000) * cells // length_ms == cell]
        left = [v for t, v in kept if (t - 1_000) * cells // length_ms == cell]
        if inside:
            assert (min(inside), max(inside)) == (min(left), max(left))
