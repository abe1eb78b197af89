"""The port of the audit log, to read. Entries are written by the stores, in the transaction of what they tell of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from usageflow.domain.audit import ChainedEntry


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """Which entries: those after ``after`` that fit every field which is set; times are Unix microseconds, ``until_us`` is left out."""

    after: int = 0
    limit: int = 100
    actor_id: str = ""
    application_id: str = ""
    kind: str = ""
    since_us: int | None = None
    until_us: int | None = None


@dataclass(frozen=True, slots=True)
class AuditRow:
    """An entry, and what its ids are called now: for people, empty where that is gone."""

    link: ChainedEntry
    actor_name: str = ""
    application: str = ""


@dataclass(frozen=True, slots=True)
class AuditHead:
    """The newest entry's sequence and hash; 0 and GENESIS where there is none."""

    sequence: int
    digest: bytes


class AuditLog(Protocol):
    """The audit log."""

    async def audit_entries(self, query: AuditQuery) -> tuple[Sequence[AuditRow], AuditHead]:
        """Returns entries in order of their sequence, at most ``limit``, and the head, of one instant."""
