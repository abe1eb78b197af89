"""Snapshot files straight from policy files, without a running service: for tests and proofs that start edge replicas."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from admin.applying import Applying, Wanted
from admin.exporting import Exporting
from usageflow.domain.changes import Actor, Cause
from usageflow.domain.hashing import keys_under
from usageflow.expressions import check
from usageflow.policyfile import load
from usageflow.runtime.bootstrap import ensure_application
from usageflow.runtime.clock import SystemClock
from usageflow.runtime.credentials import (
    Credentials,
    new_credentials,
    read_credentials,
    write_credentials,
)
from usageflow.runtime.embedded import DATABASE_NAME
from usageflow.storage.file import replace_file
from usageflow.storage.notices import LocalNotices
from usageflow.storage.sql import SqlControlStore, open_sqlite, prepare

_CAUSE = Cause(Actor("", "tools"), "snapshots")


@dataclass(frozen=True, slots=True)
class SnapshotWriter:
    """Writes snapshots of the application ``demo``; ``folder`` keeps its database, so that plan versions rise and the API key
    stays.
    """

    folder: Path

    @property
    def api_key(self) -> str:
        """Returns the key that the written files know."""
        return self._credentials().api_key

    def write(self, policies: str, to: Path) -> Path:
        """Applies the text of a policy file and writes (or replaces) the snapshot; returns its path.

        Not to be called inside an event loop: ``write_soon`` is for there.
        """
        return asyncio.run(self.write_soon(policies, to))

    async def write_soon(self, policies: str, to: Path) -> Path:
        """Does what ``write`` does."""
        self.folder.mkdir(parents=True, exist_ok=True)
        clock, credentials = SystemClock(), self._credentials()
        prepare(self.folder / DATABASE_NAME, clock)
        database = open_sqlite(self.folder / DATABASE_NAME)
        try:
            control = SqlControlStore(database, clock)
            hash_key = bytes.fromhex(credentials.hash_key)
            await ensure_application(control, credentials)
            loaded = load(policies, filename="policies.yaml", check=check)
            wanted = Wanted(loaded.application, loaded.policy_set, loaded.blocks, prune=True)
            await Applying(control, LocalNotices(), hash_key, check).apply(wanted, _CAUSE)
            snapshot = await Exporting(control, keys_under(hash_key)).export(loaded.application)
        finally:
            await database.close()
        replace_file(to, snapshot.pieces)
        return to

    def _credentials(self) -> Credentials:
        known = read_credentials(self.folder)
        if known is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            known = new_credentials("")
            write_credentials(self.folder, known)
        return known
