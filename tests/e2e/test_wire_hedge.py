"""Live through ccxt in hedge mode: a long and a short of one contract, each on its own margin."""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from pydantic import SecretStr

from bot.clock import Clock, system_wall_ms
from bot.core.model import Side
from bot.exchange.live.connection import Loopback, connect
from bot.exchange.live.credentials import Credentials
from bot.exchange.paper.books import Cause
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.wire.mishaps import Mishap, MishapKind
from bot.exchange.paper.wire.server import WireServer
from bot.exchange.venues.dialects import DIALECTS
from bot.journal.sqlite import SqliteJournal
from bot.policy.loader import parse_policy
from bot.runtime.assemble import assemble
from bot.runtime.verify import verify
from tests.e2e.test_process import POLICY, ROOT
from tests.e2e.test_wire import A_WHILE_S, FAULTS, KEY, OUT, PATIENCE_S, TOP_UP_AT, TRIM, TRIM_AT
from tests.exchange.wire.build import BTC, Client, D, exchange

LEGS = {Side.LONG: "0.1", Side.SHORT: "0.04"}
STRESS = 'stress: { shock: 25%, betas: { "BTC/USDT:USDT": 1x } }\n'
MISHAPS = {"/fapi/v1/positionMargin": 1, "/fapi/v1/algoOrder": 3, "/fapi/v1/order": 1}
"""Of both standing stops, of the one that moves, of the top-up and of the trim."""


def policy_text() -> str:
    """The demo policy in hedge mode, with a step that trims."""
    text = (ROOT / POLICY).read_text(encoding="utf-8")
    assert OUT in text
    text = text.replace("position_mode: one_way", "position_mode: hedge")
    return text.replace(OUT, f"{TRIM}cooldown: 600s }}\n{OUT}") + STRESS


@pytest.mark.timeout(300)
async def test_the_leg_in_danger_is_topped_up_stopped_and_trimmed_and_the_other_left(
    tmp_path: Path,
) -> None:
    """
    Breach, top-up, the stop that moves, trim, once without and under every fault of the replies.

    What the fall does to the long is good for the short: it keeps its size, its margin and its
    first stop.
    """
    kinds: list[MishapKind | None] = [None, *FAULTS]
    async with AsyncExitStack() as stack:
        venues = [await _guarded(stack, kind, tmp_path) for kind in kinds]
        await _until_all(venues, lambda machine: len(_stops(machine)) == len(LEGS))
        first = [_stops(server.exchange.machine) for _, server in venues]
        await _move_all(venues, TOP_UP_AT)
        await _until_all(venues, lambda machine: _stops(machine)[Side.LONG] < TRIM_AT)
        await _move_all(venues, TRIM_AT)
        await _until_all(venues, _is_trimmed_and_stopped)
        await asyncio.sleep(A_WHILE_S)  # noqa: TID251 - guards of their own time are waited for
        for kind, stops, (_, server) in zip(kinds, first, venues, strict=True):
            machine = server.exchange.machine
            assert not server.mishaps.ahead, f"{kind} has been met"
            assert _is_trimmed_and_stopped(machine), kind
            (added,) = server.exchange.desk("demo").clerk.margins
            assert added.position_side.value == "LONG", kind
            assert [each.cause for each in machine.realised("demo")] == [Cause.CLOSE], kind
            assert _stops(machine)[Side.SHORT] == stops[Side.SHORT], kind
    for kind in kinds:
        journal = SqliteJournal.read(tmp_path / f"{kind}.db", "demo")
        await verify(journal)
        await journal.close()


def _stops(machine: PaperMachine) -> Mapping[Side, D]:
    """The triggers of what rests, by the leg, the one that triggers first."""
    stops = machine.snapshot("demo", machine.at_ms).stops
    return {
        side: (max if side is Side.LONG else min)(
            each.trigger_price for each in stops if each.side is side
        )
        for side in {each.side for each in stops}
    }


def _is_trimmed_and_stopped(machine: PaperMachine) -> bool:
    """Half of the long and all of the short are left, and one stop of that size on each."""
    seen = machine.snapshot("demo", machine.at_ms)
    sizes = {(each.side, each.quantity) for each in seen.positions}
    stopped = sorted((each.side, each.quantity) for each in seen.stops)
    return stopped == sorted(sizes) == [(Side.LONG, D("0.05")), (Side.SHORT, D("0.04"))]


async def _move_all(venues: list[tuple[Client, WireServer]], price: int) -> None:
    for hand, server in venues:
        hand.now_ms = system_wall_ms()
        hand.move(BTC, str(price))
        server.publish()


async def _until_all(
    venues: list[tuple[Client, WireServer]], holds: Callable[[PaperMachine], bool]
) -> None:
    end_s = time.monotonic() + PATIENCE_S  # noqa: TID251 - guards of their own time are waited for
    while missing := [
        number for number, (_, server) in enumerate(venues) if not holds(server.exchange.machine)
    ]:
        assert time.monotonic() < end_s, missing  # noqa: TID251 - as above
        await asyncio.sleep(0.2)  # noqa: TID251 - as above


async def _guarded(
    stack: AsyncExitStack, kind: MishapKind | None, folder: Path
) -> tuple[Client, WireServer]:
    """A venue of its own with both legs and a guard; its replies go wrong, or none does."""
    clock = Clock(system_wall_ms())
    venue = exchange(clock.now_ms())
    server = WireServer(venue, clock, push_ms=500)
    hand = Client(venue, "demo", now_ms=clock.now_ms())
    hand.isolated()
    hand.ask("POST", "/fapi/v1/positionSide/dual", dualSidePosition=True)
    for side, quantity in LEGS.items():
        hand.order("BUY" if side is Side.LONG else "SELL", quantity, positionSide=side.name)
    if kind is not None:
        server.mishaps.ahead += [
            Mishap(kind, count, True, "POST", path, 0) for path, count in MISHAPS.items()
        ]
    port, _ = await stack.enter_async_context(server.serving(0, 0))
    keys = Credentials(SecretStr(KEY), SecretStr("paper"))
    connection = await stack.enter_async_context(
        connect(DIALECTS["binanceusdm"], keys, Loopback(port), clock)
    )
    journal = SqliteJournal.open(folder / f"{kind}.db", "demo")
    policy = parse_policy(policy_text(), "policy")
    guard = await assemble(policy, connection.market, connection.account, clock, journal)
    tasks = await stack.enter_async_context(asyncio.TaskGroup())
    tasks.create_task(guard.run())
    stack.callback(guard.stop)
    return hand, server
