"""Who callers are: pseudonyms, the identities that they stand for, and whose customers these are.

The directory knows identities by their keyed hash, usage by pseudonym; the mapping row between them holds a plain value or a
hash. So values are hashed here as they are read, a microsecond each: nothing is kept that could outlive an erased mapping.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import Connection

from usageflow.domain.errors import Fault, InvalidArgument
from usageflow.domain.identity import title_of
from usageflow.storage.analytics import HashOf
from usageflow.storage.sql.directory_read import customers, identities_of
from usageflow.storage.sql.driver import among, array_of, fetch
from usageflow.storage.sql.interning import NOBODY, key_of
from usageflow.storage.sql.statements import chunked

_VALUES = "SELECT pseudonym, value FROM identities WHERE application_id = ? AND "
_OWNERS = "SELECT identity_hash, customer FROM customer_identities WHERE application_id = ?"
_NAMED = "SELECT pseudonym FROM identities WHERE application_id = ? AND value >= ? AND value < ?"


class Callers:
    """The callers of one application, as one transaction sees them."""

    def __init__(self, connection: Connection, application_id: str, hash_of: HashOf) -> None:
        self._connection = connection
        self._application_id = application_id
        self._hash_of = hash_of

    def titles(self, pseudonyms: Collection[int]) -> dict[int, str]:
        """Returns what people see of each: erased ones are told apart by a number."""
        values = self._values(pseudonyms)
        return {each: title_of(key_of(each, values.get(each))) for each in (NOBODY, *pseudonyms)}

    def customers(self, pseudonyms: Collection[int]) -> dict[int, str]:
        """Returns the customer of each, "" for nobody's."""
        rows = fetch(self._connection, _OWNERS, (self._application_id,))
        return self._owned(pseudonyms, {bytes(hashed): customer for hashed, customer in rows})

    def of_customers(self, names: Sequence[str], pseudonyms: Collection[int]) -> set[int]:
        """Returns those of the pseudonyms that belong to these customers. Raises InvalidArgument for a customer that is not there."""
        present = {each.name for each in customers(self._connection, self._application_id, names)}
        faults = [
            Fault(f"filter.customers[{index}]", f"there is no customer {name!r}", "send one of ListCustomers")
            for index, name in enumerate(names)
            if name not in present
        ]
        if faults:
            raise InvalidArgument(faults)
        owners: dict[bytes, str] = {}
        for chunk in chunked(sorted(present)):
            found = identities_of(self._connection, self._application_id, chunk)
            owners |= {bytes.fromhex(each): name for name, hashes in found.items() for each in hashes}
        return {each for each, owner in self._owned(pseudonyms, owners).items() if owner}

    def named(self, identities: Sequence[str]) -> set[int]:
        """Returns the pseudonyms of identities as people write them: plain ones may be kept as hashes, and hashes may be cut."""
        found: set[int] = set()
        for identity in identities:
            for first, end in self._ranges(identity):
                rows = fetch(self._connection, _NAMED, (self._application_id, first, end))
                found.update(pseudonym for (pseudonym,) in rows)
        return found

    def _ranges(self, identity: str) -> list[tuple[str, str]]:
        """Returns the spans of values that an identity may be kept under, from (included) to (excluded)."""
        if identity.startswith("hash:"):
            prefix = f"h:{identity.removeprefix('hash:')}"
            return [(prefix, f"{prefix}g")]  # past every hex digit
        values = [f"v:{identity}", f"h:{self._hash_of(f'v:{identity}').hex()}"]
        if identity.startswith("anonymous:"):
            values.append(f"a:{identity.removeprefix('anonymous:')}")
        return [(value, f"{value}\x01") for value in values]

    def _owned(self, pseudonyms: Collection[int], owners: Mapping[bytes, str]) -> dict[int, str]:
        if not owners:
            return dict.fromkeys(pseudonyms, "")
        values = self._values(pseudonyms)
        found = {each: owners.get(self._hash_of(value), "") for each, value in values.items()}
        return {each: found.get(each, "") for each in pseudonyms}

    def _values(self, pseudonyms: Collection[int]) -> dict[int, str]:
        wanted = array_of(self._connection, sorted(pseudonyms))
        statement = _VALUES + among(self._connection, "pseudonym")
        return dict(fetch(self._connection, statement, (self._application_id, wanted)))
