"""Overrides through the whole service: a file is applied, and answers by name and by number follow it."""

from __future__ import annotations

from tests.integration.conftest import Running
from usageflow.cli.convert import apply_request
from usageflow.expressions import check
from usageflow.policyfile import load
from usageflow.v1 import admin_pb2, common_pb2, decision_pb2

FILE = """
version: 1
application: demo
strategies:
  - {name: by-user, sources: [{in: header, name: X-User}]}
policies:
  - {name: p, match: {path: /a}, strategy: by-user, limits: [{name: hourly, limit: 2, window: 1h}]}
plans:
  - {name: pro, overrides: [{policy: p, limit_name: hourly, limit: 10}]}
"""
CUSTOMERS = """
customers:
  - name: acme
    identities: [ann, bob, cid]
    plan: pro
    overrides:
      - {policy: p, limit_name: hourly, limit: 50, identity: bob}
      - {policy: p, limit_name: hourly, limit: 70, identity: cid, expires: 2001-01-01T00:00:00Z}
"""


async def apply(service: Running, text: str, *, prune: bool = False) -> admin_pb2.ApplyResponse:
    request = apply_request(load(text, filename="f.yaml", check=check), prune=prune, dry_run=False)
    answer = await service.admin.Apply(request, metadata=service.as_admin)
    await service.embedded.decision.snapshots.refresh()
    return answer


def asked(user: str) -> decision_pb2.HttpRequest:
    header = common_pb2.Attribute(location=common_pb2.ATTRIBUTE_LOCATION_HEADER, name="X-User", value=user)
    return decision_pb2.HttpRequest(method="GET", path="/a", attributes=[header])


async def limit_of(service: Running, user: str) -> tuple[int, int]:
    request = decision_pb2.CheckRequest(request=asked(user))
    answer = await service.decision.Check(request, metadata=service.as_app)
    return answer.limits[0].limit, answer.limits[0].remaining


async def test_a_customer_is_decided_by_override_and_plan(service: Running) -> None:
    first = await apply(service, FILE)
    assert await limit_of(service, "ann") == (2, 1)
    second = await apply(service, FILE + CUSTOMERS)
    assert (second.revision, [each.kind for each in second.changes]) == (first.revision, ["customer"])
    assert await limit_of(service, "ann") == (10, 8)
    assert await limit_of(service, "bob") == (50, 49)
    assert await limit_of(service, "cid") == (10, 9)
    assert await limit_of(service, "eve") == (2, 1)
    await apply(service, FILE, prune=True)
    assert await limit_of(service, "ann") == (2, 0)


async def test_slim_answers_and_explain_tell_the_limit_in_force(service: Running) -> None:
    await apply(service, FILE + CUSTOMERS)
    items = [decision_pb2.CheckItem(request=asked(user)) for user in ("bob", "eve")]
    batch = await service.decision.BatchCheck(
        decision_pb2.BatchCheckRequest(items=items), metadata=service.as_app
    )
    assert [result.limits[0].limit for result in batch.results] == [50, 0]
    for user, source in (("bob", "override of customer acme for this identity"), ("cid", "plan pro")):
        explained = await service.decision.Explain(
            decision_pb2.ExplainRequest(application="demo", request=asked(user)), metadata=service.as_admin
        )
        assert explained.limits[0].source == source
