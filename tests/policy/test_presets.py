"""Every preset makes a whole file for every kind of account, with nothing to say against it."""

from pathlib import Path

import pytest

from bot.core.model import MarginMode
from bot.core.policy import Policy, Rule
from bot.core.strategy import Severity
from bot.exchange.venues import binanceusdm
from bot.policy.held import load_held
from bot.policy.inspection import Anything, inspect_policy
from bot.policy.loader import parse_policy
from bot.policy.preset import PRESETS, account_file
from bot.policy.problems import PolicyError, listed
from bot.policy.values import KNOWN_VENUES
from bot.testing import builders as build

CONFIG = Path(__file__).parents[2] / "config" / "policies"
MODES = {
    "isolated": {MarginMode.ISOLATED},
    "cross": {MarginMode.CROSS},
    "mixed": set(MarginMode),
}

every_preset = pytest.mark.parametrize("preset", PRESETS)


def made(preset: str, mode: str = "isolated") -> Policy:
    return parse_policy(account_file("p.yaml", preset, "main", "binanceusdm", mode), "p.yaml")


@every_preset
@pytest.mark.parametrize("mode", MODES)
def test_a_preset_makes_a_policy_without_lints(preset: str, mode: str, tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    text = account_file(str(file), preset, "main", "binanceusdm", mode)
    file.write_text(text, encoding="utf-8")
    found = inspect_policy(file, Anything(), lambda venue, symbol: build.instrument(symbol))
    assert found.lints == ()
    assert found.policy.margin_modes == MODES[mode]
    assert (found.policy.account, found.policy.venue) == ("main", "binanceusdm")
    assert text.endswith("}\n")
    modes = {rule.match.margin_mode for rule in found.policy.rules}
    assert modes == MODES[mode]


@every_preset
def test_the_amounts_suit_the_position_that_the_comments_name(preset: str, tmp_path: Path) -> None:
    file, held = tmp_path / "p.yaml", tmp_path / "held.yaml"
    text = account_file(str(file), preset, "main", "binanceusdm", "isolated")
    file.write_text(text, encoding="utf-8")
    held.write_text(
        "wallet: 1000 USDT\n"
        "positions:\n"
        "  - symbol: BTC/USDT:USDT\n"
        "    side: long\n"
        "    quantity: 0.2 BTC\n"
        "    entry_price: 50000 USDT\n"
        "    margin_mode: isolated\n"
        "    margin: 1000 USDT\n",
        encoding="utf-8",
    )
    listed = binanceusdm.instruments()
    found = inspect_policy(file, load_held(held), lambda venue, symbol: listed[symbol])
    assert found.lints == ()


@every_preset
def test_what_is_for_a_mixed_account_is_that_of_both_others(preset: str) -> None:
    rules = {mode: {told(rule) for rule in made(preset, mode).rules} for mode in MODES}
    assert rules["mixed"] == rules["isolated"] | rules["cross"]
    assert rules["isolated"].isdisjoint(rules["cross"])


def told(rule: Rule) -> tuple[object, ...]:
    """What a rule says, wherever in the file it stands."""
    steps = ((step.name, step.threshold, step.hold_ms, step.propose) for step in rule.steps)
    return (rule.name, rule.match, rule.metric, *steps)


@pytest.mark.parametrize("mode", ["isolated", "cross"])
def test_the_whole_files_are_what_init_makes(mode: str) -> None:
    text = account_file("p.yaml", "balanced", mode, "binanceusdm", mode)
    assert (CONFIG / f"{mode}.yaml").read_text(encoding="utf-8") == text


def test_presets_are_ordered_by_how_late_they_leave() -> None:
    policies = [made(preset) for preset in PRESETS]
    rooms = [policy.protect.room for policy in policies]
    budgets = [policy.guardrails.top_up_per_episode_max for policy in policies]
    losses = [policy.guardrails.loss_max for policy in policies]
    outs = [
        next(s.threshold.value for s in policy.rules[0].steps if s.severity is Severity.CLOSE)
        for policy in policies
    ]
    assert rooms == sorted(rooms, reverse=True)
    assert outs == sorted(outs, reverse=True)
    assert budgets == sorted(budgets)
    assert losses == sorted(losses)


def test_the_conservative_one_never_spends() -> None:
    limits = made("conservative", "mixed").guardrails
    assert limits.top_up_per_action_max == limits.top_up_24h_max == 0
    verbs = {step.severity for rule in made("conservative", "mixed").rules for step in rule.steps}
    assert Severity.SPEND not in verbs


def test_an_account_that_cannot_be_is_refused_at_its_place() -> None:
    with pytest.raises(PolicyError) as caught:
        account_file("my.yaml", "balanced", "My Account", "nowhere", "any")
    assert [str(problem) for problem in caught.value.problems] == [
        "my.yaml:9:9: account.name: expected 1 to 32 of a-z, 0-9 and -, was 'My Account'",
        f"my.yaml:10:10: account.venue: expected {listed([*KNOWN_VENUES])}, was 'nowhere'",
        "my.yaml:11:16: account.margin_mode: expected isolated, cross or mixed, was 'any'",
    ]
