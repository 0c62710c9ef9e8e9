"""
The observer: watches the exchange, not the guard, and holds every promise against what happened.

It shares no arithmetic with the guard: it counts requests, money and stops as the exchange saw
them.
"""

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal

from bot.core.actions import Action, AddMargin, CancelStop, ClosePosition, PlaceStop
from bot.core.events import IntentState
from bot.core.model import AccountSnapshot, Reported
from bot.core.units import Price
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.ports import Accepted, Refused
from tests.sim.case import ACCOUNT, Case

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
ARRIVES_MS = 5_000
"""No request is accepted later than this after it was sent."""

SLACK_MS = 2 * ARRIVES_MS
"""A budget's window counts from the plan; the effect comes up to this later."""

NAKED_MS = 30_000
"""After everything works again a stop rests within this time."""

HISTORY = 12


class Violation(AssertionError):
    """A promise did not hold."""


@dataclass(slots=True)
class Observer:
    """What is known of one seed's run, and the first promise that broke."""

    case: Case
    faults: Counter[str] = field(default_factory=Counter)
    history: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    durable: set[str] = field(default_factory=set)
    sent: dict[str, int] = field(default_factory=dict)
    spends_sent: dict[str, int] = field(default_factory=dict)
    spends_settled: dict[str, tuple[int, Decimal]] = field(default_factory=dict)
    journal_failed_at_ms: int = -DAY_MS
    naked_since_ms: int = 0
    now_ms: int = 0

    def disturbed(self, kind: str) -> None:
        """A fault really occurred."""
        self.faults[kind] += 1

    def became_durable(self, intent_id: str) -> None:
        """A PREPARED row is on disk."""
        self.durable.add(intent_id)

    def journal_failed(self) -> None:
        """The store refused."""
        self.journal_failed_at_ms = self.now_ms
        self.disturbed("journal_down")

    def marks_delivered(self) -> None:
        """A price reached the guard."""

    def note(self, at_ms: int, text: str) -> None:
        """Remember an event, the last few of which a failure prints."""
        self.now_ms = max(self.now_ms, at_ms)
        self.history = [*self.history[-HISTORY:], f"{at_ms - self.case.start.at_ms:>8} ms {text}"]

    def broke(self, promise: str, at_ms: int, text: str) -> None:
        """A promise did not hold."""
        self.note(at_ms, f"PROMISE {promise}: {text}")
        self.violations.append(f"promise {promise} at {at_ms - self.case.start.at_ms} ms: {text}")

    def sends(self, action: Action, client_id: str, at_ms: int) -> None:
        """The guard hands a request to the network."""
        self.note(at_ms, f"sends {client_id[:10]} {action}")
        if client_id in self.sent:
            self.broke("4", at_ms, f"{client_id} is sent again")
        self.sent[client_id] = at_ms
        store_down = at_ms - self.journal_failed_at_ms < ARRIVES_MS
        if client_id not in self.durable and not (
            store_down and not isinstance(action, AddMargin)
        ):
            self.broke("5", at_ms, f"{client_id} was sent before its row was durable")
        if action.side is not self.case.side:
            self.broke("1", at_ms, f"wrong side: {action}")
        if isinstance(action, ClosePosition | PlaceStop) and action.quantity > self.case.quantity:
            self.broke("1", at_ms, f"more than the position ever was: {action}")
        if isinstance(action, CancelStop) and action.target_client_id not in self.sent:
            self.broke("8", at_ms, f"cancels a foreign order: {action}")
        if isinstance(action, AddMargin):
            for earlier, sent_at_ms in self.spends_sent.items():
                if earlier not in self.spends_settled and at_ms - sent_at_ms <= ARRIVES_MS:
                    self.broke("4", at_ms, f"a second top-up while {earlier} may still arrive")
            self.spends_sent[client_id] = at_ms

    def handled(
        self, machine: PaperMachine, action: Action, client_id: str, reply: Accepted | Refused
    ) -> None:
        """The exchange answered a request."""
        at_ms = machine.at_ms
        self.note(at_ms, f"answers {client_id[:10]} {reply}")
        snapshot = machine.snapshot(ACCOUNT, at_ms)
        if isinstance(action, AddMargin):
            amount = action.amount if isinstance(reply, Accepted) else Decimal(0)
            self.spends_settled[client_id] = (at_ms, amount)
            self._check_budgets(snapshot, amount, at_ms)
        if isinstance(action, PlaceStop) and isinstance(reply, Accepted):
            self._check_placed(snapshot, action.trigger_price, at_ms)

    def moved(self, machine: PaperMachine) -> None:
        """Prices moved, or an account changed."""
        case, at_ms = self.case, machine.at_ms
        self.now_ms = max(self.now_ms, at_ms)
        snapshot = machine.snapshot(ACCOUNT, at_ms)
        naked = any(
            not any(
                stop.reduce_only and stop.side is each.side and stop.quantity >= each.quantity
                for stop in snapshot.stops
            )
            for each in snapshot.positions
        )
        if not naked or at_ms < case.swarm.until_ms:
            self.naked_since_ms = at_ms
        refused_for_good = "stops_down_for_good" in case.swarm.enabled
        if at_ms - self.naked_since_ms > NAKED_MS and not refused_for_good:
            self.broke("6", at_ms, "no proper stop rests although everything works")
            self.naked_since_ms = at_ms

    def concluded(self, intent_id: str, state: IntentState, at_ms: int) -> None:
        """The guard's journal says what became of an intent."""
        if intent_id not in self.spends_sent:
            return
        _, amount = self.spends_settled.get(intent_id, (0, Decimal(0)))
        denies = state in (IntentState.NOT_APPLIED, IntentState.REJECTED)
        if denies and amount:
            self.broke("9", at_ms, f"{intent_id} is called {state}, but it added {amount}")
        if state is IntentState.APPLIED and not amount:
            self.broke("9", at_ms, f"{intent_id} is called applied, but it added nothing")

    def _check_budgets(self, snapshot: AccountSnapshot, amount: Decimal, at_ms: int) -> None:
        rails = self.case.policy.guardrails
        for window_ms, limit in ((HOUR_MS, rails.top_up_1h_max), (DAY_MS, rails.top_up_24h_max)):
            since_ms = at_ms - window_ms + SLACK_MS
            added = sum(each for when, each in self.spends_settled.values() if when > since_ms)
            if added > limit:
                self.broke("3", at_ms, f"added {added} in {window_ms} ms, allowed {limit}")
        if amount > rails.top_up_per_action_max:
            self.broke("3", at_ms, f"added {amount} at once")
        if (
            amount
            and "user_adds" not in self.case.swarm.enabled
            and (snapshot.free < rails.keep_free)
        ):
            self.broke(
                "3", at_ms, f"only {snapshot.free} is free, {rails.keep_free} is to be kept"
            )

    def _check_placed(self, snapshot: AccountSnapshot, trigger: Price, at_ms: int) -> None:
        for each in snapshot.positions:
            match each.liquidation:
                case Reported(level) if each.side.sign * (trigger - level) <= 0:
                    self.broke("6", at_ms, f"a stop at {trigger} beyond liquidation at {level}")
                case _:
                    pass


class ObservedMachine(PaperMachine):
    """The paper exchange with the observer at its side."""

    observer: Observer

    def move(self, symbol: str, at_ms: int, mark: Price, last: Price) -> None:
        """Move, then look."""
        super().move(symbol, at_ms, mark, last)
        if ACCOUNT in self.accounts:
            self.observer.moved(self)

    def handle(
        self, account: str, action: Action, client_id: str, at_ms: int
    ) -> Accepted | Refused:
        """Handle a request of the guard, then look. A human's orders are not looked at."""
        reply = super().handle(account, action, client_id, at_ms)
        if client_id in self.observer.sent:
            self.observer.handled(self, action, client_id, reply)
        self.observer.moved(self)
        return reply
