"""Which of the many replays of recorded windows a run of the tests takes."""

import os

import pytest

_MANY = "test_the_guard_saves_what_is_lost_without_it"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """
    Of every second window one side and leverage, the next one for the next window.

    With REAL_DATA_ALL=1 all of them. Never the full histories, whose refusal is a test of its own
    (`test_windows.py`).
    """
    windows: dict[str, list[pytest.Item]] = {}
    left: set[pytest.Item] = set()
    for item in items:
        if not isinstance(item, pytest.Function) or item.originalname != _MANY:
            continue
        match item.callspec.params["klines"]:
            case {"kind": "history"}:
                left.add(item)
            case _:
                window = item.callspec.id.partition("-long-")[0].partition("-short-")[0]
                windows.setdefault(window, []).append(item)
    if os.environ.get("REAL_DATA_ALL") != "1":
        left |= {
            item
            for number, window in enumerate(windows.values())
            for place, item in enumerate(window)
            if number % 2 or place != number // 2 % len(window)
        }
    config.hook.pytest_deselected(items=list(left))
    items[:] = [item for item in items if item not in left]
