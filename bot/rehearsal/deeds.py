"""What was done in a run, read from its journal and from what the exchange realised."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from bot.core.actions import AddMargin, CancelStop, ClosePosition, PlaceStop
from bot.core.decision import BookVerdict, Decision
from bot.core.events import OutcomeReported
from bot.core.guardrails import Denial
from bot.core.model import NO_FILL, Fill, Filled, MarginMode, NoFill, PositionKey, Side
from bot.core.state import Intent, Refund
from bot.core.units import ZERO, Price
from bot.exchange.paper.books import Cause, Realised
from bot.journal.codec import from_json
from bot.journal.port import Journal, Kind, Row
from bot.runtime.record import Recorded


@dataclass(frozen=True, slots=True)
class Deed:
    """
    Something the guard did, or its stop did for it: what a trader reads in a report.

    `amount` is money for a top-up and a refund (margin that a trim freed, put back), and a
    quantity for all else. `price` is the trigger of a stop that is placed, and the average fill
    of a stop or a close.
    """

    at_ms: int
    symbol: str
    side: Side
    verb: str
    amount: Decimal
    price: Price | None
    reason: str
    proven: str


async def read_deeds(journal: Journal, realised: tuple[Realised, ...]) -> tuple[Deed, ...]:
    """What the journal says was done, with the fills that the exchange realised, in time order."""
    rows = await journal.rows(0)
    final = outcomes(rows)
    deeds: list[Deed] = []
    for row in rows:
        if row.entry.kind is Kind.DECISION and _approves(row.entry.body):
            decision = from_json(row.entry.body, Recorded).decision
            deeds.extend(deed_of(each.intent, decision, final) for each in decision.approved)
    deeds.extend(
        Deed(
            fill.at_ms,
            fill.symbol,
            fill.side,
            "stop_filled",
            fill.quantity,
            fill.price,
            "the resting stop triggered",
            "applied",
        )
        for fill in realised
        if fill.cause is Cause.STOP
    )
    return tuple(sorted(deeds, key=lambda deed: deed.at_ms))


def outcomes(rows: Iterable[Row]) -> dict[str, OutcomeReported]:
    """The newest that `rows` say of every intent."""
    return {
        moved.intent_id: moved
        for row in rows
        if row.entry.kind is Kind.INTENT
        for moved in (from_json(row.entry.body, OutcomeReported),)
    }


def _approves(body: str) -> bool:
    """Whether a decision's row has anything sent: most have not, and reading all of it is slow."""
    return bool(json.loads(body)["decision"]["approved"])


def deed_of(intent: Intent, decision: Decision, final: dict[str, OutcomeReported]) -> Deed:
    """What became of an intent of `decision`."""
    proof = final.get(intent.id)
    state = intent.state if proof is None else proof.state
    verb, amount, price = _describe(intent, NO_FILL if proof is None else proof.filled)
    refused = [] if isinstance(intent.action, PlaceStop) else _exhausted(intent.key, decision)
    reason = " after ".join([intent.reason, *refused])
    key = intent.key
    return Deed(
        intent.planned_at_ms, key.symbol, key.side, verb, amount, price, reason, str(state)
    )


def _exhausted(key: PositionKey, decision: Decision) -> list[str]:
    """The limits that refused what was tried before, for the position or for its book."""
    verdicts = [each for each in decision.positions if each.position.key == key]
    denied = [each for verdict in verdicts for each in verdict.denied]
    is_cross = any(each.position.margin_mode is MarginMode.CROSS for each in verdicts)
    if is_cross and isinstance(decision.book, BookVerdict):
        denied.extend(decision.book.denied)
    return [each.limit for each in denied if each.kind is Denial.EXHAUSTED]


def _describe(intent: Intent, filled: Filled) -> tuple[str, Decimal, Price | None]:
    match intent.action:
        case AddMargin(amount=amount):
            return "refund" if isinstance(intent.purpose, Refund) else "top_up", amount, None
        case PlaceStop(quantity=quantity, trigger_price=trigger):
            return "place_stop", quantity, trigger
        case CancelStop():
            return "cancel_stop", ZERO, None
        case ClosePosition(quantity=quantity):
            match filled:
                case Fill(quantity=part, price=price):
                    return "close", part, price
                case NoFill():
                    return "close", quantity, None
