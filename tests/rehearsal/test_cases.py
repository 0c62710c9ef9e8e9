"""Cases: a line of JSON is exactly one position, or one line says what is wrong with it."""

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.model import Instrument, MarginMode, Side
from bot.rehearsal.bars import Bars
from bot.rehearsal.cases import Case, CaseError, read_case, setup_of
from bot.rehearsal.setups import ByMargin
from bot.testing.builders import instrument
from tests.rehearsal.test_runs import bars_of

D = Decimal
GOOD: dict[str, Any] = {
    "data": "2020-03-12-btc",
    "venue": "binanceusdm",
    "symbol": "BTC/USDT:USDT",
    "side": "long",
    "leverage": 10,
    "margin": 1000,
    "reserve": 0,
    "entry_at_ms": 1_583_971_200_000,
}


def case(**changed: Any) -> Case:
    return read_case(json.dumps(GOOD | changed))


def test_a_case_has_defaults_for_what_it_may_leave_out() -> None:
    found = case()
    assert (found.margin_mode, found.latency_ms) == (MarginMode.ISOLATED, 250)
    assert found.slippage == D("0.0005")
    assert [found.leverage, found.margin, found.reserve] == [D(10), D(1000), D(0)]


@pytest.mark.parametrize("number", ["1000.00000001", 1000.1, 1e3, "1e3"])
def test_numbers_keep_their_exact_text(number: str | float) -> None:
    assert case(margin=number).margin == D(str(number))


def test_options_are_read() -> None:
    found = case(margin_mode="cross", slippage_bps=12.5, latency_ms=2_000)
    assert (found.margin_mode, found.latency_ms) == (MarginMode.CROSS, 2_000)
    assert found.slippage == D("0.00125")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"side": "up"}, "side: expected long or short, was 'up'"),
        ({"side": ["long"]}, "side: expected long or short, was ['long']"),
        ({"leverage": 0}, "leverage: expected a number above 0, was 0"),
        ({"leverage": True}, "leverage: expected a number above 0, was True"),
        ({"leverage": "NaN"}, "leverage: expected a number above 0, was 'NaN'"),
        ({"margin": None}, "margin: expected a number above 0, was None"),
        ({"margin": "1e999"}, "margin: expected a number above 0"),
        ({"reserve": -1}, "reserve: expected a number from 0"),
        ({"entry_at_ms": 1.5}, "entry_at_ms: expected whole milliseconds"),
        ({"entry_at_ms": "soon"}, "entry_at_ms: expected a number from 0"),
        ({"data": ""}, "data: expected a text"),
        ({"data": 7}, "data: expected a text of 1 to 1000 characters, was 7"),
        ({"margin_mode": "both"}, "margin_mode: expected isolated or cross"),
        ({"slippage_bps": 10_000}, "slippage_bps: expected a number from 0 to 9999"),
        ({"latency_ms": 10_001}, "latency_ms: expected a number from 0 to 10000"),
        ({"levrage": 3}, "'levrage': expected one of data, venue"),
    ],
)
def test_a_wrong_case_is_one_line(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(CaseError) as raised:
        case(**changed)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", list(GOOD))
def test_nothing_that_is_needed_may_be_missing(name: str) -> None:
    given = {key: value for key, value in GOOD.items() if key != name}
    with pytest.raises(CaseError, match=f"{name}: expected it in every case"):
        read_case(json.dumps(given))


@given(st.one_of(st.text(), st.recursive(st.none() | st.floats() | st.text(), st.lists).map(str)))
def test_any_line_is_a_case_or_an_error(line: str) -> None:
    with pytest.raises(CaseError):
        read_case(line)


@given(
    st.dictionaries(
        st.sampled_from([*GOOD, "margin_mode", "slippage_bps", "latency_ms"]),
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.just([])),
    )
)
def test_any_change_of_a_case_gives_a_case_or_an_error(changed: dict[str, Any]) -> None:
    try:
        found = read_case(json.dumps(GOOD | changed))
    except CaseError as e:
        assert "\n" not in str(e)  # noqa: PT017 - either outcome is right
    else:
        assert found.leverage > 0


def _rules(venue: str, bars: Bars) -> Instrument:
    return instrument(bars.symbol)


@pytest.mark.parametrize("symbol", ["BTC/USDT:USDT", "BTCUSDT"])
def test_a_symbol_is_that_of_the_data_in_either_writing(symbol: str) -> None:
    bars = bars_of(50_000, 49_000, 48_000, symbol="BTC/USDT:USDT")
    setup = setup_of(case(symbol=symbol, reserve=7), bars, "binanceusdm", _rules)
    (opening,) = setup.openings
    assert (opening.side, opening.leverage, opening.size) == (Side.LONG, 10, ByMargin(D(1000)))  # type: ignore[arg-type]
    assert [setup.reserve, setup.latency_ms] == [D(7), 250]


def test_a_venue_is_that_of_the_policy_or_of_the_data() -> None:
    bars = replace(bars_of(50_000, 49_000, 48_000, symbol="BTC/USDT:USDT"), venue="okx")
    for venue in ("okx", "binanceusdm"):
        setup = setup_of(case(venue=venue), bars, "binanceusdm", _rules)
        assert setup.openings[0].instrument == instrument("BTC/USDT:USDT")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"symbol": "ETHUSDT"}, "symbol: expected that of the data, BTC/USDT:USDT, was 'ETHUSDT'"),
        (
            {"venue": "okx"},
            "venue: expected that of the policy, binanceusdm, .* or of the data, .*, was 'okx'",
        ),
    ],
)
def test_a_case_fits_its_data_and_its_policy(changed: dict[str, Any], words: str) -> None:
    bars = bars_of(50_000, 49_000, 48_000, symbol="BTC/USDT:USDT")
    with pytest.raises(CaseError, match=words):
        setup_of(case(**changed), bars, "binanceusdm", _rules)
