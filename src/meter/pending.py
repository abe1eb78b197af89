"""The use-case behind ListPending."""

from __future__ import annotations

from collections.abc import Sequence

from usageflow.domain.errors import NotFound
from usageflow.domain.usage import PendingRow
from usageflow.storage.ports import ControlStore, UsageStore


class Pending:
    """Tells what waits to be billed."""

    def __init__(self, control: ControlStore, usage: UsageStore) -> None:
        self._control = control
        self._usage = usage

    async def list(self, application: str) -> Sequence[PendingRow]:
        """Returns unclaimed units per endpoint and price, most units first. Raises NotFound."""
        found = await self._control.find_application(application)
        if found is None:
            raise NotFound(f"there is no application {application[:64]!r}", reason="APPLICATION_NOT_FOUND")
        return await self._usage.pending(found.application_id)
