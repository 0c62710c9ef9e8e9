"""
Verify a journal: every decision follows from its own row, and every row from the ones before.

For each decision row the engine decides again from the recorded state, policy and time, and must
give the recorded decision byte for byte. The intents in that state must be those which earlier
rows planned and moved, every one that still counts among them: no budget can have been forgotten
or made up.
"""

from dataclasses import dataclass, replace

from bot.core.engine import decide
from bot.core.events import OutcomeReported
from bot.core.ids import Birth
from bot.core.policy import Policy
from bot.core.state import (
    DAY_MS,
    Intent,
    newborn,
)
from bot.core.transitions import resumed
from bot.journal.codec import from_json
from bot.journal.port import Journal, JournalDamaged, Kind, Row
from bot.runtime.record import Reader, Recorded, opening_of


@dataclass(frozen=True, slots=True)
class Verified:
    """What was checked, and the hash that stands for the whole journal."""

    rows: int
    decisions: int
    intents: int
    digest: str


async def verify(journal: Journal, *known: Policy) -> Verified:
    """
    Check the chain of hashes, then every row. Raises `JournalDamaged` at the first mismatch.

    `known` are policies that need not be parsed where a row names their text.
    """
    rows = await journal.rows(0)
    if not rows:
        raise JournalDamaged("the journal has no rows")
    reader = Reader(journal, *known)
    intents: dict[str, Intent] = {}
    decisions = 0
    for row in rows:
        match row.entry.kind:
            case Kind.INTENT:
                moved = from_json(row.entry.body, OutcomeReported)
                if moved.intent_id not in intents:
                    raise JournalDamaged(f"row {row.sequence}: no row planned {moved.intent_id}")
                planned = intents[moved.intent_id]
                if planned.is_open:
                    intents[planned.id] = replace(
                        planned,
                        state=moved.state,
                        changed_at_ms=moved.received_at_ms,
                        detail=moved.detail,
                    )
            case Kind.DECISION:
                decisions += 1
                recorded = await _decide_again(reader, row)
                _compare_intents(row.sequence, recorded, intents)
                for approved in recorded.decision.approved:
                    intents[approved.intent.id] = approved.intent
            case Kind.STARTED:
                before = replace(newborn(Birth("", 0), ""), intents=intents)
                intents = dict(resumed(before, "", row.entry.at_ms).intents)
            case Kind.POLICY | Kind.ALERT | Kind.STOPPED:
                pass
    return Verified(len(rows), decisions, len(intents), rows[-1].hash)


async def _decide_again(reader: Reader, row: Row) -> Recorded:
    recorded, policy = await reader.read(row)
    _, again = decide(recorded.state, policy, recorded.now_ms)
    if not row.entry.body.startswith(opening_of(again)) or row.entry.at_ms != recorded.now_ms:
        raise JournalDamaged(f"row {row.sequence}: decides differently now")
    return recorded


def _compare_intents(sequence: int, recorded: Recorded, intents: dict[str, Intent]) -> None:
    held = recorded.state.intents
    for intent in held.values():
        if intent.id not in intents:
            raise JournalDamaged(f"row {sequence}: no row planned {intent.id}")
        says = intents[intent.id]
        if intent != says:
            raise JournalDamaged(
                f"row {sequence}: {intent.id} ({intent.state}) is not what the rows before "
                f"planned and moved ({says.state})"
            )
    for intent in intents.values():
        recent = recorded.now_ms - intent.planned_at_ms < DAY_MS
        if intent.counts_as_spent and recent and intent.id not in held:
            raise JournalDamaged(f"row {sequence}: forgot {intent.id}, which is still spent")
