"""What `explain` says of a decision, in words."""

from dataclasses import replace
from decimal import Decimal

from bot.app import Explained
from bot.cli.explain import explanation
from bot.core.engine import decide
from bot.core.model import MarginMode
from bot.core.units import Price
from bot.journal.port import Entry, Kind, NoIntent, Row
from bot.runtime.record import Recorded
from bot.testing import builders as build
from tests.core.books import cross
from tests.core.life import Life

BTC = cross("BTCUSDT", entry_price=50_000)


def test_a_stop_that_a_loss_holds_says_so() -> None:
    policy = build.policy(margin_modes=frozenset(MarginMode))
    life = Life(policy, BTC, wallet=10_000)
    held = {BTC.key: Price(Decimal("46000.5"))}
    state = replace(life.state, shared=replace(life.state.shared, held=held))
    _, decision = decide(state, policy, life.now_ms)
    row = Row(1, Entry(Kind.DECISION, life.now_ms, "{}", NoIntent()), "", "")
    recorded = Recorded(state, decision, life.now_ms)
    told = [*explanation(Explained(row, recorded, policy, {}))]
    assert "  stop: missing, wanted at 46000.5" in told
    assert "  a loss in the account holds it: at 46000.5 or nearer to the mark" in told
