"""Keys of accounts: in files that only their owner can read, and in nothing that we write."""

import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr


class CredentialsError(Exception):
    """There are no keys, or they are not kept as keys are. One line for the user."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """An API key and its secret. Neither shows in a representation."""

    key: SecretStr
    secret: SecretStr


def read_credentials(folder: Path, name: str) -> Credentials:
    """
    The keys called `name`: an object `{"key", "secret"}` in the file NAME.json of `folder`.

    Raises `CredentialsError` unless it is ours, and readable and writable by us alone.
    """
    file = folder / f"{name}.json"
    try:
        with file.open(encoding="utf-8") as opened:
            state = os.fstat(opened.fileno())
            if state.st_uid != os.geteuid():
                raise CredentialsError(f"{file}: expected a file of this user, was another's")
            if mode := stat.S_IMODE(state.st_mode) & 0o077:
                raise CredentialsError(
                    f"{file}: expected to be closed to others (chmod 600), was open to them "
                    f"({mode:o})"
                )
            found = json.load(opened)
    except OSError as e:
        raise CredentialsError(f"{file}: expected the keys of {name}, was {e.strerror}") from e
    except ValueError as e:
        raise CredentialsError(f"{file}: expected a JSON object with key and secret") from e
    match found:
        case {"key": str(key), "secret": str(secret)} if key and secret and len(found) == 2:  # noqa: PLR2004 - and nothing else
            return Credentials(SecretStr(key), SecretStr(secret))
    raise CredentialsError(f'{file}: expected {{"key": "...", "secret": "..."}}')
