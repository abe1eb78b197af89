from __future__ import annotations

import json
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from usageflow.cli.event_rows import COLUMNS, event_document
from usageflow.v1.analytics_pb2 import StoredEvent, TailEventsResponse
from usageflow.v1.common_pb2 import Endpoint


def event(name: str, **fields: Any) -> StoredEvent:
    stored = {
        "endpoint": Endpoint(method="POST", template="/api/{id}"),
        "time": Timestamp(seconds=4_000_000_000, nanos=123_456_000),
        "path": "/api/7",
        "identity": "ann",
        "status": 201,
        "latency": Duration(nanos=1_250_000),
        "quantity": 1,
        "reason": "WITHIN_LIMITS",
        "policy": "p",
        **fields,
    }
    return StoredEvent(event_id=name, **stored)


def some(*names: str, skipped: int = 0) -> TailEventsResponse:
    return TailEventsResponse(events=[event(name) for name in names], skipped=skipped)


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Nobody waits, and Ctrl-C comes with the fifth pause."""
    seen: list[float] = []

    def pause(seconds: float) -> None:
        seen.append(seconds)
        if len(seen) == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr("usageflow.cli.tail.time.sleep", pause)
    return seen


def test_a_line_tells_when_what_who_and_how_it_was_decided(run: Any, service: Any) -> None:
    refused = event("b", denied=True, reason="LIMIT_EXCEEDED", status=429, identity="", path="")
    degraded = event("c", degraded_reason="STORE_TIMEOUT", path="/a\x1b[31m")
    service.will("TailEvents", [some("a"), TailEventsResponse(events=[refused, degraded], skipped=7)])
    result = run("tail", "--count", "3", "-n", "5", "--denied", "--customer", "acme")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "07:06:40.123  POST   /api/7  201  1.25 ms  ann  allowed",
        "07:06:40.123  POST   /api/{id}  429  1.25 ms  -  denied LIMIT_EXCEEDED by p",
        "07:06:40.123  POST   /a\\x1b[31m  201  1.25 ms  ann  allowed degraded STORE_TIMEOUT",
    ]
    assert "7 events left out" in result.stderr
    (request,) = service.requests
    assert (request.recent, request.filter.denied, list(request.filter.customers)) == (5, True, ["acme"])


def test_json_is_a_line_per_event(run: Any, service: Any) -> None:
    kept = event("a")
    kept.detail.update({"metadata": {"tenant": "t"}})
    service.will("TailEvents", [TailEventsResponse(events=[kept])])
    document = json.loads(run("tail", "--count", "1", "--output", "json").stdout)
    assert tuple(document) == COLUMNS == tuple(event_document(kept))
    assert document["time"] == "2096-10-02T07:06:40.123456Z"
    assert (document["latency_ms"], document["detail"]) == (1.25, {"metadata": {"tenant": "t"}})


def test_it_goes_on_after_a_restart_without_gaps_or_doubles(
    run: Any, service: Any, pauses: list[float]
) -> None:
    service.will("TailEvents", [some("a", "b")])
    service.fails("TailEvents", grpc.StatusCode.UNAVAILABLE)
    service.will("TailEvents", [some("a", "b", "c"), some("d")])
    result = run("tail", "--count", "4", "--output", "json")
    assert [json.loads(line)["event_id"] for line in result.stdout.splitlines()] == ["a", "b", "c", "d"]
    assert "the service has ended the stream; connecting again" in result.stderr
    assert "connected again" in result.stderr
    assert [request.recent for request in service.requests] == [10, 1000, 1000]
    assert pauses == [0.2, 0.5]


def test_the_latest_may_come_in_two_messages(run: Any, service: Any) -> None:
    names = [f"e{number}" for number in range(1000)]
    service.will("TailEvents", [some(names[997])], [some(*names[:500]), some(*names[500:])])
    result = run("tail", "--count", "3", "--output", "json")
    assert [json.loads(line)["event_id"] for line in result.stdout.splitlines()] == names[997:]


def test_what_came_before_it_began_is_not_shown_after_a_restart(run: Any, service: Any) -> None:
    old = event("old", time=Timestamp(seconds=1))
    service.will("TailEvents", [some()], [TailEventsResponse(events=[old, event("new")])])
    result = run("tail", "--count", "1", "--output", "json")
    assert [json.loads(line)["event_id"] for line in result.stdout.splitlines()] == ["new"]


def test_ctrl_c_is_no_failure(run: Any, service: Any) -> None:
    service.will("TailEvents", *[[some()]] * 5)
    result = run("tail")
    assert (result.exit_code, result.stdout) == (0, "")


def test_a_service_that_says_no_is_not_asked_again(run: Any, service: Any) -> None:
    service.fails("TailEvents", grpc.StatusCode.NOT_FOUND, "there is no customer 'x'")
    result = run("tail", "--customer", "x")
    assert result.exit_code == 1
    assert len(service.calls) == 1
