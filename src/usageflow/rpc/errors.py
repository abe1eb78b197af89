"""The one table from domain errors to gRPC statuses. Internals never reach a caller.

Every status carries google.rpc.ErrorInfo (domain ``usageflow``) in its trailer; InvalidArgument adds BadRequest with the
field and the fix, Overloaded and Unavailable add RetryInfo.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from usageflow.domain.errors import (
    Aborted,
    AlreadyExists,
    FailedPrecondition,
    Fault,
    InvalidArgument,
    NotFound,
    Overloaded,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
    UsageFlowError,
)

ERROR_DOMAIN = "usageflow"

_MAX_DETAIL_BYTES = 4_000
"""A status travels in a trailer of 8 KiB: the faults that fit are sent, and how many are left."""

_MAX_MESSAGE = 1_000

_CODES: dict[type[UsageFlowError], int] = {
    InvalidArgument: code_pb2.INVALID_ARGUMENT,
    Unauthenticated: code_pb2.UNAUTHENTICATED,
    PermissionDenied: code_pb2.PERMISSION_DENIED,
    NotFound: code_pb2.NOT_FOUND,
    AlreadyExists: code_pb2.ALREADY_EXISTS,
    Aborted: code_pb2.ABORTED,
    FailedPrecondition: code_pb2.FAILED_PRECONDITION,
    Overloaded: code_pb2.RESOURCE_EXHAUSTED,
    Unavailable: code_pb2.UNAVAILABLE,
}


def grpc_status_of(error: UsageFlowError) -> grpc.Status:
    """Returns the status, with details, that a caller sees of an error."""
    code = next((_CODES[kind] for kind in type(error).__mro__ if kind in _CODES), code_pb2.INTERNAL)
    status = status_pb2.Status(code=code, message=str(error)[:_MAX_MESSAGE])
    for detail in _details(error):
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    return rpc_status.to_status(status)


def internal_status() -> grpc.Status:
    """Returns the status of what nobody foresaw; the log has the rest."""
    info = error_details_pb2.ErrorInfo(reason="INTERNAL", domain=ERROR_DOMAIN)
    packed = AnyMessage()
    packed.Pack(info)
    message = "an internal error; the service's log has the details"
    return rpc_status.to_status(status_pb2.Status(code=code_pb2.INTERNAL, message=message, details=[packed]))


def _details(error: UsageFlowError) -> Iterable[Message]:
    metadata = {"etag": error.etag} if isinstance(error, Aborted) and error.etag else {}
    yield error_details_pb2.ErrorInfo(reason=error.reason, domain=ERROR_DOMAIN, metadata=metadata)
    if isinstance(error, InvalidArgument):
        yield _bad_request(error.faults)
    if isinstance(error, Overloaded | Unavailable):
        delay = Duration()
        delay.FromMilliseconds(round(error.retry_after_s * 1000))
        yield error_details_pb2.RetryInfo(retry_delay=delay)


def _bad_request(faults: Sequence[Fault]) -> error_details_pb2.BadRequest:
    violation = error_details_pb2.BadRequest.FieldViolation
    request = error_details_pb2.BadRequest()
    for index, fault in enumerate(faults):
        description = f"{fault.message}; {fault.fix}"[:_MAX_MESSAGE]
        added = violation(field=fault.field[:_MAX_MESSAGE], description=description, reason=fault.reason)
        if request.ByteSize() + added.ByteSize() > _MAX_DETAIL_BYTES:
            left = f"{len(faults) - index} more; correct these first"
            request.field_violations.append(violation(field="...", description=left))
            break
        request.field_violations.append(added)
    return request
