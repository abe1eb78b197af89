"""Conditions and costs through the whole service: declared, planned, asked by name and by number, explained, refused."""

from __future__ import annotations

import grpc.aio
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from tests.integration.conftest import Running
from usageflow.cli.convert import apply_request
from usageflow.expressions import check
from usageflow.policyfile import load
from usageflow.v1 import admin_pb2, common_pb2, decision_pb2, plan_pb2

FILE = """
version: 1
application: demo
policies:
  - name: gold
    match: {path: /chat/:room}
    condition: request.headers["X-Tier"] == "gold"
    cost: double(request.body.max_tokens) / 1000.0
    stop: true
    limits: [{limit: 100, window: 1h, scope: SHARED}]
  - name: others
    match: {path: /chat/*}
    limits: [{limit: 5, window: 1h, scope: SHARED}]
"""
ROUTE = "/chat/{room}"


def declared() -> admin_pb2.ApplyRequest:
    return apply_request(load(FILE, filename="f.yaml", check=check), prune=False, dry_run=False)


async def apply(service: Running) -> None:
    await service.admin.Apply(declared(), metadata=service.as_admin)
    await service.decision.RegisterEndpoints(
        plan_pb2.RegisterEndpointsRequest(endpoints=[common_pb2.Endpoint(method="POST", template=ROUTE)]),
        metadata=service.as_app,
    )
    await service.embedded.decision.snapshots.refresh()


def described(tier: str, tokens: str) -> decision_pb2.HttpRequest:
    return decision_pb2.HttpRequest(
        method="POST",
        route=ROUTE,
        path="/chat/1",
        attributes=[
            common_pb2.Attribute(location=common_pb2.ATTRIBUTE_LOCATION_HEADER, name="x-tier", value=tier),
            common_pb2.Attribute(
                location=common_pb2.ATTRIBUTE_LOCATION_BODY_JSON, name="max_tokens", value=tokens
            ),
        ],
    )


async def asked(service: Running, tier: str, tokens: str) -> list[tuple[str, int, int]]:
    question = decision_pb2.CheckRequest(request=described(tier, tokens))
    answer = await service.decision.Check(question, metadata=service.as_app)
    return [(item.policy, item.cost, item.remaining) for item in answer.limits]


async def test_a_condition_and_a_cost_decide_by_name_and_by_number(service: Running) -> None:
    await apply(service)
    assert await asked(service, "gold", "2500") == [("gold", 3, 97)]
    assert await asked(service, "silver", "2500") == [("others", 1, 4)]
    plans = service.decision.WatchPlan(plan_pb2.WatchPlanRequest(), metadata=service.as_app)
    plan = await plans.read()
    assert isinstance(plan, plan_pb2.WatchPlanResponse)
    plans.cancel()
    named = {item.number: (item.location, item.name, item.sensitive) for item in plan.attributes}
    (endpoint,) = [item for item in plan.endpoints if item.endpoint.template == ROUTE]
    sent = {
        (common_pb2.ATTRIBUTE_LOCATION_HEADER, "x-tier", False): "gold",
        (common_pb2.ATTRIBUTE_LOCATION_BODY_JSON, "max_tokens", False): "10000",
    }
    assert {named[number] for number in endpoint.attributes} == set(sent)
    item = decision_pb2.CheckItem(
        endpoint_number=endpoint.number,
        values=[decision_pb2.AttributeValue(text=sent[named[number]]) for number in endpoint.attributes],
    )
    answer = await service.decision.BatchCheck(
        decision_pb2.BatchCheckRequest(plan_version=plan.plan_version, items=[item]), metadata=service.as_app
    )
    assert [state.remaining for state in answer.results[0].limits] == [87]


async def test_what_cannot_be_evaluated_costs_1_and_is_explained(service: Running) -> None:
    await apply(service)
    assert await asked(service, "gold", '"many"') == [("gold", 1, 99)]
    explained = await service.decision.Explain(
        decision_pb2.ExplainRequest(application="demo", request=described("silver", "1")),
        metadata=service.as_admin,
    )
    because = {item.policy: item.because for item in explained.policies}
    assert because["gold"] == "its condition is false"
    explained = await service.decision.Explain(
        decision_pb2.ExplainRequest(application="demo", request=described("gold", '"many"')),
        metadata=service.as_admin,
    )
    because = {item.policy: item.because for item in explained.policies}
    assert "its cost failed: cannot convert string to double; it costs 1" in because["gold"]
    assert because["others"] == "a more specific policy says stop"


async def test_the_service_refuses_a_bad_expression_with_its_place(service: Running) -> None:
    request = declared()
    request.policies[1].condition = "request.headers[request.path] == 'x'"
    request.policies[1].cost_expression = "nobody"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await service.admin.Apply(request, metadata=service.as_admin)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    status = rpc_status.from_call(caught.value)  # type: ignore[arg-type]
    bad = error_details_pb2.BadRequest()
    assert status is not None
    assert any(detail.Unpack(bad) for detail in status.details)
    assert [violation.field for violation in bad.field_violations] == [
        "policies[1].condition",
        "policies[1].cost",
    ]
    assert "line 1, column 1" in bad.field_violations[0].description
