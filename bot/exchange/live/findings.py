"""What was found out about an account before it is guarded, and again while it is."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Standing(StrEnum):
    """What a finding means for guarding the account."""

    FINE = "fine"
    NOTED = "noted"
    """A human should know; the guard works."""
    UNVERIFIED = "unverified"
    """The venue does not tell: the user has to answer for it."""
    UNSUPPORTED = "unsupported"
    """How such an account is liquidated is not known: it is watched, and nothing is sent."""
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at, and a sentence about it."""

    check: str
    standing: Standing
    text: str


class CheckFailed(Exception):
    """This key or account cannot be guarded. A sentence a line."""


def blocking(findings: Iterable[Finding], *, accept_unverified: bool) -> tuple[Finding, ...]:
    """Those because of which the account is not guarded, or not spent from any more."""
    stops = {Standing.REFUSED} if accept_unverified else {Standing.REFUSED, Standing.UNVERIFIED}
    return tuple(each for each in findings if each.standing in stops)


def unsupported(findings: Iterable[Finding]) -> tuple[str, ...]:
    """What makes it an account that is only watched, a sentence each."""
    return tuple(each.text for each in findings if each.standing is Standing.UNSUPPORTED)


def noted(findings: Iterable[Finding]) -> tuple[str, ...]:
    """What a human should know of an account that is guarded, a sentence each."""
    return tuple(each.text for each in findings if each.standing is Standing.NOTED)


def require_sound(findings: Iterable[Finding], *, accept_unverified: bool) -> None:
    """Raise `CheckFailed` with everything that blocks."""
    if found := blocking(findings, accept_unverified=accept_unverified):
        raise CheckFailed("\n".join(each.text for each in found))
