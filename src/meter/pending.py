"""The use-cases behind ListPending and ListMeteringFailures: what waits to be billed, and what could not be metered."""

from __future__ import annotations

from collections.abc import Sequence

from meter.customers import BilledCustomers
from meter.operating import MOST_PARTS, USUAL_PARTS, read_token
from usageflow.domain.hashing import KeyOf
from usageflow.domain.usage import ListedFailure, PendingRow
from usageflow.storage.identities import IdentityStore
from usageflow.storage.ports import ControlStore, UsageStore


class Pending:
    """Tells what waits to be billed, and what never will by itself."""

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

    async def failures(
        self, application: str, *, page_size: int, page_token: str
    ) -> tuple[Sequence[ListedFailure], str]:
        """Returns a page of metering expressions that came to nothing, newest first, and the token of the next one, "" at the end. Raises
        NotFound and InvalidArgument.
        """
        size = min(page_size or USUAL_PARTS, MOST_PARTS)
        before = read_token(page_token)
        application_id = await self._customers.application_id(application)
        rows = await self._usage.metering_failures(application_id, before=before, limit=size + 1)
        page = rows[:size]
        return page, str(page[-1].row_id) if len(rows) > size else ""
