"""QueryUsage: from the message to a question, from the answer to rows."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, TypeVar

import grpc.aio
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from admin.querying import Querying, Question
from usageflow.domain.analytics import (
    UsageAnswer,
    UsageFilter,
    UsageGroup,
    UsageInterval,
    UsageOrder,
    UsageRow,
)
from usageflow.domain.errors import InvalidArgument
from usageflow.domain.units import format_units
from usageflow.domain.usage import EndpointName
from usageflow.v1 import analytics_pb2, common_pb2

_Context = grpc.aio.ServicerContext[Any, Any]
_Chosen = TypeVar("_Chosen", bound=Enum)


class UsageMethods:
    """The methods about usage."""

    _querying: Querying

    async def QueryUsage(  # noqa: N802 - gRPC's spelling
        self, request: analytics_pb2.QueryUsageRequest, context: _Context
    ) -> analytics_pb2.QueryUsageResponse:
        """See the contract."""
        return usage_response(await self._querying.query(question(request)))


def question(request: analytics_pb2.QueryUsageRequest) -> Question:
    """Returns what is asked. Raises InvalidArgument for values that the contract does not know."""
    groups = [
        _chosen(UsageGroup, analytics_pb2.UsageGroup.Name, value, f"group_by[{index}]", "USAGE_GROUP_")
        for index, value in enumerate(request.group_by)
    ]
    order = UsageOrder.REQUESTS
    if request.order_by:
        order = _chosen(
            UsageOrder, analytics_pb2.UsageOrder.Name, request.order_by, "order_by", "USAGE_ORDER_"
        )
    interval = None
    if request.interval:
        name = analytics_pb2.UsageInterval.Name
        interval = _chosen(UsageInterval, name, request.interval, "interval", "USAGE_INTERVAL_")
    return Question(
        application=request.application,
        since=request.start_time.seconds if request.HasField("start_time") else None,
        until=_ceiling(request.end_time) if request.HasField("end_time") else None,
        groups=tuple(groups),
        interval=interval,
        filter=usage_filter(request.filter),
        order=order,
        limit=request.limit,
    )


def usage_filter(message: analytics_pb2.UsageFilter) -> UsageFilter:
    """Returns what counts."""
    return UsageFilter(
        endpoints=tuple(EndpointName(each.method.upper(), each.template) for each in message.endpoints),
        customers=tuple(message.customers),
        identities=tuple(message.identities),
        statuses=tuple(message.statuses),
        policies=tuple(message.policies),
        reasons=tuple(message.reasons),
        denied=message.denied if message.HasField("denied") else None,
        degraded=message.degraded if message.HasField("degraded") else None,
        shadow_denied=message.shadow_denied if message.HasField("shadow_denied") else None,
    )


def _chosen(
    kind: type[_Chosen], name_of: Callable[[Any], str], value: int, field: str, prefix: str
) -> _Chosen:
    try:
        return kind[name_of(value).removeprefix(prefix)]
    except (KeyError, ValueError):
        known = ", ".join(kind.__members__)
        raise InvalidArgument.of(field, f"{value} is not known", f"send one of {known}") from None


def _ceiling(time: Timestamp) -> int:
    return int(time.seconds) + (1 if time.nanos else 0)


def usage_response(answer: UsageAnswer) -> analytics_pb2.QueryUsageResponse:
    """Returns the answer."""
    return analytics_pb2.QueryUsageResponse(
        rows=[_row(row) for row in answer.rows],
        start_time=Timestamp(seconds=answer.since),
        total=_row(answer.total),
    )


def _row(row: UsageRow) -> analytics_pb2.UsageRow:
    key, sums = row.key, row.sums
    message = analytics_pb2.UsageRow(
        status=key.status,
        time=None if row.time is None else Timestamp(seconds=row.time),
        customer=key.customer,
        identity=key.identity,
        policy=key.policy,
        reason=key.reason,
        degraded_reason=key.degraded_reason,
        requests=sums.requests,
        errors=sums.errors,
        client_errors=sums.client_errors,
        denied=sums.denied,
        degraded=sums.degraded,
        shadow_denied=sums.shadow_denied,
        units=format_units(sums.units),
        request_bytes=min(sums.request_bytes, _MOST_UNSIGNED),
        response_bytes=min(sums.response_bytes, _MOST_UNSIGNED),
    )
    if key.endpoint is not None:
        endpoint = common_pb2.Endpoint(method=key.endpoint.method, template=key.endpoint.template)
        message.endpoint.CopyFrom(endpoint)
    if row.percentiles is not None:
        for field, value in zip((message.p50, message.p95, message.p99), row.percentiles, strict=True):
            field.CopyFrom(_duration(value))
    return message


_MOST_UNSIGNED = 2**64 - 1


def _duration(us: float) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(round(us * 1_000))
    return duration
