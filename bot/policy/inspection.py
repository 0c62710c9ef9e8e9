"""A policy file read and judged: what it compiles to, and everything there is to say about it."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from bot.core.model import Instrument
from bot.core.policy import Policy
from bot.policy.held import Held, remarks_on_held, sort_of
from bot.policy.lint import Level, Lint, Remarks, in_file_order, positions_thinkable, remarks_on
from bot.policy.loader import compile_policy, read_policy, read_source


@dataclass(frozen=True, slots=True)
class Anything:
    """Nobody said what the account holds: it may be anything that the policy allows."""


@dataclass(frozen=True, slots=True)
class Inspected:
    """A valid policy with its lints, in the order of the file."""

    policy: Policy
    lints: tuple[Lint, ...]

    @property
    def is_dangerous(self) -> bool:
        """Whether the policy cannot do what it says."""
        return any(lint.level is Level.DANGER for lint in self.lints)


def inspect_policy(
    path: Path, held: Held | Anything, instrument_for: Callable[[str, str], Instrument]
) -> Inspected:
    """
    Read and judge a policy file for an account that holds `held`.

    `instrument_for` gives a venue's rules for a symbol that is held; its errors pass through.
    Raises `PolicyError` with all that is wrong with the file.
    """
    source = read_source(path)
    sections = read_policy(source)
    policy = compile_policy(sections, source)
    remarks: Remarks
    match held:
        case Anything():
            remarks = remarks_on(policy, sections, positions_thinkable(policy))
        case Held(positions=positions):
            listed = {each.symbol: instrument_for(policy.venue, each.symbol) for each in positions}
            remarks = chain(
                remarks_on(policy, sections, tuple(map(sort_of, positions))),
                remarks_on_held(policy, sections, held, listed),
            )
    return Inspected(policy, in_file_order(remarks, source))
