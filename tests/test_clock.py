"""Wall time is anchored once and follows the event loop from there."""

import time

from bot.clock import Clock, system_wall_ms
from bot.rehearsal.loop import run_virtual


def test_the_anchor_is_the_time_now_and_the_loop_moves_it() -> None:
    async def main() -> list[int]:
        clock = Clock(1_000)
        seen = [clock.now_ms()]
        for duration_ms in (1, 999, 86_400_000):
            await clock.sleep_ms(duration_ms)
            seen.append(clock.now_ms())
        return seen

    assert run_virtual(main()) == [1_000, 1_001, 2_000, 86_402_000]


def test_two_clocks_of_one_loop_keep_their_difference() -> None:
    async def main() -> int:
        early = Clock(0)
        await early.sleep_ms(5_000)
        late = Clock(100_000)
        await late.sleep_ms(333)
        return late.now_ms() - early.now_ms()

    assert run_virtual(main()) == 95_000


def test_a_moment_is_waited_for_and_a_past_one_is_not() -> None:
    async def main() -> tuple[int, int]:
        clock = Clock(10_000)
        await clock.sleep_until_ms(10_250)
        waited = clock.now_ms()
        await clock.sleep_until_ms(3)
        return waited, clock.now_ms()

    assert run_virtual(main()) == (10_250, 10_250)


def test_it_does_not_drift_over_many_short_sleeps() -> None:
    async def main() -> int:
        clock = Clock(0)
        for _ in range(10_000):
            await clock.sleep_ms(7)
        return clock.now_ms()

    assert run_virtual(main()) == 70_000


def test_the_machines_clock_is_in_milliseconds() -> None:
    before_s = time.time()  # noqa: TID251 - what is compared with
    assert before_s * 1000 - 1 <= system_wall_ms() <= before_s * 1000 + 60_000
