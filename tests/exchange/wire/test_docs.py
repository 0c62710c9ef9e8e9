"""The manual's page names everything that the server can do."""

from pathlib import Path

import pytest

from bot.exchange.paper.wire.control import Control
from bot.exchange.paper.wire.hub import Hub
from bot.exchange.paper.wire.mishaps import MishapKind, Mishaps
from bot.exchange.paper.wire.routes import ENDPOINTS
from tests.exchange.wire.build import exchange

PAGE = (Path(__file__).parents[3] / "docs/paper-serve.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", MishapKind)
def test_every_fault_is_named(kind: MishapKind) -> None:
    assert kind.value in PAGE


def test_every_endpoint_of_the_venues_futures_is_named() -> None:
    for _, path in ENDPOINTS:
        _, family, _, *name = path.split("/")
        if family == "fapi" and name != ["listenKey"]:
            assert name[0] in PAGE, path


def test_every_command_is_named() -> None:
    control = Control(exchange(), Mishaps(), Hub(), lambda: None)
    _, said = control.order("GET", "/control/help", {})
    for command in said["commands"]:
        if command["path"] != "/control/help":
            assert f"`{command['method']} {command['path']}`" in PAGE
