"""
What the guard writes into its journal, and how a fresh process gets its state back.

A decision row carries the complete state before it, so that it can be explained and verified
alone. A restart takes the newest one, decides again, and applies the outcomes that followed.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

from bot.core.decision import Alert, Decision
from bot.core.engine import decide
from bot.core.events import IntentState, OutcomeReported, PolicyLoaded
from bot.core.guardrails import Approved
from bot.core.ids import Birth
from bot.core.model import Instrument
from bot.core.policy import Policy
from bot.core.state import (
    AccountState,
    Instruments,
    newborn,
)
from bot.core.transitions import (
    apply,
    resumed,
)
from bot.journal.codec import from_json, to_json
from bot.journal.port import Entry, IntentMoved, Journal, Kind, NoIntent, NothingRecorded, Row
from bot.policy.loader import parse_policy


@dataclass(frozen=True, slots=True)
class Started:
    """Body of the row that a process writes when it begins to guard."""

    birth: Birth
    policy_digest: str


@dataclass(frozen=True, slots=True)
class Recorded:
    """Body of a decision row. The instruments of `state` are named by digest and kept apart."""

    state: AccountState
    decision: Decision
    now_ms: int


def started_entry(started: Started, now_ms: int) -> Entry:
    """The row of a process that begins to guard."""
    return Entry(Kind.STARTED, now_ms, to_json(started, Started), NoIntent())


def policy_entry(event: PolicyLoaded) -> Entry:
    """The row of a policy that a running guard goes over to."""
    return Entry(Kind.POLICY, event.received_at_ms, to_json(event, PolicyLoaded), NoIntent())


def alert_entry(alert: Alert, now_ms: int) -> Entry:
    """The row of what the guard itself has to say."""
    return Entry(Kind.ALERT, now_ms, to_json(alert, Alert), NoIntent())


def decision_entry(state: AccountState, decision: Decision, now_ms: int) -> Entry:
    """The row of a decision made from `state`."""
    body = to_json(Recorded(state, decision, now_ms), Recorded)
    return Entry(Kind.DECISION, now_ms, body, NoIntent())


def opening_of(decision: Decision) -> str:
    """What the body of every row begins with that records `decision`."""
    return f'{{"decision":{to_json(decision, Decision)},"now_ms":'


def prepared_entry(approved: Approved, now_ms: int) -> Entry:
    """The row that makes an intent durable before it is sent."""
    intent = approved.intent
    moved = OutcomeReported(intent.id, IntentState.PREPARED, "durable", now_ms)
    return outcome_entry(moved)


def outcome_entry(event: OutcomeReported) -> Entry:
    """The row of what became of an intent."""
    body = to_json(event, OutcomeReported)
    moved = IntentMoved(event.intent_id, event.state)
    return Entry(Kind.INTENT, event.received_at_ms, body, moved)


class Reader:
    """Reads decision rows, from their journal alone; what many of them name is read once."""

    def __init__(self, journal: Journal, *known: Policy) -> None:
        """`known` are policies that need not be parsed where a row names them."""
        self._journal = journal
        self._known = {policy.digest: policy for policy in known}
        self._texts: dict[str, str] = {}

    async def read(self, row: Row) -> tuple[Recorded, Policy]:
        """A decision row with its instruments and policy. Raises `JournalDamaged`."""
        recorded = from_json(row.entry.body, Recorded)
        digest = recorded.state.instruments.digest
        if digest:
            instruments = _instruments_of(digest, await self._text(digest))
            recorded = _with_instruments(recorded, instruments)
        digest = recorded.state.policy_digest
        text = await self._text(digest)
        if digest in self._known:
            return recorded, self._known[digest]
        return recorded, _policy_of(text, f"policy {digest[:12]} of the journal")

    async def _text(self, digest: str) -> str:
        if digest not in self._texts:
            self._texts[digest] = await self._journal.kept(digest)
        return self._texts[digest]


# Thousands of rows name one policy and one list, and reading these takes longer than deciding.


@lru_cache(maxsize=8)
def _policy_of(text: str, name: str) -> Policy:
    return parse_policy(text, name)


@lru_cache(maxsize=8)
def _instruments_of(digest: str, text: str) -> Instruments:
    listed = from_json(text, tuple[Instrument, ...])
    return Instruments(digest, {instrument.symbol: instrument for instrument in listed})


async def recover(journal: Journal, account: str, policy: Policy, now_ms: int) -> AccountState:
    """The state that a guard starts from: of a first start, a restart and a crash alike."""
    first = await journal.last(Kind.STARTED)
    if isinstance(first, NothingRecorded):
        return newborn(Birth(account, now_ms), policy.digest)
    newest = await journal.last(Kind.DECISION)
    if isinstance(newest, NothingRecorded):
        birth = from_json(first.entry.body, Started).birth
        return resumed(newborn(birth, policy.digest), policy.digest, now_ms)
    recorded, policy_then = await Reader(journal, policy).read(newest)
    state, _ = decide(recorded.state, policy_then, recorded.now_ms)
    for row in await journal.rows(newest.sequence):
        if row.entry.kind is Kind.INTENT:
            state = apply(state, from_json(row.entry.body, OutcomeReported))
    return resumed(state, policy.digest, now_ms)


async def is_guarded_by(policy: Policy, journal: Journal) -> bool:
    """Whether `policy` is what the account was guarded by last."""
    rows = [await journal.last(kind) for kind in (Kind.STARTED, Kind.POLICY)]
    known = [row for row in rows if not isinstance(row, NothingRecorded)]
    if not known:
        return False
    newest = max(known, key=lambda row: row.sequence)
    if newest.entry.kind is Kind.STARTED:
        return from_json(newest.entry.body, Started).policy_digest == policy.digest
    return from_json(newest.entry.body, PolicyLoaded).digest == policy.digest


def _with_instruments(recorded: Recorded, instruments: Instruments) -> Recorded:
    state = replace(recorded.state, instruments=instruments)
    return replace(recorded, state=state)
