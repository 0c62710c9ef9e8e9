"""
What must hold while time passes: stops rest, the floor and bills are acted on, nobody is lost.

Two clocks: within `REACT_MS` of *knowing*, the guard must have tried, whatever goes wrong; and
within `QUIET_MS` of the last thing that went wrong, everything must be as it should be.
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING

from bot.core.actions import ClosePosition, PlaceStop
from bot.core.model import AccountSnapshot, MarginOnReduce
from bot.exchange.paper.books import FundingPaid, Realised
from tests.sim.requests import NEVER_MS
from tests.sim.truth import BILLS, CROSS, SURELY_BILLED_MS, Scene, Truth

if TYPE_CHECKING:
    from tests.sim.observer import Observer

QUIET_MS = 30_000
"""After everything works again, protection is as it should be: a read every 25 s, and its way."""

REACT_MS = 6_000
"""A stop that may be on its way is waited for 5 s; then another one is sent."""

FOLLOW_MS = 8_000
STOPS_MAX = 8
"""A venue takes ten on one symbol, some of them the user's."""

FLOOR_MS = 5_000
TIMEOUT_MS = 3_000
BACKOFF_MS = 26_000
"""A venue that refuses stops is asked at least every 25 s."""

READ_AGE_MAX_MS = 55_000
"""On older reads the guard need not act (the limit is a minute)."""

MARKS_LATE_MS = 6_000
EFFECTIVE_MS = 60_000
"""What is done about a bill is done so long before the settlement."""

TIDY_MS = 40_000
"""By then the guard has taken its stops of a closed position off the book."""

CLEARED_MS = 4_000
"""By then a position whose stop went before a close is closed, or has another one on its way."""

BILL_WORK_MS = 600_000
DRIFT = 0.1


class Watch:
    """Conditions with the moment since which they hold, each of one position or group."""

    def __init__(self, observer: "Observer") -> None:
        self._observer = observer
        self._on_reduce = {
            each.symbol: each.instrument.rules.margin_on_reduce for each in observer.case.openings
        }
        self._since: dict[tuple[str, str], int] = {}
        self._refused_at_ms: defaultdict[str, int] = defaultdict(lambda: NEVER_MS)
        self._tried_at_ms: defaultdict[str, int] = defaultdict(lambda: NEVER_MS)
        self._closed_at_ms: defaultdict[str, int] = defaultdict(lambda: NEVER_MS)
        self._saw_naked_at_ms: defaultdict[str, int] = defaultdict(lambda: NEVER_MS)
        self._knows_since_ms: dict[str, int] = {}
        self._cleared_at_ms: dict[str, int] = {}
        self._badly_filled_at_ms = NEVER_MS
        self._open: Mapping[str, Truth] = {}
        """The positions of the last scene."""

    # -- what is told ------------------------------------------------------------------------

    def tried(self, action: PlaceStop | ClosePosition) -> None:
        """The guard sent something that protects."""
        now_ms = self._observer.clock.now_ms()
        self._tried_at_ms[action.symbol] = now_ms
        if isinstance(action, ClosePosition):
            self._closed_at_ms[action.symbol] = now_ms

    def refused(self, symbol: str) -> None:
        """The guard was told that the venue takes no stop."""
        self._refused_at_ms[symbol] = self._observer.clock.now_ms()

    def cleared(self, symbol: str) -> None:
        """A stop of the guard went, so that the venue takes a close."""
        self._cleared_at_ms[symbol] = self._observer.clock.now_ms()

    def read_delivered(self, snapshot: AccountSnapshot) -> None:
        """The guard was shown this."""
        now_ms = self._observer.clock.now_ms()
        shown = {each.symbol for each in snapshot.positions}
        for symbol in shown:
            self._knows_since_ms.setdefault(symbol, now_ms)
            naked_since_ms = self._since.get((symbol, "naked"), -NEVER_MS)
            known_ms = max(naked_since_ms, self._observer.up_since_ms)
            if snapshot.taken_at_ms >= naked_since_ms and self._saw_naked_at_ms[symbol] < known_ms:
                self._saw_naked_at_ms[symbol] = now_ms
        for symbol in self._knows_since_ms.keys() - shown:
            del self._knows_since_ms[symbol]

    def flat(self, symbol: str) -> None:
        """There is no position in `symbol` any more."""
        self._cleared_at_ms.pop(symbol, None)
        for key in [key for key in self._since if key[0] == symbol]:
            del self._since[key]

    def filled(self, fill: Realised) -> None:
        """Something was closed: a price far from the mark is nobody's fault."""
        mark = self._observer.machine._books.quotes[fill.symbol].mark
        slip = fill.side.sign * float((mark - fill.price) / mark)
        if slip > float(self._observer.case.policy.protect.room) / 4:
            self._badly_filled_at_ms = self._observer.machine.at_ms

    def billed(self, paid: FundingPaid) -> None:
        """A settlement has charged a position: was what the policy asks for done in time?"""
        observer, symbol = self._observer, paid.symbol
        since_ms = self._since.get((symbol, "dear"), paid.at_ms)
        due_ms = paid.at_ms - EFFECTIVE_MS
        troubled_ms = max(observer.disturbed_at_ms, observer.up_since_ms)
        was_able = observer.life and not observer.held[0] and troubled_ms < since_ms
        acted = paid.at_ms - self._closed_at_ms[symbol] < BILL_WORK_MS
        if was_able and since_ms < due_ms - EFFECTIVE_MS and not acted:
            observer.broke("bill", f"{symbol} paid {paid.amount}, and nothing was done about it")

    # -- the exchange as it is ---------------------------------------------------------------

    def look(self, scene: Scene) -> None:
        """One moment of the account."""
        self._open = scene.truths
        for group, view in scene.billed.items():
            protect = self._observer.case.policy.protect
            self._lasts(group, "below floor", view.distance < float(protect.floor), scene.at_ms)
            self._lasts(group, "below room", view.distance < float(protect.room), scene.at_ms)
        for key in [key for key in self._since if key[0] == CROSS and CROSS not in scene.real]:
            del self._since[key]
        for truth in scene.truths.values():
            self._position(scene, truth)
            self._bills(scene, truth)
        self._orphans(scene)

    def _orphans(self, scene: Scene) -> None:
        """No stop of the guard outlives its position, once nothing keeps it from cancelling."""
        observer, at_ms = self._observer, scene.at_ms
        left = {
            f"the stop {stop.client_id} of a closed position": stop
            for stop in observer.stops()[0]
            if stop.symbol not in scene.truths or scene.truths[stop.symbol].side is not stop.side
        }
        for gone in [key for key in self._since if key[1] == "orphan" and key[0] not in left]:
            del self._since[gone]
        for name in left:
            since_ms = at_ms - self._lasts(name, "orphan", True, at_ms)
            troubled_ms = max(since_ms, observer.disturbed_at_ms, observer.up_since_ms)
            if observer.life and at_ms - troubled_ms > TIDY_MS:
                self._broke(name, "orphan", at_ms, "6", f"{name} still rests")

    def _position(self, scene: Scene, truth: Truth) -> None:
        observer, sign, symbol = self._observer, truth.side.sign, truth.symbol
        rules, group = observer.rules, truth.group
        level, billed = scene.real[group].levels[symbol], scene.billed[group].levels[symbol]
        users = observer.user_stops_now(truth, level)
        proper = observer.proper_stops(truth, level)
        believed = dict.fromkeys((level, billed, *scene.levels(symbol)))
        least = rules.least(truth, users)
        by_level = [rules.stops_beyond(least, truth, each) for each in believed]
        # What can be liquidated at no price, by the guard's newest read either, needs no stop.
        tightest_by_level = [sign * max([sign * at for at in each]) for each in by_level]
        is_needed = all(truth.can_reach(each) for each in tightest_by_level)
        naked_ms = self._lasts(symbol, "naked", is_needed and not proper, truth.at_ms)
        wanted = [price for prices in by_level for price in prices]
        for at in observer.losses.levels(symbol):
            if sign * at > least:
                for each in believed:
                    wanted += rules.stops_beyond(sign * at, truth, each)
        ticks = 2 * rules.tick(symbol)

        def near(trigger: float, target: float) -> bool:
            gap = max(abs(target - level), abs(target - billed))
            return abs(trigger - target) <= gap * DRIFT + ticks

        triggers = [float(stop.trigger_price) for stop in proper]
        there = (
            stop for stop in proper if any(near(float(stop.trigger_price), to) for to in wanted)
        )
        placed = bool(observer.whole(tuple(there), truth))
        tightest = sign * max([sign * price for price in wanted])
        stray = any(
            sign * (trigger - tightest) > 0 and not near(trigger, tightest) for trigger in triggers
        )
        # One that rests where none is needed protects from nothing, and may stay.
        is_adrift = is_needed and bool(proper) and (stray or not placed)
        drifted_ms = self._lasts(symbol, "drifted", is_adrift, truth.at_ms)
        if not observer.life or max(wanted) <= 0:
            return
        self._check_quiet(truth, naked_ms, drifted_ms)
        ours, _ = observer.stops()
        stops_max = STOPS_MAX + 2 * (observer.orders_for(truth) - 1)
        if sum(stop.symbol == symbol for stop in ours) > stops_max:
            self._broke(symbol, "drifted", truth.at_ms, "6", f"stops of {symbol} pile up")
        self._check_reaction(truth, naked_ms)
        if proper or truth.is_past(tightest):
            self._cleared_at_ms.pop(symbol, None)
        else:
            self._check_cleared(truth)
        self._check_floor(truth)

    def _check_quiet(self, truth: Truth, naked_ms: int, drifted_ms: int) -> None:
        observer, symbol, at_ms = self._observer, truth.symbol, truth.at_ms
        quiet_ms = at_ms - max(observer.disturbed_at_ms, observer.up_since_ms)
        refused_ms = at_ms - self._refused_at_ms[symbol]
        if min(quiet_ms, naked_ms) > QUIET_MS and refused_ms > BACKOFF_MS:
            text = f"no proper stop of {symbol} rests although everything works"
            self._broke(symbol, "naked", at_ms, "6", text)
        # Where a cross stop belongs moves with every mark, and it may follow once in 5 s. The old
        # one of a venue that takes stops again goes once the new one rests.
        follows = truth.group == CROSS and at_ms - self._tried_at_ms[symbol] < FOLLOW_MS
        follows = follows or refused_ms <= BACKOFF_MS + FOLLOW_MS
        if min(quiet_ms, drifted_ms) > QUIET_MS and not follows:
            text = f"a stop of {symbol} rests where it does not belong"
            self._broke(symbol, "drifted", at_ms, "6", text)

    def _check_reaction(self, truth: Truth, naked_ms: int) -> None:
        observer, symbol, at_ms = self._observer, truth.symbol, truth.at_ms
        # Without a price of one leg nobody can say where the stops of the others belong.
        sees = truth.group != CROSS or self._marks_flow(CROSS, at_ms)
        sighted_ms = self._lasts(symbol, "sighted", sees, at_ms)
        if not naked_ms or not observer.reads or not sees:
            return
        since_ms, saw_ms = self._since[symbol, "naked"], self._saw_naked_at_ms[symbol]
        knows_since_ms = max(saw_ms, observer.free_since_ms, since_ms, at_ms - sighted_ms)
        if truth.group == CROSS:
            knows_since_ms = max(knows_since_ms, self._marks_since_ms(CROSS))
        recently_refused = at_ms - self._refused_at_ms[symbol] <= BACKOFF_MS
        read_age_ms = at_ms - observer.reads[-1][1]
        knows = saw_ms >= since_ms and read_age_ms < READ_AGE_MAX_MS
        idle_ms = at_ms - max(knows_since_ms, self._tried_at_ms[symbol])
        if knows and not recently_refused and idle_ms > REACT_MS:
            text = f"knows of no stop of {symbol} and does nothing for {idle_ms} ms"
            self._broke(symbol, "naked", at_ms, "6", text)

    def _check_cleared(self, truth: Truth) -> None:
        """What a close has left of a position does not stay without a stop."""
        observer, symbol, at_ms = self._observer, truth.symbol, truth.at_ms
        cleared_ms = self._cleared_at_ms.get(symbol)
        if cleared_ms is None or observer.up_since_ms > cleared_ms:
            return
        is_troubled = at_ms - observer.disturbed_at_ms < BACKOFF_MS
        idle_ms = at_ms - max(cleared_ms, self._tried_at_ms[symbol])
        if not is_troubled and idle_ms > CLEARED_MS:
            text = f"the stop of {symbol} went before a close, and none has come for {idle_ms} ms"
            self._broke(symbol, "cleared", at_ms, "6", text)
            del self._cleared_at_ms[symbol]

    def _check_floor(self, truth: Truth) -> None:
        observer, symbol, at_ms = self._observer, truth.symbol, truth.at_ms
        below_ms = at_ms - self._since.get((truth.group, "below floor"), at_ms)
        if not below_ms or not observer.reads or not self._marks_flow(truth.group, at_ms):
            return
        knows_since_ms = self._knows_since_ms.get(symbol)
        if knows_since_ms is None or at_ms - observer.reads[-1][1] > READ_AGE_MAX_MS:
            return
        since_ms = max(observer.free_since_ms, self._marks_since_ms(truth.group), knows_since_ms)
        unanswered_ms = at_ms - self._closed_at_ms[symbol]
        if min(below_ms, at_ms - since_ms) > FLOOR_MS and unanswered_ms > FLOOR_MS + TIMEOUT_MS:
            text = f"{symbol} is below the floor for {below_ms} ms, and no close"
            self._broke(truth.group, "below floor", at_ms, "4", text)

    def _bills(self, scene: Scene, truth: Truth) -> None:
        """
        Whether a step on the next bill fires that must have acted a minute before it.

        Not of a position under water whose margin stays with what is left of it: the wallet would
        pay the closed part's loss, and as much margin would be at risk as before.
        """
        stays = self._on_reduce[truth.symbol] is MarginOnReduce.RETAINED
        fires = any(
            cost[BILLS.index(cut.rule.metric)] > cut.crosses_at * 1.01
            and 0 < cost[2] - scene.at_ms <= SURELY_BILLED_MS
            for cut in self._observer.rules.bill_steps(truth.mode)
            for cost in scene.costs[truth.symbol]
        ) and not (stays and truth.is_past(float(truth.entry)))
        self._lasts(truth.symbol, "dear", fires, scene.at_ms)

    def liquidated(self, symbol: str) -> None:
        """
        The exchange has taken a position over: was there a reason?

        A dead guard, a network that failed it, a user who changed things, or prices faster than
        its reaction are; so is a book so thin that its stop filled far away. Stops that the venue
        refuses are none, the guard stands in for them.
        """
        observer, at_ms = self._observer, self._observer.machine.at_ms
        group = self._open[symbol].group
        fills_well = at_ms - self._badly_filled_at_ms > FLOOR_MS + TIMEOUT_MS
        if observer.case.swarm.enabled <= {"gap"} and fills_well:
            observer.broke("0", f"{symbol} liquidated although nothing went wrong")
        since_ms = max(
            self._since.get((group, "below room"), at_ms),
            observer.up_since_ms,
            self._marks_since_ms(group),
        )
        was_able = observer.life and observer.hampered_at_ms < since_ms - FLOOR_MS
        if was_able and fills_well and at_ms - since_ms > FLOOR_MS + TIMEOUT_MS:
            text = f"{symbol} liquidated, {at_ms - since_ms} ms after its stop's level"
            observer.broke("0", text)

    # -- what is known -----------------------------------------------------------------------

    def _marks_flow(self, group: str, at_ms: int) -> bool:
        marks_at_ms = self._observer.marks_at_ms
        return all(
            at_ms - marks_at_ms.get(each, NEVER_MS) <= MARKS_LATE_MS
            for each in self._symbols(group)
        )

    def _marks_since_ms(self, group: str) -> int:
        """Since when the guard has been shown every price that it needs for the group."""
        since_ms = self._observer.marks_since_ms
        return max(
            (since_ms.get(each, NEVER_MS) for each in self._symbols(group)), default=NEVER_MS
        )

    def _symbols(self, group: str) -> list[str]:
        if group != CROSS:
            return [group]
        return [each.symbol for each in self._open.values() if each.group == CROSS]

    def _lasts(self, subject: str, name: str, holds: bool, at_ms: int) -> int:
        """How long a condition has held without a break."""
        if not holds:
            self._since.pop((subject, name), None)
            return 0
        return at_ms - self._since.setdefault((subject, name), at_ms)

    def _broke(self, subject: str, name: str, at_ms: int, promise: str, text: str) -> None:
        self._since[subject, name] = at_ms  # said once, not at every price from now on
        self._observer.broke(promise, text)
