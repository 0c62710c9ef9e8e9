"""What the matrix says of stops and of hedge mode is what is sent, and how many are tried."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from bot.core.model import STOPS_MAX, PositionMode
from bot.exchange.venues.capabilities import MATRIX, StopsTold
from tests.exchange.live.capture import golden as golden_usdm
from tests.exchange.venues.capture import golden
from tests.exchange.venues.conftest import DESKS, MODES
from tests.exchange.venues.stage import Book, staged

REDUCES = {("reduceOnly", "true"), ("reduceOnly", "YES"), ("reduce_only", "true"), ("r", "true")}


def kept(venue: str) -> Mapping[str, Mapping[str, Any]]:
    return golden_usdm() if venue == "binanceusdm" else golden(venue)


def fields(part: object, name: str = "") -> Iterator[tuple[str, str]]:
    """Every field of a request, however deep it lies, with what was sent in it."""
    match part:
        case dict():
            for key, inner in part.items():
                yield from fields(inner, key)
        case list():
            for inner in part:
                yield from fields(inner, name)
        case str() if not name:
            key, _, value = part.partition("=")
            yield key, value
        case bool():
            yield name, str(part).lower()
        case _:
            yield name, str(part)


def sent(venue: str, ending: str) -> Iterator[tuple[str, str, set[tuple[str, str]]]]:
    """Each kept request of a kind: its name, method with path, and fields."""
    for name, each in kept(venue).items():
        if name.endswith(ending) and "method" in each:
            said = {*fields(each["query"]), *fields(each["body"])}
            yield name, f"{each['method']} {each['path']}", said


def as_fields(words: tuple[str, ...]) -> set[tuple[str, str]]:
    pairs = (word.partition("=") for word in words)
    return {(key, value) for key, _, value in pairs}


def test_every_stop_goes_where_the_row_says_with_the_trigger_it_says(venue: str) -> None:
    row = MATRIX[venue]
    stops = tuple(sent(venue, ": place stop"))
    assert stops
    for name, request, said in stops:
        assert request == row.stop_request, name
        assert as_fields((row.stop_trigger,)) <= said, name


def test_a_leg_is_closed_by_the_words_of_the_row(venue: str) -> None:
    row = MATRIX[venue]
    assert bool(row.hedge_close) == (PositionMode.HEDGE in row.position_modes)
    closes = [
        each
        for ending in (": close", ": close within")
        for each in sent(venue, ending)
        if each[0].startswith("hedge") and " long:" in each[0]
    ]
    assert bool(closes) == bool(row.hedge_close)
    for name, _, said in closes:
        assert as_fields(row.hedge_close) <= said, name
        assert as_fields(row.hedge_close) & REDUCES == said & REDUCES, name


async def test_so_many_stops_are_tried_as_the_row_says_unless_listed(venue: str) -> None:
    row = MATRIX[venue]
    async with staged(DESKS[venue](Book(min(MODES[venue])))) as live:
        (listed,) = await live.market.instruments((live.symbol,))
    assert listed.stops_max == row.stops_max, "none of the desks lists a number of its own"


@pytest.mark.parametrize("venue", [name for name, row in MATRIX.items() if row.effects])
def test_a_number_of_which_no_source_is_known_is_ours(venue: str) -> None:
    row = MATRIX[venue]
    if row.stops_told is StopsTold.ASSUMED:
        assert row.stops_max == STOPS_MAX
    assert row.stops_max > 1, "two stops of one direction rest while one gives way to another"
