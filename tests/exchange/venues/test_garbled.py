"""A row that cannot be read costs no other row its place in the read, whatever the venue."""

import re
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from bot.exchange.ports import Unreachable
from tests.exchange.venues.conftest import DESKS
from tests.exchange.venues.stage import Book, D, Scene, staged

SIZES = ("positionAmt", "positionSize", "size", "qty", "pos", "total", "currentQty", "szi")
NAMES = ("symbol", "contract", "instId", "coin")

Spoil = Callable[[dict[str, Any]], Any]


def _another_position(json: Any, spoilt: Spoil) -> None:
    """Put `spoilt` of the first position of every list of positions in `json` behind it."""
    if isinstance(json, dict):
        for each in json.values():
            _another_position(each, spoilt)
    elif isinstance(json, list):
        if json and isinstance(json[0], dict) and any(size in _row(json[0]) for size in SIZES):
            json.append(spoilt(deepcopy(json[0])))
        for each in json:
            _another_position(each, spoilt)


def _row(entry: dict[str, Any]) -> dict[str, Any]:
    """What tells of the position, which may be within what tells of its kind."""
    inner = entry.get("position", entry)
    return inner if isinstance(inner, dict) else entry


def spoil(live: Scene, spoilt: Spoil) -> None:
    """Every read of the state has another position from now on, of ETH, that is `spoilt`."""

    def spoil_all(json: Any) -> Any:
        _another_position(json, spoilt)
        return json

    live.stage.spoils.append((live.desk.dialect.account.state_calls(), spoil_all))


def no_size(entry: dict[str, Any]) -> Any:
    row = _row(entry)
    for name in NAMES:
        if name in row:
            row[name] = re.sub("BTC|XBT", "ETH", row[name]).replace("btc", "eth")
    for size in SIZES:
        if size in row:
            row[size] = "many"
    return entry


def no_name(entry: dict[str, Any]) -> Any:
    row = _row(entry)
    for name in NAMES:
        row.pop(name, None)
    return entry


def nothing(entry: dict[str, Any]) -> Any:
    return None


@pytest.mark.parametrize(
    ("spoilt", "symbol"),
    [(no_size, "ETH"), (no_name, ""), (nothing, "")],
    ids=["no size", "no name", "nothing"],
)
async def test_a_position_that_cannot_be_read_is_told_beside_those_that_can(
    venue: str, spoilt: Spoil, symbol: str
) -> None:
    async with staged(DESKS[venue](Book())) as live:
        live.desk.hand_stop("web-1", D(57_000), D("0.1"))
        clean = await live.account.snapshot()
        spoil(live, spoilt)
        seen = await live.account.snapshot()
    ether = live.symbol.replace("BTC", "ETH")
    assert {each.symbol for each in seen.garbled} == {ether if symbol else ""}
    assert seen.positions == clean.positions
    assert [each.symbol for each in seen.positions] == [live.symbol]
    assert (set(seen.stops), seen.free) == (set(clean.stops), clean.free)
    assert seen.tells_of(live.symbol) is bool(symbol)
    assert not seen.tells_of(ether)


async def test_a_stop_that_cannot_be_read_hides_no_other(venue: str) -> None:
    spoilt: list[int] = []

    def with_garbage(json: Any) -> Any:
        spoilt.append(_garbage_first(json))
        return json

    async with staged(DESKS[venue](Book())) as live:
        live.desk.hand_stop("web-1", D(57_000), D("0.1"))
        clean = await live.account.snapshot()
        dialect = live.desk.dialect.account
        calls = (dialect.all_stops_call(), dialect.stops_call("any"))
        live.stage.spoils.append((calls, with_garbage))
        seen = await live.account.snapshot()
    assert sum(spoilt) >= 1
    assert len(clean.stops) == 1
    assert seen.stops == clean.stops
    assert seen.garbled == ()


def _garbage_first(json: Any) -> int:
    """Put garbage before the rows of every list in `json`; how many lists there were."""
    if isinstance(json, dict):
        return sum(_garbage_first(each) for each in json.values())
    if isinstance(json, list) and json and isinstance(json[0], dict):
        json[:0] = [None, {}, dict.fromkeys(json[0], 7)]
        return 1
    return 0


async def test_a_list_that_is_none_is_no_read(venue: str) -> None:
    """It may have had any position in it."""
    async with staged(DESKS[venue](Book())) as live:
        live.stage.spoils.append((live.desk.dialect.account.state_calls(), lambda _: {}))
        with pytest.raises(Unreachable):
            await live.account.snapshot()
