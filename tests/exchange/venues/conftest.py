"""The venues that have an adapter, each on a stage of its own."""

from collections.abc import Callable

import pytest
from asyncio_throttle.throttler import Throttler

from bot.core.model import PositionMode
from bot.exchange.live import connection, lanes
from tests.exchange.venues.apex_desk import ApexDesk
from tests.exchange.venues.binance_desk import BinanceDesk, coinm_desk
from tests.exchange.venues.bitget_desk import BitgetDesk
from tests.exchange.venues.bitunix_desk import BitunixDesk
from tests.exchange.venues.bybit_desk import BybitDesk
from tests.exchange.venues.gate_desk import GateDesk
from tests.exchange.venues.hyperliquid_desk import HyperliquidDesk
from tests.exchange.venues.krakenfutures_desk import KrakenDesk
from tests.exchange.venues.kucoin_desk import KucoinDesk
from tests.exchange.venues.okx_desk import OkxDesk
from tests.exchange.venues.stage import Book, Desk
from tests.exchange.venues.xt_desk import XtDesk

DESKS: dict[str, Callable[[Book], Desk]] = {
    "binancecoinm": coinm_desk,
    "binanceusdm": BinanceDesk,
    "bitget": BitgetDesk,
    "bitunix": BitunixDesk,
    "bybit": BybitDesk,
    "gate": GateDesk,
    "hyperliquid": HyperliquidDesk,
    "krakenfutures": KrakenDesk,
    "kucoin": KucoinDesk,
    "okx": OkxDesk,
    "xt": XtDesk,
}
READERS: dict[str, Callable[[Book], Desk]] = {**DESKS, "apex": ApexDesk}
"""With those of which an adapter can read alone."""

MODES = {
    "binancecoinm": frozenset(PositionMode),
    "binanceusdm": frozenset(PositionMode),
    "bitget": frozenset(PositionMode),
    "bitunix": frozenset(PositionMode),
    "bybit": frozenset(PositionMode),
    "gate": frozenset(PositionMode),
    "hyperliquid": frozenset({PositionMode.ONE_WAY}),
    "krakenfutures": frozenset({PositionMode.ONE_WAY}),
    "kucoin": frozenset(PositionMode),
    "okx": frozenset(PositionMode),
    "xt": frozenset({PositionMode.HEDGE}),
}
"""The position modes that each knows."""


@pytest.fixture(params=DESKS)
def venue(request: pytest.FixtureRequest) -> str:
    """The name of each in turn."""
    return str(request.param)


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait a moment for answers, as the stage is on this machine, and for no budget of ours."""
    monkeypatch.setattr(lanes, "READ_SHARE", 100)
    monkeypatch.setattr(lanes, "Throttler", lambda _, window_s: Throttler(100_000, window_s))
    monkeypatch.setattr(connection, "READ_TIMEOUT_MS", 600)
    monkeypatch.setattr(connection, "WRITE_TIMEOUT_MS", 400)
