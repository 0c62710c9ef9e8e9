"""What the README shows of policies is true."""

import re
from pathlib import Path
from textwrap import indent

import pytest

from bot.policy.loader import parse_policy
from bot.policy.problems import PolicyError

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
POLICY, CASE = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)


def test_its_policy_is_valid() -> None:
    assert len(parse_policy(POLICY, "my.yaml").rules[0].steps) == 4


def test_its_problems_are_those_of_the_policy_with_two_mistakes() -> None:
    wrong = POLICY.replace("hysteresis", "hysterisis").replace("below: 4%,  ", "below: 0.04,")
    with pytest.raises(PolicyError) as caught:
        parse_policy(wrong, "my.yaml")
    assert indent(str(caught.value), "    ") in README


def test_the_case_in_the_readme_is_one_that_is_run() -> None:
    """Shortened where it says [...]: its prices and expectations stand in the demo's tests."""
    cases = (ROOT / "config" / "policies" / "demo_test.yaml").read_text(encoding="utf-8")
    prices = re.findall(r'"BTC/USDT:USDT": ([^}]*\S) }', CASE)
    expected = [line.strip() for line in CASE.splitlines() if "{ at:" in line]
    assert len(prices) == 1
    assert len(expected) == 2
    for line in (CASE.splitlines()[0], *prices, *expected):
        assert line in cases
