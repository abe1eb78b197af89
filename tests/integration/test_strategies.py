"""Strategies through the whole service: declared, planned, asked by name and by number."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from tests.integration.conftest import Running
from tests.unit.tokens import jwt_source, token
from usageflow.cli.convert import apply_request
from usageflow.policyfile import load
from usageflow.v1 import admin_pb2, common_pb2, decision_pb2, plan_pb2

FILE = """
version: 1
application: demo
strategies:
  - name: by-member
    sources:
      - join: [{in: header, name: X-Tenant}, SOURCE]
      - {in: cookie, name: sid}
      - {in: path, name: account}
      - {in: client_ip}
    on_missing: DENY
policies:
  - {name: p, match: {path: /a/:account}, strategy: by-member, limits: [{limit: 2, window: 1h}]}
"""


def declared(**fields: Any) -> admin_pb2.ApplyRequest:
    import json

    text = FILE.replace("SOURCE", json.dumps(jwt_source(**fields)))
    return apply_request(load(text, filename="f.yaml"), prune=False, dry_run=False)


async def apply(service: Running, **fields: Any) -> admin_pb2.ApplyResponse:
    answer = await service.admin.Apply(declared(**fields), metadata=service.as_admin)
    await service.embedded.decision.snapshots.refresh()
    return answer


def fresh(**claims: Any) -> str:
    return token(exp=int(time.time()) + 600, **claims)


def attribute(location: str, name: str, value: str) -> common_pb2.Attribute:
    number = common_pb2.AttributeLocation.Value(f"ATTRIBUTE_LOCATION_{location}")
    return common_pb2.Attribute(location=number, name=name, value=value)


async def who(service: Running, *attributes: common_pb2.Attribute, client_ip: str = "") -> str:
    request = decision_pb2.HttpRequest(
        method="GET", path="/a/7", attributes=attributes, client_ip=client_ip, route="/a/{id}"
    )
    answer = await service.decision.Check(decision_pb2.CheckRequest(request=request), metadata=service.as_app)
    return answer.identity or common_pb2.Reason.Name(answer.reason)


TENANT = attribute("HEADER", "X-Tenant", "acme")


async def test_the_first_source_that_is_present_and_verified_wins(service: Running) -> None:
    await apply(service)
    bearer = fresh()
    assert await who(service, TENANT, attribute("JWT_CLAIM", "sub", bearer)) == "acme:alice"
    assert (
        await who(service, TENANT, attribute("HEADER", "Authorization", f"Bearer {bearer}")) == "acme:alice"
    )
    cookie = attribute("COOKIE", "sid", "s1")
    for bad in (token(), fresh(iss="https://other.example"), fresh(kid="k2"), bearer[:-4] + "AAAA", "a.b.c"):
        found = await who(service, TENANT, attribute("JWT_CLAIM", "bearer", bad), cookie)
        assert found.startswith("hash:"), "a token that does not verify is missing"
    assert await who(service, attribute("PATH_PARAMETER", "account", "7")) == "7"
    assert await who(service, client_ip="2001:db8::1") == "2001:db8::/64"
    assert await who(service) == "REASON_IDENTITY_REQUIRED"


async def test_a_plan_asks_for_the_token_and_a_batch_brings_it(service: Running) -> None:
    await apply(service, **{"from": "cookie:session"})
    await service.decision.RegisterEndpoints(
        plan_pb2.RegisterEndpointsRequest(
            endpoints=[common_pb2.Endpoint(method="GET", template="/a/{account}")]
        ),
        metadata=service.as_app,
    )
    await service.embedded.decision.snapshots.refresh()
    plans = service.decision.WatchPlan(plan_pb2.WatchPlanRequest(), metadata=service.as_app)
    plan = await plans.read()
    assert isinstance(plan, plan_pb2.WatchPlanResponse)
    plans.cancel()
    asked = {item.number: item for item in plan.attributes}
    (endpoint,) = [item for item in plan.endpoints if item.endpoint.template == "/a/{account}"]
    sent = {"x-tenant": "acme", "cookie:session": fresh(), "account": "7"}
    values = [
        decision_pb2.AttributeValue(text=sent[asked[number].name]) if asked[number].name in sent else None
        for number in endpoint.attributes
    ]
    item = decision_pb2.CheckItem(
        endpoint_number=endpoint.number,
        values=[value or decision_pb2.AttributeValue() for value in values],
    )
    answer = await service.decision.BatchCheck(
        decision_pb2.BatchCheckRequest(plan_version=plan.plan_version, items=[item] * 3),
        metadata=service.as_app,
    )
    assert [result.identity.value for result in answer.results] == ["acme:alice"] * 3
    assert [result.decision for result in answer.results].count(common_pb2.DECISION_ALLOW) == 2
    tokens = [each for each in plan.attributes if each.location == common_pb2.ATTRIBUTE_LOCATION_JWT_CLAIM]
    assert [(each.name, each.sensitive) for each in tokens] == [("cookie:session", False)]


async def test_no_token_is_kept(service: Running, tmp_path: Path) -> None:
    await apply(service)
    secret = fresh()
    await who(service, TENANT, attribute("JWT_CLAIM", "bearer", secret))
    await service.embedded.decision.checkpointer.save()
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file())
    assert b"acme:alice" in stored
    assert secret.rsplit(".", 1)[1].encode() not in stored


async def test_applying_the_same_sources_again_changes_nothing(service: Running) -> None:
    first = await apply(service)
    again = await apply(service)
    assert (again.revision, list(again.changes)) == (first.revision, [])


async def test_an_unset_or_nested_join_is_refused_with_its_path(service: Running) -> None:
    request = declared()
    request.strategies[0].sources[0].join[0].join.add().name = "x"
    request.strategies[0].sources.add().name = "nowhere"
    with pytest.raises(grpc.aio.AioRpcError, match=r"strategies\[0\].sources"):
        await service.admin.Apply(request, metadata=service.as_admin)
