"""What-if questions go by the rules that the adapters read accounts by."""

from importlib import import_module

import pytest

from bot.exchange.venues.dialects import DIALECTS
from bot.exchange.venues.margining import VENUES

OTHERWISE = frozenset({"bybit"})
"""Its classic account, which values maintenance at the entry price; the adapter's is unified."""


@pytest.mark.parametrize("venue", sorted(VENUES.keys() & DIALECTS.keys() - OTHERWISE))
def test_a_venue_is_asked_about_by_the_rules_of_its_adapter(venue: str) -> None:
    ours, asked = import_module(f"bot.exchange.venues.{venue}").RULES, VENUES[venue].rules
    assert asked.maintenance_at is ours.maintenance_at
    assert asked.close_fee is ours.close_fee
    assert asked.liquidation_rounding is ours.liquidation_rounding
    assert asked.tier_measure is ours.tier_measure


def test_kucoin_has_a_whole_position_at_the_rate_of_its_level() -> None:
    assert not VENUES["kucoin"].deducts
