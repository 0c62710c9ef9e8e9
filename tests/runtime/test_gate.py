"""The gate: a banned address sends and asks nothing, and the guard hears of it."""

from dataclasses import replace

from bot.core.events import AddressBanned
from bot.core.model import Fill
from bot.core.units import Price, Quantity
from bot.exchange.ports import NOT_TOLD, Accepted, Banned, Barred, OrderFound
from bot.rehearsal.loop import run_virtual
from bot.runtime.executor import Executor
from bot.runtime.gate import Gate
from bot.runtime.reconcile import Reconciler
from tests.runtime.build import CLOSE, T0, D, Scene, approved, intent, long_read

UNTIL_MS = T0 + 60_000
FILLED = OrderFound("intent-1", resting=False, filled=Fill(Quantity(D(1)), Price(D(50_000))))


def bans(scene: Scene) -> list[int]:
    return [event.until_ms for _, event in scene.published if isinstance(event, AddressBanned)]


async def is_closed(gate: Gate) -> bool:
    for ask in (
        gate.snapshot,
        gate.server_time_ms,
        lambda: gate.order("BTCUSDT", "x"),
        lambda: gate.margin_changes("BTCUSDT", 0),
        lambda: gate.stream(print),
    ):
        try:
            await ask()
        except Banned as e:
            assert e.until_ms == UNTIL_MS  # noqa: PT017 - each of them must raise
        else:
            return False
    return isinstance(await gate.send(CLOSE, "id"), Barred)


def test_one_answer_of_a_ban_closes_it_to_everything_until_the_end() -> None:
    async def main() -> None:
        scene = Scene()
        gate = Gate(scene.account, scene.clock, scene.publish, 0)
        scene.account.replies.write(Barred("418", UNTIL_MS), Accepted())
        assert isinstance(await gate.send(CLOSE, "first"), Barred)
        assert await is_closed(gate)
        assert [name for _, name in scene.account.sent] == ["first"]
        assert scene.account.reads.asked == scene.account.streams == 0
        assert bans(scene) == [UNTIL_MS]
        await scene.clock.sleep_until_ms(UNTIL_MS)
        assert await gate.send(CLOSE, "second") == Accepted()
        assert await gate.snapshot() == long_read()

    run_virtual(main())


def test_a_read_that_is_answered_with_a_ban_closes_it_too() -> None:
    async def main() -> None:
        scene = Scene()
        gate = Gate(scene.account, scene.clock, scene.publish, 0)
        scene.account.reads.write(Banned("418", UNTIL_MS), long_read())
        assert await is_closed(gate)
        assert scene.account.sent == []
        assert bans(scene) == [UNTIL_MS]

    run_virtual(main())


def test_a_ban_of_an_earlier_process_is_heeded() -> None:
    async def main() -> None:
        scene = Scene()
        assert await is_closed(Gate(scene.account, scene.clock, scene.publish, UNTIL_MS))
        assert scene.account.reads.asked == 0

    run_virtual(main())


def test_a_close_whose_way_cannot_be_cleared_for_a_ban_is_not_sent_and_proven_absent() -> None:
    async def main() -> None:
        scene = Scene()
        gate = Gate(scene.account, scene.clock, scene.publish, 0)
        scene.account.replies.write(Barred("418", UNTIL_MS), Accepted())
        reconciler = Reconciler(gate, gate.snapshot, scene.clock, scene.publish)
        executor = Executor(gate, reconciler, scene.clock, scene.publish)
        close = approved(CLOSE)
        clearing = replace(close.intent, clears=("our-stop",))
        await executor.perform(replace(close, intent=clearing))
        assert len(scene.account.sent) == 1
        assert [str(state) for _, state in scene.outcomes()] == ["rejected"]

    run_virtual(main())


def test_evidence_is_looked_for_once_the_ban_is_over() -> None:
    async def main() -> None:
        scene = Scene()
        scene.account.orders.write(Banned("418", UNTIL_MS), FILLED)
        gate = Gate(scene.account, scene.clock, scene.publish, 0)
        reconciler = Reconciler(gate, gate.snapshot, scene.clock, scene.publish)
        await reconciler.settle(intent(CLOSE), acknowledged=False, told=NOT_TOLD)
        assert scene.account.orders.asked == 2
        assert scene.outcomes()[-1][0] >= UNTIL_MS - T0

    run_virtual(main())
