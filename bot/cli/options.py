"""
What the commands' options have in common: their types, and how a value is read from its text.
"""

import re
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated

import typer

BPS = Decimal(10_000)
NUMBER_MAX = Decimal(10**12)
"""More than any market, and little enough to calculate with exactly."""


def _parsed(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation as e:
        raise typer.BadParameter(f"expected a number, was {text!r}") from e


def decimal(text: str) -> Decimal:
    """A number above 0, up to `NUMBER_MAX`."""
    value = _parsed(text)
    if not value.is_finite() or value <= 0:
        raise typer.BadParameter(f"expected a number above 0, was {text!r}")
    if value > NUMBER_MAX:
        raise typer.BadParameter(f"expected a number up to {NUMBER_MAX:f}, was {text!r}")
    return value


def amount(text: str) -> Decimal:
    """A number of 0 or more, up to `NUMBER_MAX`."""
    return Decimal(0) if _parsed(text) == 0 else decimal(text)


def bps(text: str) -> Decimal:
    """Hundredths of a per cent, less than the whole."""
    value = amount(text)
    if value >= BPS:
        raise typer.BadParameter(f"expected less than {BPS:f} bps, was {text!r}")
    return value


def moment(text: str) -> int:
    """The milliseconds of a date or a time, in UTC."""
    from bot.rehearsal.cache import moment_ms

    try:
        return moment_ms(text)
    except ValueError as e:
        expected = f"expected a date or a time like 2025-10-12T06:00, was {text!r}"
        raise typer.BadParameter(expected) from e


def pattern(text: str) -> re.Pattern[str]:
    """A regular expression."""
    try:
        return re.compile(text)
    except re.error as e:
        raise typer.BadParameter(f"expected a regular expression, was {text!r}") from e


def refuse_options(context: typer.Context, place: str, *names: str) -> None:
    """Options that count only at another `place`: given here, they would be ignored."""
    for name in names:
        source = context.get_parameter_source(name)
        if source is not None and source.name != "DEFAULT":
            option = f"--{name.replace('_', '-')}"
            raise typer.BadParameter(f"expected {place}", param_hint=option)


Number = Annotated[Decimal, typer.Option(parser=decimal, metavar="NUMBER")]
Amount = Annotated[Decimal, typer.Option(parser=amount, metavar="USDT")]
PolicyFile = Annotated[Path, typer.Option("--policy", help="The policy file of the account.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
Account = Annotated[str, typer.Option("--account", help="The account's name in its policy.")]
