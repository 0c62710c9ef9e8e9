"""
Twenty positions that breach at one moment, over a line on which a tenth gets no answer.

Twenty isolated longs of one account; calm, then all marks fall at once below the step that acts,
above the floor, and stay. What is measured is the exchange's: when the distance of a position was
below the step, when a request of the guard was performed there, and when a read that the exchange
took afterwards reached the guard.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from random import Random

import structlog

from bot.clock import Clock
from bot.core.actions import Action, AddMargin, ClosePosition
from bot.core.events import MarkPrice
from bot.core.model import AccountSnapshot, Instrument, MarginMode, Side
from bot.core.policy import Policy
from bot.core.units import Money, Price, Quantity, Ratio
from bot.exchange.paper.books import Cause
from bot.exchange.paper.faults import FaultPlan, Faults
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.prices import PricePoint, Prices
from bot.exchange.paper.store import MemoryOnly
from bot.exchange.paper.venue import PaperAccount, PaperMarket, PaperVenue
from bot.exchange.ports import Accepted, Quoted, Refused, Reply, Unreachable
from bot.exchange.venues.binanceusdm import instruments
from bot.journal.sqlite import SqliteJournal
from bot.policy.loader import parse_policy
from bot.rehearsal.loop import run_virtual
from bot.runtime.assemble import assemble
from bot.runtime.guard import Guard
from tests.sim.pool import Listing, Pool, stake

D = Decimal

ACCOUNT = "crisis"
POSITIONS = 20
ONE_WAY_MS = 125
"""250 ms there and back."""

UNANSWERED = 0.1
"""Of the requests as of the reads; of the requests half have had their effect."""

TIMEOUT_MS = 3_000
STARTS_MS = 1_700_000_000_000
BREACH_S, ENDS_S = 150, 480
ENTRY = D(50_000)
AFTER = D("0.955")
"""Of the entry price: 5 % above liquidation before the top-up, of 10 % at the start."""

STEP = 0.06

VERBS = {
    "stop": ("5.6%", "do: alert"),
    "close": ("1.5%", "do: close"),
    "partial_close": ("1.5%", "do: partial_close, with: { fraction: 50% }, cooldown: 60s"),
    "top_up": ("1.5%", "do: top_up, with: { to: 8% }, cooldown: 60s"),
}
"""The room of the standing stop, and what the one step of the policy does; `stop` leaves it all
to the stop, which the fall passes."""

POLICY = """\
schema: liqguard/v1
account: {{ name: crisis, venue: binanceusdm, margin_mode: isolated, position_mode: one_way }}
protect: {{ stop: {{ room: {room} }}, floor: 0.7%, floor_in_hold: close, unknown_after: 60s }}
guardrails:
  keep_free: 0 USDT
  top_up: {{ per_action: 900 USDT, per_1h: 20000 USDT, per_24h: 20000 USDT,
    per_episode: 900 USDT }}
  top_ups_per_episode: 3
  actions_per_1m: {actions}
  data_max_age: 5s
  loss_max: 9000 USDT
  slippage_max: 50 bps
rules:
  - rule: ladder
    match: {{ symbols: any, side: any, margin_mode: isolated }}
    watch: liquidation_distance
    hysteresis: 0.5%
    ladder:
      - {{ step: act, below: 6%, for: 0s, {verb} }}
"""


@dataclass(slots=True)
class Breach:
    """One position: the moments, in milliseconds of the simulation, 0 for what did not happen."""

    breached_ms: int = 0
    seen_ms: int = 0
    sent_ms: int = 0
    safer_ms: int = 0
    verified_ms: int = 0
    liquidated: bool = False


@dataclass
class Truth:
    """What the exchange knows of the twenty, written down while it happens."""

    machine: PaperMachine
    breaches: dict[str, Breach] = field(default_factory=dict)
    margins: dict[str, Decimal] = field(default_factory=dict)
    naked_ms: int = 0
    naked_at_first_ms: int = 0
    held_ms: int = 0
    _at_ms: int = 0
    _stopped: set[str] = field(default_factory=set)
    _realised: int = 0

    def moved(self, at_ms: int) -> None:
        """Prices moved, or the account changed."""
        books = self.machine._books
        if ACCOUNT not in books.accounts:
            return
        holdings = books.accounts[ACCOUNT].holdings
        passed_ms, self._at_ms = at_ms - (self._at_ms or at_ms), at_ms
        resting = {stop.symbol: stop for stop in self.machine.stops(ACCOUNT)}
        for symbol, held in holdings.items():
            self.held_ms += passed_ms
            stop = resting.get(symbol)
            if stop is not None and stop.quantity >= held.quantity:
                self._stopped.add(symbol)
            elif symbol in self._stopped:
                self.naked_ms += passed_ms
            else:
                self.naked_at_first_ms += passed_ms
            mark = books.quotes[symbol].mark
            listing = Listing(self.machine.instruments[symbol])
            one = stake(listing, held.side, held.quantity, held.entry_price, mark, D(1))
            breach = self.breaches[symbol]
            if not breach.breached_ms:
                if Pool(float(held.margin), {symbol: one}).distance() < STEP:
                    breach.breached_ms = at_ms
                    self.margins[symbol] = held.margin
            elif not breach.safer_ms and held.margin > self.margins[symbol]:
                breach.safer_ms = at_ms
        for fill in self.machine.realised(ACCOUNT)[self._realised :]:
            breach = self.breaches[fill.symbol]
            breach.liquidated |= fill.cause is Cause.LIQUIDATION
            if not breach.safer_ms and not breach.liquidated:
                breach.safer_ms = fill.at_ms
                # Its stop was met before a price below the step was published.
                breach.breached_ms = breach.breached_ms or fill.at_ms
        self._realised = len(self.machine.realised(ACCOUNT))

    def read(self, snapshot: AccountSnapshot, at_ms: int) -> None:
        """The guard was shown the account as it was at `snapshot.taken_at_ms`."""
        for breach in self.breaches.values():
            shows = breach.safer_ms and snapshot.taken_at_ms >= breach.safer_ms
            if shows and not breach.verified_ms:
                breach.verified_ms = at_ms


class _Machine(PaperMachine):
    truth: Truth

    def move(self, at_ms: int, prices: Mapping[str, Prices]) -> None:
        """Move, then look."""
        super().move(at_ms, prices)
        self.truth.moved(at_ms)

    def handle(
        self, account: str, action: Action, client_id: str, at_ms: int
    ) -> Accepted | Refused:
        """Handle a request, then look."""
        reply = super().handle(account, action, client_id, at_ms)
        self.truth.moved(at_ms)
        return reply


class _Account(PaperAccount):
    def __init__(self, venue: PaperVenue, truth: Truth) -> None:
        super().__init__(venue, ACCOUNT)
        self._truth = truth

    async def snapshot(self) -> AccountSnapshot:
        """Read, seen."""
        snapshot = await super().snapshot()
        self._truth.read(snapshot, self._venue.clock.now_ms())
        return snapshot

    async def send(self, action: Action, client_id: str) -> Reply:
        """Send, seen."""
        breach = self._truth.breaches[action.symbol]
        helps = isinstance(action, AddMargin | ClosePosition)
        if helps and breach.breached_ms and not breach.safer_ms:
            breach.sent_ms = breach.sent_ms or self._venue.clock.now_ms()
        return await super().send(action, client_id)


class _Market(PaperMarket):
    truth: Truth

    async def stream(self, publish: Callable[[Quoted], None]) -> None:
        """Publish, seen."""

        def pass_on(quoted: Quoted) -> None:
            if isinstance(quoted, MarkPrice):
                breach = self.truth.breaches[quoted.symbol]
                if breach.breached_ms and not breach.seen_ms:
                    breach.seen_ms = quoted.received_at_ms
            publish(quoted)

        await super().stream(pass_on)


def policy_of(verb: str, actions: int) -> Policy:
    """The policy whose one step does `verb`."""
    room, does = VERBS[verb]
    text = POLICY.format(room=room, verb=does, actions=actions)
    return parse_policy(text, f"policy of {verb}")


def listed() -> list[Instrument]:
    """Twenty contracts with the terms of one that is real."""
    real = instruments()["BTC/USDT:USDT"]
    return [replace(real, symbol=f"S{number}/USDT:USDT") for number in range(POSITIONS)]


def path(random: Random, symbols: list[str]) -> Iterator[PricePoint]:
    """A point of each symbol a second, as venues publish marks; all fall in the same one."""
    phase_ms = random.randrange(1_000)
    for second in range(1, ENDS_S):
        at_ms = STARTS_MS + 1000 * second + phase_ms
        level = ENTRY if second < BREACH_S else ENTRY * AFTER
        for symbol in symbols:
            price = Price(round(level * (1 + D(random.randint(-20, 20)) / 1_000_000), 1))
            yield PricePoint(at_ms, symbol, price, price)


def run(seed: int, verb: str, actions: int, faulty: bool) -> Truth:
    """One crisis, to its end."""
    return run_virtual(_live(Random(f"breaches {seed}"), verb, actions, faulty))


async def _live(random: Random, verb: str, actions: int, faulty: bool) -> Truth:
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    clock = Clock(STARTS_MS)
    contracts = listed()
    machine = _Machine(contracts, Ratio(D("0.0002")))
    truth = machine.truth = Truth(machine, {each.symbol: Breach() for each in contracts})
    _open(machine, contracts)
    unanswered = UNANSWERED if faulty else 0.0
    plan = FaultPlan(
        request_lost=unanswered / 2,
        reply_lost=unanswered / 2,
        read_lost=unanswered,
        timeout_ms=TIMEOUT_MS,
    )
    journal = SqliteJournal.open(None, ACCOUNT)
    venue = PaperVenue(
        machine,
        path(random, [each.symbol for each in contracts]),
        clock,
        latency_ms=ONE_WAY_MS,
        store=MemoryOnly(),
        faults=Faults(plan, Random(f"{random.random()}")),
    )
    async with venue, asyncio.TaskGroup() as tasks:
        market = _Market(venue)
        market.truth = truth
        guards: list[Guard] = []

        async def guard_it() -> None:
            account = _Account(venue, truth)
            while not guards:
                try:
                    policy = policy_of(verb, actions)
                    guards.append(await assemble(policy, market, account, clock, journal))
                except Unreachable:  # a supervisor starts it again
                    await clock.sleep_ms(1_000)
            await guards[0].run()

        tasks.create_task(guard_it())
        await venue.run()
        guards[0].stop()
    await journal.close()
    return truth


def _open(machine: PaperMachine, contracts: list[Instrument]) -> None:
    at = Price(ENTRY)
    machine.move(STARTS_MS, {each.symbol: Prices(at, at) for each in contracts})
    machine.deposit(ACCOUNT, Money(D(1_000) * POSITIONS))
    for each in contracts:
        machine.open_position(
            ACCOUNT,
            each.symbol,
            Side.LONG,
            quantity=Quantity(D("0.1")),
            leverage=D(10),
            at_ms=STARTS_MS,
            margin_mode=MarginMode.ISOLATED,
        )
