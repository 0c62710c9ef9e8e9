"""A verb with several ways to say how much: its parameters are those of exactly one of them."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, cast

import pytest

from bot.core.model import MarginMode
from bot.core.policy import Policy
from bot.core.strategy import Nothing, Proposal, Severity, View
from bot.core.units import Duration, Ratio
from bot.policy.loader import parse_policy
from bot.policy.problems import PolicyError
from bot.policy.values import KINDS, Kind
from bot.policy.verbs import BoundVerb, Verb

RATIO = "expected a ratio like '12%' or '25 bps'"
WAYS = "expected a mapping of to, pace or a mapping of fraction"


@dataclass(frozen=True, slots=True)
class ToDistance:
    to: Ratio
    pace: Duration


@dataclass(frozen=True, slots=True)
class Fraction:
    fraction: Ratio


def propose(view: View, params: ToDistance | Fraction) -> Proposal:
    return Nothing(f"{view}: {params}")


TRIM = Verb("trim", Severity.REDUCE, frozenset(MarginMode), (ToDistance, Fraction), propose)


@pytest.fixture(autouse=True)
def trim(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one verb that policies know here."""
    kinds = cast("dict[object, Kind[Any]]", KINDS)
    monkeypatch.setitem(kinds, Verb, Kind("trim", {"trim": TRIM}.__getitem__, {}))


def load(good: str, step: str) -> Policy:
    head, _ = good.split("rules:\n")
    ladder = f"""\
rules:
  - rule: distance
    match: {{ symbols: any, side: any, margin_mode: any }}
    watch: liquidation_distance
    hysteresis: 1%
    ladder:
      - {{ step: trim, {step} }}
"""
    return parse_policy(head + ladder, "p.yaml")


def refusal(good: str, step: str) -> str:
    with pytest.raises(PolicyError) as caught:
        load(good, step)
    text = "\n".join(map(str, caught.value.problems))
    return text.replace("p.yaml:", "").replace("rules.0.ladder.0", "step")


@pytest.mark.parametrize(
    ("with_", "params"),
    [
        ("{ to: 8%, pace: 2s }", ToDistance(Ratio(Decimal("0.08")), Duration(2_000))),
        ("{ fraction: 30% }", Fraction(Ratio(Decimal("0.3")))),
    ],
)
def test_the_keys_say_which_way_is_meant(good: str, with_: str, params: object) -> None:
    policy = load(good, f"below: 5%, for: 0s, do: trim, with: {with_}, cooldown: 1m")
    (step,) = policy.rules[0].steps
    assert step.propose == BoundVerb(TRIM, params)
    assert step.severity is Severity.REDUCE


@pytest.mark.parametrize(
    ("with_", "message"),
    [
        ("", f"26:9: step.with: {WAYS}, was missing"),
        (", with: { }", f"26:73: step.with: {WAYS}, was missing"),
        (", with: 8%", f"26:73: step.with: {WAYS}, was '8%'"),
        (
            ", with: { to: 8%, fraction: 30% }",
            f"26:73: step.with: {WAYS}, was a mapping of to, fraction",
        ),
        (
            ", with: { fracton: 30% }",
            (
                "26:75: step.with.fracton: expected a known key (did you mean 'fraction'?), "
                "was 'fracton'"
            ),
        ),
        (
            ", with: { to: 8% }",
            (
                "26:73: step.with.pace: "
                "expected a duration like '500ms', '30s', '10m' or '1h', was missing"
            ),
        ),
        (
            ", with: { fraction: 30s }",
            f"26:85: step.with.fraction: {RATIO} (unknown unit 's'), was '30s'",
        ),
    ],
    ids=["missing", "empty", "text", "both", "misspelt", "half", "wrong kind"],
)
def test_anything_but_one_way_is_named(good: str, with_: str, message: str) -> None:
    assert refusal(good, f"below: 5%, for: 0s, do: trim, cooldown: 1m{with_}") == message


def test_a_step_that_reduces_needs_a_cooldown_and_room_for_the_stop(good: str) -> None:
    step = "below: 3%, for: 0s, do: trim, with: { to: 4%, pace: 1s }"
    assert refusal(good, step) == (
        "26:9: step.cooldown: expected a duration like '500ms', '30s', '10m' or '1h', "
        "as the verb may act more than once, was missing\n"
        "26:30: step.below: expected more than protect.stop.room, '3%', was '3%'\n"
        "26:65: step.with.to: expected more than threshold + hysteresis, '4%', was '4%'"
    )
