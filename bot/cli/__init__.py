"""
The command line: reads arguments, prints results, names exit codes. Nothing is decided here.

0 fine · 1 internal error · 2 usage · 3 invalid policy, data or settings · 4 unsafe now or verify
mismatch · 5 guard not running or stale · 6 exchange unreachable.
"""

import sys

from bot.cli.commands import app
from bot.cli.exits import report_errors


def main() -> None:
    """Entry point of `liqguard` and `python -m bot`."""
    with report_errors(sys.stderr):
        sys.exit(app(standalone_mode=False))
