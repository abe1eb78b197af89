"""What each method needs of its caller, and whose data the caller may name. The one table of it: no method can be forgotten,
because what is not named here is decided by its verb.

Methods that only look (Get, List, Query, Verify, Diff, Watch, Tail) need the role VIEWER, or the scope READ for the key's own
application; all others EDITOR. What is about credentials, or makes, deletes or sets up applications, or
changes what somebody pays, needs OWNER.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import FileDescriptor, MethodDescriptor

from usageflow.domain.credentials import CredentialKind, Role, Scope
from usageflow.domain.errors import NotFound, PermissionDenied, UsageFlowError
from usageflow.rpc.principal import Principal

_LOOKING = ("Get", "List", "Query", "Verify", "Diff", "Watch", "Tail")
_OWNERS_THINGS = ("ApiKey", "AdminToken")
_OWNERS_METHODS = {
    "CreateApplication",
    "UpdateApplication",
    "DeleteApplication",
    "UndeleteApplication",
    "ExportSnapshot",
    "RevealAlertDestinationSecret",
    "RotateAlertDestinationSecret",
    "EraseCustomer",
    "EraseIdentity",
    "CorrectUsage",
}
_LOOKING_METHODS = {"ReconcileBilling"}
"""Compares and changes nothing, though its verb does not say so."""
_DATA_PLANE = "DecisionService"
_AGENT, _REPORTING, _READ = (
    frozenset({Scope.AGENT}),
    frozenset({Scope.AGENT, Scope.REPORT}),
    frozenset({Scope.READ}),
)
_DATA_PLANE_SCOPES = {
    "Report": _REPORTING,
    "RegisterEndpoints": _REPORTING,
    "WatchPlan": _REPORTING,
    "Explain": _READ,
    "ListHeadroom": _READ,
}

_API_KEY = "send `authorization: Bearer uf_...` with an API key (USAGEFLOW_API_KEY)"
_ADMIN_TOKEN = "send `authorization: Bearer uf_admin_...` (USAGEFLOW_ADMIN_TOKEN)"  # noqa: S105 - tells how


@dataclass(frozen=True, slots=True)
class Access:
    """Who may call a method: API keys with one of ``scopes``, admin tokens with ``role`` or more (None: no token).

    ``place`` is the path of the field that names the application, empty where the request names none; None where the handler
    takes the application from the caller (the data plane).
    """

    method: str
    scopes: frozenset[Scope]
    role: Role | None
    place: tuple[str, ...] | None
    of_admin: bool
    how: str
    """How to send a credential that this method may take."""

    def ensure(self, caller: Principal) -> None:
        """Raises PermissionDenied where the caller's scopes or role do not reach."""
        if caller.kind is CredentialKind.API_KEY:
            if self.scopes.isdisjoint(caller.scopes):
                raise self._lacks_scope(caller)
        elif self.role is None:
            raise self._other_kind()
        elif caller.role is None or not caller.role.covers(self.role):
            message = (
                f"{self.method} needs the role {self.role}, this token is {_told(caller.role)}: use a token of that role, "
                "or ask an owner to change this one's"
            )
            raise PermissionDenied(message, reason="ROLE_TOO_LOW")

    def confine(self, caller: Principal, request: Any) -> None:
        """Keeps a caller who belongs to one application inside it: a request that names none means its own.

        Raises PermissionDenied (data plane) or NotFound where it names another, PermissionDenied where it is about the whole
        installation.
        """
        if self.place is None or not caller.application_id:
            return
        if not self.place:
            message = f"{self.method} is about the whole installation: use an admin token that is bound to no application"
            raise PermissionDenied(message, reason="BOUND_CREDENTIAL")
        *path, name = self.place
        for step in path:
            request = getattr(request, step)
        asked = getattr(request, name)
        if not asked:
            setattr(request, name, caller.application)
        elif asked != caller.application:
            raise self._foreign(asked, caller)

    def _foreign(self, asked: str, caller: Principal) -> UsageFlowError:
        if self.of_admin:
            return NotFound(f"there is no application {asked[:64]!r}", reason="APPLICATION_NOT_FOUND")
        message = f"this credential belongs to application {caller.application!r}, not {asked[:64]!r}: leave the field empty"
        return PermissionDenied(message, reason="OTHER_APPLICATION")

    def _lacks_scope(self, caller: Principal) -> PermissionDenied:
        if not self.scopes:
            return self._other_kind()
        needed, has = " or ".join(sorted(self.scopes)), ", ".join(sorted(caller.scopes)) or "none"
        message = f"{self.method} needs the scope {needed}, this API key has {has}: use a key that has it, or ask an owner to add it"
        return PermissionDenied(message, reason="SCOPE_MISSING")

    def _other_kind(self) -> PermissionDenied:
        return PermissionDenied(
            f"this method needs the other kind of credential: {self.how}", reason="CREDENTIAL_KIND"
        )


def accesses(files: Iterable[FileDescriptor]) -> Mapping[str, Access]:
    """Returns the access of every method of the services in these files, by full name (``/package.Service/Method``)."""
    return {
        f"/{service.full_name}/{method.name}": _access(method)
        for file in files
        for service in file.services_by_name.values()
        for method in service.methods
    }


def _access(method: MethodDescriptor) -> Access:
    name = method.name
    if method.containing_service.name != _DATA_PLANE:
        role = _role(name)
        scopes = _READ if role is Role.VIEWER else frozenset()
        return Access(name, scopes, role, _place(method), of_admin=True, how=_ADMIN_TOKEN)
    scopes = _DATA_PLANE_SCOPES.get(name, _AGENT)
    if scopes == _READ:
        return Access(name, scopes, Role.VIEWER, _place(method), of_admin=False, how=_ADMIN_TOKEN)
    return Access(name, scopes, None, None, of_admin=False, how=_API_KEY)


def _role(name: str) -> Role:
    if name in _OWNERS_METHODS or any(thing in name for thing in _OWNERS_THINGS):
        return Role.OWNER
    return Role.VIEWER if name.startswith(_LOOKING) or name in _LOOKING_METHODS else Role.EDITOR


def _place(method: MethodDescriptor) -> tuple[str, ...]:
    fields = method.input_type.fields_by_name
    if "application" in fields:
        return ("application", "name") if fields["application"].message_type else ("application",)
    return ("name",) if method.name.endswith("Application") and "name" in fields else ()


def _told(role: Role | None) -> str:
    return "of no role" if role is None else f"of the role {role}"
