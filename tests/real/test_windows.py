"""Every recorded window can be read whole, and its path goes where the prices went."""

from decimal import Decimal
from typing import Any

import pytest

from bot.core.model import Side
from bot.core.units import Ratio
from bot.rehearsal.bars import DataError, read_bars
from bot.rehearsal.path import price_path

STEP = Ratio(Decimal("0.0025"))


def test_loads_and_its_path_reaches_the_extremes(klines: dict[str, Any]) -> None:
    if klines["kind"] == "history":
        # Without a mark in their first months: refused, not patched up.
        with pytest.raises(DataError, match=r":2: mark_open: expected a number .*, was ''"):
            read_bars(klines["path"])
        return
    bars = read_bars(klines["path"])
    assert bars.venue == klines["venue"]
    assert bars.symbol == f"{klines['symbol'].removesuffix('USDT')}/USDT:USDT"
    assert len(bars.rows) == klines["rows"]
    assert bars.mark_is_recorded == ("mark" in klines["columns"])
    for against in Side:
        prices = [point.last for point in price_path(bars, against, STEP)]
        assert (min(prices), max(prices)) == (
            Decimal(str(klines["low"])),
            Decimal(str(klines["high"])),
        )
