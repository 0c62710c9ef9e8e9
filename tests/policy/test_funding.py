"""Rules on what funding costs."""

import pytest

from bot.core.policy import Metric, Policy
from bot.policy.loader import parse_policy
from bot.policy.problems import PolicyError

EPISODE = "expected alert or close, as funding_cost_episode never falls and no step clears"


def load(
    good: str, metric: str, step: str, match: str = "any", hysteresis: str = "0.5%"
) -> Policy:
    head, _ = good.split("rules:\n")
    rule = f"""\
rules:
  - rule: funding
    match: {{ symbols: any, side: long, margin_mode: {match} }}
    watch: {metric}
    hysteresis: {hysteresis}
    ladder:
      - {{ step: act, {step} }}
"""
    return parse_policy(head + rule, "p.yaml")


def refusal(good: str, metric: str, step: str, hysteresis: str = "0.5%") -> str:
    with pytest.raises(PolicyError) as caught:
        load(good, metric, step, hysteresis=hysteresis)
    text = "\n".join(map(str, caught.value.problems))
    return text.replace("p.yaml:", "").replace("rules.0.ladder.0", "step")


@pytest.mark.parametrize(
    "metric", ["funding_cost_interval", "funding_cost_24h", "funding_cost_episode"]
)
@pytest.mark.parametrize("match", ["isolated", "cross", "any"])
def test_a_cost_is_of_one_position_so_one_side_may_be_named(
    good: str, metric: str, match: str
) -> None:
    policy = load(good, metric, "above: 2%, for: 0s, do: close", match)
    assert policy.rules[0].metric is Metric(metric)


def test_a_step_below_a_cost_is_refused(good: str) -> None:
    assert refusal(good, "funding_cost_24h", "below: 2%, for: 0s, do: close") == (
        "26:9: step.above: expected a ratio like '12%' or '25 bps', "
        "as the rule watches funding_cost_24h, was missing\n"
        "26:29: step.below: expected only 'above', as the rule watches funding_cost_24h, was '2%'"
    )


def test_a_hysteresis_as_large_as_the_threshold_is_refused(good: str) -> None:
    found = refusal(good, "funding_cost_interval", "above: 2%, for: 0s, do: close", "2%")
    assert found == (
        "26:29: step.above: expected more than the hysteresis, '2%', "
        "below which the step clears, was '2%'"
    )


@pytest.mark.parametrize(
    "do", ["place_stop, with: { room: 4% }", "top_up, with: { to: 9% }, cooldown: 1m"]
)
def test_a_cost_that_never_falls_may_only_alert_or_close(good: str, do: str) -> None:
    for fine in ("alert", "close"):
        load(good, "funding_cost_episode", f"above: 2%, for: 0s, do: {fine}")
    found = refusal(good, "funding_cost_episode", f"above: 2%, for: 0s, do: {do}")
    verb = do.split(",", maxsplit=1)[0]
    assert f"26:46: step.do: {EPISODE}, was '{verb}'" in found.split("\n")
