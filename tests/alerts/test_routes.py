"""The file of routes: what it says, all that is wrong with it at once, and never a URL."""

from pathlib import Path

import pytest

from bot.alerts.box import Routes
from bot.alerts.routes import AlertsError, load_alerting, open_channels
from bot.policy.problems import PolicyError
from tests.alerts.build import CRITICAL, INFO, WARNING
from tests.cli.test_exits import ROOT

EXAMPLE = (ROOT / "config/alerts.yaml").read_text(encoding="utf-8")


def problems(tmp_path: Path, text: str) -> str:
    file = tmp_path / "alerts.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(PolicyError) as caught:
        load_alerting(file)
    return str(caught.value).replace(f"{tmp_path}/", "")


def test_the_example_has_two_channels_for_what_is_grave() -> None:
    alerting = load_alerting(ROOT / "config/alerts.yaml")
    assert alerting.variables == {"phone": "PHONE_URL", "mail": "MAIL_URL"}
    assert alerting.routes == Routes(
        {INFO: ("mail",), WARNING: ("phone",), CRITICAL: ("phone", "mail")}, 1_800_000
    )


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("alerts/v1", "v1", "schema: expected liqguard/alerts/v1, was 'liqguard/v1'"),
        ("name: mail", "name: phone", "expected another name, was 'phone' again"),
        ("[mail] ", "[male]", "routes.info: expected names of channels (phone or mail), was 'm"),
        ("[phone, mail]", "[]", "routes.critical: expected at least one channel, was none"),
        ("30m", "30", "repeat: expected a duration like"),
        ("repeat", "repeats", "expected a known key (did you mean 'repeat'?)"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert words in problems(tmp_path, EXAMPLE.replace(old, new))


@pytest.mark.parametrize(
    "line",
    [
        "  - { name: phone, url_env: tgram://123456:made-up/42 }",
        "  - { name: phone, url: tgram://123456:made-up/42 }",
        "  - tgram://123456:made-up/42",
    ],
)
def test_a_url_in_the_file_is_not_repeated(tmp_path: Path, line: str) -> None:
    given = next(each for each in EXAMPLE.splitlines() if "PHONE_URL" in each)
    said = problems(tmp_path, EXAMPLE.replace(given, line))
    assert "alerts.yaml:8:" in said
    assert "made-up" not in said


def test_a_channel_without_its_variable_is_named() -> None:
    alerting = load_alerting(ROOT / "config/alerts.yaml")
    with pytest.raises(AlertsError, match=r"^channel phone: expected .* in PHONE_URL, was unset$"):
        open_channels(alerting, {"MAIL_URL": "json://localhost"})


def test_a_url_that_apprise_does_not_know_is_named_and_not_shown() -> None:
    alerting = load_alerting(ROOT / "config/alerts.yaml")
    with pytest.raises(AlertsError) as caught:
        open_channels(alerting, {"PHONE_URL": "tgrm://made-up", "MAIL_URL": "json://localhost"})
    assert str(caught.value) == (
        "channel phone: expected a URL in PHONE_URL that apprise can send to, was another"
    )


def test_urls_that_it_knows_are_channels() -> None:
    alerting = load_alerting(ROOT / "config/alerts.yaml")
    environ = {"PHONE_URL": "json://localhost", "MAIL_URL": "json://localhost:8080"}
    assert open_channels(alerting, environ).keys() == {"phone", "mail"}
