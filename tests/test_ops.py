"""What is given to whoever runs the guard as a service fits the command that it runs."""

import re
import shlex
from pathlib import Path

from typer.main import get_command

from bot.cli.commands import app
from bot.runtime.heartbeat import SOUND_MS

UNIT = Path(__file__).parents[1] / "config" / "ops" / "liqguard@.service"


def value(name: str) -> str:
    found = re.findall(rf"^{name}=(.*)$", UNIT.read_text(encoding="utf-8"), re.MULTILINE)
    (one,) = found
    return str(one)


def test_the_unit_runs_a_command_that_there_is() -> None:
    words = shlex.split(value("ExecStart"))
    at = words.index("liqguard")
    run = get_command(app).commands[words[at + 1]]  # type: ignore[attr-defined]
    known = {option for parameter in run.params for option in parameter.opts}
    assert {word for word in words[at:] if word.startswith("--")} <= known


def test_the_watchdog_waits_longer_than_a_guard_may_be_silent() -> None:
    assert value("Type") == "notify"
    assert int(value("WatchdogSec")) * 1000 >= 2 * SOUND_MS
