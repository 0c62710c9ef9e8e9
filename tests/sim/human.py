"""The user, who shares the account with the guard and asks nobody."""

from collections.abc import Callable
from decimal import Decimal
from random import Random

from bot.clock import Clock
from bot.core.actions import Action, AddMargin, CancelStop, ClosePosition, PlaceStop
from bot.core.model import Side
from bot.core.units import Money, Price, Quantity, ceil_to, floor_to
from bot.exchange.paper.arithmetic import MONEY_STEP
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.venue import PaperVenue
from bot.exchange.ports import Accepted
from tests.sim.case import ACCOUNT, Case
from tests.sim.observer import NEVER_MS, Observer
from tests.sim.truth import Truth

FLAT_MS = 15_000
"""So long after a position is gone the user may open another."""

TIDY_MS = 40_000
"""By then the guard has taken its stops of the old one off the book."""


class Human:
    """Does by hand what the seed wants, without a network in between."""

    def __init__(self, case: Case, venue: PaperVenue, clock: Clock, observer: Observer) -> None:
        self._case, self._venue, self._clock = case, venue, clock
        self._observer = observer
        self._orders = 0

    async def live(self) -> None:
        """Act at the appointed times."""
        random = self._case.stream("human")
        for at_ms, kind in self._case.swarm.human:
            await self._clock.sleep_until_ms(at_ms)
            shares = (random.random(), random.random())
            self._venue.at_now(self._acting(kind, Random(f"{shares}")))

    def _acting(self, kind: str, chance: Random) -> Callable[[PaperMachine, int], None]:
        return lambda machine, _: self._act(kind, machine, chance)

    def _act(self, kind: str, machine: PaperMachine, chance: Random) -> None:
        truths = self._observer.truth()
        if kind == "user_reenters":
            if not truths:
                self._reenter(machine, chance)
            return
        if kind == "user_cancels":
            ours, _ = self._observer.stops()
            for stop in ours[:1]:
                self._order(kind, machine, CancelStop(stop.symbol, stop.side, stop.client_id))
            return
        for truth in truths:
            self._change(kind, machine, chance, truth)

    def _change(self, kind: str, machine: PaperMachine, chance: Random, truth: Truth) -> None:
        instrument, side = self._case.instrument, truth.side
        symbol, share = instrument.symbol, _share(chance, 0.05, 0.95)
        match kind:
            case "user_closes":
                self._order(kind, machine, ClosePosition(symbol, side, truth.quantity))
            case "user_closes_part":
                part = Quantity(floor_to(truth.quantity * share, instrument.quantity_step))
                self._order(kind, machine, ClosePosition(symbol, side, part))
            case "user_places":
                trigger = truth.level + (truth.mark - truth.level) * share
                at = Price(ceil_to(trigger, instrument.tick_size))
                part = Quantity(
                    ceil_to(truth.quantity * chance.choice((1, share)), instrument.quantity_step)
                )
                self._order(kind, machine, PlaceStop(symbol, side, part, at))
            case "user_adds":
                free = machine.snapshot(ACCOUNT, machine.at_ms).free
                step = instrument.rules.position_margin_step
                amount = Money(floor_to(free * share, step))
                if chance.random() < 0.5:
                    self._order(kind, machine, AddMargin(symbol, side, amount))
                    self._observer.user_spent_at_ms = self._clock.now_ms()
                else:
                    machine.deposit(ACCOUNT, Money(floor_to(truth.margin * share, MONEY_STEP)))
                    self._observer.note(f"user deposits {truth.margin * share:f}")
                    self._observer.disturbed(kind)
            case _:
                raise ValueError(f"no user does {kind}")

    def _reenter(self, machine: PaperMachine, chance: Random) -> None:
        """Open another position, as large as the money allows, once the book is tidy."""
        now_ms, observer = self._clock.now_ms(), self._observer
        if observer.flat_since_ms == NEVER_MS or now_ms - observer.flat_since_ms < FLAT_MS:
            return
        left, theirs = observer.stops()
        troubled_ms = max(observer.flat_since_ms, observer.disturbed_at_ms, observer.up_since_ms)
        if left and observer.life and now_ms - troubled_ms > TIDY_MS:
            observer.broke("6", f"stops of a closed position still rest: {left}")
        for stop in (*left, *theirs):
            self._order(
                "user_reenters", machine, CancelStop(stop.symbol, stop.side, stop.client_id)
            )
        symbol, leverage = self._case.instrument.symbol, self._case.leverage
        free = machine.snapshot(ACCOUNT, machine.at_ms).free
        margin = Money(free * _share(chance, 0.3, 0.7))
        quantity = min(machine.quantity_for(symbol, margin, leverage), self._case.quantity)
        side = chance.choice(list(Side))
        try:
            machine.open_position(
                ACCOUNT, symbol, side, quantity=quantity, leverage=leverage, at_ms=machine.at_ms
            )
        except ValueError as e:
            observer.note(f"user cannot open: {e}")
            return
        observer.note(f"user opens {side} {quantity}")
        observer.disturbed("user_reenters")
        observer.look()

    def _order(self, kind: str, machine: PaperMachine, action: Action) -> None:
        self._orders += 1
        reply = machine.handle(ACCOUNT, action, f"human-{self._orders}", machine.at_ms)
        self._observer.note(f"user: {action}: {reply}")
        if isinstance(reply, Accepted):
            self._observer.disturbed(kind)


def _share(chance: Random, low: float, high: float) -> Decimal:
    return Decimal(f"{chance.uniform(low, high):.4f}")
