"""The port of identities that usage was reported for; tests/contract runs its docstrings on every back end."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class KnownIdentity:
    """An identity that usage was reported for: its key (usageflow.domain.identity), the hash that the directory enters it under, and
    what stands for it in usage.
    """

    key: str
    hash: bytes
    pseudonym: int


class IdentityStore(Protocol):
    """Who usage was reported for. A store that does not answer raises usageflow.domain.errors.Unavailable."""

    async def find(
        self, application_id: str, hashes: Collection[bytes], hash_key: bytes
    ) -> Sequence[KnownIdentity]:
        """Returns the identities with these hashes (32 bytes, under the application's key), in order of their keys. Plain values are
        stored as they are, so they are hashed and compared one by one: O(identities of the application).
        """

    async def keys_of(self, application_id: str, pseudonyms: Collection[int]) -> Mapping[int, str]:
        """Returns the keys of the identities that these pseudonyms stand for. 0 (nobody), and those that are not known or were erased, are left
        out.
        """
