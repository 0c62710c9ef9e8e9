"""
Planning: what a trade would be, before it is one.

The size follows from the risk. With s = +1 for a long and -1 for a short, E the entry price, f
the taker fee and S the price at which the stop fills, a stopped quantity q loses

    q (s (E - S) + f (E + S))

and the largest q on the quantity step is taken that loses no more than the risk. So the size does
not depend on the leverage: that decides what margin is bound, and where the exchange liquidates.
Where, says `bot.core.margin` for an isolated position: at the maintenance margin of its tier,
before the loss is the initial margin.

Kelly's share is W - (1 - W) / R for a bet that wins R times its stake with probability W. Source:
J. L. Kelly, A New Interpretation of Information Rate (1956).
"""

from dataclasses import dataclass, replace
from decimal import Decimal

from bot.core.margin import (
    LiquidatesAt,
    NoLiquidation,
    funding_payment,
    liquidation,
    requirement,
    tier_of,
)
from bot.core.model import Instrument, MarginMode, NotReported, Position, RiskTier, Side
from bot.core.policy import Stress
from bot.core.sizing import CannotReach, round_early
from bot.core.state import DAY_MS
from bot.core.stress import Held, worst_stressed_loss
from bot.core.units import ONE, ZERO, Money, Price, Quantity, Ratio, floor_to
from bot.core.volatility import log_distance, time_to_liquidation


@dataclass(frozen=True, slots=True)
class NotGiven:
    """A fact that the user left out: what needs it is not judged."""


NOT_GIVEN = NotGiven()


@dataclass(frozen=True, slots=True)
class Edge:
    """How often trades like this one win, and what a win is in losses."""

    win_rate: Ratio
    payoff: Decimal


@dataclass(frozen=True, slots=True)
class FundingTerms:
    """What the next settlement charges, and how far settlements are apart."""

    rate: Ratio
    interval_ms: int


@dataclass(frozen=True, slots=True)
class Account:
    """The wallet beside isolated margins, and what is open, valued at its entry prices."""

    wallet: Money
    positions: tuple[Position, ...]

    @property
    def equity(self) -> Money:
        """The wallet and every isolated margin."""
        return Money(self.wallet + sum((each.isolated_margin for each in self.positions), ZERO))

    @property
    def free(self) -> Money:
        """What may become isolated margin: the wallet less what cross positions bind."""
        bound = (
            each.quantity * each.entry_price / each.leverage
            for each in self.positions
            if each.margin_mode is MarginMode.CROSS
        )
        return Money(self.wallet - sum(bound, ZERO))


@dataclass(frozen=True, slots=True)
class Idea:
    """
    A trade that somebody thinks of: isolated, in at `entry_price`, out at `stop_price`.

    `risk` is the share of equity that may be lost at the stop, which fills `slippage` worse than
    its price. `daily_move` is a normal day's move, one sigma; `shock` a move of all markets.
    """

    side: Side
    entry_price: Price
    stop_price: Price
    risk: Ratio
    slippage: Ratio
    atr: Price | NotGiven
    daily_move: Ratio | NotGiven
    funding: FundingTerms | NotGiven
    holding_ms: int
    edge: Edge | NotGiven
    shock: Ratio

    @property
    def fill_price(self) -> Price:
        """Where the stop fills."""
        return Price(self.stop_price * (ONE - self.side.sign * self.slippage))


@dataclass(frozen=True, slots=True)
class Away:
    """
    How far one price is from another, against the position; below 0 in its favour.

    `share` is of the first price. Sigmas are of a day, and of log returns.
    """

    share: Ratio
    atrs: Decimal | NotGiven
    sigmas: Decimal | NotGiven


@dataclass(frozen=True, slots=True)
class Threat:
    """
    Where the position is liquidated: how far from its entry, and how much `room` the stop leaves.

    `after_ms` is how long a move of one sigma, with the funding paid until then, takes to get
    there from the entry price.
    """

    price: Price
    away: Away
    room: Away
    after_ms: int | NotGiven


@dataclass(frozen=True, slots=True)
class Carry:
    """
    What funding costs, paid > 0: a bill, a day of such bills, all that the holding time can see.

    `liquidation` is that of the position after the holding time, its margin less those bills;
    bills in its favour are not counted on.
    """

    payment: Money
    day: Money
    holding: Money
    liquidation: LiquidatesAt | NoLiquidation


@dataclass(frozen=True, slots=True)
class Joint:
    """
    What is lost if every market moves against this side by `shock` at once.

    Counted are this position and the `others` on its side, isolated ones up to their margin: in
    a gap a stop does not help. Positions on the other side are not relied on.
    """

    shock: Ratio
    others: int
    loss: Money


@dataclass(frozen=True, slots=True)
class Plan:
    """
    A sized trade, and what it does to the account. Amounts are in the settle currency.

    `effective_leverage` is the notional of all positions as a multiple of equity.
    """

    idea: Idea
    instrument: Instrument
    account: Account
    position: Position
    notional: Money
    tier: RiskTier
    maintenance_margin: Money
    opening_fee: Money
    loss_at_stop: Money
    stop_away: Away
    liquidation: Threat | NoLiquidation
    effective_leverage: Decimal
    carry: Carry | NotGiven
    joint: Joint

    @property
    def initial_margin(self) -> Money:
        """What the position binds, and what its liquidation loses."""
        return self.position.isolated_margin

    @property
    def free_after(self) -> Money:
        """The free money once the position is open."""
        return Money(self.account.free - self.initial_margin - self.opening_fee)


def stop_by_atr(
    instrument: Instrument, side: Side, entry_price: Price, atr: Price, multiple: Decimal
) -> Price:
    """The stop so many ATRs from the entry price, on the tick, rounded early."""
    return round_early(instrument, side, entry_price - side.sign * multiple * atr)


def plan(
    instrument: Instrument, account: Account, idea: Idea, leverage: Decimal
) -> Plan | CannotReach:
    """
    The trade of `idea` at `leverage`, as large as its risk allows.

    It cannot be reached where the venue takes no order as small as that. Whether margin, tier
    and stop allow the trade is for the checklist to say.
    """
    quantity = quantity_for_risk(instrument, account, idea)
    if quantity < instrument.quantity_min:
        risked = max(account.equity, ZERO) * idea.risk
        least = loss_at_stop(instrument, idea, instrument.quantity_min)
        return CannotReach(
            f"the smallest order, of {instrument.quantity_min:f}, would lose {least:.2f} "
            f"{instrument.settle} at the stop, and {risked:.2f} may be lost"
        )
    notional = Money(quantity * idea.entry_price)
    position = Position(
        symbol=instrument.symbol,
        side=idea.side,
        quantity=quantity,
        entry_price=idea.entry_price,
        margin_mode=MarginMode.ISOLATED,
        isolated_margin=Money(notional / leverage),
        leverage=leverage,
        liquidation=NotReported(),
    )
    held = (each.quantity * each.entry_price for each in account.positions)
    return Plan(
        idea=idea,
        instrument=instrument,
        account=account,
        position=position,
        notional=notional,
        tier=tier_of(instrument, notional),
        maintenance_margin=requirement(instrument, position, idea.entry_price),
        opening_fee=Money(notional * instrument.taker_fee),
        loss_at_stop=loss_at_stop(instrument, idea, quantity),
        stop_away=_away(idea, idea.entry_price, idea.stop_price),
        liquidation=_threat(instrument, idea, position),
        effective_leverage=effective_leverage(sum(held, notional), account.equity),
        carry=_carry(instrument, idea, position),
        joint=_joint(instrument, account, idea, position),
    )


def quantity_for_risk(instrument: Instrument, account: Account, idea: Idea) -> Quantity:
    """The largest quantity on the step that loses no more than the risk when it is stopped."""
    risked = max(account.equity, ZERO) * idea.risk
    return Quantity(floor_to(risked / _loss_per_unit(instrument, idea), instrument.quantity_step))


def loss_at_stop(instrument: Instrument, idea: Idea, quantity: Quantity) -> Money:
    """What the stop loses: the move, its slippage and the fees of both orders."""
    return Money(quantity * _loss_per_unit(instrument, idea))


def kelly(edge: Edge) -> Ratio:
    """The share of equity that Kelly's formula risks; 0 and below where there is no edge."""
    return Ratio(edge.win_rate - (ONE - edge.win_rate) / edge.payoff)


def gain_to_recover(drawdown: Ratio) -> Ratio:
    """
    What must be gained on the rest to be back where it began: d / (1 - d).

    Infinite where nothing is left.
    """
    return Ratio(drawdown / (ONE - drawdown) if drawdown < ONE else Decimal("Infinity"))


def effective_leverage(notional: Decimal, equity: Decimal) -> Decimal:
    """Notional as a multiple of the equity behind it; infinite where there is none."""
    return notional / equity if equity > ZERO else Decimal("Infinity")


def _loss_per_unit(instrument: Instrument, idea: Idea) -> Decimal:
    entry, fill = idea.entry_price, idea.fill_price
    return idea.side.sign * (entry - fill) + instrument.taker_fee * (entry + fill)


def _away(idea: Idea, near: Price, far: Price) -> Away:
    apart = idea.side.sign * (near - far)
    return Away(
        Ratio(apart / near),
        NOT_GIVEN if isinstance(idea.atr, NotGiven) else apart / idea.atr,
        NOT_GIVEN
        if isinstance(idea.daily_move, NotGiven)
        else log_distance(idea.side, near, far) / idea.daily_move,
    )


def _threat(instrument: Instrument, idea: Idea, position: Position) -> Threat | NoLiquidation:
    match liquidation(instrument, position):
        case NoLiquidation() as none:
            return none
        case LiquidatesAt(price):
            return Threat(
                price=price,
                away=_away(idea, idea.entry_price, price),
                room=_away(idea, idea.stop_price, price),
                after_ms=_after_ms(instrument, idea, position, price),
            )


def _after_ms(
    instrument: Instrument, idea: Idea, position: Position, price: Price
) -> int | NotGiven:
    if isinstance(idea.daily_move, NotGiven):
        return NOT_GIVEN
    distance = log_distance(idea.side, idea.entry_price, price)
    drift = ZERO
    if not isinstance(idea.funding, NotGiven):
        bill = funding_payment(instrument, position, idea.entry_price, idea.funding.rate)
        day = Money(bill * DAY_MS / idea.funding.interval_ms)
        match _after_bills(instrument, position, day):
            case LiquidatesAt(moved):
                drift = distance - log_distance(idea.side, idea.entry_price, moved)
            case NoLiquidation():
                pass  # it was liquidated somewhere before, so there was no bill
    return int(time_to_liquidation(distance, idea.daily_move, drift) * DAY_MS)


def _carry(instrument: Instrument, idea: Idea, position: Position) -> Carry | NotGiven:
    if isinstance(idea.funding, NotGiven):
        return NOT_GIVEN
    payment = funding_payment(instrument, position, idea.entry_price, idea.funding.rate)
    interval_ms = idea.funding.interval_ms
    bills = -(-idea.holding_ms // interval_ms)  # rounded up: the first may come just after entry
    return Carry(
        payment=payment,
        day=Money(payment * DAY_MS / interval_ms),
        holding=Money(payment * bills),
        liquidation=_after_bills(instrument, position, Money(payment * bills)),
    )


def _after_bills(
    instrument: Instrument, position: Position, bills: Money
) -> LiquidatesAt | NoLiquidation:
    """Where the position is liquidated once its margin has paid `bills`."""
    left = Money(position.isolated_margin - max(bills, ZERO))
    if left <= ZERO:
        return LiquidatesAt(position.entry_price)  # the bills alone do it
    return liquidation(instrument, replace(position, isolated_margin=left))


def _joint(instrument: Instrument, account: Account, idea: Idea, position: Position) -> Joint:
    others = [each for each in account.positions if each.side is idea.side]
    marked = [Held(instrument, each, each.entry_price) for each in (*others, position)]
    return Joint(idea.shock, len(others), worst_stressed_loss(marked, Stress(idea.shock, {})))
