"""
The control socket: how other processes ask a running guard, and tell it what a human wants.

A Unix socket in the state folder, readable by its owner only. One line of JSON asks, one line
answers.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

from bot.alerts.outbox import Outbox, Standing
from bot.core.decision import Audited, BookVerdict, NoBook
from bot.core.events import AccountMode, Command
from bot.core.funding import FundingCost
from bot.core.guardrails import spent_since
from bot.core.margin import LiquidatesAt, LiquidatesTogether
from bot.core.metrics import BookKnown, Known, Unknown
from bot.core.protection import StopWanted
from bot.core.state import DAY_MS, HOUR_MS, AccountRead
from bot.runtime.guard import Guard

SOCKET_PATH_MAX = 100
"""Unix refuses longer socket paths (108 bytes with its terminator on Linux)."""

ANSWER_TIMEOUT_S = 3.0


class ControlError(Exception):
    """The socket cannot be made, or nobody answers on it. One line for the user."""


Answer = dict[str, Any]


def socket_path(state_dir: Path, account: str) -> Path:
    """Where the guard of `account` listens."""
    path = state_dir / f"{account}.sock"
    if len(str(path)) > SOCKET_PATH_MAX:
        raise ControlError(
            f"LIQGUARD_STATE_DIR: expected a path that keeps {path} within "
            f"{SOCKET_PATH_MAX} characters"
        )
    return path


@asynccontextmanager
async def listening(
    path: Path, guard: Guard, outbox: Outbox, now_ms: Callable[[], int], run: Callable[[], str]
) -> AsyncIterator[None]:
    """
    Answer on `path` while the block runs: of a guard whose actions go where `run` says (paper,
    observe, live, or nowhere: alert-only). The caller holds the account's lock.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = await reader.readline()
        answer = _answer(guard, outbox, line, now_ms(), run())
        writer.write(json.dumps(answer).encode() + b"\n")
        await writer.drain()
        writer.close()

    path.unlink(missing_ok=True)  # a socket that a killed process left behind
    server = await asyncio.start_unix_server(serve, path)
    path.chmod(0o600)
    try:
        yield
    finally:
        server.close()
        path.unlink(missing_ok=True)


def _answer(guard: Guard, outbox: Outbox, line: bytes, now_ms: int, run: str) -> Answer:
    try:
        asked = json.loads(line)
        if asked["ask"] == "status":
            return {"run": run, **status(guard, outbox, now_ms)}
        if asked["ask"] == "mode":
            command = Command(AccountMode(asked["mode"]), str(asked["reason"]), now_ms)
            guard.tell(command)
            return {"mode": command.mode}
    except (ValueError, KeyError, TypeError) as e:
        return {"error": f"expected a request like {{'ask': 'status'}}, was {line!r}: {e}"}
    return {"error": f"expected to be asked for status or mode, was {asked['ask']!r}"}


def status(guard: Guard, outbox: Outbox, now_ms: int) -> Answer:
    """What a trader wants to know at a glance, as plain JSON values; money as text."""
    state, decision = guard.state, guard.decision
    read_age_ms = None
    if isinstance(state.account, AccountRead):
        read_age_ms = now_ms - state.account.received_at_ms
    return {
        "account": state.birth.account,
        "mode": state.mode,
        "mode_reason": state.mode_reason,
        "at_ms": now_ms,
        "account_read_age_ms": read_age_ms,
        "decision_age_ms": now_ms - decision.at_ms,
        "policy": state.policy_digest,
        "wallet_balance": f"{state.wallet_balance:f}",
        "free": f"{state.free:f}",
        "top_up_spent_1h": f"{spent_since(state, now_ms - HOUR_MS):f}",
        "top_up_spent_24h": f"{spent_since(state, now_ms - DAY_MS):f}",
        "intents_open": [intent.id for intent in state.intents.values() if intent.is_open],
        "positions": [_position(guard, index, now_ms) for index in range(len(decision.positions))],
        "cross": _cross(decision.book),
        "refunds_due": [
            {"symbol": due.key.symbol, "amount": f"{due.amount:f}", "until_ms": due.expires_at_ms}
            for due in state.refunds.values()
        ],
        "alerts": {
            "channels": [_channel(each) for each in outbox.standing()],
            "dropped": outbox.dropped,
        },
    }


def _channel(standing: Standing) -> Answer:
    """How it goes with one way to a human."""
    return {
        "channel": standing.channel,
        "undelivered": standing.waiting,
        "oldest_at_ms": standing.oldest_at_ms,
        "trouble": standing.trouble,
    }


def _cross(book: BookVerdict | NoBook) -> Answer:
    """All cross positions together; empty where there is none."""
    match book:
        case NoBook():
            return {}
        case BookVerdict(measured, steps, _):
            shown: Answer = {"steps": {step.reason: step.phase for step in steps}}
    match measured:
        case Unknown(reason):
            return {**shown, "unknown": reason}
        case BookKnown() as known:
            return {
                **shown,
                "liquidation_distance": f"{known.liquidation_distance:f}",
                "margin_ratio": f"{known.margin_ratio:f}",
                "margin_balance": f"{known.margin_balance:f}",
                "maintenance_margin": f"{known.maintenance_margin:f}",
            }


def _position(guard: Guard, index: int, now_ms: int) -> Answer:
    verdict = guard.decision.positions[index]
    position = verdict.position
    shown: Answer = {
        "symbol": position.symbol,
        "side": position.side,
        "quantity": f"{position.quantity:f}",
        "entry_price": f"{position.entry_price:f}",
        "margin_mode": position.margin_mode,
        "isolated_margin": f"{position.isolated_margin:f}",
        "steps": {step.reason: step.phase for step in verdict.steps},
        "stop": verdict.stop.status if isinstance(verdict.stop, Audited) else "unknown",
    }
    if isinstance(verdict.stop, Audited) and isinstance(verdict.stop.target, StopWanted):
        shown["stop_price"] = f"{verdict.stop.target.trigger_price:f}"
    mark = guard.state.marks.get(position.symbol)
    if mark is not None:
        shown["mark_age_ms"] = now_ms - mark.received_at_ms
    if position.key in guard.state.lacked:
        shown["not_in_reads_for_ms"] = now_ms - guard.state.lacked[position.key].since_ms
    if isinstance(verdict.measured, Known):
        shown["mark_price"] = f"{verdict.measured.mark_price:f}"
        shown["liquidation_distance"] = f"{verdict.measured.liquidation_distance:f}"
        shown["margin_ratio"] = f"{verdict.measured.margin_ratio:f}"
        if isinstance(verdict.measured.liquidation, LiquidatesAt | LiquidatesTogether):
            shown["liquidation_price"] = f"{verdict.measured.liquidation.price:f}"
        if isinstance(verdict.measured.funding, FundingCost):
            cost = verdict.measured.funding
            shown["funding_payment_next"] = f"{cost.next_payment:f}"
            shown["funding_next_at_ms"] = cost.next_at_ms
            shown["funding_cost_interval"] = f"{cost.interval:f}"
            shown["funding_cost_24h"] = f"{cost.day:f}"
            shown["funding_cost_episode"] = f"{cost.episode:f}"
    else:
        shown["unknown"] = verdict.measured.reason
    return shown


async def ask(path: Path, question: Answer) -> Answer:
    """Ask a running guard; raises `ControlError` when none answers."""
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            reader, writer = await asyncio.open_unix_connection(path)
            with closing(writer):
                writer.write(json.dumps(question).encode() + b"\n")
                answer: Answer = json.loads(await reader.readline())
    except (OSError, TimeoutError, ValueError) as e:
        raise ControlError(f"no guard answers on {path}: {type(e).__name__}") from e
    return answer
