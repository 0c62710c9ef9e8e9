"""
Settings of a process: where it keeps its state and how it logs. Never policy.

They come from environment variables named `LIQGUARD_*` and nowhere else. A name that is not
known is an error: a misspelled variable would otherwise be a default that nobody chose.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, get_args

from pydantic import BeforeValidator, Field, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from bot.logs import LogFormat, LogLevel

PREFIX = "LIQGUARD_"
KEYS = ("LIQGUARD_KEY_", "LIQGUARD_SECRET_", "LIQGUARD_PASSPHRASE_")
"""Keys of accounts, which are read where they are needed and are kept in no settings."""


_SECRET = ("heartbeat_url",)
"""What no message may repeat."""

SECRETS_DIR = "/run/secrets"
"""Where Docker mounts secrets."""


class SettingsError(Exception):
    """The environment is wrong. One line a problem, each naming its variable."""


def _directory(text: str) -> Path:
    if not text or text.startswith("~"):
        raise PydanticCustomError("directory", "the path of a directory, without ~")
    return Path(text)


def _names(text: str | frozenset[str]) -> frozenset[str]:
    """Names with commas between them."""
    if isinstance(text, frozenset):
        return text
    return frozenset(name for each in text.split(",") if (name := each.strip()))


def _push_url(text: str) -> str:
    if text and not text.startswith(("https://", "http://")):
        raise PydanticCustomError("push_url", "the http(s) URL of a monitor")
    return text


def _ip_address(text: str) -> str:
    try:
        return text and str(ip_address(text))
    except ValueError as e:
        raise PydanticCustomError("ip_address", "an IP address of this machine") from e


class Settings(BaseSettings):
    """What `load_settings` read: folders, keys answered for, the monitor, the form of the log."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True)

    state_dir: Annotated[Path, BeforeValidator(_directory)]
    cache_dir: Annotated[Path, BeforeValidator(_directory)]
    secrets_dir: Annotated[Path, BeforeValidator(_directory)]
    """Where an orchestrator mounts secrets, keys of accounts among them."""
    unverified_keys: Annotated[frozenset[str], NoDecode, BeforeValidator(_names)] = frozenset()
    """The keys, by name, that the user answers for where the venue does not tell what they may."""
    second_address: Annotated[str, BeforeValidator(_ip_address)] = ""
    """An address of this machine from which writes are sent, and nothing else; "" for none."""
    heartbeat_url: Annotated[str, BeforeValidator(_push_url)] = Field("", repr=False)
    """What a monitor outside of this machine wants to be asked for now and then; a secret."""
    log_format: LogFormat = "auto"
    log_level: LogLevel = "info"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `load_settings` was given: not the process's environment, no .env file."""
        return (init_settings,)


def load_settings(environ: Mapping[str, str]) -> Settings:
    """
    Read the settings from `environ`.

    The state lies in `$XDG_STATE_HOME/liqguard`, or in `~/.local/state/liqguard`, unless
    `LIQGUARD_STATE_DIR` names another folder. Prices that were fetched lie in
    `$XDG_CACHE_HOME/liqguard`, in `~/.cache/liqguard` or where `LIQGUARD_CACHE_DIR` says; without
    a home in the state's folder.

    Raises:
        SettingsError: with every problem found, one a line.
    """
    known = {_variable(field) for field in Settings.model_fields}
    problems = [
        _unknown(name, known)
        for name in sorted(environ)
        if name.upper().startswith(PREFIX) and name not in known and not name.startswith(KEYS)
    ]
    source = EnvSettingsSource(Settings)
    source.env_vars = {name.lower(): text for name, text in environ.items() if name in known}
    try:
        state_dir = _folder(environ, "XDG_STATE_HOME", ".local/state")
        given = {"state_dir": state_dir, "secrets_dir": SECRETS_DIR, **source()}
        # A service without a home has a folder for its state, and that is enough.
        cache_dir = _folder(environ, "XDG_CACHE_HOME", ".cache") or f"{given['state_dir']}/cache"
        settings = Settings(**{"cache_dir": cache_dir, **given})
    except ValidationError as wrong:
        problems += [_invalid(error) for error in wrong.errors()]
    else:
        if not problems:
            return settings
    raise SettingsError("\n".join(problems))


def _folder(environ: Mapping[str, str], variable: str, in_home: str) -> str:
    """
    The default folder, "" if the environment has none.

    As the XDG base directory specification has it, a relative path in `variable` is ignored.
    """
    base = environ.get(variable, "")
    if Path(base).is_absolute():
        return f"{base}/liqguard"
    home = environ.get("HOME", "")
    return home and f"{home}/{in_home}/liqguard"


def _variable(field: str) -> str:
    return PREFIX + field.upper()


def _unknown(name: str, known: set[str]) -> str:
    fields = {variable.removeprefix(PREFIX): variable for variable in sorted(known)}
    near = get_close_matches(name.upper().removeprefix(PREFIX), fields, n=1)
    hint = (
        f"did you mean {fields[near[0]]}?" if near else f"known are {', '.join(fields.values())}"
    )
    return f"{name}: unknown setting, {hint}"


def _invalid(error: ErrorDetails) -> str:
    field = str(error["loc"][0])
    choices = get_args(Settings.model_fields[field].annotation)
    expected = f"one of {', '.join(choices)}" if choices else error["msg"]
    was = "something else" if field in _SECRET else f"'{error['input']}'"
    return f"{_variable(field)}: expected {expected}, was {was}"
