"""The last good policies on disk: a snapshot file that a decision process keeps for its next start.

It is a snapshot file like any other, so ``usageflow serve decision --snapshot`` reads it too. Several processes may share a
folder: whoever holds its lock writes.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from usageflow.domain.errors import FailedPrecondition
from usageflow.domain.expressions import ExpressionCheck
from usageflow.domain.hashing import KeyOf
from usageflow.storage.file.atomic import replace_file
from usageflow.storage.file.control import FileControlStore
from usageflow.storage.file.document import joined

FILE_NAME = "last-good.snapshot.json"
_LOCK_NAME = "writer.lock"


@dataclass(frozen=True, slots=True)
class CachedSnapshot:
    """What a cache holds, and when it was written: Unix time in microseconds."""

    source: FileControlStore
    written_us: int


class SnapshotCache:
    """The folder ``snapshots`` of a data folder. Its methods read and write files: call them off the event loop."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock: int | None = None

    @property
    def path(self) -> Path:
        """Returns where the file is, or will be."""
        return self._folder / FILE_NAME

    def read(self, key_of: KeyOf, check: ExpressionCheck) -> CachedSnapshot | None:
        """Returns what is cached, None where nothing is. Raises FailedPrecondition (SNAPSHOT_UNUSABLE) for a file that is damaged,
        contradicts itself, or holds applications under other keys than ``key_of`` tells: those of another installation.
        """
        try:
            written_us = self.path.stat().st_mtime_ns // 1000
        except FileNotFoundError:
            return None
        source = FileControlStore.open(self.path, check)
        for application in source.applications():
            if source.key_of(application.name) != key_of(application.name):
                raise FailedPrecondition(_foreign(self.path), reason="SNAPSHOT_UNUSABLE")
        return CachedSnapshot(source, written_us)

    def write(self, applications: Mapping[str, bytes]) -> bool:
        """Replaces the file by these applications, as ``encode_application`` made them; without any it is deleted. False: another
        process writes here. Raises OSError.
        """
        if not self._locked():
            return False
        if applications:
            replace_file(self.path, joined(list(applications.values())))
        else:
            self.path.unlink(missing_ok=True)
        return True

    def close(self) -> None:
        """Lets another process write."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _locked(self) -> bool:
        if self._lock is not None:
            return True
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._folder / _LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if isinstance(error, BlockingIOError):
                return False
            raise
        self._lock = descriptor
        return True


def _foreign(path: Path) -> str:
    return (
        f"cannot use the snapshot {path}: it was written under another hash key, so by another installation; "
        "put the USAGEFLOW_HASH_KEY of this one back, or delete the file"
    )
