"""
What each write puts on the wire: method, path, query and body, as ccxt's real class sends it.

`python -m tests.exchange.venues.capture` writes the golden files anew; read the difference.
"""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from bot.core.actions import (
    Action,
    AddMargin,
    CancelStop,
    ClosePosition,
    NoWorseThan,
    PlaceStop,
)
from bot.core.model import Side
from bot.core.units import Money, Price, Quantity
from bot.exchange.ports import Refused
from bot.exchange.venues.capabilities import MATRIX
from tests.exchange.venues.conftest import DESKS, MODES
from tests.exchange.venues.stage import BTC, Asked, Book, D, staged

KEPT = tuple(sorted(set(DESKS) - {"binanceusdm"}))
"""Those of Binance USD-M are kept beside its own tests, from the exchange over the wire."""

GOLDEN = Path(__file__).parent / "golden"
OF_THE_SIGNATURE = frozenset({"timestamp", "signature", "nonce", "expiresAfter", "processBefore"})


def actions(side: Side) -> dict[str, Action]:
    """Every recipe, for a position of 0.1 bitcoin on `side`."""
    away = D(57_000) if side is Side.LONG else D(63_000)
    bound = D("59900.5") if side is Side.LONG else D("60099.5")
    return {
        "add margin": AddMargin(BTC, side, Money(D("25.756"))),
        "place stop": PlaceStop(BTC, side, Quantity(D("0.1")), Price(away)),
        "cancel stop": CancelStop(BTC, side, "lgresting0000000000000000ab"),
        "close": ClosePosition(BTC, side, Quantity(D("0.0471"))),
        "close within": ClosePosition(BTC, side, Quantity(D("0.0471")), NoWorseThan(Price(bound))),
    }


async def captured(venue: str) -> dict[str, Any]:
    """What `venue` was asked, by position mode, margin mode, side and recipe."""
    found: dict[str, Any] = {}
    for mode in sorted(MODES[venue], reverse=True):
        for margin_mode in sorted(MATRIX[venue].margin_modes, reverse=True):
            for side in Side:
                book = Book(mode, margin_mode, quantity=D("0.1") * side.sign)
                async with staged(DESKS[venue](book)) as live:
                    live.hand_stop(
                        "lgresting0000000000000000ab", D(60_000) - 4_000 * side.sign, D("0.01")
                    )
                    for name, action in actions(side).items():
                        before = len(live.written())
                        reply = await live.send(action, "lgabcd0123456789abcdefghij")
                        kept = f"{mode} {margin_mode} {side}: {name}"
                        if isinstance(reply, Refused) and reply.code == "NOT_SENT":
                            found[kept] = reply.text
                        else:
                            (sent,) = live.written()[before:]
                            found[kept] = told(sent)
    return found


def told(asked: Asked) -> dict[str, Any]:
    """The parts of a request that say what is to be done."""
    query, body = _lasting(asked.query), asked.body
    if isinstance(body, str):
        body = dict(parse_qsl(body))
    body = _lasting(body) if isinstance(body, dict) else body
    return {"method": asked.method, "path": asked.path, "query": query, "body": body}


def _lasting(parts: Mapping[str, Any]) -> dict[str, Any]:
    return {key: part for key, part in parts.items() if key not in OF_THE_SIGNATURE}


def golden(venue: str) -> Any:
    """What was kept."""
    return json.loads((GOLDEN / f"{venue}.json").read_text(encoding="utf-8"))


if __name__ == "__main__":
    for each in KEPT:
        text = json.dumps(asyncio.run(captured(each)), indent=1)
        (GOLDEN / f"{each}.json").write_text(text + "\n", encoding="utf-8")
