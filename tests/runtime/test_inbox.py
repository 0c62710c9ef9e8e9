"""The inbox: order, coalescing of marks only, and what it does when it is full."""

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from bot.clock import Clock
from bot.core.events import (
    AccountMode,
    AccountReported,
    Command,
    Event,
    IntentState,
    Liquidated,
    MarkPrice,
    OutcomeReported,
    StreamLost,
    Tick,
)
from bot.core.model import Side
from bot.core.units import Price
from bot.rehearsal.loop import run_virtual
from bot.runtime.inbox import EVENTS_MAX, Inbox
from tests.runtime.build import T0, D, long_read


def mark(symbol: str, price: int, at_ms: int = 0) -> MarkPrice:
    return MarkPrice(symbol, Price(D(price)), at_ms)


def read(at_ms: int) -> AccountReported:
    return AccountReported(long_read(), at_ms, at_ms)


def outcome(number: int) -> OutcomeReported:
    return OutcomeReported(str(number), IntentState.ACKED, "", number)


def command(number: int) -> Command:
    return Command(AccountMode.HOLD, str(number), number)


def liquidated(number: int) -> Liquidated:
    return Liquidated("BTCUSDT", Side.LONG, Price(D(1)), number)


MAKERS: tuple[Callable[[int], Event], ...] = (outcome, command, liquidated, read)


def with_inbox(use: Callable[[Inbox], list[Event]]) -> list[Event]:
    async def main() -> list[Event]:
        return use(Inbox(Clock(T0)))

    return run_virtual(main())


def put_and_drain(*events: Event) -> list[Event]:
    def use(inbox: Inbox) -> list[Event]:
        for event in events:
            inbox.put(event)
        return inbox.drain()

    return with_inbox(use)


def test_of_marks_only_the_newest_of_each_symbol_is_kept() -> None:
    drained = put_and_drain(mark("A", 1), mark("B", 5), mark("A", 2), mark("A", 3))
    assert drained == [mark("A", 3), mark("B", 5)]


@given(st.lists(st.sampled_from(MAKERS), max_size=50))
def test_all_other_events_come_out_one_by_one_in_order(
    makers: list[Callable[[int], Event]],
) -> None:
    events = [make(number) for number, make in enumerate(makers)]
    assert put_and_drain(*events) == events


def test_marks_come_before_the_events_that_arrived_with_them() -> None:
    assert put_and_drain(outcome(1), mark("A", 1)) == [mark("A", 1), outcome(1)]


def test_a_drain_leaves_nothing() -> None:
    def use(inbox: Inbox) -> list[Event]:
        inbox.put(mark("A", 1))
        inbox.put(outcome(1))
        inbox.drain()
        return inbox.drain()

    assert with_inbox(use) == []


def test_a_full_inbox_gives_up_its_reads_as_a_whole_and_says_so() -> None:
    precious: list[Event] = [outcome(1), command(2), liquidated(3)]
    reads = [read(number) for number in range(EVENTS_MAX - len(precious))]
    assert put_and_drain(precious[0], *reads, *precious[1:], read(9_999)) == [
        *precious,
        StreamLost("the inbox was full", T0),
    ]


def test_an_inbox_that_is_not_quite_full_keeps_every_read() -> None:
    reads: list[Event] = [read(number) for number in range(EVENTS_MAX)]
    assert put_and_drain(*reads) == reads


def test_a_full_inbox_still_takes_what_is_no_read() -> None:
    events: list[Event] = [outcome(number) for number in range(EVENTS_MAX)]
    more: list[Event] = [outcome(-1), command(-2), liquidated(-3), StreamLost("x", 1)]
    assert put_and_drain(*events, *more) == [*events, *more]


def test_after_it_was_full_reads_are_taken_again() -> None:
    reads: list[Event] = [read(number) for number in range(EVENTS_MAX + 1)]
    newer = read(5_000)
    assert put_and_drain(*reads, newer) == [StreamLost("the inbox was full", T0), newer]


def woken_after_ms(events: tuple[tuple[int, Event], ...], until_ms: int) -> int:
    async def main() -> int:
        clock = Clock(T0)
        inbox = Inbox(clock)
        for after_ms, event in events:
            if after_ms == 0:
                inbox.put(event)
            else:
                inbox._clock._loop.call_later(after_ms / 1000, inbox.put, event)
        await inbox.wait(T0 + until_ms)
        return clock.now_ms() - T0

    return run_virtual(main())


def test_waiting_ends_with_the_first_event_or_at_its_time() -> None:
    assert woken_after_ms(((70, mark("A", 1)),), 1_000) == 70
    assert woken_after_ms(((70, Tick(0)),), 1_000) == 70
    assert woken_after_ms(((0, Tick(0)),), 1_000) == 0
    assert woken_after_ms(((2_000, Tick(0)),), 1_000) == 1_000
    assert woken_after_ms(((2_000, Tick(0)),), -5) == 0


def test_what_was_drained_does_not_wake_again() -> None:
    async def main() -> int:
        clock = Clock(T0)
        inbox = Inbox(clock)
        inbox.put(Tick(0))
        inbox.drain()
        await inbox.wait(T0 + 300)
        return clock.now_ms() - T0

    assert run_virtual(main()) == 300
