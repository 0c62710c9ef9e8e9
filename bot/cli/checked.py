"""What `liqguard check` prints about a file."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from bot.policy.inspection import Inspected
from bot.policy.lint import Level
from bot.policy.problems import PolicyError


def show_checked(file: Path, found: Inspected | PolicyError, as_json: bool) -> None:
    """Print problems and lints on standard error and a summary, or all of it as one JSON line."""
    if as_json:
        typer.echo(json.dumps(_checked_json(file, found)))
        return
    match found:
        case PolicyError():
            typer.echo(str(found), err=True)
        case Inspected():
            for lint in found.lints:
                typer.echo(lint.shown(), err=True)
            typer.echo(f"{file}: {_summary(found)}")


def _checked_json(file: Path, found: Inspected | PolicyError) -> dict[str, Any]:
    match found:
        case PolicyError(problems=problems):
            return {"file": str(file), "problems": [asdict(each) for each in problems]}
        case Inspected(policy=policy, lints=lints):
            return {
                "file": str(file),
                "account": policy.account,
                "digest": policy.digest,
                "problems": [],
                "lints": [asdict(each) for each in lints],
            }


def _summary(found: Inspected) -> str:
    dangers = sum(lint.level is Level.DANGER for lint in found.lints)
    warnings = len(found.lints) - dangers
    said = [_count(dangers, "danger")] * (dangers > 0) + [_count(warnings, "warning")] * (
        warnings > 0
    )
    rules = found.policy.rules
    steps = sum(len(rule.steps) for rule in rules)
    return (
        f"{', '.join(said) or 'fine'}, {_count(len(rules), 'rule')} with {_count(steps, 'step')}"
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
