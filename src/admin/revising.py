"""The use-cases of revisions: look at them, compare them, go back to one, keep one for good, forget the old ones."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from admin.aip.paging import fingerprint, make_token, page_size, read_token
from admin.applying import Applied, Applying
from admin.resources.shared import Write, replayed
from usageflow.domain.changes import Action, Change
from usageflow.domain.clock import Clock
from usageflow.domain.differences import Difference, differences
from usageflow.domain.errors import InvalidArgument, NotFound
from usageflow.domain.policies import PolicySet
from usageflow.storage.ports import Application, ApplicationState, ControlStore
from usageflow.storage.resources import ResourceStore, RevisionRow

REVISION_DAYS = 36
"""Usage may be reported for 34 days, and is billed by the revision that decided."""

DELETED_DAYS = 30
RECEIPT_DAYS = 2
PURGE_EVERY_S = 3600.0

_DAY_US = 86_400_000_000
_TAG = re.compile(r"(?=[0-9-]*[a-z])[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Held:
    """A revision and what it holds; ``current`` where it is in force."""

    row: RevisionRow
    policies: PolicySet
    current: bool


@dataclass(frozen=True, slots=True)
class Compared:
    """What lies between two revisions."""

    before: int
    after: int
    differences: Sequence[Difference]


class Revising:
    """Looks at revisions and goes back to them. Methods raise NotFound and InvalidArgument."""

    def __init__(self, applying: Applying, control: ControlStore, store: ResourceStore, clock: Clock) -> None:
        self._applying = applying
        self._control = control
        self._store = store
        self._clock = clock

    async def list(
        self, application: str, *, size: int, token: str
    ) -> tuple[Sequence[RevisionRow], int, str]:
        """Returns a page, newest first, the number in force, and the next page's token."""
        owner = await self._applying.find(application)
        limit, mark = page_size(size), fingerprint(application, "revisions")
        after = read_token(token, mark, [int])
        before = int(after[0]) if after and after[0] is not None else None
        rows = await self._store.revisions(owner.application_id, before=before, limit=limit + 1)
        more = make_token(mark, [rows[limit - 1].revision]) if len(rows) > limit else ""
        return rows[:limit], owner.revision, more

    async def get(self, application: str, name: str) -> Held:
        """Returns the revision of a number or tag, the one in force for ""."""
        owner = await self._applying.find(application)
        row = await self._row(owner, name)
        return Held(row, await self._policies(owner, row.revision), row.revision == owner.revision)

    async def diff(self, application: str, before: str, after: str) -> Compared:
        """Returns what lies between two revisions; "" stands for the one in force, and the one before it."""
        owner = await self._applying.find(application)
        later = await self._row(owner, after)
        earlier = await self._row(owner, before or str(max(later.revision - 1, 0)))
        old, new = (
            await self._policies(owner, earlier.revision),
            await self._policies(owner, later.revision),
        )
        found = await asyncio.to_thread(lambda: tuple(differences(old, new)))
        return Compared(earlier.revision, later.revision, found)

    async def roll_back(self, application: str, name: str, write: Write) -> Applied:
        """Makes strategies, policies and plans what they were: a new revision, through the same checks as any other."""
        owner = await self._applying.find(application)
        if not name:
            raise InvalidArgument.of("revision", "is empty", "name the revision to go back to")
        row = await self._row(owner, name)
        policies = await self._policies(owner, row.revision)

        async def edit(state: ApplicationState) -> PolicySet:
            return state.policies if await replayed(self._store, write.cause) else policies

        message = write.message or f"roll back to {row.revision}"
        return await self._applying.edit(
            owner, edit, write.cause, validate_only=write.validate_only, message=message
        )

    async def tag(self, application: str, name: str, tag: str, write: Write) -> tuple[RevisionRow, bool]:
        """Gives a revision a tag; returns it and whether it is in force."""
        owner = await self._applying.find(application)
        if not _TAG.fullmatch(tag):
            fix = "write lower-case letters, digits and hyphens with a letter among them, at most 63"
            raise InvalidArgument.of("tag", f"{tag[:63]!r} is no tag", fix)
        row = await self._row(owner, name)
        cause = replace(write.cause, changes=(Change(Action.CREATED, "tag", tag),))
        tagged = await self._store.tag(owner.application_id, row.revision, tag, cause=cause)
        return tagged, tagged.revision == owner.revision

    async def untag(self, application: str, tag: str, write: Write) -> tuple[RevisionRow, bool]:
        """Takes a tag away; returns the revision that it was on and whether that is in force."""
        owner = await self._applying.find(application)
        cause = replace(write.cause, changes=(Change(Action.DELETED, "tag", tag),))
        row = await self._store.untag(owner.application_id, tag, cause=cause)
        return row, row.revision == owner.revision

    async def purge(self) -> int:
        """Forgets old revisions, what was deleted long ago, and old receipts; returns how many rows went."""
        now_us = self._clock.now_us()
        return await self._store.purge(
            revisions_us=now_us - REVISION_DAYS * _DAY_US,
            deleted_us=now_us - DELETED_DAYS * _DAY_US,
            receipts_us=now_us - RECEIPT_DAYS * _DAY_US,
        )

    async def _row(self, owner: Application, name: str) -> RevisionRow:
        row = await self._store.revision(owner.application_id, name or str(owner.revision))
        if row is None:
            message = f"there is no revision {name[:63]!r} (any more): see `usageflow revisions list`"
            raise NotFound(message, reason="REVISION_NOT_FOUND")
        return row

    async def _policies(self, owner: Application, revision: int) -> PolicySet:
        found = await self._control.policies_at(owner.application_id, revision)
        if found is None:
            raise NotFound(f"revision {revision} is not kept any more", reason="REVISION_NOT_FOUND")
        return found
