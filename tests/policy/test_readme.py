"""What the README shows of policies is true."""

import re
from pathlib import Path
from textwrap import indent

import pytest

from bot.policy.loader import parse_policy
from bot.policy.problems import PolicyError

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
(POLICY,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)


def test_its_policy_is_valid() -> None:
    assert len(parse_policy(POLICY, "my.yaml").rules[0].steps) == 4


def test_its_problems_are_those_of_the_policy_with_two_mistakes() -> None:
    wrong = POLICY.replace("hysteresis", "hysterisis").replace("below: 4%,  ", "below: 0.04,")
    with pytest.raises(PolicyError) as caught:
        parse_policy(wrong, "my.yaml")
    assert indent(str(caught.value), "    ") in README
