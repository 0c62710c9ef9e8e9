"""
The guard of one account: one inbox, one writer, one decision a turn.

A turn takes everything that has arrived, decides once, makes the decision and its intents
durable, and only then commits the new state and lets the executor send.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from itertools import groupby
from typing import cast

import structlog

from bot.clock import Clock
from bot.core.decision import Alert, AlertSeverity, Decision, NoBook
from bot.core.engine import decide, stands_on_fresh_data
from bot.core.events import (
    AccountMode,
    Command,
    Event,
    InstrumentsReported,
    IntentState,
    MarkPrice,
    OutcomeReported,
    PolicyLoaded,
    Tick,
)
from bot.core.ladder import symbols_to_chart
from bot.core.model import Instrument
from bot.core.policy import Policy
from bot.core.promises import broken
from bot.core.state import (
    NEVER_MS,
    AccountState,
)
from bot.core.transitions import apply, marked
from bot.exchange.ports import NOT_TOLD, MarketData
from bot.journal.codec import to_json
from bot.journal.port import Entry, Journal, JournalUnavailable, Kind, NoIntent
from bot.runtime.executor import Executor
from bot.runtime.feed import Feed
from bot.runtime.inbox import Inbox
from bot.runtime.reconcile import Reconciler
from bot.runtime.record import (
    alert_entry,
    decision_entry,
    outcome_entry,
    policy_entry,
    prepared_entry,
)
from bot.runtime.waiting import to_its_end

DRAIN_MS = 5_000
"""How long a stopping guard waits for requests that are on their way."""

log = structlog.get_logger()


class PolicyRefused(Exception):
    """A policy that the running guard does not go over to. One line for the user."""


class Guard:
    """
    Guards one account until it is stopped.

    A defect in any of its tasks ends `run` with that exception: the process restarts, and
    recovery is the same path as a first start.
    """

    def __init__(
        self,
        *,
        state: AccountState,
        policy: Policy,
        inbox: Inbox,
        market: MarketData,
        feed: Feed,
        executor: Executor,
        reconciler: Reconciler,
        journal: Journal,
        clock: Clock,
    ) -> None:
        self.state = state
        self.policy = policy
        self.decision = Decision(
            0, state.mode, (), NoBook(), (), (), 0, endangered=True, needs_read=True
        )
        self.sound_at_ms = NEVER_MS
        """When the last decision was completed, on record, that stood on fresh data of all."""
        self._inbox = inbox
        self._market = market
        self._feed = feed
        self._executor = executor
        self._reconciler = reconciler
        self._journal = journal
        self._clock = clock
        self._policies = {policy.digest: policy}
        self._unkept: list[str] = []
        self._unwritten: list[Entry] = []
        self._news: list[Alert] = []
        self._signature: tuple[object, ...] = ()
        self._stopping = False

    def stop(self) -> None:
        """Finish the turn, let requests on their way end, and return from `run`."""
        self._stopping = True
        self.tell(Tick(self._clock.now_ms()))

    def tell(self, event: Event) -> None:
        """Deliver an event, for instance a human's command."""
        self._inbox.put(event)

    def announce(self, alert: Alert) -> None:
        """Have something said, and kept in the journal, at the next turn."""
        self._news.append(alert)
        self.tell(Tick(self._clock.now_ms()))

    @property
    def unwritten(self) -> tuple[Entry, ...]:
        """What the journal does not take at the moment, kept for when it does."""
        return tuple(self._unwritten)

    async def load(self, policy: Policy) -> None:
        """
        Decide by `policy` from the next turn on.

        A step that keeps its name keeps its state, and clears or fires by its new threshold; what
        a step that is gone has sent is settled as before. Budgets go on. Raises `PolicyRefused`
        for a policy of another account or that does not expect what is open,
        `JournalUnavailable` where its text cannot be kept; then the old one goes on.
        """
        for what, old, new in (
            ("name", self.policy.account, policy.account),
            ("venue", self.policy.venue, policy.venue),
            ("settle", self.policy.settle, policy.settle),
            ("position_mode", self.policy.position_mode, policy.position_mode),
        ):
            if old != new:
                raise PolicyRefused(f"account.{what}: expected {old}, was {new}")
        for position in self.state.positions:
            if position.margin_mode not in policy.margin_modes:
                raise PolicyRefused(
                    f"account.margin_mode: expected one with {position.margin_mode}, as "
                    f"{position.symbol} is open, was {' or '.join(sorted(policy.margin_modes))}"
                )
        await self._journal.keep(policy.text)
        self._policies[policy.digest] = policy
        self.tell(PolicyLoaded(policy.digest, self._clock.now_ms()))

    async def run(self) -> None:
        """Guard until `stop`."""
        async with asyncio.TaskGroup() as tasks:
            feeding = tasks.create_task(to_its_end(self._feed.run))
            settling = {
                tasks.create_task(
                    to_its_end(self._reconciler.settle, intent, acknowledged=False, told=NOT_TOLD)
                )
                for intent in self.state.intents.values()
                if intent.is_open
            }
            while not self._stopping:
                decision = await self._turn()
                for approved in decision.approved:  # before all that may take a turn of the loop
                    settling.add(tasks.create_task(to_its_end(self._executor.perform, approved)))
                if decision.approved:
                    tasks.create_task(to_its_end(self._say_once_sent, decision))
                else:
                    self._say(decision)
                self._feed.pace(decision.endangered, decision.needs_read)
                self._feed.chart(symbols_to_chart(self.policy, self.state.positions))
                settling = {task for task in settling if not task.done()}
                await self._inbox.wait(self.decision.wake_at_ms)
            feeding.cancel()
            if settling:
                await asyncio.wait(settling, timeout=DRAIN_MS / 1000)
            for task in settling:
                task.cancel()
        await self._write_last_rows()

    async def _turn(self) -> Decision:
        self._take_all((*self._market.latest(), *self._inbox.drain()))
        now_ms = self._clock.now_ms()
        news, self._news = self._news, []
        for alert in news:
            self._hear(alert, now_ms)
        before = self.state
        state, decision = decide(before, self.policy, now_ms)
        for sentence in broken(state, decision, self.policy):
            self._latch(sentence, now_ms)
            before = self.state
            state, decision = decide(before, self.policy, now_ms)
        try:
            await self._make_durable(before, decision, now_ms)
        except JournalUnavailable as e:
            # Spending is over; a stop or a close may still go out on rows kept in memory.
            self._latch(f"promise 5: the journal does not take rows: {e}", now_ms)
            before = self.state
            state, decision = decide(before, self.policy, now_ms)
            self._unwritten.extend(self._rows(before, decision, now_ms))
            if decision.approved:
                sentence = f"sending {len(decision.approved)} without a journal row: {e}"
                self._cry("spooled", sentence, now_ms)
        self._commit(state, decision, now_ms)
        return decision

    def _take_all(self, events: Iterable[Event]) -> None:
        """Each in its turn; of marks, which come by the dozen, those beside each other at once."""
        for kind, run in groupby(events, key=type):
            if kind is MarkPrice:
                self.state = marked(self.state, cast(Iterator[MarkPrice], run))
            else:
                for event in run:
                    self._take(event)

    def _take(self, event: Event) -> None:
        known = self.state.instruments.by_symbol
        self.state = apply(self.state, event)
        match event:
            case OutcomeReported():
                self._unwritten.append(outcome_entry(event))
            case InstrumentsReported(instruments=instruments):
                self._unkept.append(to_json(instruments, tuple[Instrument, ...]))
                self._news.extend(changes_of_rules(known, instruments))
            case PolicyLoaded(digest=digest):
                self.policy = self._policies[digest]
                self._unwritten.append(policy_entry(event))
                self._signature = ()  # the first decision by it is on record, whatever it says
                log.info("policy.loaded", digest=digest)
            case _:
                pass

    def _latch(self, sentence: str, now_ms: int) -> None:
        if self.state.mode is AccountMode.ACTIVE:
            self._take(Command(AccountMode.NO_SPEND, sentence, now_ms))
            self._cry("promise", sentence, now_ms)

    async def _make_durable(self, before: AccountState, decision: Decision, now_ms: int) -> None:
        entries = [*self._unwritten, *self._rows(before, decision, now_ms)]
        if entries:
            await self._append(entries)
            self._unwritten.clear()

    async def _append(self, entries: list[Entry]) -> None:
        """Write rows, and before them the rules that they name by digest."""
        for text in self._unkept:
            await self._journal.keep(text)
        self._unkept.clear()
        await self._journal.append(entries)

    def _rows(self, before: AccountState, decision: Decision, now_ms: int) -> list[Entry]:
        if decision.signature == self._signature and not decision.is_noteworthy:
            return []
        prepared = [prepared_entry(approved, now_ms) for approved in decision.approved]
        return [decision_entry(before, decision, now_ms), *prepared]

    def _commit(self, state: AccountState, decision: Decision, now_ms: int) -> None:
        for approved in decision.approved:
            durable = OutcomeReported(approved.intent.id, IntentState.PREPARED, "durable", now_ms)
            state = apply(state, durable)
        self.state = state
        self.decision = decision
        self._signature = decision.signature
        if not self._unwritten and stands_on_fresh_data(state, decision):
            self.sound_at_ms = now_ms

    async def _say_once_sent(self, decision: Decision) -> None:
        """Log a decision behind its requests: a line takes as long as to sign one of them."""
        try:
            await self._clock.sleep_ms(0)  # made in one turn of the loop, they leave in the next
        finally:
            self._say(decision)

    def _say(self, decision: Decision) -> None:
        for approved in decision.approved:
            log.info(
                "intent.prepared",
                intent=approved.intent.id,
                reason=approved.intent.reason,
                action=type(approved.intent.action).__name__,
                shrinks=approved.shrinks,
            )
        for alert in decision.alerts:
            self._announce(alert)

    def _cry(self, kind: str, sentence: str, now_ms: int) -> None:
        """Say what no decision says."""
        self._hear(Alert("account", kind, AlertSeverity.CRITICAL, sentence), now_ms)

    def _hear(self, alert: Alert, now_ms: int) -> None:
        self._unwritten.append(alert_entry(alert, now_ms))
        self._announce(alert)

    def _announce(self, alert: Alert) -> None:
        level = {
            AlertSeverity.INFO: log.info,
            AlertSeverity.WARNING: log.warning,
            AlertSeverity.CRITICAL: log.critical,
        }[alert.severity]
        level("alert.raised", subject=alert.subject, kind=alert.kind, text=alert.text)

    async def _write_last_rows(self) -> None:
        now_ms = self._clock.now_ms()
        for event in self._inbox.drain():
            self._take(event)
        stopped = Entry(Kind.STOPPED, now_ms, "{}", NoIntent())
        await self._append([*self._unwritten, stopped])
        self._unwritten.clear()


def changes_of_rules(
    known: Mapping[str, Instrument], instruments: tuple[Instrument, ...]
) -> Iterator[Alert]:
    """What the venue has changed about contracts that are known: an alert for each of them."""
    for now in instruments:
        before = known.get(now.symbol, now)
        names = [
            name
            for name in (each.name for each in fields(now))
            if getattr(before, name) != getattr(now, name)
        ]
        if names:
            text = f"{now.symbol}: the venue has changed {', '.join(names)}, which counts from now"
            yield Alert(now.symbol, "rules", AlertSeverity.WARNING, text)
