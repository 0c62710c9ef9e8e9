"""Apprise against a real web server on this machine: taken, refused, silent, gone."""

import asyncio
import logging
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from bot.alerts.channel import AppriseChannel, Delivered, Delivery, Failed, UnusableChannel
from bot.alerts.notice import Notice
from bot.testing.builders import ACCOUNT
from tests.alerts.build import BTC, failure, notice
from tests.alerts.receiver import Receiver, receiving
from tests.cli.test_exits import ROOT


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as here:
        yield here


def send(url: str, each: Notice, attempt_s: float = 10) -> Delivery:
    return asyncio.run(AppriseChannel(url, attempt_s).send(each))


def test_a_notice_arrives_with_its_account_position_and_severity(receiver: Receiver) -> None:
    assert send(receiver.url, notice("4.0% from liquidation")) == Delivered()
    assert send(receiver.url, failure("the venue refused")) == Delivered()
    told = [(each["title"], each["message"], each["type"]) for each in receiver.received]
    assert told == [
        (f"liqguard {ACCOUNT}: {BTC}", "4.0% from liquidation", "warning"),
        (f"liqguard {ACCOUNT}: {BTC}", "the venue refused", "failure"),
    ]


def test_a_refusal_is_a_failure(receiver: Receiver) -> None:
    receiver.status = 500
    assert isinstance(send(receiver.url, notice("x")), Failed)


def test_nobody_there_is_a_failure(receiver: Receiver) -> None:
    receiver.port = 1
    assert isinstance(send(receiver.url, notice("x")), Failed)


def test_silence_is_a_failure_and_holds_up_neither_loop_nor_end(receiver: Receiver) -> None:
    receiver.stalled.clear()
    begun_s = time.perf_counter()

    async def main() -> tuple[Delivery, int]:
        channel = AppriseChannel(f"{receiver.url}?rto=60&cto=60", attempt_s=0.5)
        sending = asyncio.ensure_future(channel.send(notice("x")))
        turns = 0
        while not sending.done():
            await asyncio.wait([sending], timeout=0.01)
            turns += 1
        return await sending, turns

    delivery, turns = asyncio.run(main())
    assert delivery == Failed("no answer within 0.5 s")
    assert turns > 10
    assert time.perf_counter() - begun_s < 5


CHILD = """
import asyncio, sys
from bot.alerts.channel import AppriseChannel
from tests.alerts.build import notice
print(asyncio.run(AppriseChannel(sys.argv[1], 0.2).send(notice("x"))).reason)
"""


def test_an_attempt_that_hangs_does_not_keep_the_process(receiver: Receiver) -> None:
    receiver.stalled.clear()
    child = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CHILD, f"{receiver.url}?rto=600&cto=600"],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert child.stdout == "no answer within 0.2 s\n"


def test_the_url_is_in_no_failure_and_no_log(
    receiver: Receiver, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    receiver.status = 500
    with caplog.at_level(logging.DEBUG):
        failed = send(receiver.url, notice("x"))
    written = capfd.readouterr()
    apprises = [each for each in caplog.records if each.name.startswith("bot")]
    for text in (str(failed), written.out, written.err, *map(str, apprises)):
        assert "a-made-up-word" not in text


@pytest.mark.parametrize("url", ["", "nonsense", "nonsense://x", "json://"])
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(UnusableChannel):
        AppriseChannel(url)


def test_what_a_library_raises_is_a_failure(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: AppriseChannel, each: Notice) -> Delivery:
        raise ZeroDivisionError(receiver.url)

    monkeypatch.setattr(AppriseChannel, "_notify", broken)
    assert send(receiver.url, notice("x")) == Failed("the attempt ended with ZeroDivisionError")
