"""A whole guard on a venue's stage: what it owes to a long that goes towards liquidation."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from bot.journal.sqlite import SqliteJournal
from bot.policy.loader import parse_policy
from bot.runtime.assemble import assemble
from tests.exchange.venues.gate_desk import GateDesk
from tests.exchange.venues.stage import Asked, Book, D, FaultKind, Scene, staged

POLICY = """
schema: liqguard/v1
account: { name: main, venue: gate, margin_mode: isolated, position_mode: one_way }
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


@asynccontextmanager
async def guarded(book: Book) -> AsyncIterator[Scene]:
    """A guard at work over real sockets, its marks pushed as they are set in the book."""
    async with staged(GateDesk(book)) as live:
        policy = parse_policy(POLICY, "gate.yaml")
        journal = SqliteJournal.open(None, policy.account)
        guard = await assemble(policy, live.market, live.account, live.clock, journal)
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(guard.run())
            marking = tasks.create_task(_mark(live))
            yield live
            marking.cancel()
            guard.stop()
            await running
        await journal.close()


async def _mark(live: Scene) -> None:
    while True:
        await live.stage.push(live.desk.marked(live.book.mark))
        await asyncio.sleep(0.05)  # noqa: TID251 - in real time


async def until(holds: Callable[[], object], patience_s: float = 20) -> None:
    async with asyncio.timeout(patience_s):
        while not holds():  # noqa: ASYNC110 - real sockets are waited for
            await asyncio.sleep(0.02)  # noqa: TID251 - in real time


def paths(asked: list[Asked]) -> list[str]:
    return [each.path.rpartition("/")[2] for each in asked]


def resting(live: Scene) -> list[dict[str, object]]:
    return [each for each in live.book.stops.values() if each["status"] == "open"]


async def test_a_stop_rests_margin_is_added_the_stop_moves_and_at_last_it_closes() -> None:
    async with guarded(Book(liquidation="0")) as live:
        await until(lambda: resting(live))
        (first,) = resting(live)
        assert first["trigger"]["price_type"] == 1  # type: ignore[index]
        live.book.mark = D("57000")
        await until(lambda: live.book.margin > 600)
        added = live.book.margin - 600
        assert 0 < added <= 500
        await until(lambda: len(live.book.stops) > 1 and len(resting(live)) == 1)
        (moved,) = resting(live)
        assert D(moved["trigger"]["price"]) < D(first["trigger"]["price"])  # type: ignore[index]
        live.book.mark = D("50500")
        await until(lambda: live.book.quantity == 0)
    sent = paths(live.written())
    assert sent[:2] == ["price_orders", "margin"]
    assert sent.count("margin") == 1
    assert "orders" in sent


@pytest.mark.parametrize("kind", [FaultKind.DROPPED, FaultKind.HTML_200, FaultKind.NOT_KNOWN])
async def test_a_top_up_whose_answer_is_lost_is_found_in_the_margin_and_not_sent_again(
    kind: FaultKind,
) -> None:
    async with guarded(Book(liquidation="0")) as live:
        await until(lambda: resting(live))
        with live.fault(kind, 1, effect=True, writes=True):
            live.book.mark = D("57000")
            await until(lambda: live.book.margin > 600)
            await asyncio.sleep(4)  # noqa: TID251 - time enough to send another
        assert paths(live.written()).count("margin") == 1
