"""
What the adapters of live venues can do: one row a venue. `liqguard venues` prints it.

A row is what *our* adapter does there, not what the venue could do for others. A policy that needs
what its venue's row lacks is refused at the start, not at three in the morning.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from bot.core.model import STOPS_MAX, MarginMode, PositionMode


class Effect(StrEnum):
    """What a policy may need to have done."""

    PLACE_STOP = "place_stop"
    """A reduce-only stop-market order of a given size, on the mark price."""
    CANCEL_STOP = "cancel_stop"
    CLOSE = "close"
    """Reduce-only at market."""
    BOUNDED_CLOSE = "bounded_close"
    """Reduce-only, immediate or cancel, no worse than a price."""
    ADD_MARGIN = "add_margin"
    """To an isolated position, exact to the venue's step."""


class Replacement(StrEnum):
    """How a resting stop gives way to another."""

    COEXIST = "coexist"
    """The new one rests before the old one is cancelled."""
    AMEND = "amend"
    BREAK_THEN_MAKE = "break_then_make"


class Evidence(StrEnum):
    """How it is found out whether margin was added."""

    HISTORY = "history"
    """The venue lists additions, with their amounts and times."""
    BALANCE = "balance"
    """Only the position's margin tells, before and after."""


class StopName(StrEnum):
    """By what the guard's own stops are told from yours."""

    CLIENT_ID = "client id"
    """Each carries an id of the guard's."""
    NUMBER = "number"
    """The venue's own, kept in a file beside the journal: without it all stops look like yours."""


class KeyReport(StrEnum):
    """What the venue tells about a key."""

    WHOLE = "whole"
    """Everything it may do: one that can withdraw is refused."""
    NOTHING = "nothing"
    """UNVERIFIED: the user answers for it, in LIQGUARD_UNVERIFIED_KEYS."""


class StopsTold(StrEnum):
    """From where it is known how many stops may rest in a contract."""

    LISTED = "listed"
    """By the venue with each contract; the number here is for one of which it says nothing."""
    DOCUMENTED = "documented"
    """In the venue's papers, for every contract."""
    ASSUMED = "assumed"
    """No source is known: so many are tried, and the venue's refusal is heard."""


class Tried(StrEnum):
    """What an adapter has met."""

    WIRE = "wire"
    """Our exchange that liquidates, over sockets, whole processes and every fault."""
    PAPERS = "papers"
    """A scripted server that answers as the venue's papers and recorded payloads say."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """One row."""

    effects: frozenset[Effect]
    margin_modes: frozenset[MarginMode]
    position_modes: frozenset[PositionMode]
    replacement: Replacement
    margin_evidence: Evidence
    key_report: KeyReport
    client_id: str
    """The alphabet and length that the venue takes."""
    stop_request: str
    """Method and path of a stop of a size. Another of the whole position, of which a venue lets
    one rest in a direction, is not ours."""
    stop_trigger: str
    """The field, as sent, that makes the mark price its trigger; where every trigger is on the
    mark, the one that makes it a stop."""
    hedge_close: tuple[str, ...]
    """The fields, as sent, by which a long is closed and no short opened in hedge mode."""
    refused_accounts: tuple[str, ...]
    tried: Tried
    stops_max: int = STOPS_MAX
    """Of ours and yours together in a contract; what needs more is told and has so many."""
    stops_told: StopsTold = StopsTold.ASSUMED
    stop_name: StopName = StopName.CLIENT_ID
    why_not: str = ""
    """Why an effect or a margin mode is lacking."""


MATRIX: Mapping[str, Capabilities] = {
    "apex": Capabilities(
        effects=frozenset(),
        margin_modes=frozenset({MarginMode.CROSS}),
        position_modes=frozenset({PositionMode.ONE_WAY}),
        replacement=Replacement.COEXIST,
        margin_evidence=Evidence.BALANCE,
        key_report=KeyReport.NOTHING,
        client_id="nothing is sent",
        stop_request="nothing is sent",
        stop_trigger="nothing is sent",
        hedge_close=(),
        refused_accounts=("collateral besides USDT", "trial money", "a status that is not NORMAL"),
        tried=Tried.PAPERS,
        why_not=(
            "its orders need a zk signature of a library that ccxt does not bring, and margin "
            "cannot be moved into a position"
        ),
    ),
    "binancecoinm": Capabilities(
        effects=frozenset(Effect),
        margin_modes=frozenset(MarginMode),
        position_modes=frozenset(PositionMode),
        replacement=Replacement.COEXIST,
        margin_evidence=Evidence.HISTORY,
        key_report=KeyReport.WHOLE,
        client_id="1 to 36 of A-Z a-z 0-9 . : / _ -",
        stop_request="POST /dapi/v1/algoOrder",
        stop_trigger="workingType=MARK_PRICE",
        hedge_close=("side=SELL", "positionSide=LONG"),
        refused_accounts=("portfolio margin", "auto-added margin"),
        tried=Tried.PAPERS,
        stops_told=StopsTold.LISTED,
    ),
    "binanceusdm": Capabilities(
        effects=frozenset(Effect),
        margin_modes=frozenset(MarginMode),
        position_modes=frozenset(PositionMode),
        replacement=Replacement.COEXIST,
        margin_evidence=Evidence.HISTORY,
        key_report=KeyReport.WHOLE,
        client_id="1 to 36 of A-Z a-z 0-9 . : / _ -",
        stop_request="POST /fapi/v1/algoOrder",
        stop_trigger="workingType=MARK_PRICE",
        hedge_close=("side=SELL", "positionSide=LONG"),
        refused_accounts=("multi-assets margin", "portfolio margin", "auto-added margin"),
        tried=Tried.WIRE,
        stops_told=StopsTold.LISTED,
    ),
    "bitget": Capabilities(
        effects=frozenset(Effect),
        margin_modes=frozenset(MarginMode),
        position_modes=frozenset(PositionMode),
        replacement=Replacement.COEXIST,
        margin_evidence=Evidence.BALANCE,
        key_report=KeyReport.NOTHING,
        client_id="not told; ours are 26 of a-z 2-7",
        stop_request="POST /api/v2/mix/order/place-tpsl-order",
        stop_trigger="triggerType=mark_price",
        hedge_close=("side=buy", "tradeSide=close"),
        refused_accounts=(
            "several assets as margin",
            "coupons and grants",
            "auto-added margin",
        ),
        tried=Tried.PAPERS,
    ),
    "bitunix": Capabilities(
        effects=frozenset(Effect),
        margin_modes=frozenset(MarginMode),
        position_modes=frozenset(PositionMode),
        replacement=Replacement.COEXIST,
        margin_evidence=Evidence.BALANCE,
        key_report=KeyReport.NOTHING,
        client_id="closes: not told; ours are 26 of a-z 2-7. Stops carry none",
        stop_request="POST /api/v1/futures/tpsl/place_order",
        stop_trigger="slStopType=MARK_PRICE",
        hedge_close=("side=BUY", "tradeSide=CLOSE"),
        refused_accounts=("bonus", "several accounts under one key"),
        tried=Tried.PAPERS,
        stop_name=StopName.NUMBER,
    ),
    "bybit": Capabilities(
        effects=frozenset(Effect),
        margin_modes=frozenset(MarginMode),
        position_modes=frozenset(PositionMode),
        replacement=Replacement.COEXIST,
        margin_evidence=Evidence.BALANCE,
        key_report=KeyReport.WHOLE,
        client_id="1 to 36 of A-Z a-z 0-9 _ -, never used before",
        stop_request="POST /v5/order/create",
        stop_trigger="triggerBy=MarkPrice",
        hedge_close=("side=Sell", "positionIdx=1", "reduceOnly=true"),
        refused_accounts=(
            "classic account",
            "unified account 1.0",
            "portfolio margin",
            "cross margin that other coins back or are owed",
            "auto-added margin",
        ),
        tried=Tried.WIRE,
        stops_max=10,
        stops_told=StopsTold.DOCUMENTED,
    ),
    "gate": Capabilities(
        effects=frozenset(Effect),
        margin_modes=frozenset(MarginMode),
        position_modes=frozenset(PositionMode),
        replacement=Replacement.COEXIST,
        margin_evidence=Evidence.BALANCE,
        key_report=KeyReport.NOTHING,
        client_id="1 to 28 of A-Z a-z 0-9 _ - .",
        stop_request="POST /api/v4/futures/usdt/price_orders",
        stop_trigger="price_type=1",
        hedge_close=("reduce_only=true",),
        refused_accounts=(
            "unified margin",
            "portfolio margin",
            "maintenance margin that is not tiered",
        ),
        tried=Tried.PAPERS,
    ),
    "hyperliquid": Capabilities(
        effects=frozenset(Effect),
        margin_modes=frozenset(MarginMode),
        position_modes=frozenset({PositionMode.ONE_WAY}),
        replacement=Replacement.COEXIST,
        margin_evidence=Evidence.BALANCE,
        key_report=KeyReport.WHOLE,
        client_id="0x and 32 of 0-9 a-f, into which ours fit whole",
        stop_request="POST /exchange",
        stop_trigger="tpsl=sl",
        hedge_close=(),
        refused_accounts=("unified account", "portfolio margin", "sub-accounts and vaults"),
        tried=Tried.PAPERS,
    ),
    "krakenfutures": Capabilities(
        effects=frozenset(Effect) - {Effect.ADD_MARGIN},
        margin_modes=frozenset({MarginMode.CROSS}),
        position_modes=frozenset({PositionMode.ONE_WAY}),
        replacement=Replacement.COEXIST,
        margin_evidence=Evidence.BALANCE,
        key_report=KeyReport.WHOLE,
        client_id="1 to 100, which of them is not told; ours are 26 of a-z 2-7, never used before",
        stop_request="POST /derivatives/api/v3/sendorder",
        stop_trigger="triggerSignal=mark",
        hedge_close=(),
        refused_accounts=(
            "collateral besides USD",
            "isolated positions",
            "profit in another coin",
            "portfolio margin",
        ),
        tried=Tried.PAPERS,
        why_not=(
            "the margin of an isolated position is not told, and none can be added to it: "
            "transfer into the wallet, or reduce"
        ),
    ),
    "kucoin": Capabilities(
        effects=frozenset(Effect),
        margin_modes=frozenset({MarginMode.ISOLATED}),
        position_modes=frozenset(PositionMode),
        replacement=Replacement.COEXIST,
        margin_evidence=Evidence.BALANCE,
        key_report=KeyReport.WHOLE,
        client_id="1 to 40 of A-Z a-z 0-9 _ -",
        stop_request="POST /api/v1/orders",
        stop_trigger="stopPriceType=MP",
        hedge_close=("side=sell", "positionSide=LONG", "reduceOnly=true"),
        refused_accounts=("unified account", "auto-added margin"),
        tried=Tried.PAPERS,
        stops_max=200,
        stops_told=StopsTold.DOCUMENTED,
        why_not=(
            "what a cross position has to keep is on a curve whose formula its API does not tell"
        ),
    ),
    "okx": Capabilities(
        effects=frozenset(Effect),
        margin_modes=frozenset(MarginMode),
        position_modes=frozenset(PositionMode),
        replacement=Replacement.COEXIST,
        margin_evidence=Evidence.BALANCE,
        key_report=KeyReport.WHOLE,
        client_id="1 to 32 of A-Z a-z 0-9",
        stop_request="POST /api/v5/trade/order-algo",
        stop_trigger="slTriggerPxType=mark",
        hedge_close=("side=sell", "posSide=long"),
        refused_accounts=(
            "spot account",
            "multi-currency margin",
            "portfolio margin",
            "lead trader",
        ),
        tried=Tried.PAPERS,
    ),
    "xt": Capabilities(
        effects=frozenset(Effect),
        margin_modes=frozenset(MarginMode),
        position_modes=frozenset({PositionMode.HEDGE}),
        replacement=Replacement.COEXIST,
        margin_evidence=Evidence.BALANCE,
        key_report=KeyReport.NOTHING,
        client_id="not told; ours are 26 of a-z 2-7",
        stop_request="POST /future/trade/v1/entrust/create-plan",
        stop_trigger="triggerPriceType=MARK_PRICE",
        hedge_close=("orderSide=SELL", "positionSide=LONG"),
        refused_accounts=("auto-added margin",),
        tried=Tried.PAPERS,
    ),
}
