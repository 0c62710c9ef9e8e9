"""Where the standing stop belongs, and what the audit says of the stops that rest."""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bot.core.cross import Leg
from bot.core.margin import (
    LiquidatesAt,
    LiquidatesTogether,
    Liquidation,
    NoLiquidation,
    liquidation,
)
from bot.core.model import Instrument, MarginMode, Position, Side, StopOrder
from bot.core.policy import Policy
from bot.core.protection import (
    StopNotNeeded,
    StopStatus,
    StopWanted,
    Wanted,
    audit,
    distance_at_stop,
    is_between,
    users_own,
    wanted,
)
from bot.core.units import Money, Price, Ratio
from bot.testing import builders as build
from tests.core.draws import decimals, instruments, positions
from tests.core.life import LONG

SHORT = build.position(side=Side.SHORT)
NO_LIMIT = build.guardrails(loss_max=10**9)
LIQUIDATED = {LONG.side: Price(Decimal(45_000)), SHORT.side: Price(Decimal(55_000))}


def settled(position: Position) -> LiquidatesAt:
    """A round liquidation price, so that results can be read."""
    return LiquidatesAt(LIQUIDATED[position.side])


def target(
    position: Position = LONG,
    policy: Policy | None = None,
    bounds: tuple[int, ...] = (),
    at: Liquidation | None = None,
) -> Wanted:
    prices = tuple(Price(Decimal(bound)) for bound in bounds)
    return wanted(
        policy or build.policy(), build.instrument(), position, at or settled(position), prices
    )


def trigger(found: Wanted) -> Decimal:
    assert isinstance(found, StopWanted)
    return found.trigger_price


# Wanted


def test_room_before_liquidation_rounded_early() -> None:
    """45,000 / 0.97 = 46,391.75 up to the tick, 55,000 / 1.03 = 53,398.06 down to it."""
    assert trigger(target(LONG)) == Decimal("46391.8")
    assert trigger(target(SHORT)) == Decimal("53398.0")


@pytest.mark.parametrize(
    ("position", "expected"), [(LONG, 48_000), (SHORT, 52_000)], ids=["long", "short"]
)
def test_loss_max_tightens_and_forbids_anything_looser(position: Position, expected: int) -> None:
    found = target(position, build.policy(limits=build.guardrails(loss_max=2_000)))
    assert isinstance(found, StopWanted)
    assert found.trigger_price == found.loosest_price == expected


@pytest.mark.parametrize(
    ("position", "share", "expected"),
    [
        (LONG, "0.5", "47500"),  # 45,000 + 0.5 x 5,000
        (LONG, "0.333333", "46666.7"),  # 46,666.665 up to the tick
        (SHORT, "0.333333", "53333.3"),  # 55,000 - 1,666.665 = 53,333.335 down to it
        (LONG, "0.27", "46391.8"),  # the room of 3 % is tighter than 46,350
        (SHORT, "0.99", "50050"),
    ],
)
def test_a_share_of_the_way_from_entry_is_left(
    position: Position, share: str, expected: str
) -> None:
    policy = build.policy(protection=build.protect(share=share))
    assert trigger(target(position, policy)) == Decimal(expected)


def test_no_share_of_a_way_without_end() -> None:
    policy = build.policy(protection=build.protect(share="0.5"))
    found = target(build.position(margin=60_000), policy, at=NoLiquidation("covered"))
    assert isinstance(found, StopNotNeeded)


@given(
    mark=decimals("30000", "70000", 1),
    share=decimals("0", "0.9", 2),
    distance=decimals("0.01", "0.9", 3),
    beta=decimals("0.2", "3", 1),
    side=st.sampled_from(Side),
)
def test_the_joint_distance_at_a_stop_is_where_the_leg_would_reach_it(
    mark: Decimal, share: Decimal, distance: Decimal, beta: Decimal, side: Side
) -> None:
    """Checked against `wanted` itself: the stop is passed just where less distance is left."""
    position = build.position(side=side, margin_mode=MarginMode.CROSS)
    leg = Leg(build.instrument(), position, Price(mark), Ratio(beta))
    liquidation_price = leg.price_after(distance)
    assume(liquidation_price > 0)
    policy = build.policy(protection=build.protect(share=share), limits=NO_LIMIT)
    needed = distance_at_stop(policy.protect, leg)
    assume(abs(needed - distance) > Decimal("0.0001"))
    at = LiquidatesTogether(liquidation_price, per_distance=mark * beta)
    stop = trigger(wanted(policy, leg.instrument, position, at, ()))
    assert (side.sign * (mark - stop) <= 0) == (distance < needed)


def test_loss_max_is_of_the_whole_position() -> None:
    half = build.position(quantity="0.5", margin=2_500)
    found = target(half, build.policy(limits=build.guardrails(loss_max=1_000)))
    assert trigger(found) == 48_000


@pytest.mark.parametrize(
    ("position", "bounds", "expected"),
    [
        (LONG, (47_000,), "47000"),
        (LONG, (47_000, 47_500, 46_000), "47500"),
        (LONG, (46_000,), "46391.8"),
        (SHORT, (53_000,), "53000"),
        (SHORT, (54_000,), "53398.0"),
    ],
)
def test_bounds_only_tighten(position: Position, bounds: tuple[int, ...], expected: str) -> None:
    assert trigger(target(position, bounds=bounds)) == Decimal(expected)


def test_no_stop_is_needed_where_no_positive_price_hurts() -> None:
    safe = build.position(margin=60_000)
    no_liquidation = NoLiquidation("covered")
    found = target(safe, at=no_liquidation)
    assert isinstance(found, StopNotNeeded)
    capped = build.policy(limits=build.guardrails(loss_max=10_000))
    assert trigger(target(safe, capped, at=no_liquidation)) == 40_000


def test_drift_is_a_tenth_of_the_gap_to_liquidation() -> None:
    found = target()
    assert isinstance(found, StopWanted)
    assert found.drift == Decimal("139.18")


@settings(max_examples=150)
@given(
    instrument=instruments(),
    position=positions(),
    room=decimals("0.002", "0.4", 3),
    loss_share=decimals("0.001", "2", 3),
    moved=decimals("-0.5", "0.5", 3),
)
def test_between_mark_and_liquidation_and_never_looser_than_loss_max(
    instrument: Instrument, position: Position, room: Decimal, loss_share: Decimal, moved: Decimal
) -> None:
    loss_max = (position.quantity * position.entry_price * loss_share).quantize(Decimal("0.0001"))
    assume(loss_max > 0)
    assume(position.entry_price > 1_000 * instrument.tick_size)  # as on every venue
    policy = build.policy(
        protection=build.protect(room=room), limits=build.guardrails(loss_max=loss_max)
    )
    own = liquidation(instrument, position)
    mark = Price(position.entry_price * (1 + moved))
    sign = position.side.sign
    match wanted(policy, instrument, position, own, ()):
        case StopNotNeeded():
            assert isinstance(own, NoLiquidation)
            assert loss_share >= 1
        case StopWanted(price, loosest, drift):
            assert price > 0
            assert price % instrument.tick_size == 0
            loss = (
                Fraction(position.quantity)
                * sign
                * (Fraction(position.entry_price) - Fraction(price))
            )
            assert loss <= Fraction(loss_max) * (1 + Fraction(1, 10**20))
            assert sign * (price - loosest) >= 0
            assert drift > 0
            if isinstance(own, LiquidatesAt):
                assert sign * (price - own.price) > 0
                assert sign * (price - own.price) / price >= room * (1 - Decimal("1e-20"))
            if sign * (mark - price) > 0:
                assert is_between(position, price, mark, own)


# The user's own stops

MARK = Price(Decimal(50_000))


def own(
    position: Position,
    price: int,
    quantity: str | None = None,
    reduce_only: bool = True,
    closes: Position | None = None,
) -> list[int]:
    stop = build.foreign_stop(
        closes or position, price, quantity=quantity, reduce_only=reduce_only
    )
    return [
        int(trigger)
        for trigger in users_own(build.instrument(), position, (stop,), MARK, settled(position))
    ]


def test_a_full_stop_of_the_user_between_mark_and_liquidation_counts() -> None:
    assert own(LONG, 47_000) == [47_000]
    assert own(SHORT, 53_000) == [53_000]
    assert own(LONG, 47_000, quantity="2") == [47_000]


def test_other_orders_of_the_user_do_not() -> None:
    other = build.position("ETHUSDT")
    found = (
        own(LONG, 45_000)
        + own(LONG, 50_000)
        + own(LONG, 51_000)
        + own(LONG, 44_000)
        + own(LONG, 47_000, quantity="0.999")
        + own(LONG, 47_000, reduce_only=False)
        + own(LONG, 47_000, closes=SHORT)
        + own(LONG, 47_000, closes=other)
        + own(SHORT, 55_000)
        + own(SHORT, 49_000)
    )
    assert found == []


def test_without_liquidation_any_positive_price_below_the_mark_is_between() -> None:
    none = NoLiquidation("covered")
    assert is_between(LONG, Price(Decimal(1)), MARK, none)
    assert not is_between(LONG, Price(Decimal(0)), MARK, none)
    assert not is_between(LONG, MARK, MARK, none)


# Audit


def audited(*stops: StopOrder, wants: Wanted | None = None) -> StopStatus:
    return audit(build.instrument(), LONG, stops, wants or target(), settled(LONG)).status


@pytest.mark.parametrize(
    ("stop", "expected"),
    [
        (build.our_stop(LONG, "46391.8"), StopStatus.RESTS),
        (build.our_stop(LONG, "46391.8", quantity=2), StopStatus.RESTS),
        (build.our_stop(LONG, "46530.98"), StopStatus.RESTS),
        (build.our_stop(LONG, "46530.99"), StopStatus.DRIFTED),
        (build.our_stop(LONG, "46252.62"), StopStatus.RESTS),
        (build.our_stop(LONG, "46252.61"), StopStatus.DRIFTED),
        (build.our_stop(LONG, "45000.1"), StopStatus.DRIFTED),
        (build.our_stop(LONG, "45000"), StopStatus.MISSING),
        (build.our_stop(LONG, "44000"), StopStatus.MISSING),
        (build.our_stop(LONG, "46391.8", quantity="0.999"), StopStatus.MISSING),
        (build.our_stop(LONG, "46391.8", reduce_only=False), StopStatus.MISSING),
        (build.our_stop(SHORT, "46391.8"), StopStatus.MISSING),
        (build.our_stop(build.position("ETHUSDT"), "46391.8"), StopStatus.MISSING),
    ],
)
def test_one_resting_stop(stop: StopOrder, expected: StopStatus) -> None:
    assert audited(stop) is expected


def test_none_resting() -> None:
    assert audited() is StopStatus.MISSING
    assert audited(wants=StopNotNeeded("covered")) is StopStatus.NOT_NEEDED


def test_drift_never_excuses_a_stop_looser_than_loss_max() -> None:
    capped = target(policy=build.policy(limits=build.guardrails(loss_max=2_000)))
    assert audited(build.our_stop(LONG, "48000"), wants=capped) is StopStatus.RESTS
    assert audited(build.our_stop(LONG, "48100"), wants=capped) is StopStatus.RESTS
    assert audited(build.our_stop(LONG, "47999.9"), wants=capped) is StopStatus.DRIFTED


def test_superfluous_stops_are_named_only_beside_a_safe_one() -> None:
    good = build.our_stop(LONG, "46391.8")
    near = build.our_stop(LONG, "46400", name="b" * 20)
    drifted = build.our_stop(LONG, "47000", name="c" * 20)
    small = build.our_stop(LONG, "46391.8", name="d" * 20, quantity="0.5")
    assert audit(build.instrument(), LONG, (small,), target(), settled(LONG)).superfluous == ()
    assert audit(build.instrument(), LONG, (drifted,), target(), settled(LONG)).superfluous == ()
    found = audit(build.instrument(), LONG, (drifted, near, small, good), target(), settled(LONG))
    assert found.status is StopStatus.RESTS
    assert set(found.superfluous) == {near, drifted, small}


def test_stops_that_all_have_drifted_do_not_pile_up() -> None:
    """While prices run a new one comes every few seconds, and a venue takes only so many."""
    drifted = tuple(
        build.our_stop(LONG, trigger, name=trigger * 4) for trigger in ("48000", "47000", "47500")
    )
    found = audit(build.instrument(), LONG, drifted, target(), settled(LONG))
    assert found.status is StopStatus.DRIFTED
    assert set(drifted) - set(found.superfluous) == {drifted[1]}


def test_of_two_equally_good_stops_the_same_one_is_kept_whatever_their_order() -> None:
    first = build.our_stop(LONG, "46391.8", name="a" * 20)
    second = replace(first, client_id=first.client_id[:-1] + "b")
    for stops in ((first, second), (second, first)):
        assert audit(build.instrument(), LONG, stops, target(), settled(LONG)).superfluous == (
            second,
        )


@given(
    triggers=st.lists(st.integers(44_000, 50_000), max_size=5, unique=True),
    loss_max=st.integers(500, 6_000),
)
def test_what_is_kept_protects(triggers: list[int], loss_max: int) -> None:
    policy = build.policy(limits=build.guardrails(loss_max=loss_max))
    stops = tuple(
        build.our_stop(LONG, price, name=f"{number:020}") for number, price in enumerate(triggers)
    )
    found = audit(build.instrument(), LONG, stops, target(policy=policy), settled(LONG))
    if found.status is StopStatus.MISSING:
        assert found.superfluous == ()
        return
    (kept,) = set(stops) - set(found.superfluous)
    assert kept.trigger_price > 45_000
    capped = any(50_000 - each.trigger_price <= loss_max for each in stops)
    assert 50_000 - kept.trigger_price <= loss_max or not capped


def test_money_and_price_stay_decimal() -> None:
    found = target(build.position(margin=Money(Decimal("5000.01"))))
    assert isinstance(trigger(found), Decimal)
