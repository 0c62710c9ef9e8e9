"""
Figures: the lines of a chronicle as plain values for plotly.js, which draws them in the page.

Plotly (MIT) was chosen among maintained packages that carry their own JavaScript. Its 4.8 MB are
most of a page's weight; bokeh's bundle is 1.3 MB, but it needs numpy, pandas and tornado to be
installed and draws on canvases, which neither print sharply nor hold text. Plotly needs no data
library and draws SVG.
The page is given values and never calls home: the page's own policy forbids every request.

Colours are names of the page's CSS variables, so that light and dark are the page's business.
Numbers become floats here and only here, to be drawn.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from bot.core.ladder import steps_for, steps_for_book
from bot.core.model import MarginMode
from bot.rehearsal.chronicle import Chronicle, Line
from bot.rehearsal.report.cards import Card
from bot.rehearsal.report.limits import Limit, watching
from bot.rehearsal.report.prices import Acts, price_panel
from bot.rehearsal.report.strokes import (
    MARGINS_PX,
    Key,
    Panel,
    Trace,
    curve,
    literal,
    side_note,
    signs,
    value_at,
)
from bot.rehearsal.report.wording import base, money, threshold

_SHADES = ("--guarded", "--second", "--third", "--fourth", "--fifth")
"""Colours of several positions' own lines."""


def panels(told: Chronicle, cards: Sequence[Card]) -> tuple[Panel, ...]:
    """The charts of a chronicle from top to bottom. Acts are numbered as their cards are."""
    acts = tuple(numbered(cards))
    prices = (
        price_panel(told, position, number, acts)
        for number, position in enumerate(told.opened, start=1)
    )
    return (*prices, _distance_panel(told), _equity_panel(told, acts))


def numbered(cards: Sequence[Card]) -> Iterator[tuple[int, Card]]:
    """The acts among the cards with the numbers that charts and list call them by."""
    return enumerate((card for card in cards if card.is_act), start=1)


def _distance_panel(told: Chronicle) -> Panel:
    """How far everything is from liquidation, and the thresholds that watch it."""
    curves = tuple(_distances(told))
    limits = _limits(told)
    is_joint = bool(told.alone.together)
    what = (
        "the common adverse move that liquidates all cross positions together, each symbol "
        "weighed by the policy's beta"
        if is_joint
        else "how far the mark price may still go against a position, as a share of it"
    )
    return Panel(
        id="distance",
        title="Distance to liquidation" + (" of all cross positions together" if is_joint else ""),
        label=f"Liquidation distance over time, guarded and unguarded: {what}.",
        keys=tuple(key for _, key in curves),
        height_px=270,
        traces=tuple(trace for trace, _ in curves),
        layout={
            "yaxis": {"ticksuffix": "%", "rangemode": "tozero", "hoverformat": ".2f"},
            "shapes": [_level(limit) for limit in limits],
            "annotations": _apart(
                [
                    side_note(
                        float(limit.value * 100), f"{literal(limit.text)} {threshold(limit.value)}"
                    )
                    for limit in limits
                ],
                (
                    0.0,
                    max(value for trace, _ in curves for value in trace["y"] if value is not None),
                ),
                height=270,
                least_px=14,
            ),
        },
    )


def _equity_panel(told: Chronicle, acts: Acts) -> Panel:
    """What the account is worth with and without the guard."""
    alone, watched = (
        _extended(lines.equity, told.ends_ms) for lines in (told.alone, told.watched)
    )
    coin = told.policy.settle
    ends = {"unguarded": alone[-1][-1][1], "guarded": watched[-1][-1][1]}
    worths = [float(value) for line in (alone, watched) for _, value in line[0]]
    # Two accounts that both kept most of their money would be one line at the top.
    least = min(worths) if min(worths) > max(worths) / 2 else 0.0
    taken = [(each.at_ms, value_at(alone, each.at_ms)) for each in told.unguarded.taken]
    done = [(card.at_ms, value_at(watched, card.at_ms)) for _, card in acts]
    return Panel(
        id="equity",
        title=f"Equity in {coin}",
        label=(
            "Wallet, margins and unrealised profit over time: unguarded it ends at "
            f"{money(ends['unguarded'], coin)} {coin}, guarded at "
            f"{money(ends['guarded'], coin)} {coin}."
        ),
        keys=(
            Key("line guarded", "guarded"),
            Key("line unguarded", "unguarded"),
            *([Key("sign x unguarded", "liquidated, unguarded")] if taken else []),
        ),
        height_px=300,
        traces=(
            curve(told, alone, "unguarded", "--unguarded", width=1.8),
            curve(told, watched, "guarded", "--guarded", width=2.2),
            signs(taken, "liquidated", "x", "--unguarded"),
            signs(done, "act", "circle", "--guarded"),
        ),
        layout={
            "yaxis": {
                "separatethousands": True,
                "rangemode": "normal" if least else "tozero",
                "hoverformat": ",.2f" if "USD" in coin else ",.6f",
            },
            "annotations": _apart(
                [
                    side_note(float(value), f"{name}<br><b>{money(value, coin)}</b>")
                    for name, value in ends.items()
                ],
                (least, max(worths)),
                height=300,
                least_px=32,
            ),
        },
    )


def _limits(told: Chronicle) -> tuple[Limit, ...]:
    """Every threshold on a distance that is shown, and the floor below them."""
    policy = told.policy
    covering = dict.fromkeys(
        pair
        for position in told.opened
        for pair in (
            steps_for(policy, position)
            if position.margin_mode is MarginMode.ISOLATED
            else steps_for_book(policy)
        )
    )
    return (*watching(tuple(covering)), Limit(policy.protect.floor, "floor", "floor"))


def _distances(told: Chronicle) -> Iterator[tuple[Trace, Key]]:
    runs = ((told.alone, "unguarded", "dot"), (told.watched, "guarded", "solid"))
    isolated = [each for each in told.opened if each.margin_mode is MarginMode.ISOLATED]
    several = len(isolated) + bool(told.alone.together) > 1
    for lines, whom, dash in runs:
        named = [(base(each.symbol), lines.distances.get(each.key, ())) for each in isolated]
        if lines.together:
            named.append(("together", lines.together))
        for shade, (name, line) in enumerate(named):
            words = f"{name}, {whom}" if several else whom
            own = _SHADES[shade % len(_SHADES)]
            colour = own if several or whom == "guarded" else "--unguarded"
            percents = tuple(
                tuple((at_ms, value * 100) for at_ms, value in stretch) for stretch in line
            )
            trace = curve(told, percents, words, colour, width=1.8, dash=dash)
            look = "line " + colour.removeprefix("--") + (" dotted" if dash == "dot" else "")
            yield trace, Key(look, words)


def _level(limit: Limit) -> dict[str, Any]:
    """A horizontal line across a panel of percentages."""
    height = float(limit.value * 100)
    return {
        "type": "line",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "y0": height,
        "y1": height,
        "layer": "between",
        "line": {"color": f"--{limit.look}", "width": 1},
    }


def _apart(
    notes: Sequence[dict[str, Any]], span: tuple[float, float], height: int, least_px: int
) -> list[dict[str, Any]]:
    """The notes with as much shift as keeps each `least_px` from the one below, on that `span`."""
    lowest, greatest = span
    per_unit = (height - MARGINS_PX) / (greatest - lowest) if greatest > lowest else 0
    shifted, free_from = [], float("-inf")
    for note in sorted(notes, key=lambda note: float(note["y"])):
        wanted = (note["y"] - lowest) * per_unit
        placed = max(wanted, free_from)
        free_from = placed + least_px
        shifted.append({**note, "yshift": placed - wanted})
    return shifted


def _extended(line: Line, until_ms: int) -> Line:
    """`line` going on as it ended."""
    last = line[-1]
    if last[-1][0] >= until_ms:
        return line
    return (*line[:-1], (*last, (until_ms, last[-1][1])))
