"""Which customer an identity belongs to, looked up once per identity."""

from __future__ import annotations

from collections.abc import Iterable

from usageflow.domain.errors import NotFound
from usageflow.domain.identity import identity_hash
from usageflow.storage.ports import ControlStore

_MOST = 100_000
_KINDS = ("v:", "h:")
"""What may belong to a customer: nobody, and whoever is anonymous or erased, does not."""


class Owners:
    """Customers of one application's identities; ``hash_key`` is the application's."""

    def __init__(self, control: ControlStore, application_id: str, hash_key: bytes) -> None:
        self._control = control
        self._application_id = application_id
        self._hash_key = hash_key
        self._known: dict[str, str] = {}

    async def ensure(self, customers: Iterable[str]) -> None:
        """Raises NotFound for the first customer that there is not."""
        wanted = list(dict.fromkeys(customers))
        if not wanted:
            return
        known = {each.name for each in await self._control.customers(self._application_id, wanted)}
        for name in wanted:
            if name not in known:
                raise NotFound(f"there is no customer {name[:64]!r}", reason="CUSTOMER_NOT_FOUND")

    async def learn(self, keys: Iterable[str]) -> None:
        """Looks up whom these identities belong to, by their keys."""
        if len(self._known) > _MOST:
            self._known.clear()
        new = {key for key in keys if key.startswith(_KINDS) and key not in self._known}
        if not new:
            return
        hashes = {key: identity_hash(key, self._hash_key).hex() for key in new}
        owners = await self._control.identity_owners(self._application_id, sorted(set(hashes.values())))
        self._known |= {key: owners.get(hashed, "") for key, hashed in hashes.items()}

    def of(self, key: str) -> str:
        """Returns the customer of an identity that was learnt, "" for nobody's."""
        return self._known.get(key, "")
