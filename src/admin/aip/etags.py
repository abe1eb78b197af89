"""Etags (AIP-154): what a resource was when somebody read it."""

from __future__ import annotations

import hashlib

from usageflow.domain.errors import Aborted


def etag_of(*parts: object) -> str:
    """Returns the etag of a resource's name and version: 16 hex digits, another for each change."""
    return hashlib.sha256("\x1f".join(str(part) for part in parts).encode()).hexdigest()[:16]


def ensure_same(given: str, present: str, what: str) -> None:
    """Raises Aborted, with the present etag, where another one is given. Empty: any will do."""
    if given and given != present:
        message = f"{what} was changed meanwhile: read it again, and repeat the change with its etag"
        raise Aborted(message, etag=present)
