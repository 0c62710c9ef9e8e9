"""
What a human is told of a journal entry: what happened, how near it is, and what is next.

A decision's alerts are told with the distance at that moment, the one at the last notice about
the same position, and the next step of its ladder. What became of the guard's requests, and
that a position is no longer open, is told from the rows as well.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from hashlib import sha256

from bot.alerts.notice import AtOnce, Notice, Warned, Weight
from bot.core.actions import AddMargin, CancelStop, ClosePosition, PlaceStop
from bot.core.decision import Alert, AlertSeverity, BookVerdict, Decision, NoBook, PositionVerdict
from bot.core.desk import subject_of
from bot.core.events import IntentState, OutcomeReported, PolicyLoaded
from bot.core.ladder import StepPhase, StepVerdict, reason_of
from bot.core.metrics import BookKnown, Known, Unknown
from bot.core.policy import Metric, Rule
from bot.core.state import AccountState, Intent
from bot.journal.codec import from_json
from bot.journal.port import Entry, Journal, JournalDamaged, JournalUnavailable, Kind
from bot.policy.loader import parse_policy
from bot.policy.problems import PolicyError
from bot.runtime.record import Recorded, Started

ACCOUNT = "account"
"""The subject of what concerns no single position."""

BOOK = "cross positions"
"""The subject that stands for all cross positions, as the engine calls them."""

_STEP = "step:"


@dataclass(frozen=True, slots=True)
class _Draft:
    """A notice without the things that its entry says."""

    subject: str
    severity: AlertSeverity
    weight: Weight
    text: str


class NoticeReader:
    """Reads the entries of one account's journal, in their order, as notices."""

    def __init__(self, journal: Journal, account: str) -> None:
        self._journal = journal
        self._account = account
        self._distances: dict[str, Decimal] = {}
        self._intents: dict[str, Intent] = {}
        self._ladders: dict[str, tuple[Rule, ...]] = {}
        self._taken: frozenset[str] = frozenset()
        self._open: frozenset[str] = frozenset()

    async def read(self, entry: Entry) -> tuple[Notice, ...]:
        """What is to be told of `entry`."""
        try:
            drafts = await self._drafts(entry)
        except JournalDamaged as e:
            text = f"a row of the journal cannot be read: {e}"
            drafts = [_Draft(ACCOUNT, AlertSeverity.CRITICAL, AtOnce(), text)]
        return tuple(
            Notice(
                id=_digest(entry, index),
                at_ms=entry.at_ms,
                account=self._account,
                subject=draft.subject,
                severity=draft.severity,
                weight=draft.weight,
                text=draft.text,
            )
            for index, draft in enumerate(drafts)
        )

    async def _drafts(self, entry: Entry) -> list[_Draft]:
        match entry.kind:
            case Kind.STARTED:
                await self._ladders_of(from_json(entry.body, Started).policy_digest)
                return [_info("the guard has started")]
            case Kind.STOPPED:
                return [_info("the guard has stopped; the stops on the exchange stay")]
            case Kind.POLICY:
                await self._ladders_of(from_json(entry.body, PolicyLoaded).digest)
                return [_info("the guard has gone over to a changed policy")]
            case Kind.ALERT:
                return [_of_alert(from_json(entry.body, Alert), AtOnce(), ())]
            case Kind.INTENT:
                return self._of_outcome(from_json(entry.body, OutcomeReported))
            case Kind.DECISION:
                return await self._of_decision(from_json(entry.body, Recorded))

    async def _of_decision(self, recorded: Recorded) -> list[_Draft]:
        decision = recorded.decision
        self._intents = {
            **{intent.id: intent for intent in recorded.state.intents.values()},
            **{approved.intent.id: approved.intent for approved in decision.approved},
        }
        drafts = self._of_ends(recorded.state)
        if not decision.alerts:
            return drafts
        rules = await self._ladders_of(recorded.state.policy_digest)
        for alert in decision.alerts:
            around = self._around(alert.subject, decision, rules)
            drafts.append(_of_alert(alert, _weight(alert, rules), around))
        return drafts

    async def _ladders_of(self, digest: str) -> tuple[Rule, ...]:
        """
        The ladders of a policy; none where it is out of reach, or not of this version.

        Asked for when it comes into force: to parse one takes longer than to decide.
        """
        if digest not in self._ladders:
            try:
                policy = parse_policy(await self._journal.kept(digest), "policy")
            except (JournalUnavailable, PolicyError):
                return ()
            self._ladders[digest] = policy.rules
        return self._ladders[digest]

    def _of_ends(self, state: AccountState) -> list[_Draft]:
        """What is open no more; of a liquidation the engine tells."""
        taken = self._taken | {f"{each.symbol} {each.side}" for each in state.liquidated}
        now_open = frozenset(subject_of(position) for position in state.positions)
        gone = self._open - now_open
        self._taken, self._open = (taken & self._open) - gone, now_open
        return [
            _Draft(subject, AlertSeverity.WARNING, AtOnce(), "it is no longer open")
            for subject in sorted(gone - taken)
        ]

    def _of_outcome(self, event: OutcomeReported) -> list[_Draft]:
        intent = self._intents.get(event.intent_id)
        if intent is None:
            return []  # of an intent that a decision before this outbox began has planned
        match intent.action:
            case AddMargin(amount=amount):
                what = f"{amount:f} margin ({intent.reason})"
            case ClosePosition(quantity=quantity):
                what = f"the close of {quantity:f} ({intent.reason})"
            case PlaceStop() | CancelStop():
                return []  # the engine says it where a stop does not come to rest
        subject = f"{intent.key.symbol} {intent.key.side}"
        match event.state:
            case IntentState.APPLIED:
                return [_Draft(subject, AlertSeverity.INFO, AtOnce(), f"done: {what}")]
            case IntentState.PARTIAL:
                text = f"done in part: {what}; {event.detail}"
                return [_Draft(subject, AlertSeverity.INFO, AtOnce(), text)]
            case IntentState.WITHHELD:
                text = f"not sent: {what}; {event.detail}"
                return [_Draft(subject, AlertSeverity.WARNING, AtOnce(), text)]
            case IntentState.REJECTED | IntentState.NOT_APPLIED | IntentState.HUMAN:
                text = f"not done: {what}; {event.state}, {event.detail}"
                return [_Draft(subject, AlertSeverity.CRITICAL, AtOnce(), text)]
            case _:
                return []  # under way, or a close without a price, which is asked for again

    def _around(
        self, subject: str, decision: Decision, rules: tuple[Rule, ...]
    ) -> tuple[str, ...]:
        """How near the subject is, and was when it was last told of, and what comes next."""
        match _verdict_of(subject, decision):
            case PositionVerdict(measured=measured, steps=steps):
                pass
            case BookVerdict(measured=measured, steps=steps):
                pass
            case NoBook():
                return ()
        match measured:
            case Unknown():
                return ()
            case Known() | BookKnown():
                distance = measured.liquidation_distance
        before = self._distances.get(subject)
        self._distances[subject] = distance
        was = "" if before is None else f", {before:.2%} when last told"
        return (f"distance {distance:.2%}{was}", *_next(steps, rules))


def _next(steps: tuple[StepVerdict, ...], rules: tuple[Rule, ...]) -> tuple[str, ...]:
    """The mildest step on the distance that does not fire yet, and its threshold."""
    resting = {step.reason for step in steps if step.phase is not StepPhase.FIRING}
    for rule in rules:
        if rule.metric is not Metric.LIQUIDATION_DISTANCE:
            continue
        for step in rule.steps:
            if reason_of(rule, step) in resting:
                return (f"next: {step.name} ({step.verb}) below {step.threshold.value:.2%}",)
    return ()


def _verdict_of(subject: str, decision: Decision) -> PositionVerdict | BookVerdict | NoBook:
    for verdict in decision.positions:
        if subject_of(verdict.position) == subject:
            return verdict
    return decision.book if subject == BOOK else NoBook()


def _weight(alert: Alert, rules: tuple[Rule, ...]) -> Weight:
    """A warning may be one too many, unless it is of an action; the deeper a step the graver."""
    if alert.severity is not AlertSeverity.WARNING or alert.kind == "action":
        return AtOnce()
    for rule in rules:
        for depth, step in enumerate(rule.steps, start=1):
            if alert.kind == f"{_STEP}{reason_of(rule, step)}":
                return Warned(depth)
    return Warned(0)


def _of_alert(alert: Alert, weight: Weight, around: Iterable[str]) -> _Draft:
    text = alert.text.removeprefix(f"{alert.subject}: ")
    return _Draft(alert.subject, alert.severity, weight, "\n".join([text, *around]))


def _info(text: str) -> _Draft:
    return _Draft(ACCOUNT, AlertSeverity.INFO, AtOnce(), text)


def _digest(entry: Entry, index: int) -> str:
    said = f"{entry.kind} {entry.at_ms} {index} {entry.body}"
    return sha256(said.encode()).hexdigest()[:32]
