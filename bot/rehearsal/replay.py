"""
A replay: what recorded prices would have done to an account, without and with a guard.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bot.core.model import AccountSnapshot, NotReported, Position, PositionKey, Reported
from bot.core.policy import Policy
from bot.core.units import ZERO, Price, Ratio
from bot.exchange.paper.machine import PaperMachine
from bot.rehearsal.fates import Fate, TakenOver, Witness
from bot.rehearsal.runs import Guarded, run_guarded, run_unguarded
from bot.rehearsal.setups import Setup


@dataclass(frozen=True, slots=True)
class Liquidation:
    """A takeover: when, and the liquidation price that the position had."""

    at_ms: int
    price: Price


@dataclass(frozen=True, slots=True)
class NotLiquidated:
    """The exchange took nothing over."""


@dataclass(frozen=True, slots=True)
class Replay:
    """
    What became of one setup. `opened` are its positions at the beginning, in its order.

    `lost_unguarded` and `lost_guarded` are the liquidations of both runs.
    """

    opened: tuple[Position, ...]
    unguarded: Fate
    lost_unguarded: Mapping[PositionKey, Liquidation]
    guarded: Guarded
    lost_guarded: Mapping[PositionKey, Liquidation]

    @property
    def first_unguarded(self) -> Liquidation | NotLiquidated:
        """The liquidation without a guard that came first."""
        return _first(self.lost_unguarded)

    @property
    def first_guarded(self) -> Liquidation | NotLiquidated:
        """The liquidation with the guard that came first."""
        return _first(self.lost_guarded)

    @property
    def closed_fraction(self) -> Ratio:
        """The share of all positions, by entry value, that stops and closes of the guard took."""
        entries = {position.key: position.entry_price for position in self.opened}
        closed = sum(
            (
                deed.amount * entries[PositionKey(deed.symbol, deed.side)]
                for deed in self.guarded.deeds
                if deed.verb in ("close", "stop_filled") and deed.price is not None
            ),
            ZERO,
        )
        whole = sum((each.quantity * each.entry_price for each in self.opened), ZERO)
        return Ratio(closed / whole)


def replay(
    setup: Setup,
    policy: Policy,
    progress: Callable[[int], None],
    alone: Witness,
    watched: Witness,
) -> Replay:
    """
    Run `setup` without a guard, seen by `alone`, and with one, seen by `watched`.

    `progress` hears the time that the guarded run has reached. Raises `DataError`, `SetupError`,
    `StartRefused`.
    """
    left, kept = _Newest(alone), _Newest(watched)
    unguarded = run_unguarded(setup, left.look)
    guarded = run_guarded(setup, policy, progress, kept.look)
    return Replay(
        opened=tuple(
            left.opened[PositionKey(opening.instrument.symbol, opening.side)]
            for opening in setup.openings
        ),
        unguarded=unguarded,
        lost_unguarded=_lost(unguarded, left.positions),
        guarded=guarded,
        lost_guarded=_lost(guarded.fate, kept.positions),
    )


class _Newest:
    """Remembers every position as it was when it was last open, and passes on what it sees."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness
        self.opened: dict[PositionKey, Position] = {}
        self.positions: dict[PositionKey, Position] = {}

    def look(self, machine: PaperMachine, snapshot: AccountSnapshot) -> None:
        """The witness of a run."""
        for position in snapshot.positions:
            self.opened.setdefault(position.key, position)
            self.positions[position.key] = position
        self._witness(machine, snapshot)


def _lost(fate: Fate, positions: Mapping[PositionKey, Position]) -> dict[PositionKey, Liquidation]:
    lost: dict[PositionKey, Liquidation] = {}
    for ending in fate.endings:
        if isinstance(ending.outcome, TakenOver):
            match positions[ending.key].liquidation:
                case Reported(price):
                    lost[ending.key] = Liquidation(ending.outcome.at_ms, price)
                case NotReported():  # of a cross position that no price of its own liquidates
                    taken = ending.outcome
                    lost[ending.key] = Liquidation(taken.at_ms, taken.price)
    return lost


def _first(lost: Mapping[PositionKey, Liquidation]) -> Liquidation | NotLiquidated:
    return min(lost.values(), key=lambda each: each.at_ms, default=NotLiquidated())
