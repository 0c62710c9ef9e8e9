"""Prices that nobody recorded: random walks that crash, squeeze, spike, jump and diverge."""

import math
from collections.abc import Iterator
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


@dataclass(frozen=True, slots=True)
class Weather:
    """What the prices of one seed may do. `scale` is the position's distance at the start."""

    against: Side
    scale: float
    points_ms: int
    regimes: tuple[str, ...]


def generated_path(
    random: Random, instrument: Instrument, start: PricePoint, duration_ms: int, weather: Weather
) -> Iterator[PricePoint]:
    """The points after `start`. Floats only shape the walk; a price is rounded once."""
    walk = _Walk(random, weather)
    at_ms, left_ms = start.at_ms, 0
    while at_ms < start.at_ms + duration_ms:
        if left_ms <= 0:
            name = "calm" if at_ms == start.at_ms else random.choice(weather.regimes)
            left_ms = walk.begin(name)
            if name == "gap":
                at_ms += GAP_MS
                yield walk.point(at_ms, start, instrument)
        step_ms = max(1, round(weather.points_ms * random.uniform(0.5, 1.5)))
        at_ms, left_ms = at_ms + step_ms, left_ms - step_ms
        walk.pass_by(step_ms / 1000)
        yield walk.point(at_ms, start, instrument)


class _Walk:
    """Logarithms of the prices, relative to the start."""

    def __init__(self, random: Random, weather: Weather) -> None:
        self._random = random
        self._sign, self._scale = weather.against.sign, weather.scale
        self._noise = weather.scale * random.uniform(0.001, 0.015)
        self._last = self._basis = self._basis_to = 0.0
        self._legs: list[tuple[float, float]] = []
        """What is left of the regime: total drift and seconds of each straight leg."""

    def begin(self, regime: str) -> int:
        """Enter a regime; how many milliseconds it lasts."""
        draw, against = self._random.uniform, -self._sign * self._scale
        self._basis_to = 0.0
        match regime:
            case "calm":
                self._legs = [(0.0, CALM_FIRST_S + draw(0, 280))]
            case "crash":
                self._legs = [(against * draw(0.3, 2.0), draw(60, 900))]
            case "squeeze":
                self._legs = [(against * draw(-1.0, 1.4), draw(20, 120))]
            case "spike":
                depth, seconds = against * draw(0.5, 1.5), draw(3, 40)
                self._legs = [(depth, seconds), (-depth * draw(0.5, 1.1), seconds)]
            case "gap":
                self._last += against * draw(0.1, 1.6)
                self._legs = [(0.0, draw(5, 60))]
            case "diverge":
                self._basis_to = self._scale * draw(-0.3, 0.3)
                self._legs = [(against * draw(-0.2, 0.5), draw(60, 300))]
            case "recover":
                self._legs = [(-self._last * draw(0.3, 1.0), draw(60, 600))]
            case _:
                raise ValueError(f"no regime is called {regime}")
        return round(1000 * sum(seconds for _, seconds in self._legs))

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

    def point(self, at_ms: int, start: PricePoint, instrument: Instrument) -> PricePoint:
        """Where the prices are now, on the tick."""
        tick = instrument.tick_size
        last = _on_tick(start.last, self._last, tick)
        mark = _on_tick(start.mark, self._last + self._basis, tick)
        return PricePoint(at_ms, start.symbol, mark, last)


def _on_tick(start: Price, log_move: float, tick: Price) -> Price:
    ticks = round(float(start / tick) * math.exp(log_move))
    return Price(Decimal(max(ticks, 1)) * tick)
