"""The one ladder action: who is asked in which order, and what is said when nobody can."""

from dataclasses import replace
from decimal import Decimal

import pytest

from bot.core.actions import AddMargin, CancelStop, ClosePosition, NoWorseThan
from bot.core.decision import AlertSeverity
from bot.core.events import AccountMode, IntentState, Liquidated
from bot.core.guardrails import Denial, spent_since
from bot.core.model import Position, Side
from bot.core.policy import Step
from bot.core.strategy import Close, Nothing, Notify, Severity, TopUp
from bot.core.transitions import resumed
from bot.core.units import Duration, Money, Price, Quantity
from bot.testing import builders as build
from tests.core.life import GOOD_STOP, LONG, Life, below

CLOSE = ClosePosition(build.SYMBOL, Side.LONG, LONG.quantity)
BOUNDED_CLOSE = replace(CLOSE, bound=NoWorseThan(Price(Decimal(45_000))))
"""What the ladder asks for: down to the bankruptcy price, as these policies allow 50 %."""


def adding(amount: int, name: str = "add", at: str = "0.06", *, then_next: bool = False) -> Step:
    return build.step(
        name,
        below(at),
        Severity.SPEND,
        lambda view: TopUp(Money(Decimal(amount))),
        then_next=then_next,
    )


def add(amount: int) -> AddMargin:
    return AddMargin(build.SYMBOL, Side.LONG, Money(Decimal(amount)))


WARN = build.step("warn", below("0.12"), Severity.ALERT, lambda view: Notify("near it"))
ADD = adding(1_000)
OUT = build.step("out", below("0.04"), Severity.CLOSE, lambda view: Close())
EARLY_OUT = replace(OUT, threshold=below("0.06"))
NEAR = 47_800  # 5.4 % from liquidation


def living(*steps: Step, mark: build.Number = NEAR, **limits: int) -> Life:
    policy = build.policy(build.rule(*steps), limits=build.guardrails(**limits))
    return Life(policy, stops=[GOOD_STOP], mark=mark)


# Order


def test_severity_outranks_the_order_of_the_file() -> None:
    assert living(EARLY_OUT, ADD, WARN).decide() == [BOUNDED_CLOSE]
    assert living(WARN, ADD).decide() == [add(1_000)]


def test_of_two_equal_verbs_the_later_in_the_file_acts_alone() -> None:
    assert living(adding(100, "mild"), adding(200, "deep", "0.055")).decide() == [add(200)]


def test_a_top_up_is_cut_to_what_one_action_may_add() -> None:
    assert living(ADD, per_action=40).decide() == [add(40)]


def test_inhibited_alerts_are_silent() -> None:
    life = living(WARN, ADD)
    life.decide()
    assert life.alerts == ["action"]


def test_a_warning_is_repeated_after_half_an_hour_or_its_longer_cooldown() -> None:
    for cooldown_ms, minutes in ((0, 30), (3_600_000, 60)):
        life = living(replace(WARN, cooldown_ms=Duration(cooldown_ms)), mark=49_000)
        said = []
        for minute in range(70):
            life.decide()
            if "step:ladder/warn" in life.alerts:
                said.append(minute)
            life.wait(60_000)
            life.read(LONG, stops=[GOOD_STOP])
            life.mark(49_000)
        assert said[:2] == [0, minutes]


# Refused by the venue


def test_a_refused_step_gives_way_for_five_seconds_to_any_milder_one() -> None:
    life = living(ADD, EARLY_OUT)
    assert life.decide() == [BOUNDED_CLOSE]
    life.settle(IntentState.REJECTED)
    life.wait(100)
    life.read(LONG, stops=[GOOD_STOP])
    assert life.decide() == [add(1_000)]
    life.settle(IntentState.NOT_APPLIED)
    life.wait(4_899)
    life.mark(NEAR)
    life.read(LONG, stops=[GOOD_STOP])
    assert life.decide() == [add(1_000)]
    life.settle(IntentState.NOT_APPLIED)
    life.wait(1)
    assert life.decide() == [BOUNDED_CLOSE]


def test_the_floor_gives_way_to_nothing_and_repeats_every_second() -> None:
    life = living(ADD, mark=45_800)
    assert life.decide() == [CLOSE]
    life.settle(IntentState.REJECTED)
    life.wait(999)
    assert life.decide() == []
    assert life.decision.wake_at_ms == life.now_ms + 1
    life.wait(1)
    assert life.decide() == [CLOSE]
    assert life.decision.approved[0].intent.reason == "protect/floor"


# Withheld


def test_a_withheld_top_up_spends_nothing_starts_its_cooldown_and_hands_over_to_nobody() -> None:
    life = living(replace(ADD, cooldown_ms=Duration(60_000)))
    assert life.decide() == [add(1_000)]
    life.settle(IntentState.WITHHELD)
    assert spent_since(life.state, 0) == 0
    life.wait(1)
    life.mark(NEAR)
    assert life.decide() == []
    (denied,) = life.verdict.denied
    assert denied.limit == "cooldown"


def test_a_withheld_close_hands_over_to_no_milder_step_and_waits_a_minute() -> None:
    life = living(ADD, EARLY_OUT)
    assert life.decide() == [BOUNDED_CLOSE]
    life.settle(IntentState.WITHHELD)
    life.wait(59_999)
    life.read(LONG, stops=[GOOD_STOP])
    life.mark(NEAR)
    assert life.decide() == []
    life.wait(1)
    assert life.decide() == [BOUNDED_CLOSE]


def test_what_was_withheld_holds_nothing_up_in_a_run_that_sends() -> None:
    life = living(ADD, mark=45_800)
    assert life.decide() == [CLOSE]
    life.settle(IntentState.WITHHELD)
    life.state = resumed(life.state, life.policy.digest, life.now_ms)
    life.wait(1)
    life.read(LONG)
    life.mark(45_800)
    assert CLOSE in life.decide()


# Exhausted


def test_exhausted_is_loud_once_per_half_hour_though_the_price_moves() -> None:
    life = living(ADD, keep_free=10_000)
    said = []
    for minute in range(65):
        assert life.decide() == []
        if "exhausted:keep_free" in life.alerts:
            said.append(minute)
            (alert,) = life.decision.alerts
            assert alert.severity is AlertSeverity.CRITICAL
            assert "ladder/add cannot act" in alert.text
        life.wait(60_000)
        life.read(LONG, stops=[GOOD_STOP])
        life.mark(NEAR + minute % 7)
    assert said == [0, 30, 60]


def test_each_reason_of_exhaustion_is_said_by_itself() -> None:
    life = living(ADD, keep_free=10_000)
    life.decide()
    life.free = 20_000
    life.policy = build.policy(build.rule(ADD), limits=build.guardrails(per_1h=0))
    life.read(LONG, stops=[GOOD_STOP])
    life.decide()
    assert life.alerts == ["exhausted:per_1h"]


def test_then_next_hands_over_down_the_file_until_somebody_can() -> None:
    steps = (
        adding(100, "first", then_next=True),
        adding(200, "second", "0.03", then_next=True),
        OUT,
    )
    life = living(*steps, keep_free=10_000)
    assert life.decide() == [BOUNDED_CLOSE]
    assert [denied.kind for denied in life.verdict.denied] == [Denial.EXHAUSTED] * 2
    assert life.decision.approved[0].intent.reason == "ladder/out"


def test_without_then_next_the_hand_over_ends() -> None:
    steps = (adding(100, "first", then_next=True), adding(200, "second", "0.03"), OUT)
    assert living(*steps, keep_free=10_000).decide() == []


def test_a_wait_hands_over_to_nobody() -> None:
    patient = replace(adding(100, then_next=True), cooldown_ms=Duration(60_000))
    life = living(patient, OUT)
    assert life.decide() == [add(100)]
    life.settle(IntentState.APPLIED)
    life.wait(1_000)
    life.read(LONG, stops=[GOOD_STOP])
    life.mark(NEAR)
    assert life.decide() == []
    assert [denied.limit for denied in life.verdict.denied] == ["cooldown"]


def test_a_verb_that_cannot_help_is_exhausted() -> None:
    helpless = replace(ADD, propose=lambda view: Nothing("no amount reaches it"))
    life = living(helpless)
    assert life.decide() == []
    assert life.alerts == ["exhausted:nothing_helps"]
    assert "no amount reaches it" in life.decision.alerts[0].text


# The floor and HOLD


@pytest.mark.parametrize(
    ("mode", "keeps", "closes"),
    [
        (AccountMode.ACTIVE, False, True),
        (AccountMode.NO_SPEND, False, True),
        (AccountMode.REDUCING, False, True),
        (AccountMode.HOLD, False, True),
        (AccountMode.HOLD, True, False),
        (AccountMode.ACTIVE, True, True),
        (AccountMode.NO_SPEND, True, True),
    ],
)
@pytest.mark.parametrize("mark", [45_800, 45_200, 40_000], ids=["floor", "past", "bankrupt"])
def test_the_floor(mode: AccountMode, keeps: bool, closes: bool, mark: int) -> None:
    policy = build.policy(build.rule(ADD), protection=build.protect(floor_in_hold=not keeps))
    life = Life(policy, stops=[GOOD_STOP], mark=mark, mode=mode)
    assert life.decide() == ([CLOSE] if closes else [])
    assert life.alerts == (["close:protect/floor:BTCUSDT long"] if closes else ["floor_held"])


def test_the_floor_is_a_distance_not_reached() -> None:
    """Floor 1.5 %: at a liquidation price of 45,226.13 it is crossed below 45,914.85."""
    quick = build.policy(protection=build.protect(room="0.016", floor="0.015"))
    stop = build.our_stop(LONG, "45961.6")
    assert Life(quick, stops=[stop], mark="45914.9").decide() == []
    assert Life(quick, stops=[stop], mark="45914.8").decide() == [CLOSE]


def test_hold_refuses_what_the_ladder_asks_and_says_so() -> None:
    life = Life(
        build.policy(build.rule(EARLY_OUT)), stops=[GOOD_STOP], mark=NEAR, mode=AccountMode.HOLD
    )
    assert life.decide() == []
    assert life.alerts == ["exhausted:hold"]


# Several positions

OTHER = build.position("ETHUSDT", entry_price=2_000, quantity=10, margin=2_000)


def two(mark: int, other_mark: int, free: int = 10_000) -> Life:
    life = Life(
        build.policy(build.rule(ADD, OUT), limits=build.guardrails(per_1h=1_500)),
        stops=[GOOD_STOP],
        mark=mark,
        free=free,
    )
    listed = {symbol: build.instrument(symbol) for symbol in ("BTCUSDT", "ETHUSDT")}
    life.state = replace(life.state, instruments=replace(life.state.instruments, by_symbol=listed))
    life.read(LONG, OTHER, stops=[GOOD_STOP, build.our_stop(OTHER, "1865")])
    life.mark(other_mark, "ETHUSDT")
    return life


def test_what_is_approved_for_one_counts_for_the_next() -> None:
    life = two(NEAR, 1_910)
    assert life.decide() == [add(1_000)]
    other = next(v for v in life.decision.positions if v.position.symbol == "ETHUSDT")
    assert [(denied.kind, denied.limit) for denied in other.denied] == [(Denial.WAIT, "in_flight")]


def test_closes_of_two_positions_do_not_wait_for_each_other() -> None:
    closes = two(45_800, 1_830).decide()
    assert closes == [CLOSE, ClosePosition("ETHUSDT", Side.LONG, Quantity(Decimal(10)))]


# Orphans


def test_an_orphan_is_cancelled_after_two_reads_two_seconds_apart_and_not_by_time_alone() -> None:
    life = Life(build.policy(), stops=[GOOD_STOP])
    life.decide()
    life.read(stops=[GOOD_STOP])
    assert life.decide() == []
    assert life.decision.needs_read
    life.wait(10)
    life.read(stops=[GOOD_STOP])
    assert life.decide() == []
    life.wait(60_000)
    assert life.decide() == []
    life.read(stops=[GOOD_STOP])
    assert life.decide() == [CancelStop(build.SYMBOL, Side.LONG, GOOD_STOP.client_id)]
    assert life.decide() == []


@pytest.mark.parametrize("outcome", [IntentState.REJECTED, IntentState.NOT_APPLIED])
def test_a_cancel_of_an_orphan_that_came_to_nothing_is_repeated(outcome: IntentState) -> None:
    life = Life(build.policy(), stops=[GOOD_STOP])
    cancel = CancelStop(build.SYMBOL, Side.LONG, GOOD_STOP.client_id)
    for _ in range(2):
        life.read(stops=[GOOD_STOP])
        life.wait(3_000)
    life.read(stops=[GOOD_STOP])
    assert life.decide() == [cancel]
    life.settle(outcome)
    life.wait(4_999)
    assert life.decide() == []
    assert life.decision.wake_at_ms == life.now_ms + 1
    life.wait(1)
    assert life.decide() == [cancel]


def test_an_orphan_is_not_cancelled_where_the_position_comes_back() -> None:
    life = Life(build.policy(), stops=[GOOD_STOP])
    for positions in ((), (LONG,), ()):
        life.wait(5_000)
        life.read(*positions, stops=[GOOD_STOP])
        life.mark(50_000)
        assert life.decide() == []


def test_a_flipped_position_orphans_the_stop_of_the_other_side() -> None:
    short = build.position(side=Side.SHORT)
    life = Life(build.policy(), stops=[GOOD_STOP])
    right = build.our_stop(short, "53132.3", name="s" * 20)
    for _ in range(2):
        life.wait(3_000)
        life.read(short, stops=[GOOD_STOP, right])
        life.mark(50_000)
    assert life.decide() == [CancelStop(build.SYMBOL, Side.LONG, GOOD_STOP.client_id)]


def test_a_humans_orphan_is_left_alone() -> None:
    foreign = build.foreign_stop(LONG, 46_000)
    life = Life(build.policy(), stops=[foreign])
    for _ in range(3):
        life.wait(3_000)
        life.read(stops=[foreign])
        assert life.decide() == []


# What is said


def test_unknown_for_longer_than_the_policy_allows_is_alarmed() -> None:
    life = Life(build.policy(), stops=[GOOD_STOP])
    life.wait(65_000)
    life.read(LONG, stops=[GOOD_STOP])
    life.wait(-1)
    life.decide()
    assert (life.alerts, life.decision.wake_at_ms) == ([], life.now_ms + 1)
    life.wait(1)
    life.decide()
    (alert,) = life.decision.alerts
    assert (alert.kind, alert.severity) == ("unknown", AlertSeverity.CRITICAL)
    assert "mark price is older" in alert.text


def test_a_liquidation_is_told_once() -> None:
    life = Life(build.policy(), stops=[GOOD_STOP])
    life.happen(Liquidated(build.SYMBOL, Side.LONG, Price(Decimal(45_226)), life.now_ms))
    life.decide()
    (alert,) = life.decision.alerts
    assert (alert.severity, alert.text) == (
        AlertSeverity.CRITICAL,
        "BTCUSDT long: the exchange LIQUIDATED the position at 45226",
    )
    life.decide()
    assert life.alerts == []


def test_positions_are_judged_in_a_fixed_order() -> None:
    def symbols(*positions: Position) -> list[str]:
        life = Life(build.policy(), *positions)
        life.decide()
        return [verdict.position.symbol for verdict in life.decision.positions]

    assert symbols(OTHER, LONG) == symbols(LONG, OTHER) == ["BTCUSDT", "ETHUSDT"]
