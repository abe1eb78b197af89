"""What an edge replica reads instead of a database: a snapshot file, read again whenever it was replaced."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

from usageflow.domain.credentials import Credential
from usageflow.domain.directory import Entry
from usageflow.domain.errors import FailedPrecondition, InvalidArgument, NotFound
from usageflow.domain.expressions import ExpressionCheck, refuse_expressions
from usageflow.domain.policies import PolicySet
from usageflow.storage.directories import DirectoryChanges
from usageflow.storage.file.document import Exported, decode
from usageflow.storage.ports import Application, ApplicationState, Versions

_SHOWN = 3
"""Faults of a bad file that are told; the first ones are enough to see what went wrong."""

log = structlog.get_logger()

_Stamp = tuple[int, int, int, int]
"""Device, inode, time and size: another one means another content."""


@dataclass(frozen=True, slots=True)
class _Content:
    """A good file."""

    by_id: Mapping[str, Exported]
    credentials: Mapping[bytes, Credential]

    @classmethod
    def of(cls, data: bytes, check: ExpressionCheck) -> _Content:
        exported = decode(data, check)
        return cls(
            {item.state.application.application_id: item for item in exported},
            {key.secret_hash: key for item in exported for key in item.api_keys},
        )


class FileControlStore:
    """SnapshotSource and CredentialSource over a snapshot file.

    ``versions``, the registry's poll, looks whether the file was replaced and reads it off the event loop. A file that is
    missing, unreadable or wrong is logged once and never replaces the last good one.
    """

    def __init__(self, path: Path, stamp: _Stamp, content: _Content, check: ExpressionCheck) -> None:
        """Use ``open``."""
        self._check = check
        self._path = path
        self._stamp: _Stamp | None = stamp
        self._content = content

    @classmethod
    def open(cls, path: Path, check: ExpressionCheck = refuse_expressions) -> FileControlStore:
        """Reads the file; ``check`` knows the language of expressions. Raises FailedPrecondition (SNAPSHOT_UNUSABLE) with
        the reason and the fix.
        """
        return cls(path, *_read(path, check), check)

    def key_of(self, application: str) -> bytes:
        """Returns the hash key of an application that the file holds."""
        return self._named(application).hash_key

    async def find_application(self, name: str) -> Application | None:
        """See SnapshotSource."""
        found = [item for item in self.applications() if item.name == name]
        return found[0] if found else None

    async def versions(self) -> Mapping[str, Versions]:
        """See SnapshotSource."""
        await self._follow()
        return {
            application_id: Versions(item.state.application.plan_version, item.directory_version)
            for application_id, item in self._content.by_id.items()
        }

    async def plan_versions(self) -> Mapping[str, int]:
        """See SnapshotSource."""
        return {application_id: version.plan for application_id, version in (await self.versions()).items()}

    async def load(self, application_id: str) -> ApplicationState:
        """See SnapshotSource."""
        exported = self._content.by_id.get(application_id)
        if exported is None:
            raise NotFound(f"the snapshot file holds no application with the id {application_id[:64]!r}")
        return exported.state

    async def policies_at(self, application_id: str, revision: int) -> PolicySet | None:
        """See SnapshotSource. The file holds the present revision only."""
        exported = self._content.by_id.get(application_id)
        if exported is None or exported.state.application.revision != revision:
            return None
        return exported.state.policies

    async def directory_changes(self, known: Mapping[str, int]) -> Mapping[str, DirectoryChanges]:
        """See DirectorySource. The file holds whole directories only."""
        return {
            application_id: DirectoryChanges(
                item.directory_version, [Entry.of(customer) for customer in item.customers], (), whole=True
            )
            for application_id, item in self._content.by_id.items()
            if known.get(application_id, 0) != item.directory_version
        }

    async def find_credential(self, secret_hash: bytes) -> Credential | None:
        """See CredentialSource. The file holds API keys only, so there are no admins here."""
        return self._content.credentials.get(secret_hash)

    def applications(self) -> list[Application]:
        """Returns the applications that the file holds."""
        return [item.state.application for item in self._content.by_id.values()]

    def _named(self, name: str) -> Exported:
        return next(item for item in self._content.by_id.values() if item.state.application.name == name)

    async def _follow(self) -> None:
        stamp = _stamp_of(self._path)
        if stamp == self._stamp:
            return
        self._stamp = stamp  # whatever is wrong with this file is told once
        try:
            self._stamp, content = await asyncio.to_thread(_read, self._path, self._check)
            _ensure_newer(self._path, self._content, content)
        except FailedPrecondition as error:
            log.warning("snapshot file refused; deciding by the last good one", error=str(error))
            return
        self._content = content
        log.info("snapshot file read", file=str(self._path), applications=len(content.by_id))


def _stamp_of(path: Path) -> _Stamp | None:
    try:
        return _stamp(path.stat())
    except OSError:
        return None


def _stamp(stat: os.stat_result) -> _Stamp:
    return (stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_size)


def _read(path: Path, check: ExpressionCheck) -> tuple[_Stamp, _Content]:
    try:
        with path.open("rb") as file:
            # Taken before the content: what is written in between makes another stamp, and is read with the next look.
            stamp = _stamp(os.fstat(file.fileno()))
            data = file.read()
    except OSError as error:
        raise _unusable(path, (error.strerror or str(error)).lower()) from None
    try:
        return stamp, _Content.of(data, check)
    except InvalidArgument as error:
        told = "; ".join(f"{fault.field or 'file'}: {fault.message}" for fault in error.faults[:_SHOWN])
        more = len(error.faults) - _SHOWN
        raise _unusable(path, told + (f"; and {more} more" if more > 0 else "")) from None


def _ensure_newer(path: Path, old: _Content, new: _Content) -> None:
    """Numbers and plans of one version are alike everywhere: clients rely on it."""
    for application_id, item in new.by_id.items():
        before = old.by_id.get(application_id)
        application = item.state.application
        if before is None or before.state.application.plan_version != application.plan_version:
            continue
        if (before.state, before.hash_key) != (item.state, item.hash_key):
            version = application.plan_version
            told = f"{application.name}: plan version {version} is in force with another content; restart this replica if that is meant"
            raise _unusable(path, told)


def _unusable(path: Path, why: str) -> FailedPrecondition:
    message = (
        f"cannot use the snapshot {path} ({why}): "
        "write it with `usageflow snapshot -o FILE` of this version, where the service with the database is"
    )
    return FailedPrecondition(message, reason="SNAPSHOT_UNUSABLE")
