"""
The file that says who is told what: `config/alerts.yaml`.

A channel's URL is a secret and never in the file: `url_env` names the environment variable that
holds it.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NewType

from bot.alerts.box import Routes
from bot.alerts.channel import AppriseChannel, UnusableChannel
from bot.core.decision import AlertSeverity
from bot.core.units import Duration
from bot.policy.bind import bind_section
from bot.policy.document import Cell, Unread, items_of
from bot.policy.loader import read_source
from bot.policy.problems import Place, Report, listed
from bot.policy.tree import read_tree
from bot.policy.values import KINDS, Kind, Name, Unfit

AlertsSchema = NewType("AlertsSchema", str)
Variable = NewType("Variable", str)

SCHEMA = "liqguard/alerts/v1"

_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")


class AlertsError(Exception):
    """A channel cannot be used. One line for the user, without the channel's URL."""


def _schema(text: str) -> AlertsSchema:
    if text != SCHEMA:
        raise Unfit
    return AlertsSchema(text)


def _variable(text: str) -> Variable:
    if not _VARIABLE.fullmatch(text):
        raise Unfit
    return Variable(text)


ALERTS_KINDS: Mapping[object, Kind[Any]] = {
    **KINDS,
    AlertsSchema: Kind(SCHEMA, _schema, {"const": SCHEMA}),
    Variable: Kind(
        "the name of an environment variable like PHONE_URL, never the URL itself",
        _variable,
        {"type": "string", "pattern": f"^{_VARIABLE.pattern}$"},
        is_confidential=True,
    ),
}


@dataclass(frozen=True, slots=True)
class ChannelSection:
    """A way to a human."""

    at: Place
    name: Cell[Name]
    """Names the channel in the routes and in `status`."""
    url_env: Cell[Variable]
    """The environment variable that holds its apprise URL."""


@dataclass(frozen=True, slots=True)
class RoutesSection:
    """Which channels are told what."""

    at: Place
    info: Cell[tuple[Name, ...]]
    """That the guard started, stopped or went over to another policy."""
    warning: Cell[tuple[Name, ...]]
    """Steps that only warn, and top-ups."""
    critical: Cell[tuple[Name, ...]]
    """Closes, failures, and whatever the guard cannot do. At least one."""


@dataclass(frozen=True, slots=True)
class AlertsSection:
    """A whole file."""

    at: Place
    schema: Cell[AlertsSchema]
    channels: Cell[tuple[ChannelSection, ...]]
    routes: RoutesSection
    repeat: Cell[Duration]
    """One warning about a position is enough for so long; what is more severe passes at once."""


@dataclass(frozen=True, slots=True)
class Alerting:
    """Who is told what: the variable that holds each channel's URL, and the routes."""

    variables: Mapping[str, str]
    routes: Routes


def load_alerting(path: Path) -> Alerting:
    """What the file says; raises `PolicyError` with all that is wrong with it."""
    source = read_source(path)
    report = Report(source)
    section = bind_section(AlertsSection, read_tree(source.text, report), report, ALERTS_KINDS)
    _check(section, report)
    report.raise_if_any()
    routes = section.routes
    return Alerting(
        {each.name.value: each.url_env.value for each in section.channels.value},
        Routes(
            {
                AlertSeverity.INFO: tuple(routes.info.value),
                AlertSeverity.WARNING: tuple(routes.warning.value),
                AlertSeverity.CRITICAL: tuple(routes.critical.value),
            },
            section.repeat.value,
        ),
    )


def open_channels(alerting: Alerting, environ: Mapping[str, str]) -> dict[str, AppriseChannel]:
    """The channels, by name; raises `AlertsError` for the first whose URL is not usable."""
    opened = {}
    for name, variable in alerting.variables.items():
        if not environ.get(variable):
            raise AlertsError(f"channel {name}: expected its apprise URL in {variable}, was unset")
        try:
            opened[name] = AppriseChannel(environ[variable])
        except UnusableChannel:
            expected = f"expected a URL in {variable} that apprise can send to"
            raise AlertsError(f"channel {name}: {expected}, was another") from None
    return opened


def _check(section: AlertsSection, report: Report) -> None:
    names: list[str] = []
    for channel in items_of(section.channels):
        with suppress(Unread):
            if channel.name.value in names:
                report.add(channel.name.node.at, "another name", f"'{channel.name.value}' again")
            names.append(channel.name.value)
    for route in (section.routes.info, section.routes.warning, section.routes.critical):
        for name in items_of(route):
            if name not in names:
                expected = f"names of channels ({listed(names)})" if names else "a channel"
                report.add(route.node.at, expected, f"'{name}'")
    with suppress(Unread):
        if not section.routes.critical.value:
            report.add(section.routes.critical.node.at, "at least one channel", "none")
