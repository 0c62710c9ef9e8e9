"""Canary keys through every fault of every venue at the deepest logging: nothing shows them."""

import asyncio
import traceback
from itertools import product

import pytest

from bot.exchange.ports import Unreachable
from bot.exchange.venues.capabilities import MATRIX
from tests.exchange.live.canary import heard, leaks, spellings
from tests.exchange.venues.stage import KEY, PHRASE, PRIVATE, SECRET, D, FaultKind, Scene, staged
from tests.exchange.venues.test_contract import ACTIONS, QUICK, desk, of_all, until

CANARIES = spellings(SECRET, PHRASE, PRIVATE, PRIVATE[2:]) | {KEY}
SILENT = (FaultKind.NO_REPLY,)


@of_all
@pytest.mark.timeout(300)
async def test_no_fault_of_any_venue_makes_anything_show_a_key(
    venue: str,
) -> None:
    asyncio.get_running_loop().set_debug(True)
    # No secret is told to the logs: what they do not hide by themselves would show.
    with heard() as stream:
        async with staged(desk(venue)) as live:
            said = [repr([live.live, live.account, live.market])]
            said += await _written(live, venue)
            said += await _read(live)
            said.append(await _lost(live))
    said.append(stream.getvalue())
    for text in said:
        assert not leaks(text, CANARIES), text[:2_000]


async def _written(live: Scene, venue: str) -> list[str]:
    """What every write is answered under every fault."""
    said = []
    names = ACTIONS if MATRIX[venue].effects else ()
    for number, (kind, name) in enumerate(product((*QUICK, *SILENT), names)):
        if kind in SILENT and name != "close":
            continue  # each takes its second
        live.stage.desk = desk(venue)
        live.hand_stop("resting", D(56_000), D("0.01"))
        with live.fault(kind, 9, effect=True, writes=True):
            said.append(repr(await live.send(ACTIONS[name], f"f{number}")))
    return said


async def _read(live: Scene) -> list[str]:
    """What is raised by every read under every fault, and all that led to it."""
    said = []
    for kind in QUICK:
        for read in (live.account.snapshot, lambda: live.order("none")):
            with live.fault(kind, 99, writes=False):
                try:
                    said.append(repr(await read()))
                except Unreachable:
                    said.append(traceback.format_exc())
    return said


async def _lost(live: Scene) -> str:
    """What is raised by a stream that cannot begin."""
    said: list[str] = []

    async def listen() -> None:
        try:
            await live.account.stream(lambda _: None)
        except Unreachable:
            said.append(traceback.format_exc())

    with live.fault(FaultKind.HTML_502, 99, writes=False):
        async with asyncio.TaskGroup() as tasks:
            listening = tasks.create_task(listen())
            await until(lambda: said or live.stage.sockets, patience_s=60)
            await asyncio.wait([listening], timeout=0.5)  # it may have begun, and end yet
            listening.cancel()
    return "".join(said)
