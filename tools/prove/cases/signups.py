"""Customers sign up, and nobody who is served notices."""

from __future__ import annotations

import asyncio
import re
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import grpc.aio

from tools.postgres_servers import PostgresServer
from tools.prove.administration import Administrator, administrator
from tools.prove.asking import Ask, Asker, askers
from tools.prove.figures import percentile, spread
from tools.prove.policies import limit, policy, policy_file
from tools.prove.showing import ensure
from tools.shared_form import SharedForm, shared_form
from usageflow.v1 import directory_methods_pb2, plan_pb2, policies_pb2
from usageflow.v1.common_pb2 import Endpoint
from usageflow.v1.decision_pb2_grpc import DecisionServiceStub

if TYPE_CHECKING:
    from usageflow.v1.decision_pb2_grpc import DecisionServiceAsyncStub

ENFORCED_S = 1.0
POLICIES = policy_file([policy("first", "/first", [limit("n", 1_000_000, "window: 1h")])])
_OVERRIDE = 77
_LOOK_S = 0.01
_LOADED = re.compile(r'^usageflow_decision_snapshots_total\{.*outcome="loaded".*\} (\d+)', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Size:
    """How much is shown: customers, each with an override, within so many seconds."""

    customers: int = 1_000
    seconds: float = 60.0
    looked_at: int = 50
    decisions: int = 3


def signups(folder: Path) -> str:
    """1,000 customers sign up within a minute (CreateCustomer), each with a limit of its own: no decision process compiles anything, no plan is sent again and
    no lease is void, and the limits are enforced within a second.
    """
    size = Size()
    with (
        PostgresServer() as server,
        shared_form(server.url(server.new_database()), folder, POLICIES, decisions=size.decisions) as form,
    ):
        return asyncio.run(show_signups(form, size))


async def show_signups(form: SharedForm, size: Size, enforced_s: float = ENFORCED_S) -> str:
    """Returns the figure. Raises NotShown."""
    watchers = [_Watcher(address, form.installation.api_key) for address in form.addresses]
    try:
        for watcher in watchers:
            await watcher.start()
        before = await asyncio.to_thread(_loads, form)
        times_s = await _sign_up_all(form, size)
        after = await asyncio.to_thread(_loads, form)
        ensure(before == after, f"snapshots were compiled: {before} before, {after} after")
        plans = [watcher.plans for watcher in watchers]
        ensure(
            all(len(each) == 1 for each in plans), f"plans were sent again: {[len(each) for each in plans]}"
        )
        epochs = {item.lease_epoch for each in plans for item in each[0].endpoints}
        ensure(bool(epochs), "the plan leases nothing")
    finally:
        for watcher in watchers:
            await watcher.end()
    ensure(percentile(times_s, 0.99) < enforced_s, f"enforced too late: {spread(times_s)}")
    return (
        f"{size.customers} customers in {size.seconds:g} s: {sum(after)} snapshots loaded before and after, one plan to each watcher, "
        f"limits of {len(times_s) // len(watchers)} of them enforced everywhere after {spread(times_s)}"
    )


class _Watcher:
    """Watches a plan as a client does, and keeps what it was sent."""

    def __init__(self, address: str, api_key: str) -> None:
        self._channel = grpc.aio.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)])
        self._stub = cast("DecisionServiceAsyncStub", DecisionServiceStub(self._channel))
        self._metadata = (("authorization", f"Bearer {api_key}"),)
        self._task: asyncio.Task[None] | None = None
        self._first = asyncio.Event()
        self.plans: list[plan_pb2.WatchPlanResponse] = []

    async def start(self) -> None:
        """Registers a route and returns once there is a plan that knows it."""
        request = plan_pb2.RegisterEndpointsRequest(endpoints=[Endpoint(method="POST", template="/first")])
        await self._stub.RegisterEndpoints(request, metadata=self._metadata, timeout=20)
        await asyncio.sleep(1.0)  # the others register the same, and plans come for that
        self._task = asyncio.create_task(self._watch())
        async with asyncio.timeout(20):
            await self._first.wait()

    async def _watch(self) -> None:
        async for plan in self._stub.WatchPlan(plan_pb2.WatchPlanRequest(), metadata=self._metadata):
            self.plans.append(plan)
            self._first.set()

    async def end(self) -> None:
        """Ends the stream."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._channel.close()


def _loads(form: SharedForm) -> list[int]:
    """Returns how many snapshots each process has compiled."""
    loads = []
    for port in form.http_ports:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as response:
            found = _LOADED.search(response.read().decode())
        ensure(found is not None, "no metric tells how many snapshots were loaded")
        loads.append(int(found[1]) if found else 0)
    return loads


async def _sign_up_all(form: SharedForm, size: Size) -> list[float]:
    """Signs customers up one after another; returns the seconds until some of their limits were enforced, at each process."""
    loop, every = asyncio.get_running_loop(), max(1, size.customers // size.looked_at)
    installation, looks = form.installation, list[asyncio.Task[float]]()
    async with (
        administrator(installation.admin_address, installation.admin_token) as admin,
        askers(form.addresses, installation.api_key) as all_askers,
    ):
        began = loop.time()
        for number in range(size.customers):
            await asyncio.sleep(max(0.0, began + number * size.seconds / size.customers - loop.time()))
            await _sign_up(admin, number)
            if number % every == 0:
                looks += [asyncio.create_task(_enforced(asker, number, loop.time())) for asker in all_askers]
        took_s = loop.time() - began
        ensure(took_s < size.seconds * 1.1 + 1, f"{size.customers} sign-ups took {took_s:.0f} s")
        return list(await asyncio.gather(*looks))


async def _sign_up(admin: Administrator, number: int) -> None:
    customer = policies_pb2.Customer(
        name=f"customer-{number}",
        identities=[f"user-{number}"],
        overrides=[policies_pb2.LimitOverride(policy="first", limit_name="n", limit=_OVERRIDE)],
    )
    request = directory_methods_pb2.CreateCustomerRequest(application="demo", customer=customer)
    await admin.stub.CreateCustomer(request, metadata=admin.metadata, timeout=20)


async def _enforced(asker: Asker, number: int, saved_s: float) -> float:
    while True:
        seen = await asker.check(Ask("/first", f"user-{number}"))
        if _OVERRIDE in seen.limits.values():
            return max(0.0, seen.sent_s - saved_s)
        ensure(seen.came_s < saved_s + 20, f"{asker.address} does not know customer-{number}")
        await asyncio.sleep(_LOOK_S)
