"""Parquet files are read like a CSV of the same numbers, or refused in one line."""

import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bot.rehearsal.bars import Bars, DataError, FundingSettled, read_bars
from bot.rehearsal.listing import NotListed, listing_json, listing_of, tiers_of
from bot.rehearsal.parquet import Table, read_table, write_table
from tests.rehearsal.test_bars import HEADER, NAME, ROWS, write

D = Decimal
COLUMNS = HEADER.split(",")
CELLS = [row.split(",") for row in ROWS]
PARQUET = NAME.replace(".csv", ".parquet")


def columns(kind: Callable[[str], Any]) -> dict[str, list[Any]]:
    """The cells of the CSV, the times as integers and numbers as `kind`, empty ones as None."""
    named = dict(zip(COLUMNS, zip(*CELLS, strict=True), strict=True))
    return {
        name: [int(cell) if name == "ts_ms" else kind(cell) if cell else None for cell in cells]
        for name, cells in named.items()
    }


def parquet(folder: Path, table: Mapping[str, Sequence[Any]], name: str = PARQUET) -> Path:
    path = folder / name
    pq.write_table(pa.table(dict(table)), path)
    return path


def from_csv(folder: Path) -> Bars:
    return replace(read_bars(write(folder, [HEADER, *ROWS])), provenance="")


@pytest.mark.parametrize("kind", [float, Decimal, str], ids=["floats", "decimals", "text"])
def test_numbers_of_every_kind_are_those_of_the_csv(
    tmp_path: Path, kind: Callable[[str], Any]
) -> None:
    path = parquet(tmp_path, columns(kind))
    found = read_bars(path)
    assert (found.provenance, found.listing) == (PARQUET, NotListed())
    assert replace(found, provenance="") == from_csv(tmp_path)


def test_decimals_lose_the_zeros_that_their_type_adds(tmp_path: Path) -> None:
    wide = pa.table(columns(Decimal))
    number = pa.decimal128(38, 12)
    table = {
        name: wide[name] if name == "ts_ms" else wide[name].cast(number)
        for name in wide.column_names
    }
    found = read_bars(parquet(tmp_path, table))
    assert str(found.rows[0].mark.open) == "100.5"
    assert str(found.rows[0].last.open) == "100"
    assert found.rows == from_csv(tmp_path).rows


def test_floats_are_the_decimals_that_were_written(tmp_path: Path) -> None:
    table = columns(float) | {"open": [0.1 + 0.2, 105.0, 105.0, 105.0], "low": [0.3, *[1.0] * 3]}
    assert str(read_bars(parquet(tmp_path, table)).rows[0].last.open) == "0.30000000000000004"


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"high": [float("nan"), 106.0, 106.0, 106.0]}, ":1: high: expected a number .*'nan'"),
        ({"high": [110.0, None, 106.0, 106.0]}, ":2: high: expected a number .*, was ''"),
        ({"ts_ms": [3, 2, 1, 0]}, ":1: ts_ms: expected milliseconds since 1970"),
        ({"ts_ms": [1583971200000] * 4}, ":2: ts_ms: expected a new time"),
        ({"open": [True] * 4}, ": expected a whole .*open: expected integers, .*, was bool"),
        ({"open": [[1.0]] * 4}, "open: expected integers, floats, decimals or text, was list"),
        ({"more": [1.0] * 4}, ":0: more: expected one of .*, was unknown"),
        ({"funding_rate": [0.1, None, None, None]}, ":1: funding_rate: expected none, or two"),
    ],
)
def test_refuses_what_a_csv_is_refused_for(
    tmp_path: Path, changed: dict[str, list[Any]], reason: str
) -> None:
    path = parquet(tmp_path, columns(float) | changed)
    with pytest.raises(DataError, match=f"{PARQUET}{reason}|{reason}") as e:
        read_bars(path)
    assert "\n" not in str(e.value)


def test_no_rows_and_no_columns_are_refused(tmp_path: Path) -> None:
    nothing = {name: pa.array([], pa.float64()) for name in COLUMNS}
    with pytest.raises(DataError, match="rows: expected two or more, was 0"):
        read_bars(parquet(tmp_path, nothing))
    with pytest.raises(DataError, match="ts_ms: expected this column, was missing"):
        read_bars(parquet(tmp_path, {}))


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1PAR1", b"ts_ms,open\n1,2\n"])
def test_what_is_no_parquet_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / PARQUET
    path.write_bytes(content)
    with pytest.raises(DataError, match="expected a whole Parquet file, was: ") as e:
        read_bars(path)
    assert "\n" not in str(e.value)


def test_a_missing_file_is_said_like_any_other(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected a file or a scenario"):
        read_bars(tmp_path / PARQUET)


def test_a_damaged_byte_is_harmless_or_refused_and_raises_nothing_else(tmp_path: Path) -> None:
    path = parquet(tmp_path, columns(float))
    content, chance = path.read_bytes(), random.Random(7)
    for _ in range(1500):
        position = chance.randrange(len(content))
        byte = bytes([chance.randrange(256)])
        path.write_bytes(content[:position] + byte + content[position + 1 :])
        with suppress(DataError):
            read_bars(path)
        path.write_bytes(content[:position])
        with pytest.raises(DataError):
            read_bars(path)


def test_a_table_comes_back_as_it_was_written(tmp_path: Path) -> None:
    rows = (("1583971200000", "0.000000000001", ""), ("1583971200001", "123456789.5", "-0.001"))
    table = Table(("ts_ms", "open", "funding_rate"), rows, {"covered": [[1, 2]]})
    write_table(tmp_path / "x.parquet", table)
    assert read_table(tmp_path / "x.parquet") == table
    assert [file.name for file in tmp_path.iterdir()] == ["x.parquet"]


def test_a_table_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    write_table(path, Table(("ts_ms",), (("1",),), {}))
    before = path.read_bytes()
    with pytest.raises(pa.ArrowException):
        write_table(path, Table(("ts_ms", "open"), (("1", "1e-30"),), {}))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["x.parquet"]


def test_a_listing_comes_back_with_tiers_that_join() -> None:
    tiers = tiers_of([(D(50), D("0.01"), D(100)), (D(200), D("0.02"), D(50))])
    assert [tier.deduction for tier in tiers] == [0, D("0.50")]
    assert [tier.floor for tier in tiers] == [0, 50]
    assert [tier.cap for tier in tiers] == [50, D("Infinity")]
    said = {
        "tick_size": "0.1",
        "quantity_step": "0.001",
        "quantity_min": "0.002",
        "taker_fee": "0.0005",
        "tiers": [
            {"cap": "50", "maintenance_margin_rate": "0.01", "max_leverage": "100"},
            {"cap": "200", "maintenance_margin_rate": "0.02", "max_leverage": "50"},
        ],
    }
    listing = listing_of(said)
    assert listing.tiers == tiers
    again = listing_json(listing)
    assert listing_of(again) == listing


@pytest.mark.parametrize(
    "said",
    [
        None, {}, {"tick_size": "0"}, [],
        {"tick_size": "1", "quantity_step": "1", "quantity_min": "1", "taker_fee": "2",
         "tiers": []},
        {"tick_size": "NaN", "quantity_step": "1", "quantity_min": "1", "taker_fee": "0",
         "tiers": []},
        {"tick_size": "1", "quantity_step": "1", "quantity_min": "1", "taker_fee": "0",
         "tiers": [{"cap": "2", "maintenance_margin_rate": "1", "max_leverage": "1"},
                   {"cap": "1", "maintenance_margin_rate": "1", "max_leverage": "1"}]},
    ],
)  # fmt: skip
def test_a_listing_that_is_none_is_refused(said: object, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected"):
        listing_of(said)
    rows = tuple(tuple(row) for row in CELLS)
    write_table(tmp_path / PARQUET, Table(tuple(COLUMNS), rows, {"listing": said}))
    with pytest.raises(DataError, match=PARQUET):
        read_bars(tmp_path / PARQUET)


def test_funding_is_read(tmp_path: Path) -> None:
    bars = read_bars(parquet(tmp_path, columns(float)))
    assert [isinstance(row.funding, FundingSettled) for row in bars.rows] == [
        True, False, True, False,
    ]  # fmt: skip
