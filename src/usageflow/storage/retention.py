"""The port of retention; tests/contract runs its docstrings on every back end."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol


class Detail(StrEnum):
    """What an application keeps for its ``retention_days``; metering failures go after 36 days whatever it says."""

    EVENTS = "EVENTS"
    MINUTES = "MINUTES"
    IDENTITY_HOURS = "IDENTITY_HOURS"
    IDENTITY_DAYS = "IDENTITY_DAYS"
    METERING_FAILURES = "METERING_FAILURES"


class RetentionStore(Protocol):
    """Old detail and its end. A store that does not answer raises usageflow.domain.errors.Unavailable."""

    async def purge(self, detail: Detail, *, now_us: int, limit: int) -> int:
        """Deletes, per application, at most ``limit`` rows that are older than it keeps them, in one short transaction; returns how
        many there were: fewer than ``limit`` mean that none is left. Several processes may do it at once: each takes rows that no other
        is at. Sums by hour and day that tell of nobody, ids and metering deltas are never deleted here.
        """
