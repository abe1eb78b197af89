"""The port of the decision log; tests/contract runs its docstrings on every back end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from usageflow.domain.decision_log import LogEntry

Position = tuple[int, int]
"""Where a reader stands: time and number of the last entry that it read."""

START: Position = (-1, 0)
"""Before every entry."""


class DecisionLog(Protocol):
    """Decided requests of the applications that ask for it. All times are Unix time in microseconds.

    A store that does not answer raises usageflow.domain.errors.Unavailable.
    """

    async def append(self, entries: Sequence[LogEntry]) -> None:
        """Stores entries in one transaction."""

    async def read(
        self, application_id: str, *, since_us: int, until_us: int, after: Position, limit: int
    ) -> Sequence[tuple[Position, LogEntry]]:
        """Returns at most ``limit`` entries with since_us <= time < until_us that stand after a position, in order of time,
        then as they were stored.
        """

    async def purge(self, *, now_us: int) -> int:
        """Deletes what is older than each application keeps (its retention); returns how many entries there were."""
