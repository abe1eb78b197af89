"""Who calls: set by the interceptor for each call, read by handlers."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass

from usageflow.domain.credentials import CredentialKind, Role, Scope
from usageflow.domain.errors import PermissionDenied, Unauthenticated


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller with a good credential. ``application_id`` and ``application``, its name, are empty for admin tokens that are not
    bound to one.
    """

    kind: CredentialKind
    application_id: str
    prefix: str
    credential_id: str = ""
    application: str = ""
    scopes: frozenset[Scope] = frozenset()
    role: Role | None = None


_current: ContextVar[Principal | None] = ContextVar("usageflow_principal", default=None)


def set_principal(principal: Principal) -> None:
    """Makes ``principal`` the caller of the running call."""
    _current.set(principal)


def current_principal() -> Principal:
    """Returns the caller of the running call. Raises Unauthenticated outside of an authenticated call."""
    principal = _current.get()
    if principal is None:
        raise Unauthenticated("this call carries no credential")
    return principal


def own_application(asked: str, own_name: str) -> None:
    """Raises PermissionDenied where a request names another application than the API key's."""
    if asked not in ("", own_name):
        message = (
            f"this API key belongs to application {own_name!r}, not {asked[:64]!r}: leave the field empty"
        )
        raise PermissionDenied(message, reason="OTHER_APPLICATION")
