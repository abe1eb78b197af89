"""The servicer of DecisionService: unpack, call, pack."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio

from decision.batching import Batching
from decision.checking import Checking
from decision.explaining import Explaining
from decision.handler import pack, unpack
from decision.handler.frames import BatchCheckFrames, BatchResultFrames
from decision.handler.headroom import headroom_ask, headroom_response
from decision.handler.slim import response_frame, result_frame
from decision.headroom import Headroom
from decision.registering import Registration
from decision.reporting import Reporting
from decision.watching import Watching
from usageflow.rpc.principal import current_principal
from usageflow.v1 import decision_pb2, decision_pb2_grpc, headroom_pb2, plan_pb2, usage_pb2

_Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class DecisionUseCases:
    """Everything that the handler calls."""

    checking: Checking
    batching: Batching
    reporting: Reporting
    registering: Registration
    watching: Watching
    explaining: Explaining
    headroom: Headroom


class DecisionHandler(decision_pb2_grpc.DecisionServiceServicer):
    """DecisionService over its use-cases."""

    def __init__(self, use: DecisionUseCases) -> None:
        self._use = use

    async def Check(  # noqa: N802 - gRPC's spelling; the stub's base class is synchronous
        self,
        request: Any,  # the contract's message, left as bytes
        context: _Context,
    ) -> Any:
        """See the contract."""
        decided = await self._use.batching.decide_one(
            current_principal(), request, unpack.check_request_frame, context.time_remaining()
        )
        return response_frame(decided)

    async def BatchCheck(  # noqa: N802
        self,
        request: Any,  # BatchCheckFrames: the contract's message, its items left as bytes
        context: _Context,
    ) -> Any:
        """See the contract."""
        plan = await self._use.checking.plan_for(
            current_principal(), request.application, request.plan_version, positional=True
        )
        faults = await self._use.checking.amend(plan, unpack.amendments(request))
        decided = await self._use.batching.decide(
            plan, request.items, unpack.check_frame, context.time_remaining()
        )
        return BatchResultFrames(
            results=[result_frame(item) for item in decided],
            errors=[pack.item_error(fault) for fault in faults],
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
        return pack.report_response(result)

    async def RegisterEndpoints(  # noqa: N802
        self, request: plan_pb2.RegisterEndpointsRequest, context: _Context
    ) -> plan_pb2.RegisterEndpointsResponse:
        """See the contract."""
        plan = self._use.checking.plan_of(current_principal(), request.application)
        return pack.register_response(
            await self._use.registering.register(
                plan, unpack.routes(request.endpoints), request.service, request.release
            )
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

    async def ListHeadroom(  # noqa: N802
        self, request: headroom_pb2.ListHeadroomRequest, context: _Context
    ) -> headroom_pb2.ListHeadroomResponse:
        """See the contract."""
        return headroom_response(await self._use.headroom.list(headroom_ask(request)))


def add_to_server(handler: DecisionHandler, server: Any) -> None:
    """Serves DecisionService: BatchCheck by frames and Check as bytes, everything else by the messages of the contract."""
    framed = {
        "Check": grpc.unary_unary_rpc_method_handler(handler.Check, bytes, bytes),
        "BatchCheck": grpc.unary_unary_rpc_method_handler(
            handler.BatchCheck, BatchCheckFrames.FromString, BatchResultFrames.SerializeToString
        ),
    }
    name = decision_pb2.DESCRIPTOR.services_by_name["DecisionService"].full_name
    # The first handler that knows a method serves it.
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, framed),))
    decision_pb2_grpc.add_DecisionServiceServicer_to_server(handler, server)
