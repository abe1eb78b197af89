"""The use-case behind ListAuditEntries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass

from admin.aip.paging import fingerprint, make_token, page_size, read_token
from usageflow.domain.credentials import CredentialKind
from usageflow.storage.audit import AuditHead, AuditLog, AuditQuery, AuditRow
from usageflow.storage.credentials import CredentialSet, CredentialStore
from usageflow.storage.naming import application_named
from usageflow.storage.ports import ControlStore


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which entries, by names of people; empty fields fit everything. Times are Unix microseconds."""

    application: str = ""
    actor: str = ""
    kind: str = ""
    since_us: int | None = None
    until_us: int | None = None


@dataclass(frozen=True, slots=True)
class AuditPage:
    """Entries, the token of the next page ("" on the last one), and the log's head."""

    rows: Sequence[AuditRow]
    next_token: str
    head: AuditHead


class Auditing:
    """Reads the audit log."""

    def __init__(self, log: AuditLog, control: ControlStore, credentials: CredentialStore) -> None:
        self._log = log
        self._control = control
        self._credentials = credentials

    async def list(self, wanted: AuditFilter, size: int, token: str) -> AuditPage:
        """Returns a page in order of sequences. Raises NotFound, InvalidArgument."""
        size = page_size(size)
        mark = fingerprint(*astuple(wanted))
        after = read_token(token, mark, [int])
        rows, head = await self._log.audit_entries(
            AuditQuery(
                after=int(after[0] or 0) if after else 0,
                limit=size + 1,
                actor_id=await self._actor_id(wanted.actor),
                application_id=await self._application_id(wanted.application),
                kind=wanted.kind,
                since_us=wanted.since_us,
                until_us=wanted.until_us,
            )
        )
        if len(rows) <= size:
            return AuditPage(rows, "", head)
        return AuditPage(rows[:size], make_token(mark, [rows[size - 1].link.entry.sequence]), head)

    async def _application_id(self, name: str) -> str:
        if not name:
            return ""
        found = await application_named(self._control, name)
        return found.application_id

    async def _actor_id(self, actor: str) -> str:
        """Returns the id of a token that is called so; anything else is an id."""
        if not actor:
            return ""
        token = await self._credentials.get_credential(CredentialSet(CredentialKind.ADMIN_TOKEN), actor)
        return actor if token is None else token.credential_id
