"""
The contract of every verb: one file in `strategies/` is enough to be held to it.

What the proposals must achieve is checked with arithmetic of this file, not with the guard's.
"""

import inspect
from dataclasses import dataclass, fields, is_dataclass, replace
from decimal import Decimal, localcontext
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, assert_never, get_args, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

import strategies
from bot.core.cross import Book, Leg
from bot.core.model import (
    CloseFee,
    ContractKind,
    Instrument,
    MaintenanceAt,
    MarginMode,
    MarginOnReduce,
    NotReported,
    Position,
    RiskTier,
    Side,
    VenueRules,
)
from bot.core.strategy import (
    BookView,
    Close,
    Enough,
    Nothing,
    Notify,
    PositionView,
    Proposal,
    Reduce,
    Severity,
    TightenStop,
    TightenStops,
    TopUp,
    TrimAndRefund,
)
from bot.core.units import Duration, Money, Price, Quantity, Ratio

FILES = sorted(Path(*strategies.__path__).glob("[!_]*.py"))
VERBS = [import_module(f"strategies.{file.stem}") for file in FILES]
every_verb = pytest.mark.parametrize("verb", VERBS, ids=[file.stem for file in FILES])


def decimals(low: str, high: str, places: int) -> st.SearchStrategy[Decimal]:
    return st.decimals(Decimal(low), Decimal(high), places=places)


PARAMETERS: dict[object, st.SearchStrategy[object]] = {
    Ratio: decimals("0.0001", "1.5", 4),
    Money: decimals("0", "10000", 2),
    Price: decimals("0.01", "100000", 2),
    Duration: st.integers(0, 86_400_000),
}


@every_verb
def test_a_verb_is_complete(verb: ModuleType) -> None:
    assert verb.__doc__
    assert isinstance(verb.SEVERITY, Severity)
    assert verb.WORKS_ON
    assert frozenset(MarginMode) >= verb.WORKS_ON
    for way in ways_of(verb):
        assert is_dataclass(way)
        assert vars(way)["__dataclass_params__"].frozen
        assert "__slots__" in vars(way)
        assert set(get_type_hints(way).values()) <= PARAMETERS.keys()
    assert keys_are_enough(ways_of(verb))
    assert list(inspect.signature(verb.propose).parameters) == ["view", "params"]


def ways_of(verb: ModuleType) -> tuple[type, ...]:
    """The parameters of `verb`: one dataclass, or those of which a user chooses one."""
    return get_args(verb.Params) or (verb.Params,)


def keys_are_enough(ways: tuple[type, ...]) -> bool:
    """Whether any one key says which of `ways` is meant: no two share one, each has some."""
    names = [frozenset(get_type_hints(way)) for way in ways]
    return len(ways) == 1 or (
        all(names) and sum(map(len, names)) == len(frozenset().union(*names))
    )


def test_ways_that_share_a_key_or_have_none_are_no_choice() -> None:
    @dataclass(frozen=True, slots=True)
    class Target:
        to: Ratio

    @dataclass(frozen=True, slots=True)
    class Share:
        fraction: Ratio

    @dataclass(frozen=True, slots=True)
    class Both:
        to: Ratio
        fraction: Ratio

    @dataclass(frozen=True, slots=True)
    class Nothing:
        pass

    assert keys_are_enough((Target, Share))
    assert keys_are_enough((Nothing,))
    assert not keys_are_enough((Target, Both))
    assert not keys_are_enough((Target, Nothing))


@every_verb
@given(data=st.data())
def test_a_proposal_is_pure_and_does_what_it_says(verb: ModuleType, data: st.DataObject) -> None:
    view, params = data.draw(views()), data.draw(params_of(verb))
    before = repr((view, params))
    proposal = verb.propose(view, params)
    assert verb.propose(view, params) == proposal
    assert repr((view, params)) == before
    check(view, params, proposal)


@every_verb
@given(data=st.data())
def test_a_proposal_on_a_book_is_pure_and_speaks_of_its_legs(
    verb: ModuleType, data: st.DataObject
) -> None:
    view, params = data.draw(book_views()), data.draw(params_of(verb))
    before = repr((view, params))
    proposal = verb.propose(view, params)
    assert verb.propose(view, params) == proposal
    assert repr((view, params)) == before
    if MarginMode.CROSS in verb.WORKS_ON:
        check_on_book(view, proposal)
    else:
        assert isinstance(proposal, Nothing)
        assert proposal.reason


def check_on_book(view: BookView, proposal: Proposal) -> None:
    """What must hold for a proposal on all cross positions, whichever verb makes it."""
    match proposal:
        case Notify(text):
            assert all(leg.position.symbol in text for leg in view.book.legs)
        case TightenStops(room):
            assert 0 < room < view.liquidation_distance
        case Reduce(closes):
            ranked = [leg.position.key for leg in view.ranked]
            assert [close.key for close in closes] == ranked[: len(closes)]
            assert closes
            for close in closes:
                leg = view.book.leg_of(close.key)
                instrument, held = leg.instrument, leg.position.quantity
                assert 0 < close.quantity <= held
                assert close.quantity % instrument.quantity_step == 0 or close.quantity == held
        case Close():
            assert not fields(proposal)
        case Nothing(reason) | Enough(reason):
            assert reason
        case TopUp() | TrimAndRefund() | TightenStop():
            raise AssertionError("a cross position has no margin, and its stop moves with all")
        case _:
            assert_never(proposal)


def check(view: PositionView, params: Any, proposal: Proposal) -> None:
    """What must hold for a proposal, whichever verb makes it."""
    match proposal:
        case Notify(text):
            assert view.position.symbol in text
        case TightenStop(trigger):
            sign = view.position.side.sign
            assert trigger > 0
            assert trigger % view.instrument.tick_size == 0
            assert sign * view.liquidation_price < sign * trigger < sign * view.mark_price
            assert sign * trigger > sign * view.stop_price
        case TopUp(amount):
            step = view.instrument.rules.position_margin_step
            assert amount > 0
            assert amount % step == 0
            if hasattr(params, "to"):
                assert distance_with(view, amount) >= params.to - ROOT_ERROR
                assert distance_with(view, amount - step) < params.to + ROOT_ERROR
        case Reduce(closes):
            (close,) = closes
            assert close.key == view.position.key
            retained = view.instrument.rules.margin_on_reduce is MarginOnReduce.RETAINED
            assert retained or not hasattr(params, "to")
            assert_closes_a_part(close.quantity, view, params)
        case TrimAndRefund(quantity):
            assert_closes_a_part(quantity, view, params)
        case TightenStops():
            raise AssertionError("only cross positions have stops to tighten together")
        case Close():
            assert not fields(proposal)
        case Nothing(reason) | Enough(reason):
            assert reason
        case _:
            assert_never(proposal)


def assert_closes_a_part(quantity: Quantity, view: PositionView, params: Any) -> None:
    """More than nothing, never more than there is, on the step, no dust remains; far enough."""
    instrument, held = view.instrument, view.position.quantity
    assert 0 < quantity <= held
    assert quantity % instrument.quantity_step == 0 or quantity == held
    assert held - quantity == 0 or held - quantity >= instrument.quantity_min
    if hasattr(params, "to"):
        assert_reaches(quantity, view, params.to)


def assert_reaches(quantity: Quantity, view: PositionView, to: Decimal) -> None:
    """What is left is `to` away, filled at the worst price and with all that is freed put back."""
    position, fill = view.position, view.close_price
    if quantity == position.quantity:
        return
    margin: Decimal = position.isolated_margin
    if view.instrument.rules.margin_on_reduce is MarginOnReduce.PRO_RATA:
        margin += gain(view.instrument, position.side, quantity, position.entry_price, fill)
        margin -= worth(view.instrument, quantity, fill) * view.instrument.taker_fee
    rest = replace(
        position,
        quantity=Quantity(position.quantity - quantity),
        isolated_margin=Money(margin),
    )
    # To a venue's step of margin, which is what it tells apart.
    step = view.instrument.rules.position_margin_step
    assert distance_with(replace(view, position=rest), step) >= to - ROOT_ERROR


# An independent liquidation price: where equity meets the requirement, by bisection.

ROOT_ERROR = Decimal("1e-25")


def distance_with(view: PositionView, added: Decimal) -> Decimal:
    """Signed liquidation distance after `added` margin."""
    with localcontext(prec=60):
        price = liquidation_price(view.instrument, view.position, added)
        return view.position.side.sign * (view.mark_price - price) / view.mark_price


def liquidation_price(instrument: Instrument, position: Position, added: Decimal) -> Decimal:
    """The mark at which nothing is left above the requirement; 0 if a long has none."""
    with localcontext(prec=60):
        margin = position.isolated_margin + added
        safe = position.entry_price * 1_000 if position.side is Side.LONG else Decimal(0)
        lost = Decimal(0) if position.side is Side.LONG else position.entry_price * 1_000
        for _ in range(140):
            middle = (safe + lost) / 2
            if surplus(instrument, position, margin, middle) > 0:
                safe = middle
            else:
                lost = middle
        return safe if safe > Decimal("1e-30") else Decimal(0)


def surplus(
    instrument: Instrument, position: Position, margin: Decimal, price: Decimal
) -> Decimal:
    """Equity less requirement with the mark at `price`."""
    entry, quantity = position.entry_price, position.quantity
    equity = margin + gain(instrument, position.side, quantity, entry, price)
    at_entry = instrument.rules.maintenance_at is MaintenanceAt.ENTRY
    valued = worth(instrument, quantity, entry if at_entry else price)
    (tier,) = [tier for tier in instrument.tiers if tier.floor < valued <= tier.cap] or [
        instrument.tiers[0]
    ]
    required = valued * tier.rate - tier.deduction
    if instrument.rules.close_fee is CloseFee.MARK:
        required += worth(instrument, quantity, price) * instrument.taker_fee
    return equity - required


def worth(instrument: Instrument, quantity: Decimal, price: Decimal) -> Decimal:
    """In what the contract pays in: dollars of coins, or coins of dollars."""
    inverse = instrument.kind is ContractKind.INVERSE
    return quantity / price if inverse else quantity * price


def gain(
    instrument: Instrument, side: Side, quantity: Decimal, entry: Decimal, price: Decimal
) -> Decimal:
    rise = worth(instrument, quantity, price) - worth(instrument, quantity, entry)
    rises_with_price = instrument.kind is ContractKind.LINEAR
    return rise if (side is Side.LONG) is rises_with_price else -rise


# Positions


def params_of(verb: ModuleType) -> st.SearchStrategy[Any]:
    return st.sampled_from(ways_of(verb)).flatmap(built)


def built(way: type) -> st.SearchStrategy[Any]:
    hints = get_type_hints(way)
    return st.builds(way, **{name: PARAMETERS[hint] for name, hint in hints.items()})


MARGIN_STEPS = {
    ContractKind.LINEAR: [Decimal("0.000001"), Decimal("0.01")],
    ContractKind.INVERSE: [Decimal("0.00000001"), Decimal("0.000001")],
}


@st.composite
def instruments(draw: st.DrawFn, notional: Decimal, kind: ContractKind) -> Instrument:
    """One to three tiers around `notional` that join without a jump, as venues publish them."""
    rates = sorted(draw(st.lists(decimals("0.004", "0.1", 3), min_size=1, max_size=3)))
    joints = len(rates) - 1
    shares = draw(st.lists(decimals("0.3", "2", 2), min_size=joints, max_size=joints, unique=True))
    caps = [notional * share for share in sorted(shares)]
    tiers: list[RiskTier] = []
    floor, deduction, last = Decimal(0), Decimal(0), rates[0]
    for rate, cap in zip(rates, [*caps, Decimal("Infinity")], strict=True):
        deduction += floor * (rate - last)
        tiers.append(RiskTier(floor, cap, Ratio(rate), Money(deduction), Decimal(20)))
        floor, last = cap, rate
    return Instrument(
        symbol="BTCUSDT",
        kind=kind,
        settle="USDT" if kind is ContractKind.LINEAR else "BTC",
        tick_size=Price(draw(st.sampled_from([Decimal("0.01"), Decimal("0.1"), Decimal(5)]))),
        quantity_step=Quantity(Decimal("0.001")),
        quantity_min=Quantity(Decimal("0.001")),
        taker_fee=Ratio(Decimal("0.0005")),
        tiers=tuple(tiers),
        rules=VenueRules(
            maintenance_at=draw(st.sampled_from(MaintenanceAt)),
            close_fee=draw(st.sampled_from((CloseFee.NONE, CloseFee.MARK))),
            position_margin_step=draw(st.sampled_from(MARGIN_STEPS[kind])),
            margin_on_reduce=draw(st.sampled_from(MarginOnReduce)),
        ),
    )


@st.composite
def views(draw: st.DrawFn) -> PositionView:
    """Any position: far from liquidation, near it, past it, or without any."""
    side = draw(st.sampled_from(Side))
    entry = draw(decimals("10", "70000", 2))
    kind = draw(st.sampled_from(ContractKind))
    inverse = kind is ContractKind.INVERSE
    quantity = draw(decimals("1", "900000", 3) if inverse else decimals("0.001", "20", 3))
    value = quantity / entry if inverse else quantity * entry
    instrument = draw(instruments(value, kind))
    share = draw(st.one_of(decimals("0.01", "0.3", 4), decimals("0.3", "2", 2)))
    margin = (value * share).quantize(Decimal("0.00000001" if inverse else "0.01"))
    position = Position(
        symbol="BTCUSDT",
        side=side,
        quantity=Quantity(quantity),
        entry_price=Price(entry),
        margin_mode=MarginMode.ISOLATED,
        isolated_margin=Money(margin),
        leverage=Decimal(10),
        liquidation=NotReported(),
    )
    liquidation = liquidation_price(instrument, position, Decimal(0))
    distance = draw(decimals("-0.1", "0.5", 4))
    mark = liquidation / (1 - side.sign * distance) if liquidation else entry
    room = draw(decimals("0.001", "0.1", 3))
    tick = instrument.tick_size
    return PositionView(
        position=position,
        instrument=instrument,
        mark_price=Price(max(mark, Decimal("0.01")).quantize(Decimal("0.01"))),
        liquidation_price=Price(+liquidation),
        stop_price=Price((liquidation / (1 - side.sign * room)) // tick * tick),
        close_price=Price(max(mark * (1 - side.sign * room), tick) // tick * tick or tick),
    )


@st.composite
def book_views(draw: st.DrawFn) -> BookView:
    """Up to three positions in any order of preference, near, far or past liquidation."""
    found = [draw(views()) for _ in range(draw(st.integers(1, 3)))]
    legs = tuple(
        Leg(
            replace(view.instrument, symbol=f"COIN{number}USDT"),
            replace(
                view.position,
                symbol=f"COIN{number}USDT",
                margin_mode=MarginMode.CROSS,
                isolated_margin=Money(Decimal(0)),
            ),
            view.mark_price,
            Ratio(draw(decimals("0", "2", 1))),
        )
        for number, view in enumerate(found)
    )
    margins = sum((view.position.isolated_margin for view in found), Decimal(0))
    return BookView(
        book=Book(Money(margins), legs),
        liquidation_distance=Ratio(draw(decimals("-0.1", "1", 3))),
        ranked=tuple(draw(st.permutations(legs))),
        close_prices={
            leg.position.key: view.close_price for leg, view in zip(legs, found, strict=True)
        },
    )
