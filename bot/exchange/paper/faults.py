"""
What a network and a venue do to requests, drawn from a seed.

The draws decide everything in advance: how long a request and its reply travel, or that one of
them never arrives. The injector has a random stream of its own, so that nothing else shifts it.
"""

from dataclasses import dataclass, fields
from enum import StrEnum
from random import Random
from typing import Protocol, TypeAlias


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """
    How often things go wrong: probabilities from 0 to 1. The default plan has no faults.

    A late message travels 1 to `delay_ms_max` longer. A caller gives up after `timeout_ms`.
    """

    request_lost: float = 0.0
    request_late: float = 0.0
    reply_lost: float = 0.0
    """The request has its effect, and nobody hears of it."""
    reply_late: float = 0.0
    read_lost: float = 0.0
    notice_lost: float = 0.0
    stream_broken: float = 0.0
    """Per notice: the stream ends with `Unreachable` in its place."""
    stops_refused: float = 0.0
    """Per stop that arrives: the stop endpoint begins to refuse, for `stops_refused_ms`."""
    stops_refused_ms: int = 60_000
    delay_ms_max: int = 8_000
    timeout_ms: int = 3_000

    def __post_init__(self) -> None:
        """Raise `ValueError` for what is no probability, or no time."""
        for field in fields(self):
            value = getattr(self, field.name)
            if not (0 <= value <= 1 if field.type is float else value >= 1):
                raise ValueError(f"faults: {field.name}: was {value}")
        for what, together in (
            (
                "requests",
                self.request_lost + self.request_late + self.reply_lost + self.reply_late,
            ),
            ("notices", self.notice_lost + self.stream_broken),
        ):
            if together > 1:
                raise ValueError(f"faults: {what}: expected at most 1 together, was {together}")


@dataclass(frozen=True, slots=True)
class RequestLost:
    """The request never arrives."""


@dataclass(frozen=True, slots=True)
class ReplyLost:
    """The request arrives in time, and its reply never does."""


@dataclass(frozen=True, slots=True)
class Travels:
    """Both arrive, delayed by that much on top of the latency."""

    there_ms: int
    back_ms: int


Trip: TypeAlias = RequestLost | ReplyLost | Travels


class Delivery(StrEnum):
    """What becomes of a notice."""

    DELIVERED = "delivered"
    LOST = "lost"
    STREAM_BROKEN = "stream_broken"


class Network(Protocol):
    """What becomes of requests, reads and notices on their way."""

    @property
    def timeout_ms(self) -> int:
        """How long a caller waits for a reply."""

    def request(self) -> Trip:
        """The fate of one write."""

    def read(self) -> Trip:
        """The fate of one read."""

    def notice(self) -> Delivery:
        """The fate of one notice."""

    def stops_refused(self, at_ms: int) -> bool:
        """Whether the stop endpoint refuses a stop that arrives at `at_ms`."""


class Faults:
    """A `Network` that draws the fate of each request, read and notice."""

    def __init__(self, plan: FaultPlan, random: Random) -> None:
        """Follow `plan` with a generator that nobody else draws from."""
        self._plan = plan
        self._random = random
        self._stops_refused_until_ms = 0

    @property
    def timeout_ms(self) -> int:
        """How long a caller waits for a reply."""
        return self._plan.timeout_ms

    def request(self) -> Trip:
        """The fate of one write."""
        plan, drawn = self._plan, self._random.random()
        if drawn < (bound := plan.request_lost):
            return RequestLost()
        if drawn < (bound := bound + plan.reply_lost):
            return ReplyLost()
        if drawn < (bound := bound + plan.request_late):
            return Travels(self._delay_ms(), 0)
        if drawn < bound + plan.reply_late:
            return Travels(0, self._delay_ms())
        return Travels(0, 0)

    def read(self) -> Trip:
        """The fate of one read."""
        return RequestLost() if self._random.random() < self._plan.read_lost else Travels(0, 0)

    def notice(self) -> Delivery:
        """The fate of one notice."""
        drawn = self._random.random()
        if drawn < self._plan.notice_lost:
            return Delivery.LOST
        if drawn < self._plan.notice_lost + self._plan.stream_broken:
            return Delivery.STREAM_BROKEN
        return Delivery.DELIVERED

    def stops_refused(self, at_ms: int) -> bool:
        """Whether the stop endpoint refuses a stop that arrives at `at_ms`."""
        if at_ms < self._stops_refused_until_ms:
            return True
        if self._random.random() < self._plan.stops_refused:
            self._stops_refused_until_ms = at_ms + self._plan.stops_refused_ms
            return True
        return False

    def _delay_ms(self) -> int:
        return self._random.randint(1, self._plan.delay_ms_max)


def no_faults() -> Faults:
    """A network that always delivers at once, after its latency."""
    return Faults(FaultPlan(), Random(0))  # noqa: S311 - draws faults, never secrets
