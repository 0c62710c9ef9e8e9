"""The matrix of live venues: printed whole, and in the manual as it is in the code."""

import json
from pathlib import Path

from bot.core.model import MarginMode
from bot.exchange.venues.capabilities import MATRIX, Effect, Tried
from docs.venues import PAGE, venues
from tests.cli.test_exits import liqguard


def test_the_manual_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == venues(), "run: python docs/venues.py"


def test_every_venue_is_printed_and_told_to_programs(tmp_path: Path) -> None:
    said = json.loads(liqguard(tmp_path, "venues", "--json").stdout)
    assert [each["venue"] for each in said] == list(MATRIX)
    shown = liqguard(tmp_path, "venues").stdout
    for each in said:
        assert each["venue"] in shown
        assert set(each["effects"]) == set(Effect)
        assert each["tried"] in set(Tried)


def test_a_stop_and_a_way_out_are_on_every_venue_or_nothing_is_and_why_is_told() -> None:
    for row in MATRIX.values():
        whole = {Effect.PLACE_STOP, Effect.CANCEL_STOP, Effect.CLOSE} <= row.effects
        assert whole or not row.effects
        is_all = (row.effects, row.margin_modes) == (frozenset(Effect), frozenset(MarginMode))
        assert bool(row.why_not) is not is_all
