"""From a failed call to one sentence with the fix."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2 as details_pb2
from grpc_status import rpc_status

from usageflow.cli.failure import Failure
from usageflow.cli.settings import Settings


@dataclass(frozen=True, slots=True)
class Violation:
    """A field that the service refused: its path in the request and what is wrong with it."""

    field: str
    description: str


class RpcFailure(Failure):
    """A call failed. ``code`` is gRPC's name for it; ``retry_after_s`` is what the service asks for, in seconds."""

    def __init__(
        self, text: str, *, code: str, violations: tuple[Violation, ...] = (), retry_after_s: float = 0.0
    ) -> None:
        super().__init__(text)
        self.code = code
        self.violations = violations
        self.retry_after_s = retry_after_s


@dataclass(slots=True)
class _Trailer:
    """The google.rpc details of a status; ``from_service`` is False where only the transport spoke."""

    from_service: bool = False
    violations: tuple[Violation, ...] = ()
    retry_after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class _Story:
    """All that a sentence about a failed call may name; ``said`` is the service's own text."""

    settings: Settings
    credential: str
    timeout_s: float
    said: str
    trailer: _Trailer


def failure_of(error: Any, settings: Settings, *, credential: str, timeout_s: float) -> RpcFailure:
    """Returns the failure of a call. ``error`` is what a stub raises: a grpc.RpcError that is a grpc.Call as well.

    ``credential`` is the environment variable that names the credential which the call used.
    """
    code: grpc.StatusCode = error.code()
    trailer = _trailer_of(error)
    story = _Story(settings, credential, timeout_s, error.details() or code.name, trailer)
    tell = _SENTENCES.get(code)
    text = tell(story) if tell else f"the service answered {code.name}: {story.said}"
    return RpcFailure(
        text, code=code.name, violations=trailer.violations, retry_after_s=trailer.retry_after_s
    )


def _unavailable(story: _Story) -> str:
    return _busy(story) if story.trailer.from_service else _unreachable(story.settings, story.said)


def _busy(story: _Story) -> str:
    wait = f" in {story.trailer.retry_after_s:g} s" if story.trailer.retry_after_s else ""
    return f"the service cannot do this now ({story.said}): try again{wait}"


def _late(story: _Story) -> str:
    address = story.settings.address
    return f"{address} did not answer within {story.timeout_s:g} s: try again, or wait longer with --timeout"


def _unauthenticated(story: _Story) -> str:
    fix = f"set {story.credential}, or take the one in {story.settings.credentials_file}"
    return f"the service does not accept this credential ({story.said}): {fix}"


def _forbidden(story: _Story) -> str:
    return f"this credential may not do that ({story.said}): set {story.credential} to one that may"


def _not_found(story: _Story) -> str:
    if "usageflow " in story.said:  # it says where to look
        return story.said
    return f"the service does not find it ({story.said}): check the application's name"


def _said(story: _Story) -> str:
    return story.said


def _unimplemented(story: _Story) -> str:
    return f"{story.settings.address} does not offer this: start a service of this version, in this role"


def _invalid(story: _Story) -> str:
    if not story.trailer.violations:
        return f"the service refuses the request: {story.said}"
    return "\n".join(f"{each.field}: {each.description}" for each in story.trailer.violations)


_SENTENCES: dict[grpc.StatusCode, Callable[[_Story], str]] = {
    grpc.StatusCode.UNAVAILABLE: _unavailable,
    grpc.StatusCode.RESOURCE_EXHAUSTED: _busy,
    grpc.StatusCode.DEADLINE_EXCEEDED: _late,
    grpc.StatusCode.UNAUTHENTICATED: _unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: _forbidden,
    grpc.StatusCode.NOT_FOUND: _not_found,
    grpc.StatusCode.ALREADY_EXISTS: _said,
    grpc.StatusCode.ABORTED: _said,
    grpc.StatusCode.UNIMPLEMENTED: _unimplemented,
    grpc.StatusCode.INVALID_ARGUMENT: _invalid,
}


_HANDSHAKES = {
    "certificate has expired": "the certificate of {address} has expired: renew it, or check this machine's clock",
    "CERTIFICATE_VERIFY_FAILED": "{address} shows a certificate that nobody trusted here has signed: "
    "set USAGEFLOW_CA_FILE to the PEM file of the authority that signed it",
    "Hostname Verification": "the certificate of {address} is for another name: set USAGEFLOW_ADDR to a name that it holds",
    "WRONG_VERSION_NUMBER": "{address} does not speak TLS: unset USAGEFLOW_CA_FILE and USAGEFLOW_CLIENT_CERT, "
    "or set USAGEFLOW_TLS_CERT for the service",
}
"""By what the transport says of a handshake that failed."""

_CUT_OFF = ("Socket closed", "Connection reset")
_HUNG_UP = "{address} ends the connection at once: where it asks for certificates of clients, set USAGEFLOW_CLIENT_CERT and USAGEFLOW_CLIENT_KEY to yours"
_HUNG_UP_IN_PLAINTEXT = "{address} ends the connection at once: where it serves TLS, set USAGEFLOW_CA_FILE to the PEM file of the authority that signed its certificate"


def _unreachable(settings: Settings, said: str) -> str:
    text = f"cannot reach {settings.address}: start it with `make run`"
    told = next((sentence for mark, sentence in _HANDSHAKES.items() if mark in said), "")
    if not told and "failed to connect" in said and any(mark in said for mark in _CUT_OFF):
        told = _HUNG_UP if settings.uses_tls else _HUNG_UP_IN_PLAINTEXT
    if told:
        return told.format(address=settings.address)
    if not settings.uses_tls:
        return text
    return f"{text}, or check USAGEFLOW_ADDR and, for its TLS certificate, USAGEFLOW_CA_FILE"


def _trailer_of(call: grpc.Call) -> _Trailer:
    trailer = _Trailer()
    try:
        status = rpc_status.from_call(call)
        for detail in status.details if status else ():
            _read_detail(trailer, detail)
    except (ValueError, DecodeError):
        return trailer  # details that cannot be read, or contradict the status: what was read so far counts
    return trailer


def _read_detail(trailer: _Trailer, detail: AnyMessage) -> None:
    """Takes what one detail tells; unknown kinds are passed over."""
    bad, info, retry = details_pb2.BadRequest(), details_pb2.ErrorInfo(), details_pb2.RetryInfo()
    if detail.Unpack(bad):
        trailer.violations += tuple(Violation(each.field, each.description) for each in bad.field_violations)
    elif detail.Unpack(info):
        trailer.from_service = True
    elif detail.Unpack(retry):
        trailer.from_service = True
        trailer.retry_after_s = _seconds(retry.retry_delay)


def _seconds(duration: Duration) -> float:
    return duration.seconds + duration.nanos / 1e9
