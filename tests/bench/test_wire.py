"""What the bench says of its aims."""

from bench.wire import Times, aims


def test_an_aim_is_met_up_to_its_limit_and_missed_beyond() -> None:
    times = {
        "blocking": Times([1.0, 1.0], [1.0]),
        "ccxt": Times([2.0, 2.0], [1.0]),
        "ours": Times([3.0, 3.0], [15.0]),
    }
    assert [str(each) for each in aims(times, {"queue-ours": 50.1, "queue-ccxt": 1.0})] == [
        "met     single, p50, times blocking: 3.00, of at most 3",
        "MISSED  single, p50, times ccxt: 1.50, of at most 1.1",
        "met     the last of 20 at once, ms: 15.00, of at most 15",
        "MISSED  behind 100 polls, ms: 50.10, of at most 50",
    ]


def test_what_was_not_measured_is_no_aim_met() -> None:
    assert aims({"ccxt": Times([1.0], [1.0])}, {}) == []
