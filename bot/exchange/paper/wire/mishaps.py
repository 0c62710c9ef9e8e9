"""
What goes wrong on the way: answers that are lost, cut or made up by something in between.

A mishap happens to the next requests that fit it, as often as it was asked for. Whether the
request has its effect first is part of it: the client cannot know.
"""

from dataclasses import dataclass
from enum import StrEnum

from bot.exchange.paper.wire.request import Answer, Request

HTML = "<html><head><title>{0}</title></head><body><h1>{0}</h1></body></html>"
_NO_HEADERS: dict[str, str] = {}


class MishapKind(StrEnum):
    """What the client gets instead of its answer."""

    NO_REPLY = "no_reply"
    DROPPED = "dropped"
    CUT = "cut"
    BAD_CHUNK = "bad_chunk"
    HTML_200 = "html_200"
    EMPTY_200 = "empty_200"
    NULL_200 = "null_200"
    OBJECT_200 = "object_200"
    NAN_200 = "nan_200"
    HTML_403 = "html_403"
    HTML_404 = "html_404"
    HTML_502 = "html_502"
    HTML_524 = "html_524"
    UNKNOWN_503 = "unknown_503"
    TIMEOUT_1007 = "timeout_1007"
    UNEXPECTED_1006 = "unexpected_1006"
    UNAVAILABLE_503 = "unavailable_503"
    THROTTLED_1008 = "throttled_1008"
    TOO_MANY_429 = "too_many_429"
    BANNED_418 = "banned_418"
    LATE = "late"


WITHOUT_EFFECT = frozenset(
    {
        MishapKind.UNAVAILABLE_503,
        MishapKind.THROTTLED_1008,
        MishapKind.TOO_MANY_429,
        MishapKind.BANNED_418,
    }
)
"""Those by which the venue says that it did nothing."""

LOST = frozenset({MishapKind.NO_REPLY, MishapKind.DROPPED, MishapKind.CUT, MishapKind.BAD_CHUNK})
"""Those that the server has to act out on the connection."""


@dataclass(slots=True)
class Mishap:
    """`left` times for requests of `method` (any if empty) whose path begins with `path`."""

    kind: MishapKind
    left: int
    has_effect: bool
    method: str
    path: str
    delay_ms: int

    def fits(self, request: Request) -> bool:
        """Whether it happens to this one."""
        return (
            self.left > 0
            and self.method in ("", request.method)
            and request.path.startswith(self.path)
        )


@dataclass(frozen=True, slots=True)
class Untroubled:
    """Nothing goes wrong."""


class Mishaps:
    """Those that are still to come, first asked first met."""

    def __init__(self) -> None:
        self.ahead: list[Mishap] = []

    def next(self, request: Request) -> Mishap | Untroubled:
        """What happens to this request; it then has happened."""
        for mishap in self.ahead:
            if mishap.fits(request):
                mishap.left -= 1
                self.ahead = [each for each in self.ahead if each.left]
                return mishap
        return Untroubled()


def _page(status: int, title: str) -> Answer:
    return Answer(status, HTML.format(title), {"Content-Type": "text/html"})


def _said(status: int, code: int, text: str, headers: dict[str, str] = _NO_HEADERS) -> Answer:
    return Answer(status, f'{{"code": {code}, "msg": "{text}"}}', headers)


_INSTEAD = {
    MishapKind.HTML_200: _page(200, "Please wait"),
    MishapKind.HTML_403: _page(403, "Forbidden"),
    MishapKind.HTML_404: _page(404, "Not Found"),
    MishapKind.HTML_502: _page(502, "Bad Gateway"),
    MishapKind.HTML_524: _page(524, "A timeout occurred"),
    MishapKind.EMPTY_200: Answer(200, ""),
    MishapKind.NULL_200: Answer(200, "null"),
    MishapKind.OBJECT_200: Answer(200, "{}"),
    MishapKind.UNKNOWN_503: _said(
        503, -1000, "Unknown error, please check your request or try again later."
    ),
    MishapKind.TIMEOUT_1007: _said(
        408,
        -1007,
        "Timeout waiting for response from backend server. "
        "Send status unknown; execution status unknown.",
    ),
    MishapKind.UNEXPECTED_1006: _said(
        400,
        -1006,
        "An unexpected response was received from the message bus. Execution status unknown.",
    ),
    MishapKind.UNAVAILABLE_503: _said(503, -1001, "Service Unavailable."),
    MishapKind.THROTTLED_1008: _said(
        503,
        -1008,
        "Request throttled by system-level protection. "
        "Reduce-only/close-position orders are exempt. Please try again.",
    ),
    MishapKind.TOO_MANY_429: _said(429, -1003, "Too many requests.", {"Retry-After": "2"}),
    MishapKind.BANNED_418: _said(
        418, -1003, "Way too many requests; IP banned for 2 s.", {"Retry-After": "2"}
    ),
}
"""Source: the venue's documented words for each (codes -1000 to -1008), and Cloudflare's pages."""


def disguised(kind: MishapKind, true: Answer) -> Answer:
    """What is sent in place of the true answer, for those that are not `LOST`."""
    if kind is MishapKind.NAN_200:
        return Answer(200, '{"price": NaN, ' + true.body.lstrip("{["))
    return _INSTEAD.get(kind, true)
