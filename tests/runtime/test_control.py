"""The control socket: what it shows, what it takes, and what it makes of nonsense."""

import asyncio
import json
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from decimal import Decimal
from pathlib import Path

import pytest

from bot.alerts.box import Routes
from bot.alerts.outbox import Outbox
from bot.alerts.store import BoxFile
from bot.clock import Clock
from bot.core.events import AccountMode
from bot.rehearsal.loop import run_virtual
from bot.runtime.control import (
    SOCKET_PATH_MAX,
    Answer,
    ControlError,
    ask,
    listening,
    socket_path,
    status,
)
from bot.runtime.guard import Guard
from bot.runtime.notices import NoticeReader
from bot.testing.builders import ACCOUNT
from tests.runtime.build import policy
from tests.runtime.paper import World, world

CALM = (0, 50_000)
STATUS = {"ask": "status"}


def untold(here: World) -> Outbox:
    """An outbox of an account that nobody is told of."""
    assert isinstance(here.clock, Clock)
    return Outbox(
        journal=here.journal,
        written=asyncio.Event(),
        spooled=tuple,
        read=NoticeReader(here.journal, ACCOUNT).read,
        routes=Routes({}, 0),
        channels={},
        file=BoxFile(Path("never")),
        clock=here.clock,
    )


@asynccontextmanager
async def listened(path: Path, *corners: tuple[int, int]) -> AsyncIterator[tuple[World, Guard]]:
    """A guard that has placed its stop and answers on `path`."""
    async with (
        world(*corners) as here,
        here.guarding() as guard,
        listening(path, guard, untold(here), here.clock.now_ms, lambda: "paper"),
    ):
        await here.clock.sleep_ms(20_000)
        yield here, guard


async def send_line(path: Path, line: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(line)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    return answer


def talk(path: Path, *lines: bytes) -> list[Answer]:
    async def main() -> list[Answer]:
        async with listened(path, CALM):
            return [json.loads(await send_line(path, line)) for line in lines]

    return run_virtual(main())


def rounded(text: str, to: str) -> str:
    return str(Decimal(text).quantize(Decimal(to)))


def test_status_shows_the_account_and_its_position_with_numbers_as_text(tmp_path: Path) -> None:
    (shown,) = talk(tmp_path / "s", b'{"ask": "status"}\n')
    (position,) = shown.pop("positions")
    assert shown.pop("at_ms") >= 20_000
    assert 0 <= shown.pop("account_read_age_ms") <= 31_000
    assert 0 <= shown.pop("decision_age_ms") <= 31_000
    assert shown == {
        "run": "paper",
        "account": "main",
        "alerts": {"channels": [], "dropped": 0},
        "mode": "active",
        "mode_reason": "",
        "policy": policy().digest,
        "wallet_balance": "5000.00000000",
        "free": "5000.00000000",
        "top_up_spent_1h": "0",
        "top_up_spent_24h": "0",
        "intents_open": [],
        "cross": {},
        "refunds_due": [],
    }
    assert 0 <= position.pop("mark_age_ms") <= 31_000
    assert rounded(position.pop("liquidation_distance"), "0.0001") == "0.0955"
    assert rounded(position.pop("margin_ratio"), "0.0001") == "0.0500"
    assert rounded(position.pop("liquidation_price"), "0.1") == "45226.2"
    assert position == {
        "symbol": "BTCUSDT",
        "side": "long",
        "quantity": "1",
        "entry_price": "50000",
        "margin_mode": "isolated",
        "isolated_margin": "5000.00000000",
        "steps": dict.fromkeys(("ladder/warn", "ladder/top-up", "ladder/out"), "inactive"),
        "stop": "rests",
        "stop_price": "45915.0",
        "mark_price": "50000",
    }


def test_a_guard_that_has_not_decided_yet_can_be_asked() -> None:
    async def main() -> Answer:
        async with world(CALM) as here:
            return status(await here.guard(), untold(here), here.clock.now_ms())

    shown = run_virtual(main())
    assert shown["positions"] == []
    assert shown["account_read_age_ms"] is None
    json.dumps(shown)


def test_a_position_that_cannot_be_measured_says_why() -> None:
    async def main() -> Answer:
        async with world(CALM) as here, here.guarding() as guard:
            await here.clock.sleep_ms(1_000)
            here.venue.seen = lambda: ()  # type: ignore[method-assign]
            await here.clock.sleep_ms(120_000)
            return status(guard, untold(here), here.clock.now_ms())

    (position,) = run_virtual(main())["positions"]
    assert position["unknown"] == "the mark price is older than 5000 ms"
    assert "liquidation_distance" not in position
    assert position["mark_age_ms"] > 60_000


def test_what_was_spent_is_shown(tmp_path: Path) -> None:
    async def main() -> Answer:
        async with listened(tmp_path / "s", CALM, (5_000, 47_000)):
            return await ask(tmp_path / "s", STATUS)

    shown = run_virtual(main())
    assert Decimal(shown["top_up_spent_1h"]) == Decimal(shown["top_up_spent_24h"]) == 1_000
    assert Decimal(shown["free"]) == 4_000


def test_hold_and_resume_reach_the_guard_with_their_reason(tmp_path: Path) -> None:
    path = tmp_path / "s"

    async def main() -> None:
        async with listened(path, CALM) as (here, guard):
            held = await ask(path, {"ask": "mode", "mode": "hold", "reason": "lunch"})
            assert held == {"mode": "hold"}
            await here.clock.sleep_ms(10)
            shown = await ask(path, STATUS)
            assert (shown["mode"], shown["mode_reason"]) == ("hold", "lunch")
            await ask(path, {"ask": "mode", "mode": "active", "reason": "back"})
            await here.clock.sleep_ms(10)
            assert guard.state.mode is AccountMode.ACTIVE

    run_virtual(main())


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"nonsense\n",
        b"\xff\xfe\n",
        b"[]\n",
        b"5\n",
        b'"status"\n',
        b"null\n",
        b"{}\n",
        b'{"ask": "panic"}\n',
        b'{"ask": null}\n',
        b'{"ask": "mode"}\n',
        b'{"ask": "mode", "mode": "asleep", "reason": "x"}\n',
        b'{"ask": "mode", "mode": "hold"}\n',
        b'{"ask": "status"',
        b"",
    ],
)
def test_a_bad_request_is_answered_with_an_error_and_the_guard_goes_on(
    tmp_path: Path, line: bytes
) -> None:
    bad, good = talk(tmp_path / "s", line, b'{"ask": "status"}\n')
    assert list(bad) == ["error"]
    assert bad["error"].startswith("expected")
    assert good["mode"] == "active"


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b'{"ask": "' + b"x" * 200_000 + b'"}\n', id="endless"),
        pytest.param(b"[" * 60_000 + b"\n", id="deep"),
    ],
)
def test_who_sends_what_no_request_can_be_is_hung_up_on(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "s"

    async def main() -> Answer:
        async with listened(path, CALM):
            with suppress(ConnectionError):
                assert await send_line(path, line) == b""
            return await ask(path, STATUS)

    assert run_virtual(main())["mode"] == "active"


def test_a_caller_that_goes_away_or_says_nothing_does_not_disturb(tmp_path: Path) -> None:
    path = tmp_path / "s"

    async def main() -> Answer:
        async with listened(path, CALM) as (here, _):
            for _ in range(3):
                _, writer = await asyncio.open_unix_connection(path)
                writer.write(b'{"ask": "status"}\n')
                writer.close()
                await here.clock.sleep_ms(10)
            _, silent = await asyncio.open_unix_connection(path)
            answer = await ask(path, STATUS)
            silent.close()
            return answer

    assert run_virtual(main())["account"] == "main"


def test_only_its_owner_may_use_the_socket_and_it_goes_with_the_guard(tmp_path: Path) -> None:
    path = tmp_path / "s"

    async def main() -> None:
        async with listened(path, CALM):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert not path.exists()

    run_virtual(main())


def test_a_socket_that_a_killed_process_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_text("left behind")
    (shown,) = talk(path, b'{"ask": "status"}\n')
    assert shown["account"] == "main"


def test_a_path_that_the_system_refuses_is_said_beforehand() -> None:
    fits = Path("/" + "a" * (SOCKET_PATH_MAX - len("//main.sock")))
    assert len(str(socket_path(fits, "main"))) == SOCKET_PATH_MAX
    with pytest.raises(ControlError) as raised:
        socket_path(fits / "b", "main")
    assert str(raised.value) == (
        f"LIQGUARD_STATE_DIR: expected a path that keeps {fits}/b/main.sock within "
        f"{SOCKET_PATH_MAX} characters"
    )


def test_nobody_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ControlError) as raised:
        asyncio.run(ask(tmp_path / "s", STATUS))
    assert str(raised.value) == f"no guard answers on {tmp_path / 's'}: FileNotFoundError"


@pytest.mark.parametrize("says", [b"", b"half an ans", b"nonsense\n"])
def test_one_who_hangs_up_or_answers_nonsense_is_no_guard(tmp_path: Path, says: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(says)
        writer.close()

    async def main() -> Answer:
        async with await asyncio.start_unix_server(serve, tmp_path / "s"):
            return await ask(tmp_path / "s", STATUS)

    with pytest.raises(ControlError, match="no guard answers on"):
        asyncio.run(main())


def test_one_who_never_answers_is_no_guard(tmp_path: Path) -> None:
    async def main() -> None:
        hung_up = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()
            await writer.wait_closed()
            hung_up.set()

        async with await asyncio.start_unix_server(serve, tmp_path / "s"):
            with pytest.raises(ControlError, match="TimeoutError"):
                await ask(tmp_path / "s", STATUS)
            await hung_up.wait()

    run_virtual(main())
