"""Releases of services: who has which routes. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from usageflow.domain.errors import Fault, InvalidArgument
from usageflow.domain.usage import EndpointName

MAX_CHARACTERS = 128
_UNSHOWN = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Release:
    """A release of a service (a deployable of an application, "" where it has but one). ``routes`` is the SHA-256 of its routes."""

    service: str
    name: str
    routes: bytes


def release_of(service: str, release: str, routes: Iterable[EndpointName]) -> Release:
    """Returns the release that clients registered; without a name, each set of routes is one: ``routes-`` and 12 hex digits.

    Raises InvalidArgument, fields ``service`` and ``release``.
    """
    faults = [*_faults("service", service), *_faults("release", release)]
    if faults:
        raise InvalidArgument(faults)
    told = "\n".join(f"{method} {template}" for method, template in sorted(set(routes)))
    digest = hashlib.sha256(told.encode()).digest()
    return Release(service, release or f"routes-{digest.hex()[:_DIGITS]}", digest)


def _faults(field: str, text: str) -> Iterable[Fault]:
    if len(text) > MAX_CHARACTERS:
        yield Fault(field, f"is longer than {MAX_CHARACTERS} characters", "send a shorter one")
    if _UNSHOWN.search(text):
        yield Fault(field, "holds control characters", "remove them")
