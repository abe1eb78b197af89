"""A customer as billing sees it: who pays, and whose open units are theirs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from meter.sinks.port import Payer
from usageflow.domain.errors import NotFound
from usageflow.domain.hashing import KeyOf
from usageflow.storage.identities import IdentityStore
from usageflow.storage.naming import application_named
from usageflow.storage.ports import ControlStore


@dataclass(frozen=True, slots=True)
class BilledCustomer:
    """``pseudonyms`` are those of the customer's identities."""

    application_id: str
    payer: Payer
    pseudonyms: Sequence[int]


class BilledCustomers:
    """Looks customers up by the names that people give."""

    def __init__(self, control: ControlStore, identities: IdentityStore, key_of: KeyOf) -> None:
        self._control = control
        self._identities = identities
        self._key_of = key_of

    async def application_id(self, name: str) -> str:
        """Returns an application's id. Raises NotFound."""
        return (await application_named(self._control, name)).application_id

    async def payer(self, application_id: str, customer: str) -> Payer:
        """Returns who pays. Raises NotFound."""
        known = await self._control.customers(application_id, [customer])
        if not known:
            raise NotFound(f"there is no customer {customer[:64]!r}", reason="CUSTOMER_NOT_FOUND")
        return Payer(known[0].name, known[0].stripe_customer)

    async def find(self, application: str, customer: str) -> BilledCustomer:
        """Returns a customer with their pseudonyms. Raises NotFound."""
        found = await application_named(self._control, application)
        payer = await self.payer(found.application_id, customer)
        (known,) = await self._control.customers(found.application_id, [customer])
        hashes = [bytes.fromhex(each) for each in known.identities]
        owned = await self._identities.find(found.application_id, hashes, self._key_of(found.name))
        return BilledCustomer(found.application_id, payer, [each.pseudonym for each in owned])
