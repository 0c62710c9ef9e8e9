"""Faults follow their plan, are the same for the same seed, and are none without a plan."""

from random import Random

import pytest

from bot.exchange.paper.faults import (
    Delivery,
    FaultPlan,
    Faults,
    ReplyLost,
    RequestLost,
    Travels,
)


def test_the_plan_of_zeros_has_no_faults() -> None:
    faults = Faults(FaultPlan(), Random(1))
    for at_ms in range(1_000):
        assert faults.request() == faults.read() == Travels(0, 0)
        assert faults.notice() is Delivery.DELIVERED
        assert not faults.stops_refused(at_ms)


def test_the_same_seed_draws_the_same_faults() -> None:
    plan = FaultPlan(request_lost=0.1, request_late=0.2, reply_lost=0.3, reply_late=0.2)
    first, second = (Faults(plan, Random(7)) for _ in range(2))
    assert [first.request() for _ in range(100)] == [second.request() for _ in range(100)]


def test_requests_meet_each_fault_as_often_as_planned() -> None:
    plan = FaultPlan(
        request_lost=0.1, request_late=0.2, reply_lost=0.3, reply_late=0.15, delay_ms_max=500
    )
    faults = Faults(plan, Random(3))
    trips = [faults.request() for _ in range(20_000)]
    late = [trip for trip in trips if isinstance(trip, Travels) and trip.there_ms > 0]
    late_back = [trip for trip in trips if isinstance(trip, Travels) and trip.back_ms > 0]
    assert trips.count(RequestLost()) == pytest.approx(2_000, rel=0.1)
    assert trips.count(ReplyLost()) == pytest.approx(6_000, rel=0.1)
    assert len(late) == pytest.approx(4_000, rel=0.1)
    assert len(late_back) == pytest.approx(3_000, rel=0.1)
    assert trips.count(Travels(0, 0)) == pytest.approx(5_000, rel=0.1)
    assert {trip.there_ms for trip in late} == set(range(1, 501))


def test_reads_and_notices_meet_theirs() -> None:
    faults = Faults(FaultPlan(read_lost=0.5, notice_lost=0.3, stream_broken=0.2), Random(3))
    reads = [faults.read() for _ in range(10_000)]
    notices = [faults.notice() for _ in range(10_000)]
    assert reads.count(RequestLost()) == pytest.approx(5_000, rel=0.1)
    assert notices.count(Delivery.LOST) == pytest.approx(3_000, rel=0.1)
    assert notices.count(Delivery.STREAM_BROKEN) == pytest.approx(2_000, rel=0.1)


def test_a_stop_endpoint_that_refuses_does_so_for_its_period() -> None:
    faults = Faults(FaultPlan(stops_refused=0.01, stops_refused_ms=1_000), Random(5))
    began_ms = next(at_ms for at_ms in range(100_000) if faults.stops_refused(at_ms))
    assert all(faults.stops_refused(began_ms + after) for after in range(1_000))
    assert not faults.stops_refused(began_ms + 1_000)


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        ({"read_lost": 1.5}, "faults: read_lost: was 1.5"),
        ({"read_lost": -0.1}, "faults: read_lost: was -0.1"),
        ({"timeout_ms": 0}, "faults: timeout_ms: was 0"),
        ({"request_lost": 0.6, "reply_lost": 0.6}, "faults: requests: expected at most 1"),
        ({"notice_lost": 0.6, "stream_broken": 0.6}, "faults: notices: expected at most 1"),
    ],
)
def test_a_plan_is_made_of_probabilities_and_times(plan: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        FaultPlan(**plan)  # type: ignore[arg-type]
