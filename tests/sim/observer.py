"""
The observer: watches the exchange, not the guard, and holds every request against the promises.

It shares no arithmetic with the guard: it counts requests, money and stops as the exchange saw
them. What a request must keep is in `judge`, what must hold while time passes in `watch`.

A promise is called by its number, 0 for a liquidation that was no fate and for a crash. The others
are words: "wrongful close" and "bill" for what the policy does not ask for, or asks in vain,
"bound" for the price of a close, "refund" for margin that a trim owes, "rate" for actions too soon
after one another, "ban" for what is asked in a ban, "two guards" for what a second one of the
account does, "mode" for what an account gets that is not as the policy says, "loosened" for a stop
that moves away from the mark after a loss, "assertion" for what the guard itself found wrong with
its own decision.
"""

from collections import Counter
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from math import ceil
from operator import is_not
from typing import assert_never

from bot.clock import Clock
from bot.core.actions import Action, AddMargin, CancelStop, ClosePosition, PlaceStop
from bot.core.events import AccountMode
from bot.core.model import AccountSnapshot, StopOrder
from bot.core.units import Money, Price
from bot.exchange.paper.books import Cause, FundingPaid, Realised
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.ports import Barred, Refused, Reply
from bot.runtime.guard import Guard
from tests.sim.case import ACCOUNT, Case
from tests.sim.judge import Judge
from tests.sim.losses import Losses
from tests.sim.requests import NEVER_MS, Request
from tests.sim.rules import Rules
from tests.sim.truth import Eyes, Past, Scene, Truth
from tests.sim.watch import Watch

MINUTE_MS = 60_000
FORGOTTEN_MS = 10 * MINUTE_MS
"""A position that was flat for so long is another one."""

ON_HOLD = '"mode":"hold"'
STORE_FAILED = "promise 5"
"""What the guard says when the store fails is no defect of it."""

USER_STOP_MS = 65_000
STRETCH_MS = 10_000
LOUD_MS = 10_000
HISTORY = 40
GONE_MS = 2_000
"""A position is gone that two reads this far apart lack: decision 38."""

READS = 64
"""More than come while a close clears its way: each intent that is open asks for some."""


@dataclass
class Observer:
    """What is known of one seed's run, and the promises that broke."""

    case: Case
    clock: Clock
    machine: PaperMachine
    tell: Callable[[str], None]
    stops_are_refused: Callable[[int], bool] = lambda at_ms: False
    """Whether the venue's stop endpoint refuses at that moment."""
    faults: Counter[str] = field(default_factory=Counter)
    deeds: Counter[str] = field(default_factory=Counter)
    rules_acted: Counter[str] = field(default_factory=Counter)
    """How often each step of the policy had a request accepted."""
    history: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    requests: dict[str, Request] = field(default_factory=dict)
    guard: Guard = field(init=False)
    """The newest life of it."""
    clearing: dict[str, str] = field(default_factory=dict)
    """The close that a cancel says it is a part of, and clears the way of."""
    strangers: set[str] = field(default_factory=set)
    """The orders of another guard of the account."""
    born_ms: int = NEVER_MS
    """When the journal of the guard that is judged began."""
    durable: set[str] = field(default_factory=set)
    spooled: dict[str, int] = field(default_factory=dict)
    offset_ms: int = 0
    """By how much the wall clock of the running process is ahead."""
    life: int = 0
    """The number of the process that is running, 0 while none is."""
    lives: int = 0
    killed: set[int] = field(default_factory=set)
    up_since_ms: int = NEVER_MS
    up_ms: int = 0
    last_began_ms: int = NEVER_MS
    disturbed_at_ms: int = NEVER_MS
    hampered_at_ms: int = NEVER_MS
    """The last disturbance that is no refusal of stops: those the guard can stand in for."""
    user_spent_at_ms: int = NEVER_MS
    latched_life: int = 0
    """The life that has said that it spends no more, and"""
    held: tuple[int, int] = (0, NEVER_MS)
    """the one that a human has put on hold, with the moment; 0 for none."""
    hold_on_record: bool = False
    """Whether the newest decision on disk was made on hold."""
    banned_until_ms: int = NEVER_MS
    """What this life of the guard was told of a ban."""
    marks: dict[str, Price] = field(default_factory=dict)
    """The prices that this life of the guard was given last,"""
    marks_at_ms: dict[str, int] = field(default_factory=dict)
    """when that was,"""
    marks_since_ms: dict[str, int] = field(default_factory=dict)
    """and since when none has been withheld."""
    flat_since_ms: dict[str, int] = field(default_factory=dict)
    reads: list[tuple[AccountSnapshot, int]] = field(default_factory=list)
    """The newest snapshots that this life was given, and when, the newest last."""
    last_ms: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.rules = Rules(self.case)
        self.eyes = Eyes(self.case, self.machine)
        self.past = Past()
        self.watch = Watch(self)
        self.judge = Judge(self)
        self.losses = Losses(self)
        self.failing_since_ms, self.loud_at_ms = NEVER_MS, NEVER_MS
        self.strange_since_ms, self.cried_at_ms = NEVER_MS, NEVER_MS
        self._happened = 0
        self.offsets_ms: dict[int, int] = {}
        """By how much the clock was ahead that a row of the journal names the time by."""
        self.margins: dict[str, list[tuple[int, Money]]] = {}
        """The margins of isolated positions, and since when."""
        self._user_stops: dict[tuple[str, float], int] = {}
        self._stops: tuple[tuple[StopOrder, ...], tuple[StopOrder, ...]] = (), ()
        self._seen_in: tuple[object, ...] = ()
        """The orders and positions that the stops were seen in, which are never changed, and"""
        self._is_seen = False
        """whether nothing can have happened to these since."""

    # -- what is told ------------------------------------------------------------------------

    def note(self, text: str) -> None:
        """Remember an event; a failure prints the last of them."""
        at_s = (self.clock.now_ms() - self.case.starts_at_ms) / 1000
        line = f"{at_s:>9.3f} s  {text}"
        self.history = [*self.history[-HISTORY:], line]
        self.tell(line)

    def broke(self, promise: str, text: str) -> None:
        """A promise did not hold."""
        self.note(f"PROMISE {promise} BROKEN: {text}")
        at_s = (self.clock.now_ms() - self.case.starts_at_ms) / 1000
        self.violations.append(f"promise {promise} at {at_s:.3f} s: {text}")

    def disturbed(self, kind: str) -> None:
        """A fault really occurred. Of one stretch of the same kind the first is counted."""
        now_ms = self.occurred(kind)
        if kind != "journal_down":
            self.disturbed_at_ms = now_ms
        if kind.startswith("user_") or kind in _NOT_THE_GUARDS:
            self.losses.user_acted()
        if kind not in ("journal_down", "stops_refused"):
            self.hampered_at_ms = now_ms

    def occurred(self, kind: str) -> int:
        """As `disturbed`, of what excuses nothing; when that is."""
        now_ms = self.clock.now_ms()
        if now_ms - self.last_ms[kind] > STRETCH_MS or kind not in _STRETCHES:
            self.faults[kind] += 1
            self.note(f"fault: {kind}")
        self.last_ms[kind] = now_ms
        return now_ms

    def logged(self, method: str, event: dict[str, object]) -> None:
        """The guard logged something."""
        facts = " ".join(f"{key}={event[key]}" for key in sorted(event) if key != "event")
        self.note(f"guard: {event['event']} {facts}")
        if event["event"] == "way.clearing":
            self.clearing[str(event["part"])] = str(event["intent"])
        if method == "critical":
            self.cried_at_ms = self.clock.now_ms()
        if method == "critical" and event.get("kind") in ("promise", "spooled"):
            self.loud_at_ms, self.latched_life = self.clock.now_ms(), self.life
            if event["kind"] == "promise" and not str(event["text"]).startswith(STORE_FAILED):
                self.broke("assertion", f"the guard found itself about to break {event['text']}")

    def began(self, guard: Guard) -> None:
        """A life of the guard has recovered and runs."""
        self.guard, mode = guard, guard.state.mode
        self.lives += 1
        self.life, self.up_since_ms = self.lives, self.clock.now_ms()
        self.last_began_ms = self.up_since_ms
        self.note(f"life {self.life} begins")
        self.deeds["recovery" if self.lives > 1 else "start"] += 1
        if self.hold_on_record and mode is not AccountMode.HOLD:
            self.broke("7", f"the hold on record is forgotten: it begins {mode}")
        self.held = (self.life if mode is AccountMode.HOLD else 0, self.up_since_ms)

    def ended(self, was_killed: bool) -> None:
        """That life is over."""
        if self.life:
            self.note(f"life {self.life} ends{', killed' if was_killed else ''}")
            self.up_ms += self.clock.now_ms() - self.up_since_ms
        if was_killed:
            self.killed.add(self.life)
        self.life, self.up_since_ms = 0, NEVER_MS
        self.banned_until_ms = NEVER_MS
        for facts in (self.marks, self.marks_at_ms, self.marks_since_ms):
            facts.clear()
        self.reads.clear()

    def hold(self, holds: bool) -> None:
        """A human has told the running life to hold, or to go on."""
        self.held = (self.life if holds else 0, self.clock.now_ms())
        if not holds:
            self.latched_life = 0
        self.disturbed("user_holds" if holds else "user_releases")

    def told_of_ban(self, until_ms: int) -> None:
        """The guard was told that nothing is taken from its address before then."""
        self.banned_until_ms = until_ms

    def asks(self) -> None:
        """The guard asks for something, or sends it."""
        if self.clock.now_ms() < self.banned_until_ms:
            self.broke("ban", "it goes on asking in a ban, which makes that longer")

    @property
    def free_since_ms(self) -> int:
        """Since when the running life may send what it wants."""
        return max(self.up_since_ms, self.banned_until_ms)

    def margin_moved(self, symbol: str, from_ms: int, to_ms: int) -> bool:
        """Whether anything has moved the margin of the position between two moments."""
        return any(from_ms <= at_ms <= to_ms for at_ms, _ in self.margins.get(symbol, ()))

    def became_durable(self, intent_id: str) -> None:
        """A PREPARED row is on disk."""
        self.durable.add(intent_id)

    def journal_works(self) -> None:
        """The store took rows."""
        self.failing_since_ms = NEVER_MS

    def decided_durably(self, row: str) -> None:
        """A decision row is on disk."""
        self.hold_on_record = ON_HOLD in row

    def journal_failed(self) -> None:
        """The store refused."""
        if self.failing_since_ms == NEVER_MS:
            self.failing_since_ms = self.clock.now_ms()
        self.disturbed("journal_down")

    def mark_delivered(self, symbol: str, price: Price) -> None:
        """A price reached the guard."""
        now_ms = self.clock.now_ms()
        self.marks_since_ms.setdefault(symbol, now_ms)
        self.marks_at_ms[symbol], self.marks[symbol] = now_ms, price

    def mark_withheld(self, symbol: str) -> None:
        """A price did not reach the guard, or not in time."""
        self.marks_since_ms.pop(symbol, None)

    def read_delivered(self, snapshot: AccountSnapshot) -> None:
        """A snapshot reached the guard."""
        if not self.reads or self.reads[-1][0].taken_at_ms <= snapshot.taken_at_ms:
            before = self.reads[-1][0] if self.reads else snapshot
            believed = as_believed(snapshot, before)
            self.reads[:] = [*self.reads, (believed, self.clock.now_ms())][-READS:]
        self.watch.read_delivered(snapshot)
        if not snapshot.garbled:
            self.losses.read_delivered(snapshot)

    def replied(self, client_id: str, reply: Reply) -> None:
        """The guard got the answer to a request."""
        self.note(f"reply to {client_id[16:24]}: {reply}")
        if isinstance(reply, Refused | Barred):
            request = self.requests[client_id]
            request.told_refused = True
            if isinstance(request.action, PlaceStop):
                self.watch.refused(request.action.symbol)

    def sends(self, action: Action, client_id: str) -> None:
        """The guard hands a request to the network."""
        self.note(f"sends {client_id[16:24]} {short(action)}")
        self.asks()
        if client_id in self.requests:
            self.broke("4", f"{client_id} is sent again")
        intents = self.guard.state.intents
        request = Request(
            client_id,
            action,
            self.clock.now_ms(),
            self.life,
            self.offset_ms,
            intents[client_id].reason if client_id in intents else "of an earlier life",
            part_of=self.clearing.get(client_id, ""),
        )
        clears = (each for each in self.requests.values() if each.part_of == client_id)
        request.begun_at_ms = next(clears, request).sent_at_ms
        self.judge.sent(request)
        if isinstance(action, PlaceStop | ClosePosition):
            self.watch.tried(action)
        self.requests[client_id] = request

    def handled(
        self, client_id: str, before: Mapping[str, Truth], wallet: Money, reply: Reply
    ) -> None:
        """The exchange has dealt with a request of the guard; `before` and `wallet` were then."""
        request = self.requests[client_id]
        self.note(f"exchange: {client_id[16:24]} {short(request.action)}: {reply}")
        self.judge.arrived(request, before, wallet, reply)

    # -- the exchange as it is ---------------------------------------------------------------

    def recent_reads(self, decided_at_ms: int) -> list[AccountSnapshot]:
        """
        What the guard may have decided on: reads of that moment, and what counted before them.

        One read without a position does not prove that it is gone, two that far apart do.
        """
        fresh = [read for read, at_ms in self.reads if at_ms >= decided_at_ms]
        before = [(read, at_ms) for read, at_ms in self.reads if at_ms < decided_at_ms]
        young = sum(before[-1][1] - at_ms < GONE_MS for _, at_ms in before)
        return [read for read, _ in before[-young - 1 :]] + fresh

    @property
    def wallet(self) -> Money:
        """The money that is bound to no isolated position."""
        return self.machine._books.accounts[ACCOUNT].wallet

    def scene(self) -> Scene:
        """Everything as it is at this moment, and as the guard may see it."""
        return self.eyes.scene([read for read, _ in self.reads[-1:]])

    def stops(self) -> tuple[tuple[StopOrder, ...], tuple[StopOrder, ...]]:
        """The stops that rest: the guard's and the user's."""
        if self._is_seen:
            return self._stops
        self._is_seen = True
        book = self.machine._books.accounts[ACCOUNT]
        seen_in = (*book.open_orders.values(), *book.holdings.values())
        if len(seen_in) != len(self._seen_in) or any(map(is_not, seen_in, self._seen_in)):
            self._seen_in = seen_in
            resting = self.machine.stops(ACCOUNT)
            ours = tuple(stop for stop in resting if stop.client_id in self.requests)
            known = self.requests.keys() | self.strangers
            theirs = tuple(stop for stop in resting if stop.client_id not in known)
            self._stops = ours, theirs
        return self._stops

    def changed(self) -> None:
        """Something happens on the exchange: what was seen of its orders may be wrong now."""
        self._is_seen = False

    def proper_stops(self, truth: Truth, level: float) -> tuple[StopOrder, ...]:
        """The guard's stops that close the whole position before it is liquidated at `level`."""
        ours, _ = self.stops()
        return self.whole(tuple(stop for stop in ours if _is_safe(stop, truth, level)), truth)

    def whole(self, stops: tuple[StopOrder, ...], truth: Truth) -> tuple[StopOrder, ...]:
        """
        Those of `stops` that are for the whole of a position.

        Of one too large for an order these are several: all, if the fewest that could be for it
        are, the largest of them.
        """
        fewest = self.orders_for(truth)
        if fewest == 1:
            return tuple(stop for stop in stops if stop.quantity >= truth.quantity)
        largest = sorted([stop.quantity for stop in stops], reverse=True)[:fewest]
        return stops if sum(largest) >= truth.quantity else ()

    def orders_for(self, truth: Truth) -> int:
        """How many orders at market it takes to close a position."""
        most = self.case.listed[truth.symbol].quantity_max
        return max(ceil(truth.quantity / most), 1) if most.is_finite() else 1

    def proper_of(
        self, client_ids: Container[str], truth: Truth, level: float
    ) -> tuple[StopOrder, ...]:
        """The like among the stops of those ids."""
        theirs = (stop for stop in self.machine.stops(ACCOUNT) if stop.client_id in client_ids)
        return self.whole(tuple(stop for stop in theirs if _is_safe(stop, truth, level)), truth)

    def user_stops(self, symbol: str) -> tuple[float, ...]:
        """Triggers of the user's own stops, those of the last minute too."""
        return tuple(trigger for each, trigger in self._user_stops if each == symbol)

    def user_stops_now(self, truth: Truth, level: float) -> tuple[float, ...]:
        """Where the user's own proper stops close the whole position."""
        _, theirs = self.stops()
        safe = [stop for stop in theirs if _is_safe(stop, truth, level)]
        if self.orders_for(truth) == 1:
            return tuple(float(stop.trigger_price) for stop in self.whole(tuple(safe), truth))
        # Several stops close the whole where the last of them does.
        safe.sort(key=lambda stop: truth.side.sign * stop.trigger_price, reverse=True)
        for count in range(1, len(safe) + 1):
            if self.whole(tuple(safe[:count]), truth):
                return (float(safe[count - 1].trigger_price),)
        return ()

    def look(self) -> None:
        """Prices moved, or an account changed."""
        self.changed()
        if ACCOUNT not in self.machine._books.accounts:
            return
        now_ms = self.machine.at_ms
        self._take_happened()
        scene = self.scene()
        self._take_flat(scene, now_ms)
        for opening in self.case.openings:
            here = scene.truths.get(opening.symbol)
            margin = Money(Decimal(0)) if here is None else here.margin
            known = self.margins.setdefault(opening.symbol, [])
            if not known or known[-1][1] != margin:
                known.append((now_ms, margin))
        for symbol, truth in scene.truths.items():
            self._note_user_stops(truth, scene.real[truth.group].levels[symbol], now_ms)
        self.past.add(scene)
        if self.stops_are_refused(now_ms) and scene.truths:
            self.disturbed_at_ms = now_ms
        outages = self.case.swarm.outages
        if any(outages[kind].cover(now_ms) for kind in ("banned", "maintenance")):
            self.disturbed_at_ms = self.hampered_at_ms = now_ms
        if outages["throttled"].cover(now_ms):
            self.disturbed_at_ms = now_ms
        self.losses.look(scene)
        if self._is_as_expected:
            self.strange_since_ms = NEVER_MS
            self.watch.look(scene)
        else:
            self.disturbed_at_ms = self.hampered_at_ms = now_ms
            self._check_strange(scene, now_ms)

    @property
    def _is_as_expected(self) -> bool:
        """Whether the account keeps positions as the policy says."""
        mode = self.machine._books.accounts[ACCOUNT].mode
        return mode is self.case.policy.position_mode

    def _check_strange(self, scene: Scene, now_ms: int) -> None:
        """An account that is not as the policy says is said to be so, loudly."""
        expected = self.case.policy.position_mode
        shown = self.reads and self.reads[-1][0].position_mode is not expected
        if not (shown and scene.truths):
            self.strange_since_ms = NEVER_MS
            return
        if self.strange_since_ms == NEVER_MS:
            self.strange_since_ms = now_ms
        allowed_ms = self.case.policy.protect.unknown_after_ms + LOUD_MS
        if now_ms - self.strange_since_ms > allowed_ms and self.cried_at_ms < self.up_since_ms:
            self.broke("mode", "the account is in another mode, and nobody is told")
            self.strange_since_ms = now_ms

    def _take_flat(self, scene: Scene, now_ms: int) -> None:
        for opening in self.case.openings:
            symbol = opening.symbol
            if symbol in scene.truths:
                since_ms = self.flat_since_ms.pop(symbol, now_ms)
                if now_ms - since_ms >= FORGOTTEN_MS:
                    self.past.least.pop(scene.truths[symbol].group, None)
            elif symbol not in self.flat_since_ms:
                self.note(f"the position in {symbol} is gone")
                self.flat_since_ms[symbol] = now_ms
                self.watch.flat(symbol)
                self.losses.flat(symbol)

    def _take_happened(self) -> None:
        happened = self.machine.history(ACCOUNT, self._happened)
        self._happened += len(happened)
        for each in happened:
            if isinstance(each, FundingPaid):
                self.note(f"exchange: {each.symbol} pays {each.amount} at {each.rate}")
                self.deeds["bills" if each.amount > 0 else "bills in favour"] += 1
                self.watch.billed(each)
                self.eyes.settled(each.symbol, each.at_ms)
        for fill in happened:
            if not isinstance(fill, Realised):
                continue
            self.note(f"exchange: {fill.cause} of {fill.quantity} {fill.symbol} at {fill.price}")
            self.deeds[f"{fill.cause} fills"] += 1
            self.losses.filled(fill)
            if fill.cause is not Cause.LIQUIDATION:
                self.watch.filled(fill)
            elif self._is_as_expected:
                self.watch.liquidated(fill.symbol)

    def _note_user_stops(self, truth: Truth, level: float, now_ms: int) -> None:
        for trigger in self.user_stops_now(truth, level):
            self._user_stops[truth.symbol, trigger] = now_ms
        for key, at_ms in list(self._user_stops.items()):
            if now_ms - at_ms > USER_STOP_MS:
                del self._user_stops[key]


def as_believed(read: AccountSnapshot, before: AccountSnapshot) -> AccountSnapshot:
    """A read with what it does not tell of as it was before: there is no newer word on that."""
    there = {each.symbol for each in read.positions}
    kept = [
        each
        for each in before.positions
        if each.symbol not in there and not read.tells_of(each.symbol)
    ]
    if not read.garbled:
        return read
    return replace(
        read,
        positions=(*read.positions, *kept),
        wallet_balance=min(read.wallet_balance, before.wallet_balance),
    )


def short(action: Action) -> str:
    """An action in few words."""
    match action:
        case AddMargin(symbol=symbol, amount=amount):
            return f"add margin {amount} to {symbol}"
        case PlaceStop(symbol=symbol, side=side, quantity=quantity, trigger_price=trigger):
            return f"stop {side} {quantity} {symbol} at {trigger}"
        case CancelStop(target_client_id=target):
            return f"cancel {target[16:24]}"
        case ClosePosition(symbol=symbol, side=side, quantity=quantity, bound=bound):
            return f"close {side} {quantity} {symbol} {bound}"
    assert_never(action)


def _is_safe(stop: StopOrder, truth: Truth, level: float) -> bool:
    return (
        stop.symbol == truth.symbol
        and stop.side is truth.side
        and truth.side.sign * (float(stop.trigger_price) - level) > 0
    )


_NOT_THE_GUARDS = frozenset(
    {
        "bot_reenters",
        "deleveraged",
        "delisted",
        "margin_mode",
        "position_mode",
        "rival_acts",
    }
)
"""What is lost by these, or opened, is as if a user had done it."""

_STRETCHES = frozenset(
    {
        "throttled",
        "blackout",
        "banned",
        "maintenance",
        "no_margin_history",
        "prices_late",
        "market_stalled",
        "symbol_stalled",
        "journal_down",
        "read_late",
    }
)
