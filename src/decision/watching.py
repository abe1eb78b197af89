"""The use-case behind WatchPlan: the plan now, after every change, and a word of farewell."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from decision.plan import Plan
from decision.snapshots import SnapshotRegistry

PPM = 1_000_000


@dataclass(frozen=True, slots=True)
class Sent:
    """A plan for one watcher; ``share_ppm`` is its share of local fallbacks, in millionths."""

    plan: Plan
    share_ppm: int


class Watching:
    """Streams plans. drain() ends every stream."""

    def __init__(self, snapshots: SnapshotRegistry) -> None:
        self._snapshots = snapshots
        self._draining = asyncio.Event()
        self._watchers: defaultdict[str, set[asyncio.Event]] = defaultdict(set)

    def drain(self) -> None:
        """Tells every watcher to go elsewhere, and ends its stream."""
        self._draining.set()

    async def watch(self, application_id: str, plan_version: int) -> AsyncGenerator[Sent | None, None]:
        """Yields each plan whose version is not the one that the watcher holds, and a plan with local fallbacks again
        when watchers came or went, since each has a share of them; None once, as the last, on drain.
        """
        crowd = asyncio.Event()
        self._join(application_id, crowd)
        try:
            while True:
                plan = await self._next(application_id, plan_version, crowd)
                if plan is None:
                    yield None
                    return
                plan_version = plan.snapshot.plan_version
                yield Sent(plan, PPM // len(self._watchers[application_id]))
        finally:
            self._leave(application_id, crowd)

    async def _next(self, application_id: str, plan_version: int, crowd: asyncio.Event) -> Plan | None:
        """Returns the next plan to send; None on drain."""
        other = asyncio.ensure_future(self._snapshots.wait_for_other(application_id, plan_version))
        draining = asyncio.ensure_future(self._draining.wait())
        changed = asyncio.ensure_future(self._share_changed(application_id, crowd))
        try:
            await asyncio.wait({other, draining, changed}, return_when=asyncio.FIRST_COMPLETED)
            if draining.done():
                return None
            crowd.clear()
            return other.result() if other.done() else self._snapshots.plan(application_id)
        finally:
            for waiting in (other, draining, changed):
                waiting.cancel()

    async def _share_changed(self, application_id: str, crowd: asyncio.Event) -> None:
        """Returns when the number of watchers has changed and the plan depends on it."""
        while True:
            await crowd.wait()
            plan = self._snapshots.plan(application_id)
            if plan is not None and plan.has_local_fallback:
                return
            crowd.clear()

    def _join(self, application_id: str, crowd: asyncio.Event) -> None:
        self._watchers[application_id].add(crowd)
        self._tell(application_id)

    def _leave(self, application_id: str, crowd: asyncio.Event) -> None:
        self._watchers[application_id].discard(crowd)
        self._tell(application_id)

    def _tell(self, application_id: str) -> None:
        for crowd in self._watchers[application_id]:
            crowd.set()
