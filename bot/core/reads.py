"""
What a complete read of the account makes of its state.

One read proves little: it may be older than the newest, garbled in part, or lack a position that
is there. What it cannot tell stays as it was last read; a position is gone with a second proof.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from bot.core.actions import CancelStop, ClosePosition, PlaceStop
from bot.core.events import AccountReported, MarkPrice
from bot.core.held import after_read, without
from bot.core.ids import birth_prefix
from bot.core.model import (
    AccountSnapshot,
    MarginMode,
    Position,
    PositionKey,
    PositionMode,
    StopOrder,
)
from bot.core.state import (
    BLANK,
    GONE_MS,
    NEVER_MS,
    AccountRead,
    AccountState,
    Intent,
    Lacked,
    NotRead,
    Phase,
    PositionMemory,
)
from bot.core.units import ZERO


def reported(state: AccountState, event: AccountReported) -> AccountState:
    """The state after a complete read of the account."""
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
