"""The way in: a request is weighed, checked, and brought to its endpoint; and its answer."""

import json
from typing import Any

from bot.exchange.paper.wire.admission import account_of, check_signed
from bot.exchange.paper.wire.asked import Asked, Endpoint, Private, Public, Route, Security
from bot.exchange.paper.wire.exchange import WireExchange
from bot.exchange.paper.wire.parameters import read_parameters
from bot.exchange.paper.wire.private import PRIVATE
from bot.exchange.paper.wire.public import PUBLIC
from bot.exchange.paper.wire.refusal import Refusal
from bot.exchange.paper.wire.request import Answer, Request

ENDPOINTS: dict[Route, Endpoint] = {**PUBLIC, **PRIVATE}


def answer(exchange: WireExchange, request: Request, now_ms: int) -> Answer:
    """Perform a request at `now_ms`, to which the exchange is advanced first."""
    now_ms = exchange.advance(now_ms)
    headers: dict[str, str] = {}
    try:
        body = _perform(exchange, request, now_ms, headers)
    except Refusal as e:
        if e.retry_after_s:
            headers["Retry-After"] = str(e.retry_after_s)
        said = {"code": e.code, "msg": e.text}
        return Answer(e.status, json.dumps(said, ensure_ascii=False), headers)
    finally:
        exchange.settle()
    return Answer(200, json.dumps(body), headers)


def _perform(
    exchange: WireExchange, request: Request, now_ms: int, headers: dict[str, str]
) -> Any:
    endpoint = ENDPOINTS.get((request.method, request.path))
    weight = 1 if endpoint is None else endpoint.weight
    headers["X-MBX-USED-WEIGHT-1M"] = str(exchange.limits.weigh(request.address, weight, now_ms))
    asked = Asked(exchange, read_parameters(request.query, request.body), now_ms)
    match endpoint:
        case None:
            text = f"Path {request.path}, Method {request.method} is invalid"
            raise Refusal(-5000, text, status=404)
        case Public(handle=handle):
            return handle(asked)
        case Private(security=security, handle=handle_private):
            account = account_of(request.key)
            if security is not Security.KEY:
                check_signed(request.query, request.body, asked.parameters, now_ms)
            if security is Security.ORDER:
                short, long = exchange.limits.count_order(account, now_ms)
                headers["X-MBX-ORDER-COUNT-10S"] = str(short)
                headers["X-MBX-ORDER-COUNT-1M"] = str(long)
            return handle_private(asked, exchange.desk(account))
