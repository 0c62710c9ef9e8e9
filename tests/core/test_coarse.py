"""Closes that cannot fill, or that a venue would refuse, and a book that nothing guards."""

from dataclasses import replace
from decimal import Decimal

from bot.core.actions import ClosePosition, NoWorseThan
from bot.core.strategy import Severity
from bot.core.units import Quantity
from bot.policy.verbs import BoundVerb, find_verbs
from bot.testing import builders as build
from strategies import close, partial_close
from tests.core.life import Life, below, ratio

CLOSE = BoundVerb(find_verbs()["close"], close.Params())
TENTH = BoundVerb(find_verbs()["partial_close"], partial_close.Fraction(ratio("0.1")))


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


def test_no_part_is_closed_that_is_less_than_the_venue_takes() -> None:
    rules = replace(build.instrument(), quantity_min=Quantity(Decimal("0.01")))
    rule = build.rule(build.step("cut", below("0.2"), Severity.REDUCE, TENTH, cooldown_ms=60_000))
    life = Life(
        build.policy(rule), build.position(quantity="0.05", margin=250), instruments=[rules]
    )
    found = [each for each in life.decide() if isinstance(each, ClosePosition)]
    assert all(each.quantity >= rules.quantity_min for each in found)
