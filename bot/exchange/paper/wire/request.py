"""What comes over HTTP and what goes back, whichever venue is spoken."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Request:
    """What came over the wire. `query` and `body` are as sent: signatures are over them."""

    method: str
    path: str
    query: str
    body: str
    key: str
    address: str
    headers: dict[str, str] = field(default_factory=dict)
    """Those by which a venue knows who asks, in the venue's spelling."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back."""

    status: int
    body: str
    headers: dict[str, str] = field(default_factory=dict)
