"""What all tests share: the folder of real market data, and REQUIRE_ALL=1 for CI."""

import json
import os
import signal
from collections.abc import Generator
from decimal import ROUND_HALF_EVEN, getcontext
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import settings

# CI draws the same examples every time; a shared machine is no stopwatch.
settings.register_profile("liqguard", deadline=None, derandomize="CI" in os.environ)
# What a machine may draw by itself for an hour: `pytest --hypothesis-profile=many`.
settings.register_profile("many", deadline=None, max_examples=5_000)
settings.load_profile("liqguard")

# A shell that starts this in the background has SIGINT ignored, also by whoever is started here.
signal.signal(signal.SIGINT, signal.default_int_handler)

REQUIRE_ALL = os.environ.get("REQUIRE_ALL") == "1"


def _real_data_dir() -> Path | None:
    text = os.environ.get("REAL_DATA_DIR")
    if not text:
        return None
    path = Path(text)
    if not (path / "manifest.json").is_file():
        raise pytest.UsageError(
            f"REAL_DATA_DIR: expected a folder with a manifest.json, was '{text}'"
        )
    return path


def pytest_runtest_setup() -> None:
    """Round as usual: ccxt, with whose orders some tests compare ours, changes that for all."""
    getcontext().rounding = ROUND_HALF_EVEN


@pytest.hookimpl(trylast=True)  # when it is known what is left out
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """
    Let what may take long begin first, a share of it with each worker: what ends last is short.

    Every worker begins with as long a stretch of the tests as the others, and the first to be done
    takes from the end of somebody else's.
    """
    workers = getattr(config, "workerinput", {"workercount": 1})["workercount"]
    long = [each for each in items if each.get_closest_marker("timeout")]
    others = (each for each in items if not each.get_closest_marker("timeout"))
    left, dealt = len(items), list[pytest.Item]()
    for worker in range(workers):
        stretch = left // (workers - worker)
        first = long[worker::workers]
        dealt += [*first, *islice(others, max(stretch - len(first), 0))]
        left -= stretch
    if workers > 1:
        items[:] = [*dealt, *others]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """
    A test that takes `klines` runs once for every such entry of the real data's manifest.

    It gets the entry as a dict, with `path` added. Without real data it is skipped.
    """
    if "klines" not in metafunc.fixturenames:
        return
    folder = _real_data_dir()
    if folder is None:
        skip = pytest.mark.skip(reason="REAL_DATA_DIR is not set")
        metafunc.parametrize("klines", [pytest.param({}, marks=skip, id="none")])
        return
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    entries = [entry | {"path": folder / entry["file"]} for entry in manifest["klines"]]
    names = [entry["file"].removesuffix(".csv.gz") for entry in entries]
    metafunc.parametrize("klines", entries, ids=names)


@pytest.fixture(scope="session")
def real_data_dir() -> Path:
    """The folder of real market data. Skips without REAL_DATA_DIR."""
    folder = _real_data_dir()
    if folder is None:
        pytest.skip("REAL_DATA_DIR is not set")
    return folder


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if REQUIRE_ALL and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"REQUIRE_ALL=1 lets nothing be skipped: {report.longreprtext}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where everything must run, a skipped test is a failed one."""
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a file that skips itself whole."""
    report = yield
    _refuse_skip(report)
    return report
