"""What this venue's WebSockets take: a sign-in, topics, and a ping."""

import json
from typing import Any

from bot.exchange.paper.wire.bybit.asked import account_of, is_signed
from bot.exchange.paper.wire.bybit.refusal import BybitRefusal
from bot.exchange.paper.wire.exchange import WireExchange
from bot.exchange.paper.wire.hub import Listener

CONNECTION = "paper"


def take(exchange: WireExchange, listener: Listener, text: str, now_ms: int) -> None:
    """Perform what a client sent on a connection, and answer it there."""
    try:
        asked = json.loads(text)
        operation, arguments = asked["op"], [str(each) for each in asked.get("args", [])]
        number = str(asked.get("req_id", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        listener.put(json.dumps(_said("", "", is_done=False, message="Invalid request")))
        return
    is_done, message = True, ""
    match operation:
        case "auth":
            is_done = _sign_in(exchange, listener, arguments, now_ms)
            message = "" if is_done else "Params Error"
        case "subscribe":
            listener.streams |= set(arguments)
        case "unsubscribe":
            listener.streams -= set(arguments)
        case "ping":
            message = "pong"
        case _:
            is_done, message = False, f"unknown op {operation}"
    listener.put(json.dumps(_said(operation, number, is_done=is_done, message=message)))


def _sign_in(
    exchange: WireExchange, listener: Listener, arguments: list[str], now_ms: int
) -> bool:
    key, expires, signature = [*arguments, "", "", ""][:3]
    if not expires.isdecimal() or int(expires) <= now_ms:
        return False
    try:
        account = account_of(key)
    except BybitRefusal:
        return False
    if not is_signed(f"GET/realtime{expires}", signature):
        return False
    exchange.bybit_desk(account)
    listener.accounts[account] = ""
    return True


def _said(operation: str, number: str, *, is_done: bool, message: str) -> dict[str, Any]:
    return {
        "success": is_done,
        "ret_msg": message,
        "conn_id": CONNECTION,
        "req_id": number,
        "op": operation,
    }
