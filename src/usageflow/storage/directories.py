"""The directory of customers: the reading half of its port. It is written through ControlStore.change.

Customers are stored by hash: identities are 64 hex digits, in order. Each customer carries the version of the directory
that it last changed at, so the log of changes is as long as the directory and no longer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from usageflow.domain.customers import Customer
from usageflow.domain.directory import Entry


@dataclass(frozen=True, slots=True)
class DirectoryChanges:
    """What became of a directory by ``version``: entries that were made or changed, names of customers that are gone.
    ``whole``: these entries are all there is.
    """

    version: int
    entries: Sequence[Entry]
    deleted: Sequence[str]
    whole: bool


class DirectorySource(Protocol):
    """What decisions need of customers."""

    async def directory_changes(self, known: Mapping[str, int]) -> Mapping[str, DirectoryChanges]:
        """Returns, by application id, what changed since the version that is known, of one instant: everything where none
        is, and where the directory is at an older version (the database was put back). Directories that are as known are left out; those without customers are at version 0.

        Asked where the poll found another version.
        """


class Directories(DirectorySource, Protocol):
    """Customers of applications."""

    async def customers(self, application_id: str, names: Sequence[str]) -> Sequence[Customer]:
        """Returns those of these customers that there are, by name."""

    async def customer_plans(
        self, application_id: str, plans: Sequence[str] | None = None
    ) -> Mapping[str, str]:
        """Returns each customer's plan ("" for none) by name: of all customers, or of those on these plans."""

    async def identity_owners(self, application_id: str, identities: Sequence[str]) -> Mapping[str, str]:
        """Returns the customer's name of each of these identities (hashes) that belongs to one."""
