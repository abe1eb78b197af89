"""Plan, routes and faults of the connection, against a real gRPC server."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest

from clients.python.client.tests.exchanges import Make, ready, run, script, view
from clients.python.client.tests.fake_service import (
    KEY,
    FakeService,
    abort,
    endpoint_plan,
    full_plan,
    until,
)
from usageflow.v1 import common_pb2 as common
from usageflow.v1 import plan_pb2

SKIP, REPORT = plan_pb2.PLAN_ACTION_SKIP, plan_pb2.PLAN_ACTION_REPORT
CHECK = plan_pb2.PLAN_ACTION_CHECK


async def test_routes_are_registered_before_the_plan_is_asked_for_and_again_when_they_change(
    service: FakeService, make: Make
) -> None:
    client = make(release="v2", service="web")
    client.set_routes([("GET", "/a"), ("POST", "/b/{id:int}")])
    await ready(client)
    assert [(e.method, e.template) for e in service.registered[0].endpoints] == [
        ("GET", "/a"),
        ("POST", "/b/{id:int}"),
    ]
    assert (service.registered[0].service, service.registered[0].release) == ("web", "v2")
    client.set_routes([("GET", "/c")])
    await until(lambda: len(service.registered) == 2)


async def test_a_refused_registration_does_not_keep_the_plan_away(service: FakeService, make: Make) -> None:
    service.on_register = lambda context: abort(context, grpc.StatusCode.INVALID_ARGUMENT)
    client = make()
    client.set_routes([("GET", "/a")])
    await ready(client)


@pytest.mark.parametrize(("mode", "allowed"), [("open", True), ("closed", False)])
async def test_before_the_first_plan(service: FakeService, make: Make, mode: str, allowed: bool) -> None:
    service.plan = None
    client = make(fail_mode=mode)
    verdict = await run(client)
    assert verdict.allowed is allowed
    event = (await service.wait_for_events(1))[0]
    assert event.degraded.reason == common.DEGRADED_REASON_NO_PLAN
    assert not service.checks, "nothing is asked without a plan"
    assert client.status().state == "connecting"


async def test_the_plan_is_held_when_the_service_goes_and_events_arrive_once_when_it_is_back(
    service: FakeService, make: Make
) -> None:
    service.push(
        full_plan(endpoint_plan(1, "GET", "/skip", SKIP), endpoint_plan(2, "GET", "/report", REPORT))
    )
    client = make()
    await ready(client)
    await service.stop()
    await until(lambda: client.status().state == "degraded")
    assert await run(client, view("/skip")) is None
    for _ in range(20):
        await run(client, view("/report"))
    assert client.status().queued == 20
    await service.start(service.address)
    events = await service.wait_for_events(20)
    await until(lambda: client.status().queued == 0)
    assert len(events) == 20
    assert client.status().reported == 20
    await until(lambda: len(service.watches) == 2)
    assert service.watches[-1].plan_version == 1, "the plan that is held is not sent again"


async def test_a_refused_key_is_told_once_and_the_application_served(
    service: FakeService, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    refuse = script(grpc.StatusCode.UNAUTHENTICATED)
    service.on_report = refuse
    service.on_watch = lambda context: refuse(None, context)
    service.on_register = lambda context: refuse(None, context)
    client = make()
    client.set_routes([("GET", "/a")])
    for _ in range(3):
        assert (await run(client)).allowed
    await until(lambda: len(service.reports) == 1 and len(service.watches) == 1)
    await asyncio.sleep(0.1)
    assert len(service.watches) == 1, "not again for half a minute"
    assert sum(record.levelno == logging.ERROR for record in caplog.records) == 1
    assert "USAGEFLOW_API_KEY" in caplog.text
    assert KEY not in caplog.text
    assert client.status().queued == 3


async def test_a_draining_replica_is_left_and_the_plan_held(service: FakeService, make: Make) -> None:
    client = make()
    await ready(client)
    service.push(plan_pb2.WatchPlanResponse(plan_version=2, draining=True))
    await until(lambda: len(service.watches) == 2)
    assert client.status().plan_version == 2


async def test_a_connection_that_ages_out_is_followed_by_another_and_nothing_is_said(
    service: FakeService, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    await service.stop()
    await service.start(service.address, max_connection_age_ms=300, max_connection_age_grace_ms=50)
    service.push(full_plan(endpoint_plan(1, "GET", "/x", CHECK)))
    client = make()
    await ready(client)
    while len(service.watches) < 4:
        verdict = await run(client)
        assert verdict.degraded is None
        assert client.status().state == "ready"
        await asyncio.sleep(0.02)
    assert [watch.plan_version for watch in service.watches[:4]] == [0, 1, 1, 1]
    service.push(full_plan(endpoint_plan(1, "GET", "/x", SKIP), version=2))
    await until(lambda: client.status().plan_version == 2)
    assert not caplog.records


async def test_checks_spread_over_the_addresses_of_a_service(service: FakeService, make: Make) -> None:
    plan = full_plan(endpoint_plan(1, "GET", "/x", CHECK))
    other = FakeService()
    await other.start()
    service.push(plan)
    other.push(plan)
    client = make(address=f"ipv4:{service.address},{other.address}")
    await ready(client)
    async with asyncio.timeout(10):
        while not (service.checks and other.checks):
            await run(client)
    await client.aclose()
    await other.stop()


async def test_a_plan_that_changes_is_followed(service: FakeService, make: Make) -> None:
    client = make()
    await ready(client)
    service.push(plan_pb2.WatchPlanResponse(plan_version=2, endpoints=[endpoint_plan(1, "GET", "/x", SKIP)]))
    await until(lambda: client.status().plan_version == 2)
    assert await run(client) is None


class Garbage(grpc.GenericRpcHandler):
    """Answers every call with bytes that are no message."""

    def service(self, handler_call_details: Any) -> Any:
        async def unary(_: bytes, __: Any) -> bytes:
            return b"\xff\xff\xff\xff"

        async def stream(_: bytes, __: Any) -> AsyncIterator[bytes]:
            yield b"\xff\xff\xff\xff"

        if handler_call_details.method.endswith("WatchPlan"):
            return grpc.unary_stream_rpc_method_handler(stream)
        return grpc.unary_unary_rpc_method_handler(unary)


async def test_a_service_that_talks_garbage(make: Make) -> None:
    server = grpc.aio.server(handlers=[Garbage()])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    client = make(address=f"127.0.0.1:{port}", shutdown_s=0.1)
    client.set_routes([("GET", "/a")])
    assert (await run(client)).allowed
    await until(lambda: client.status().last_error)
    assert (await run(client)).allowed
    await client.aclose()
    await server.stop(0)


async def test_a_black_hole_delays_nothing(make: Make) -> None:
    with socket.socket() as silent:  # accepts by its backlog, and never says a word
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        client = make(address=f"127.0.0.1:{silent.getsockname()[1]}", shutdown_s=0.1)
        client.set_routes([("GET", "/a")])
        started = time.perf_counter()
        for _ in range(20):
            assert (await run(client)).allowed
        assert time.perf_counter() - started < 10.0
        started = time.perf_counter()
        await client.aclose()
        assert time.perf_counter() - started < 10.0


async def test_a_forked_child_has_its_own_connection(service: FakeService) -> None:
    script_text = FORK.format(address=service.address, key=KEY)
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script_text, stdout=asyncio.subprocess.PIPE
    )
    stdout, _ = await asyncio.wait_for(child.communicate(), 30)
    assert stdout.split() == [b"ready", b"0"]
    events = await service.wait_for_events(1)
    assert events[0].degraded.reason == common.DEGRADED_REASON_UNSPECIFIED


FORK = """
import asyncio, os, sys
from usageflow.client import ClientConfig, UsageFlowClient
from usageflow.client.adapters import RequestView

client = UsageFlowClient(ClientConfig(api_key="{key}", address="{address}", deadline_s=2.0))

async def serve():
    client.start()
    while client.status().state != "ready":
        await asyncio.sleep(0.01)
    exchange = client.begin(RequestView("GET", "/x", "/x"))
    await client.decide(exchange)
    client.finish(exchange, 200)
    await client.aclose()
    print("ready", flush=True)

pid = os.fork()
if pid == 0:
    asyncio.run(serve())
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


async def test_the_first_request_waits_for_a_plan_that_is_on_its_way(
    service: FakeService, make: Make
) -> None:
    """Without a lifespan the first request is what connects: it must not pass unchecked for that."""
    service.push(full_plan(endpoint_plan(1, "GET", "/x", CHECK)))
    client = make(deadline_s=5.0)
    verdict = await run(client)
    assert verdict.degraded is None


async def test_a_start_waits_for_the_plan_but_not_for_a_service_that_is_absent(make: Make) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
    client = make(address=address, startup_s=30.0)
    client.set_routes([("GET", "/x")])
    client.start()
    async with asyncio.timeout(10):
        await client.settled()
    assert client.status().plan_version == 0
