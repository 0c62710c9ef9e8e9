"""
An account of a venue whose stops carry no id of ours: the venue's numbers stand for ours.

That a stop is about to be sent is on disk before it is, with the numbers that rest already; which
number it got is written when the venue says so, or when a stop that is new shows the same side,
size and trigger. So that the guard's own stops stay its own across restarts and lost answers.
"""

import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import structlog

from bot.core.actions import Action, CancelStop, PlaceStop
from bot.core.model import AccountSnapshot, StopOrder
from bot.exchange.ports import (
    Accepted,
    Account,
    Barred,
    MarginChange,
    NoMarginHistory,
    Notice,
    OrderAbsent,
    OrderFound,
    Refused,
    Reply,
    Withheld,
)

log = structlog.get_logger()


class LedgerDamaged(Exception):
    """The file is not what was written. One line for the user."""


@dataclass(frozen=True, slots=True)
class Promise:
    """A stop that may have been sent, and the numbers of those that rested before it."""

    symbol: str
    side: str
    quantity: Decimal
    trigger_price: Decimal
    before: frozenset[str]

    def is_kept_by(self, stop: StopOrder) -> bool:
        """Whether `stop` may be the one that was sent."""
        what = (stop.symbol, str(stop.side), stop.quantity, stop.trigger_price)
        is_same = what == (self.symbol, self.side, self.quantity, self.trigger_price)
        return is_same and stop.client_id not in self.before


class Ledger:
    """Which of the venue's numbers is which client id: in memory, and in a file if it has one."""

    def __init__(self, file: int | None) -> None:
        """An empty one, kept in the open file of this number; `opened` reads what one holds."""
        self._file = file
        self.numbers: dict[str, str] = {}
        self.ids: dict[str, str] = {}
        self.promises: dict[str, Promise] = {}

    @staticmethod
    def opened(path: Path) -> "Ledger":
        """
        What `path` tells, to be written on.

        A last line without its end was cut by a crash, before what it tells of was sent. Raises
        `LedgerDamaged` for any other that cannot be read.
        """
        whole, end, cut = _text_of(path).rpartition("\n")
        ledger = Ledger(None)
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                ledger._take(json.loads(line))
            except (ValueError, KeyError, TypeError, ArithmeticError) as e:
                raise LedgerDamaged(f"{path}:{number}: expected a stop, was {line[:80]!r}") from e
        ledger._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        if cut:
            os.ftruncate(ledger._file, len((whole + end).encode()))
        folder = os.open(path.parent, os.O_RDONLY)
        os.fsync(folder)  # else a crash of the machine may lose that there is such a file
        os.close(folder)
        return ledger

    def promise(self, client_id: str, promise: Promise) -> None:
        """Note that a stop is about to be sent."""
        self._note(
            {
                "id": client_id,
                "symbol": promise.symbol,
                "side": promise.side,
                "quantity": str(promise.quantity),
                "trigger_price": str(promise.trigger_price),
                "before": sorted(promise.before),
            }
        )

    def name(self, client_id: str, number: str) -> None:
        """Note the venue's number of a stop."""
        self._note({"id": client_id, "number": number})

    def void(self, client_id: str) -> None:
        """Note that a stop was not taken, which is proven."""
        self._note({"id": client_id, "void": True})

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)

    def _note(self, fact: dict[str, Any]) -> None:
        """
        Keep it. A disk that fails must not keep a stop from being placed.

        Should this process end before it is written, the stop is taken for another's: it stays.
        """
        self._take(fact)
        if self._file is None:
            return
        length = os.fstat(self._file).st_size
        line = (json.dumps(fact) + "\n").encode()
        try:
            written = os.write(self._file, line)
            os.fsync(self._file)
            problem = "" if written == len(line) else "not written whole"
        except OSError as e:
            problem = str(e)
        if problem:
            log.critical("ledger.unwritten", id=fact["id"], reason=problem)
            with suppress(OSError):
                os.ftruncate(self._file, length)  # half a line would damage the next one

    def _take(self, fact: dict[str, Any]) -> None:
        client_id = str(fact["id"])
        if "number" in fact:
            number = str(fact["number"])
            self.numbers[client_id], self.ids[number] = number, client_id
            self.promises.pop(client_id, None)
        elif "void" in fact:
            self.promises.pop(client_id, None)
        else:
            self.promises[client_id] = Promise(
                fact["symbol"],
                fact["side"],
                Decimal(fact["quantity"]),
                Decimal(fact["trigger_price"]),
                frozenset(fact["before"]),
            )


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except ValueError as e:
        raise LedgerDamaged(f"{path}: expected text, was {e}") from e


class NumberedAccount:
    """An `Account` over one that knows stops by the venue's numbers alone."""

    def __init__(self, account: Account, ledger: Ledger) -> None:
        """Speak through `account`, in client ids."""
        self._account = account
        self._ledger = ledger
        self._resting: frozenset[str] = frozenset()

    @property
    def request_life_ms(self) -> int:
        """How long after its date the venue may still accept a request that is under way."""
        return self._account.request_life_ms

    async def snapshot(self) -> AccountSnapshot:
        """One complete read, in which stops of ours have our ids."""
        seen = await self._account.snapshot()
        self._resting = frozenset(stop.client_id for stop in seen.stops)
        return replace(seen, stops=tuple(map(self._in_our_words, seen.stops)))

    async def stream(self, publish: Callable[[Notice], None]) -> None:
        """Publish notices until cancelled; raises `Unreachable` when the stream is lost."""
        await self._account.stream(publish)

    async def send(self, action: Action, client_id: str) -> Reply:
        """Perform one action."""
        match action:
            case PlaceStop():
                return await self._place(action, client_id)
            case CancelStop(target_client_id=target):
                number = self._ledger.numbers.get(target, target)
                return await self._account.send(
                    replace(action, target_client_id=number), client_id
                )
            case _:
                return await self._account.send(action, client_id)

    async def order(self, symbol: str, client_id: str) -> OrderFound | OrderAbsent:
        """Look an order of ours up: a stop by its number."""
        known_as = self._ledger.numbers.get(client_id, client_id)
        found = await self._account.order(symbol, known_as)
        return replace(found, client_id=client_id) if isinstance(found, OrderFound) else found

    async def margin_changes(
        self, symbol: str, since_ms: int
    ) -> tuple[MarginChange, ...] | NoMarginHistory:
        """Margin added to positions of `symbol` at or after the venue time `since_ms`."""
        return await self._account.margin_changes(symbol, since_ms)

    async def server_time_ms(self) -> int:
        """The venue's clock."""
        return await self._account.server_time_ms()

    async def _place(self, action: PlaceStop, client_id: str) -> Reply:
        what = (action.symbol, str(action.side), action.quantity, action.trigger_price)
        self._ledger.promise(client_id, Promise(*what, self._resting))
        reply = await self._account.send(action, client_id)
        match reply:
            case Accepted(number=number) if number:
                self._ledger.name(client_id, number)
                return Accepted()
            case Refused() | Barred() | Withheld():
                self._ledger.void(client_id)
            case _:
                pass
        return reply

    def _in_our_words(self, stop: StopOrder) -> StopOrder:
        number = stop.client_id
        if number not in self._ledger.ids:
            kept = [each for each, it in self._ledger.promises.items() if it.is_kept_by(stop)]
            if not kept:
                return stop
            log.warning("stop.found", id=kept[-1], number=number)
            self._ledger.name(kept[-1], number)  # the newest: an older one never arrived
        return replace(stop, client_id=self._ledger.ids[number])
