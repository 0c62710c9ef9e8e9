"""
Policies to begin with: a preset has every section but `account`, and rules for any symbol.

A preset that meets an account becomes a whole file, text for text, without the rules on a margin
mode that the account does not have. Its amounts are a preset's one guess, and its comments say so.
"""

from collections.abc import Iterator
from importlib.resources import files
from itertools import pairwise

from bot.core.policy import AnyMarginMode
from bot.policy.document import PolicySection, RuleSection
from bot.policy.loader import read_policy
from bot.policy.problems import Source

PRESETS = ("conservative", "balanced", "patient")
"""Their names, from the earliest way out to the latest."""

_SCHEMA_LINE = "schema: liqguard/v1\n"


def account_file(file: str, preset: str, account: str, venue: str, margin_mode: str) -> str:
    """
    The text of a policy `file` for an account, from one of `PRESETS`.

    Raises `PolicyError` where the account cannot be so.
    """
    text = files("bot.policy").joinpath(f"presets/{preset}.yaml").read_text(encoding="utf-8")
    block = (
        f"\naccount:\n  name: {account}\n  venue: {venue}\n"
        f"  margin_mode: {margin_mode}\n  position_mode: one_way\n"
    )
    whole = text.replace(_SCHEMA_LINE, _SCHEMA_LINE + block, 1)
    sections = read_policy(Source(file, whole))
    return "".join(_lines_that_apply(whole, sections)).rstrip("\n") + "\n"


def _lines_that_apply(text: str, sections: PolicySection) -> Iterator[str]:
    """All lines but those of rules that match nothing; a rule ends where the next begins."""
    lines, rules = text.splitlines(keepends=True), sections.rules.value
    starts = [rule.at.line - 1 for rule in rules] + [len(lines)]
    yield from lines[: starts[0]]
    for rule, (start, end) in zip(rules, pairwise(starts), strict=True):
        if _applies(rule, sections):
            yield from lines[start:end]


def _applies(rule: RuleSection, sections: PolicySection) -> bool:
    mode = rule.match.margin_mode.value
    return isinstance(mode, AnyMarginMode) or mode in sections.account.margin_mode.value
