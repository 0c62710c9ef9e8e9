"""Funding terms that nobody recorded: every cadence, from tiny rates to brutal ones."""

from collections.abc import Iterator
from decimal import Decimal
from random import Random

from bot.core.units import Ratio
from bot.exchange.paper.prices import FundingTerm
from tests.sim.prices import Trend

MINUTE_MS, HOUR_MS = 60_000, 3_600_000
CADENCES_MS = (8 * HOUR_MS, 4 * HOUR_MS, HOUR_MS, 10 * MINUTE_MS, 5 * MINUTE_MS, 5 * MINUTE_MS)
FIRST_MIN_MS, FIRST_MAX_MS = 2 * MINUTE_MS, 10 * MINUTE_MS
RATE_MAX = 0.04
"""No venue charges more at once."""


def generated_terms(
    random: Random, trend: Trend, start_ms: int, duration_ms: int
) -> Iterator[FundingTerm]:
    """
    The terms of one symbol from the start on, in the order of their announcement.

    The first settlement is in the first two thirds whatever the cadence; the rate may be corrected
    until shortly before, and the cadence may change after it.
    """
    end_ms, first_ms = start_ms + duration_ms, min(duration_ms // 6, FIRST_MIN_MS)
    interval_ms = random.choice(CADENCES_MS)
    in_ms = random.randint(first_ms, min(duration_ms * 2 // 3, FIRST_MAX_MS))
    at_ms, next_ms = start_ms, start_ms + in_ms
    symbol = trend.instrument.symbol
    while at_ms < end_ms:
        rate = _rate(random, trend)
        yield FundingTerm(at_ms, symbol, _ratio(rate), next_ms, interval_ms)
        corrected = sorted(random.randint(at_ms + 1, next_ms) for _ in range(random.randint(0, 2)))
        for moment_ms in corrected:
            rate *= random.uniform(0.6, 1.4)
            if moment_ms < min(next_ms - 2_000, end_ms):
                yield FundingTerm(moment_ms, symbol, _ratio(rate), next_ms, interval_ms)
        if random.random() < 0.3:
            interval_ms = random.choice(CADENCES_MS)
        at_ms, next_ms = next_ms, next_ms + interval_ms


def _rate(random: Random, trend: Trend) -> float:
    """Against the position more often than not; at worst more than what is left of it."""
    tiny, usual = 10 ** random.uniform(-5, -4), 10 ** random.uniform(-4, -3)
    dear, hard = random.uniform(0.03, 0.3), random.uniform(0.3, 0.8)
    brutal = trend.scale * random.uniform(0.85, 1.3)
    size = random.choice(
        (tiny, usual, trend.scale * dear, trend.scale * hard, brutal, brutal, brutal)
    )
    sign = trend.against.sign if random.random() < 0.65 else -trend.against.sign
    return sign * size


def _ratio(rate: float) -> Ratio:
    return Ratio(Decimal(f"{max(-RATE_MAX, min(rate, RATE_MAX)):.8f}"))
