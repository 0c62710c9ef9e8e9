"""
A plugin of pytest that plants a bug before anything is collected: `-p tests.sim.planting`.

`--plant NAME` says which. The tests that it is asked to run then see the bug, and no others do.
"""

import pytest

from tests.sim.planted import PLANTED

NAME = "--plant"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Which bug."""
    parser.addoption(NAME, required=True, help="the planted bug that the tests run under")


def pytest_configure(config: pytest.Config) -> None:
    """Plant it for as long as the process lives."""
    asked = config.getoption(NAME)
    (planted,) = (each for each in PLANTED if each.name == asked)
    planted.plant(pytest.MonkeyPatch())
