"""`liqguard plan`: options and JSON say the same, and what is amiss is one line."""

import json
import os
import subprocess
from contextlib import suppress
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import example, given
from hypothesis import strategies as st
from rich.console import Console

from bot.cli.plan import Asked, PlanError, asked_in_json, asked_in_options, planned
from bot.cli.plan_page import plan_json, print_plan
from bot.core.model import ContractKind, Instrument
from bot.core.planning import NOT_GIVEN, Plan, plan
from bot.policy.values import KNOWN_VENUES
from bot.rehearsal.bars import DataError
from bot.testing import builders as build
from tests.cli.forked import run_forked
from tests.cli.test_exits import assert_refused, liqguard

D = Decimal
BASE = {
    "symbol": "BTC/USDT:USDT",
    "side": "long",
    "entry_price": "60000",
    "stop_price": "58200",
    "equity": "10000",
    "risk": "1%",
    "leverage": "10",
}
MEASURED = {"atr": "900", "daily_move": "3%", "funding_rate": "0.01%"}
EDGE = {"win_rate": "55%", "payoff": "1.5"}
KNOWN = frozenset(
    {*BASE, *MEASURED, *EDGE, "venue", "stop_atr", "positions", "data", "funding_interval",
     "holding", "slippage", "shock"}
)  # fmt: skip
HELD = """\
wallet: 9000 USDT
positions:
  - { symbol: "ETH/USDT:USDT", side: long, quantity: 10 ETH, entry_price: 2000 USDT,
      margin_mode: isolated, margin: 1000 USDT }
"""


def asked(*left_out: str, **changed: str) -> Asked:
    fields = {name: text for name, text in {**BASE, **changed}.items() if name not in left_out}
    return asked_in_options(fields)


def made(asked_for: Asked) -> Plan:
    assert isinstance(asked_for.leverage, Decimal)
    found = plan(asked_for.instrument, asked_for.account, asked_for.idea, asked_for.leverage)
    assert isinstance(found, Plan)
    return found


def options(fields: dict[str, str]) -> list[str]:
    named = ([f"--{name.replace('_', '-')}", text] for name, text in fields.items())
    return ["plan", *(word for words in named for word in words)]


def piped(text: str) -> subprocess.CompletedProcess[str]:
    return run_forked(("plan", "--json"), os.environ, text)


def test_json_and_options_plan_the_same(tmp_path: Path) -> None:
    fields = {**BASE, **MEASURED, **EDGE}
    said = liqguard(tmp_path, *options(fields), "--json")
    numbers: dict[str, Any] = {**fields, "entry_price": 60_000, "equity": 10_000.0}
    sent = piped(json.dumps(numbers))
    assert (said.returncode, said.stderr) == (sent.returncode, sent.stderr) == (0, "")
    assert said.stdout == sent.stdout
    found = json.loads(said.stdout)
    assert (found["quantity"], found["initial_margin"], found["verdict"]) == (
        "0.052", "312", "pass",
    )  # fmt: skip
    assert D(found["liquidation_price"]) == round(54_000 / D("0.996"), 10)
    assert found["kelly"] == {"full": "0.25", "half": "0.125", "quarter": "0.0625"}


def test_a_failed_check_is_unsafe_in_both_forms(tmp_path: Path) -> None:
    reckless = {**BASE, **MEASURED, "leverage": "50"}
    page = liqguard(tmp_path, *options(reckless))
    assert (page.returncode, page.stderr) == (4, "")
    assert "fail  liquidation" in page.stdout
    result = liqguard(tmp_path, *options(reckless), "--json")
    assert (result.returncode, json.loads(result.stdout)["verdict"]) == (4, "fail")


def test_a_risk_too_small_for_any_order_is_unsafe_and_says_why(tmp_path: Path) -> None:
    poor = {**BASE, "equity": "100"}
    page = liqguard(tmp_path, *options(poor))
    assert (page.returncode, page.stdout.count("\n")) == (4, 1)
    assert "the smallest order, of 0.001, would lose" in page.stdout
    result = liqguard(tmp_path, *options(poor), "--json")
    assert result.returncode == 4
    assert json.loads(result.stdout) == {"error": page.stdout.strip()}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "plan: expected one JSON object on standard input"),
        ("[1]", "plan: expected one JSON object"),
        ('{"size": 1}', "size: expected one of atr, "),
        ('{"entry_price": NaN}', "entry_price: expected a text or a number, was NaN"),
        ('{"entry_price": true}', "entry_price: expected a text or a number, was true"),
        ('{"entry_price": 1}', "symbol: expected a value, was missing"),
    ],
)
def test_json_that_is_amiss_is_invalid(text: str, words: str) -> None:
    assert_refused(piped(text), 3, words)


def test_a_missing_option_is_usage(tmp_path: Path) -> None:
    assert_refused(liqguard(tmp_path, "plan", "--side", "long"), 2, "--symbol: expected a value")


def test_an_unknown_contract_is_invalid(tmp_path: Path) -> None:
    fields = {**BASE, "symbol": "ABC/USDT:USDT"}
    assert_refused(liqguard(tmp_path, *options(fields)), 3, "ABC/USDT:USDT: expected a contract")


@pytest.mark.parametrize(
    ("left_out", "changed", "field", "words"),
    [
        ([], {"side": "up"}, "side", "expected long or short, was 'up'"),
        (
            [],
            {"venue": "nasdaq"},
            "venue",
            f"expected {' or '.join(KNOWN_VENUES)}, was 'nasdaq'",
        ),
        ([], {"entry_price": "0"}, "entry_price", "expected a number above 0"),
        ([], {"entry_price": "1e13"}, "entry_price", "up to 1000000000000, was '1e13'"),
        ([], {"equity": "inf"}, "equity", "was 'inf'"),
        ([], {"leverage": "-3"}, "leverage", "expected a number above 0"),
        ([], {"risk": "1"}, "risk", "expected a ratio like '12%' or '25 bps', was '1'"),
        ([], {"risk": "100%"}, "risk", "expected less than 100%, was '100%'"),
        ([], {"funding_rate": "1"}, "funding_rate", "expected a ratio like '0.01%'"),
        ([], {"funding_rate": "-100%"}, "funding_rate", "expected less than 100%"),
        ([], {"holding": "3d"}, "holding", "expected a duration like"),
        ([], {"holding": "0s"}, "holding", "expected more than 0"),
        ([], {"stop_price": "60000"}, "stop_price", "a stop below the entry price 60000"),
        ([], {"side": "short"}, "stop_price", "a stop above the entry price 60000"),
        ([], {"stop_atr": "2"}, "stop_price", "expected either it or stop_atr, was both"),
        (["stop_price"], {}, "stop_price", "expected either it or stop_atr, was missing"),
        (["stop_price"], {"stop_atr": "2"}, "stop_atr", "expected atr or data beside it"),
        (["stop_price"], {"stop_atr": "70", "atr": "900"}, "stop_atr", "below the entry price"),
        (["equity"], {}, "equity", "expected either it or positions, was missing"),
        ([], {"positions": "held.yaml"}, "equity", "expected either it or positions, was both"),
        ([], {"win_rate": "55%"}, "payoff", "expected win_rate and payoff together"),
        ([], {"payoff": "2"}, "win_rate", "expected win_rate and payoff together"),
        (["leverage"], {}, "leverage", "expected one, or daily_move or data to find it by"),
        ([], {"data": "quiet-week-btc", "atr": "1"}, "atr", "either it or data, was both"),
        ([], {"data": "2020-03-12-eth"}, "symbol", "that of the data, ETH/USDT:USDT, was 'BTC"),
    ],
)
def test_a_field_that_is_amiss_is_named(
    left_out: list[str], changed: dict[str, str], field: str, words: str
) -> None:
    with pytest.raises(typer.BadParameter) as caught:
        asked(*left_out, **changed)
    assert caught.value.param_hint == f"--{field.replace('_', '-')}"
    assert words in str(caught.value)
    fields = {name: text for name, text in {**BASE, **changed}.items() if name not in left_out}
    with pytest.raises(PlanError, match=f"^{field}: expected "):
        asked_in_json(json.dumps(fields), KNOWN)


def test_an_inverse_contract_is_not_planned_as_a_linear_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def inverse(venue: str, symbol: str) -> Instrument:
        return build.instrument(symbol, kind=ContractKind.INVERSE)

    monkeypatch.setattr("bot.cli.plan.instrument_for", inverse)
    with pytest.raises(typer.BadParameter, match="expected a linear contract, was BTC/USDT:USDT"):
        asked()


def test_what_is_left_out_is_not_invented() -> None:
    bare = asked()
    assert (bare.idea.atr, bare.idea.daily_move) == (NOT_GIVEN, NOT_GIVEN)
    assert (bare.idea.funding, bare.idea.edge) == (NOT_GIVEN, NOT_GIVEN)
    told = plan_json(made(bare))
    assert [name for name, value in told.items() if value is None] == [
        "stop_distance_atrs",
        "stop_distance_sigmas",
        "liquidation_distance_atrs",
        "liquidation_distance_sigmas",
        "room_after_stop_atrs",
        "room_after_stop_sigmas",
        "time_to_liquidation_ms",
        "funding",
        "kelly",
    ]


def test_without_liquidation_there_is_no_price_of_it() -> None:
    told = plan_json(made(asked(leverage="1", **MEASURED)))
    assert told["liquidation_price"] is None
    assert told["liquidation_distance"] is None
    assert told["room_after_stop_atrs"] is None
    assert told["time_to_liquidation_ms"] is None


def test_a_rate_below_zero_pays_the_long() -> None:
    told = plan_json(made(asked(**{**MEASURED, "funding_rate": "-0.01%"})))
    assert told["funding"]["funding_cost_24h"] == "-0.003"
    assert made(asked(funding_rate="0%")).carry is not NOT_GIVEN


def test_positions_of_a_file_count_as_equity_and_as_the_same_bet(tmp_path: Path) -> None:
    file = tmp_path / "held.yaml"
    file.write_text(HELD, encoding="utf-8")
    held = asked("equity", positions=str(file))
    assert held.account.equity == 10_000
    assert held.account.free == 9_000
    assert made(held).joint.others == 1


def test_bars_measure_the_market_in_hours() -> None:
    """Bars of 15 minutes: 4 of them are one, and sigma is carried to a day."""
    found = asked(
        "symbol", "stop_price",
        data="2025-05-08-eth", side="short", entry_price="1800", stop_atr="3",
    ).idea  # fmt: skip
    assert isinstance(found.atr, Decimal)
    assert isinstance(found.daily_move, Decimal)
    assert found.stop_price == pytest.approx(1800 + 3 * found.atr, abs=D("0.01"))
    # Hourly ranges of those days, which rose by a fifth: tens of dollars, and percents a day.
    assert 10 < found.atr < 60
    assert D("0.02") < found.daily_move < D("0.10")


def test_bars_that_do_not_reach_are_refused(tmp_path: Path) -> None:
    def measured(*closes: int) -> Asked:
        file = tmp_path / "binanceusdm_BTCUSDT.csv"
        rows = [
            f"{1_700_000_000_000 + hour * 3_600_000},9,11,8,{close},1"
            for hour, close in enumerate(closes)
        ]
        file.write_text("\n".join(["ts_ms,open,high,low,close,volume", *rows]), encoding="utf-8")
        return asked(data=str(file))

    with pytest.raises(DataError, match="rows: expected 15 bars of an hour or longer, was 14"):
        measured(*[9, 10] * 7)
    with pytest.raises(DataError, match="rows: expected prices that move, was none"):
        measured(*[9] * 15)
    assert measured(*[9, 10] * 7, 9).idea.atr == 3


def test_the_leverage_that_is_found_passes(tmp_path: Path) -> None:
    fields = {name: text for name, text in {**BASE, **MEASURED}.items() if name != "leverage"}
    found = liqguard(tmp_path, *options(fields), "--json")
    assert (found.returncode, found.stderr) == (0, "")
    told = json.loads(found.stdout)
    assert (told["leverage"], told["verdict"]) == ("11", "pass")
    more = liqguard(tmp_path, *options({**fields, "leverage": "12"}), "--json")
    assert json.loads(more.stdout)["verdict"] == "warn"


NUMBERS = st.sampled_from(
    ["1e-12", "1e12", "1e-300", "0.00000001", "1", "2", "150", "59000", "60000", "61000",
     "123456789012.12345678"]
)  # fmt: skip
RATIOS = st.sampled_from(["0.00000001%", "25 bps", "3%", "50%", "99.99999999%", "-1%", "-99%"])
DURATIONS = st.sampled_from(["1ms", "8h", "24h", "720h", "999999999999h"])


@given(
    st.fixed_dictionaries(
        {
            "symbol": st.sampled_from(["BTC/USDT:USDT", "1000PEPE/USDT:USDT"]),
            "side": st.sampled_from(["long", "short"]),
            "entry_price": NUMBERS,
            "stop_price": NUMBERS,
            "equity": NUMBERS,
            "risk": RATIOS,
            "daily_move": RATIOS,
        },
        optional={
            "atr": NUMBERS,
            "leverage": NUMBERS,
            "funding_rate": RATIOS,
            "funding_interval": DURATIONS,
            "holding": DURATIONS,
            "win_rate": RATIOS,
            "payoff": NUMBERS,
            "slippage": RATIOS,
            "shock": RATIOS,
        },
    )
)
@example({**BASE, "entry_price": "2", "stop_price": "1e-12", "risk": "50%", "leverage": "1e-12"})
@example({**BASE, "entry_price": "1e12", "equity": "1e12", "risk": "50%", "atr": "1e-12"})
def test_whatever_is_asked_is_planned_or_refused(fields: dict[str, str]) -> None:
    with suppress(PlanError):
        found = planned(asked_in_json(json.dumps(fields), KNOWN))
        if isinstance(found, Plan):
            json.dumps(plan_json(found), allow_nan=False)
            print_plan(Console(file=StringIO(), width=80), found)


def test_the_page_fits_80_columns() -> None:
    asked_for = asked(leverage="50", **{**MEASURED, "funding_rate": "0.05%", "holding": "72h"})
    text = StringIO()
    print_plan(Console(file=text, width=80), made(asked_for))
    lines = text.getvalue().splitlines()
    assert all(len(line.rstrip()) <= 80 for line in lines)
    assert "…" not in text.getvalue()
    facts = lines[: lines.index("")]
    assert all(line[:13].strip() for line in facts), "a fact is wrapped"
