"""
Claims: what a case expects at a moment, against the journal and what the exchange holds.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias, assert_never

from bot.core.actions import AddMargin, CancelStop, ClosePosition, PlaceStop
from bot.core.decision import BookVerdict, PositionVerdict
from bot.core.events import IntentState, OutcomeReported
from bot.core.guardrails import Approved, Denied
from bot.core.ladder import StepVerdict
from bot.core.metrics import BookKnown, Known, Unknown
from bot.core.model import AccountSnapshot
from bot.core.pairs import excess_of
from bot.core.policy import Policy
from bot.core.state import Refund
from bot.core.units import ZERO
from bot.exchange.paper.books import Cause, Realised
from bot.journal.codec import from_json
from bot.journal.port import Journal, Kind
from bot.policy.casefile import Done, Expectation
from bot.rehearsal.listing import unit_of
from bot.runtime.record import Recorded


@dataclass(frozen=True, slots=True)
class Failure:
    """A claim that did not hold: where the file makes it, and why it was otherwise."""

    line: int
    at_ms: int
    claim: str
    expected: str
    seen: str
    why: str


@dataclass(frozen=True, slots=True)
class Act:
    """Something the guard did: when, what, and how much of what."""

    at_ms: int
    done: Done


@dataclass(frozen=True, slots=True)
class Lived:
    """A case lived through. Times are since its beginning, `begins_ms`."""

    begins_ms: int
    decisions: tuple[Recorded, ...]
    acts: tuple[Act, ...]
    spends: tuple[tuple[int, Decimal], ...]
    samples: Mapping[int, AccountSnapshot]
    liquidated_at_ms: tuple[int, ...]
    settle: str


async def read_life(
    journal: Journal,
    policy: Policy,
    realised: tuple[Realised, ...],
    samples: Mapping[int, AccountSnapshot],
    begins_ms: int,
) -> Lived:
    """What the journal and the exchange say of a case that is over."""
    rows = await journal.rows(0)
    outcomes = {
        moved.intent_id: moved.state
        for row in rows
        if row.entry.kind is Kind.INTENT
        for moved in (from_json(row.entry.body, OutcomeReported),)
    }
    decisions = tuple(
        from_json(row.entry.body, Recorded) for row in rows if row.entry.kind is Kind.DECISION
    )
    verbs = {f"{rule.name}/{step.name}": step.verb for rule in policy.rules for step in rule.steps}
    acts = [act for recorded in decisions for act in _acts(recorded, verbs, begins_ms)]
    absent = (IntentState.WITHHELD, IntentState.REJECTED, IntentState.NOT_APPLIED)
    spends = tuple(
        (recorded.now_ms - begins_ms, approved.intent.action.amount)
        for recorded in decisions
        for approved in recorded.decision.approved
        if isinstance(approved.intent.action, AddMargin)
        and not isinstance(approved.intent.purpose, Refund)
        and outcomes.get(approved.intent.id) not in absent
    )
    liquidated = tuple(
        each.at_ms - begins_ms for each in realised if each.cause is Cause.LIQUIDATION
    )
    return Lived(begins_ms, decisions, tuple(acts), spends, samples, liquidated, policy.settle)


def _acts(recorded: Recorded, verbs: Mapping[str, str], begins_ms: int) -> Iterator[Act]:
    at_ms = recorded.now_ms - begins_ms
    for alert in recorded.decision.alerts:
        if alert.kind.startswith("step:"):
            yield Act(at_ms, Done("alert", ""))
    for approved in recorded.decision.approved:
        verb = _verb(approved, verbs)
        if verb:
            yield Act(at_ms, Done(verb, _amount(approved)))


def _verb(approved: Approved, verbs: Mapping[str, str]) -> str:
    intent = approved.intent
    match intent.action:
        case CancelStop():
            return ""  # only tidies up behind another stop
        case PlaceStop():
            return "place_stop"
        case AddMargin():
            return "refund" if isinstance(intent.purpose, Refund) else "top_up"
        case ClosePosition():
            return verbs.get(intent.reason, "close")
    assert_never(intent.action)


def _amount(approved: Approved) -> str:
    action = approved.intent.action
    settle = action.symbol.rpartition(":")[2]
    match action:
        case AddMargin(amount=amount):
            return _plain(amount, settle)
        case PlaceStop(trigger_price=trigger):
            return _plain(trigger, action.symbol.partition("/")[2].partition(":")[0])
        case ClosePosition(quantity=quantity):
            return _plain(quantity, unit_of(action.symbol))
        case CancelStop():
            return ""
    assert_never(action)


def _plain(value: Decimal, unit: str) -> str:
    return f"{value.normalize():f} {unit}"


def compare(claims: Expectation, lived: Lived, since_ms: int) -> Iterator[Failure]:
    """Every claim of one expectation that does not hold; actions count from `since_ms` on."""
    seen = (
        *_states(claims, lived),
        *_actions(claims, lived, since_ms),
        *_money(claims, lived),
        *_holdings(claims, lived),
    )
    for claim, expected, was in seen:
        if expected != was:
            why = _why(lived, claims.at_ms)
            yield Failure(claims.line, claims.at_ms, claim, expected, was, why)


_Seen: TypeAlias = tuple[str, str, str]
"""A claim, what is expected of it, and what was seen."""


def _states(claims: Expectation, lived: Lived) -> Iterator[_Seen]:
    states = _states_at(lived, claims.at_ms)
    for step, state in claims.states.items():
        yield f"states: {step}", state, states.get(step, "inactive")


def _actions(claims: Expectation, lived: Lived, since_ms: int) -> Iterator[_Seen]:
    seen = [act.done for act in lived.acts if since_ms < act.at_ms <= claims.at_ms]
    for expected in claims.actions:
        same = len(seen) == len(expected) and all(map(_is_meant, seen, expected))
        yield "actions", _listed(expected), _listed(expected) if same else _listed(tuple(seen))


def _money(claims: Expectation, lived: Lived) -> Iterator[_Seen]:
    spent = sum((amount for at_ms, amount in lived.spends if at_ms <= claims.at_ms), ZERO)
    for expected in claims.spent:
        yield "spent", _plain(expected, lived.settle), _plain(spent, lived.settle)
    was = any(at_ms <= claims.at_ms for at_ms in lived.liquidated_at_ms)
    for wanted in claims.liquidated:
        yield "liquidated", str(wanted).lower(), str(was).lower()


def _holdings(claims: Expectation, lived: Lived) -> Iterator[_Seen]:
    sample = lived.samples[claims.at_ms]
    for symbol, wanted in claims.stops.items():
        yield f"stop: {symbol}", wanted, "in_place" if _stop_rests(sample, symbol) else "missing"
    for symbol, quantity in claims.quantities.items():
        held = sum((each.quantity for each in sample.positions if each.symbol == symbol), ZERO)
        yield f"quantity: {symbol}", f"{quantity.normalize():f}", f"{held.normalize():f}"


def _is_meant(seen: Done, expected: Done) -> bool:
    return seen.verb == expected.verb and expected.amount in ("", seen.amount)


def _listed(done: tuple[Done, ...]) -> str:
    return ", ".join(f"{each.verb} {each.amount}".strip() for each in done) or "nothing"


def _stop_rests(sample: AccountSnapshot, symbol: str) -> bool:
    """Whether stops are in place for all of a symbol that no other leg of the wallet hedges."""
    held = [
        (position.side, excess_of(position, sample.positions))
        for position in sample.positions
        if position.symbol == symbol
    ]
    exposed = [(side, quantity) for side, quantity in held if quantity]
    return bool(exposed) and all(
        any(
            (stop.symbol, stop.side) == (symbol, side) and stop.quantity >= quantity
            for stop in sample.stops
        )
        for side, quantity in exposed
    )


def steps_of(recorded: Recorded) -> Iterator[StepVerdict]:
    """Every step's verdict at one decision, of each position and of all cross ones."""
    for verdict in recorded.decision.positions:
        yield from verdict.steps
    if isinstance(recorded.decision.book, BookVerdict):
        yield from recorded.decision.book.steps


_DEPTH = ("inactive", "unknown", "pending", "firing")


def _states_at(lived: Lived, at_ms: int) -> dict[str, str]:
    """The state of each step, of the position where it is deepest."""
    states: dict[str, str] = {}
    for recorded in _newest(lived, at_ms):
        for step in steps_of(recorded):
            known = states.get(step.reason, "inactive")
            states[step.reason] = max(known, str(step.phase), key=_DEPTH.index)
    return states


def _newest(lived: Lived, at_ms: int) -> tuple[Recorded, ...]:
    until = [each for each in lived.decisions if each.now_ms - lived.begins_ms <= at_ms]
    return tuple(until[-1:])


def _why(lived: Lived, at_ms: int) -> str:
    """What the guard saw and thought at that moment, in one line."""
    parts: list[str] = []
    for recorded in _newest(lived, at_ms):
        decision = recorded.decision
        age_ms = at_ms - (recorded.now_ms - lived.begins_ms)
        parts.append(f"as decided {age_ms} ms before")
        for verdict in decision.positions:
            parts.extend(_thoughts(verdict))
        if isinstance(decision.book, BookVerdict):
            parts.extend(_of_book(decision.book))
    return "; ".join(parts) or "nothing had been decided"


def _thoughts(verdict: PositionVerdict) -> Iterator[str]:
    name = verdict.position.symbol
    match verdict.measured:
        case Known(liquidation_distance=distance, margin_ratio=ratio, mark_price=mark):
            yield f"{name} at {mark:f}, distance {distance:.2%}, margin ratio {ratio:.2%}"
        case Unknown(reason):
            yield f"{name} unknown ({reason})"
    yield from _steps_and_denials(verdict.steps, verdict.denied)


def _of_book(book: BookVerdict) -> Iterator[str]:
    match book.measured:
        case BookKnown(liquidation_distance=distance, margin_ratio=ratio):
            yield f"together distance {distance:.2%}, margin ratio {ratio:.2%}"
        case Unknown(reason):
            yield f"together unknown ({reason})"
    yield from _steps_and_denials(book.steps, book.denied)


def _steps_and_denials(
    steps: tuple[StepVerdict, ...], denied: tuple[Denied, ...]
) -> Iterator[str]:
    for step in steps:
        yield f"{step.reason} {step.phase}"
    for each in denied:
        yield f"denied ({each.kind}, {each.limit}): {each.text}"
