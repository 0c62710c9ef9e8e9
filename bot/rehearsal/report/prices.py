"""
The price chart of a position: prices, liquidation, stop, the bands of its rules, what was done.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Any, TypeAlias

from bot.core.ladder import steps_for
from bot.core.model import MarginMode, Position, Side
from bot.core.sizing import price_at_distance
from bot.core.units import ONE, ZERO, Price, Ratio
from bot.rehearsal.chronicle import Chronicle, Line, Stretch
from bot.rehearsal.deeds import Deed
from bot.rehearsal.fates import Fate, TakenOver
from bot.rehearsal.report.cards import Card
from bot.rehearsal.report.limits import watching
from bot.rehearsal.report.strokes import (
    MARGINS_PX,
    Key,
    Panel,
    Trace,
    curve,
    drawn,
    signs,
    value_at,
)
from bot.rehearsal.report.wording import base, money, price, quantity, threshold

Acts: TypeAlias = Sequence[tuple[int, Card]]

_SIGNS = {
    "top_up": ("margin added", "triangle-up", "spend"),
    "refund": ("margin put back", "triangle-down", "spend"),
    "close": ("closed", "square", "close"),
    "stop_filled": ("stop filled", "diamond", "stop"),
}
_AIR, _AIR_MOST = 0.12, 8
"""Share of the height that a price chart leaves free above and below, and how often at most."""

_PRICE_PX = 440
_INNER_PX = _PRICE_PX - MARGINS_PX
_TAG_PX, _TAG_AWAY_PX = 21, 30


def price_panel(told: Chronicle, position: Position, number: int, acts: Acts) -> Panel:
    """A chart by its number: prices, where the position is liquidated, its stop, what was done."""
    symbol, key = position.symbol, position.key
    prices = told.prices[symbol]
    alone = told.alone.liquidation.get(key, ())
    liquidation = told.watched.liquidation.get(key, ())
    stop = told.watched.stop.get(key, ())
    bends = "linear" if position.margin_mode is MarginMode.CROSS else "hv"
    bands = tuple(_bands(told, position, liquidation))
    marked = tuple(_marked(told, position, acts))
    traces = (
        *(band for band, _ in bands),
        curve(told, prices.last, "last", "--last", width=1),
        curve(told, prices.mark, "mark", "--mark", width=1.7),
        curve(told, alone, "liquidation unguarded", "--unguarded", dash="dot", shape=bends),
        curve(told, liquidation, "liquidation", "--liquidation", width=2, shape=bends),
        curve(told, stop, "stop", "--stop", width=1.7, shape="hv"),
        *(trace for trace, _ in marked),
    )
    keys = (
        Key("line mark", "mark price"),
        Key("line last", "last price"),
        Key("line liquidation", "liquidation price"),
        Key("line unguarded dotted", "liquidation price, unguarded"),
        Key("line stop", "resting stop"),
        *(each for _, each in bands),
        *(each for _, each in marked),
    )
    coin = base(symbol)
    if sum(each.symbol == symbol for each in told.opened) > 1:
        coin = f"{coin} {key.side}"
    span, tags = _fitted(told, position, acts, (prices.mark, alone, liquidation, stop))
    return Panel(
        id=f"price-{number}",
        title=f"{coin} price, liquidation and stop",
        label=(
            f"Mark and last price of {symbol} over time, with the liquidation price of the "
            f"{key.side} with and without the guard, its stop, and markers of what was done."
        ),
        keys=keys,
        height_px=_PRICE_PX,
        traces=traces,
        layout={
            "yaxis": {
                "separatethousands": True,
                "exponentformat": "none",
                "hoverformat": ",.7~g",
                "range": span,
            },
            "annotations": tags,
        },
    )


def _bands(told: Chronicle, position: Position, liquidation: Line) -> Iterator[tuple[Trace, Key]]:
    """
    Where each step is the deepest crossed one, as prices around liquidation.

    Isolated positions only: what watches cross ones is the distance of all of them together.
    """
    if position.margin_mode is MarginMode.CROSS:
        return
    instruments = {each.symbol: each for each in told.setup.instruments}
    limits = watching(steps_for(told.policy, position))
    nearer = (*(limit.value for limit in limits), Ratio(ZERO))[1:]

    def at(level: Decimal, distance: Ratio) -> float:
        instrument, side = instruments[position.symbol], position.side
        return drawn(price_at_distance(instrument, side, Price(level), distance))

    for limit, inner in zip(limits, nearer, strict=True):
        if position.side is Side.LONG and limit.value >= ONE:
            continue  # a long is never farther than its whole price from liquidation
        x: list[int | None] = []
        y: list[float | None] = []
        for stretch in liquidation:
            corners = _stairs(stretch)
            x += [at_ms for at_ms, _ in corners] + [at_ms for at_ms, _ in reversed(corners)]
            y += [at(level, limit.value) for _, level in corners]
            y += [at(level, inner) for _, level in reversed(corners)]
            x.append(None)
            y.append(None)
        trace = {
            "x": x,
            "y": y,
            "mode": "lines",
            "fill": "toself",
            "fillcolor": f"--band-{limit.look}",
            "line": {"width": 0},
            "hoverinfo": "skip",
        }
        yield trace, Key(f"band {limit.look}", f"{limit.text}: below {threshold(limit.value)}")


def _stairs(stretch: Stretch) -> list[tuple[int, Decimal]]:
    """Every corner of values that stay until the next."""
    corners = [stretch[0]]
    for (_, before), (at_ms, value) in pairwise(stretch):
        if value != before:
            corners.append((at_ms, before))
        corners.append((at_ms, value))
    return corners


def _marked(told: Chronicle, position: Position, acts: Acts) -> Iterator[tuple[Trace, Key]]:
    """Where something was done to a position, and where the exchange took it over."""
    line = told.prices[position.symbol].mark
    for verb, (words, sign, look) in _SIGNS.items():
        found = [card for _, card in acts if _is(verb, position, card)]
        if found:
            points = [(card.at_ms, value_at(line, card.at_ms)) for card in found]
            yield signs(points, words, sign, f"--{look}"), Key(f"sign {look} {sign}", words)
    for taken, words, look in _takeovers(told, position):
        points = [(taken.at_ms, value_at(line, taken.at_ms))]
        yield signs(points, words, "x", f"--{look}"), Key(f"sign x {look}", words)


def _takeovers(told: Chronicle, position: Position) -> Iterator[tuple[TakenOver, str, str]]:
    """When the exchange took a position over, of whom, and a look."""
    for taken in _taken(told.unguarded, position):
        yield taken, "liquidated, unguarded", "unguarded"
    for taken in _taken(told.guarded.fate, position):
        yield taken, "liquidated, guarded", "liquidation"


def _taken(fate: Fate, position: Position) -> Iterator[TakenOver]:
    for ending in fate.endings:
        if ending.key == position.key and isinstance(ending.outcome, TakenOver):
            yield ending.outcome


def _is(verb: str, position: Position, card: Card) -> bool:
    return (
        card.symbol == position.symbol
        and isinstance(card.what, Deed)
        and (card.what.side, card.what.verb) == (position.side, verb)
    )


@dataclass(frozen=True, slots=True)
class _Tag:
    """Words at a point of a chart, and the few of them that fit on a phone."""

    at_ms: int
    level: Decimal
    words: str
    short: str
    look: str


def _moments(told: Chronicle, position: Position, acts: Acts) -> list[_Tag]:
    """What is said on a price chart, in the order of time."""
    line = told.prices[position.symbol].mark
    entry = f"entry {price(position.entry_price)}"
    tags = [_Tag(told.begins_ms, position.entry_price, entry, entry, "soft")]
    for number, card in acts:
        for verb, (_, _, look) in _SIGNS.items():
            if _is(verb, position, card):
                level, bold = value_at(line, card.at_ms), f"<b>{number}</b>"
                tags.append(
                    _Tag(
                        card.at_ms, level, f"{bold} {_brief(card, told.policy.settle)}", bold, look
                    )
                )
    tags += [
        _Tag(taken.at_ms, value_at(line, taken.at_ms), words, "", look)
        for taken, words, look in _takeovers(told, position)
    ]
    return sorted(tags, key=lambda tag: tag.at_ms)


def _tagged(
    told: Chronicle, position: Position, acts: Acts, span: Sequence[float]
) -> list[dict[str, Any]]:
    """The tags as annotations away from the prices; neighbours never lie on each other."""
    away = 1 if position.side is Side.LONG else -1
    per_unit = _INNER_PX / (span[1] - span[0])
    near_ms = (told.ends_ms - told.begins_ms) // 6
    placed: list[tuple[int, float]] = []
    annotations = []
    for tag in _moments(told, position, acts):
        height = float(tag.level) * per_unit
        at = height + away * _TAG_AWAY_PX
        taken = [other for at_ms, other in placed if tag.at_ms - at_ms < near_ms]
        while any(abs(at - other) < _TAG_PX for other in taken):
            at += away * _TAG_PX / 2
        placed.append((tag.at_ms, at))
        annotations.append(
            {
                "x": tag.at_ms,
                "y": float(tag.level),
                "text": tag.words,
                "name": tag.short,
                "ax": 0,
                "ay": height - at,
                "xanchor": "left",
                "showarrow": True,
                "arrowhead": 0,
                "arrowwidth": 1,
                "arrowcolor": f"--{tag.look}",
                "standoff": 6,
                "font": {"color": f"--{tag.look}"},
                "bgcolor": "--veil",
                "borderpad": 2,
            }
        )
    return annotations


def _brief(card: Card, coin: str) -> str:
    """An act in two words."""
    assert isinstance(card.what, Deed)  # noqa: S101 - what an act is
    amount = card.what.amount
    return {
        "top_up": f"added {money(amount, coin)}",
        "refund": f"put {money(amount, coin)} back",
        "close": f"closed {quantity(amount)}",
        "stop_filled": "stop filled",
    }[card.what.verb]


def _fitted(
    told: Chronicle, position: Position, acts: Acts, lines: Sequence[Line]
) -> tuple[list[float], list[dict[str, Any]]]:
    """
    From where to where a price chart goes, and its tags, which have their place in it.

    It holds what there was while anything was open, with air above and below.
    """
    values = [
        value
        for line in lines
        for stretch in line
        for at_ms, value in stretch
        if at_ms <= told.flat_ms
    ]
    least, greatest = float(min(values)), float(max(values))
    air = (greatest - least or greatest) * _AIR
    upwards = position.side is Side.LONG
    for more in range(1, _AIR_MOST):
        span = (
            [least - air, greatest + air * more]
            if upwards
            else [least - air * more, greatest + air]
        )
        tags = _tagged(told, position, acts, span)
        per_unit = _INNER_PX / (span[1] - span[0])
        heights = [(tag["y"] - span[0]) * per_unit - tag["ay"] for tag in tags]
        if min(heights) >= _TAG_PX / 2 and max(heights) <= _INNER_PX - _TAG_PX / 2:
            break
    return span, tags
