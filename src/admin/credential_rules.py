"""What a credential must be like, and how it may be followed by another. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Protocol

from usageflow.domain.credentials import CredentialKind, Role, Scope
from usageflow.domain.errors import Fault, InvalidArgument

MAX_OVERLAP_US = 90 * 86_400_000_000
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_YEAR_2200_US = 7_258_118_400_000_000


class Asked(Protocol):
    """The fields that rules are about."""

    @property
    def name(self) -> str: ...
    @property
    def scopes(self) -> frozenset[Scope]: ...
    @property
    def role(self) -> Role | None: ...
    @property
    def expires_us(self) -> int | None: ...


def ensure_good(kind: CredentialKind, asked: Asked, now_us: int) -> None:
    """Raises InvalidArgument with every fault; fields are named as in the contract's messages."""
    faults = list(_faults(kind, asked, now_us))
    if faults:
        message = "api_key" if kind is CredentialKind.API_KEY else "admin_token"
        raise InvalidArgument([fault.under(message) for fault in faults])


def ensure_overlap(overlap_us: int) -> None:
    """Raises InvalidArgument where an old credential would go on for too long, or for less than no time."""
    if not 0 <= overlap_us <= MAX_OVERLAP_US:
        raise InvalidArgument.of("overlap", "is not between 0 and 90 days", "send a duration such as 24h")


def ensure_mask(paths: Collection[str], known: Collection[str]) -> None:
    """Raises InvalidArgument where a mask names what cannot be changed."""
    unknown = [path for path in paths if path not in known and path != "*"]
    if unknown:
        told = f"{unknown[0][:64]!r} cannot be changed"
        raise InvalidArgument.of("update_mask", told, f"name some of {', '.join(sorted(known))}, or *")


def _faults(kind: CredentialKind, asked: Asked, now_us: int) -> Iterator[Fault]:
    if not _NAME.fullmatch(asked.name):
        fix = "use 1 to 63 lower-case letters, digits and hyphens, a letter or digit first and last"
        yield Fault("name", "is not a name", fix)
    if kind is CredentialKind.API_KEY and not asked.scopes:
        yield Fault("scopes", "names no scope", f"name at least one of {', '.join(Scope)}")
    if kind is CredentialKind.ADMIN_TOKEN and asked.role is None:
        yield Fault("role", "names no role", f"name one of {', '.join(Role)}")
    if asked.expires_us is not None and not now_us < asked.expires_us < _YEAR_2200_US:
        yield Fault(
            "expire_time",
            "is not between now and 2200",
            "send a later time, or leave it out; revoke what should end now",
        )
