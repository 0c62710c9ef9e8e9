"""
The box of what still has to be told: pure, and saved as it is.

Deduplication is data: what was said about a subject, and when, decides whether a warning is one
too many. One about each subject passes within `repeat_ms`; a more severe step, an action and a
failure pass at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from bot.alerts.notice import AtOnce, Notice, Warned
from bot.core.decision import AlertSeverity

WAITING_MAX = 1_000
"""So many notices are kept for a channel that does not take them; the least severe give way."""


@dataclass(frozen=True, slots=True)
class Routes:
    """Which channels hear what, and for how long one warning about a subject is enough."""

    channels: Mapping[AlertSeverity, tuple[str, ...]]
    repeat_ms: int


@dataclass(frozen=True, slots=True)
class Told:
    """The last warning about a subject that was passed on."""

    at_ms: int
    depth: int


@dataclass(frozen=True, slots=True)
class Passed:
    """The notice waits for its channels now."""


@dataclass(frozen=True, slots=True)
class Silenced:
    """The notice goes nowhere, and why."""

    reason: str


Verdict: TypeAlias = Passed | Silenced

PASSED = Passed()


@dataclass(frozen=True, slots=True)
class Box:
    """
    `read_to` is the newest row that was taken in, `early` what was taken before it was a row.

    `waiting` holds by channel what it has not taken yet, in the order of time; `dropped` counts
    what gave way.
    """

    read_to: int
    early: frozenset[str]
    told: Mapping[str, Told]
    waiting: Mapping[str, tuple[Notice, ...]]
    dropped: int


@dataclass(frozen=True, slots=True)
class Nothing:
    """No notice waits for the channel."""


def empty(read_to: int) -> Box:
    """A box that begins after row `read_to`."""
    return Box(read_to, frozenset(), {}, {}, 0)


def take(box: Box, notice: Notice, routes: Routes) -> tuple[Box, Verdict]:
    """Let a notice wait for the channels of its severity, unless it is one too many."""
    verdict = judge(box.told, notice, routes.repeat_ms)
    if isinstance(verdict, Silenced):
        return box, verdict
    kept = {
        subject: told
        for subject, told in box.told.items()
        if notice.at_ms - told.at_ms < routes.repeat_ms
    }
    match notice.weight:
        case Warned(depth):
            kept[notice.subject] = Told(notice.at_ms, depth)
        case AtOnce():
            pass
    box = replace(box, told=kept)
    for channel in routes.channels.get(notice.severity, ()):
        box = _wait(box, channel, notice)
    return box, verdict


def judge(told: Mapping[str, Told], notice: Notice, repeat_ms: int) -> Verdict:
    """Whether a notice is one too many after what was `told` of each subject."""
    match notice.weight:
        case AtOnce():
            return PASSED
        case Warned(depth):
            before = told.get(notice.subject)
            if before is None or depth > before.depth:
                return PASSED
            age_ms = notice.at_ms - before.at_ms
            if age_ms >= repeat_ms:
                return PASSED
            return Silenced(
                f"{notice.subject} was warned of {age_ms // 1000} s before, "
                f"and one warning within {repeat_ms // 1000} s is enough"
            )


def next_for(box: Box, channel: str) -> Notice | Nothing:
    """What the channel should be told next: the most severe, of those the oldest."""
    waiting = box.waiting.get(channel, ())
    if not waiting:
        return Nothing()
    return max(waiting, key=lambda notice: notice.severity)


def delivered(box: Box, channel: str, notice: Notice) -> Box:
    """The box once `channel` has taken `notice`."""
    left = tuple(each for each in box.waiting[channel] if each.id != notice.id)
    return replace(box, waiting={**box.waiting, channel: left})


def routed(box: Box, channels: frozenset[str]) -> Box:
    """The box without what waits for channels that are no more."""
    kept = {name: waiting for name, waiting in box.waiting.items() if name in channels}
    return replace(box, waiting=kept)


def _wait(box: Box, channel: str, notice: Notice) -> Box:
    waiting = (*box.waiting.get(channel, ()), notice)
    dropped = box.dropped
    if len(waiting) > WAITING_MAX:
        least = min(waiting, key=lambda each: each.severity)
        waiting = tuple(each for each in waiting if each is not least)
        dropped += 1
    return replace(box, waiting={**box.waiting, channel: waiting}, dropped=dropped)
