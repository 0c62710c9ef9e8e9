"""A liquidation is told step by step, as the manual shows it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.telling import tell
from tests.exchange.paper.build import (
    ALICE,
    ETH,
    T0,
    THREE_TIERS,
    contract,
    enter,
    machine_with,
    move,
    prices,
)
from tests.exchange.paper.test_collateral import CROSS, USDC, exchange
from tests.exchange.paper.test_deleveraging import crash, three
from tests.exchange.paper.test_ladders import stop

MANUAL = Path(__file__).parents[3] / "docs" / "paper.md"


def down_the_tiers() -> PaperMachine:
    machine = machine_with(contract(table=THREE_TIERS))
    enter(machine, quantity="2")
    move(machine, "40000")
    return machine


def depegged() -> PaperMachine:
    machine = exchange(usdc="10000")
    enter(machine, symbol=ETH, margin_mode=CROSS)
    stop(machine, "my-stop", "40000", ETH)
    machine.move(T0 + 1_000, {ETH: prices("46000")})
    machine.move(T0 + 3_000, {USDC: prices("0.40")})
    return machine


def deleveraged() -> PaperMachine:
    machine = three("250.5")
    crash(machine)
    return machine


@pytest.mark.parametrize("liquidated", [down_the_tiers, depegged, deleveraged])
def test_the_manual_shows_what_is_told(liquidated: Callable[[], PaperMachine]) -> None:
    """Each line: when, what was left of what was required, what was done, who paid."""
    told = "\n".join(tell(liquidated().liquidation(ALICE)))
    assert told
    assert f"```\n{told}\n```" in MANUAL.read_text()
