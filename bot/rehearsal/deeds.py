"""What was done in a run, read from its journal and from what the exchange realised."""

from dataclasses import dataclass
from decimal import Decimal

from bot.core.actions import Action, AddMargin, CancelStop, ClosePosition, PlaceStop
from bot.core.decision import Decision
from bot.core.events import OutcomeReported
from bot.core.guardrails import Denial
from bot.core.model import NO_FILL, Fill, Filled, NoFill
from bot.core.state import Intent
from bot.core.units import ZERO, Price
from bot.exchange.paper.books import Cause, Realised
from bot.journal.codec import from_json
from bot.journal.port import Journal, Kind
from bot.runtime.record import Recorded


@dataclass(frozen=True, slots=True)
class Deed:
    """
    Something the guard did, or its stop did for it: what a trader reads in a report.

    `price` is the trigger of a stop, and the average fill of a stop or a close; `amount` is
    money for a top-up and a quantity for all else.
    """

    at_ms: int
    symbol: str
    verb: str
    amount: Decimal
    price: Price | None
    reason: str
    proven: str


async def read_deeds(journal: Journal, realised: tuple[Realised, ...]) -> tuple[Deed, ...]:
    """What the journal says was done, with the fills that the exchange realised, in time order."""
    rows = await journal.rows(0)
    final = {
        moved.intent_id: moved
        for row in rows
        if row.entry.kind is Kind.INTENT
        for moved in (from_json(row.entry.body, OutcomeReported),)
    }
    deeds: list[Deed] = []
    for row in rows:
        if row.entry.kind is Kind.DECISION:
            decision = from_json(row.entry.body, Recorded).decision
            deeds.extend(_deed(approved.intent, decision, final) for approved in decision.approved)
    deeds.extend(
        Deed(
            fill.at_ms,
            fill.symbol,
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


def _deed(intent: Intent, decision: Decision, final: dict[str, OutcomeReported]) -> Deed:
    proof = final.get(intent.id)
    state = intent.state if proof is None else proof.state
    verb, amount, price = _describe(intent.action, NO_FILL if proof is None else proof.filled)
    exhausted = [
        denied.limit
        for verdict in decision.positions
        if verdict.position.key == intent.key and not isinstance(intent.action, PlaceStop)
        for denied in verdict.denied
        if denied.kind is Denial.EXHAUSTED
    ]
    reason = " after ".join([intent.reason, *exhausted])
    return Deed(intent.planned_at_ms, intent.key.symbol, verb, amount, price, reason, str(state))


def _describe(action: Action, filled: Filled) -> tuple[str, Decimal, Price | None]:
    match action:
        case AddMargin(amount=amount):
            return "top_up", amount, None
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
