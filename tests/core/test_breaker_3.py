"""Closes that cannot fill, or that a venue would refuse, and a book that nothing guards."""

from dataclasses import replace
from decimal import Decimal

import pytest

from bot.core.actions import ClosePosition, NoWorseThan, PlaceStop
from bot.core.model import MarginMode
from bot.core.strategy import Severity
from bot.core.units import Quantity
from bot.policy.verbs import BoundVerb, find_verbs
from bot.testing import builders as build
from strategies import close, partial_close
from tests.core.books import cross
from tests.core.life import Life, below, ratio

CLOSE = BoundVerb(find_verbs()["close"], close.Params())
TENTH = BoundVerb(find_verbs()["partial_close"], partial_close.Fraction(ratio("0.1")))


@pytest.mark.xfail(strict=True, reason="finding 5: a sale at 0.105 or better, the mark at 0.1046")
def test_the_bound_of_a_close_is_not_better_than_the_mark_on_a_coarse_tick() -> None:
    position = build.position(quantity=10_000, entry_price="0.1077", margin=94)
    life = Life(
        build.policy(
            build.rule(build.step("out", below("0.2"), Severity.CLOSE, CLOSE)),
            limits=build.guardrails(slippage_max="0.002"),
            protection=build.protect(room="0.015", floor="0.007"),
        ),
        position,
        mark="0.1046",
        instruments=[build.instrument(tick_size="0.001")],
    )
    (found,) = [each for each in life.decide() if isinstance(each, ClosePosition)]
    assert isinstance(found.bound, NoWorseThan)
    assert found.bound.price <= Decimal("0.1046")


@pytest.mark.xfail(strict=True, reason="finding 7: `check` says fine, and no stop is wanted")
def test_a_book_of_a_symbol_whose_beta_is_0_has_a_stop_or_an_alarm() -> None:
    policy = build.policy(
        margin_modes=frozenset({MarginMode.CROSS}), stress=build.stress(1, BTCUSDT=0)
    )
    # 0.02 % from liquidation: an equity of 260 against a requirement of 250.
    life = Life(policy, cross("BTCUSDT", entry_price=50_000), free=0, wallet=260)
    actions = life.decide()
    assert any(isinstance(each, PlaceStop | ClosePosition) for each in actions) or life.alerts


@pytest.mark.xfail(strict=True, reason="finding 8: half of the venue's minimum is asked for")
def test_no_part_is_closed_that_is_less_than_the_venue_takes() -> None:
    rules = replace(build.instrument(), quantity_min=Quantity(Decimal("0.01")))
    rule = build.rule(build.step("cut", below("0.2"), Severity.REDUCE, TENTH, cooldown_ms=60_000))
    life = Life(
        build.policy(rule), build.position(quantity="0.05", margin=250), instruments=[rules]
    )
    found = [each for each in life.decide() if isinstance(each, ClosePosition)]
    assert all(each.quantity >= rules.quantity_min for each in found)
