"""Tells the service the routes and keeps the plan up to date."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Final

import grpc

from usageflow.client._aio.link import USER_AGENT, Fault, Link, log
from usageflow.client._core.pacing import Backoff
from usageflow.client._core.plan import EndpointName, PlanState
from usageflow.v1 import common_pb2 as common
from usageflow.v1 import plan_pb2

_REGISTER_TIMEOUT_S: Final = 2.0
_MAX_ENDPOINTS: Final = 10_000
_CONNECTED: Final = "usageflow-plan-version"
"""What the service's initial metadata holds once it follows the plan for us, whether or not there is news."""


class Watcher:
    """Two tasks: one registers routes whenever they change, the other follows the plan. Both reconnect for ever."""

    def __init__(
        self,
        link: Link,
        plans: PlanState,
        instance_id: str,
        release: str,
        heard: Callable[[], None],
        service: str = "",
    ) -> None:
        """`heard` is called after every plan: the service is there. Routes are those of a `release` of a `service`."""
        self._link = link
        self._plans = plans
        self._instance_id = instance_id
        self._release = release
        self._service = service
        self._heard = heard
        self._routes: list[EndpointName] = []
        self._changed = asyncio.Event()
        self._tried = asyncio.Event()
        self.answered = asyncio.Event()
        """Set once there is a plan, or once it is known that there is none to be had now."""

    def set_routes(self, routes: Sequence[EndpointName]) -> None:
        """Replaces the route table."""
        self._routes = list(routes)[:_MAX_ENDPOINTS]
        self._changed.set()

    async def register(self) -> None:
        """Registers the routes now and after every change, until cancelled."""
        backoff = _backoff()
        while True:
            await self._changed.wait()
            self._changed.clear()
            pause = await self._register_once(backoff)
            self._tried.set()
            if pause:
                await asyncio.sleep(pause)

    async def watch(self) -> None:
        """Follows the plan until cancelled. Routes go first, so that the first plan knows them."""
        await self._tried.wait()
        backoff = _backoff()
        while True:
            fault = await self._follow(backoff)
            if fault is not None:
                self._link.fails(fault)
                self.answered.set()
            hold_s = fault.hold_s if fault else 0.0
            await asyncio.sleep(backoff.next(random.random(), at_least_s=hold_s))  # noqa: S311 - jitter, not a secret

    async def _register_once(self, backoff: Backoff) -> float:
        """Returns 0.0, or the seconds to wait before the next attempt."""
        routes = self._routes
        if not routes:
            return 0.0
        try:
            answer = await self._link.register(self._registration(routes), _REGISTER_TIMEOUT_S)
        except Exception as error:  # noqa: BLE001 - whatever a hostile service provokes, the application runs
            fault = Fault.of(error)
            self._link.fails(fault)
            self.answered.set()
            self._changed.set()
            return backoff.next(random.random(), at_least_s=fault.hold_s)  # noqa: S311 - jitter, not a secret
        backoff.reset()
        self._plans.registered(routes, answer)
        self._tell_refused(answer)
        return 0.0

    def _registration(self, routes: Sequence[EndpointName]) -> plan_pb2.RegisterEndpointsRequest:
        endpoints = [common.Endpoint(method=method, template=template) for method, template in routes]
        return plan_pb2.RegisterEndpointsRequest(
            endpoints=endpoints, release=self._release, service=self._service, user_agent=USER_AGENT
        )

    def _tell_refused(self, answer: plan_pb2.RegisterEndpointsResponse) -> None:
        refused = [endpoint for endpoint in answer.endpoints if endpoint.status.code]
        if refused:
            status = refused[0].status
            log.warning("UsageFlow refused %d routes: %s %s", len(refused), status.message, status.fix)

    async def _follow(self, backoff: Backoff) -> Fault | None:
        plan = self._plans.plan
        request = plan_pb2.WatchPlanRequest(
            plan_version=plan.version if plan else 0, instance_id=self._instance_id, user_agent=USER_AGENT
        )
        call = self._link.stub.WatchPlan(request, metadata=self._link.metadata)
        connected = False
        try:
            connected = _CONNECTED in dict(await call.initial_metadata() or ())
            if connected:
                backoff.reset()
                self._link.works()
                self._heard()
            async for change in call:
                self._plans.received(change)
                self.answered.set()
                self._link.works()
                self._heard()
                if change.draining:
                    return None
                backoff.reset()
        except Exception as error:  # noqa: BLE001 - whatever a hostile service provokes, the last plan is held
            fault = Fault.of(error)
            # Services and balancers end old connections; where nobody is left, the next attempt tells.
            return None if connected and fault.code == grpc.StatusCode.UNAVAILABLE else fault
        finally:
            call.cancel()
        return None


def _backoff() -> Backoff:
    return Backoff(first_s=0.2, cap_s=10.0)
