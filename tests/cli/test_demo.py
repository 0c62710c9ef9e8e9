"""The demo: its stories are those that a replay tells, and the first one gets a page."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from bot.app import RunError
from bot.cli import demo
from bot.cli.commands import _without_logs
from bot.cli.demo import STORIES, demo_policy, demo_setup, show_demo
from bot.cli.replay import result_json
from bot.rehearsal.fates import nobody
from bot.rehearsal.replay import replay


@pytest.fixture
def one_story(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(demo, "STORIES", STORIES[:1])
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    with _without_logs():
        yield
    structlog.reset_defaults()  # the file that it logged to is closed
    root.handlers, root.level = handlers, level


def test_its_json_is_that_of_a_replay_and_names_the_page(
    one_story: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show_demo(tmp_path / "state", as_json=True)
    (told,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    page = tmp_path / "state" / "demo.html"
    assert told["report"] == str(page)
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")

    policy = demo_policy(STORIES[0].policy)
    lived = replay(demo_setup(STORIES[0]), policy, lambda at_ms: None, nobody, nobody)
    expected = result_json(lived)
    assert expected["unguarded"]["liquidated"]
    for run in ("unguarded", "guarded"):
        assert told[run].items() >= expected[run].items()
    assert [told[name] for name in ("actions", "spent", "digest")] == [
        expected[name] for name in ("actions", "spent", "digest")
    ]
    (position,) = told["unguarded"]["positions"]
    for name in ("liquidated_at_ms", "liquidation_price"):
        assert position[name] == expected["unguarded"][name]


def test_its_tables_show_the_liquidation_price_and_end_with_the_page(
    one_story: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show_demo(tmp_path, as_json=False)
    shown = capsys.readouterr().out
    assert "liquidated 2020-03-12 10:02:27 at 7141.1 " in shown
    assert shown.endswith(f"report: {tmp_path / 'demo.html'}\n")


def test_a_page_that_cannot_be_written_is_one_line(one_story: None, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(RunError, match=r"LIQGUARD_STATE_DIR: expected to write .*, was 'Not a"):
        show_demo(file / "state", as_json=True)
