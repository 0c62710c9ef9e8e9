"""
Payloads that no venue should send: `python tests/exchange/live/fuzz.py --payloads N --first n`.

An answer as Binance USD-M documents it is changed somewhere in its structure, or in its text, and
read. A parser may read it or say `Unreadable`, and nothing else; a write that is answered by it is
never taken for refused but by a code, nor for accepted by less than the whole echo. Of a read that
is believed every row that was not touched says what it said before, and no position is flat that
was not told to be.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, TypeAlias

sys.path.insert(0, str(Path(__file__).parents[3]))

from bot.core.actions import Action
from bot.core.model import AccountSnapshot
from bot.exchange.live.calls import Heard, Unreadable, parse_json
from bot.exchange.paper.wire.listing import exchange_info, leverage_bracket
from bot.exchange.ports import Accepted, Refused
from bot.exchange.venues.binanceusdm import instruments
from bot.exchange.venues.binanceusdm_account import ACCOUNT
from bot.exchange.venues.binanceusdm_market import MARKET
from bot.exchange.venues.binanceusdm_orders import ORDERS
from bot.exchange.venues.binanceusdm_refusals import REFUSED
from tests.exchange.live import test_binanceusdm_api as documented

LISTED = documented.LISTED
BTC = documented.BTC
NOW_MS = documented.NOON_MS + 9 * documented.HOUR_MS

JUNK: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 10**30, -(10**30), "", " ", "0", "-0", "NaN", "Infinity", "1e400",
    "1e-400", "abc", "0x10", "1_000", "1,5", [], {}, [[]], [{}], {"code": -2022}, "\x00", "é",
)  # fmt: skip

Parse: TypeAlias = Callable[[Any], object]


@dataclass(frozen=True, slots=True)
class Answer:
    """A good answer, or several that are read together, and what reads them."""

    name: str
    payload: Any
    parse: Parse
    is_several: bool = False


def _snapshot(parts: Any) -> AccountSnapshot:
    configs, mode, risks, account, stops = parts
    return ACCOUNT.snapshot_of((configs, mode), (risks, account), (stops,), LISTED, 7)


def _answers() -> tuple[Answer, ...]:
    held = [documented.CROSS_ROW, documented.SHORT_ROW]
    listed = [instruments()[each] for each in (BTC, "ETH/USDT:USDT")]
    stop = documented.STOP_ROW
    stops = [stop, stop | {"clientAlgoId": "a", "symbol": "ADAUSDT", "side": "SELL"}]
    account = documented.account(*held)
    snapshot = [documented.CONFIGS, documented.ONE_WAY, held, account, stops]
    mark = {
        "symbol": "BTCUSDT",
        "markPrice": "11793.63104562",
        "lastFundingRate": "0.00038246",
        "nextFundingTime": 1597392000000,
    }
    pushed = {"e": "markPriceUpdate", "s": "BTCUSDT", "p": "1.5", "r": "0.0001", "T": 15973920000}
    order = {"s": "BTCUSDT", "c": "autoclose-1", "S": "SELL", "X": "FILLED", "ap": "9910.12"}
    change = {"symbol": "BTCUSDT", "amount": "23.36", "asset": "USDT", "time": 1578047897183,
              "type": 1, "positionSide": "BOTH"}  # fmt: skip
    rules = [
        exchange_info(listed, NOW_MS),
        [leverage_bracket(each) for each in listed],
        {"symbol": "BTCUSDT", "makerCommissionRate": "0.0002", "takerCommissionRate": "0.0004"},
    ]
    bars = [documented.kline(number) for number in range(4)]
    filled = {"e": "ORDER_TRADE_UPDATE", "o": order}
    found = [
        {"clientOrderId": "id1", "symbol": "BTCUSDT", "status": "FILLED", "executedQty": "0.010",
         "avgPrice": "63990.5"},
        stop | {"clientAlgoId": "id1", "actualQty": "0.01", "actualPrice": "63990.5"},
    ]  # fmt: skip
    before = [documented.KEY, documented.ONE_WAY, documented.CONFIGS]
    hours = [{"symbol": "BTCUSDT", "fundingIntervalHours": 4}]
    answers = (
        Answer("snapshot", snapshot, _snapshot, is_several=True),
        Answer("held names", [held, account], ACCOUNT.held_names, is_several=True),
        Answer("stop names", [stops], ACCOUNT.stop_names, is_several=True),
        Answer("rules", rules, _instrument, is_several=True),
        Answer("listing", rules[0], MARKET.listing_of),
        Answer("interval", hours, lambda each: MARKET.interval_of(each, "BTCUSDT")),
        Answer("time", {"serverTime": NOW_MS}, MARKET.time_of),
        Answer("margin", [change, change], lambda each: ACCOUNT.margin_changes_of(each, LISTED)),
        Answer("marks", [mark, mark], lambda each: MARKET.marks_of((each,), LISTED)),
        Answer("mark frame", pushed, lambda each: MARKET.mark_frame(each, LISTED)),
        Answer("bars", bars, lambda each: MARKET.bars_of(each, BTC, NOW_MS)),
        Answer("account frame", filled, lambda each: ACCOUNT.account_frame(each, LISTED, 5)),
        Answer("before the start", before, ACCOUNT.refusals, is_several=True),
        Answer("unproven", before, ACCOUNT.unproven, is_several=True),
        Answer("order", found, _order, is_several=True),
        *(
            Answer(f"reply to {type(action).__name__}", body, partial(_reply, action))
            for action, body in documented.PROOFS
        ),
    )
    # As text and back: no part of one is the same object as a part of another.
    return tuple(replace(each, payload=parse_json(_text(each.payload))) for each in answers)


def _text(payload: Any) -> str:
    return json.dumps(payload, default=str)


def _instrument(parts: Any) -> object:
    return MARKET.instrument_of(parts, LISTED, "BTCUSDT")


def _order(parts: Any) -> object:
    answers = [Heard(200, {}, _text(each)) for each in parts]
    return ORDERS.order_of(answers, "id1", "BTCUSDT", LISTED)


def _reply(action: Action, body: Any) -> object:
    return ORDERS.reply_of(Heard(200, {}, _text(body)), action, "id1", LISTED)


ANSWERS = _answers()


# -- changes -------------------------------------------------------------------------------------


def change(random: Random, answer: Answer) -> tuple[Any, tuple[Any, ...]]:
    """The answer with one thing in it changed, and the path to that."""
    changed = deepcopy(answer.payload)
    path = random.choice(list(_paths(changed))[answer.is_several :])
    if not path:
        return random.choice(JUNK), ()
    if answer.is_several and len(path) == 1:
        changed[path[0]] = random.choice(JUNK)  # one answer of them, as a whole
        return changed, path
    place = changed
    for key in path[:-1]:
        place = place[key]
    _act(random, place, path[-1])
    return changed, path


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Any:
    yield path
    match value:
        case dict():
            for key in value:
                yield from _paths(value[key], (*path, key))
        case list():
            for key in range(len(value)):
                yield from _paths(value[key], (*path, key))
        case _:
            pass


def _act(random: Random, place: Any, key: Any) -> None:
    """Change what is at one key of a mapping, or at one place of a list."""
    match random.randrange(7):
        case 0:
            del place[key]
        case 1:
            place[key] = [place[key]]
        case 2 if isinstance(place, list):
            place.insert(key, deepcopy(random.choice(place)))
        case 2:
            place[f"{key}x"] = place.pop(key)
        case 3:
            place[key] = {"x": place[key]}
        case 4 if isinstance(place[key], str):
            cut = random.randrange(len(place[key]) + 1)
            place[key] = place[key][:cut] + random.choice(("", "-", ".", "e", " ", "0"))
        case _:
            place[key] = random.choice(JUNK)


# -- judgement -----------------------------------------------------------------------------------


def read(number: int) -> tuple[str, str]:
    """Which answer was changed, and "read", "refused", or what is wrong."""
    random = Random(f"payload {number}")
    answer = random.choice(ANSWERS)
    changed, path = change(random, answer)
    if random.random() < 0.1 and not answer.is_several:
        text = bytearray(_text(changed).encode())
        for _ in range(random.randint(1, 3)):
            text[random.randrange(len(text))] = random.randrange(256)
        try:
            changed = parse_json(text.decode(errors="replace"))
        except Unreadable:
            return answer.name, "refused"
        path = ("text",)
    try:
        value = answer.parse(changed)
    except Unreadable:
        return answer.name, "refused"
    except Exception as e:  # noqa: BLE001 - any other error would end the guard, and is the finding
        return answer.name, f"raised {type(e).__name__}: {e} (at {path})"
    return answer.name, _wrong(answer, changed, path, value) or "read"


def _wrong(answer: Answer, changed: Any, path: tuple[Any, ...], value: Any) -> str:
    """What a value says that it may not say; nothing if it is fine."""
    match value:
        case AccountSnapshot():
            return _wrong_snapshot(changed, path, value)
        case Accepted() if path and changed != answer.payload and path[-1] not in _UNREAD:
            return _wrong_acceptance(answer, changed, path)
        case Refused(code=code) if not _has_code(changed, code):
            return f"refused by {code}, which is not in {changed!r}"
        case _:
            return ""


_UNREAD = {"msg", "algoStatus", "algoStatusx", "msgx", "text"}


def _wrong_acceptance(answer: Answer, changed: Any, path: tuple[Any, ...]) -> str:
    wanted = {key: str(each) for key, each in answer.payload.items() if key not in _UNREAD}
    told = {key: str(each).strip(" .") for key, each in changed.items() if key in wanted}
    if answer.payload.get("clientAlgoId") == "other":
        wanted.pop("algoId", None)  # what is cancelled is found by our id
        told.pop("algoId", None)
    same = {key for key in wanted if told.get(key) == wanted[key]}
    numbers = {"algoId", "orderId"}
    return "" if wanted.keys() - same <= numbers else f"accepted by {changed!r} (at {path})"


def _has_code(changed: Any, code: str) -> bool:
    return int(code) in REFUSED and isinstance(changed, dict) and str(changed.get("code")) == code


def _wrong_snapshot(changed: Any, path: tuple[Any, ...], told: AccountSnapshot) -> str:
    """
    A change of one row changes no position of another contract.

    One that spoils what all rows need, such as a whole list, may have them told of as garbled.
    """
    before = _snapshot(ANSWERS[0].payload)
    row = ANSWERS[0].payload
    names = set()
    for key in path:
        row = row[key] if isinstance(row, list | dict) else row
        if isinstance(row, dict) and isinstance(row.get("symbol"), str):
            names.add(LISTED.symbols[row["symbol"]])
    for position in before.positions:
        now = [each for each in told.positions if each.symbol == position.symbol]
        may_be_garbled = not names and not told.tells_of(position.symbol)
        if now != [position] and position.symbol not in names and not may_be_garbled:
            return f"{position.symbol} was {position}, is {now} (at {path})"
    return ""


def main() -> int:
    """Read so many; 1 if any was not read as it must be."""
    parser = argparse.ArgumentParser(description="Changed payloads, each read or refused.")
    parser.add_argument("--payloads", type=int, default=20_000, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    asked = parser.parse_args()
    counts: Counter[tuple[str, str]] = Counter()
    failed = 0
    for number in range(asked.first, asked.first + asked.payloads):
        name, came = read(number)
        if came not in ("read", "refused"):
            failed += 1
            sys.stdout.write(f"FAILED payload {number}: {name}: {came}\n")
            came = "wrong"
        counts[name, came] += 1
    for name in dict.fromkeys(each.name for each in ANSWERS):
        told = ", ".join(f"{counts[name, came]} {came}" for came in ("read", "refused", "wrong"))
        sys.stdout.write(f"{name}: {told}\n")
    sys.stdout.write(f"{asked.payloads} payloads, {failed} failed\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
