from __future__ import annotations

import json
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from usageflow.v1.analytics_pb2 import USAGE_ORDER_DENIED, QueryUsageRequest, QueryUsageResponse, UsageRow
from usageflow.v1.common_pb2 import Endpoint

ROW = UsageRow(
    endpoint=Endpoint(method="GET", template="/a"),
    requests=200,
    errors=5,
    denied=20,
    units="180",
    p95=Duration(nanos=12_340_000),
)


def answer(request: QueryUsageRequest) -> QueryUsageResponse:
    """The sums of the 100 s until now."""
    start = Timestamp(seconds=request.start_time.seconds - 40, nanos=request.start_time.nanos)
    return QueryUsageResponse(rows=[ROW], start_time=start, total=ROW)


class Stop:
    """Stands for time.sleep and for somebody who presses Ctrl-C after some frames."""

    def __init__(self, frames: int) -> None:
        self.left = frames

    def __call__(self, seconds: float) -> None:
        self.left -= 1
        if self.left <= 0:
            raise KeyboardInterrupt


def test_one_frame_where_output_is_no_terminal(run: Any, service: Any) -> None:
    service.will("QueryUsage", answer)
    result = run("top", "--order", "denied", "--rows", "3", "--endpoint", "GET")
    assert result.exit_code == 0, result.output
    title, header, _, row, *_ = result.stdout.splitlines()
    assert title.startswith("demo, the last 100 s until ")
    assert header.split() == ["endpoint", "req/s", "requests", "errors", "denied", "p95"]
    assert row.split() == ["GET", "/a", "2.0", "200", "2.5", "%", "10.0", "%", "12.3", "ms"]
    assert "total" in result.stdout
    (request,) = service.requests
    assert (request.order_by, request.limit) == (USAGE_ORDER_DENIED, 3)


def test_json_is_a_line_per_frame_until_ctrl_c_and_outlives_a_restart(
    run: Any, service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.will("QueryUsage", answer)
    service.fails("QueryUsage", grpc.StatusCode.UNAVAILABLE)
    service.will("QueryUsage", answer)
    monkeypatch.setattr("usageflow.cli.top.time.sleep", Stop(3))
    result = run("top", "--output", "json")
    assert result.exit_code == 0
    frames = [json.loads(line) for line in result.stdout.splitlines()]
    assert [frame["rows"][0]["endpoint"] for frame in frames] == ["GET /a"] * 2
    assert (frames[0]["rows"][0]["rate"], frames[0]["rows"][0]["units"]) == (pytest.approx(2, abs=0.1), "180")
    assert "the service does not answer; trying again" in result.stderr


def test_a_frame_has_no_time_series(run: Any, service: Any) -> None:
    result = run("top", "--by", "minute")
    assert result.exit_code == 2
    assert "usageflow usage --every" in result.stderr


def test_a_service_that_says_no_ends_it(run: Any, service: Any) -> None:
    service.fails("QueryUsage", grpc.StatusCode.NOT_FOUND, "no application 'x'")
    assert run("top", "--application", "x").exit_code == 1
