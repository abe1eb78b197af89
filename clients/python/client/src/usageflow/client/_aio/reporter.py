"""Delivers events: every second or so, or as soon as a full batch waits."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Final

import grpc

from usageflow.client._aio.link import Fault, Link, log
from usageflow.client._aio.slots import SlotKeeper
from usageflow.client._core.pacing import Backoff, Throttle
from usageflow.client._core.plan import PlanState
from usageflow.client._core.queue import EventQueue, build_report, forget_numbers
from usageflow.v1 import usage_pb2

_TIMEOUT_S: Final = 10.0
_UNACCEPTABLE: Final = frozenset(
    {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.OUT_OF_RANGE, grpc.StatusCode.ALREADY_EXISTS}
)


class Reporter:
    """One report in flight at a time; what could not be delivered stays in the queue, with the same ids. Reports take along the
    slots that no check could give back.
    """

    def __init__(
        self, link: Link, plans: PlanState, queue: EventQueue, slots: SlotKeeper, interval_s: float
    ) -> None:
        self._link = link
        self._plans = plans
        self._queue = queue
        self._slots = slots
        self._interval_s = interval_s
        self._wake = asyncio.Event()
        self._backoff = Backoff(first_s=0.5, cap_s=30.0)
        self._loss_told = Throttle()
        self._told_lost = 0
        self._knows_numbers = True

    def add(self, event: usage_pb2.UsageEvent) -> None:
        """Queues an event."""
        self._queue.add(event)
        if self._queue.has_full_batch:
            self._wake.set()

    def retry_now(self) -> None:
        """Ends a pause: something else has heard from the service."""
        self._backoff.reset()
        self._wake.set()

    async def run(self) -> None:
        """Delivers until cancelled."""
        pause = self._interval_s
        while True:
            await self._sleep(pause)
            pause = await self._drain() or self._interval_s
            self._tell_losses()

    async def flush(self, timeout_s: float) -> None:
        """Delivers what waits, trying for at most `timeout_s` seconds."""
        deadline = time.monotonic() + timeout_s
        while self._waits and (left := deadline - time.monotonic()) > 0:
            if await self._send(min(left, _TIMEOUT_S)):
                await asyncio.sleep(min(0.1, max(deadline - time.monotonic(), 0.0)))
        self._tell_losses()
        if len(self._queue):
            log.warning(
                "UsageFlow: %d events were not delivered before the application stopped", len(self._queue)
            )

    @property
    def _waits(self) -> bool:
        return len(self._queue) > 0 or self._slots.behind

    async def _drain(self) -> float:
        """Returns 0.0 once the queue is empty, or the seconds to wait before the next attempt."""
        while self._waits:
            if pause := await self._send(_TIMEOUT_S):
                return pause
        return 0.0

    async def _send(self, timeout_s: float) -> float:
        """Sends one report. Returns 0.0, or the seconds to wait before the next attempt."""
        events = self._queue.batch()
        if not self._knows_numbers:
            forget_numbers(events)
        version = self._plans.plan.version if self._plans.plan else 0
        report = build_report(events, version, time.time_ns())
        released = self._slots.take() if self._slots.behind else []
        report.releases.extend(usage_pb2.Release(slot_id=item.slot_id) for item in released)
        try:
            answer = await self._link.report(report, timeout_s)
        except BaseException as error:
            self._slots.untaken(released)
            if not isinstance(error, Exception):
                raise
            # Whatever a hostile service provokes, the events stay.
            return self._failed(Fault.of(error), len(events))
        self._slots.taken(released, answer.errors)
        self._knows_numbers = True
        self._backoff.reset()
        self._link.works()
        for status in self._queue.delivered(len(events), answer)[:1]:
            log.warning("UsageFlow refused events: %s %s %s", status.reason, status.message, status.fix)
        return self._interval_s if answer.errors and len(self._queue) else 0.0

    def _failed(self, fault: Fault, count: int) -> float:
        if fault.plan_unknown and self._knows_numbers:
            self._knows_numbers = False
            return 0.0
        if count and fault.code in _UNACCEPTABLE:
            if self._queue.rejected(count):
                log.warning("UsageFlow refused an event (%s); it is not sent again", fault.text)
            return 0.0
        if fault.code == grpc.StatusCode.RESOURCE_EXHAUSTED:
            self._queue.halve(count)
        self._link.fails(fault)
        return self._backoff.next(random.random(), at_least_s=fault.hold_s)  # noqa: S311 - jitter, not a secret

    async def _sleep(self, seconds: float) -> None:
        self._wake.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return

    def _tell_losses(self) -> None:
        lost = self._queue.dropped + self._queue.refused
        if lost > self._told_lost and self._loss_told.ready(time.monotonic()):
            log.warning(
                "UsageFlow lost %d events: the queue of undelivered ones was full, or the service refused them",
                lost - self._told_lost,
            )
            self._told_lost = lost
