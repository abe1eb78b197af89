"""Where a PostgreSQL database is: the one reader of USAGEFLOW_DATABASE_URL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from usageflow.domain.errors import InvalidArgument

SETTING = "USAGEFLOW_DATABASE_URL"
SCHEMES = ("postgresql", "postgres")

_FORM = "postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
_SSL_MODES = frozenset({"disable", "allow", "prefer", "require", "verify-ca", "verify-full"})


@dataclass(frozen=True, slots=True)
class PostgresAddress:
    """A checked address. ``parameters`` are libpq's and hold the password; ``str`` gives the place without it."""

    parameters: Mapping[str, Any] = field(repr=False)

    def __str__(self) -> str:
        hosts = self.parameters.get("host") or self.parameters.get("hostaddr") or ""
        ports = self.parameters.get("port") or ""
        where = f"{hosts or 'the local socket'}{':' * bool(ports)}{ports}"
        return f"{self.parameters['dbname']} on {where}"


def parse_postgres_url(text: str) -> PostgresAddress:
    """Returns the address that a text such as ``postgresql://USER:PASSWORD@HOST:5432/DATABASE?sslmode=verify-full`` names:
    whatever libpq understands, with several hosts and Unix sockets too.

    Raises InvalidArgument (field USAGEFLOW_DATABASE_URL); its text never holds a part of the address, which may be the password.
    """
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in SCHEMES:
        raise _wrong("is no address of PostgreSQL", f"write {_FORM}")
    authority, _, path = rest.partition("/")
    if authority.count("@") > 1 or "@" in path or not text.isprintable():
        # libpq would take a part of the password for the host, and we would show it.
        raise _wrong("holds a character of its own meaning", "write @ in user or password as %40, / as %2F")
    parameters = _read(text)
    _check(parameters)
    return PostgresAddress(parameters)


def _read(text: str) -> dict[str, Any]:
    from psycopg import Error  # heavy, and most processes need none
    from psycopg.conninfo import conninfo_to_dict

    try:
        return conninfo_to_dict(text)
    except (Error, UnicodeError):
        fix = f"write {_FORM}, with @ / : ? # and % in user and password percent-encoded, and libpq's parameters after ?"
        raise _wrong("cannot be read", fix) from None


def _check(parameters: Mapping[str, Any]) -> None:
    if not parameters.get("dbname"):
        raise _wrong("names no database", f"write {_FORM}")
    ports = str(parameters.get("port") or "5432").split(",")
    if not all(port.isascii() and port.isdecimal() and 0 < int(port) < 65_536 for port in ports):
        raise _wrong("names a port that is none", "write a number from 1 to 65535")
    if parameters.get("sslmode", "prefer") not in _SSL_MODES:
        raise _wrong("names an sslmode that is none", f"write one of {', '.join(sorted(_SSL_MODES))}")


def _wrong(message: str, fix: str) -> InvalidArgument:
    return InvalidArgument.of(SETTING, message, fix)
