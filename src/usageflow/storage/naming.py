"""Applications by the names that callers give."""

from __future__ import annotations

from usageflow.domain.errors import NotFound
from usageflow.storage.ports import Application, SnapshotSource


async def application_named(source: SnapshotSource, name: str) -> Application:
    """Returns the application of that name. Raises NotFound (reason APPLICATION_NOT_FOUND)."""
    found = await source.find_application(name)
    if found is None:
        raise NotFound(f"there is no application {name[:64]!r}", reason="APPLICATION_NOT_FOUND")
    return found
