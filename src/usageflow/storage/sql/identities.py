"""Identities that usage was reported for, in SQL."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from sqlalchemy import Connection, select

from usageflow.domain.hashing import keyed_hash
from usageflow.storage.identities import KnownIdentity
from usageflow.storage.sql.database import Database
from usageflow.storage.sql.statements import chunked
from usageflow.storage.sql.tables import IDENTITIES

_T = IDENTITIES.c
_PAGE = 5_000
_PLAIN, _BEHIND_PLAIN = "v:", "v;"
"""Between these stand the keys of plain values, since text is ordered by its bytes."""


class SqlIdentityStore:
    """The IdentityStore over SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(
        self, application_id: str, hashes: Collection[bytes], hash_key: bytes
    ) -> Sequence[KnownIdentity]:
        """See IdentityStore."""
        if not hashes:
            return []
        return await self._database.read(
            lambda connection: sorted(
                [
                    *_hashed(connection, application_id, hashes),
                    *_plain(connection, application_id, hashes, hash_key),
                ],
                key=lambda found: found.key,
            )
        )

    async def keys_of(self, application_id: str, pseudonyms: Collection[int]) -> Mapping[int, str]:
        """See IdentityStore."""
        wanted = sorted(set(pseudonyms))
        return await self._database.read(lambda connection: _keys_of(connection, application_id, wanted))


def _keys_of(connection: Connection, application_id: str, pseudonyms: Sequence[int]) -> dict[int, str]:
    return {
        pseudonym: value
        for chunk in chunked(pseudonyms)
        for pseudonym, value in connection.execute(
            select(_T.pseudonym, _T.value).where(_T.pseudonym.in_(chunk), _T.application_id == application_id)
        )
    }


def _hashed(
    connection: Connection, application_id: str, hashes: Collection[bytes]
) -> Iterator[KnownIdentity]:
    for chunk in chunked(sorted(f"h:{each.hex()}" for each in hashes)):
        statement = select(_T.value, _T.pseudonym).where(
            _T.application_id == application_id, _T.value.in_(chunk)
        )
        for value, pseudonym in connection.execute(statement):
            yield KnownIdentity(value, bytes.fromhex(value[2:]), pseudonym)


def _plain(
    connection: Connection, application_id: str, hashes: Collection[bytes], hash_key: bytes
) -> Iterator[KnownIdentity]:
    """Goes through all plain values until every hash was met."""
    missing = set(hashes)
    statement = select(_T.value, _T.pseudonym).where(
        _T.application_id == application_id, _T.value >= _PLAIN, _T.value < _BEHIND_PLAIN
    )
    with connection.execution_options(yield_per=_PAGE).execute(statement) as rows:
        for value, pseudonym in rows:
            hashed = keyed_hash(hash_key, value[2:])
            if hashed in missing:
                missing.discard(hashed)
                yield KnownIdentity(value, hashed, pseudonym)
                if not missing:
                    return
