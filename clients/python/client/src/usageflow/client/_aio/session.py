"""Everything that lives in one process and event loop: channel, plan, queue and tasks."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Sequence

from usageflow.client._aio.checks import CheckLane
from usageflow.client._aio.link import Link
from usageflow.client._aio.reporter import Reporter
from usageflow.client._aio.slots import SlotKeeper
from usageflow.client._aio.watcher import Watcher
from usageflow.client._config import ClientConfig
from usageflow.client._core.events import Outcome, build_event
from usageflow.client._core.fallback import LocalBuckets
from usageflow.client._core.hooks import RequestData
from usageflow.client._core.ids import RANDOM_BYTES, uuid7
from usageflow.client._core.plan import EndpointName, EndpointRule, PlanState
from usageflow.client._core.queue import EventQueue
from usageflow.client._core.request import RequestView, extract
from usageflow.client._core.verdict import NOT_ASKED, Verdict, failed
from usageflow.client._status import ClientStatus, State
from usageflow.v1 import common_pb2 as common
from usageflow.v1 import plan_pb2


class Session:
    """Must be made inside the running event loop. Nothing in it waits for the service but `decide` and `close`."""

    def __init__(
        self, config: ClientConfig, routes: Sequence[EndpointName], ended: Callable[[], None]
    ) -> None:
        """Opens the connection in the background; `ended` is called once it is closed again."""
        self._config = config
        self._ended = ended
        self._link = Link(config)
        self.plans = PlanState()
        self._queue = EventQueue(max_events=config.max_events)
        self._slots = SlotKeeper(self._link)
        self._reporter = Reporter(self._link, self.plans, self._queue, self._slots, config.flush_interval_s)
        self._watcher = Watcher(
            self._link, self.plans, _new_id(), config.release, self._heard, config.service
        )
        self._watcher.set_routes(routes)
        self._lanes: dict[int, CheckLane] = {}
        self._buckets = LocalBuckets()
        self._wound_up = False
        self._task = asyncio.get_running_loop().create_task(self._run(), name="usageflow")

    def set_routes(self, routes: Sequence[EndpointName]) -> None:
        """Replaces the route table; the service is told in the background."""
        self._watcher.set_routes(routes)

    async def decide(self, rule: EndpointRule | None, request: RequestView) -> Verdict:
        """Returns the verdict for a request; waits for the service for at most the deadline."""
        if rule is None:
            # The first requests of an application that did not wait at its start: the plan may be a moment away.
            await self.settled(self._config.deadline_s)
            rule = self.plans.rule(request.method, request.route)
        if rule is None:
            return failed(self._first_mode(), common.DEGRADED_REASON_NO_PLAN)
        if rule.action in (plan_pb2.PLAN_ACTION_REPORT, plan_pb2.PLAN_ACTION_SKIP):
            return NOT_ASKED
        answer = await self._lane(rule.store_group).ask(rule, request)
        return answer if isinstance(answer, Verdict) else self._fail(rule, request, answer)

    async def settled(self, timeout_s: float) -> None:
        """Returns once there is a plan or the service turned out to be unreachable, at the latest after the time-out."""
        if not self._watcher.answered.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._watcher.answered.wait(), timeout_s)

    def release(self, verdict: Verdict) -> None:
        """Gives back what a request holds while it runs; a second time it does nothing."""
        if verdict.slot is not None:
            self._slots.release(verdict.slot)

    @property
    def capture(self) -> plan_pb2.CaptureLevel.ValueType:
        """How much an event holds; before the first plan nobody knows, and as little as may be is kept."""
        return self.plans.plan.capture if self.plans.plan else plan_pb2.CAPTURE_LEVEL_MINIMAL

    def report(
        self, started_ns: int, request: RequestView, verdict: Verdict, data: RequestData, outcome: Outcome
    ) -> None:
        """Queues the event of a request that began `started_ns` nanoseconds after 1970."""
        plan = self.plans.plan
        secrets = plan.secrets if plan else frozenset[str]()
        event = build_event(_new_id(), started_ns, request, verdict, data, outcome, self.capture, secrets)
        self._reporter.add(event)

    async def close(self) -> None:
        """Gives slots back and delivers what waits, for at most `shutdown_s`, and closes the channel."""
        self._task.cancel()
        await asyncio.wait({self._task})
        if not self._wound_up:  # a task that is cancelled before its first step never runs at all
            await self._wind_up()

    def status(self) -> ClientStatus:
        """Returns a snapshot."""
        plan = self.plans.plan
        return ClientStatus(
            state=self._state(),
            address=self._config.address,
            plan_version=plan.version if plan else 0,
            revision=plan.revision if plan else 0,
            queued=len(self._queue),
            reported=self._queue.reported,
            dropped=self._queue.dropped,
            refused=self._queue.refused,
            slots=self._slots.held,
            dropped_releases=self._slots.dropped,
            last_error=self._link.last_error,
        )

    async def _run(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._watcher.register(), name="usageflow-register")
                tasks.create_task(self._watcher.watch(), name="usageflow-watch")
                tasks.create_task(self._reporter.run(), name="usageflow-report")
                tasks.create_task(self._slots.run(), name="usageflow-slots")
        finally:
            # Also runs when the event loop is wound up without a lifespan, so that nothing is left behind then.
            await self._wind_up()

    async def _wind_up(self) -> None:
        self._wound_up = True
        deadline = time.monotonic() + self._config.shutdown_s
        try:
            for lane in self._lanes.values():
                await lane.close()
            # A service that hangs must leave time for the report, which takes along what could not be given back.
            await self._slots.close(self._config.shutdown_s / 2)
            await self._reporter.flush(max(deadline - time.monotonic(), 0.0))
        finally:
            self._ended()
            await self._link.channel.close()

    def _heard(self) -> None:
        self._reporter.retry_now()
        for lane in self._lanes.values():
            lane.breaker.retry_now()

    def _lane(self, store_group: int) -> CheckLane:
        lane = self._lanes.get(store_group)
        if lane is None:
            lane = CheckLane(self._link, self._slots, self.plans, self._config.deadline_s)
            self._lanes[store_group] = lane
        return lane

    def _first_mode(self) -> common.FailMode.ValueType:
        return common.FAIL_MODE_CLOSED if self._config.fail_mode == "closed" else common.FAIL_MODE_OPEN

    def _fail(
        self, rule: EndpointRule, request: RequestView, why: common.DegradedReason.ValueType
    ) -> Verdict:
        revision = self.plans.plan.revision if self.plans.plan else 0
        if rule.fail_mode != common.FAIL_MODE_LOCAL or rule.local is None:
            mode = common.FAIL_MODE_OPEN if rule.fail_mode == common.FAIL_MODE_LOCAL else rule.fail_mode
            return failed(mode, why, revision=revision)
        key = (rule.name, request.client_ip, *(extract(spec, request) for spec in rule.attributes))
        wait_s = self._buckets.take(key, rule.local, time.monotonic())
        return failed(rule.fail_mode, why, wait_s=wait_s, revision=revision)

    def _state(self) -> State:
        if self.plans.plan is None:
            return "connecting"
        return "degraded" if self._link.last_error else "ready"


def _new_id() -> str:
    return uuid7(time.time_ns() // 1_000_000, os.urandom(RANDOM_BYTES))
