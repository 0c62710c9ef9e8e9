"""
Losses on a shared wallet: once one was taken, the stops of cross positions do not move away.

Told by the exchange's fills and by what the guard was shown, nothing of how the guard does it.
Where it is certain that no user had a hand in it, a stop that rests looser than before is a
broken promise; in all other cases a stop may be where it was when something was lost.
"""

from typing import TYPE_CHECKING

from bot.core.actions import CancelStop
from bot.core.model import AccountSnapshot, MarginMode
from bot.exchange.paper.books import Realised
from tests.sim.requests import NEVER_MS
from tests.sim.truth import CROSS, Scene, Truth

if TYPE_CHECKING:
    from tests.sim.observer import Observer

FOLLOW_MS = 15_000
"""By then what was on its way when the guard learned of a loss has come to its end."""

USER_MS = 60_000
"""A user who did something so lately may have lost it himself."""


class Losses:
    """What rested when the guard learned of a loss, and what rests now."""

    def __init__(self, observer: "Observer") -> None:
        self._observer = observer
        self._lost_at_ms = NEVER_MS
        """When something was lost that the guard has not been shown yet, and"""
        self._learned_at_ms = NEVER_MS
        """when it was shown such a thing last;"""
        self._is_the_guards = True
        """whether no user had a hand in it."""
        self._user_at_ms = NEVER_MS
        self._rested: dict[str, set[float]] = {}
        """Where stops rested in the newest read."""
        self._levels: dict[str, set[float]] = {}
        self._kept: dict[str, float] = {}
        self._wallet = 0.0
        self._looser_since_ms: dict[str, int] = {}

    def levels(self, symbol: str) -> tuple[float, ...]:
        """Where the stop of a position may be kept, whatever the policy says."""
        return tuple(sorted(self._levels.get(symbol, ())))

    def user_acted(self) -> None:
        """A user did something: from now on stops may be anywhere that the policy says."""
        self._user_at_ms = self._observer.clock.now_ms()
        self._is_the_guards = False
        self._kept.clear()

    def flat(self, symbol: str) -> None:
        """There is no position in `symbol` any more."""
        for facts in (self._levels, self._kept, self._looser_since_ms):
            facts.pop(symbol, None)

    def filled(self, fill: Realised) -> None:
        """Something was closed."""
        alone = fill.at_ms - self._user_at_ms > USER_MS
        users = self._observer.user_stops(fill.symbol)
        by_hand = fill.client_id and fill.client_id not in self._observer.requests
        before = self._lost_at_ms == NEVER_MS or self._is_the_guards
        self._is_the_guards = before and alone and not users and not by_hand
        self._lost_at_ms = fill.at_ms

    def read_delivered(self, snapshot: AccountSnapshot) -> None:
        """The guard is shown the account: what it has lost too, and what rests now."""
        rested, self._rested = self._rested, self._ours(snapshot)
        if self._observer.clock.now_ms() - self._learned_at_ms < FOLLOW_MS:
            # What closed may not be settled yet, and stops sent with it have come to rest since.
            for leg in snapshot.positions:
                if leg.margin_mode is MarginMode.CROSS and leg.symbol in self._rested:
                    self._levels.setdefault(leg.symbol, set()).update(self._rested[leg.symbol])
        if self._lost_at_ms == NEVER_MS or snapshot.taken_at_ms < self._lost_at_ms:
            return
        for symbol, gone in rested.items():  # with the close, where the venue has them reserve
            self._levels.setdefault(symbol, set()).update(gone)
        observer = self._observer
        self._lost_at_ms, self._learned_at_ms = NEVER_MS, observer.clock.now_ms()
        going = {
            each.action.target_client_id
            for each in observer.requests.values()
            if isinstance(each.action, CancelStop)
        }
        for leg in snapshot.positions:
            triggers = [
                float(stop.trigger_price)
                for stop in snapshot.stops
                if stop.symbol == leg.symbol
                and stop.side is leg.side
                and stop.quantity >= leg.quantity
                and stop.client_id in observer.requests
            ]
            staying = [
                float(stop.trigger_price)
                for stop in snapshot.stops
                if float(stop.trigger_price) in triggers
                and stop.symbol == leg.symbol
                and stop.client_id not in going
            ]
            if leg.margin_mode is not MarginMode.CROSS or not triggers:
                continue
            self._levels.setdefault(leg.symbol, set()).update(triggers)
            if self._is_the_guards and staying:
                self._kept[leg.symbol] = max(staying, key=lambda price: leg.side.sign * price)
                self._wallet = float(snapshot.wallet_balance)

    def _ours(self, snapshot: AccountSnapshot) -> dict[str, set[float]]:
        """Where the guard's own stops of each symbol rest in a read."""
        found: dict[str, set[float]] = {}
        for stop in snapshot.stops:
            if stop.client_id in self._observer.requests:
                found.setdefault(stop.symbol, set()).add(float(stop.trigger_price))
        return found

    def look(self, scene: Scene) -> None:
        """One moment of the account."""
        if float(self._observer.wallet) > self._wallet:
            self._kept.clear()
        for symbol, level in list(self._kept.items()):
            truth = scene.truths.get(symbol)
            if truth is None or truth.group != CROSS:
                self.flat(symbol)
            elif not self._is_looser(truth, level):
                self._looser_since_ms.pop(symbol, None)
            else:
                self._check(truth, level)

    def _check(self, truth: Truth, level: float) -> None:
        observer, at_ms = self._observer, truth.at_ms
        since_ms = self._looser_since_ms.setdefault(truth.symbol, at_ms)
        if observer.life and at_ms - max(since_ms, observer.up_since_ms) > FOLLOW_MS:
            self._kept.pop(truth.symbol)
            observer.broke("loosened", f"the stop of {truth.symbol} has left {level} after a loss")

    def _is_looser(self, truth: Truth, level: float) -> bool:
        """Whether a stop rests, and none that is as tight. None at all is another matter."""
        sign = truth.side.sign
        slack = 2 * self._observer.rules.tick(truth.symbol)
        ours = [
            sign * float(stop.trigger_price)
            for stop in self._observer.stops()[0]
            if stop.symbol == truth.symbol and stop.quantity >= truth.quantity
        ]
        return bool(ours) and max(ours) < sign * level - slack
