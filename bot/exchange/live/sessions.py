"""HTTP sessions that send every request once."""

import aiohttp


def session(connector: aiohttp.BaseConnector) -> aiohttp.ClientSession:
    """
    A session over `connector`, which it closes with itself.

    Left alone, aiohttp sends GET, PUT and DELETE again when a kept connection is dropped: the
    first DELETE cancels a stop, and the second one's answer says that there was none to cancel.
    """
    made = aiohttp.ClientSession(connector=connector)
    made._retry_connection = False  # noqa: SLF001 - there is no public way to say so
    return made
