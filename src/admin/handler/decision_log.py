"""The decision log's method of AdminService: unpack, call, pack."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc.aio

from admin.logged_decisions import LoggedDecisions
from usageflow.domain.decision_log import LoggedDecision
from usageflow.messages import microseconds_of, timestamp_of
from usageflow.v1 import common_pb2, decision_log_pb2


class DecisionLogMethods:
    """What AdminService offers of the decision log."""

    logged: LoggedDecisions

    async def ListDecisions(  # noqa: N802 - gRPC's spelling
        self, request: decision_log_pb2.ListDecisionsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[decision_log_pb2.ListDecisionsResponse]:
        """See the contract."""
        pages = self.logged.read(
            request.application,
            since_us=microseconds_of(request.start_time) if request.HasField("start_time") else None,
            until_us=microseconds_of(request.end_time) if request.HasField("end_time") else None,
        )
        async for page in pages:
            yield decision_log_pb2.ListDecisionsResponse(decisions=[_decision(each) for each in page])


def _decision(logged: LoggedDecision) -> decision_log_pb2.LoggedDecision:
    return decision_log_pb2.LoggedDecision(
        time=timestamp_of(logged.at_us),
        revision=logged.revision,
        endpoint=common_pb2.Endpoint(method=logged.endpoint.method, template=logged.endpoint.template),
        path=logged.path,
        path_parameters=logged.parameters,
        hidden_parameters=logged.hidden,
        asked=[decision_log_pb2.LoggedAttribute(location=each[0], name=each[1]) for each in logged.asked],
        values=[_value(key, value) for key, value in logged.values],
        client_ip=logged.client_ip,
        cost=logged.cost,
        percent=logged.percent,
        leased=logged.leased,
        decision=common_pb2.DECISION_ALLOW if logged.allowed else common_pb2.DECISION_DENY,
        reason=common_pb2.Reason.Value(f"REASON_{logged.reason}"),
        identity=logged.identity,
        policies=logged.policies,
        decided_by=logged.decided_by,
        degraded=logged.degraded,
    )


def _value(key: tuple[str, str], value: str | bytes) -> decision_log_pb2.LoggedValue:
    attribute = decision_log_pb2.LoggedAttribute(location=key[0], name=key[1])
    if isinstance(value, bytes):
        return decision_log_pb2.LoggedValue(attribute=attribute, hash=value)
    return decision_log_pb2.LoggedValue(attribute=attribute, plain=value)
