"""
The report of a rehearsal: one HTML file that needs no network and no server.

Scripts are inline and named by their hashes in a Content-Security-Policy that allows nothing
else: what a policy or a price file says can neither run nor make the page ask for anything.
"""

import json
from base64 import b64encode
from collections.abc import Iterator, Sequence
from hashlib import sha256
from html import escape
from importlib.resources import files
from pathlib import Path

from plotly.offline import get_plotlyjs

from bot.core.decision import Alert
from bot.core.model import ContractKind, Position
from bot.rehearsal.chronicle import Chronicle
from bot.rehearsal.deeds import Deed
from bot.rehearsal.fates import Fate
from bot.rehearsal.listing import kind_of, unit_of
from bot.rehearsal.report.cards import BudgetLeft, Card, NoBudget, deal
from bot.rehearsal.report.figures import panels
from bot.rehearsal.report.sentences import account, did, headline, left
from bot.rehearsal.report.strokes import Key, Panel
from bot.rehearsal.report.wording import (
    base,
    clock,
    day,
    iso,
    moment,
    money,
    percent,
    price,
    quantity,
)

_HERE = files("bot.rehearsal.report")


def write_report(path: Path, told: Chronicle) -> None:
    """Write the page of `told` to `path`. Raises `OSError` where that cannot be."""
    path.write_text(page(told), encoding="utf-8")


def page(told: Chronicle) -> str:
    """The whole page. The same chronicle gives the same text."""
    cards = deal(told.guarded, told.policy)
    charts = panels(told, cards)
    scripts = (get_plotlyjs(), (_HERE / "page.js").read_text(encoding="utf-8"))
    style = (_HERE / "page.css").read_text(encoding="utf-8")
    hashes = " ".join(f"'sha256-{_digest(script)}'" for script in scripts)
    csp = (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:"
    )
    title = f"{account(told)}, {day(told.begins_ms)}: replay"
    library, own = (f"<script>{script}</script>" for script in scripts)
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_text(csp)}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            '<meta name="referrer" content="no-referrer">',
            f"<title>{_text(title)}</title>",
            f"<style>{style}</style>",
            "</head>",
            "<body>",
            *_header(told, cards),
            "<main>",
            *_charts(charts),
            *_decisions(cards, told.policy.settle),
            *_how(told),
            "</main>",
            *_footer(told),
            f'<script type="application/json" id="panels">{_data(told, charts)}</script>',
            library,
            own,
            "</body>",
            "</html>",
            "",
        ]
    )


def _text(words: str) -> str:
    """Words as HTML shows them, in text and in attributes."""
    return escape(words, quote=True)


def _digest(script: str) -> str:
    return b64encode(sha256(script.encode()).digest()).decode()


def _data(told: Chronicle, charts: Sequence[Panel]) -> str:
    """The charts as JSON that can stand in a page: nothing in it opens or closes a tag."""
    plain = [
        {
            "id": chart.id,
            "height": chart.height_px,
            "range": [told.begins_ms, told.ends_ms],
            "traces": chart.traces,
            "layout": chart.layout,
        }
        for chart in charts
    ]
    text = json.dumps(plain, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _header(told: Chronicle, cards: Sequence[Card]) -> Iterator[str]:
    span = f"{moment(told.begins_ms)} to {moment(told.ends_ms)}"
    yield "<header>"
    yield f'<p class="eyebrow">{_text(account(told))} · {_text(span)}</p>'
    yield f"<h1>{_text(headline(told, cards))}</h1>"
    yield '<div class="versus">'
    yield from _run("unguarded", "Without a guard", told, told.unguarded, ())
    coin = told.policy.settle
    added = ("Margin added", f"{money(told.guarded.spent, coin)} {coin}")
    yield from _run("guarded", "With the guard", told, told.guarded.fate, (added,))
    yield "</div>"
    yield "</header>"


def _run(
    look: str, title: str, told: Chronicle, fate: Fate, more: Sequence[tuple[str, str]]
) -> Iterator[str]:
    change, coin = fate.equity_final / told.deposit - 1, told.policy.settle
    yield f'<section class="run {look}" aria-label="{title}">'
    yield f"<h2>{title}</h2>"
    yield (
        f'<p class="big">{money(fate.equity_final, coin)} '
        f"<small>{_text(coin)}, {change * 100:+.1f}%</small></p>"
    )
    yield "<dl>"
    if fate.taken:
        first_ms = min(taken.at_ms for taken in fate.taken)
        count = len(fate.taken)
        what = "" if len(fate.endings) == 1 else f"{count} of {len(fate.endings)} positions, "
        yield f'<dt>Liquidated</dt><dd class="bad">{what}{_text(moment(first_ms))}</dd>'
    else:
        yield "<dt>Liquidated</dt><dd>no</dd>"
    facts = (
        *_at_mark(told, fate),
        ("Closest distance", percent(fate.distance_min)),
        *more,
        ("Funding paid", f"{money(fate.funding_paid, coin)} {coin}"),
    )
    for name, value in facts:
        yield f"<dt>{name}</dt><dd>{_text(value)}</dd>"
    yield "</dl></section>"


def _at_mark(told: Chronicle, fate: Fate) -> Iterator[tuple[str, str]]:
    """What a coin account is worth at the last mark price, as the coin itself has moved too."""
    for position in told.opened[:1]:
        if kind_of(position.symbol) is ContractKind.INVERSE:
            unit = unit_of(position.symbol)
            first, last = (told.prices[position.symbol].mark[at][at][1] for at in (0, -1))
            worth, before = fate.equity_final * last, told.deposit * first
            yield (
                f"In {unit} at the mark price",
                f"{money(worth, 'USD')}, {(worth / before - 1) * 100:+.1f}%",
            )


def _charts(charts: Sequence[Panel]) -> Iterator[str]:
    yield '<section aria-label="Charts">'
    yield "<noscript><p>The charts need JavaScript; everything below them does not.</p></noscript>"
    for chart in charts:
        yield "<figure>"
        yield f"<figcaption><h2>{_text(chart.title)}</h2>"
        yield f'<ul class="keys">{"".join(map(_key, chart.keys))}</ul></figcaption>'
        yield (
            f'<div class="chart" id="{_text(chart.id)}" role="img" '
            f'aria-label="{_text(chart.label)}" style="--height:{chart.height_px}px"></div>'
        )
        yield "</figure>"
    yield (
        '<p class="note">Times are UTC. <span class="mouse">Drag over a chart to zoom into all of '
        "them, double-click to come back.</span> Numbers on the charts are those of the decisions "
        "below. A price chart is as high as the prices were while anything was open.</p>"
    )
    yield "</section>"


def _key(key: Key) -> str:
    return f'<li><span class="swatch {_text(key.look)}"></span>{_text(key.text)}</li>'


def _decisions(cards: Sequence[Card], coin: str) -> Iterator[str]:
    yield "<section><h2>What the guard decided</h2>"
    if not cards:
        yield '<p class="note">Nothing was done and nothing had to be said.</p></section>'
        return
    yield (
        '<p class="note">Numbered: money or the position moved. The others are stops and '
        "alerts; those that repeat between two such acts are told once.</p>"
    )
    yield '<ol class="cards">'
    number = 0
    for card in cards:
        number += card.is_act
        yield from _card(card, number, coin)
    yield "</ol>"
    yield from _table(cards, coin)
    yield "</section>"


def _card(card: Card, number: int, coin: str) -> Iterator[str]:
    quiet = "" if card.is_act else " quiet"
    yield f'<li class="card{quiet}">'
    match card.what:
        case Alert(severity=severity):
            yield f'<span class="dot {severity.name.lower()}"></span>'
            tag = f'<span class="tag">{severity.name.lower()}</span>'
        case Deed(proven=proven):
            sign = f'<span class="number">{number}</span>' if card.is_act else ""
            yield sign or '<span class="dot"></span>'
            look = "tag" if card.has_effect else "tag failed"
            tag = f'<span class="{look}">{_text(proven)}</span>'
    yield (
        f'<time class="when" datetime="{iso(card.first_ms)}">{clock(card.first_ms)}'
        f"<span>{day(card.first_ms)}</span></time>"
    )
    yield '<div class="body">'
    yield f'<div class="what">{_text(did(card, coin))}{tag}</div>'
    reason = f"<code>{_text(card.what.reason)}</code>, " if isinstance(card.what, Deed) else ""
    if reason or card.why:
        yield f'<p class="more">{reason}{_text(card.why)}</p>'
    for shrink in card.shrinks:
        yield f'<p class="more">Made smaller: {_text(shrink)}</p>'
    match card.left:
        case BudgetLeft() as budget:
            yield f'<p class="more">Budget left: {_text(left(budget, coin))}</p>'
        case NoBudget():
            pass
    yield "</div></li>"


def _table(cards: Sequence[Card], coin: str) -> Iterator[str]:
    """The same for whoever reads no charts."""
    yield f"<details><summary>As a table ({len(cards)} rows)</summary>"
    yield '<div class="wide"><table><caption>What was done and said, in UTC</caption>'
    names = ("#", "Time", "Symbol", "What", "Because", "Outcome")
    yield _head(names) + "<tbody>"
    number = 0
    for card in cards:
        number += card.is_act
        match card.what:
            case Deed(reason=reason, proven=proven):
                because, outcome = f"{reason}: {card.why}", proven
            case Alert(severity=severity):
                because, outcome = card.why, severity.name.lower()
        cells = (
            f"<td>{number if card.is_act else ''}</td>",
            f'<td><time datetime="{iso(card.first_ms)}">{moment(card.first_ms)}</time></td>',
            f"<td>{_text(card.symbol)}</td>",
            f'<td class="text">{_text(did(card, coin))}</td>',
            f'<td class="text">{_text(because)}</td>',
            f"<td>{_text(outcome)}</td>",
        )
        yield f"<tr>{''.join(cells)}</tr>"
    yield "</tbody></table></div></details>"


def _head(names: Sequence[str]) -> str:
    cells = (f'<th scope="col">{name}</th>' for name in names)
    return f"<thead><tr>{''.join(cells)}</tr></thead>"


def _how(told: Chronicle) -> Iterator[str]:
    """What the replay assumed, and the policy."""
    setup = told.setup
    yield '<section class="how"><h2>How this was replayed</h2>'
    yield '<div class="wide"><table><caption>Positions at the beginning</caption>'
    names = ("Symbol", "Side", "Leverage", "Margin mode", "Quantity", "Entry price", "Notional")
    yield _head(names)
    opened = (_position(each, told.policy.settle) for each in told.opened)
    yield f"<tbody>{''.join(opened)}</tbody></table></div>"
    marks = {opening.bars.mark_is_recorded for opening in setup.openings}
    facts = (
        ("Free reserve", f"{money(setup.reserve, told.policy.settle)} {told.policy.settle}"),
        ("Latency", f"{setup.latency_ms} ms from a price to the effect of the answer"),
        ("Slippage", f"{percent(setup.slippage)} worse than the last price"),
        ("Funding", "as recorded" if setup.funding else "not charged"),
        ("Mark price", "recorded" if marks == {True} else "not recorded: taken as the last price"),
        (
            "Path",
            "each bar runs open, worse extreme, better extreme, close, in straight lines",
        ),
    )
    yield "<dl>"
    for name, value in facts:
        yield f"<dt>{name}</dt><dd>{_text(value)}</dd>"
    for bars in {opening.bars.symbol: opening.bars for opening in setup.openings}.values():
        yield f"<dt>Data, {_text(base(bars.symbol))}</dt><dd>{_text(bars.provenance)}</dd>"
    yield "</dl>"
    policy = told.policy
    yield f"<details><summary>The policy ({_text(policy.account)})</summary>"
    yield f"<pre><code>{_text(policy.text)}</code></pre></details></section>"


def _position(position: Position, paid: str) -> str:
    unit = unit_of(position.symbol)
    worth = position.quantity * position.entry_price
    if kind_of(position.symbol) is ContractKind.INVERSE:
        worth = position.quantity / position.entry_price
    cells = (
        position.symbol,
        position.side,
        f"{position.leverage.normalize():f}x",
        position.margin_mode,
        f"{quantity(position.quantity)} {unit}",
        price(position.entry_price),
        f"{money(worth, paid)} {paid}",
    )
    return f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in cells)}</tr>"


def _footer(told: Chronicle) -> Iterator[str]:
    yield "<footer>"
    yield (
        f"<p>Made by liqguard. Policy <code>{told.policy.digest[:16]}</code>, journal "
        f"<code>{told.guarded.digest[:16]}</code>, {len(told.guarded.rows)} rows. Past prices; "
        "no promise about the next ones.</p>"
    )
    yield "</footer>"
