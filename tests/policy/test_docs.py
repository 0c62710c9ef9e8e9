"""The manual's pages on policies are true: made from the code, or tried against it."""

import re
from pathlib import Path
from textwrap import dedent

import pytest

from bot.core.policy import Metric
from bot.policy.held import load_held
from bot.policy.inspection import Anything, inspect_policy
from bot.policy.loader import parse_policy
from bot.policy.preset import PRESETS
from bot.policy.problems import PolicyError
from bot.policy.verbs import find_verbs
from bot.testing import builders as build
from docs.reference import PAGE, reference

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/policy.md").read_text(encoding="utf-8")
WHOLE, STRESS, HELD = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)


def test_the_reference_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), "run: python docs/reference.py"


def test_the_reference_names_every_metric_and_verb() -> None:
    page = reference()
    assert all(f"| `{metric}` |" in page for metric in Metric)
    assert all(f"### {verb}\n" in page for verb in find_verbs())
    assert "| |" not in page
    assert " |  |" not in page


def test_the_whole_policy_of_the_guide_is_one_to_follow(tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_text(WHOLE, encoding="utf-8")
    found = inspect_policy(file, Anything(), lambda venue, symbol: build.instrument(symbol))
    assert found.lints == ()


def test_the_parts_of_the_guide_are_valid(tmp_path: Path) -> None:
    parse_policy(f"{WHOLE}{STRESS}", "p.yaml")
    held = tmp_path / "held.yaml"
    held.write_text(HELD, encoding="utf-8")
    assert len(load_held(held).positions) == 1


def test_the_error_of_the_guide_is_the_one_of_the_readme() -> None:
    (line,) = re.findall(r"^    (my\.yaml:\d+:\d+: .*)$", GUIDE, re.MULTILINE)
    assert line in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_guide_names_every_preset_and_every_lint() -> None:
    code = "".join((ROOT / f"bot/policy/{name}.py").read_text() for name in ("lint", "held"))
    lints = set(re.findall(r'Level\.\w+, "([a-z-]+)"|level, "([a-z-]+)"', code))
    names = {one or other for one, other in lints}
    assert len(names) > 12
    assert set(re.findall(r"^\| `([a-z-]+)` \|", GUIDE, re.MULTILINE)) == names | set(PRESETS)


@pytest.mark.parametrize("verb", ["top_up", "trim_and_refund"])
def test_what_the_guide_calls_an_error_of_a_cross_rule_is_one(verb: str) -> None:
    step = f"do: {verb}, with: {{ to: 7% }}, cooldown: 1m"
    text = f"""\
{dedent(WHOLE[: WHOLE.index("rules:")]).replace("isolated", "cross")}{STRESS}
rules:
  - rule: r
    match: {{ symbols: any, side: any, margin_mode: cross }}
    watch: liquidation_distance
    hysteresis: 0.5%
    ladder:
      - {{ step: s, below: 4%, for: 0s, {step} }}
"""
    with pytest.raises(PolicyError, match=f"a verb that helps cross positions .*was '{verb}'"):
        parse_policy(text, "p.yaml")
