"""The use-case behind ListPending."""

from __future__ import annotations

from collections.abc import Sequence

from meter.customers import BilledCustomers
from usageflow.domain.hashing import KeyOf
from usageflow.domain.usage import PendingRow
from usageflow.storage.identities import IdentityStore
from usageflow.storage.ports import ControlStore, UsageStore


class Pending:
    """Tells what waits to be billed."""

    def __init__(
        self, control: ControlStore, usage: UsageStore, identities: IdentityStore, key_of: KeyOf
    ) -> None:
        self._customers = BilledCustomers(control, identities, key_of)
        self._usage = usage

    async def list(self, application: str, customer: str = "") -> Sequence[PendingRow]:
        """Returns unclaimed units per endpoint and price, most units first: of everybody, or of a customer. Raises NotFound."""
        if not customer:
            return await self._usage.pending(await self._customers.application_id(application))
        found = await self._customers.find(application, customer)
        return await self._usage.pending(found.application_id, found.pseudonyms)
