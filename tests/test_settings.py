"""Settings come from the environment, strictly."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.settings import PREFIX, SettingsError, load_settings

HOME = {"HOME": "/home/trader"}


def problems(environ: dict[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load_settings(environ)
    return str(caught.value).splitlines()


def test_defaults() -> None:
    settings = load_settings(HOME)
    assert settings.state_dir == Path("/home/trader/.local/state/liqguard")
    assert settings.log_format == "auto"
    assert settings.log_level == "info"


@pytest.mark.parametrize(
    ("environ", "state_dir"),
    [
        ({"XDG_STATE_HOME": "/var/xdg"}, "/var/xdg/liqguard"),
        ({"XDG_STATE_HOME": "relative"}, "/home/trader/.local/state/liqguard"),
        ({"XDG_STATE_HOME": ""}, "/home/trader/.local/state/liqguard"),
        ({"XDG_STATE_HOME": "/var/xdg", "LIQGUARD_STATE_DIR": "/data"}, "/data"),
        ({"LIQGUARD_STATE_DIR": "state"}, "state"),
    ],
)
def test_where_the_state_lies(environ: dict[str, str], state_dir: str) -> None:
    assert load_settings(HOME | environ).state_dir == Path(state_dir)


@pytest.mark.parametrize(
    ("environ", "cache_dir"),
    [
        (HOME, "/home/trader/.cache/liqguard"),
        (HOME | {"XDG_CACHE_HOME": "/var/cache"}, "/var/cache/liqguard"),
        (HOME | {"XDG_CACHE_HOME": "relative"}, "/home/trader/.cache/liqguard"),
        (HOME | {"LIQGUARD_CACHE_DIR": "/data"}, "/data"),
        ({"LIQGUARD_STATE_DIR": "/srv"}, "/srv/cache"),
    ],
)
def test_where_fetched_prices_lie(environ: dict[str, str], cache_dir: str) -> None:
    assert load_settings(environ).cache_dir == Path(cache_dir)


def test_values_are_read() -> None:
    settings = load_settings(
        HOME | {"LIQGUARD_LOG_FORMAT": "json", "LIQGUARD_LOG_LEVEL": "warning"}
    )
    assert (settings.log_format, settings.log_level) == ("json", "warning")


def test_the_environment_of_the_process_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIQGUARD_LOG_LEVEL", "error")
    monkeypatch.setenv("LIQGUARD_TYPO", "1")
    monkeypatch.setenv("XDG_STATE_HOME", "/elsewhere")
    settings = load_settings(HOME)
    assert settings.log_level == "info"
    assert settings.state_dir == Path("/home/trader/.local/state/liqguard")


@pytest.mark.parametrize(
    ("environ", "line"),
    [
        (
            {"LIQGUARD_LOG_FORMTA": "json"},
            "LIQGUARD_LOG_FORMTA: unknown setting, did you mean LIQGUARD_LOG_FORMAT?",
        ),
        (
            {"liqguard_state_dir": "/data"},
            "liqguard_state_dir: unknown setting, did you mean LIQGUARD_STATE_DIR?",
        ),
        (
            {"LIQGUARD_QQQ": "1"},
            (
                "LIQGUARD_QQQ: unknown setting, known are "
                "LIQGUARD_CACHE_DIR, LIQGUARD_HEARTBEAT_URL, LIQGUARD_LOG_FORMAT, "
                "LIQGUARD_LOG_LEVEL, "
                "LIQGUARD_SECOND_ADDRESS, LIQGUARD_SECRETS_DIR, LIQGUARD_STATE_DIR, "
                "LIQGUARD_UNVERIFIED_KEYS"
            ),
        ),
        (
            {"LIQGUARD_SECOND_ADDRESS": "eth1"},
            "LIQGUARD_SECOND_ADDRESS: expected an IP address of this machine, was 'eth1'",
        ),
        (
            {"LIQGUARD_LOG_FORMAT": "xml"},
            "LIQGUARD_LOG_FORMAT: expected one of auto, console, json, was 'xml'",
        ),
        (
            {"LIQGUARD_LOG_LEVEL": "INFO"},
            "LIQGUARD_LOG_LEVEL: expected one of debug, info, warning, error, was 'INFO'",
        ),
        (
            {"LIQGUARD_LOG_LEVEL": ""},
            "LIQGUARD_LOG_LEVEL: expected one of debug, info, warning, error, was ''",
        ),
        (
            {"LIQGUARD_STATE_DIR": ""},
            "LIQGUARD_STATE_DIR: expected the path of a directory, without ~, was ''",
        ),
        (
            {"LIQGUARD_STATE_DIR": "~/state"},
            "LIQGUARD_STATE_DIR: expected the path of a directory, without ~, was '~/state'",
        ),
    ],
)
def test_one_line_says_what_is_wrong(environ: dict[str, str], line: str) -> None:
    assert problems(HOME | environ) == [line]


def test_all_problems_are_told_at_once() -> None:
    assert [
        line.split(":")[0]
        for line in problems({"LIQGUARD_A": "", "LIQGUARD_LOG_LEVEL": "x", "LIQGUARD_B": ""})
    ] == ["LIQGUARD_A", "LIQGUARD_B", "LIQGUARD_STATE_DIR", "LIQGUARD_LOG_LEVEL"]


def test_the_value_of_an_unknown_variable_is_not_repeated() -> None:
    assert "canary" not in problems(HOME | {"LIQGUARD_API_SECRET": "canary"})[0]


@given(st.text("ABCDEFGLMORSTV_", min_size=1))
def test_no_unknown_name_passes(name: str) -> None:
    environ = HOME | {PREFIX + name: "json" if name == "LOG_FORMAT" else "info"}
    if name in {"CACHE_DIR", "STATE_DIR", "LOG_FORMAT", "LOG_LEVEL"}:
        load_settings(environ)
    else:
        assert problems(environ)[0].startswith(f"{PREFIX}{name}: unknown setting")


def test_keys_of_accounts_are_no_settings() -> None:
    settings = load_settings(
        HOME
        | {
            "LIQGUARD_KEY_MAIN": "canary",
            "LIQGUARD_SECRET_MAIN": "c",
            "LIQGUARD_PASSPHRASE_MAIN": "canary",
        }
    )
    assert "canary" not in repr(settings)
    assert settings.secrets_dir == Path("/run/secrets")


def test_the_monitors_url_is_no_part_of_what_is_printed_or_refused() -> None:
    settings = load_settings(HOME | {"LIQGUARD_HEARTBEAT_URL": "https://ping.example/s3cret"})
    assert settings.heartbeat_url == "https://ping.example/s3cret"
    assert "s3cret" not in repr(settings)
    (problem,) = problems(HOME | {"LIQGUARD_HEARTBEAT_URL": "ping.example/s3cret"})
    assert problem == (
        "LIQGUARD_HEARTBEAT_URL: expected the http(s) URL of a monitor, was something else"
    )
