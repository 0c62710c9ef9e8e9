"""Stops that carry no id of ours: whose they are, across lost answers and restarts."""

import asyncio
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import pytest

from bot.core.actions import Action, CancelStop, ClosePosition, PlaceStop
from bot.core.model import NO_FILL, AccountSnapshot, PositionMode, Side, StopOrder
from bot.core.units import Money, Price, Quantity
from bot.exchange.live.numbered import Ledger, LedgerDamaged, NumberedAccount
from bot.exchange.ports import (
    Accepted,
    MarginChange,
    NoMarginHistory,
    Notice,
    OrderAbsent,
    OrderFound,
    Refused,
    Reply,
    Unsure,
)

D = Decimal
BTC = "BTC/USDT:USDT"
PLACE = PlaceStop(BTC, Side.LONG, Quantity(D("0.5")), Price(D(59_700)))


def stop(number: str, trigger: str = "59700", side: Side = Side.LONG) -> StopOrder:
    return StopOrder(BTC, side, number, Quantity(D("0.50")), Price(D(trigger)), reduce_only=True)


@dataclass
class Venue:
    """An account that knows numbers alone. Implements `Account`."""

    stops: list[StopOrder] = field(default_factory=list)
    reply: Reply = field(default_factory=lambda: Accepted("7"))
    asked: list[object] = field(default_factory=list)
    ledger_when_sent: str = ""
    path: Path | None = None
    request_life_ms: int = 60_000

    async def snapshot(self) -> AccountSnapshot:
        money = Money(D(1))
        return AccountSnapshot(7, PositionMode.ONE_WAY, money, money, (), tuple(self.stops))

    async def stream(self, publish: Callable[[Notice], None]) -> None:
        raise NotImplementedError

    async def send(self, action: Action, client_id: str) -> Reply:
        self.asked.append(action)
        if self.path is not None:
            self.ledger_when_sent = self.path.read_text(encoding="utf-8")
        return self.reply

    async def order(self, symbol: str, client_id: str) -> OrderFound | OrderAbsent:
        self.asked.append(client_id)
        return OrderFound(client_id, resting=True, filled=NO_FILL)

    async def margin_changes(
        self, symbol: str, since_ms: int
    ) -> tuple[MarginChange, ...] | NoMarginHistory:
        raise NotImplementedError

    async def server_time_ms(self) -> int:
        raise NotImplementedError


def ids(account: NumberedAccount) -> list[str]:
    return [each.client_id for each in asyncio.run(account.snapshot()).stops]


def send(account: NumberedAccount, action: Action, client_id: str) -> Reply:
    return asyncio.run(account.send(action, client_id))


def test_a_stop_is_ours_by_the_number_that_its_answer_told() -> None:
    venue = Venue()
    account = NumberedAccount(venue, Ledger(None))
    assert send(account, PLACE, "lg1") == Accepted(), "as any venue answers"
    venue.stops = [stop("6", "1"), stop("7")]
    assert ids(account) == ["6", "lg1"]
    assert asyncio.run(account.order(BTC, "lg1")) == OrderFound(
        "lg1", resting=True, filled=NO_FILL
    )
    send(account, CancelStop(BTC, Side.LONG, "lg1"), "lg2")
    assert venue.asked[1:] == ["7", CancelStop(BTC, Side.LONG, "7")]


def test_a_stop_whose_answer_was_lost_is_ours_by_what_it_is() -> None:
    theirs = stop("5")
    venue = Venue(stops=[theirs], reply=Unsure("no answer"))
    account = NumberedAccount(venue, Ledger(None))
    assert ids(account) == ["5"]
    assert isinstance(send(account, PLACE, "lg1"), Unsure)
    assert ids(account) == ["5"], "one like it that rested before is not it"
    others = [stop("8", "59699.9"), stop("9", side=Side.SHORT)]
    venue.stops = [theirs, *others, stop("7")]
    assert ids(account) == ["5", "8", "9", "lg1"]
    venue.stops = [theirs, stop("7"), stop("10")]
    assert ids(account) == ["5", "lg1", "10"], "only one is"


@pytest.mark.parametrize("reply", [Refused("30038", "too large")])
def test_a_stop_that_was_refused_makes_none_ours(reply: Reply) -> None:
    venue = Venue(reply=reply)
    account = NumberedAccount(venue, Ledger(None))
    send(account, PLACE, "lg1")
    venue.stops = [stop("7")]
    assert ids(account) == ["7"]


def test_other_actions_pass_as_they_are() -> None:
    venue = Venue(reply=Accepted())
    account = NumberedAccount(venue, Ledger(None))
    close = ClosePosition(BTC, Side.LONG, Quantity(D(1)))
    theirs = CancelStop(BTC, Side.LONG, "lgx")
    assert send(account, close, "lg1") == send(account, theirs, "lg2") == Accepted()
    assert venue.asked == [close, theirs]
    assert account.request_life_ms == 60_000


# -- restarts ------------------------------------------------------------------------------


@pytest.mark.parametrize("is_answered", [True, False])
def test_a_stop_stays_ours_across_a_restart(tmp_path: Path, is_answered: bool) -> None:
    path = tmp_path / "stops.jsonl"
    venue = Venue(reply=Accepted("7") if is_answered else Unsure("killed"), path=path)
    ledger = Ledger.opened(path)
    send(NumberedAccount(venue, ledger), PLACE, "lg1")
    ledger.close()
    assert json.loads(venue.ledger_when_sent)["id"] == "lg1", "on disk before it is sent"
    venue.stops = [stop("7")]
    for _ in range(2):  # what the first has found the second knows
        again = Ledger.opened(path)
        assert ids(NumberedAccount(venue, again)) == ["lg1"]
        again.close()
    assert again.numbers == {"lg1": "7"}


def test_what_was_refused_and_what_is_known_is_so_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "stops.jsonl"
    ledger = Ledger.opened(path)
    account = NumberedAccount(Venue(stops=[stop("3")], reply=Refused("1", "no")), ledger)
    assert ids(account) == ["3"]
    send(account, PLACE, "lg1")
    ledger.name("lg0", "2")
    ledger.close()
    again = Ledger.opened(path)
    again.close()
    assert (again.promises, again.numbers, again.ids) == ({}, {"lg0": "2"}, {"2": "lg0"})


@pytest.mark.parametrize("cut", ["", "{", '{"id": "lg3"', '{"id": "lg3", "number": "9"}'])
def test_a_line_without_its_end_was_of_nothing_that_was_sent(tmp_path: Path, cut: str) -> None:
    path = tmp_path / "stops.jsonl"
    whole = '{"id": "lg1", "number": "7"}\n'
    path.write_text(whole + cut, encoding="utf-8")
    ledger = Ledger.opened(path)
    assert ledger.numbers == {"lg1": "7"}
    ledger.name("lg2", "8")
    ledger.close()
    again = Ledger.opened(path)
    again.close()
    assert again.numbers == {"lg1": "7", "lg2": "8"}


@pytest.mark.parametrize(
    "line", ["{", "[]", "1", '{"id": "lg1"}', '{"number": "7"}', '{"id": "a", "quantity": "x"}']
)
def test_a_line_that_is_not_what_was_written_is_damage(tmp_path: Path, line: str) -> None:
    path = tmp_path / "stops.jsonl"
    path.write_text(f'{line}\n{{"id": "lg1", "number": "7"}}\n', encoding="utf-8")
    with pytest.raises(LedgerDamaged, match=r"stops\.jsonl:1: expected a stop"):
        Ledger.opened(path)


def test_a_disk_that_fails_keeps_no_stop_from_being_placed() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    venue = Venue()
    account = NumberedAccount(venue, Ledger(full))
    assert send(account, PLACE, "lg1") == Accepted()
    os.close(full)
    venue.stops = [stop("7")]
    assert ids(account) == ["lg1"]


def test_half_a_line_does_not_damage_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "stops.jsonl"
    ledger = Ledger.opened(path)
    write = os.write
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", lambda file, line: write(file, line[:9]))
        ledger.name("lg1", "7")
    ledger.name("lg2", "8")
    ledger.close()
    again = Ledger.opened(path)
    again.close()
    assert again.numbers == {"lg2": "8"}


def test_a_file_that_is_no_text_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "stops.jsonl"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(LedgerDamaged, match="expected text"):
        Ledger.opened(path)
