"""`liqguard replay` from outside: one with its page, many in any order, and what is refused."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_exits import ROOT, assert_refused, liqguard

DEMO = str(ROOT / "config/policies/demo.yaml")
HOUR_MS = 3_600_000
T0 = 1_583_971_200_000
FALL = (8_000, 7_900, 7_800, 7_600, 7_300, 7_000, 6_500, 6_400)


@pytest.fixture(scope="module")
def prices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hourly bars that fall by a fifth."""
    file = tmp_path_factory.mktemp("prices") / "binanceusdm_BTCUSDT_made-up.csv"
    rows = ["ts_ms,open,high,low,close,volume"]
    for index, (first, last) in enumerate(pairwise(FALL)):
        rows.append(f"{T0 + index * HOUR_MS},{first},{first},{last},{last},1")
    file.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return file


def case(prices: Path, **changed: Any) -> str:
    return json.dumps(
        {
            "data": str(prices),
            "venue": "binanceusdm",
            "symbol": "BTCUSDT",
            "side": "long",
            "leverage": 10,
            "margin": 1000,
            "reserve": 1000,
            "entry_at_ms": 0,
        }
        | changed
    )


def one(prices: Path, tmp_path: Path, *more: str) -> dict[str, Any]:
    found = liqguard(tmp_path, "replay", "--data", str(prices), "--policy", DEMO, "--json", *more)
    assert found.returncode == 0, found.stderr
    result: dict[str, Any] = json.loads(found.stdout)
    return result


def many(tmp_path: Path, lines: list[str], *more: str, **environ: str) -> list[dict[str, Any]]:
    file = tmp_path / "cases.jsonl"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    asked = ("replay", "--cases", str(file), "--policy", "balanced", "--json", *more)
    found = liqguard(tmp_path, *asked, **environ)
    assert found.returncode == 0, found.stderr
    return [json.loads(line) for line in found.stdout.splitlines()]


def test_the_result_has_the_shape_that_others_build_on(prices: Path, tmp_path: Path) -> None:
    result = one(prices, tmp_path)
    fate = {"liquidated", "liquidated_at_ms", "liquidation_price", "final_equity", "min_distance"}
    assert set(result["unguarded"]) == set(result["guarded"]) == fate
    assert set(result) == {
        "unguarded", "guarded", "actions", "spent", "closed_fraction", "digest",
    }  # fmt: skip
    unguarded = result["unguarded"]
    assert (unguarded["liquidated"], unguarded["final_equity"]) == (True, "1000.00000000")
    assert result["guarded"] | {"final_equity": "", "min_distance": ""} == {
        "liquidated": False,
        "liquidated_at_ms": None,
        "liquidation_price": None,
        "final_equity": "",
        "min_distance": "",
    }
    assert {"at_ms", "verb", "amount", "price", "reason"} <= set(result["actions"][0])
    assert result["closed_fraction"] == "1"


def test_a_page_is_written_where_it_is_asked_for(prices: Path, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    asked = ("replay", "--data", str(prices), "--policy", DEMO, "--report", str(file))
    found = liqguard(tmp_path, *asked)
    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith(
        "Unguarded, the 10x long in BTC was liquidated on 12 March 2020"
    )
    assert f"report: {file}" in found.stdout.replace("\n", "")
    assert file.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_a_liquidation_is_told_step_by_step(prices: Path, tmp_path: Path) -> None:
    found = liqguard(tmp_path, "replay", "--data", str(prices), "--policy", DEMO)
    assert found.returncode == 0, found.stderr
    _, _, told = found.stdout.partition("Unguarded, the liquidation step by step:\n")
    assert "BTC/USDT:USDT long taken over: " in told.splitlines()[0]
    assert "Guarded, the liquidation" not in found.stdout


def test_terms_of_trade_change_what_is_left(prices: Path, tmp_path: Path) -> None:
    plain = float(one(prices, tmp_path)["guarded"]["final_equity"])
    for worse in (
        ("--slippage-bps", "100"),
        ("--taker-fee-bps", "50"),
        ("--depth", "20000"),
        ("--latency-ms", "2000"),
    ):
        assert float(one(prices, tmp_path, *worse)["guarded"]["final_equity"]) < plain, worse


def test_a_short_gains_where_a_long_is_lost(prices: Path, tmp_path: Path) -> None:
    result = one(prices, tmp_path, "--side", "short", "--leverage", "5", "--margin", "500")
    assert not result["unguarded"]["liquidated"]
    assert float(result["unguarded"]["final_equity"]) == pytest.approx(
        1_500 + 2_500 * 0.2, rel=0.01
    )


def test_several_positions_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "book.yaml"
    legs = [
        f"  - {{ data: 2020-03-12-{coin}, side: long, leverage: 10x, margin: 1000 USDT, "
        "margin_mode: isolated }"
        for coin in ("btc", "eth")
    ]
    file.write_text("\n".join(["positions:", *legs]) + "\n", encoding="utf-8")
    entry = ("--entry-at-ms", str(1_584_003_600_000))
    asked = ("replay", "--positions", str(file), "--policy", DEMO, "--json", *entry)
    found = liqguard(tmp_path, *asked)
    assert found.returncode == 0, found.stderr
    assert {deed["symbol"] for deed in json.loads(found.stdout)["actions"]} == {
        "BTC/USDT:USDT",
        "ETH/USDT:USDT",
    }


def test_many_cases_give_a_line_each_in_their_order_and_bad_ones_say_why(
    prices: Path, tmp_path: Path
) -> None:
    lines = [
        case(prices),
        "not json",
        case(prices, leverage=400),
        "",
        case(prices, data="nowhere.csv"),
        case(prices, side="short"),
        case(prices, venue="okx"),
    ]
    results = many(tmp_path, lines)
    assert ["error" in result for result in results] == [
        False,
        True,
        True,
        True,
        True,
        False,
        True,
    ]
    assert all(set(result) == {"error"} for result in results if "error" in result)
    assert "expected leverage up to" in results[2]["error"]
    assert "nowhere.csv" in results[4]["error"]
    assert results[0]["unguarded"]["liquidated"]
    assert not results[5]["unguarded"]["liquidated"]


def test_results_depend_on_no_order_no_process_and_no_seed_of_hashing(
    prices: Path, tmp_path: Path
) -> None:
    lines = [
        case(prices, leverage=leverage, side=side, margin_mode=mode)
        for leverage, side, mode in (
            (10, "long", "isolated"),
            (5, "long", "isolated"),
            (20, "short", "isolated"),
            (10, "long", "cross"),
        )
    ]
    alone = many(tmp_path, lines, "--jobs", "1", PYTHONHASHSEED="1")
    turned = many(tmp_path, lines[::-1], "--jobs", "2", PYTHONHASHSEED="2")
    assert turned[::-1] == alone
    assert not any("error" in result for result in alone)
    assert len({result["digest"] for result in alone}) == len(lines)


def test_no_case_that_succeeds_is_a_failure(tmp_path: Path) -> None:
    file = tmp_path / "cases.jsonl"
    file.write_text("{}\n[]\n", encoding="utf-8")
    asked = ("replay", "--cases", str(file), "--policy", "balanced", "--json")
    found = liqguard(tmp_path, *asked)
    assert found.returncode == 3
    assert [set(json.loads(line)) for line in found.stdout.splitlines()] == [{"error"}] * 2


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--policy", DEMO], 2, "expected either --data or --positions"),
        (["--data", "2020-03-12-btc"], 2, "--policy"),
        (["--data", "nothing", "--policy", DEMO], 3, "expected a file or a scenario"),
        (["--data", "2020-03-12-btc", "--policy", "nothing"], 3, "nothing:1:1: policy"),
        (
            ["--data", "2020-03-12-btc", "--policy", DEMO, "--margin-mode", "both"],
            2,
            "expected isolated or cross, was 'both'",
        ),
        (
            ["--data", "2020-03-12-btc", "--policy", DEMO, "--margin-mode", "cross"],
            3,
            "expected isolated margin",
        ),
        (
            ["--data", "2020-03-12-btc", "--policy", DEMO, "--slippage-bps", "10000"],
            2,
            "expected less than 10000 bps",
        ),
        (
            ["--cases", "x.jsonl", "--policy", DEMO, "--leverage", "3"],
            2,
            "expected in the file of --cases",
        ),
        (["--cases", "nothing.jsonl", "--policy", DEMO], 2, "expected a readable file"),
        (
            ["--positions", "x.yaml", "--policy", DEMO, "--margin-mode", "cross"],
            2,
            "expected in the file of --positions",
        ),
    ],
)
def test_what_cannot_be_asked_is_one_line(
    tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    assert_refused(liqguard(tmp_path, "replay", *arguments), code, words)


def test_a_page_that_cannot_be_written_is_one_line(prices: Path, tmp_path: Path) -> None:
    nowhere = tmp_path / "no" / "page.html"
    asked = ("replay", "--data", str(prices), "--policy", DEMO, "--report", str(nowhere))
    assert_refused(liqguard(tmp_path, *asked), 2, "expected to write the report")


def test_the_number_of_processes_is_that_of_the_machine(tmp_path: Path) -> None:
    found = liqguard(tmp_path, "replay", "--help")
    assert f"default: {os.cpu_count()}" in found.stdout


def test_a_hostile_line_is_an_error_and_the_next_one_is_read(prices: Path, tmp_path: Path) -> None:
    cut, unsorted = tmp_path / "binanceusdm_BTCUSDT_cut.csv.gz", tmp_path / f"un{prices.name}"
    cut.write_bytes(gzip.compress(prices.read_bytes())[:-20])
    rows = prices.read_text(encoding="utf-8").splitlines()
    unsorted.write_text("\n".join([rows[0], rows[2], rows[1]]), encoding="utf-8")
    bad = {
        "x" * 10_000_000: "expected one JSON object a line",
        case(prices, junk="x" * 10_000_000): "'junk': expected one of data, venue",
        "[" * 100_000: "recursion",
        '{"margin":' + "9" * 5_000 + "}": "expected one JSON object a line",
        '{"margin": NaN}': "NaN is no number",
        '{"data": "a", "data": "b"}': "'data' is there twice",
        "null": "expected a JSON object",
        case(prices, margin="1e308"): "margin: expected a number above 0, was '1e308'",
        case(prices, margin="1_000"): "margin: expected a number above 0, was '1_000'",
        case(prices, margin="٣"): "margin: expected a number above 0",
        case(prices, leverage="NaN"): "leverage: expected a number above 0, was 'NaN'",
        case(prices, leverage=True): "leverage: expected a number above 0, was True",
        case(prices, margin=-1): "margin: expected a number above 0, was -1",
        case(prices, leverage=200): "expected leverage up to",
        case(prices, side="up"): "side: expected long or short, was 'up'",
        case(prices, entry_at_ms=10**13): "entry: expected a time before the data ends",
        case(prices, data="x" * 100_000): "data: expected a text of 1 to 1000 characters",
        case(prices, data="a\u2028b"): "expected a file or a scenario",
        case(prices, data="\ud800"): "expected",
        case(prices, data="\0"): "expected a readable file",
        case(prices, data=str(tmp_path)): "expected a readable file",
        case(prices, data=str(cut)): "expected a whole gzip file",
        case(prices, data=str(unsorted)): "expected a time after that of the row before",
        case(prices, data="binanceusdm:BTCUSDT:1m:0001-01-01..9999-12-31"): "a year from 2009",
    }
    results = many(tmp_path, [*bad, case(prices)])
    assert "error" not in results.pop()
    for result, words in zip(results, bad.values(), strict=True):
        assert set(result) == {"error"}
        assert words in result["error"]
        assert "\n" not in result["error"]
        assert len(result["error"]) < 500


@pytest.mark.parametrize("stopped", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_whoever_stops_it_leaves_no_process_behind(
    prices: Path, tmp_path: Path, stopped: signal.Signals
) -> None:
    long = tmp_path / "cases.jsonl"
    quiet = case(prices, data="quiet-week-btc", leverage=20)
    long.write_text("\n".join([case(prices, side="short"), *[quiet] * 50]), encoding="utf-8")
    asked = ("replay", "--cases", str(long), "--policy", "balanced", "--json", "--jobs", "2")
    with subprocess.Popen(
        [sys.executable, "-m", "bot", *asked],
        cwd=ROOT,
        env={**os.environ, "LIQGUARD_STATE_DIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()  # the first result is there: both workers are at work
        begun_s = time.perf_counter()
        process.send_signal(stopped)
        complaints = process.stderr.read()  # until all that hold its end are gone
        assert time.perf_counter() - begun_s < 10
    assert process.returncode == (130 if stopped is signal.SIGINT else -stopped)
    assert "Traceback" not in complaints
    assert not _alive_in_session(process.pid)


def _alive_in_session(session: int) -> list[str]:
    """The processes of a session that go on running; an orphan that nobody reaps does not."""
    asked = ["ps", "-o", "stat=,args=", "-s", str(session)]
    until_s = time.perf_counter() + 10  # on a busy machine a process takes its time to die
    while True:
        found = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
        alive = [line for line in found.splitlines() if not line.startswith("Z")]
        if not alive or time.perf_counter() > until_s:
            return alive
        time.sleep(0.05)


def test_a_book_may_mix_isolated_and_cross(prices: Path, tmp_path: Path) -> None:
    """The cross long falls with its wallet; the isolated one has its own margin, a bit later."""
    other = prices.with_name("binanceusdm_ETHUSDT_made-up.csv")
    other.write_bytes(prices.read_bytes())
    file, page = tmp_path / "book.yaml", tmp_path / "page.html"
    legs = [
        f"  - {{ data: {data}, side: long, leverage: 10x, margin: 1000 USDT, "
        f"margin_mode: {mode} }}"
        for data, mode in ((prices, "cross"), (other, "isolated"))
    ]
    file.write_text("\n".join(["positions:", *legs]) + "\n", encoding="utf-8")
    terms = ("--reserve", "100", "--slippage-bps", "20", "--latency-ms", "1000", "--depth", "1e6")
    asked = ("--positions", str(file), "--policy", "balanced", "--json", *terms)
    found = liqguard(tmp_path, "replay", *asked, "--no-funding", "--report", str(page))
    assert found.returncode == 0, found.stderr
    result = json.loads(found.stdout)
    assert float(result["unguarded"]["final_equity"]) == pytest.approx(0, abs=1)
    assert not result["guarded"]["liquidated"]
    assert float(result["guarded"]["final_equity"]) > 100
    assert {deed["symbol"][:3] for deed in result["actions"]} == {"BTC", "ETH"}
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
