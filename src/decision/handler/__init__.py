"""The servicer of DecisionService: unpack, call, pack."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import grpc.aio

from decision.checking import Checking
from decision.explaining import Explaining
from decision.handler import pack, unpack
from decision.registering import Registering
from decision.reporting import Reporting
from decision.watching import Watching
from usageflow.domain.errors import InvalidArgument
from usageflow.rpc.principal import current_principal
from usageflow.v1 import decision_pb2, decision_pb2_grpc, plan_pb2, usage_pb2

_Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class DecisionUseCases:
    """Everything that the handler calls."""

    checking: Checking
    reporting: Reporting
    registering: Registering
    watching: Watching
    explaining: Explaining


class DecisionHandler(decision_pb2_grpc.DecisionServiceServicer):
    """DecisionService over its use-cases."""

    def __init__(self, use: DecisionUseCases) -> None:
        self._use = use

    async def Check(  # noqa: N802 - gRPC's spelling; the stub's base class is synchronous
        self, request: decision_pb2.CheckRequest, context: _Context
    ) -> decision_pb2.CheckResponse:
        """See the contract."""
        plan = self._use.checking.plan_of(current_principal(), request.application)
        answer = await self._use.checking.check(plan, unpack.check_request(request), context.time_remaining())
        return pack.check_response(answer)

    async def BatchCheck(  # noqa: N802
        self, request: decision_pb2.BatchCheckRequest, context: _Context
    ) -> decision_pb2.BatchCheckResponse:
        """See the contract."""
        plan = await self._use.checking.plan_for(
            current_principal(), request.application, request.plan_version, positional=True
        )
        items = [unpack.check_item(item) for item in request.items]
        answers = await self._use.checking.check_many(plan, items, context.time_remaining())
        return decision_pb2.BatchCheckResponse(
            results=[
                pack.failed_item(answer)
                if isinstance(answer, InvalidArgument)
                else pack.check_result(answer, by_name=not isinstance(item.endpoint, int))
                for item, answer in zip(items, answers, strict=True)
            ],
            errors=pack.nothing_held(request.returns, request.releases, request.renewals),
            revision=plan.snapshot.revision,
        )

    async def Report(  # noqa: N802
        self, request: usage_pb2.ReportRequest, context: _Context
    ) -> usage_pb2.ReportResponse:
        """See the contract."""
        plan = await self._use.checking.plan_for(
            current_principal(), request.application, request.plan_version
        )
        result = await self._use.reporting.report(plan, unpack.report(request))
        response = pack.report_response(result)
        response.errors.extend(pack.nothing_held(request.returns, request.releases, ()))
        return response

    async def RegisterEndpoints(  # noqa: N802
        self, request: plan_pb2.RegisterEndpointsRequest, context: _Context
    ) -> plan_pb2.RegisterEndpointsResponse:
        """See the contract."""
        plan = self._use.checking.plan_of(current_principal(), request.application)
        return pack.register_response(
            await self._use.registering.register(plan, unpack.routes(request.endpoints))
        )

    async def WatchPlan(  # noqa: N802
        self, request: plan_pb2.WatchPlanRequest, context: _Context
    ) -> AsyncIterator[plan_pb2.WatchPlanResponse]:
        """See the contract."""
        plan = self._use.checking.plan_of(current_principal(), request.application)
        plans = self._use.watching.watch(plan.snapshot.application_id, request.plan_version)
        # A watcher that holds the plan hears at once that it is connected.
        await context.send_initial_metadata((("usageflow-plan-version", str(plan.snapshot.plan_version)),))
        async with aclosing(plans):
            async for sent in plans:
                yield pack.plan_response(sent) if sent else plan_pb2.WatchPlanResponse(draining=True)

    async def Explain(  # noqa: N802
        self, request: decision_pb2.ExplainRequest, context: _Context
    ) -> decision_pb2.ExplainResponse:
        """See the contract."""
        explanation = await self._use.explaining.explain(
            request.application, unpack.http_request(request.request), request.cost
        )
        return pack.explain_response(explanation)
