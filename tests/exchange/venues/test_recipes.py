"""Every write of every venue, byte for byte as it was kept, and what none of them may be."""

from tests.exchange.venues.capture import captured, golden


async def test_every_recipe_is_as_it_was_kept(venue: str) -> None:
    assert await captured(venue) == golden(venue)
