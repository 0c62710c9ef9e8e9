"""What charts are made of: curves, signs and notes, as plotly.js understands them."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from html import escape
from typing import Any, TypeAlias

from bot.rehearsal.chronicle import Chronicle, Line, Stretch

_CELLS, _CELLS_LEAST = 800, 200
"""Into so many equal times a line is cut; the more positions there are, the fewer."""

MARGINS_PX = 56
"""What axis and margins take of a panel's height."""

Trace: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Key:
    """An entry of a panel's legend: a swatch of `look`, a CSS class, and what it stands for."""

    look: str
    text: str


@dataclass(frozen=True, slots=True)
class Panel:
    """A chart: `label` says in words what can be seen on it."""

    id: str
    title: str
    label: str
    keys: tuple[Key, ...]
    height_px: int
    traces: tuple[Trace, ...]
    layout: dict[str, Any]


def thinned(stretch: Stretch, begins_ms: int, ends_ms: int, cells: int) -> Stretch:
    """
    At most four points of each of `cells` equal times: the first, last, least and greatest.

    No extreme is lost, and at the width of a screen the picture is the same (M4: Jugel et al.,
    VLDB 2014).
    """
    if len(stretch) <= 4 * cells:
        return stretch
    length_ms = ends_ms - begins_ms + 1
    parts: dict[int, list[int]] = {}
    for place, (at_ms, _) in enumerate(stretch):
        parts.setdefault((at_ms - begins_ms) * cells // length_ms, []).append(place)
    kept: set[int] = set()
    for places in parts.values():
        kept |= {places[0], places[-1]}
        kept.add(min(places, key=lambda place: stretch[place][1]))
        kept.add(max(places, key=lambda place: stretch[place][1]))
    return tuple(stretch[place] for place in sorted(kept))


def curve(
    told: Chronicle,
    line: Line,
    name: str,
    colour: str,
    *,
    width: float = 1.5,
    dash: str = "solid",
    shape: str = "linear",
) -> Trace:
    x: list[int | None] = []
    y: list[float | None] = []
    cells = max(_CELLS // len(told.opened), _CELLS_LEAST)
    for stretch in line:
        points = thinned(stretch, told.begins_ms, told.ends_ms, cells)
        x += [at_ms for at_ms, _ in points]
        y += [drawn(value) for _, value in points]
        x.append(None)
        y.append(None)
    return {
        "x": x[:-1],
        "y": y[:-1],
        "mode": "lines",
        "name": literal(name),
        "line": {"color": colour, "width": width, "dash": dash, "shape": shape},
        "hovertemplate": f"{literal(name)} %{{y}}<extra></extra>",
    }


def signs(points: Sequence[tuple[int, Decimal]], name: str, sign: str, colour: str) -> Trace:
    return {
        "x": [at_ms for at_ms, _ in points],
        "y": [drawn(value) for _, value in points],
        "mode": "markers",
        "name": name,
        "marker": {
            "symbol": sign,
            "size": 11,
            "color": colour,
            "line": {"color": "--paper", "width": 1.5},
        },
        "hovertemplate": f"{name}<extra></extra>",
        "cliponaxis": False,
    }


def side_note(height: float, text: str) -> dict[str, Any]:
    """Words to the right of a panel, where a line ends."""
    return {
        "x": 1,
        "xref": "paper",
        "xanchor": "left",
        "xshift": 6,
        "y": height,
        "yanchor": "middle",
        "align": "left",
        "showarrow": False,
        "text": text,
    }


def literal(words: str) -> str:
    """Words of a user as plotly shows them literally: it reads a little HTML in its texts."""
    return escape(words, quote=False)


def drawn(value: Decimal) -> float:
    """A value to seven digits, which no screen can tell from the exact one."""
    return float(f"{value:.7g}")


def value_at(line: Line, at_ms: int) -> Decimal:
    """The value of a line at or just before a moment."""
    points = [point for stretch in line for point in stretch]
    place = bisect_right(points, at_ms, key=lambda point: point[0])
    return points[max(place - 1, 0)][1]
