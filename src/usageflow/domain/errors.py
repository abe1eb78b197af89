"""The few errors of the domain, free of transport; usageflow.rpc.errors maps each to a gRPC status.

UsageFlowError
├── InvalidArgument      one or more fields are out of bounds; carries a Fault per field
├── Unauthenticated      the credential is missing, unknown or expired
├── PermissionDenied     the credential is good but not for this
├── NotFound             the named thing does not exist (for this application)
├── AlreadyExists        the name, or the request's id, is taken
├── Aborted              somebody else changed it first; carries the present etag
├── FailedPrecondition   not in the present state, such as a plan that is not known here
├── Overloaded           the service has too much to do; carries when to try again
└── Unavailable          a part that is needed does not answer; carries when to try again
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One field that is out of bounds.

    ``field`` is a path such as ``policies[3].limits[0].window``; ``message`` says what is wrong and ``fix`` what
    to do; ``reason`` is an UPPER_SNAKE constant for programs.
    """

    field: str
    message: str
    fix: str
    reason: str = "INVALID_FIELD"

    def __str__(self) -> str:
        return f"{self.field}: {self.message}; {self.fix}"

    def under(self, prefix: str) -> Fault:
        """Returns the same fault of a field that stands below ``prefix``."""
        return Fault(f"{prefix}.{self.field}" if self.field else prefix, self.message, self.fix, self.reason)


class UsageFlowError(Exception):
    """Base of all errors that a caller can cause or meet."""

    reason = "INTERNAL"

    def __init__(self, message: str, *, reason: str | None = None) -> None:
        super().__init__(message)
        if reason is not None:
            self.reason = reason


class InvalidArgument(UsageFlowError):
    """One or more fields are out of bounds."""

    reason = "INVALID_ARGUMENT"

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("; ".join(str(fault) for fault in faults[:3]))
        self.faults = tuple(faults)

    @classmethod
    def of(cls, field: str, message: str, fix: str, reason: str = "INVALID_FIELD") -> InvalidArgument:
        """Returns the error of a single field."""
        return cls([Fault(field, message, fix, reason)])


class Unauthenticated(UsageFlowError):
    """The credential is missing, unknown or expired."""

    reason = "UNAUTHENTICATED"


class PermissionDenied(UsageFlowError):
    """The credential is good, but not for this."""

    reason = "PERMISSION_DENIED"


class NotFound(UsageFlowError):
    """The named thing does not exist, or belongs to another application."""

    reason = "NOT_FOUND"


class AlreadyExists(UsageFlowError):
    """The name, or the request's id, is taken."""

    reason = "ALREADY_EXISTS"


class Aborted(UsageFlowError):
    """Somebody else changed the resource first. ``etag`` is the present one, empty where there is none to tell."""

    reason = "ETAG_MISMATCH"

    def __init__(self, message: str, *, etag: str = "", reason: str | None = None) -> None:
        super().__init__(message, reason=reason)
        self.etag = etag


class FailedPrecondition(UsageFlowError):
    """Not possible in the present state."""

    reason = "FAILED_PRECONDITION"


class Overloaded(UsageFlowError):
    """The service has too much to do. ``retry_after_s`` is in seconds."""

    reason = "OVERLOADED"

    def __init__(self, message: str, *, retry_after_s: float = 1.0, reason: str | None = None) -> None:
        super().__init__(message, reason=reason)
        self.retry_after_s = retry_after_s


class Unavailable(UsageFlowError):
    """A part that is needed does not answer. ``retry_after_s`` is in seconds."""

    reason = "UNAVAILABLE"

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
