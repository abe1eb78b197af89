"""Slots on the wire: given back with the next BatchCheck, or by one of their own within 5 ms; renewed while requests run."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from typing import Final

from usageflow.client._aio.link import Link
from usageflow.client._core.slots import Released, Slot, SlotMachine
from usageflow.v1 import common_pb2 as common
from usageflow.v1 import decision_pb2 as wire
from usageflow.v1 import usage_pb2

RELEASE_WITHIN_S: Final = 0.004
"""How long a release waits for a check to go with; the rest of 5 ms is the call's."""
_TIMEOUT_S: Final = 1.0
_MAX_OWN_CALLS: Final = 4


class SlotKeeper:
    """The slots of one session. Every BatchCheck goes through `send`, so that releases go along."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._loop = asyncio.get_running_loop()
        self._slots = SlotMachine()
        self._timer: asyncio.TimerHandle | None = None
        self._calls: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._next_us: int | None = None
        self._failed = False

    @property
    def held(self) -> int:
        """Slots of requests that run."""
        return len(self._slots)

    @property
    def dropped(self) -> int:
        """Releases that found no room: those slots end when their lives are over."""
        return self._slots.dropped

    @property
    def behind(self) -> bool:
        """True where a call that should have given slots back has failed and some still wait: they go with a report."""
        return self._failed and self._slots.waiting > 0

    def hold(self, slot: Slot) -> None:
        """Holds a slot until it is released, and renews it until then."""
        self._slots.hold(slot, self._now_us())
        due_us = self._slots.next_due_us()
        if due_us is not None and (self._next_us is None or due_us < self._next_us):
            self._wake.set()

    def release(self, slot: Slot) -> None:
        """Gives a slot back, once, with the next call or within 5 ms."""
        if self._slots.release(slot.slot_id) and self._timer is None:
            self._timer = self._loop.call_later(RELEASE_WITHIN_S, self._own_call)

    async def send(self, request: wire.BatchCheckRequest, timeout_s: float) -> wire.BatchCheckResponse:
        """Sends a BatchCheck that takes waiting releases along. Raises what `Link.check` raises; they stay then."""
        released = self.take()
        request.releases.extend(usage_pb2.Release(slot_id=item.slot_id) for item in released)
        try:
            answer = await self._link.check(request, timeout_s)
        except BaseException:
            self.untaken(released)
            raise
        self.taken(released, answer.errors)
        return answer

    def take(self) -> list[Released]:
        """Takes releases out for a call that goes out now. If it fails, `untaken` puts them back."""
        return self._slots.releases(self._now_us())

    def taken(self, released: Sequence[Released], errors: Sequence[usage_pb2.ItemError]) -> None:
        """Notes what the service answered to a call that took releases along."""
        if released:
            self._failed = False
            self.untaken(_silent(errors, released))

    def untaken(self, released: Sequence[Released]) -> None:
        """Puts back what a call did not carry out; it goes with the next, at the latest with a report."""
        if released:
            self._failed = True
            self._slots.unsent(released)

    async def run(self) -> None:
        """Renews slots until cancelled."""
        while True:
            await self._until_due()
            if due := self._slots.due(self._now_us()):
                self._spawn(self._renew(due))

    async def close(self, timeout_s: float) -> None:
        """Gives back every slot, trying once, for at most `timeout_s` seconds."""
        for call in self._calls:
            call.cancel()
        if self._calls:
            await asyncio.wait(self._calls)
        if self._timer is not None:
            self._timer.cancel()
        self._slots.close()
        self._failed = False
        deadline = self._loop.time() + timeout_s
        while self._slots.waiting and not self._failed and (left_s := deadline - self._loop.time()) > 0:
            await self._give_back(left_s)
        self._failed = True

    def _own_call(self) -> None:
        self._timer = None
        if len(self._calls) >= _MAX_OWN_CALLS:
            self._timer = self._loop.call_later(RELEASE_WITHIN_S, self._own_call)
        elif self._slots.waiting:
            self._spawn(self._give_back(_TIMEOUT_S))

    async def _give_back(self, timeout_s: float) -> None:
        try:
            await self.send(wire.BatchCheckRequest(), timeout_s)
        except Exception:  # noqa: BLE001 - whatever a hostile service provokes, they wait for the next call
            return

    async def _renew(self, slot_ids: Sequence[bytes]) -> None:
        renewals = [usage_pb2.Renewal(slot_id=slot_id) for slot_id in slot_ids]
        try:
            answer = await self.send(wire.BatchCheckRequest(renewals=renewals), _TIMEOUT_S)
        except Exception:  # noqa: BLE001 - whatever a hostile service provokes, it is tried again
            self._slots.unrenewed(slot_ids, self._now_us())
        else:
            self._renewed(slot_ids, _failed(answer.errors, usage_pb2.REPORT_ITEM_KIND_RENEWAL))
        self._wake.set()

    def _renewed(self, slot_ids: Sequence[bytes], failed: Mapping[int, common.ItemCode.ValueType]) -> None:
        now_us = self._now_us()
        for index, slot_id in enumerate(slot_ids):
            code = failed.get(index)
            if code is None:
                self._slots.renewed([slot_id], now_us)
            elif _is_silent(code):
                self._slots.unrenewed([slot_id], now_us)
            else:
                self._slots.forget([slot_id])

    async def _until_due(self) -> None:
        self._wake.clear()
        self._next_us = self._slots.next_due_us()
        try:
            async with asyncio.timeout_at(None if self._next_us is None else self._next_us / 1e6):
                await self._wake.wait()
        except TimeoutError:
            return

    def _spawn(self, call: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(call, name="usageflow-slots-call")
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    def _now_us(self) -> int:
        return int(self._loop.time() * 1e6)


def _silent(errors: Sequence[usage_pb2.ItemError], released: Sequence[Released]) -> list[Released]:
    """Returns the releases that could not be carried out now; the others are done, or their slots have ended."""
    failed = _failed(errors, usage_pb2.REPORT_ITEM_KIND_RELEASE)
    return [item for index, item in enumerate(released) if _is_silent(failed.get(index))]


def _failed(
    errors: Sequence[usage_pb2.ItemError], kind: usage_pb2.ReportItemKind.ValueType
) -> dict[int, common.ItemCode.ValueType]:
    return {error.index: error.status.code for error in errors if error.kind == kind}


def _is_silent(code: common.ItemCode.ValueType | None) -> bool:
    return code in (common.ITEM_CODE_UNAVAILABLE, common.ITEM_CODE_DEADLINE_EXCEEDED)
