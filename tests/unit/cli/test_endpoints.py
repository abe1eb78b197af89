from __future__ import annotations

import json
import time
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from usageflow.v1 import inventory_pb2
from usageflow.v1.common_pb2 import Endpoint

AT = Timestamp(seconds=1_769_857_200)
USED = inventory_pb2.InventoryEndpoint(
    endpoint=Endpoint(method="GET", template="/users/{id}"),
    number=3,
    states=[inventory_pb2.ENDPOINT_STATE_ACTIVE],
    services=[inventory_pb2.EndpointService(service="web", release="v2")],
    first_registered_time=AT,
    last_registered_time=AT,
    first_called_time=AT,
    last_called_time=AT,
    requests=1500,
    errors=2,
    denied=1,
    policies=["reads", "everything"],
)
DROPPED = inventory_pb2.InventoryEndpoint(
    endpoint=Endpoint(method="GET", template="/old"),
    number=1,
    states=[inventory_pb2.ENDPOINT_STATE_GONE, inventory_pb2.ENDPOINT_STATE_WITHOUT_POLICY],
    services=[inventory_pb2.EndpointService(release="v1", gone=True)],
)
NEWEST = inventory_pb2.ServiceRelease(service="web", release="v2", first_seen_time=AT, last_seen_time=AT)


def answer(*items: inventory_pb2.InventoryEndpoint, more: str = "") -> Any:
    return inventory_pb2.ListEndpointInventoryResponse(
        endpoints=items, next_page_token=more, releases=[NEWEST]
    )


def test_the_inventory_as_a_table(run: Any, service: Any) -> None:
    service.will("ListEndpointInventory", answer(USED, DROPPED))
    result = run("endpoints")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].split()[:3] == ["endpoint", "state", "release"]
    assert "GET /users/{id}" in lines[2]
    assert "web v2" in lines[2]
    assert "1,500" in lines[2]
    assert "reads, everything" in lines[2]
    assert "gone, without policy" in lines[3]
    assert "until v1" in lines[3]
    assert "the newest release of web is v2, first seen 2026-01-31T11:00:00Z" in result.stderr
    [(_, request, metadata)] = service.calls
    assert metadata["authorization"] == "Bearer uf_admin_token"
    assert (request.application, list(request.states), request.page_size) == ("demo", [], 100)
    assert abs(request.start_time.seconds - (time.time() - 86_400)) < 60


def test_the_inventory_as_json(run: Any, service: Any) -> None:
    service.will("ListEndpointInventory", answer(DROPPED))
    assert json.loads(run("endpoints", "--output", "json").stdout) == [
        {
            "method": "GET",
            "template": "/old",
            "number": 1,
            "states": ["GONE", "WITHOUT_POLICY"],
            "services": [{"service": "", "release": "v1", "gone": True}],
            "first_registered": None,
            "last_registered": None,
            "first_called": None,
            "last_called": None,
            "requests": 0,
            "errors": 0,
            "denied": 0,
            "policies": [],
        }
    ]


def test_conditions_go_together(run: Any, service: Any) -> None:
    flags = ("--active", "--never-called", "--gone", "--unregistered", "--without-policy", "--unmatched")
    service.will("ListEndpointInventory", answer())
    result = run("endpoints", *flags, "--since", "2026-01-31T11:00:00Z")
    assert "there are no such endpoints" in result.stderr
    [request] = service.requests
    assert list(request.states) == [1, 2, 3, 4, 5, 6]
    assert request.start_time == AT


def test_pages_are_fetched_until_there_are_enough(run: Any, service: Any) -> None:
    service.will("ListEndpointInventory", answer(USED, more="a"), answer(DROPPED, more="b"))
    result = run("endpoints", "--limit", "2")
    assert [(each.page_size, each.page_token) for each in service.requests] == [(2, ""), (1, "a")]
    assert "these are the first 2" in result.stderr
    service.will("ListEndpointInventory", answer(USED, more="a"), answer(DROPPED))
    result = run("endpoints", "--all", "--output", "json")
    assert len(json.loads(result.stdout)) == 2
    assert result.stderr == ""


def test_a_time_that_is_none_is_named(run: Any) -> None:
    result = run("endpoints", "--since", "yesterday")
    assert result.exit_code == 2
    assert "--since" in result.stderr
