"""
Exit codes, and the one line on standard error that goes with each.

Errors are recognised by class, looked up only when one happens: importing their modules would
load databases and exchanges for `--help`.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import TextIO

from typer import Abort
from typer._click.exceptions import UsageError  # typer exports no base of its usage errors


class Exit(IntEnum):
    """What a command's exit code says."""

    FINE = 0
    INTERNAL = 1
    USAGE = 2
    INVALID = 3
    UNSAFE = 4
    NOT_RUNNING = 5
    UNREACHABLE = 6


_CODES = {
    "bot.settings.SettingsError": Exit.INVALID,
    "bot.cli.margin_case.CaseError": Exit.INVALID,
    "bot.policy.problems.PolicyError": Exit.INVALID,
    "bot.rehearsal.bars.DataError": Exit.INVALID,
    "bot.rehearsal.setups.SetupError": Exit.INVALID,
    "bot.alerts.routes.AlertsError": Exit.INVALID,
    "bot.app.RunError": Exit.INVALID,
    "bot.cli.plan.PlanError": Exit.INVALID,
    "bot.app.Untested": Exit.UNSAFE,
    "bot.runtime.assemble.StartRefused": Exit.INVALID,
    "bot.exchange.paper.store.StoreDamaged": Exit.INVALID,
    "bot.journal.port.JournalUnavailable": Exit.INVALID,
    "bot.journal.port.JournalDamaged": Exit.UNSAFE,
    "bot.runtime.control.ControlError": Exit.NOT_RUNNING,
    "bot.exchange.live.findings.CheckFailed": Exit.INVALID,
    "bot.exchange.live.credentials.CredentialsError": Exit.INVALID,
    "bot.exchange.live.numbered.LedgerDamaged": Exit.UNSAFE,
    "bot.exchange.history.HistoryRefused": Exit.INVALID,
    "bot.exchange.ports.Unreachable": Exit.UNREACHABLE,
}


_INTERRUPTED = 130


@contextmanager
def report_errors(stream: TextIO) -> Iterator[None]:
    """Turn an expected error into its line and exit code; anything else is a defect, code 1."""
    try:
        yield
    except UsageError as e:
        if message := e.format_message():  # none where the help has been shown instead
            stream.write(f"{message} (liqguard --help)\n")
        sys.exit(Exit.USAGE)
    except (KeyboardInterrupt, Abort):
        sys.exit(_INTERRUPTED)
    except Exception as e:
        cause = _alone(e)
        name = f"{type(cause).__module__}.{type(cause).__qualname__}"
        if name not in _CODES:
            raise
        stream.write(f"{cause}\n")
        sys.exit(_CODES[name])


def _alone(error: Exception) -> Exception:
    """What failed, where it failed alone among the tasks of a guard."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
