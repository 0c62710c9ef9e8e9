"""The table of faults in `catalogue.toml`, read strictly."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """One fault. `says` is what the guard gets to see of it."""

    chapter: str
    fault: str
    says: str
    does: str
    tests: tuple[str, ...]
    injected: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Gap:
    """A fault that no test shows to be met."""

    fault: str
    why: str


_TABLE = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))


def _row(said: dict[str, Any]) -> Row:
    tests, injected = tuple(said.pop("tests")), tuple(said.pop("injected", ()))
    return Row(**said, tests=tests, injected=injected)


ROWS = tuple(map(_row, _TABLE.pop("row")))
GAPS = tuple(Gap(**said) for said in _TABLE.pop("gap"))
assert not _TABLE, f"expected rows and gaps, was {list(_TABLE)}"
