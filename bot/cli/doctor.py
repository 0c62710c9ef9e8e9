"""What was found out about an account, for a human or as JSON."""

import json
from dataclasses import asdict

import typer

from bot.exchange.live.findings import Finding, blocking, unsupported


def show_findings(found: tuple[Finding, ...], *, accept_unverified: bool, as_json: bool) -> bool:
    """Print them all; whether the account can be guarded, and not only watched."""
    watched = bool(unsupported(found))
    sound = not watched and not blocking(found, accept_unverified=accept_unverified)
    if as_json:
        rows = [asdict(each) for each in found]
        typer.echo(json.dumps({"sound": sound, "findings": rows}))
        return sound
    width = max(len(each.standing) for each in found)
    for each in found:
        typer.echo(f"{each.standing:{width}}  {each.check}: {each.text}")
    otherwise = "can only be watched as it is" if watched else "cannot be guarded as it is"
    typer.echo("can be guarded" if sound else otherwise)
    return sound
