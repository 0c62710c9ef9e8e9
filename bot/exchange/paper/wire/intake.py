"""Orders as they are asked for: read from parameters, and refused for what is wrong in them."""

import re
from itertools import count

from bot.core.units import ZERO, Quantity
from bot.exchange.paper.wire.listing import Listing, check_steps, check_tick
from bot.exchange.paper.wire.orders import (
    AlgoOrder,
    AlgoType,
    Direction,
    Order,
    PlainType,
    TimeInForce,
    WorkingType,
)
from bot.exchange.paper.wire.parameters import Parameters, malformed
from bot.exchange.paper.wire.refusal import Refusal, not_here

_CLIENT_ID = re.compile(r"[.A-Z:/a-z0-9_-]{1,36}")
_CONDITIONAL = {*AlgoType, "TRAILING_STOP_MARKET"}


def read_order(asked: Parameters, listing: Listing, ids: "count[int]", now_ms: int) -> Order:
    """The order of POST order; refused for what is wrong with it by itself."""
    instrument = listing.named(asked.text("symbol"))
    direction = asked.choice(Direction, "side", Refusal(-1117))
    if asked.text("type") in _CONDITIONAL:
        raise Refusal(-4120)
    kind = asked.choice(PlainType, "type", Refusal(-1116))
    _check_position_side(asked)
    quantity = asked.decimal("quantity")
    check_steps(instrument, quantity)
    price, time_in_force = ZERO, TimeInForce.GTC
    if kind is PlainType.LIMIT:
        price = asked.decimal("price")
        check_tick(instrument, price)
        time_in_force = asked.choice(TimeInForce, "timeInForce", Refusal(-1115))
    client_id = _client_id(asked, "newClientOrderId", ids)
    return Order(
        order_id=next(ids),
        client_id=client_id,
        symbol=instrument.symbol,
        direction=direction,
        type=kind,
        quantity=Quantity(quantity),
        price=price,
        time_in_force=time_in_force,
        reduce_only=asked.flag("reduceOnly"),
        close_position=False,
        created_ms=now_ms,
        updated_ms=now_ms,
    )


def read_algo(asked: Parameters, listing: Listing, ids: "count[int]", now_ms: int) -> AlgoOrder:
    """The order of POST algoOrder; refused for what is wrong with it by itself."""
    if asked.text("algoType") != "CONDITIONAL":
        raise malformed("algoType")
    instrument = listing.named(asked.text("symbol"))
    direction = asked.choice(Direction, "side", Refusal(-1117))
    if asked.text("type") == "TRAILING_STOP_MARKET":
        raise not_here("trailing stops")
    kind = asked.choice(AlgoType, "type", Refusal(-1116))
    _check_position_side(asked)
    trigger = asked.decimal("triggerPrice")
    check_tick(instrument, trigger)
    reduce_only, close_position = asked.flag("reduceOnly"), asked.flag("closePosition")
    quantity, price = ZERO, ZERO
    if close_position:
        if asked.has("quantity") or kind.becomes is PlainType.LIMIT or reduce_only:
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
        type=kind,
        quantity=Quantity(quantity),
        trigger_price=trigger,
        price=price,
        time_in_force=asked.choice_or(TimeInForce, "timeInForce", Refusal(-1115), gtc),
        working_type=working,
        reduce_only=reduce_only,
        close_position=close_position,
        in_machine=kind is AlgoType.STOP_MARKET
        and working is WorkingType.MARK_PRICE
        and (reduce_only or close_position),
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


def _check_position_side(asked: Parameters) -> None:
    if asked.has("positionSide") and asked.text("positionSide") != "BOTH":
        raise Refusal(-4061)
