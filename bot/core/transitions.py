"""
What an event makes of the state of an account. Nothing here decides anything.

`apply` takes the one value to the next; `resumed` is what a fresh process may believe of it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import assert_never

from bot.core.actions import Action, AddMargin, ClosePosition, PlaceStop
from bot.core.events import (
    AccountReported,
    AddressBanned,
    AutoDeleveraged,
    BarsReported,
    Command,
    Event,
    FundingReported,
    InstrumentsReported,
    IntentState,
    Liquidated,
    MarkPrice,
    OrderHeard,
    OutcomeReported,
    PolicyLoaded,
    StreamLost,
    Tick,
)
from bot.core.held import Shared, released, taken
from bot.core.ids import account_prefix, birth_prefix, born_at_ms
from bot.core.margin import funding_payment, profit, value
from bot.core.model import (
    Fill,
    Filled,
    MarginOnReduce,
    Position,
    PositionKey,
)
from bot.core.reads import reported
from bot.core.state import (
    NEVER_MS,
    NOTHING,
    AccountState,
    Instruments,
    Intent,
    NotRead,
    Phase,
    PositionMemory,
    Refund,
    RefundDue,
    Trim,
)
from bot.core.units import ZERO, Money, Quantity, ceil_to, floor_to
from bot.core.volatility import swings_of

REFUND_MS = 300_000
"""A refund that has not gone back by then is given up, loudly."""

CLOCKS_MS = 60_000
"""The venue's clock, by which it settles funding, and ours differ by no more."""


def apply(state: AccountState, event: Event) -> AccountState:  # noqa: C901, PLR0912 - a case an event
    """The state after `event`. Never decides anything."""
    match event:
        case MarkPrice():
            return marked(state, (event,))
        case FundingReported():
            return _billed(state, event)
        case BarsReported():
            return _charted(state, event)
        case AccountReported():
            return reported(state, event)
        case OutcomeReported():
            return _moved(state, event)
        case Liquidated() | AutoDeleveraged():
            return replace(
                state,
                liquidated=(*state.liquidated, event),
                shared=taken(state.shared, PositionKey(event.symbol, event.side)),
                lost_at_ms=max(state.lost_at_ms, event.received_at_ms),
            )
        case OrderHeard(client_id):
            return _heard(state, client_id)
        case AddressBanned():
            return _banned(state, event)
        case StreamLost():
            return replace(state, lost_at_ms=max(state.lost_at_ms, event.received_at_ms))
        case Command():
            return replace(state, mode=event.mode, mode_reason=event.reason)
        case PolicyLoaded(digest):
            return replace(
                state,
                policy_digest=digest,
                shared=_shared_under(state, digest),
                memories=_memories_under(state, digest),
                memos={},
            )
        case InstrumentsReported(digest, instruments):
            by_symbol = {instrument.symbol: instrument for instrument in instruments}
            return replace(state, instruments=Instruments(digest, by_symbol), memos={})
        case Tick():
            return state
    assert_never(event)


def resumed(state: AccountState, policy_digest: str, now_ms: int) -> AccountState:
    """
    The state as a fresh process may believe it: memory and intents stay, facts do not.

    Every intent that was open when the last process ended may have been sent; one that was
    withheld holds nothing up in a process that sends. Sent may also be others
    that it could not write down: the numbers that client ids are made of go on beyond any that
    it can have given out, which are fewer than one a millisecond.
    """
    intents = {
        intent.id: replace(
            intent, state=IntentState.UNKNOWN, changed_at_ms=now_ms, detail="the guard restarted"
        )
        if intent.is_open
        else intent
        for intent in state.intents.values()
        if intent.state is not IntentState.WITHHELD
    }
    return replace(
        state,
        policy_digest=policy_digest,
        shared=_shared_under(state, policy_digest),
        memories=_memories_under(state, policy_digest),
        marks={},
        funding={},
        funding_before={},
        swings={},
        account=NotRead(),
        lost_at_ms=now_ms,
        intents=intents,
        intents_planned=max(state.intents_planned, now_ms),
        memos={},
    )


def _heard(state: AccountState, client_id: str) -> AccountState:
    """What it tells is only whether another guard of this account is at work."""
    is_guards = client_id.startswith(account_prefix(state.birth.account))
    if not is_guards or client_id.startswith(birth_prefix(state.birth)):
        return state
    born_ms = born_at_ms(client_id)
    return state if born_ms in state.heard else replace(state, heard=state.heard | {born_ms})


def _banned(state: AccountState, event: AddressBanned) -> AccountState:
    """One that goes on, or is told once more, is not a new one."""
    is_new = event.received_at_ms >= state.banned_until_ms
    return replace(
        state,
        banned_until_ms=max(state.banned_until_ms, event.until_ms),
        bans=(*state.bans, event) if is_new else state.bans,
    )


def _shared_under(state: AccountState, policy_digest: str) -> Shared:
    """Another policy is the user's word on where stops belong: it frees those that are held."""
    return state.shared if policy_digest == state.policy_digest else released(state.shared)


def _memories_under(
    state: AccountState, policy_digest: str
) -> Mapping[PositionKey, PositionMemory]:
    """It is also a newer word than a stop that was cancelled by hand."""
    if policy_digest == state.policy_digest:
        return state.memories
    return {
        key: replace(memory, cancelled_at_ms=NEVER_MS, cancelled_surely=False)
        for key, memory in state.memories.items()
    }


def marked(state: AccountState, events: Iterable[MarkPrice]) -> AccountState:
    """The state after several mark prices, as after each of them in turn."""
    newer: dict[str, MarkPrice] = {}
    for event in events:
        known = newer.get(event.symbol, state.marks.get(event.symbol))
        # What is newest is told again at every turn, whether it has changed or not.
        if known is None or not (
            known.received_at_ms > event.received_at_ms or _same_mark(known, event)
        ):
            newer[event.symbol] = event
    return replace(state, marks={**state.marks, **newer}) if newer else state


def _same_mark(one: MarkPrice, other: MarkPrice) -> bool:
    """Whether both say the same to the last digit: 1.0 and 1.00 are not the same to a journal."""
    return one is other or (
        one.received_at_ms == other.received_at_ms and one.price.compare_total(other.price) == 0
    )


def _billed(state: AccountState, event: FundingReported) -> AccountState:
    known = state.funding.get(event.symbol)
    if known is None:
        return replace(state, funding={**state.funding, event.symbol: event})
    overtaken = event.received_at_ms < known.received_at_ms
    # Some of a venue's servers name a settlement as the next one a little longer.
    late = event.next_at_ms < known.next_at_ms and _is_over(event.next_at_ms, event)
    if known is event or overtaken or late or _same_bill(event, known):
        return state
    billed = replace(state, funding={**state.funding, event.symbol: event})
    if event.next_at_ms <= known.next_at_ms or not _is_over(known.next_at_ms, event):
        return billed  # revised, brought forward or put off: nothing has been charged
    before = {**state.funding_before, event.symbol: known}
    return _charged(replace(billed, funding_before=before), known)


def _charted(state: AccountState, event: BarsReported) -> AccountState:
    known = state.swings.get(event.symbol)
    if known is not None and known.closed_at_ms > event.closed_at_ms:
        return state
    swings = swings_of(event.bars, event.closed_at_ms)
    return replace(state, swings={**state.swings, event.symbol: swings})


def _is_over(settled_at_ms: int, event: FundingReported) -> bool:
    """Whether a settlement was due when `event` came, within what two clocks may differ."""
    return settled_at_ms <= event.received_at_ms + CLOCKS_MS


def _charged(state: AccountState, settled: FundingReported) -> AccountState:
    """Count a settlement to what the open positions of its symbol have paid."""
    memories = dict(state.memories)
    for position in state.positions:
        if position.symbol != settled.symbol or position.symbol not in state.marks:
            continue
        instrument = state.instruments.by_symbol.get(position.symbol)
        if instrument is None:
            continue  # nobody can say yet what its quantity is worth
        memory = state.memory_of(position.key)
        mark = state.marks[position.symbol].price
        paid = memory.funding_paid + funding_payment(instrument, position, mark, settled.rate)
        memories[position.key] = replace(memory, funding_paid=Money(paid))
    return replace(state, memories=memories)


def _same_bill(one: FundingReported, other: FundingReported) -> bool:
    return (one.rate, one.next_at_ms, one.interval_ms) == (
        other.rate,
        other.next_at_ms,
        other.interval_ms,
    )


def _moved(state: AccountState, event: OutcomeReported) -> AccountState:
    intent = state.intents.get(event.intent_id)
    if intent is None or not intent.is_open:
        return state  # proven already: a late reply changes nothing
    moved = replace(
        intent, state=event.state, changed_at_ms=event.received_at_ms, detail=event.detail
    )
    memory, book = _remember_stop(state.memory_of(intent.key), moved), state.book
    # A rule on any margin mode has steps of one name here and there: the position's own first.
    if intent.reason in memory.steps:
        memory = _remember_step(memory, moved, event.filled)
    else:
        book = _remember_step(book, moved, event.filled)
    return replace(
        state,
        intents={**state.intents, intent.id: moved},
        memories={**state.memories, intent.key: memory},
        book=book,
        refunds=_refunds_after(state, moved, event),
    )


def _refunds_after(
    state: AccountState, intent: Intent, event: OutcomeReported
) -> Mapping[str, RefundDue]:
    """The refunds that are due once a close, or a refund, has come to its end."""
    match intent.purpose, event.filled:
        case Refund(trim_id), _ if not intent.is_open and intent.may_have_added_margin:
            return _put_back(state.refunds, trim_id, intent.action)
        case Trim(position), Fill() as fill if not intent.is_open:
            freed = _freed_margin(state, position, fill)
            if freed > ZERO:
                due = RefundDue(intent.key, freed, event.received_at_ms + REFUND_MS)
                return {**state.refunds, intent.id: due}
            return state.refunds
        case _:
            return state.refunds


def _put_back(
    refunds: Mapping[str, RefundDue], trim_id: str, action: Action
) -> Mapping[str, RefundDue]:
    due = refunds.get(trim_id)
    if due is None or not isinstance(action, AddMargin):
        return refunds
    left = Money(due.amount - action.amount)
    others = {each: kept for each, kept in refunds.items() if each != trim_id}
    return {**others, trim_id: replace(due, amount=left)} if left > ZERO else others


def _freed_margin(state: AccountState, position: Position, fill: Fill) -> Money:
    """
    What a close gave back to the wallet: margin and profit, less the fee.

    Each is rounded against us, as a venue rounds them one by one. Nothing that is known, where a
    fresh process learns of the close before the rules of the contract.
    """
    instrument = state.instruments.by_symbol.get(position.symbol)
    if instrument is None:
        return NOTHING
    match instrument.rules.margin_on_reduce:
        case MarginOnReduce.RETAINED:
            return NOTHING
        case MarginOnReduce.PRO_RATA:
            pass
    step = instrument.rules.position_margin_step
    share = position.isolated_margin * fill.quantity / position.quantity
    gain = profit(instrument, position.side, fill.quantity, position.entry_price, fill.price)
    fee = value(instrument, fill.quantity, fill.price) * instrument.taker_fee
    return Money(floor_to(share, step) + floor_to(gain, step) - ceil_to(fee, step))


def _remember_stop(memory: PositionMemory, intent: Intent) -> PositionMemory:
    """What a position remembers of the outcome of its stop."""
    match intent.action, intent.state:
        case PlaceStop(), IntentState.REJECTED:
            # The orders of one stop were sent before any was refused: together they are one try.
            is_another = intent.planned_at_ms >= memory.stop_refused_at_ms
            return replace(
                memory,
                stop_refused_at_ms=intent.changed_at_ms,
                stop_refusals=memory.stop_refusals + is_another,
            )
        case PlaceStop(), IntentState.APPLIED:
            return replace(memory, stop_refusals=0)
        case _:
            return memory


def _remember_step(memory: PositionMemory, intent: Intent, filled: Filled) -> PositionMemory:
    """What the step that asked for an intent remembers of its outcome."""
    step = memory.steps.get(intent.reason)
    if step is None:
        return memory
    match intent.action, intent.state:
        case _, IntentState.REJECTED:
            step = replace(step, refused_at_ms=intent.changed_at_ms)
        case ClosePosition(), IntentState.APPLIED:
            step = replace(step, left=_without(step.left, intent.key))
        case ClosePosition(quantity=ordered), (
            IntentState.PARTIAL | IntentState.EXPIRED | IntentState.NOT_APPLIED
        ) if step.phase is Phase.FIRING:
            done = filled.quantity if isinstance(filled, Fill) else ZERO
            step = replace(step, left={**step.left, intent.key: Quantity(ordered - done)})
        case _:
            return memory
    return replace(memory, steps={**memory.steps, intent.reason: step})


def _without(
    left: Mapping[PositionKey, Quantity], key: PositionKey
) -> dict[PositionKey, Quantity]:
    return {each: quantity for each, quantity in left.items() if each != key}
