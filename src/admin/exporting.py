"""The use-case behind ExportSnapshot: all that decides for an application, as a file."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace

from usageflow.domain.errors import NotFound
from usageflow.domain.hashing import KeyOf
from usageflow.storage.file import encode, gather
from usageflow.storage.naming import application_named
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
        found = await application_named(self._control, application)
        exported = await gather(self._control, found.application_id, self._key_of)
        state = await self._at(exported.state, revision)
        data = await asyncio.to_thread(encode, [replace(exported, state=state)])
        return SnapshotText(state.application.revision, data)

    async def _at(self, state: ApplicationState, revision: int) -> ApplicationState:
        if revision in (0, state.application.revision):
            return state
        policies = await self._control.policies_at(state.application.application_id, revision)
        if policies is None:
            message = f"there is no revision {revision} (any more): the one in force is {state.application.revision}"
            raise NotFound(message, reason="REVISION_NOT_FOUND")
        application = replace(state.application, revision=revision)
        return replace(state, application=application, policies=policies)
