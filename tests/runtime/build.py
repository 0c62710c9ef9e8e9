"""A policy, intents and a small scene for the tests of the runtime, in virtual time."""

from collections.abc import Sequence
from decimal import Decimal

from bot.clock import Clock
from bot.core.actions import Action, AddMargin, CancelStop, ClosePosition, PlaceStop
from bot.core.events import Event, IntentState, OutcomeReported
from bot.core.guardrails import Approved
from bot.core.model import AccountSnapshot, Side
from bot.core.policy import Policy
from bot.core.state import Intent, Plain
from bot.core.units import Money, Price, Quantity
from bot.journal.port import Entry, Found, Head, JournalUnavailable, Kind, Row
from bot.journal.sqlite import SqliteJournal
from bot.policy.loader import parse_policy
from bot.runtime.feed import Feed
from bot.runtime.reconcile import Reconciler
from bot.testing.builders import ACCOUNT, SYMBOL, instrument, position, snapshot
from bot.testing.scripted import ScriptedAccount, ScriptedMarket

D = Decimal
T0 = 1_600_000_000_000
KEY = position().key

TEXT = """
schema: liqguard/v1
account: { name: main, venue: binanceusdm, margin_mode: isolated, position_mode: one_way }
protect: { stop: { room: 1.5% }, floor: 0.7%, floor_in_hold: close, unknown_after: 60s }
guardrails:
  keep_free: 0 USDT
  top_up: { per_action: 1000 USDT, per_1h: 1500 USDT, per_24h: 1500 USDT, per_episode: 1500 USDT }
  top_ups_per_episode: 3
  actions_per_1m: 60
  data_max_age: 5s
  loss_max: 9000 USDT
  slippage_max: 50 bps
rules:
  - rule: ladder
    match: { symbols: any, side: any, margin_mode: isolated }
    watch: liquidation_distance
    hysteresis: 0.5%
    ladder:
      - { step: warn, below: 6%, for: 0s, do: alert }
      - { step: top-up, below: 4%, for: 0s, do: top_up, with: { to: 7% }, cooldown: 10s }
      - { step: out, below: 2.5%, for: 0s, do: close }
"""

ADD = AddMargin(SYMBOL, Side.LONG, Money(D(1000)))
STOP = PlaceStop(SYMBOL, Side.LONG, Quantity(D(1)), Price(D(46_000)))
CANCEL = CancelStop(SYMBOL, Side.LONG, "old-stop")
CLOSE = ClosePosition(SYMBOL, Side.LONG, Quantity(D(1)))


def policy(text: str = TEXT) -> Policy:
    return parse_policy(text, "test.yaml")


def intent(action: Action, state: IntentState = IntentState.PREPARED) -> Intent:
    return Intent(
        id="intent-1",
        key=KEY,
        action=action,
        purpose=Plain(),
        reason="ladder/step",
        episode=1,
        known_at_ms=T0 - 700,
        margin_before=Money(D(5000)),
        quantity_before=Quantity(D(1)),
        planned_at_ms=T0,
        state=state,
        changed_at_ms=T0,
        detail="",
    )


def approved(action: Action) -> Approved:
    return Approved(intent(action), ())


def long_read(margin: str = "5000", free: int = 10_000) -> AccountSnapshot:
    return snapshot([position(margin=margin)], taken_at_ms=T0, free=free)


class Scene:
    """A scripted account and everything that was published, with the time of each event."""

    def __init__(self, read: AccountSnapshot | None = None) -> None:
        self.clock = Clock(T0)
        self.account = ScriptedAccount(self.clock, long_read() if read is None else read)
        self.published: list[tuple[int, Event]] = []

    def publish(self, event: Event) -> None:
        self.published.append((self.passed_ms, event))

    def reconciler(self) -> Reconciler:
        """One that reads the account as the feed of a market with the usual contract does."""
        feed = Feed(ScriptedMarket([instrument()]), self.account, self.clock, self.publish)
        return Reconciler(self.account, feed.read, self.clock, self.publish)

    @property
    def passed_ms(self) -> int:
        return self.clock.now_ms() - T0

    def outcomes(self) -> list[tuple[int, IntentState]]:
        return [
            (at_ms, event.state)
            for at_ms, event in self.published
            if isinstance(event, OutcomeReported)
        ]

    def at(self, kind: type[Event]) -> list[int]:
        return [at_ms for at_ms, event in self.published if isinstance(event, kind)]


class FragileJournal:
    """A real journal in memory that can be made to take nothing for a while."""

    def __init__(self) -> None:
        self.inner = SqliteJournal.open(None, ACCOUNT)
        self.is_broken = False

    async def append(self, entries: Sequence[Entry]) -> Head:
        if self.is_broken:
            raise JournalUnavailable("the disk is full")
        return await self.inner.append(entries)

    async def keep(self, text: str) -> str:
        if self.is_broken:
            raise JournalUnavailable("the disk is full")
        return await self.inner.keep(text)

    async def kept(self, digest: str) -> str:
        return await self.inner.kept(digest)

    async def last(self, kind: Kind) -> Found:
        return await self.inner.last(kind)

    async def rows(self, after: int) -> Sequence[Row]:
        return await self.inner.rows(after)

    async def close(self) -> None:
        await self.inner.close()
