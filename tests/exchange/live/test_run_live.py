"""The process of `run --mode live`, whole, against the exchange over the wire."""

import asyncio
import os
import signal
from pathlib import Path

import pytest
from pydantic import SecretStr

from bot import live
from bot.app import NOBODY, LiveMode, journal_path
from bot.core.decision import Alert
from bot.exchange.live import connection
from bot.exchange.live.connection import Loopback
from bot.exchange.live.credentials import Credentials
from bot.exchange.venues import binance_market
from bot.journal.codec import from_json
from bot.journal.port import Kind
from bot.journal.sqlite import SqliteJournal
from bot.runtime.control import socket_path
from tests.exchange.live.wired import wired
from tests.exchange.wire.build import BTC

POLICY = Path(__file__).parents[3] / "config" / "policies" / "demo.yaml"
ACCOUNT = "demo"
KEYS = Credentials(SecretStr(f"paper-{ACCOUNT}"), SecretStr("paper"))


async def alarms(folder: Path) -> list[Alert]:
    """What is on record of a guard that has been started, or not yet."""
    if not socket_path(folder, ACCOUNT).exists():
        return []
    journal = SqliteJournal.read(journal_path(folder, ACCOUNT), ACCOUNT)
    rows = [row for row in await journal.rows(0) if row.entry.kind is Kind.ALERT]
    return [from_json(row.entry.body, Alert) for row in rows]


async def said_at_the_start(folder: Path, kind: str) -> list[str]:
    """Start a guard in this process, wait for what it says of a kind, and end it."""
    async with wired(keys=KEYS) as here, asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        keys = live.LiveKeys(KEYS, accept_unverified=False)
        running = tasks.create_task(
            live._run_live(POLICY, keys, folder, LiveMode.LIVE, Loopback(here.port), NOBODY)
        )
        said: list[Alert] = []
        while not said:
            assert not running.done()
            await asyncio.sleep(0.1)  # noqa: TID251 - in real time
            said = [each for each in await alarms(folder) if each.kind == kind]
        os.kill(os.getpid(), signal.SIGTERM)
    return [each.text for each in said]


async def test_a_contract_that_ends_is_said_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binance_market, "_NO_DELIVERY_MS", 2**62)
    said = await said_at_the_start(tmp_path, "ending")
    assert said == [f"{BTC}: the venue settles it on 2100-12-25 08:00 UTC"]


async def test_a_clock_that_is_off_is_said_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "CLOCK_NOTED_MS", -1)
    (said,) = await said_at_the_start(tmp_path, "noted")
    assert said.startswith("clock: this machine's is ")
