"""The thresholds on a liquidation distance that a policy sets, with the look they have."""

from dataclasses import dataclass

from bot.core.ladder import Covering
from bot.core.policy import Below, Metric
from bot.core.strategy import Severity
from bot.core.units import Ratio

_LOOKS = {
    Severity.ALERT: "alert",
    Severity.STOP: "tighten",
    Severity.SPEND: "spend",
    Severity.REDUCE: "reduce",
    Severity.CLOSE: "close",
}


@dataclass(frozen=True, slots=True)
class Limit:
    """A threshold on a distance: its value, how to call it, and a look."""

    value: Ratio
    text: str
    look: str


def watching(covering: Covering) -> tuple[Limit, ...]:
    """The thresholds on a liquidation distance among the steps, the farthest first."""
    limits = [
        Limit(Ratio(step.threshold.value), step.name, _LOOKS[step.severity])
        for rule, step in covering
        if rule.metric is Metric.LIQUIDATION_DISTANCE and isinstance(step.threshold, Below)
    ]
    return tuple(sorted(limits, key=lambda limit: limit.value, reverse=True))
