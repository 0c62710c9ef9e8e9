"""
What an event makes of the state of an account. Nothing here decides anything.

`apply` takes the one value to the next; `resumed` is what a fresh process may believe of it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import assert_never

from bot.core.actions import Action, AddMargin, CancelStop, ClosePosition, PlaceStop
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
from bot.core.held import Shared, after_read, released, taken, without
from bot.core.ids import account_prefix, birth_prefix, born_at_ms
from bot.core.margin import funding_payment, profit, value
from bot.core.model import (
    AccountSnapshot,
    Fill,
    Filled,
    MarginMode,
    MarginOnReduce,
    Position,
    PositionKey,
    PositionMode,
    StopOrder,
)
from bot.core.state import (
    BLANK,
    GONE_MS,
    NEVER_MS,
    NOTHING,
    AccountRead,
    AccountState,
    Instruments,
    Intent,
    Lacked,
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
            return _read(state, event)
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


def _read(state: AccountState, event: AccountReported) -> AccountState:
    match state.account:
        case AccountRead() as before if _is_overtaken(event, before):
            return state
        case AccountRead(snapshot=older) as before:
            event, carried = _carried_over(older, event)
            shown = event.snapshot
            event, lacked, gone = _doubted(state, before, event)
            carried |= {key: before.carried[key] for key in lacked if key in before.carried}
            # Equal parts keep their identity, so that an unchanged position costs nothing.
            same = {position.key: position for position in older.positions}
            positions = tuple(
                same[position.key] if same.get(position.key) == position else position
                for position in event.snapshot.positions
            )
            stops = older.stops if older.stops == event.snapshot.stops else event.snapshot.stops
            snapshot = replace(event.snapshot, positions=positions, stops=stops)
        case NotRead():
            shown = snapshot = event.snapshot
            carried, lacked, gone = {}, {}, {}
    open_keys = {position.key for position in snapshot.positions}
    memories = {
        key: _seen(memory, key, snapshot, event.received_at_ms, gone)
        for key, memory in state.memories.items()
    }
    stop_keys = {PositionKey(stop.symbol, stop.side) for stop in snapshot.stops}
    for key in sorted((open_keys | stop_keys) - set(memories)):
        memories[key] = BLANK if key in open_keys else _flat(BLANK, event.received_at_ms)
    for position in shown.positions:
        memories[position.key] = _heeded(state, memories[position.key], position, event)
    book = state.book
    if any(each.margin_mode is MarginMode.CROSS for each in snapshot.positions):
        book = _open(book)
    elif book != BLANK:
        was_cross = (each for each in state.positions if each.margin_mode is MarginMode.CROSS)
        since_ms = [gone[each.key] for each in was_cross if each.key in gone]
        book = _proven_flat(book, min(since_ms)) if since_ms else _flat(book, event.received_at_ms)
    ours = [stop for stop in snapshot.stops if state.is_guards(stop)]
    closed = _maybe_closed(state, ours)
    shared = after_read(
        without(state.shared, _opened_anew(state, shown)),
        shown,
        (*ours, *_gone_with(state, closed)),
        closed,
        state.instruments.by_symbol,
        is_newer=event.asked_at_ms >= state.lost_at_ms,
    )
    return replace(
        state,
        account=AccountRead(snapshot, event.asked_at_ms, event.received_at_ms, carried, lacked),
        memories=memories,
        book=book,
        # What is missing from a garbled read was not closed, and its balance may hold its margin.
        shared=state.shared if snapshot.garbled else shared,
    )


def _is_overtaken(event: AccountReported, before: AccountRead) -> bool:
    """
    Whether what is known is newer than a read, by the venue's time.

    Only of two that were under way together: one that was asked for when the other had arrived is
    newer whatever a clock says that was put back, or that another server goes by.
    """
    crossed = event.asked_at_ms <= before.received_at_ms
    return crossed and event.snapshot.taken_at_ms < before.snapshot.taken_at_ms


def _carried_over(
    older: AccountSnapshot, event: AccountReported
) -> tuple[AccountReported, dict[PositionKey, str]]:
    """The read with what it may have garbled, as that was last read, and why it was garbled."""
    read = event.snapshot
    if not read.garbled:
        return event, {}
    there = {position.key for position in read.positions}
    kept = [
        each
        for each in older.positions
        if each.key not in there and not read.tells_of(each.symbol)
    ]
    reasons = {each.symbol: each.reason for each in reversed(read.garbled)}
    whole = replace(
        read,
        positions=tuple(sorted((*read.positions, *kept), key=lambda each: each.key)),
        # Venues count isolated margins into the balance, and that of a garbled one is not known.
        wallet_balance=min(read.wallet_balance, older.wallet_balance),
    )
    carried = {each.key: reasons.get(each.symbol) or reasons[""] for each in kept}
    return replace(event, snapshot=whole), carried


def _doubted(
    state: AccountState, before: AccountRead, event: AccountReported
) -> tuple[AccountReported, dict[PositionKey, Lacked], dict[PositionKey, int]]:
    """
    The read with the positions that it lacks and that are not surely gone, as they were last read.

    Those that are: since when. The money of the wallet stays with what it backs: what a close
    has paid in or out does not stand beside a position whose profit still counts.
    """
    read, older = event.snapshot, before.snapshot
    there = {position.key for position in read.positions}
    kept: list[Position] = []
    lacked: dict[PositionKey, Lacked] = {}
    gone: dict[PositionKey, int] = {}
    for position in older.positions:
        key = position.key
        if key in there:
            continue
        lack = before.lacked.get(key) or Lacked(
            event.asked_at_ms, before.asked_at_ms, before.received_at_ms
        )
        if event.asked_at_ms - lack.since_ms >= GONE_MS or _is_proven_gone(
            state, position, lack, event
        ):
            gone[key] = lack.since_ms
        else:
            kept.append(position)
            lacked[key] = lack
    if not kept:
        return event, lacked, gone
    money = older
    if all(each.margin_mode is MarginMode.ISOLATED for each in kept):
        money = replace(
            read,
            wallet_balance=min(read.wallet_balance, older.wallet_balance),
            free=min(read.free, older.free),
        )
    whole = replace(
        read,
        positions=tuple(sorted((*read.positions, *kept), key=lambda each: each.key)),
        wallet_balance=money.wallet_balance,
        free=money.free,
        collateral=money.collateral,
    )
    return replace(event, snapshot=whole), lacked, gone


def _is_proven_gone(
    state: AccountState, position: Position, lack: Lacked, event: AccountReported
) -> bool:
    """
    Whether something else than the read that lacks it says so as well.

    The venue has taken from it, a close of ours or our stop was for all of it, or it was turned
    over: where a symbol holds one position, the other side's being there is its end.
    """
    key, read = position.key, event.snapshot
    turned = read.position_mode is PositionMode.ONE_WAY and any(
        each.symbol == key.symbol for each in read.positions
    )
    closed = state.has_closed(position, lack.asked_at_ms)
    return turned or closed or key in state.shared.taken or _was_stopped(state, position, read)


def _was_stopped(state: AccountState, position: Position, now: AccountSnapshot) -> bool:
    """Whether stops of ours for all of it went with it, and the mark has been past them."""
    match state.account, state.marks.get(position.symbol):
        case AccountRead(snapshot=older), MarkPrice(price=mark):
            rest = {stop.client_id for stop in _stops_of(now, position)}
            cancelled = {each for intent in state.intents.values() for each in _taken_by(intent)}
            filled = (
                stop.quantity
                for stop in _stops_of(older, position)
                if state.is_guards(stop)
                and stop.client_id not in rest | cancelled
                and position.side.sign * (mark - stop.trigger_price) <= ZERO
            )
            return sum(filled, ZERO) >= position.quantity
        case _:
            return False


def _seen(
    memory: PositionMemory,
    key: PositionKey,
    snapshot: AccountSnapshot,
    at_ms: int,
    gone: Mapping[PositionKey, int],
) -> PositionMemory:
    """The memory of a position after a read that shows it, shows that it is gone, or neither."""
    if any(position.key == key for position in snapshot.positions):
        return _open(memory)
    if key in gone:
        return _proven_flat(memory, gone[key])
    return _flat(memory, at_ms) if snapshot.tells_of(key.symbol) else memory


def _heeded(
    state: AccountState, memory: PositionMemory, position: Position, event: AccountReported
) -> PositionMemory:
    """What a position remembers of a stop of ours that somebody else has cancelled."""
    before = state.shared.legs.get(position.key)
    grew = before is not None and position.quantity > before.quantity
    prefix = birth_prefix(state.birth)
    rests = any(stop.client_id.startswith(prefix) for stop in _stops_of(event.snapshot, position))
    since_ms, surely = memory.cancelled_at_ms, memory.cancelled_surely
    shrank = before is not None and position.quantity < before.quantity
    if grew or rests or (shrank and not surely):  # it had triggered, and has filled in part
        since_ms, surely = NEVER_MS, False
    elif since_ms == NEVER_MS and _was_cancelled(state, memory, position, event.snapshot):
        since_ms = event.received_at_ms
    elif since_ms != NEVER_MS:
        surely = surely or event.received_at_ms - since_ms >= GONE_MS
    if (since_ms, surely) == (memory.cancelled_at_ms, memory.cancelled_surely):
        return memory
    return replace(memory, cancelled_at_ms=since_ms, cancelled_surely=surely)


def _was_cancelled(
    state: AccountState, memory: PositionMemory, position: Position, now: AccountSnapshot
) -> bool:
    """
    Whether a stop of ours went since the newest read, and nothing but a human's hand explains it.

    One that filled, that we cancelled or that another one displaced was not. Nor was one whose
    level the mark has reached meanwhile, though it is back: it may have triggered for nothing.
    """
    match state.account:
        case NotRead():
            return False
        case AccountRead(snapshot=older, asked_at_ms=since_ms):
            pass
    stops = _stops_of(older, position)
    recent = [
        intent
        for intent in state.intents.values()
        if intent.key == position.key
        and (intent.is_open or (intent.may_have_happened and intent.changed_at_ms >= since_ms))
    ]
    gone_by_us = {target for intent in state.intents.values() for target in _taken_by(intent)}
    prefix, known = birth_prefix(state.birth), {stop.client_id for stop in stops}
    gone = any(each.startswith(prefix) and each not in gone_by_us for each in known)
    mark = state.marks.get(position.symbol)
    triggered = mark is not None and any(
        position.side.sign * (mark.price - stop.trigger_price) <= ZERO for stop in stops
    )
    triggered = triggered or memory.past_stop_until_ms >= since_ms
    displaced = any(stop.client_id not in known for stop in _stops_of(now, position))
    unchanged = any(
        each.key == position.key and each.quantity == position.quantity for each in older.positions
    )
    moving = any(isinstance(each.action, ClosePosition | PlaceStop) for each in recent)
    return gone and unchanged and not (displaced or moving or triggered)


def _taken_by(intent: Intent) -> tuple[str, ...]:
    """The stops that an intent has taken off the book, or may have."""
    if not intent.may_have_happened:
        return ()
    match intent.action:
        case CancelStop(target_client_id=target):
            return (target,)
        case _:
            return intent.clears


def _stops_of(snapshot: AccountSnapshot, position: Position) -> list[StopOrder]:
    return [
        stop
        for stop in snapshot.stops
        if stop.symbol == position.symbol and stop.side is position.side
    ]


def _gone_with(state: AccountState, closed: frozenset[PositionKey]) -> Iterator[StopOrder]:
    """
    Our stops that rested in the newest read for what an order of ours may have closed in part.

    A close takes the stop off the book where the venue has it reserve the position, or displaces
    it, so that a read of what is left may show none. One that we have replaced does not count.
    """
    match state.account:
        case NotRead():
            return
        case AccountRead(snapshot=snapshot):
            replaced = {
                intent.action.target_client_id
                for intent in state.intents.values()
                if isinstance(intent.action, CancelStop)
            }
            for stop in snapshot.stops:
                is_ours = state.is_guards(stop) and stop.client_id not in replaced
                if is_ours and PositionKey(stop.symbol, stop.side) in closed:
                    yield stop


def _opened_anew(state: AccountState, snapshot: AccountSnapshot) -> frozenset[PositionKey]:
    """
    The positions that were closed and opened again between two reads, as a bot does it.

    No close changes an entry price, but for what a venue rounds: less than a tick.
    """
    entries = {each.key: each.entry_price for each in state.positions}
    ticks = {each: rules.tick_size for each, rules in state.instruments.by_symbol.items()}
    return frozenset(
        each.key
        for each in snapshot.positions
        if each.key in entries
        and each.symbol in ticks
        and abs(each.entry_price - entries[each.key]) > ticks[each.symbol]
    )


def _maybe_closed(state: AccountState, resting: list[StopOrder]) -> frozenset[PositionKey]:
    """
    The positions that an order of ours may have closed since the newest read before this one.

    A stop of ours that still rests has closed nothing, so that a human has where all of them do.
    What happened before a restart nobody has seen: there it may always have been an order of ours.
    """
    match state.account:
        case NotRead():
            return frozenset(state.shared.legs)
        case AccountRead(snapshot=older, asked_at_ms=since_ms):
            pass
    there = {stop.client_id: stop.quantity for stop in resting}
    orders = [
        (PositionKey(stop.symbol, stop.side), stop.client_id, stop.quantity)
        for stop in older.stops
        if state.is_guards(stop)
    ]
    orders += [
        (intent.key, intent.id, intent.action.quantity)
        for intent in state.intents.values()
        if isinstance(intent.action, ClosePosition | PlaceStop)
        and (intent.is_open or (intent.may_have_happened and intent.changed_at_ms >= since_ms))
    ]
    return frozenset(
        key for key, client_id, quantity in orders if there.get(client_id, ZERO) < quantity
    )


def _flat(memory: PositionMemory, at_ms: int) -> PositionMemory:
    since = at_ms if memory.flat_since_ms == NEVER_MS else memory.flat_since_ms
    surely = memory.flat_surely or at_ms - since >= GONE_MS
    return replace(memory, flat_since_ms=since, flat_surely=surely)


def _proven_flat(memory: PositionMemory, since_ms: int) -> PositionMemory:
    return replace(memory, flat_since_ms=since_ms, flat_surely=True)


def _open(memory: PositionMemory) -> PositionMemory:
    if memory.flat_since_ms == NEVER_MS:
        return memory
    if not memory.flat_surely:  # one read after a restart had lacked it
        return replace(memory, flat_since_ms=NEVER_MS)
    # After a short absence identity and budgets go on; what was being timed begins anew.
    steps = {
        reason: replace(step, phase=Phase.INACTIVE) if step.phase is Phase.PENDING else step
        for reason, step in memory.steps.items()
    }
    return replace(
        memory,
        steps=steps,
        blind_since_ms={},
        reentered=memory.in_episode,
        reentries=memory.reentries + memory.in_episode,
        flat_since_ms=NEVER_MS,
        flat_surely=False,
        unknown_since_ms=NEVER_MS,
        past_stop_since_ms=NEVER_MS,
        naked_since_ms=NEVER_MS,
        cancelled_at_ms=NEVER_MS,
        cancelled_surely=False,
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
