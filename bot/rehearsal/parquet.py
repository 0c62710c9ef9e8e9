"""
Parquet: a table of prices as the same cells of text that a CSV would have, and back.

Through pyarrow, the format's reference implementation. It is big (some 50 MB to download), and is
loaded only for such a file. fastparquet needs pandas, which has no exact decimals; DuckDB is half
the size, but takes a path as SQL, with patterns and addresses in it, where only a file is meant.
"""

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

_NUMBER = pa.decimal128(38, 12)
"""Exact, and as fine as the finest price that is accepted."""

_ABOUT = b"liqguard"
"""The key of the file's metadata under which a cache says what it holds."""


class Unreadable(Exception):
    """The file is no whole Parquet file of numbers. One line, without the file's name."""


@dataclass(frozen=True, slots=True)
class Table:
    """Columns and their cells as text, "" for none; and what the file says about itself."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    about: Mapping[str, Any]


def read_table(path: Path) -> Table:
    """
    The table in the file at `path`.

    Columns may be integers, floats, decimals or text. Raises `Unreadable`, `OSError`.
    """
    data = path.read_bytes()
    try:
        with pq.ParquetFile(pa.BufferReader(data)) as file:
            about = _about(file.schema_arrow.metadata or {})
            table = file.read()
            table.validate(full=True)
        cells = [_cells(name, table.column(at)) for at, name in enumerate(table.column_names)]
    except (pa.ArrowException, OSError, ValueError, OverflowError) as e:
        raise Unreadable(f"expected a whole Parquet file, was: {_line(e)}") from e
    return Table(tuple(table.column_names), tuple(zip(*cells, strict=True)), about)


def write_table(path: Path, table: Table) -> None:
    """Write `table` to `path`, as a whole or not at all. Raises `OSError`."""
    names = table.columns
    columns = list(zip(*table.rows, strict=True)) or [()] * len(names)
    arrays = [_array(name, cells) for name, cells in zip(names, columns, strict=True)]
    about = json.dumps(table.about, sort_keys=True).encode()
    whole = pa.table(dict(zip(names, arrays, strict=True))).replace_schema_metadata(
        {_ABOUT: about}
    )
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            pq.write_table(whole, file, compression="zstd")
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


def _about(metadata: Mapping[bytes, bytes]) -> Mapping[str, Any]:
    said = json.loads(metadata.get(_ABOUT, b"{}"))
    if not isinstance(said, dict):
        raise ValueError(f"metadata: expected an object, was {type(said).__name__}")  # noqa: TRY004 - as json's own
    return said


def _cells(name: str, column: Any) -> list[str]:
    kind = column.type
    if pa.types.is_decimal(kind):
        return [_exact(cell) for cell in column.to_pylist()]
    if pa.types.is_floating(kind):
        # The shortest text that gives the same float: what was written where it was a decimal.
        return ["" if cell is None else repr(cell) for cell in column.to_pylist()]
    if pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_null(kind):
        return ["" if cell is None else str(cell) for cell in column.to_pylist()]
    raise ValueError(f"{name}: expected integers, floats, decimals or text, was {kind}")


def _exact(cell: Decimal | None) -> str:
    return "" if cell is None else f"{cell.normalize():f}"


def _array(name: str, cells: Sequence[str]) -> Any:
    if name == "ts_ms":
        return pa.array([int(cell) for cell in cells], pa.int64())
    return pa.array([Decimal(cell) if cell else None for cell in cells], _NUMBER)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
