"""A venue watched by somebody without a key: every contract is known, and nothing is signed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from bot.clock import Clock, system_wall_ms
from bot.core.units import Ratio
from bot.exchange.live.asking import read
from bot.exchange.live.connection import Loopback, watch
from bot.exchange.live.keyless import NotTold
from bot.exchange.live.market import LiveMarket
from bot.exchange.ports import Unreachable
from bot.exchange.venues import binanceusdm
from bot.exchange.venues.dialects import DIALECTS
from bot.exchange.venues.keyless import (
    BYBIT_TAKER_FEE,
    DOCUMENTS,
    GATE_TAKER_FEE,
    OKX_TAKER_FEE,
)
from tests.exchange.venues.conftest import DESKS
from tests.exchange.venues.stage import BTC, Book, D, Scene, staged

FEES = {"bybit": BYBIT_TAKER_FEE, "gate": GATE_TAKER_FEE, "okx": OKX_TAKER_FEE}


@asynccontextmanager
async def watched(scene: Scene, venue: str) -> AsyncIterator[LiveMarket]:
    """The venue on the stage, by somebody without a key."""
    clock = Clock(system_wall_ms())
    market, route = DIALECTS[venue].market, Loopback(scene.port)
    async with watch(market, DOCUMENTS[venue], route, clock) as watching:
        yield watching.market


@pytest.mark.parametrize("venue", DOCUMENTS)
async def test_a_contract_is_known_as_to_who_has_a_key_but_for_what_is_documented(
    venue: str,
) -> None:
    async with staged(DESKS[venue](Book())) as scene:
        (keyed,) = await scene.market.instruments((BTC,))
        before = len(scene.stage.asked)
        async with watched(scene, venue) as market:
            (known,) = await market.instruments((BTC,))
        asked = scene.stage.asked[before:]
    if venue in FEES:
        keyed = replace(keyed, taker_fee=Ratio(D(FEES[venue])))
    if venue == "binanceusdm":
        keyed = replace(keyed, tiers=binanceusdm.instruments()[BTC].tiers)
    assert known == keyed
    calls = DIALECTS[venue].market.instrument_calls("BTCUSDT")
    private = [call for call in calls if call.path in DOCUMENTS[venue]]
    assert len(private) == len(DOCUMENTS[venue])
    assert not [each.path for each in asked if any(each.is_of(call) for call in private)]


@pytest.mark.parametrize("venue", DOCUMENTS)
async def test_what_wants_a_key_is_never_sent(venue: str) -> None:
    async with staged(DESKS[venue](Book())) as scene, watched(scene, venue) as market:
        before = len(scene.stage.asked)
        for call in DIALECTS[venue].account.state_calls():
            with pytest.raises(Unreachable):
                await read(market._reads, call)
        assert len(scene.stage.asked) == before


async def test_a_contract_whose_tiers_nobody_wrote_down_is_not_guessed() -> None:
    with pytest.raises(NotTold, match=r"^ODDUSDT: expected a contract whose risk tiers are known"):
        DOCUMENTS["binanceusdm"]["leverageBracket"]({"symbol": "ODDUSDT"})
