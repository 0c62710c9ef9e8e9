"""
Binance COIN-M, its private side: what differs from USD-M.

Every coin has a wallet of its own, which backs the positions that pay in it and no others: an
account here is that of one coin. A position tells its margin mode and leverage itself. The
position mode is the one of USD-M, too (`documented`, June 2026).
"""

from collections.abc import Iterator, Sequence

from bot.core.model import ContractKind, MarginMode
from bot.exchange.live.calls import Call, Json
from bot.exchange.live.reading import Row, rows
from bot.exchange.venues.binance_account import BinanceAccount, Terms

_API = "dapiPrivate"
_MODES = {"isolated": MarginMode.ISOLATED, "cross": MarginMode.CROSS}
_POSITIONS = Call(_API, "GET", "positionRisk", {})
_ACCOUNT = Call(_API, "GET", "account", {}, weight=5)


def _terms_of(position: Row, terms: Sequence[Json]) -> Terms:
    return Terms(position.meaning("marginType", _MODES), position.above_zero("leverage"))


def _unfit(jsons: Sequence[Json]) -> Iterator[str]:
    account, positions = jsons
    if not Row(account, "account").flag("canTrade"):
        yield "account: expected one that can trade, was not (canTrade)"
    for row in rows(positions, "positionRisk"):
        if row.flag("isAutoAddMargin"):
            yield f"{row.text('symbol')}: expected the venue's auto-margin to be off, was on"


def _strange(jsons: Sequence[Json]) -> tuple[str, ...]:
    """Nothing: one coin alone backs an account."""
    return ()


def account_of(coin: str) -> BinanceAccount:
    """The account of one coin's wallet."""
    return BinanceAccount(
        coin=coin,
        kind=ContractKind.INVERSE,
        api=_API,
        terms=(Call(_API, "GET", "positionSide/dual", {}, weight=30),),
        terms_of=_terms_of,
        state=(_POSITIONS, _ACCOUNT),
        agreed=(),
        check=(_ACCOUNT, _POSITIONS),
        unfit=_unfit,
        strange=_strange,
        listening="wss://dstream.binance.com/ws/",
    )
