"""Reports: what the page says, that nothing in it can run or ask, and that it hides nothing."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from bot.core.decision import Alert
from bot.core.model import Side
from bot.rehearsal.chronicle import Chronicle, live_through
from bot.rehearsal.deeds import Deed
from bot.rehearsal.report.cards import BudgetLeft, Card, _gathered, _why_done, deal
from bot.rehearsal.report.figures import panels
from bot.rehearsal.report.page import page, write_report
from bot.rehearsal.report.sentences import headline
from bot.testing import builders as build
from bot.testing.builders import SYMBOL
from tests.core.life import GOOD_STOP, Life
from tests.rehearsal.test_chronicle import CROSS_TEXT, silent
from tests.rehearsal.test_runs import FALL, OTHER, book, cross, opening, setup
from tests.runtime.build import TEXT, policy

D = Decimal
PAGE_BYTES_MAX = 6_000_000
HOSTILE = """"'><script>alert(1)</script><img src=x onerror=alert(2)></style>&lt;b&gt;"""


@pytest.fixture(scope="module")
def fallen() -> Chronicle:
    return live_through(setup(*FALL), policy(), silent)


@pytest.fixture(scope="module")
def crossed() -> Chronicle:
    fall = (50_000, 48_000, 46_000, 45_000, 47_000)
    both = [cross(*fall), cross(*(price // 25 for price in fall), symbol=OTHER)]
    return live_through(book(*both, reserve=0), policy(CROSS_TEXT), silent)


class Parsed(HTMLParser):
    """The elements of a page, and the text of its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.words: list[str] = []
        self._inside = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def charts(text: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(Parsed(text).scripts[0])
    return found


def test_one_sentence_says_what_happened_to_both(fallen: Chronicle) -> None:
    sentence = headline(fallen, deal(fallen.guarded, fallen.policy))
    assert re.fullmatch(
        r"Unguarded, the 10x long in BTCUSDT was liquidated on 13 September 2020 at 13:09:\d\d "
        r"and ended at 5,000\.00 USDT, from 10,000\.00; guarded, it was closed on 13 "
        r"September 2020 at 13:\d\d:\d\d and ended at 4,7\d\d\.\d\d, after adding "
        r"1,500\.00 of margin\.",
        sentence,
    )


def test_a_calm_account_was_left_alone() -> None:
    told = live_through(setup(50_000, 50_500, 50_000, 50_200), policy(), silent)
    sentence = headline(told, deal(told.guarded, told.policy))
    assert sentence == (
        "Unguarded, the 10x long in BTCUSDT stayed open and ended at 10,200.00 USDT, from "
        "10,000.00; guarded, it was left alone and ended at 10,200.00."
    )


def test_a_book_tells_of_its_wallet(crossed: Chronicle) -> None:
    sentence = headline(crossed, deal(crossed.guarded, crossed.policy))
    assert "the account of 2 positions lost all its positions and the wallet" in sentence
    assert "ended at 0.00 USDT, from 10,000.00; guarded, it " in sentence


def test_every_deed_and_alert_is_on_a_card(fallen: Chronicle) -> None:
    cards = deal(fallen.guarded, fallen.policy)
    deeds = [deed for deed in fallen.guarded.deeds if deed.verb != "cancel_stop"]
    told = [card for card in cards if isinstance(card.what, Deed)]
    assert sum(card.count for card in told) == len(deeds)
    assert {(card.what) for card in told} <= set(deeds)
    said = [card.what for card in cards if isinstance(card.what, Alert)]
    assert [alert.kind for alert in said if alert.kind.startswith("step:")]
    assert [card.first_ms for card in cards] == sorted(card.first_ms for card in cards)
    assert all(card.first_ms <= card.at_ms for card in cards)


def test_a_card_says_metric_and_threshold_and_what_is_left_of_the_budget(
    fallen: Chronicle,
) -> None:
    cards = deal(fallen.guarded, fallen.policy)
    first, second = (
        card for card in cards if isinstance(card.what, Deed) and card.what.verb == "top_up"
    )
    assert re.fullmatch(
        r"liquidation distance 3\.9\d%, fires below 4% \(line 20 of the policy\)", first.why
    )
    assert first.left == BudgetLeft(hour=D(500), day=D(500), episode=D(500), top_ups=2)  # type: ignore[arg-type]
    assert second.left == BudgetLeft(hour=D(0), day=D(0), episode=D(0), top_ups=1)  # type: ignore[arg-type]
    assert [shrink.rpartition("limit ")[2] for shrink in second.shrinks] == ["per_1h"]


def test_acts_are_numbered_alike_on_charts_and_cards(fallen: Chronicle) -> None:
    cards = deal(fallen.guarded, fallen.policy)
    acts = [card for card in cards if card.is_act]
    assert len(acts) >= 3
    tags = panels(fallen, cards)[0].layout["annotations"]
    named = [match[1] for tag in tags if (match := re.match(r"<b>(\d+)</b>", tag["text"]))]
    assert named == [str(number) for number, _ in enumerate(acts, start=1)]
    numbers = re.findall(r'<span class="number">(\d+)</span>', page(fallen))
    assert numbers == named


def test_tags_of_a_chart_stay_in_it_and_off_each_other(fallen: Chronicle) -> None:
    panel = panels(fallen, deal(fallen.guarded, fallen.policy))[0]
    low, high = panel.layout["yaxis"]["range"]
    inner_px = panel.height_px - 56
    places = [
        (tag["x"], (tag["y"] - low) / (high - low) * inner_px - tag["ay"])
        for tag in panel.layout["annotations"]
    ]
    assert all(0 < height < inner_px for _, height in places)
    near_ms = (fallen.ends_ms - fallen.begins_ms) // 6
    for index, (at_ms, height) in enumerate(places):
        for other_ms, other in places[:index]:
            assert at_ms - other_ms >= near_ms or abs(height - other) >= 20


def test_bands_lie_around_liquidation_as_the_rules_say(fallen: Chronicle) -> None:
    panel = panels(fallen, deal(fallen.guarded, fallen.policy))[0]
    bands = [trace for trace in panel.traces if trace.get("fill") == "toself"]
    liquidation = 45_000 / 0.995
    edges = [(max(b["y"][:2]), min(v for v in b["y"][:-1] if v)) for b in bands]
    for (outer, _), distance in zip(edges, (0.06, 0.04, 0.025), strict=True):
        assert outer == pytest.approx(liquidation / (1 - distance), abs=0.2)
    named = [key.text for key in panel.keys if key.look.startswith("band ")]
    assert named == ["warn: below 6%", "top-up: below 4%", "out: below 2.5%"]


def test_a_short_has_its_bands_below_liquidation() -> None:
    rise = tuple(100_000 - price for price in FALL)
    told = live_through(setup(*rise, side=Side.SHORT), policy(), silent)
    panel = panels(told, deal(told.guarded, told.policy))[0]
    first = next(trace for trace in panel.traces if trace.get("fill") == "toself")
    assert max(first["y"][:2]) < 50_000 + 5_000  # 54,726 / 1.06


def test_a_book_has_a_chart_for_each_symbol_and_one_of_the_joint_distance(
    crossed: Chronicle,
) -> None:
    shown = panels(crossed, deal(crossed.guarded, crossed.policy))
    assert [panel.id for panel in shown] == ["price-1", "price-2", "distance", "equity"]
    assert not any(trace.get("fill") for panel in shown[:2] for trace in panel.traces)
    limits = [note["text"] for note in shown[2].layout["annotations"]]
    assert limits == ["floor 0.7%", "out 2.5%", "warn 6%"]


def test_isolated_positions_of_a_book_have_distances_of_their_own() -> None:
    calm = opening(*range(2_000, 2_009), symbol=OTHER)
    told = live_through(book(opening(*FALL), calm), policy(), silent)
    distance = panels(told, deal(told.guarded, told.policy))[2]
    assert [key.text for key in distance.keys] == [
        f"{SYMBOL}, unguarded",
        "ETH, unguarded",
        f"{SYMBOL}, guarded",
        "ETH, guarded",
    ]


def test_the_page_is_whole_and_asks_for_nothing(fallen: Chronicle, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    write_report(file, fallen)
    text = file.read_text(encoding="utf-8")
    assert len(text.encode()) < PAGE_BYTES_MAX
    found = Parsed(text)
    asking = {"src", "href", "srcset", "data", "poster", "action", "background"}
    assert not [each for each in found.elements if asking & each[1].keys()]
    assert not [tag for tag, _ in found.elements if tag in {"link", "iframe", "img", "object"}]
    assert "@import" not in text.split("</style>", maxsplit=1)[0]
    assert "url(" not in text.split("</style>", maxsplit=1)[0]


def test_only_the_two_scripts_of_the_page_may_run(fallen: Chronicle) -> None:
    found = Parsed(page(fallen))
    (policy_of_page,) = [
        attributes["content"] or ""
        for tag, attributes in found.elements
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    allowed = re.findall(r"'sha256-([^']+)'", policy_of_page)
    digests = [
        base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        for script in found.scripts[1:]
    ]
    assert digests == allowed
    assert policy_of_page.startswith("default-src 'none'; script-src 'sha256-")
    assert "connect-src" not in policy_of_page  # default-src forbids it


def test_the_same_chronicle_gives_the_same_page(fallen: Chronicle) -> None:
    again = live_through(setup(*FALL), policy(), silent)
    assert page(again) == page(fallen)


def hostile(told: Chronicle) -> Chronicle:
    """The same with hostile words wherever a user, a file or a venue can put some."""
    bars = replace(told.setup.openings[0].bars, provenance=HOSTILE)
    openings = (replace(told.setup.openings[0], bars=bars),)
    rules = tuple(
        replace(
            rule, steps=tuple(replace(step, name=f"{step.name}{HOSTILE}") for step in rule.steps)
        )
        for rule in told.policy.rules
    )
    return replace(
        told,
        setup=replace(told.setup, openings=openings),
        policy=replace(told.policy, text=HOSTILE, account=HOSTILE, rules=rules),
        replayed=replace(
            told.replayed,
            guarded=replace(
                told.guarded,
                deeds=tuple(
                    replace(deed, reason=HOSTILE, proven=HOSTILE) for deed in told.guarded.deeds
                ),
                rows=tuple(
                    replace(row, entry=replace(row.entry, body=_spoilt(row.entry.body)))
                    for row in told.guarded.rows
                ),
            ),
        ),
    )


def _spoilt(body: str) -> str:
    words = json.dumps(HOSTILE)[1:-1]
    for name in ("warn", "top-up", "out"):
        body = body.replace(f"ladder/{name}", f"ladder/{name}{words}")
    return body.replace("is the position", words).replace(" from liquidation", f"{words} from liq")


def test_hostile_words_are_shown_and_do_nothing(fallen: Chronicle) -> None:
    spoilt = hostile(fallen)
    text = page(spoilt)
    found, clean = Parsed(text), Parsed(page(fallen))
    assert [tag for tag, _ in found.elements] == [tag for tag, _ in clean.elements]
    assert not [
        (tag, name)
        for tag, attributes in found.elements
        for name in attributes
        if name.startswith("on")
    ]
    assert len(found.scripts) == 3
    assert found.scripts[1:] == clean.scripts[1:]
    assert " ".join(HOSTILE.split()) in found.text
    assert "<" not in found.scripts[0]
    shown = json.dumps(charts(text))
    assert "<script" not in shown
    assert "&lt;script" in shown  # plotly reads tags in its texts, so it is given none


def test_times_are_told_in_utc_for_people_and_machines(fallen: Chronicle) -> None:
    found = Parsed(page(fallen))
    times = [attributes["datetime"] for tag, attributes in found.elements if tag == "time"]
    assert times
    assert all(re.fullmatch(r"2020-09-13T\d\d:\d\d:\d\dZ", time or "") for time in times)
    assert "13 September 2020, 12:26:40 UTC" in found.text


def test_who_sees_no_charts_has_words_and_a_table(fallen: Chronicle) -> None:
    found = Parsed(page(fallen))
    labels = [a["aria-label"] for tag, a in found.elements if a.get("role") == "img"]
    assert len(labels) == 3
    assert all(labels)
    names = [tag for tag, _ in found.elements]
    assert names.count("h1") == names.count("title") == 1
    assert "noscript" in names
    cards = deal(fallen.guarded, fallen.policy)
    assert f"As a table ({len(cards)} rows)" in found.text
    assert names.count("caption") == 2


def test_a_policy_that_does_nothing_has_a_page_too() -> None:
    silent_policy = policy(TEXT.split("rules:", maxsplit=1)[0] + "rules: []\n")
    told = live_through(setup(50_000, 50_500, 50_000, 50_200), silent_policy, silent)
    assert "Without a guard" in Parsed(page(told)).text


def test_cards_of_one_symbol_do_not_end_the_series_of_another() -> None:
    def card(at_ms: int, symbol: str, verb: str) -> Card:
        deed = Deed(at_ms, symbol, Side.LONG, verb, D(1), None, "protect/stop", "applied")
        return Card(at_ms, at_ms, 1, symbol, deed, "", (), BudgetLeft(D(0), D(0), D(0), 0))  # type: ignore[arg-type]

    cards = [
        card(1, SYMBOL, "place_stop"),
        card(2, OTHER, "top_up"),
        card(3, SYMBOL, "place_stop"),
        card(4, SYMBOL, "close"),
        card(5, SYMBOL, "place_stop"),
    ]
    assert [(each.first_ms, each.at_ms, each.count) for each in _gathered(cards)] == [
        (1, 3, 2),
        (2, 2, 1),
        (4, 4, 1),
        (5, 5, 1),
    ]


def test_a_close_of_what_nobody_could_measure_says_for_how_long() -> None:
    protection = build.protect(unknown_after_ms=20_000, closes_unknown=True)
    life = Life(build.policy(protection=protection), stops=[GOOD_STOP])
    life.state = replace(life.state, marks={})
    for _ in range(2):
        life.decide()
        life.wait(20_000)
    (approved,) = life.decision.approved
    said = _why_done(approved.intent, life.decision, life.policy)
    assert said == "nobody could measure it for 20 s, and the policy closes it then"
