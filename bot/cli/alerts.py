"""What a file of alerts says, and what came of trying its channels."""

import json
import os
from pathlib import Path

import typer
from rich.table import Table

from bot.alerts.channel import Delivered, Delivery, Failed
from bot.alerts.routes import Alerting
from bot.app import audience, try_channels
from bot.cli.show import console
from bot.clock import system_wall_ms


def show_alerting(alerting: Alerting, as_json: bool) -> None:
    """Every channel, where its URL is looked up, and what it is told."""
    told = {
        name: [
            severity.name.lower()
            for severity, channels in alerting.routes.channels.items()
            if name in channels
        ]
        for name in alerting.variables
    }
    if as_json:
        channels = [
            {"channel": name, "url_env": variable, "told": told[name]}
            for name, variable in alerting.variables.items()
        ]
        result = {"channels": channels, "repeat_ms": alerting.routes.repeat_ms}
        typer.echo(json.dumps(result))
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("channel", "URL in", "is told"):
        table.add_column(column)
    for name, variable in alerting.variables.items():
        table.add_row(name, variable, ", ".join(told[name]) or "nothing")
    console().print(table)


def show_tried(file: Path, as_json: bool) -> bool:
    """Tell every channel a test, print what came of it; whether all have taken it."""
    tried = try_channels(audience(file, os.environ), system_wall_ms())
    for name, delivery in tried.items():
        if as_json:
            taken = isinstance(delivery, Delivered)
            result = {"channel": name, "delivered": taken, "reason": _said(delivery)}
            typer.echo(json.dumps(result))
        else:
            typer.echo(f"{name}: {_said(delivery)}")
    return all(isinstance(delivery, Delivered) for delivery in tried.values())


def _said(delivery: Delivery) -> str:
    match delivery:
        case Delivered():
            return "delivered"
        case Failed(reason):
            return reason
