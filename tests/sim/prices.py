"""
Prices that nobody recorded: random walks that crash, squeeze, spike, jump and diverge.

Several symbols walk together: in one direction, each against its position, or one of them alone.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from random import Random

from bot.core.model import Instrument, Side
from bot.core.units import Price
from bot.exchange.paper.prices import PricePoint

GAP_MS = 1
"""A gap is as fast as two points can be."""

CALM_FIRST_S = 20.0
"""A guard that has just been started gets its chance."""

AT_LEISURE_MS = 20 * 60_000
TEMPO_MAX = 6.0
"""A crisis of so many minutes takes its time; in a shorter one all goes faster, up to so much."""


@dataclass(frozen=True, slots=True)
class Trend:
    """
    A symbol and what hurts the account in it: `scale` is how far it may go at the start.

    In calm times it moves by up to `noise_max` of that in a second.
    """

    instrument: Instrument
    start: Price
    against: Side
    scale: float
    noise_max: float


@dataclass(frozen=True, slots=True)
class Weather:
    """What the prices of one seed may do. `market_sign` is where they go together."""

    trends: tuple[Trend, ...]
    market_sign: int
    points_ms: int
    regimes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Regime:
    """What happens next: straight legs of (depth, seconds), in scales against each position."""

    legs: tuple[tuple[float, float], ...]
    jump: float = 0.0
    basis: float = 0.0
    recovers: float = 0.0
    """The share of what was lost so far that comes back in the first leg."""


def generated_path(
    random: Random, start_ms: int, duration_ms: int, weather: Weather
) -> Iterator[PricePoint]:
    """The points after the start. Floats only shape the walks; a price is rounded once."""
    walks = [_Walk(Random(f"{random.random()}"), trend) for trend in weather.trends]
    tempo = min(max(AT_LEISURE_MS / duration_ms, 1.0), TEMPO_MAX)
    at_ms, left_ms = start_ms, 0
    while at_ms < start_ms + duration_ms:
        if left_ms <= 0:
            name = "calm" if at_ms == start_ms else random.choice(weather.regimes)
            regime = _draw(random, name, tempo)
            for walk, weight in zip(walks, _weights(random, weather), strict=True):
                walk.begin(regime, weight)
            left_ms = round(1000 * sum(seconds for _, seconds in regime.legs))
            if regime.jump:
                at_ms += GAP_MS
                yield from (walk.point(at_ms) for walk in walks)
        step_ms = max(1, round(weather.points_ms * random.uniform(0.5, 1.5)))
        at_ms, left_ms = at_ms + step_ms, left_ms - step_ms
        for walk in walks:
            walk.pass_by(step_ms / 1000)
            yield walk.point(at_ms)


def _draw(random: Random, name: str, tempo: float) -> _Regime:
    """Squeezes and spikes are fast anyway; what lasts longer takes its time by the tempo."""
    draw = random.uniform

    def lasting(low: float, high: float) -> float:
        return draw(low, high) / tempo

    match name:
        case "calm":
            return _Regime(((0.0, CALM_FIRST_S + lasting(0, 280)),))
        case "crash":
            return _Regime(((draw(0.3, 2.0), lasting(60, 900)),))
        case "squeeze":
            return _Regime(((draw(-1.0, 1.4), draw(20, 120)),))
        case "spike":
            depth, seconds = draw(0.5, 1.5), draw(3, 40)
            return _Regime(((depth, seconds), (-depth * draw(0.5, 1.1), seconds)))
        case "gap":
            return _Regime(((0.0, lasting(5, 60)),), jump=draw(0.1, 1.6))
        case "diverge":
            return _Regime(((draw(-0.2, 0.5), lasting(60, 300)),), basis=draw(-0.3, 0.3))
        case "recover":
            return _Regime(((0.0, lasting(60, 600)),), recovers=draw(0.3, 1.0))
        case _:
            raise ValueError(f"no regime is called {name}")


def _weights(random: Random, weather: Weather) -> Sequence[float]:
    """How much of the regime each symbol gets, against its position where positive."""
    trends = weather.trends
    if len(trends) == 1:
        return (1.0,)
    match random.choice(("each against", "all together", "one alone")):
        case "each against":
            return [random.uniform(0.7, 1.2) for _ in trends]
        case "all together":
            return [
                -trend.against.sign * weather.market_sign * random.uniform(0.7, 1.2)
                for trend in trends
            ]
        case _:
            chosen = random.randrange(len(trends))
            # Alone it has to go farther to hurt as much.
            return [
                random.uniform(0.8, 2.0) if each == chosen else random.uniform(-0.1, 0.1)
                for each in range(len(trends))
            ]


class _Walk:
    """Logarithms of the prices of one symbol, relative to the start."""

    def __init__(self, random: Random, trend: Trend) -> None:
        self._random, self._trend = random, trend
        self._noise = trend.scale * random.uniform(0.001, trend.noise_max)
        self._last = self._basis = self._basis_to = 0.0
        self._legs: list[tuple[float, float]] = []
        """What is left of the regime: total drift and seconds of each straight leg."""

    def begin(self, regime: _Regime, weight: float) -> None:
        """Enter a regime."""
        against = -self._trend.against.sign * self._trend.scale * weight
        back = -self._last * regime.recovers
        self._legs = [(against * depth + back, seconds) for depth, seconds in regime.legs]
        self._last += against * regime.jump
        self._basis_to = self._trend.scale * regime.basis

    def pass_by(self, seconds: float) -> None:
        """Let time pass."""
        drift, leg_s = self._legs[0]
        share = min(1.0, seconds / leg_s)
        if share == 1.0 and len(self._legs) > 1:
            self._legs.pop(0)
        else:
            self._legs[0] = (drift * (1 - share), max(leg_s - seconds, 0.001))
        shake = self._random.gauss(0.0, self._noise) * math.sqrt(seconds)
        self._last = min(max(self._last + drift * share + shake, -1.5), 1.5)
        pull = (self._basis_to - self._basis) * min(1.0, seconds / 30)
        self._basis += pull + self._random.gauss(0.0, self._noise / 10)

    def point(self, at_ms: int) -> PricePoint:
        """Where the prices are now, on the tick."""
        start, tick = self._trend.start, self._trend.instrument.tick_size
        last = _on_tick(start, self._last, tick)
        mark = _on_tick(start, self._last + self._basis, tick)
        return PricePoint(at_ms, self._trend.instrument.symbol, mark, last)


def _on_tick(start: Price, log_move: float, tick: Price) -> Price:
    ticks = round(float(start / tick) * math.exp(log_move))
    return Price(Decimal(max(ticks, 1)) * tick)
