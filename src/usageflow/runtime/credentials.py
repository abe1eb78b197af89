"""credentials.toml in the data folder: what the command and examples on this machine use. Mode 0600."""

from __future__ import annotations

import json
import secrets
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path

from usageflow.domain.errors import FailedPrecondition
from usageflow.domain.keys import make_key
from usageflow.storage.file import replace_file

FILE_NAME = "credentials.toml"


@dataclass(frozen=True, slots=True)
class Credentials:
    """The secrets of an embedded service, and where it was last reached. ``hash_key`` is hex."""

    address: str
    api_key: str
    admin_token: str
    hash_key: str

    def __repr__(self) -> str:
        return f"Credentials(address={self.address!r}, ...)"


def new_credentials(address: str) -> Credentials:
    """Makes fresh random credentials."""
    return Credentials(
        address=address,
        api_key=make_key("uf_test_", secrets.token_bytes(32)),
        admin_token=make_key("uf_admin_", secrets.token_bytes(32)),
        hash_key=secrets.token_hex(32),
    )


def read_credentials(folder: Path) -> Credentials | None:
    """Returns the credentials of a data folder, None where it has none. Raises FailedPrecondition where they are broken."""
    path = folder / FILE_NAME
    try:
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
        credentials = Credentials(*(str(fields[name]) for name in Credentials.__slots__))
        bytes.fromhex(credentials.hash_key)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError) as error:  # ValueError: no TOML, no UTF-8, no hex
        message = f"{path} cannot be read ({error}): restore it from a copy, or move the folder away for a new start"
        raise FailedPrecondition(message, reason="CREDENTIALS_BROKEN") from None
    return credentials


def write_credentials(folder: Path, credentials: Credentials) -> None:
    """Writes the file so that it is whole or not there, and nobody else can read it."""
    lines = [f"{name} = {_quoted(getattr(credentials, name))}\n" for name in Credentials.__slots__]
    text = (
        "# The keys of this UsageFlow. Keep them secret: whoever has them can decide and change policies.\n"
    )
    replace_file(folder / FILE_NAME, [(text + "".join(lines)).encode()])


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # TOML's basic strings have JSON's escapes


def at_address(credentials: Credentials, address: str) -> Credentials:
    """Returns the same credentials for another address."""
    return replace(credentials, address=address)
