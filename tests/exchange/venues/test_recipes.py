"""
Every write of every venue, as it was kept, and compared in the manual to the last field.

What none of them may be (a market order in place of a stop, the wrong side of a leg, the last
price as a trigger, a rounded margin) is tested beside: trigger and leg in `test_capabilities.py`,
what ccxt would have sent in each venue's own file, what comes of it in `test_contract.py`.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.exchange.venues.capture import KEPT, captured, golden

MANUAL = Path(__file__).parents[3] / "docs"

COMPARED = {
    "binancecoinm": ("recipes-binance-coinm.md", ""),
    "bitget": ("recipes-bitget.md", ""),
    "bitunix": ("recipes-bitunix-apex.md", "Bitunix"),
    "bybit": ("recipes-bybit-okx.md", "Bybit"),
    "gate": ("recipes-gate-xt.md", "Gate"),
    "hyperliquid": ("recipes-hyperliquid.md", ""),
    "krakenfutures": ("recipes-kraken.md", ""),
    "kucoin": ("recipes-kucoin.md", ""),
    "okx": ("recipes-bybit-okx.md", "OKX"),
    "xt": ("recipes-gate-xt.md", "XT"),
}
"""The page of each, and its part of a page that two share."""


@pytest.mark.parametrize("venue", KEPT)
async def test_every_recipe_is_as_it_was_kept(venue: str) -> None:
    assert await captured(venue) == golden(venue)


@pytest.mark.parametrize("venue", KEPT)
def test_the_comparison_with_the_papers_names_every_field_that_is_sent(venue: str) -> None:
    told = names_told(*COMPARED[venue])
    for recipe, sent in golden(venue).items():
        if not isinstance(sent, str):
            assert {*names(sent["query"]), *names(sent["body"])} <= told, recipe


def names(part: Any) -> Iterator[str]:
    """Of every field of a request, however deep it lies."""
    match part:
        case dict():
            for key, inner in part.items():
                yield key
                yield from names(inner)
        case list():
            for inner in part:
                yield from names(inner)
        case _:
            pass


def names_told(page: str, part: str) -> set[str]:
    """Every word that stands as code in the tables of a page or a part of it."""
    text = (MANUAL / page).read_text(encoding="utf-8")
    if part:
        _, found, text = text.partition(f"\n## {part}\n")
        assert found, f"{page} has a part {part}"
        text = text.partition("\n## ")[0]
    rows = "\n".join(line for line in text.splitlines() if line.startswith("|"))
    return {word for code in re.findall(r"`([^`]+)`", rows) for word in re.findall(r"\w+", code)}
