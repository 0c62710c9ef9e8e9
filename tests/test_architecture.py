"""The direction of the imports: every contract of pyproject.toml holds, and each can fail."""

import ast
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
VOCABULARY = {"bot.core.actions", "bot.core.events", "bot.core.model", "bot.core.units"}

# What breaks each contract, by its id: module and offending line, for each end that it has.
OFFENCES = {
    "layers": [
        ("bot/core/units.py", "import bot.policy"),
        ("bot/core/units.py", "import bot.clock"),
        ("bot/policy/__init__.py", "import bot.exchange"),
        ("bot/exchange/ports.py", "import bot.policy"),
        ("bot/journal/__init__.py", "import bot.runtime"),
        ("bot/journal/__init__.py", "import bot.alerts"),
        ("bot/alerts/__init__.py", "import bot.runtime"),
        ("bot/runtime/__init__.py", "import bot.rehearsal"),
        ("bot/rehearsal/__init__.py", "import bot.app"),
        ("bot/app.py", "import bot.live"),
        ("bot/live.py", "import bot.live_paper"),
        ("bot/live_paper.py", "import bot.cli"),
    ],
    "settings": [
        ("bot/runtime/__init__.py", "import bot.settings"),
        ("bot/rehearsal/__init__.py", "from bot.settings import Settings"),
    ],
    "pure-core": [
        ("bot/core/units.py", f"import {module}")
        for module in (
            "asyncio", "bot.clock", "bot.settings", "ccxt", "logging", "os", "pydantic",
            "pydantic_settings", "random", "sqlalchemy", "sqlite3", "structlog", "time", "uuid",
        )
    ],
    "vocabulary": [("bot/core/model.py", "import bot.core.state")],
    "paper": [
        ("bot/exchange/paper/__init__.py", "import bot.core.margin"),
        ("bot/exchange/paper/__init__.py", "import bot.policy"),
        ("bot/exchange/paper/__init__.py", "import strategies"),
        ("bot/exchange/ports.py", "import bot.core.sizing"),
    ],
    "paper-exchange": [("bot/exchange/paper/__init__.py", "import bot.exchange.live")],
    "ccxt": [
        ("bot/runtime/__init__.py", "import ccxt"),
        ("bot/app.py", "from ccxt.async_support import binance"),
        ("strategies/top_up.py", "import ccxt"),
    ],
    "apprise": [
        ("bot/runtime/__init__.py", "import apprise"),
        ("bot/app.py", "from apprise import Apprise"),
    ],
    "strategies": [
        ("strategies/top_up.py", "import bot.policy"),
        ("strategies/top_up.py", "import bot.clock"),
        ("strategies/top_up.py", "from bot.exchange import ports"),
    ],
    "independent-strategies": [("strategies/top_up.py", "from strategies import close")],
}  # fmt: skip


def contracts() -> dict[str, dict[str, Any]]:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    linted = tomllib.loads(text)["tool"]["importlinter"]["contracts"]
    return {contract["id"]: contract for contract in linted}


def lint(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = Path(sys.executable).with_name("lint-imports")
    return subprocess.run(
        [command, "--no-logo", "--config", ROOT / "pyproject.toml", *options],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def modules_of_core() -> set[str]:
    return {
        f"bot.core.{path.stem}"
        for path in (ROOT / "bot" / "core").iterdir()
        if path.suffix == ".py" and path.stem != "__init__"
    }


def test_all_contracts_hold() -> None:
    result = lint(ROOT, "--no-cache")
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_contract_has_an_offence() -> None:
    assert OFFENCES.keys() == contracts().keys()


@pytest.mark.parametrize("contract", OFFENCES)
def test_a_broken_contract_is_noticed(tmp_path: Path, contract: str) -> None:
    for package in ("bot", "strategies"):
        shutil.copytree(
            ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    (tmp_path / "bot/exchange/live.py").touch()
    name = contracts()[contract]["name"]
    for module, line in OFFENCES[contract]:
        path = tmp_path / module
        before = path.read_text(encoding="utf-8")
        path.write_text(f"{before}\n{line}\n", encoding="utf-8")
        result = lint(tmp_path, "--cache-dir", str(tmp_path / "cache"), "--contract", contract)
        path.write_text(before, encoding="utf-8")
        assert result.returncode == 1, f"{line} in {module} went unnoticed"
        assert f"{name} BROKEN" in result.stdout


@pytest.mark.parametrize("contract", ["paper", "vocabulary"])
def test_all_of_core_but_the_vocabulary_is_forbidden(contract: str) -> None:
    forbidden = {
        module
        for module in contracts()[contract]["forbidden_modules"]
        if module.startswith("bot.core")
    }
    assert forbidden == modules_of_core() - VOCABULARY


def test_the_command_line_starts_light() -> None:
    heavy = "{'apprise', 'ccxt', 'sqlalchemy', 'numpy'}"
    program = f"import sys, bot.cli; print(sorted({heavy} & sys.modules.keys()))"
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout == "[]\n"


def _calls(source: Path, name: str) -> list[int]:
    tree = ast.parse(source.read_text(encoding="utf-8"))
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
    ]


def test_only_the_guardrails_approve() -> None:
    approving = {
        str(source.relative_to(ROOT))
        for package in ("bot", "strategies")
        for source in (ROOT / package).rglob("*.py")
        if _calls(source, "Approved")
    }
    assert approving == {"bot/core/guardrails.py"}


def test_only_the_executor_sends() -> None:
    senders = {
        str(source.relative_to(ROOT))
        for source in (ROOT / "bot").rglob("*.py")
        if "_account.send(" in source.read_text(encoding="utf-8")
    }
    # The others only pass on what the executor hands to them.
    assert senders == {
        "bot/exchange/live/numbered.py",
        "bot/exchange/live/observe.py",
        "bot/runtime/executor.py",
        "bot/runtime/gate.py",
    }
