"""An account of a kind that is not supported is watched, loudly, and nothing is sent for it."""

import asyncio
import json
import signal
import time
from pathlib import Path

import pytest

from bot.core.decision import Alert, AlertSeverity
from bot.journal.codec import from_json
from bot.journal.port import Kind
from bot.journal.sqlite import SqliteJournal
from tests.e2e.test_process import ROOT, liqguard, running, wait_for_log
from tests.e2e.test_wire import KEY, Served, served

CROSS = str(ROOT / "config/policies/cross.yaml")
GONE_LOW = 45_500
"""Deep inside every threshold of the policy, and short of liquidation."""


def prepared(state_dir: Path, venue: Served) -> None:
    """Keys, and a cross position on a wallet that other assets back too."""
    folder = state_dir / "credentials"
    folder.mkdir(parents=True)
    file = folder / "cross.json"
    file.write_text(json.dumps({"key": KEY, "secret": "paper"}), encoding="utf-8")
    file.chmod(0o600)
    venue.ask("POST", "/fapi/v1/leverage", symbol="BTCUSDT", leverage=10)
    buy = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.1"}
    venue.ask("POST", "/fapi/v1/order", **buy)


async def _alerts(state_dir: Path) -> list[Alert]:
    journal = SqliteJournal.read(state_dir / "cross.db", "cross")
    rows = [row for row in await journal.rows(0) if row.entry.kind is Kind.ALERT]
    await journal.close()
    return [from_json(row.entry.body, Alert) for row in rows]


def several_assets(venue: Served) -> None:
    venue.ask("POST", "/fapi/v1/multiAssetsMargin", multiAssetsMargin="true")


@pytest.mark.timeout(120)
def test_it_is_watched_and_said_and_nothing_is_sent(tmp_path: Path) -> None:
    state_dir = tmp_path / "state"
    with served(tmp_path / "venue") as venue:
        prepared(state_dir, venue)
        several_assets(venue)
        doctor = liqguard(state_dir, "doctor", "--policy", CROSS, "--wire", venue.port)
        assert doctor.returncode == 4
        assert "unsupported" in doctor.stdout
        assert "can only be watched as it is" in doctor.stdout
        live = ["run", "--mode", "live", "--untested", "--no-alerts", "--policy", CROSS]
        run = [*live, "--wire", venue.port]
        with running(state_dir, run) as guard:
            wait_for_log(guard, "guard.started")
            wait_for_log(guard, "intent.answered")
            venue.control("mark", symbol="BTCUSDT", price=GONE_LOW)
            wait_for_log(guard, "intent.answered")
            time.sleep(2)
            status = liqguard(state_dir, "status", "--account", "cross")
            assert "ALERT-ONLY" in status.stdout
            guard.send_signal(signal.SIGTERM)
            assert guard.wait(timeout=30) == 0
        explained = liqguard(state_dir, "explain", "--account", "cross").stdout
        assert "multi-assets margin is not supported" in explained
        (said,) = [each for each in asyncio.run(_alerts(state_dir)) if each.kind == "unsupported"]
        assert said.severity is AlertSeverity.CRITICAL
        assert "it is only watched, and nothing is sent for it" in said.text
        assert not venue.stops()
        assert len(venue.ask("GET", "/fapi/v1/allOrders", symbol="BTCUSDT")) == 1


def test_the_same_account_is_guarded_when_one_asset_backs_it(tmp_path: Path) -> None:
    """So that the one above cannot pass because of anything else."""
    state_dir = tmp_path / "state"
    with served(tmp_path / "venue") as venue:
        prepared(state_dir, venue)
        live = ["run", "--mode", "live", "--untested", "--no-alerts", "--policy", CROSS]
        run = [*live, "--wire", venue.port]
        with running(state_dir, run) as guard:
            wait_for_log(guard, "guard.started")
            for _ in range(100):
                if venue.stops():
                    break
                time.sleep(0.1)
            assert venue.stops()
            guard.send_signal(signal.SIGTERM)
            assert guard.wait(timeout=30) == 0
