"""
Guardrails: may we? They refuse or shrink, never enlarge, and every shrink is recorded.

`Approved` is constructed here and nowhere else. A denial is WAIT (hold the step, ask again) or
EXHAUSTED (this verb cannot help now).
"""

from collections.abc import Iterator, Set
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from typing import TypeAlias, assert_never

from bot.core.actions import (
    AT_MARKET,
    Action,
    AddMargin,
    Bound,
    CancelStop,
    ClosePosition,
    PlaceStop,
)
from bot.core.clearing import closable, in_the_way, sendable
from bot.core.cross import spare, turned_over
from bot.core.events import AccountMode, IntentState
from bot.core.ids import client_id
from bot.core.ladder import IDLE, steps_for_book
from bot.core.margin import liquidation
from bot.core.metrics import (
    BookKnown,
    Unknown,
    cross_positions,
    measure_book,
    notional,
    settle_liquidation,
)
from bot.core.model import (
    ContractKind,
    Instrument,
    MarginMode,
    NotReported,
    Position,
    PositionKey,
)
from bot.core.pairs import stopped_legs
from bot.core.policy import Above, Below, Metric, Policy
from bot.core.protection import StopNotNeeded, StopWanted, distance_at_stop, wanted
from bot.core.state import (
    DAY_MS,
    GONE_MS,
    HOUR_MS,
    WITHHELD_MS,
    AccountRead,
    AccountState,
    Intent,
    NotRead,
    Plain,
    PositionMemory,
    Purpose,
    Refund,
    RefundDue,
    Trim,
)
from bot.core.units import ZERO, Money, Price, Quantity, floor_to
from bot.core.worse import Part, brings_nearer, raises_stressed_loss

MINUTE_MS = 60_000
PLAIN = Plain()
RETRY_CLOSE_MS = 1_000
"""A refused or unproven full close may be followed by another after this."""

RETRY_REFUND_MS = 5_000
"""A refund that the venue refused is tried again after this."""

REENTRIES_MAX = 3
"""What was opened again so often in an episode gets no more margin in it."""

NUMBERED_STEP_MAX = Decimal("0.0001")
"""A hundred of these are a cent: the last two digits of an amount may be a number."""

USEFUL_SHARE = Decimal("0.01")
"""A top-up shrunk below this share of what was asked for helps nobody."""


@dataclass(frozen=True, slots=True)
class Approved:
    """An intent that may be sent. `shrinks` tells which limit made it smaller than asked."""

    intent: Intent
    shrinks: tuple[str, ...]


class Denial(StrEnum):
    """What a refusal means for the step that asked."""

    WAIT = "wait"
    EXHAUSTED = "exhausted"


@dataclass(frozen=True, slots=True)
class Denied:
    """
    A refusal by `limit`. Waiting may end at `until_ms`.

    `needs_read`: a fresh read of the account would settle it.
    """

    kind: Denial
    limit: str
    text: str
    until_ms: int
    needs_read: bool


Review: TypeAlias = Approved | Denied

FAR_MS = 10**15


@dataclass(frozen=True, slots=True)
class PartClose:
    """Part of a position that is to be closed, within `bound`."""

    position: Position
    quantity: Quantity
    bound: Bound
    purpose: Plain | Trim


@dataclass(frozen=True, slots=True)
class Request:
    """Who asks: a position by its key and memory, for `reason` ("rule/step" or "protect/...")."""

    state: AccountState
    policy: Policy
    key: PositionKey
    memory: PositionMemory
    reason: str
    now_ms: int


def review_top_up(
    request: Request, position: Position, asked: Money, cooldown_ms: int, users: tuple[Price, ...]
) -> Review:
    """
    Whether, and how much of, `asked` may be added to the margin of `position`.

    `users`: the user's own stops on it. A top-up whose standing stop could not move away from
    the mark, because `loss_max` or a user's stop holds it there, saves nothing and is refused.
    """
    for denied in _reasons_to_hold(request, cooldown_ms):
        return denied
    if request.memory.reentries >= REENTRIES_MAX:
        text = f"closed and opened again {request.memory.reentries} times in this episode"
        return _exhausted("reentered", text)
    others = _spared_by_others(request)
    if isinstance(others, Denied):
        return others
    state, rails = request.state, request.policy.guardrails
    in_episode = [
        intent
        for intent in _spends(state)
        if intent.key == request.key and intent.episode == request.memory.episode
    ]
    if len(in_episode) >= rails.top_ups_per_episode_max:
        return _exhausted("top_ups_per_episode", f"{len(in_episode)} top-ups in this episode")
    now_ms = request.now_ms
    limits = (
        ("per_action", rails.top_up_per_action_max),
        ("per_1h", rails.top_up_1h_max - spent_since(state, now_ms - HOUR_MS)),
        ("per_24h", rails.top_up_24h_max - spent_since(state, now_ms - DAY_MS)),
        ("per_episode", rails.top_up_per_episode_max - sum(map(_amount, in_episode))),
        ("keep_free", state.free - rails.keep_free),
        ("cross_positions", others),
    )
    amount, binding = min((left, limit) for limit, left in (("asked", asked), *limits))
    instrument = state.instruments.by_symbol[position.symbol]
    amount = _numbered(state, amount, instrument)
    shrink = f"asked {asked}, may be {max(amount, ZERO)}, limit {binding}"
    if amount <= ZERO or amount < asked * USEFUL_SHARE:
        return _exhausted(binding, shrink)
    if not _stop_would_move(request.policy, instrument, position, Money(amount), users):
        return _exhausted("stop_blocked", "loss_max or the user's own stop holds the stop here")
    action = AddMargin(position.symbol, position.side, Money(amount))
    return _approved(request, action, () if binding == "asked" else (shrink,))


def _numbered(state: AccountState, amount: Decimal, instrument: Instrument) -> Decimal:
    """
    `amount` in what a venue takes, less than a cent smaller so that its last digits are a number.

    That of the intent, by which its margin is known from any other's of about the same amount.
    Where a venue takes no fractions of a cent it carries none, nor in coins, which have no cents.
    """
    step = instrument.rules.position_margin_step
    whole = floor_to(amount, step)
    if step > NUMBERED_STEP_MAX or instrument.kind is ContractKind.INVERSE:
        return whole
    numbered = whole - (whole / step - state.intents_planned) % 100 * step
    return numbered if numbered > ZERO else whole


def review_refund(request: Request, position: Position, trim_id: str, due: RefundDue) -> Review:
    """
    Whether the margin that a trim freed may go back now: limited by that, not by budgets.

    What a refund of the same trim may be moving is not moved again, and no more goes back than
    lets the cross positions on the wallet pass all their thresholds.
    """
    for denied in _reasons_to_hold(request, cooldown_ms=0):
        return denied
    others = _spared_by_others(request)
    if isinstance(others, Denied):
        return others
    state = request.state
    for intent in state.intents.values():
        retry_at_ms = intent.changed_at_ms + RETRY_REFUND_MS
        refused = intent.state in (IntentState.REJECTED, IntentState.WITHHELD)
        if intent.purpose == Refund(trim_id) and refused and request.now_ms < retry_at_ms:
            text = f"it was {intent.state}: {intent.detail}"
            return Denied(Denial.EXHAUSTED, "refused", text, retry_at_ms, needs_read=False)
    moving = refund_under_way(state, trim_id)
    amount = min(due.amount - moving, state.free, others)
    instrument = state.instruments.by_symbol[position.symbol]
    amount = floor_to(amount, instrument.rules.position_margin_step)
    if amount <= ZERO:
        return _exhausted("refund", f"{due.amount} is due, {moving} moves, {state.free} is free")
    action = AddMargin(position.symbol, position.side, Money(amount))
    return _approved(request, action, (), Refund(trim_id))


def refund_under_way(state: AccountState, trim_id: str) -> Decimal:
    """How much of what is due of a trim a refund without an outcome may be putting back."""
    moving = (
        _amount(intent)
        for intent in state.intents.values()
        if intent.purpose == Refund(trim_id) and intent.is_open
    )
    return sum(moving, ZERO)


def review_reduce(
    request: Request, closes: tuple[PartClose, ...], cooldown_ms: int, is_slice: bool
) -> tuple[Approved, ...] | Denied:
    """
    Whether parts of positions may be closed: all of `closes`, or none.

    `is_slice`: they continue what filled in part, which no cooldown holds back.
    """
    for denied in _reasons_not_to_reduce(request, closes, 0 if is_slice else cooldown_ms):
        return denied
    return tuple(_approved_part(request, close) for close in closes)


def _approved_part(request: Request, close: PartClose) -> Approved:
    position = close.position
    state, its = request.state, replace(request, key=position.key)
    quantity = _sent_of(state, close)
    action = ClosePosition(position.symbol, position.side, quantity, close.bound)
    return _approved(its, action, (), close.purpose, in_the_way(state, position.key))


def _sent_of(state: AccountState, close: PartClose) -> Quantity:
    """How much of it is sent: what a venue takes."""
    position = close.position
    return sendable(state, position, min(close.quantity, closable(state, position)))


def review_close(request: Request, position: Position, holds: bool, bound: Bound) -> Review:
    """
    Whether the whole of the position may be closed now. It waits only for another such close.

    Of one too large for an order the next slice does not wait for what became of those that the
    venue has taken: it is for what they leave.

    `holds`: the account mode forbids this close (HOLD, for closes the ladder asks for).
    """
    if holds:
        return _exhausted("hold", "the account is on HOLD")
    for denied in _reasons_not_to_close(request):
        return denied
    whole = closable(request.state, position)
    rest = whole - sum(_taken_in_slices(request), ZERO)
    is_next = ZERO < rest < whole
    quantity = sendable(request.state, position, rest if is_next else whole)
    for intent in _in_order(request.state):
        if not isinstance(intent.action, ClosePosition) or intent.key != request.key:
            continue
        if intent.action.quantity < quantity:
            continue  # part of it: no reason to keep the rest
        if _is_slice(request.state, intent.action) and (
            intent.state is IntentState.APPLIED or (is_next and intent.state is IntentState.ACKED)
        ):
            continue  # another part of it
        if intent.is_open and intent.state is not IntentState.UNKNOWN:
            return _wait("in_flight", "a close is under way", FAR_MS)
        withheld = intent.state is IntentState.WITHHELD
        retry_at_ms = intent.changed_at_ms + (WITHHELD_MS if withheld else RETRY_CLOSE_MS)
        if request.now_ms < retry_at_ms:
            return _wait("in_flight", "a close has just ended", retry_at_ms)
    action = ClosePosition(position.symbol, position.side, quantity, bound)
    return _approved(request, action, (), clears=in_the_way(request.state, request.key))


def _reasons_not_to_close(request: Request) -> Iterator[Denied]:
    yield from _reasons_to_be_quiet(request)
    if looks_closed(request.state, request.key):
        until_ms = request.state.lacked[request.key].since_ms + GONE_MS
        if request.now_ms < until_ms:
            yield _wait("unconfirmed", "the newest read lacks it, and it looks closed", until_ms)


def looks_closed(state: AccountState, key: PositionKey) -> bool:
    """
    Whether the newest read lacks a position and its stops too, or a close of ours has filled it.

    Most likely it has been closed, so that a stop would only be refused: the next read tells. A
    close does not wait for that longer than the read should take.
    """
    if key not in state.lacked:
        return False
    stops_rest = any(
        PositionKey(stop.symbol, stop.side) == key and state.is_guards(stop)
        for stop in state.stops
    )
    (position,) = (each for each in state.positions if each.key == key)
    return not stops_rest or state.has_closed(position, state.lacked[key].asked_at_ms)


def _taken_in_slices(request: Request) -> Iterator[Quantity]:
    """What the venue has taken to close of the position, and no read may have shown yet."""
    state = request.state
    for intent in state.intents.values():
        if (
            isinstance(intent.action, ClosePosition)
            and intent.key == request.key
            and _is_slice(state, intent.action)
            and (intent.state is IntentState.ACKED or state.is_unseen(intent))
        ):
            yield intent.action.quantity


def _is_slice(state: AccountState, close: ClosePosition) -> bool:
    """Whether it is for as much as one order may be: most likely there was more to close."""
    instrument = state.instruments.by_symbol[close.symbol]
    return close.quantity >= floor_to(instrument.quantity_max, instrument.quantity_step)


def approve_stop(request: Request, action: PlaceStop | CancelStop) -> Approved:
    """Stops are always sendable: this only writes the intent."""
    return _approved(request, action, ())


def with_intent(state: AccountState, approved: Approved) -> AccountState:
    """`state` with an approved intent counted: in flight, in the budgets, in the numbering."""
    intent = approved.intent
    return replace(
        state,
        intents={**state.intents, intent.id: intent},
        intents_planned=state.intents_planned + 1,
    )


def spent_since(state: AccountState, since_ms: int) -> Decimal:
    """Margin added after `since_ms`, gross, applied plus not yet proven, in settle currency."""
    return sum(
        (_amount(intent) for intent in _spends(state) if intent.planned_at_ms > since_ms), ZERO
    )


def still_counts(intent: Intent, memory: PositionMemory, now_ms: int) -> bool:
    """Whether a limit or an open question still needs `intent`."""
    if intent.is_open or now_ms - intent.changed_at_ms < MINUTE_MS:
        return True
    return intent.counts_as_spent and (
        now_ms - intent.planned_at_ms < DAY_MS
        or (memory.in_episode and memory.episode == intent.episode)
    )


def _stop_would_move(
    policy: Policy,
    instrument: Instrument,
    position: Position,
    amount: Money,
    users: tuple[Price, ...],
) -> bool:
    topped_up = replace(
        position,
        isolated_margin=Money(position.isolated_margin + amount),
        liquidation=NotReported(),
    )
    now = wanted(policy, instrument, position, settle_liquidation(instrument, position)[0], users)
    then = wanted(policy, instrument, topped_up, liquidation(instrument, topped_up), users)
    match then:
        case StopNotNeeded():
            return True
        case StopWanted(trigger_price=after):
            return isinstance(now, StopWanted) and (
                position.side.sign * (now.trigger_price - after) > ZERO
            )
    assert_never(then)


def _reasons_to_hold(request: Request, cooldown_ms: int) -> Iterator[Denied]:
    state, key = request.state, request.key
    if state.mode is not AccountMode.ACTIVE:
        yield _exhausted("mode", f"the account is in mode {state.mode}: {state.mode_reason}")
    yield from _reasons_to_be_quiet(request)
    for text in _reasons_to_read(request, _acted_on(state)):
        yield Denied(Denial.WAIT, "age", text, FAR_MS, needs_read=True)
    apart = {
        each.symbol
        for each in state.positions
        if each.key in state.carried and each.margin_mode is MarginMode.ISOLATED
    }
    for garbled in state.garbled:
        if garbled.symbol not in apart:  # it may be a cross one that needs the wallet
            text = f"a position could not be read: {garbled.reason}"
            yield Denied(Denial.WAIT, "garbled", text, FAR_MS, needs_read=True)
    if key in state.lacked or any(each.key in state.lacked for each in cross_positions(state)):
        yield _unconfirmed(state)
    for intent in _in_order(state):
        spends = isinstance(intent.action, AddMargin)
        closes = isinstance(intent.action, ClosePosition) and intent.key == key
        if intent.is_open and (spends or closes):
            yield _wait("in_flight", f"intent {intent.id} is not settled", FAR_MS)
    yield from _reasons_to_wait(request, cooldown_ms)


def _reasons_not_to_reduce(
    request: Request, closes: tuple[PartClose, ...], cooldown_ms: int
) -> Iterator[Denied]:
    state = request.state
    touched = {close.position.key for close in closes}
    moved: Set[PositionKey] = touched
    if any(close.position.margin_mode is MarginMode.CROSS for close in closes):
        touched = touched | {position.key for position in cross_positions(state)}
        moved = _acted_on(state)  # whatever it was, the wallet that backs them has paid for it
    if state.mode is AccountMode.HOLD:
        yield _exhausted("hold", "the account is on HOLD")
    yield from _reasons_to_be_quiet(request)
    if any(isinstance(close.purpose, Trim) for close in closes):
        yield from _reasons_not_to_trim(state, touched)
    for text in _reasons_to_read(request, moved):
        yield Denied(Denial.WAIT, "age", text, FAR_MS, needs_read=True)
    if touched & state.lacked.keys():
        yield _unconfirmed(state)
    for intent in _in_order(state):
        moves = isinstance(intent.action, AddMargin | ClosePosition)
        if intent.is_open and moves and intent.key in touched:
            yield _wait("in_flight", f"intent {intent.id} is not settled", FAR_MS)
    parts = tuple(Part(each.position, _sent_of(state, each), each.bound) for each in closes)
    if raises_stressed_loss(state, request.policy, parts):
        text = "without the part more would be at risk than with it"
        yield _exhausted("stressed_loss", text)
    for text in brings_nearer(state, request.policy, request.now_ms, parts):
        yield _exhausted("nearer", text)
    yield from _reasons_to_wait(request, cooldown_ms)


def _reasons_to_be_quiet(request: Request) -> Iterator[Denied]:
    """A banned address has everything refused, and whatever it sends makes the ban longer."""
    until_ms = request.state.banned_until_ms
    if request.now_ms < until_ms:
        yield _wait("banned", f"the venue has banned this address until {until_ms}", until_ms)


def _unconfirmed(state: AccountState) -> Denied:
    """What is chosen rests on no position that the newest read did not have."""
    text = "the newest read of the account lacks a position, and one read proves nothing"
    return Denied(Denial.WAIT, "age", text, FAR_MS, needs_read=True)


def _reasons_not_to_trim(state: AccountState, touched: Set[PositionKey]) -> Iterator[Denied]:
    """A trim whose margin cannot go back makes a position smaller and no safer."""
    if state.mode is not AccountMode.ACTIVE:
        yield _exhausted("mode", f"in mode {state.mode} no margin could go back after it")
    for due in state.refunds.values():
        if due.key in touched:
            text = "what the last trim freed has not gone back yet"
            yield _wait("refund_due", text, due.expires_at_ms)


def hedge_of(request: Request, position: Position) -> tuple[Position, ...]:
    """
    The leg against `position`, where closing the position alone would leave more at risk.

    Such a close takes both legs, whoever asks for it.
    """
    whole = Part(position, position.quantity, AT_MARKET)
    if not raises_stressed_loss(request.state, request.policy, (whole,)):
        return ()
    return tuple(
        each
        for each in request.state.positions
        if each.symbol == position.symbol and each.key != position.key
    )


def _reasons_to_wait(request: Request, cooldown_ms: int) -> Iterator[Denied]:
    state, now_ms = request.state, request.now_ms
    acted_at_ms = request.memory.steps.get(request.reason, IDLE).acted_at_ms
    if now_ms - acted_at_ms < cooldown_ms:
        yield _wait("cooldown", f"cooldown of {cooldown_ms} ms", acted_at_ms + cooldown_ms)
    recent = sorted(
        intent.planned_at_ms
        for intent in state.intents.values()
        if isinstance(intent.action, AddMargin | ClosePosition)
        and now_ms - intent.planned_at_ms < MINUTE_MS
    )
    if len(recent) >= request.policy.guardrails.actions_1m_max:
        yield _wait("actions_per_1m", f"{len(recent)} actions in a minute", recent[0] + MINUTE_MS)


def _acted_on(state: AccountState) -> Set[PositionKey]:
    return {intent.key for intent in state.intents.values()}


def _reasons_to_read(request: Request, moved: Set[PositionKey]) -> Iterator[str]:
    """`moved`: the positions after whose last top-up or close the account must have been read."""
    state, age_max_ms = request.state, request.policy.guardrails.data_age_max_ms
    match state.account:
        case NotRead():
            yield "the account has not been read"
        case AccountRead(asked_at_ms=asked_at_ms, received_at_ms=received_at_ms):
            if asked_at_ms <= state.lost_at_ms:
                yield "account events may have been missed since the last read"
            if request.now_ms - received_at_ms > age_max_ms:
                yield f"the account read is older than {age_max_ms} ms"
            if any(asked_at_ms < at_ms for at_ms in _changes_of_margin(state, moved)):
                yield "the account has not been read since the last top-up or close"


def _changes_of_margin(state: AccountState, moved: Set[PositionKey]) -> Iterator[int]:
    for intent in state.intents.values():
        if intent.key not in moved:
            continue
        withheld = intent.state is IntentState.WITHHELD
        closes = isinstance(intent.action, ClosePosition) and not withheld
        if intent.may_have_added_margin or closes:
            yield intent.changed_at_ms


def _spared_by_others(request: Request) -> Decimal | Denied:
    """What may leave the wallet without a cross step, or a stop, coming nearer than it clears."""
    state, policy = request.state, request.policy
    if not cross_positions(state):
        return Decimal("Infinity")
    match measure_book(state, request.now_ms, policy):
        case Unknown(reason):
            return Denied(Denial.WAIT, "age", reason, FAR_MS, needs_read=True)
        case BookKnown() as known:
            step = min(leg.instrument.rules.position_margin_step for leg in known.book.legs)
            stopped = stopped_legs(known.book)
            rooms = (distance_at_stop(policy.protect, leg) for leg in stopped)
            room = max(policy.protect.room, *rooms)
            turned = (frozenset({leg.position.symbol}) for leg in stopped if leg.beta < ZERO)
            books = (known.book, *(turned_over(known.book, symbols) for symbols in turned))
            limits = [Money(spare(book, room) - step) for book in books]
            for rule, each in steps_for_book(policy):
                match each.threshold:
                    case Below(value):
                        limits.append(spare(known.book, value + rule.hysteresis))
                    case Above(value):
                        is_ratio = rule.metric is Metric.MARGIN_RATIO
                        over = known.maintenance_margin if is_ratio else notional(known.book)
                        allowed = over / (value - rule.hysteresis)
                        limits.append(Money(known.margin_balance - allowed))
            return min(limits)


def _in_order(state: AccountState) -> list[Intent]:
    """Intents by age: a state read back from the journal must meet them in the same order."""
    return sorted(state.intents.values(), key=lambda each: (each.planned_at_ms, each.id))


def _spends(state: AccountState) -> list[Intent]:
    return [intent for intent in state.intents.values() if intent.counts_as_spent]


def _amount(intent: Intent) -> Decimal:
    assert isinstance(intent.action, AddMargin)  # noqa: S101 - what `_spends` selected
    return intent.action.amount


def _approved(
    request: Request,
    action: Action,
    shrinks: tuple[str, ...],
    purpose: Purpose = PLAIN,
    clears: tuple[str, ...] = (),
) -> Approved:
    state, key, episode = request.state, request.key, request.memory.episode
    found = [each for each in state.positions if each.key == key]  # one, or none where it is flat
    intent = Intent(
        id=client_id(state.birth, key, request.reason, episode, state.intents_planned),
        key=key,
        action=action,
        purpose=purpose,
        reason=request.reason,
        episode=episode,
        known_at_ms=state.known_at_ms,
        margin_before=Money(sum((each.isolated_margin for each in found), ZERO)),
        quantity_before=Quantity(sum((each.quantity for each in found), ZERO)),
        planned_at_ms=request.now_ms,
        state=IntentState.PLANNED,
        changed_at_ms=request.now_ms,
        detail="",
        clears=clears,
    )
    return Approved(intent, shrinks)


def _wait(limit: str, text: str, until_ms: int) -> Denied:
    return Denied(Denial.WAIT, limit, text, until_ms, needs_read=False)


def _exhausted(limit: str, text: str) -> Denied:
    return Denied(Denial.EXHAUSTED, limit, text, FAR_MS, needs_read=False)
