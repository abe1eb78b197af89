from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from usageflow.domain import errors
from usageflow.domain.errors import Fault, InvalidArgument, Overloaded, Unavailable, UsageFlowError
from usageflow.rpc.errors import grpc_status_of, internal_status


def decoded(status: grpc.Status) -> Any:
    metadata = dict(status.trailing_metadata or ())
    found = status_pb2.Status()
    found.ParseFromString(metadata["grpc-status-details-bin"])
    return found


def detail(status: grpc.Status, kind: Any) -> Any:
    for packed in decoded(status).details:
        if packed.Is(kind.DESCRIPTOR):
            found = kind()
            packed.Unpack(found)
            return found
    return None


CODES = {
    "InvalidArgument": grpc.StatusCode.INVALID_ARGUMENT,
    "Unauthenticated": grpc.StatusCode.UNAUTHENTICATED,
    "PermissionDenied": grpc.StatusCode.PERMISSION_DENIED,
    "NotFound": grpc.StatusCode.NOT_FOUND,
    "AlreadyExists": grpc.StatusCode.ALREADY_EXISTS,
    "Aborted": grpc.StatusCode.ABORTED,
    "FailedPrecondition": grpc.StatusCode.FAILED_PRECONDITION,
    "Overloaded": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "Unavailable": grpc.StatusCode.UNAVAILABLE,
}


def all_errors() -> list[type[UsageFlowError]]:
    return [kind for kind in UsageFlowError.__subclasses__() if kind.__module__ == errors.__name__]


def test_the_table_is_complete() -> None:
    assert {kind.__name__ for kind in all_errors()} == set(CODES)


@pytest.mark.parametrize("kind", all_errors(), ids=lambda kind: kind.__name__)
def test_every_error_has_its_status_and_its_reason(kind: type[UsageFlowError]) -> None:
    error = InvalidArgument.of("f", "m", "x") if kind is InvalidArgument else kind("what happened")
    status = grpc_status_of(error)
    assert status.code is CODES[kind.__name__]
    info = detail(status, error_details_pb2.ErrorInfo)
    assert (info.domain, info.reason) == ("usageflow", kind.reason)
    assert status.details == str(error)


def test_whoever_was_overtaken_learns_the_present_etag() -> None:
    info = detail(grpc_status_of(errors.Aborted("changed", etag="e-7")), error_details_pb2.ErrorInfo)
    assert dict(info.metadata) == {"etag": "e-7"}
    assert not detail(grpc_status_of(errors.Aborted("changed")), error_details_pb2.ErrorInfo).metadata


def test_a_reason_of_its_own_beats_the_kinds() -> None:
    status = grpc_status_of(errors.FailedPrecondition("x", reason="PLAN_UNKNOWN"))
    assert detail(status, error_details_pb2.ErrorInfo).reason == "PLAN_UNKNOWN"


def test_an_error_that_the_table_does_not_name_is_its_bases_or_internal() -> None:
    class Narrower(errors.NotFound):
        pass

    class Other(UsageFlowError):
        pass

    assert grpc_status_of(Narrower("x")).code is grpc.StatusCode.NOT_FOUND
    assert grpc_status_of(Other("x")).code is grpc.StatusCode.INTERNAL


def test_fields_travel_with_their_fix() -> None:
    error = InvalidArgument(
        [Fault("a[0].b", "is bad", "do this", "DUPLICATE"), Fault("c", "is bad", "do that")]
    )
    request = detail(grpc_status_of(error), error_details_pb2.BadRequest)
    assert [(item.field, item.description, item.reason) for item in request.field_violations] == [
        ("a[0].b", "is bad; do this", "DUPLICATE"),
        ("c", "is bad; do that", "INVALID_FIELD"),
    ]


def test_more_faults_than_a_trailer_holds_are_cut_and_counted() -> None:
    error = InvalidArgument(
        [Fault(f"policies[{n}].name", "is bad" * 20, "do this" * 20) for n in range(2000)]
    )
    status = grpc_status_of(error)
    assert decoded(status).ByteSize() < 5_500
    violations = detail(status, error_details_pb2.BadRequest).field_violations
    assert violations[0].field == "policies[0].name"
    assert violations[-1].description == f"{2000 - len(violations) + 1} more; correct these first"


@pytest.mark.parametrize("kind", [Overloaded, Unavailable])
def test_what_passes_says_when_to_try_again(kind: type[Overloaded | Unavailable]) -> None:
    retry = detail(grpc_status_of(kind("later", retry_after_s=1.5)), error_details_pb2.RetryInfo)
    assert retry.retry_delay.ToMilliseconds() == 1500
    assert detail(grpc_status_of(errors.NotFound("x")), error_details_pb2.RetryInfo) is None


def test_what_nobody_foresaw_tells_nothing() -> None:
    status = internal_status()
    assert status.code is grpc.StatusCode.INTERNAL
    assert detail(status, error_details_pb2.ErrorInfo).reason == "INTERNAL"
