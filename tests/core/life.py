"""An account lived through event by event: what happened, then what the guard decides."""

from collections.abc import Iterable
from decimal import Decimal

from bot.core.actions import Action
from bot.core.decision import Decision, NoBook, PositionVerdict
from bot.core.engine import decide
from bot.core.events import (
    AccountMode,
    AccountReported,
    Command,
    Event,
    FundingReported,
    IntentState,
    MarkPrice,
    OutcomeReported,
)
from bot.core.model import Instrument, Position, PositionMode, StopOrder
from bot.core.policy import Above, Below, Policy
from bot.core.state import GONE_MS, HOUR_MS
from bot.core.transitions import apply
from bot.core.units import Price, Ratio
from bot.testing import builders as build

T0 = 1_600_000_000_000
LONG = build.position()
GOOD_STOP = build.our_stop(LONG, "46624.9")
"""Where a room of 3 % puts the stop of `LONG`, which is liquidated at 45,226.13."""


class Life:
    """
    The state of an account, its policy and the time. It begins read and marked at `T0`.

    Reads are fresh: asked for and received at `now_ms`, unless a test delivers its own. `wallet`
    backs the cross positions; without a word it is all free.
    """

    def __init__(
        self,
        policy: Policy,
        *positions: Position,
        stops: Iterable[StopOrder] = (),
        mark: build.Number = 50_000,
        mode: AccountMode = AccountMode.ACTIVE,
        free: build.Number = 10_000,
        wallet: build.Number | None = None,
        position_mode: PositionMode = PositionMode.ONE_WAY,
        instruments: Iterable[Instrument] = (build.instrument(),),
    ) -> None:
        self.policy = policy
        self.now_ms = T0
        self.free = free
        self.wallet = wallet
        self.position_mode = position_mode
        self.state = build.account_state(
            build.snapshot(taken_at_ms=T0 - 1), {}, now_ms=T0, instruments=instruments
        )
        self.happen(Command(mode, "a test says so", T0))
        self.read(*(positions or (LONG,)), stops=stops)
        self.mark(mark)
        self.decision = Decision(
            0, mode, (), NoBook(), (), (), 0, endangered=False, needs_read=False
        )

    def happen(self, event: Event) -> None:
        self.state = apply(self.state, event)

    def wait(self, duration_ms: int) -> None:
        self.now_ms += duration_ms

    def mark(self, price: build.Number, symbol: str = build.SYMBOL) -> None:
        self.happen(MarkPrice(symbol, Price(Decimal(price)), self.now_ms))

    def read(self, *positions: Position, stops: Iterable[StopOrder] = ()) -> None:
        read = build.snapshot(
            positions,
            stops,
            free=self.free,
            wallet=self.wallet,
            taken_at_ms=self.now_ms,
            position_mode=self.position_mode,
        )
        self.happen(AccountReported(read, self.now_ms, self.now_ms))

    def read_twice(self, *positions: Position, stops: Iterable[StopOrder] = ()) -> None:
        """Two reads far enough apart to prove that what they lack is gone."""
        self.read(*positions, stops=stops)
        self.wait(GONE_MS)
        self.read(*positions, stops=stops)

    def bill(
        self,
        rate: str,
        at_ms: int,
        *,
        interval_ms: int = 8 * HOUR_MS,
        symbol: str = build.SYMBOL,
    ) -> None:
        """The venue says what longs pay at `at_ms`."""
        announced = FundingReported(symbol, ratio(rate), at_ms, interval_ms, self.now_ms)
        self.happen(announced)

    def decide(self) -> list[Action]:
        """Decide now; the actions that were approved."""
        self.state, self.decision = decide(self.state, self.policy, self.now_ms)
        return [approved.intent.action for approved in self.decision.approved]

    def settle(self, outcome: IntentState) -> None:
        """Report `outcome` for everything that the last decision approved."""
        for approved in self.decision.approved:
            self.happen(OutcomeReported(approved.intent.id, outcome, "", self.now_ms))

    @property
    def verdict(self) -> PositionVerdict:
        """The verdict on the only position."""
        (verdict,) = self.decision.positions
        return verdict

    @property
    def alerts(self) -> list[str]:
        """The kinds of alerts of the last decision."""
        return [alert.kind for alert in self.decision.alerts]


def ratio(text: build.Number) -> Ratio:
    return Ratio(Decimal(text))


def below(share: str) -> Below:
    return Below(ratio(share))


def above(share: str) -> Above:
    return Above(ratio(share))
