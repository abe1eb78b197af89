from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.unit.fakes import FakeControl
from usageflow.client._core.rpc_status import read_details
from usageflow.domain.clock import ManualClock
from usageflow.domain.credentials import Credential, CredentialKind, Role, Scope
from usageflow.domain.errors import Fault, InvalidArgument, NotFound
from usageflow.domain.keys import hash_of, make_key
from usageflow.rpc.authentication import Authenticator
from usageflow.rpc.interceptor import CallPolicy, ServiceInterceptor
from usageflow.rpc.measuring import CallTimes
from usageflow.rpc.principal import current_principal
from usageflow.rpc.server import ADMIN, DECISION, METER, RpcServer, build_server, credentials_needed
from usageflow.v1 import admin_pb2, decision_pb2, decision_pb2_grpc, headroom_pb2, meter_pb2, plan_pb2

KEY = make_key("uf_live_", bytes(32))
TOKEN = make_key("uf_admin_", bytes(32))
MOST = 3
GOOD = (("authorization", f"Bearer {KEY}"),)


class Service(decision_pb2_grpc.DecisionServiceServicer):
    """Does what a test tells it to."""

    does: Callable[[], Awaitable[None]]

    async def Check(self, request: Any, context: Any) -> decision_pb2.CheckResponse:  # noqa: N802
        await self.does()
        return decision_pb2.CheckResponse(message=current_principal().application_id)

    async def BatchCheck(self, request: Any, context: Any) -> Any:  # noqa: N802
        raise AssertionError("no test calls this method")

    RegisterEndpoints = Report = BatchCheck

    async def Explain(self, request: Any, context: Any) -> decision_pb2.ExplainResponse:  # noqa: N802
        return decision_pb2.ExplainResponse(matched_path=current_principal().kind)

    async def ListHeadroom(self, request: Any, context: Any) -> headroom_pb2.ListHeadroomResponse:  # noqa: N802
        return headroom_pb2.ListHeadroomResponse()

    async def WatchPlan(self, request: Any, context: Any) -> AsyncIterator[plan_pb2.WatchPlanResponse]:  # noqa: N802
        yield plan_pb2.WatchPlanResponse(revision=1)
        await self.does()


class Bench:
    def __init__(self, rpc: RpcServer, service: Service, channel: grpc.aio.Channel) -> None:
        self.rpc, self.service, self.channel = rpc, service, channel
        self.stub: Any = decision_pb2_grpc.DecisionServiceStub(channel)

    def does(self, error: Exception | None) -> None:
        async def act() -> None:
            if error is not None:
                raise error

        self.service.does = act

    async def fails(self, error: Exception | None, metadata: Any = GOOD) -> grpc.aio.AioRpcError:
        self.does(error)
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await self.stub.Check(decision_pb2.CheckRequest(), metadata=metadata)
        return failure.value


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    control, service = FakeControl(), Service()
    for kind, secret in ((CredentialKind.API_KEY, KEY), (CredentialKind.ADMIN_TOKEN, TOKEN)):
        control.credentials[hash_of(secret)] = Credential(
            "c",
            kind,
            "app-1" if kind is CredentialKind.API_KEY else "",
            "uf",
            hash_of(secret),
            scopes=frozenset({Scope.AGENT}),
            role=Role.VIEWER,
        )
    interceptor = ServiceInterceptor(
        Authenticator(control, ManualClock()),
        CallPolicy(credentials_needed()),
        CallTimes(),
        max_calls=MOST,
    )
    rpc = build_server(interceptor, (DECISION,))
    decision_pb2_grpc.add_DecisionServiceServicer_to_server(service, rpc.handlers)
    port = rpc.server.add_insecure_port("127.0.0.1:0")
    await rpc.server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield Bench(rpc, service, channel)
    await rpc.server.stop(None)


def test_every_method_of_every_service_needs_a_credential() -> None:
    needed = credentials_needed()
    for module in (decision_pb2, admin_pb2, meter_pb2):
        for service in module.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                access = needed[f"/{service.full_name}/{method.name}"]
                assert access.scopes or access.role
    assert {method.split("/")[1] for method in needed} == {DECISION, ADMIN, METER}


async def test_a_good_call_knows_its_caller(bench: Bench) -> None:
    bench.does(None)
    answer = await bench.stub.Check(decision_pb2.CheckRequest(), metadata=GOOD)
    assert answer.message == "app-1"
    admin = (("authorization", f"Bearer {TOKEN}"),)
    explained = await bench.stub.Explain(decision_pb2.ExplainRequest(), metadata=admin)
    assert explained.matched_path == "ADMIN_TOKEN"


async def test_a_call_without_or_with_the_wrong_credential_never_reaches_the_handler(bench: Bench) -> None:
    error = AssertionError("the handler ran")
    assert (await bench.fails(error, ())).code() is grpc.StatusCode.UNAUTHENTICATED
    admin = (("authorization", f"Bearer {TOKEN}"),)
    assert (await bench.fails(error, admin)).code() is grpc.StatusCode.PERMISSION_DENIED
    bench.does(error)
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await bench.stub.WatchPlan(plan_pb2.WatchPlanRequest()).read()
    assert failure.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_full_method_is_shed_and_the_others_go_on(bench: Bench) -> None:
    release, running = asyncio.Event(), asyncio.Semaphore(0)

    async def hold() -> None:
        running.release()
        await release.wait()

    bench.service.does = hold
    held = [bench.stub.Check(decision_pb2.CheckRequest(), metadata=GOOD) for _ in range(MOST)]
    for _ in held:
        await running.acquire()
    shed = await bench.fails(AssertionError("the handler ran"))
    assert shed.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    details = read_details(dict(shed.trailing_metadata())["grpc-status-details-bin"])
    assert (details.reason, details.retry_s) == ("OVERLOADED", 0.25)
    assert await bench.stub.Explain(
        decision_pb2.ExplainRequest(), metadata=(("authorization", f"Bearer {TOKEN}"),)
    )
    watching = bench.stub.WatchPlan(plan_pb2.WatchPlanRequest(), metadata=GOOD)
    assert (await watching.read()).revision == 1
    watching.cancel()
    release.set()
    await asyncio.gather(*held)
    bench.does(None)
    assert await bench.stub.Check(decision_pb2.CheckRequest(), metadata=GOOD)


async def test_what_nobody_foresaw_is_internal_and_leaks_nothing(bench: Bench) -> None:
    failure = await bench.fails(RuntimeError("password=hunter2"))
    assert failure.code() is grpc.StatusCode.INTERNAL
    assert "hunter2" not in f"{failure.details()}{failure.trailing_metadata()}"
    bench.does(RuntimeError("password=hunter2"))
    with pytest.raises(grpc.aio.AioRpcError) as streamed:
        async for _ in bench.stub.WatchPlan(plan_pb2.WatchPlanRequest(), metadata=GOOD):
            pass
    assert streamed.value.code() is grpc.StatusCode.INTERNAL
    assert "hunter2" not in f"{streamed.value.details()}"


async def test_domain_errors_arrive_by_the_table(bench: Bench) -> None:
    failure = await bench.fails(NotFound("no such thing"))
    assert (failure.code(), failure.details()) == (grpc.StatusCode.NOT_FOUND, "no such thing")


async def test_thousands_of_faults_still_arrive(bench: Bench) -> None:
    faults = [Fault(f"policies[{n}].name", "ist nicht gültig ☂" * 10, "correct it") for n in range(5000)]
    failure = await bench.fails(InvalidArgument(faults))
    assert failure.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_health_needs_no_credential_and_follows_the_process(bench: Bench) -> None:
    stub: Any = health_pb2_grpc.HealthStub(bench.channel)
    for healthy, expected in (
        (True, health_pb2.HealthCheckResponse.SERVING),
        (False, health_pb2.HealthCheckResponse.NOT_SERVING),
    ):
        await bench.rpc.serving(healthy=healthy)
        for service in ("", DECISION):
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == expected
