"""A paper exchange at the prices of another one: moved by what it says, and by nothing else."""

from collections.abc import Awaitable, Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.clock import Clock
from bot.core.actions import AddMargin, ClosePosition, PlaceStop
from bot.core.events import FundingReported, MarkPrice
from bot.core.model import Side
from bot.core.units import Money, Price, Quantity, Ratio
from bot.exchange.paper.books import Cause
from bot.exchange.paper.following import SILENT_MS, TIMEOUT_MS, Followed
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.prices import FundingTerm, PathItem
from bot.exchange.paper.store import MemoryOnly
from bot.exchange.paper.venue import PaperAccount, PaperVenue
from bot.exchange.ports import Accepted, Unreachable, Unsure
from bot.rehearsal.loop import run_virtual
from tests.exchange.paper.build import ALICE, BTC, ETH, T0, D, contract, enter, machine_with

LATENCY_MS = 50
STOP = PlaceStop(BTC, Side.LONG, Quantity(D(1)), Price(D(48_000)))
HOUR_MS = 3_600_000


class Scene:
    """A long of one bitcoin from 50,000 on 5,000, on an exchange that follows another."""

    def __init__(self, machine: PaperMachine) -> None:
        self.machine = machine
        self.clock = Clock(machine.at_ms)
        self.followed = Followed(machine.instruments, machine.terms, self.clock)
        self.venue = PaperVenue(
            machine,
            self.followed,
            self.clock,
            latency_ms=LATENCY_MS,
            store=MemoryOnly(),
            faults=self.followed,
        )
        self.account = PaperAccount(self.venue, ALICE)

    async def hear(self, mark: str, after_ms: int = 1_000, symbol: str = BTC) -> None:
        """The other exchange says that the mark is there."""
        await self.clock.sleep_ms(after_ms)
        self.followed.take(MarkPrice(symbol, Price(D(mark)), self.clock.now_ms()))
        self.venue.advance()

    def bill(self, rate: str, next_at_ms: int) -> None:
        """It says what the next bill is."""
        now_ms = self.clock.now_ms()
        told = FundingReported(BTC, Ratio(D(rate)), next_at_ms, 8 * HOUR_MS, now_ms)
        self.followed.take(told)
        self.venue.advance()

    def causes(self) -> list[Cause]:
        """Why the position was reduced, each time."""
        return [each.cause for each in self.machine.realised(ALICE)]


def long_machine() -> PaperMachine:
    machine = machine_with(contract())
    enter(machine)
    return machine


def play(
    act: Callable[[Scene], Awaitable[None]], made: Callable[[], PaperMachine] = long_machine
) -> None:
    async def main() -> None:
        scene = Scene(made())
        async with scene.venue:
            await act(scene)

    run_virtual(main())


def test_the_price_that_comes_moves_the_exchange_and_liquidates_who_has_no_guard() -> None:
    async def act(scene: Scene) -> None:
        await scene.hear("49000")
        assert scene.machine.quotes[BTC].mark == 49_000
        assert scene.causes() == []
        await scene.hear("44000")
        assert scene.causes() == [Cause.LIQUIDATION]
        assert not (await scene.account.snapshot()).positions

    play(act)


def test_between_two_prices_it_travels_in_a_straight_line_and_meets_what_rests() -> None:
    async def act(scene: Scene) -> None:
        await scene.hear("50000")
        assert await scene.account.send(STOP, "stop") == Accepted()
        await scene.hear("40000")
        assert scene.causes() == [Cause.STOP]

    play(act)


def test_in_silence_nothing_is_answered_filled_or_liquidated() -> None:
    async def act(scene: Scene) -> None:
        await scene.hear("45500")
        before = scene.machine.at_ms
        await scene.clock.sleep_ms(SILENT_MS)
        assert scene.followed.unheard_of == [BTC]
        asked_ms = scene.clock.now_ms()
        with pytest.raises(Unreachable):
            await scene.account.snapshot()
        assert scene.clock.now_ms() - asked_ms == TIMEOUT_MS
        close = ClosePosition(BTC, Side.LONG, Quantity(D(1)))
        assert isinstance(await scene.account.send(close, "close"), Unsure)
        add = AddMargin(BTC, Side.LONG, Money(D(100)))
        assert isinstance(await scene.account.send(add, "add"), Unsure)
        await scene.clock.sleep_ms(24 * HOUR_MS)
        assert scene.machine.at_ms == before
        await scene.hear("45600")
        assert scene.causes() == []
        assert await scene.account.margin_changes(BTC, T0) == ()
        assert await scene.account.send(close, "again") == Accepted()
        assert scene.causes() == [Cause.CLOSE]

    play(act)


def test_one_contract_without_a_price_is_silence_for_all() -> None:
    """A wallet is worth nothing known where one of its marks is not."""

    def two() -> PaperMachine:
        machine = machine_with(contract(), contract(ETH))
        enter(machine)
        return machine

    async def act(scene: Scene) -> None:
        await scene.hear("50000")
        assert scene.followed.unheard_of == [ETH]
        with pytest.raises(Unreachable):
            await scene.account.snapshot()
        await scene.hear("3000", symbol=ETH)
        assert scene.followed.unheard_of == []
        assert (await scene.account.snapshot()).positions

    play(act, two)


def test_a_bill_that_comes_in_silence_is_paid_once_prices_are_known_again() -> None:
    async def act(scene: Scene) -> None:
        await scene.hear("50000")
        scene.bill("0.01", T0 + HOUR_MS)
        await scene.clock.sleep_ms(2 * HOUR_MS)
        assert scene.machine.funding(ALICE) == ()
        await scene.hear("50000")
        (paid,) = scene.machine.funding(ALICE)
        assert paid.amount == 500

    play(act)


def test_a_bill_told_again_is_no_news_and_a_new_rate_is() -> None:
    async def act(scene: Scene) -> None:
        await scene.hear("50000")
        for rate in ("0.01", "0.01", "0.02"):
            scene.bill(rate, T0 + HOUR_MS)
        assert _bills(scene) == []
        assert scene.machine.terms[BTC].rate == D("0.02")

    play(act)


def _bills(scene: Scene) -> list[PathItem]:
    """What has come and was not lived through."""
    return [item for item in scene.followed if isinstance(item, FundingTerm)]


@given(
    skew_ms=st.integers(-5_000, 5_000),
    every_ms=st.integers(1, 7).map(lambda seconds: seconds * 1_000),
    offset_ms=st.integers(0, 999),
)
def test_whoever_s_clock_is_ahead_every_bill_is_paid_once(
    skew_ms: int, every_ms: int, offset_ms: int
) -> None:
    """The other exchange settles every minute of its own clock; each rate it tells is new."""
    minute_ms, minutes = 60_000, 5
    wanted = list(_moments(skew_ms, every_ms, offset_ms, minutes * minute_ms))

    async def act(scene: Scene) -> None:
        for number, at_ms in enumerate(wanted):
            await scene.clock.sleep_until_ms(T0 + at_ms)
            theirs = at_ms + skew_ms
            next_ms = theirs - theirs % minute_ms + minute_ms
            told = FundingReported(
                BTC, Ratio(D(number + 1) / 10**6), T0 + next_ms, minute_ms, scene.clock.now_ms()
            )
            scene.followed.take(told)
            await scene.hear("50000", after_ms=0)
        paid = scene.machine.funding(ALICE)
        due = [at for at in range(0, wanted[-1] + 1, minute_ms) if wanted[0] < at <= wanted[-1]]
        assert len(paid) == len(due)

    play(act)


def _moments(skew_ms: int, every_ms: int, offset_ms: int, until_ms: int) -> Iterator[int]:
    """When we hear, by our clock: from ten seconds on, clear of the first bill's ambiguity."""
    yield from range(10_000 + offset_ms, until_ms + 10_000, every_ms)


def test_after_a_restart_the_line_goes_on_from_the_price_that_was_kept() -> None:
    """Nobody knows what the price did meanwhile: what lies between the two is met."""

    def kept() -> PaperMachine:
        machine = long_machine()
        assert machine.handle(ALICE, STOP, "stop", machine.at_ms) == Accepted()
        return PaperMachine.from_json(machine.to_json())

    async def act(scene: Scene) -> None:
        await scene.clock.sleep_ms(HOUR_MS)
        await scene.hear("46000")
        assert scene.causes() == [Cause.STOP]

    play(act, kept)
