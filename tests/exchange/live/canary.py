"""Keys that would be seen wherever they show, and everything that is said to look for them in."""

import io
import logging
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from urllib.parse import quote

import structlog
from pydantic import SecretStr

from bot import logs

SIGNED = re.compile(r"signature=[0-9a-f]{16}|listenKey=\w{16}")


def spellings(*secrets: str) -> frozenset[str]:
    """Each as it is, as an address has it, in hex and in base64."""
    return frozenset(
        form
        for text in secrets
        for form in (
            text,
            quote(text, safe=""),
            text.encode().hex(),
            b64encode(text.encode()).decode(),
        )
    )


def leaks(text: str, canaries: Iterable[str]) -> list[str]:
    """Those that stand in `text`, and whatever else in it opens an account."""
    return [each for each in canaries if each in text] + SIGNED.findall(text)


@contextmanager
def heard(*secrets: SecretStr) -> Iterator[io.StringIO]:
    """Everything that any logger says, libraries too, at DEBUG."""
    stream = io.StringIO()
    root, before = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers, root.level
    logs.configure("json", "debug", stream, is_terminal=False, secrets=secrets)
    for handler in root.handlers:
        handler.setLevel(logging.DEBUG)
    root.setLevel(logging.DEBUG)
    try:
        yield stream
    finally:
        root.handlers, root.level = handlers, level
        structlog.configure(**before)
