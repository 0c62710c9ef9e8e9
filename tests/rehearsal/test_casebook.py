"""Policy tests are lived through, closed loop; a claim that fails says what was and why."""

import re
from pathlib import Path

import pytest

from bot.exchange.venues.binanceusdm import instruments
from bot.policy.casefile import parse_cases
from bot.policy.loader import load_policy, parse_policy
from bot.rehearsal.casebook import Trial, Verdict, try_policy
from tests.runtime.build import TEXT

DEMO = Path(__file__).parents[2] / "config" / "policies" / "demo.yaml"
EVERY = re.compile("")

LONG = """\
        - symbol: BTC/USDT:USDT
          side: long
          quantity: 0.2 BTC
          entry_price: 50000 USDT
          margin_mode: isolated
          margin: 1000 USDT
"""
CROSS = """\
        - symbol: BTC/USDT:USDT
          side: long
          quantity: 0.2 BTC
          entry_price: 50000 USDT
          margin_mode: cross
          leverage: 10x
        - symbol: ETH/USDT:USDT
          side: long
          quantity: 5 ETH
          entry_price: 2000 USDT
          margin_mode: cross
          leverage: 10x
"""


def case(
    prices: str, expect: str, *, positions: str = LONG, wallet: str = "1000 USDT", more: str = ""
) -> str:
    return f"""\
schema: liqguard/v1
policy: demo.yaml
tests:
  - name: a case
    interval: 1s
    given:
      wallet: {wallet}
      positions:
{positions}\
    prices:
      {prices}
{more}\
    expect:
{expect}"""


def tried(text: str, policy: str = "") -> Trial:
    cases = parse_cases(text, DEMO.with_name("demo_test.yaml"))
    chosen = parse_policy(policy, "p.yaml") if policy else load_policy(DEMO)
    return try_policy(cases, chosen, instruments(), EVERY)


def verdict(text: str, policy: str = "") -> Verdict:
    (only,) = tried(text, policy).verdicts
    return only


def failed(text: str, policy: str = "") -> list[tuple[str, str, str]]:
    return [(each.claim, each.expected, each.seen) for each in verdict(text, policy).failures]


def test_what_holds_passes() -> None:
    text = case(
        "BTC/USDT:USDT: 50000x60",
        "      - { at: 10s, actions: [place_stop 45868.9 USDT], spent: 0 USDT }\n"
        '      - { at: end, actions: [], stop: { "BTC/USDT:USDT": in_place } }\n'
        '      - { at: end, quantity: { "BTC/USDT:USDT": 0.2 BTC } }\n',
    )
    assert failed(text) == []


def test_every_claim_that_does_not_hold_says_what_was() -> None:
    text = case(
        "BTC/USDT:USDT: 50000x60",
        "      - at: end\n"
        "        states: { liquidation-ladder/warn: firing }\n"
        "        actions: [top_up 250 USDT]\n"
        "        spent: 250 USDT\n"
        '        stop: { "BTC/USDT:USDT": missing }\n'
        '        quantity: { "BTC/USDT:USDT": 0.1 BTC }\n'
        "        liquidated: true\n",
    )
    assert failed(text) == [
        ("states: liquidation-ladder/warn", "firing", "inactive"),
        ("actions", "top_up 250 USDT", "place_stop 45868.9 USDT"),
        ("spent", "250 USDT", "0 USDT"),
        ("liquidated", "true", "false"),
        ("stop: BTC/USDT:USDT", "missing", "in_place"),
        ("quantity: BTC/USDT:USDT", "0.1", "0.2"),
    ]


def test_a_failure_names_its_line_its_time_and_what_the_guard_saw() -> None:
    text = case("BTC/USDT:USDT: 50000x10 46850x30", "      - { at: 20s, actions: [place_stop] }\n")
    (failure,) = verdict(text).failures
    assert (failure.line, failure.at_ms) == (18, 20_000)
    assert "BTC/USDT:USDT at 46850, distance" in failure.why
    assert "liquidation-ladder/top-up" in failure.why


def test_the_loop_is_closed_a_top_up_moves_liquidation_away() -> None:
    text = case(
        "BTC/USDT:USDT: 50000x5 46850x60",
        "      - { at: 30s, actions: [place_stop, top_up 250 USDT, place_stop] }\n"
        "      - { at: end, states: { liquidation-ladder/top-up: inactive }, spent: 250 USDT }\n",
    )
    assert failed(text) == []


def test_unguarded_prices_liquidate_in_a_case_too() -> None:
    """A gap jumps over every stop: the paper exchange is no friend of the guard."""
    text = case(
        "BTC/USDT:USDT: 50000x5 40000x10",
        "      - { at: end, liquidated: false }\n",
        more="    faults:\n      - { from: 0s, for: 60s, fault: stops_refused }\n",
    )
    text = text.replace("interval: 1s", "interval: 10ms").replace("60s, fault", "20s, fault")
    assert failed(text) == [("liquidated", "false", "true")]


def test_no_data_is_unknown_and_the_market_goes_on_meanwhile() -> None:
    text = case(
        "BTC/USDT:USDT: 50000x10 _x20 50000x10",
        "      - { at: 9s, states: { liquidation-ladder/warn: inactive } }\n"
        "      - { at: 25s, states: { liquidation-ladder/warn: unknown } }\n"
        "      - { at: end, states: { liquidation-ladder/warn: inactive } }\n",
    )
    assert failed(text) == []


def test_a_lost_reply_is_not_sent_again() -> None:
    text = case(
        "BTC/USDT:USDT: 50000x5 46850x90",
        "      - { at: end, actions: [place_stop, top_up, place_stop], spent: 250 USDT }\n",
        more="    faults:\n      - { from: 5s, for: 30s, fault: writes_unknown }\n",
    )
    assert failed(text) == []


def test_a_refused_stop_is_missing_until_it_is_taken() -> None:
    text = case(
        "BTC/USDT:USDT: 50000x120",
        '      - { at: 20s, stop: { "BTC/USDT:USDT": missing } }\n'
        '      - { at: end, stop: { "BTC/USDT:USDT": in_place } }\n',
        more="    faults:\n      - { from: 0s, for: 30s, fault: stops_refused }\n",
    )
    text = text.replace(
        "interval: 1s\n    given:\n", "interval: 1s\n    given:\n      latency: 10ms\n"
    )
    assert failed(text) == []


BOOK = (
    TEXT.replace("margin_mode: isolated", "margin_mode: cross")
    .replace(
        "do: top_up, with: { to: 7% }, cooldown: 10s",
        "do: partial_close, with: { to: 7% }, cooldown: 10s",
    )
    .replace("rules:", "stress: { shock: 20% }\nrules:")
)


def test_cross_positions_share_the_wallet_and_are_closed_in_part() -> None:
    text = case(
        "BTC/USDT:USDT: 50000x5 50000-30x100\n      ETH/USDT:USDT: 2000x5 2000-1.2x100",
        "      - { at: 5s, states: { ladder/top-up: inactive } }\n"
        "      - { at: end, liquidated: false }\n",
        positions=CROSS,
        wallet="2000 USDT",
    )
    assert failed(text, BOOK) == []
    assert "ladder/top-up" in verdict(text, BOOK).fired


def test_a_bill_is_charged_and_a_funding_rule_acts_before_it() -> None:
    policy = TEXT.replace("watch: liquidation_distance", "watch: funding_cost_interval")
    policy = re.sub(r"      - \{ step: (warn|top-up|out).*\n", "", policy)
    policy += (
        "      - { step: trim, above: 1%, for: 1s, do: trim_and_refund, "
        "with: { fraction: 50% }, cooldown: 1h }\n"
    )
    text = case(
        "BTC/USDT:USDT: 50000x1300",
        "      - { at: 500s, actions: [place_stop] }\n"
        '      - { at: 700s, quantity: { "BTC/USDT:USDT": 0.1 BTC } }\n'
        "      - { at: end, actions: [trim_and_refund, refund, place_stop, place_stop] }\n",
        more="    funding:\n      BTC/USDT:USDT: 0.2% every 8h, first in 20m\n",
    )
    assert failed(text, policy) == []


def test_only_the_cases_asked_for_are_tried_and_untried_steps_are_named() -> None:
    cases = parse_cases(
        case("BTC/USDT:USDT: 50000x20", "      - { at: end, liquidated: false }\n"),
        DEMO.with_name("demo_test.yaml"),
    )
    policy = load_policy(DEMO)
    none = try_policy(cases, policy, instruments(), re.compile("other"))
    assert none.verdicts == ()
    assert len(none.untried) == 4
    some = try_policy(cases, policy, instruments(), re.compile("a c"))
    assert len(some.verdicts) == 1


@pytest.mark.parametrize("margin", ["1000 USDT", "333.33 USDT", "7 USDT"])
def test_the_margin_is_just_what_the_case_gives(margin: str) -> None:
    quantity = "0.001" if margin == "7 USDT" else "0.2"
    positions = LONG.replace("1000 USDT", margin).replace("0.2 BTC", f"{quantity} BTC")
    policy = TEXT.replace("room: 1.5%", "room: 0.2%").replace("floor: 0.7%", "floor: 0.1%")
    policy = re.sub(r"      - \{ step: (warn|top-up|out).*\n", "", policy) + (
        "      - { step: never, below: 0.3%, for: 1s, do: alert }\n"
    )
    text = case(
        "BTC/USDT:USDT: 50000x3",
        f'      - {{ at: end, quantity: {{ "BTC/USDT:USDT": {quantity} BTC }} }}\n',
        positions=positions,
    )
    assert failed(text, policy) == []
