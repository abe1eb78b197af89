"""API keys and admin tokens: whom they stand for, what they may do and how long.

An API key acts for one application, as far as its scopes go. An admin token acts for the operators of the installation, as
far as its role goes; one that is bound to an application sees nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class CredentialKind(StrEnum):
    """What a credential opens."""

    API_KEY = "API_KEY"
    ADMIN_TOKEN = "ADMIN_TOKEN"  # noqa: S105 - a kind, not a secret


class Scope(StrEnum):
    """What an API key may do: AGENT all that a client in an application does, REPORT only tell usage, READ only look."""

    AGENT = "AGENT"
    REPORT = "REPORT"
    READ = "READ"


ALL_SCOPES = frozenset(Scope)


class Role(StrEnum):
    """What an admin token may do: look, change, or hand out credentials too. In order of power."""

    VIEWER = "VIEWER"
    EDITOR = "EDITOR"
    OWNER = "OWNER"

    def covers(self, needed: Role) -> bool:
        """Tells whether this role may do what ``needed`` may."""
        return _POWER[self] >= _POWER[needed]


_POWER = {role: power for power, role in enumerate(Role)}


class Environment(StrEnum):
    """Whether a key is for real traffic or for trying things out: it shows in the key, and decides nothing."""

    LIVE = "LIVE"
    TEST = "TEST"


class CredentialState(StrEnum):
    """Whether a credential opens anything."""

    ACTIVE = "ACTIVE"
    EXPIRED = "EXPIRED"
    REVOKED = "REVOKED"


_LIVE = "uf_live_"
_TEST = "uf_test_"
_ADMIN = "uf_admin_"


def secret_prefix(kind: CredentialKind, environment: Environment) -> str:
    """Returns what the secret of a new credential begins with."""
    if kind is CredentialKind.ADMIN_TOKEN:
        return _ADMIN
    return _LIVE if environment is Environment.LIVE else _TEST


@dataclass(frozen=True, slots=True)
class Credential:
    """A stored credential. Only the SHA-256 of its secret is kept, and ``prefix``, the part that people may see.

    ``application_id`` is empty for admin tokens that are not bound, ``application`` is the name of that application as a store
    found it. Times are Unix time in microseconds, None for never. ``created_by`` is the id of a credential, empty for the
    service itself. ``version`` rises with every change but uses.
    """

    credential_id: str
    kind: CredentialKind
    application_id: str
    prefix: str
    secret_hash: bytes
    name: str = ""
    scopes: frozenset[Scope] = frozenset()
    role: Role | None = None
    created_us: int = 0
    created_by: str = ""
    expires_us: int | None = None
    revoked_us: int | None = None
    last_used_us: int | None = None
    version: int = 1
    application: str = ""

    @property
    def etag(self) -> str:
        """Returns what names this version of it."""
        return str(self.version)

    @property
    def environment(self) -> Environment:
        """Returns what a key is for; of no meaning for tokens."""
        return Environment.LIVE if self.prefix.startswith(_LIVE) else Environment.TEST

    @property
    def is_lasting_owner(self) -> bool:
        """Tells an admin token that can always repair everything: one must remain."""
        unbound_owner = self.role is Role.OWNER and not self.application_id
        return unbound_owner and self.expires_us is None and self.revoked_us is None

    def state_at(self, now_us: int) -> CredentialState:
        """Returns whether it opens anything at an instant."""
        if self.revoked_us is not None:
            return CredentialState.REVOKED
        if self.expires_us is not None and self.expires_us <= now_us:
            return CredentialState.EXPIRED
        return CredentialState.ACTIVE


def rotated_name(name: str, taken: frozenset[str], most: int = 63) -> str:
    """Returns a free name for what replaces ``name``: ``billing`` becomes ``billing-2``, that ``billing-3``."""
    stem, _, number = name.rpartition("-")
    base, first = (stem, int(number) + 1) if stem and number.isdecimal() and len(number) < 5 else (name, 2)
    candidates = (f"{base[: most - 1 - len(str(n))]}-{n}" for n in range(first, first + len(taken) + 1))
    return next(candidate for candidate in candidates if candidate not in taken)


def scopes_text(scopes: frozenset[Scope]) -> str:
    """Returns scopes in one text, in the order of their declaration: how stores keep and lists show them."""
    return " ".join(scope for scope in Scope if scope in scopes)
