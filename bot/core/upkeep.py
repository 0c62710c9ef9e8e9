"""
Upkeep of the standing stop: place it, replace it, cancel what is superfluous, stand in for it.

Where no stop rests the guard itself watches the level and closes when the mark passes it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import assert_never

from bot.core.actions import CancelStop, ClosePosition, PlaceStop
from bot.core.decision import AlertSeverity, Audited, NotAudited, StopVerdict
from bot.core.desk import REPEAT_MS, Desk
from bot.core.events import IntentState
from bot.core.funding import settling_until_ms
from bot.core.guardrails import approve_stop, looks_closed
from bot.core.ids import Birth, account_prefix, birth_prefix
from bot.core.kept import kept
from bot.core.ladder import NO_WAKE_MS
from bot.core.margin import Liquidation
from bot.core.metrics import Known, Measured, Unknown
from bot.core.model import Instrument, Position, PositionKey, StopOrder
from bot.core.pairs import NotStopped, StoppedAs, stopped_as
from bot.core.protection import (
    Audit,
    StopNotNeeded,
    StopStatus,
    StopWanted,
    Wanted,
    audit,
    slices,
    users_own,
    wanted,
)
from bot.core.state import (
    GONE_MS,
    NEVER_MS,
    WITHHELD_MS,
    AccountRead,
    AccountState,
    Intent,
    NotRead,
)
from bot.core.units import ZERO, Duration, Price, Quantity

STOP_WAY_MS = 5_000
"""How long a stop may be on its way, and how long a drifted one keeps its place."""

LOST_MS = 60_000
"""A read that was asked for so long after a stop shows it, or it is not on its way any more."""

STOP_GRACE_MS = 3_000
"""How long a resting stop may take to fill once the mark has passed it."""

NAKED_MAX_MS = 15_000
"""A position without a resting stop for longer than this is alarmed."""

RETRY_REFUSED_MAX_MS = 25_000
"""A venue that takes stops again has one within half a minute."""

CANARY_AGAIN_MS = 3_600_000
"""A canary that was refused is followed by another one after this at the latest."""

ANSWERED_MS = 5_000
"""By then a close that has cleared its way of stops is answered, or nobody hears of it."""

SHOWS_MS = 1_500
"""How long a close of the whole position may take to show before the rest needs a stop."""


@dataclass(frozen=True, slots=True)
class Ground:
    """
    What the stop of one position stands on.

    `stopped` is what the stop has to close: the position, or the excess of a pair. `ours` are our
    resting stops but for those that are `going`: they are being cancelled, and nobody may lean on
    them any more; and for those that are `too_large`: they would leave the other leg of a pair
    naked. `held` is what the stop may not be looser than after a loss.
    """

    position: Position
    stopped: StoppedAs
    instrument: Instrument
    settled: Liquidation
    ours: tuple[StopOrder, ...]
    going: tuple[StopOrder, ...]
    too_large: tuple[StopOrder, ...]
    users: tuple[Price, ...]
    held: tuple[Price, ...]


def survey(
    state: AccountState, instrument: Instrument, position: Position, settled: Liquidation
) -> Ground:
    """
    Sort the resting stops of `position` into ours and the user's own.

    Those of another guard of this account are neither: it moves them as it sees fit, and if each
    took the other's for the user's will, neither could ever move its own away from the mark.
    """
    own, foreign = _resting(state.stops, position, state.birth)
    cancelled = _cancelled(state.intents, state.account)
    standing = tuple(stop for stop in own if stop.client_id not in cancelled)
    stopped = stopped_as(instrument, position, state.positions)
    most = _most_stopped(position, stopped)
    ours = tuple(stop for stop in standing if stop.quantity <= most)
    too_large = tuple(stop for stop in standing if stop.quantity > most)
    going = tuple(stop for stop in own if stop.client_id in cancelled)
    users: tuple[Price, ...] = ()
    if foreign and (mark := state.marks.get(position.symbol)) is not None:
        users = users_own(instrument, position, foreign, mark.price, settled)
    held = state.shared.bounds(position.key)
    return Ground(position, stopped, instrument, settled, ours, going, too_large, users, held)


@kept(most=256)
def _resting(
    stops: tuple[StopOrder, ...], position: Position, birth: Birth
) -> tuple[tuple[StopOrder, ...], tuple[StopOrder, ...]]:
    """The stops that rest for `position`: our own, and those of no guard of the account."""
    its = [each for each in stops if each.symbol == position.symbol and each.side is position.side]
    ours, guards = birth_prefix(birth), account_prefix(birth.account)
    return (
        tuple(stop for stop in its if stop.client_id.startswith(ours)),
        tuple(stop for stop in its if not stop.client_id.startswith(guards)),
    )


def _most_stopped(position: Position, stopped: StoppedAs) -> Decimal:
    """The largest stop that closes no more than it should: what a lone one is too large for."""
    match stopped:
        case NotStopped():
            return ZERO
        case Position(quantity=quantity) if quantity < position.quantity:
            return quantity
        case Position():
            return Decimal("Infinity")
    assert_never(stopped)


@kept(most=1)
def _cancelled(intents: Mapping[str, Intent], account: AccountRead | NotRead) -> frozenset[str]:
    """The stops that are off the book already, or may be."""
    cancelled = set[str]()
    for intent in intents.values():
        gone = intent.is_open or intent.state is IntentState.APPLIED
        if isinstance(intent.action, CancelStop) and gone:
            cancelled.add(intent.action.target_client_id)
        if intent.clears and (intent.is_open or _asked_before(account, intent.changed_at_ms)):
            cancelled.update(intent.clears)
    return frozenset(cancelled)


def _asked_before(account: AccountRead | NotRead, at_ms: int) -> bool:
    """Whether the newest read is too old to show what happened at `at_ms`."""
    match account:
        case AccountRead(asked_at_ms=asked_at_ms):
            return asked_at_ms < at_ms
        case NotRead():
            return True
    assert_never(account)


def keep_stop(
    desk: Desk, ground: Ground, measured: Measured, bounds: tuple[Price, ...]
) -> Audited:
    """Have the stop where it belongs; `bounds` are what firing steps tightened it to."""
    position = ground.position
    match ground.stopped:
        case NotStopped(proof):
            found = Audit(StopStatus.NOT_NEEDED, ())
            target: Wanted = StopNotNeeded(proof)
            left_off = False
        case Position() as stopped:
            bounds = (*bounds, *ground.users, *ground.held)
            target = wanted(desk.policy, ground.instrument, stopped, ground.settled, bounds)
            found = audit(ground.instrument, stopped, ground.ours, target, ground.settled)
            left_off = _is_left_off(desk, found)
            if isinstance(target, StopWanted) and not (
                left_off
                or _is_passed(position, target, measured)
                or looks_closed(desk.state, position.key)
            ):
                at = ground if stopped is position else replace(ground, position=stopped)
                _place(desk, at, target, found)
    for stop in found.superfluous:
        _cancel(desk, stop)
    if found.status is not StopStatus.MISSING:  # until then one that closes too much is better
        for stop in ground.too_large:
            _cancel(desk, stop)
    desk.needs_read = desk.needs_read or bool(ground.going)
    if not left_off:
        _watch_naked(desk, position.key, found.status)
    return Audited(found.status, target)


def _is_left_off(desk: Desk, found: Audit) -> bool:
    """
    Whether somebody else has cancelled the stop, and the policy lets that stand.

    One read without it proves nothing; until a second one none is placed.
    """
    since_ms = desk.memory.cancelled_at_ms
    if since_ms == NEVER_MS or found.status is not StopStatus.MISSING:
        return False
    if not desk.policy.protect.respects_cancel:
        return False
    if desk.memory.cancelled_surely:
        text = (
            "somebody has cancelled the protective stop, and the policy respects that: none "
            "rests on the exchange. The guard watches the level and closes by itself, while "
            "it runs; another policy, or a larger position, has it placed again"
        )
        desk.say("stop_cancelled", AlertSeverity.CRITICAL, text, REPEAT_MS)
    else:
        desk.needs_read = True
        desk.wake(since_ms + GONE_MS)
    return True


def stands_in(desk: Desk, position: Position, verdict: StopVerdict, measured: Measured) -> bool:
    """Whether the guard must close because the mark has passed the level and no stop did it."""
    match verdict:
        case Audited(status=status, target=StopWanted() as target):
            passed = _is_passed(position, target, measured)
        case Audited() | NotAudited():
            return False
    if not passed:
        if desk.memory.past_stop_since_ms != NEVER_MS:
            desk.memory = replace(
                desk.memory, past_stop_since_ms=NEVER_MS, past_stop_until_ms=desk.now_ms
            )
        return False
    if desk.memory.past_stop_since_ms == NEVER_MS:
        desk.memory = replace(desk.memory, past_stop_since_ms=desk.now_ms)
    patience_ms = desk.memory.past_stop_since_ms + STOP_GRACE_MS
    desk.needs_read = True
    desk.wake(patience_ms)
    return status is not StopStatus.RESTS or desk.now_ms >= patience_ms


def _is_passed(position: Position, target: StopWanted, measured: Measured) -> bool:
    match measured:
        case Known(mark_price=mark):
            return position.side.sign * (mark - target.trigger_price) <= ZERO
        case Unknown():
            return False  # with a stale mark the venue itself says "would trigger at once"
    assert_never(measured)


def _place(desk: Desk, ground: Ground, target: StopWanted, found: Audit) -> None:
    memory, now_ms, position = desk.memory, desk.now_ms, ground.position
    lacking = found.lacking
    follows_at_ms = NEVER_MS
    match found.status:
        case StopStatus.NOT_NEEDED:
            return
        case StopStatus.RESTS:
            canary_at_ms = _canary_at_ms(desk)
            desk.wake(canary_at_ms)
            if now_ms < canary_at_ms:
                return
            lacking = slices(ground.instrument, position.quantity)[:1]
        case StopStatus.DRIFTED:
            if settling := settling_until_ms(desk.state, position.symbol, now_ms):
                desk.needs_read = True
                desk.wake(max(settling))
                return
            if any(_on_their_way(desk.state, position.key)):
                # While nothing can be read others would pile up; what drifted is still safe.
                desk.needs_read = True
                return
            follows_at_ms = memory.stop_sent_at_ms + STOP_WAY_MS
        case StopStatus.MISSING:
            pass
        case _:
            assert_never(found.status)
    ready_at_ms = max(
        follows_at_ms,
        desk.state.banned_until_ms,
        _free_way_ms(desk.state, position.key),
        _closing_until_ms(desk, position),
    )
    if memory.stop_refusals:
        backoff_ms = min(STOP_WAY_MS * 2 ** (memory.stop_refusals - 1), RETRY_REFUSED_MAX_MS)
        ready_at_ms = max(ready_at_ms, memory.stop_refused_at_ms + backoff_ms)
    if now_ms < ready_at_ms:
        desk.wake(ready_at_ms)
        return
    _rest(desk, ground, target, found, lacking)


def _rest(
    desk: Desk,
    ground: Ground,
    target: StopWanted,
    found: Audit,
    lacking: tuple[Quantity, ...],
) -> None:
    """Place as many of the orders that are `lacking` as there are places for them."""
    position, room = ground.position, _room(desk.state, ground.instrument)
    for quantity in lacking[:room]:
        action = PlaceStop(position.symbol, position.side, quantity, target.trigger_price)
        desk.take(approve_stop(desk.request(position.key, "protect/stop"), action))
        desk.memory = replace(desk.memory, stop_sent_at_ms=desk.now_ms)
    whole = sum(slices(ground.instrument, position.quantity), ZERO)
    if room < len(lacking) or whole < position.quantity:
        _make_room(desk, ground, found, max(len(lacking) - room, 0))


def _room(state: AccountState, instrument: Instrument) -> int:
    """How many more stops may rest in the contract: those of others take places as well."""
    resting = sum(stop.symbol == instrument.symbol for stop in state.stops)
    return max(instrument.stops_max - resting, 0)


def _make_room(desk: Desk, ground: Ground, found: Audit, places: int) -> None:
    """
    Have stops of ours go that nobody would miss, so that better ones can rest; say it if none can.

    Those that stand for the position, but have drifted, stay: they are better than none.
    """
    for stop in found.in_the_way[:places]:
        _cancel(desk, stop)
    if found.in_the_way or found.superfluous or ground.going:
        return
    text = (
        f"no place is left for a stop of all of {ground.position.quantity:f} among the "
        f"{ground.instrument.stops_max} orders that may rest in the contract: "
    )
    if found.status is StopStatus.MISSING:
        text += "what rests is not for all of it; the guard watches the level and closes by itself"
    else:
        text += "no other can be placed beside what rests"
    desk.say("stop_places", AlertSeverity.CRITICAL, text, REPEAT_MS)


def _canary_at_ms(desk: Desk) -> int:
    """
    When a stop is to be placed though one rests: the older of the two is then superfluous.

    A stop path that is used in a crash only fails in the crash (2025-12-09): nothing else tells
    that a venue takes no stops any more while those that rest stay.
    """
    every_ms = desk.policy.protect.canary_ms
    if not every_ms:
        return NO_WAKE_MS
    if desk.memory.stop_refusals:
        text = (
            "the venue takes no new stop; the one that rests is all there is. If that goes, the "
            "guard watches the level and closes by itself"
        )
        desk.say("stop_refused", AlertSeverity.CRITICAL, text, REPEAT_MS)
        every_ms = Duration(min(every_ms, CANARY_AGAIN_MS))
    return desk.memory.stop_sent_at_ms + every_ms


def _free_way_ms(state: AccountState, key: PositionKey) -> int:
    """When the last stop that may still be on its way, or was withheld, has had its time."""
    withheld = (
        intent.changed_at_ms + WITHHELD_MS
        for intent in _placed(state, key)
        if intent.state is IntentState.WITHHELD
    )
    on_their_way = (intent.planned_at_ms + STOP_WAY_MS for intent in _on_their_way(state, key))
    return max((*withheld, *on_their_way), default=NEVER_MS)


def _on_their_way(state: AccountState, key: PositionKey) -> Iterator[Intent]:
    """
    The stops of which no read can have shown yet that they rest.

    What a venue answers no question about stays open for as long. Where reads of the account come
    all the same, one of them ends the waiting; where none come, nothing more is sent in the dark.
    """
    for intent in _placed(state, key):
        lost_at_ms = intent.planned_at_ms + LOST_MS
        on_its_way = intent.is_open and _asked_before(state.account, lost_at_ms)
        if on_its_way or state.is_unseen(intent):
            yield intent


def _placed(state: AccountState, key: PositionKey) -> Iterator[Intent]:
    cancelled = _cancelled(state.intents, state.account)
    for intent in state.intents.values():
        if (
            isinstance(intent.action, PlaceStop)
            and intent.id not in cancelled
            and intent.key == key
        ):
            yield intent


def _closing_until_ms(desk: Desk, position: Position) -> int:
    """
    Until when a stop would get in the way of a close that has cleared its way of stops.

    Once that is answered the rest needs one. Of a close of everything there is most likely no
    rest: that is for the next read to show, but not for long.
    """
    until_ms = NEVER_MS
    for intent in desk.state.intents.values():
        if not intent.clears or intent.key != position.key:
            continue
        match intent.action, intent.state:
            case _, IntentState.PLANNED | IntentState.PREPARED:
                until_ms = max(until_ms, intent.planned_at_ms + ANSWERED_MS)
            case ClosePosition(quantity=quantity), IntentState.ACKED if (
                quantity >= position.quantity
            ):
                until_ms = max(until_ms, intent.changed_at_ms + SHOWS_MS)
            case _:
                pass
    return until_ms


def cancel_ready_ms(state: AccountState, stop: StopOrder) -> int:
    """When a stop that still rests may be cancelled, after what was tried before."""
    tried_at_ms = (
        intent.changed_at_ms
        + (WITHHELD_MS if intent.state is IntentState.WITHHELD else STOP_WAY_MS)
        for intent in state.intents.values()
        if isinstance(intent.action, CancelStop)
        and intent.action.target_client_id == stop.client_id
    )
    return max(state.banned_until_ms, max(tried_at_ms, default=NEVER_MS))


def _cancel(desk: Desk, stop: StopOrder) -> None:
    ready_at_ms = cancel_ready_ms(desk.state, stop)
    if desk.now_ms < ready_at_ms:
        desk.needs_read = True
        desk.wake(ready_at_ms)
        return
    action = CancelStop(stop.symbol, stop.side, stop.client_id)
    key = PositionKey(stop.symbol, stop.side)
    desk.take(approve_stop(desk.request(key, "protect/cancel"), action))


def _watch_naked(desk: Desk, key: PositionKey, status: StopStatus) -> None:
    if status is not StopStatus.MISSING:
        if desk.memory.naked_since_ms != NEVER_MS:
            desk.memory = replace(desk.memory, naked_since_ms=NEVER_MS)
        return
    if desk.memory.naked_since_ms == NEVER_MS:
        desk.memory = replace(desk.memory, naked_since_ms=desk.now_ms)
    if desk.memory.stop_refusals:
        text = (
            f"the venue refuses the stop{_words(desk.state, key)}; the guard watches the level "
            "and closes by itself"
        )
        desk.say("stop_refused", AlertSeverity.CRITICAL, text, REPEAT_MS)
    alarm_at_ms = desk.memory.naked_since_ms + NAKED_MAX_MS
    desk.wake(alarm_at_ms)
    if desk.now_ms >= alarm_at_ms:
        text = f"no protective stop rests on the exchange for {NAKED_MAX_MS // 1000} s"
        desk.say("naked", AlertSeverity.CRITICAL, text, REPEAT_MS)


def _words(state: AccountState, key: PositionKey) -> str:
    """What the venue said to the last stop that it refused, as far as that is remembered."""
    refused = [
        intent
        for intent in state.intents.values()
        if intent.key == key
        and isinstance(intent.action, PlaceStop)
        and intent.state is IntentState.REJECTED
    ]
    newest = max(refused, key=lambda intent: intent.changed_at_ms, default=None)
    return f" ({newest.detail})" if newest else ""
