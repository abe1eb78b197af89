"""The use-case behind ListAuditEntries."""

from __future__ import annotations

from dataclasses import dataclass

from admin.pages import PageOf, PageRequest
from usageflow.domain.credentials import CredentialKind
from usageflow.domain.errors import InvalidArgument, NotFound
from usageflow.storage.audit import AuditHead, AuditLog, AuditQuery, AuditRow
from usageflow.storage.credentials import CredentialSet, CredentialStore
from usageflow.storage.ports import ControlStore


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which entries, by names of people; empty fields fit everything. Times are Unix microseconds."""

    application: str = ""
    actor: str = ""
    kind: str = ""
    since_us: int | None = None
    until_us: int | None = None


class Auditing:
    """Reads the audit log."""

    def __init__(self, log: AuditLog, control: ControlStore, credentials: CredentialStore) -> None:
        self._log = log
        self._control = control
        self._credentials = credentials

    async def list(self, wanted: AuditFilter, page: PageRequest) -> tuple[PageOf[AuditRow], AuditHead]:
        """Returns a page in order of sequences, and the log's head. Raises NotFound, InvalidArgument."""
        query = (wanted.application, wanted.actor, wanted.kind, str(wanted.since_us), str(wanted.until_us))
        rows, head = await self._log.audit_entries(
            AuditQuery(
                after=_sequence(page.after(query)),
                limit=page.size + 1,
                actor_id=await self._actor_id(wanted.actor),
                application_id=await self._application_id(wanted.application),
                kind=wanted.kind,
                since_us=wanted.since_us,
                until_us=wanted.until_us,
            )
        )
        return page.of(rows, query, lambda row: str(row.link.entry.sequence)), head

    async def _application_id(self, name: str) -> str:
        if not name:
            return ""
        found = await self._control.find_application(name)
        if found is None:
            raise NotFound(f"there is no application {name[:64]!r}", reason="APPLICATION_NOT_FOUND")
        return found.application_id

    async def _actor_id(self, actor: str) -> str:
        """Returns the id of a token that is called so; anything else is an id."""
        if not actor:
            return ""
        token = await self._credentials.get_credential(CredentialSet(CredentialKind.ADMIN_TOKEN), actor)
        return actor if token is None else token.credential_id


def _sequence(key: str) -> int:
    if key and not (key.isascii() and key.isdecimal() and len(key) < 19):
        raise InvalidArgument.of("page_token", "is not of this list", "send none for the first page")
    return int(key or 0)
