"""
Builders: one call makes a valid value, and a test names only what it is about.

The defaults belong together: a 10x long of 1 BTCUSDT from 50,000 with 5,000 USDT of margin,
which a venue with a flat 0.5 % maintenance rate, valued at mark, liquidates at 45,226.13.
Numbers may be written as text, so that they are exact.
"""

from collections.abc import Callable, Iterable
from decimal import Decimal
from itertools import pairwise
from typing import TypeAlias

from bot.core.events import AccountMode, MarkPrice
from bot.core.held import NOTHING_SHARED
from bot.core.ids import Birth, birth_prefix
from bot.core.model import (
    AccountSnapshot,
    CloseFee,
    ContractKind,
    Instrument,
    LiquidationReport,
    MaintenanceAt,
    MarginMode,
    MarginOnReduce,
    NotReported,
    Position,
    PositionMode,
    RiskTier,
    Side,
    StopOrder,
    VenueRules,
)
from bot.core.policy import (
    AnyMarginMode,
    AnySide,
    AnySymbol,
    Guardrails,
    Match,
    Metric,
    Policy,
    Protect,
    Rule,
    Step,
    Stress,
    Threshold,
)
from bot.core.state import BLANK, AccountRead, AccountState, Instruments
from bot.core.strategy import Proposal, Severity, View
from bot.core.units import Duration, Money, Price, Quantity, Ratio

Number: TypeAlias = Decimal | int | str

SYMBOL = "BTCUSDT"
ACCOUNT = "main"
BIRTH = Birth(ACCOUNT, 1_500_000_000_000)
FLAT_RATE: tuple[tuple[Number, Number], ...] = ((0, "0.005"),)

_ENDLESS = Decimal("Infinity")

# Frozen values, so that they may be defaults.
_NOT_REPORTED = NotReported()
_ANY_SYMBOL = AnySymbol()
_ANY_SIDE = AnySide()


def tiers(*floors_and_rates: tuple[Number, Number]) -> tuple[RiskTier, ...]:
    """A continuous table from (floor, rate) pairs: deductions follow as the venues publish."""
    pairs = [(Decimal(floor), Decimal(rate)) for floor, rate in floors_and_rates]
    made = []
    deduction, before = Decimal(0), pairs[0][1]
    for (floor, rate), (cap, _) in pairwise([*pairs, (_ENDLESS, Decimal(0))]):
        deduction += floor * (rate - before)
        made.append(RiskTier(floor, cap, Ratio(rate), Money(deduction), Decimal(50)))
        before = rate
    return tuple(made)


def instrument(
    symbol: str = SYMBOL,
    *,
    kind: ContractKind = ContractKind.LINEAR,
    settle: str = "USDT",
    tick_size: Number = "0.1",
    margin_step: Number = "0.01",
    taker_fee: Number = "0.0005",
    maintenance_at: MaintenanceAt = MaintenanceAt.MARK,
    close_fee: CloseFee = CloseFee.NONE,
    margin_on_reduce: MarginOnReduce = MarginOnReduce.PRO_RATA,
    risk_tiers: tuple[RiskTier, ...] = tiers(*FLAT_RATE),
) -> Instrument:
    """A linear USDT perpetual with one risk tier of 0.5 %."""
    return Instrument(
        symbol=symbol,
        kind=kind,
        settle=settle,
        tick_size=Price(Decimal(tick_size)),
        quantity_step=Quantity(Decimal("0.001")),
        quantity_min=Quantity(Decimal("0.001")),
        taker_fee=Ratio(Decimal(taker_fee)),
        tiers=risk_tiers,
        rules=VenueRules(maintenance_at, close_fee, Decimal(margin_step), margin_on_reduce),
    )


def position(
    symbol: str = SYMBOL,
    side: Side = Side.LONG,
    *,
    quantity: Number = 1,
    entry_price: Number = 50_000,
    margin: Number = 5_000,
    margin_mode: MarginMode = MarginMode.ISOLATED,
    liquidation: LiquidationReport = _NOT_REPORTED,
) -> Position:
    """A 10x long of one bitcoin from 50,000."""
    return Position(
        symbol=symbol,
        side=side,
        quantity=Quantity(Decimal(quantity)),
        entry_price=Price(Decimal(entry_price)),
        margin_mode=margin_mode,
        isolated_margin=Money(Decimal(margin)),
        leverage=Decimal(10),
        liquidation=liquidation,
    )


def our_stop(
    closes: Position,
    trigger_price: Number,
    *,
    quantity: Number | None = None,
    reduce_only: bool = True,
    name: str = "a" * 20,
) -> StopOrder:
    """A resting stop of ours; `name` ends its client id, full size unless `quantity`."""
    return foreign_stop(
        closes,
        trigger_price,
        quantity=quantity,
        reduce_only=reduce_only,
        client_id=birth_prefix(BIRTH) + name,
    )


def foreign_stop(
    closes: Position,
    trigger_price: Number,
    *,
    quantity: Number | None = None,
    reduce_only: bool = True,
    client_id: str = "web_1",
) -> StopOrder:
    """A resting stop that a human placed."""
    size = closes.quantity if quantity is None else Quantity(Decimal(quantity))
    trigger = Price(Decimal(trigger_price))
    return StopOrder(closes.symbol, closes.side, client_id, size, trigger, reduce_only)


def snapshot(
    positions: Iterable[Position] = (),
    stops: Iterable[StopOrder] = (),
    *,
    free: Number = 10_000,
    wallet: Number | None = None,
    taken_at_ms: int = 0,
    position_mode: PositionMode = PositionMode.ONE_WAY,
) -> AccountSnapshot:
    """A complete read of a one-way account with 10,000 USDT of free money, all of its wallet."""
    money = Money(Decimal(free))
    balance = money if wallet is None else Money(Decimal(wallet))
    return AccountSnapshot(
        taken_at_ms, position_mode, balance, money, tuple(positions), tuple(stops)
    )


def account_state(
    read: AccountSnapshot,
    marks: dict[str, Number],
    *,
    now_ms: int = 0,
    mode: AccountMode = AccountMode.ACTIVE,
    instruments: Iterable[Instrument] = (instrument(),),
) -> AccountState:
    """An armed account: read, marked and with its rules known at `now_ms`, nothing done yet."""
    return AccountState(
        birth=BIRTH,
        policy_digest="policy",
        mode=mode,
        mode_reason="a test says so",
        instruments=Instruments("instruments", {each.symbol: each for each in instruments}),
        marks={
            symbol: MarkPrice(symbol, Price(Decimal(mark)), now_ms)
            for symbol, mark in marks.items()
        },
        funding={},
        funding_before={},
        swings={},
        account=AccountRead(read, asked_at_ms=now_ms, received_at_ms=now_ms),
        lost_at_ms=now_ms - 1,
        liquidated=(),
        memories={},
        book=BLANK,
        shared=NOTHING_SHARED,
        refunds={},
        intents={},
        intents_planned=0,
    )


def step(
    name: str,
    threshold: Threshold,
    severity: Severity,
    propose: Callable[[View], Proposal],
    *,
    hold_ms: int = 0,
    cooldown_ms: int = 0,
    then_next: bool = False,
) -> Step:
    """A rung that fires at once and asks `propose`."""
    return Step(
        name=name,
        threshold=threshold,
        hold_ms=Duration(hold_ms),
        cooldown_ms=Duration(cooldown_ms),
        then_next=then_next,
        verb=name,
        severity=severity,
        propose=propose,
        line=1,
    )


def rule(
    *steps: Step,
    name: str = "ladder",
    metric: Metric = Metric.LIQUIDATION_DISTANCE,
    hysteresis: Number = "0.01",
    symbols: frozenset[str] | AnySymbol = _ANY_SYMBOL,
    side: Side | AnySide = _ANY_SIDE,
    margin_mode: MarginMode | AnyMarginMode = MarginMode.ISOLATED,
    unknown_after_ms: int = 600_000,
) -> Rule:
    """A ladder on the liquidation distance of every isolated position."""
    match = Match(symbols, side, margin_mode)
    return Rule(name, match, metric, Decimal(hysteresis), Duration(unknown_after_ms), steps)


def protect(
    *,
    room: Number = "0.03",
    share: Number = 0,
    floor: Number = "0.015",
    floor_in_hold: bool = True,
    unknown_after_ms: int = 60_000,
    canary_ms: int = 0,
    respects_cancel: bool = False,
    closes_unknown: bool = False,
) -> Protect:
    """A stop 3 % before liquidation, a close 1.5 % before it."""
    return Protect(
        room=Ratio(Decimal(room)),
        share=Ratio(Decimal(share)),
        floor=Ratio(Decimal(floor)),
        floor_in_hold=floor_in_hold,
        unknown_after_ms=Duration(unknown_after_ms),
        canary_ms=Duration(canary_ms),
        respects_cancel=respects_cancel,
        closes_unknown=closes_unknown,
    )


def guardrails(
    *,
    keep_free: Number = 0,
    per_action: Number = 1_000_000,
    per_1h: Number = 1_000_000,
    per_24h: Number = 1_000_000,
    per_episode: Number = 1_000_000,
    top_ups_per_episode: int = 1_000,
    actions_per_1m: int = 1_000,
    data_age_max_ms: int = 5_000,
    loss_max: Number = 1_000_000,
    slippage_max: Number = "0.5",
) -> Guardrails:
    """Limits so wide that none binds: a test tightens the one that it is about."""
    return Guardrails(
        keep_free=Money(Decimal(keep_free)),
        top_up_per_action_max=Money(Decimal(per_action)),
        top_up_1h_max=Money(Decimal(per_1h)),
        top_up_24h_max=Money(Decimal(per_24h)),
        top_up_per_episode_max=Money(Decimal(per_episode)),
        top_ups_per_episode_max=top_ups_per_episode,
        actions_1m_max=actions_per_1m,
        data_age_max_ms=Duration(data_age_max_ms),
        loss_max=Money(Decimal(loss_max)),
        slippage_max=Ratio(Decimal(slippage_max)),
    )


def stress(shock: Number = 1, **betas: Number) -> Stress:
    """By default all symbols lose their whole value: every isolated margin counts as lost."""
    return Stress(
        Ratio(Decimal(shock)), {symbol: Ratio(Decimal(beta)) for symbol, beta in betas.items()}
    )


def policy(
    *rules: Rule,
    protection: Protect = protect(),  # noqa: B008 - frozen
    limits: Guardrails = guardrails(),  # noqa: B008 - frozen
    stress: Stress = stress(),  # noqa: B008 - frozen
    margin_modes: frozenset[MarginMode] = frozenset({MarginMode.ISOLATED}),
    settle: str = "USDT",
    position_mode: PositionMode = PositionMode.ONE_WAY,
) -> Policy:
    """A policy without a ladder: the standing stop and the floor only."""
    return Policy(
        digest="policy",
        text="",
        account=ACCOUNT,
        venue="paper",
        credentials=ACCOUNT,
        settle=settle,
        margin_modes=margin_modes,
        position_mode=position_mode,
        protect=protection,
        guardrails=limits,
        stress=stress,
        rules=rules,
    )
