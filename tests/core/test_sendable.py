"""A close is for what a venue takes: no dust, not too much, not what is not there any more."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bot.core.actions import AT_MARKET, Action, ClosePosition
from bot.core.events import IntentState
from bot.core.guardrails import Approved, PartClose, review_close, review_reduce
from bot.core.model import Instrument, Position
from bot.core.state import AccountState, Instruments, Plain
from bot.core.strategy import Close, Severity
from bot.core.units import Quantity
from bot.testing import builders as build
from tests.core.life import GOOD_STOP, LONG, Life, below
from tests.core.rails import account, request

STEP = Decimal("0.001")


def listed(least: str = "0.001", most: str = "Infinity") -> Instrument:
    return replace(
        build.instrument(),
        quantity_min=Quantity(Decimal(least)),
        quantity_max=Quantity(Decimal(most)),
    )


def knowing(instrument: Instrument) -> AccountState:
    return replace(account(), instruments=Instruments("some", {build.SYMBOL: instrument}))


def closed(review: object) -> Decimal:
    assert isinstance(review, Approved), review
    assert isinstance(review.intent.action, ClosePosition)
    return review.intent.action.quantity


def part(asked: str, instrument: Instrument, position: Position = LONG) -> Decimal:
    close = PartClose(position, Quantity(Decimal(asked)), AT_MARKET, Plain())
    reviewed = review_reduce(request(knowing(instrument)), (close,), cooldown_ms=0, is_slice=True)
    assert isinstance(reviewed, tuple), reviewed
    return closed(reviewed[0])


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ("0.4", "0.4"),
        ("0.005", "0.01"),  # the rest of a slice, less than the venue takes
        ("0.995", "1"),  # what is left would be
        ("0.99", "0.99"),
        ("7", "1"),  # the position has become smaller since
    ],
)
def test_a_part_is_no_dust_and_leaves_none(asked: str, sent: str) -> None:
    assert part(asked, listed(least="0.01")) == Decimal(sent)


def test_a_position_that_is_dust_is_closed_whole() -> None:
    dust = build.position(quantity="0.004")
    assert part("0.001", listed(least="0.01"), dust) == Decimal("0.004")
    reviewed = review_close(
        request(knowing(listed(least="0.01"))), dust, holds=False, bound=AT_MARKET
    )
    assert closed(reviewed) == Decimal("0.004")


def test_what_is_more_than_one_order_may_be_for_is_closed_in_slices() -> None:
    most = listed(most="0.3005")
    asks = request(knowing(most))
    assert closed(review_close(asks, LONG, holds=False, bound=AT_MARKET)) == Decimal("0.3")
    assert part("0.9", most) == Decimal("0.3")


def large() -> Life:
    """Below the floor with a position that three orders close."""
    return Life(build.policy(), stops=(GOOD_STOP,), mark=45_300, instruments=[listed(most="0.4")])


def sizes(actions: list[Action]) -> list[Decimal]:
    return [each.quantity for each in actions if isinstance(each, ClosePosition)]


def test_a_slice_does_not_wait_until_it_is_known_what_the_one_before_has_filled() -> None:
    """The venue has taken it, and no read comes: what is left of the position has no stop."""
    life = large()
    for expected in ("0.4", "0.4", "0.2"):
        assert sizes(life.decide()) == [Decimal(expected)]
        asked = life.decision
        assert sizes(life.decide()) == []  # nobody knows whether the venue has it
        life.wait(100)
        life.decision = asked
        life.settle(IntentState.ACKED)
    life.wait(3_000)
    assert sizes(life.decide()) == []  # all of it is on its way


def test_a_slice_that_filled_makes_room_for_the_next_at_once() -> None:
    life = large()
    for expected, left in (("0.4", "0.6"), ("0.4", "0.2")):
        assert sizes(life.decide()) == [Decimal(expected)]
        life.wait(100)
        life.settle(IntentState.APPLIED)
        life.wait(100)
        life.read(build.position(quantity=left, margin=Decimal(left) * 5_000))
    assert sizes(life.decide()) == [Decimal("0.2")]


@pytest.mark.parametrize("ended", [IntentState.REJECTED, IntentState.EXPIRED])
def test_after_a_slice_that_came_to_nothing_the_next_waits_a_second(ended: IntentState) -> None:
    life = large()
    life.decide()
    life.settle(ended)
    assert sizes(life.decide()) == []
    life.wait(1_000)
    assert sizes(life.decide()) == [Decimal("0.4")]


@given(
    asked=st.integers(1, 2_000),
    size=st.integers(1, 2_000),
    least=st.integers(1, 50),
    most=st.integers(60, 5_000),
)
@example(asked=1, size=3, least=2, most=60)  # what is raised to the least leaves less than that
def test_whatever_is_asked_for_the_venue_takes_what_is_sent(
    asked: int, size: int, least: int, most: int
) -> None:
    position = build.position(quantity=size * STEP)
    sent = part(str(asked * STEP), listed(str(least * STEP), str(most * STEP)), position)
    assert 0 < sent <= position.quantity
    assert sent % STEP == 0
    assert sent <= most * STEP
    assert sent >= min(least * STEP, position.quantity)
    left = position.quantity - sent
    assert left == 0 or left >= least * STEP or sent == most * STEP
    assert sent >= min(asked * STEP, position.quantity, most * STEP)


def test_a_close_that_was_refused_is_asked_for_again_with_the_size_of_a_fresh_read() -> None:
    """The user has closed half meanwhile, so the venue refused the whole."""
    out = build.step("out", below("0.05"), Severity.CLOSE, lambda view: Close())
    life = Life(build.policy(build.rule(out)), stops=(GOOD_STOP,), mark=47_000)
    (close,) = life.decide()
    assert close.quantity == 1  # type: ignore[union-attr]
    life.settle(IntentState.REJECTED)
    half = build.position(quantity="0.5", margin=2_500)
    life.wait(5_000)
    life.read(half, stops=(GOOD_STOP,))
    life.mark(47_000)
    (again,) = life.decide()
    assert isinstance(again, ClosePosition)
    assert again.quantity == Decimal("0.5")
