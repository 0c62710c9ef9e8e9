"""
The checklist of a planned trade: pass, warn or fail, each with its reason and its number.

The limits are ours, and named below. They draw the line where the articles on liquidation that
this project began from only say "too close" or "enough".
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from bot.core.margin import LiquidatesAt, NoLiquidation, tier_of
from bot.core.model import Instrument, Side
from bot.core.planning import (
    Account,
    Idea,
    NotGiven,
    Plan,
    Threat,
    gain_to_recover,
    kelly,
    plan,
)
from bot.core.sizing import CannotReach
from bot.core.units import ONE, ZERO, Ratio, ceil_to

DAILY_MOVES_MIN = Decimal(1)
"""Liquidation nearer than so many normal days' moves fails: an ordinary day gets there."""

DAILY_MOVES_CALM = Decimal(3)
"""Liquidation nearer than so many warns."""

ROOM_ATRS_CALM = Decimal(1)
"""Less than so many ATRs between stop and liquidation warn: noise crosses them."""

ROOM_CALM = Ratio(Decimal("0.01"))
"""The same where no ATR is given, as a share of the stop's price."""

STOP_ATRS_CALM = Decimal(1)
"""A stop nearer to the entry than so many ATRs warns: noise triggers it."""

FUNDING_CALM = Ratio(Decimal("0.05"))
"""Bills of the holding time above this share of the initial margin warn."""

JOINT_MAX = Ratio(Decimal("0.5"))
"""A joint loss from this share of equity on fails: it takes as much again to be back."""

JOINT_CALM = Ratio(Decimal("0.2"))
"""A joint loss above this share of equity warns."""

KELLY_CALM = Decimal("0.5")
"""A risk above this part of Kelly's share warns: the estimate of the edge is one."""


class Verdict(StrEnum):
    """What a check says."""

    PASS = "pass"  # noqa: S105 - no secret
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the checklist."""

    name: str
    verdict: Verdict
    reason: str


PASS, WARN, FAIL = Verdict


def checklist(planned: Plan) -> tuple[Check, ...]:
    """Every check of the plan, in the order in which one would ask."""
    return (
        _liquidation(planned),
        _stop_before_liquidation(planned),
        _stop_in_noise(planned),
        _free_margin(planned),
        _risk_tier(planned),
        _funding(planned),
        _one_more(planned),
        *_kelly(planned),
    )


def plan_at_best_leverage(
    instrument: Instrument, account: Account, idea: Idea
) -> Plan | CannotReach:
    """
    The plan that binds least: at the greatest whole leverage to which no check objects.

    Where there is none, at the least leverage that the free money allows: the checklist says what
    is wrong with it.
    """
    unlevered = plan(instrument, account, idea, ONE)
    if isinstance(unlevered, CannotReach):
        return unlevered
    most = int(unlevered.tier.leverage_max)
    for leverage in range(most, 0, -1):
        planned = plan(instrument, account, idea, Decimal(leverage))
        if isinstance(planned, Plan) and _suits(planned):
            return planned
    spendable = account.free - unlevered.opening_fee
    least = ceil_to(unlevered.notional / spendable, ONE) if spendable > ZERO else Decimal(most)
    return plan(instrument, account, idea, min(max(least, ONE), Decimal(most)))


def _suits(planned: Plan) -> bool:
    """Whether the checks that less leverage could help are content."""
    asked = [_liquidation(planned), _stop_before_liquidation(planned), _risk_tier(planned)]
    if not isinstance(planned.carry, NotGiven):
        asked.append(_funding(planned))
    return all(check.verdict is PASS for check in asked)


def _liquidation(planned: Plan) -> Check:
    name = "liquidation"
    match planned.liquidation:
        case NoLiquidation(proof):
            return Check(name, PASS, f"no price liquidates it: {proof}")
        case Threat(away=away):
            distance = f"{away.share:.2%} from the entry"
    move, sigmas = planned.idea.daily_move, away.sigmas
    if isinstance(move, NotGiven) or isinstance(sigmas, NotGiven):
        return Check(name, WARN, f"{distance}; not judged, as no daily move is given")
    reason = f"{distance}, {sigmas:.1f} sigmas of a day ({move:.2%})"
    if sigmas < DAILY_MOVES_MIN:
        return Check(name, FAIL, f"{reason}: an ordinary day gets there")
    if sigmas < DAILY_MOVES_CALM:
        return Check(name, WARN, f"{reason}, fewer than {DAILY_MOVES_CALM}")
    return Check(name, PASS, reason)


def _stop_before_liquidation(planned: Plan) -> Check:
    name = "stop before liquidation"
    match planned.liquidation:
        case NoLiquidation():
            return Check(name, PASS, "no price liquidates it")
        case Threat(room=room):
            pass
    cost = planned.idea.slippage + planned.instrument.taker_fee
    if room.share <= ZERO:
        return Check(name, FAIL, f"liquidation comes {-room.share:.2%} before the stop")
    left = f"{room.share:.2%} from the stop to liquidation"
    if room.share <= cost:
        return Check(name, FAIL, f"{left}, and closing costs {cost:.2%}")
    if isinstance(room.atrs, NotGiven):
        if room.share < ROOM_CALM:
            return Check(name, WARN, f"{left}, less than {ROOM_CALM:.2%}")
        return Check(name, PASS, left)
    left = f"{left}, {room.atrs:.1f} ATRs"
    if room.atrs < ROOM_ATRS_CALM:
        return Check(name, WARN, f"{left}: noise crosses that")
    return Check(name, PASS, left)


def _stop_in_noise(planned: Plan) -> Check:
    name = "stop beyond noise"
    away = f"{planned.stop_away.share:.2%} from the entry"
    atrs = planned.stop_away.atrs
    if isinstance(atrs, NotGiven):
        return Check(name, WARN, f"{away}; not judged, as no ATR is given")
    if atrs < STOP_ATRS_CALM:
        return Check(name, WARN, f"{away}, {atrs:.1f} ATRs: noise triggers it")
    return Check(name, PASS, f"{away}, {atrs:.1f} ATRs")


def _free_margin(planned: Plan) -> Check:
    name, settle = "free margin", planned.instrument.settle
    needed, free = planned.initial_margin + planned.opening_fee, planned.account.free
    if planned.free_after < ZERO:
        return Check(name, FAIL, f"{needed:.2f} {settle} needed, {free:.2f} free")
    left = f"{needed:.2f} of {free:.2f} {settle} free, {planned.free_after:.2f} left"
    if planned.free_after < planned.initial_margin:
        return Check(name, WARN, f"{left}: it could not double the margin")
    return Check(name, PASS, left)


def _risk_tier(planned: Plan) -> Check:
    name, tier, leverage = "risk tier", planned.tier, planned.position.leverage
    number = planned.instrument.tiers.index(tier) + 1
    allowed = f"tier {number} allows {tier.leverage_max:f}x"
    if leverage > tier.leverage_max:
        return Check(name, FAIL, f"{allowed}, not {leverage:f}x")
    beside = tier_of(planned.instrument, 2 * planned.notional).leverage_max
    if leverage > beside:
        return Check(name, WARN, f"{allowed}, twice the size {beside:f}x")
    return Check(name, PASS, f"{allowed}, maintenance {tier.rate:.2%}")


def _funding(planned: Plan) -> Check:
    name, carry, idea = "funding", planned.carry, planned.idea
    if isinstance(carry, NotGiven):
        return Check(name, WARN, "not judged, as no funding rate is given")
    share = carry.holding / planned.initial_margin
    if share <= ZERO:
        return Check(name, PASS, f"the position is paid {-share:.2%} of its margin, or nothing")
    costs = f"costs {share:.2%} of the margin while it is held"
    match carry.liquidation:
        case LiquidatesAt(price) if idea.side.sign * (idea.stop_price - price) <= ZERO:
            return Check(name, FAIL, f"{costs}: liquidation comes to {price:.8g}, before the stop")
        case _:
            pass
    if share > FUNDING_CALM:
        return Check(name, WARN, f"{costs}, more than {FUNDING_CALM:.2%}")
    return Check(name, PASS, costs)


def _one_more(planned: Plan) -> Check:
    joint, side = planned.joint, planned.idea.side
    name = f"one more {side}"
    share = Ratio(joint.loss / planned.account.equity)
    others = "" if joint.others == 0 else f" and {_counted(joint.others, side)}"
    reason = f"{joint.shock:.2%} against it{others} loses {share:.2%} of equity"
    if share >= JOINT_MAX:
        return Check(name, FAIL, f"{reason}, recovered by {gain_to_recover(share):.2%}")
    if share > JOINT_CALM:
        return Check(name, WARN, f"{reason}, more than {JOINT_CALM:.2%}")
    return Check(name, PASS, reason)


def _counted(number: int, side: Side) -> str:
    return f"{number} other {side}{'' if number == 1 else 's'}"


def _kelly(planned: Plan) -> tuple[Check, ...]:
    edge, risk = planned.idea.edge, planned.idea.risk
    if isinstance(edge, NotGiven):
        return ()
    name, full = "Kelly", kelly(edge)
    if full <= ZERO:
        return (Check(name, FAIL, f"{full:.2%}: such trades lose in the long run"),)
    if risk > full:
        return (Check(name, FAIL, f"{risk:.2%} is risked, more than {full:.2%}"),)
    if risk > full * KELLY_CALM:
        return (Check(name, WARN, f"{risk:.2%} is risked, more than half of {full:.2%}"),)
    return (Check(name, PASS, f"{risk:.2%} is risked, {risk / full:.2f} of {full:.2%}"),)
