"""`liqguard margin`: what venues print is reproduced, and what is no case is refused by name."""

import json
import os
import re
import subprocess
from decimal import Decimal
from typing import Any

import pytest

from bot.cli.margin import answers
from bot.cli.margin_case import CaseError
from bot.exchange.venues.margining import UNKNOWN_VENUE, VENUES
from tests.cli.forked import run_forked
from tests.cli.test_exits import ROOT, assert_refused
from tests.core.published import Published, published

LONG: dict[str, Any] = {
    "id": "a 10x long",
    "kind": "linear",
    "margin_mode": "isolated",
    "side": "long",
    "entry": 50000,
    "contracts": 1,
    "contract_size": 1,
    "isolated_margin": 5000,
    "mmr": 0.005,
}
CROSS = LONG | {"margin_mode": "cross", "wallet_balance": 5_000}
FIELDS = {"id", "liquidation_price", "maintenance_margin", "bankruptcy_price", "margin_ratio"}
CASES = published()


def without(name: str) -> dict[str, Any]:
    return {each: value for each, value in LONG.items() if each != name}


def one(case: Any) -> dict[str, Any]:
    (answer,) = answers(json.dumps(case, default=float))
    return answer


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_published_numbers_are_reproduced(case: Published) -> None:
    found = one(case.question)
    assert found.keys() == FIELDS, found
    for name, expected in case.answers.items():
        assert abs(Decimal(found[name]) - expected.value) <= expected.tolerance, (name, found)


def test_where_maintenance_is_valued_can_be_said() -> None:
    """The two figures that articles print for one position: 45,250 at entry, 45,226.13 at mark."""
    at_entry = one(LONG | {"rules": {"maintenance_at": "entry"}})["liquidation_price"]
    at_mark = one(LONG | {"rules": {"maintenance_at": "mark"}})["liquidation_price"]
    assert (at_entry, round(at_mark, 2)) == (45_250, 45_226.13)


def test_no_price_is_null() -> None:
    covered = one(LONG | {"isolated_margin": 50_000})
    assert covered["liquidation_price"] is None
    assert covered["bankruptcy_price"] is None
    short = LONG | {"kind": "inverse", "side": "short", "contracts": 50_000}
    assert one(short | {"isolated_margin": 1})["liquidation_price"] is None
    assert one(short | {"isolated_margin": 0.5})["liquidation_price"] == pytest.approx(99_500)


def test_a_spent_balance_has_no_ratio() -> None:
    spent = one(LONG | {"mark": 44_000})
    assert spent["margin_ratio"] is None
    assert spent["liquidation_price"] == pytest.approx(45_226.13, abs=0.01)


@pytest.mark.parametrize(
    ("venue", "expected"), [("gate", 4_900), ("phemex", 4_900), ("dydx", 5_400)]
)
def test_tiers_are_progressive_where_the_venue_says_so(venue: str, expected: int) -> None:
    """Gate, 1,200,000 USDT since 2025-07-29: 4,900, each slice at its own rate."""
    tiers = [[0, 1_000_000, 0.004], [1_000_000, None, 0.0045]]
    asked = {"kind": "linear", "margin_mode": "cross", "side": "long", "exchange": venue}
    found = one(asked | {"notional": 1_200_000, "tiers": tiers})
    assert found == {"id": None, "maintenance_margin": expected}


def test_tiers_by_name_cross_a_border() -> None:
    """820,000 of notional at entry is in the third bracket, at liquidation in the second."""
    listed = LONG | {
        "exchange": "binance",
        "tiers": "BTC/USDT:USDT",
        "entry": 100_000,
        "contracts": 8.2,
        "isolated_margin": 60_000,
    }
    del listed["mmr"]
    assert one(listed)["liquidation_price"] == pytest.approx(93_111.900968, abs=1e-6)


@pytest.mark.parametrize(
    ("venue", "long", "short", "expected"),
    [
        ("binance", 3, 1, 39_818.548387),
        ("binance", 1, 3, 61_011.904762),
        ("gate", 3, 1, 79_000 / 1.988),
        ("bybit", 3, 1, 79_000 / 1.992),
    ],
)
def test_two_legs_of_a_symbol_share_one_price(
    venue: str, long: int, short: int, expected: float
) -> None:
    """Binance: (WB + cumL + cumS - qL EL + qS ES) / (qL mmr + qS mmr - qL + qS)."""
    both = LONG | {
        "exchange": venue,
        "rules": {"maintenance_at": "mark"},
        "margin_mode": "cross",
        "wallet_balance": 20_000,
        "contracts": long,
        "mmr": 0.004,
        "hedge_leg": {"side": "short", "entry": 51_000, "contracts": short, "mmr": 0.004},
    }
    del both["isolated_margin"]
    found = one(both)
    assert found["liquidation_price"] == pytest.approx(expected, abs=1e-6)
    bust = (20_000 - long * 50_000 + short * 51_000) / (short - long)
    assert found["bankruptcy_price"] == pytest.approx(bust)


def test_okx_adds_its_tick_to_isolated_liquidation_prices_only() -> None:
    okx = LONG | {"exchange": "okx", "tick": 0.1}
    plain = one(LONG | {"exchange": "okx"})
    early = one(okx)
    assert early["liquidation_price"] == pytest.approx(plain["liquidation_price"] + 0.1)
    assert early["bankruptcy_price"] == plain["bankruptcy_price"]
    cross = okx | {"margin_mode": "cross", "wallet_balance": 5_000}
    assert one(cross)["liquidation_price"] == plain["liquidation_price"]


@pytest.mark.parametrize(
    ("case", "error"),
    [
        (LONG | {"hedge_leg": {}}, "hedge_leg: expected none"),
        (CROSS | {"hedge_leg": 1}, "hedge_leg: expected a position, was 1"),
        (CROSS | {"hedge_leg": {"entry": 1}}, "hedge_leg.contracts: expected a number"),
        (
            CROSS | {"hedge_leg": {"entry": 1, "contracts": 1, "side": "long"}},
            "hedge_leg.side: expected the other side, was long",
        ),
        (
            CROSS | {"hedge_leg": {"entry": 1, "contracts": 1, "side": "short", "mmr": 0.1}},
            "hedge_leg.mmr: expected that of the position, was 0.1",
        ),
        (5, "expected a case like {...}, was 5"),
        ("text", "expected a case like {...}, was 'text'"),
        (LONG | {"surprise": 1}, "surprise: expected a known field, was unknown"),
        (LONG | {"rules": {"x": 1}}, "rules.x: expected a known field, was unknown"),
        (LONG | {"rules": 1}, "rules: expected an object, was 1"),
        (
            LONG | {"rules": {"maintenance_at": "last"}},
            "rules.maintenance_at: expected mark or entry, was 'last'",
        ),
        (without("kind"), "kind: expected linear or inverse, was missing"),
        (without("side"), "side: expected long or short, was missing"),
        (without("entry"), "entry: expected a number, was missing"),
        (without("contracts"), "contracts: expected a number, was missing"),
        (without("isolated_margin"), "isolated_margin: expected a number, was missing"),
        (without("mmr"), "mmr: expected a maintenance margin rate, or tiers, was missing"),
        (LONG | {"margin_mode": "cross"}, "wallet_balance: expected a number, was missing"),
        (LONG | {"contracts": -1}, "contracts: expected a number above 0, was -1"),
        (LONG | {"contracts": 0}, "contracts: expected a number above 0, was 0"),
        (LONG | {"entry": "50000"}, "entry: expected a number, was '50000'"),
        (LONG | {"entry": True}, "entry: expected a number, was True"),
        (LONG | {"entry": None}, "entry: expected a number, was None"),
        (LONG | {"entry": float("nan")}, "entry: expected a number, was NaN"),
        (LONG | {"mark": float("-inf")}, "mark: expected a number, was -Infinity"),
        (LONG | {"entry": 1e200}, "entry: expected at most 30 digits, was 1E+200"),
        (LONG | {"side": 1}, "side: expected long or short, was 1"),
        (LONG | {"side": ["long"]}, "side: expected long or short, was ['long']"),
        (LONG | {"exchange": 1}, "exchange: expected a text, was 1"),
        (LONG | {"mmr": 1.5}, "mmr: expected a share below 1, was 1.5"),
        (LONG | {"mmr": 0.9999, "fee_rate": 0.001}, "mmr: expected it below 1 with the fee"),
        (LONG | {"tiers": []}, "tiers: expected brackets that join"),
        (LONG | {"tiers": [[0, 1, 0.1], [2, None, 0.2]]}, "tiers: expected brackets that join"),
        (LONG | {"tiers": [[0, None]]}, "tiers.0: expected [floor, cap, rate], was"),
        (LONG | {"tiers": "nowhere"}, "tiers: expected rows [floor, cap, rate], or one of"),
        (LONG | {"other_positions": [{}]}, "other_positions: expected none"),
        (
            LONG | {"margin_mode": "cross", "wallet_balance": 1, "other_positions": [{}]},
            "other_positions.1.entry: expected a number, was missing",
        ),
        (
            LONG | {"margin_mode": "cross", "wallet_balance": 1, "other_positions": [7]},
            "other_positions.1: expected a position, was 7",
        ),
    ],
)
def test_what_is_no_case_is_refused_by_name(case: Any, error: str) -> None:
    found = one(case)
    assert found.keys() == {"id", "error"}
    assert found["error"].startswith(error), found


def test_a_batch_keeps_its_order_and_goes_on_after_a_bad_row() -> None:
    found = list(answers(json.dumps([LONG, {"id": "bad"}, LONG | {"id": "last"}])))
    assert [each["id"] for each in found] == ["a 10x long", "bad", "last"]
    assert ["error" in each for each in found] == [False, True, False]


def test_text_that_is_no_json_is_refused_whole() -> None:
    with pytest.raises(CaseError, match="expected JSON on standard input"):
        list(answers("{"))


MANUAL = (ROOT / "docs/margin.md").read_text(encoding="utf-8")


def test_the_manual_shows_what_the_command_answers() -> None:
    question, answer = re.findall(r"```json\n(.*?)\n```", MANUAL, re.DOTALL)
    assert one(json.loads(question)) == json.loads(answer)


def test_the_table_of_venues_in_the_manual_is_the_data() -> None:
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in MANUAL.splitlines()
        if re.match(r"\| [a-z, ]+ \| (mark|entry) \|", line)
    ]
    told = {name: row[1:] for row in rows for name in row[0].split(", ")}
    assert told.keys() == VENUES.keys() | {"others"}
    for name, (at, fee, tiers, legs, shown) in told.items():
        venue = VENUES.get(name, UNKNOWN_VENUE)
        rules = venue.rules
        assert at == rules.maintenance_at
        assert (
            fee
            == {"none": "none", "mark": "at mark", "bankruptcy": "at bankruptcy"}[rules.close_fee]
        )
        whole = "progressive" if venue.deducts else "whole position"
        assert tiers == f"{rules.tier_measure}, {whole}"
        assert (
            legs
            == {"both_legs": "both", "larger_leg": "larger leg", "net": "net"}[
                rules.hedge_requirement
            ]
        )
        assert (
            shown
            == {
                "none": "as it is",
                "towards_mark": "to the tick towards the mark",
                "away_from_mark": "to the tick away from the mark",
                "one_tick_early": "isolated: one tick early",
            }[rules.liquidation_rounding]
        )


def asked(text: str, *options: str) -> subprocess.CompletedProcess[str]:
    return run_forked(("margin", *options), os.environ, text)


def test_the_command() -> None:
    found = asked(json.dumps([LONG, {}]), "--json")
    assert found.returncode == 0, found.stderr
    first, second = map(json.loads, found.stdout.splitlines())
    assert first.keys() == FIELDS
    assert second.keys() == {"id", "error"}
    shown = asked(json.dumps(LONG | {"id": "[b]x", "mark": 45000}))
    assert shown.returncode == 0, shown.stderr
    assert "[b]x" in shown.stdout
    assert "45226.131" in shown.stdout
    assert "breached" in shown.stdout
    assert asked("{}", "--json").returncode == 3
    assert_refused(asked("{", "--json"), 3, "expected JSON")
