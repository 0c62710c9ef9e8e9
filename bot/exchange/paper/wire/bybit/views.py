"""Positions and the wallet as this venue shows them. All of it is worked out when asked for."""

from decimal import Decimal
from typing import Any

from bot.core.model import Instrument, MarginMode, Side
from bot.core.units import ZERO, Price
from bot.exchange.paper.wire.bybit.orders import PositionIdx, idx_of
from bot.exchange.paper.wire.listing import id_of, text
from bot.exchange.paper.wire.views import AccountView, PositionView, money


def position_row(view: PositionView, at_ms: int) -> dict[str, Any]:
    """A row of GET position/list, and of the position topic. No liquidation price is ""."""
    held, initial = view.position, money(_initial_margin(view))
    liquidation = "" if view.liquidation == "0" else view.liquidation
    return _row(view.instrument, view.mark, held.leverage, at_ms) | {
        "positionIdx": int(idx_of(view.mode, held.side)),
        "side": "Buy" if held.side is Side.LONG else "Sell",
        "size": text(held.quantity),
        "avgPrice": text(held.entry_price),
        "entryPrice": text(held.entry_price),
        "positionValue": text(held.quantity * held.entry_price),
        "positionBalance": text(ZERO if view.is_cross else held.isolated_margin),
        "positionIM": initial,
        "positionMM": money(view.maintenance_margin),
        "positionIMByMp": initial,
        "positionMMByMp": money(view.maintenance_margin),
        "liqPrice": liquidation,
        "unrealisedPnl": money(view.unrealised),
        "adlRankIndicator": 1,
    }


def _initial_margin(view: PositionView) -> Decimal:
    """Of an isolated position all its margin, with what was added: `documented`."""
    return view.initial_margin if view.is_cross else view.position.isolated_margin


def empty_row(
    instrument: Instrument, mark: Price, leverage: Decimal, idx: PositionIdx, at_ms: int
) -> dict[str, Any]:
    """The row of a contract, or a leg of it, in which nothing is held."""
    return _row(instrument, mark, leverage, at_ms) | {"positionIdx": int(idx)}


def _row(instrument: Instrument, mark: Price, leverage: Decimal, at_ms: int) -> dict[str, Any]:
    return {
        "positionIdx": 0,
        "riskId": 1,
        "riskLimitValue": "",
        "symbol": id_of(instrument.symbol),
        "side": "",
        "size": "0",
        "avgPrice": "0",
        "entryPrice": "0",
        "positionValue": "",
        "tradeMode": 0,
        "positionStatus": "Normal",
        "autoAddMargin": 0,
        "adlRankIndicator": 0,
        "leverage": text(leverage),
        "positionBalance": "0",
        "markPrice": text(mark),
        "liqPrice": "",
        "bustPrice": "",
        "positionMM": "",
        "positionIM": "",
        "positionMMByMp": "",
        "positionIMByMp": "",
        "tpslMode": "Full",
        "takeProfit": "",
        "stopLoss": "",
        "trailingStop": "0",
        "unrealisedPnl": "",
        "curRealisedPnl": "0",
        "cumRealisedPnl": "0",
        "seq": 0,
        "isReduceOnly": False,
        "createdTime": str(at_ms),
        "updatedTime": str(at_ms),
    }


def wallet_row(view: AccountView) -> dict[str, Any]:
    """The row of GET wallet-balance, and of the wallet topic: the unified account."""
    unrealised = sum((each.unrealised for each in view.positions), ZERO)
    initial = money(sum((_initial_margin(each) for each in view.positions), ZERO))
    maintenance = money(sum((each.maintenance_margin for each in view.positions), ZERO))
    equity = view.wallet_balance + unrealised
    isolated = any(each.position.margin_mode is MarginMode.ISOLATED for each in view.positions)
    rate = "" if isolated or equity <= ZERO else f"{Decimal(maintenance) / equity:.8f}"
    return {
        "accountType": "UNIFIED",
        "accountLTV": "0",
        "accountIMRate": "",
        "accountMMRate": rate,
        "totalEquity": money(equity),
        "totalWalletBalance": text(view.wallet_balance),
        "totalMarginBalance": money(equity),
        "totalAvailableBalance": money(view.snapshot.free),
        "totalPerpUPL": money(unrealised),
        "totalInitialMargin": initial,
        "totalMaintenanceMargin": maintenance,
        "coin": [
            {
                "coin": "USDT",
                "equity": money(equity),
                "usdValue": money(equity),
                "walletBalance": text(view.wallet_balance),
                "availableToWithdraw": money(view.snapshot.free),
                "availableToBorrow": "",
                "borrowAmount": "0",
                "accruedInterest": "0",
                "totalOrderIM": "0",
                "totalPositionIM": initial,
                "totalPositionMM": maintenance,
                "unrealisedPnl": money(unrealised),
                "cumRealisedPnl": "0",
                "bonus": "0",
                "locked": "0",
                "collateralSwitch": True,
                "marginCollateral": True,
            }
        ],
    }
