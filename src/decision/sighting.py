"""Registers endpoints that reports name and nobody registered, so that plans know them: apart from reports, in batches."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Protocol

import structlog

from decision.snapshots import SnapshotRegistry
from usageflow.domain.errors import UsageFlowError
from usageflow.domain.usage import EndpointName

MAX_SIGHTED = 10_000
"""Per application, in the database: whoever reports raw paths as templates fills no more than that."""

MAX_AT_ONCE = 500
LOOK_S = 0.5
PAUSE_S = 5.0
"""After something was registered: each time the plan of everybody changes."""

_REMEMBERED = 50_000
"""Endpoints that were handled, whatever became of them, and are not handled again by this process."""

log = structlog.get_logger()


class Sights(Protocol):
    """Where endpoints are registered: decision.registering.Registering."""

    async def sight(self, application_id: str, names: list[EndpointName], most: int) -> int:
        """Returns how many of these were new. Raises UsageFlowError."""


class Sighting:
    """Looks at what reports named; ``run`` is its one worker."""

    def __init__(self, snapshots: SnapshotRegistry, sights: Sights) -> None:
        self._snapshots = snapshots
        self._sights = sights
        self._handled: OrderedDict[tuple[str, EndpointName], None] = OrderedDict()
        self._failing = False

    async def run(self) -> None:
        """Registers for ever; while the database does not answer, what was named waits."""
        while True:
            pause_s = await self.step()
            await asyncio.sleep(pause_s)

    async def step(self) -> float:
        """Looks once; returns how long to wait before the next look, in seconds."""
        try:
            made = await self.look()
        except UsageFlowError as error:
            if not self._failing:  # an outage is told once
                log.warning("endpoints that reports name are not registered yet", error=str(error))
            self._failing = True
            return PAUSE_S
        self._failing = False
        return PAUSE_S if made else LOOK_S

    async def look(self) -> int:
        """Registers what was named since the last look; returns how many endpoints were new. Raises UsageFlowError."""
        made = 0
        for application_id in self._snapshots.in_force():
            plan = self._snapshots.plan(application_id)
            if plan is not None and plan.accounts.named:
                made += await self._register(application_id, plan.accounts.named)
        return made

    async def _register(self, application_id: str, named: set[EndpointName]) -> int:
        asked = [*named]
        fresh = [name for name in asked if (application_id, name) not in self._handled][:MAX_AT_ONCE]
        made = await self._sights.sight(application_id, fresh, MAX_SIGHTED) if fresh else 0
        self._remember(application_id, fresh)
        named.difference_update(name for name in asked if (application_id, name) in self._handled)
        return made

    def _remember(self, application_id: str, names: list[EndpointName]) -> None:
        for name in names:
            self._handled[application_id, name] = None
        while len(self._handled) > _REMEMBERED:
            self._handled.popitem(last=False)
