"""What is logged can be read by people and machines, and never carries a secret."""

import json
import logging
import re
from collections.abc import Iterator
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
import structlog
from pydantic import SecretStr

from bot.logs import REDACTED, LogFormat, LogLevel, configure

CANARY = "c4n4ry/+ of\nours="
FORMATS: list[LogFormat] = ["console", "json"]


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root, ccxt = logging.getLogger(), logging.getLogger("ccxt")
    before = root.handlers, root.level, ccxt.level
    yield
    root.handlers, root.level, ccxt.level = before
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def logging_to(
    log_format: LogFormat = "json",
    level: LogLevel = "info",
    *,
    is_terminal: bool = False,
    no_color: bool = False,
) -> StringIO:
    stream = StringIO()
    configure(
        log_format,
        level,
        stream,
        is_terminal=is_terminal,
        no_color=no_color,
        secrets=[SecretStr(CANARY), SecretStr("")],
    )
    return stream


def lines(stream: StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_json_line_has_event_level_time_and_context() -> None:
    stream = logging_to()
    structlog.contextvars.bind_contextvars(account="main")
    structlog.get_logger().warning("order.sent", quantity=Decimal("0.10"), nan=float("nan"))
    [line] = lines(stream)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line.pop("timestamp"))
    assert line == {
        "event": "order.sent",
        "level": "warning",
        "account": "main",
        "quantity": "0.10",
        "nan": "nan",
    }


@pytest.mark.parametrize(
    ("log_format", "is_terminal", "no_color", "json_lines", "coloured"),
    [
        ("auto", True, False, False, True),
        ("auto", True, True, False, False),
        ("auto", False, False, True, False),
        ("console", False, False, False, False),
        ("json", True, False, True, False),
    ],
)
def test_the_form_follows_the_terminal(
    log_format: LogFormat, is_terminal: bool, no_color: bool, json_lines: bool, coloured: bool
) -> None:
    stream = logging_to(log_format, is_terminal=is_terminal, no_color=no_color)
    structlog.get_logger().info("guard.started")
    text = stream.getvalue()
    assert text.startswith("{") is json_lines
    assert ("\x1b[" in text) is coloured


def test_the_level_is_kept() -> None:
    stream = logging_to(level="warning")
    structlog.get_logger().info("unseen")
    structlog.get_logger().warning("seen")
    assert [line["event"] for line in lines(stream)] == ["seen"]


def test_libraries_come_through_the_same_pipe_from_warning_up() -> None:
    stream = logging_to(level="debug")
    structlog.contextvars.bind_contextvars(account="main")
    library = logging.getLogger("ccxt.base.exchange")
    library.setLevel(logging.DEBUG)
    try:
        library.debug("signed request %s", "x")
        library.info("fetched")
        library.warning("slow by %d ms", 7)
    finally:
        library.setLevel(logging.NOTSET)
    [line] = lines(stream)
    assert line["event"] == "slow by 7 ms"
    assert line["logger"] == "ccxt.base.exchange"
    assert line["level"] == "warning"
    assert line["account"] == "main"
    assert "timestamp" in line
    assert logging.getLogger("ccxt.base").getEffectiveLevel() == logging.WARNING


def test_a_traceback_is_data_in_json() -> None:
    stream = logging_to()
    try:
        _ = 1 // 0
    except ZeroDivisionError:
        structlog.get_logger().exception("sum.failed")
    [error] = lines(stream)[0]["exception"]
    assert error["exc_type"] == "ZeroDivisionError"
    assert error["frames"][-1]["name"] == "test_a_traceback_is_data_in_json"


@pytest.mark.parametrize("log_format", FORMATS)
def test_a_traceback_shows_no_variables(log_format: LogFormat) -> None:
    stream = logging_to(log_format)
    signed = "h1d" + "den"
    try:
        _ = len(signed) // 0
    except ZeroDivisionError:
        structlog.get_logger().exception("sum.failed")
    assert signed not in stream.getvalue()


def test_configuring_twice_does_not_log_twice() -> None:
    before, after = logging_to(), logging_to()
    logging.getLogger("library").warning("once")
    assert (len(lines(before)), len(lines(after))) == (0, 1)


@pytest.mark.parametrize("log_format", FORMATS)
@pytest.mark.parametrize(
    "key",
    [
        "api_key", "apikey", "apiKey", "API-KEY", "secret", "api_secret", "passphrase", "password",
        "token", "access_token", "signature", "listenkey", "listenKey", "private_key",
        "X-MBX-APIKEY", "OK-ACCESS-SIGN", "OK-ACCESS-KEY", "Authorization",
    ],
)  # fmt: skip
def test_a_credential_key_hides_its_value(log_format: LogFormat, key: str) -> None:
    stream = logging_to(log_format)
    log = structlog.get_logger()
    log.info("top", **{key: "h1dden1"})
    log.info("deep", request={"headers": [{key: "h1dden2"}, ({key: ["h1dden3"]},)]})
    log.info("text", body=f'{{"{key}": "h1dden4", "side": "buy"}}', repr=repr({key: "h1dden5"}))
    assert "h1dden" not in stream.getvalue()
    assert stream.getvalue().count(REDACTED) == 5


@pytest.mark.parametrize("log_format", FORMATS)
def test_signed_urls_and_headers_in_text_lose_their_secret_part_only(
    log_format: LogFormat,
) -> None:
    stream = logging_to(log_format)
    structlog.get_logger().info(
        "GET /account?timestamp=5&signature=h1dden1&recvWindow=7",
        note="Authorization: Bearer h1dden2, X-MBX-APIKEY: h1dden3",
    )
    assert "h1dden" not in stream.getvalue()
    assert "timestamp=5" in stream.getvalue()
    assert "recvWindow=7" in stream.getvalue()


@pytest.mark.parametrize("log_format", FORMATS)
def test_a_known_secret_is_hidden_wherever_it_is(log_format: LogFormat) -> None:
    stream = logging_to(log_format)
    log = structlog.get_logger()
    structlog.contextvars.bind_contextvars(bound=f"<{CANARY}>")
    event = f"event {CANARY}"
    log.info(event)
    log.info(
        "order.sent",
        value=CANARY,
        inside={"of": [{"a": {CANARY: f"list {CANARY}"}}]},
        many={CANARY},
        shown=SecretStr("h1dden1"),
        object=ValueError(CANARY),
        raw=CANARY.encode(),
        url="https://host/?key=c4n4ry%2F%2B%20of%0Aours%3D",
    )
    logging.getLogger("library").error("lost %s", CANARY)
    try:
        try:
            raise KeyError(CANARY)
        except KeyError as cause:
            raise RuntimeError(f"cause was {CANARY}") from cause
    except RuntimeError:
        log.exception("x.failed")
        logging.getLogger("library").exception("library failed")
    text = stream.getvalue()
    assert "c4n4ry" not in text
    assert "h1dden" not in text
    assert text.count(REDACTED) >= 16


def test_what_holds_itself_is_still_logged_without_its_secret() -> None:
    stream = logging_to()
    loop: dict[str, object] = {"api_key": "h1dden"}
    loop["self"] = [loop]
    structlog.get_logger().info("loop", loop=loop)
    assert "h1dden" not in stream.getvalue()
    assert len(lines(stream)) == 1


def test_plain_facts_are_not_hidden() -> None:
    stream = logging_to()
    facts = {"client_id": "lg-1", "key": "main", "price": "1", "signal": "x", "assigned": True}
    structlog.get_logger().info("order.sent", **facts)
    assert lines(stream)[0].items() >= facts.items()
