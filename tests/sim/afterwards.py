"""What the journal must say when everything is over."""

from collections.abc import Sequence

from bot.core.actions import AddMargin, ClosePosition
from bot.core.events import TERMINAL, IntentState
from bot.core.model import Fill
from bot.exchange.ports import OrderFound
from bot.journal.port import IntentMoved, Journal, JournalDamaged, NoIntent, Row
from bot.runtime.verify import verify
from tests.sim.case import ACCOUNT
from tests.sim.observer import Observer
from tests.sim.requests import Request

TERMINAL_MS = 60_000

SEEN_BEFORE_MS = 15_000
"""The margin before a top-up is of a read that may be so old, as old as a policy lets it be."""


async def judge_journal(
    journal: Journal, rows: Sequence[Row], observer: Observer, replays: bool
) -> None:
    """
    Every intent terminal in time, every request on record, every decision made again.

    `rows` are all of the journal's.
    """
    prepared: dict[str, int] = {}
    concluded: dict[str, tuple[IntentState, int]] = {}
    for row in rows:
        # A row is there of which nobody was told where its append failed after that.
        at_ms = row.entry.at_ms - observer.offsets_ms.get(row.sequence, observer.offset_ms)
        match row.entry.subject:
            case IntentMoved(intent_id, IntentState.PREPARED):
                prepared[intent_id] = at_ms
            case IntentMoved(intent_id, state) if state in TERMINAL:
                concluded.setdefault(intent_id, (state, at_ms))
            case IntentMoved() | NoIntent():
                pass
    _judge_intents(observer, prepared, concluded)
    _judge_requests(observer, prepared, concluded)
    if not replays or not observer.lives:  # no guard could start: there is nothing to verify
        return
    try:
        await verify(journal, observer.case.policy)
    except JournalDamaged as e:
        observer.broke("11", str(e))


def _judge_intents(
    observer: Observer, prepared: dict[str, int], concluded: dict[str, tuple[IntentState, int]]
) -> None:
    case = observer.case
    for intent_id, at_ms in prepared.items():
        due_ms = max(at_ms, case.swarm.until_ms, observer.last_began_ms) + TERMINAL_MS
        _, ended_ms = concluded.get(intent_id, (IntentState.UNKNOWN, due_ms + 1))
        # Where the account is not as the policy says no guard starts that could settle it.
        can_start = not observer.faults["start_refused"]
        if ended_ms > due_ms and due_ms < case.ends_at_ms and can_start:
            observer.broke("5", f"{intent_id} was not terminal {TERMINAL_MS} ms after the faults")


def _judge_requests(
    observer: Observer, prepared: dict[str, int], concluded: dict[str, tuple[IntentState, int]]
) -> None:
    for request in observer.requests.values():
        lost = observer.spooled.get(request.client_id) in observer.killed
        if request.intent_id not in prepared and not lost:
            observer.broke("5", f"{request.client_id} was sent and is on no row")
        state, ended_ms = concluded.get(request.client_id, (IntentState.UNKNOWN, 0))
        _judge_fill(observer, request, state)
        denied = (IntentState.NOT_APPLIED, IntentState.REJECTED)
        if request.accepted and state in denied:
            observer.broke("9", f"{request.client_id} is called {state}, and it was accepted")
        shown = request.was_an_order and not _tells_only_of_margin(observer, request, ended_ms)
        if state is IntentState.APPLIED and not request.accepted and shown:
            observer.broke("9", f"{request.client_id} is called applied, and it was not")


def _tells_only_of_margin(observer: Observer, request: Request, ended_ms: int) -> bool:
    """Whether a venue without a history shows a margin that something else has moved."""
    has_none = "no_margin_history" in observer.case.swarm.enabled
    symbol, since_ms = request.action.symbol, request.sent_at_ms - SEEN_BEFORE_MS
    return (
        has_none
        and isinstance(request.action, AddMargin)
        and observer.margin_moved(symbol, since_ms, ended_ms)
    )


def _judge_fill(observer: Observer, request: Request, state: IntentState) -> None:
    """A close that filled in part is not called done, nor one that did not fill at all."""
    action = request.action
    if not isinstance(action, ClosePosition) or not request.accepted:
        return
    order = observer.machine.order(ACCOUNT, action.symbol, request.client_id)
    assert isinstance(order, OrderFound)
    filled = order.filled.quantity if isinstance(order.filled, Fill) else 0
    truths = {
        IntentState.APPLIED: filled == action.quantity,
        IntentState.PARTIAL: 0 < filled < action.quantity,
        IntentState.EXPIRED: filled == 0,
    }
    if not truths.get(state, True):
        observer.broke("9", f"{request.client_id} is called {state}, and {filled} was filled")
