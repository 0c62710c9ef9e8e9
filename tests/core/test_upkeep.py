"""The standing stop over time: placed, replaced, retried, stood in for, alarmed, cancelled."""

from dataclasses import replace
from decimal import Decimal

import pytest

from bot.core.actions import CancelStop, ClosePosition, PlaceStop
from bot.core.decision import AlertSeverity, Audited
from bot.core.events import AccountMode, AccountReported, IntentState, OutcomeReported
from bot.core.metrics import Unknown
from bot.core.model import Reported, Side, StopOrder
from bot.core.protection import StopStatus
from bot.core.strategy import Severity, TightenStop
from bot.core.units import Price
from bot.testing import builders as build
from tests.core.life import GOOD_STOP, LONG, Life, below

PLACE = PlaceStop(build.SYMBOL, Side.LONG, LONG.quantity, GOOD_STOP.trigger_price)
CLOSE = ClosePosition(build.SYMBOL, Side.LONG, LONG.quantity)
DRIFTED = build.our_stop(LONG, "47500", name="d" * 20)
POLICY = build.policy()


def cancel(stop: StopOrder) -> CancelStop:
    return CancelStop(stop.symbol, stop.side, stop.client_id)


# On its way


def test_a_stop_on_its_way_is_not_placed_twice_for_five_seconds() -> None:
    life = Life(POLICY)
    assert life.decide() == [PLACE]
    for outcome in (IntentState.PREPARED, IntentState.ACKED, IntentState.UNKNOWN):
        life.settle(outcome)
    life.wait(4_999)
    assert life.decide() == []
    life.wait(1)
    life.mark(50_000)
    assert life.decide() == [PLACE]


def test_a_stop_proven_to_rest_is_not_placed_again_on_an_older_read() -> None:
    life = Life(POLICY)
    life.decide()
    life.wait(100)
    life.settle(IntentState.APPLIED)
    life.wait(100)
    assert life.decide() == []
    life.read(LONG)  # asked for after the proof, and it does not rest any more
    assert life.decide() == [PLACE]


@pytest.mark.parametrize("gone", [IntentState.EXPIRED, IntentState.NOT_APPLIED])
def test_a_stop_proven_to_be_gone_is_placed_at_once(gone: IntentState) -> None:
    life = Life(POLICY)
    life.decide()
    life.wait(100)
    life.settle(gone)
    assert life.decide() == [PLACE]


def test_a_stop_on_its_way_for_one_position_does_not_hold_up_another() -> None:
    other = build.position("ETHUSDT", entry_price=2_000, quantity=10, margin=2_000)
    life = Life(POLICY)
    life.state = replace(
        life.state,
        instruments=replace(
            life.state.instruments,
            by_symbol={each: build.instrument(each) for each in ("BTCUSDT", "ETHUSDT")},
        ),
    )
    life.decide()
    life.wait(100)
    life.read(LONG, other)
    life.mark(2_000, "ETHUSDT")
    (place,) = life.decide()
    assert isinstance(place, PlaceStop)
    assert place.symbol == "ETHUSDT"


# Replacing


def test_replacing_coexists_the_old_one_goes_only_when_a_good_one_is_seen_to_rest() -> None:
    life = Life(POLICY, stops=[DRIFTED])
    assert life.decide() == [PLACE]
    life.settle(IntentState.APPLIED)
    life.wait(1_000)
    assert life.decide() == []
    life.read(LONG, stops=[DRIFTED])
    assert life.decide() == []
    life.read(LONG, stops=[DRIFTED, GOOD_STOP])
    assert life.decide() == [cancel(DRIFTED)]


def test_a_drifted_stop_keeps_its_place_for_five_seconds() -> None:
    life = Life(POLICY, stops=[DRIFTED])
    life.decide()
    life.wait(100)
    life.settle(IntentState.APPLIED)
    other = replace(DRIFTED, client_id=DRIFTED.client_id[:-1] + "x")
    life.read(LONG, stops=[other])
    life.mark(50_000)
    assert life.decide() == []
    assert life.decision.wake_at_ms == life.now_ms + 4_900
    life.wait(4_900)
    life.mark(50_000)
    assert life.decide() == [PLACE]


def test_a_drifted_stop_stays_until_it_is_known_what_became_of_the_one_sent_before() -> None:
    """While nothing can be read others would pile up, one every five seconds."""
    life = Life(POLICY, stops=[DRIFTED])
    assert life.decide() == [PLACE]
    (sent,) = life.decision.approved
    for outcome in (IntentState.ACKED, IntentState.UNKNOWN):
        life.happen(OutcomeReported(sent.intent.id, outcome, "", life.now_ms))
        life.wait(6_000)
        life.mark(50_000)
        assert life.decide() == []
        assert life.decision.needs_read
    life.happen(OutcomeReported(sent.intent.id, IntentState.NOT_APPLIED, "", life.now_ms))
    assert life.decide() == [PLACE]


def test_a_stop_that_no_answer_tells_of_is_not_waited_for_once_reads_must_have_shown_it() -> None:
    """The look-up of one order fails for as long as you like, and reads of the account come."""
    life = Life(POLICY, stops=[DRIFTED])
    assert life.decide() == [PLACE]
    (sent,) = life.decision.approved
    life.happen(OutcomeReported(sent.intent.id, IntentState.UNKNOWN, "", life.now_ms))
    life.wait(59_999)
    life.read(LONG, stops=[DRIFTED])
    life.mark(50_000)
    assert life.decide() == []
    assert life.decision.needs_read
    life.wait(1)
    life.mark(50_000)
    assert life.decide() == []  # the newest read is a moment too old to tell
    life.read(LONG, stops=[DRIFTED])
    assert life.decide() == [PLACE]


def test_an_unsafe_stop_waits_for_nothing() -> None:
    life = Life(POLICY, stops=[DRIFTED])
    life.decide()
    life.wait(100)
    life.settle(IntentState.EXPIRED)
    life.read(LONG, stops=[build.our_stop(LONG, "45000")])
    assert life.decide() == [PLACE]


def test_a_superfluous_stop_is_cancelled_once_and_again_only_after_a_failure() -> None:
    both = [DRIFTED, GOOD_STOP]
    life = Life(POLICY, stops=both)
    assert life.decide() == [cancel(DRIFTED)]
    asked = life.decision
    life.wait(1_000)
    assert life.decide() == []
    assert life.decision.needs_read
    life.decision = asked
    life.settle(IntentState.REJECTED)
    life.mark(50_000)
    assert life.decide() == []
    assert life.decision.wake_at_ms == life.now_ms + 5_000
    life.wait(4_999)
    assert life.decide() == []
    life.wait(1)
    assert life.decide() == [cancel(DRIFTED)]


def test_with_nothing_wanted_our_resting_stops_are_left_alone() -> None:
    covered = build.position(margin=60_000)
    life = Life(POLICY, covered, stops=[build.our_stop(covered, "30000")])
    assert life.decide() == []
    assert isinstance(life.verdict.stop, Audited)
    assert life.verdict.stop.status is StopStatus.NOT_NEEDED


def test_a_grown_position_gets_a_stop_of_full_size() -> None:
    life = Life(POLICY, stops=[GOOD_STOP])
    assert life.decide() == []
    grown = build.position(quantity=2, margin=10_000)
    life.read(grown, stops=[GOOD_STOP])
    (place,) = life.decide()
    assert isinstance(place, PlaceStop)
    assert place.quantity == 2


def test_added_margin_moves_the_stop_away() -> None:
    life = Life(POLICY, stops=[GOOD_STOP])
    life.decide()
    life.read(build.position(margin=8_000), stops=[GOOD_STOP])
    (place,) = life.decide()
    assert isinstance(place, PlaceStop)
    assert place.trigger_price == Decimal("43516.6")  # 42,000 / 0.995 / 0.97


@pytest.mark.parametrize("mode", AccountMode)
def test_stops_are_kept_in_every_mode(mode: AccountMode) -> None:
    life = Life(POLICY, mode=mode)
    assert life.decide() == [PLACE]
    life.settle(IntentState.APPLIED)
    life.wait(100)
    life.read(LONG, stops=[GOOD_STOP, DRIFTED])
    assert life.decide() == [cancel(DRIFTED)]


# Without sight


def test_with_a_stale_mark_the_stop_is_placed_all_the_same() -> None:
    life = Life(POLICY)
    life.wait(59_000)
    assert life.decide() == [PLACE]
    assert isinstance(life.verdict.measured, Unknown)


def test_without_any_mark_the_stop_is_placed_all_the_same() -> None:
    life = Life(POLICY)
    life.state = replace(life.state, marks={})
    assert life.decide() == [PLACE]


def test_without_a_read_of_the_last_minute_nothing_is_placed() -> None:
    life = Life(POLICY)
    life.wait(60_001)
    life.mark(50_000)
    assert life.decide() == []
    assert not isinstance(life.verdict.stop, Audited)


TIGHT = build.step(
    "tight", below("0.09"), Severity.STOP, lambda view: TightenStop(Price(Decimal(47_800)))
)
TIGHTENED = build.our_stop(LONG, 47_800, name="t" * 20)


def test_a_tightened_stop_is_not_loosened_while_the_mark_is_stale() -> None:
    """Unknown clears no step, so what the step has done stays too."""
    life = Life(build.policy(build.rule(TIGHT)), mark=49_000)
    (place,) = life.decide()
    assert isinstance(place, PlaceStop)
    assert place.trigger_price == 47_800
    life.settle(IntentState.APPLIED)
    life.wait(1_000)
    life.read(LONG, stops=[TIGHTENED])
    assert life.decide() == []
    life.wait(8_000)
    assert life.decide() == []
    assert isinstance(life.verdict.measured, Unknown)
    life.mark(50_500)  # the step clears: now it may be loosened
    assert life.decide() == [PLACE]


def test_a_stop_too_loose_is_replaced_on_a_stale_mark_too() -> None:
    life = Life(POLICY, stops=[build.our_stop(LONG, "45300")])
    life.wait(10_000)
    assert life.decide() == [PLACE]


# Refused


def test_the_alarm_tells_what_the_venue_said() -> None:
    life = Life(POLICY)
    life.decide()
    (approved,) = life.decision.approved
    words = "-1021 Timestamp for this request is outside of the recvWindow."
    refused = OutcomeReported(approved.intent.id, IntentState.REJECTED, words, life.now_ms)
    life.happen(refused)
    life.decide()
    (alert,) = life.decision.alerts
    assert f"the venue refuses the stop ({words});" in alert.text


def test_refused_stops_back_off_to_less_than_half_a_minute() -> None:
    life = Life(POLICY)
    waits = []
    for _ in range(7):
        assert life.decide() == [PLACE]
        life.settle(IntentState.REJECTED)
        life.decide()
        waits.append(life.decision.wake_at_ms - life.now_ms)
        if waits[-1] == 5_000:
            assert life.alerts == (["stop_refused"] if len(waits) == 1 else [])
        life.wait(waits[-1] - 1)
        life.read(LONG)
        life.mark(50_000)
        assert life.decide() == []
        life.wait(1)
        life.read(LONG)
        life.mark(50_000)
    # The naked alarm of 15 s is the earlier wake in the third wait.
    assert [wait for wait in waits if wait != 25_000][:2] == [5_000, 10_000]
    assert waits[-1] == 25_000


def test_one_stop_that_rests_ends_the_back_off() -> None:
    life = Life(POLICY)
    for _ in range(3):
        life.decide()
        life.settle(IntentState.REJECTED)
        life.wait(60_000)
        life.read(LONG)
        life.mark(50_000)
    life.decide()
    life.settle(IntentState.APPLIED)
    life.wait(100)
    life.read(LONG)
    assert life.decide() == [PLACE]


def test_a_withheld_stop_is_wanted_again_after_a_minute_and_is_no_refusal() -> None:
    life = Life(POLICY)
    assert life.decide() == [PLACE]
    life.settle(IntentState.WITHHELD)
    life.wait(59_999)
    life.read(LONG)
    life.mark(50_000)
    assert life.decide() == []
    assert "stop_refused" not in life.alerts
    life.wait(1)
    assert life.decide() == [PLACE]


def test_a_withheld_cancel_is_wanted_again_after_a_minute() -> None:
    doubled = [GOOD_STOP, build.our_stop(LONG, "46624.9", name="e" * 20)]
    life = Life(POLICY, stops=doubled)
    (wanted,) = life.decide()
    assert isinstance(wanted, CancelStop)
    life.settle(IntentState.WITHHELD)
    life.wait(59_999)
    life.read(LONG, stops=doubled)
    life.mark(50_000)
    assert life.decide() == []
    life.wait(1)
    assert life.decide() == [wanted]


def test_the_watchdog_closes_at_once_where_no_stop_rests() -> None:
    life = Life(POLICY)
    life.decide()
    life.settle(IntentState.REJECTED)
    life.wait(100)
    life.mark("46625.0")
    assert life.decide() == []
    life.mark("46624.9")
    assert life.decide() == [CLOSE]
    assert life.decision.approved[0].intent.reason == "protect/watchdog"


@pytest.mark.parametrize("mode", AccountMode)
def test_the_watchdog_stands_in_every_mode(mode: AccountMode) -> None:
    assert Life(POLICY, mark=46_000, mode=mode).decide() == [CLOSE]


def test_no_stop_is_placed_where_the_mark_has_passed() -> None:
    life = Life(POLICY, mark=46_600)
    assert life.decide() == [CLOSE]


def test_a_resting_stop_gets_three_seconds_and_a_recovery_starts_them_anew() -> None:
    life = Life(POLICY, stops=[GOOD_STOP], mark=46_600)
    assert life.decide() == []
    assert (life.decision.needs_read, life.decision.wake_at_ms) == (True, life.now_ms + 3_000)
    life.wait(2_000)
    life.mark(46_700)
    assert life.decide() == []
    life.wait(1_000)
    life.mark(46_600)
    assert life.decide() == []
    life.wait(2_999)
    life.mark(46_600)
    assert life.decide() == []
    life.wait(1)
    life.mark(46_600)
    assert life.decide() == [CLOSE]


def test_an_unknown_mark_passes_nothing() -> None:
    life = Life(POLICY, stops=[GOOD_STOP], mark=46_600)
    life.wait(10_000)
    assert life.decide() == []


# Naked


def test_fifteen_seconds_without_a_stop_are_alarmed_and_repeated_every_half_hour() -> None:
    life = Life(POLICY)
    said = []
    for second in range(0, 1_900, 5):
        if second == 5:
            said.append(life.decision.wake_at_ms)
        life.decide()
        if "naked" in life.alerts:
            said.append(second)
        life.settle(IntentState.UNKNOWN)
        life.wait(5_000)
        life.read(LONG)
        life.mark(50_000)
    assert said[1:] == [15, 1_815]


def test_the_naked_alarm_is_critical_and_on_time() -> None:
    life = Life(POLICY)
    life.decide()
    life.settle(IntentState.UNKNOWN)
    life.wait(14_999)
    life.mark(50_000)
    life.decide()
    assert (life.alerts, life.decision.wake_at_ms) == ([], life.now_ms + 1)
    life.wait(1)
    life.mark(50_000)
    life.decide()
    assert [(each.kind, each.severity) for each in life.decision.alerts] == [
        ("naked", AlertSeverity.CRITICAL)
    ]


def test_a_stop_that_rests_in_between_starts_the_alarm_anew() -> None:
    life = Life(POLICY)
    for second in range(0, 40, 10):
        life.decide()
        assert "naked" not in life.alerts
        life.settle(IntentState.EXPIRED)
        life.wait(10_000)
        stops = [GOOD_STOP] if second == 10 else []
        life.read(LONG, stops=stops)
        life.mark(50_000)


def test_a_position_opened_anew_is_not_naked_since_the_last_one() -> None:
    life = Life(POLICY)
    life.decide()
    life.wait(1_000)
    life.read_twice()
    life.decide()
    life.wait(300_000)
    life.read(LONG)
    life.mark(50_000)
    life.decide()
    assert life.alerts == []


# The venue's price


def test_the_stop_stands_before_the_nearer_liquidation_price() -> None:
    life = Life(POLICY, build.position(liquidation=Reported(Price(Decimal(46_000)))))
    (place,) = life.decide()
    assert isinstance(place, PlaceStop)
    assert place.trigger_price == Decimal("47422.7")  # 46,000 / 0.97


def test_an_older_read_does_not_bring_a_stop_back() -> None:
    life = Life(POLICY, stops=[GOOD_STOP])
    older = build.snapshot([LONG], [GOOD_STOP], taken_at_ms=life.now_ms)
    life.wait(1_000)
    life.read(LONG)
    life.happen(AccountReported(older, life.now_ms, life.now_ms + 1))
    assert life.decide() == [PLACE]


# The canary

HOUR_MS = 3_600_000
DAILY = build.policy(protection=build.protect(canary_ms=24 * HOUR_MS))


def canary_life() -> Life:
    """The stop was placed, and rests."""
    life = Life(DAILY)
    assert life.decide() == [PLACE]
    life.settle(IntentState.APPLIED)
    life.wait(1_000)
    life.read(LONG, stops=[GOOD_STOP])
    assert life.decide() == []
    return life


def later(life: Life, duration_ms: int, *stops: StopOrder) -> None:
    life.wait(duration_ms)
    life.read(LONG, stops=stops or [GOOD_STOP])
    life.mark(50_000)


def test_a_stop_that_rests_is_placed_anew_after_a_day_and_then_the_other_one_goes() -> None:
    life = canary_life()
    later(life, 23 * HOUR_MS)
    assert life.decide() == []
    later(life, HOUR_MS)
    assert life.decide() == [PLACE]
    life.settle(IntentState.APPLIED)
    later(life, 1_000, GOOD_STOP, replace(GOOD_STOP, client_id=GOOD_STOP.client_id + "z"))
    (gone,) = life.decide()
    assert isinstance(gone, CancelStop)
    later(life, 23 * HOUR_MS)
    assert life.decide() == []


def test_a_canary_that_is_refused_is_an_alarm_though_a_stop_rests_and_follows_within_an_hour() -> (
    None
):
    life = canary_life()
    later(life, 24 * HOUR_MS)
    assert life.decide() == [PLACE]
    life.settle(IntentState.REJECTED)
    life.decide()
    assert life.alerts == ["stop_refused"]
    assert life.verdict.stop.status is StopStatus.RESTS  # type: ignore[union-attr]
    later(life, HOUR_MS - 1_000)
    assert life.decide() == []
    later(life, 1_000)
    assert life.decide() == [PLACE]
    life.settle(IntentState.APPLIED)
    later(life, 1_000)
    life.decide()
    assert life.alerts == []


def test_a_policy_without_a_canary_has_none() -> None:
    life = Life(POLICY, stops=[GOOD_STOP])
    later(life, 1_000 * HOUR_MS)
    assert life.decide() == []
