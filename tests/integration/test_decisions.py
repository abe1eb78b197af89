from __future__ import annotations

import asyncio
from typing import Any

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from admin.handler import AdminHandler
from decision.handler import DecisionHandler
from meter.handler import MeterHandler
from tests.integration.conftest import Running
from usageflow.v1 import (
    admin_pb2,
    analytics_pb2,
    common_pb2,
    decision_pb2,
    meter_pb2,
    plan_pb2,
    policies_pb2,
    usage_pb2,
)


def check(
    user: str = "", method: str = "POST", path: str = "/api/transactions", **more: Any
) -> decision_pb2.CheckRequest:
    attributes = []
    if user:
        attributes.append(
            common_pb2.Attribute(location=common_pb2.ATTRIBUTE_LOCATION_HEADER, name="x-user-id", value=user)
        )
    request = decision_pb2.HttpRequest(method=method, path=path, attributes=attributes, client_ip="192.0.2.1")
    return decision_pb2.CheckRequest(request=request, **more)


def fields_of(error: grpc.aio.AioRpcError) -> list[str]:
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    assert status is not None
    for detail in status.details:
        if detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            violations = error_details_pb2.BadRequest()
            detail.Unpack(violations)
            return [violation.field for violation in violations.field_violations]
    return []


async def read(
    stream: grpc.aio.UnaryStreamCall[Any, plan_pb2.WatchPlanResponse],
) -> plan_pb2.WatchPlanResponse:
    """Returns the stream's next plan."""
    plan = await stream.read()
    assert isinstance(plan, plan_pb2.WatchPlanResponse)
    return plan


async def test_exactly_one_hundred_of_concurrent_checks_are_allowed(service: Running) -> None:
    answers = await asyncio.gather(
        *(service.decision.Check(check("alice"), metadata=service.as_app) for _ in range(150))
    )
    allowed = [answer for answer in answers if answer.decision == common_pb2.DECISION_ALLOW]
    denied = [answer for answer in answers if answer.decision == common_pb2.DECISION_DENY]
    assert len(allowed) == 100
    assert {answer.reason for answer in denied} == {common_pb2.REASON_LIMIT_EXCEEDED}
    assert all(3590 <= answer.retry_after.ToSeconds() <= 3600 for answer in denied)
    other = await service.decision.Check(check("bob"), metadata=service.as_app)
    assert other.decision == common_pb2.DECISION_ALLOW
    assert other.limits[0].remaining == 99


async def test_a_denial_leaves_the_sibling_limit_untouched(service: Running) -> None:
    answers = [await service.decision.Check(check("alice"), metadata=service.as_app) for _ in range(103)]
    answer = answers[-1]
    ceiling = next(limit for limit in answer.limits if limit.policy == "everything")
    assert ceiling.limit - ceiling.remaining == 100


async def test_a_batch_by_numbers_decides_like_checks_by_name(service: Running) -> None:
    registered = await service.decision.RegisterEndpoints(
        plan_pb2.RegisterEndpointsRequest(
            endpoints=[
                common_pb2.Endpoint(method="POST", template="/api/transactions"),
                common_pb2.Endpoint(method="GET", template="/api/users/<int:user_id>"),
                common_pb2.Endpoint(method="GET", template="no-slash"),
            ]
        ),
        metadata=service.as_app,
    )
    transactions, users, refused = registered.endpoints
    assert users.endpoint.template == "/api/users/{user_id}"
    assert refused.status.field == "template"
    stream = service.decision.WatchPlan(plan_pb2.WatchPlanRequest(), metadata=service.as_app)
    plan = await read(stream)
    endpoint = next(item for item in plan.endpoints if item.number == transactions.number)
    assert endpoint.action == plan_pb2.PLAN_ACTION_CHECK
    assert [plan.attributes[0].name] == ["x-user-id"]
    item = decision_pb2.CheckItem(
        endpoint_number=transactions.number,
        values=[decision_pb2.AttributeValue(text="alice")],
        client_ip="192.0.2.1",
    )
    bad = decision_pb2.CheckItem(endpoint_number=99_999)
    response = await service.decision.BatchCheck(
        decision_pb2.BatchCheckRequest(plan_version=plan.plan_version, items=[item, bad, item]),
        metadata=service.as_app,
    )
    first, faulty, second = response.results
    assert faulty.status.code == common_pb2.ITEM_CODE_INVALID_ARGUMENT
    assert faulty.status.field == "endpoint_number"
    assert [first.limits[0].remaining, second.limits[0].remaining] == [99, 98]
    by_name = await service.decision.Check(check("alice"), metadata=service.as_app)
    assert by_name.limits[0].remaining == 97
    stream.cancel()


async def test_a_plan_from_the_future_is_unknown(service: Running) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await service.decision.BatchCheck(
            decision_pb2.BatchCheckRequest(plan_version=10_000), metadata=service.as_app
        )
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    status = rpc_status.from_call(caught.value)  # type: ignore[arg-type]
    info = error_details_pb2.ErrorInfo()
    assert status is not None
    assert status.details[0].Unpack(info)
    assert info.reason == "PLAN_UNKNOWN"


async def test_an_apply_reaches_watchers_and_decisions_within_a_second(service: Running) -> None:
    stream = service.decision.WatchPlan(plan_pb2.WatchPlanRequest(), metadata=service.as_app)
    before = await read(stream)
    policy = policies_pb2.Policy(
        name="closed",
        match=policies_pb2.Match(path="/closed"),
        limits=[policies_pb2.Limit(limit=1, scope=policies_pb2.LIMIT_SCOPE_SHARED)],
    )
    policy.limits[0].window.FromSeconds(60)
    applied = await service.admin.Apply(
        admin_pb2.ApplyRequest(application="demo", policies=[policy]), metadata=service.as_admin
    )
    async with asyncio.timeout(1):
        after = await read(stream)
    assert (before.revision, after.revision, applied.revision) == (1, 2, 2)
    assert [item.name for item in after.policies] == ["closed"]
    answer = await service.decision.Check(check("alice"), metadata=service.as_app)
    assert answer.revision == 2
    assert answer.reason == common_pb2.REASON_NO_POLICY
    stream.cancel()


async def test_a_refused_apply_names_every_field_and_changes_nothing(service: Running) -> None:
    policies = [
        policies_pb2.Policy(name="Bad Name", match=policies_pb2.Match(path="/x")),
        policies_pb2.Policy(
            name="ok", match=policies_pb2.Match(path="/x"), limits=[policies_pb2.Limit(limit=0)]
        ),
    ]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await service.admin.Apply(
            admin_pb2.ApplyRequest(application="demo", policies=policies), metadata=service.as_admin
        )
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert fields_of(caught.value) == [
        "policies[0].name",
        "policies[1].limits[0].limit",
        "policies[1].limits[0].window",
    ]
    state = await service.embedded.control.find_application("demo")
    assert state is not None
    assert state.revision == 1


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        (None, grpc.StatusCode.UNAUTHENTICATED),
        ("Bearer nonsense", grpc.StatusCode.UNAUTHENTICATED),
        ("Basic dXNlcg==", grpc.StatusCode.UNAUTHENTICATED),
        ("Bearer uf_test_OMlyPbtQEJQqpEB1GSYHPNry6GN7aLPsa8AxAR9HtcW3zHHTs", grpc.StatusCode.UNAUTHENTICATED),
    ],
)
async def test_unknown_keys_are_unauthenticated(
    service: Running, authorization: str | None, code: grpc.StatusCode
) -> None:
    metadata = (("authorization", authorization),) if authorization else ()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await service.decision.Check(check("alice"), metadata=metadata)
    assert caught.value.code() is code


async def test_each_service_wants_its_own_kind_of_credential(service: Running) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await service.admin.Apply(admin_pb2.ApplyRequest(application="demo"), metadata=service.as_app)
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await service.decision.Check(check("alice"), metadata=service.as_admin)
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_another_application_is_not_ours_to_ask_for(service: Running) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await service.decision.Check(check("alice", application="other"), metadata=service.as_app)
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await service.admin.QueryUsage(
            analytics_pb2.QueryUsageRequest(application="other"), metadata=service.as_admin
        )
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (check(method="GET POST"), "method"),
        (check(path="no-slash"), "path"),
        (check(path="/%zz"), "path"),
        (check(path="/" + "x" * 9000), "path"),
        (check(cost=-1), "cost"),
        (check(cost=10**13), "cost"),
        (check(request_id="x" * 65), "request_id"),
    ],
)
async def test_a_field_out_of_bounds_is_named(
    service: Running, request_: decision_pb2.CheckRequest, field: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await service.decision.Check(request_, metadata=service.as_app)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert fields_of(caught.value) == [field]


async def test_explain_takes_nothing(service: Running) -> None:
    request = decision_pb2.ExplainRequest(application="demo", request=check("alice").request)
    await service.decision.Explain(request, metadata=service.as_admin)
    explained = await service.decision.Explain(request, metadata=service.as_admin)
    assert explained.limits[0].remaining_before == 100
    assert explained.limits[0].after.remaining == 99
    assert explained.identity_source == "header X-User-Id"
    assert {item.policy for item in explained.policies if item.applies} >= {"transactions", "everything"}


async def test_a_block_beats_everything(service: Running) -> None:
    block = policies_pb2.Block(methods=["*"], path="/api/*", identity="mallory", reason="abuse")
    request = admin_pb2.ApplyRequest(application="demo", blocks=[block])
    for policy in ("transactions",):
        request.policies.add(
            name=policy, match=policies_pb2.Match(path="/api/transactions"), strategy="by-user"
        )
    source = policies_pb2.Source(location=common_pb2.ATTRIBUTE_LOCATION_HEADER, name="X-User-Id")
    request.strategies.add(name="by-user", sources=[source])
    await service.admin.Apply(request, metadata=service.as_admin)
    await service.embedded.decision.snapshots.refresh()
    denied = await service.decision.Check(check("mallory"), metadata=service.as_app)
    assert (denied.decision, denied.reason) == (common_pb2.DECISION_DENY, common_pb2.REASON_BLOCKED)
    allowed = await service.decision.Check(check("alice"), metadata=service.as_app)
    assert allowed.decision == common_pb2.DECISION_ALLOW


async def test_a_reservation_is_settled_once(service: Running) -> None:
    request = check("alice", cost=40)
    request.reserve.hold.FromSeconds(60)
    granted = await service.decision.Check(request, metadata=service.as_app)
    assert granted.reservation.amount == 40
    report = service.decision.Report
    for _ in range(2):
        settlement = usage_pb2.Settlement(reservation_id=granted.reservation.reservation_id, actual=10)
        response = await report(usage_pb2.ReportRequest(settlements=[settlement]), metadata=service.as_app)
        assert not response.errors
    after = await service.decision.Check(check("alice"), metadata=service.as_app)
    assert after.limits[0].remaining == 89


async def test_any_message_ends_in_an_answer_or_a_typed_error(service: Running) -> None:
    text = st.text(max_size=40)
    found: list[decision_pb2.CheckRequest] = []

    @settings(max_examples=300, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
    @given(text, text, text, text, text, st.integers(-(2**63), 2**63 - 1), st.integers(0, 20))
    def collect(method: str, path: str, route: str, name: str, ip: str, cost: int, location: int) -> None:
        attribute = common_pb2.Attribute(name=name, value=path)
        attribute.location = location  # type: ignore[assignment]
        request = decision_pb2.HttpRequest(
            method=method or "GET", path="/" + path, route=route, client_ip=ip, attributes=[attribute]
        )
        found.append(decision_pb2.CheckRequest(request=request, cost=cost if cost % 3 else 0))

    collect()
    codes = set()
    for request in found:
        try:
            await service.decision.Check(request, metadata=service.as_app)
        except grpc.aio.AioRpcError as error:
            codes.add(error.code())
    assert codes == {grpc.StatusCode.INVALID_ARGUMENT}


async def test_health_and_reflection_need_no_credential(service: Running) -> None:
    health: Any = health_pb2_grpc.HealthStub(service.channel)
    for name in (
        "",
        "usageflow.v1.DecisionService",
        "usageflow.v1.AdminService",
        "usageflow.v1.MeterService",
    ):
        answer = await health.Check(health_pb2.HealthCheckRequest(service=name))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    make_stub: Any = reflection_pb2_grpc.ServerReflectionStub
    stub = make_stub(service.channel)
    stream = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
    names = {
        item.name for response in [await stream.read()] for item in response.list_services_response.service
    }
    assert "usageflow.v1.DecisionService" in names


def test_every_method_is_implemented() -> None:
    """No method of the contract ends in UNIMPLEMENTED."""
    for handler, module in (
        (DecisionHandler, decision_pb2),
        (AdminHandler, admin_pb2),
        (MeterHandler, meter_pb2),
    ):
        (service,) = module.DESCRIPTOR.services_by_name.values()
        for method in service.methods:
            made = getattr(handler, method.name, None)
            assert made is not None, method.full_name
            assert "Servicer." not in made.__qualname__, method.full_name  # what the stubs answer
