"""Waiting ends, and no task ends without a word."""

import asyncio

import pytest

from bot.exchange.ports import Unreachable
from bot.rehearsal.loop import run_virtual
from bot.runtime.waiting import READ_TIMEOUT_MS, TaskDropped, patience, to_its_end


async def _strays() -> None:
    raise asyncio.CancelledError


async def _waits() -> None:
    await asyncio.Event().wait()


async def test_a_cancellation_that_nobody_asked_for_ends_the_group() -> None:
    async def group() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(to_its_end(_strays))
            tasks.create_task(_waits())

    with pytest.raises(ExceptionGroup) as error:
        await group()
    assert error.group_contains(TaskDropped)


async def test_one_that_was_asked_for_is_an_end_like_any_other() -> None:
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(to_its_end(_waits))
        never_begun = tasks.create_task(to_its_end(_waits))
        never_begun.cancel()
        await asyncio.sleep(0)  # noqa: TID251 - one turn of the loop, no time
        waiting.cancel()
    assert waiting.cancelled()
    assert never_begun.cancelled()


def test_an_answer_that_does_not_come_is_unreachable_after_a_while() -> None:
    async def read() -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        with pytest.raises(Unreachable, match="no answer within"):
            async with patience():
                await _waits()
        return loop.time() - began

    assert run_virtual(read()) == READ_TIMEOUT_MS / 1000
