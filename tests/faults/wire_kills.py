"""
True kills of `run --mode live` on the wire: `python tests/faults/kills.py --wire --kills N`.

The venue is a `paper serve` process of its own, which outlives every life of the guard. A life is
a forked child that guards the account over loopback sockets, as the command does, and dies by
SIGKILL: by its own hand at a step drawn from the seed, some milliseconds after a request began to
leave, or by the parent's at a moment. Meanwhile the mark price follows the course of one of the
canonical scripts. What is judged in the end is what the venue has on record: its orders, its
history of margin, what it liquidated.

Funding is settled on the wire by hand alone: the scripts that are about bills are left out.
"""

import asyncio
import hashlib
import hmac
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from http import HTTPStatus
from http.client import HTTPConnection
from importlib.resources import files
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlencode

import structlog
from pydantic import SecretStr

from bot.app import NOBODY, LiveMode
from bot.clock import system_wall_ms
from bot.core.actions import AddMargin, ClosePosition
from bot.core.events import TERMINAL, IntentState
from bot.core.model import MarginMode, Side
from bot.core.policy import Policy
from bot.core.state import HOUR_MS
from bot.core.units import Price, Quantity, floor_to
from bot.exchange.live.account import LiveAccount
from bot.exchange.live.connection import Loopback
from bot.exchange.live.credentials import Credentials
from bot.journal.codec import from_json
from bot.journal.port import IntentMoved, Kind, Row
from bot.journal.sqlite import SqliteJournal
from bot.live import LiveKeys, run_live
from bot.policy.loader import load_policy
from bot.rehearsal.bars import Ohlc
from bot.runtime.record import Recorded
from bot.runtime.verify import verify
from tests.faults.kills import Found, Fuse, Script

ROOT = Path(__file__).parents[2]
LISTED = {"BTC": Decimal(60_000), "ETH": Decimal(3_000), "SOL": Decimal(150)}
"""What the wire exchange lists, and where its prices begin; XRP's course is lived by SOL."""

STEPS_MAX = (6, 14, 50)
"""A life takes fewer steps than one of these: in a restart, soon after one, or at work."""

ON_THE_WIRE_S = 0.02
"""A kill while a request is under way comes within this time of its beginning."""

LIFE_MAX_S = 12
"""After so long the parent does it."""

MOVE_S = 0.25
SETTLED_S = 90
OPENED = "opened"
VENUES_OWN = "autoclose-"

Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Venue:
    """The `paper serve` process, from outside."""

    port: int
    control_url: str
    account: str

    def ask(self, method: str, path: str, **parameters: Any) -> Any:
        """A signed request of the account, from another address than the guard's."""
        text = urlencode({**parameters, "timestamp": system_wall_ms()})
        mac = hmac.new(b"paper", text.encode(), hashlib.sha256).hexdigest()
        # What the judge asks must not use up what the venue allows the guard's address.
        connection = HTTPConnection("127.0.0.1", self.port, 30, source_address=("127.0.0.2", 0))
        with closing(connection):
            connection.request(
                method,
                f"{path}?{text}&signature={mac}",
                headers={"X-MBX-APIKEY": f"paper-{self.account}"},
            )
            answer = connection.getresponse()
            body = json.load(answer)
        assert answer.status == HTTPStatus.OK, f"{path}: {body}"
        return body

    def move(self, marks: dict[str, Decimal]) -> None:
        """Let the prices go there."""
        for coin, price in marks.items():
            body = json.dumps({"symbol": f"{coin}USDT", "price": str(price)}).encode()
            url = f"{self.control_url}/control/mark"
            urllib.request.urlopen(url, body, timeout=30).close()  # noqa: S310 - loopback

    def orders(self, coins: list[str]) -> Rows:
        """All orders that were not the opening ones, the conditional ones too."""
        rows: Rows = []
        for coin in coins:
            for path, name in (("allOrders", "clientOrderId"), ("allAlgoOrders", "clientAlgoId")):
                found = self.ask("GET", f"/fapi/v1/{path}", symbol=f"{coin}USDT", limit=500)
                rows += [{**each, "id": each[name], "book": path} for each in found]
        return [each for each in rows if not each["id"].startswith((OPENED, VENUES_OWN))]


@contextmanager
def served(account: str, deposit: Decimal) -> Iterator[Venue]:
    """A venue of its own."""
    arguments = ["paper", "serve", "--port", "0", "--control-port", "0", "--json"]
    with subprocess.Popen(
        [sys.executable, "-m", "bot", *arguments, "--deposit", str(deposit)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, f"paper serve ended with {process.wait()}"
            said = json.loads(line)
            yield Venue(int(said["url"].rpartition(":")[2]), said["control"], account)
        finally:
            process.kill()


def coins_of(script: Script) -> list[str]:
    """The contracts in which a script is lived through on the wire."""
    return [each.rpartition("-")[2].upper().replace("XRP", "SOL") for each in script.scenarios]


def course(script: Script) -> list[dict[str, Decimal]]:
    """The lows or highs against the position, each as a share of where the script begins."""
    legs = []
    for coin, opening in zip(coins_of(script), script.setup().openings, strict=True):
        first = opening.bars.rows[0].mark.open
        legs.append(
            [
                (coin, round(LISTED[coin] * Decimal(each) / first, 1))
                for row in opening.bars.rows
                for each in (row.mark.open, _worst(row.mark, script.side))
            ]
        )
    return [dict(moment) for moment in zip(*legs, strict=False)]


def _worst(mark: Ohlc, side: Side) -> Price:
    return mark.low if side is Side.LONG else mark.high


def open_positions(venue: Venue, script: Script) -> None:
    """As the script has them: 1,000 of margin each."""
    for coin in coins_of(script):
        symbol = f"{coin}USDT"
        mode = "ISOLATED" if script.margin_mode is MarginMode.ISOLATED else "CROSSED"
        if mode == "ISOLATED":
            venue.ask("POST", "/fapi/v1/marginType", symbol=symbol, marginType=mode)
        venue.ask("POST", "/fapi/v1/leverage", symbol=symbol, leverage=script.leverage)
        quantity = floor_to(1_000 * script.leverage / LISTED[coin], Decimal("0.01"))
        side = "BUY" if script.side is Side.LONG else "SELL"
        venue.ask(
            "POST",
            "/fapi/v1/order",
            symbol=symbol,
            side=side,
            type="MARKET",
            quantity=quantity,
            newClientOrderId=f"{OPENED}{coin}",
        )


# -- one life ------------------------------------------------------------------------------------


class WireFuse(Fuse):
    """Counts the steps of a life on the wire; a request may also be cut on its way."""

    def __init__(self, steps: int, on_the_wire_s: float) -> None:
        super().__init__(steps)
        self._on_the_wire_s = on_the_wire_s

    def lay(self) -> None:
        """Before and after each row and each request, and before the note of a row."""
        os.pwrite = self._before(os.pwrite)
        for name in ("append", "keep"):
            setattr(SqliteJournal, name, self._around(getattr(SqliteJournal, name)))
        owner: Any = LiveAccount
        plain = owner.send

        async def send(account: LiveAccount, *args: Any) -> Any:
            if self._left == 0 and self._on_the_wire_s:
                asyncio.get_running_loop().call_later(self._on_the_wire_s, self._burn)
            else:
                self.step()
            reply = await plain(account, *args)
            self.step()
            return reply

        owner.send = send

    def _burn(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


def begin(venue: Venue, folder: Path, fuse: WireFuse) -> int:
    """One life in a process of its own; its id."""
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        with (folder / "last-words").open("w") as words:
            os.dup2(words.fileno(), 2)
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
        fuse.lay()
        keys = Credentials(SecretStr(f"paper-{venue.account}"), SecretStr("paper"))
        run_live(
            folder / "policy.yaml",
            LiveKeys(keys, accept_unverified=False),
            folder / "state",
            LiveMode.LIVE,
            Loopback(venue.port),
            NOBODY,
        )
        code = 0
    finally:
        if code:
            traceback.print_exc()
        os._exit(code)


def _ended(child: int) -> int | None:
    """How a life ended, None while it lasts."""
    done, status = os.waitpid(child, os.WNOHANG)
    return status if done else None


def run_once(script: Script, kills: int, random: Random) -> Found:
    """Over one venue and one folder; what is left is looked at after each life."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "state").mkdir()
        policy = _policy(folder, script)
        deposit = Decimal(1_000 * len(script.scenarios) + 1_100)
        with served(policy.account, deposit) as venue:
            open_positions(venue, script)
            return _lives(script, kills, random, folder, venue, policy)


def _policy(folder: Path, script: Script) -> Policy:
    text = files("bot.policy").joinpath(f"presets/{script.preset}.yaml").read_text("utf-8")
    if "account:" not in text:
        text += (
            "account: { name: killed, venue: binanceusdm, margin_mode: mixed,"
            " position_mode: one_way }\n"
        )
    (folder / "policy.yaml").write_text(text, encoding="utf-8")
    return load_policy(folder / "policy.yaml")


def _lives(
    script: Script, kills: int, random: Random, folder: Path, venue: Venue, policy: Policy
) -> Found:
    ahead = iter(course(script))
    coins, wrongs, killed, is_covered = coins_of(script), [], 0, False
    for number in range(kills):
        steps = random.randrange(random.choice(STEPS_MAX))
        on_the_wire_s = random.choice((0.0, random.uniform(0, ON_THE_WIRE_S)))
        child = begin(venue, folder, WireFuse(steps, on_the_wire_s))
        ends_s = time.monotonic() + random.uniform(2, LIFE_MAX_S)  # noqa: TID251 - real processes
        while (status := _ended(child)) is None:
            if time.monotonic() > ends_s:  # noqa: TID251 - as above
                os.kill(child, signal.SIGKILL)
                _, status = os.waitpid(child, 0)
                break
            time.sleep(MOVE_S)
            # Until the first stop rests prices stand: what nobody has guarded yet proves nothing.
            is_covered = is_covered or not _naked(venue)
            venue.move(next(ahead, {}) if is_covered else {})
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
            killed += 1
        else:
            words = (folder / "last-words").read_text(encoding="utf-8").strip()
            wrongs.append(f"life {number} ended with {status}: {words[-300:]}")
        wrongs += [f"life {number}: {each}" for each in _look(folder, venue, policy, coins)]
        if wrongs or not _positions(venue):
            break  # nothing is left to be guarded
    if wrongs:
        return Found(killed, Counter(), tuple(wrongs))
    wrongs += _last_life(folder, venue, policy)
    effects, more = asyncio.run(_judge(folder, venue, policy, coins)) if not wrongs else ({}, [])
    return Found(killed, Counter(effects), (*wrongs, *more))


def _last_life(folder: Path, venue: Venue, policy: Policy) -> list[str]:
    """Nobody kills it: until everything is settled, and what is open has its stop."""
    begun = _lives_on_record(asyncio.run(_rows(folder, policy)))
    child = begin(venue, folder, WireFuse(10**9, 0.0))
    ends_s = time.monotonic() + SETTLED_S  # noqa: TID251 - a real process is waited for
    missing = ["nothing"]
    while missing and time.monotonic() < ends_s:  # noqa: TID251 - as above
        time.sleep(1)
        if (status := _ended(child)) is not None:
            words = (folder / "last-words").read_text(encoding="utf-8").strip()
            return [f"the last life ended with {status}: {words[-300:]}"]
        rows = asyncio.run(_rows(folder, policy))
        missing = [
            f"{intent} was never settled: {state}"
            for intent, state in _states(rows).items()
            if state not in TERMINAL
        ]
        missing += _naked(venue)
        if _lives_on_record(rows) == begun:
            missing.append("the last life has not begun")
    time.sleep(2)  # it heeds SIGTERM once it has begun to guard
    os.kill(child, signal.SIGTERM)
    _, status = os.waitpid(child, 0)
    return missing + ([f"the last life ended with {status}"] if status else [])


# -- what must be true ---------------------------------------------------------------------------


async def _rows(folder: Path, policy: Policy) -> list[Row]:
    path = folder / "state" / f"{policy.account}.db"
    if not path.exists() or not path.stat().st_size:
        return []
    journal = SqliteJournal.read(path, policy.account)
    rows = list(await journal.rows(0))
    await journal.close()
    return rows


def _lives_on_record(rows: list[Row]) -> int:
    return sum(row.entry.kind is Kind.STARTED for row in rows)


def _states(rows: list[Row]) -> dict[str, IntentState]:
    return {
        row.entry.subject.intent_id: row.entry.subject.state
        for row in rows
        if isinstance(row.entry.subject, IntentMoved)
    }


def _look(folder: Path, venue: Venue, policy: Policy, coins: list[str]) -> list[str]:
    """After any death: the journal is sound, and what reached the venue is on record."""
    orders = venue.orders(coins)
    try:
        on_record = _states(asyncio.run(_rows(folder, policy)))
    except Exception as e:  # noqa: BLE001 - whatever it is, the journal is not sound
        return [f"{type(e).__name__}: {e}"] if orders else []
    return [
        f"{each['id']} is on the exchange and on no row"
        for each in orders
        if each["id"] not in on_record
    ]


def _positions(venue: Venue) -> Rows:
    rows: Rows = venue.ask("GET", "/fapi/v3/positionRisk")
    return [each for each in rows if Decimal(each["positionAmt"])]


def _naked(venue: Venue) -> list[str]:
    stops: Rows = venue.ask("GET", "/fapi/v1/openAlgoOrders")
    return [
        f"{each['symbol']} rests on no stop at the end"
        for each in _positions(venue)
        if not any(
            stop["symbol"] == each["symbol"]
            and Decimal(stop["quantity"]) >= abs(Decimal(each["positionAmt"]))
            for stop in stops
        )
    ]


async def _judge(
    folder: Path, venue: Venue, policy: Policy, coins: list[str]
) -> tuple[Counter[str], list[str]]:
    """By the venue's own record: no effect twice, none lost, none beyond a budget."""
    path = folder / "state" / f"{policy.account}.db"
    journal = SqliteJournal.open(path, policy.account)
    rows = list(await journal.rows(0))
    verified = await verify(journal)
    await journal.close()
    states = _states(rows)
    planned = {
        approved.intent.id: approved.intent.action
        for row in rows
        if row.entry.kind is Kind.DECISION
        for approved in from_json(row.entry.body, Recorded).decision.approved
    }
    wrongs = _margin(venue, policy, planned, states, coins)
    filled: dict[str, Quantity] = {}
    for each in venue.orders(coins):
        if each["book"] != "allOrders" or not Decimal(each["executedQty"]):
            continue
        if each["id"] in filled:
            wrongs.append(f"{each['id']} was filled twice")
        filled[each["id"]] = Quantity(Decimal(each["executedQty"]))
    for intent, action in planned.items():
        if not isinstance(action, ClosePosition):
            continue
        done = states.get(intent) in (IntentState.APPLIED, IntentState.PARTIAL)
        if done != (intent in filled):
            wrongs.append(f"{intent} is {states.get(intent)}, and filled {filled.get(intent, 0)}")
        elif done and filled[intent] > action.quantity:
            wrongs.append(f"{intent} asked for {action.quantity}, and filled {filled[intent]}")
    wrongs += [f"{each['symbol']} was liquidated" for each in _forced(venue)]
    effects = Counter(type(action).__name__ for action in planned.values())
    counts = Counter(fills=len(filled), rows=len(rows), decisions=verified.decisions)
    return effects + counts, wrongs


def _forced(venue: Venue) -> Rows:
    rows: Rows = venue.ask("GET", "/fapi/v1/forceOrders")
    return rows


def _margin(
    venue: Venue,
    policy: Policy,
    planned: dict[str, Any],
    states: dict[str, IntentState],
    coins: list[str],
) -> list[str]:
    """Every top-up that the guard calls applied is in the history once, and no other is."""
    changes: Rows = []
    for coin in coins:
        path = "/fapi/v1/positionMargin/history"
        changes += venue.ask("GET", path, symbol=f"{coin}USDT", type=1)
    moved = Counter((each["symbol"], Decimal(each["amount"])) for each in changes)
    applied = Counter(
        (f"{action.symbol.partition('/')[0]}USDT", Decimal(action.amount))
        for intent, action in planned.items()
        if isinstance(action, AddMargin) and states.get(intent) is IntentState.APPLIED
    )
    wrongs = [f"moved {each} more often than it is on record" for each in moved - applied]
    wrongs += [f"moved {each} less often than it is on record" for each in applied - moved]
    for each in changes:
        hour = [
            Decimal(other["amount"])
            for other in changes
            if 0 <= each["time"] - other["time"] < HOUR_MS
        ]
        if sum(hour) > policy.guardrails.top_up_1h_max:
            wrongs.append(f"beyond the budget of an hour at {each['time']}")
    return wrongs
