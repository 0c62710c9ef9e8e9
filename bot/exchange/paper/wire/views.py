"""An account as the venue's read endpoints show it. All of it is worked out when asked for."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeAlias

from bot.core.model import (
    AccountSnapshot,
    Instrument,
    MarginMode,
    NotReported,
    Position,
    PositionMode,
)
from bot.core.units import ZERO, Money, Price
from bot.exchange.paper.arithmetic import tier_of
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.wire.listing import CAP_DISPLAYED, id_of, text
from bot.exchange.paper.wire.orders import PositionSide, position_side_of

ASSET = "USDT"
_NONE = "0.00000000"

Leg: TypeAlias = tuple[str, PositionSide]
"""A contract, and which of its positions."""


@dataclass(frozen=True, slots=True)
class PositionView:
    """An open position at the present mark price."""

    position: Position
    instrument: Instrument
    mark: Price
    mode: PositionMode

    @property
    def position_side(self) -> PositionSide:
        """The leg that it is."""
        return position_side_of(self.mode, self.position.side)

    @property
    def leg(self) -> Leg:
        """What it is to the venue, whichever way it points in one-way mode."""
        return self.position.symbol, self.position_side

    @property
    def amount(self) -> Decimal:
        """Signed: below zero for a short."""
        return self.position.side.sign * self.position.quantity

    @property
    def notional(self) -> Decimal:
        """Signed, at the mark price."""
        return self.amount * self.mark

    @property
    def unrealised(self) -> Decimal:
        """Profit at the mark price."""
        return self.amount * (self.mark - self.position.entry_price)

    @property
    def is_cross(self) -> bool:
        """Whether the wallet backs it."""
        return self.position.margin_mode is MarginMode.CROSS

    @property
    def initial_margin(self) -> Decimal:
        """At the mark price."""
        return abs(self.notional) / self.position.leverage

    @property
    def maintenance_margin(self) -> Decimal:
        """At the mark price."""
        tier = tier_of(self.instrument, abs(self.notional))
        return abs(self.notional) * tier.rate - tier.deduction

    @property
    def isolated_margin(self) -> Decimal:
        """As the venue has it: with the unrealised profit; 0 for a cross position."""
        return ZERO if self.is_cross else self.position.isolated_margin + self.unrealised

    @property
    def liquidation(self) -> str:
        """The venue's encoding of no liquidation price is 0."""
        reported = self.position.liquidation
        return "0" if isinstance(reported, NotReported) else text(reported.price)

    def risk_row(self, at_ms: int) -> dict[str, Any]:
        """A row of GET positionRisk, version 3."""
        return {
            "symbol": id_of(self.position.symbol),
            "positionSide": self.position_side.value,
            "positionAmt": text(self.amount),
            "entryPrice": text(self.position.entry_price),
            "breakEvenPrice": text(self.position.entry_price),
            "markPrice": text(self.mark),
            "unRealizedProfit": text(self.unrealised),
            "liquidationPrice": self.liquidation,
            "isolatedMargin": money(self.isolated_margin),
            "notional": money(self.notional),
            "marginAsset": ASSET,
            "isolatedWallet": text(self.position.isolated_margin),
            "initialMargin": money(self.initial_margin),
            "maintMargin": money(self.maintenance_margin),
            "positionInitialMargin": money(self.initial_margin),
            "openOrderInitialMargin": "0",
            "adl": 1,
            "bidNotional": "0",
            "askNotional": "0",
            "updateTime": at_ms,
        }

    def risk_row_v2(self, at_ms: int) -> dict[str, Any]:
        """The same in version 2, which also has the terms of the symbol."""
        return self.risk_row(at_ms) | {
            "leverage": text(self.position.leverage),
            "maxNotionalValue": notional_max(self.instrument, self.position.leverage),
            "marginType": str(self.position.margin_mode),
            "isAutoAddMargin": "false",
        }

    def account_row(self, at_ms: int) -> dict[str, Any]:
        """A row of the positions in GET account."""
        return {
            "symbol": id_of(self.position.symbol),
            "positionSide": self.position_side.value,
            "positionAmt": text(self.amount),
            "unrealizedProfit": money(self.unrealised),
            "isolatedMargin": money(self.isolated_margin),
            "notional": money(self.notional),
            "isolatedWallet": text(self.position.isolated_margin),
            "initialMargin": money(self.initial_margin),
            "maintMargin": money(self.maintenance_margin),
            "updateTime": at_ms,
        }

    def pushed_row(self) -> dict[str, Any]:
        """A row of the positions in ACCOUNT_UPDATE."""
        return {
            "s": id_of(self.position.symbol),
            "pa": text(self.amount),
            "ep": text(self.position.entry_price),
            "bep": text(self.position.entry_price),
            "cr": "0",
            "up": money(self.unrealised),
            "mt": str(self.position.margin_mode),
            "iw": text(self.position.isolated_margin),
            "ps": self.position_side.value,
            "ma": ASSET,
        }

    def called_row(self) -> dict[str, Any]:
        """A row of MARGIN_CALL."""
        return {
            "s": id_of(self.position.symbol),
            "ps": self.position_side.value,
            "pa": text(self.amount),
            "mt": "CROSSED" if self.is_cross else "ISOLATED",
            "iw": text(self.position.isolated_margin),
            "mp": text(self.mark),
            "up": money(self.unrealised),
            "mm": money(self.maintenance_margin),
        }


def money(amount: Decimal) -> str:
    """An amount with the eight places that the venue shows."""
    return f"{amount:.8f}"


def notional_max(instrument: Instrument, leverage: Decimal) -> str:
    """The largest notional that may be held at `leverage`."""
    caps = [tier.cap for tier in instrument.tiers if tier.leverage_max >= leverage]
    return str(int(caps[-1])) if caps[-1].is_finite() else str(CAP_DISPLAYED)


@dataclass(frozen=True, slots=True)
class CoinView:
    """A balance of another coin at its present price."""

    coin: str
    balance: Decimal
    mark: Price

    def row(self, at_ms: int) -> dict[str, Any]:
        """A row of the assets in GET account: in coins, for nothing is bound of them."""
        balance = text(self.balance)
        return {
            "asset": self.coin,
            "walletBalance": balance,
            "unrealizedProfit": _NONE,
            "marginBalance": balance,
            "maintMargin": _NONE,
            "initialMargin": _NONE,
            "positionInitialMargin": _NONE,
            "openOrderInitialMargin": _NONE,
            "crossWalletBalance": balance,
            "crossUnPnl": _NONE,
            "availableBalance": balance,
            "maxWithdrawAmount": _NONE,
            "updateTime": at_ms,
        }


@dataclass(frozen=True, slots=True)
class AccountView:
    """
    An account at the present mark prices.

    In multi-assets mode its totals are worth USDT, the coins in full; else they are its USDT.
    """

    snapshot: AccountSnapshot
    positions: tuple[PositionView, ...]
    coins: tuple[CoinView, ...]
    counts_coins: bool
    available: Money
    """What could become initial margin of cross positions."""

    @property
    def wallet_balance(self) -> Decimal:
        """As the venue has it: the money of isolated positions included."""
        isolated = (each.isolated_margin for each in self.snapshot.positions)
        return self.snapshot.wallet_balance + sum(isolated, ZERO)

    def _asset(self, at_ms: int) -> dict[str, Any]:
        unrealised = sum((each.unrealised for each in self.positions), ZERO)
        crossed = sum((each.unrealised for each in self.positions if each.is_cross), ZERO)
        initial = money(sum((each.initial_margin for each in self.positions), ZERO))
        return {
            "asset": ASSET,
            "walletBalance": text(self.wallet_balance),
            "unrealizedProfit": money(unrealised),
            "marginBalance": money(self.wallet_balance + unrealised),
            "maintMargin": money(sum((each.maintenance_margin for each in self.positions), ZERO)),
            "initialMargin": initial,
            "positionInitialMargin": initial,
            "openOrderInitialMargin": "0.00000000",
            "crossWalletBalance": text(self.snapshot.wallet_balance),
            "crossUnPnl": money(crossed),
            "availableBalance": money(self.snapshot.free),
            "maxWithdrawAmount": money(self.snapshot.free),
            "updateTime": at_ms,
        }

    def account(self, at_ms: int) -> dict[str, Any]:
        """GET account, version 3."""
        asset = self._asset(at_ms)
        counted = self.coins if self.counts_coins else ()
        beside = sum((each.balance * each.mark for each in counted), ZERO)

        def with_coins(name: str) -> str:
            return text(Decimal(asset[name]) + beside)

        return {
            "totalInitialMargin": asset["initialMargin"],
            "totalMaintMargin": asset["maintMargin"],
            "totalWalletBalance": with_coins("walletBalance"),
            "totalUnrealizedProfit": asset["unrealizedProfit"],
            "totalMarginBalance": with_coins("marginBalance"),
            "totalPositionInitialMargin": asset["positionInitialMargin"],
            "totalOpenOrderInitialMargin": asset["openOrderInitialMargin"],
            "totalCrossWalletBalance": with_coins("crossWalletBalance"),
            "totalCrossUnPnl": asset["crossUnPnl"],
            "availableBalance": (
                money(self.available) if self.counts_coins else asset["availableBalance"]
            ),
            "maxWithdrawAmount": asset["maxWithdrawAmount"],
            "assets": [asset, *(each.row(at_ms) for each in self.coins)],
            "positions": [each.account_row(at_ms) for each in self.positions],
        }

    def balance(self, name: str, at_ms: int) -> list[dict[str, Any]]:
        """GET balance, version 3."""
        assets = [self._asset(at_ms), *(each.row(at_ms) for each in self.coins)]
        return [
            {
                "accountAlias": name,
                "asset": asset["asset"],
                "balance": asset["walletBalance"],
                "crossWalletBalance": asset["crossWalletBalance"],
                "crossUnPnl": asset["crossUnPnl"],
                "availableBalance": asset["availableBalance"],
                "maxWithdrawAmount": asset["maxWithdrawAmount"],
                "marginAvailable": True,
                "updateTime": at_ms,
            }
            for asset in assets
        ]


def view(machine: PaperMachine, name: str) -> AccountView:
    """The account `name` now."""
    snapshot = machine.snapshot(name, machine.at_ms)
    instruments, quotes = machine.instruments, machine.quotes
    return AccountView(
        snapshot,
        tuple(
            PositionView(
                each,
                instruments[each.symbol],
                quotes[each.symbol].mark,
                snapshot.position_mode,
            )
            for each in snapshot.positions
        ),
        tuple(
            CoinView(coin, balance, quotes[machine.pledges[coin].symbol].mark)
            for coin, balance in sorted(machine.coins(name).items())
        ),
        machine.counts_coins(name),
        machine.available(name),
    )


def symbol_rows(
    instruments: Iterable[Instrument], machine: PaperMachine, name: str
) -> list[dict[str, Any]]:
    """GET symbolConfig: how the account trades each contract."""
    rows = []
    for instrument in instruments:
        settings = machine.settings(name, instrument.symbol)
        is_cross = settings.margin_mode is MarginMode.CROSS
        rows.append(
            {
                "symbol": id_of(instrument.symbol),
                "marginType": "CROSSED" if is_cross else "ISOLATED",
                "isAutoAddMargin": False,
                "leverage": int(settings.leverage),
                "maxNotionalValue": notional_max(instrument, settings.leverage),
            }
        )
    return rows
