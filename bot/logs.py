"""
Logging: structlog to one stream, and the logging of libraries through the same pipe.

No secret passes. A value is withheld when its key names a credential, when it is a `SecretStr`,
when it contains a secret that `configure` was told, and when text carries it as `name=value` or
`name: value` (exchange libraries put signed URLs into their errors).
"""

import logging
import math
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping, Set
from typing import Final, Literal, TextIO
from urllib.parse import quote

import structlog
from pydantic import SecretBytes, SecretStr
from structlog.dev import ConsoleRenderer, plain_traceback
from structlog.processors import ExceptionRenderer, JSONRenderer, StackInfoRenderer, TimeStamper
from structlog.stdlib import ProcessorFormatter
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import EventDict, Processor, WrappedLogger

LogFormat = Literal["auto", "console", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]

REDACTED: Final = "[redacted]"

_CREDENTIAL = (
    r"(?:(?:api|access|private|listen)[_-]?key|secret|passphrase|password|token|signature"
    r"|authorization|cookie|(?<![a-z])sign\b)"
)
_CREDENTIAL_KEY = re.compile(_CREDENTIAL, re.IGNORECASE)
_CREDENTIAL_IN_TEXT = re.compile(
    rf"""({_CREDENTIAL}\w{{0,20}}["']?\s*[=:]\s*["']?(?:Bearer\s+|Basic\s+)?)[^\s"'&,;}}]+""",
    re.IGNORECASE,
)
_DEPTH_MAX: Final = 8  # deeper values are written as text: a value that holds itself must end


def configure(
    log_format: LogFormat,
    level: LogLevel,
    stream: TextIO,
    *,
    is_terminal: bool,
    no_color: bool = False,
    secrets: Iterable[SecretStr] = (),
) -> None:
    """
    Send all logging of this process to `stream` (stderr: stdout belongs to results).

    `auto` is console on a terminal and JSON Lines elsewhere. Our own events pass from `level` up,
    those of libraries from WARNING up. `secrets` are withheld wherever they turn up.
    """
    console = log_format == "console" or (log_format == "auto" and is_terminal)
    render: list[Processor] = [
        structlog.processors.format_exc_info
        if console
        else ExceptionRenderer(ExceptionDictTransformer(show_locals=False)),
        Redactor(secrets),
        ConsoleRenderer(colors=is_terminal and not no_color, exception_formatter=plain_traceback)
        if console
        else JSONRenderer(),
    ]
    enrich: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        StackInfoRenderer(),
        TimeStamper(fmt="iso", utc=True),
    ]
    level_number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=enrich + render,
        wrapper_class=structlog.make_filtering_bound_logger(level_number),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    _route_libraries(stream, max(level_number, logging.WARNING), enrich, render)


def _route_libraries(
    stream: TextIO, level_number: int, enrich: list[Processor], render: list[Processor]
) -> None:
    handler = logging.StreamHandler(stream)
    # On the handler too: a library that lowers its own logger's level still stays quiet.
    handler.setLevel(level_number)
    handler.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *enrich],
            processors=[ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level_number)
    # ccxt at DEBUG would build a record of every signed request.
    logging.getLogger("ccxt").setLevel(level_number)


class Redactor:
    """The last processor before rendering: an event of plain values without secrets."""

    def __init__(self, secrets: Iterable[SecretStr]) -> None:
        plain = {secret.get_secret_value() for secret in secrets} - {""}
        # As it is, as part of a URL, within the repr of what holds it, and encoded.
        spelled = {
            form
            for text in plain
            for form in (
                text,
                quote(text, safe=""),
                repr(text)[1:-1],
                text.encode().hex(),
                b64encode(text.encode()).decode(),
            )
        }
        # The longest first: one secret may begin with another.
        self._secrets = sorted(spelled, key=len, reverse=True)

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        """Return `event` with every secret replaced by `REDACTED`."""
        return {key: self._field(key, value, 1) for key, value in event.items()}

    def _field(self, key: str, value: object, depth: int) -> object:
        return REDACTED if _CREDENTIAL_KEY.search(key) else self._value(value, depth)

    def _value(self, value: object, depth: int) -> object:
        match value:
            case None | bool() | int():
                return value
            case float():
                return value if math.isfinite(value) else str(value)  # JSON has no NaN
            case str():
                return self._text(value)
            case SecretStr() | SecretBytes():
                return REDACTED
            case Mapping() if depth < _DEPTH_MAX:
                return {
                    self._text(str(key)): self._field(str(key), inner, depth + 1)
                    for key, inner in value.items()
                }
            case list() | tuple() | Set() if depth < _DEPTH_MAX:
                return [self._value(inner, depth + 1) for inner in value]
            case BaseException():
                return self._text(repr(value))
            case _:
                return self._text(str(value))

    def _text(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, REDACTED)
        return _CREDENTIAL_IN_TEXT.sub(rf"\1{REDACTED}", text)
