"""
What results look like: tables for people, JSON for programs. Numbers keep their exact text.
"""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from bot.app import Ended
from bot.core.model import PositionKey
from bot.rehearsal.deeds import Deed
from bot.runtime.control import Answer

HOUSEKEEPING = frozenset({"cancel_stop"})
"""Deeds that only tidy up behind another one: in the JSON, not in the tables."""


def console() -> Console:
    """Standard output; wide enough for the tables where it is no terminal."""
    if sys.stdout.isatty():
        return Console(highlight=False)
    return Console(highlight=False, width=110, no_color=True)


@contextmanager
def progress_bar(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on a terminal's standard error, gone when it is full."""
    err = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        console=err,
        transient=True,
        disable=not err.is_terminal,
    ) as progress:
        task = progress.add_task(title, total=total)
        yield lambda done: progress.update(task, completed=done)


def utc(at_ms: int) -> str:
    """A moment as people write it, to the second, UTC."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def percent(share: Decimal) -> str:
    """A ratio as a percentage with two decimals."""
    return f"{share * 100:.2f}%"


def short(price: Decimal) -> str:
    """A price to eight digits, without zeros at its end."""
    return f"{Decimal(f'{price:.8g}').normalize():f}"


def amount_text(amount: Decimal, coin: str) -> str:
    """An amount of money: to the cent of a dollar, of another coin to its 8 decimals."""
    digits = 2 if "USD" in coin else 8
    return f"{amount:.{digits}f} {coin}"


def deed_json(deed: Deed) -> dict[str, Any]:
    """A deed with plain JSON values."""
    return {
        "at_ms": deed.at_ms,
        "symbol": deed.symbol,
        "side": deed.side,
        "verb": deed.verb,
        "amount": f"{deed.amount:f}",
        "price": None if deed.price is None else f"{deed.price:f}",
        "reason": deed.reason,
        "outcome": deed.proven,
    }


def deed_sentence(deed: Deed) -> str:
    """What was done, with its number."""
    price = "market" if deed.price is None else short(deed.price)
    coin = deed.symbol.rpartition(":")[2]
    return {
        "top_up": f"add {deed.amount:f} {coin} margin",
        "refund": f"put {deed.amount:f} {coin} margin back",
        "place_stop": f"stop for {deed.amount:f} at {price}",
        "cancel_stop": "cancel the old stop",
        "close": f"close {deed.amount:f} at {price}",
        "stop_filled": f"stop filled {deed.amount:f} at {price}",
    }[deed.verb]


def deeds_table(deeds: tuple[Deed, ...]) -> Table:
    """
    The guard's deeds in the order of time; symbols are named where there are several.

    A stop that was moved again and again, and closes that found no price, are one row: the last
    of them, and how many there were.
    """
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("UTC", "action", "reason", "outcome"):
        table.add_column(column, no_wrap=True)
    names = _names(deeds)
    for deed, count in _told(deeds):
        action = deed_sentence(deed)
        where = names[_key(deed)] + action
        again = f" ({count}x)" if count > 1 else ""
        table.add_row(utc(deed.at_ms), where + again, deed.reason, deed.proven)
    return table


def _key(deed: Deed) -> PositionKey:
    return PositionKey(deed.symbol, deed.side)


def _names(deeds: tuple[Deed, ...]) -> dict[PositionKey, str]:
    """What tells the positions apart: coins where there are several, sides where one has two."""
    keys = {_key(deed) for deed in deeds}
    symbols = [key.symbol for key in keys]
    coins = {key: key.symbol.split("/")[0] if len(set(symbols)) > 1 else "" for key in keys}
    sides = {key: key.side if symbols.count(key.symbol) > 1 else "" for key in keys}
    named = {key: f"{coins[key]} {sides[key]}".strip() for key in keys}
    return {key: f"{name}: " if name else "" for key, name in named.items()}


def _told(deeds: tuple[Deed, ...]) -> list[tuple[Deed, int]]:
    """What is worth a row: repeats of a position's last deed count up, at the newest place."""
    told: dict[int, tuple[Deed, int]] = {}
    newest: dict[PositionKey, int] = {}
    for row, deed in enumerate(deeds):
        if deed.verb in HOUSEKEEPING:
            continue
        before, count = told.get(newest.get(_key(deed), -1), (deed, 0))
        repeats = (deed.verb, deed.reason, deed.proven) == (
            before.verb,
            before.reason,
            before.proven,
        )
        if count and repeats and (deed.verb == "place_stop" or deed.proven == "expired"):
            del told[newest[_key(deed)]]
            told[row] = deed, count + 1
        else:
            told[row] = deed, 1
        newest[_key(deed)] = row
    return list(told.values())


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
        f"stopped at {utc(ended.at_ms)} UTC: equity {amount_text(ended.equity, ended.settle)}, "
        f"{ended.positions} open, journal {ended.digest[:16]}"
    )


def show_status(answer: Answer, as_json: bool) -> None:
    """The guard's own view of its account."""
    if as_json:
        typer.echo(json.dumps(answer))
        return
    out = console()
    if answer["run"] == "observe":
        out.print("OBSERVE: nothing is sent; what is decided is journalled as withheld")
    if answer["run"] == "alert-only":
        out.print("ALERT-ONLY: an account of a kind that is not supported; nothing is sent for it")
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
    if cross := answer["cross"]:
        firing = [name for name, phase in cross["steps"].items() if phase == "firing"]
        distance = cross.get("liquidation_distance")
        near = percent(Decimal(distance)) if distance else f"unknown ({cross['unknown']})"
        out.print(f"cross positions together: distance {near}, firing {', '.join(firing) or '-'}")
    if undelivered := _alerts_text(answer["alerts"]):
        out.print(f"alerts undelivered: {undelivered}")


def _alerts_text(alerts: Answer) -> str:
    """Which channels have not taken what; empty where all have."""
    waiting = [
        f"{each['channel']} {each['undelivered']} ({each['trouble'] or 'on their way'})"
        for each in alerts["channels"]
        if each["undelivered"] or each["trouble"]
    ]
    dropped = [f"{alerts['dropped']} dropped"] if alerts["dropped"] else []
    return ", ".join([*waiting, *dropped])


def _short(price: str | None) -> str:
    return "-" if price is None else short(Decimal(price))
