"""
Binance USD-M: the venue's rules and the contracts that recorded data exist for, as data.

Risk tiers: `recorded` from the venue's leverageBracket answer (2026); ALGO was not in it and
carries FIL's, `assumed`. Tick and quantity steps: `assumed`, at least as fine as the venue's.
The taker fee is that of an ordinary account, `documented`.
"""

from decimal import Decimal

from bot.core.model import (
    CloseFee,
    ContractKind,
    Instrument,
    MaintenanceAt,
    MarginOnReduce,
    RiskTier,
    VenueRules,
)
from bot.core.units import ZERO, Money, Price, Quantity, Ratio

RULES = VenueRules(
    maintenance_at=MaintenanceAt.MARK,
    close_fee=CloseFee.NONE,
    position_margin_step=Decimal("0.01"),
    margin_on_reduce=MarginOnReduce.PRO_RATA,
)

TAKER_FEE = Ratio(Decimal("0.0005"))

# base: tick size, quantity step, then a tier a line: notional cap, maintenance rate, leverage
_CONTRACTS = {
    "1000PEPE": (
        "0.0000001",
        "1",
        """
        20000 0.0065 75
        200000 0.01 50
        300000 0.015 40
        1500000 0.02 25
        3000000 0.025 20
        15000000 0.05 10
        20000000 0.1 5
        25000000 0.125 4
        30000000 0.25 2
        Infinity 0.5 1
    """,
    ),
    "ADA": (
        "0.00001",
        "1",
        """
        10000 0.005 75
        50000 0.01 50
        200000 0.015 40
        1000000 0.02 25
        2000000 0.025 20
        10000000 0.05 10
        20000000 0.1 5
        25000000 0.125 4
        50000000 0.25 2
        Infinity 0.5 1
    """,
    ),
    "ALGO": (
        "0.00001",
        "0.1",
        """
        20000 0.01 75
        200000 0.015 50
        400000 0.02 25
        800000 0.025 20
        3000000 0.05 10
        7500000 0.1 5
        10000000 0.125 4
        12500000 0.25 2
        Infinity 0.5 1
    """,
    ),
    "AVAX": (
        "0.001",
        "0.1",
        """
        25000 0.005 75
        80000 0.01 50
        160000 0.015 40
        800000 0.02 25
        1600000 0.025 20
        8000000 0.05 10
        16000000 0.1 5
        20000000 0.125 4
        40000000 0.25 2
        Infinity 0.5 1
    """,
    ),
    "BCH": (
        "0.01",
        "0.001",
        """
        10000 0.005 75
        100000 0.01 50
        160000 0.015 40
        800000 0.02 25
        1600000 0.025 20
        8000000 0.05 10
        16000000 0.1 5
        20000000 0.125 4
        40000000 0.25 2
        Infinity 0.5 1
    """,
    ),
    "BTC": (
        "0.1",
        "0.001",
        """
        300000 0.004 150
        800000 0.005 100
        3000000 0.0065 75
        12000000 0.01 50
        70000000 0.02 25
        100000000 0.025 20
        230000000 0.05 10
        480000000 0.1 5
        600000000 0.125 4
        800000000 0.15 3
        1200000000 0.25 2
        Infinity 0.5 1
    """,
    ),
    "DOGE": (
        "0.00001",
        "1",
        """
        80000 0.0065 75
        150000 0.01 50
        750000 0.0125 40
        2000000 0.02 25
        4000000 0.025 20
        20000000 0.05 10
        40000000 0.1 5
        50000000 0.125 4
        100000000 0.25 2
        Infinity 0.5 1
    """,
    ),
    "ETH": (
        "0.01",
        "0.001",
        """
        300000 0.004 150
        800000 0.005 100
        3000000 0.0065 75
        12000000 0.01 50
        50000000 0.02 25
        65000000 0.025 20
        150000000 0.05 10
        320000000 0.1 5
        400000000 0.125 4
        530000000 0.15 3
        800000000 0.25 2
        Infinity 0.5 1
    """,
    ),
    "FIL": (
        "0.001",
        "0.1",
        """
        20000 0.01 75
        200000 0.015 50
        400000 0.02 25
        800000 0.025 20
        3000000 0.05 10
        7500000 0.1 5
        10000000 0.125 4
        12500000 0.25 2
        Infinity 0.5 1
    """,
    ),
    "LINK": (
        "0.001",
        "0.01",
        """
        10000 0.005 75
        200000 0.01 50
        400000 0.015 40
        800000 0.02 25
        1600000 0.025 20
        8000000 0.05 10
        16000000 0.1 5
        20000000 0.125 4
        40000000 0.25 2
        Infinity 0.5 1
    """,
    ),
    "LTC": (
        "0.01",
        "0.001",
        """
        10000 0.005 75
        50000 0.01 50
        160000 0.015 40
        800000 0.02 25
        1600000 0.025 20
        8000000 0.05 10
        16000000 0.1 5
        20000000 0.125 4
        40000000 0.25 2
        Infinity 0.5 1
    """,
    ),
    "NEAR": (
        "0.001",
        "1",
        """
        20000 0.01 75
        200000 0.015 50
        1000000 0.02 25
        2000000 0.025 20
        10000000 0.05 10
        20000000 0.1 5
        25000000 0.125 4
        30000000 0.25 2
        Infinity 0.5 1
    """,
    ),
    "SOL": (
        "0.001",
        "0.01",
        """
        50000 0.005 100
        400000 0.0065 75
        1000000 0.01 50
        4000000 0.02 25
        8000000 0.025 20
        40000000 0.05 10
        80000000 0.1 5
        100000000 0.125 4
        200000000 0.25 2
        Infinity 0.5 1
    """,
    ),
    "SUI": (
        "0.0001",
        "0.1",
        """
        20000 0.01 75
        200000 0.015 50
        1000000 0.02 25
        2000000 0.025 20
        10000000 0.05 10
        20000000 0.1 5
        25000000 0.125 4
        50000000 0.25 2
        Infinity 0.5 1
    """,
    ),
    "XRP": (
        "0.00001",
        "0.1",
        """
        40000 0.005 100
        80000 0.006 75
        150000 0.01 50
        400000 0.0125 40
        1000000 0.02 25
        2000000 0.025 20
        10000000 0.05 10
        20000000 0.1 5
        25000000 0.125 4
        50000000 0.25 2
        Infinity 0.5 1
    """,
    ),
}


def instruments() -> dict[str, Instrument]:
    """Every contract this version knows, by unified symbol."""
    listed = (_instrument(base, *facts) for base, facts in _CONTRACTS.items())
    return {instrument.symbol: instrument for instrument in listed}


def _instrument(base: str, tick_size: str, quantity_step: str, table: str) -> Instrument:
    return Instrument(
        symbol=f"{base}/USDT:USDT",
        kind=ContractKind.LINEAR,
        settle="USDT",
        tick_size=Price(Decimal(tick_size)),
        quantity_step=Quantity(Decimal(quantity_step)),
        quantity_min=Quantity(Decimal(quantity_step)),
        taker_fee=TAKER_FEE,
        tiers=_tiers(table),
        rules=RULES,
    )


def _tiers(table: str) -> tuple[RiskTier, ...]:
    """Tiers with the deduction that makes the maintenance margin continuous, as the venue's."""
    tiers: list[RiskTier] = []
    floor, deduction, rate_before = ZERO, ZERO, ZERO
    for line in filter(str.strip, table.splitlines()):
        cap, rate, leverage_max = map(Decimal, line.split())
        if tiers:
            deduction += floor * (rate - rate_before)
        tiers.append(RiskTier(floor, cap, Ratio(rate), Money(deduction), leverage_max))
        floor, rate_before = cap, rate
    return tuple(tiers)
