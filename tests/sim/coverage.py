"""
What the seeds come to: how often each fault, venue, step of a policy and deed occurred.

A simulation that never meets a thing says nothing about it, however many seeds it has.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bot.core.model import ContractKind
from tests.sim.case import Case

if TYPE_CHECKING:
    from tests.sim.world import Result

HOUR_MS = 3_600_000


def kind_of(reason: str) -> str:
    """The step that wanted a request, without what names one intent in it."""
    return "refund" if reason.startswith("refund/") else reason


def variants_of(case: Case) -> frozenset[str]:
    """What account, venue and policy a seed is about, in words."""
    words = {str(case.kind), f"stops {case.resting.name.lower()}", f"latency {case.latency_ms} ms"}
    for each in case.openings:
        rules = each.instrument.rules
        words |= {
            f"{each.instrument.kind.name.lower()} {each.side}",
            f"maintenance at {rules.maintenance_at.name.lower()}",
            f"close fee {rules.close_fee.name.lower()}",
            f"margin {rules.margin_on_reduce.name.lower()} on reduce",
            f"rules say stops {rules.resting_stops.name.lower()}",
            "several tiers" if len(each.instrument.tiers) > 1 else "one tier",
        }
    words |= {f"watches {rule.metric}" for rule in case.policy.rules}
    words |= {f"step {step.verb}" for rule in case.policy.rules for step in rule.steps}
    flags = {
        "several orders to a stop": any(
            each.quantity > each.instrument.quantity_max for each in case.openings
        ),
        "thin books": bool(case.depths),
        "inverse": any(each.instrument.kind is ContractKind.INVERSE for each in case.openings),
        "billed": bool(case.billed),
        "canary": bool(case.policy.protect.canary_ms),
        "stop leaves a share": bool(case.policy.protect.share),
        "nothing goes wrong": not case.swarm.enabled,
    }
    return frozenset(words | {name for name, holds in flags.items() if holds})


@dataclass(slots=True)
class Coverage:
    """Counts over many seeds: events of faults, deeds and steps, seeds of variants."""

    seeds: int = 0
    guarded_ms: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    deeds: Counter[str] = field(default_factory=Counter)
    rules: Counter[str] = field(default_factory=Counter)
    variants: Counter[str] = field(default_factory=Counter)

    def add(self, result: "Result") -> None:
        """One more seed."""
        self.seeds += 1
        self.guarded_ms += result.guarded_ms
        self.faults.update(result.faults)
        self.deeds.update(result.deeds)
        self.rules.update(result.rules)
        self.variants.update(result.variants)

    def lines(self) -> list[str]:
        """One line for each sort of thing."""
        return [
            f"simulated guard-hours: {self.guarded_ms / HOUR_MS:.1f}",
            f"faults: {_counted(self.faults)}",
            f"done: {_counted(self.deeds)}",
            f"steps that acted: {_counted(self.rules)}",
            f"seeds with: {_counted(self.variants)}",
        ]


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{kind} {count}" for kind, count in sorted(counts.items())) or "none"
