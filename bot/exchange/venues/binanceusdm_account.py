"""
Binance USD-M, its private side: what differs from COIN-M.

A position's margin mode and leverage come from symbolConfig, since positionRisk v3 has neither.
"""

from collections.abc import Iterator, Sequence

from bot.core.model import ContractKind, MarginMode
from bot.exchange.live.calls import Call, Json
from bot.exchange.live.reading import Row, readable, rows
from bot.exchange.venues.binance_account import BinanceAccount, Terms
from bot.exchange.venues.binance_market import only

_API, _API_V3 = "fapiPrivate", "fapiPrivateV3"
_MODES = {"ISOLATED": MarginMode.ISOLATED, "CROSSED": MarginMode.CROSS}
_CONFIGS = Call(_API, "GET", "symbolConfig", {}, weight=5)
_ACCOUNT_CONFIG = Call(_API, "GET", "accountConfig", {}, weight=5)


def _terms_of(position: Row, terms: Sequence[Json]) -> Terms:
    """Of one contract: what the others' rows say is nothing to it."""
    name = position.text("symbol")

    def own(row: Row) -> list[Row]:
        return [row] if row.text("symbol") == name else []

    row = only(readable(terms[0], "symbolConfig", own), "symbol", name)
    return Terms(row.meaning("marginType", _MODES), row.above_zero("leverage"))


def _unfit(jsons: Sequence[Json]) -> Iterator[str]:
    account, configs = jsons
    mode = Row(account, "accountConfig")
    if not mode.flag("canTrade"):
        yield "account: expected one that can trade, was not (canTrade)"
    for row in rows(configs, "symbolConfig"):
        if row.flag("isAutoAddMargin"):
            yield f"{row.text('symbol')}: expected the venue's auto-margin to be off, was on"


def _strange(jsons: Sequence[Json]) -> Iterator[str]:
    account, _ = jsons
    if Row(account, "accountConfig").flag("multiAssetsMargin"):
        yield "account: multi-assets margin is not supported: other assets back it too"


ACCOUNT = BinanceAccount(
    coin="USDT",
    kind=ContractKind.LINEAR,
    api=_API,
    terms=(_CONFIGS, _ACCOUNT_CONFIG),
    terms_of=_terms_of,
    state=(
        Call(_API_V3, "GET", "positionRisk", {}, weight=5),
        Call(_API_V3, "GET", "account", {}, weight=5),
    ),
    agreed=("isolatedWallet",),
    check=(_ACCOUNT_CONFIG, _CONFIGS),
    unfit=_unfit,
    strange=_strange,
    listening="wss://fstream.binance.com/private/ws?listenKey=",
)
