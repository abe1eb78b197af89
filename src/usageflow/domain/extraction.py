"""Reading values out of requests, and joining them (cases: spec/vectors/attributes). Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

_ESCAPES = str.maketrans({"%": "%25", ":": "%3A", "#": "%23"})


def cookies_of(header: str) -> Iterator[tuple[str, str]]:
    """Yields name and value of each cookie of a Cookie header; quotes around a value are dropped."""
    for part in header.split(";"):
        name, sign, value = part.partition("=")
        if sign and name.strip():
            yield name.strip(), _unquoted(value.strip())


def _unquoted(value: str) -> str:
    quoted = len(value) >= 2 and value[0] == value[-1] == '"'
    return value[1:-1] if quoted else value


def bearer_token(header: str) -> str:
    """Returns the token of an Authorization header, "" where it holds none."""
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def text_of(value: object) -> str | None:
    """Returns a JSON value as an identity: texts as they are, numbers and booleans as JSON writes them; objects, arrays
    and null are none.
    """
    if isinstance(value, str):
        return value
    return json.dumps(value) if isinstance(value, bool | int | float) else None


def joined(parts: Sequence[str | bytes]) -> str:
    """Returns one text for several values, such that different values never spell the same.

    Values stand between colons; ``%``, ``:`` and ``#`` in them are percent-encoded. A keyed hash is ``#`` and its hex
    digits.
    """
    return ":".join(
        f"#{part.hex()}" if isinstance(part, bytes) else part.translate(_ESCAPES) for part in parts
    )
