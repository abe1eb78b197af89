"""Secrets to plant, and how to find them again, however they are spelt. Pure."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import quote, quote_plus

from usageflow.domain.keys import make_key

MARK = "pLaNtEd"
HARMLESS = "page=7"
"""What may be kept: where it is not found nobody has looked."""

_TOKEN = f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ{MARK}In0.{MARK}signature"
SENT: Mapping[str, str] = {
    "bearer": _TOKEN,
    "api key": f"sk_live_{MARK}0123456789",
    "cookie": f"{MARK}-cookie",
    "password": f"{MARK}-password",
    "query": f"{MARK}-query",
    "card": "4111111111111111",
    "member": f"{MARK}-member",
    "mistyped key": f"uf_live_{MARK}WrongKeyWrongKeyWrongKey",
    "unknown key": make_key("uf_live_", hashlib.sha256(MARK.encode()).digest()),
}
"""What callers and reporters send. ``member`` looks like nothing: only a strategy calls it sensitive."""

CONFIGURED: Mapping[str, str] = {
    "blocked identity": f"{MARK}-blocked-identity",
    "customer identity": f"{MARK}-customer-identity",
    "erased identity": f"{MARK}-erased-identity",
    "user of an address": f"{MARK}-address-user",
    "database password": f"{MARK}-database-password",
    "redis password": f"{MARK}-redis-password",
    "token of an address": f"{MARK}-address-token",
}
"""What administrators and operators write."""

PLANTED: Mapping[str, str] = {**SENT, **CONFIGURED}


def spellings(secret: str) -> Iterator[bytes]:
    """Yields a secret raw, percent-encoded, escaped, in hex and in base64 (both alphabets), at every offset."""
    raw = secret.encode()
    yield from (raw, quote(secret, safe="").encode(), quote_plus(secret).encode(), raw.hex().encode())
    yield json.dumps(secret)[1:-1].encode()
    for shift in range(3):
        padded = b" " * shift + raw
        for encoded in (base64.b64encode(padded), base64.urlsafe_b64encode(padded)):
            yield encoded.rstrip(b"=")[4:-2]  # what stands before and after may differ


def found_in(data: bytes, planted: Mapping[str, str]) -> list[str]:
    """Returns the names of the secrets that some data holds, in large letters or small ones."""
    lowered = data.lower()
    return [
        name for name, secret in planted.items() if any(each.lower() in lowered for each in spellings(secret))
    ]


class Place(NamedTuple):
    """Somewhere that a secret could be: its name, and all that is there."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Leak:
    """A secret that was found where it must not be."""

    place: str
    secret: str

    def __str__(self) -> str:
        return f"{self.secret} in {self.place}"


def leaks(
    places: Iterable[Place], planted: Mapping[str, str], allowed: Mapping[str, Iterable[str]]
) -> list[Leak]:
    """Returns what was found. ``allowed`` tells, by secret, the beginnings of names of the places that must hold it to do their work."""
    return [
        Leak(place.name, secret)
        for place in places
        for secret in found_in(place.data, planted)
        if not place.name.startswith(tuple(allowed.get(secret, ())))
    ]


def unread(places: Iterable[Place], markers: Mapping[str, str]) -> list[str]:
    """Returns the names of ``markers`` whose places, together, do not hold the harmless text that must be there.

    A name stands for every place whose name begins with it.
    """
    known = list(places)
    return [
        name
        for name, text in markers.items()
        if not any(place.name.startswith(name) and text.encode() in place.data for place in known)
    ]
