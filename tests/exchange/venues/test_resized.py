"""
A venue cuts a contract in ten while a position in it is open, or makes ten one: ten times as many
contracts, or a tenth of them, are worth the same, and no read may show another position.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from bot.core.model import Position
from bot.exchange.live import contracts
from bot.exchange.live.calls import Call
from bot.exchange.ports import Unreachable
from tests.exchange.venues.conftest import DESKS, MODES
from tests.exchange.venues.stage import Book, D, Scene, staged


@dataclass(frozen=True, slots=True)
class Counted:
    """What the venue calls the size of a contract and how many contracts a position has."""

    size: str
    contracts: str


COUNTED = {
    "binancecoinm": Counted("contractSize", "positionAmt"),
    "gate": Counted("quanto_multiplier", "size"),
    "krakenfutures": Counted("contractSize", "size"),
    "kucoin": Counted("multiplier", "currentQty"),
    "okx": Counted("ctVal", "pos"),
    "xt": Counted("contractSize", "positionSize"),
}
of_all = pytest.mark.parametrize("venue", COUNTED)
of_turns = pytest.mark.parametrize("turn", [D(10), D("0.1")], ids=["cut", "joined"])


@pytest.fixture(autouse=True)
def hastily(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contracts, "LISTING_MS", -1)


def desk(venue: str) -> Any:
    return DESKS[venue](Book(position_mode=min(MODES[venue])))


def turn_all(json: Any, name: str, turn: Decimal) -> Any:
    """Make every `name` within `json` so many times as much, in the venue's own kind."""
    if isinstance(json, list):
        return [turn_all(each, name, turn) for each in json]
    if not isinstance(json, dict):
        return json
    return {
        key: _turned(each, turn) if key == name else turn_all(each, name, turn)
        for key, each in json.items()
    }


def _turned(number: Any, turn: Decimal) -> Any:
    turned = D(str(number)) * turn
    if isinstance(number, str):
        return f"{turned.normalize():f}"
    return int(turned) if turned == int(turned) else float(turned)


def resize(live: Scene, venue: str, turn: Decimal) -> None:
    """From now on a position has `turn` times the contracts, and each is so much less."""
    counted, (market, account) = (
        COUNTED[venue],
        (live.desk.dialect.market, live.desk.dialect.account),
    )

    def spoil(calls: Sequence[Call], name: str, by: Decimal) -> None:
        change: Callable[[Any], Any] = lambda json: turn_all(json, name, by)  # noqa: E731
        live.stage.spoils.append((calls, change))

    name = live.live._contracts.listed.id_of(live.symbol)
    public = {market.listing_call().path: market.listing_call()}
    public |= {each.path: each for each in market.instrument_calls(name)}
    spoil(list(public.values()), counted.size, 1 / turn)
    spoil(account.state_calls(), counted.contracts, turn)


async def seen(live: Scene) -> tuple[Position, ...]:
    return (await live.account.snapshot()).positions


def test_no_venue_that_counts_contracts_is_left_out() -> None:
    assert set(COUNTED) == set(DESKS) - {
        "binanceusdm",
        "bitget",
        "bitunix",
        "bybit",
        "hyperliquid",
    }


@of_all
@of_turns
async def test_a_position_stays_what_it_is(venue: str, turn: Decimal) -> None:
    async with staged(desk(venue)) as live:
        before = await seen(live)
        resize(live, venue, turn)
        assert await seen(live) == before
        assert await seen(live) == before
    assert len(before) == 1


@of_all
async def test_a_listing_that_cannot_be_read_shows_no_other_position(venue: str) -> None:
    async with staged(desk(venue)) as live:
        before = await seen(live)
        resize(live, venue, D(10))
        calls = [live.desk.dialect.market.listing_call()]
        live.stage.spoils.append((calls, lambda _: {"result": "no"}))
        for _ in range(2):
            with pytest.raises(Unreachable):
                await live.account.snapshot()
        live.stage.spoils.pop()
        assert await seen(live) == before


@of_all
async def test_rules_of_another_size_are_read_with_a_new_listing_which_the_account_has_too(
    venue: str,
) -> None:
    async with staged(desk(venue)) as live:
        (before,) = await live.market.instruments((live.symbol,))
        resize(live, venue, D(10))
        (rules,) = await live.market.instruments((live.symbol,))
        assert rules.quantity_step == before.quantity_step / 10
        name = live.live._contracts.listed.id_of(live.symbol)
        size = live.live._contracts.listed.sizes[name]
        await live.market._contracts.renew()
        assert live.live._contracts.listed.sizes[name] == size
