"""A real gRPC DecisionService on a free port, with scripted answers and a memory of what it was told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
from google.rpc import error_details_pb2, status_pb2

from usageflow.v1 import common_pb2 as common
from usageflow.v1 import decision_pb2 as wire
from usageflow.v1 import decision_pb2_grpc, headroom_pb2, plan_pb2, usage_pb2

Context = Any
"""grpc.aio.ServicerContext; the generated base class mixes it with the blocking one."""

KEY = "uf_test_key"


def allow(**fields: Any) -> wire.CheckResult:
    """An allowing answer."""
    return wire.CheckResult(decision=common.DECISION_ALLOW, reason=common.REASON_WITHIN_LIMITS, **fields)


def deny(reason: common.Reason.ValueType, **fields: Any) -> wire.CheckResult:
    """A denying answer."""
    return wire.CheckResult(decision=common.DECISION_DENY, reason=reason, **fields)


async def abort(context: Context, code: grpc.StatusCode, *, reason: str = "", retry_s: int = 0) -> None:
    """Ends a call with ErrorInfo and RetryInfo in the trailer."""
    status = status_pb2.Status(code=code.value[0], message="scripted")
    if reason:
        status.details.add().Pack(error_details_pb2.ErrorInfo(reason=reason, domain="usageflow"))
    if retry_s:
        info = error_details_pb2.RetryInfo()
        info.retry_delay.seconds = retry_s
        status.details.add().Pack(info)
    await context.abort(code, "scripted", (("grpc-status-details-bin", status.SerializeToString()),))


class FakeService(decision_pb2_grpc.DecisionServiceServicer):
    """Answers as its attributes say; they may be changed at any time."""

    def __init__(self) -> None:
        self.plan: plan_pb2.WatchPlanResponse | None = plan_pb2.WatchPlanResponse(
            plan_version=1, revision=1, full=True
        )
        self.answer: Callable[[wire.CheckItem], wire.CheckResult] = lambda _: allow()
        self.amend: Callable[[wire.BatchCheckRequest], list[usage_pb2.ItemError]] = lambda _: []
        self.on_check: Callable[[wire.BatchCheckRequest, Context], Awaitable[None]] | None = None
        self.on_report: Callable[[usage_pb2.ReportRequest, Context], Awaitable[None]] | None = None
        self.on_watch: Callable[[Context], Awaitable[None]] | None = None
        self.on_register: Callable[[Context], Awaitable[None]] | None = None
        self.checks: list[wire.BatchCheckRequest] = []
        self.reports: list[usage_pb2.ReportRequest] = []
        self.events: dict[str, usage_pb2.UsageEvent] = {}
        self.registered: list[plan_pb2.RegisterEndpointsRequest] = []
        self.watches: list[plan_pb2.WatchPlanRequest] = []
        self.keys: set[str] = set()
        self.address = ""
        self._changed = asyncio.Event()
        self._server: grpc.aio.Server | None = None

    async def start(self, address: str = "127.0.0.1:0", **options: int) -> None:
        """Listens; the real address is in `address` afterwards. `options` are gRPC's, without `grpc.`."""
        named = [(f"grpc.{name}", value) for name, value in options.items()]
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0), *named])
        decision_pb2_grpc.add_DecisionServiceServicer_to_server(self, self._server)
        port = self._server.add_insecure_port(address)
        self.address = f"127.0.0.1:{port}"
        await self._server.start()

    async def stop(self) -> None:
        """Goes away at once, and may be started again."""
        if self._server is not None:
            await self._server.stop(0)
            self._server = None

    def push(self, plan: plan_pb2.WatchPlanResponse) -> None:
        """Sends a plan to whoever watches, and to whoever comes later."""
        self.plan = plan
        self._changed.set()
        self._changed = asyncio.Event()

    async def BatchCheck(self, request: wire.BatchCheckRequest, context: Context) -> wire.BatchCheckResponse:  # noqa: N802
        self._note_key(context)
        self.checks.append(request)
        if self.on_check is not None:
            await self.on_check(request, context)
        results = [self.answer(item) for item in request.items]
        return wire.BatchCheckResponse(results=results, errors=self.amend(request), revision=7)

    def released(self) -> list[bytes]:
        """Returns the slots that batches and reports gave back, in the order of their lists."""
        lists = [*(call.releases for call in self.checks), *(call.releases for call in self.reports)]
        return [item.slot_id for releases in lists for item in releases]

    def renewed(self) -> list[bytes]:
        """Returns the slots that batches renewed."""
        return [item.slot_id for call in self.checks for item in call.renewals]

    async def Report(self, request: usage_pb2.ReportRequest, context: Context) -> usage_pb2.ReportResponse:  # noqa: N802
        self._note_key(context)
        self.reports.append(request)
        if self.on_report is not None:
            await self.on_report(request, context)
        new = [event for event in request.events if event.event_id not in self.events]
        self.events.update({event.event_id: event for event in new})
        return usage_pb2.ReportResponse(accepted=len(new), duplicates=len(request.events) - len(new))

    async def RegisterEndpoints(  # noqa: N802
        self, request: plan_pb2.RegisterEndpointsRequest, context: Context
    ) -> plan_pb2.RegisterEndpointsResponse:
        self._note_key(context)
        self.registered.append(request)
        if self.on_register is not None:
            await self.on_register(context)
        return plan_pb2.RegisterEndpointsResponse()

    async def WatchPlan(  # noqa: N802
        self, request: plan_pb2.WatchPlanRequest, context: Context
    ) -> AsyncIterator[plan_pb2.WatchPlanResponse]:
        self._note_key(context)
        self.watches.append(request)
        if self.on_watch is not None:
            await self.on_watch(context)
        await context.send_initial_metadata((("usageflow-plan-version", "1"),))
        sent = request.plan_version
        while True:
            changed = self._changed
            if self.plan is not None and self.plan.plan_version != sent:
                sent = self.plan.plan_version
                yield self.plan
            await changed.wait()

    async def Check(self, request: wire.CheckRequest, context: Context) -> wire.CheckResponse:  # noqa: N802
        raise AssertionError("clients with a plan use BatchCheck")

    async def ListHeadroom(  # noqa: N802
        self, request: headroom_pb2.ListHeadroomRequest, context: Context
    ) -> headroom_pb2.ListHeadroomResponse:
        raise NotImplementedError

    async def Explain(self, request: wire.ExplainRequest, context: Context) -> wire.ExplainResponse:  # noqa: N802
        raise AssertionError("clients explain nothing")

    def _note_key(self, context: Context) -> None:
        self.keys.add(dict(context.invocation_metadata())["authorization"])

    async def wait_for_events(self, count: int) -> list[usage_pb2.UsageEvent]:
        """Returns the events once there are `count` of them."""
        await until(lambda: len(self.events) >= count)
        return list(self.events.values())


async def until(condition: Callable[[], object], timeout_s: float = 10.0) -> None:
    """Waits for a condition."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        await asyncio.sleep(0.005)


async def hang(*_: object) -> None:
    """A service that never answers."""
    await asyncio.Event().wait()


def endpoint_plan(
    number: int, method: str, template: str, action: plan_pb2.PlanAction.ValueType, **fields: Any
) -> plan_pb2.EndpointPlan:
    """One endpoint's plan."""
    endpoint = common.Endpoint(method=method, template=template)
    return plan_pb2.EndpointPlan(number=number, endpoint=endpoint, action=action, **fields)


def slot_plan(*endpoints: plan_pb2.EndpointPlan, life_ms: int = 60_000) -> plan_pb2.WatchPlanResponse:
    """A whole plan with one policy, number 9, of two requests at once."""
    limit = plan_pb2.PlanLimit(name="at-once", algorithm=common.ALGORITHM_CONCURRENCY, limit=2)
    limit.window.FromMilliseconds(life_ms)
    plan = full_plan(*endpoints)
    del plan.policies[0].limits[:]
    plan.policies[0].limits.append(limit)
    return plan


def full_plan(
    *endpoints: plan_pb2.EndpointPlan, version: int = 1, **fields: Any
) -> plan_pb2.WatchPlanResponse:
    """A whole plan with one policy, number 9, whose only limit is 100 an hour."""
    limit = plan_pb2.PlanLimit(name="hourly", algorithm=common.ALGORITHM_FIXED_WINDOW, limit=100)
    limit.window.seconds = 3_600
    policy = plan_pb2.PlanPolicy(number=9, name="transactions", limits=[limit])
    return plan_pb2.WatchPlanResponse(
        plan_version=version, revision=7, full=True, endpoints=endpoints, policies=[policy], **fields
    )
