"""
Hedge mode: a long and a short of one symbol, each with its own margin, stop and steps.

What one of them loses the other gains, so no part of one goes where that leaves more at risk, and
a whole one takes the other along. The stressed loss of this file is counted in exact fractions.
"""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bot.core.actions import AT_MARKET, Action, AddMargin, ClosePosition, PlaceStop
from bot.core.decision import Audited, PositionVerdict
from bot.core.events import AccountMode, IntentState, OutcomeReported
from bot.core.metrics import Known, Unknown
from bot.core.model import Fill, MarginMode, Position, PositionMode, Side
from bot.core.policy import Policy, Step
from bot.core.protection import StopWanted
from bot.core.strategy import Severity
from bot.core.units import Money, Price, Quantity
from bot.testing import builders as build
from strategies import close, partial_close, top_up
from tests.core.life import Life, below, ratio

D = Decimal
SHOCK = "0.25"
LONG, SHORT = Side.LONG, Side.SHORT


def pair(long: str = "1", short: str = "0.9", *, margin: str = "0.1") -> tuple[Position, Position]:
    """Legs from 50,000 at 10x."""
    return tuple(  # type: ignore[return-value]
        build.position(side=side, quantity=size, margin=D(size) * 50_000 * D(margin))
        for side, size in ((LONG, long), (SHORT, short))
    )


def hedged(*steps: Step, shock: str = SHOCK) -> Policy:
    return build.policy(
        build.rule(*steps),
        position_mode=PositionMode.HEDGE,
        stress=build.stress(shock),
        limits=build.guardrails(slippage_max="0.005"),
    )


def life(policy: Policy, *legs: Position, **more: object) -> Life:
    return Life(policy, *legs, position_mode=PositionMode.HEDGE, **more)  # type: ignore[arg-type]


def stopped(policy: Policy, *legs: Position) -> Life:
    """Legs whose stops rest where they belong, and nothing is to be done."""
    begun = life(policy, *legs)
    stops = [
        build.our_stop(each, stop.target.trigger_price, name=each.side.value.ljust(20, "a"))
        for each, stop in ((v.position, v.stop) for v in verdicts(begun))
        if isinstance(stop, Audited) and isinstance(stop.target, StopWanted)
    ]
    calm = life(policy, *legs, stops=stops)
    assert calm.decide() == []
    return calm


def verdicts(lived: Life) -> list[PositionVerdict]:
    lived.decide()
    return list(lived.decision.positions)


def closes(actions: list[Action]) -> dict[Side, Decimal]:
    return {each.side: each.quantity for each in actions if isinstance(each, ClosePosition)}


OUT = build.step(
    "out", below("0.06"), Severity.CLOSE, lambda view: close.propose(view, close.Params())
)
PART = build.step(
    "part",
    below("0.06"),
    Severity.REDUCE,
    lambda view: partial_close.propose(view, partial_close.Fraction(ratio("0.3"))),
    cooldown_ms=10_000,
)
ADD = build.step(
    "add",
    below("0.06"),
    Severity.SPEND,
    lambda view: top_up.propose(view, top_up.Params(ratio("0.09"))),
    cooldown_ms=10_000,
)


def test_each_leg_is_measured_and_stopped_on_its_own_side() -> None:
    placed = [each for each in life(hedged(), *pair()).decide() if isinstance(each, PlaceStop)]
    stops = {each.side: each for each in placed}
    # Liquidated at 45,226.13 and 54,726.37; a room of 3 % before that, on the early tick.
    assert [stops[side].trigger_price for side in Side] == [D("46624.9"), D("53132.3")]
    assert [stops[side].quantity for side in Side] == [1, D("0.9")]


def test_one_leg_is_topped_up_and_the_other_left_alone() -> None:
    lived = stopped(hedged(ADD), *pair())
    lived.mark(47_900)
    added = [each for each in lived.decide() if isinstance(each, AddMargin)]
    assert [each.side for each in added] == [LONG]


def test_a_step_that_closes_a_hedged_leg_takes_the_hedge_along() -> None:
    """0.1 of the long is not hedged; without it the short of 0.9 would stand naked."""
    lived = stopped(hedged(OUT), *pair())
    lived.mark(47_900)
    actions = lived.decide()
    assert closes(actions) == {LONG: 1, SHORT: D("0.9")}
    reasons = {each.intent.key.side: each.intent.reason for each in lived.decision.approved}
    assert reasons == {LONG: "ladder/out", SHORT: "protect/hedge"}
    assert "hedge" in lived.alerts


def test_the_larger_leg_goes_alone_where_what_it_leaves_is_less_at_risk() -> None:
    lived = stopped(hedged(OUT), *pair("1", "0.05"))
    lived.mark(47_900)
    assert closes(lived.decide()) == {LONG: 1}


def test_a_hedge_is_not_made_smaller_where_that_leaves_more_at_risk() -> None:
    """
    A rise endangers the short, which hedges the long: by 10 % of 51,700 they lose 517 together,
    and 1,913 with a third less of it.
    """
    lived = stopped(hedged(PART, shock="0.1"), *pair("1", "0.9"))
    lived.mark(51_700)
    assert closes(lived.decide()) == {}
    denied = [each.limit for verdict in lived.decision.positions for each in verdict.denied]
    assert denied == ["stressed_loss"]


def test_the_larger_leg_may_be_made_smaller() -> None:
    lived = stopped(hedged(PART), *pair("1", "0.5"))
    lived.mark(47_900)
    assert closes(lived.decide()) == {LONG: D("0.3")}


@pytest.mark.parametrize("mode", [AccountMode.ACTIVE, AccountMode.HOLD, AccountMode.NO_SPEND])
def test_the_floor_takes_both_legs_in_every_mode(mode: AccountMode) -> None:
    lived = life(hedged(), *pair(), mode=mode)
    lived.mark(45_500)
    closing = [each for each in lived.decide() if isinstance(each, ClosePosition)]
    assert closes(list(closing)) == {LONG: 1, SHORT: D("0.9")}
    assert {each.bound for each in closing} == {AT_MARKET}


def after_the_close_of_both(hedge: IntentState) -> Life:
    """The long is closed, and of the short only 0.4, or nothing."""
    lived = stopped(hedged(OUT), *pair())
    lived.mark(47_900)
    lived.decide()
    for approved in lived.decision.approved:
        intent = approved.intent
        whole = intent.key.side is LONG
        outcome = IntentState.APPLIED if whole else hedge
        fill = Fill(Quantity(D(1) if whole else D("0.4")), Price(D(47_900)))
        lived.happen(OutcomeReported(intent.id, outcome, "", lived.now_ms, fill))
    lived.wait(5_000)
    return lived


LEFT = replace(pair()[1], quantity=Quantity(D("0.5")), isolated_margin=Money(D(2_500)))


@pytest.mark.parametrize("hedge", [IntentState.PARTIAL, IntentState.NOT_APPLIED])
def test_what_is_left_of_a_pair_is_closed_though_nobody_asks_for_it_any_more(
    hedge: IntentState,
) -> None:
    lived = after_the_close_of_both(hedge)
    lived.read(LEFT)
    lived.mark(47_900)
    assert closes(lived.decide()) == {SHORT: D("0.5")}
    lived.settle(IntentState.APPLIED)
    lived.wait(5_000)
    lived.read(replace(LEFT, quantity=Quantity(D("0.7"))))
    lived.mark(47_900)
    assert closes(lived.decide()) == {}  # a new one that somebody opened is not ours to close


@pytest.mark.parametrize("hedge", [IntentState.WITHHELD, IntentState.HUMAN])
def test_what_was_not_to_be_sent_is_not_tried_again(hedge: IntentState) -> None:
    lived = after_the_close_of_both(hedge)
    lived.read(LEFT)
    lived.mark(50_000)
    assert closes(lived.decide()) == {}


def test_a_hedge_stays_where_the_leg_that_it_hedges_is_still_there() -> None:
    lived = after_the_close_of_both(IntentState.PARTIAL)
    lived.read(pair()[0], LEFT)
    lived.mark(50_000)
    assert closes(lived.decide()) == {}


def test_cross_positions_in_hedge_mode_without_one_against_them_are_guarded() -> None:
    leg = build.position(margin=0, margin_mode=MarginMode.CROSS)
    policy = replace(hedged(), margin_modes=frozenset({MarginMode.CROSS}))
    lived = life(policy, leg, wallet=5_000)
    assert [type(each) for each in lived.decide()] == [PlaceStop]


def test_an_account_in_the_other_mode_than_the_policy_says_is_unknown() -> None:
    lived = Life(build.policy(), *pair()[:1], position_mode=PositionMode.HEDGE)
    assert lived.decide() == []
    assert isinstance(lived.verdict.measured, Unknown)


# -- no reduction raises the worst stressed loss ---------------------------------------------


def stressed(legs: list[Position], mark: Fraction, shock: Fraction) -> Fraction:
    """The most that both lose by a fall or a rise, their margins at most."""

    def lost(position: Position, way: int) -> Fraction:
        s, q = position.side.sign, Fraction(position.quantity)
        balance = Fraction(position.isolated_margin) + s * q * (mark - Fraction(50_000))
        return min(-s * q * mark * way * shock, max(balance, Fraction(0)))

    losses = [sum((lost(each, way) for each in legs), Fraction(0)) for way in (-1, 1)]
    return max(Fraction(0), *losses)


SIZES = st.sampled_from(["0.1", "0.3", "0.5", "0.9", "1", "1.1", "2"])


@settings(max_examples=150, deadline=None)
@given(
    long=SIZES,
    short=SIZES,
    margin=st.sampled_from(["0.05", "0.1", "0.3"]),
    shock=st.sampled_from(["0.05", "0.1", "0.25"]),
    thousandths=st.integers(-80, 80),
    steps=st.sampled_from([(OUT,), (PART,), (PART, replace(OUT, threshold=below("0.045")))]),
)
def test_whatever_is_closed_leaves_no_more_at_risk(
    long: str, short: str, margin: str, shock: str, thousandths: int, steps: tuple[Step, ...]
) -> None:
    legs = pair(long, short, margin=margin)
    mark = Fraction(50_000) * (1 + Fraction(thousandths, 1_000))
    lived = life(hedged(*steps, shock=shock), *legs)
    lived.mark(D(mark.numerator) / D(mark.denominator))
    closed = closes(lived.decide())
    measured = [each.measured for each in lived.decision.positions]
    assume(all(isinstance(each, Known) for each in measured))
    left = []
    for leg in legs:
        rest = leg.quantity - closed.get(leg.side, D(0))
        assert rest >= 0
        if rest:
            kept = leg.isolated_margin * rest / leg.quantity
            left.append(replace(leg, quantity=rest, isolated_margin=kept))  # type: ignore[arg-type]
    allowed = stressed(list(legs), mark, Fraction(shock))
    assert stressed(left, mark, Fraction(shock)) <= allowed + Fraction(1, 10**9)
