"""
Lints that need to know what is held, by the numbers of one position.

A long of 1 BTC from 50,000 with 5,000 of margin, at a flat maintenance rate of 0.5 %, is
liquidated at 45,000 / 0.995 = 45,226.13, which is 9.55 % away. Where the step `add` fires, at 5 %,
the mark price is 45,226.13 / 0.95 = 47,606.46. To be liquidated 5.5 % below that, at 44,988.10, it
must lose 5,011.90 and keep 224.94: 236.84 more than it has. For 9 %, at 43,321.88: 1,894.74 more.
"""

from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import pytest

from bot.core.model import Instrument
from bot.core.units import Money
from bot.policy.held import Held, load_held
from bot.policy.inspection import inspect_policy
from bot.policy.problems import PolicyError
from bot.testing import builders as build
from tests.policy import test_lint
from tests.policy.test_lint import SECOND

HELD = """\
wallet: 1994.74 USDT
positions:
  - symbol: BTC/USDT:USDT
    side: long
    quantity: 1 BTC
    entry_price: 50000 USDT
    margin_mode: isolated
    margin: 5000 USDT
"""
SOUND = test_lint.SOUND.replace("loss_max: 900 USDT", "loss_max: 9000 USDT")
NAME = "BTC/USDT:USDT isolated long"


class Case(NamedTuple):
    """A change of the sound policy or of what is held, and the lint; then one that has none."""

    old: str
    trips: str
    says: str
    does_not: str


CASES = {
    "a stop before the entry price": Case(
        "margin: 5000 USDT",
        "margin: 990 USDT",
        f"8:17: protect.stop.room: danger: {NAME} is 1.49% from liquidation at its entry price: "
        "its stop would trigger at once (stop-at-once)",
        "margin: 1000 USDT",
    ),
    "a loss that the noise reaches": Case(
        "loss_max: 9000 USDT",
        "loss_max: 299.99 USDT",
        f"18:13: guardrails.loss_max: warning: {NAME} loses that within 0.60% of its entry price: "
        "BTC fell 0.6% within a minute of a quiet week, that of 5 August 2023 (stop-in-noise)",
        "loss_max: 300 USDT",
    ),
    # Of 4,773.87 to liquidation 6.27 % are 299.32, less than 0.6 % of the entry price.
    "a share that the noise reaches": Case(
        "room: 1.5%",
        "room: 1.5%, share: 93.73%",
        f"8:30: protect.stop.share: warning: the stop of {NAME} rests 0.60% from its entry price: "
        "BTC fell 0.6% within a minute of a quiet week, that of 5 August 2023 (stop-in-noise)",
        "room: 1.5%, share: 93.7%",
    ),
    # The stop at 1.5 % is at 45,226.13 / 0.985 = 45,914.86, on the tick: 4,085.14 below entry.
    "a loss that holds the stop": Case(
        "loss_max: 9000 USDT",
        "loss_max: 4085.14 USDT",
        f"18:13: guardrails.loss_max: danger: {NAME} loses 4085.14 USDT at the stop as it is: "
        "loss_max holds the stop there, so the step add is refused (top-up-blocked)",
        "loss_max: 4085.15 USDT",
    ),
    "a step that fires from the start": Case(
        "warn, below: 8%",
        "warn, below: 9.05%",
        f"27:9: rules.0.ladder.0: warning: {NAME} is 9.55% from liquidation at its entry price: "
        "the step clears only at 9.55% (fires-at-entry)",
        "warn, below: 9.04%",
    ),
    "an action that does not clear its step": Case(
        "per_action: 250 USDT",
        "per_action: 236.83 USDT",
        f"14:25: guardrails.top_up.per_action: warning: {NAME} needs 236.84 USDT for the step add "
        "to clear: one action adds less (budget-too-small)",
        "per_action: 236.84 USDT",
    ),
    "a budget that does not clear its step": Case(
        "per_action: 250 USDT, per_1h: 500 USDT, per_24h: 750 USDT, per_episode: 500 USDT",
        "per_action: 200 USDT, per_1h: 500 USDT, per_24h: 750 USDT, per_episode: 236.83 USDT",
        f"14:85: guardrails.top_up.per_episode: danger: {NAME} needs 236.84 USDT for the step add "
        "to clear: the budget is less (budget-too-small)",
        "per_action: 236.84 USDT, per_1h: 500 USDT, per_24h: 750 USDT, per_episode: 236.84 USDT",
    ),
    "a reserve that does not clear the step": Case(
        "keep_free: 100 USDT",
        "keep_free: 1757.91 USDT",
        f"13:14: guardrails.keep_free: danger: {NAME} needs 236.84 USDT for the step add "
        "to clear: keep_free leaves 236.83 of 1994.74 USDT (reserve-too-small)",
        "keep_free: 99 USDT",
    ),
    "a reserve that forbids the target": Case(
        "keep_free: 100 USDT",
        "keep_free: 100.01 USDT",
        f"13:14: guardrails.keep_free: warning: {NAME} needs 1894.74 USDT for the target of the "
        "step add: keep_free leaves 1894.73 of 1994.74 USDT (reserve-too-small)",
        "keep_free: 99.99 USDT",
    ),
    "a reserve of more than there is": Case(
        "keep_free: 100 USDT",
        "keep_free: 5000 USDT",
        f"13:14: guardrails.keep_free: danger: {NAME} needs 236.84 USDT for the step add "
        "to clear: keep_free leaves 0 of 1994.74 USDT (reserve-too-small)",
        "keep_free: 100 USDT",
    ),
    "a step that does nothing where it fires": Case(
        "out, below: 3%, for: 0s, do: close",
        "out, below: 3%, for: 0s, do: partial_close, with: { to: 6% }, cooldown: 1m",
        f"30:46: rules.0.ladder.3.do: danger: for {NAME} the step does nothing where it fires: "
        "cannot be reached: the venue releases margin with the part that is closed, which leaves "
        "liquidation where it is (trim_and_refund puts it back) (does-nothing)",
        "out, below: 3%, for: 0s, do: trim_and_refund, with: { to: 6% }, cooldown: 1m",
    ),
    "a rule for what is not held": Case(
        "symbols: any",
        "symbols: [ETH/USDT:USDT]",
        "23:12: rules.0.match: warning: the rule distance matches no position that is held "
        "(matches-nothing)",
        "symbols: [ETH/USDT:USDT, BTC/USDT:USDT]",
    ),
    "a position without a rule": Case(
        "side: any",
        "side: short",
        "22:3: rules: warning: no rule watches how near to liquidation is any position: "
        "only the stop and the floor of protect cover that (uncovered)",
        "side: long",
    ),
}


@pytest.fixture
def held_file(tmp_path: Path) -> Path:
    """Where what is held is written."""
    return tmp_path / "held.yaml"


def instrument_for(venue: str, symbol: str) -> Instrument:
    assert venue == "binanceusdm"
    return build.instrument(symbol, tick_size="0.01")


def held(file: Path, text: str = HELD) -> Held:
    file.write_text(text, encoding="utf-8")
    return load_held(file)


def lints(file: Path, policy: str, holdings: str) -> list[str]:
    what = held(file, holdings)
    written = file.with_name("p.yaml")
    written.write_text(policy, encoding="utf-8")
    found = inspect_policy(written, what, instrument_for).lints
    return [str(lint).removeprefix(f"{written}:") for lint in found]


def test_there_is_nothing_to_say_where_all_fits(held_file: Path) -> None:
    assert lints(held_file, SOUND, HELD) == []


@pytest.mark.parametrize(("old", "trips", "says", "does_not"), CASES.values(), ids=CASES.keys())
def test_a_lint_trips_and_just_does_not(
    held_file: Path, old: str, trips: str, says: str, does_not: str
) -> None:
    assert (SOUND + HELD).count(old) == 1
    tripped = lints(held_file, SOUND.replace(old, trips), HELD.replace(old, trips))
    assert says in tripped
    fine = lints(held_file, SOUND.replace(old, does_not), HELD.replace(old, does_not))
    assert says.rsplit("(", maxsplit=1)[1] not in " ".join(fine)


def test_exactly_what_is_needed_is_enough_for_the_step_but_not_for_its_target(
    held_file: Path,
) -> None:
    (lint,) = lints(held_file, SOUND.replace("keep_free: 100", "keep_free: 1757.9"), HELD)
    assert ": warning: " in lint
    assert "leaves 236.84 of 1994.74 USDT" in lint


def test_only_a_rule_on_the_distance_says_where_its_steps_fire(held_file: Path) -> None:
    spends = SECOND.replace("alert", "top_up, with: { to: 99% }, cooldown: 1m")
    assert lints(held_file, SOUND + spends, HELD) == []


def test_what_is_held_is_read_exactly(held_file: Path) -> None:
    assert held(held_file) == Held(
        wallet=Money(Decimal("1994.74")), positions=(build.position("BTC/USDT:USDT"),)
    )


def test_a_covered_position_needs_no_lint(held_file: Path) -> None:
    covered = HELD.replace("margin: 5000 USDT", "margin: 60000 USDT")
    assert lints(held_file, SOUND, covered) == []


def test_a_cross_position_is_judged_by_its_rules_alone(held_file: Path) -> None:
    cross = HELD.replace("isolated", "cross").replace("margin: 5000 USDT", "leverage: 50x")
    mixed = SOUND.replace("margin_mode: isolated", "margin_mode: mixed", 1)
    text = (
        "22:3: rules: warning: no rule watches how near to liquidation is any position: "
        "only the stop and the floor of protect cover that (uncovered)"
    )
    assert text in lints(held_file, mixed, cross)
    covering = mixed + SECOND.replace("isolated", "cross")
    assert [
        lint for lint in lints(held_file, covering, cross) if "matches-nothing" not in lint
    ] == []
    assert held(held_file, cross).positions[0].isolated_margin == 0


def test_an_isolated_position_may_be_given_by_its_leverage(held_file: Path) -> None:
    text = HELD.replace("margin: 5000 USDT", "leverage: 10x")
    assert held(held_file, text) == held(held_file)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "margin: 5000 USDT",
            "margin: 0 USDT",
            "8:13: positions.0.margin: expected more than 0, was '0 USDT'",
        ),
        (
            "quantity: 1 BTC",
            "quantity: 0 BTC",
            "5:15: positions.0.quantity: expected more than 0, was '0 BTC'",
        ),
        (
            "quantity: 1 BTC",
            "quantity: 1 ETH",
            "5:15: positions.0.quantity: expected a quantity of BTC, was 'ETH'",
        ),
        (
            "wallet: 1994.74",
            "purse: 1994.74",
            (
                "1:1: purse: expected a known key (one of wallet or positions), was 'purse'\n"
                "1:1: wallet: expected an amount like '250 USDT', was missing"
            ),
        ),
        (
            "positions:",
            "positions: none",
            "2:12: positions: expected a list, was 'none'",
        ),
    ],
)
def test_a_wrong_spot_of_what_is_held_is_named(
    held_file: Path, old: str, new: str, message: str
) -> None:
    text = HELD.replace(old, new)
    with pytest.raises(PolicyError) as caught:
        held(held_file, text[: text.index("\n  - ")] + "\n" if "none" in new else text)
    lines = [str(problem).removeprefix(f"{held_file}:") for problem in caught.value.problems]
    assert "\n".join(lines) == message
