"""Who pays for the units of a pseudonym."""

from __future__ import annotations

from collections.abc import Collection

from meter.sinks.port import Payer
from usageflow.storage.billing import BacklogRow
from usageflow.storage.identities import IdentityStore
from usageflow.storage.owners import Owners
from usageflow.storage.ports import ControlStore

_STRIPE = "cus_"


class Payers:
    """The payers of one application, as they are now; ``hash_key`` is the application's."""

    def __init__(
        self, control: ControlStore, identities: IdentityStore, application_id: str, hash_key: bytes
    ) -> None:
        self._control = control
        self._identities = identities
        self._application_id = application_id
        self._owners = Owners(control, application_id, hash_key)
        self._keys: dict[int, str] = {}
        self._accounts: dict[str, str] = {}

    async def learn(self, rows: Collection[BacklogRow]) -> None:
        """Looks up who pays for these rows."""
        pseudonyms = {row.pseudonym for row in rows if row.pseudonym and not row.bound}
        new = sorted(pseudonyms - self._keys.keys())
        self._keys |= await self._identities.keys_of(self._application_id, new)
        await self._owners.learn(self._keys.values())
        names = {self._owners.of(key) for key in self._keys.values()}
        names |= {row.bound for row in rows if not row.bound.startswith(_STRIPE)}
        missing = sorted(names - self._accounts.keys() - {""})
        for customer in await self._control.customers(self._application_id, missing):
            self._accounts[customer.name] = customer.stripe_customer

    def of(self, row: BacklogRow) -> Payer | None:
        """Returns who pays for a row that was learnt; None where nobody does."""
        if row.bound.startswith(_STRIPE):
            return Payer(row.bound, row.bound)
        name = row.bound or self._owners.of(self._keys.get(row.pseudonym, ""))
        return Payer(name, self._accounts.get(name, "")) if name else None
