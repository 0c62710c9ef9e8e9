"""
The engine: from state, policy and time to a decision. Pure, and the same for every run.

For each isolated position, and for all cross positions together: measure, advance the ladder,
keep the standing stop, ask the deepest firing verb and review what it proposes. At most one
ladder action a position, stops besides; what is approved for one already counts when the next
one is judged.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

from bot.core.actions import CancelStop
from bot.core.alone import judge_alone
from bot.core.decision import Alert, AlertSeverity, Decision
from bot.core.desk import REPEAT_MS, Draft
from bot.core.events import AccountMode, AutoDeleveraged, Liquidated
from bot.core.guardrails import Request, approve_stop, refund_under_way, still_counts, with_intent
from bot.core.held import without
from bot.core.ids import birth_prefix, born_at_ms
from bot.core.metrics import POSITION_AGE_MAX_MS, Known
from bot.core.model import MarginMode, PositionKey
from bot.core.policy import Policy
from bot.core.state import (
    BLANK,
    EPISODE_QUIET_MS,
    GONE_MS,
    NEVER_MS,
    AccountRead,
    AccountState,
    NotRead,
    PositionMemory,
    RefundDue,
)
from bot.core.together import judge_together
from bot.core.upkeep import cancel_ready_ms

_LAST_MS = 253_402_300_799_000
"""The last second that has a date."""


def decide(state: AccountState, policy: Policy, now_ms: int) -> tuple[AccountState, Decision]:
    """
    The decision at `now_ms`, and the state that counts its intents as PLANNED.

    Time must not run backwards between calls on the same state.
    """
    draft = Draft()
    state = _forget(state, now_ms, draft)
    state = _report_losses(state, draft)
    state = _report_bans(state, now_ms, draft)
    state = _heed_others(state, draft)
    state = _report_garbled(state, now_ms, draft)
    _doubt(state, now_ms, draft)
    for position in sorted(state.positions, key=lambda each: (each.symbol, each.side)):
        if position.margin_mode is MarginMode.ISOLATED:
            state = judge_alone(state, policy, position, now_ms, draft)
    if draft.memories:
        state = replace(state, memories={**state.memories, **draft.memories})
    if draft.memos:
        state = replace(state, memos={**state.memos, **draft.memos})
    state = judge_together(state, policy, now_ms, draft)
    state = _cancel_orphans(state, policy, now_ms, draft)
    decision = Decision(
        at_ms=now_ms,
        mode=state.mode,
        positions=tuple(draft.verdicts),
        book=draft.book,
        approved=tuple(draft.approved),
        alerts=tuple(draft.alerts),
        wake_at_ms=draft.wake_at_ms,
        endangered=draft.endangered,
        needs_read=draft.needs_read,
    )
    return state, decision


def stands_on_fresh_data(state: AccountState, decision: Decision) -> bool:
    """Whether all that is open could be measured, on a read that is not old, and acted on."""
    match state.account:
        case AccountRead(received_at_ms=at_ms):
            is_fresh = decision.at_ms - at_ms <= POSITION_AGE_MAX_MS
        case NotRead():
            return False
    measured = all(isinstance(each.measured, Known) for each in decision.positions)
    return is_fresh and measured and decision.at_ms >= state.banned_until_ms


def _utc(at_ms: int) -> str:
    """A moment that somebody else has told, whatever it is."""
    within = max(0, min(at_ms, _LAST_MS))
    return datetime.fromtimestamp(within // 1000, UTC).isoformat()


def _report_losses(state: AccountState, draft: Draft) -> AccountState:
    """
    Say what the exchange took, and ask for a read: the next decision is on what is left.

    Whatever an auto-deleveraged position hedged is then judged without it, by its own steps.
    """
    if not state.liquidated:
        return state
    for event in state.liquidated:
        subject = f"{event.symbol} {event.side}"
        match event:
            case Liquidated(price=price):
                kind = "liquidated"
                text = f"{subject}: the exchange LIQUIDATED the position at {price:f}"
            case AutoDeleveraged(quantity=quantity, price=price):
                kind = "auto_deleveraged"
                text = (
                    f"{subject}: the exchange AUTO-DELEVERAGED {quantity:f} of the position at "
                    f"{price:f}; what it hedged stands naked"
                )
        draft.alerts.append(Alert(subject, kind, AlertSeverity.CRITICAL, text))
    draft.needs_read = True
    return replace(state, liquidated=())


def _report_bans(state: AccountState, now_ms: int, draft: Draft) -> AccountState:
    """Page a human once a ban: until it is over the guard neither sees nor does anything."""
    if now_ms < state.banned_until_ms:
        draft.wake_at_ms = min(draft.wake_at_ms, state.banned_until_ms)
    for event in state.bans:
        until = _utc(event.until_ms)
        text = (
            f"the venue has BANNED this address until {until}: the guard can neither read nor act "
            f"there, only the stops that rest protect ({event.reason})"
        )
        draft.alerts.append(Alert("account", "banned", AlertSeverity.CRITICAL, text))
    return replace(state, bans=()) if state.bans else state


def _heed_others(state: AccountState, draft: Draft) -> AccountState:
    """
    Give up spending where an elder guard's orders are seen on the account; say it of any guard's.

    Both would add margin, each by its own budgets. So does a guard whose journal was lost: what
    that one has spent is not known to this. A human who knows better lets it spend again, and is
    not contradicted. Stops both may keep.
    """
    own = birth_prefix(state.birth)
    others = {
        born_at_ms(stop.client_id)
        for stop in state.stops
        if state.is_guards(stop) and not stop.client_id.startswith(own)
    } | state.heard
    for born_ms in sorted(others - state.others):
        since = _utc(born_ms)
        text = f"another guard of this account, born {since}, has a stop or sends orders"
        if born_ms > state.birth.at_ms:
            text += ": it is the younger one, and is to spend nothing; stop one of the two"
        else:
            text += (
                ": it is the elder one, so this one adds no margin (NO_SPEND), but keeps stops "
                "and closes. Stop one of the two; if it is this one's own past, whose journal is "
                "lost, cancel its stops and resume"
            )
            if state.mode is AccountMode.ACTIVE:
                reason = f"an elder guard of this account, born {since}"
                state = replace(state, mode=AccountMode.NO_SPEND, mode_reason=reason)
        draft.alerts.append(Alert("account", "another_guard", AlertSeverity.CRITICAL, text))
    return replace(state, others=state.others | others) if others - state.others else state


def _report_garbled(state: AccountState, now_ms: int, draft: Draft) -> AccountState:
    """Say which positions cannot be read, and look again soon: the others are guarded on."""
    told = dict(state.garbled_told_ms)
    for each in state.garbled:
        draft.endangered = True
        again_at_ms = told.get(each.symbol, NEVER_MS) + REPEAT_MS
        draft.wake_at_ms = min(draft.wake_at_ms, max(again_at_ms, now_ms + 1))
        if now_ms < again_at_ms:
            continue
        subject = each.symbol or "account"
        text = (
            f"{subject}: the venue reports a position that CANNOT BE READ ({each.reason}); its "
            "stops are left alone and no money is moved on it, the others are guarded"
        )
        draft.alerts.append(Alert(subject, "garbled", AlertSeverity.CRITICAL, text))
        told[each.symbol] = now_ms
    return replace(state, garbled_told_ms=told) if told != state.garbled_told_ms else state


def _doubt(state: AccountState, now_ms: int, draft: Draft) -> None:
    """Look again, and closely, for the positions that the newest read did not have."""
    for lack in state.lacked.values():
        draft.endangered = True
        draft.needs_read = True
        draft.wake_at_ms = min(draft.wake_at_ms, max(lack.since_ms + GONE_MS, now_ms + 1))


def _cancel_orphans(
    state: AccountState, policy: Policy, now_ms: int, draft: Draft
) -> AccountState:
    """Cancel our own stops of positions that two reads did not find any more."""
    is_open = {(position.symbol, position.side) for position in state.positions}
    for stop in state.stops:
        if (stop.symbol, stop.side) in is_open:
            continue
        if state.may_hold(stop.symbol) or not state.is_guards(stop):
            continue
        key = PositionKey(stop.symbol, stop.side)
        memory = state.memory_of(key)
        sure = _is_surely_flat(state, key)
        draft.needs_read = True
        draft.wake_at_ms = min(draft.wake_at_ms, now_ms + GONE_MS)
        ready_at_ms = cancel_ready_ms(state, stop)
        if now_ms < ready_at_ms:
            draft.wake_at_ms = min(draft.wake_at_ms, ready_at_ms)
        elif sure:
            request = Request(state, policy, key, memory, "protect/cancel", now_ms)
            cancel = CancelStop(stop.symbol, stop.side, stop.client_id)
            approved = approve_stop(request, cancel)
            draft.approved.append(approved)
            state = with_intent(state, approved)
    return state


def _forget(state: AccountState, now_ms: int, draft: Draft) -> AccountState:
    """Drop what no limit needs any more, positions flat for ten minutes, and lapsed refunds."""
    intents = {
        intent.id: intent
        for intent in state.intents.values()
        if still_counts(intent, state.memory_of(intent.key), now_ms)
    }
    memories = {
        key: memory for key, memory in state.memories.items() if not _is_forgotten(memory, now_ms)
    }
    book = BLANK if _is_forgotten(state.book, now_ms) else state.book
    shared = without(state.shared, frozenset(_legs_gone(state)))
    refunds = _refunds_left(state, now_ms, draft)
    if (
        len(intents) == len(state.intents)
        and len(memories) == len(state.memories)
        and len(refunds) == len(state.refunds)
        and book is state.book
        and shared is state.shared
    ):
        return state
    return replace(
        state, intents=intents, memories=memories, book=book, shared=shared, refunds=refunds
    )


def _is_forgotten(memory: PositionMemory, now_ms: int) -> bool:
    return memory.flat_since_ms != NEVER_MS and now_ms - memory.flat_since_ms >= EPISODE_QUIET_MS


def _is_surely_flat(state: AccountState, key: PositionKey) -> bool:
    """Whether a second proof has come that there is no such position."""
    return state.memory_of(key).flat_surely


def _legs_gone(state: AccountState) -> Iterator[PositionKey]:
    """Positions that were there, and that nobody may take for the same if they come back."""
    for key, leg in state.shared.legs.items():
        if not leg.is_open and (key not in state.memories or _is_surely_flat(state, key)):
            yield key


def _refunds_left(state: AccountState, now_ms: int, draft: Draft) -> dict[str, RefundDue]:
    """The refunds that may still go back: in time, to what is not surely gone."""
    left: dict[str, RefundDue] = {}
    for trim_id, due in state.refunds.items():
        moving = refund_under_way(state, trim_id)
        if moving or (now_ms < due.expires_at_ms and not _is_surely_flat(state, due.key)):
            left[trim_id] = due
            draft.wake_at_ms = min(draft.wake_at_ms, due.expires_at_ms)
        elif not _is_surely_flat(state, due.key):
            subject = f"{due.key.symbol} {due.key.side}"
            text = f"{subject}: {due.amount:f} margin freed by a trim did not go back"
            draft.alerts.append(Alert(subject, "refund_lapsed", AlertSeverity.CRITICAL, text))
    return left
