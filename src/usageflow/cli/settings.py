"""Where the service is and who we are: the environment beats credentials.toml, which beats the defaults."""

from __future__ import annotations

import ipaddress
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from usageflow.cli.failure import Failure

DEFAULT_ADDRESS = "127.0.0.1:50051"
_HOST_PORT = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._-]+):(?P<port>\d{1,5})")
_CREDENTIAL = re.compile(r"[\x21-\x7e]{1,512}")


@dataclass(frozen=True, slots=True)
class Settings:
    """All that a connection needs. ``credentials_file`` is named in messages, whether it exists or not."""

    address: str
    api_key: str
    admin_token: str
    ca_file: str
    client_cert: str
    client_key: str
    insecure: bool
    credentials_file: Path

    @property
    def is_local(self) -> bool:
        """Tells whether the address is on this machine, where plaintext is fine."""
        found = _HOST_PORT.fullmatch(self.address)
        if found is None:
            return True
        host = found["host"].strip("[]").partition("%")[0]
        try:
            return host == "localhost" or ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False

    @property
    def uses_tls(self) -> bool:
        """Tells whether to speak TLS: to other machines unless USAGEFLOW_INSECURE=1, and wherever a PEM file is named."""
        return bool(self.ca_file or self.client_cert) or not (self.is_local or self.insecure)


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Returns the settings of this call. Raises Failure for a value or a file that cannot be used."""
    path = Path(environ.get("USAGEFLOW_DATA") or ".usageflow") / "credentials.toml"
    stored = _read_credentials(path)
    client_cert, client_key = (
        environ.get("USAGEFLOW_CLIENT_CERT", ""),
        environ.get("USAGEFLOW_CLIENT_KEY", ""),
    )
    if bool(client_cert) != bool(client_key):
        raise Failure("USAGEFLOW_CLIENT_CERT and USAGEFLOW_CLIENT_KEY go together: set both, or neither")
    address = environ.get("USAGEFLOW_ADDR") or stored.get("address") or DEFAULT_ADDRESS
    return Settings(
        address=_checked_address(address),
        api_key=_credential(environ, "USAGEFLOW_API_KEY", stored, "api_key"),
        admin_token=_credential(environ, "USAGEFLOW_ADMIN_TOKEN", stored, "admin_token"),
        ca_file=environ.get("USAGEFLOW_CA_FILE", ""),
        client_cert=client_cert,
        client_key=client_key,
        insecure=environ.get("USAGEFLOW_INSECURE", "") == "1",
        credentials_file=path,
    )


def _read_credentials(path: Path) -> dict[str, str]:
    """Returns the texts of the file; none where there is no file."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error).partition("\n")[0]
        fix = "correct it, or restore it from a copy; the service cannot make it again"
        raise Failure(f"cannot read {path}: {reason}; {fix}") from error
    return {key: value for key, value in table.items() if isinstance(value, str)}


def _credential(environ: Mapping[str, str], variable: str, stored: Mapping[str, str], key: str) -> str:
    value = (environ.get(variable) or stored.get(key) or "").strip()
    if value and not _CREDENTIAL.fullmatch(value):
        raise Failure(f"{variable} holds characters that no key has: copy the key again, as one line")
    return value


def _checked_address(address: str) -> str:
    found = _HOST_PORT.fullmatch(address)
    is_port = found is not None and 0 < int(found["port"]) < 65536
    if not is_port and not re.fullmatch(r"unix:[\x21-\x7e]+", address):
        raise Failure(f"the address {address!r} cannot be used: set USAGEFLOW_ADDR to HOST:PORT or unix:PATH")
    return address
