"""Reads of a venue: an answer, parsed where it is a good one, or `Unreachable`."""

import asyncio
from collections.abc import Sequence

from bot.exchange.live.calls import (
    Call,
    Heard,
    Hushed,
    Json,
    NotSent,
    Silent,
    Unreadable,
    parse_json,
)
from bot.exchange.live.dialect import ByDate, MarketDialect
from bot.exchange.live.lanes import Asks
from bot.exchange.ports import Banned, Throttled, Unreachable

HTTP_OK = 200


async def hear(lane: Asks, call: Call) -> Heard:
    """An answer to a read, of any status; raises `Unreachable` when there is none."""
    match await lane.ask(call):
        case Heard() as heard:
            return heard
        case Hushed(reason, until_ms, everything=True):
            raise Banned(f"{call.path}: {reason}", until_ms)
        case Hushed(reason, until_ms):
            raise Throttled(f"{call.path}: {reason}", until_ms)
        case NotSent(reason) | Silent(reason):
            raise Unreachable(f"{call.path}: {reason}")


async def read_all(lane: Asks, calls: Sequence[Call]) -> Sequence[Json]:
    """The answers of calls that are made at the same time; `Unreachable` for any failure."""
    answers = await asyncio.gather(*(read(lane, call) for call in calls), return_exceptions=True)
    for each in answers:
        if isinstance(each, BaseException):
            raise each
    return answers


async def venue_time_ms(dialect: MarketDialect, lane: Asks) -> int:
    """The venue's clock; raises `Unreachable`."""
    asking = dialect.time_call()
    call = asking.call if isinstance(asking, ByDate) else asking
    heard = await hear(lane, call)
    json = _parsed(heard, call)
    if isinstance(asking, ByDate):
        headers = {name.lower(): text for name, text in heard.headers.items()}
        json = {"date": headers.get("date", ""), "answer": json}
    try:
        return dialect.time_of(json)
    except Unreadable as e:
        raise Unreachable(str(e)) from e


async def read(lane: Asks, call: Call) -> Json:
    """The parsed answer to a read; raises `Unreachable` for anything but a good one."""
    return _parsed(await hear(lane, call), call)


def _parsed(heard: Heard, call: Call) -> Json:
    try:
        json = parse_json(heard.text)
    except Unreadable as e:
        raise Unreachable(f"{call.path}: HTTP {heard.status}: {e}") from e
    if heard.status != HTTP_OK:
        raise Unreachable(f"{call.path}: HTTP {heard.status}: {heard.text[:120]}")
    return json
