from __future__ import annotations

import json
import time
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from usageflow.v1.analytics_pb2 import (
    USAGE_GROUP_CUSTOMER,
    USAGE_GROUP_ENDPOINT,
    USAGE_GROUP_STATUS,
    USAGE_INTERVAL_HOUR,
    USAGE_INTERVAL_MINUTE,
    USAGE_ORDER_P95,
    QueryUsageResponse,
    UsageRow,
)
from usageflow.v1.billing_pb2 import BillingStatus
from usageflow.v1.common_pb2 import Endpoint
from usageflow.v1.meter_pb2 import ListPendingResponse, PendingUnits

TRANSACTIONS = Endpoint(method="POST", template="/api/transactions")
ROWS = QueryUsageResponse(
    rows=[
        UsageRow(
            endpoint=TRANSACTIONS,
            requests=2**62,
            errors=1,
            denied=2,
            units="123456789012345.000000000001",
            p95=Duration(seconds=1, nanos=250_500_000),
        ),
        UsageRow(endpoint=Endpoint(method="GET", template="{unmatched}"), requests=1500, units="3"),
    ]
)

FURTHER = {
    **dict.fromkeys(("client_errors", "degraded", "shadow_denied", "request_bytes", "response_bytes"), 0),
    **dict.fromkeys(("p50_ms", "p95_ms", "p99_ms")),
}


def test_rows_by_endpoint_are_exact_json(run: Any, service: Any) -> None:
    service.will("QueryUsage", ROWS)
    result = run("usage", "--output", "json")
    assert result.exit_code == 0
    assert json.loads(result.stdout, parse_float=str) == [
        {
            "endpoint": "POST /api/transactions",
            "requests": 2**62,
            "errors": 1,
            "denied": 2,
            "units": "123456789012345.000000000001",
            **FURTHER,
            "p95_ms": "1250.5",
        },
        {
            "endpoint": "GET {unmatched}",
            "requests": 1500,
            "errors": 0,
            "denied": 0,
            "units": 3,
            **FURTHER,
        },
    ]
    [(_, request, metadata)] = service.calls
    assert metadata["authorization"] == "Bearer uf_admin_token"
    assert (request.application, request.group_by) == ("demo", [USAGE_GROUP_ENDPOINT])
    assert abs(request.start_time.seconds - (time.time() - 86_400)) < 60
    assert not request.HasField("end_time")


def test_the_table_has_a_total(run: Any, service: Any) -> None:
    ROWS.rows[0].requests = 10
    service.will("QueryUsage", ROWS)
    lines = run("usage").stdout.splitlines()
    assert lines[0].split() == ["endpoint", "requests", "errors", "denied", "units", "p50", "p95", "p99"]
    assert lines[-1].split() == ["total", "1,510", "1", "2", "123,456,789,012,348.000000000001", *"---"]
    assert "1250 ms" in lines[2]
    assert [line.split()[2] for line in lines[2:4]] == ["10", "1,500"]
    column = lines[0].index("requests") + len("requests")
    assert lines[2][:column].endswith(" 10")


def test_the_services_own_total_is_shown(run: Any, service: Any) -> None:
    total = UsageRow(requests=77, units="7", p95=Duration(nanos=3_000_000))
    service.will("QueryUsage", QueryUsageResponse(rows=ROWS.rows, total=total))
    lines = run("usage", "--top", "1").stdout.splitlines()
    assert lines[-1].split() == ["total", "77", "0", "0", "7", "-", "3", "ms", "-"]
    service.will("QueryUsage", ROWS)
    assert "p95" not in run("usage", "--no-latency").stdout


def test_groups_filters_order_and_steps_are_asked_for(run: Any, service: Any) -> None:
    row = UsageRow(time=Timestamp(seconds=1_769_857_200), endpoint=TRANSACTIONS, customer="acme", requests=3)
    service.will("QueryUsage", QueryUsageResponse(rows=[row]))
    result = run(
        *("usage", "--by", "endpoint", "--by", "customer", "--every", "hour", "--top", "5", "--order", "p95"),
        *("--endpoint", "post /a", "--endpoint", "/b", "--endpoint", "GET", "--customer", "acme"),
        *("--identity", "u1", "--status", "404", "--status", "5XX", "--policy", "p", "--reason", "blocked"),
        *("--allowed", "--degraded", "--no-shadow", "--output", "json"),
    )
    assert result.exit_code == 0, result.output
    (document,) = json.loads(result.stdout)
    assert list(document)[:3] == ["hour", "endpoint", "customer"]
    assert (document["hour"], document["customer"]) == ("2026-01-31T11:00:00Z", "acme")
    (request,) = service.requests
    assert request.group_by == [USAGE_GROUP_ENDPOINT, USAGE_GROUP_CUSTOMER]
    assert (request.interval, request.limit, request.order_by) == (USAGE_INTERVAL_HOUR, 5, USAGE_ORDER_P95)
    wanted = request.filter
    assert [(each.method, each.template) for each in wanted.endpoints] == [
        ("POST", "/a"),
        ("", "/b"),
        ("GET", ""),
    ]
    assert (list(wanted.statuses), list(wanted.reasons)) == ([404, 5], ["BLOCKED"])
    assert (wanted.denied, wanted.degraded, wanted.shadow_denied) == (False, True, False)
    assert wanted.HasField("denied")


def test_classes_are_named(run: Any, service: Any) -> None:
    service.will("QueryUsage", QueryUsageResponse(rows=[UsageRow(status=5, requests=1)]))
    assert json.loads(run("usage", "--by", "class", "--output", "json").stdout)[0]["class"] == "5xx"


def test_by_status(run: Any, service: Any) -> None:
    rows = QueryUsageResponse(rows=[UsageRow(status=200, requests=4, units="4.50")])
    service.will("QueryUsage", rows, rows)
    result = run("usage", "--by", "status", "--output", "json")
    assert json.loads(result.stdout)[0] == {
        "status": 200,
        "requests": 4,
        "errors": 0,
        "denied": 0,
        "units": 4.5,
        **FURTHER,
    }
    assert "total" in run("usage", "--by", "status").stdout
    assert service.requests[0].group_by == [USAGE_GROUP_STATUS]


def test_by_minute_in_a_span(run: Any, service: Any) -> None:
    row = UsageRow(time=Timestamp(seconds=1_769_857_200), requests=1)
    service.will("QueryUsage", QueryUsageResponse(rows=[row]))
    result = run(
        *("usage", "--by", "minute", "--application", "shop", "--output", "json"),
        *("--since", "2026-01-31T12:00:00+01:00", "--until", "2026-01-31 13:00:00.5Z"),
    )
    assert json.loads(result.stdout)[0]["minute"] == "2026-01-31T11:00:00Z"
    request = service.requests[0]
    assert (request.application, request.interval) == ("shop", USAGE_INTERVAL_MINUTE)
    assert request.start_time.seconds == 1_769_857_200
    assert (request.end_time.seconds, request.end_time.nanos) == (1_769_864_400, 500_000_000)


def test_nothing_reported(run: Any, service: Any) -> None:
    service.will("QueryUsage", QueryUsageResponse(), QueryUsageResponse())
    assert run("usage", "--output", "json").stdout == "[]\n"
    result = run("usage", "--until", "1m")
    assert result.exit_code == 0
    assert result.stderr == "nothing was reported in this time\n"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--since", "later"], "write an RFC 3339 time such as"),
        (["--since", "2026-13-01T00:00:00Z"], "or how long ago, such as 30m, 24h or 7d"),
        (["--until", "24"], "--until"),
        (["--since", "1h", "--until", "2h"], "it must be later than --since"),
        (["--by", "user"], "--by"),
        (["--by", "minute", "--every", "day"], "--every minute"),
        (["--by", "policy", "--by", "shadow"], "policy does not go with shadow"),
        (["--status", "99"], "write 404 or 5xx"),
    ],
)
def test_wrong_usage(run: Any, service: Any, args: list[str], words: str) -> None:
    result = run("usage", *args)
    assert result.exit_code == 2
    assert words in result.stderr
    assert not service.calls


def test_all_of_time(run: Any, service: Any) -> None:
    service.will("QueryUsage", QueryUsageResponse())
    assert run("usage", "--since", "999999999w").exit_code == 0
    assert service.requests[0].start_time.seconds == 0


def test_meter_status(run: Any, service: Any) -> None:
    pending = PendingUnits(
        endpoint=TRANSACTIONS,
        policy="transactions",
        price="price_123",
        requests=3,
        units="12.5",
        oldest_time=Timestamp(seconds=1_769_857_200),
    )
    service.will("ListPending", *[ListPendingResponse(pending=[pending])] * 2)
    service.will("GetBillingStatus", *[BillingStatus()] * 2)
    result = run("meter", "status", "--application", "shop", "--output", "json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["waiting"] == [
        {
            "endpoint": "POST /api/transactions",
            "policy": "transactions",
            "price": "price_123",
            "requests": 3,
            "units": 12.5,
            "oldest": "2026-01-31T11:00:00Z",
        }
    ]
    assert "price_123" in run("meter", "status").stdout
    assert [request.application for request in service.requests] == ["shop", "shop", "demo", "demo"]
    assert service.calls[0][2]["authorization"] == "Bearer uf_admin_token"


def test_nothing_waits(run: Any, service: Any) -> None:
    service.will("ListPending", ListPendingResponse())
    service.will("GetBillingStatus", BillingStatus(sink="file"))
    result = run("meter", "status")
    assert (result.exit_code, result.stderr) == (0, "no units wait\n")


def test_another_application_is_not_found(run: Any, service: Any) -> None:
    service.fails("ListPending", grpc.StatusCode.NOT_FOUND, "no application 'x'")
    result = run("meter", "status", "--application", "x")
    assert result.exit_code == 1
    assert "check the application's name" in result.stderr
