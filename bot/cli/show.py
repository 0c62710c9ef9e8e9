"""
What results look like: tables for people, JSON for programs. Numbers keep their exact text.
"""

import json
import sys
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from bot.app import Ended
from bot.core.actions import AddMargin, CancelStop, ClosePosition, PlaceStop
from bot.core.decision import Audited, PositionVerdict
from bot.core.margin import LiquidatesAt, LiquidatesTogether
from bot.core.metrics import Known
from bot.core.policy import Policy
from bot.core.protection import StopWanted
from bot.core.state import AccountRead
from bot.journal.codec import to_json
from bot.journal.port import Row
from bot.rehearsal.deeds import Deed
from bot.runtime.control import Answer
from bot.runtime.record import Recorded

HOUSEKEEPING = frozenset({"cancel_stop"})
"""Deeds that only tidy up behind another one: in the JSON, not in the tables."""


def console() -> Console:
    """Standard output; wide enough for the tables where it is no terminal."""
    if sys.stdout.isatty():
        return Console(highlight=False)
    return Console(highlight=False, width=110, no_color=True)


def utc(at_ms: int) -> str:
    """A moment as people write it, to the second, UTC."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def percent(share: Decimal) -> str:
    """A ratio as a percentage with two decimals."""
    return f"{share * 100:.2f}%"


def short(price: Decimal) -> str:
    """A price to eight digits, without zeros at its end."""
    return f"{Decimal(f'{price:.8g}').normalize():f}"


def deed_json(deed: Deed) -> dict[str, Any]:
    """A deed with plain JSON values."""
    return {
        "at_ms": deed.at_ms,
        "symbol": deed.symbol,
        "verb": deed.verb,
        "amount": f"{deed.amount:f}",
        "price": None if deed.price is None else f"{deed.price:f}",
        "reason": deed.reason,
        "outcome": deed.proven,
    }


def deed_sentence(deed: Deed) -> str:
    """What was done, with its number."""
    price = "market" if deed.price is None else short(deed.price)
    return {
        "top_up": f"add {deed.amount:f} USDT margin",
        "refund": f"put {deed.amount:f} USDT margin back",
        "place_stop": f"stop for {deed.amount:f} at {price}",
        "cancel_stop": "cancel the old stop",
        "close": f"close {deed.amount:f} at {price}",
        "stop_filled": f"stop filled {deed.amount:f} at {price}",
    }[deed.verb]


def deeds_table(deeds: tuple[Deed, ...]) -> Table:
    """The guard's deeds in the order of time; symbols are named where there are several."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("UTC", "action", "reason", "outcome"):
        table.add_column(column, no_wrap=True)
    several = len({deed.symbol for deed in deeds}) > 1
    for deed in deeds:
        if deed.verb not in HOUSEKEEPING:
            action = deed_sentence(deed)
            where = f"{deed.symbol.split('/')[0]}: {action}" if several else action
            table.add_row(utc(deed.at_ms), where, deed.reason, deed.proven)
    return table


def show_ended(ended: Ended, as_json: bool) -> None:
    """The end of a paper run."""
    if as_json:
        result = {
            "at_ms": ended.at_ms,
            "equity": f"{ended.equity:f}",
            "positions": ended.positions,
            "actions": [deed_json(deed) for deed in ended.deeds],
            "digest": ended.digest,
        }
        typer.echo(json.dumps(result))
        return
    out = console()
    out.print(deeds_table(ended.deeds))
    out.print(
        f"stopped at {utc(ended.at_ms)} UTC: equity {ended.equity:.2f} USDT, "
        f"{ended.positions} open, journal {ended.digest[:16]}"
    )


def show_status(answer: Answer, as_json: bool) -> None:
    """The guard's own view of its account."""
    if as_json:
        typer.echo(json.dumps(answer))
        return
    out = console()
    reason = f" ({answer['mode_reason']})" if answer["mode_reason"] else ""
    out.print(
        f"{answer['account']}  {str(answer['mode']).upper()}{reason}  "
        f"free {answer['free']}  spent 1h {answer['top_up_spent_1h']}, "
        f"24h {answer['top_up_spent_24h']}  open intents {len(answer['intents_open'])}"
    )
    table = Table(box=None, pad_edge=False, header_style="dim")
    columns = ("symbol", "side", "quantity", "mark", "liquidation", "distance", "stop", "firing")
    for column in columns:
        table.add_column(column)
    for position in answer["positions"]:
        firing = [name for name, phase in position["steps"].items() if phase == "firing"]
        distance = position.get("liquidation_distance")
        table.add_row(
            position["symbol"],
            position["side"],
            position["quantity"],
            position.get("mark_price", position.get("unknown", "")),
            _short(position.get("liquidation_price")),
            percent(Decimal(distance)) if distance else "unknown",
            f"{position['stop']} {position.get('stop_price', '')}",
            ", ".join(firing) or "-",
        )
    out.print(table)


def _short(price: str | None) -> str:
    return "-" if price is None else short(Decimal(price))


def show_explanation(row: Row, recorded: Recorded, policy: Policy, as_json: bool) -> None:
    """One decision: what the guard saw, what every step said, what was done and refused."""
    if as_json:
        body = json.loads(to_json(recorded, Recorded))
        typer.echo(json.dumps({"row": row.sequence, **body}))
        return
    decision, state = recorded.decision, recorded.state
    typer.echo(f"row {row.sequence} at {utc(recorded.now_ms)} UTC, mode {decision.mode}")
    typer.echo(f"policy {policy.digest[:12]}, account {policy.account}")
    if isinstance(state.account, AccountRead):
        age_ms = recorded.now_ms - state.account.received_at_ms
        typer.echo(f"account read {age_ms} ms old, free {state.free:f} USDT")
    lines = {f"{rule.name}/{step.name}": step.line for rule in policy.rules for step in rule.steps}
    for verdict in decision.positions:
        _explain_position(verdict, recorded, lines)
    for approved in decision.approved:
        action = _action_sentence(approved.intent.action)
        typer.echo(f"  did: {action}, because of {approved.intent.reason}, {approved.intent.id}")
        for shrink in approved.shrinks:
            typer.echo(f"    shrunk: {shrink}")
    for alert in decision.alerts:
        typer.echo(f"  said: [{alert.severity.name.lower()}] {alert.text}")


def _explain_position(verdict: PositionVerdict, recorded: Recorded, lines: dict[str, int]) -> None:
    position, measured = verdict.position, verdict.measured
    typer.echo(
        f"{position.symbol} {position.side} {position.quantity:f}, entry "
        f"{position.entry_price:f}, margin {position.isolated_margin:f} USDT"
    )
    if isinstance(measured, Known):
        mark = recorded.state.marks[position.symbol]
        age_ms = recorded.now_ms - mark.received_at_ms
        typer.echo(f"  mark {measured.mark_price:f}, {age_ms} ms old")
        if isinstance(measured.liquidation, LiquidatesAt | LiquidatesTogether):
            typer.echo(f"  liquidation {short(measured.liquidation.price)}")
        typer.echo(
            f"  distance {percent(measured.liquidation_distance)}, "
            f"margin ratio {percent(measured.margin_ratio)}"
        )
    else:
        typer.echo(f"  cannot be measured: {measured.reason}")
    for step in verdict.steps:
        typer.echo(f"  step {step.reason} (line {lines[step.reason]}): {step.phase}")
    if isinstance(verdict.stop, Audited):
        target = verdict.stop.target
        where = f", wanted at {target.trigger_price:f}" if isinstance(target, StopWanted) else ""
        typer.echo(f"  stop: {verdict.stop.status}{where}")
    for denied in verdict.denied:
        typer.echo(f"  denied ({denied.kind}, {denied.limit}): {denied.text}")


def _action_sentence(action: AddMargin | PlaceStop | CancelStop | ClosePosition) -> str:
    match action:
        case AddMargin(amount=amount):
            return f"added {amount:f} USDT margin"
        case PlaceStop(quantity=quantity, trigger_price=trigger):
            return f"placed a stop for {quantity:f} at {trigger:f}"
        case CancelStop(target_client_id=target):
            return f"cancelled our stop {target}"
        case ClosePosition(quantity=quantity):
            return f"closed {quantity:f} at market"
