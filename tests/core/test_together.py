"""
Cross positions judged together: one distance, a stop for each, and what is done about them.

Two longs of 50,000 on a wallet of 10,000: 10,000 - 100,000 x = 500 (1 - x), so 9.55 % away. A room
of 3 % leaves a shock of 6.55 %: the stops belong at 46,726.1 and 1,869.05.
"""

import re
from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from functools import partial

import pytest

from bot.core.actions import (
    Action,
    AddMargin,
    CancelStop,
    ClosePosition,
    NoWorseThan,
    PlaceStop,
)
from bot.core.decision import (
    AlertSeverity,
    Audited,
    BookVerdict,
    Decision,
    NoBook,
    NotAudited,
    PositionVerdict,
)
from bot.core.events import AccountMode, IntentState, Liquidated, OutcomeReported
from bot.core.guardrails import Denial
from bot.core.ladder import StepPhase
from bot.core.metrics import BookKnown, Known, Unknown
from bot.core.model import (
    NO_FILL,
    Fill,
    Filled,
    Instrument,
    MarginMode,
    Position,
    PositionMode,
    Side,
    StopOrder,
)
from bot.core.policy import AnyMarginMode, Metric, Rule, Step
from bot.core.protection import StopStatus
from bot.core.state import (
    GONE_MS,
    HOUR_MS,
    AccountState,
)
from bot.core.strategy import Close, Notify, Severity, TopUp
from bot.core.transitions import resumed
from bot.core.units import Money, Price, Quantity
from bot.journal.codec import from_json, to_json
from bot.testing import builders as build
from strategies import alert, close, partial_close, place_stop
from tests.core.books import cross, flat_rate
from tests.core.life import T0, Life, above, below, ratio

BTC = cross("BTCUSDT", entry_price=50_000)
ETH = cross("ETHUSDT", quantity=25, entry_price=2_000)
ETH_SHORT = replace(ETH, side=Side.SHORT)
BTC_STOP = build.our_stop(BTC, "46726.2", name="b" * 20)
ETH_STOP = build.our_stop(ETH, "1869.1", name="e" * 20)
STOPS = (BTC_STOP, ETH_STOP)
BOTH = frozenset(MarginMode)
LISTED = tuple(build.instrument(symbol) for symbol in ("BTCUSDT", "ETHUSDT", "SOLUSDT"))
LIMITS = build.guardrails(slippage_max="0.005")

OUT = build.step(
    "out", below("0.05"), Severity.CLOSE, partial(close.propose, params=close.Params())
)
WARN = build.step(
    "warn", below("0.2"), Severity.ALERT, partial(alert.propose, params=alert.Params())
)


def less(to: str, at: str = "0.1", cooldown_ms: int = 60_000) -> Step:
    """Close what brings the joint distance to `to`."""
    verb = partial(partial_close.propose, params=partial_close.ToDistance(ratio(to)))
    return build.step("less", below(at), Severity.REDUCE, verb, cooldown_ms=cooldown_ms)


def tight(room: str, at: str = "0.1") -> Step:
    verb = partial(place_stop.propose, params=place_stop.Params(ratio(room)))
    return build.step("tight", below(at), Severity.STOP, verb)


def ladder(*steps: Step, **facts: object) -> Rule:
    """A rule on all cross positions."""
    return build.rule(*steps, **({"margin_mode": MarginMode.CROSS} | facts))  # type: ignore[arg-type]


def shared(
    *rules: Rule,
    positions: Iterable[Position] = (BTC, ETH),
    stops: Iterable[StopOrder] = STOPS,
    wallet: build.Number = 10_000,
    mode: AccountMode = AccountMode.ACTIVE,
    instruments: Iterable[Instrument] = LISTED,
    position_mode: PositionMode = PositionMode.ONE_WAY,
    floor_in_hold: bool = True,
    share: build.Number = 0,
) -> Life:
    """Two cross longs at their entry prices, their stops where they belong."""
    policy = build.policy(
        *rules,
        protection=build.protect(floor_in_hold=floor_in_hold, share=share),
        limits=LIMITS,
        margin_modes=BOTH,
        stress=build.stress("0.2"),
    )
    life = Life(
        policy,
        *positions,
        stops=stops,
        wallet=wallet,
        free=wallet,
        mode=mode,
        instruments=instruments,
        position_mode=position_mode,
    )
    life.mark(2_000, "ETHUSDT")
    return life


def look(
    life: Life,
    btc: build.Number = 50_000,
    eth: build.Number = 2_000,
    positions: Iterable[Position] = (BTC, ETH),
    stops: Iterable[StopOrder] = STOPS,
) -> list[Action]:
    """A little later: read, marked, decided."""
    life.wait(100)
    life.read(*positions, stops=stops)
    life.mark(btc)
    life.mark(eth, "ETHUSDT")
    return life.decide()


def deeds(life: Life) -> list[Action]:
    """What the last decision does besides keeping stops."""
    actions = (each.intent.action for each in life.decision.approved)
    return [each for each in actions if isinstance(each, ClosePosition | AddMargin)]


def placed(life: Life) -> dict[str, Decimal]:
    """The stops that the last decision places, by symbol."""
    actions = (each.intent.action for each in life.decision.approved)
    return {each.symbol: each.trigger_price for each in actions if isinstance(each, PlaceStop)}


def of(life: Life, position: Position) -> PositionVerdict:
    (verdict,) = [each for each in life.decision.positions if each.position.key == position.key]
    return verdict


def book(life: Life) -> BookVerdict:
    assert isinstance(life.decision.book, BookVerdict)
    return life.decision.book


def known(life: Life) -> BookKnown:
    measured = book(life).measured
    assert isinstance(measured, BookKnown)
    return measured


def status(life: Life, position: Position) -> StopStatus:
    stop = of(life, position).stop
    assert isinstance(stop, Audited)
    return stop.status


def refusals(life: Life) -> list[tuple[Denial, str]]:
    return [(denied.kind, denied.limit) for denied in book(life).denied]


def report(life: Life, outcome: IntentState, fills: dict[str, Filled] | None = None) -> None:
    """The outcome of every close of the last decision, with what it filled."""
    for each in life.decision.approved:
        if isinstance(each.intent.action, ClosePosition):
            filled = (fills or {}).get(each.intent.key.symbol, NO_FILL)
            life.happen(OutcomeReported(each.intent.id, outcome, "", life.now_ms, filled))


def whole(position: Position) -> ClosePosition:
    return ClosePosition(position.symbol, position.side, position.quantity)


# Measured together


def test_every_leg_carries_what_is_measured_of_all() -> None:
    life = shared()
    assert life.decide() == []
    measured = known(life)
    assert f"{measured.liquidation_distance:.6f}" == "0.095477"
    assert measured.margin_balance == 10_000
    assert measured.maintenance_margin == 500
    for position in (BTC, ETH):
        leg = of(life, position).measured
        assert isinstance(leg, Known)
        assert leg.liquidation_distance == measured.liquidation_distance
        assert leg.margin_ratio == measured.margin_ratio == Decimal("0.05")
        assert not leg.disputed


def test_without_cross_positions_there_is_no_book() -> None:
    life = Life(build.policy())
    life.decide()
    assert life.decision.book == NoBook()


def test_an_account_of_a_margin_mode_that_the_policy_does_not_expect_is_told() -> None:
    life = shared()
    life.policy = replace(life.policy, margin_modes=frozenset({MarginMode.ISOLATED}))
    life.decide()
    assert life.alerts == ["margin_mode"]
    assert "cross margin is not what the policy expects" in life.decision.alerts[0].text


# The stop of each leg


def test_the_stops_rest_where_one_shock_leaves_the_room() -> None:
    life = shared(stops=())
    life.decide()
    assert placed(life) == {"BTCUSDT": Decimal("46726.2"), "ETHUSDT": Decimal("1869.1")}
    quantities = {
        each.intent.action.symbol: each.intent.action.quantity
        for each in life.decision.approved
        if isinstance(each.intent.action, PlaceStop)
    }
    assert quantities == {"BTCUSDT": 1, "ETHUSDT": 25}


def test_a_short_beside_a_long_has_its_stop_above_the_mark() -> None:
    """10,000 - 100,000 x = 500 whatever x, so 9.5 %; the stops at a shock of 6.5 %."""
    life = shared(positions=(BTC, ETH_SHORT), stops=())
    life.decide()
    assert known(life).liquidation_distance == Decimal("0.095")
    assert placed(life) == {"BTCUSDT": 46_750, "ETHUSDT": 2_130}


def test_a_beta_moves_the_stop_of_its_leg_so_many_times_as_far() -> None:
    """10,000 - 150,000 x = 500 - 750 x, so 6.365 %: 3.365 % for one, 6.73 % for the other."""
    life = shared(stops=())
    life.policy = replace(life.policy, stress=build.stress("0.2", ETHUSDT=2))
    life.decide()
    assert placed(life) == {"BTCUSDT": Decimal("48317.5"), "ETHUSDT": Decimal("1865.4")}


@pytest.mark.parametrize("mode", AccountMode)
def test_stops_are_kept_in_every_mode(mode: AccountMode) -> None:
    life = shared(stops=(), mode=mode)
    life.decide()
    assert placed(life).keys() == {"BTCUSDT", "ETHUSDT"}


def test_a_stop_follows_the_joint_distance_once_it_has_drifted_by_a_tenth_of_its_gap() -> None:
    """
    The other leg falls, so less is left to lose: the gap of 1,500 allows a drift of 150.

    With ETH at 1,990, 250 are lost: 9,750 - 99,750 x = 498.75 (1 - x), so 9.32 %, the stop at
    46,839.5. At 1,985 it would be at 46,896.7, and 46,726.2 is more than 150 away.
    """
    life = shared()
    assert look(life, eth=1_990) == []
    assert status(life, BTC) is StopStatus.RESTS
    look(life, eth=1_985)
    assert placed(life)["BTCUSDT"] == Decimal("46896.4")


def test_a_drifted_stop_is_re_priced_at_most_every_five_seconds() -> None:
    life = shared()
    look(life, eth=1_985)
    assert "BTCUSDT" in placed(life)
    life.settle(IntentState.APPLIED)
    sent_at_ms = life.now_ms
    moved = build.our_stop(BTC, "46896.4", name="c" * 20)
    stops = (moved, build.our_stop(ETH, "1861.1", name="f" * 20))
    look(life, eth=1_970, stops=stops)
    assert "BTCUSDT" not in placed(life)
    life.wait(sent_at_ms + 5_000 - life.now_ms - 100)
    look(life, eth=1_970, stops=stops)
    assert placed(life)["BTCUSDT"] == Decimal("47067.9")


def test_an_unsafe_stop_is_replaced_at_once() -> None:
    """Too small for the leg, or beyond its liquidation."""
    for bad in (
        build.our_stop(BTC, "46726.2", quantity="0.5", name="b" * 20),
        build.our_stop(BTC, "45226", name="b" * 20),
    ):
        life = shared(stops=(bad, ETH_STOP))
        life.decide()
        assert placed(life) == {"BTCUSDT": Decimal("46726.2")}


def test_the_users_stop_and_loss_max_tighten_a_leg() -> None:
    life = shared(stops=(BTC_STOP, ETH_STOP, build.foreign_stop(BTC, 49_000)))
    life.decide()
    assert placed(life) == {"BTCUSDT": 49_000}
    capped = shared()
    capped.policy = replace(
        capped.policy, guardrails=build.guardrails(loss_max=1_000, slippage_max="0.005")
    )
    capped.decide()
    assert placed(capped) == {"BTCUSDT": 49_000, "ETHUSDT": 1_960}


def test_place_stop_tightens_every_leg_to_the_same_shock() -> None:
    """A room of 5 %: a shock of 4.55 %."""
    life = shared(ladder(tight("0.05")))
    life.decide()
    assert placed(life) == {"BTCUSDT": Decimal("47726.2"), "ETHUSDT": Decimal("1909.1")}
    cleared = shared(ladder(tight("0.05", "0.09")))
    assert cleared.decide() == []


def test_a_stop_is_not_tightened_into_the_mark() -> None:
    """At a room of 9.5 % each leg would trigger 0.05 % below; at 9.6 % there is no such place."""
    life = shared(ladder(tight("0.095")))
    life.decide()
    assert placed(life) == {"BTCUSDT": Decimal("49976.2"), "ETHUSDT": Decimal("1999.1")}
    assert shared(ladder(tight("0.096"))).decide() == []


def test_a_stop_that_rounding_would_bring_to_the_mark_is_not_tightened() -> None:
    """A room of 9.546 % leaves 0.0017 %: for ETH, on a tick of 0.1, the mark price itself."""
    life = shared(ladder(tight("0.09546")))
    life.decide()
    assert placed(life) == {"BTCUSDT": Decimal("49999.2")}
    assert deeds(life) == []


def test_what_rests_beyond_need_is_cancelled_once_a_good_one_rests() -> None:
    old = build.our_stop(BTC, "46000", name="o" * 20)
    life = shared(stops=(*STOPS, old))
    assert life.decide() == [CancelStop("BTCUSDT", Side.LONG, old.client_id)]


# The floor


NEAR_FLOOR = 46_000, 1_840  # 2,000 of 92,000 left, 460 needed: 1.68 % away
AT_FLOOR = 45_880, 1_836  # 1.41 % away


def test_at_the_floor_every_leg_is_closed_at_market() -> None:
    life = shared()
    look(life, *AT_FLOOR)
    assert deeds(life) == [whole(BTC), whole(ETH)]
    assert {each.intent.reason for each in life.decision.approved} >= {"protect/floor"}
    assert known(life).liquidation_distance < Decimal("0.015")


def test_before_the_floor_only_the_ladder_closes_and_with_a_bound() -> None:
    quiet = shared(stops=(build.our_stop(BTC, 45_500), build.our_stop(ETH, 1_820)))
    quiet.policy = replace(quiet.policy, protect=build.protect(room="0.016"))
    look(quiet, *NEAR_FLOOR, stops=quiet.state.stops)
    assert deeds(quiet) == []
    life = shared(ladder(OUT))
    life.policy = replace(life.policy, protect=build.protect(room="0.016"))
    look(life, *NEAR_FLOOR)
    bounds = {each.symbol: each.bound for each in deeds(life) if isinstance(each, ClosePosition)}
    assert bounds.keys() == {"BTCUSDT", "ETHUSDT"}
    for symbol, mark, liquidated in (("BTCUSDT", 46_000, 45_226), ("ETHUSDT", 1_840, 1_809)):
        bound = bounds[symbol]
        assert isinstance(bound, NoWorseThan)
        assert liquidated <= bound.price < mark * Decimal("0.9951")


@pytest.mark.parametrize(
    ("mode", "floor_in_hold", "closes"),
    [
        *((mode, True, True) for mode in AccountMode),
        *((mode, False, mode is not AccountMode.HOLD) for mode in AccountMode),
    ],
)
def test_the_floor_in_every_mode(mode: AccountMode, floor_in_hold: bool, closes: bool) -> None:
    life = shared(mode=mode, floor_in_hold=floor_in_hold)
    look(life, *AT_FLOOR)
    assert deeds(life) == ([whole(BTC), whole(ETH)] if closes else [])
    assert ("floor_held" in life.alerts) is not closes


def test_a_breached_book_is_closed_and_never_topped_up() -> None:
    add = build.step("add", below("0.9"), Severity.ALERT, lambda view: Notify("x"))
    life = shared(ladder(add))
    look(life, 44_000, 1_700)
    assert known(life).breached
    assert deeds(life) == [whole(BTC), whole(ETH)]


def test_a_leg_that_is_being_closed_does_not_keep_the_others() -> None:
    life = shared()
    look(life, *AT_FLOOR)
    for each in life.decision.approved:
        if isinstance(each.intent.action, ClosePosition):
            gone = IntentState.PREPARED if each.intent.key == BTC.key else IntentState.REJECTED
            life.happen(OutcomeReported(each.intent.id, gone, "", life.now_ms))
    look(life, *AT_FLOOR)
    assert deeds(life) == []  # the refused one is tried again after a second
    life.wait(1_000)
    look(life, *AT_FLOOR)
    assert deeds(life) == [whole(ETH)]


# The watchdog of one leg


def test_a_leg_whose_stop_was_refused_is_closed_when_its_mark_passes_the_level() -> None:
    life = shared(stops=(ETH_STOP,))
    life.decide()
    life.settle(IntentState.REJECTED)
    assert look(life, stops=(ETH_STOP,)) == []
    look(life, 46_500, 2_060, stops=(ETH_STOP,))  # ETH gains what BTC loses, almost
    target = of(life, BTC).stop
    assert isinstance(target, Audited)
    assert deeds(life) == []
    # BTC jumps alone: 10,000 - 5,500 + 1,500 are left of the book, and its level is passed.
    life.policy = replace(
        life.policy, guardrails=build.guardrails(loss_max=5_000, slippage_max="0.005")
    )
    look(life, 44_500, 2_060, stops=(ETH_STOP,))
    assert deeds(life) == [whole(BTC)]
    assert life.decision.approved[-1].intent.reason == "protect/watchdog"


def test_a_resting_stop_of_a_leg_gets_three_seconds_to_fill() -> None:
    stops = (build.our_stop(BTC, 45_000, name="b" * 20), ETH_STOP)
    capped = build.guardrails(loss_max=5_000, slippage_max="0.005")
    life = shared()
    life.policy = replace(life.policy, guardrails=capped)
    look(life, 44_900, 2_100, stops=stops)
    assert deeds(life) == []
    assert life.decision.needs_read
    life.wait(2_900)
    look(life, 44_900, 2_100, stops=stops)
    assert deeds(life) == [whole(BTC)]


# Parts


def test_the_leg_that_relieves_most_for_its_cost_is_reduced() -> None:
    """At equal slippage the one with the lower fee; to the target and no further."""
    cheap = (LISTED[0], flat_rate("ETHUSDT", "0.005", taker_fee="0.0001"))
    life = shared(ladder(less("0.12")), instruments=cheap)
    look(life)
    (reduction,) = deeds(life)
    assert isinstance(reduction, ClosePosition)
    assert reduction.symbol == "ETHUSDT"
    assert life.decision.approved[-1].intent.reason == "ladder/less"
    # At 1,990 (the bound) a coin costs 10.199; 12 % of 2,000 and 0.5 % of 1,760 come free.
    missing = Decimal("0.12") * 100_000 + Decimal("0.005") * 88_000 - 10_000
    each_coin = 240 + Decimal("8.8") - 10 - Decimal("0.199")
    assert missing / each_coin <= reduction.quantity < missing / each_coin + Decimal("0.001")
    dear = (LISTED[0], flat_rate("ETHUSDT", "0.005", taker_fee="0.001"))
    other = shared(ladder(less("0.12")), instruments=dear)
    look(other)
    assert [each.symbol for each in deeds(other)] == ["BTCUSDT"]


def test_a_large_target_closes_one_leg_whole_and_part_of_the_next() -> None:
    life = shared(ladder(less("0.25")))
    look(life)
    symbols = [
        (each.symbol, each.quantity) for each in deeds(life) if isinstance(each, ClosePosition)
    ]
    assert len(symbols) == 2
    assert (
        sum(quantity == {"BTCUSDT": 1, "ETHUSDT": 25}[symbol] for symbol, quantity in symbols) == 1
    )


def test_a_fraction_of_the_best_leg() -> None:
    verb = partial(partial_close.propose, params=partial_close.Fraction(ratio("0.25")))
    step = build.step("less", below("0.1"), Severity.REDUCE, verb)
    life = shared(ladder(step))
    look(life)
    (reduction,) = deeds(life)
    assert isinstance(reduction, ClosePosition)
    assert (reduction.symbol, reduction.quantity) == ("BTCUSDT", Decimal("0.25"))


def test_what_filled_in_part_goes_on_with_what_is_left_and_without_a_cooldown() -> None:
    life = shared(ladder(less("0.25")))
    look(life)
    first, second = deeds(life)
    assert isinstance(first, ClosePosition)
    assert isinstance(second, ClosePosition)
    held = {"BTCUSDT": BTC, "ETHUSDT": ETH}
    done = first.quantity / 2
    part = Fill(Quantity(done), Price(Decimal(held[first.symbol].entry_price)))
    rest = replace(held[first.symbol], quantity=Quantity(held[first.symbol].quantity - done))
    report(life, IntentState.PARTIAL, {first.symbol: part})
    life.wallet = 7_000
    look(life, positions=(rest, held[second.symbol]))
    again = {each.symbol: each.quantity for each in deeds(life) if isinstance(each, ClosePosition)}
    assert again == {first.symbol: first.quantity - done, second.symbol: second.quantity}
    # All of it filled: whatever fires now waits for the cooldown.
    for each in life.decision.approved:
        life.happen(OutcomeReported(each.intent.id, IntentState.APPLIED, "", life.now_ms))
    life.wallet = 4_000
    look(life, positions=(held[second.symbol],))
    assert deeds(life) == []
    assert (Denial.WAIT, "cooldown") in refusals(life)


def test_a_step_whose_target_is_reached_holds_and_says_nothing() -> None:
    life = shared(ladder(less("0.09")))
    look(life)
    assert deeds(life) == []
    assert refusals(life) == [(Denial.WAIT, "target")]
    assert life.decision.alerts == ()


def test_a_part_waits_while_any_leg_is_moving() -> None:
    life = shared(ladder(less("0.12", cooldown_ms=0)))
    look(life)
    assert len(deeds(life)) == 1
    report(life, IntentState.UNKNOWN)
    life.wait(5_000)
    look(life)
    assert deeds(life) == []
    assert refusals(life) == [(Denial.WAIT, "in_flight")]


# A close of all


def test_the_ladders_close_is_of_every_leg_and_bounded() -> None:
    life = shared(ladder(replace(OUT, threshold=below("0.1"))))
    look(life)
    assert deeds(life) == [
        replace(whole(BTC), bound=NoWorseThan(Price(Decimal(49_750)))),
        replace(whole(ETH), bound=NoWorseThan(Price(Decimal(1_990)))),
    ]
    ids = [each.intent.id for each in life.decision.approved]
    assert len(set(ids)) == len(ids)


def test_what_a_bounded_close_left_is_closed_again_after_a_second() -> None:
    life = shared(ladder(replace(OUT, threshold=below("0.1"))))
    look(life)
    part = Fill(Quantity(Decimal("0.4")), Price(Decimal(49_750)))
    report(life, IntentState.PARTIAL, {"BTCUSDT": part})
    rest = replace(BTC, quantity=Quantity(Decimal("0.6")))
    life.wallet = 7_000
    look(life, positions=(rest, ETH))
    assert deeds(life) == []
    life.wait(1_000)
    look(life, positions=(rest, ETH))
    assert [
        (each.symbol, each.quantity) for each in deeds(life) if isinstance(each, ClosePosition)
    ] == [
        ("BTCUSDT", Decimal("0.6")),
        ("ETHUSDT", 25),
    ]


def test_a_refused_step_gives_way_for_five_seconds_to_a_milder_one() -> None:
    life = shared(ladder(less("0.12", cooldown_ms=0), replace(OUT, threshold=below("0.098"))))
    look(life)
    assert len(deeds(life)) == 2
    report(life, IntentState.REJECTED)
    look(life)
    assert [each.intent.reason for each in life.decision.approved] == ["ladder/less"]
    report(life, IntentState.EXPIRED)
    life.wait(5_000)
    look(life)
    assert {each.intent.reason for each in life.decision.approved} == {"ladder/out"}


def test_hold_keeps_the_ladder_from_closing_and_says_so() -> None:
    for step in (replace(OUT, threshold=below("0.1")), less("0.12")):
        life = shared(ladder(step), mode=AccountMode.HOLD)
        look(life)
        assert deeds(life) == []
        assert life.alerts == ["exhausted:hold"]


def test_a_warning_names_all_of_them_once() -> None:
    life = shared(ladder(WARN))
    look(life)
    (said,) = life.decision.alerts
    assert said.text == "cross positions: together 9.55% from liquidation: BTCUSDT, ETHUSDT"
    look(life)
    assert life.alerts == []


def test_an_episode_is_the_books() -> None:
    life = shared(ladder(less("0.12")))
    look(life)
    assert life.state.book.in_episode
    assert not life.state.memory_of(BTC.key).in_episode
    assert {each.intent.episode for each in life.decision.approved} == {life.state.book.episode}


def test_the_book_is_forgotten_ten_minutes_after_the_last_cross_position() -> None:
    life = shared(ladder(less("0.12")))
    look(life)
    report(life, IntentState.APPLIED)
    life.wait(100)
    life.read_twice()
    life.decide()
    assert life.state.book.in_episode
    life.wait(599_999 - GONE_MS)
    life.read()
    life.decide()
    assert life.state.book.in_episode
    life.wait(1)
    life.read()
    life.decide()
    assert not life.state.book.steps


# Unknown


def test_one_leg_without_a_mark_blinds_all_but_their_stops_stay() -> None:
    life = shared(ladder(OUT))
    life.wait(5_001)
    life.read(BTC, ETH, stops=STOPS)
    life.mark(49_900)
    assert life.decide() == []
    measured = book(life).measured
    assert isinstance(measured, Unknown)
    assert measured.reason.startswith("ETHUSDT: the mark price is older")
    assert book(life).steps[0].phase is StepPhase.UNKNOWN
    assert isinstance(of(life, BTC).measured, Unknown)
    assert life.decision.endangered


def test_a_stop_may_be_placed_on_old_marks_but_not_on_an_old_read() -> None:
    life = shared(stops=())
    life.wait(6_000)
    life.read(BTC, ETH)
    life.decide()
    assert isinstance(book(life).measured, Unknown)
    assert placed(life) == {"BTCUSDT": Decimal("46726.2"), "ETHUSDT": Decimal("1869.1")}
    old = shared(stops=())
    old.wait(60_001)
    assert old.decide() == []
    assert isinstance(of(old, BTC).stop, NotAudited)


def test_a_tightened_stop_stays_while_blind() -> None:
    tightened = (
        build.our_stop(BTC, "47726.2", name="b" * 20),
        build.our_stop(ETH, "1909.1", name="e" * 20),
    )
    life = shared(ladder(tight("0.05")), stops=tightened)
    assert life.decide() == []
    life.wait(6_000)
    life.read(BTC, ETH, stops=tightened)
    assert life.decide() == []


def test_blind_for_too_long_is_alarmed_once_for_all() -> None:
    life = shared()
    life.decide()
    for _ in range(14):
        life.wait(5_000)
        life.read(BTC, ETH, stops=STOPS)
        life.decide()
    said = [each for each in life.decision.alerts if each.kind == "unknown"]
    assert said == []  # it was said before, and is not repeated
    assert "unknown" in life.state.book.alerted
    assert life.state.book.alerted["unknown"] == T0 + 65_000
    assert life.state.memory_of(BTC.key).alerted == {}


UNSUPPORTED = [
    (build.instrument("ETHUSDT", settle="BTC"), PositionMode.ONE_WAY),
    (
        build.instrument("ETHUSDT", risk_tiers=build.tiers((0, "0.01"), (9, "0.005"))),
        PositionMode.ONE_WAY,
    ),
    (LISTED[1], PositionMode.HEDGE),
]


@pytest.mark.parametrize(
    ("instrument", "mode"), UNSUPPORTED, ids=["another coin", "jumps", "hedge"]
)
def test_a_book_that_the_arithmetic_does_not_cover_gets_no_stop_from_it(
    instrument: Instrument, mode: PositionMode
) -> None:
    """What is not supported is only alarmed: a stop at a wrong price would be an action too."""
    life = shared(stops=(), instruments=(LISTED[0], instrument), position_mode=mode)
    assert life.decide() == []
    measured = book(life).measured
    assert isinstance(measured, Unknown)
    assert re.search("not supported|pays in BTC|hedge mode", measured.reason)
    assert isinstance(of(life, BTC).stop, NotAudited)


# What one leg pays by itself

COSTLY = build.step("costly", above("0.002"), Severity.CLOSE, lambda view: Close())
FUNDING = build.rule(
    COSTLY,
    name="funding",
    metric=Metric.FUNDING_COST_INTERVAL,
    hysteresis=0,
    margin_mode=MarginMode.CROSS,
)


def test_a_step_on_what_a_leg_pays_closes_that_leg() -> None:
    """0.03 % of the value are 0.3 % of the initial margin at 10x."""
    life = shared(FUNDING)
    life.bill("0.0003", T0 + 500_000, symbol="ETHUSDT")
    life.bill("0.0001", T0 + 500_000)
    look(life)
    (action,) = deeds(life)
    assert isinstance(action, ClosePosition)
    assert (action.symbol, action.quantity) == ("ETHUSDT", Decimal(25))
    assert life.state.memory_of(ETH.key).in_episode
    assert not life.state.book.in_episode
    assert [each.phase for each in of(life, BTC).steps] == [StepPhase.INACTIVE]


def test_it_waits_for_the_minutes_before_its_own_settlement() -> None:
    life = shared(FUNDING)
    life.bill("0.0003", T0 + HOUR_MS, symbol="ETHUSDT")
    look(life)
    assert deeds(life) == []
    assert [each.limit for each in of(life, ETH).denied] == ["settlement"]


def test_a_leg_that_acts_by_itself_lets_the_ladder_of_all_wait() -> None:
    life = shared(FUNDING, ladder(less("0.12")))
    life.bill("0.0003", T0 + 500_000, symbol="ETHUSDT")
    look(life)
    assert [each.intent.reason for each in life.decision.approved] == ["funding/costly"]
    look(life)
    assert deeds(life) == []
    assert refusals(life) == [(Denial.WAIT, "in_flight")]


def test_one_action_a_position_and_the_rest_at_the_next_decision() -> None:
    """A quarter of one leg is on its way: the close of all of them takes that leg whole."""
    verb = partial(partial_close.propose, params=partial_close.Fraction(ratio("0.25")))
    quarter = replace(COSTLY, severity=Severity.REDUCE, propose=verb)
    life = shared(replace(FUNDING, steps=(quarter,)), ladder(replace(OUT, threshold=below("0.1"))))
    life.bill("0.0003", T0 + 500_000, symbol="ETHUSDT")
    look(life)
    (part,) = deeds(life)
    assert isinstance(part, ClosePosition)
    assert (part.symbol, part.quantity) == ("ETHUSDT", Decimal("6.25"))
    look(life)
    assert [each.quantity for each in deeds(life) if isinstance(each, ClosePosition)] == [
        Decimal(1),
        Decimal(25),
    ]


def test_a_settlement_of_a_leg_wakes_and_asks_for_a_read() -> None:
    life = shared()
    at_ms = T0 + HOUR_MS
    life.bill("0.0003", at_ms, symbol="ETHUSDT")
    for moment_ms in (at_ms - 600_000, at_ms - 300_000, at_ms, at_ms + 1_000):
        life.wait(moment_ms - 1 - life.now_ms - 100)
        look(life)
        assert life.decision.wake_at_ms == moment_ms
    life.wait(1)
    life.mark(50_000)
    life.mark(2_000, "ETHUSDT")
    life.decide()
    assert life.decision.needs_read
    life.read(BTC, ETH, stops=STOPS)
    life.decide()
    assert not life.state.book.alerted


# Beside an isolated position

SOL = build.position("SOLUSDT", quantity=10, entry_price=100, margin=100)
SOL_STOP = build.our_stop(SOL, "93.3", name="s" * 20)
ADD = build.step("add", below("0.08"), Severity.SPEND, lambda view: TopUp(Money(Decimal(300))))


def beside(life: Life, sol: build.Number, position: Position = SOL, **marks: int) -> list[Action]:
    life.wait(100)
    life.read(BTC, ETH, position, stops=(*STOPS, SOL_STOP))
    life.mark(marks.get("btc", 50_000))
    life.mark(2_000, "ETHUSDT")
    life.mark(sol, "SOLUSDT")
    life.decide()
    return deeds(life)


def adding(wallet: build.Number = 10_000, *book_steps: Step) -> Life:
    rules = [build.rule(ADD, name="alone")]
    if book_steps:
        rules.append(ladder(*book_steps))
    return shared(*rules, wallet=wallet)


def added(amount: str) -> list[Action]:
    return [AddMargin("SOLUSDT", Side.LONG, Money(Decimal(amount)))]


def test_a_top_up_leaves_the_book_its_stops() -> None:
    """Beyond 3 % x 100,000 + 0.5 % x 97,000 = 3,485 and a margin step the wallet may go."""
    rich = adding()
    assert beside(rich, 97) == added("300")
    poor = adding("3600")
    assert beside(poor, 97) == added("114.99")
    shrinks = [
        each.shrinks
        for each in poor.decision.approved
        if isinstance(each.intent.action, AddMargin)
    ]
    assert shrinks == [("asked 300, may be 114.99, limit cross_positions",)]


def test_a_top_up_leaves_every_leg_its_share_of_the_way_from_entry() -> None:
    """
    BTC is 2,000 below its entry: with half of the way to be left, 2,000 must remain ahead of it.

    At the joint distance 2,000 / 48,000 = 1 / 24 of 98,000 the book has lost 2,000 + 4,083.33 and
    requires 0.5 % x 93,916.67 = 469.58: of 6,653 a margin step less than 100.08 may go.
    """
    life = shared(build.rule(ADD, name="alone"), wallet=6_653, share="0.5")
    sent = beside(life, 97, btc=48_000)
    assert [each for each in sent if isinstance(each, AddMargin)] == added("100.07")


def test_a_top_up_leaves_the_book_its_thresholds_and_their_hysteresis() -> None:
    """Below 8 %, hysteresis 1 %: 9 % x 100,000 + 0.5 % x 91,000 = 9,455 stay."""
    life = adding("9600", replace(WARN, threshold=below("0.08")))
    assert beside(life, 97) == added("145")
    ratios = shared(
        build.rule(ADD, name="alone"),
        ladder(
            replace(WARN, threshold=above("0.06")), metric=Metric.MARGIN_RATIO, hysteresis="0.01"
        ),
        wallet=10_100,
    )
    assert beside(ratios, 97) == added("100")  # 500 / (0.06 - 0.01) = 10,000 stay


def test_a_top_up_that_would_bring_the_book_nearer_is_refused_loudly() -> None:
    life = adding("9400", replace(WARN, threshold=below("0.08")))
    assert beside(life, 97) == []
    verdict = of(life, SOL)
    assert [(each.kind, each.limit) for each in verdict.denied] == [
        (Denial.EXHAUSTED, "cross_positions")
    ]
    assert "exhausted:cross_positions" in life.alerts


def test_a_top_up_waits_while_the_book_is_unknown() -> None:
    life = adding()
    life.wait(6_000)
    life.read(BTC, ETH, SOL, stops=(*STOPS, SOL_STOP))
    life.mark(97, "SOLUSDT")
    life.decide()
    assert deeds(life) == []
    (denied,) = of(life, SOL).denied
    assert (denied.kind, denied.limit, denied.needs_read) == (Denial.WAIT, "age", True)


def test_the_bill_of_a_leg_is_not_lent_to_a_top_up() -> None:
    life = adding("3600")
    life.bill("0.002", T0 + 200_000)  # 100 of the wallet are as good as gone
    assert beside(life, 97) == added("14.99")


@pytest.mark.parametrize("outcome", [IntentState.REJECTED, IntentState.PARTIAL])
def test_what_became_of_an_isolated_close_is_not_remembered_as_the_books(
    outcome: IntentState,
) -> None:
    """A rule on any margin mode has one name for the isolated position and for the book."""
    out = build.step("out", below("0.08"), Severity.CLOSE, lambda view: Close())
    rule = build.rule(out, name="ladder", margin_mode=AnyMarginMode())
    life = shared(rule)
    (closing,) = beside(life, 97)
    assert isinstance(closing, ClosePosition)
    assert closing.symbol == "SOLUSDT"
    report(life, outcome, {"SOLUSDT": Fill(Quantity(Decimal(4)), Price(Decimal(97)))})
    assert life.state.book.steps["ladder/out"].left == {}
    assert life.state.book.steps["ladder/out"].refused_at_ms < 0
    assert life.state.memory_of(SOL.key).steps["ladder/out"] != life.state.book.steps["ladder/out"]


def test_what_an_isolated_part_left_does_not_stand_in_the_way_of_the_book() -> None:
    fraction = partial(partial_close.propose, params=partial_close.Fraction(ratio("0.5")))
    step = build.step("less", below("0.1"), Severity.REDUCE, fraction)
    life = shared(build.rule(step, name="ladder", margin_mode=AnyMarginMode()), wallet=20_000)
    (closing,) = beside(life, 97)
    assert isinstance(closing, ClosePosition)
    report(life, IntentState.PARTIAL, {"SOLUSDT": Fill(Quantity(Decimal(4)), Price(Decimal(97)))})
    life.wallet = 9_000
    closed = beside(
        life, 110, replace(SOL, quantity=Quantity(Decimal(6)), isolated_margin=Money(Decimal(60)))
    )
    assert [each.symbol for each in closed if isinstance(each, ClosePosition)] == ["BTCUSDT"]


def test_the_book_and_the_position_beside_it_act_by_themselves() -> None:
    life = adding("20000", replace(OUT, threshold=below("0.3")))
    deeds_ = beside(life, 97)
    assert [type(each) for each in deeds_] == [ClosePosition, ClosePosition]
    verdict = of(life, SOL)
    assert [each.limit for each in verdict.denied] == ["cross_positions"]


# What the exchange did


def test_the_liquidation_of_a_leg_is_told_once() -> None:
    life = shared()
    life.happen(Liquidated("ETHUSDT", Side.LONG, Price(Decimal(1_800)), life.now_ms))
    life.decide()
    (said,) = life.decision.alerts
    assert (said.kind, said.severity) == ("liquidated", AlertSeverity.CRITICAL)
    assert "ETHUSDT long" in said.text
    assert life.decision.needs_read
    life.decide()
    assert life.decision.alerts == ()


def test_the_stop_of_a_leg_that_is_gone_is_an_orphan() -> None:
    life = shared()
    for _ in range(2):
        life.wait(2_000)
        look(life, positions=(BTC,))
    cancelled = [
        each.intent.action
        for each in life.decision.approved
        if isinstance(each.intent.action, CancelStop)
    ]
    assert cancelled == [CancelStop("ETHUSDT", Side.LONG, ETH_STOP.client_id)]


# The journal


def test_a_state_and_a_decision_are_read_back_as_they_were_written() -> None:
    life = shared(
        FUNDING, ladder(WARN, tight("0.05"), less("0.25")), build.rule(ADD, name="alone")
    )
    life.bill("0.0003", T0 + 500_000, symbol="ETHUSDT")
    beside(life, 97)
    part = Fill(Quantity(Decimal("0.1")), Price(Decimal(50_000)))
    report(life, IntentState.PARTIAL, {"BTCUSDT": part})
    beside(life, 97)
    state, decision = life.state, life.decision
    read = from_json(to_json(state, AccountState), AccountState)
    assert read == replace(state, instruments=read.instruments)
    assert from_json(to_json(decision, Decision), Decision) == decision
    again = resumed(replace(read, instruments=state.instruments), "policy", life.now_ms)
    assert again.book == state.book
    assert again.intents.keys() == state.intents.keys()
