"""
Keys of accounts: where they are kept, and that they show in nothing that we write.

Never on the command line, which every process of the machine can read.
"""

import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog
from pydantic import SecretStr

KEY_VARIABLE, SECRET_VARIABLE, PHRASE_VARIABLE = (
    "LIQGUARD_KEY_",
    "LIQGUARD_SECRET_",
    "LIQGUARD_PASSPHRASE_",
)
"""What variables of the environment with keys begin with; the name follows in capitals."""

NO_PASSPHRASE = SecretStr("")
_FILE = "_FILE"
_FILES = ({"key", "secret"}, {"key", "secret", "passphrase"})

log = structlog.get_logger()


class CredentialsError(Exception):
    """There are no keys, or they are not kept as keys are. One line for the user."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """An API key, its secret, and the passphrase that some venues want. None of them shows."""

    key: SecretStr
    secret: SecretStr
    passphrase: SecretStr = NO_PASSPHRASE

    @property
    def texts(self) -> tuple[SecretStr, ...]:
        """All of it that must not be shown."""
        parts = (self.key, self.secret, self.passphrase)
        return tuple(each for each in parts if each.get_secret_value())


NO_KEYS = Credentials(SecretStr(""), SecretStr(""))
"""Of who asks for what anybody may know."""


@dataclass(frozen=True, slots=True)
class KeyPlaces:
    """
    Where keys may be kept, the safest place first.

    Variables that end in `_FILE` name a file for each of them, and are asked first, as somebody
    has said so. `mounted` is where an orchestrator puts secrets, each into a file of its own;
    `folder` has a file for each account; the environment is the last resort, since whatever this
    process starts or prints when it crashes may carry it.
    """

    mounted: Path
    folder: Path
    environ: Mapping[str, str]


def find_credentials(places: KeyPlaces, name: str) -> Credentials:
    """
    The keys called `name`, from the first place that has any of them.

    Raises `CredentialsError` where no place has them, or the first has only half of them.
    """
    suffix = name.upper().replace("-", "_")
    key, secret = f"{KEY_VARIABLE}{suffix}", f"{SECRET_VARIABLE}{suffix}"
    phrase_at = f"{PHRASE_VARIABLE}{suffix}{_FILE}"
    if f"{key}{_FILE}" in places.environ or f"{secret}{_FILE}" in places.environ:
        return Credentials(
            _named_file(places.environ, f"{key}{_FILE}"),
            _named_file(places.environ, f"{secret}{_FILE}"),
            _named_file(places.environ, phrase_at)
            if phrase_at in places.environ
            else NO_PASSPHRASE,
        )
    key_file = places.mounted / f"liqguard_{name}_key"
    secret_file = places.mounted / f"liqguard_{name}_secret"
    if key_file.exists() or secret_file.exists():
        phrase_file = places.mounted / f"liqguard_{name}_passphrase"
        phrase = _mounted(phrase_file) if phrase_file.exists() else NO_PASSPHRASE
        return Credentials(_mounted(key_file), _mounted(secret_file), phrase)
    file = places.folder / f"{name}.json"
    if file.exists():
        return read_credentials(places.folder, name)
    if key not in places.environ and secret not in places.environ:
        raise CredentialsError(
            f"keys of {name}: expected the files {key_file} and {secret_file}, or {file}, or the "
            f"variables {key} and {secret}, or those with {_FILE} behind them that name files of "
            f"yours, was none of them"
        )
    log.warning("keys.read_from_environment", name=name, better=str(file))
    phrase = SecretStr(places.environ.get(f"{PHRASE_VARIABLE}{suffix}", "").strip())
    return Credentials(_variable(places.environ, key), _variable(places.environ, secret), phrase)


def _named_file(environ: Mapping[str, str], variable: str) -> SecretStr:
    """The text of the file that a variable names; messages do not repeat what it says."""
    path = environ.get(variable, "")
    if not path:
        raise CredentialsError(f"{variable}: expected the path of a secret, was not set or empty")
    try:
        with Path(path).open(encoding="utf-8") as opened:
            _require_private(opened.fileno(), variable)
            text = opened.read().strip()
    except (OSError, ValueError) as e:
        reason = e.strerror if isinstance(e, OSError) and e.strerror else type(e).__name__
        raise CredentialsError(
            f"{variable}: expected a file with a secret, was {reason}"
        ) from None
    if not text:
        raise CredentialsError(f"{variable}: expected a file with a secret, was empty")
    return SecretStr(text)


def _require_private(opened: int, name: object) -> None:
    """Raise `CredentialsError` unless it is ours, and readable and writable by us alone."""
    state = os.fstat(opened)
    if state.st_uid != os.geteuid():
        raise CredentialsError(f"{name}: expected a file of this user, was another's")
    if mode := stat.S_IMODE(state.st_mode) & 0o077:
        raise CredentialsError(
            f"{name}: expected to be closed to others (chmod 600), was open to them ({mode:o})"
        )


def _mounted(file: Path) -> SecretStr:
    """The text of a file; whoever mounted it answers for who can read it."""
    try:
        text = file.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as e:
        raise CredentialsError(f"{file}: expected a secret, was {type(e).__name__}") from None
    if not text:
        raise CredentialsError(f"{file}: expected a secret, was empty")
    return SecretStr(text)


def _variable(environ: Mapping[str, str], name: str) -> SecretStr:
    text = environ.get(name, "").strip()
    if not text:
        raise CredentialsError(f"{name}: expected a secret, was not set or empty")
    return SecretStr(text)


def read_credentials(folder: Path, name: str) -> Credentials:
    """
    The keys called `name`, in the file NAME.json of `folder`: `{"key", "secret"}`, and for a
    venue that wants one `"passphrase"`.

    Raises `CredentialsError` unless it is ours, and readable and writable by us alone.
    """
    file = folder / f"{name}.json"
    try:
        with file.open(encoding="utf-8") as opened:
            _require_private(opened.fileno(), file)
            found = json.load(opened)
    except OSError as e:
        raise CredentialsError(f"{file}: expected the keys of {name}, was {e.strerror}") from e
    except ValueError:
        # Not from it: the error of the parser holds the text, and with it the keys.
        raise CredentialsError(f"{file}: expected a JSON object with key and secret") from None
    texts = found if isinstance(found, dict) else {}
    if texts.keys() in _FILES and all(isinstance(each, str) and each for each in texts.values()):
        return Credentials(**{name: SecretStr(text) for name, text in texts.items()})
    raise CredentialsError(f'{file}: expected {{"key": "...", "secret": "..."}}')
