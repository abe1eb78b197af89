"""Checks on their way: coalesced without a timer.

Up to four BatchChecks are in flight per store group; what arrives meanwhile goes in the next.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from usageflow.client._aio.link import Fault, Link
from usageflow.client._aio.slots import SlotKeeper
from usageflow.client._core.breaker import CircuitBreaker
from usageflow.client._core.check import MAX_ITEMS, build_item, read_result
from usageflow.client._core.plan import EndpointRule, Plan, PlanState
from usageflow.client._core.request import RequestView
from usageflow.client._core.verdict import Verdict
from usageflow.v1 import common_pb2 as common
from usageflow.v1 import decision_pb2 as wire

MAX_IN_FLIGHT: Final = 4

WhyNot: TypeAlias = "common.DegradedReason.ValueType"
"""Why nothing was decided."""

_TIMEOUT: Final = common.DEGRADED_REASON_SERVICE_TIMEOUT
_UNAVAILABLE: Final = common.DEGRADED_REASON_SERVICE_UNAVAILABLE


@dataclass(slots=True)
class _Waiter:
    rule: EndpointRule
    request: RequestView
    deadline: float
    future: asyncio.Future[Verdict | WhyNot]

    def settle(self, answer: Verdict | WhyNot) -> None:
        if not self.future.done():
            self.future.set_result(answer)


class CheckLane:
    """The checks of one store group, so that a slow store holds up only its own."""

    def __init__(self, link: Link, slots: SlotKeeper, plans: PlanState, deadline_s: float) -> None:
        self._link = link
        self._slots = slots
        self._plans = plans
        self._deadline_s = deadline_s
        self._loop = asyncio.get_running_loop()
        self._pending: deque[_Waiter] = deque()
        self._calls: set[asyncio.Task[None]] = set()
        self.breaker = CircuitBreaker()

    async def ask(self, rule: EndpointRule, request: RequestView) -> Verdict | WhyNot:
        """Returns the service's verdict, or by the deadline at the latest why there is none."""
        now = self._loop.time()
        if not self.breaker.allow(now):
            return _UNAVAILABLE
        waiter = _Waiter(rule, request, now + self._deadline_s, self._loop.create_future())
        timer = self._loop.call_at(waiter.deadline, waiter.settle, _TIMEOUT)
        self._pending.append(waiter)
        self._dispatch()
        try:
            return await waiter.future
        except asyncio.CancelledError:
            if not waiter.future.cancelled():  # answered, but nobody is left to hear it
                self._leave(waiter.future.result())
            raise
        finally:
            timer.cancel()

    async def close(self) -> None:
        """Stops all calls; who still waits is told that the service is unavailable."""
        for call in self._calls:
            call.cancel()
        if self._calls:
            await asyncio.wait(self._calls)
        while self._pending:
            self._pending.popleft().settle(_UNAVAILABLE)

    def _dispatch(self) -> None:
        while len(self._calls) < MAX_IN_FLIGHT and (batch := self._take()):
            call = self._loop.create_task(self._run(batch))
            self._calls.add(call)
            call.add_done_callback(self._done)

    def _done(self, call: asyncio.Task[None]) -> None:
        self._calls.discard(call)
        if not call.cancelled():
            self._dispatch()

    def _take(self) -> list[_Waiter]:
        batch: list[_Waiter] = []
        while self._pending and len(batch) < MAX_ITEMS:
            waiter = self._pending.popleft()
            if not waiter.future.done():
                batch.append(waiter)
        return batch

    async def _run(self, batch: Sequence[_Waiter]) -> None:
        why = _UNAVAILABLE
        try:
            await self._call(batch)
        except Exception as error:  # noqa: BLE001 - whatever a hostile service provokes, the fail mode decides
            fault = Fault.of(error)
            why = _TIMEOUT if fault.timed_out else _UNAVAILABLE
            self.breaker.failed(self._loop.time(), hold_s=fault.hold_s)
            self._link.fails(fault)
        finally:
            for waiter in batch:
                waiter.settle(why)

    async def _call(self, batch: Sequence[_Waiter]) -> None:
        plan = self._plans.plan
        if plan is None:
            return
        try:
            answer = await self._send(plan, batch, by_name=False)
        except Exception as error:
            if not Fault.of(error).plan_unknown:
                raise
            answer = await self._send(plan, batch, by_name=True)
        if len(answer.results) != len(batch):
            raise ValueError(f"the service answered {len(answer.results)} of {len(batch)} checks")
        self.breaker.succeeded()
        self._link.works()
        for waiter, result in zip(batch, answer.results, strict=True):
            self._settle(waiter, read_result(plan, result, answer.revision) or _why_not(result))

    def _settle(self, waiter: _Waiter, answer: Verdict | WhyNot) -> None:
        if isinstance(answer, Verdict) and answer.slot is not None:
            self._slots.hold(answer.slot)
            if waiter.future.done():
                self._leave(answer)
        waiter.settle(answer)

    def _leave(self, answer: Verdict | WhyNot) -> None:
        """Gives back what an answer holds that nobody waits for any more."""
        if isinstance(answer, Verdict) and answer.slot is not None:
            self._slots.release(answer.slot)

    async def _send(self, plan: Plan, batch: Sequence[_Waiter], *, by_name: bool) -> wire.BatchCheckResponse:
        now = self._loop.time()
        items = [
            build_item(plan, w.rule, w.request, max(int((w.deadline - now) * 1_000), 1), by_name=by_name)
            for w in batch
        ]
        request = wire.BatchCheckRequest(plan_version=0 if by_name else plan.version, items=items)
        timeout = max(waiter.deadline for waiter in batch) - now
        return await self._slots.send(request, max(timeout, 0.001))


def _why_not(result: wire.CheckResult) -> WhyNot:
    return _TIMEOUT if result.status.code == common.ITEM_CODE_DEADLINE_EXCEEDED else _UNAVAILABLE
