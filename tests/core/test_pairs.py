"""
A long and a short of one symbol on one wallet, stopped and closed as what they net to.

A long of 1 and a short of 0.9 from 50,000 on a wallet of 1,000, at a rate of 0.5 %: together they
lose 0.1 a dollar of a fall, and are spent where 1,000 + 0.1 (p - 50,000) = 0.005 * 1.9 p, at
4,000 / 0.0905 = 44,198.9: 11.6 % away. A room of 3 % of 50,000 before that is 45,698.9.
"""

from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bot.core.actions import AT_MARKET, Action, CancelStop, ClosePosition, PlaceStop
from bot.core.cross import Book, Leg
from bot.core.decision import Audited, BookVerdict
from bot.core.events import AccountMode, AutoDeleveraged, IntentState, OutcomeReported
from bot.core.metrics import BookKnown, Known, Unknown, measure_book
from bot.core.model import (
    ContractKind,
    Fill,
    HedgeRequirement,
    Instrument,
    MarginMode,
    Position,
    PositionMode,
    Side,
    StopOrder,
)
from bot.core.policy import AnyMarginMode, Metric, Policy, Rule, Step
from bot.core.protection import StopStatus
from bot.core.sizing import AlreadyThere, CannotReach, closes_to_reach
from bot.core.state import HOUR_MS
from bot.core.strategy import Severity
from bot.core.stress import by_relief
from bot.core.units import Money, Price, Quantity, Ratio
from bot.testing import builders as build
from strategies import close, partial_close
from tests.core.books import cross
from tests.core.exact import shared_surplus
from tests.core.life import T0, Life, above, below, ratio

D = Decimal
LONG, SHORT = Side.LONG, Side.SHORT
SYMBOL = build.SYMBOL
STOP_OF_LONG = "45698.9"


def pair(long: str = "1", short: str = "0.9", *, symbol: str = SYMBOL) -> tuple[Position, ...]:
    return tuple(
        cross(symbol, side, quantity=size, entry_price=50_000)
        for side, size in ((LONG, long), (SHORT, short))
    )


def ruled(rule: HedgeRequirement, *tiers: tuple[str, str]) -> Instrument:
    plain = build.instrument(risk_tiers=build.tiers(("0", "0.005"), *tiers))
    return replace(plain, rules=replace(plain.rules, hedge_requirement=rule))


def policy(*rules: Rule, loss_max: build.Number = 1_000_000, shock: str = "0.2") -> Policy:
    return build.policy(
        *rules,
        limits=build.guardrails(slippage_max="0.005", loss_max=loss_max),
        margin_modes=frozenset({MarginMode.CROSS}),
        position_mode=PositionMode.HEDGE,
        stress=build.stress(shock),
    )


def life(
    *rules: Rule,
    legs: tuple[Position, ...] = pair(),
    stops: Iterable[StopOrder] = (),
    wallet: build.Number = 1_000,
    mode: AccountMode = AccountMode.ACTIVE,
    instruments: Iterable[Instrument] = (build.instrument(),),
    loss_max: build.Number = 1_000_000,
) -> Life:
    return Life(
        policy(*rules, loss_max=loss_max),
        *legs,
        stops=stops,
        wallet=wallet,
        mode=mode,
        position_mode=PositionMode.HEDGE,
        instruments=instruments,
    )


def rung(name: str, at: str, severity: Severity, params: partial_close.Params) -> Step:
    return build.step(
        name,
        below(at),
        severity,
        lambda view: partial_close.propose(view, params),
        cooldown_ms=60_000,
    )


def ladder(*steps: Step) -> Rule:
    return build.rule(*steps, margin_mode=MarginMode.CROSS)


def less(to: str, at: str = "0.1") -> Rule:
    return ladder(rung("less", at, Severity.REDUCE, partial_close.ToDistance(ratio(to))))


def share(fraction: str, at: str = "0.1") -> Rule:
    return ladder(rung("share", at, Severity.REDUCE, partial_close.Fraction(ratio(fraction))))


OUT = ladder(
    build.step(
        "out", below("0.05"), Severity.CLOSE, lambda view: close.propose(view, close.Params())
    )
)


def placed(actions: list[Action]) -> dict[Side, tuple[Decimal, Decimal]]:
    return {
        each.side: (each.quantity, each.trigger_price)
        for each in actions
        if isinstance(each, PlaceStop)
    }


def closes(actions: list[Action]) -> list[tuple[Side, Decimal]]:
    return [(each.side, each.quantity) for each in actions if isinstance(each, ClosePosition)]


def reasons(lived: Life) -> dict[Side, str]:
    return {
        each.intent.key.side: each.intent.reason
        for each in lived.decision.approved
        if isinstance(each.intent.action, ClosePosition)
    }


def excess_stop(quantity: str = "0.1", trigger: str = STOP_OF_LONG) -> StopOrder:
    return build.our_stop(pair()[0], trigger, quantity=quantity, name="e" * 20)


def denials(lived: Life) -> list[str]:
    book = lived.decision.book
    of_book = book.denied if isinstance(book, BookVerdict) else ()
    of_legs = (each for verdict in lived.decision.positions for each in verdict.denied)
    return [each.limit for each in (*of_book, *of_legs)]


# -- measured and stopped --------------------------------------------------------------------


def test_a_pair_has_one_distance_and_one_stop_of_what_the_larger_leg_has_beyond_the_smaller() -> (
    None
):
    lived = life()
    assert placed(lived.decide()) == {LONG: (D("0.1"), D(STOP_OF_LONG))}
    distances = {
        each.measured.liquidation_distance
        for each in lived.decision.positions
        if isinstance(each.measured, Known)
    }
    (distance,) = distances
    assert round(distance, 6) == round(1 - D(4_000) / D("0.0905") / 50_000, 6)


def test_a_short_that_is_larger_is_stopped_above_the_mark() -> None:
    """1,000 - 0.1 (p - 50,000) = 0.0095 p: spent at 6,000 / 0.1095 = 54,794.5, 1,500 before it."""
    assert placed(life(legs=pair("0.9", "1")).decide()) == {SHORT: (D("0.1"), D("53294.5"))}


def test_two_pairs_have_their_stops_on_both_sides_of_the_mark() -> None:
    instruments = [build.instrument("AUSDT"), build.instrument("BUSDT")]
    lived = life(
        legs=(*pair(symbol="AUSDT"), *pair("0.9", "1", symbol="BUSDT")),
        wallet=2_000,
        instruments=instruments,
    )
    lived.mark(50_000, "AUSDT")
    lived.mark(50_000, "BUSDT")
    actions = lived.decide()
    stops = {each.symbol: each for each in actions if isinstance(each, PlaceStop)}
    assert [(stops[each].side, stops[each].quantity) for each in sorted(stops)] == [
        (LONG, D("0.1")),
        (SHORT, D("0.1")),
    ]
    assert stops["AUSDT"].trigger_price < 50_000 < stops["BUSDT"].trigger_price


def test_loss_max_is_that_of_both_together() -> None:
    """
    From 50,000 and 51,000 they are even at (50,000 - 45,900) / 0.1 = 41,000 and lose from there.

    So they have lost 100 at 40,000, while the wallet of 10,000 lasts. A long alone has lost 500 at
    49,500.
    """
    long, short = pair()
    won = replace(short, entry_price=Price(D(51_000)))
    lived = life(legs=(long, won), wallet=10_000, loss_max=100)
    assert placed(lived.decide()) == {LONG: (D("0.1"), D(40_000))}
    alone = life(legs=(long,), wallet=10_000, loss_max=500)
    assert placed(alone.decide()) == {LONG: (D(1), D(49_500))}


@pytest.mark.parametrize(("long", "short", "closed"), [("1", "0.9", LONG), ("0.9", "1", SHORT)])
def test_a_pair_that_has_locked_in_more_than_loss_max_loses_no_more(
    long: str, short: str, closed: Side
) -> None:
    """It has lost 0.9 * 10,000 for good, whatever the price does: the excess goes at once."""
    bought, sold = pair(long, short)
    bought = replace(bought, entry_price=Price(D(60_000)))
    lived = life(legs=(bought, sold), wallet=20_000, loss_max=900)
    actions = lived.decide()
    assert closes(actions) == [(closed, D("0.1"))]


def test_legs_of_one_size_have_no_stop_as_one_alone_would_leave_the_other_naked() -> None:
    lived = life(legs=pair("1", "1"))
    assert lived.decide() == []
    stops = [each.stop for each in lived.decision.positions]
    assert all(
        isinstance(stop, Audited) and stop.status is StopStatus.NOT_NEEDED for stop in stops
    )


def test_a_stop_that_would_close_too_much_goes_as_soon_as_the_right_one_rests() -> None:
    """The user has opened the short beside a long that was stopped whole."""
    whole = build.our_stop(pair()[0], "45000", name="w" * 20)
    lived = life(stops=[whole])
    actions = lived.decide()
    assert placed(actions) == {LONG: (D("0.1"), D(STOP_OF_LONG))}
    assert not any(isinstance(each, CancelStop) for each in actions)
    lived = life(stops=[whole, excess_stop()])
    (cancel,) = lived.decide()
    assert isinstance(cancel, CancelStop)
    assert cancel.target_client_id == whole.client_id


def test_stops_of_legs_that_hedge_each_other_whole_are_taken_off() -> None:
    lived = life(legs=pair("1", "1"), stops=[excess_stop("1")])
    (cancel,) = lived.decide()
    assert isinstance(cancel, CancelStop)


def test_a_long_whose_hedge_is_gone_is_stopped_whole_at_once() -> None:
    lived = life(stops=[excess_stop()], wallet=20_000)
    lived.decide()
    lived.wait(1_000)
    lived.happen(
        AutoDeleveraged(SYMBOL, SHORT, Quantity(D("0.9")), Price(D(50_000)), lived.now_ms)
    )
    lived.read(pair()[0], stops=[excess_stop()])
    lived.mark(50_000)
    (stop,) = placed(lived.decide()).values()
    assert stop[0] == 1
    assert "auto_deleveraged" in lived.alerts


@pytest.mark.parametrize("mode", [AccountMode.ACTIVE, AccountMode.HOLD])
def test_the_guard_stands_in_for_a_stop_of_the_excess_with_the_excess(mode: AccountMode) -> None:
    lived = life(mode=mode)
    lived.mark(45_500)
    actions = lived.decide()
    assert closes(actions) == [(LONG, D("0.1"))]
    assert reasons(lived) == {LONG: "protect/watchdog"}
    (closing,) = (each for each in actions if isinstance(each, ClosePosition))
    assert closing.bound == AT_MARKET


def test_with_another_mark_stale_the_excess_is_still_closed_past_its_stop() -> None:
    instruments = [build.instrument(), build.instrument("ETHUSDT")]
    eth = cross("ETHUSDT", quantity="0.01", entry_price=2_000)
    lived = life(legs=(*pair(), eth), instruments=instruments)
    lived.mark(2_000, "ETHUSDT")
    lived.decide()
    lived.wait(6_000)
    lived.mark(45_500)
    assert closes(lived.decide()) == [(LONG, D("0.1"))]
    assert isinstance(lived.decision.positions[0].measured, Unknown)


def test_legs_that_require_more_with_every_rise_leave_together_where_a_stop_would_be() -> None:
    """1 and 1 on 515: spent at 515 / 0.01 = 51,500, where no stop of one leg would help."""
    lived = life(legs=pair("1", "1"), wallet=515)
    lived.mark(50_100)
    actions = lived.decide()
    assert sorted(closes(actions)) == [(LONG, D(1)), (SHORT, D(1))]
    assert reasons(lived) == {SHORT: "protect/watchdog", LONG: "protect/hedge"}
    calm = life(legs=pair("1", "1"), wallet=550)
    assert calm.decide() == []


# -- made smaller ------------------------------------------------------------------------------


def spare_after(lived: Life, actions: list[Action], slip: str, shock: Fraction) -> Fraction:
    """What is left beyond the demand after a fall or a rise, whichever leaves less."""
    closed = dict(closes(actions))
    instrument, mark = lived.state.instruments.by_symbol[SYMBOL], lived.state.marks[SYMBOL].price
    wallet, legs = Fraction(lived.state.wallet_balance), []
    for position in lived.state.positions:
        gone, sign = closed.get(position.side, D(0)), position.side.sign
        fill = Fraction(mark) * (1 - sign * Fraction(slip))
        won = sign * (fill - Fraction(position.entry_price))
        wallet += Fraction(gone) * (won - fill * Fraction(instrument.taker_fee))
        if left := position.quantity - gone:
            legs.append(replace(position, quantity=Quantity(left)))

    def moved(way: int) -> Fraction:
        moving = (Leg(instrument, each, mark, Ratio(D(each.side.sign * way))) for each in legs)
        return wallet + shared_surplus(Book(Money(D(0)), tuple(moving)), shock)

    return min(moved(1), moved(-1))


def test_the_excess_is_closed_as_far_as_the_target_asks_for() -> None:
    lived = life(less("0.15"), stops=[excess_stop()])
    lived.mark(48_500)
    actions = lived.decide()
    ((side, quantity),) = closes(actions)
    assert side is LONG
    assert 0 < quantity < D("0.1")
    assert spare_after(lived, actions, "0.005", Fraction(15, 100)) >= 0
    fewer = replace(
        next(each for each in actions if isinstance(each, ClosePosition)),
        quantity=Quantity(quantity - D("0.001")),
    )
    assert spare_after(lived, [fewer], "0.005", Fraction(15, 100)) < 0


def test_where_the_excess_is_not_enough_as_much_of_both_goes() -> None:
    """Both require 3 % here: what closing them frees is more than it costs."""
    dear = build.instrument(risk_tiers=build.tiers((0, "0.03")))
    lived = life(less("0.4", at="0.3"), wallet=3_390, instruments=[dear])
    actions = lived.decide()
    closed = dict(closes(actions))
    assert closed[LONG] - closed[SHORT] == D("0.1")
    assert 0 < closed[SHORT] < D("0.9")
    assert spare_after(lived, actions, "0.005", Fraction(2, 5)) >= 0


def test_a_share_is_taken_of_both_legs() -> None:
    lived = life(share("0.3", at="0.2"), stops=[excess_stop()])
    assert sorted(closes(lived.decide())) == [(LONG, D("0.3")), (SHORT, D("0.27"))]


def costly(fraction: str) -> Rule:
    """Close a share of whatever leg is about to pay for funding."""
    step = build.step(
        "costly",
        above("0.01"),
        Severity.REDUCE,
        lambda view: partial_close.propose(view, partial_close.Fraction(ratio(fraction))),
    )
    return build.rule(
        step,
        name="funding",
        metric=Metric.FUNDING_COST_INTERVAL,
        hysteresis="0.001",
        margin_mode=AnyMarginMode(),
    )


def test_a_hedge_is_not_made_smaller_for_what_it_costs() -> None:
    """Without a third of the short the long stands 0.37 naked instead of 0.1."""
    lived = life(costly("0.3"), stops=[excess_stop(trigger="48250.7")], wallet=6_000)
    lived.bill("-0.05", T0 + 300_000, interval_ms=8 * HOUR_MS)
    lived.mark(50_000)
    assert closes(lived.decide()) == []
    assert denials(lived) == ["stressed_loss"]


def test_no_part_goes_that_would_bring_liquidation_nearer_the_other_way() -> None:
    """
    Without 0.2 of the long as much is naked, short: under the same shock as much is lost.

    But a rise then costs 0.1 a dollar and raises what is required, where a fall lowered it.
    """
    lived = life(costly("0.2"), stops=[excess_stop()], wallet=1_000)
    lived.bill("0.005", T0 + 300_000, interval_ms=8 * HOUR_MS)
    lived.mark(50_000)
    assert closes(lived.decide()) == []
    assert denials(lived) == ["nearer"]


# -- closed whole -----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", AccountMode)
def test_the_floor_takes_both_legs_once_in_every_mode(mode: AccountMode) -> None:
    lived = life(mode=mode)
    lived.mark(44_800)
    actions = lived.decide()
    assert sorted(closes(actions)) == [(LONG, D(1)), (SHORT, D("0.9"))]
    assert {each.bound for each in actions if isinstance(each, ClosePosition)} == {AT_MARKET}


def test_a_step_that_closes_takes_each_leg_once() -> None:
    lived = life(OUT, stops=[excess_stop(trigger="46000")])
    lived.mark(46_300)
    assert sorted(closes(lived.decide())) == [(LONG, D(1)), (SHORT, D("0.9"))]
    assert reasons(lived) == {LONG: "ladder/out", SHORT: "protect/hedge"}


def test_what_is_left_of_a_pair_is_closed_though_nobody_asks_for_it_any_more() -> None:
    lived = life()
    lived.mark(44_800)
    lived.decide()
    for approved in lived.decision.approved:
        intent = approved.intent
        whole = intent.key.side is LONG
        outcome = IntentState.APPLIED if whole else IntentState.PARTIAL
        fill = Fill(Quantity(D(1) if whole else D("0.4")), Price(D(44_800)))
        lived.happen(OutcomeReported(intent.id, outcome, "", lived.now_ms, fill))
    lived.wait(5_000)
    lived.wallet = 20_000
    lived.read(pair("1", "0.5")[1])
    lived.mark(44_800)
    assert closes(lived.decide()) == [(SHORT, D("0.5"))]
    assert reasons(lived) == {SHORT: "protect/hedge"}


# -- what is still refused --------------------------------------------------------------------


def test_a_leg_on_its_own_margin_against_one_on_the_wallet_is_refused() -> None:
    long, short = pair()
    own = replace(short, margin_mode=MarginMode.ISOLATED, isolated_margin=Money(D(5_000)))
    lived = life(legs=(long, own))
    assert lived.decide() == []
    for verdict in lived.decision.positions:
        assert isinstance(verdict.measured, Unknown)
        assert "with an isolated one against it" in verdict.measured.reason


def test_a_pair_of_an_inverse_contract_is_refused() -> None:
    lived = life(instruments=[build.instrument(kind=ContractKind.INVERSE)])
    assert lived.decide() == []
    for verdict in lived.decision.positions:
        assert isinstance(verdict.measured, Unknown)
        assert "of one inverse contract are not supported yet" in verdict.measured.reason


# -- whatever the pair ------------------------------------------------------------------------

SIZES = st.sampled_from(["0.1", "0.3", "0.5", "0.9", "0.99", "1", "1.01", "1.1", "2"])
STEEPER = st.lists(
    st.sampled_from([("45500", "0.05"), ("52000", "0.1"), ("56000", "0.3")]), max_size=1
)
LADDERS = st.sampled_from(
    [(), (OUT,), (less("0.3", at="0.29"),), (share("0.3", at="0.5"),), (costly("0.2"),)]
)


@st.composite
def lives_of_pairs(draw: st.DrawFn, ladders: st.SearchStrategy[tuple[Rule, ...]]) -> Life:
    """A pair with a little or much to spare, some ladder, and perhaps a bill that is near."""
    legs = tuple(
        replace(each, entry_price=Price(D(draw(st.integers(45_000, 55_000)))))
        for each in pair(draw(SIZES), draw(SIZES))
    )
    lost = sum(each.side.sign * each.quantity * (each.entry_price - 50_000) for each in legs)
    required = sum(each.quantity for each in legs) * draw(st.sampled_from([250, 2_500]))
    lived = life(
        *draw(ladders),
        legs=legs,
        wallet=lost + required + draw(st.integers(1, 20_000)),
        instruments=[ruled(draw(st.sampled_from(HedgeRequirement)), *draw(STEEPER))],
    )
    bill = draw(st.sampled_from(["-0.05", "0", "0.05"]))
    if bill != "0":
        lived.bill(bill, T0 + 300_000, interval_ms=8 * HOUR_MS)
        lived.mark(50_000)
    return lived


@settings(max_examples=150, deadline=None)
@given(lives_of_pairs(LADDERS))
def test_nothing_that_is_done_brings_liquidation_nearer_or_leaves_more_at_risk(
    lived: Life,
) -> None:
    """Held against the sums of exact.py, with a fall and a rise tried in small steps."""
    long, short = sorted(lived.state.positions, key=lambda each: each.key)
    actions = lived.decide()
    naked = abs(long.quantity - short.quantity)
    for side, (quantity, trigger) in placed(actions).items():
        assert side is (LONG if long.quantity > short.quantity else SHORT)
        assert quantity == naked
        assert side.sign * (50_000 - trigger) > 0
    closed = dict(closes(actions))
    assume(closed)
    left = {each.side: each.quantity - closed.get(each.side, D(0)) for each in (long, short)}
    assert min(left.values()) >= 0
    assert abs(left[LONG] - left[SHORT]) <= naked
    if any(left.values()):
        for part in range(1, 100):
            shock = Fraction(part, 200)
            if spare_after(lived, [], "0", shock) > 0:
                assert spare_after(lived, actions, "0", shock) > 0


@settings(max_examples=200, deadline=None)
@given(lives_of_pairs(st.just(())), st.sampled_from(["0.02", "0.1", "0.3", "0.45"]))
def test_a_target_is_reached_both_ways_even_at_the_worst_fills(lived: Life, to: str) -> None:
    known = measure_book(lived.state, lived.now_ms, lived.policy)
    assert isinstance(known, BookKnown)
    fills = {
        each.position.key: Price(each.mark_price * (1 - each.position.side.sign * D("0.005")))
        for each in known.book.legs
    }
    ranked = by_relief(known.book.legs, fills, lived.policy.stress)
    match closes_to_reach(known.book, ranked, fills, ratio(to)):
        case AlreadyThere():
            actions: list[Action] = []
        case CannotReach():
            return
        case found:
            actions = [ClosePosition(SYMBOL, each.key.side, each.quantity) for each in found]
    for part in range(31):
        assert spare_after(lived, actions, "0.005", Fraction(to) * part / 30) >= 0


def test_the_measured_way_is_the_nearer_one() -> None:
    lived = life(legs=pair("1", "0.999"))
    lived.decide()
    book = lived.decision.book
    assert isinstance(book, BookVerdict)
    assert isinstance(book.measured, BookKnown)
    assert [each.beta for each in book.measured.book.legs] == [-1, 1]
