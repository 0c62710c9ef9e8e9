"""Thresholds are written in the unit of their metric; what bars alone tell may be unknown."""

from decimal import Decimal

import pytest
from ruamel.yaml import YAML

from bot.core.policy import Above, Below, Metric
from bot.policy.loader import parse_policy
from bot.policy.problems import PolicyError
from bot.policy.schema import policy_schema
from bot.policy.values import Unfit, level_of, level_text
from tests.policy.json_schema import accepts

HEAD = """\
schema: liqguard/v1
account: { name: main, venue: binanceusdm, margin_mode: MODE, position_mode: one_way }
protect:
  stop: { room: 3% }
  floor: 150 bps
  floor_in_hold: keep
  unknown_after: 1m
guardrails:
  keep_free: 0 USDT
  top_up: { per_action: 250 USDT, per_1h: 500 USDT, per_24h: 800.5 USDT, per_episode: 600 USDT }
  top_ups_per_episode: 3
  actions_per_1m: 6
  data_max_age: 1500ms
  loss_max: 900 USDT
  slippage_max: 50 bps
stress: { shock: 25% }
rules:
"""
RULE = """\
  - rule: swings
    match: { symbols: any, side: any, margin_mode: MODE }
    watch: WATCH
    hysteresis: BACK
    unknown_after: 10m
    ladder:
      - { step: warn, LEVEL, for: 0s, do: alert }
"""
AFTER = "    unknown_after: 10m\n"


def file(watch: str, back: str, level: str, mode: str = "isolated") -> str:
    """A policy of one rule; only what is measured by bars has a time for their absence."""
    text = HEAD + RULE
    if not Metric(watch).needs_bars:
        text = text.replace(AFTER, "")
    return (
        text.replace("MODE", mode)
        .replace("WATCH", watch)
        .replace("BACK", back)
        .replace("LEVEL", level)
    )


SCHEMA = policy_schema()


def fits(text: str) -> bool:
    """Whether an editor that knows the schema finds nothing wrong."""
    return accepts(SCHEMA, YAML(typ="safe", pure=True).load(text))


ATRS = "expected a number of ATRs like '3 atr'"
SIGMAS = "expected a number of sigmas like '2.5 sigma'"
TIME = "expected a duration like '500ms', '30s', '10m' or '1h'"
RATIO = "expected a ratio like '12%' or '25 bps'"
NO = " (unknown unit"
BACK = "hysteresis"

FIT = [
    ("liquidation_distance_atr", "0.5 atr", "below: 3 atr", Below(Decimal(3)), "0.5"),
    (
        "liquidation_distance_sigma",
        "0.25 sigma",
        "below: 2.5 sigma",
        Below(Decimal("2.5")),
        "0.25",
    ),
    ("time_to_liquidation", "30m", "below: 4h", Below(Decimal(14_400_000)), "1800000"),
    ("effective_leverage", "1x", "above: 8x", Above(Decimal(8)), "1"),
    ("break_even_distance", "1%", "above: 10%", Above(Decimal("0.1")), "0.01"),
]


@pytest.mark.parametrize(("watch", "back", "level", "threshold", "hysteresis"), FIT)
def test_each_metric_has_its_own_unit(
    watch: str, back: str, level: str, threshold: Below | Above, hysteresis: str
) -> None:
    text = file(watch, back, level)
    (rule,) = parse_policy(text, "my.yaml").rules
    assert (rule.metric, rule.steps[0].threshold) == (watch, threshold)
    assert rule.hysteresis == Decimal(hysteresis)
    assert fits(text)


@pytest.mark.parametrize(
    ("watch", "back", "level", "expected"),
    [
        ("liquidation_distance_atr", "0.5 atr", "below: 3%", f"below: {ATRS}{NO} '%'), was '3%'"),
        ("liquidation_distance_atr", "5%", "below: 1 atr", f"{BACK}: {ATRS}{NO} '%'), was '5%'"),
        ("liquidation_distance_sigma", "1 sigma", "below: 3", f"below: {SIGMAS}, was '3'"),
        ("time_to_liquidation", "1m", "below: 4 atr", f"below: {TIME}{NO} 'atr'), was '4 atr'"),
        ("time_to_liquidation", "1m", "below: 0s", f"below: {TIME} (more than 0), was '0s'"),
        ("effective_leverage", "1x", "above: 8", "above: expected a multiple like '8x', was '8'"),
        ("liquidation_distance", "1%", "below: 3 atr", f"below: {RATIO}{NO} 'atr'), was '3 atr'"),
    ],
)  # fmt: skip
def test_another_unit_is_wrong_at_its_place(
    watch: str, back: str, level: str, expected: str
) -> None:
    text = file(watch, back, level)
    wrong = "hysteresis" if expected.startswith("hysteresis") else level.partition(":")[0]
    written = f"{wrong}: "
    line = next(
        number
        for number, each in enumerate(text.splitlines(), start=1)
        if number > 17 and written in each
    )
    column = text.splitlines()[line - 1].index(written) + len(written) + 1
    with pytest.raises(PolicyError) as raised:
        parse_policy(text, "my.yaml")
    path = "rules.0" if wrong == "hysteresis" else "rules.0.ladder.0"
    assert str(raised.value).splitlines()[0] == f"my.yaml:{line}:{column}: {path}.{expected}"
    assert not fits(text) or "more than 0" in expected  # which no pattern says


def message(text: str) -> str:
    with pytest.raises(PolicyError) as raised:
        parse_policy(text, "my.yaml")
    (problem,) = raised.value.problems
    return str(problem)


def test_a_rule_on_bars_says_what_happens_without_them() -> None:
    text = file("liquidation_distance_atr", "0.5 atr", "below: 3 atr").replace(AFTER, "")
    assert message(text) == (
        "my.yaml:18:5: rules.0.unknown_after: expected a duration like '500ms', '30s', '10m' or "
        "'1h', as bars may be missing for liquidation_distance_atr, was missing"
    )
    assert not fits(text)


def test_a_rule_on_what_is_always_measured_has_no_such_time() -> None:
    text = file("liquidation_distance", "1%", "below: 3%").replace(
        "    ladder:\n", f"{AFTER}    ladder:\n"
    )
    assert message(text) == (
        "my.yaml:22:20: rules.0.unknown_after: expected no 'unknown_after', as "
        "liquidation_distance needs no bars, was '10m'"
    )
    assert not fits(text)


def test_only_isolated_positions_are_measured_by_bars() -> None:
    text = file("liquidation_distance_sigma", "1 sigma", "below: 3 sigma", mode="cross")
    assert message(text) == (
        "my.yaml:19:52: rules.0.match.margin_mode: expected isolated, as "
        "liquidation_distance_sigma is that of one symbol, was 'cross'"
    )


def test_where_nobody_knows_the_metric_any_unit_is_read_and_only_the_metric_is_wrong() -> None:
    text = file("liquidation_distance_atr", "0.5 atr", "below: 3 atr").replace("_atr\n", "_art\n")
    assert "rules.0.watch: expected" in message(text)


@pytest.mark.parametrize("metric", Metric)
def test_what_is_told_of_a_level_is_read_as_one(metric: Metric) -> None:
    told = level_text(metric, Decimal(3))
    if metric is Metric.TIME_TO_LIQUIDATION:
        assert level_text(metric, Decimal(7_384_000)) == "2h 3m 4s"
        return
    try:
        assert level_of(metric).parse(told) == 3
    except Unfit as unfit:
        raise AssertionError(told) from unfit


def test_amounts_are_written_in_the_coin_that_the_account_settles_in() -> None:
    text = file("liquidation_distance", "1%", "below: 3%")
    coins = text.replace("one_way }", "one_way, settle: BTC }")
    with pytest.raises(PolicyError) as raised:
        parse_policy(coins, "my.yaml")
    first, *_ = map(str, raised.value.problems)
    assert first == (
        "my.yaml:9:14: guardrails.keep_free: expected an amount like '0.25 BTC' "
        "(unknown unit 'USDT'), was '0 USDT'"
    )
    assert len(raised.value.problems) == 6
    policy = parse_policy(coins.replace("USDT", "BTC"), "my.yaml")
    assert (policy.settle, policy.guardrails.top_up_24h_max) == ("BTC", Decimal("800.5"))
    assert parse_policy(text, "my.yaml").settle == "USDT"


def test_where_the_coin_cannot_be_read_the_amounts_are_not_wrong_too() -> None:
    text = file("liquidation_distance", "1%", "below: 3%")
    assert message(text.replace("one_way }", "one_way, settle: '?' }")) == (
        "my.yaml:2:99: account.settle: expected a coin like 'BTC', was '?'"
    )
