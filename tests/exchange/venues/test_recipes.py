"""Every write of every venue, byte for byte as it was kept, and what none of them may be."""

import pytest

from tests.exchange.venues.capture import KEPT, captured, golden


@pytest.mark.parametrize("venue", KEPT)
async def test_every_recipe_is_as_it_was_kept(venue: str) -> None:
    assert await captured(venue) == golden(venue)
