"""
Why the guard did what it did: one decision with all that it saw, and why not for the rest.
"""

import json
from collections.abc import Iterator
from decimal import Decimal

import typer

from bot.app import Explained
from bot.cli.show import percent, utc
from bot.core.actions import (
    Action,
    AddMargin,
    AtMarket,
    Bound,
    CancelStop,
    ClosePosition,
    NoWorseThan,
    PlaceStop,
)
from bot.core.decision import Audited, BookVerdict, NotAudited, PositionVerdict, StopVerdict
from bot.core.events import IntentState
from bot.core.funding import FundingCost, FundingUnknown
from bot.core.guardrails import Approved, Denied
from bot.core.ladder import IDLE, NotKnown, StepPhase, StepVerdict, metric_value
from bot.core.margin import LiquidatesAt, LiquidatesTogether, NoLiquidation
from bot.core.metrics import (
    BookKnown,
    ByVolatility,
    Known,
    TimeLeft,
    Unknown,
    VolatilityUnknown,
)
from bot.core.policy import Above, Below, Metric, Policy, Rule, Step, Threshold
from bot.core.protection import StopNotNeeded, StopWanted
from bot.core.state import AccountRead, NotRead, PositionMemory, Refund
from bot.journal.codec import to_json
from bot.policy.values import level_text
from bot.runtime.record import Recorded


def show_explanation(found: Explained, as_json: bool) -> None:
    """One decision: what the guard saw, what every step said, what was done and refused."""
    recorded, row = found.recorded, found.row
    if as_json:
        body = json.loads(to_json(recorded, Recorded))
        became = {each.intent_id: each.state for each in found.outcomes.values()}
        typer.echo(json.dumps({"row": row.sequence, **body, "outcomes": became}))
        return
    typer.echo(f"row {row.sequence} at {utc(recorded.now_ms)} UTC, mode {recorded.decision.mode}")
    for line in explanation(found):
        typer.echo(line)


def explanation(found: Explained) -> Iterator[str]:
    """The decision in lines; whatever stands below something is indented under it."""
    recorded, policy = found.recorded, found.policy
    decision, state = recorded.decision, recorded.state
    yield f"policy {policy.digest[:12]}, account {policy.account}"
    match state.account:
        case AccountRead(received_at_ms=at_ms):
            yield (
                f"account read {_age(recorded, at_ms)} old: wallet {state.wallet_balance:f}, "
                f"free {state.free:f} {policy.settle}"
            )
        case NotRead():
            yield "the account has not been read"
    for verdict in decision.positions:
        yield from _of_position(verdict, recorded, policy)
    if isinstance(decision.book, BookVerdict):
        yield from _of_book(decision.book, recorded, policy)
    for approved in decision.approved:
        yield from _deed(approved, found)
    for alert in decision.alerts:
        yield f"  said: [{alert.severity.name.lower()}] {alert.text}"
    if not decision.approved and not decision.alerts:
        yield "  did nothing"


def _deed(approved: Approved, found: Explained) -> Iterator[str]:
    """What was approved, and what became of it."""
    intent = approved.intent
    what = action_sentence(intent.action, found.policy.settle)
    if isinstance(intent.purpose, Refund):
        what += ", which a trim had freed"
    if intent.clears:
        what += f", after taking {len(intent.clears)} of our stops out of its way"
    became = found.outcomes.get(intent.id)
    withheld = became is not None and became.state is IntentState.WITHHELD
    did = "would have" if withheld else "did"
    yield f"  {did}: {what}, because of {intent.reason}, {intent.id}"
    if became is not None:
        yield f"    {became.state}: {became.detail}"
    yield from (f"    shrunk: {shrink}" for shrink in approved.shrinks)


def action_sentence(action: Action, settle: str) -> str:
    """What an action does, with its numbers; amounts are in `settle`."""
    match action:
        case AddMargin(symbol=symbol, amount=amount):
            return f"added {amount:f} {settle} margin to {symbol}"
        case PlaceStop(symbol=symbol, quantity=quantity, trigger_price=trigger):
            return f"placed a stop for {quantity:f} {symbol} at {trigger:f}"
        case CancelStop(symbol=symbol, target_client_id=target):
            return f"cancelled our stop {target} on {symbol}"
        case ClosePosition(symbol=symbol, quantity=quantity, bound=bound):
            return f"closed {quantity:f} {symbol} {_within(bound)}"


def _within(bound: Bound) -> str:
    match bound:
        case AtMarket():
            return "at market"
        case NoWorseThan(price):
            return f"at {price:f} or better"


def _of_position(verdict: PositionVerdict, recorded: Recorded, policy: Policy) -> Iterator[str]:
    position, measured = verdict.position, verdict.measured
    yield (
        f"{position.symbol} {position.side} {position.quantity:f} {position.margin_mode}, entry "
        f"{position.entry_price:f}, margin {position.isolated_margin:f} {policy.settle}"
    )
    match measured:
        case Known():
            yield from _measured(position.symbol, measured, recorded, policy.settle)
        case Unknown(reason, since_ms):
            yield f"  cannot be measured for {_age(recorded, since_ms)}: {reason}"
    memory = recorded.state.memory_of(position.key)
    yield from _steps(verdict.steps, measured, memory, recorded, policy)
    covering = {step.reason for step in verdict.steps}
    for rule in policy.rules:
        if rule.steps and f"{rule.name}/{rule.steps[0].name}" not in covering:
            yield f"  rule {rule.name}: does not speak of this position by itself"
    yield f"  stop: {_stop(verdict.stop)}"
    for price in recorded.state.shared.bounds(position.key):
        yield f"  a loss in the account holds it: at {price:f} or nearer to the mark"
    yield from _denials(verdict.denied)


def _measured(symbol: str, known: Known, recorded: Recorded, settle: str) -> Iterator[str]:
    mark = recorded.state.marks[symbol]
    yield f"  mark {known.mark_price:f}, {_age(recorded, mark.received_at_ms)} old"
    match known.liquidation:
        case LiquidatesAt(price):
            where = f"liquidation at {price:.8g}"
        case LiquidatesTogether(price):
            where = f"liquidation at {price:.8g}, when all cross positions move together"
        case NoLiquidation(proof):
            where = f"no liquidation: {proof}"
    yield f"  {where}"
    yield (
        f"  distance {percent(known.liquidation_distance)}, margin ratio "
        f"{percent(known.margin_ratio)}, margin balance {_money(known.margin_balance, settle)}"
    )
    match known.funding:
        case FundingCost(payment, next_at_ms, interval, day, episode):
            yield (
                f"  funding: next bill {payment:.4f} {settle} at {utc(next_at_ms)} UTC = "
                f"{percent(interval)} of margin, {percent(day)} in 24 h, "
                f"{percent(episode)} paid in this episode"
            )
        case FundingUnknown(reason):
            yield f"  funding: {reason}"
    match known.volatility:
        case ByVolatility(atrs, sigmas, time):
            after = (
                level_text(Metric.TIME_TO_LIQUIDATION, time.ms)
                if isinstance(time, TimeLeft)
                else f"unknown: {time.reason}"
            )
            yield f"  away by {atrs:.2f} ATRs, {sigmas:.2f} sigmas of a day; time left: {after}"
        case VolatilityUnknown():
            pass  # a rule that asks for it says so itself


def _money(amount: Decimal, settle: str) -> str:
    """To the cent, or to a ten-thousandth of a coin that is worth more."""
    return f"{amount:.2f} {settle}" if settle.startswith("USD") else f"{amount:.4f} {settle}"


def _of_book(book: BookVerdict, recorded: Recorded, policy: Policy) -> Iterator[str]:
    yield "all cross positions together"
    settle = policy.settle
    match book.measured:
        case BookKnown() as known:
            yield (
                f"  distance {percent(known.liquidation_distance)}, margin ratio "
                f"{percent(known.margin_ratio)}, "
                f"margin balance {_money(known.margin_balance, settle)}, "
                f"maintenance {_money(known.maintenance_margin, settle)}"
            )
        case Unknown(reason, since_ms):
            yield f"  cannot be measured for {_age(recorded, since_ms)}: {reason}"
    yield from _steps(book.steps, book.measured, recorded.state.book, recorded, policy)
    yield from _denials(book.denied)


def _steps(
    verdicts: tuple[StepVerdict, ...],
    measured: Known | BookKnown | Unknown,
    memory: PositionMemory,
    recorded: Recorded,
    policy: Policy,
) -> Iterator[str]:
    known = {
        f"{rule.name}/{step.name}": (rule, step) for rule in policy.rules for step in rule.steps
    }
    for verdict in verdicts:
        rule, step = known[verdict.reason]
        why = _why(verdict, rule, step, measured)
        since_ms = memory.steps.get(verdict.reason, IDLE).since_ms
        if verdict.phase is StepPhase.PENDING:
            waited = _age(recorded, max(since_ms, 0)) if since_ms > 0 else "0 s"
            why += f", for {waited} of {step.hold_ms / 1000:g} s"
        yield f"  step {verdict.reason} (line {step.line}): {verdict.phase}: {why}"


def _why(
    verdict: StepVerdict, rule: Rule, step: Step, measured: Known | BookKnown | Unknown
) -> str:
    """The metric beside its threshold."""
    if isinstance(measured, Unknown):
        return "nothing is known"
    value = metric_value(rule.metric, measured)
    if isinstance(value, NotKnown):
        return value.reason
    metric, clears = rule.metric, ""
    if verdict.phase is StepPhase.FIRING:
        clears = f", clears at {level_text(metric, _clearing(step.threshold, rule))}"
    return f"{metric} {level_text(metric, value)}, fires {_words(metric, step.threshold)}{clears}"


def _words(metric: Metric, threshold: Threshold) -> str:
    match threshold:
        case Below(value):
            return f"below {level_text(metric, value)}"
        case Above(value):
            return f"above {level_text(metric, value)}"


def _clearing(threshold: Threshold, rule: Rule) -> Decimal:
    match threshold:
        case Below(value):
            return value + rule.hysteresis
        case Above(value):
            return value - rule.hysteresis


def _stop(verdict: StopVerdict) -> str:
    match verdict:
        case NotAudited(reason):
            return f"not looked at: {reason}"
        case Audited(status=status, target=target):
            pass
    match target:
        case StopWanted(trigger_price=trigger):
            return f"{status}, wanted at {trigger:f}"
        case StopNotNeeded(proof):
            return f"{status}: {proof}"


def _denials(denied: tuple[Denied, ...]) -> Iterator[str]:
    for each in denied:
        yield f"  denied ({each.kind}, {each.limit}): {each.text}"


def _age(recorded: Recorded, at_ms: int) -> str:
    return f"{(recorded.now_ms - at_ms) / 1000:g} s"
