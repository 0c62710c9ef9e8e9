"""Reports made once, and the browser that looks at them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.rehearsal.chronicle import live_through
from bot.rehearsal.report.page import write_report
from tests.browser.devtools import Browser, browsing, installed
from tests.rehearsal.test_chronicle import CROSS_TEXT, silent
from tests.rehearsal.test_report import hostile
from tests.rehearsal.test_runs import FALL, OTHER, book, cross, setup
from tests.runtime.build import policy


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium; skips where none is installed."""
    chromium = installed()
    if not chromium:
        pytest.skip("no chromium here: make system-deps installs it")
    with browsing(chromium) as page:
        yield page


@pytest.fixture(scope="session")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A long that was closed, a book of two that fell together, and one full of hostile words."""
    folder = tmp_path_factory.mktemp("reports")
    fallen = live_through(setup(*FALL), policy(), silent)
    fall = (50_000, 48_000, 46_000, 45_000, 47_000)
    both = [cross(*fall), cross(*(price // 25 for price in fall), symbol=OTHER)]
    chronicles = {
        "fallen": fallen,
        "crossed": live_through(book(*both, reserve=0), policy(CROSS_TEXT), silent),
        "hostile": hostile(fallen),
    }
    files = {name: folder / f"{name}.html" for name in chronicles}
    for name, told in chronicles.items():
        write_report(files[name], told)
    return files
