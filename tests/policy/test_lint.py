"""Every lint with a policy that trips it, and one, as near to it as can be, that does not."""

from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.model import MarginMode, Side
from bot.core.policy import AnyMarginMode, AnySide, AnySymbol, Match
from bot.policy.inspection import Anything, Inspected, inspect_policy
from bot.policy.lint import FALLS, meet
from bot.testing import builders as build

SOUND = """\
schema: liqguard/v1
account:
  name: main
  venue: binanceusdm
  margin_mode: isolated
  position_mode: one_way
protect:
  stop: { room: 1.5% }
  floor: 70 bps
  floor_in_hold: close
  unknown_after: 1m
guardrails:
  keep_free: 100 USDT
  top_up: { per_action: 250 USDT, per_1h: 500 USDT, per_24h: 750 USDT, per_episode: 500 USDT }
  top_ups_per_episode: 3
  actions_per_1m: 6
  data_max_age: 5s
  loss_max: 900 USDT
  slippage_max: 50 bps
stress: { shock: 25% }
rules:
  - rule: distance
    match: { symbols: any, side: any, margin_mode: isolated }
    watch: liquidation_distance
    hysteresis: 0.5%
    ladder:
      - { step: warn, below: 8%, for: 30s, do: alert }
      - { step: tight, below: 6%, for: 10s, do: place_stop, with: { room: 2% } }
      - { step: add, below: 5%, for: 3s, do: top_up, with: { to: 9% }, cooldown: 1m, then: next }
      - { step: out, below: 3%, for: 0s, do: close }
"""
ADD = "with: { to: 9% }, cooldown: 1m, then: next }"
MATCH = "match: { symbols: any, side: any, margin_mode: isolated }"
OUT = "      - { step: out, below: 3%, for: 0s, do: close }\n"
SECOND = f"""\
  - rule: second
    {MATCH}
    watch: margin_ratio
    hysteresis: 5%
    ladder:
      - {{ step: look, above: 60%, for: 0s, do: alert }}
"""
FUNDING = SECOND.replace("margin_ratio", "funding_cost_24h").replace(
    "alert", "partial_close, with: { fraction: 30% }, cooldown: 1h"
)


class Case(NamedTuple):
    """`old` of the sound policy: what trips a lint instead, what it says, what just does not."""

    old: str
    trips: str
    says: str
    does_not: str


CASES = {
    "a step that no long clears": Case(
        "warn, below: 8%",
        "warn, below: 99.6%",
        "27:30: rules.0.ladder.0.below: danger: the step clears at 100.1%, "
        "as far from liquidation no long can be (never-clears)",
        "warn, below: 99.5%",
    ),
    "steps within the hysteresis": Case(
        "tight, below: 6%",
        "tight, below: 7.51%",
        "28:31: rules.0.ladder.1.below: warning: nearer than the hysteresis, '0.5%', to '8%' of "
        "the step before: this step clears only where that one does not even fire (too-close)",
        "tight, below: 7.5%",
    ),
    "nothing but money": Case(
        f"{ADD}\n{OUT}",
        "with: { to: 9% }, cooldown: 1m }\n",
        "29:46: rules.0.ladder.2.do: danger: no step works on an empty wallet: where top_up finds "
        "no money, only the stop and the floor of protect are left (empty-wallet)",
        f"with: {{ to: 9% }}, cooldown: 1m }}\n{SECOND.replace('alert', 'close')}",
    ),
    "a stop that may fill too late": Case(
        "slippage_max: 50 bps",
        "slippage_max: 1.5%",
        "8:17: protect.stop.room: danger: a stop that triggers '1.5%' from liquidation may fill "
        "beyond it, as closes may slip by slippage_max, '1.5%' (stop-beyond-liquidation)",
        "slippage_max: 1.49%",
    ),
    "a stop that is no tighter": Case(
        "with: { room: 2% }",
        "with: { room: 1.5% }",
        "28:67: rules.0.ladder.1.with: warning: the stop that rests anyway is as tight, 1.5% "
        "(stop-changes-nothing)",
        "with: { room: 1.51% }",
    ),
    "a stop beyond the mark price": Case(
        "with: { room: 2% }",
        "with: { room: 6% }",
        "28:67: rules.0.ladder.1.with: danger: the stop would trigger at once below 6%, "
        "so it is never placed (stop-at-once)",
        "with: { room: 5.99% }",
    ),
    "a stop inside the noise": Case(
        "with: { room: 2% }",
        "with: { room: 5.41% }",
        "28:67: rules.0.ladder.1.with: warning: the stop rests 0.59% from the mark price when the "
        "step fires: BTC fell 0.6% within a minute of a quiet week, that of 5 August 2023 "
        "(stop-in-noise)",
        "with: { room: 5.4% }",
    ),
    "a close at an outage": Case(
        "unknown_after: 1m",
        "unknown_after: 59s\n  unknown_then: close",
        "11:18: protect.unknown_after: warning: a position that cannot be measured for '59s' is "
        "closed, and a venue's short outage takes as long (closes-at-an-outage)",
        "unknown_after: 60s\n  unknown_then: close",
    ),
    "no money at all": Case(
        "per_action: 250 USDT",
        "per_action: 0 USDT",
        "14:25: guardrails.top_up.per_action: danger: no margin can be added, "
        "so the step add does nothing (no-budget)",
        "per_action: 0.00000001 USDT",
    ),
    "no top-ups at all": Case(
        "top_ups_per_episode: 3",
        "top_ups_per_episode: 0",
        "15:24: guardrails.top_ups_per_episode: danger: no margin can be added, "
        "so the step add does nothing (no-budget)",
        "top_ups_per_episode: 1",
    ),
    "a rule on positions that the account has not": Case(
        OUT,
        f"{OUT}{SECOND.replace('isolated', 'cross')}",
        "32:52: rules.1.match.margin_mode: danger: the rule matches nothing, "
        "as the account is 'isolated' (matches-nothing)",
        f"{OUT}{SECOND.replace('isolated', 'any')}",
    ),
    "a part that takes its margin along": Case(
        OUT,
        f"{OUT}{FUNDING}",
        "36:48: rules.1.ladder.0.do: warning: a smaller position costs the same share of its "
        "smaller margin: the step acts again after every cooldown, where trim_and_refund would "
        "clear it (never-clears)",
        f"{OUT}{FUNDING.replace('partial_close', 'trim_and_refund')}",
    ),
    "two rules on one number": Case(
        OUT,
        f"{OUT}{SECOND}{SECOND.replace('second', 'third')}",
        "38:12: rules.2.match: warning: the rule second watches margin_ratio of the same "
        "positions: of both ladders only the firing step that cuts deepest acts (overlap)",
        f"{OUT}{SECOND.replace('side: any', 'side: long')}"
        f"{SECOND.replace('second', 'third').replace('side: any', 'side: short')}",
    ),
    "an alert after the stop": Case(
        "warn, below: 8%, for: 30s",
        "warn, below: 8%, for: 50s",
        "27:39: rules.0.ladder.0.for: warning: the market may need 49s to pass from here to the "
        "stop, as BTC on 19 May 2021, when it fell 7.9% within 1m (too-slow)",
        "warn, below: 8%, for: 49s",
    ),
    "a close after the stop": Case(
        "out, below: 3%, for: 0s",
        "out, below: 3%, for: 12s",
        "30:38: rules.0.ladder.3.for: danger: the market may need 11s to pass from here to the "
        "stop, as BTC on 19 May 2021, when it fell 7.9% within 1m (too-slow)",
        "out, below: 3%, for: 11s",
    ),
    "a top-up that the close overtakes": Case(
        "add, below: 5%, for: 3s",
        "add, below: 5%, for: 16s",
        "29:38: rules.0.ladder.2.for: warning: the market may need 15s to pass from here to the "
        "step out, as BTC on 19 May 2021, when it fell 7.9% within 1m (too-slow)",
        "add, below: 5%, for: 15s",
    ),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the policy of a test is written."""
    return tmp_path / "p.yaml"


def inspected(file: Path, text: str) -> Inspected:
    file.write_text(text, encoding="utf-8")
    return inspect_policy(file, Anything(), lambda venue, symbol: build.instrument())


def lints(file: Path, text: str) -> list[str]:
    return [str(lint).removeprefix(f"{file}:") for lint in inspected(file, text).lints]


def test_there_is_nothing_to_say_about_the_sound_policy(file: Path) -> None:
    assert lints(file, SOUND) == []
    assert not inspected(file, SOUND).is_dangerous


@pytest.mark.parametrize(("old", "trips", "says", "does_not"), CASES.values(), ids=CASES.keys())
def test_a_lint_trips_and_just_does_not(
    file: Path, old: str, trips: str, says: str, does_not: str
) -> None:
    assert SOUND.count(old) == 1
    assert says in lints(file, SOUND.replace(old, trips))
    assert says.rsplit("(", maxsplit=1)[1] not in " ".join(
        lints(file, SOUND.replace(old, does_not))
    )
    assert inspected(file, SOUND.replace(old, trips)).is_dangerous == (": danger: " in says)


def test_a_beta_of_nothing_leaves_a_cross_position_without_a_stop(file: Path) -> None:
    cross = SOUND.replace("margin_mode: isolated", "margin_mode: mixed", 1).replace(
        "stress: { shock: 25% }", "stress: { shock: 25%, betas: { A: 0.01x, B: 0x } }"
    )
    text = cross + SECOND.replace("isolated", "any")
    assert lints(file, text) == [
        (
            "20:45: stress.betas.B: danger: B has no part in the shock, so a cross position in it "
            "counts as one that nothing can liquidate, and a stop for it is not placed "
            "(does-not-move)"
        )
    ]
    assert lints(file, text.replace("B: 0x", "B: 0.01x")) == []
    isolated = SOUND.replace("{ shock: 25% }", "{ shock: 25%, betas: { B: 0x } }")
    assert lints(file, isolated) == []


def test_a_short_may_be_so_far_that_its_step_clears(file: Path) -> None:
    short = SOUND.replace("side: any", "side: short").replace(
        "warn, below: 8%", "warn, below: 150%"
    )
    assert "never-clears" not in " ".join(lints(file, short))


def test_a_side_without_a_rule_is_uncovered_and_any_rule_on_its_nearness_covers_it(
    file: Path,
) -> None:
    of_longs = SOUND.replace("side: any", "side: long")
    assert lints(file, of_longs) == [
        (
            "22:3: rules: warning: no rule watches how near to liquidation is "
            "any other symbol isolated short: only the stop and the floor of protect cover that "
            "(uncovered)"
        )
    ]
    assert lints(file, of_longs + SECOND) == []


def test_without_rules_nothing_but_protect_covers_a_position(file: Path) -> None:
    (lint,) = lints(file, SOUND[: SOUND.index("rules:")] + "rules: []\n")
    assert lint == (
        "21:8: rules: warning: no rule watches how near to liquidation is any position: "
        "only the stop and the floor of protect cover that (uncovered)"
    )


def test_the_uncovered_are_named_by_symbol_mode_and_side(file: Path) -> None:
    mixed = SOUND.replace("margin_mode: isolated", "margin_mode: mixed", 1)
    text = mixed.replace("symbols: any", "symbols: [BTC/USDT:USDT]")
    (lint,) = lints(file, text)
    assert lint == (
        "22:3: rules: warning: no rule watches how near to liquidation is "
        "BTC/USDT:USDT cross long, BTC/USDT:USDT cross short, any other symbol cross long, "
        "any other symbol cross short, any other symbol isolated long or "
        "any other symbol isolated short: only the stop and the floor of protect cover that "
        "(uncovered)"
    )


def test_lints_come_in_file_order_and_are_shown_in_their_line(file: Path) -> None:
    text = SOUND.replace("slippage_max: 50 bps", "slippage_max: 2%")
    found = inspected(file, text.replace("for: 30s", "for: 5m")).lints
    assert [lint.name for lint in found] == ["stop-beyond-liquidation", "too-slow"]
    assert found[0].shown().split("\n")[1:] == ["      stop: { room: 1.5% }", f"    {' ' * 16}^"]


@pytest.mark.parametrize(
    ("below", "longest", "fall"),
    [
        # The windows themselves, from the stop at 1.5 %, and half way between two of them.
        ("9.4%", "60s", ""),
        ("11.45%", "180s", "12% within 5m"),
        ("13.5%", "300s", "12% within 5m"),
        ("19.5%", "900s", "18% within 15m"),
        ("24.4%", "3600s", "22.9% within 60m"),
        ("24.5%", "999h", ""),  # nothing was recorded that fell so far
    ],
)
def test_time_is_that_of_the_recorded_fall(
    file: Path, below: str, longest: str, fall: str
) -> None:
    fine = SOUND.replace("warn, below: 8%, for: 30s", f"warn, below: {below}, for: {longest}")
    assert lints(file, fine) == []
    if fall:
        (lint,) = lints(file, fine.replace(longest, longest.replace("0s", "1s")))
        assert f"need {longest} to pass" in lint
        assert fall in lint


def test_a_step_is_overtaken_by_one_that_cuts_deeper_only(file: Path) -> None:
    do = "do: top_up, with: { to: 9% }, cooldown: 1m"
    again = f"      - {{ step: more, below: 4.8%, for: 3s, {do} }}\n"
    twice = SOUND.replace("hysteresis: 0.5%", "hysteresis: 0.1%").replace(OUT, again + OUT)
    assert lints(file, twice) == []
    # From 5 % to the close at 3 % it takes 15 s, from 4.8 % 13 s.
    assert lints(file, twice.replace("4.8%, for: 3s", "4.8%, for: 13s")) == []
    (lint,) = lints(file, twice.replace("4.8%, for: 3s", "4.8%, for: 14s"))
    assert "14s to pass from here to the step out" in lint
    twice_out = twice.replace(OUT, OUT + OUT.replace("out, below: 3%", "late, below: 2%"))
    (lint,) = lints(file, twice_out.replace("below: 5%, for: 3s", "below: 5%, for: 16s"))
    assert "to the step out" in lint


def test_money_is_not_enough_where_the_close_is_for_others(file: Path) -> None:
    long = SOUND.replace("side: any", "side: long")
    short = SECOND.replace("side: any", "side: short").replace(
        "alert", "top_up, with: { to: 9% }, cooldown: 1m"
    )
    (lint,) = lints(file, long + short)
    assert lint.startswith("36:48: rules.1.ladder.0.do: danger: no step works on an empty wallet")
    close = SECOND.replace("second", "third").replace("alert", "close").replace("60%", "80%")
    assert "empty-wallet" not in " ".join(lints(file, long + short + close))


def test_way_and_time_of_the_recorded_falls_grow_together() -> None:
    assert list(FALLS) == sorted(FALLS)
    assert [fall for _, fall in FALLS] == sorted(fall for _, fall in FALLS)


MATCHES = st.builds(
    Match,
    st.one_of(st.just(AnySymbol()), st.frozensets(st.sampled_from("abc"), min_size=1)),
    st.sampled_from([AnySide(), *Side]),
    st.sampled_from([AnyMarginMode(), *MarginMode]),
)


@given(MATCHES, MATCHES)
def test_two_matches_meet_where_some_position_is_covered_by_both(one: Match, other: Match) -> None:
    positions = [
        build.position(symbol, side=side, margin_mode=mode)
        for symbol in "abcd"
        for side in Side
        for mode in MarginMode
    ]
    both = [each for each in positions if one.covers(each) and other.covers(each)]
    assert meet(one, other) == meet(other, one) == bool(both)
