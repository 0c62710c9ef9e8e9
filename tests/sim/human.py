"""The user, who shares the account with the guard and asks nobody."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from decimal import Decimal
from random import Random

from bot.clock import Clock
from bot.core.actions import Action, AddMargin, CancelStop, ClosePosition, PlaceStop
from bot.core.events import AccountMode, Command
from bot.core.model import MarginMode, PositionMode, Side
from bot.core.units import Money, Price, Quantity, ceil_to, floor_to
from bot.exchange.paper.arithmetic import MONEY_STEP
from bot.exchange.paper.books import AccountBook, slot_of
from bot.exchange.paper.deleveraging import deleverage
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.venue import PaperVenue
from bot.exchange.ports import Accepted
from bot.runtime.guard import Guard
from tests.sim import meddling
from tests.sim.accounts import Kind, Opening
from tests.sim.case import ACCOUNT, Case
from tests.sim.ingredients import own_stream
from tests.sim.observer import Observer
from tests.sim.truth import Truth

FLAT_MS = 15_000
"""So long after a position is gone the user may open another."""

HOLD_MAX_MS = 600_000
_OTHER_MODE = {
    MarginMode.ISOLATED: MarginMode.CROSS,
    MarginMode.CROSS: MarginMode.ISOLATED,
}
_OTHER_POSITION_MODE = {
    PositionMode.ONE_WAY: PositionMode.HEDGE,
    PositionMode.HEDGE: PositionMode.ONE_WAY,
}

RETRY_MS = 1_000
BOT_MS = 2_000
"""A bot looks so often whether it has its position."""


class Human:
    """Does by hand what the seed wants, without a network in between."""

    def __init__(
        self,
        case: Case,
        venue: PaperVenue,
        clock: Clock,
        guards: list[Guard],
        observer: Observer,
    ) -> None:
        """`guards` holds the one that runs, if any does."""
        self._case, self._venue, self._clock = case, venue, clock
        self._guards, self._observer = guards, observer
        self._hold_max_ms = min(HOLD_MAX_MS, case.duration_ms // 3)
        self._orders = 0

    async def live(self) -> None:
        """Act at the appointed times."""
        random = self._case.stream("human")
        for at_ms, kind in self._case.swarm.human:
            await self._clock.sleep_until_ms(at_ms)
            shares = (random.random(), random.random())
            if kind == "user_holds":
                await self._hold(self._hold_max_ms * random.random())
                continue
            self._venue.at_now(self._acting(kind, Random(f"{shares}")))

    async def reopen(self) -> None:
        """Be a bot that knows of no guard, and opens at once what is closed, for a while."""
        random = own_stream(self._case.stream, "bot_reenters", "each")
        for first_ms, last_ms in self._case.swarm.outages["bot_reenters"].spans:
            await self._clock.sleep_until_ms(first_ms)
            while self._clock.now_ms() < last_ms:
                self._venue.at_now(lambda machine, _: self._reopen(machine, random))
                await self._clock.sleep_ms(BOT_MS)

    def _reopen(self, machine: PaperMachine, chance: Random) -> None:
        truths = self._observer.eyes.truths()
        for opening in self._case.openings:
            if opening.symbol not in truths:
                self._open("bot_reenters", machine, chance, opening, opening.side)

    async def _hold(self, duration_ms: float) -> None:
        """Have the guard hold for a while, if there is one to hear it."""
        for mode, pause_ms in ((AccountMode.HOLD, duration_ms), (AccountMode.ACTIVE, 0)):
            while not (self._guards and await self._was_heard(self._guards[-1], mode)):
                await self._clock.sleep_ms(RETRY_MS)
            await self._clock.sleep_ms(round(pause_ms))

    async def _was_heard(self, guard: Guard, mode: AccountMode) -> bool:
        """Tell it; whether it lived long enough to do as it was told."""
        guard.tell(Command(mode, "a human says so", self._clock.now_ms()))
        self._observer.hold(mode is AccountMode.HOLD)
        await self._clock.sleep_ms(RETRY_MS)
        return self._guards == [guard]

    def _acting(self, kind: str, chance: Random) -> Callable[[PaperMachine, int], None]:
        return lambda machine, _: self._act(kind, machine, chance)

    def _act(self, kind: str, machine: PaperMachine, chance: Random) -> None:
        truths = self._observer.eyes.truths()
        if kind == "user_reenters":
            self._reenter(machine, chance, truths)
            return
        if kind == "user_cancels":
            ours, _ = self._observer.stops()
            for stop in ours[:1]:
                self._order(kind, machine, CancelStop(stop.symbol, stop.side, stop.client_id))
            return
        if truths:
            self._change(kind, machine, chance, truths[chance.choice(sorted(truths))])

    def _change(  # noqa: C901 - a case a deed
        self, kind: str, machine: PaperMachine, chance: Random, truth: Truth
    ) -> None:
        symbol, side = truth.symbol, truth.side
        instrument, share = self._case.listed[symbol], _share(chance, 0.05, 0.95)
        match kind:
            case "user_closes":
                self._order(kind, machine, ClosePosition(symbol, side, truth.quantity))
            case "user_closes_part":
                part = Quantity(floor_to(truth.quantity * share, instrument.quantity_step))
                self._order(kind, machine, ClosePosition(symbol, side, part))
            case "user_places":
                view = self._observer.scene().real[truth.group]
                level = Decimal(view.levels[symbol])
                trigger = level + (truth.mark - level) * share
                at = Price(ceil_to(trigger, instrument.tick_size))
                part = Quantity(
                    ceil_to(truth.quantity * chance.choice((1, share)), instrument.quantity_step)
                )
                self._order(kind, machine, PlaceStop(symbol, side, part, at))
            case "user_adds":
                self._add(kind, machine, chance, truth)
            case "user_flips":
                self._order(kind, machine, ClosePosition(symbol, side, truth.quantity))
                opposite = Side.SHORT if side is Side.LONG else Side.LONG
                self._open(kind, machine, chance, self._opening(symbol), opposite)
            case "delisted":
                machine.delist(symbol, truth.mark, machine.at_ms)
                self._surprise(kind, symbol)
            case "margin_mode":
                self._clear(kind, machine, (truth,))
                other = _OTHER_MODE[truth.mode]
                machine.set_margin_mode(ACCOUNT, symbol, other, machine.at_ms)
                opening = replace(self._opening(symbol), margin_mode=other)
                self._open(kind, machine, chance, opening, side)
            case "position_mode":
                truths = tuple(self._observer.eyes.truths().values())
                self._clear(kind, machine, truths)
                other_mode = _OTHER_POSITION_MODE[machine._books.accounts[ACCOUNT].mode]
                reply = machine.set_position_mode(ACCOUNT, other_mode, machine.at_ms)
                self._observer.note(f"user: {other_mode}: {reply}")
                for each in truths:
                    self._open(kind, machine, chance, self._opening(each.symbol), each.side)
            case "deleveraged":
                part = Quantity(floor_to(truth.quantity * share, instrument.quantity_step))
                self._deleverage(machine, truth, chance.choice((part, truth.quantity)))
                self._surprise(kind, symbol)
            case "user_grows" | "user_withdraws" | "user_levers":
                self._observer.user_spent_at_ms = self._clock.now_ms()
                self._observer.disturbed(kind)
                done = meddling.meddle(kind, machine, truth, share)
                self._observer.note(f"user: {kind} {symbol}: {done}")
                machine.move(machine.at_ms, {})  # what follows from it, and a look at it
            case _:
                raise ValueError(f"no user does {kind}")

    def _clear(self, kind: str, machine: PaperMachine, truths: Iterable[Truth]) -> None:
        """Close positions, and take off the book what waits in their contracts."""
        self._observer.user_spent_at_ms = self._clock.now_ms()
        for truth in truths:
            self._order(kind, machine, ClosePosition(truth.symbol, truth.side, truth.quantity))
            for stop in machine.stops(ACCOUNT):
                if stop.symbol == truth.symbol:
                    self._order(kind, machine, CancelStop(stop.symbol, stop.side, stop.client_id))

    def _surprise(self, kind: str, symbol: str) -> None:
        self._observer.note(f"exchange: {symbol} is {kind}")
        self._observer.disturbed(kind)
        self._observer.look()

    def _deleverage(self, machine: PaperMachine, truth: Truth, quantity: Quantity) -> None:
        """Have the position fill what nobody else takes of somebody's liquidation."""
        book = machine._books.accounts[ACCOUNT]
        held = book.holdings[slot_of(book, truth.symbol, truth.side)]
        other = Side.SHORT if truth.side is Side.LONG else Side.LONG
        theirs = replace(held, side=other)
        for account, notice in deleverage(
            machine._books, AccountBook(), theirs, quantity, truth.mark
        ):
            machine._tell(account, notice)

    def _add(self, kind: str, machine: PaperMachine, chance: Random, truth: Truth) -> None:
        """Margin to an isolated position, or money to the wallet."""
        share = _share(chance, 0.05, 0.95)
        if chance.random() < 0.5 and truth.mode is MarginMode.ISOLATED:
            free = machine.snapshot(ACCOUNT, machine.at_ms).free
            step = self._case.listed[truth.symbol].rules.position_margin_step
            # With cross positions, so much that they stay as far away as a sane user wants.
            amount = Money(
                floor_to(free * share / (1 if self._case.kind is Kind.ALONE else 5), step)
            )
            self._order(kind, machine, AddMargin(truth.symbol, truth.side, amount))
            self._observer.user_spent_at_ms = self._clock.now_ms()
            return
        bound = sum(each.initial_margin for each in self._case.openings)
        amount = Money(floor_to(bound * share, MONEY_STEP))
        machine.deposit(ACCOUNT, amount)
        self._observer.note(f"user deposits {amount:f}")
        self._observer.disturbed(kind)

    def _reenter(self, machine: PaperMachine, chance: Random, truths: dict[str, Truth]) -> None:
        """Open another position, as large as the money allows, once the book is tidy."""
        now_ms, observer = self._clock.now_ms(), self._observer
        flat = [each for each in self._case.openings if each.symbol not in truths]
        if not flat:
            return
        opening = chance.choice(flat)
        symbol, flat_since_ms = opening.symbol, observer.flat_since_ms[opening.symbol]
        if now_ms - flat_since_ms < FLAT_MS:
            return
        left, theirs = (
            [stop for stop in stops if stop.symbol == symbol] for stops in observer.stops()
        )
        for stop in (*left, *theirs):
            self._order(
                "user_reenters", machine, CancelStop(stop.symbol, stop.side, stop.client_id)
            )
        self._open("user_reenters", machine, chance, opening, chance.choice(list(Side)))

    def _opening(self, symbol: str) -> Opening:
        return next(each for each in self._case.openings if each.symbol == symbol)

    def _open(
        self, kind: str, machine: PaperMachine, chance: Random, opening: Opening, side: Side
    ) -> None:
        observer, symbol = self._observer, opening.symbol
        free = machine.snapshot(ACCOUNT, machine.at_ms).free
        margin = Money(free * _share(chance, 0.3, 0.7))
        most = machine.quantity_for(symbol, margin, opening.leverage)
        quantity = min(most, opening.quantity)
        try:
            machine.open_position(
                ACCOUNT,
                symbol,
                side,
                quantity=quantity,
                leverage=opening.leverage,
                at_ms=machine.at_ms,
                margin_mode=opening.margin_mode,
            )
        except ValueError as e:
            observer.note(f"user cannot open: {e}")
            return
        observer.note(f"user opens {side} {quantity} {symbol}")
        observer.disturbed(kind)
        observer.look()

    def _order(self, kind: str, machine: PaperMachine, action: Action) -> None:
        self._orders += 1
        reply = machine.handle(ACCOUNT, action, f"human-{self._orders}", machine.at_ms)
        self._observer.note(f"user: {action}: {reply}")
        if isinstance(reply, Accepted):
            self._observer.disturbed(kind)


def _share(chance: Random, low: float, high: float) -> Decimal:
    return Decimal(f"{chance.uniform(low, high):.4f}")
