"""
Lives of an account as Hypothesis draws them, event by event.

Two symbols, long and short, stops of ours and of a human's that come and go, marks that jump
and go stale, reads that lag and repeat, outcomes of every kind, commands, losses, restarts.
"""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from functools import partial

from hypothesis import strategies as st

from bot.core.actions import Action, AddMargin, CancelStop, ClosePosition, PlaceStop
from bot.core.decision import Decision
from bot.core.engine import decide
from bot.core.events import (
    AccountMode,
    AccountReported,
    Command,
    Event,
    InstrumentsReported,
    IntentState,
    Liquidated,
    MarkPrice,
    OutcomeReported,
    StreamLost,
    Tick,
)
from bot.core.ids import account_prefix
from bot.core.model import Position, Side, StopOrder
from bot.core.policy import Policy, Rule, Step
from bot.core.state import apply, resumed
from bot.core.strategy import Close, Notify, Proposal, Severity, View
from bot.core.units import Money, Price, Ratio
from bot.testing import builders as build
from strategies import place_stop, top_up
from tests.core.life import T0, below

SYMBOLS = {"BTCUSDT": 50_000, "ETHUSDT": 2_000}
RULES = tuple(build.instrument(symbol) for symbol in SYMBOLS)
OURS = account_prefix(build.ACCOUNT)


PROPOSE: dict[Severity, Callable[[View], Proposal]] = {
    Severity.ALERT: lambda view: Notify("near"),
    Severity.STOP: partial(place_stop.propose, params=place_stop.Params(Ratio(Decimal("0.05")))),
    Severity.SPEND: partial(top_up.propose, params=top_up.Params(Ratio(Decimal("0.1")))),
    Severity.CLOSE: lambda view: Close(),
}


def rung(
    name: str, at: str, severity: Severity, *, hold_ms: int = 0, cooldown_ms: int = 0
) -> Step:
    return build.step(
        name,
        below(at),
        severity,
        PROPOSE[severity],
        hold_ms=hold_ms,
        cooldown_ms=cooldown_ms,
    )


WARN = rung("warn", "0.12", Severity.ALERT, hold_ms=5_000)
TIGHT = rung("tight", "0.09", Severity.STOP)
ADD = rung("add", "0.07", Severity.SPEND, cooldown_ms=10_000)
OUT = rung("out", "0.04", Severity.CLOSE, hold_ms=1_000)


def ladder(*, then_next: bool) -> Rule:
    return build.rule(WARN, TIGHT, replace(ADD, then_next=then_next), OUT)


POLICIES = st.builds(
    lambda then_next, in_hold, limits: build.policy(
        ladder(then_next=then_next),
        protection=build.protect(floor_in_hold=in_hold, unknown_after_ms=20_000),
        limits=limits,
    ),
    st.booleans(),
    st.booleans(),
    st.builds(
        build.guardrails,
        keep_free=st.sampled_from([0, 500]),
        per_action=st.sampled_from([300, 2_000]),
        per_1h=st.sampled_from([400, 3_000]),
        per_24h=st.sampled_from([600, 4_000]),
        per_episode=st.sampled_from([500, 4_000]),
        top_ups_per_episode=st.sampled_from([1, 3]),
        actions_per_1m=st.sampled_from([1, 4]),
        loss_max=st.sampled_from([3_000, 100_000, 100_000]),
    ),
)

# Events, as drawn: plain values that `Story` turns into events of its account and its time.
WAITS = st.sampled_from(
    [0, 1, 100, 250, 1_000, 1_000, 3_000, 5_000, 5_001, 9_000, 31_000, 61_000, 700_000]
)
THOUSANDTHS = st.sampled_from([-110, -90, -70, -60, -50, -40, -40, -30, -30, -20, 0, 30])
MARKS = st.tuples(st.just("mark"), st.sampled_from(sorted(SYMBOLS)), THOUSANDTHS)
MODES = st.sampled_from([AccountMode.ACTIVE, AccountMode.ACTIVE, *AccountMode])
SHAPE = st.tuples(
    st.sampled_from(sorted(SYMBOLS)),
    st.sampled_from(Side),
    st.sampled_from(["1", "0.4"]),
    st.sampled_from(["0.1", "0.13", "1.2"]),
)
RESTING = st.tuples(
    st.sampled_from(["ours", "a human's"]),
    st.sampled_from(sorted(SYMBOLS)),
    st.sampled_from(Side),
    st.sampled_from(["-95", "-80", "-65", "-30", "30", "67"]),
    st.sampled_from(["1", "0.4", "2"]),
)
OUTCOMES = st.tuples(st.just("outcome"), st.integers(0, 3), st.sampled_from(IntentState))
EVENTS = st.one_of(
    MARKS,
    MARKS,
    MARKS,
    OUTCOMES,
    OUTCOMES,
    st.tuples(st.just("read"), st.lists(SHAPE, max_size=2), st.lists(RESTING, max_size=4)),
    st.tuples(st.just("again")),
    st.tuples(st.just("again")),
    st.tuples(st.just("effects")),
    st.tuples(st.just("effects")),
    st.tuples(st.just("old read")),
    st.tuples(st.just("lost")),
    st.tuples(st.just("liquidated"), st.sampled_from(sorted(SYMBOLS))),
    st.tuples(st.just("command"), MODES),
    st.tuples(st.just("restart")),
    st.tuples(st.just("tick")),
)
STORIES = st.lists(st.tuples(WAITS, EVENTS), min_size=10, max_size=40)


class Story:
    """Lives through drawn events and keeps every decision with the states around it."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.now_ms = T0
        self.positions: tuple[Position, ...] = (build.position(),)
        self.stops: tuple[StopOrder, ...] = ()
        start = build.snapshot(self.positions, taken_at_ms=T0)
        self.state = build.account_state(start, {}, now_ms=T0, instruments=RULES)
        self.read(T0)
        for symbol in SYMBOLS:
            self.mark(symbol, 0)

    def step(self, wait_ms: int, event: tuple[object, ...]) -> None:
        self.now_ms += wait_ms
        match event:
            case ("mark", str(symbol), int(thousandths)):
                self.mark(symbol, thousandths)
            case ("read", list(shapes), list(stops)):
                self.positions = tuple({shape[0]: shaped(*shape) for shape in shapes}.values())
                self.stops = tuple(resting(number, *stop) for number, stop in enumerate(stops))
                self.read(self.now_ms)
            case ("again",):
                self.refresh()
            case ("effects",):
                self.show_effects()
                self.refresh()
            case ("old read",):
                self.read(self.now_ms - 4_000)
            case ("outcome", int(number), IntentState() as outcome):
                open_ids = [each.id for each in self.state.intents.values() if each.is_open]
                for intent_id in open_ids[number : number + 1]:
                    self.happen(OutcomeReported(intent_id, outcome, "", self.now_ms))
            case _:
                self.disturb(event)

    def disturb(self, event: tuple[object, ...]) -> None:
        match event:
            case ("lost",):
                self.happen(StreamLost("reset", self.now_ms))
            case ("liquidated", str(symbol)):
                price = Price(Decimal(SYMBOLS[symbol]))
                self.happen(Liquidated(symbol, Side.LONG, price, self.now_ms))
            case ("command", AccountMode() as mode):
                self.happen(Command(mode, "drawn", self.now_ms))
            case ("restart",):
                self.state = resumed(self.state, "policy", self.now_ms)
                self.happen(InstrumentsReported("again", RULES))
            case ("tick",):
                self.happen(Tick(self.now_ms))
            case _:
                raise AssertionError(event)

    def happen(self, event: Event) -> None:
        self.state = apply(self.state, event)

    def mark(self, symbol: str, thousandths: int) -> None:
        price = Price(SYMBOLS[symbol] * (1 + Decimal(thousandths) / 1_000))
        self.happen(MarkPrice(symbol, price, self.now_ms))

    def read(self, asked_at_ms: int) -> None:
        snapshot = build.snapshot(self.positions, self.stops, free=3_000, taken_at_ms=asked_at_ms)
        self.happen(AccountReported(snapshot, asked_at_ms, self.now_ms))

    def refresh(self) -> None:
        """A read, and a mark price that has not moved."""
        self.read(self.now_ms)
        for mark in self.state.marks.values():
            self.happen(replace(mark, received_at_ms=self.now_ms))

    def show_effects(self) -> None:
        """Everything that is open has happened."""
        for intent in self.state.intents.values():
            if intent.is_open:
                self.show(intent.id, intent.action)
                self.happen(OutcomeReported(intent.id, IntentState.APPLIED, "", self.now_ms))

    def show(self, intent_id: str, action: Action) -> None:
        match action:
            case PlaceStop(symbol, side, quantity, trigger):
                stop = StopOrder(symbol, side, intent_id, quantity, trigger, reduce_only=True)
                self.stops = (*self.stops, stop)
            case CancelStop(target_client_id=target):
                self.stops = tuple(each for each in self.stops if each.client_id != target)
            case ClosePosition(symbol=symbol):
                self.positions = tuple(each for each in self.positions if each.symbol != symbol)
            case AddMargin(symbol=symbol, amount=amount):
                self.positions = tuple(
                    replace(each, isolated_margin=Money(each.isolated_margin + amount))
                    if each.symbol == symbol
                    else each
                    for each in self.positions
                )

    def decide(self) -> Decision:
        self.state, decision = decide(self.state, self.policy, self.now_ms)
        return decision


def shaped(symbol: str, side: Side, quantity: str, share: str) -> Position:
    entry = SYMBOLS[symbol]
    margin = Decimal(quantity) * entry * Decimal(share)
    return build.position(symbol, side, quantity=quantity, entry_price=entry, margin=margin)


def resting(
    number: int, owner: str, symbol: str, side: Side, thousandths: str, quantity: str
) -> StopOrder:
    trigger = SYMBOLS[symbol] * (1 + Decimal(thousandths) / 1_000)
    closes = build.position(symbol, side)
    if owner == "ours":
        return build.our_stop(closes, trigger, quantity=quantity, name=f"{number:020}")
    return build.foreign_stop(closes, trigger, quantity=quantity, client_id=f"web_{number}")
