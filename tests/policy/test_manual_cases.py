"""What the manual shows of policy tests is true: its cases are run."""

import re
from pathlib import Path

from bot.core.policy import Policy
from bot.exchange.venues.binanceusdm import instruments
from bot.policy.casefile import parse_cases
from bot.policy.loader import load_policy, parse_policy
from bot.policy.preset import account_file
from bot.rehearsal.casebook import Verdict, try_policy

ROOT = Path(__file__).parents[2]


def case_in(page: str) -> str:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    (case,) = re.findall(r"```yaml\n(schema.*?)```", text, re.DOTALL)
    assert isinstance(case, str)
    return case


def verdict(case: str, policy: Policy) -> Verdict:
    cases = parse_cases(case, Path("mine_test.yaml"))
    (only,) = try_policy(cases, policy, instruments(), re.compile("")).verdicts
    return only


def first_policy() -> Policy:
    text = account_file("mine.yaml", "balanced", "mine", "binanceusdm", "isolated")
    earlier = text.replace("share: 25%", "share: 40%")
    assert earlier != text
    return parse_policy(earlier, "mine.yaml")


def test_the_case_of_the_testing_page_passes() -> None:
    demo = load_policy(ROOT / "config" / "policies" / "demo.yaml")
    assert verdict(case_in("testing.md"), demo).failures == ()


def test_a_newcomers_first_case_fails_as_told_and_passes_when_corrected() -> None:
    case = case_in("first-policy.md")
    (failure,) = verdict(case, first_policy()).failures
    page = (ROOT / "docs" / "first-policy.md").read_text(encoding="utf-8")
    assert f"expected {failure.expected}, was {failure.seen}" in page
    assert f"mine_test.yaml:{failure.line}: at {failure.at_ms // 1000}s" in page
    assert failure.why[:60] in page
    corrected = case.replace(": 0 BTC", f": {failure.seen} BTC")
    assert corrected != case
    assert verdict(corrected, first_policy()).failures == ()
