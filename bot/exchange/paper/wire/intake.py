"""Orders as they are asked for: read from parameters, and refused for what is wrong in them."""

import re
from itertools import count

from bot.core.model import PositionMode
from bot.core.units import ZERO, Price, Quantity
from bot.exchange.paper.orders import Direction, Effect, TimeInForce
from bot.exchange.paper.wire.listing import Listing, check_steps, check_tick
from bot.exchange.paper.wire.orders import (
    AlgoOrder,
    AlgoType,
    Order,
    PlainType,
    PositionSide,
    WorkingType,
)
from bot.exchange.paper.wire.parameters import Parameters, malformed
from bot.exchange.paper.wire.refusal import Refusal, not_here

_CLIENT_ID = re.compile(r"[.A-Z:/a-z0-9_-]{1,36}")
_CONDITIONAL = {*AlgoType, "TRAILING_STOP_MARKET"}


def read_order(
    asked: Parameters, listing: Listing, mode: PositionMode, ids: "count[int]", now_ms: int
) -> Order:
    """The order of POST order; refused for what is wrong with it by itself."""
    instrument = listing.named(asked.text("symbol"))
    direction = asked.choice(Direction, "side", Refusal(-1117))
    if asked.text("type") in _CONDITIONAL:
        raise Refusal(-4120)
    kind = asked.choice(PlainType, "type", Refusal(-1116))
    position_side = read_position_side(asked, mode)
    quantity = asked.decimal("quantity")
    check_steps(instrument, quantity)
    price, time_in_force = ZERO, TimeInForce.GTC
    if kind is PlainType.LIMIT:
        price = asked.decimal("price")
        check_tick(instrument, price)
        time_in_force = asked.choice(TimeInForce, "timeInForce", Refusal(-1115))
    client_id = _client_id(asked, "newClientOrderId", ids)
    order_id = next(ids)
    return Order(
        order_id=order_id,
        machine_id=f"order-{order_id}",
        client_id=client_id,
        symbol=instrument.symbol,
        direction=direction,
        position_side=position_side,
        type=kind,
        quantity=Quantity(quantity),
        price=Price(price),
        time_in_force=time_in_force,
        reduce_only=_reduce_only(asked, mode),
        close_position=False,
        created_ms=now_ms,
        updated_ms=now_ms,
    )


def read_algo(
    asked: Parameters, listing: Listing, mode: PositionMode, ids: "count[int]", now_ms: int
) -> AlgoOrder:
    """The order of POST algoOrder; refused for what is wrong with it by itself."""
    if asked.text("algoType") != "CONDITIONAL":
        raise malformed("algoType")
    instrument = listing.named(asked.text("symbol"))
    direction = asked.choice(Direction, "side", Refusal(-1117))
    if asked.text("type") == "TRAILING_STOP_MARKET":
        raise not_here("trailing stops")
    kind = asked.choice(AlgoType, "type", Refusal(-1116))
    position_side = read_position_side(asked, mode)
    trigger = asked.decimal("triggerPrice")
    check_tick(instrument, trigger)
    reduce_only, close_position = _reduce_only(asked, mode), asked.flag("closePosition")
    quantity, price = ZERO, ZERO
    if close_position:
        grows = position_side.effect(direction, is_reduce_only=True) is Effect.OPEN
        if asked.has("quantity") or kind.becomes is PlainType.LIMIT or reduce_only or grows:
            raise Refusal(-4136, "Target strategy invalid for orderType with closePosition.")
    else:
        quantity = asked.decimal("quantity")
        check_steps(instrument, quantity)
    if kind.becomes is PlainType.LIMIT:
        price = asked.decimal("price")
        check_tick(instrument, price)
    gtc = TimeInForce.GTC
    working = asked.choice_or(
        WorkingType, "workingType", malformed("workingType"), WorkingType.CONTRACT_PRICE
    )
    return AlgoOrder(
        algo_id=next(ids),
        client_id=_client_id(asked, "clientAlgoId", ids),
        symbol=instrument.symbol,
        direction=direction,
        position_side=position_side,
        type=kind,
        quantity=Quantity(quantity),
        trigger_price=Price(trigger),
        price=Price(price),
        time_in_force=asked.choice_or(TimeInForce, "timeInForce", Refusal(-1115), gtc),
        working_type=working,
        reduce_only=reduce_only,
        close_position=close_position,
        created_ms=now_ms,
        updated_ms=now_ms,
    )


def _client_id(asked: Parameters, name: str, ids: "count[int]") -> str:
    if not asked.has(name):
        return f"paper_{next(ids)}"
    client_id = asked.text(name)
    if not _CLIENT_ID.fullmatch(client_id):
        raise Refusal(-4015)
    return client_id


def read_position_side(asked: Parameters, mode: PositionMode) -> PositionSide:
    """The leg that is meant: BOTH in one-way mode, one of two in hedge mode."""
    side = asked.choice_or(PositionSide, "positionSide", Refusal(-4060), PositionSide.BOTH)
    if (side is PositionSide.BOTH) is not (mode is PositionMode.ONE_WAY):
        raise Refusal(-4061)
    return side


def _reduce_only(asked: Parameters, mode: PositionMode) -> bool:
    """In hedge mode the leg says it, and the parameter is refused."""
    if mode is PositionMode.HEDGE and asked.has("reduceOnly"):
        raise Refusal(-1106, "Parameter 'reduceonly' sent when not required.")
    return asked.flag("reduceOnly")
