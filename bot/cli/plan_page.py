"""
What a plan looks like: a page of 80 columns for people, JSON for programs.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from rich.console import Console
from rich.table import Table

from bot.cli.show import percent, short
from bot.core.checklist import Verdict, checklist
from bot.core.margin import LiquidatesAt, NoLiquidation
from bot.core.planning import (
    NOT_GIVEN,
    Away,
    Carry,
    Idea,
    NotGiven,
    Plan,
    Threat,
    gain_to_recover,
    kelly,
)
from bot.core.state import DAY_MS
from bot.core.units import ONE, Money, Ratio

NOTE = """\
Liquidation comes at the maintenance margin (valued at {valued}), before the loss
is the initial margin. Less leverage moves it away and binds more margin. A stop
can gap."""

_HALF, _QUARTER = Decimal("0.5"), Decimal("0.25")
_DIGITS = 10
_COLOURS = {Verdict.PASS: "green", Verdict.WARN: "yellow", Verdict.FAIL: "bold red"}


def plan_json(planned: Plan) -> dict[str, Any]:
    """A plan as other programs read it: null where a fact was not given, or nothing is there."""
    idea, position, tier = planned.idea, planned.position, planned.tier
    checks = checklist(planned)
    return {
        "symbol": position.symbol,
        "side": position.side,
        "entry_price": _exact(idea.entry_price),
        "stop_price": _exact(idea.stop_price),
        "quantity": _exact(position.quantity),
        "notional": _exact(planned.notional),
        "leverage": _exact(position.leverage),
        "effective_leverage": _exact(planned.effective_leverage),
        "risk_tier": {
            "floor": _exact(tier.floor),
            "cap": _exact(tier.cap) if tier.cap.is_finite() else None,
            "rate": _exact(tier.rate),
            "deduction": _exact(tier.deduction),
            "leverage_max": _exact(tier.leverage_max),
        },
        "initial_margin": _exact(planned.initial_margin),
        "maintenance_margin": _exact(planned.maintenance_margin),
        "free_margin": _exact(planned.account.free),
        "free_margin_after": _exact(planned.free_after),
        "loss_at_stop": _exact(planned.loss_at_stop),
        **_away_json("stop_distance", planned.stop_away),
        **_liquidation_json(planned),
        "funding": _carry_json(planned),
        "kelly": _kelly_json(idea),
        "joint_shock": {
            "shock": _exact(planned.joint.shock),
            "positions": planned.joint.others + 1,
            "loss": _exact(planned.joint.loss),
        },
        "drawdowns": [
            {"after": name, "drawdown": _exact(share), "recovery": _gain_json(share)}
            for name, share in _drawdowns(planned)
        ],
        "checks": [
            {"check": each.name, "verdict": each.verdict, "reason": each.reason} for each in checks
        ],
        "verdict": _worst(check.verdict for check in checks),
    }


def _exact(value: Decimal) -> str:
    """A number's text, to ten decimals: a quotient has no end. However large it is."""
    text = f"{value:.{_DIGITS}f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _away_json(name: str, away: Away | NotGiven) -> dict[str, str | None]:
    if isinstance(away, NotGiven):
        return dict.fromkeys((name, f"{name}_atrs", f"{name}_sigmas"))
    atrs, sigmas = away.atrs, away.sigmas
    return {
        name: _exact(away.share),
        f"{name}_atrs": None if isinstance(atrs, NotGiven) else _exact(atrs),
        f"{name}_sigmas": None if isinstance(sigmas, NotGiven) else _exact(sigmas),
    }


def _liquidation_json(planned: Plan) -> dict[str, Any]:
    match planned.liquidation:
        case NoLiquidation():
            price, away, room, after_ms = None, NOT_GIVEN, NOT_GIVEN, None
        case Threat(price=at, away=away, room=room, after_ms=after):
            price, after_ms = _exact(at), None if isinstance(after, NotGiven) else after
    return {
        "liquidation_price": price,
        **_away_json("liquidation_distance", away),
        **_away_json("room_after_stop", room),
        "time_to_liquidation_ms": after_ms,
    }


def _carry_json(planned: Plan) -> dict[str, str | None] | None:
    carry = planned.carry
    if isinstance(carry, NotGiven):
        return None
    settled = carry.liquidation
    return {
        "funding_payment": _exact(carry.payment),
        "funding_cost_interval": _exact(carry.payment / planned.initial_margin),
        "funding_cost_24h": _exact(carry.day / planned.initial_margin),
        "funding_cost_holding": _exact(carry.holding / planned.initial_margin),
        "liquidation_price": (
            _exact(settled.price) if isinstance(settled, LiquidatesAt) else None
        ),
    }


def _kelly_json(idea: Idea) -> dict[str, str] | None:
    if isinstance(idea.edge, NotGiven):
        return None
    full = kelly(idea.edge)
    parts = {"full": ONE, "half": _HALF, "quarter": _QUARTER}
    return {name: _exact(full * part) for name, part in parts.items()}


def _gain_json(drawdown: Ratio) -> str | None:
    gain = gain_to_recover(drawdown)
    return _exact(gain) if gain.is_finite() else None


def _drawdowns(planned: Plan) -> tuple[tuple[str, Ratio], ...]:
    equity, joint = planned.account.equity, planned.joint
    shock = f"{joint.shock:.0%} against every {planned.idea.side}"
    return (
        ("the stop", Ratio(planned.loss_at_stop / equity)),
        ("liquidation", Ratio(planned.initial_margin / equity)),
        (shock, Ratio(joint.loss / equity)),
    )


def _worst(verdicts: Iterator[Verdict]) -> Verdict:
    return max(verdicts, key=list(Verdict).index)


def print_plan(out: Console, planned: Plan) -> None:
    """The plan as a person reads it, in 80 columns."""
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column()
    for name, text in _facts(planned):
        facts.add_row(name, text)
    checks = Table(box=None, pad_edge=False, header_style="dim")
    checks.add_column("", no_wrap=True)
    checks.add_column("check", no_wrap=True)
    checks.add_column("why")
    for check in checklist(planned):
        colour = _COLOURS[check.verdict]
        checks.add_row(f"[{colour}]{check.verdict}[/]", check.name, check.reason)
    drawdowns = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("after", "equity is down", "and must gain"):
        drawdowns.add_column(column, justify="left" if column == "after" else "right")
    for name, share in _drawdowns(planned):
        gain = gain_to_recover(share)
        gained = percent(gain) if gain.is_finite() else "nothing is left"
        drawdowns.add_row(name, percent(share), gained)
    for block in (facts, drawdowns, checks):
        out.print(block)
        out.print()
    valued = planned.instrument.rules.maintenance_at
    out.print(NOTE.format(valued=valued), style="dim")


def _facts(planned: Plan) -> Iterator[tuple[str, str]]:
    idea, position, settle = planned.idea, planned.position, planned.instrument.settle
    yield "trade", f"{position.side} {position.symbol} at {short(idea.entry_price)}"
    yield "size", f"{position.quantity:f}, a notional of {planned.notional:.2f} {settle}"
    yield "account", f"{planned.effective_leverage:.2f}x of equity, with what is open"
    yield "stop", f"{short(idea.stop_price)}, {_away_text(planned.stop_away)} from the entry"
    risked = planned.account.equity * idea.risk
    yield "risk", f"{planned.loss_at_stop:.2f} of {risked:.2f} {settle}, with fees and slippage"
    most, leverage = planned.tier.leverage_max, position.leverage
    yield "margin", f"{planned.initial_margin:.2f} {settle} at {leverage:f}x of {most:f}x allowed"
    yield from _liquidation_facts(planned)
    if not isinstance(planned.carry, NotGiven):
        yield "funding", _funding_text(planned.carry, planned.initial_margin)
    if not isinstance(idea.edge, NotGiven):
        full = kelly(idea.edge)
        half, quarter = percent(full * _HALF), percent(full * _QUARTER)
        yield "Kelly", f"{percent(full)} of equity at risk; half {half}, quarter {quarter}"


def _liquidation_facts(planned: Plan) -> Iterator[tuple[str, str]]:
    match planned.liquidation:
        case NoLiquidation(proof):
            yield "liquidation", f"none: {proof}"
        case Threat(price, away, room, after_ms):
            yield "liquidation", f"{short(price)}, {_away_text(away)} from the entry"
            yield "room", f"{_away_text(room)} from the stop to liquidation"
            if not isinstance(after_ms, NotGiven):
                days = Decimal(after_ms) / DAY_MS
                yield "time", f"one sigma and the funding take {days:.1f} days to get there"


def _funding_text(carry: Carry, margin: Money) -> str:
    bill, day, holding = (
        percent(paid / margin) for paid in (carry.payment, carry.day, carry.holding)
    )
    return f"{bill} of the margin a bill, {day} a day, {holding} while it is held"


def _away_text(away: Away) -> str:
    parts = [percent(away.share)]
    if not isinstance(away.atrs, NotGiven):
        parts.append(f"{away.atrs:.1f} ATRs")
    if not isinstance(away.sigmas, NotGiven):
        parts.append(f"{away.sigmas:.1f} sigmas")
    return ", ".join(parts)
