"""Keys come from files that only their owner can read, and show nowhere."""

from pathlib import Path

import pytest

from bot.exchange.live.credentials import CredentialsError, read_credentials

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


def test_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CredentialsError, match="expected the keys of main"):
        read_credentials(tmp_path, "main")
