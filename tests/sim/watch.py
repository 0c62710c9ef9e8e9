"""
What must hold while time passes: the stop rests, the floor is acted on, nobody is liquidated.

Two clocks: within `REACT_MS` of *knowing*, the guard must have tried, whatever goes wrong; and
within `QUIET_MS` of the last thing that went wrong, everything must be as it should be.
"""

from decimal import Decimal
from typing import TYPE_CHECKING

from bot.core.actions import ClosePosition, PlaceStop
from bot.core.model import AccountSnapshot, Position
from bot.core.units import Price
from bot.exchange.paper.arithmetic import liquidation_price
from tests.sim.truth import Truth

if TYPE_CHECKING:
    from tests.sim.observer import Observer

NEVER_MS = -(10**15)
QUIET_MS = 30_000
"""After everything works again, protection is as it should be within this time."""

REACT_MS = 6_000
"""A stop that may be on its way is waited for 5 s; then another one is sent."""

FLOOR_MS = 5_000
TIMEOUT_MS = 3_000
BACKOFF_MS = 61_000
"""A venue that refuses stops is asked at least once a minute."""

READ_AGE_MAX_MS = 55_000
"""On older reads the guard need not act (the limit is a minute)."""

DRIFT = Decimal("0.1")


class Watch:
    """Conditions with the moment since which they hold."""

    MARKS_PAUSE_MS = 1_000

    def __init__(self, observer: "Observer") -> None:
        self._observer = observer
        self._since: dict[str, int] = {}
        self.marks_since_ms = NEVER_MS
        self.refused_at_ms = NEVER_MS
        self._tried_at_ms = NEVER_MS
        self._closed_at_ms = NEVER_MS
        self._saw_naked_at_ms = NEVER_MS
        self._knows_since_ms = NEVER_MS

    def tried(self, action: PlaceStop | ClosePosition) -> None:
        """The guard sent something that protects."""
        self._tried_at_ms = self._observer.clock.now_ms()
        if isinstance(action, ClosePosition):
            self._closed_at_ms = self._tried_at_ms

    def read_delivered(self, snapshot: AccountSnapshot) -> None:
        """The guard was shown this."""
        now_ms = self._observer.clock.now_ms()
        if not snapshot.positions:
            self._knows_since_ms = NEVER_MS
        elif self._knows_since_ms == NEVER_MS:
            self._knows_since_ms = now_ms
        naked_since_ms = self._since.get("naked", -NEVER_MS)
        shows = snapshot.positions and snapshot.taken_at_ms >= naked_since_ms
        if shows and self._saw_naked_at_ms < max(naked_since_ms, self._observer.up_since_ms):
            self._saw_naked_at_ms = now_ms

    def flat(self) -> None:
        """There is no position."""
        self._since.clear()

    def level_of(self, position: Position) -> Decimal:
        """The liquidation price of a position as it was reported, by the exchange's rules."""
        return liquidation_price(
            self._observer.case.instrument,
            position.side,
            position.quantity,
            position.entry_price,
            position.isolated_margin,
        )

    def position(self, truth: Truth, users: tuple[Decimal, ...]) -> None:
        """The position at one moment."""
        policy, sign = self._observer.case.policy, truth.side.sign
        proper = self._observer.proper_stops(truth)
        naked_ms = self._lasts("naked", not proper, truth.at_ms)
        past_ms = self._lasts("below floor", truth.distance < policy.protect.floor, truth.at_ms)
        self._lasts("below room", truth.distance < policy.protect.room, truth.at_ms)
        wanted = self._observer.rules.stops_wanted(truth, truth.level, truth.quantity, users)
        ticks = 2 * self._observer.case.instrument.tick_size

        def near(trigger: Price, target: Decimal) -> bool:
            return abs(trigger - target) <= abs(target - truth.level) * DRIFT + ticks

        placed = any(near(stop.trigger_price, to) for stop in proper for to in wanted)
        tightest = max(wanted, key=lambda price: sign * price)
        stray = any(
            sign * (stop.trigger_price - tightest) > 0 and not near(stop.trigger_price, tightest)
            for stop in proper
        )
        drifted_ms = self._lasts("drifted", bool(proper) and (stray or not placed), truth.at_ms)
        if not self._observer.life or wanted[0] <= 0:
            return
        self._check_quiet(truth.at_ms, naked_ms, drifted_ms)
        self._check_reaction(truth, naked_ms)
        self._check_floor(truth.at_ms, past_ms)

    def _check_quiet(self, at_ms: int, naked_ms: int, drifted_ms: int) -> None:
        observer = self._observer
        quiet_ms = at_ms - max(observer.disturbed_at_ms, observer.up_since_ms)
        if min(quiet_ms, naked_ms) > QUIET_MS:
            self._broke("naked", at_ms, "6", "no proper stop rests although everything works")
        if min(quiet_ms, drifted_ms) > QUIET_MS:
            self._broke("drifted", at_ms, "6", "a stop rests where it does not belong")

    def _check_reaction(self, truth: Truth, naked_ms: int) -> None:
        observer, at_ms = self._observer, truth.at_ms
        if not naked_ms or not observer.read:
            return
        knows_since_ms = max(self._saw_naked_at_ms, observer.up_since_ms, self._since["naked"])
        recently_refused = at_ms - self.refused_at_ms <= BACKOFF_MS
        read_age_ms = at_ms - observer.read[0][1]
        knows = self._saw_naked_at_ms >= self._since["naked"] and read_age_ms < READ_AGE_MAX_MS
        idle_ms = at_ms - max(knows_since_ms, self._tried_at_ms)
        if knows and not recently_refused and idle_ms > REACT_MS:
            self._broke("naked", at_ms, "6", f"knows of no stop and does nothing for {idle_ms} ms")

    def _check_floor(self, at_ms: int, below_ms: int) -> None:
        observer = self._observer
        marks_flow = at_ms - observer.marks_at_ms <= self.MARKS_PAUSE_MS + 5_000
        if not below_ms or not observer.read or not marks_flow:
            return
        known = self._knows_since_ms != NEVER_MS
        if not known or at_ms - observer.read[0][1] > READ_AGE_MAX_MS:
            return
        able_ms = at_ms - max(observer.up_since_ms, self.marks_since_ms, self._knows_since_ms)
        unanswered_ms = at_ms - self._closed_at_ms
        if min(below_ms, able_ms) > FLOOR_MS and unanswered_ms > FLOOR_MS + TIMEOUT_MS:
            self._broke("below floor", at_ms, "4", f"below the floor for {below_ms} ms, no close")

    def liquidated(self) -> None:
        """
        The exchange has taken the position over: was there a reason?

        A dead guard, a network that failed it, a user who changed things, or prices faster than
        its reaction are; stops that the venue refuses are none, the guard stands in for them.
        """
        observer, at_ms = self._observer, self._observer.machine.at_ms
        if observer.case.swarm.enabled <= {"gap"}:
            observer.broke("0", "liquidated although nothing went wrong")
        since_ms = max(
            self._since.get("below room", at_ms), observer.up_since_ms, self.marks_since_ms
        )
        was_able = observer.life and observer.hampered_at_ms < since_ms - FLOOR_MS
        if was_able and at_ms - since_ms > FLOOR_MS + TIMEOUT_MS:
            observer.broke("0", f"liquidated, {at_ms - since_ms} ms after its stop's level")

    def _lasts(self, name: str, holds: bool, at_ms: int) -> int:
        """How long a condition has held without a break."""
        if not holds:
            self._since.pop(name, None)
            return 0
        return at_ms - self._since.setdefault(name, at_ms)

    def _broke(self, name: str, at_ms: int, promise: str, text: str) -> None:
        self._since[name] = at_ms  # said once, not at every price from now on
        self._observer.broke(promise, text)
