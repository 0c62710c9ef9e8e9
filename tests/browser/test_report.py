"""The report as a person's browser shows it: drawn, quiet, offline, in both lights and sizes."""

from pathlib import Path

import pytest

from tests.browser.devtools import Browser

WIDE, PHONE = (1440, 900), (390, 844)
SIZES = pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
SCHEMES = pytest.mark.parametrize("scheme", ["light", "dark"])
NAMES = pytest.mark.parametrize("name", ["fallen", "crossed", "hostile"])
PNG = b"\x89PNG"

DRAWN = """
Promise.all([...document.querySelectorAll(".chart")].map((chart) => {
  const lines = [...chart.querySelectorAll(".scatterlayer .js-line")];
  const box = chart.getBoundingClientRect();
  return {
    id: chart.id,
    lines: lines.filter((line) => line.getAttribute("d").length > 20).length,
    wide: box.width, high: box.height,
  };
}))
"""


def show(browser: Browser, page: Path, size: tuple[int, int], scheme: str = "light") -> None:
    browser.open(page, width=size[0], height=size[1], scheme=scheme)


@NAMES
@SCHEMES
@SIZES
def test_every_chart_is_drawn_and_nothing_complains_or_is_asked_for(
    browser: Browser,
    reports: dict[str, Path],
    name: str,
    size: tuple[int, int],
    scheme: str,
) -> None:
    show(browser, reports[name], size, scheme)
    charts = browser.value(DRAWN)
    assert len(charts) == (4 if name == "crossed" else 3)
    for chart in charts:
        assert chart["lines"] >= 2, chart
        assert chart["wide"] > size[0] * 0.75
        assert chart["high"] > 200
    assert browser.complaints() == []
    assert browser.requests() == [reports[name].as_uri()]
    assert browser.value("document.documentElement.scrollWidth") <= size[0]
    assert browser.picture().startswith(PNG)


@SIZES
def test_light_and_dark_differ_and_follow_the_system_at_once(
    browser: Browser, reports: dict[str, Path], size: tuple[int, int]
) -> None:
    seen = {}
    colours = """[getComputedStyle(document.body).backgroundColor,
        document.querySelector("#equity .js-line").style.stroke]"""
    for scheme in ("light", "dark"):
        show(browser, reports["fallen"], size, scheme)
        seen[scheme] = browser.value(colours)
    assert all(light != dark for light, dark in zip(*seen.values(), strict=True))
    media = [{"name": "prefers-color-scheme", "value": "light"}]
    browser.call("Emulation.setEmulatedMedia", features=media)
    assert (
        browser.value(f"new Promise(done => setTimeout(done, 300)).then(() => {colours})")
        == (seen["light"])
    )


def test_what_is_written_on_charts_can_be_read_against_the_paper(
    browser: Browser, reports: dict[str, Path]
) -> None:
    contrast = """
    (() => {
      const probe = document.createElement("canvas").getContext("2d");
      const light = (colour) => {
        probe.fillStyle = colour;
        probe.fillRect(0, 0, 1, 1);
        const [r, g, b] = [...probe.getImageData(0, 0, 1, 1).data].slice(0, 3).map((v) => {
          const s = v / 255;
          return s <= 0.04045 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const paper = light(getComputedStyle(document.body).backgroundColor);
      const texts = [...document.querySelectorAll(".chart text, main p, main dt, .tag, caption")];
      return texts.filter((text) => text.textContent.trim()).map((text) => {
        const style = getComputedStyle(text);
        const ink = light(text.tagName === "text" ? style.fill : style.color);
        const ratio = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
        return [Math.round(ratio * 100) / 100, text.textContent.slice(0, 40)];
      });
    })()
    """
    for scheme in ("light", "dark"):
        show(browser, reports["fallen"], WIDE, scheme)
        found = browser.value(contrast)
        assert len(found) > 40
        assert [each for each in found if each[0] < 4.5] == []  # WCAG 2.2, AA


def test_a_zoom_into_one_chart_shows_the_same_time_on_all(
    browser: Browser, reports: dict[str, Path]
) -> None:
    show(browser, reports["crossed"], WIDE)
    ranges = browser.value(
        """
        (async () => {
          const [first, ...others] = document.querySelectorAll(".chart");
          const [begin, end] = first._fullLayout.xaxis.range.map((each) => +new Date(each + "Z"));
          const quarter = begin + (end - begin) / 4;
          await Plotly.relayout(first, {"xaxis.range[0]": quarter, "xaxis.range[1]": end});
          await new Promise((done) => setTimeout(done, 300));
          return [first, ...others].map((each) => each._fullLayout.xaxis.range.join(" "));
        })()
        """
    )
    assert len(ranges) == 4
    assert len(set(ranges)) == 1
    assert browser.complaints() == []


def test_hostile_words_run_nothing(browser: Browser, reports: dict[str, Path]) -> None:
    dialogs = len([e for e in browser.events if e["method"] == "Page.javascriptDialogOpening"])
    show(browser, reports["hostile"], WIDE)
    browser.value("new Promise((done) => setTimeout(done, 300))")
    opened = [e for e in browser.events if e["method"] == "Page.javascriptDialogOpening"]
    assert (dialogs, opened) == (0, [])
    assert browser.value("document.querySelectorAll('img, main a, main script').length") == 0
    assert "onerror=alert(2)" in browser.value("document.querySelector('main').innerText")


def test_the_page_would_run_and_ask_nothing_even_if_words_got_into_it(
    browser: Browser, reports: dict[str, Path], tmp_path: Path
) -> None:
    """The second lock: were a word not escaped, the page's own policy still stops it."""
    spoilt = tmp_path / "spoilt.html"
    text = reports["fallen"].read_text(encoding="utf-8")
    planted = (
        "<script>window.ran = 1</script><img src='http://127.0.0.1:9/x' onerror='window.ran = 2'>"
    )
    spoilt.write_text(text.replace("<main>", f"<main>{planted}"), encoding="utf-8")
    show(browser, spoilt, WIDE)
    assert browser.value("window.ran === undefined")
    blocked = [each for each in browser.complaints() if "Content Security Policy" in str(each)]
    assert len(blocked) >= 2  # the script and the picture


@SIZES
def test_all_decisions_stand_on_the_page_without_a_pointer(
    browser: Browser, reports: dict[str, Path], size: tuple[int, int]
) -> None:
    show(browser, reports["fallen"], size)
    words = browser.value("document.querySelector('.cards').innerText")
    assert "Added 1,000.00 USDT of margin" in words
    assert "fires below 4%" in words
    assert "Budget left: 500.00 USDT this hour" in words
    on_chart = browser.value("document.querySelector('#price-1 .infolayer').textContent")
    assert "entry 50,000" in on_chart
    assert ("added 1,000.00" in on_chart) == (size is WIDE)
