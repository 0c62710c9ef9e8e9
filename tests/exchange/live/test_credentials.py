"""Keys come from the safest place that has them, and show nowhere."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from bot.exchange.live.credentials import (
    Credentials,
    CredentialsError,
    KeyPlaces,
    find_credentials,
    read_credentials,
)

TEXT = '{"key": "canary-key", "secret": "canary-secret"}'


def keep(folder: Path, text: str, mode: int = 0o600) -> None:
    file = folder / "main.json"
    file.write_text(text, encoding="utf-8")
    file.chmod(mode)


def test_keys_are_read_and_never_shown(tmp_path: Path) -> None:
    keep(tmp_path, TEXT)
    found = read_credentials(tmp_path, "main")
    assert found.key.get_secret_value() == "canary-key"
    assert found.secret.get_secret_value() == "canary-secret"
    assert "canary" not in f"{found} {found!r}"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o777])
def test_a_file_that_others_may_open_is_refused(tmp_path: Path, mode: int) -> None:
    keep(tmp_path, TEXT, mode)
    with pytest.raises(CredentialsError, match="chmod 600"):
        read_credentials(tmp_path, "main")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"key": "canary-key"}',
        '{"key": "", "secret": "canary"}',
        TEXT[:-1] + ', "x": 1}',
    ],
)
def test_a_file_with_anything_else_is_refused_without_showing_it(
    tmp_path: Path, text: str
) -> None:
    keep(tmp_path, text)
    with pytest.raises(CredentialsError) as refused:
        read_credentials(tmp_path, "main")
    assert "canary" not in str(refused.value)
    assert refused.value.__cause__ is None, "which would hold the text"


def test_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CredentialsError, match="expected the keys of main"):
        read_credentials(tmp_path, "main")


ENVIRON = {"LIQGUARD_KEY_MAIN_2": "env-key", "LIQGUARD_SECRET_MAIN_2": "env-secret"}


def find(folder: Path, environ: Mapping[str, str]) -> Credentials:
    """The keys of main-2 where `folder` is both where secrets are mounted and where files lie."""
    return find_credentials(KeyPlaces(folder, folder, environ), "main-2")


def keys(found: Credentials) -> tuple[str, str]:
    return found.key.get_secret_value(), found.secret.get_secret_value()


def test_what_is_mounted_comes_before_a_file_of_ours_before_the_environment(
    tmp_path: Path,
) -> None:
    with capture_logs() as logged:
        assert keys(find(tmp_path, ENVIRON)) == ("env-key", "env-secret")
    assert [each["event"] for each in logged] == ["keys.read_from_environment"]
    assert "env-key" not in str(logged)
    file = tmp_path / "main-2.json"
    file.write_text(TEXT, encoding="utf-8")
    file.chmod(0o600)
    with capture_logs() as logged:
        assert keys(find(tmp_path, ENVIRON)) == ("canary-key", "canary-secret")
    (tmp_path / "liqguard_main-2_key").write_text("mounted-key\n", encoding="utf-8")
    (tmp_path / "liqguard_main-2_secret").write_text("mounted-secret\n", encoding="utf-8")
    with capture_logs() as later:
        assert keys(find(tmp_path, ENVIRON)) == ("mounted-key", "mounted-secret")
    assert not logged
    assert not later


def test_half_of_the_keys_is_none_wherever_the_rest_may_be(tmp_path: Path) -> None:
    with pytest.raises(CredentialsError, match="LIQGUARD_SECRET_MAIN_2: expected a secret"):
        find(tmp_path, {"LIQGUARD_KEY_MAIN_2": "env-key"})
    (tmp_path / "liqguard_main-2_key").write_text("mounted-key", encoding="utf-8")
    with pytest.raises(CredentialsError, match="liqguard_main-2_secret: expected a secret"):
        find(tmp_path, ENVIRON)


def test_a_passphrase_is_read_where_the_keys_are_and_is_as_secret(tmp_path: Path) -> None:
    assert len(find(tmp_path, ENVIRON).texts) == 2
    found = find(tmp_path, ENVIRON | {"LIQGUARD_PASSPHRASE_MAIN_2": "canary-phrase"})
    assert found.passphrase.get_secret_value() == "canary-phrase"
    keep(tmp_path, TEXT[:-1] + ', "passphrase": "canary-two"}')
    found = read_credentials(tmp_path, "main")
    assert found.passphrase.get_secret_value() == "canary-two"
    assert "canary" not in f"{found!r}"
    assert [each.get_secret_value()[:6] for each in found.texts] == ["canary"] * 3
    for name, text in (("key", "k"), ("secret", "s"), ("passphrase", "canary-three")):
        (tmp_path / f"liqguard_main-2_{name}").write_text(f"{text}\n", encoding="utf-8")
    assert find(tmp_path, ENVIRON).passphrase.get_secret_value() == "canary-three"
    for wrong in ('""', "5", "null"):
        keep(tmp_path, TEXT[:-1] + f', "passphrase": {wrong}}}')
        with pytest.raises(CredentialsError):
            read_credentials(tmp_path, "main")


def test_keys_that_are_nowhere_are_asked_for_by_every_name(tmp_path: Path) -> None:
    with pytest.raises(CredentialsError) as refused:
        find(tmp_path, {})
    for name in ("liqguard_main-2_key", "main-2.json", "LIQGUARD_KEY_MAIN_2"):
        assert name in str(refused.value)


PARTS = ("KEY", "SECRET", "PASSPHRASE")


def files(folder: Path, mode: int = 0o600) -> dict[str, str]:
    """A variable for each part that names a file with it."""
    named = {}
    for part in PARTS:
        file = folder / part
        file.write_text(f"canary-{part}\n", encoding="utf-8")
        file.chmod(mode)
        named[f"LIQGUARD_{part}_MAIN_2_FILE"] = str(file)
    return named


def test_files_that_variables_name_come_first(tmp_path: Path) -> None:
    keep(tmp_path, TEXT)
    (tmp_path / "liqguard_main-2_key").write_text("mounted-key\n", encoding="utf-8")
    with capture_logs() as logged:
        found = find(tmp_path, ENVIRON | files(tmp_path))
    assert [each.get_secret_value() for each in found.texts] == [
        f"canary-{part}" for part in PARTS
    ]
    assert not logged
    (phrase,) = [name for name in files(tmp_path) if "PASSPHRASE" in name]
    without = {name: each for name, each in files(tmp_path).items() if name != phrase}
    assert len(find(tmp_path, without).texts) == 2


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda file: file.chmod(0o640), "chmod 600"),
        (lambda file: file.unlink(), "No such file"),
        (lambda file: file.write_text(" \n"), "was empty"),
        (lambda file: file.write_bytes(b"\xff\xfe"), "UnicodeDecodeError"),
    ],
)
def test_a_file_that_is_named_is_as_private_as_ours_and_is_there(
    tmp_path: Path, part: str, spoil: Callable[[Path], object], said: str
) -> None:
    environ = ENVIRON | files(tmp_path)
    spoil(tmp_path / part)
    with pytest.raises(CredentialsError, match=said) as refused:
        find(tmp_path, environ)
    assert f"LIQGUARD_{part}_MAIN_2_FILE" in str(refused.value)
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize("part", ["KEY", "SECRET"])
@pytest.mark.parametrize("instead", [None, "", "canary-key-instead-of-a-path"])
def test_half_of_the_files_is_none_and_a_key_in_place_of_a_path_is_not_shown(
    tmp_path: Path, part: str, instead: str | None
) -> None:
    variable, environ = f"LIQGUARD_{part}_MAIN_2_FILE", files(tmp_path)
    if instead is None:
        del environ[variable]
    else:
        environ[variable] = instead
    with pytest.raises(CredentialsError, match=variable) as refused:
        find(tmp_path, ENVIRON | environ)
    assert "canary" not in str(refused.value)
