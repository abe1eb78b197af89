"""The use-case behind ListPending."""

from __future__ import annotations

from collections.abc import Sequence

from usageflow.domain.usage import PendingRow
from usageflow.storage.naming import application_named
from usageflow.storage.ports import ControlStore, UsageStore


class Pending:
    """Tells what waits to be billed."""

    def __init__(self, control: ControlStore, usage: UsageStore) -> None:
        self._control = control
        self._usage = usage

    async def list(self, application: str) -> Sequence[PendingRow]:
        """Returns unclaimed units per endpoint and price, most units first. Raises NotFound."""
        found = await application_named(self._control, application)
        return await self._usage.pending(found.application_id)
