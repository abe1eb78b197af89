from __future__ import annotations

import json
import time
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from usageflow.cli.customer import sparkline
from usageflow.v1 import billing_pb2, common_pb2
from usageflow.v1.analytics_pb2 import QueryUsageRequest, QueryUsageResponse, UsageRow
from usageflow.v1.directory_methods_pb2 import ListBlocksResponse
from usageflow.v1.headroom_pb2 import IdentityHeadroom, LimitHeadroom, ListHeadroomResponse
from usageflow.v1.policies_pb2 import Block, Customer

ACME = Customer(name="acme", plan="pro", stripe_customer="cus_1", identities=["hash:aa", "hash:bb"])
HOURLY = LimitHeadroom(
    policy="transactions",
    limit_name="hourly",
    path="/api/*",
    limit=100,
    used=45,
    remaining=55,
    percent=45,
    reset=Duration(seconds=1500),
    source="plan pro",
)


def usage(request: QueryUsageRequest) -> QueryUsageResponse:
    if request.interval:
        hour = int(time.time()) // 3600 * 3600
        return QueryUsageResponse(rows=[UsageRow(time=Timestamp(seconds=hour), requests=8)])
    row = UsageRow(
        endpoint=common_pb2.Endpoint(method="POST", template="/api/x"), requests=10, errors=1, units="9"
    )
    return QueryUsageResponse(rows=[row], total=row)


@pytest.fixture
def acme(service: Any) -> Any:
    service.will("GetCustomer", ACME)
    service.will("QueryUsage", usage, usage, usage)
    untouched = LimitHeadroom(policy="daily", limit=1000, remaining=1000, path="*", source="policy")
    room = IdentityHeadroom(identity="user-1", customer="acme", limits=[HOURLY, untouched])
    service.will("ListHeadroom", ListHeadroomResponse(identities=[room], left_out=2))
    blocks = [Block(methods=["*"], path="/x/*", identity="hash:bb", reason="abuse"), Block(path="/y")]
    service.will("ListBlocks", ListBlocksResponse(blocks=blocks))
    line = billing_pb2.BillLine(
        target=billing_pb2.BillingTarget(price="price_1"), sent="1", open="6.5", amount="750", currency="eur"
    )
    service.will("GetBillPreview", billing_pb2.BillPreview(customer="acme", lines=[line]))
    return service


def test_everything_is_on_one_page(run: Any, acme: Any) -> None:
    result = run("customer", "acme")
    assert result.exit_code == 0, result.output
    text = result.stdout
    assert "acme   plan pro   Stripe cus_1" in text
    assert "hash:aa, hash:bb" in text
    assert "1 (10.0 %)" in text
    assert "POST /api/x" in text
    assert "█████████░░░░░░░░░░░  45 %  45 of 100  transactions/hourly" in text
    assert "(/api/*, plan pro, of user-1, resets in 25 min)" in text
    assert "not shown: 0 more in use, 1 untouched" in text
    assert "2 more identities are not shown" in text
    assert "* /x/* for hash:bb: abuse" in text
    assert "/y" not in text
    assert "price_1" in text
    assert "6.5" in text
    assert "750 eur" in text
    assert not result.stderr
    assert all(request.customer == "acme" for request in acme.requests if hasattr(request, "customer"))
    asked = [request for request in acme.requests if isinstance(request, QueryUsageRequest)]
    assert all(list(request.filter.customers) == ["acme"] for request in asked)


def test_the_same_as_json(run: Any, acme: Any) -> None:
    document = json.loads(run("customer", "acme", "--output", "json").stdout)
    assert document["customer"]["plan"] == "pro"
    assert (document["today"]["requests"], document["day"]["errors"]) == (10, 1)
    assert [hour["requests"] for hour in document["hours"]] == [0] * 23 + [8]
    assert document["headroom"][0]["remaining"] == 55
    assert [(line["price"], line["open"]) for line in document["bill"]["lines"]] == [("price_1", 6.5)]
    assert document["failures"] == {}


def test_a_piece_that_fails_is_said_and_the_others_stand(run: Any, service: Any) -> None:
    service.will("GetCustomer", Customer(name="acme"))
    service.will("QueryUsage", usage, usage, usage)
    service.fails("ListHeadroom", grpc.StatusCode.FAILED_PRECONDITION, "ask a service with a database")
    service.fails("ListBlocks", grpc.StatusCode.UNAVAILABLE)
    service.fails("GetBillPreview", grpc.StatusCode.UNIMPLEMENTED)
    result = run("customer", "acme")
    assert result.exit_code == 0
    assert "traffic" in result.stdout
    assert "headroom: " in result.stderr
    assert "ask a service with a database" in result.stderr
    assert "blocks: " in result.stderr
    assert "bill: " in result.stderr


def test_who_is_not_there_is_an_error(run: Any, service: Any) -> None:
    service.fails("GetCustomer", grpc.StatusCode.NOT_FOUND, "there is no customer 'x'")
    assert run("customer", "x").exit_code == 1


def test_a_sparkline_shows_what_is_small() -> None:
    assert sparkline([0, 1, 1000, 500]) == " ▁█▄"
    assert sparkline([0, 0]) == "  "
    assert sparkline([]) == ""
