"""The use-case behind ExportSnapshot: all that decides for an application, as a file."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace

from usageflow.domain.customers import Customer
from usageflow.domain.errors import NotFound
from usageflow.domain.hashing import KeyOf
from usageflow.storage.file import Exported, encode
from usageflow.storage.ports import ApplicationState, ControlStore

PIECE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class SnapshotText:
    """A snapshot file and the revision that it holds."""

    revision: int
    data: bytes

    @property
    def pieces(self) -> Iterator[bytes]:
        """Yields the file in pieces that fit into messages."""
        for start in range(0, len(self.data), PIECE_BYTES):
            yield self.data[start : start + PIECE_BYTES]


class Exporting:
    """Writes snapshot files."""

    def __init__(self, control: ControlStore, key_of: KeyOf) -> None:
        self._control = control
        self._key_of = key_of

    async def export(self, application: str, revision: int = 0) -> SnapshotText:
        """Returns the file of an application, with the policies of a revision (0: the one in force). Raises NotFound."""
        found = await self._control.find_application(application)
        if found is None:
            raise NotFound(f"there is no application {application[:64]!r}", reason="APPLICATION_NOT_FOUND")
        state = await self._at(await self._control.load(found.application_id), revision)
        keys = await self._control.api_keys(found.application_id)
        version, customers = await self._directory(found.application_id)
        exported = Exported(state, self._key_of(found.name), tuple(keys), customers, version)
        return SnapshotText(state.application.revision, await asyncio.to_thread(encode, [exported]))

    async def _at(self, state: ApplicationState, revision: int) -> ApplicationState:
        if revision in (0, state.application.revision):
            return state
        policies = await self._control.policies_at(state.application.application_id, revision)
        if policies is None:
            message = f"there is no revision {revision} (any more): the one in force is {state.application.revision}"
            raise NotFound(message, reason="REVISION_NOT_FOUND")
        application = replace(state.application, revision=revision)
        return replace(state, application=application, policies=policies)

    async def _directory(self, application_id: str) -> tuple[int, tuple[Customer, ...]]:
        """Returns the version of the directory and its customers; what only billing needs is left out."""
        changes = (await self._control.directory_changes({})).get(application_id)
        if changes is None:
            return 0, ()
        names = list(await self._control.customer_plans(application_id))
        stored = await self._control.customers(application_id, names)
        return changes.version, tuple(item.model_copy(update={"stripe_customer": ""}) for item in stored)
