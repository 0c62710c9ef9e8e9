"""What a valid file becomes, exactly."""

from decimal import Decimal
from hashlib import sha256
from pathlib import Path

import pytest

from bot.core.model import MarginMode, PositionMode, Side
from bot.core.policy import (
    Above,
    AnyMarginMode,
    AnySide,
    AnySymbol,
    Below,
    Guardrails,
    Match,
    Metric,
    Protect,
    Step,
    Stress,
)
from bot.core.strategy import Severity
from bot.core.units import Duration, Money, Ratio
from bot.policy.loader import load_policy, parse_policy
from bot.policy.problems import PolicyError
from bot.policy.verbs import BoundVerb, find_verbs
from strategies import alert, close, place_stop, top_up

DEMO = Path(__file__).parents[2] / "config" / "policies" / "demo.yaml"
VERBS = find_verbs()


def step(
    name: str,
    threshold: Below | Above,
    hold_ms: int,
    verb: str,
    params: object,
    line: int,
    *,
    cooldown_ms: int = 0,
    then_next: bool = False,
) -> Step:
    return Step(
        name=name,
        threshold=threshold,
        hold_ms=Duration(hold_ms),
        cooldown_ms=Duration(cooldown_ms),
        then_next=then_next,
        verb=verb,
        severity=VERBS[verb].severity,
        propose=BoundVerb(VERBS[verb], params),
        line=line,
    )


def below(text: str) -> Below:
    return Below(Ratio(Decimal(text)))


def above(text: str) -> Above:
    return Above(Ratio(Decimal(text)))


def test_every_value_of_a_file_arrives(good: str) -> None:
    policy = parse_policy(good, "good.yaml")
    assert policy.account == "main"
    assert policy.venue == "binanceusdm"
    assert policy.margin_modes == {MarginMode.ISOLATED}
    assert policy.position_mode is PositionMode.ONE_WAY
    assert policy.protect == Protect(
        room=Ratio(Decimal("0.03")),
        share=Ratio(Decimal(0)),
        floor=Ratio(Decimal("0.015")),
        floor_in_hold=False,
        unknown_after_ms=Duration(60_000),
        canary_ms=Duration(0),
        respects_cancel=False,
        closes_unknown=False,
    )
    assert policy.guardrails == Guardrails(
        keep_free=Money(Decimal(0)),
        top_up_per_action_max=Money(Decimal(250)),
        top_up_1h_max=Money(Decimal(500)),
        top_up_24h_max=Money(Decimal("800.5")),
        top_up_per_episode_max=Money(Decimal(600)),
        top_ups_per_episode_max=3,
        actions_1m_max=6,
        data_age_max_ms=Duration(1_500),
        loss_max=Money(Decimal(900)),
        slippage_max=Ratio(Decimal("0.005")),
    )
    distance, ratio = policy.rules
    assert (distance.name, distance.metric) == ("distance", Metric.LIQUIDATION_DISTANCE)
    assert distance.hysteresis == Decimal("0.01")
    assert distance.match == Match(
        frozenset({"BTCUSDT", "ETHUSDT"}), Side.LONG, MarginMode.ISOLATED
    )
    room, to = place_stop.Params(Ratio(Decimal("0.04"))), top_up.Params(Ratio(Decimal("0.1")))
    assert distance.steps == (
        step("warn", below("0.12"), 30_000, "alert", alert.Params(), 26, cooldown_ms=3_600_000),
        step("tight", below("0.09"), 10_000, "place_stop", room, 27),
        step("add", below("0.07"), 3_000, "top_up", to, 28, cooldown_ms=60_000, then_next=True),
        step("out", below("0.04"), 0, "close", close.Params(), 29),
    )
    assert (ratio.name, ratio.metric) == ("ratio", Metric.MARGIN_RATIO)
    assert ratio.match == Match(AnySymbol(), AnySide(), MarginMode.ISOLATED)
    assert ratio.steps == (
        step("warn", above("0.5"), 30_000, "alert", alert.Params(), 35),
        step("out", above("0.8"), 0, "close", close.Params(), 36),
    )


def test_a_share_of_the_way_may_be_asked_of_the_stop(good: str) -> None:
    shared = good.replace("room: 3%", "room: 3%, share: 25%")
    assert parse_policy(shared, "p.yaml").protect.share == Decimal("0.25")


def test_a_stop_that_somebody_cancels_may_be_left_off(good: str) -> None:
    for word, respects in (("respect", True), ("restore", False)):
        said = good.replace("room: 3%", f"room: 3%, if_cancelled: {word}")
        assert parse_policy(said, "p.yaml").protect.respects_cancel is respects


def test_what_nobody_can_measure_may_be_closed(good: str) -> None:
    for word, closes in (("close", True), ("alert", False)):
        said = good.replace("unknown_after: 1m", f"unknown_after: 1m\n  unknown_then: {word}")
        assert parse_policy(said, "p.yaml").protect.closes_unknown is closes


def test_the_demo_policy_is_valid_and_has_its_exact_values() -> None:
    policy = load_policy(DEMO)
    assert (policy.account, policy.venue) == ("demo", "binanceusdm")
    assert policy.protect == Protect(
        room=Ratio(Decimal("0.015")),
        share=Ratio(Decimal(0)),
        floor=Ratio(Decimal("0.007")),
        floor_in_hold=True,
        unknown_after_ms=Duration(60_000),
        canary_ms=Duration(0),
        respects_cancel=False,
        closes_unknown=False,
    )
    assert policy.guardrails == Guardrails(
        keep_free=Money(Decimal(100)),
        top_up_per_action_max=Money(Decimal(250)),
        top_up_1h_max=Money(Decimal(500)),
        top_up_24h_max=Money(Decimal(750)),
        top_up_per_episode_max=Money(Decimal(500)),
        top_ups_per_episode_max=3,
        actions_1m_max=6,
        data_age_max_ms=Duration(5_000),
        loss_max=Money(Decimal(900)),
        slippage_max=Ratio(Decimal("0.005")),
    )
    (rule,) = policy.rules
    assert rule.match == Match(AnySymbol(), AnySide(), MarginMode.ISOLATED)
    assert [
        (step.name, step.threshold, step.hold_ms, step.cooldown_ms, step.then_next, step.severity)
        for step in rule.steps
    ] == [
        ("warn", below("0.06"), 30_000, 0, False, Severity.ALERT),
        ("tighten", below("0.05"), 10_000, 0, False, Severity.STOP),
        ("top-up", below("0.04"), 3_000, 60_000, True, Severity.SPEND),
        ("out", below("0.025"), 0, 0, False, Severity.CLOSE),
    ]


def test_the_digest_is_that_of_the_bytes_and_line_ends_count(good: str, tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    contents = [
        good.encode(),
        good.replace("\n", "\r\n").encode(),
        b"\xef\xbb\xbf" + good.encode(),
    ]
    for content in contents:
        file.write_bytes(content)
        assert load_policy(file).digest == sha256(content).hexdigest()


def test_two_reads_of_one_file_are_equal(good: str) -> None:
    assert parse_policy(good, "a") == parse_policy(good, "b")


def test_words_that_other_yaml_turns_into_something_else_stay_words(good: str) -> None:
    text = good.replace("name: main", "name: no").replace("rule: ratio", "rule: 010")
    policy = parse_policy(text.replace("step: out", "step: on"), "words.yaml")
    assert policy.account == "no"
    assert policy.rules[1].name == "010"
    assert [rule.steps[-1].name for rule in policy.rules] == ["on", "on"]


def test_budgets_may_be_equal(good: str) -> None:
    text = good.replace("500 USDT", "250 USDT").replace("800.5 USDT", "250 USDT")
    limits = parse_policy(text.replace("600 USDT", "250 USDT"), "equal.yaml").guardrails
    assert limits.top_up_per_action_max == limits.top_up_24h_max == limits.top_up_per_episode_max


def test_no_rules_at_all_is_a_policy_of_stop_and_floor(good: str) -> None:
    text = good[: good.index("rules:")] + "rules: []\n"
    assert parse_policy(text, "protect.yaml").rules == ()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "1:1: policy: expected a readable file, was 'No such file or directory'"),
        (b"", "1:1: policy: expected a policy, was an empty file"),
        (b"a: 1\nb: \xc3\xa4\xff", "2:5: policy: expected UTF-8, was the byte 0xff"),
    ],
    ids=["missing", "empty", "latin-1"],
)
def test_a_file_that_is_no_text_is_refused(
    content: bytes | None, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "policy.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(PolicyError) as caught:
        load_policy(file)
    assert str(caught.value) == f"{file}:{message}"


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="expected a readable file, was 'Is a directory'"):
        load_policy(tmp_path)


def test_credentials_are_those_of_the_account_unless_another_name_is_given(good: str) -> None:
    assert parse_policy(good, "own.yaml").credentials == "main"
    shared = good.replace("venue:", "credentials: desk-7\n  venue:")
    assert parse_policy(shared, "shared.yaml").credentials == "desk-7"
    assert parse_policy(shared, "shared.yaml").account == "main"


def test_a_cross_account_names_its_shock(good: str) -> None:
    head, _ = good.replace("margin_mode: isolated", "margin_mode: mixed", 1).split("rules:")
    shocked = 'stress: { shock: 25%, betas: { "ETH/USDT:USDT": 1.2x, XRPUSDT: 0x } }\n'
    rule = good[good.index("  - rule: ratio") :].replace(
        "margin_mode: isolated", "margin_mode: any"
    )
    policy = parse_policy(f"{head}{shocked}rules:\n{rule}", "cross.yaml")
    assert policy.margin_modes == {MarginMode.ISOLATED, MarginMode.CROSS}
    assert policy.stress.shock == Decimal("0.25")
    assert policy.stress.betas == {"ETH/USDT:USDT": Decimal("1.2"), "XRPUSDT": Decimal(0)}
    assert policy.stress.beta_of("XRPUSDT") == 0
    assert policy.stress.beta_of("BTCUSDT") == 1
    assert policy.rules[0].match == Match(AnySymbol(), AnySide(), AnyMarginMode())
    only_cross = parse_policy(f"{head.replace('mixed', 'cross')}{shocked}rules: []\n", "c.yaml")
    assert only_cross.margin_modes == {MarginMode.CROSS}


def test_without_a_shock_every_isolated_margin_counts_as_lost(good: str) -> None:
    assert parse_policy(good, "isolated.yaml").stress == Stress(Ratio(Decimal(1)), {})
    shocked = good.replace("rules:", "stress: { shock: 25% }\nrules:")
    assert parse_policy(shocked, "isolated.yaml").stress == Stress(Ratio(Decimal("0.25")), {})
