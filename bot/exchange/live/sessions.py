"""HTTP sessions that send every request once."""

import aiohttp

KEPT_OPEN_S = 90
"""
How long a connection that nothing goes over is kept: longer than the reads of a calm account are
apart. One that has to be dialled anew costs an order two or three ways to the venue and back.
"""


def session(connector: aiohttp.BaseConnector) -> aiohttp.ClientSession:
    """
    A session over `connector`, which it closes with itself.

    Left alone, aiohttp sends GET, PUT and DELETE again when a kept connection is dropped: the
    first DELETE cancels a stop, and the second one's answer says that there was none to cancel.
    """
    made = aiohttp.ClientSession(connector=connector)
    made._retry_connection = False  # noqa: SLF001 - there is no public way to say so
    return made
