"""REQUIRE_ALL=1 lets no test be skipped, and the real data are asked for by name."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

SKIPPED = {
    "test": "import pytest\n@pytest.mark.skip(reason='why')\ndef test_it(): pass\n",
    "inside": "import pytest\ndef test_it(): pytest.skip('why')\n",
    "file": "import pytest\npytest.skip('why', allow_module_level=True)\n",
    "fixture": "def test_it(real_data_dir): pass\n",
    "klines": "def test_it(klines): pass\n",
}


def run(folder: Path, files: dict[str, str], **environ: str) -> subprocess.CompletedProcess[str]:
    shutil.copy(Path(__file__).with_name("conftest.py"), folder)
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    for name, source in files.items():
        (folder / f"test_{name}.py").write_text(source, encoding="utf-8")
    hidden = ("REQUIRE_ALL", "REAL_DATA_DIR")
    inherited = {
        name: text
        for name, text in os.environ.items()
        if name not in hidden and not name.startswith("PYTEST_")
    }
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--continue-on-collection-errors",
        ],
        cwd=folder,
        env=inherited | environ,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_skip_fails_where_all_is_required(tmp_path: Path) -> None:
    lenient = run(tmp_path, SKIPPED)
    assert f"{len(SKIPPED)} skipped" in lenient.stdout
    strict = run(tmp_path, SKIPPED, REQUIRE_ALL="1")
    assert strict.returncode != 0
    assert "skipped" not in strict.stdout.splitlines()[-1]
    assert strict.stdout.count("REQUIRE_ALL=1 lets nothing be skipped") >= len(SKIPPED)


def test_an_expected_failure_is_no_skip(tmp_path: Path) -> None:
    source = "import pytest\n@pytest.mark.xfail(strict=True)\ndef test_it(): assert False\n"
    result = run(tmp_path, {"one": source}, REQUIRE_ALL="1")
    assert (result.returncode, "1 xfailed" in result.stdout) == (0, True)


def test_klines_are_the_entries_of_the_manifest(tmp_path: Path) -> None:
    manifest = '{"klines": [{"file": "a_1h.csv.gz"}, {"file": "b_1h.csv.gz"}]}'
    (tmp_path / "manifest.json").write_text(manifest, encoding="utf-8")
    source = "def test_it(klines): assert klines['path'].name == klines['file']\n"
    result = run(tmp_path, {"one": source}, REAL_DATA_DIR=str(tmp_path), REQUIRE_ALL="1")
    assert "2 passed" in result.stdout


def test_a_wrong_folder_is_said(tmp_path: Path) -> None:
    result = run(tmp_path, {"one": SKIPPED["klines"]}, REAL_DATA_DIR="nowhere")
    assert result.returncode != 0
    assert (
        "REAL_DATA_DIR: expected a folder with a manifest.json, was 'nowhere'"
        in result.stdout + result.stderr
    )
