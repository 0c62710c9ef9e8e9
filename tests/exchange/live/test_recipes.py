"""Every write to Binance USD-M as it was kept, and what none of them may ever be."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.exchange.live.capture import captured, golden

COMPARED = Path(__file__).parents[3] / "docs/recipes.md"


def parameters(sent: Mapping[str, Any]) -> dict[str, str]:
    pairs = (text.partition("=") for text in (*sent["query"], *sent["body"]))
    return {name: value for name, _, value in pairs}


async def test_every_recipe_is_as_it_was_kept() -> None:
    assert await captured() == golden()


def test_every_order_reduces_on_the_right_side_and_every_stop_is_on_the_mark() -> None:
    for name, sent in golden().items():
        of = parameters(sent)
        closes = "SELL" if " long:" in name else "BUY"
        if sent["method"] == "POST" and sent["path"] != "/fapi/v1/positionMargin":
            assert of["side"] == closes, name
            assert "closePosition" not in of, name
            assert of.get("reduceOnly") == (None if name.startswith("hedge") else "true"), name
        if sent["method"] == "POST":
            leg = "LONG" if closes == "SELL" else "SHORT"
            assert of.get("positionSide") == (leg if name.startswith("hedge") else None), name
        if name.endswith("place stop"):
            assert sent["path"] == "/fapi/v1/algoOrder", "no market order in its place"
            assert (of["type"], of["workingType"]) == ("STOP_MARKET", "MARK_PRICE")
            assert "price" not in of
        if name.endswith("add margin"):
            assert (of["amount"], of["type"]) == ("25.756", "1"), "not rounded"
        assert list(of)[-1] == "signature", name
        assert of["recvWindow"] == "3000", name


def test_the_margin_mode_changes_no_request() -> None:
    kept = golden()
    for name, sent in kept.items():
        if " isolated " in name:
            assert sent == kept[name.replace(" isolated ", " cross ")]


def test_the_comparison_with_the_papers_names_every_parameter_that_is_sent() -> None:
    told = set(re.findall(r"`(\w+)`", COMPARED.read_text(encoding="utf-8")))
    for name, sent in golden().items():
        assert set(parameters(sent)) <= told, name
