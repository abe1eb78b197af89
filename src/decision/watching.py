"""The use-case behind WatchPlan: the plan now, after every change, and a word of farewell."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from decision.plan import Plan
from decision.snapshots import SnapshotRegistry


class Watching:
    """Streams plans. drain() ends every stream."""

    def __init__(self, snapshots: SnapshotRegistry) -> None:
        self._snapshots = snapshots
        self._draining = asyncio.Event()

    def drain(self) -> None:
        """Tells every watcher to go elsewhere, and ends its stream."""
        self._draining.set()

    async def watch(self, application_id: str, plan_version: int) -> AsyncIterator[Plan | None]:
        """Yields each plan whose version is not the one that the watcher holds; None once, as the last, on drain."""
        draining = asyncio.ensure_future(self._draining.wait())
        try:
            while True:
                other = asyncio.ensure_future(self._snapshots.wait_for_other(application_id, plan_version))
                try:
                    await asyncio.wait({other, draining}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    if not other.done():
                        other.cancel()
                if draining.done():
                    yield None
                    return
                plan = other.result()
                plan_version = plan.snapshot.plan_version
                yield plan
        finally:
            draining.cancel()
