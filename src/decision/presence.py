"""Reports what this process enforces: soon after each change, and now and then to say that it lives."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import replace

import structlog

from decision.snapshots import SnapshotRegistry
from usageflow.domain.clock import Clock
from usageflow.domain.errors import UsageFlowError
from usageflow.domain.snapshot import Snapshot
from usageflow.storage.replicas import Enforced, Replica, ReplicaStore, Report

HEARTBEAT_S = 5.0
PAUSE_S = 0.1
"""Between two reports at least: changes that come together are told together."""

ANSWER_S = 2.0
"""For the farewell: nobody waits longer for it."""

log = structlog.get_logger()


class Presence:
    """Says in the database who is here; run() is its one worker."""

    def __init__(
        self,
        replica: Replica,
        snapshots: SnapshotRegistry,
        store: ReplicaStore,
        clock: Clock,
        from_cache: Callable[[], bool],
    ) -> None:
        self._replica = replica
        self._snapshots = snapshots
        self._store = store
        self._clock = clock
        self._from_cache = from_cache
        self._states: dict[str, Enforced] = {}
        self._swapped = asyncio.Event()
        self._silent = False
        snapshots.on_swap(self._see)

    def serve_at(self, address: str) -> None:
        """Says where this process serves."""
        self._replica = replace(self._replica, address=address)

    async def run(self) -> None:
        """Reports for ever; a database that does not answer stops nothing."""
        while True:
            await self.report()
            await asyncio.sleep(PAUSE_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HEARTBEAT_S):
                    await self._swapped.wait()

    async def report(self) -> None:
        """Reports once."""
        self._swapped.clear()
        self._note()
        replica = replace(self._replica, from_cache=self._from_cache())
        try:
            await self._store.report(Report(replica, self._clock.now_us(), dict(self._states)))
            self._silent = False
        except UsageFlowError as error:
            if not self._silent:
                log.warning("cannot report what is enforced here", error=str(error))
            self._silent = True

    async def leave(self) -> None:
        """Says farewell, where the database answers."""
        if self._silent:
            return
        with contextlib.suppress(UsageFlowError, TimeoutError):
            async with asyncio.timeout(ANSWER_S):
                await self._store.leave(self._replica.replica_id)

    def _see(self) -> None:
        self._note()
        self._swapped.set()

    def _note(self) -> None:
        """Notes when each application came to what it is at."""
        self._states = _seen(self._states, self._snapshots.in_force(), self._clock.now_us())


def _seen(
    before: Mapping[str, Enforced], in_force: Mapping[str, Snapshot], now_us: int
) -> dict[str, Enforced]:
    states = {}
    for application_id, snapshot in in_force.items():
        state = Enforced(snapshot.revision, snapshot.plan_version, snapshot.directory.version, now_us)
        known = before.get(application_id)
        same = known is not None and replace(known, since_us=now_us) == state
        states[application_id] = known if known is not None and same else state
    return states
