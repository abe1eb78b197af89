"""An edge replica over a snapshot file, in the test's own loop, asked over a real channel."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

import grpc.aio
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from tests.integration.conftest import Running
from tests.integration.test_decisions import read
from tools.snapshots import SnapshotWriter
from usageflow.domain.errors import FailedPrecondition
from usageflow.runtime.edge import Edge, compose_edge
from usageflow.runtime.telemetry import set_up_metrics
from usageflow.v1 import (
    admin_pb2,
    admin_pb2_grpc,
    common_pb2,
    decision_pb2,
    decision_pb2_grpc,
    headroom_pb2,
    meter_pb2,
    meter_pb2_grpc,
    plan_pb2,
    usage_pb2,
)

ORDERS = common_pb2.Endpoint(method="POST", template="/orders/{id}")


def policies(number: int) -> str:
    return f"""
version: 1
application: demo
strategies:
  - {{name: by-user, sources: [{{in: header, name: X-User}}]}}
policies:
  - name: orders
    match: {{methods: [POST], path: "/orders/:id"}}
    strategy: by-user
    limits: [{{limit: {number}, window: 1h}}]
"""


@dataclass
class Replica:
    """A running replica, and the files that it follows."""

    edge: Edge
    writer: SnapshotWriter
    path: Path
    channel: grpc.aio.Channel

    def __post_init__(self) -> None:
        stub = decision_pb2_grpc.DecisionServiceStub(self.channel)
        self.decision = cast("decision_pb2_grpc.DecisionServiceAsyncStub", stub)
        self.as_app = (("authorization", f"Bearer {self.writer.api_key}"),)

    async def check(self, user: str = "alice", **fields: object) -> decision_pb2.CheckResponse:
        header = common_pb2.Attribute(
            location=common_pb2.ATTRIBUTE_LOCATION_HEADER, name="X-User", value=user
        )
        request = decision_pb2.HttpRequest(method="POST", path="/orders/7", attributes=[header])
        message = decision_pb2.CheckRequest(request=request, **fields)  # type: ignore[arg-type]
        return await self.decision.Check(message, metadata=self.as_app)

    async def replace(self, number: int) -> None:
        """Replaces the file; the next poll finds it."""
        await self.writer.write_soon(policies(number), self.path)
        await self.edge.decision.snapshots.refresh()


@pytest.fixture
async def replica(tmp_path: Path) -> AsyncIterator[Replica]:
    writer, path = SnapshotWriter(tmp_path / "data"), tmp_path / "demo.json"
    await writer.write_soon(policies(2), path)
    metrics = set_up_metrics()
    edge = compose_edge(path, metrics)
    await edge.load()
    port = edge.rpc.server.add_insecure_port("127.0.0.1:0")
    tasks = edge.background()
    await edge.rpc.server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield Replica(edge, writer, path, channel)
    await edge.drain(0.5)
    for task in tasks:
        task.cancel()
    metrics.provider.shutdown()


def reason(error: grpc.aio.AioRpcError) -> str:
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    assert status is not None
    info = error_details_pb2.ErrorInfo()
    status.details[0].Unpack(info)
    return str(info.reason)


async def test_it_decides_by_the_file(replica: Replica) -> None:
    answers = [await replica.check() for _ in range(3)]
    assert [item.decision for item in answers] == [
        common_pb2.DECISION_ALLOW,
        common_pb2.DECISION_ALLOW,
        common_pb2.DECISION_DENY,
    ]
    assert (await replica.check("bob")).decision == common_pb2.DECISION_ALLOW


async def test_a_replaced_file_is_followed_and_watchers_hear_of_it(replica: Replica) -> None:
    stream = replica.decision.WatchPlan(plan_pb2.WatchPlanRequest(), metadata=replica.as_app)
    first = await read(stream)
    await replica.replace(50)
    second = await asyncio.wait_for(read(stream), 5)
    assert second.plan_version > first.plan_version
    assert (await replica.check()).limits[0].limit == 50
    stream.cancel()


async def test_a_broken_file_changes_nothing(replica: Replica) -> None:
    replica.path.write_text("{")
    await replica.edge.decision.snapshots.refresh()
    assert (await replica.check()).limits[0].limit == 2
    await replica.replace(5)
    assert (await replica.check()).limits[0].limit == 5


async def test_what_does_not_compile_is_not_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise ValueError("no")

    path = await SnapshotWriter(tmp_path / "data").write_soon(policies(2), tmp_path / "demo.json")
    monkeypatch.setattr("decision.snapshots.compile_snapshot", refuse)
    metrics = set_up_metrics()
    with pytest.raises(FailedPrecondition, match="does not compile"):
        await compose_edge(path, metrics).load()
    metrics.provider.shutdown()


async def test_unknown_routes_have_no_number_and_are_checked_by_name(replica: Replica) -> None:
    answer = await replica.decision.RegisterEndpoints(
        plan_pb2.RegisterEndpointsRequest(endpoints=[ORDERS]), metadata=replica.as_app
    )
    assert (answer.endpoints[0].number, answer.endpoints[0].endpoint) == (0, ORDERS)
    assert not answer.endpoints[0].HasField("status")


async def test_usage_is_refused_and_reservations_are_settled(replica: Replica) -> None:
    held = await replica.check(cost=2, reserve=decision_pb2.ReservationWish())
    settlement = usage_pb2.Settlement(reservation_id=held.reservation.reservation_id, actual=1)
    event = usage_pb2.UsageEvent(event_id="e", endpoint=ORDERS, status=200)
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await replica.decision.Report(
            usage_pb2.ReportRequest(events=[event], settlements=[settlement]), metadata=replica.as_app
        )
    assert (error.value.code(), reason(error.value)) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "NO_USAGE_STORE",
    )
    assert (await replica.check()).limits[0].remaining == 0
    answer = await replica.decision.Report(
        usage_pb2.ReportRequest(settlements=[settlement]), metadata=replica.as_app
    )
    assert not answer.errors


async def test_what_an_edge_replica_does_not_offer_says_so(replica: Replica) -> None:
    explain = partial(replica.decision.Explain, decision_pb2.ExplainRequest())
    headroom = partial(replica.decision.ListHeadroom, headroom_pb2.ListHeadroomRequest())
    for ask, metadata in ((explain, replica.as_app), (explain, ()), (headroom, replica.as_app)):
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await ask(metadata=metadata)
        assert (error.value.code(), reason(error.value)) == (
            grpc.StatusCode.FAILED_PRECONDITION,
            "NOT_OFFERED",
        )
        assert "a service with a database" in str(error.value.details())
    admin = cast("admin_pb2_grpc.AdminServiceAsyncStub", admin_pb2_grpc.AdminServiceStub(replica.channel))
    meter = cast("meter_pb2_grpc.MeterServiceAsyncStub", meter_pb2_grpc.MeterServiceStub(replica.channel))
    for call in (admin.Apply(admin_pb2.ApplyRequest()), meter.ListPending(meter_pb2.ListPendingRequest())):
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await call
        assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_service_exports_what_a_replica_reads(service: Running, tmp_path: Path) -> None:
    request = admin_pb2.ExportSnapshotRequest(application="demo")
    pieces = [piece async for piece in service.admin.ExportSnapshot(request, metadata=service.as_admin)]
    path = tmp_path / "demo.json"
    path.write_bytes(b"".join(piece.data for piece in pieces))
    metrics = set_up_metrics()
    edge = compose_edge(path, metrics)
    await edge.load()
    (application_id,) = await edge.source.plan_versions()
    plan = edge.decision.snapshots.plan(application_id)
    assert plan is not None
    central = service.embedded.decision.snapshots.plan(application_id)
    assert central is not None
    assert (plan.snapshot.revision, plan.snapshot.plan_version, plan.snapshot.hash_key) == (
        pieces[0].revision,
        central.snapshot.plan_version,
        central.snapshot.hash_key,
    )
    assert plan.snapshot.policies == central.snapshot.policies
    metrics.provider.shutdown()
    with pytest.raises(grpc.aio.AioRpcError) as error:
        async for _ in service.admin.ExportSnapshot(request, metadata=service.as_app):
            pass
    assert error.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_an_edge_evaluates_conditions_and_costs(replica: Replica) -> None:
    conditional = f"""{policies(9)}
    condition: request.headers["x-user"] != "free"
    cost: size(request.path)
"""
    await replica.writer.write_soon(conditional, replica.path)
    await replica.edge.decision.snapshots.refresh()
    paid = await replica.check()
    assert [(item.cost, item.remaining) for item in paid.limits] == [(len("/orders/7"), 0)]
    assert not (await replica.check("free")).limits
