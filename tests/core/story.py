"""
Lives of an account as Hypothesis draws them, event by event.

Three symbols, long and short, isolated and cross beside each other on one wallet, or in hedge mode
a long and a short of one symbol; stops of ours and of a human's that come and go, also where they
reserve the position; marks that jump and go stale, reads that lag and repeat, fills of every size,
funding bills, outcomes of every kind, commands, losses, restarts.
"""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import TypeAlias

from hypothesis import strategies as st

from bot.core.actions import (
    Action,
    AddMargin,
    CancelStop,
    ClosePosition,
    NoWorseThan,
    PlaceStop,
)
from bot.core.decision import Decision
from bot.core.engine import decide
from bot.core.events import (
    AccountMode,
    AccountReported,
    Command,
    Event,
    FundingReported,
    InstrumentsReported,
    IntentState,
    Liquidated,
    MarkPrice,
    OutcomeReported,
    StreamLost,
    Tick,
)
from bot.core.ids import birth_prefix
from bot.core.model import (
    NO_FILL,
    Fill,
    Filled,
    MarginMode,
    Position,
    PositionMode,
    RestingStops,
    Side,
    StopOrder,
)
from bot.core.policy import AnyMarginMode, Metric, Policy, Rule, Step, Threshold
from bot.core.state import (
    AccountState,
    Intent,
    Trim,
)
from bot.core.strategy import Close, Notify, Proposal, Severity, View
from bot.core.transitions import (
    apply,
    resumed,
)
from bot.core.units import Money, Price, Quantity
from bot.journal.codec import from_json, to_json
from bot.testing import builders as build
from strategies import partial_close, place_stop, top_up, trim_and_refund
from tests.core.life import T0, above, below, ratio

SYMBOLS = {"BTCUSDT": 50_000, "ETHUSDT": 2_000, "SOLUSDT": 100}
WALLET = Decimal(9_000)
RULES = tuple(build.instrument(symbol) for symbol in SYMBOLS)
OURS = birth_prefix(build.BIRTH)
FEE = RULES[0].taker_fee


PROPOSE: dict[str, tuple[Severity, Callable[[View], Proposal]]] = {
    "warn": (Severity.ALERT, lambda view: Notify("near")),
    "tight": (
        Severity.STOP,
        partial(place_stop.propose, params=place_stop.Params(ratio("0.05"))),
    ),
    "add": (Severity.SPEND, partial(top_up.propose, params=top_up.Params(ratio("0.1")))),
    "trim": (
        Severity.REDUCE,
        partial(trim_and_refund.propose, params=trim_and_refund.ToDistance(ratio("0.09"))),
    ),
    "less": (
        Severity.REDUCE,
        partial(partial_close.propose, params=partial_close.ToDistance(ratio("0.09"))),
    ),
    "share": (
        Severity.REDUCE,
        partial(partial_close.propose, params=partial_close.Fraction(ratio("0.3"))),
    ),
    "out": (Severity.CLOSE, lambda view: Close()),
}


def rung(name: str, at: Threshold, *, hold_ms: int = 0, cooldown_ms: int = 0) -> Step:
    severity, propose = PROPOSE[name]
    return build.step(name, at, severity, propose, hold_ms=hold_ms, cooldown_ms=cooldown_ms)


WARN = rung("warn", below("0.08"), hold_ms=5_000)
TIGHT = rung("tight", below("0.075"))
ADD = rung("add", below("0.07"), cooldown_ms=10_000)
TRIM = rung("trim", below("0.052"), cooldown_ms=10_000)
LESS = rung("less", below("0.07"), cooldown_ms=10_000)
OUT = rung("out", below("0.04"), hold_ms=1_000)
SHARE = rung("share", above("0.01"), cooldown_ms=10_000)


def rules(*, then_next: bool, one_name: bool) -> tuple[Rule, ...]:
    """A ladder of isolated positions, one of all cross ones, and one on what funding costs."""
    return (
        build.rule(WARN, TIGHT, replace(ADD, then_next=then_next), TRIM, OUT),
        build.rule(
            TIGHT,
            replace(LESS, then_next=then_next),
            OUT,
            name="ladder" if one_name else "book",
            margin_mode=MarginMode.CROSS,
        ),
        build.rule(
            SHARE,
            name="funding",
            metric=Metric.FUNDING_COST_INTERVAL,
            hysteresis="0.001",
            margin_mode=AnyMarginMode(),
        ),
    )


POLICIES = st.builds(
    lambda then_next, one_name, in_hold, limits: build.policy(
        *rules(then_next=then_next, one_name=one_name),
        protection=build.protect(floor_in_hold=in_hold, unknown_after_ms=20_000),
        limits=limits,
        stress=build.stress("0.2"),
        margin_modes=frozenset(MarginMode),
    ),
    st.booleans(),
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
        actions_per_1m=st.sampled_from([1, 4, 20]),
        loss_max=st.sampled_from([3_000, 100_000, 100_000]),
        slippage_max=st.sampled_from(["0.005", "0.05"]),
    ),
)

PAIRED = st.builds(
    lambda then_next, climbs, last, respects, canary_ms, actions_per_1m: build.policy(
        *(rules(then_next=then_next, one_name=True) if climbs else ()),
        protection=build.protect(
            room=last[0],
            floor_in_hold=last[1],
            unknown_after_ms=20_000,
            canary_ms=canary_ms,
            respects_cancel=respects,
        ),
        limits=build.guardrails(actions_per_1m=actions_per_1m),
        stress=build.stress("0.2"),
        margin_modes=frozenset(MarginMode),
        position_mode=PositionMode.HEDGE,
    ),
    st.booleans(),
    st.booleans(),
    # The last has its stop nearer than its floor: no file may, and core does not rely on it.
    st.sampled_from([("0.03", True), ("0.03", False), ("0.01", False)]),
    st.booleans(),
    st.sampled_from([0, 60_000]),
    st.sampled_from([4, 20, 1_000]),
)
"""Policies of an account in hedge mode."""

# Events, as drawn: plain values that `Story` turns into events of its account and its time.
WAITS = st.sampled_from(
    [0, 1, 100, 250, 1_000, 1_000, 3_000, 5_000, 5_001, 9_000, 31_000, 61_000, 700_000]
)
THOUSANDTHS = st.sampled_from([-120, -90, -70, -60, -50, -40, -40, -30, -30, -20, 0, 30])
MARKS = st.tuples(st.just("mark"), st.sampled_from(sorted(SYMBOLS)), THOUSANDTHS)
TIDES = st.tuples(st.just("tide"), THOUSANDTHS)
MODES = st.sampled_from([AccountMode.ACTIVE, AccountMode.ACTIVE, *AccountMode])
SHAPE = st.tuples(
    st.sampled_from(sorted(SYMBOLS)),
    st.sampled_from(Side),
    st.sampled_from(["1", "0.4"]),
    st.sampled_from(["0.1", "0.13", "1.2"]),
    st.sampled_from(MarginMode),
)
RESTING = st.tuples(
    st.sampled_from(["ours", "a human's"]),
    st.sampled_from(sorted(SYMBOLS)),
    st.sampled_from(Side),
    st.sampled_from(["-95", "-80", "-65", "-30", "30", "67"]),
    st.sampled_from(["1", "0.4", "2"]),
)
FILLS = st.tuples(st.just("fill"), st.integers(0, 2), st.sampled_from(["0", "0.3", "1"]))
RATES = st.sampled_from(["-0.02", "-0.0005", "0.0001", "0.0015", "0.002", "0.02"])
BILLS = st.tuples(
    st.just("bill"),
    st.sampled_from(sorted(SYMBOLS)),
    RATES,
    st.sampled_from([-1_000, 2_000, 60_000, 301_000, 302_000, 601_000, 602_000, 3_600_000]),
)
OUTCOMES = st.tuples(st.just("outcome"), st.integers(0, 3), st.sampled_from(IntentState))
EVENTS = st.one_of(
    MARKS,
    MARKS,
    MARKS,
    TIDES,
    TIDES,
    TIDES,
    OUTCOMES,
    OUTCOMES,
    FILLS,
    FILLS,
    BILLS,
    st.tuples(st.just("wallet"), st.sampled_from([-500, 500, 3_000, 9_000, 15_000])),
    st.tuples(st.just("read"), st.lists(SHAPE, max_size=3), st.lists(RESTING, max_size=4)),
    st.tuples(st.just("again")),
    st.tuples(st.just("again")),
    st.tuples(st.just("effects")),
    st.tuples(st.just("effects")),
    st.tuples(st.just("old read")),
    st.tuples(st.just("lost")),
    st.tuples(st.just("liquidated"), st.sampled_from(sorted(SYMBOLS))),
    st.tuples(st.just("command"), MODES),
    st.tuples(st.just("command"), MODES),
    st.tuples(st.just("restart")),
    st.tuples(st.just("tick")),
)

Scene: TypeAlias = list[tuple[int, tuple[object, ...]]]


def after_a_move(thousandths: int, share: str, later_ms: int) -> Scene:
    """Prices move, what is done about it fills and shows, and later they are back."""
    return [
        (100, ("tide", thousandths)),
        (100, ("fill", 0, share)),
        (100, ("again",)),
        (100, ("effects",)),
        (later_ms, ("tide", thousandths)),
        (later_ms, ("tide", 0)),
        (1_000, ("again",)),
    ]


def before_a_settlement(bill: tuple[object, ...], share: str) -> Scene:
    """All is calm, every stop rests, and a bill is announced."""
    return [
        (1_000, ("tide", 0)),
        (10, ("effects",)),
        (10, ("tick",)),
        (100, bill),
        (100, ("tick",)),
        (100, ("fill", 0, share)),
        (100, ("again",)),
    ]


SHARES = st.sampled_from(["0", "0.3", "1", "1"])
SCENES = st.one_of(
    st.tuples(WAITS, EVENTS).map(lambda step: [step]),
    st.tuples(WAITS, EVENTS).map(lambda step: [step]),
    st.tuples(WAITS, EVENTS).map(lambda step: [step]),
    st.builds(
        after_a_move,
        st.sampled_from([-30, -40, -40, -50, -50, -60]),
        SHARES,
        st.sampled_from([100, 11_000, 61_000]),
    ),
    st.builds(before_a_settlement, BILLS, SHARES),
)
STORIES = st.lists(SCENES, min_size=6, max_size=20).map(
    lambda scenes: [step for scene in scenes for step in scene]
)


# The same in hedge mode: few prices and much standing still, so that many a verdict is recalled.

LEVELS = st.sampled_from([0, 0, 10, -28, -40, -50, -60, -70, -82, 40, 60])
LEG = st.tuples(
    st.sampled_from(["BTCUSDT", "BTCUSDT", "ETHUSDT"]),
    st.sampled_from(Side),
    st.sampled_from(["1", "0.4", "2"]),
    st.sampled_from(["0.1", "0.052", "0.18"]),
    st.sampled_from([MarginMode.ISOLATED, MarginMode.ISOLATED, MarginMode.CROSS]),
)
OF_A_PAIR = st.one_of(
    st.tuples(st.just("tide"), LEVELS),
    st.tuples(st.just("mark"), st.just("BTCUSDT"), LEVELS),
    st.tuples(st.just("again")),
    st.tuples(st.just("again")),
    st.tuples(st.just("effects")),
    st.tuples(st.just("effects")),
    OUTCOMES,
    FILLS,
    BILLS,
    st.tuples(st.just("refused")),
    st.tuples(st.just("taken off"), st.integers(0, 3)),
    st.tuples(st.just("reserved"), RESTING),
    st.tuples(st.just("read"), st.lists(LEG, min_size=1, max_size=4), st.just([])),
    st.tuples(st.just("command"), MODES),
    st.tuples(st.just("wallet"), st.sampled_from([-500, 3_000, 15_000])),
    st.tuples(st.just("position mode"), st.sampled_from([PositionMode.HEDGE, *PositionMode])),
    st.tuples(st.just("liquidated"), st.just("BTCUSDT")),
    st.tuples(st.just("restart")),
)


def still(thousandths: int, later_ms: int) -> Scene:
    """Prices move once, what is asked for shows, and then nothing happens for a while."""
    return [
        (100, ("tide", thousandths)),
        (100, ("effects",)),
        (1_000, ("effects",)),
        (1_000, ("again",)),
        (later_ms, ("again",)),
        (1_000, ("again",)),
    ]


def an_episode(thousandths: int, short_ms: int, rate: str) -> Scene:
    """
    A step fires, prices come back, and ten quiet minutes are over a little later or sooner.

    Meanwhile a bill is paid.
    """
    return [
        (100, ("bill", "BTCUSDT", rate, 100_000)),
        *still(thousandths, 1_000),
        *still(0, 300_000),
        (0, ("bill", "BTCUSDT", rate, 3_600_000)),
        (600_000 - 304_200 - short_ms, ("again",)),
        (short_ms, ("again",)),
        (1_000, ("again",)),
    ]


def held_below(thousandths: int) -> Scene:
    """A human holds the guard, prices fall, and then it may act again."""
    return [
        (100, ("command", AccountMode.HOLD)),
        *still(thousandths, 1_000),
        (100, ("command", AccountMode.ACTIVE)),
        (1_000, ("again",)),
    ]


PAIR_SCENES = st.one_of(
    st.tuples(WAITS, OF_A_PAIR).map(lambda step: [step]),
    st.tuples(WAITS, OF_A_PAIR).map(lambda step: [step]),
    st.tuples(WAITS, OF_A_PAIR).map(lambda step: [step]),
    st.builds(still, LEVELS, WAITS),
    st.builds(an_episode, LEVELS, st.sampled_from([0, 1, 1_000, 2_100, 3_000]), RATES),
    st.builds(held_below, st.sampled_from([-82, -82, -86, -70, 67])),
)
PAIR_STORIES = st.lists(PAIR_SCENES, min_size=4, max_size=16).map(
    lambda scenes: [step for scene in scenes for step in scene]
)


class Story:
    """
    Lives through drawn events and keeps every decision with the states around it.

    It begins with a pair where the policy is for hedge mode.
    """

    def __init__(self, policy: Policy, resting_stops: RestingStops = RestingStops.COEXIST) -> None:
        self.policy = policy
        self.position_mode = policy.position_mode
        self.rules = tuple(
            replace(each, rules=replace(each.rules, resting_stops=resting_stops)) for each in RULES
        )
        self.now_ms = T0
        self.positions: tuple[Position, ...] = (
            build.position(),
            shaped("ETHUSDT", Side.LONG, "1", "0.1", MarginMode.CROSS),
            shaped("SOLUSDT", Side.LONG, "0.4", "0.1", MarginMode.CROSS),
        )
        if self.position_mode is PositionMode.HEDGE:
            short = shaped("BTCUSDT", Side.SHORT, "0.4", "0.18", MarginMode.ISOLATED)
            self.positions = (build.position(), short)
        self.stops: tuple[StopOrder, ...] = ()
        self.wallet = WALLET
        self.freed: dict[str, Decimal] = {}
        """What trims gave back to the wallet, by their intents, as the fills say it."""
        start = build.snapshot(self.positions, taken_at_ms=T0)
        self.state = build.account_state(start, {}, now_ms=T0, instruments=self.rules)
        self.read(T0)
        for symbol in SYMBOLS:
            self.mark(symbol, 0)

    def step(self, wait_ms: int, event: tuple[object, ...]) -> None:
        self.now_ms += wait_ms
        match event:
            case ("mark", str(symbol), int(thousandths)):
                self.mark(symbol, thousandths)
            case ("tide", int(thousandths)):
                self.read(self.now_ms)
                for symbol in SYMBOLS:
                    self.mark(symbol, thousandths)
            case ("read", list(shapes), list(stops)):
                sides = 2 if self.policy.position_mode is PositionMode.HEDGE else 1
                legs = {shape[:sides]: shaped(*shape) for shape in shapes}
                self.positions = tuple(legs.values())
                self.stops = tuple(resting(number, *stop) for number, stop in enumerate(stops))
                self.read(self.now_ms)
            case ("again",):
                self.refresh()
            case ("effects",):
                self.show_effects()
                self.refresh()
            case ("old read",):
                self.read(self.now_ms - 4_000)
            case _:
                self.disturb(event)

    def disturb(self, event: tuple[object, ...]) -> None:
        match event:
            case ("bill", str(symbol), str(rate), int(in_ms)):
                next_at_ms = self.now_ms + in_ms
                hour_ms = 3_600_000
                bill = FundingReported(symbol, ratio(rate), next_at_ms, hour_ms, self.now_ms)
                self.happen(bill)
            case ("wallet", int(balance)):
                self.wallet = Decimal(balance)
                self.read(self.now_ms)
            case ("lost",):
                self.happen(StreamLost("reset", self.now_ms))
            case ("liquidated", str(symbol)):
                price = Price(Decimal(SYMBOLS[symbol]))
                self.happen(Liquidated(symbol, Side.LONG, price, self.now_ms))
            case ("command", AccountMode() as mode):
                self.happen(Command(mode, "drawn", self.now_ms))
            case ("restart",):
                self.state = resumed(read_back(self.state), "policy", self.now_ms)
                self.happen(InstrumentsReported("again", self.rules))
            case ("tick",):
                self.happen(Tick(self.now_ms))
            case _:
                self.rearrange(event)

    def rearrange(self, event: tuple[object, ...]) -> None:
        match event:
            case ("taken off", int(number)):
                self.stops = (*self.stops[:number], *self.stops[number + 1 :])
                self.refresh()
            case ("reserved", tuple(stop)):
                self.stops = (*self.stops, resting(len(self.stops), *stop))
                self.refresh()
            case ("position mode", PositionMode() as mode):
                self.position_mode = mode
                self.refresh()
            case _:
                self.answer(event)

    def answer(self, event: tuple[object, ...]) -> None:
        match event:
            case ("outcome", int(number), IntentState() as outcome):
                for intent in self.open_intents()[number : number + 1]:
                    self.report(intent, outcome, NO_FILL)
            case ("fill", int(number), str(share)):
                closes = [
                    each for each in self.open_intents() if isinstance(each.action, ClosePosition)
                ]
                for intent in closes[number : number + 1]:
                    self.fill(intent, Decimal(share))
            case ("refused",):
                for intent in self.open_intents():
                    if isinstance(intent.action, ClosePosition):
                        self.take_off(intent)
                        self.report(intent, IntentState.REJECTED, NO_FILL)
                self.refresh()
            case _:
                raise AssertionError(event)

    def happen(self, event: Event) -> None:
        self.state = apply(self.state, event)

    def mark(self, symbol: str, thousandths: int) -> None:
        price = Price(SYMBOLS[symbol] * (1 + Decimal(thousandths) / 1_000))
        self.happen(MarkPrice(symbol, price, self.now_ms))

    def read(self, asked_at_ms: int) -> None:
        snapshot = build.snapshot(
            self.positions,
            self.stops,
            free=max(self.wallet, Decimal(0)),
            wallet=self.wallet,
            taken_at_ms=asked_at_ms,
            position_mode=self.position_mode,
        )
        self.happen(AccountReported(snapshot, asked_at_ms, self.now_ms))

    def refresh(self) -> None:
        """A read, and a mark price that has not moved."""
        self.read(self.now_ms)
        for mark in self.state.marks.values():
            self.happen(replace(mark, received_at_ms=self.now_ms))

    def open_intents(self) -> list[Intent]:
        return [each for each in self.state.intents.values() if each.is_open]

    def report(self, intent: Intent, outcome: IntentState, filled: Filled) -> None:
        self.happen(OutcomeReported(intent.id, outcome, "", self.now_ms, filled))

    def show_effects(self) -> None:
        """Everything that is open has happened."""
        for intent in self.open_intents():
            if isinstance(intent.action, ClosePosition):
                self.fill(intent, Decimal(1))
            else:
                self.show(intent.id, intent.action)
                self.report(intent, IntentState.APPLIED, NO_FILL)

    def show(self, intent_id: str, action: Action) -> None:
        match action:
            case PlaceStop(symbol, side, quantity, trigger):
                stop = StopOrder(symbol, side, intent_id, quantity, trigger, reduce_only=True)
                self.stops = (*self.stops, stop)
            case CancelStop(target_client_id=target):
                self.stops = tuple(each for each in self.stops if each.client_id != target)
            case AddMargin(amount=amount):
                for held in self.held(action):
                    more = Money(held.isolated_margin + amount)
                    self.change(held, replace(held, isolated_margin=more))
                    self.wallet -= amount
            case ClosePosition():
                raise AssertionError("a close is filled, not shown")

    def held(self, action: AddMargin | ClosePosition) -> list[Position]:
        """The position that it is for, if there is one; in one-way mode its side may be old."""
        either = self.policy.position_mode is PositionMode.ONE_WAY
        return [
            each
            for each in self.positions
            if each.symbol == action.symbol and (either or each.side is action.side)
        ]

    def take_off(self, intent: Intent) -> None:
        """A close clears its way first."""
        self.stops = tuple(each for each in self.stops if each.client_id not in intent.clears)

    def change(self, held: Position, *into: Position) -> None:
        self.positions = tuple(each for each in self.positions if each is not held) + into

    def fill(self, intent: Intent, share: Decimal) -> None:
        """A close fills for a share of what it asks, at its bound or anywhere, and is known to."""
        action = intent.action
        assert isinstance(action, ClosePosition)
        self.take_off(intent)
        held = [each for each in self.held(action) if each.side is action.side]
        quantity = min([action.quantity * share, *(each.quantity for each in held)])
        if not held or quantity == 0:
            self.report(intent, IntentState.EXPIRED, NO_FILL)
            return
        (position,) = held
        price = Price(Decimal(SYMBOLS[action.symbol]))
        if isinstance(action.bound, NoWorseThan):
            price = action.bound.price
        gain = position.side.sign * quantity * (price - position.entry_price)
        released = position.isolated_margin * quantity / position.quantity
        returned = released + gain - quantity * price * FEE
        self.wallet += returned
        if isinstance(intent.purpose, Trim):
            self.freed[intent.id] = freed_of(intent.purpose.position, quantity, price)
        left = replace(
            position,
            quantity=Quantity(position.quantity - quantity),
            isolated_margin=Money(position.isolated_margin - released),
        )
        self.change(position, *([left] if left.quantity else []))
        whole = IntentState.APPLIED if quantity == action.quantity else IntentState.PARTIAL
        self.report(intent, whole, Fill(Quantity(quantity), price))

    def decide(self) -> Decision:
        self.state, decision = decide(self.state, self.policy, self.now_ms)
        return decision


def freed_of(position: Position, quantity: Decimal, price: Decimal) -> Decimal:
    """What `quantity` of a position as it was planned on brings back at `price`."""
    bought, sold = Decimal(position.entry_price), price
    if position.side is Side.SHORT:
        bought, sold = sold, bought
    share = quantity / position.quantity
    return share * position.isolated_margin + quantity * (sold - bought) - quantity * price * FEE


def read_back(state: AccountState) -> AccountState:
    """`state` as the journal gives it back, with the rules that it keeps by their digest."""
    read = from_json(to_json(state, AccountState), AccountState)
    return replace(read, instruments=state.instruments)


def shaped(symbol: str, side: Side, quantity: str, share: str, mode: MarginMode) -> Position:
    """About 50,000 of notional each, whatever the symbol."""
    entry, coins = SYMBOLS[symbol], Decimal(quantity) * 50_000 / SYMBOLS[symbol]
    alone = mode is MarginMode.ISOLATED
    return build.position(
        symbol,
        side,
        quantity=coins,
        entry_price=entry,
        margin=coins * entry * Decimal(share) if alone else 0,
        margin_mode=mode,
    )


def resting(
    number: int, owner: str, symbol: str, side: Side, thousandths: str, quantity: str
) -> StopOrder:
    trigger = SYMBOLS[symbol] * (1 + Decimal(thousandths) / 1_000)
    closes = build.position(symbol, side)
    quantity = str(Decimal(quantity) * 50_000 / SYMBOLS[symbol])
    if owner == "ours":
        return build.our_stop(closes, trigger, quantity=quantity, name=f"{number:020}")
    return build.foreign_stop(closes, trigger, quantity=quantity, client_id=f"web_{number}")
