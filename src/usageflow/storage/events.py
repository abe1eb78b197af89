"""The port of stored events, to read; tests/contract runs its docstrings on every back end. They are written by UsageStore.ingest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from usageflow.domain.usage import StoredEvent
from usageflow.domain.usage_events import EventFilter

Position = tuple[int, int]
"""Where a reader stands: time and number of the last event that it read."""

START: Position = (-(2**62), 0)
"""Before every event."""


@dataclass(frozen=True, slots=True)
class EventPage:
    """Some events, and where to read on; None: there are no more."""

    events: Sequence[StoredEvent]
    after: Position | None


class EventStore(Protocol):
    """Events of applications. All times are Unix time in microseconds. Every event has a number that rises as events are stored; where
    several writers store at once, an event with a lower number may come to light after one with a higher.

    The identity of an event is its key (usageflow.domain.identity); ``e:`` and a number for one that was erased.
    A store that does not answer raises usageflow.domain.errors.Unavailable.
    """

    async def read(
        self,
        application_id: str,
        wanted: EventFilter,
        *,
        since_us: int,
        until_us: int,
        after: Position,
        limit: int,
    ) -> EventPage:
        """Returns at most ``limit`` events with since_us <= time < until_us that stand after a position, in order of time, then as
        they were stored, and where to read on. It looks through a bounded number of events, so that no filter makes it long: a page may
        hold few events, or none, and not be the last.
        """

    async def count(
        self, application_id: str, wanted: EventFilter, *, since_us: int, until_us: int, most: int
    ) -> int:
        """Returns how many events there are in that time, ``most`` where there are more."""

    async def newest(self) -> int:
        """Returns the highest number of all events, whosever they are; 0 where there is none."""

    async def numbers_after(
        self, application_id: str, wanted: EventFilter, *, after: int, limit: int
    ) -> Sequence[int]:
        """Returns the highest numbers of events with a number above ``after``, at most ``limit``, highest first."""

    async def count_after(self, application_id: str, wanted: EventFilter, *, after: int) -> int:
        """Returns how many events have a number above ``after``."""

    async def numbered(
        self, application_id: str, numbers: Sequence[int]
    ) -> Sequence[tuple[int, StoredEvent]]:
        """Returns events by their numbers, lowest first; those that are gone are left out."""
