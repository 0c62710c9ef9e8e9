"""Latency in a replay: the time from a price to the effect of the guard's answer to it."""

from dataclasses import replace
from decimal import Decimal

import pytest

from bot.core.decision import AlertSeverity
from bot.core.units import Ratio
from bot.journal.codec import from_json
from bot.journal.port import Kind
from bot.policy.loader import parse_policy
from bot.policy.preset import account_file
from bot.rehearsal.runs import Guarded, run_guarded
from bot.runtime.record import Recorded
from tests.rehearsal.test_runs import setup

D = Decimal
PRICES = (50_000, 50_000, 45_500)
"""After ten minutes the price falls, in the first third of a bar of ten minutes, to its low."""
PER_SECOND = D(4_500) / 200


def lived(latency_ms: int, *, stops_refused: bool = False) -> Guarded:
    given = setup(*PRICES, reserve=0)
    given = replace(
        given,
        latency_ms=latency_ms,
        slippage=Ratio(D(0)),
        step=Ratio(D("0.0004")),
        stops_refused=stops_refused,
    )
    text = account_file("balanced", "balanced", "rehearsal", "binanceusdm", "isolated")
    return run_guarded(given, parse_policy(text, "balanced"))


def left_by(run: Guarded) -> Decimal:
    """One coin is closed, so what is left differs by as much as the prices of the fills."""
    assert not run.fate.taken
    return run.fate.equity_final


@pytest.fixture(scope="module")
def at_once() -> Decimal:
    return left_by(lived(0, stops_refused=True))


@pytest.mark.parametrize("latency_ms", [3_000, 10_000])
def test_a_close_fills_so_long_after_the_price_that_called_for_it(
    at_once: Decimal, latency_ms: int
) -> None:
    """Where no stop is taken the guard closes: the price goes on falling while it does."""
    seconds = (at_once - left_by(lived(latency_ms, stops_refused=True))) / PER_SECOND
    assert seconds == pytest.approx(D(latency_ms) / 1_000, abs=1)


def test_with_ten_seconds_the_stop_rests_in_time() -> None:
    run = lived(10_000)
    assert next(deed.proven for deed in run.deeds if deed.verb == "place_stop") == "applied"
    assert "stop_filled" in [deed.verb for deed in run.deeds]
    assert not run.fate.taken


def test_with_more_nothing_gets_through_and_the_guard_says_so() -> None:
    run = lived(10_001)
    assert not {"applied"} & {deed.proven for deed in run.deeds}
    rows = [row.entry for row in run.rows if row.entry.kind is Kind.DECISION]
    said = [alert for row in rows for alert in from_json(row.body, Recorded).decision.alerts]
    naked = next(alert for alert in said if alert.kind == "naked")
    assert naked.severity is AlertSeverity.CRITICAL
