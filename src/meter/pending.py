"""The use-case behind ListPending."""

from __future__ import annotations

from collections.abc import Sequence

from usageflow.domain.errors import NotFound
from usageflow.domain.hashing import KeyOf
from usageflow.domain.usage import PendingRow
from usageflow.storage.identities import IdentityStore
from usageflow.storage.naming import application_named
from usageflow.storage.ports import ControlStore, UsageStore


class Pending:
    """Tells what waits to be billed."""

    def __init__(
        self, control: ControlStore, usage: UsageStore, identities: IdentityStore, key_of: KeyOf
    ) -> None:
        self._control = control
        self._usage = usage
        self._identities = identities
        self._key_of = key_of

    async def list(self, application: str, customer: str = "") -> Sequence[PendingRow]:
        """Returns unclaimed units per endpoint and price, most units first: of everybody, or of a customer. Raises NotFound."""
        found = await application_named(self._control, application)
        if not customer:
            return await self._usage.pending(found.application_id)
        known = await self._control.customers(found.application_id, [customer])
        if not known:
            raise NotFound(f"there is no customer {customer[:64]!r}", reason="CUSTOMER_NOT_FOUND")
        hashes = [bytes.fromhex(each) for each in known[0].identities]
        owned = await self._identities.find(found.application_id, hashes, self._key_of(found.name))
        return await self._usage.pending(found.application_id, [each.pseudonym for each in owned])
