"""The port of upkeep; tests/contract runs its docstrings on every back end."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class IdPosition(NamedTuple):
    """A place among ids of reports, in the store's own order."""

    part: int = 0
    application_id: str = ""
    record_id: str = ""
    day: int = -1


BEGINNING = IdPosition()


class Forgotten(NamedTuple):
    """How many ids were forgotten, and where to go on; None at the end."""

    ids: int
    after: IdPosition | None


class UpkeepStore(Protocol):
    """Room for what comes, and the end of what nobody asks for again. Any number of processes may do it at once. A store that does
    not answer, or where somebody is in the way for a second, raises usageflow.domain.errors.Unavailable.
    """

    async def make_room(self, *, now_us: int) -> int:
        """Makes the partitions of the days from 35 back to 2 ahead that are missing, one per transaction; returns how many. A store without partitions has nothing to make, nor has a user who may not."""

    async def drop_days(self, *, now_us: int) -> int:
        """Drops partitions whose day is wholly too old, one per transaction; returns how many there were: of ids, those that no
        report may carry any more; of events, those that no application keeps and no report may be of.
        """

    async def forget_ids(self, *, now_us: int, after: IdPosition, limit: int) -> Forgotten:
        """Looks at the next ``limit`` ids that are in no partition of a day, and forgets the old ones, in one short transaction: ids that
        tell a day which no report may be of any more, and others 36 days after they came.
        """
