"""A bill is counted until it is paid: not longer, and not twice."""

from decimal import Decimal

import pytest

from bot.core.events import AccountReported, FundingReported
from bot.core.metrics import Known, measure
from bot.core.model import Position
from bot.core.units import Money, Ratio
from bot.testing import builders as build
from tests.core.life import LONG, T0, Life

SETTLED_MS = T0 + 10_000
BILL = Money(Decimal(500))
PAID = build.position(margin=LONG.isolated_margin - BILL)


def life_at_settlement() -> Life:
    life = Life(build.policy())
    life.happen(FundingReported(build.SYMBOL, Ratio(Decimal("0.01")), SETTLED_MS, 3_600_000, T0))
    return life


def balance(life: Life, position: Position, taken_at_ms: int) -> Money:
    """The margin balance by a read that the venue took at `taken_at_ms`, on its way for 40 ms."""
    life.now_ms = taken_at_ms + 20
    read = build.snapshot((position,), taken_at_ms=taken_at_ms)
    life.happen(AccountReported(read, taken_at_ms - 20, life.now_ms))
    life.mark(50_000)
    known = measure(life.state, position, life.now_ms, life.policy)
    assert isinstance(known, Known)
    return known.margin_balance


@pytest.mark.parametrize("after_ms", [0, 1, 400, 999, 5_000])
def test_a_read_that_the_venue_took_after_the_settlement_is_not_billed_again(
    after_ms: int,
) -> None:
    life = life_at_settlement()
    assert balance(life, PAID, SETTLED_MS + after_ms) == PAID.isolated_margin


@pytest.mark.parametrize("before_ms", [1, 400, 9_000])
def test_a_read_that_the_venue_took_before_it_is_billed(before_ms: int) -> None:
    life = life_at_settlement()
    assert balance(life, LONG, SETTLED_MS - before_ms) == LONG.isolated_margin - BILL


def test_the_account_is_read_again_a_second_after_a_settlement() -> None:
    """A venue may take its time to book what it charges."""
    life = life_at_settlement()
    balance(life, PAID, SETTLED_MS + 400)
    life.now_ms = SETTLED_MS + 1_000
    life.mark(50_000)
    life.decide()
    assert life.decision.needs_read
