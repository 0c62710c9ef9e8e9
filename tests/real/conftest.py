"""Which of the many replays of recorded windows a run of the tests takes."""

import os

import pytest

_MANY = "test_the_guard_saves_what_is_lost_without_it"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of every second window one side and leverage, the next one for the next window."""
    if os.environ.get("REAL_DATA_ALL") == "1":
        return
    windows: dict[str, list[pytest.Item]] = {}
    for item in items:
        if isinstance(item, pytest.Function) and item.originalname == _MANY:
            window = item.callspec.id.partition("-long-")[0].partition("-short-")[0]
            windows.setdefault(window, []).append(item)
    left = {
        item
        for number, window in enumerate(windows.values())
        for place, item in enumerate(window)
        if number % 2 or place != number // 2 % len(window)
    }
    config.hook.pytest_deselected(items=list(left))
    items[:] = [item for item in items if item not in left]
