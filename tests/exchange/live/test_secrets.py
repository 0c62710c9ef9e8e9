"""Canary keys through every fault at the deepest logging: nothing that we write shows them."""

import asyncio
import logging
import traceback
from pathlib import Path

import pytest
import structlog
from pydantic import SecretStr

from bot.core.actions import Action, AddMargin, ClosePosition, PlaceStop
from bot.core.model import Side
from bot.core.units import Money, Price, Quantity
from bot.exchange.live.credentials import Credentials
from bot.exchange.live.lanes import Lane, Quiet
from bot.exchange.paper.wire import admission
from bot.exchange.paper.wire.mishaps import MishapKind
from bot.exchange.ports import Unreachable
from bot.journal.sqlite import SqliteJournal
from bot.policy.loader import parse_policy
from bot.runtime.assemble import assemble
from tests.exchange.live.canary import heard, leaks, spellings
from tests.exchange.live.wired import Wired, until, wired
from tests.exchange.wire.build import BTC, D

KEY, SECRET = "paper-canary-7f3a91", "canary+secret/5b1e=d0"
CANARIES = spellings(KEY, SECRET)
QUICK = [each for each in MishapKind if each not in (MishapKind.LATE, MishapKind.NO_REPLY)]
POLICY = Path("config/policies/demo.yaml")


@pytest.mark.timeout(300)
async def test_no_fault_makes_anything_show_a_key(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(admission, "SECRET", SECRET)
    asyncio.get_running_loop().set_debug(True)
    said: list[str] = []
    # No secret is told to the logs: what they do not hide by themselves would show.
    with heard() as stream:
        async with wired(keys=Credentials(SecretStr(KEY), SecretStr(SECRET))) as live:
            said.append(repr([live.account._reads, live.account, live.market]))
            for kind in QUICK:
                said += [await _sent(live, kind), await _read(live, kind)]
            said.append(await _streamed(live))
            await _guarded(live, tmp_path / "journal.db")
        said += [stream.getvalue(), *_bytes_of(tmp_path)]
    assert "mishap.met" in stream.getvalue(), "the logs were heard"
    for text in said:
        assert not leaks(text, CANARIES), text[:2_000]


async def _sent(live: Wired, kind: MishapKind) -> str:
    live.fault(kind, 3, method="POST")
    actions: tuple[Action, ...] = (
        AddMargin(BTC, Side.LONG, Money(D("1.25"))),
        PlaceStop(BTC, Side.LONG, Quantity(D("0.001")), Price(D(57_000))),
        ClosePosition(BTC, Side.LONG, Quantity(D("0.001"))),
    )
    told = []
    for number, action in enumerate(actions):
        told.append(repr(await live.account.send(action, f"{kind[:8]}{number}")))
        assert isinstance(live.account._writes, Lane)
        live.account._writes._quiet = Quiet()
    live.server.mishaps.ahead.clear()
    return "\n".join(told)


async def _read(live: Wired, kind: MishapKind) -> str:
    live.fault(kind, 9, method="GET")
    told = []
    for read in (live.account.snapshot, lambda: live.account.order(BTC, "none")):
        try:
            told.append(repr(await read()))
        except Unreachable:
            told.append(_traceback())
        live.account._reads._quiet = Quiet()
    live.server.mishaps.ahead.clear()
    return "\n".join(told)


def _traceback() -> str:
    """The exception at hand, and all that led to it."""
    return traceback.format_exc()


async def _streamed(live: Wired) -> str:
    """A stream that is lost, and one that cannot begin."""
    told = []
    async with asyncio.TaskGroup() as tasks:
        listening = tasks.create_task(_lost(live))
        await until(lambda: live.server.hub.listeners)
        live.server.hub.close_all()
        told.append(await listening)
    live.fault(MishapKind.DROPPED, 9, method="POST")
    told.append(await _lost(live))
    live.server.mishaps.ahead.clear()
    return "\n".join(told)


async def _lost(live: Wired) -> str:
    try:
        await live.account.stream(lambda _: None)
    except Unreachable:
        return _traceback()
    return ""


async def _guarded(live: Wired, path: Path) -> None:
    """A guard whose replies are lost, and its journal."""
    journal = SqliteJournal.open(path, "demo")
    policy = parse_policy(POLICY.read_text(encoding="utf-8"), "policy")
    guard = await assemble(policy, live.market, live.account, live.clock, journal)
    live.fault(MishapKind.CUT, 2, method="POST")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(guard.run())
        await until(lambda: not live.server.mishaps.ahead, patience_s=30)
        guard.stop()
    await journal.close()


def _bytes_of(folder: Path) -> list[str]:
    return [file.read_bytes().decode("latin-1") for file in folder.iterdir()]


def test_a_leak_would_be_seen() -> None:
    listens = "wss://fstream.example/ws?listenKey=pqia91ma19a5s61cv6a81va6"
    signed = "GET /order?symbol=BTCUSDT&signature=c8db56825ae71d6d79447849e617115f"
    for text in (*CANARIES, listens, signed):
        assert leaks(f"it was {text} here", CANARIES), text
    assert not leaks("GET /order?symbol=BTCUSDT", CANARIES)


def test_the_logs_hide_a_key_that_they_were_told_of_however_it_is_spelled() -> None:
    with heard(SecretStr(KEY), SecretStr(SECRET)) as stream:
        for form in CANARIES:
            structlog.get_logger().error("odd.thing_happened", detail=f"it was {form} here")
            logging.getLogger("library").debug("it was %s here", form)
    assert stream.getvalue().count("[redacted]") == 2 * len(CANARIES)
    assert not leaks(stream.getvalue(), CANARIES)
