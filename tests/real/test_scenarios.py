"""The bundled tables against the recorded windows that they were taken from, cell by cell."""

import csv
import gzip
from decimal import Decimal
from importlib.resources import files
from pathlib import Path

import pytest

MINUTE_MS = 60_000
Cells = dict[str, str]


def table(name: str) -> list[Cells]:
    text = (files("bot.rehearsal") / "scenarios" / f"{name}.csv").read_text("utf-8")
    return list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))


def recorded(file: Path, *, from_ms: int, before_ms: int) -> list[Cells]:
    with gzip.open(file, "rt") as text:
        return [r for r in csv.DictReader(text) if from_ms <= int(r["ts_ms"]) < before_ms]


def quarter(minutes: list[Cells]) -> Cells:
    """The bar of 15 bars of a minute."""

    def column(name: str) -> list[Decimal]:
        return [Decimal(row[name]) for row in minutes]

    return {
        "ts_ms": minutes[0]["ts_ms"],
        "open": minutes[0]["open"],
        "high": str(max(column("high"))),
        "low": str(min(column("low"))),
        "close": minutes[-1]["close"],
        "volume": str(sum(column("volume"))),
        "funding_rate": minutes[0]["funding_rate"],
    }


def assert_same(found: list[Cells], expected: list[Cells]) -> None:
    """The same numbers in the same rows; the columns of `found` decide which."""
    assert found
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        for column, cell in ours.items():
            other = theirs[column]
            same = cell == other if "" in (cell, other) else Decimal(cell) == Decimal(other)
            assert same, (ours["ts_ms"], column, cell, other)


@pytest.mark.parametrize(
    ("name", "window"),
    [
        ("2020-03-12-btc", "binanceusdm_BTCUSDT_20200312_1h"),
        ("2020-03-12-eth", "binanceusdm_ETHUSDT_20200312_1h"),
        ("2020-03-12-xrp", "binanceusdm_XRPUSDT_20200312_1h"),
        ("2021-05-19-eth", "binanceusdm_ETHUSDT_20210519_1h"),
        ("quiet-week-btc", "binanceusdm_BTCUSDT_20230808_1h"),
    ],
)
def test_an_hourly_table_is_what_was_recorded(real_data_dir: Path, name: str, window: str) -> None:
    found = table(name)
    begin_ms, end_ms = int(found[0]["ts_ms"]), int(found[-1]["ts_ms"])
    file = real_data_dir / f"{window}.csv.gz"
    assert_same(found, recorded(file, from_ms=begin_ms, before_ms=end_ms + 1))


def test_the_quarters_of_may_2025_are_made_of_the_recorded_minutes(real_data_dir: Path) -> None:
    found = table("2025-05-08-eth")
    begin_ms, end_ms = int(found[0]["ts_ms"]), int(found[-1]["ts_ms"]) + 15 * MINUTE_MS
    file = real_data_dir / "binanceusdm_ETHUSDT_20250508_1m.csv.gz"
    minutes = recorded(file, from_ms=begin_ms, before_ms=end_ms)
    assert [int(row["ts_ms"]) for row in minutes] == list(range(begin_ms, end_ms, MINUTE_MS))
    assert all(
        row["funding_rate"] == "" or int(row["ts_ms"]) % (15 * MINUTE_MS) == 0 for row in minutes
    )
    quarters = [quarter(minutes[at : at + 15]) for at in range(0, len(minutes), 15)]
    assert_same(found, quarters)


@pytest.mark.parametrize("name", ["2020-03-12-eth", "2021-05-19-eth", "2025-05-08-eth"])
def test_the_bills_are_those_of_the_venues_funding_history(real_data_dir: Path, name: str) -> None:
    found = table(name)
    begin_ms, end_ms = int(found[0]["ts_ms"]), int(found[-1]["ts_ms"])
    history = recorded(
        real_data_dir / "funding_binanceusdm_ETHUSDT.csv.gz",
        from_ms=begin_ms,
        before_ms=end_ms + 1,
    )
    bills = [row for row in found if row["funding_rate"] != ""]
    assert_same(
        [{"ts_ms": row["ts_ms"], "funding_rate": row["funding_rate"]} for row in bills], history
    )
