"""A standing stop of several orders: where the venue takes none that is large enough."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.actions import Action, CancelStop, ClosePosition, PlaceStop
from bot.core.decision import Audited
from bot.core.events import AccountMode, IntentState
from bot.core.margin import LiquidatesAt
from bot.core.model import Instrument, MarginMode, Position, Side, StopOrder
from bot.core.protection import StopStatus, StopWanted, audit, slices, standing, users_own
from bot.core.units import Money, Price, Quantity
from bot.testing import builders as build
from tests.core.books import cross
from tests.core.life import Life

D = Decimal
BIG = build.position(quantity="3.4", margin=17_000)
"""Liquidated at the same price as the long of one, and in need of four orders."""

TRIGGER = "46624.9"
POLICY = build.policy()
LIQUIDATED = LiquidatesAt(Price(D(45_000)))
WANTED = StopWanted(Price(D(46_000)), Price(D(0)), D(100))


def listed(most: str = "1", places: int = 10, least: str = "0.001") -> Instrument:
    return replace(
        build.instrument(),
        quantity_min=Quantity(D(least)),
        quantity_max=Quantity(D(most)),
        stops_max=places,
    )


def resting(*quantities: str, at: str = TRIGGER, name: str = "a") -> list[StopOrder]:
    return [
        build.our_stop(BIG, at, quantity=quantity, name=name * 19 + str(index))
        for index, quantity in enumerate(quantities)
    ]


def sized(quantity: str) -> Position:
    """The same with another quantity: its margin goes with it, so that its stop stays."""
    size = Quantity(D(quantity))
    return replace(BIG, quantity=size, isolated_margin=Money(size * 5_000))


def life(*stops: StopOrder, places: int = 10, position: Position = BIG) -> Life:
    return Life(POLICY, position, stops=stops, instruments=(listed(places=places),))


def placed(actions: list[Action]) -> list[str]:
    return [f"{each.quantity.normalize():f}" for each in actions if isinstance(each, PlaceStop)]


def gone(actions: list[Action]) -> list[str]:
    return [each.target_client_id for each in actions if isinstance(each, CancelStop)]


def status(lived: Life) -> StopStatus:
    assert isinstance(lived.verdict.stop, Audited)
    return lived.verdict.stop.status


# The orders of a stop


@pytest.mark.parametrize(
    ("quantity", "least", "expected"),
    [
        ("0.5", "0.001", ["0.5"]),
        ("1", "0.001", ["1"]),
        ("1.001", "0.001", ["1", "0.001"]),
        ("3.4", "0.001", ["1", "1", "1", "0.4"]),
        ("3", "0.001", ["1", "1", "1"]),
        ("2.01", "0.1", ["1", "0.91", "0.1"]),
    ],
)
def test_the_fewest_orders_and_no_dust(quantity: str, least: str, expected: list[str]) -> None:
    found = slices(listed(least=least), Quantity(D(quantity)))
    assert found == tuple(D(each) for each in expected)


LEAST = st.integers(1, 2_500)
STEPS = st.integers(1, 5_000).map(lambda steps: Quantity(steps * D("0.001")))
MOST = st.integers(400, 2_000).map(lambda steps: Quantity(steps * D("0.001")))


@given(
    LEAST.flatmap(
        lambda least: st.tuples(
            st.just(least), st.integers(2 * least, 5_000), st.integers(least, 5_000)
        )
    ),
    st.integers(1, 30),
)
def test_slices_are_all_of_it_each_one_sendable(steps: tuple[int, int, int], places: int) -> None:
    """A venue's largest order is at least twice the smallest one."""
    least, most, quantity = (Quantity(each * D("0.001")) for each in steps)
    instrument = listed(f"{most}", places, f"{least}")
    found = slices(instrument, quantity)
    assert len(found) <= places
    assert all(least <= each <= most for each in found)
    assert all(each % instrument.quantity_step == 0 for each in found)
    if len(found) < places or sum(found) >= quantity:
        assert sum(found) == quantity
    assert (len(found) - 1) * most < quantity  # one less would not do


# What stands


@given(STEPS, MOST, st.lists(STEPS, max_size=8), st.sampled_from(list(Side)))
def test_what_stands_is_enough_and_no_more_orders_than_need_be(
    quantity: Quantity, most: Quantity, sizes: list[Quantity], side: Side
) -> None:
    instrument = listed(f"{most}", 1_000)
    position = build.position(side=side, quantity=quantity)
    stops = [
        build.our_stop(position, 46_000, quantity=size, name=f"{index:020}")
        for index, size in enumerate(sizes)
    ]
    found = standing(instrument, position, stops)
    places = len(slices(instrument, quantity))
    largest = sum(sorted(sizes, reverse=True)[:places])
    assert bool(found) == (largest >= quantity)
    if found:
        assert len(found) <= places
        assert sum(each.quantity for each in found) >= quantity
        assert all(each in stops for each in found)


@given(STEPS, MOST, st.lists(STEPS, max_size=8))
def test_what_is_placed_stands_together_with_what_is_good(
    quantity: Quantity, most: Quantity, sizes: list[Quantity]
) -> None:
    """The audit is satisfied by what it has asked for, and by no less."""
    instrument = listed(f"{most}", 10_000)
    position = build.position(quantity=quantity)
    good = tuple(
        build.our_stop(position, 46_000, quantity=min(size, most), name=f"{index:020}")
        for index, size in enumerate(sizes)
    )
    found = audit(instrument, position, good, WANTED, LIQUIDATED)
    assert (found.status is StopStatus.RESTS) == (not found.lacking)
    assert all(each <= most for each in found.lacking)
    new = tuple(
        build.our_stop(position, 46_000, quantity=size, name=f"n{index:019}")
        for index, size in enumerate(found.lacking)
    )
    after = audit(instrument, position, (*good, *new), WANTED, LIQUIDATED)
    assert after.status is StopStatus.RESTS
    if new:
        assert audit(instrument, position, (*good, *new[1:]), WANTED, LIQUIDATED).lacking


@given(STEPS, MOST, st.data())
def test_whatever_order_of_it_fills_the_rest_still_stands(
    quantity: Quantity, most: Quantity, data: st.DataObject
) -> None:
    """In a crash its orders fill one after the other: what is left needs no new one."""
    instrument = listed(f"{most}", 10_000)
    position = build.position(quantity=quantity)
    stops = [
        build.our_stop(position, 46_000, quantity=size, name=f"{index:020}")
        for index, size in enumerate(slices(instrument, quantity))
    ]
    while len(stops) > 1:
        filled = stops.pop(data.draw(st.integers(0, len(stops) - 1)))
        position = replace(position, quantity=Quantity(position.quantity - filled.quantity))
        assert standing(instrument, position, stops)


def test_a_users_ladder_over_prices_is_no_stop_of_the_whole() -> None:
    """Four quarters at four prices: with one order of the venue's size it would be one stop."""
    one = build.position()
    ladder = tuple(
        build.foreign_stop(one, at, quantity="0.25", client_id=f"web_{at}")
        for at in (46_000, 47_000, 48_000, 49_000)
    )
    mark = Price(D(50_000))
    assert users_own(listed("1"), one, ladder, mark, LIQUIDATED) == ()
    # Where it takes four orders, all of it is closed at the loosest of them.
    assert users_own(listed("0.25"), one, ladder, mark, LIQUIDATED) == (D(46_000),)


# Over time


def test_a_stop_above_the_largest_order_is_placed_as_several_of_one_decision() -> None:
    lived = life()
    actions = lived.decide()
    assert placed(actions) == ["1", "1", "1", "0.4"]
    assert {each.trigger_price for each in actions if isinstance(each, PlaceStop)} == {D(TRIGGER)}
    assert len({each.intent.id for each in lived.decision.approved}) == 4
    assert status(lived) is StopStatus.MISSING
    lived.settle(IntentState.APPLIED)
    lived.wait(100)
    lived.read(BIG, stops=resting("1", "1", "1", "0.4"))
    assert lived.decide() == []
    assert status(lived) is StopStatus.RESTS


def test_only_the_order_that_is_gone_is_placed_again() -> None:
    """A user has cancelled one of four."""
    lived = life(*resting("1", "1", "0.4"))
    assert placed(lived.decide()) == ["1"]
    assert status(lived) is StopStatus.MISSING


def test_a_position_that_grew_gets_what_it_lacks() -> None:
    grown = sized("4.6")
    stops = resting("1", "1", "1", "0.4")
    lived = life(*stops, position=grown)
    assert placed(lived.decide()) == ["1", "0.6"]
    lived.settle(IntentState.APPLIED)
    lived.wait(100)
    new = resting("1", "0.6", name="b")
    lived.read(grown, stops=[*stops, *new])
    assert gone(lived.decide()) == [stops[3].client_id]


def test_a_part_close_leaves_orders_that_nobody_needs() -> None:
    stops = resting("1", "1", "1", "0.4")
    lived = life(*stops, position=sized("1.9"))
    assert len(gone(lived.decide())) == 2
    assert status(lived) is StopStatus.RESTS


def test_a_drifted_one_is_replaced_whole_and_goes_only_when_the_new_one_rests() -> None:
    old = resting("1", "1", "1", "0.4", at="47500", name="o")
    lived = life(*old)
    assert placed(lived.decide()) == ["1", "1", "1", "0.4"]
    assert status(lived) is StopStatus.DRIFTED
    lived.settle(IntentState.APPLIED)
    lived.wait(100)
    new = resting("1", "1", "1", "0.4")
    lived.read(BIG, stops=[*old, *new])
    assert gone(lived.decide()) == [each.client_id for each in old]


def test_never_less_than_the_whole_while_it_is_replaced_one_place_at_a_time() -> None:
    """Five places and four orders: one new order rests, one old one goes, and so on."""
    stops = resting("1", "1", "1", "0.4", at="47500", name="o")
    lived = life(*stops, places=5)
    for turn in range(40):
        for action in lived.decide():
            match action:
                case PlaceStop(quantity=quantity):
                    stops += resting(f"{quantity:f}", name=chr(ord("b") + turn % 20))
                case CancelStop(target_client_id=target):
                    stops = [each for each in stops if each.client_id != target]
                case _:
                    raise AssertionError(action)
            assert len(stops) <= 5
            assert sum(each.quantity for each in stops) >= BIG.quantity
        lived.settle(IntentState.APPLIED)
        lived.wait(5_000)
        lived.read(BIG, stops=stops)
        lived.mark(50_000)
    assert {each.trigger_price for each in stops} == {D(TRIGGER)}
    assert status(lived) is StopStatus.RESTS


def test_drifted_orders_in_all_places_stay_and_it_is_said() -> None:
    lived = life(*resting("1", "1", "1", "0.4", at="47500"), places=4)
    assert lived.decide() == []
    assert lived.alerts == ["stop_places"]


def test_unsafe_orders_in_all_places_make_room() -> None:
    """Beyond liquidation they protect nothing."""
    unsafe = resting("1", "1", "1", "0.4", at="45000")
    lived = life(*unsafe, places=5)
    actions = lived.decide()
    assert placed(actions) == ["1"]
    assert len(gone(actions)) == 3


def test_more_orders_than_places_is_never_armed_it_is_said_and_the_guard_watches() -> None:
    """The watchdog: the mark has passed the level, and what rests is not for all of it."""
    lived = life(places=3)
    assert placed(lived.decide()) == ["1", "1", "1"]
    assert lived.alerts == ["stop_places"]
    lived.settle(IntentState.APPLIED)
    stops = resting("1", "1", "1")
    lived.wait(100)
    lived.read(BIG, stops=stops)
    assert lived.decide() == []
    assert status(lived) is StopStatus.MISSING
    assert lived.decision.endangered
    lived.wait(16_000)
    lived.read(BIG, stops=stops)
    lived.mark(50_000)
    lived.decide()
    assert "naked" in lived.alerts
    lived.mark(46_000)
    (close,) = lived.decide()
    assert close == ClosePosition(build.SYMBOL, Side.LONG, Quantity(D(1)))


def test_the_places_that_others_have_taken_are_not_ours() -> None:
    theirs = [
        build.foreign_stop(BIG, 49_000, quantity="0.1", client_id=f"web_{index}")
        for index in range(8)
    ]
    lived = life(*theirs)
    assert placed(lived.decide()) == ["1", "1"]
    assert lived.alerts == ["stop_places"]
    lived.settle(IntentState.APPLIED)
    lived.wait(100)
    lived.read(BIG, stops=[*theirs, *resting("1", "1")])
    assert lived.decide() == []
    assert status(lived) is StopStatus.MISSING


def test_a_refused_order_is_tried_again_alone_and_later() -> None:
    lived = life()
    lived.decide()
    approved = lived.decision.approved
    for each in approved[:3]:
        lived.decision = replace(lived.decision, approved=(each,))
        lived.settle(IntentState.APPLIED)
    lived.decision = replace(lived.decision, approved=approved[3:])
    lived.settle(IntentState.REJECTED)
    lived.wait(100)
    lived.read(BIG, stops=resting("1", "1", "1"))
    assert lived.decide() == []
    assert lived.alerts == ["stop_refused"]
    lived.wait(5_000)
    lived.read(BIG, stops=resting("1", "1", "1"))
    lived.mark(50_000)
    assert placed(lived.decide()) == ["0.4"]


def test_all_orders_of_a_stop_refused_are_one_refusal() -> None:
    """Else four of them would have the guard wait for forty seconds instead of five."""
    lived = life()
    assert len(lived.decide()) == 4
    lived.wait(100)
    lived.settle(IntentState.REJECTED)
    lived.wait(4_999)
    lived.read(BIG)
    lived.mark(50_000)
    assert lived.decide() == []
    lived.wait(1)
    assert placed(lived.decide()) == ["1", "1", "1", "0.4"]
    lived.wait(100)
    lived.settle(IntentState.REJECTED)
    lived.wait(9_999)
    lived.read(BIG)
    lived.mark(50_000)
    assert lived.decide() == []
    lived.wait(1)
    assert len(placed(lived.decide())) == 4


def test_the_canary_of_a_large_position_is_one_order() -> None:
    policy = build.policy(protection=build.protect(canary_ms=86_400_000))
    lived = Life(policy, BIG, stops=resting("1", "1", "1", "0.4"), instruments=(listed(),))
    assert placed(lived.decide()) == ["1"]


def test_nothing_is_loosened_blindly() -> None:
    """Half of it is tightened already when the mark price is lost: the other half follows."""
    half = resting("1", "1", at="48000", name="t")
    old = resting("1", "0.4")
    lived = life(*half, *old)
    lived.wait(20_000)  # the mark is stale
    lived.read(BIG, stops=[*half, *old])
    actions = lived.decide()
    assert placed(actions) == ["1", "0.4"]
    assert {each.trigger_price for each in actions if isinstance(each, PlaceStop)} == {48_000}


def test_a_loss_holds_where_all_of_a_leg_was_closed() -> None:
    legs = [cross("BTCUSDT", quantity="3.4"), cross("ETHUSDT", quantity=1, entry_price=2_000)]
    policy = build.policy(margin_modes=frozenset({MarginMode.CROSS}))
    listing = (listed(), build.instrument("ETHUSDT"))
    lived = Life(policy, *legs, wallet=40_000, instruments=listing, mode=AccountMode.ACTIVE)
    lived.mark(2_000, "ETHUSDT")
    stops = [*resting("1", "1", at="47000"), *resting("1", "0.4", at="46000", name="l")]
    gone_stop = build.our_stop(legs[1], 1_900, name="e" * 20)
    lived.read(*legs, stops=[*stops, gone_stop])
    lived.wait(1_000)
    lived.wallet = 39_000
    lived.read(legs[0], stops=stops)
    assert dict(lived.state.shared.held) == {legs[0].key: D(46_000)}
