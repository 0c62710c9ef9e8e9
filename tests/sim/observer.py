"""
The observer: watches the exchange, not the guard, and holds every request against the promises.

It shares no arithmetic with the guard: it counts requests, money and stops as the exchange saw
them. What must hold while time passes is in `watch`.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import assert_never

from bot.clock import Clock
from bot.core.actions import Action, AddMargin, CancelStop, ClosePosition, PlaceStop
from bot.core.model import AccountSnapshot, Position, StopOrder
from bot.exchange.paper.books import Cause
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.ports import Accepted, Refused, Reply
from tests.sim.case import ACCOUNT, Case
from tests.sim.truth import Past, Rules, Truth, truth_of
from tests.sim.watch import Watch

MINUTE_MS, HOUR_MS = 60_000, 3_600_000
NEVER_MS = -(10**15)
EPISODE_MS = 10 * MINUTE_MS
"""Two top-ups less than this apart can only be of one episode."""

SPEND_FENCE_MS = 30_000
"""A top-up that nobody can prove absent keeps the next one waiting for so long."""

READ_AGE_MAX_MS = 60_000
USER_SPENT_MS = 25_000
"""What the user spends in between, the guard cannot keep free."""

STRETCH_MS = 10_000
HISTORY = 40


@dataclass(slots=True)
class Request:
    """A request of the guard, and what became of it as the exchange knows."""

    client_id: str
    action: Action
    sent_at_ms: int
    life: int
    arrived_at_ms: int = NEVER_MS
    accepted: bool = False
    told_refused: bool = False

    @property
    def was_an_order(self) -> bool:
        """Not a cancel, whose effect may come about without it."""
        return not isinstance(self.action, CancelStop)


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
    history: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    requests: dict[str, Request] = field(default_factory=dict)
    durable: set[str] = field(default_factory=set)
    spooled: dict[str, int] = field(default_factory=dict)
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
    marks_at_ms: int = NEVER_MS
    flat_since_ms: int = NEVER_MS
    read: list[tuple[AccountSnapshot, int]] = field(default_factory=list)
    """The newest snapshot that this life was given, and when; none before the first."""

    def __post_init__(self) -> None:
        self.rules = Rules(self.case.policy, self.case.instrument)
        self.past = Past()
        self.watch = Watch(self)
        self._last_ms: Counter[str] = Counter()
        self._realised = 0
        self._failing_since_ms, self._loud_at_ms = NEVER_MS, NEVER_MS
        self._user_stops: dict[Decimal, int] = {}

    # -- what is told ------------------------------------------------------------------------

    def note(self, text: str) -> None:
        """Remember an event; a failure prints the last of them."""
        at_s = (self.clock.now_ms() - self.case.start.at_ms) / 1000
        line = f"{at_s:>9.3f} s  {text}"
        self.history = [*self.history[-HISTORY:], line]
        self.tell(line)

    def broke(self, promise: str, text: str) -> None:
        """A promise did not hold."""
        self.note(f"PROMISE {promise} BROKEN: {text}")
        at_s = (self.clock.now_ms() - self.case.start.at_ms) / 1000
        self.violations.append(f"promise {promise} at {at_s:.3f} s: {text}")

    def disturbed(self, kind: str) -> None:
        """A fault really occurred. Of one stretch of the same kind the first is counted."""
        now_ms = self.clock.now_ms()
        if now_ms - self._last_ms[kind] > STRETCH_MS or kind not in _STRETCHES:
            self.faults[kind] += 1
            self.note(f"fault: {kind}")
        self._last_ms[kind] = now_ms
        if kind != "journal_down":
            self.disturbed_at_ms = now_ms
        if kind not in ("journal_down", "stops_refused"):
            self.hampered_at_ms = now_ms

    def logged(self, method: str, event: dict[str, object]) -> None:
        """The guard logged something."""
        facts = " ".join(f"{key}={event[key]}" for key in sorted(event) if key != "event")
        self.note(f"guard: {event['event']} {facts}")
        if method == "critical" and event.get("kind") in ("promise", "spooled"):
            self._loud_at_ms = self.clock.now_ms()

    def began(self) -> None:
        """A life of the guard has recovered and runs."""
        self.lives += 1
        self.life, self.up_since_ms = self.lives, self.clock.now_ms()
        self.last_began_ms = self.up_since_ms
        self.note(f"life {self.life} begins")

    def ended(self, was_killed: bool) -> None:
        """That life is over."""
        if self.life:
            self.note(f"life {self.life} ends{', killed' if was_killed else ''}")
            self.up_ms += self.clock.now_ms() - self.up_since_ms
        if was_killed:
            self.killed.add(self.life)
        self.life, self.up_since_ms = 0, NEVER_MS
        self.marks_at_ms = NEVER_MS
        self.read.clear()

    def became_durable(self, intent_id: str) -> None:
        """A PREPARED row is on disk."""
        self.durable.add(intent_id)

    def journal_works(self) -> None:
        """The store took rows."""
        self._failing_since_ms = NEVER_MS

    def journal_failed(self) -> None:
        """The store refused."""
        if self._failing_since_ms == NEVER_MS:
            self._failing_since_ms = self.clock.now_ms()
        self.disturbed("journal_down")

    def marks_delivered(self) -> None:
        """A price reached the guard."""
        now_ms = self.clock.now_ms()
        if now_ms - self.marks_at_ms > self.watch.MARKS_PAUSE_MS:
            self.watch.marks_since_ms = now_ms
        self.marks_at_ms = now_ms

    def read_delivered(self, snapshot: AccountSnapshot) -> None:
        """A snapshot reached the guard."""
        if not self.read or self.read[0][0].taken_at_ms <= snapshot.taken_at_ms:
            self.read[:] = [(snapshot, self.clock.now_ms())]
        self.watch.read_delivered(snapshot)

    def replied(self, client_id: str, reply: Reply) -> None:
        """The guard got the answer to a request."""
        self.note(f"reply to {client_id[6:14]}: {reply}")
        if isinstance(reply, Refused):
            self.requests[client_id].told_refused = True
            if isinstance(self.requests[client_id].action, PlaceStop):
                self.watch.refused_at_ms = self.clock.now_ms()

    # -- a request leaves the guard ----------------------------------------------------------

    def sends(self, action: Action, client_id: str) -> None:
        """The guard hands a request to the network."""
        now_ms = self.clock.now_ms()
        self.note(f"sends {client_id[6:14]} {_short(action)}")
        if client_id in self.requests:
            self.broke("4", f"{client_id} is sent again")
        request = Request(client_id, action, now_ms, self.life)
        self._check_durable(request)
        self._check_age(action, now_ms)
        match action:
            case AddMargin():
                self._check_alone(request)
            case PlaceStop(quantity=quantity) | ClosePosition(quantity=quantity):
                self._check_size(action, quantity)
                self.watch.tried(action)
            case CancelStop(target_client_id=target):
                if target not in self.requests:
                    self.broke("8", f"cancels a foreign order: {action}")
            case _:
                assert_never(action)
        if isinstance(action, ClosePosition):
            self._check_wanted(now_ms)
        self.requests[client_id] = request

    def _check_durable(self, request: Request) -> None:
        if request.client_id in self.durable:
            return
        if isinstance(request.action, AddMargin) or self._failing_since_ms == NEVER_MS:
            self.broke("5", f"{request.client_id} was sent before its row was durable")
        elif self._loud_at_ms < self._failing_since_ms:
            self.broke("5", f"{request.client_id} was sent from the spool, and nobody was told")
        self.spooled[request.client_id] = request.life

    def _check_age(self, action: Action, now_ms: int) -> None:
        read_at_ms = self.read[0][1] if self.read else NEVER_MS
        spend_age_max_ms = self.case.policy.guardrails.data_age_max_ms
        spends = isinstance(action, AddMargin)
        if now_ms - read_at_ms > (spend_age_max_ms if spends else READ_AGE_MAX_MS):
            self.broke("2", f"acts on a read from {now_ms - read_at_ms} ms ago: {action}")
        # A stop may rest on no mark at all: the venue itself says if it would trigger.
        needs_mark = isinstance(action, AddMargin | ClosePosition)
        if needs_mark and now_ms - self.marks_at_ms > spend_age_max_ms:
            self.broke("2", f"acts on a mark from {now_ms - self.marks_at_ms} ms ago: {action}")

    def _check_size(self, action: PlaceStop | ClosePosition, quantity: Decimal) -> None:
        known = self._known_position()
        if not any(each.side is action.side and quantity <= each.quantity for each in known):
            self.broke("1", f"wrong side, or more than there is: {action}, known {known}")

    def _check_alone(self, request: Request) -> None:
        for earlier in self._spends():
            if earlier.told_refused:
                continue
            if earlier.accepted:
                taken_at_ms = self.read[0][0].taken_at_ms if self.read else NEVER_MS
                alone = taken_at_ms >= earlier.arrived_at_ms
            else:
                alone = request.sent_at_ms - earlier.sent_at_ms >= SPEND_FENCE_MS
            if not alone:
                self.broke("4", f"a top-up while {earlier.client_id} is under way")

    def _check_wanted(self, now_ms: int) -> None:
        if self.flat_since_ms != NEVER_MS:
            return  # too late, and harmless
        window_ms = max(10_000, self.case.policy.guardrails.data_age_max_ms) + 2_000
        if not self.rules.excuses_close(self.past, now_ms - window_ms, tuple(self._user_stops)):
            distance, _ = self.past.worst(now_ms - window_ms)
            self.broke("wrongful close", f"closes at a distance of {distance:.3%}")

    # -- a request reaches the exchange --------------------------------------------------------

    def handled(self, client_id: str, before: tuple[Truth, ...], reply: Reply) -> None:
        """The exchange has dealt with a request of the guard."""
        request = self.requests[client_id]
        now_ms = self.clock.now_ms()
        self.note(f"exchange: {client_id[6:14]} {_short(request.action)}: {reply}")
        if request.arrived_at_ms != NEVER_MS:
            self.broke("4", f"{client_id} reached the exchange twice")
        request.arrived_at_ms, request.accepted = now_ms, isinstance(reply, Accepted)
        if not request.accepted:
            return
        self.deeds[type(request.action).__name__] += 1
        self._check_reduces(before)
        match request.action:
            case AddMargin():
                self._check_spent(request, now_ms)
            case PlaceStop():
                self._check_placed(request.action)
            case CancelStop():
                self._check_still_protected(before)
            case ClosePosition():
                pass
            case _:
                assert_never(request.action)

    def _check_reduces(self, before: tuple[Truth, ...]) -> None:
        for now in self.truth():
            grown = not any(
                was.side is now.side and now.quantity <= was.quantity for was in before
            )
            if grown:
                self.broke("1", f"the position grew from {before} to {now}")

    def _check_spent(self, request: Request, now_ms: int) -> None:
        rails = self.case.policy.guardrails
        spends = sorted(
            (each for each in self._spends() if each.accepted), key=lambda each: each.sent_at_ms
        )
        amounts = [(each.sent_at_ms, _amount(each)) for each in spends]
        last_ms = amounts[-1][0]
        hour = sum((amount for at_ms, amount in amounts if at_ms > last_ms - HOUR_MS), Decimal(0))
        everything = sum((amount for _, amount in amounts), Decimal(0))
        episode = self._episode(
            [each for each in spends if each.action.side is request.action.side]
        )
        free = self.machine.snapshot(ACCOUNT, now_ms).free
        user_spent = now_ms - self.user_spent_at_ms < USER_SPENT_MS
        claims = (
            ("per_action", _amount(request) <= rails.top_up_per_action_max),
            ("per_1h", hour <= rails.top_up_1h_max),
            ("per_24h", everything <= rails.top_up_24h_max),
            ("per_episode", sum(map(_amount, episode)) <= rails.top_up_per_episode_max),
            ("top_ups_per_episode", len(episode) <= rails.top_ups_per_episode_max),
            ("keep_free", free >= rails.keep_free or user_spent),
        )
        for limit, holds in claims:
            if not holds:
                self.broke("3", f"{limit} is exceeded: {amounts}, {free} left free")
        for later in self._spends():
            if later.sent_at_ms > request.sent_at_ms:
                self.broke("4", f"{request.client_id} applied after {later.client_id} was sent")

    def _episode(self, spends: list[Request]) -> list[Request]:
        """The newest ones that can only be of one episode."""
        newest = spends[-1:]
        for earlier in reversed(spends[:-1]):
            if newest[0].sent_at_ms - earlier.sent_at_ms >= EPISODE_MS:
                break
            newest.insert(0, earlier)
        return newest

    def _check_placed(self, stop: PlaceStop) -> None:
        for truth in self.truth():
            sign, at = truth.side.sign, stop.trigger_price
            if sign * (at - truth.level) <= 0 or sign * (truth.mark - at) <= 0:
                self.broke("6", f"the stop at {at} is not between {truth.mark}, {truth.level}")
            if self.rules.breaks_loss_cap(truth.entry, truth.side, stop.quantity, at):
                self.broke("6", f"the stop at {at} is looser than loss_max allows")
            wanted = [
                price
                for level in {truth.level, *self.past.levels()}
                for price in self.rules.stops_wanted(
                    truth, level, stop.quantity, tuple(self._user_stops)
                )
            ]
            tightest = max(wanted, key=lambda price: sign * price)
            if sign * (at - tightest) > 2 * self.case.instrument.tick_size:
                self.broke("wrongful close", f"the stop at {at} is tighter than {tightest}")

    def _check_still_protected(self, before: tuple[Truth, ...]) -> None:
        user_was_here = self.clock.now_ms() - self._last_ms["user_cancels"] < SPEND_FENCE_MS
        for truth in self.truth():
            if not self.proper_stops(truth) and not user_was_here and before:
                self.broke("6", "the guard cancelled the last proper stop")

    # -- the exchange as it is -------------------------------------------------------------------

    def truth(self) -> tuple[Truth, ...]:
        """The position as it is, nothing while flat."""
        symbol = self.case.instrument.symbol
        held = self.machine._books.accounts[ACCOUNT].holdings.get(symbol)
        if held is None:
            return ()
        mark = self.machine._books.quotes[symbol].mark
        return (truth_of(self.case.instrument, mark, held, self.machine.at_ms),)

    def stops(self) -> tuple[tuple[StopOrder, ...], tuple[StopOrder, ...]]:
        """The stops that rest: the guard's and the user's."""
        resting = self.machine._books.accounts[ACCOUNT].stops.values()
        ours = tuple(stop for stop in resting if stop.client_id in self.requests)
        return ours, tuple(stop for stop in resting if stop.client_id not in self.requests)

    def proper_stops(self, truth: Truth) -> tuple[StopOrder, ...]:
        """The guard's stops that close the whole position before it is liquidated."""
        ours, _ = self.stops()
        return tuple(
            stop
            for stop in ours
            if stop.side is truth.side
            and stop.quantity >= truth.quantity
            and truth.side.sign * (stop.trigger_price - truth.level) > 0
        )

    def look(self) -> None:
        """Prices moved, or an account changed."""
        if ACCOUNT not in self.machine.accounts:
            return
        now_ms = self.machine.at_ms
        self._take_realised()
        truths = self.truth()
        if not truths and self.flat_since_ms == NEVER_MS:
            self.note("the position is gone")
            self.flat_since_ms = now_ms
        for truth in truths:
            if self.flat_since_ms != NEVER_MS:
                if now_ms - self.flat_since_ms >= EPISODE_MS:
                    self.past.begin()
                self.flat_since_ms = NEVER_MS
            self._note_user_stops(truth, now_ms)
            self.past.add(truth, self._known_level(truth))
            if self.stops_are_refused(now_ms):
                self.disturbed_at_ms = now_ms
            self.watch.position(truth, self._user_stops_now(truth))
        if not truths:
            self.watch.flat()

    def _take_realised(self) -> None:
        realised = self.machine._books.accounts[ACCOUNT].realised
        for fill in realised[self._realised :]:
            self.note(f"exchange: {fill.cause} of {fill.quantity} at {fill.price}")
            self.deeds[f"{fill.cause} fills"] += 1
            if fill.cause is Cause.LIQUIDATION:
                self.watch.liquidated()
        self._realised = len(realised)

    def _user_stops_now(self, truth: Truth) -> tuple[Decimal, ...]:
        return tuple(
            stop.trigger_price
            for stop in self.stops()[1]
            if stop.side is truth.side
            and stop.quantity >= truth.quantity
            and truth.side.sign * (stop.trigger_price - truth.level) > 0
        )

    def _note_user_stops(self, truth: Truth, now_ms: int) -> None:
        for trigger in self._user_stops_now(truth):
            self._user_stops[trigger] = now_ms
        for price, at_ms in list(self._user_stops.items()):
            if now_ms - at_ms > READ_AGE_MAX_MS + 5_000:
                del self._user_stops[price]

    def _known_position(self) -> tuple[Position, ...]:
        return self.read[0][0].positions if self.read else ()

    def _known_level(self, truth: Truth) -> Decimal:
        """The liquidation price by the newest read that the guard has had."""
        for known in self._known_position():
            if known.side is truth.side:
                return self.watch.level_of(known)
        return truth.level

    def _spends(self) -> list[Request]:
        return [each for each in self.requests.values() if isinstance(each.action, AddMargin)]


def _amount(request: Request) -> Decimal:
    assert isinstance(request.action, AddMargin)
    return request.action.amount


def _short(action: Action) -> str:
    match action:
        case AddMargin(amount=amount):
            return f"add margin {amount}"
        case PlaceStop(side=side, quantity=quantity, trigger_price=trigger):
            return f"stop {side} {quantity} at {trigger}"
        case CancelStop(target_client_id=target):
            return f"cancel {target[6:14]}"
        case ClosePosition(side=side, quantity=quantity):
            return f"close {side} {quantity}"


_STRETCHES = frozenset({"blackout", "market_stalled", "journal_down"})
