"""A whole guard on a venue's stage: what it owes to a long that goes towards liquidation."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from bot.core.model import PositionMode
from bot.exchange.venues.capabilities import MATRIX, Effect
from bot.journal.sqlite import SqliteJournal
from bot.policy.loader import parse_policy
from bot.runtime.assemble import assemble
from tests.exchange.venues.conftest import DESKS
from tests.exchange.venues.stage import (
    BTC,
    SYMBOLS,
    Asked,
    Book,
    D,
    FaultKind,
    Scene,
    staged,
)

POLICY = """
schema: liqguard/v1
account:
  { name: main, venue: VENUE, settle: USDT, margin_mode: isolated, position_mode: MODE }
protect: { stop: { room: 1.5% }, floor: 0.7%, floor_in_hold: close, unknown_after: 60s }
guardrails:
  keep_free: 0 USDT
  top_up: { per_action: 500 USDT, per_1h: 500 USDT, per_24h: 500 USDT, per_episode: 500 USDT }
  top_ups_per_episode: 3
  actions_per_1m: 60
  data_max_age: 5s
  loss_max: 900 USDT
  slippage_max: 100 bps
rules:
  - rule: ladder
    match: { symbols: any, side: any, margin_mode: isolated }
    watch: liquidation_distance
    hysteresis: 0.5%
    ladder:
      - { step: top-up, below: 6%, for: 0s, do: top_up, with: { to: 8% }, cooldown: 1s }
      - { step: out, below: 2.5%, for: 0s, do: close }
"""


CROSS_POLICY = """
schema: liqguard/v1
account:
  { name: main, venue: VENUE, margin_mode: cross, position_mode: MODE, settle: USD }
stress: { shock: 25%, betas: { "BTC/USD:USD": 1x } }
protect:
  { stop: { room: 1.5%, share: 25% }, floor: 0.7%, floor_in_hold: close, unknown_after: 60s }
guardrails:
  keep_free: 0 USD
  top_up: { per_action: 0 USD, per_1h: 0 USD, per_24h: 0 USD, per_episode: 0 USD }
  top_ups_per_episode: 0
  actions_per_1m: 60
  data_max_age: 5s
  loss_max: 9000 USD
  slippage_max: 100 bps
rules:
  - rule: ladder
    match: { symbols: any, side: any, margin_mode: cross }
    watch: liquidation_distance
    hysteresis: 0.5%
    ladder:
      - { step: out, below: 2.5%, for: 0s, do: close }
"""
"""For those where no margin can be added to a position."""

STRESS = """
stress: { shock: 25%, betas: { "BTC/USDT:USDT": 1x } }
"""

MODES = {
    "binanceusdm": PositionMode.ONE_WAY,
    "bitget": PositionMode.ONE_WAY,
    "bitunix": PositionMode.ONE_WAY,
    "bybit": PositionMode.ONE_WAY,
    "gate": PositionMode.ONE_WAY,
    "hyperliquid": PositionMode.ONE_WAY,
    "krakenfutures": PositionMode.ONE_WAY,
    "kucoin": PositionMode.ONE_WAY,
    "okx": PositionMode.ONE_WAY,
    "xt": PositionMode.HEDGE,
}
"""Of the venues whose contract pays in dollars. A guard in coins is in test_binancecoinm.py."""

TOP_UP = sorted(each for each in MODES if Effect.ADD_MARGIN in MATRIX[each].effects)
"""Those where margin can be added to a position, and"""
NO_TOP_UP = sorted(set(MODES) - set(TOP_UP))
"""those where it cannot."""


@asynccontextmanager
async def guarded(venue: str) -> AsyncIterator[Scene]:
    """A guard at work over real sockets, its marks pushed as they are set in the book."""
    book = Book(MODES[venue], liquidation="0")
    async with staged(DESKS[venue](book)) as live, at_work(live, policy_for(venue)):
        yield live


def policy_for(venue: str) -> str:
    """What a guard on its stage works by."""
    adds = Effect.ADD_MARGIN in MATRIX[venue].effects
    text = POLICY if adds else CROSS_POLICY
    text = text.replace("VENUE", venue).replace("MODE", MODES[venue])
    text += STRESS if MODES[venue] is PositionMode.HEDGE else ""
    return text.replace("USDT", SYMBOLS.get(venue, BTC).rpartition(":")[2])


@asynccontextmanager
async def at_work(live: Scene, text: str) -> AsyncIterator[None]:
    """A guard of this policy on a stage."""
    policy = parse_policy(text, "policy.yaml")
    journal = SqliteJournal.open(None, policy.account)
    guard = await assemble(policy, live.market, live.account, live.clock, journal)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(guard.run())
        marking = tasks.create_task(_mark(live))
        yield
        marking.cancel()
        guard.stop()
        await running
    await journal.close()


async def _mark(live: Scene) -> None:
    while True:
        await live.stage.push(live.desk.marked(live.book.mark))
        await asyncio.sleep(0.05)  # noqa: TID251 - in real time


async def until(holds: Callable[[], object], patience_s: float = 60) -> None:
    async with asyncio.timeout(patience_s):
        while not holds():  # noqa: ASYNC110 - real sockets are waited for
            await asyncio.sleep(0.02)  # noqa: TID251 - in real time


def margins(asked: list[Asked]) -> int:
    """How often margin was sent for."""
    return sum(
        "margin" in each.path.lower() or "updateIsolatedMargin" in str(each.body) for each in asked
    )


@pytest.mark.parametrize("venue", TOP_UP)
async def test_a_stop_rests_margin_is_added_the_stop_moves_and_at_last_it_closes(
    venue: str,
) -> None:
    async with guarded(venue) as live:
        await until(live.desk.resting)
        (first,) = live.desk.resting()
        live.book.mark = D(57_000)
        await until(lambda: live.book.margin > 600)
        added = live.book.margin - 600
        assert 0 < added <= 500
        await until(lambda: len(live.book.stops) > 1 and len(live.desk.resting()) == 1)
        assert live.desk.resting()[0] < first
        live.book.mark = D(50_500)
        await until(lambda: live.book.quantity == 0)
    assert margins(live.written()) == 1


@pytest.mark.parametrize("venue", NO_TOP_UP)
async def test_where_no_margin_can_be_added_a_stop_rests_and_at_last_it_closes(
    venue: str,
) -> None:
    async with guarded(venue) as live:
        await until(live.desk.resting)
        assert 0 < live.desk.resting()[0] < live.book.mark
        live.book.mark = D(16_600)
        await until(lambda: live.book.quantity == 0)
        await until(lambda: not live.desk.resting())
    assert margins(live.written()) == 0


LOST = (FaultKind.DROPPED, FaultKind.HTML_200, FaultKind.NOT_KNOWN)


@pytest.mark.parametrize("venue", NO_TOP_UP)
async def test_a_stop_whose_answer_is_lost_rests_once(venue: str) -> None:
    async with asyncio.TaskGroup() as guards:  # all at once: what they do is wait
        for kind in LOST:
            guards.create_task(_loses_a_stop(venue, kind))


async def _loses_a_stop(venue: str, kind: FaultKind) -> None:
    book = Book(MODES[venue], liquidation="0")
    async with staged(DESKS[venue](book)) as live, AsyncExitStack() as stack:
        stack.enter_context(live.fault(kind, 1, effect=True, writes=True))
        await stack.enter_async_context(at_work(live, policy_for(venue)))
        await until(live.desk.resting)
        await asyncio.sleep(4)  # noqa: TID251 - time enough to send another
        assert len(live.desk.resting()) == 1, kind


@pytest.mark.parametrize("venue", TOP_UP)
async def test_a_top_up_whose_answer_is_lost_is_found_and_not_sent_again(venue: str) -> None:
    async with asyncio.TaskGroup() as guards:  # all at once: what they do is wait
        for kind in LOST:
            guards.create_task(_loses_a_top_up(venue, kind))


async def _loses_a_top_up(venue: str, kind: FaultKind) -> None:
    async with guarded(venue) as live:
        await until(live.desk.resting)
        with live.fault(kind, 1, effect=True, writes=True) as fault:
            live.book.mark = D(57_000)
            await until(lambda: live.book.margin > 600)
            await asyncio.sleep(4)  # noqa: TID251 - time enough to send another
            assert not fault.left, kind
        assert margins(live.written()) == 1, kind
